//! What a flag serves, in words. LaunchDarkly's own evaluation model (`launchdarkly-server-sdk-evaluation`) is asked
//! as a second opinion. (stub)

use crate::flag::record::Record;

/// What contexts get from a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Serves {
    /// Everybody gets this value (JSON).
    Everybody(serde_json::Value),
    /// Targeting is off and there is no off variation: the code's own default.
    CodeDefault,
    /// It depends on who asks; the value of the default rule where that is one variation.
    Depends(Option<serde_json::Value>),
}

/// What the flag serves, by LaunchDarkly's own evaluation.
pub fn serves(record: &Record) -> Serves {
    let _ = record;
    todo!()
}

/// What LaunchDarkly's Rust model says against the record, if anything: a second opinion, shown and not obeyed.
pub fn second_opinion(record: &Record) -> Option<String> {
    let _ = record;
    todo!()
}
