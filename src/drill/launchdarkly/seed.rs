//! What the simulated LaunchDarkly begins with. Three ways in, which can be mixed: builder functions, records in the
//! SDKs' form (a flag file, or what a relay has put into a store), and a JSON document:
//!
//! ```json
//! { "projects": { "shop": { "name": "Shop",
//!     "environments": { "production": {
//!       "name": "Production", "sdkKey": "sdk-…", "mobileKey": "mob-…", "clientSideId": "…", "tags": ["eu"],
//!       "critical": true, "requireComments": true, "confirmChanges": true,
//!       "approvalSettings": { "required": true, "minNumApprovals": 1 },
//!       "records": { "flags": { "checkout": { "key": "checkout", "on": true, "…": "…" } } } } },
//!     "flags": { "pricing-tier": {
//!       "variations": ["gold", "silver"],
//!       "environments": { "production": { "on": true, "version": 30 } } } } } },
//!   "tokens": { "api-…": { "name": "rc", "role": "writer", "service": true, "member": "anna" } } }
//! ```
//!
//! `flags` are in LaunchDarkly's API shape, of which everything may be left out but `variations` (values, or objects
//! with `value` and `_id`). `role` is `reader`, `writer`, `admin` or `{"custom": [statements]}`. Everything else has a
//! default; a flag has a configuration in every environment, off at version 1 where the seed says nothing.

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::account::Account;
use super::account::Environment;
use super::account::Project;
use super::flag::check;
use super::flag::complete_configuration;
use super::flag::complete_flag;
use super::flag::new_flag;
use super::identifier::digits_of;
use super::identifier::object_of;
use super::identity::Member;
use super::identity::Role;
use super::identity::Token;
use super::sdk::configuration_of;
use super::sdk::variations_of;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::FlagKey;
use crate::flag::key::ProjectKey;

/// A seed that can not be what LaunchDarkly holds.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The document is not as described.
    #[error("the seed of the simulated LaunchDarkly is not readable: {source}")]
    Unreadable {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A key, flag or record in it is not one.
    #[error("the seed of the simulated LaunchDarkly: {place}: {problem}")]
    Wrong {
        /// Project, environment and flag, as far as they are known.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The account to begin with. The builder functions go down from project to environment to flag, and each applies to
/// the project and environment named last. Mistakes are reported when the server starts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seed {
    #[serde(default)]
    projects: IndexMap<String, ProjectSeed>,
    #[serde(default)]
    tokens: IndexMap<String, TokenSeed>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProjectSeed {
    name: Option<String>,
    #[serde(default)]
    environments: IndexMap<String, EnvironmentSeed>,
    #[serde(default)]
    flags: IndexMap<String, Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EnvironmentSeed {
    name: Option<String>,
    sdk_key: Option<String>,
    mobile_key: Option<String>,
    client_side_id: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    critical: bool,
    #[serde(default)]
    require_comments: bool,
    #[serde(default)]
    confirm_changes: bool,
    approval_settings: Option<Map<String, Value>>,
    #[serde(default)]
    records: Value,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenSeed {
    name: Option<String>,
    role: Role,
    #[serde(default)]
    service: bool,
    member: Option<String>,
}

impl Seed {
    /// An account with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a seed document.
    ///
    /// # Errors
    /// [`SeedError::Unreadable`] if it is not one.
    pub fn from_json(text: &str) -> Result<Self, SeedError> {
        serde_json::from_str(text).map_err(|source| SeedError::Unreadable { source })
    }

    /// Goes on with this project, made if it is not there.
    #[must_use]
    pub fn project(mut self, key: &str) -> Self {
        // The project that is worked on is the last one of the map, likewise its environment.
        let project = self.projects.shift_remove(key).unwrap_or_default();
        self.projects.insert(key.to_owned(), project);
        self
    }

    /// Goes on with this environment of the project, made if it is not there.
    #[must_use]
    pub fn environment(mut self, key: &str) -> Self {
        if let Some(project) = self.last_project() {
            let environment = project.environments.shift_remove(key).unwrap_or_default();
            project.environments.insert(key.to_owned(), environment);
        }
        self
    }

    /// The environment's SDK key.
    #[must_use]
    pub fn sdk_key(self, key: &str) -> Self {
        self.in_environment(|environment| environment.sdk_key = Some(key.to_owned()))
    }

    /// Marks the environment as critical.
    #[must_use]
    pub fn critical(self) -> Self {
        self.in_environment(|environment| environment.critical = true)
    }

    /// Changes in the environment need this many approvals.
    #[must_use]
    pub fn approvals(self, min_num_approvals: u64) -> Self {
        self.approval_settings(json!({ "required": true, "minNumApprovals": min_num_approvals }))
    }

    /// The environment's approval settings, in LaunchDarkly's words; what is left out has LaunchDarkly's default.
    #[must_use]
    pub fn approval_settings(self, settings: Value) -> Self {
        self.in_environment(|environment| environment.approval_settings = settings.as_object().cloned())
    }

    /// A flag with the variations true and false, off serving false, in the environment.
    #[must_use]
    pub fn boolean_flag(self, key: &str, on: bool, version: u64) -> Self {
        let configuration = json!({
            "on": on, "version": version, "fallthrough": { "variation": 0 }, "offVariation": 1,
        });
        self.flag(key, json!([true, false]), configuration)
    }

    /// A flag with these variation values; `configuration` (API shape, anything may be left out) is for the
    /// environment.
    #[must_use]
    pub fn flag(mut self, key: &str, values: Value, configuration: Value) -> Self {
        if let Some(project) = self.last_project() {
            let environment = project.environments.last().map(|(key, _)| key.clone()).unwrap_or_default();
            let flag = project.flags.entry(key.to_owned()).or_insert_with(|| json!({}));
            flag["variations"] = values;
            flag["environments"][environment] = configuration;
        }
        self
    }

    /// Adds the flag to these tags, in every environment.
    #[must_use]
    pub fn tags(mut self, flag: &str, tags: &[&str]) -> Self {
        if let Some(flag) = self.last_project().and_then(|project| project.flags.get_mut(flag)) {
            flag["tags"] = json!(tags);
        }
        self
    }

    /// Flags in the SDKs' form for the environment: `{"flags": {key: record}}`, as in a flag file; tombstones are left
    /// out.
    #[must_use]
    pub fn records(self, document: Value) -> Self {
        self.in_environment(|environment| environment.records = document)
    }

    /// An access token. `member` is whose it is.
    #[must_use]
    pub fn token(mut self, secret: &str, role: Role, member: &str) -> Self {
        let token = TokenSeed { name: None, role, service: false, member: Some(member.to_owned()) };
        self.tokens.insert(secret.to_owned(), token);
        self
    }

    /// An access token of a service.
    #[must_use]
    pub fn service_token(mut self, secret: &str, role: Role, name: &str) -> Self {
        let token = TokenSeed { name: Some(name.to_owned()), role, service: true, member: None };
        self.tokens.insert(secret.to_owned(), token);
        self
    }

    fn last_project(&mut self) -> Option<&mut ProjectSeed> {
        self.projects.last_mut().map(|(_, project)| project)
    }

    fn in_environment(mut self, edit: impl FnOnce(&mut EnvironmentSeed)) -> Self {
        if let Some((_, environment)) = self.last_project().and_then(|project| project.environments.last_mut()) {
            edit(environment);
        }
        self
    }

    /// The account that the seed describes. `now`: milliseconds of the epoch.
    pub(super) fn into_account(self, now: i64) -> Result<Account, SeedError> {
        let mut account = Account { id: object_of(&["account"]), ..Account::default() };
        for (key, seed) in self.projects {
            let project = project_of(&key, seed, now)?;
            account.projects.insert(key, project);
        }
        for (secret, seed) in self.tokens {
            let member = Member::named(seed.member.as_deref().unwrap_or("Service"));
            let name = seed.name.unwrap_or_else(|| format!("token of {}", member.first_name));
            account.tokens.insert(secret.clone(), Token::new(&secret, &name, seed.role, seed.service, member, now));
        }
        Ok(account)
    }
}

fn wrong(place: impl Into<String>, problem: impl ToString) -> SeedError {
    SeedError::Wrong { place: place.into(), problem: problem.to_string() }
}

fn project_of(key: &str, seed: ProjectSeed, now: i64) -> Result<Project, SeedError> {
    key.parse::<ProjectKey>().map_err(|error| wrong("a project", error))?;
    let mut project = Project {
        id: object_of(&["project", key]),
        key: key.to_owned(),
        name: seed.name.unwrap_or_else(|| title(key)),
        ..Project::default()
    };
    let mut flags = seed.flags;
    for (environment_key, mut environment) in seed.environments {
        let place = format!("{key}/{environment_key}");
        environment_key.parse::<EnvironmentKey>().map_err(|error| wrong(&place, error))?;
        let records = environment.records.take();
        add_records(&mut flags, &records, key, &environment_key)?;
        project.environments.insert(environment_key.clone(), environment_of(key, environment_key, environment));
    }
    for (flag_key, mut flag) in flags {
        let place = format!("flag {flag_key} of project {key}");
        flag_key.parse::<FlagKey>().map_err(|error| wrong(&place, error))?;
        complete_flag(&mut flag, key, &flag_key, now);
        for environment in project.environments.keys() {
            complete_configuration(&mut flag, [key, environment, &flag_key], now);
        }
        check(&flag).map_err(|problem| wrong(&place, problem.message))?;
        project.flags.insert(flag_key, flag.into());
    }
    Ok(project)
}

/// Puts the records of an environment into the project's flags.
fn add_records(
    flags: &mut IndexMap<String, Value>,
    document: &Value,
    project: &str,
    environment: &str,
) -> Result<(), SeedError> {
    for (key, record) in document.get("flags").and_then(Value::as_object).into_iter().flatten() {
        if record.get("deleted") == Some(&json!(true)) {
            continue;
        }
        let values = variations_of(record);
        let flag = flags.entry(key.clone()).or_insert_with(|| new_flag(project, key, &values, 0));
        if let Some(availability) = record.get("clientSideAvailability") {
            flag["clientSideAvailability"] = availability.clone();
        }
        let known = super::flag::list(flag.get("variations"));
        let known: Vec<&Value> = known.iter().filter_map(|one| one.get("value")).collect();
        if known != values.iter().collect::<Vec<&Value>>() {
            let place = format!("flag {key} in {project}/{environment}");
            return Err(wrong(place, "its variations differ from those in another environment"));
        }
        flag["environments"][environment] = configuration_of(record, [project, environment, key]);
    }
    Ok(())
}

fn environment_of(project: &str, key: String, seed: EnvironmentSeed) -> Environment {
    let id = seed.client_side_id.unwrap_or_else(|| object_of(&["environment", project, &key]));
    let made_up = |kind: &str| format!("{kind}-{}", digits_of(&[kind, project, &key]));
    Environment {
        id,
        name: seed.name.unwrap_or_else(|| title(&key)),
        sdk_key: seed.sdk_key.unwrap_or_else(|| made_up("sdk")),
        mobile_key: seed.mobile_key.unwrap_or_else(|| made_up("mob")),
        critical: seed.critical,
        require_comments: seed.require_comments,
        confirm_changes: seed.confirm_changes,
        tags: seed.tags,
        approvals: seed.approval_settings.map(complete_approvals),
        key,
    }
}

/// Approval settings with LaunchDarkly's defaults for what is left out.
fn complete_approvals(mut settings: Map<String, Value>) -> Value {
    let defaults = [
        ("required", json!(false)),
        ("bypassApprovalsForPendingChanges", json!(false)),
        ("minNumApprovals", json!(1)),
        ("canReviewOwnRequest", json!(false)),
        ("canApplyDeclinedChanges", json!(false)),
        ("autoApplyApprovedChanges", json!(false)),
        ("serviceKind", json!("launchdarkly")),
        ("serviceConfig", json!({})),
        ("requiredApprovalTags", json!([])),
    ];
    for (name, value) in defaults {
        settings.entry(name).or_insert(value);
    }
    Value::Object(settings)
}

fn title(key: &str) -> String {
    let mut letters = key.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
