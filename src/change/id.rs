//! The id of a change, and who made it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

/// The id of a change: a UUID of version 7. People name it by its last digits, since the first ones are the clock and
/// repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(Uuid);

impl ChangeId {
    /// A new id.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The last four digits: what is shown, and what `--resume` and `undo` take.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[text.len() - 4..].to_owned()
    }

    /// When it was made, by the clock of the machine that made it, in milliseconds since 1970.
    pub fn made_at_ms(&self) -> Option<u64> {
        let (seconds, nanoseconds) = self.0.get_timestamp()?.to_unix();
        Some(seconds.saturating_mul(1_000).saturating_add(u64::from(nanoseconds / 1_000_000)))
    }

    /// Whether `digits` (any number of them) are the end of this id. Hyphens do not count.
    pub fn ends_with(&self, digits: &str) -> bool {
        let wanted: String = digits.chars().filter(|character| *character != '-').collect();
        !wanted.is_empty() && self.0.simple().to_string().ends_with(&wanted.to_ascii_lowercase())
    }
}

impl Default for ChangeId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for ChangeId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(Self(text.parse()?))
    }
}

/// Who did something, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The person, as the operating system or `--as` names them. Not proven.
    pub user: String,
    /// The machine.
    pub host: String,
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.user)
    }
}
