//! Everything the simulated LaunchDarkly remembers: projects, environments, flags, tokens, audit log, approval requests
//! and scheduled changes. Must not know HTTP, faults or limits.
//!
//! Flags and segments are shared and replaced whole (copy on write): whoever reads one holds the account's lock for a
//! look-up only, and shows or sends it after letting go. What streams need is here too: a flag's version in each
//! environment, the versions at which things went away, and the news of each change.

pub mod approval;
pub mod audit;
pub mod environment;
pub mod filter;
pub mod flag;
pub mod identifier;
pub mod identity;
mod instruction;
pub mod json_patch;
pub mod news;
pub mod patch;
pub mod record;
pub mod seed;
pub mod segment;

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::json;

use self::approval::ApprovalRequest;
use self::audit::AuditLog;
use self::audit::Place;
use self::environment::Environment;
use self::filter::Filter;
use self::flag::View;
use self::flag::text;
use self::flag::version;
use self::identity::Statement;
use self::identity::Token;
pub use self::instruction::Flags;
use self::news::News;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// The account.
#[derive(Debug, Default)]
pub struct Account {
    pub id: String,
    pub projects: IndexMap<String, Project>,
    /// By the secret.
    pub tokens: HashMap<String, Token>,
    pub audit: AuditLog,
    pub approvals: IndexMap<String, ApprovalRequest>,
    pub scheduled: Vec<ScheduledChange>,
    /// Keys of relays with automatic configuration, and the environments that each may have.
    pub relay_keys: HashMap<String, Vec<Statement>>,
    /// What happened and was not told yet.
    pub news: Vec<News>,
}

/// A project with its environments and flags.
#[derive(Debug, Default)]
pub struct Project {
    pub id: String,
    pub key: String,
    pub name: String,
    pub environments: IndexMap<String, Environment>,
    pub flags: Flags,
    /// The version at which a flag that is gone went away, by flag and environment.
    pub removed: HashMap<(String, String), u64>,
    /// Payload filters, by key.
    pub filters: IndexMap<String, Filter>,
    /// The version at which a payload filter that is gone went away.
    pub removed_filters: HashMap<String, u64>,
    /// The version at which an environment that is gone went away, by its id.
    pub removed_environments: HashMap<String, u64>,
}

/// A change that LaunchDarkly would make by itself later. It is only a mark: nothing carries it out.
#[derive(Debug, Clone)]
pub struct ScheduledChange {
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

/// The flag as the API shows it with these environments.
pub fn shown(project: &str, environments: &[(String, String)], flag: &Value, summary: bool) -> Value {
    let environments = environments.iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
    View { project, environments, summary }.of(flag)
}
