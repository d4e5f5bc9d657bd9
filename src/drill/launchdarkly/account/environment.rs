//! An environment of a project: its keys, its settings, its segments; and what members do to it. Must not know HTTP.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use super::Account;
use super::Project;
use super::filter::Filter;
use super::filter::PayloadFilter;
use super::flag::complete_configuration;
use super::flag::list;
use super::identifier::object_of;
use super::news::News;
use super::segment::Segments;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// An SDK key that is still taken for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringKey {
    pub key: String,
    /// Until when, in milliseconds of the epoch.
    pub expires: i64,
}

/// An environment of a project.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Also the client-side id.
    pub id: String,
    pub key: String,
    pub name: String,
    pub sdk_key: String,
    /// The SDK key before the present one, as long as it is still taken.
    pub expiring: Option<ExpiringKey>,
    pub mobile_key: String,
    /// Minutes for which PHP SDKs may keep an answer.
    pub default_ttl: u64,
    pub secure_mode: bool,
    /// Counted up with each change of the environment itself, for automatic configuration.
    pub version: u64,
    pub segments: Segments,
    /// The version at which a segment that is gone went away.
    pub removed_segments: HashMap<String, u64>,
    pub critical: bool,
    pub require_comments: bool,
    pub confirm_changes: bool,
    pub tags: Vec<String>,
    /// LaunchDarkly's `approvalSettings`, complete; `None` where the account has no approvals.
    pub approvals: Option<Value>,
}

impl Environment {
    /// The answer of `GET /api/v2/projects/{p}/environments/{e}`.
    pub fn representation(&self, project: &str) -> Value {
        let mut shown = json!({
            "_links": { "self": link(format!("/api/v2/projects/{project}/environments/{}", self.key)) },
            "_id": self.id, "key": self.key, "name": self.name,
            "apiKey": self.sdk_key, "mobileKey": self.mobile_key,
            "color": "417505", "defaultTtl": self.default_ttl, "secureMode": self.secure_mode, "defaultTrackEvents": false,
            "requireComments": self.require_comments, "confirmChanges": self.confirm_changes,
            "tags": self.tags, "critical": self.critical,
        });
        if let Some(settings) = &self.approvals {
            shown["approvalSettings"] = settings.clone();
        }
        shown
    }

    /// Whether a change of this flag's configuration needs an approval here.
    pub fn needs_approval(&self, flag: &Value) -> bool {
        let Some(settings) = &self.approvals else { return false };
        let tags = list(settings.get("requiredApprovalTags"));
        let flag_tags = list(flag.get("tags"));
        let tagged = tags.is_empty() || tags.iter().any(|tag| flag_tags.contains(tag));
        tagged && (settings.get("required") == Some(&json!(true)) || !tags.is_empty())
    }

    /// A number of the approval settings.
    pub fn approval_number(&self, name: &str) -> u64 {
        self.approvals.as_ref().and_then(|settings| settings.get(name)).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A switch of the approval settings.
    pub fn approval_switch(&self, name: &str) -> bool {
        self.approvals.as_ref().and_then(|settings| settings.get(name)).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether it takes this SDK key. `now`: milliseconds of the epoch.
    pub fn takes(&self, sdk_key: &str, now: i64) -> bool {
        let old = self.expiring.as_ref().filter(|old| old.expires > now);
        !sdk_key.is_empty() && (self.sdk_key == sdk_key || old.is_some_and(|old| old.key == sdk_key))
    }

    /// As relays with automatic configuration get it. Source: `launchdarkly.md` 7.4, checked in the relay's
    /// `internal/envfactory/env_rep.go`.
    pub fn relay_representation(&self, project: &Project) -> Value {
        let mut sdk_key = json!({ "value": self.sdk_key });
        if let Some(old) = &self.expiring {
            sdk_key["expiring"] = json!({ "value": old.key, "timestamp": old.expires });
        }
        json!({
            "envID": self.id, "envKey": self.key, "envName": self.name, "mobKey": self.mobile_key,
            "projKey": project.key, "projName": project.name, "sdkKey": sdk_key,
            "defaultTtl": self.default_ttl, "secureMode": self.secure_mode, "version": self.version,
        })
    }
}

/// Changes of environments and payload filters, as a member makes them in the dashboard.
impl Account {
    /// The environment that takes this SDK key, and its project.
    pub fn with_sdk_key(&self, sdk_key: &str, now: i64) -> Option<(&Project, &Environment)> {
        self.environments().find(|(_, environment)| environment.takes(sdk_key, now))
    }

    /// All environments, with their projects.
    pub fn environments(&self) -> impl Iterator<Item = (&Project, &Environment)> {
        self.projects.values().flat_map(|project| project.environments.values().map(move |one| (project, one)))
    }

    /// When the next SDK key expires after this time, in milliseconds of the epoch.
    pub fn next_expiry(&self, after: i64) -> Option<i64> {
        let keys = self.environments().filter_map(|(_, environment)| environment.expiring.as_ref());
        keys.map(|old| old.expires).filter(|&expires| expires > after).min()
    }

    /// Adds an environment, in which every flag of the project is as a new flag is.
    pub fn add_environment(&mut self, project: &str, mut added: Environment, now: i64) -> Result<(), Problem> {
        let found = self.project_mut(project)?;
        if found.environments.contains_key(&added.key) {
            return Err(Problem::conflict());
        }
        let key = added.key.clone();
        // Relays that knew an environment of this id before take it only if its version is higher.
        added.version = added.version.max(found.removed_environments.get(&added.id).map_or(0, |version| version + 1));
        for (flag_key, flag) in &mut found.flags {
            complete_configuration(Arc::make_mut(flag), [project, &key, flag_key], now);
        }
        let after = added.relay_representation(found);
        found.environments.insert(key.clone(), added);
        self.news.push(News::Environment {
            project: project.to_owned(),
            environment: key,
            before: None,
            after: Some(after),
        });
        Ok(())
    }

    /// Takes an environment away.
    pub fn remove_environment(&mut self, project: &str, key: &str) -> Result<(), Problem> {
        let found = self.project_mut(project)?;
        let removed = found.environments.shift_remove(key).ok_or_else(Problem::not_found)?;
        found.removed_environments.insert(removed.id.clone(), removed.version + 1);
        for flag in found.flags.values_mut() {
            if let Some(environments) = Arc::make_mut(flag).get_mut("environments").and_then(Value::as_object_mut) {
                environments.shift_remove(key);
            }
        }
        let before = removed.relay_representation(found);
        self.news.push(News::Environment {
            project: project.to_owned(),
            environment: key.to_owned(),
            before: Some(before),
            after: None,
        });
        Ok(())
    }

    /// Changes an environment; its version counts up.
    pub fn edit_environment(
        &mut self,
        project: &str,
        key: &str,
        edit: impl FnOnce(&mut Environment),
    ) -> Result<(), Problem> {
        let found = self.project_mut(project)?;
        let before = found.environment(key)?.relay_representation(found);
        let environment = found.environments.get_mut(key).ok_or_else(Problem::not_found)?;
        edit(environment);
        environment.version += 1;
        let after = found.environment(key)?.relay_representation(found);
        self.news.push(News::Environment {
            project: project.to_owned(),
            environment: key.to_owned(),
            before: Some(before),
            after: Some(after),
        });
        Ok(())
    }

    /// Defines a payload filter of the project, or takes it away (`None`).
    pub fn set_filter(&mut self, project: &str, key: &str, definition: Option<PayloadFilter>) -> Result<(), Problem> {
        let found = self.project_mut(project)?;
        let old = found.filters.shift_remove(key);
        if old.is_none() && definition.is_none() {
            return Err(Problem::not_found());
        }
        let last = old.as_ref().map(|filter| filter.version).or(found.removed_filters.get(key).copied());
        let version = last.map_or(1, |version| version + 1);
        let shown = |filter: &Filter| filter.relay_representation(project, key);
        let before = old.as_ref().map(shown);
        let new = definition.map(|definition| Filter { definition, version });
        let after = new.as_ref().map(shown);
        match new {
            Some(filter) => {
                found.filters.insert(key.to_owned(), filter);
            }
            None => {
                found.removed_filters.insert(key.to_owned(), version);
            }
        }
        let id = filter_id(project, key);
        self.news.push(News::Filter { project: project.to_owned(), id, before, after });
        Ok(())
    }
}

/// The id of a payload filter.
pub fn filter_id(project: &str, key: &str) -> String {
    object_of(&["filter", project, key])
}
