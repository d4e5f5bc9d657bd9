//! What came of each override and of each stray edit: what the report is made of. Pure.

use jiff::Timestamp;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::target::Target;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::owed::Subject;
use crate::commands::replay::plan;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Left;
use crate::commands::replay::stores::Came;
use crate::commands::replay::stores::Told;
use crate::commands::signing::Vouched;
use crate::error::ExitCode;
use crate::launchdarkly::approval::Approval;

/// What came of an override.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Sent, and LaunchDarkly shows it.
    Replayed {
        /// LaunchDarkly's version.
        version: u64,
        /// Somebody else changed the flag at the same time.
        more: bool,
    },
    /// LaunchDarkly had it already.
    Already {
        /// LaunchDarkly's version.
        version: u64,
    },
    /// LaunchDarkly has had it, and somebody changed it there since.
    Had {
        /// LaunchDarkly's version.
        version: u64,
        /// What was done since, in words.
        since: String,
    },
    /// LaunchDarkly accepted it in an earlier replay, or in somebody else's.
    Before {
        /// LaunchDarkly's version.
        version: u64,
    },
    /// The edits came to nothing.
    Nothing,
    /// Given up.
    Abandoned {
        /// Why.
        why: String,
    },
    /// An approval was asked for.
    Requested(Approval),
    /// It stays owed.
    Left(Left),
    /// A rehearsal: LaunchDarkly would take it, it says.
    Valid,
    /// A rehearsal: an approval would be asked for. LaunchDarkly was not asked about that.
    WouldRequest,
}

impl Outcome {
    /// LaunchDarkly's version, where it has the override.
    pub fn version(&self) -> Option<u64> {
        match self {
            Outcome::Replayed { version, .. }
            | Outcome::Already { version }
            | Outcome::Had { version, .. }
            | Outcome::Before { version } => Some(*version),
            _ => None,
        }
    }

    /// Whether LaunchDarkly still has to be told.
    pub fn is_owed(&self) -> bool {
        matches!(self, Outcome::Left(_) | Outcome::Requested(_))
    }
}

/// An override, and what came of it.
#[derive(Debug, Clone)]
pub struct Done {
    /// Which flag.
    pub subject: Subject,
    /// The override.
    pub override_: Override,
    /// What it asks for, in words.
    pub wish: String,
    /// What LaunchDarkly had, in words, where it was read.
    pub now: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// What came of it in the stores.
    pub stores: Told,
    /// What is said of SDKs that may hold a version of ours which LaunchDarkly has not reached.
    pub left_behind: Option<String>,
    /// Approval requests of earlier edits that somebody may still agree to in LaunchDarkly: their pages, or ids.
    pub still_open: Vec<String>,
    /// Whether the keys here vouch for it.
    pub vouched: Vouched,
}

impl Done {
    /// Puts it together.
    pub fn new(matter: &Matter, outcome: Outcome, stores: Told) -> Self {
        Self::wishing(plan::wish_in_words(&matter.override_), matter, outcome, stores)
    }

    fn wishing(wish: String, matter: &Matter, outcome: Outcome, stores: Told) -> Self {
        Self {
            subject: matter.subject.clone(),
            wish,
            now: None,
            override_: matter.override_.clone(),
            outcome,
            stores,
            left_behind: None,
            still_open: Vec::new(),
            vouched: Vouched::Unasked,
        }
    }

    /// Puts it together for an override of which LaunchDarkly was asked.
    pub fn of(item: &Item, outcome: Outcome, stores: Told) -> Self {
        let page = |approval: &Approval| approval.link.clone().unwrap_or_else(|| approval.id.clone());
        // Where the override is given up or comes to nothing, nobody should agree to it any more either.
        let ends = matches!(outcome, Outcome::Nothing | Outcome::Abandoned { .. });
        let stands = item.approval.iter().filter(|approval| ends && approval.is_open());
        let still_open = item.still_open.iter().chain(stands).map(page).collect();
        let now = item.now.as_ref().map(|now| plan::in_few_words(&now.configuration, &item.matter.override_));
        Self {
            still_open,
            now,
            vouched: item.vouched,
            ..Self::wishing(item.wish.clone(), &item.matter, outcome, stores)
        }
    }

    /// Whether another override stands in some target and is owed.
    pub fn has_newer(&self) -> bool {
        self.stores.values().any(|came| *came == Came::Newer)
    }

    /// The targets that are not as they should be.
    pub fn behind(&self) -> impl Iterator<Item = (&Target, &Came)> {
        self.stores.iter().filter(|(_, came)| !came.is_well())
    }

    /// Whether LaunchDarkly or a store is not as it was.
    pub fn did_something(&self) -> bool {
        matches!(self.outcome, Outcome::Replayed { .. } | Outcome::Requested(_))
            || self.stores.values().any(|came| matches!(came, Came::Settled | Came::PutBack))
    }

    /// The part that it has in the exit code.
    pub fn code(&self) -> ExitCode {
        match &self.outcome {
            Outcome::Left(Left { failure: Some(failure), .. }) => failure.exit_code(),
            Outcome::Left(_) | Outcome::Requested(_) => ExitCode::Owed,
            _ if self.has_newer() => ExitCode::Owed,
            // An override that waits for its evidence changes nothing; that a store is silent is told by itself.
            Outcome::Before { .. } if !self.stores.values().any(|came| matches!(came, Came::Not(_))) => ExitCode::Done,
            _ if self.behind().next().is_some() => ExitCode::Partly,
            _ => ExitCode::Done,
        }
    }
}

/// What came of an edit that is part of no override.
#[derive(Debug, Clone, PartialEq)]
pub enum StrayOutcome {
    /// A store has its ended mark.
    Ended {
        /// The mark.
        mark: EndedMark,
        /// When it was to be over, if it was undone after that.
        expired: Option<Timestamp>,
    },
    /// LaunchDarkly has it: by the playback.
    Replayed {
        /// LaunchDarkly's version.
        version: u64,
    },
    /// LaunchDarkly has it: its audit log names the change.
    InAuditLog(String),
    /// What it wrote is, by now, LaunchDarkly's own record: there is nothing to send and nothing to put back.
    Theirs {
        /// LaunchDarkly's version.
        version: u64,
    },
    /// It was never written.
    Nowhere,
    /// It stands nowhere, whether it was written was not noted, and a later edit was made here since.
    Superseded {
        /// That one's change.
        by: ChangeId,
    },
    /// It was given up.
    GivenUp,
    /// An undo that could not be finished: somebody else has done it.
    Undone(Vec<Target>),
    /// It cannot be told.
    Undecided {
        /// Why.
        why: String,
        /// What may be done about it.
        way: Way,
    },
}

/// What may be done about an edit of which nobody knows what became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Decide that it is over.
    GiveUp,
    /// Write it after all, or decide that it is over.
    Resume,
    /// Put LaunchDarkly's record back where ours stands.
    Undo,
    /// Wait for what did not answer.
    Again,
    /// Look closer.
    Look,
}

/// An edit that is part of no override, and what came of it.
#[derive(Debug, Clone)]
pub struct StrayDone {
    /// Which flag.
    pub subject: Subject,
    /// Its change.
    pub change: ChangeId,
    /// What came of it.
    pub outcome: StrayOutcome,
}

impl StrayDone {
    /// The part that it has in the exit code.
    pub fn code(&self) -> ExitCode {
        match &self.outcome {
            StrayOutcome::Undecided { way: Way::Again, .. } => ExitCode::Unreachable,
            StrayOutcome::Undecided { .. } => ExitCode::Owed,
            _ => ExitCode::Done,
        }
    }
}
