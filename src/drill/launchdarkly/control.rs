//! The hand on the simulated LaunchDarkly while it runs: faults and limits, what arrived, and everything that colleagues
//! do there. Used by the rehearsal and by tests; `switchboard` offers the same over HTTP.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::timeout;

use super::account::ScheduledChange;
use super::answer::Problem;
use super::approval::Scope;
use super::fault::Fault;
use super::fault::FaultError;
use super::flag::configuration;
use super::flag::list;
use super::flag::text;
use super::flag::version;
use super::identity::Caller;
use super::identity::Member;
use super::identity::Role;
use super::identity::Token;
use super::limit::Limits;
use super::patch::Change;
use super::patch::Patch;
use super::received::Received;
use super::sdk::record_of;
use super::shared::FlagChange;
use super::shared::Shared;
use super::shared::now_ms;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// How long it may take until connections are refused, or accepted again.
const SWITCH_MAX: Duration = Duration::from_secs(10);

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

/// A hand on the server; as many as wanted.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sets a fault on top of those that are set. Returns when it is in force.
    ///
    /// # Errors
    /// [`FaultError`]: it can not be set.
    pub async fn fault(&self, fault: Fault) -> Result<(), FaultError> {
        self.shared.faults.add(fault)?;
        self.switched().await
    }

    /// Takes all faults back. Returns when connections are accepted again.
    ///
    /// # Errors
    /// [`FaultError::NotInTime`].
    pub async fn clear_faults(&self) -> Result<(), FaultError> {
        self.shared.faults.clear();
        self.switched().await
    }

    /// The faults that are set, with what is left of their counts.
    pub fn faults(&self) -> Vec<Fault> {
        self.shared.faults.list()
    }

    async fn switched(&self) -> Result<(), FaultError> {
        let wanted = !*self.shared.faults.refusing().borrow();
        let mut listening = self.shared.listening.subscribe();
        let waited = timeout(SWITCH_MAX, listening.wait_for(|&now| now == wanted)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            _ => Err(FaultError::NotInTime { seconds: SWITCH_MAX.as_secs() }),
        }
    }

    /// Sets the rate limits; a new window begins.
    pub fn limit(&self, limits: Limits) {
        self.shared.limiter.set(limits);
    }

    /// The rate limits.
    pub fn limits(&self) -> Limits {
        self.shared.limiter.limits()
    }

    /// The requests of the API that arrived, oldest first; the last 10,000.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.list()
    }

    /// Forgets what arrived.
    pub fn forget_received(&self) {
        self.shared.received.clear();
    }

    /// The changes of flags from now on, in order. A subscriber that is 4,096 behind misses some, and is told.
    pub fn changes(&self) -> broadcast::Receiver<FlagChange> {
        self.shared.changes.subscribe()
    }

    /// Adds an access token, or gives it another role.
    pub fn token(&self, secret: &str, role: Role, member: &str) {
        let name = format!("token of {member}");
        let token = Token::new(secret, &name, role, false, Member::named(member), now_ms());
        self.shared.account().tokens.insert(secret.to_owned(), token);
    }

    /// Takes an access token away.
    pub fn revoke(&self, secret: &str) {
        self.shared.account().tokens.remove(secret);
    }

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

    /// Marks a change of the flag as scheduled: a patch that is about the same thing is then a conflict.
    ///
    /// # Errors
    /// [`Problem`]: there is no such project, flag or environment.
    pub fn schedule(&self, environment: &Environment, flag: &FlagKey, instructions: &[Value]) -> Result<(), Problem> {
        let mut account = self.shared.account();
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
    }

    /// Takes the flag's scheduled changes in the environment away.
    pub fn unschedule(&self, environment: &Environment, flag: &FlagKey) {
        self.shared.account().scheduled.retain(|one| {
            one.project != environment.project.as_str()
                || one.environment != environment.key.as_str()
                || one.flag != flag.as_str()
        });
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
        let mut account = self.shared.account();
        let (project, flag, environment) = place_of(&account, id)?;
        let scope = Scope { project: &project, flag: &flag, environment: &environment };
        let (_, patched) = account.review(scope, id, &body, &caller, now_ms())?;
        if let Some(patched) = patched {
            self.shared.tell(&project, &flag, &patched);
        }
        Ok(())
    }

    /// A colleague applies an approved request. Returns the flag's version in the environment.
    ///
    /// # Errors
    /// [`Problem`]: what LaunchDarkly would answer.
    pub fn colleague_applies(&self, id: &str, member: &str) -> Result<u64, Problem> {
        let caller = Caller::Dashboard(Member::named(member));
        let mut account = self.shared.account();
        let (project, flag, environment) = place_of(&account, id)?;
        let scope = Scope { project: &project, flag: &flag, environment: &environment };
        let (_, patched) = account.apply_approval(scope, id, "", &caller, now_ms())?;
        self.shared.tell(&project, &flag, &patched);
        Ok(version(&patched.flag, &environment))
    }
}

fn place_of(account: &super::account::Account, id: &str) -> Result<(String, String, String), Problem> {
    let request = account.approvals.get(id).ok_or_else(Problem::not_found)?;
    Ok((request.project.clone(), request.flag.clone(), request.environment.clone()))
}
