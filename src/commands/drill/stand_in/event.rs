//! What LaunchDarkly's stream says, as a relay reads it (launchdarkly.md 7.1). PURE. The drill's own reader: that of
//! `relay/` is among what the rehearsal judges.

use serde_json::Map;
use serde_json::Value;

use crate::commands::drill::raw::Kind;

/// All records by key.
pub type Records = Map<String, Value>;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything there is; what was there before goes, whatever its version.
    Put {
        /// The flags.
        flags: Records,
        /// The segments.
        segments: Records,
    },
    /// One thing as it is now, or a mark that it is deleted.
    One {
        /// Which kind.
        kind: Kind,
        /// Its key.
        key: String,
        /// Its record; a tombstone (`"deleted": true`) where it is gone.
        record: Value,
    },
}

/// Reads an event by its name and data. `None`: it is of a kind that a relay passes over.
///
/// # Errors
/// What is wrong with it, in words.
pub fn read(name: &str, data: &str) -> Result<Option<Event>, String> {
    if !matches!(name, "put" | "patch" | "delete") {
        return Ok(None);
    }
    let document: Value = serde_json::from_str(data).map_err(|error| format!("a {name} that is no JSON: {error}"))?;
    if name == "put" {
        let records = |kind: Kind| match document.get("data").and_then(|data| data.get(kind.name())) {
            Some(Value::Object(records)) => Ok(records.clone()),
            None => Ok(Records::new()),
            Some(_) => Err(format!("a put whose {} are no object", kind.name())),
        };
        return Ok(Some(Event::Put { flags: records(Kind::Flags)?, segments: records(Kind::Segments)? }));
    }
    let path = document.get("path").and_then(Value::as_str).unwrap_or_default();
    let place = |kind: Kind| Some((kind, path.strip_prefix(&format!("/{}/", kind.name()))?.to_owned()));
    let Some((kind, key)) = place(Kind::Flags).or_else(|| place(Kind::Segments)) else { return Ok(None) };
    let record = if name == "patch" {
        document.get("data").cloned().ok_or_else(|| format!("a patch of {key} without a record"))?
    } else {
        let version = document.get("version").and_then(Value::as_u64);
        tombstone(&key, version.ok_or_else(|| format!("a delete of {key} without a version"))?)
    };
    Ok(Some(Event::One { kind, key, record }))
}

/// What a relay writes in the place of a thing that is gone.
fn tombstone(key: &str, version: u64) -> Value {
    serde_json::json!({ "key": key, "version": version, "deleted": true })
}

/// The version of a record; 0 where it has none.
pub fn version(record: &Value) -> u64 {
    record.get("version").and_then(Value::as_u64).unwrap_or(0)
}

/// Whether the record is a tombstone.
pub fn is_gone(record: &Value) -> bool {
    record.get("deleted") == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_stream_says() {
        let put = r#"{"path":"/","data":{"flags":{"a":{"version":1}},"segments":{"s":{"version":2}}}}"#;
        let Ok(Some(Event::Put { flags, segments })) = read("put", put) else { panic!("no put") };
        assert_eq!((version(&flags["a"]), version(&segments["s"])), (1, 2));
        let patch = read("patch", r#"{"path":"/flags/a","data":{"version":3,"on":true}}"#);
        let one = |kind, key: &str, record| Ok(Some(Event::One { kind, key: key.to_owned(), record }));
        assert_eq!(patch, one(Kind::Flags, "a", json!({ "version": 3, "on": true })));
        let delete = read("delete", r#"{"path":"/segments/s","version":4}"#);
        assert_eq!(delete, one(Kind::Segments, "s", json!({ "key": "s", "version": 4, "deleted": true })));
    }

    #[test]
    fn what_is_passed_over_and_what_is_wrong() {
        assert_eq!(read("ping", "whatever"), Ok(None));
        assert_eq!(read("patch", r#"{"path":"/elsewhere/a","data":{}}"#), Ok(None));
        assert!(read("put", "{\"path\":").is_err());
        assert!(read("put", r#"{"data":{"flags":[]}}"#).is_err());
        assert!(read("patch", r#"{"path":"/flags/a"}"#).is_err());
        assert!(read("delete", r#"{"path":"/flags/a"}"#).is_err());
    }
}
