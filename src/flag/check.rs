//! Would every reader accept this record? (stub)

use crate::flag::record::Record;

/// What a reader would stumble over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if path.is_empty() { "the record" } else { path.as_str() })]
pub struct Unreadable {
    /// Where it stands, such as `on` or `rules[0].clauses[1].op`.
    pub path: String,
    /// What is wrong, in words: `is the text "off", not true or false`.
    pub problem: String,
}

/// The verdict of the reader that LaunchDarkly's relay uses (`go-server-sdk-evaluation`, `ldmodel/model_unmarshal.go`).
///
/// # Errors
/// The first thing that this reader would not read. One such record makes a relay answer 500 for the whole environment.
pub fn readable(record: &Record) -> Result<(), Unreadable> {
    let _ = record;
    todo!()
}
