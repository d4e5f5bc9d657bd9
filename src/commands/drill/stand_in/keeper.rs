//! What the stand-in does with what LaunchDarkly sends, and with what SDKs ask: a relay's rules for its store, its cache
//! and its broadcasts (launchdarkly.md 9.2, 9.3 and 15). A `put` replaces everything in the store without looking at
//! versions; one thing is written only where its version is higher, and broadcast in any case; nothing that somebody else
//! writes into the store is ever broadcast.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::broadcast;

use super::cache::Cache;
use super::cache::Texts;
use super::event::Event;
use super::event::Records;
use super::event::is_gone;
use super::event::version;
use crate::commands::drill::raw::Kind;
use crate::commands::drill::raw::RawStore;
use crate::commands::drill::raw::Trouble;

/// How many events may wait for an SDK that reads slowly, before its stream ends.
const WAITING_MAX: usize = 1_024;

/// Store, cache and the SDKs that are connected.
#[derive(Debug)]
pub struct Keeper {
    store: RawStore,
    cache: Cache,
    connected: broadcast::Sender<Bytes>,
}

impl Keeper {
    /// One with nobody connected.
    pub fn new(store: RawStore, cache: Cache) -> Self {
        Self { store, cache, connected: broadcast::Sender::new(WAITING_MAX) }
    }

    /// Does what a relay does with an event of LaunchDarkly's stream.
    ///
    /// # Errors
    /// Where the store cannot be written. The event is broadcast all the same.
    pub async fn take(&mut self, event: Event) -> Result<(), Trouble> {
        let told = told(&event);
        let taken = match event {
            Event::Put { flags, segments } => self.put(&flags, &segments).await,
            Event::One { kind, key, record } => self.one(kind, &key, &record).await,
        };
        // An error says that nobody is connected.
        let _ = self.connected.send(told);
        taken
    }

    async fn put(&mut self, flags: &Records, segments: &Records) -> Result<(), Trouble> {
        self.store.put(flags, segments).await?;
        let now = Instant::now();
        for (kind, records) in [(Kind::Flags, flags), (Kind::Segments, segments)] {
            let texts = records.iter().map(|(key, record)| (key.clone(), record.to_string()));
            self.cache.replace(kind, &Arc::new(texts.collect()), now);
        }
        Ok(())
    }

    async fn one(&mut self, kind: Kind, key: &str, record: &Value) -> Result<(), Trouble> {
        let written = self.store.upsert(kind, key, record).await?;
        self.cache.sent(kind, key, written.then(|| record.to_string()), Instant::now());
        Ok(())
    }

    /// Connects an SDK: what it gets first, and then what is broadcast. It gets nothing first where the store is empty, or
    /// where any record in it cannot be read.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn connect(&mut self) -> Result<(Option<Bytes>, broadcast::Receiver<Bytes>), Trouble> {
        let (flags, segments) = (self.all(Kind::Flags).await?, self.all(Kind::Segments).await?);
        let first = flags.zip(segments).and_then(|(flags, segments)| {
            let (flags, segments) = (readable(&flags)?, readable(&segments)?);
            let data = json!({ "path": "/", "data": { "flags": flags, "segments": segments } });
            Some(Bytes::from(format!("event: put\ndata: {data}\n\n")))
        });
        Ok((first, self.connected.subscribe()))
    }

    /// All records of a kind, through the cache; `None` where the store was never filled.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn all(&mut self, kind: Kind) -> Result<Option<Texts>, Trouble> {
        if let Some(texts) = self.cache.all(kind, Instant::now()) {
            return Ok(Some(texts));
        }
        let content = self.store.content().await?;
        if !content.initialised {
            return Ok(None);
        }
        let texts: Texts = Arc::new(match kind {
            Kind::Flags => content.records,
            Kind::Segments => content.segments,
        });
        self.cache.keep_all(kind, &texts, Instant::now());
        Ok(Some(texts))
    }

    /// One record, through the cache; `None` where there is none, or a tombstone.
    ///
    /// # Errors
    /// Where the store or the record cannot be read.
    pub async fn single(&mut self, kind: Kind, key: &str) -> Result<Option<(u64, String)>, Trouble> {
        let text = match self.cache.one(kind, key, Instant::now()) {
            Some(text) => text,
            None => {
                let content = self.store.content().await?;
                let records = if kind == Kind::Flags { content.records } else { content.segments };
                let text = records.get(key).cloned();
                self.cache.keep_one(kind, key, text.clone(), Instant::now());
                text
            }
        };
        let Some(text) = text else { return Ok(None) };
        let record: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok((!is_gone(&record)).then(|| (version(&record), text)))
    }
}

/// The records as they stand, tombstones left out; `None` where one of them cannot be read.
fn readable(texts: &Texts) -> Option<BTreeMap<String, Box<RawValue>>> {
    let mut live = BTreeMap::new();
    for (key, text) in texts.iter() {
        let record: Value = serde_json::from_str(text).ok()?;
        if !record.is_object() || record.get("on").is_some_and(|on| !on.is_boolean()) {
            return None;
        }
        if !is_gone(&record) {
            live.insert(key.clone(), RawValue::from_string(text.clone()).ok()?);
        }
    }
    Some(live)
}

/// The event as connected SDKs get it.
fn told(event: &Event) -> Bytes {
    let (name, data) = match event {
        Event::Put { flags, segments } => {
            ("put", json!({ "path": "/", "data": { "flags": flags, "segments": segments } }))
        }
        Event::One { kind, key, record } => {
            let path = format!("/{}/{key}", kind.name());
            if is_gone(record) {
                ("delete", json!({ "path": path, "version": version(record) }))
            } else {
                ("patch", json!({ "path": path, "data": record }))
            }
        }
    };
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(version: u64, on: bool) -> Value {
        json!({ "key": "a", "version": version, "on": on })
    }

    fn put(record: Value) -> Event {
        Event::Put { flags: [("a".to_owned(), record)].into_iter().collect(), segments: Records::new() }
    }

    fn patch(record: Value) -> Event {
        Event::One { kind: Kind::Flags, key: "a".to_owned(), record }
    }

    /// A keeper of a flag file that has been filled with version 42.
    async fn keeper(folder: &tempfile::TempDir, cache_time: Duration) -> Keeper {
        let store = RawStore::File(folder.path().join("flags.json"));
        let mut keeper = Keeper::new(store, Cache::new(cache_time));
        keeper.take(put(record(42, true))).await.unwrap();
        keeper
    }

    async fn stored(keeper: &mut Keeper) -> String {
        keeper.store.content().await.unwrap().records["a"].clone()
    }

    fn next(receiver: &mut broadcast::Receiver<Bytes>) -> String {
        String::from_utf8(receiver.try_recv().unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_patch_that_is_not_newer_is_broadcast_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(&folder, Duration::ZERO).await;
        let (first, mut connected) = keeper.connect().await.unwrap();
        assert!(String::from_utf8(first.unwrap().to_vec()).unwrap().contains("\"version\":42"));
        // Somebody edits the store: nobody is told.
        keeper.store.upsert(Kind::Flags, "a", &record(43, false)).await.unwrap();
        assert!(connected.try_recv().is_err());
        keeper.take(patch(record(43, true))).await.unwrap();
        assert!(next(&mut connected).starts_with("event: patch\ndata: {\"path\":\"/flags/a\","));
        assert_eq!(stored(&mut keeper).await, record(43, false).to_string(), "not higher, not written");
        keeper.take(patch(record(44, true))).await.unwrap();
        assert_eq!(stored(&mut keeper).await, record(44, true).to_string());
    }

    #[tokio::test]
    async fn a_put_replaces_all_whatever_the_versions() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(&folder, Duration::ZERO).await;
        keeper.store.upsert(Kind::Flags, "a", &record(43, false)).await.unwrap();
        let (_, mut connected) = keeper.connect().await.unwrap();
        keeper.take(put(record(42, true))).await.unwrap();
        assert_eq!(stored(&mut keeper).await, record(42, true).to_string());
        assert!(next(&mut connected).starts_with("event: put\n"));
    }

    #[tokio::test]
    async fn who_asks_anew_gets_what_the_cache_has() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(&folder, Duration::from_secs(3_600)).await;
        keeper.store.upsert(Kind::Flags, "a", &record(43, false)).await.unwrap();
        let (first, _) = keeper.connect().await.unwrap();
        assert!(String::from_utf8(first.unwrap().to_vec()).unwrap().contains("\"version\":42"));
        assert_eq!(keeper.single(Kind::Flags, "a").await.unwrap().unwrap().0, 42);
        let mut impatient = Keeper::new(keeper.store.clone(), Cache::new(Duration::ZERO));
        assert_eq!(impatient.single(Kind::Flags, "a").await.unwrap().unwrap().0, 43);
        assert_eq!(impatient.single(Kind::Flags, "b").await.unwrap(), None);
    }

    #[tokio::test]
    async fn one_damaged_record_silences_all_for_new_connections() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(&folder, Duration::ZERO).await;
        keeper.store.upsert(Kind::Flags, "b", &json!({ "version": 1, "on": "off" })).await.unwrap();
        assert_eq!(keeper.connect().await.unwrap().0, None);
    }

    #[tokio::test]
    async fn what_is_deleted_is_not_served() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(&folder, Duration::ZERO).await;
        let (_, mut connected) = keeper.connect().await.unwrap();
        keeper.take(patch(json!({ "key": "a", "version": 43, "deleted": true }))).await.unwrap();
        assert_eq!(next(&mut connected), "event: delete\ndata: {\"path\":\"/flags/a\",\"version\":43}\n\n");
        assert_eq!(keeper.single(Kind::Flags, "a").await.unwrap(), None);
        let (first, _) = keeper.connect().await.unwrap();
        assert_eq!(first.unwrap(), "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{},\"segments\":{}}}\n\n");
    }
}
