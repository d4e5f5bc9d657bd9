//! A store of a sequence as it is, to the byte: read and written by plain commands with the keys spelled out, and by none
//! of the program's code, which is what is judged. Also what a relay and a replica do to it. It must not know why.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::commands::drill::raw::Trouble;
use crate::drill::launchdarkly::SdkFlag;

const FEATURES: &str = "ld:shop:production:features";
const INITED: &str = "ld:shop:production:$inited";
const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";
const ENDED: &str = "ld:shop:production:relaycommander:ended";
const LOG: &str = "ld:shop:production:relaycommander:log";

/// How long Redis may take for all that is asked at once. Many sequences may be played on one machine.
const WITHIN: Duration = Duration::from_secs(60);

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The exact text of each flag's record.
    pub records: BTreeMap<String, String>,
    /// Whether a relay would say that it was filled.
    pub initialised: bool,
    /// The exact text of each flag's override.
    pub overrides: BTreeMap<String, String>,
    /// The ended marks, by `change/flag`.
    pub ended: BTreeMap<String, String>,
    /// Keys that are nobody's.
    pub strange: BTreeSet<String>,
}

/// A store.
#[derive(Debug, Clone)]
pub enum Store {
    /// A database of a Redis server.
    Redis(MultiplexedConnection),
    /// A flag file, and what lies beside it.
    File(PathBuf),
}

impl Store {
    /// A database of the Redis server behind a unix socket, emptied.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn database(socket: &str, number: usize) -> Result<Self, Trouble> {
        let client = redis::Client::open(format!("unix://{socket}?db={number}")).map_err(|error| error.to_string())?;
        // The client's own limits would take a machine that is busy with other sequences for an outage.
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(WITHIN)).set_response_timeout(Some(WITHIN));
        let connection = in_time(client.get_multiplexed_async_connection_with_config(&config)).await?;
        let mut store = Store::Redis(connection);
        store.restore(&Content::default()).await?;
        Ok(store)
    }

    /// Reads everything, in one step.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn content(&mut self) -> Result<Content, Trouble> {
        match self {
            Store::Redis(connection) => in_time(redis_content(connection)).await,
            Store::File(path) => file_content(path),
        }
    }

    /// Makes it hold exactly this, as a failover to a replica does, or an eviction.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn restore(&mut self, content: &Content) -> Result<(), Trouble> {
        let Store::Redis(connection) = self else { return Err("a flag file does not fail over".to_owned()) };
        let mut all = redis::pipe();
        all.atomic().cmd("FLUSHDB").ignore();
        for (key, hash) in [(FEATURES, &content.records), (OVERRIDES, &content.overrides), (ENDED, &content.ended)] {
            if !hash.is_empty() {
                all.hset_multiple(key, &hash.iter().collect::<Vec<_>>()).ignore();
            }
        }
        if content.initialised {
            all.set(INITED, "").ignore();
        }
        in_time(all.query_async(connection)).await
    }

    /// What a relay does with LaunchDarkly's `put`: every record that was there goes, whatever its version.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn put(&mut self, flags: &Map<String, Value>) -> Result<(), Trouble> {
        match self {
            Store::Redis(connection) => {
                let fields: Vec<(&String, String)> = flags.iter().map(|(key, flag)| (key, flag.to_string())).collect();
                let mut reset = redis::pipe();
                reset.atomic().del(FEATURES).ignore();
                if !fields.is_empty() {
                    reset.hset_multiple(FEATURES, &fields).ignore();
                }
                reset.set(INITED, "").ignore();
                in_time(reset.query_async(connection)).await
            }
            Store::File(path) => write_file(path, &json!({ "flags": flags })).map_err(|error| error.to_string()),
        }
    }

    /// What a relay does with LaunchDarkly's `patch` or `delete`: it is written where its version is higher. Returns
    /// whether it was.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn upsert(&mut self, flag: &str, sent: &SdkFlag) -> Result<bool, Trouble> {
        let record = match sent {
            SdkFlag::Record(record) => record.clone(),
            SdkFlag::Gone { version } => tombstone(*version),
        };
        let content = self.content().await?;
        let held = content.records.get(flag).and_then(|text| version(text));
        if held.is_some_and(|held| Some(held) >= record.get("version").and_then(Value::as_u64)) {
            return Ok(false);
        }
        match self {
            Store::Redis(connection) => {
                let mut write = redis::pipe();
                write.hset(FEATURES, flag, record.to_string()).ignore();
                in_time(write.query_async::<()>(connection)).await?;
            }
            Store::File(path) => {
                let text = fs::read_to_string(&*path).map_err(|error| error.to_string())?;
                let mut document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                document["flags"][flag] = record;
                write_file(path, &document).map_err(|error| error.to_string())?;
            }
        }
        Ok(true)
    }
}

/// What LaunchDarkly's Go SDK leaves of a flag that is deleted: everything at its default.
fn tombstone(version: u64) -> Value {
    json!({
        "key": "$deleted", "on": false, "prerequisites": [], "targets": [], "contextTargets": [], "rules": [],
        "fallthrough": {}, "offVariation": null, "variations": [], "clientSide": false, "salt": "", "trackEvents": false,
        "trackEventsFallthrough": false, "debugEventsUntilDate": null, "version": version, "deleted": true,
    })
}

/// The version in a record's text.
pub fn version(text: &str) -> Option<u64> {
    serde_json::from_str::<Value>(text).ok()?.get("version")?.as_u64()
}

async fn in_time<T>(call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Trouble> {
    match timeout(WITHIN, call).await {
        Ok(answer) => answer.map_err(|error| format!("redis-server: {error}")),
        Err(_) => Err("redis-server does not answer".to_owned()),
    }
}

async fn redis_content(connection: &mut MultiplexedConnection) -> redis::RedisResult<Content> {
    let mut all = redis::pipe();
    all.atomic().hgetall(FEATURES).exists(INITED).hgetall(OVERRIDES).hgetall(ENDED).keys("*");
    let (records, initialised, overrides, ended, keys): (_, _, _, _, BTreeSet<String>) =
        all.query_async(connection).await?;
    let known = [FEATURES, INITED, OVERRIDES, ENDED, LOG];
    let strange = keys.into_iter().filter(|key| !known.contains(&key.as_str())).collect();
    Ok(Content { records, initialised, overrides, ended, strange })
}

#[derive(serde::Deserialize)]
struct FlagFile {
    flags: BTreeMap<String, Box<RawValue>>,
}

#[derive(Default, serde::Deserialize)]
struct Beside {
    #[serde(default)]
    overrides: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    ended: BTreeMap<String, Vec<Value>>,
}

fn file_content(path: &PathBuf) -> Result<Content, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: FlagFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".relaycommander.json");
    let beside: Beside = match fs::read_to_string(&beside) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Beside::default(),
        Err(error) => return Err(error.to_string()),
    };
    let texts = |map: BTreeMap<String, Box<RawValue>>| {
        map.into_iter().map(|(key, text)| (key, text.get().to_owned())).collect::<BTreeMap<String, String>>()
    };
    let marks = beside.ended.into_iter().flat_map(|(change, marks)| {
        let mark = move |mark: Value| {
            let flag = mark.get("flag").and_then(Value::as_str).unwrap_or_default();
            (format!("{change}/{flag}"), mark.to_string())
        };
        marks.into_iter().map(mark).collect::<Vec<_>>()
    });
    Ok(Content {
        records: texts(file.flags),
        initialised: true,
        overrides: texts(beside.overrides),
        ended: marks.collect(),
        strange: BTreeSet::new(),
    })
}

/// By a rename, as whoever makes such files should: readers see the old file or the new one.
fn write_file(path: &PathBuf, document: &Value) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, document.to_string())?;
    fs::rename(&new, path)
}
