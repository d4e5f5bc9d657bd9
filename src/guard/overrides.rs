//! What the stream needs of an environment's stores: their words as they come, everything that they hold, and a way to
//! tell them of LaunchDarkly's newest record. It must not know connections.

mod announcer;
mod environment;
mod expiry;
mod filling;
mod judgement;
mod known_flag;
mod ledger;
mod log_follower;
mod place;
mod record_book;
mod supervisor;
mod upkeep;
mod watcher;

#[cfg(test)]
mod day;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

pub use self::expiry::OnExpiry;
pub use self::supervisor::Following;
pub use self::supervisor::Parts;
pub use self::supervisor::following;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::change::override_::Override;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::environment::StreamView;
use crate::guard::stream::channel::StoresWord;
use crate::store::StoreError;

/// Everything that a relay would read of an environment in one store.
#[derive(Debug, Clone, Default)]
pub struct WholeReading {
    /// Whether `$inited` is there.
    pub initialised: bool,
    /// The flags' records by their keys, as they stand.
    pub flags: BTreeMap<String, Vec<u8>>,
    /// The segments' records by their keys, as they stand.
    pub segments: BTreeMap<String, Vec<u8>>,
    /// What is served from there and is no record.
    pub strange: Vec<String>,
    /// The overrides by which a record of ours is told from LaunchDarkly's, those of this store first.
    pub ours: BTreeMap<FlagKey, Vec<Override>>,
}

/// The stores of one environment.
pub trait EnvironmentStores: Send + Sync {
    /// Everything that each of them holds, read now. A store that has answered lately is waited for as long as `answering`
    /// says, others as long as `others` says; one that is late takes nothing from those that are not.
    fn whole(
        &self,
        answering: Duration,
        others: Duration,
    ) -> BoxFuture<'_, Vec<(Target, Result<WholeReading, StoreError>)>>;

    /// LaunchDarkly's newest record of an overridden flag, as its stream told it. Comes back at once.
    fn note_upstream(&self, flag: &FlagKey, record: &Record);
}

/// The stores of one environment, followed.
pub struct Followed {
    /// Their words. The first comes when all stores were looked at or did not answer in time, and then also where there is
    /// no override; none comes while no store answers.
    pub words: mpsc::Receiver<StoresWord>,
    /// The stores themselves.
    pub stores: Arc<dyn EnvironmentStores>,
}

/// Begins to follow the stores of an environment; ends when the receiver of words is dropped. The view of its stream is
/// for the announcement in the stores.
pub type Follow = Arc<dyn Fn(&GuardedEnvironment, watch::Receiver<StreamView>) -> Followed + Send + Sync>;
