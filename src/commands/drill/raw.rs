//! The store and the playback as they are, read and written without any code of the program, so that an error there
//! cannot hide itself: Redis by plain commands with keys spelled out, files as JSON. And the relay's part: what a relay
//! writes when LaunchDarkly's stream sends it something.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;

const FEATURES: &str = "ld:shop:production:features";
const INITED: &str = "ld:shop:production:$inited";
const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";
const ENDED: &str = "ld:shop:production:relaycommander:ended";

/// How long Redis may take for all that is asked at once.
const WITHIN: Duration = Duration::from_secs(5);

/// The store, without anything in between.
#[derive(Debug, Clone)]
pub enum RawStore {
    /// A Redis server.
    Redis(MultiplexedConnection),
    /// A flag file.
    File(PathBuf),
}

/// What the store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// The exact text of each flag's record.
    pub records: BTreeMap<String, String>,
    /// Whether a relay would say that it was filled; of a file always.
    pub initialised: bool,
    /// The flags that have an override.
    pub overrides: BTreeSet<String>,
    /// The flags whose overrides have ended, and how: `settled`, `undone`, `abandoned`.
    pub ended: BTreeMap<String, String>,
}

/// What went wrong with the store, in words.
pub type Trouble = String;

impl RawStore {
    /// Reads everything.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn content(&mut self) -> Result<Content, Trouble> {
        match self {
            RawStore::Redis(connection) => in_time(redis_content(connection)).await,
            RawStore::File(path) => file_content(path),
        }
    }

    /// Does what a relay does with LaunchDarkly's `put`: everything that was there goes, whatever its version.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn put(&mut self, flags: &Map<String, Value>) -> Result<(), Trouble> {
        match self {
            RawStore::Redis(connection) => {
                let fields: Vec<(&String, String)> = flags.iter().map(|(key, flag)| (key, flag.to_string())).collect();
                let mut reset = redis::pipe();
                reset.atomic().del(FEATURES).hset_multiple(FEATURES, &fields).set(INITED, "");
                in_time(reset.query_async(connection)).await
            }
            RawStore::File(path) => write_file(path, &json!({ "flags": flags })).map_err(|error| error.to_string()),
        }
    }

    /// Does what a relay does with LaunchDarkly's `patch`: the record is written where its version is higher. Returns
    /// whether it was.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn patch(&mut self, flag: &str, record: &Value) -> Result<bool, Trouble> {
        let content = self.content().await?;
        let held = content.records.get(flag).map(|text| version(text));
        let newer = held.is_none_or(|held| held < record.get("version").and_then(Value::as_u64));
        if !newer {
            return Ok(false);
        }
        match self {
            RawStore::Redis(connection) => {
                in_time(connection.hset::<_, _, _, ()>(FEATURES, flag, record.to_string())).await?;
            }
            RawStore::File(path) => {
                let text = fs::read_to_string(&*path).map_err(|error| error.to_string())?;
                let mut document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                document["flags"][flag] = record.clone();
                write_file(path, &document).map_err(|error| error.to_string())?;
            }
        }
        Ok(true)
    }
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
    let records = connection.hgetall(FEATURES).await?;
    let initialised = connection.exists(INITED).await?;
    let overrides = connection.hkeys(OVERRIDES).await?;
    let marks: BTreeMap<String, String> = connection.hgetall(ENDED).await?;
    let marks = marks.values().filter_map(|text| serde_json::from_str::<Value>(text).ok());
    Ok(Content { records, initialised, overrides, ended: marks.filter_map(|mark| ending(&mark)).collect() })
}

/// Flag and ending of an ended mark.
fn ending(mark: &Value) -> Option<(String, String)> {
    let ending = mark.get("ending")?;
    let ending = ending.as_str().or_else(|| ending.get("is")?.as_str())?;
    Some((mark.get("flag")?.as_str()?.to_owned(), ending.to_owned()))
}

#[derive(serde::Deserialize)]
struct FlagFile {
    flags: BTreeMap<String, Box<RawValue>>,
}

fn file_content(path: &Path) -> Result<Content, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: FlagFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let records = file.flags.into_iter().map(|(key, record)| (key, record.get().to_owned())).collect();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".relaycommander.json");
    let beside: Value = match fs::read_to_string(&beside) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error.to_string()),
    };
    let object = |name: &str| beside.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let marks = object("ended");
    let marks = marks.values().filter_map(Value::as_array).flatten().filter_map(ending);
    let overrides = object("overrides").into_iter().map(|(key, _)| key).collect();
    Ok(Content { records, initialised: true, overrides, ended: marks.collect() })
}

/// By a rename, as whoever makes such files should: readers see the old file or the new one.
fn write_file(path: &Path, document: &Value) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, document.to_string())?;
    fs::rename(&new, path)
}

/// The files of a playback: those that wait, and those that LaunchDarkly has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaybackFiles {
    /// The first line of each file that waits, oldest first.
    pub waiting: Vec<Value>,
    /// How many lie in `replayed/`.
    pub replayed: usize,
}

impl PlaybackFiles {
    /// What each waiting file is about: flags and what would be sent for them, as `checkout turnFlagOff`.
    pub fn told(&self) -> Vec<String> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let edit = |edit: &Value| {
            let instructions = edit.get("instructions").and_then(Value::as_array).into_iter().flatten();
            let kinds: Vec<String> = instructions.map(|instruction| text(instruction, "kind")).collect();
            format!("{} {}", text(edit, "flag"), kinds.join(" "))
        };
        let file = |intent: &Value| {
            let edits = intent.pointer("/change/edits").and_then(Value::as_array).into_iter().flatten();
            edits.map(edit).collect::<Vec<_>>().join(" + ")
        };
        self.waiting.iter().map(file).collect()
    }
}

/// Reads the playback of a home.
///
/// # Errors
/// What went wrong, in words.
pub fn playback(home: &Path) -> Result<PlaybackFiles, Trouble> {
    let folder = home.join("playback");
    let mut waiting = Vec::new();
    for path in change_files(&folder)? {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let first = text.lines().next().unwrap_or_default();
        waiting.push(serde_json::from_str(first).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    // Ids of changes begin with their time; names of files only tell the second.
    waiting.sort_by_key(|intent: &Value| intent.pointer("/change/id").map(Value::to_string));
    Ok(PlaybackFiles { waiting, replayed: change_files(&folder.join("replayed"))?.len() })
}

/// The files of changes in a folder, by name, and so by time; none where there is no folder.
fn change_files(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    paths.sort();
    Ok(paths)
}
