//! What the simulated LaunchDarkly's listeners, endpoints and switchboard have in common: the account, the two boards,
//! and the delivery of flags.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::watch;

use super::account::Account;
use super::account::flag::version;
use super::account::news::News;
use super::account::patch::Patch;
use super::account::patch::Patched;
use super::answer::Problem;
use super::delivery;
use super::delivery::Delivery;
use super::listener::Board;
use super::rest::limit::Limiter;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// How many changes a slow subscriber may be behind before it misses some.
const CHANGES_MAX: usize = 4_096;

/// A flag changed in one environment, for whoever follows from outside: its record is read when it is needed.
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
    account: Mutex<Account>,
    pub delivery: Delivery,
    pub api: Arc<Board>,
    pub stream: Arc<Board>,
    pub limiter: Limiter,
    pub changes: broadcast::Sender<FlagChange>,
    pub stop: watch::Sender<bool>,
}

impl Shared {
    pub fn new(account: Account) -> Arc<Self> {
        Arc::new(Self {
            account: Mutex::new(account),
            delivery: Delivery::default(),
            api: Board::without_streams(),
            stream: Board::with_streams(delivery::asks_for),
            limiter: Limiter::default(),
            changes: broadcast::Sender::new(CHANGES_MAX),
            stop: watch::Sender::new(false),
        })
    }

    /// The account, to look at. Changes go through [`Shared::edit`].
    pub fn account(&self) -> impl Deref<Target = Account> + '_ {
        locked(&self.account)
    }

    /// Changes the account, and tells everybody who has to hear of it. That is done before the lock is let go: all hear
    /// of changes in the order in which they were made.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = locked(&self.account);
        let outcome = edit(&mut account);
        for news in std::mem::take(&mut account.news) {
            self.tell(&account, &news);
            self.delivery.deliver(&account, news);
        }
        outcome
    }

    /// Makes a change of a flag.
    pub fn patch(&self, patch: &Patch<'_>) -> Result<Patched, Problem> {
        self.edit(|account| account.patch(patch))
    }

    /// Tells those who follow from outside.
    fn tell(&self, account: &Account, news: &News) {
        let News::Flag { project, key, before, after } = news else { return };
        let environments = account.projects.get(project).map(|project| &project.environments);
        if self.changes.receiver_count() == 0 {
            return;
        }
        for environment in environments.into_iter().flat_map(|environments| environments.keys()) {
            let was = before.as_deref().map_or(0, |flag| version(flag, environment));
            let version = after.as_deref().map_or(was + 1, |flag| version(flag, environment));
            let environment = format!("{project}/{environment}").parse();
            if let (true, Ok(environment), Ok(flag)) = (version != was, environment, key.parse()) {
                // An error says that the last subscriber has just left.
                let _ = self.changes.send(FlagChange { environment, flag, version });
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
