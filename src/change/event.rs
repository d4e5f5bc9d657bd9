//! What happened to a change after it was decided. Events are only ever added; what holds now is their fold (`state`).

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::change::id::ChangeId;
use crate::change::target::Target;
use crate::flag::record::Record;

/// The place of an edit in its change, counted from 0.
pub type EditIndex = usize;

/// One thing that happened, with its time by the operator's clock (shown, never used to order).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// To which edit of the change.
    pub edit: EditIndex,
    /// What.
    pub what: Happened,
}

/// What happened to one edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Happened {
    /// The record was not what it had been; it was read again. Synced before the write that follows.
    ReRead {
        /// Where.
        target: Target,
        /// What stands there now.
        before: Option<Record>,
        /// What will take its place.
        after: Option<Record>,
    },
    /// A store is about to be written although no update asked for it: an undo, a settling after a replay. Synced
    /// before the write.
    Writing {
        /// Where.
        target: Target,
        /// What stands there now.
        before: Option<Record>,
        /// What will take its place; `None` where only the override beside it changes.
        after: Option<Record>,
    },
    /// The store has it, and said so.
    Written {
        /// Where.
        target: Target,
        /// The version of the record now.
        version: Option<u64>,
        /// False where our own keys are forbidden: colleagues and guards will not see the override.
        colleagues_see: bool,
    },
    /// It was not written, and the store is as it was.
    Refused {
        /// Where.
        target: Target,
        /// Why.
        why: String,
    },
    /// The answer never came: it may or may not be written.
    Unknown {
        /// Where.
        target: Target,
        /// What was waited for.
        why: String,
    },
    /// A connection of ours to a relay received it.
    SeenLive {
        /// The relay's label.
        relay: String,
        /// Counted from the store's answer.
        after_ms: u64,
    },
    /// By what a relay showed our connections, SDKs that stay connected to it do not have it. Nothing is done because of it.
    NotLive {
        /// The relay's label.
        relay: String,
        /// Who gets it, in words.
        told: String,
    },
    /// A relay was restarted by us and showed it when it was back: SDKs connect anew then. Nothing is done because of it.
    Restarted {
        /// The relay's label.
        relay: String,
    },
    /// The patch is about to be sent. Synced before it is.
    Attempted {
        /// The override's revision that is sent.
        revision: u64,
        /// The request, for people: method, path, body.
        request: String,
    },
    /// LaunchDarkly shows it.
    Replayed {
        /// The revision that was sent.
        revision: u64,
        /// LaunchDarkly's version of the flag.
        version: u64,
    },
    /// An approval is about to be asked for. Synced before it is.
    Asking {
        /// The override's revision.
        revision: u64,
    },
    /// LaunchDarkly took no request for an approval.
    NotAsked {
        /// Why.
        why: String,
    },
    /// An approval request stands in its stead.
    AwaitingApproval {
        /// LaunchDarkly's id of it.
        request: String,
        /// Where a person can look at it.
        link: Option<String>,
    },
    /// LaunchDarkly's flag differs from the base in an aspect that the override touches.
    Conflict {
        /// The three values, in words.
        told: String,
        /// What was decided, by whom, if anything was: `override`, `launchdarkly`, `skip`.
        decision: Option<String>,
    },
    /// Given up in favour of what LaunchDarkly says, or since the flag is gone there.
    Abandoned {
        /// Why.
        why: String,
    },
    /// Taken back.
    Undone {
        /// The change that did it.
        by: ChangeId,
    },
    /// The override has ended in this target and LaunchDarkly's own record, or version, stands there; or the
    /// store had nothing left to do.
    Settled {
        /// Where; `None` for the change as a whole.
        target: Option<Target>,
        /// LaunchDarkly's version.
        version: Option<u64>,
    },
}
