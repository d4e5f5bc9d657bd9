//! Everything the simulated LaunchDarkly remembers: projects, environments, flags, tokens, audit log, approval requests
//! and scheduled changes. Must not know HTTP, faults or limits.
//!
//! Flags are shared and replaced whole (copy on write): whoever reads one holds the account's lock for a look-up only,
//! and shows or sends it after letting go. What streams need is here too: a flag's version in each environment, and
//! the versions at which flags went away.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::json;

use super::answer::Problem;
use super::answer::link;
use super::approval::ApprovalRequest;
use super::audit::AuditLog;
use super::audit::Place;
use super::flag::View;
use super::flag::text;
use super::flag::version;
use super::identity::Token;
use super::instruction::Flags;

/// The account.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub id: String,
    pub projects: IndexMap<String, Project>,
    /// By the secret.
    pub tokens: HashMap<String, Token>,
    pub audit: AuditLog,
    pub approvals: IndexMap<String, ApprovalRequest>,
    pub scheduled: Vec<ScheduledChange>,
}

/// A project with its environments and flags.
#[derive(Debug, Default)]
pub(super) struct Project {
    pub id: String,
    pub key: String,
    pub name: String,
    pub environments: IndexMap<String, Environment>,
    pub flags: Flags,
    /// The version at which a flag that is gone went away, by flag and environment.
    pub removed: HashMap<(String, String), u64>,
}

/// An environment of a project.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    /// Also the client-side id.
    pub id: String,
    pub key: String,
    pub name: String,
    pub sdk_key: String,
    pub mobile_key: String,
    pub critical: bool,
    pub require_comments: bool,
    pub confirm_changes: bool,
    pub tags: Vec<String>,
    /// LaunchDarkly's `approvalSettings`, complete; `None` where the account has no approvals.
    pub approvals: Option<Value>,
}

/// A change that LaunchDarkly would make by itself later. It is only a mark: nothing carries it out.
#[derive(Debug, Clone)]
pub(super) struct ScheduledChange {
    pub project: String,
    pub environment: String,
    pub flag: String,
    pub instructions: Vec<Value>,
}

impl Account {
    pub fn project(&self, key: &str) -> Result<&Project, Problem> {
        self.projects.get(key).ok_or_else(Problem::not_found)
    }

    pub fn project_mut(&mut self, key: &str) -> Result<&mut Project, Problem> {
        self.projects.get_mut(key).ok_or_else(Problem::not_found)
    }
}

impl Project {
    pub fn environment(&self, key: &str) -> Result<&Environment, Problem> {
        self.environments.get(key).ok_or_else(Problem::not_found)
    }

    pub fn flag(&self, key: &str) -> Result<&Arc<Value>, Problem> {
        self.flags.get(key).ok_or_else(Problem::not_found)
    }

    /// Key and name of all environments.
    pub fn environment_names(&self) -> Vec<(String, String)> {
        self.environments.values().map(|one| (one.key.clone(), one.name.clone())).collect()
    }

    /// A change of this flag, for the audit log.
    pub fn place(&self, flag: &Value, environment: Option<&str>) -> Place {
        let environment = environment.and_then(|key| self.environments.get(key));
        Place {
            project: self.key.clone(),
            environment: environment.map(|one| (one.key.clone(), one.name.clone())),
            environments: self.environment_names(),
            flag: text(flag, "key").to_owned(),
            flag_name: text(flag, "name").to_owned(),
        }
    }

    /// Takes the flag away and remembers the versions at which it went.
    pub fn remove_flag(&mut self, key: &str) {
        if let Some(flag) = self.flags.shift_remove(key) {
            for environment in self.environments.keys() {
                let gone_at = version(&flag, environment) + 1;
                self.removed.insert((key.to_owned(), environment.clone()), gone_at);
            }
        }
    }

    /// The representation of the project, without its environments.
    pub fn representation(&self) -> Value {
        let href = format!("/api/v2/projects/{}", self.key);
        json!({
            "_links": { "self": link(&href), "environments": link(format!("{href}/environments")) },
            "_id": self.id, "key": self.key, "name": self.name, "tags": [], "includeInSnippetByDefault": false,
            "defaultClientSideAvailability": { "usingMobileKey": false, "usingEnvironmentId": false },
        })
    }
}

impl Environment {
    /// The answer of `GET /api/v2/projects/{p}/environments/{e}`.
    pub fn representation(&self, project: &str) -> Value {
        let mut shown = json!({
            "_links": { "self": link(format!("/api/v2/projects/{project}/environments/{}", self.key)) },
            "_id": self.id, "key": self.key, "name": self.name,
            "apiKey": self.sdk_key, "mobileKey": self.mobile_key,
            "color": "417505", "defaultTtl": 0, "secureMode": false, "defaultTrackEvents": false,
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
        let tags = super::flag::list(settings.get("requiredApprovalTags"));
        let flag_tags = super::flag::list(flag.get("tags"));
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
}

/// The flag as the API shows it with these environments.
pub(super) fn shown(project: &str, environments: &[(String, String)], flag: &Value, summary: bool) -> Value {
    let environments = environments.iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
    View { project, environments, summary }.of(flag)
}
