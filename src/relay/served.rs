//! A flag as a relay served it. Pure.

use serde::Deserialize;
use serde_json::Value;

/// A flag's record as it came from a relay: the relay's own serialisation, so to be compared by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its version; 0 where there is none.
    pub version: u64,
    /// Whether the relay says that the flag is deleted. `text` is empty then.
    pub deleted: bool,
    /// The record's JSON text.
    pub text: String,
}

impl Served {
    /// Takes a record's JSON text.
    ///
    /// # Errors
    /// In words, where it is not a JSON object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        /// Only what is needed here, and of any type: judging records is not this module's business.
        #[derive(Deserialize)]
        struct Head {
            version: Option<Value>,
            deleted: Option<Value>,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let deleted = head.deleted.and_then(|value| value.as_bool()).unwrap_or_default();
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?.trim();
        Ok(Self {
            version: head.version.and_then(|value| value.as_u64()).unwrap_or_default(),
            deleted,
            text: if deleted { String::new() } else { text.to_owned() },
        })
    }

    /// The mark of a deletion.
    pub(super) fn deletion(version: u64) -> Self {
        Self { version, deleted: true, text: String::new() }
    }
}
