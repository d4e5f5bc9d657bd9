//! A flag file and the file beside it, as JSON. What is written here is written by a rename, as whoever makes such files
//! should, and under the lock that `rc` takes: a relay's part and a command may write at the same time.

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio::time::sleep;

use super::Content;
use super::Kind;
use super::Trouble;
use super::ending;
use super::is_newer;

/// How long the lock is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

#[derive(serde::Deserialize)]
struct FlagFile {
    flags: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    segments: BTreeMap<String, Box<RawValue>>,
}

/// Reads everything.
pub fn content(path: &Path) -> Result<Content, Trouble> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file: FlagFile = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let texts = |records: BTreeMap<String, Box<RawValue>>| {
        records.into_iter().map(|(key, record)| (key, record.get().to_owned())).collect()
    };
    let beside: Value = match fs::read_to_string(beside(path, ".relaycommander.json")) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error.to_string()),
    };
    let object = |name: &str| beside.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    let marks = object("ended");
    let marks = marks.values().filter_map(Value::as_array).flatten().filter_map(ending);
    let overrides = object("overrides").into_iter().map(|(key, _)| key).collect();
    Ok(Content {
        records: texts(file.flags),
        segments: texts(file.segments),
        initialised: true,
        overrides,
        ended: marks.collect(),
    })
}

/// Replaces everything.
pub async fn put(path: &Path, flags: &Map<String, Value>, segments: &Map<String, Value>) -> Result<(), Trouble> {
    let _lock = locked(path).await?;
    let mut document = json!({ "flags": flags });
    if !segments.is_empty() {
        document[Kind::Segments.name()] = json!(segments);
    }
    write(path, &document).map_err(|error| error.to_string())
}

/// Replaces one record, where the new one's version is higher.
pub async fn upsert(path: &Path, kind: Kind, key: &str, record: &Value) -> Result<bool, Trouble> {
    let _lock = locked(path).await?;
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let held = document.get(kind.name()).and_then(|records| records.get(key)).map(Value::to_string);
    if !is_newer(record, held.as_deref()) {
        return Ok(false);
    }
    document[kind.name()][key] = record.clone();
    write(path, &document).map(|()| true).map_err(|error| error.to_string())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Readers see the old file or the new one.
fn write(path: &Path, document: &Value) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, document.to_string())?;
    fs::rename(&new, path)
}

/// The lock, held until the file is dropped.
async fn locked(path: &Path) -> Result<File, Trouble> {
    let lock = beside(path, ".relaycommander.lock");
    let file = File::options().create(true).write(true).truncate(false).open(&lock);
    let file = file.map_err(|error| format!("{}: {error}", lock.display()))?;
    let until = Instant::now() + LOCK_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(Duration::from_millis(5)).await,
            Err(error) => return Err(format!("{}: {error}", lock.display())),
        }
    }
}
