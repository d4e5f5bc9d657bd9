//! What a guard asks of a store beyond what commands do: what belongs together at one moment, everything that a relay
//! would read, and what is written while it looks on. Values only; each kind of store has its own ways.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::flag::key::FlagKey;
use crate::store::LogEntry;
use crate::store::Reading;
use crate::store::StoreError;
use crate::store::StoredOverride;

/// How long an announcement of a guard stands if it is not made again.
pub const ANNOUNCED_FOR: std::time::Duration = std::time::Duration::from_secs(15);

/// What a store holds of some flags. Record, override and ended marks of a flag were there at the same moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// What it holds. `marks` of a flag are those that were asked for and stand there; `None` where one of them cannot be
    /// read.
    pub reading: Reading,
    /// How many overrides there are in all: more than were read means that there are some of which nobody knew.
    pub override_count: u64,
}

/// Everything that a relay would read of an environment, and the overrides beside it, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    /// Whether `$inited` is there.
    pub initialised: bool,
    /// The flags' records by their keys, as they stand.
    pub flags: BTreeMap<String, Vec<u8>>,
    /// The segments' records by their keys, as they stand.
    pub segments: BTreeMap<String, Vec<u8>>,
    /// The overrides; none where our own keys are forbidden.
    pub overrides: BTreeMap<FlagKey, StoredOverride>,
    /// What is served from here and is no record: a flag file's `flagValues`.
    pub strange: Vec<String>,
}

/// A place in a store's log: what was written after it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace(pub(super) String);

/// What was written since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// The log's entries, oldest first, one for each flag.
    pub entries: Vec<LogEntry>,
    /// The log cannot tell all that was written: another server answers, it was emptied or cut off. What the store holds
    /// has to be looked at.
    pub broken: bool,
}

/// Somebody who follows a log, on a connection of his own.
pub trait Following: Send {
    /// Waits for what is written, for a second or two at most; often there is nothing.
    ///
    /// # Errors
    /// The store does not answer. Then this is of no use any more.
    fn next(&mut self) -> BoxFuture<'_, Result<News, StoreError>>;

    /// How far it has come.
    fn place(&self) -> LogPlace;
}

/// What a guard announces of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The guard's name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What it says, as it wrote it.
    pub text: String,
}
