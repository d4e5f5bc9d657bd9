//! What the server's connections, its endpoints and its switchboard have in common.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::watch;

use super::account::Account;
use super::fault::Faults;
use super::limit::Limiter;
use super::patch::Patch;
use super::patch::Patched;
use super::received::ReceivedLog;
use crate::drill::launchdarkly::answer::Problem;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// How many changes a slow subscriber may be behind before it misses some.
const CHANGES_MAX: usize = 4_096;

/// A flag changed in one environment, for whoever streams it on: its record is read when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// Its version there after the change; of a deleted flag, the version of the deletion.
    pub version: u64,
}

/// The simulated LaunchDarkly's state.
#[derive(Debug)]
pub(super) struct Shared {
    pub account: Mutex<Account>,
    pub faults: Faults,
    pub limiter: Limiter,
    pub received: ReceivedLog,
    pub changes: broadcast::Sender<FlagChange>,
    /// Whether somebody listens: set by the server once it is so.
    pub listening: watch::Sender<bool>,
    pub stop: watch::Sender<bool>,
}

impl Shared {
    pub fn new(account: Account) -> Arc<Self> {
        Arc::new(Self {
            account: Mutex::new(account),
            faults: Faults::default(),
            limiter: Limiter::default(),
            received: ReceivedLog::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            listening: watch::Sender::new(true),
            stop: watch::Sender::new(false),
        })
    }

    pub fn account(&self) -> MutexGuard<'_, Account> {
        locked(&self.account)
    }

    /// Makes a change and tells the subscribers.
    pub fn patch(&self, patch: &Patch<'_>) -> Result<Patched, Problem> {
        let mut account = self.account();
        let patched = account.patch(patch)?;
        // Told before the lock is let go: subscribers hear of changes in the order in which they were made.
        self.tell(patch.project, patch.flag, &patched);
        Ok(patched)
    }

    /// Tells the subscribers of a change.
    pub fn tell(&self, project: &str, flag: &str, patched: &Patched) {
        if self.changes.receiver_count() == 0 {
            return;
        }
        for (environment, version) in &patched.changed {
            let environment = format!("{project}/{environment}").parse();
            if let (Ok(environment), Ok(flag)) = (environment, flag.parse()) {
                // An error says that the last subscriber has just left.
                let _ = self.changes.send(FlagChange { environment, flag, version: *version });
            }
        }
    }
}

/// The lock, also after a panic elsewhere: what it guards is replaced whole or not at all.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds of the epoch.
pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
