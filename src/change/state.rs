//! What a change has come to: the fold of its events. State is never stored; whoever wants to know reads the intent and
//! the events again, and gets the same. It must not know where events are kept. It takes any events in any order and
//! never fails: what cannot be placed is reported, since a playback file may come from a newer program or be damaged.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::target::Target;

/// How far one edit has come in one target. The newest event about the target says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// On disk, and no answer noted: the program may have been stopped before, during or after the write. It may or may
    /// not be written.
    Intended,
    /// The store has it, and said so.
    Written {
        /// The record's version.
        version: Option<u64>,
        /// False where our own keys are forbidden.
        colleagues_see: bool,
    },
    /// Not written.
    Refused {
        /// Why.
        why: String,
    },
    /// The answer never came: it may or may not be written.
    Unknown {
        /// What was waited for.
        why: String,
    },
    /// Taken back.
    Undone,
    /// The override has ended there.
    Settled {
        /// LaunchDarkly's version.
        version: Option<u64>,
    },
}

impl Outcome {
    /// Whether the edit may be in force there.
    pub fn may_be_in_force(&self) -> bool {
        matches!(self, Outcome::Intended | Outcome::Written { .. } | Outcome::Unknown { .. })
    }

    /// Whether there is something left to write, or to find out.
    pub fn is_unfinished(&self) -> bool {
        matches!(self, Outcome::Intended | Outcome::Refused { .. } | Outcome::Unknown { .. })
    }
}

/// How far one edit has come with LaunchDarkly. The newest event about the edit as a whole says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditStanding {
    /// In force somewhere, or perhaps; LaunchDarkly has not been told.
    Owed,
    /// Every target refused it: it is in force nowhere, and nothing is owed. It can be resumed.
    Nowhere,
    /// A patch was about to be sent and no answer was noted: LaunchDarkly may or may not have it.
    Attempted {
        /// The override's revision.
        revision: u64,
    },
    /// LaunchDarkly has it; the stores may not know yet.
    Replayed {
        /// The revision that was sent.
        revision: u64,
        /// LaunchDarkly's version.
        version: u64,
    },
    /// A reviewer has to look at it.
    AwaitingApproval {
        /// LaunchDarkly's id of the approval request.
        request: String,
        /// Where a person can look at it.
        link: Option<String>,
    },
    /// LaunchDarkly says otherwise, and nobody has decided (or somebody decided and it was not carried out yet).
    Conflict {
        /// The three values, in words.
        told: String,
        /// What was decided.
        decision: Option<String>,
    },
    /// Given up.
    Abandoned {
        /// Why.
        why: String,
    },
    /// Taken back.
    Undone {
        /// By which change.
        by: ChangeId,
    },
    /// Done everywhere.
    Settled {
        /// LaunchDarkly's version.
        version: Option<u64>,
    },
}

impl EditStanding {
    /// Whether LaunchDarkly has to be told, as far as this change's own record knows. What really is owed the stores
    /// decide (design 4.4).
    pub fn is_owed(&self) -> bool {
        match self {
            EditStanding::Owed
            | EditStanding::Attempted { .. }
            | EditStanding::AwaitingApproval { .. }
            | EditStanding::Conflict { .. } => true,
            EditStanding::Nowhere
            | EditStanding::Replayed { .. }
            | EditStanding::Abandoned { .. }
            | EditStanding::Undone { .. }
            | EditStanding::Settled { .. } => false,
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        matches!(self, EditStanding::Abandoned { .. } | EditStanding::Undone { .. } | EditStanding::Settled { .. })
    }
}

/// What one edit has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditState {
    /// Target by target: those of the intent, and any that an event named.
    pub targets: BTreeMap<Target, Outcome>,
    /// With LaunchDarkly.
    pub standing: EditStanding,
    /// The relays through which it was seen, and after how many milliseconds (of the newest sighting).
    pub seen_live: BTreeMap<String, u64>,
    /// Whether an approval was about to be asked for, and no answer was noted: a request may or may not be open.
    pub asking: bool,
    /// The change takes something back instead of asking for something, so LaunchDarkly is never owed it.
    takes_back: bool,
}

impl EditState {
    /// Whether LaunchDarkly has to be told, as far as this change's own record knows.
    pub fn is_owed(&self) -> bool {
        !self.takes_back && self.standing.is_owed()
    }

    /// Whether nothing more will come of it. What takes something back is over when every target has answered and none
    /// refused.
    pub fn is_over(&self) -> bool {
        self.standing.is_over() || (self.takes_back && !self.targets.values().any(Outcome::is_unfinished))
    }

    /// The targets in which something is left to write, or to find out: what `--resume` goes for. None once the edit is
    /// over, or is with LaunchDarkly already.
    pub fn unfinished(&self) -> impl Iterator<Item = &Target> {
        let resumable = self.standing.is_owed() || self.standing == EditStanding::Nowhere;
        let unfinished = move |(_, outcome): &(&Target, &Outcome)| resumable && outcome.is_unfinished();
        self.targets.iter().filter(unfinished).map(|(target, _)| target)
    }
}

/// What a change has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// For each edit, in order.
    pub edits: Vec<EditState>,
    /// The places, counted from 0, of events about an edit that the change has not got. They count for nothing, and
    /// say that the file is damaged or that of a newer program.
    pub stray: Vec<usize>,
}

impl State {
    /// Whether LaunchDarkly has to be told of any edit, as far as this change's own record knows.
    pub fn is_owed(&self) -> bool {
        self.edits.iter().any(EditState::is_owed)
    }

    /// Whether nothing more will come of any edit.
    pub fn is_over(&self) -> bool {
        self.edits.iter().all(EditState::is_over)
    }
}

/// Folds the events of a change. `targets` has, for each edit of the change, the targets that the intent names; an edit
/// without an entry has none.
pub fn fold<'e>(change: &Change, targets: &[BTreeSet<Target>], events: impl IntoIterator<Item = &'e Event>) -> State {
    let of_edit = |index: EditIndex| EditFold {
        targets: targets.get(index).into_iter().flatten().map(|target| (target.clone(), Outcome::Intended)).collect(),
        standing: None,
        seen_live: BTreeMap::new(),
        asking: false,
    };
    let mut edits: Vec<EditFold> = (0..change.edits.len()).map(of_edit).collect();
    let mut stray = Vec::new();
    for (place, event) in events.into_iter().enumerate() {
        match edits.get_mut(event.edit) {
            Some(edit) => edit.take(&event.what),
            None => stray.push(place),
        }
    }
    let takes_back = change.kind == ChangeKind::Undo;
    State { edits: edits.into_iter().map(|edit| edit.finished(takes_back)).collect(), stray }
}

struct EditFold {
    targets: BTreeMap<Target, Outcome>,
    standing: Option<EditStanding>,
    seen_live: BTreeMap<String, u64>,
    asking: bool,
}

impl EditFold {
    fn take(&mut self, what: &Happened) {
        match what {
            Happened::Asking { .. } => self.asking = true,
            Happened::NotAsked { .. } => self.asking = false,
            // It is about to be written again.
            Happened::ReRead { target, .. } => self.came_to(target, Outcome::Intended),
            // Somebody puts back or settles: what the edit came to there is told by the event that follows.
            Happened::Writing { .. } => {}
            // What SDKs have changes nothing about what is owed.
            Happened::NotLive { .. } | Happened::Restarted { .. } => {}
            Happened::Written { target, version, colleagues_see } => {
                self.came_to(target, Outcome::Written { version: *version, colleagues_see: *colleagues_see });
            }
            Happened::Refused { target, why } => self.came_to(target, Outcome::Refused { why: why.clone() }),
            Happened::Unknown { target, why } => self.came_to(target, Outcome::Unknown { why: why.clone() }),
            Happened::SeenLive { relay, after_ms } => {
                self.seen_live.insert(relay.clone(), *after_ms);
            }
            Happened::Attempted { revision, .. } => {
                self.standing = Some(EditStanding::Attempted { revision: *revision });
            }
            Happened::Replayed { revision, version } => {
                self.asking = false;
                self.standing = Some(EditStanding::Replayed { revision: *revision, version: *version });
            }
            Happened::AwaitingApproval { request, link } => {
                self.asking = false;
                self.standing = Some(EditStanding::AwaitingApproval { request: request.clone(), link: link.clone() });
            }
            Happened::Conflict { told, decision } => {
                self.standing = Some(EditStanding::Conflict { told: told.clone(), decision: decision.clone() });
            }
            Happened::Abandoned { why } => self.standing = Some(EditStanding::Abandoned { why: why.clone() }),
            Happened::Undone { by } => {
                self.ends(&Outcome::Undone);
                self.standing = Some(EditStanding::Undone { by: *by });
            }
            Happened::Settled { target: Some(target), version } => {
                self.came_to(target, Outcome::Settled { version: *version });
            }
            Happened::Settled { target: None, version } => {
                self.ends(&Outcome::Settled { version: *version });
                self.standing = Some(EditStanding::Settled { version: *version });
            }
        }
    }

    fn came_to(&mut self, target: &Target, outcome: Outcome) {
        self.targets.insert(target.clone(), outcome);
    }

    /// The edit as a whole is over. A target that refused it never had it, and goes on saying so.
    fn ends(&mut self, outcome: &Outcome) {
        for held in self.targets.values_mut().filter(|held| held.may_be_in_force()) {
            *held = outcome.clone();
        }
    }

    fn finished(self, takes_back: bool) -> EditState {
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused { .. });
        let nowhere = !self.targets.is_empty() && self.targets.values().all(refused);
        let nothing_yet = if nowhere { EditStanding::Nowhere } else { EditStanding::Owed };
        EditState {
            standing: self.standing.unwrap_or(nothing_yet),
            targets: self.targets,
            seen_live: self.seen_live,
            asking: self.asking,
            takes_back,
        }
    }
}

#[cfg(test)]
mod tests;
