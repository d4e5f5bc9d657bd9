//! What can be seen of a stream from outside. Plain data.

use jiff::Timestamp;

use crate::flag::key::FlagKey;
use crate::guard::environment::AttachedRelay;
use crate::guard::stream::relays::Counts;

/// One stream: LaunchDarkly on one side, relays on the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedView {
    /// The environment's name, or what stands for it where that is not known.
    pub environment: String,
    /// Its path.
    pub path: &'static str,
    /// Whether LaunchDarkly's side is up; `None`: it has not answered yet.
    pub up: Option<bool>,
    /// Since when.
    pub since: Timestamp,
    /// Why it is not up.
    pub told: Option<String>,
    /// The relays, and since when each is there.
    pub relays: Vec<(AttachedRelay, Timestamp)>,
    /// How many flags and segments there are.
    pub flags: usize,
    /// How many environments an automatic configuration has.
    pub environments: usize,
    /// The overridden flags, and whether the override holds.
    pub overrides: Vec<(FlagKey, &'static str)>,
    /// Whether the overrides are known.
    pub overrides_known: bool,
    /// When what is known was LaunchDarkly's.
    pub as_of: Option<Timestamp>,
    /// Events of LaunchDarkly's.
    pub events: u64,
    /// What was sent to relays.
    pub counts: Counts,
}

impl Default for FeedView {
    fn default() -> Self {
        Self {
            environment: String::new(),
            path: "",
            up: None,
            since: Timestamp::UNIX_EPOCH,
            told: None,
            relays: Vec::new(),
            flags: 0,
            environments: 0,
            overrides: Vec::new(),
            overrides_known: false,
            as_of: None,
            events: 0,
            counts: Counts::default(),
        }
    }
}
