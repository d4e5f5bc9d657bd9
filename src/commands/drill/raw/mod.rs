//! The store and the playback as they are, read and written without any code of the program, so that an error there
//! cannot hide itself: Redis by plain commands with keys spelled out, files as JSON. Also what a relay's part needs:
//! replacing everything, and one thing where its version is higher.

mod file;
pub mod playback;
pub mod redis_keys;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use redis::aio::MultiplexedConnection;
use serde_json::Map;
use serde_json::Value;

pub use redis_keys::Keys;

/// What went wrong with the store, in words.
pub type Trouble = String;

/// The two kinds of things that LaunchDarkly sends and relays keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Flags.
    Flags,
    /// Segments.
    Segments,
}

impl Kind {
    /// Its name in LaunchDarkly's events and in flag files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Flags => "flags",
            Kind::Segments => "segments",
        }
    }
}

/// The store, without anything in between.
#[derive(Debug, Clone)]
pub enum RawStore {
    /// A Redis server, and the keys there.
    Redis(MultiplexedConnection, Box<Keys>),
    /// A flag file.
    File(PathBuf),
}

/// What the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The exact text of each flag's record.
    pub records: BTreeMap<String, String>,
    /// The exact text of each segment's record.
    pub segments: BTreeMap<String, String>,
    /// Whether a relay would say that it was filled; of a file always.
    pub initialised: bool,
    /// The flags that have an override.
    pub overrides: BTreeSet<String>,
    /// The flags whose overrides have ended, and how: `settled`, `undone`, `abandoned`.
    pub ended: BTreeMap<String, String>,
}

impl RawStore {
    /// Reads everything.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn content(&mut self) -> Result<Content, Trouble> {
        match self {
            RawStore::Redis(connection, keys) => redis_keys::in_time(redis_keys::content(connection, keys)).await,
            RawStore::File(path) => file::content(path),
        }
    }

    /// Does what a relay does with LaunchDarkly's `put`: everything that was there goes, whatever its version.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn put(&mut self, flags: &Map<String, Value>, segments: &Map<String, Value>) -> Result<(), Trouble> {
        match self {
            RawStore::Redis(connection, keys) => {
                redis_keys::in_time(redis_keys::put(connection, keys, flags, segments)).await
            }
            RawStore::File(path) => file::put(path, flags, segments).await,
        }
    }

    /// Does what a relay does with one thing that LaunchDarkly sends: the record is written where its version is higher.
    /// Returns whether it was. Nobody else may use this connection meanwhile.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn upsert(&mut self, kind: Kind, key: &str, record: &Value) -> Result<bool, Trouble> {
        match self {
            RawStore::Redis(connection, keys) => redis_keys::upsert(connection, keys.of_kind(kind), key, record).await,
            RawStore::File(path) => file::upsert(path, kind, key, record).await,
        }
    }
}

/// The version in a record's text.
pub fn version(text: &str) -> Option<u64> {
    serde_json::from_str::<Value>(text).ok()?.get("version")?.as_u64()
}

/// Whether a record takes the place of the text that is held: its version is higher, or nothing is held.
fn is_newer(record: &Value, held: Option<&str>) -> bool {
    held.is_none_or(|held| version(held) < record.get("version").and_then(Value::as_u64))
}

/// Flag and ending of an ended mark.
fn ending(mark: &Value) -> Option<(String, String)> {
    let ending = mark.get("ending")?;
    let ending = ending.as_str().or_else(|| ending.get("is")?.as_str())?;
    Some((mark.get("flag")?.as_str()?.to_owned(), ending.to_owned()))
}
