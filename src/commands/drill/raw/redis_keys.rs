//! The keys of one environment in a Redis, and what relays and `rc` have put there, by plain commands.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::AsyncCommands;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::Map;
use serde_json::Value;
use tokio::time::timeout;

use super::Content;
use super::Kind;
use super::Trouble;
use super::ending;
use super::is_newer;

/// How long Redis may take for all that is asked at once.
const WITHIN: Duration = Duration::from_secs(5);

/// How often a write is tried anew because somebody else wrote in between.
const ATTEMPTS_MAX: u32 = 32;

/// The keys below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The prefix, without the colon.
    pub prefix: String,
    /// The relay's hash of flags.
    pub features: String,
    /// The relay's hash of segments.
    pub segments: String,
    /// The relay's mark that it was filled.
    pub inited: String,
    /// The overrides.
    pub overrides: String,
    /// The ended marks.
    pub ended: String,
    /// The log.
    pub log: String,
}

impl Keys {
    /// Those below `prefix`.
    pub fn of(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}:{name}");
        Self {
            prefix: prefix.to_owned(),
            features: key("features"),
            segments: key("segments"),
            inited: key("$inited"),
            overrides: key("relaycommander:overrides"),
            ended: key("relaycommander:ended"),
            log: key("relaycommander:log"),
        }
    }

    /// The hash of this kind.
    pub fn of_kind(&self, kind: Kind) -> &str {
        match kind {
            Kind::Flags => &self.features,
            Kind::Segments => &self.segments,
        }
    }
}

/// A connection of one's own.
///
/// # Errors
/// Where nobody answers in time.
pub async fn connect(url: &str) -> Result<MultiplexedConnection, Trouble> {
    // The library's own deadlines are shorter than a busy machine needs.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(WITHIN)).set_response_timeout(Some(WITHIN));
    let client = redis::Client::open(url).map_err(|error| error.to_string())?;
    in_time(client.get_multiplexed_async_connection_with_config(&config)).await
}

/// Waits for an answer of Redis, but not for ever.
pub async fn in_time<T>(call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Trouble> {
    match timeout(WITHIN, call).await {
        Ok(answer) => answer.map_err(|error| format!("Redis: {error}")),
        Err(_) => Err("Redis does not answer".to_owned()),
    }
}

/// Reads everything.
pub async fn content(connection: &mut MultiplexedConnection, keys: &Keys) -> redis::RedisResult<Content> {
    let records = connection.hgetall(&keys.features).await?;
    let segments = connection.hgetall(&keys.segments).await?;
    let initialised = connection.exists(&keys.inited).await?;
    let overrides = connection.hkeys(&keys.overrides).await?;
    let marks: BTreeMap<String, String> = connection.hgetall(&keys.ended).await?;
    let marks = marks.values().filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let ended = marks.filter_map(|mark| ending(&mark)).collect();
    Ok(Content { records, segments, initialised, overrides, ended })
}

/// As a relay does it (launchdarkly.md 6.4).
pub async fn put(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    flags: &Map<String, Value>,
    segments: &Map<String, Value>,
) -> redis::RedisResult<()> {
    let mut reset = redis::pipe();
    reset.atomic();
    for (key, records) in [(&keys.features, flags), (&keys.segments, segments)] {
        reset.del(key).ignore();
        if !records.is_empty() {
            let write = reset.cmd("HSET").arg(key);
            for (field, record) in records {
                write.arg(field).arg(record.to_string());
            }
            write.ignore();
        }
    }
    reset.set(&keys.inited, "").ignore();
    reset.query_async(connection).await
}

/// As a relay does it: what is held is watched, compared, and replaced only if nobody wrote meanwhile.
pub async fn upsert(
    connection: &mut MultiplexedConnection,
    hash: &str,
    key: &str,
    record: &Value,
) -> Result<bool, Trouble> {
    for _ in 0..ATTEMPTS_MAX {
        let attempt = async {
            let () = redis::cmd("WATCH").arg(hash).query_async(connection).await?;
            let held: Option<String> = connection.hget(hash, key).await?;
            if !is_newer(record, held.as_deref()) {
                let () = redis::cmd("UNWATCH").query_async(connection).await?;
                return Ok(Some(false));
            }
            let mut write = redis::pipe();
            write.atomic().hset(hash, key, record.to_string()).ignore();
            let written: Option<()> = write.query_async(connection).await?;
            Ok(written.map(|()| true))
        };
        if let Some(done) = in_time(attempt).await? {
            return Ok(done);
        }
    }
    Err(format!("{hash} is written so often that {key} finds no moment"))
}
