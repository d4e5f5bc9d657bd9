//! From a seed to the account that it describes: keys are checked, what is left out is filled in, records become flags.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::EnvironmentSeed;
use super::ProjectSeed;
use super::Records;
use super::Seed;
use super::SeedError;
use crate::drill::launchdarkly::account::Account;
use crate::drill::launchdarkly::account::Project;
use crate::drill::launchdarkly::account::environment::Environment;
use crate::drill::launchdarkly::account::environment::ExpiringKey;
use crate::drill::launchdarkly::account::filter::Filter;
use crate::drill::launchdarkly::account::flag::check;
use crate::drill::launchdarkly::account::flag::complete_configuration;
use crate::drill::launchdarkly::account::flag::complete_flag;
use crate::drill::launchdarkly::account::flag::list;
use crate::drill::launchdarkly::account::flag::new_flag;
use crate::drill::launchdarkly::account::identifier::digits_of;
use crate::drill::launchdarkly::account::identifier::object_of;
use crate::drill::launchdarkly::account::identity::Member;
use crate::drill::launchdarkly::account::identity::Token;
use crate::drill::launchdarkly::account::record::configuration_of;
use crate::drill::launchdarkly::account::record::variations_of;
use crate::drill::launchdarkly::account::segment::Segments;
use crate::drill::launchdarkly::account::segment::complete_segment;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::FlagKey;
use crate::flag::key::ProjectKey;

impl Seed {
    /// The account that the seed describes. `now`: milliseconds of the epoch.
    pub fn into_account(self, now: i64) -> Result<Account, SeedError> {
        let mut account = Account { id: object_of(&["account"]), ..Account::default() };
        for (key, seed) in self.projects {
            let project = project_of(&key, seed, now)?;
            account.projects.insert(key, project);
        }
        account.relay_keys = self.relay_keys.into_iter().collect();
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
        let mut records = records_of(environment.records.take()).map_err(|error| wrong(&place, error))?;
        let segments = std::mem::take(&mut records.segments);
        let removed = add_records(&mut flags, records.all_flags(), key, &environment_key)?;
        project.removed.extend(removed.into_iter().map(|(flag, version)| ((flag, environment_key.clone()), version)));
        let mut made = environment.into_environment(key, environment_key.clone());
        add_segments(&mut made, segments, key)?;
        project.environments.insert(environment_key, made);
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
    let filters = seed.filters.into_iter().map(|(key, definition)| (key, Filter { definition, version: 1 }));
    project.filters = filters.collect();
    Ok(project)
}

fn records_of(document: Value) -> Result<Records, serde_json::Error> {
    if document.is_null() { Ok(Records::default()) } else { serde_json::from_value(document) }
}

/// The version of a record that says that the thing was deleted.
fn deleted_at(record: &Value) -> Option<u64> {
    let deleted = record.get("deleted") == Some(&json!(true));
    deleted.then(|| record.get("version").and_then(Value::as_u64).unwrap_or(0))
}

/// Puts the records of an environment into the project's flags; the versions of tombstones are handed back.
fn add_records(
    flags: &mut IndexMap<String, Value>,
    records: IndexMap<String, Value>,
    project: &str,
    environment: &str,
) -> Result<Vec<(String, u64)>, SeedError> {
    let mut removed = Vec::new();
    for (key, record) in &records {
        if let Some(version) = deleted_at(record) {
            removed.push((key.clone(), version));
            continue;
        }
        let values = variations_of(record);
        let flag = flags.entry(key.clone()).or_insert_with(|| new_flag(project, key, &values, 0));
        if let Some(availability) = record.get("clientSideAvailability") {
            flag["clientSideAvailability"] = availability.clone();
        }
        let known = list(flag.get("variations"));
        let known: Vec<&Value> = known.iter().filter_map(|one| one.get("value")).collect();
        if known != values.iter().collect::<Vec<&Value>>() {
            let place = format!("flag {key} in {project}/{environment}");
            return Err(wrong(place, "its variations differ from those in another environment"));
        }
        flag["environments"][environment] = configuration_of(record, [project, environment, key]);
    }
    Ok(removed)
}

fn add_segments(
    environment: &mut Environment,
    records: IndexMap<String, Value>,
    project: &str,
) -> Result<(), SeedError> {
    for (key, record) in records {
        let place = format!("segment {key} in {project}/{}", environment.key);
        // Segments have keys like those of flags.
        key.parse::<FlagKey>().map_err(|error| wrong(&place, error))?;
        if let Some(version) = deleted_at(&record) {
            environment.removed_segments.insert(key, version);
            continue;
        }
        let salt = digits_of(&["salt", project, &environment.key, "segment", &key]);
        let segment = complete_segment(&record, &key, &salt).map_err(|problem| wrong(&place, problem.message))?;
        environment.segments.insert(key, segment.into());
    }
    Ok(())
}

impl EnvironmentSeed {
    /// The environment, without its flags and segments.
    pub fn into_environment(self, project: &str, key: String) -> Environment {
        let id = self.client_side_id.unwrap_or_else(|| object_of(&["environment", project, &key]));
        let made_up = |kind: &str| format!("{kind}-{}", digits_of(&[kind, project, &key]));
        Environment {
            id,
            name: self.name.unwrap_or_else(|| title(&key)),
            sdk_key: self.sdk_key.unwrap_or_else(|| made_up("sdk")),
            expiring: self.expiring_sdk_key.map(|old| ExpiringKey { key: old.value, expires: old.timestamp }),
            default_ttl: self.default_ttl,
            secure_mode: self.secure_mode,
            version: 1,
            segments: Segments::new(),
            removed_segments: HashMap::new(),
            mobile_key: self.mobile_key.unwrap_or_else(|| made_up("mob")),
            critical: self.critical,
            require_comments: self.require_comments,
            confirm_changes: self.confirm_changes,
            tags: self.tags,
            approvals: self.approval_settings.map(complete_approvals),
            key,
        }
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
