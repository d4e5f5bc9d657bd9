//! What the simulated LaunchDarkly begins with. Three ways in, which can be mixed: builder functions, records in the
//! SDKs' form (a flag file, or what a relay has put into a store), and a JSON document:
//!
//! ```json
//! { "projects": { "shop": { "name": "Shop",
//!     "environments": { "production": {
//!       "name": "Production", "sdkKey": "sdk-…", "mobileKey": "mob-…", "clientSideId": "…", "tags": ["eu"],
//!       "expiringSdkKey": { "value": "sdk-…", "timestamp": 1700000000000 },
//!       "critical": true, "requireComments": true, "confirmChanges": true, "defaultTtl": 0, "secureMode": false,
//!       "approvalSettings": { "required": true, "minNumApprovals": 1 },
//!       "records": {
//!         "flags": { "checkout": { "key": "checkout", "on": true, "…": "…" } },
//!         "segments": { "testers": { "key": "testers", "included": ["anna"], "version": 3 } } } } },
//!     "flags": { "pricing-tier": {
//!       "variations": ["gold", "silver"],
//!       "environments": { "production": { "on": true, "version": 30 } } } },
//!     "filters": { "web": { "flags": ["web-*"], "tags": ["till"] } } } },
//!   "tokens": { "api-…": { "name": "rc", "role": "writer", "service": true, "member": "anna" } },
//!   "relayKeys": { "rel-…": [{ "effect": "allow", "resources": ["proj/*:env/*"], "actions": ["*"] }] } }
//! ```
//!
//! `flags` are in LaunchDarkly's API shape, of which everything may be left out but `variations` (values, or objects
//! with `value` and `_id`). `records` are in the SDKs' form; of tombstones only the version is remembered. `relayKeys`
//! are those of relays with automatic configuration, with the environments that each may have. `role` is `reader`, `writer`, `admin` or `{"custom": [statements]}`. Everything else has a
//! default; a flag has a configuration in every environment, off at version 1 where the seed says nothing.

mod building;
mod stored;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::filter::PayloadFilter;
use super::identity::Effect;
use super::identity::Role;
use super::identity::Statement;
use crate::store::StoreError;

/// A seed that can not be what LaunchDarkly holds.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The document is not as described.
    #[error("the seed of the simulated LaunchDarkly is not readable: {source}")]
    Unreadable {
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// The store that it is to be taken from does not answer, or does not hold what a relay puts there.
    #[error("the seed of the simulated LaunchDarkly: {source}")]
    Store {
        /// What the store said.
        #[from]
        source: StoreError,
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
    #[serde(default)]
    relay_keys: IndexMap<String, Vec<Statement>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProjectSeed {
    name: Option<String>,
    #[serde(default)]
    environments: IndexMap<String, EnvironmentSeed>,
    #[serde(default)]
    flags: IndexMap<String, Value>,
    #[serde(default)]
    filters: IndexMap<String, PayloadFilter>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvironmentSeed {
    name: Option<String>,
    sdk_key: Option<String>,
    expiring_sdk_key: Option<ExpiringSeed>,
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
    #[serde(default)]
    default_ttl: u64,
    #[serde(default)]
    secure_mode: bool,
    approval_settings: Option<Map<String, Value>>,
    #[serde(default)]
    records: Value,
}

impl EnvironmentSeed {
    /// One of which only the SDK key is said, or not even that.
    pub fn with_sdk_key(sdk_key: Option<&str>) -> Self {
        Self { sdk_key: sdk_key.map(str::to_owned), ..Self::default() }
    }
}

/// An SDK key that is still taken, until the time in milliseconds of the epoch.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpiringSeed {
    value: String,
    timestamp: i64,
}

/// Records in the SDKs' form, by key: what a flag file holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Records {
    #[serde(default)]
    flags: IndexMap<String, Value>,
    #[serde(default)]
    flag_values: IndexMap<String, Value>,
    #[serde(default)]
    segments: IndexMap<String, Value>,
}

impl Records {
    /// The flags, those that are given as a value only included: it is what everybody gets.
    fn all_flags(self) -> IndexMap<String, Value> {
        let Self { mut flags, flag_values, .. } = self;
        for (key, value) in flag_values {
            // LaunchDarkly knows no flag with less than two variations.
            let other = value.as_bool().map_or(Value::Null, |value| json!(!value));
            let record = json!({
                "key": key, "on": true, "version": 1, "variations": [value, other], "fallthrough": { "variation": 0 },
                "offVariation": 1,
            });
            flags.entry(key).or_insert(record);
        }
        flags
    }
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

    /// The SDK key before that one, which is taken until then (milliseconds of the epoch).
    #[must_use]
    pub fn expiring_sdk_key(self, key: &str, timestamp: i64) -> Self {
        let old = ExpiringSeed { value: key.to_owned(), timestamp };
        self.in_environment(|environment| environment.expiring_sdk_key = Some(old))
    }

    /// The environment's client-side id, which relays with automatic configuration know it by.
    #[must_use]
    pub fn client_side_id(self, id: &str) -> Self {
        self.in_environment(|environment| environment.client_side_id = Some(id.to_owned()))
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

    /// Flags and segments in the SDKs' form for the environment, as a flag file holds them: `{"flags": {key: record},
    /// "flagValues": {key: value}, "segments": {key: record}}`. Of tombstones only the version is remembered.
    #[must_use]
    pub fn records(self, document: Value) -> Self {
        self.in_environment(|environment| environment.records = document)
    }

    /// As [`Seed::records`], from the text of a flag file.
    ///
    /// # Errors
    /// [`SeedError::Unreadable`] if it is not JSON.
    pub fn flag_file(self, text: &str) -> Result<Self, SeedError> {
        let document = serde_json::from_str(text).map_err(|source| SeedError::Unreadable { source })?;
        Ok(self.records(document))
    }

    /// A payload filter of the project.
    #[must_use]
    pub fn payload_filter(mut self, key: &str, definition: PayloadFilter) -> Self {
        if let Some(project) = self.last_project() {
            project.filters.insert(key.to_owned(), definition);
        }
        self
    }

    /// A key for relays with automatic configuration, which may have these environments (`proj/*:env/*` and the like).
    #[must_use]
    pub fn relay_key(mut self, key: &str, environments: &[&str]) -> Self {
        let statement = Statement {
            effect: Effect::Allow,
            resources: environments.iter().map(|&pattern| pattern.to_owned()).collect(),
            actions: vec!["*".to_owned()],
        };
        self.relay_keys.insert(key.to_owned(), vec![statement]);
        self
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
}
