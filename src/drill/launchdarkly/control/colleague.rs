//! What colleagues do in LaunchDarkly's dashboard, past approvals: to flags, segments, environments and payload filters.

use serde_json::Value;

use super::Control;
use crate::drill::launchdarkly::account::Account;
use crate::drill::launchdarkly::account::ScheduledChange;
use crate::drill::launchdarkly::account::approval::Scope;
use crate::drill::launchdarkly::account::environment::ExpiringKey;
use crate::drill::launchdarkly::account::filter::PayloadFilter;
use crate::drill::launchdarkly::account::flag::version;
use crate::drill::launchdarkly::account::identity::Caller;
use crate::drill::launchdarkly::account::identity::Member;
use crate::drill::launchdarkly::account::patch::Change;
use crate::drill::launchdarkly::account::patch::Patch;
use crate::drill::launchdarkly::account::seed::EnvironmentSeed;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::shared::now_ms;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

impl Control {
    /// Changes a flag as a colleague in LaunchDarkly's dashboard would, past approvals. Returns its version there.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn colleague_patches(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        instructions: &[Value],
        member: &str,
        comment: &str,
    ) -> Result<u64, Problem> {
        let change = Change::Semantic { environment: Some(environment.key.as_str()), instructions };
        self.change(environment, flag, change, member, comment)
    }

    /// Deletes a flag, in all environments, as a colleague would.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn delete_flag(&self, environment: &Environment, flag: &FlagKey, member: &str) -> Result<(), Problem> {
        self.change(environment, flag, Change::Delete, member, "").map(|_| ())
    }

    /// Archives a flag, in all environments, as a colleague would.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn archive_flag(&self, environment: &Environment, flag: &FlagKey, member: &str) -> Result<u64, Problem> {
        self.colleague_patches(environment, flag, &[serde_json::json!({ "kind": "archiveFlag" })], member, "")
    }

    fn change(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        change: Change<'_>,
        member: &str,
        comment: &str,
    ) -> Result<u64, Problem> {
        let patched = self.shared.patch(&Patch {
            project: environment.project.as_str(),
            flag: flag.as_str(),
            change,
            comment,
            caller: &Caller::Dashboard(Member::named(member)),
            dry_run: false,
            ignore_conflicts: true,
            approved: true,
            now: now_ms(),
        })?;
        Ok(version(&patched.flag, environment.key.as_str()))
    }

    /// Marks a change of the flag as scheduled: a patch that is about the same thing is then a conflict.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, flag or environment.
    pub fn schedule(&self, environment: &Environment, flag: &FlagKey, instructions: &[Value]) -> Result<(), Problem> {
        self.shared.edit(|account| {
            let project = account.project(environment.project.as_str())?;
            project.environment(environment.key.as_str())?;
            project.flag(flag.as_str())?;
            account.scheduled.push(ScheduledChange {
                project: environment.project.to_string(),
                environment: environment.key.to_string(),
                flag: flag.to_string(),
                instructions: instructions.to_vec(),
            });
            Ok(())
        })
    }

    /// Takes the flag's scheduled changes in the environment away.
    pub fn unschedule(&self, environment: &Environment, flag: &FlagKey) {
        let other = |one: &ScheduledChange| {
            one.project != environment.project.as_str()
                || one.environment != environment.key.as_str()
                || one.flag != flag.as_str()
        };
        self.shared.edit(|account| account.scheduled.retain(other));
    }

    /// The ids of the flag's approval requests in the environment that are still open, oldest first.
    pub fn open_approvals(&self, environment: &Environment, flag: &FlagKey) -> Vec<String> {
        let account = self.shared.account();
        let ours = account.approvals.values().filter(|one| {
            one.is_open()
                && one.project == environment.project.as_str()
                && one.environment == environment.key.as_str()
                && one.flag == flag.as_str()
        });
        ours.map(|one| one.id.clone()).collect()
    }

    /// A colleague approves (`approve`), declines or comments on an approval request.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn colleague_reviews(&self, id: &str, kind: &str, member: &str) -> Result<(), Problem> {
        let caller = Caller::Dashboard(Member::named(member));
        let body = serde_json::json!({ "kind": kind });
        self.shared.edit(|account| {
            let (project, flag, environment) = place_of(account, id)?;
            let scope = Scope { project: &project, flag: &flag, environment: &environment };
            account.review(scope, id, &body, &caller, now_ms()).map(drop)
        })
    }

    /// A colleague applies an approved request. Returns the flag's version in the environment.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn colleague_applies(&self, id: &str, member: &str) -> Result<u64, Problem> {
        let caller = Caller::Dashboard(Member::named(member));
        self.shared.edit(|account| {
            let (project, flag, environment) = place_of(account, id)?;
            let scope = Scope { project: &project, flag: &flag, environment: &environment };
            let (_, patched) = account.apply_approval(scope, id, "", &caller, now_ms())?;
            Ok(version(&patched.flag, &environment))
        })
    }

    /// Puts a segment (its record in the SDKs' form, of which anything may be left out) in place of the one that is
    /// there, if one is. Returns its version, one more than it was.
    ///
    /// # Errors
    /// [`Problem`]: there is no such environment, or it is no segment.
    pub fn put_segment(&self, environment: &Environment, key: &FlagKey, record: &Value) -> Result<u64, Problem> {
        let (project, environment) = (environment.project.as_str(), environment.key.as_str());
        self.shared.edit(|account| account.put_segment(project, environment, key.as_str(), record))
    }

    /// Deletes a segment.
    ///
    /// # Errors
    /// [`Problem`]: there is no such environment or segment.
    pub fn delete_segment(&self, environment: &Environment, key: &FlagKey) -> Result<(), Problem> {
        let (project, environment) = (environment.project.as_str(), environment.key.as_str());
        self.shared.edit(|account| account.delete_segment(project, environment, key.as_str()))
    }

    /// Adds an environment, in which every flag is off, at version 1.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, or there is such an environment.
    pub fn add_environment(&self, environment: &Environment, sdk_key: Option<&str>) -> Result<(), Problem> {
        let (project, key) = (environment.project.as_str(), environment.key.to_string());
        let seed = EnvironmentSeed::with_sdk_key(sdk_key);
        self.shared.edit(|account| account.add_environment(project, seed.into_environment(project, key), now_ms()))
    }

    /// Deletes an environment. Its streams end, and its SDK keys are not taken any more.
    ///
    /// # Errors
    /// [`Problem`]: there is no such environment.
    pub fn remove_environment(&self, environment: &Environment) -> Result<(), Problem> {
        let (project, key) = (environment.project.as_str(), environment.key.as_str());
        self.shared.edit(|account| account.remove_environment(project, key))
    }

    /// Gives the environment another SDK key. The old one is taken until `old_expires` (milliseconds of the epoch); then,
    /// or at once where none is given, the streams end that were opened with it.
    ///
    /// # Errors
    /// [`Problem`]: there is no such environment.
    pub fn reset_sdk_key(
        &self,
        environment: &Environment,
        sdk_key: &str,
        old_expires: Option<i64>,
    ) -> Result<(), Problem> {
        let (project, key) = (environment.project.as_str(), environment.key.as_str());
        self.shared.edit(|account| {
            account.edit_environment(project, key, |environment| {
                let old = std::mem::replace(&mut environment.sdk_key, sdk_key.to_owned());
                environment.expiring = old_expires.map(|expires| ExpiringKey { key: old, expires });
            })
        })
    }

    /// Defines a payload filter of the project, or takes it away (`None`). Streams that use it end.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, or no such filter to take away.
    pub fn set_payload_filter(
        &self,
        project: &str,
        key: &str,
        definition: Option<PayloadFilter>,
    ) -> Result<(), Problem> {
        self.shared.edit(|account| account.set_filter(project, key, definition))
    }
}

fn place_of(account: &Account, id: &str) -> Result<(String, String, String), Problem> {
    let request = account.approvals.get(id).ok_or_else(Problem::not_found)?;
    Ok((request.project.clone(), request.flag.clone(), request.environment.clone()))
}
