//! What LaunchDarkly holds, to compare with what others made of it.

use std::sync::Arc;

use serde_json::Value;

use super::Control;
use crate::drill::launchdarkly::account::flag::configuration;
use crate::drill::launchdarkly::account::flag::list;
use crate::drill::launchdarkly::account::flag::text;
use crate::drill::launchdarkly::account::flag::version;
use crate::drill::launchdarkly::account::record::record_of;
use crate::drill::launchdarkly::answer::Problem;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// A flag as LaunchDarkly sends it to SDKs.
#[derive(Debug, Clone, PartialEq)]
pub enum SdkFlag {
    /// Its record.
    Record(Value),
    /// It was deleted or archived, at this version.
    Gone {
        /// The version of the deletion.
        version: u64,
    },
}

/// An environment, and what opens it. The keys are those of the seed, or made up where it has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentKeys {
    /// Which one.
    pub environment: Environment,
    /// For server-side SDKs and relays.
    pub sdk_key: String,
    /// For mobile SDKs.
    pub mobile_key: String,
    /// For SDKs in browsers.
    pub client_side_id: String,
    /// How many flags its project has.
    pub flags: usize,
}

impl Control {
    /// All environments, by project, in the order in which they were made.
    pub fn environments(&self) -> Vec<EnvironmentKeys> {
        let account = self.shared.account();
        let keys = account.environments().filter_map(|(project, one)| {
            Some(EnvironmentKeys {
                environment: format!("{}/{}", project.key, one.key).parse().ok()?,
                sdk_key: one.sdk_key.clone(),
                mobile_key: one.mobile_key.clone(),
                client_side_id: one.id.clone(),
                flags: project.flags.len(),
            })
        });
        keys.collect()
    }

    /// The keys of a project's flags; none where there is no such project.
    pub fn flag_keys(&self, environment: &Environment) -> Vec<String> {
        let account = self.shared.account();
        let project = account.project(environment.project.as_str());
        project.map(|project| project.flags.keys().cloned().collect()).unwrap_or_default()
    }

    /// The flag as the account holds it, in API shape, with all environments.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project or flag.
    pub fn flag(&self, environment: &Environment, flag: &FlagKey) -> Result<Arc<Value>, Problem> {
        let account = self.shared.account();
        Ok(Arc::clone(account.project(environment.project.as_str())?.flag(flag.as_str())?))
    }

    /// The flag's configuration in the environment, in API shape.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, flag or environment.
    pub fn configuration(&self, environment: &Environment, flag: &FlagKey) -> Result<Value, Problem> {
        let flag = self.flag(environment, flag)?;
        configuration(&flag, environment.key.as_str()).cloned().ok_or_else(Problem::not_found)
    }

    /// The id of the flag's variation at this index.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, flag or variation.
    pub fn variation_id(&self, environment: &Environment, flag: &FlagKey, index: usize) -> Result<String, Problem> {
        let flag = self.flag(environment, flag)?;
        let variation = list(flag.get("variations")).get(index).ok_or_else(Problem::not_found)?;
        Ok(text(variation, "_id").to_owned())
    }

    /// The flag as LaunchDarkly sends it to the environment's SDKs and relays.
    ///
    /// # Errors
    /// [`Problem`]: there never was such a project, flag or environment.
    pub fn sdk_flag(&self, environment: &Environment, flag: &FlagKey) -> Result<SdkFlag, Problem> {
        let account = self.shared.account();
        let project = account.project(environment.project.as_str())?;
        let (key, environment) = (flag.as_str(), environment.key.as_str());
        project.environment(environment)?;
        let Some(flag) = project.flags.get(key).cloned() else {
            let gone_at = project.removed.get(&(key.to_owned(), environment.to_owned()));
            return gone_at.map(|&version| SdkFlag::Gone { version }).ok_or_else(Problem::not_found);
        };
        drop(account);
        if flag.get("archived") == Some(&Value::Bool(true)) {
            return Ok(SdkFlag::Gone { version: version(&flag, environment) });
        }
        record_of(&flag, environment).map(SdkFlag::Record).ok_or_else(Problem::not_found)
    }

    /// All records of an environment, by flag key, as LaunchDarkly's `put` holds them; archived flags are not in it.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project or environment.
    pub fn sdk_flags(&self, environment: &Environment) -> Result<serde_json::Map<String, Value>, Problem> {
        let account = self.shared.account();
        let project = account.project(environment.project.as_str())?;
        project.environment(environment.key.as_str())?;
        let flags: Vec<Arc<Value>> = project.flags.values().cloned().collect();
        drop(account);
        let live = flags.iter().filter(|flag| flag.get("archived") != Some(&Value::Bool(true)));
        let records =
            live.filter_map(|flag| Some((text(flag, "key").to_owned(), record_of(flag, environment.key.as_str())?)));
        Ok(records.collect())
    }
}
