//! What came of an update, target by target: the facts that the report tells and the exit code sums up. Nothing is
//! printed here.

use crate::change::override_::Override;
use crate::change::update::EditPlan;
use crate::change::update::Planned;
use crate::change::update::PlannedWrite;
use crate::commands::sighting::Sighting;
use crate::commands::targets::Chosen;
use crate::commands::update::dependants::Dependants;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::check::Unreadable;
use crate::flag::patch::PatchError;
use crate::relay::verdict::Proof;
use crate::store::StoreError;

/// What one target got.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The store has it, and said so.
    Written {
        /// What was written.
        planned: Box<PlannedWrite>,
        /// False where our own keys are forbidden.
        colleagues_see: bool,
    },
    /// It would be written (`--dry-run`).
    Would(Box<PlannedWrite>),
    /// It was so before.
    AlreadySo {
        /// The record's version.
        version: u64,
        /// The override that makes it so.
        explained_by: Option<Box<Override>>,
    },
    /// There is no such flag there.
    Missing,
    /// LaunchDarkly deleted the flag.
    Tombstone {
        /// Of the deletion.
        version: u64,
    },
    /// Relays cannot read the record.
    Damaged {
        /// What is wrong.
        unreadable: Unreadable,
        /// Whether `--repair` would mend it.
        repairable: bool,
    },
    /// The override beside it cannot be read.
    OverrideUnreadable(String),
    /// The edit cannot be applied there.
    Unpatchable(PatchError),
    /// A colleague's override came in between.
    Colleague(Box<Override>),
    /// A relay takes this store for empty.
    NotInitialised {
        /// How many flags it holds all the same.
        flag_count: u64,
    },
    /// It was to be written and was not, since it could not be recorded.
    NotRecorded,
    /// The record changed again and again while it was being written.
    Unsettled,
    /// The store did not answer, or refused; before or while it was written.
    Failed(StoreError),
}

impl Outcome {
    /// The outcome of a plan that is carried out no further.
    pub fn of_plan(planned: Planned) -> Self {
        match planned {
            Planned::Write(planned) => Outcome::Would(planned),
            Planned::AlreadySo { version, explained_by } => Outcome::AlreadySo { version, explained_by },
            Planned::Missing => Outcome::Missing,
            Planned::Tombstone { version } => Outcome::Tombstone { version },
            Planned::Damaged { unreadable, repairable } => Outcome::Damaged { unreadable, repairable },
            Planned::OverrideUnreadable(why) => Outcome::OverrideUnreadable(why),
            Planned::Unpatchable(error) => Outcome::Unpatchable(error),
            Planned::Colleague(override_) => Outcome::Colleague(override_),
        }
    }

    /// Whether the flag is there as it was asked for.
    pub fn is_as_asked(&self) -> bool {
        matches!(self, Outcome::Written { .. } | Outcome::AlreadySo { .. } | Outcome::Would(_))
    }

    /// Its part in the exit code; `None` where it has none.
    fn exit_code(&self, is_filter_copy: bool) -> Option<ExitCode> {
        match self {
            Outcome::Written { .. } | Outcome::Would(_) | Outcome::AlreadySo { .. } => Some(ExitCode::Done),
            // A payload filter may leave a flag out.
            Outcome::Missing if is_filter_copy => None,
            Outcome::Missing | Outcome::NotRecorded => Some(ExitCode::Failure),
            Outcome::Tombstone { .. }
            | Outcome::Damaged { .. }
            | Outcome::OverrideUnreadable(_)
            | Outcome::Unpatchable(_)
            | Outcome::Colleague(_)
            | Outcome::NotInitialised { .. }
            | Outcome::Unsettled => Some(ExitCode::Refused),
            Outcome::Failed(error) => Some(Failure::from(error.clone()).exit_code()),
        }
    }
}

/// One target of one edit.
#[derive(Debug, Clone)]
pub struct TargetResult {
    /// Where.
    pub chosen: Chosen,
    /// What it got.
    pub outcome: Outcome,
    /// What its relays show.
    pub sightings: Vec<Sighting>,
}

/// One edit, after the update.
#[derive(Debug, Clone)]
pub struct EditResult {
    /// What was planned: what the flag was and is to be.
    pub plan: EditPlan,
    /// Every target, silent ones included.
    pub targets: Vec<TargetResult>,
    /// Flags that have this one as a prerequisite.
    pub dependants: Dependants,
}

impl EditResult {
    /// Says of what was planned and not done that it was not: its change could not be recorded.
    pub fn carried_out(&mut self) {
        for target in &mut self.targets {
            if matches!(target.outcome, Outcome::Would(_)) {
                target.outcome = Outcome::NotRecorded;
            }
        }
    }

    /// The targets that should have it and do not.
    pub fn undone(&self) -> impl Iterator<Item = &TargetResult> {
        self.targets.iter().filter(|target| {
            let code = target.outcome.exit_code(target.chosen.is_filter_copy);
            code.is_some_and(|code| code != ExitCode::Done)
        })
    }

    /// The codes of its targets, and of relays that do not show it.
    pub fn exit_codes(&self) -> impl Iterator<Item = ExitCode> {
        self.targets.iter().flat_map(|target| {
            let own = target.outcome.exit_code(target.chosen.is_filter_copy);
            let written = matches!(target.outcome, Outcome::Written { .. });
            let not_live = target.sightings.iter().any(|sighting| !matches!(sighting.proof, Proof::SawIt { .. }));
            own.into_iter().chain((written && not_live).then_some(ExitCode::NotLive))
        })
    }
}
