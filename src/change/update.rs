//! The plan of an update: what every target gets, or why it gets nothing. It decides and tells facts; showing them,
//! writing, and reading again are others' work. It must not know how a target was reached: a target that did not answer
//! is simply not among those handed in.

pub mod course;
mod differences;

use std::sync::Arc;

use crate::change::edit::Edit;
use crate::change::edit::Motive;
use crate::change::event::EditIndex;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::merge::merged;
use crate::change::override_::Override;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::seen::is_strangers;
use crate::change::signing::Keys;
use crate::change::signing::Signed;
use crate::change::signing::name_the_same;
use crate::change::target::Target;
use crate::change::update::course::Course;
use crate::flag::aspect::Aspect;
use crate::flag::check::Unreadable;
use crate::flag::patch;
use crate::flag::patch::PatchError;
use crate::flag::preview::Serves;
use crate::flag::record::Record;

/// One edit of a change, as somebody asked for it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The change's id. When a change is resumed: its old one.
    pub change: ChangeId,
    /// Who, when, why.
    pub motive: &'a Motive,
    /// Where and what.
    pub edit: &'a Edit,
}

/// What the operator allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// `--repair`: a record that can be mended is mended and written.
    pub repair: bool,
    /// `--record`: an override is written although the flag is already so, and LaunchDarkly is owed it. Where another time
    /// is named at which it is to be over, also beside an override that makes it so.
    pub record_anyway: bool,
    /// `--despite-differences`: written although hosts will serve different things.
    pub despite_differences: bool,
    /// What overrides are signed with.
    pub keys: Option<&'a Keys>,
}

/// A target that answered.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Where.
    pub target: &'a Target,
    /// A payload filter's copy: it has only some of the flags, so a missing one is no finding.
    pub is_filter_copy: bool,
    /// What it holds.
    pub seen: &'a Seen,
}

/// One edit with all that was read for it.
#[derive(Debug, Clone)]
pub struct EditSeen<'a> {
    /// Where and what.
    pub edit: &'a Edit,
    /// What holds for the flag, merged from all targets.
    pub standing: &'a Standing,
    /// The targets that answered.
    pub targets: Vec<Here<'a>>,
}

/// A write, with what people want to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedWrite {
    /// What is to be done.
    pub write: Write,
    /// The version that stands there.
    pub version_before: u64,
    /// The version that will stand there.
    pub version_after: u64,
    /// The record could not be read and is mended by this write.
    pub repaired: bool,
    /// Nothing new: the target gets an override that others have already.
    pub catches_up: bool,
}

/// What one target gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// A write.
    Write(Box<PlannedWrite>),
    /// The edit changes nothing on what stands there and should stand there.
    AlreadySo {
        /// The record's version.
        version: u64,
        /// The override that makes it so. `None`: it is so in LaunchDarkly's own record, and LaunchDarkly will not be
        /// told of the edit.
        explained_by: Option<Box<Override>>,
    },
    /// There is no such flag there. Fine in a filter copy.
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
        /// Whether [`Options::repair`] would mend it.
        repairable: bool,
    },
    /// The override there is damaged, or of a newer format: the record cannot be changed without losing what it says.
    OverrideUnreadable(String),
    /// The edit cannot be applied there: that copy has not got the variation.
    Unpatchable(PatchError),
    /// Somebody else's override has come between reading and writing.
    Colleague(Box<Override>),
}

/// Why nothing of an edit is written, and so nothing of its change.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// No target that should have the flag has it.
    NoSuchFlag,
    /// Every copy is deleted, damaged, or has an override that cannot be read; the outcomes say which.
    NoUsableCopy,
    /// The edit can be applied to no copy.
    Unpatchable(PatchError),
    /// Hosts hold different content, and would serve different things after the edit.
    Differs {
        /// What each would serve.
        by: Vec<(Target, Serves)>,
    },
    /// No target that should have the flag answered.
    NobodyAnswered,
}

/// How a target's copy of LaunchDarkly's record differs from the first target's. Our own overrides do not count.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where.
    pub target: Target,
    /// LaunchDarkly's version there.
    pub version: u64,
    /// In what. Empty: only in the version, or in parts that decide nothing about who gets what.
    pub aspects: std::collections::BTreeSet<Aspect>,
}

/// The plan of one edit.
#[derive(Debug, Clone, PartialEq)]
pub struct EditPlan {
    /// What each target gets, in the order in which they were handed in.
    pub targets: Vec<(Target, Planned)>,
    /// Targets whose content differs from the first one's: worth saying even where it decides nothing.
    pub differing: Vec<Difference>,
    /// Why nothing is written.
    pub refusal: Option<Refusal>,
}

impl EditPlan {
    /// The writes of this edit, whether it is refused or not.
    pub fn writes(&self) -> impl Iterator<Item = &PlannedWrite> {
        self.targets.iter().filter_map(|(_, planned)| match planned {
            Planned::Write(write) => Some(&**write),
            _ => None,
        })
    }

    /// Whether the flag is already so in every target that answered and has it.
    pub fn is_already_so(&self) -> bool {
        let so = |planned: &Planned| matches!(planned, Planned::AlreadySo { .. });
        self.targets.iter().any(|(_, planned)| so(planned))
            && self.targets.iter().all(|(_, planned)| so(planned) || matches!(planned, Planned::Missing))
    }
}

/// The plan of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangePlan {
    /// One plan for each edit, in order.
    pub edits: Vec<EditPlan>,
}

impl ChangePlan {
    /// The edits that cannot be written. If there is one, nothing of the change is written.
    pub fn refusals(&self) -> impl Iterator<Item = (EditIndex, &Refusal)> {
        self.edits.iter().enumerate().filter_map(|(index, edit)| Some((index, edit.refusal.as_ref()?)))
    }

    /// What is to be written: everything, or nothing if one edit is refused.
    pub fn writes(&self) -> Vec<Write> {
        if self.refusals().next().is_some() {
            return Vec::new();
        }
        self.edits.iter().flat_map(EditPlan::writes).map(|planned| planned.write.clone()).collect()
    }
}

/// Plans a whole change over all targets that answered.
pub fn plan(change: ChangeId, motive: &Motive, options: &Options<'_>, edits: &[EditSeen<'_>]) -> ChangePlan {
    let plan_edit = |seen: &EditSeen<'_>| plan_edit(&Asked { change, motive, edit: seen.edit }, options, seen);
    ChangePlan { edits: edits.iter().map(plan_edit).collect() }
}

fn plan_edit(asked: &Asked<'_>, options: &Options<'_>, seen: &EditSeen<'_>) -> EditPlan {
    let course = Course::of(asked, options, seen.standing, seen.targets.iter().map(|here| here.seen));
    let plan_all = |even_if_so: bool| -> Vec<(Target, Planned)> {
        let plan_one = |here: &Here<'_>| (here.target.clone(), plan_one(asked, &course, here, options, even_if_so));
        seen.targets.iter().map(plan_one).collect()
    };
    let mut targets = plan_all(options.record_anyway);
    // An edit that one host needs is in force on all: else the host that was already so would be the one that follows
    // LaunchDarkly, and later readers would find an override here and none there.
    let any_target = |is: fn(&Planned) -> bool| targets.iter().any(|(_, planned)| is(planned));
    let any_write = any_target(|planned| matches!(planned, Planned::Write(_)));
    if any_write && any_target(|planned| matches!(planned, Planned::AlreadySo { .. })) {
        targets = plan_all(true);
    }
    let contents = differences::contents(seen, &targets);
    let refusal = refusal(seen, &targets).or_else(|| {
        let matters = any_write && !options.despite_differences;
        let by = matters.then(|| differences::served_differently(&contents)).flatten()?;
        Some(Refusal::Differs { by })
    });
    EditPlan { targets, differing: differences::differing(&contents), refusal }
}

fn refusal(seen: &EditSeen<'_>, targets: &[(Target, Planned)]) -> Option<Refusal> {
    let planned = || seen.targets.iter().zip(targets).map(|(here, (_, planned))| (here, planned));
    let present = || planned().filter(|(_, planned)| !matches!(planned, Planned::Missing));
    let whole = || planned().filter(|(here, _)| !here.is_filter_copy);
    if whole().next().is_some() && whole().all(|(_, planned)| matches!(planned, Planned::Missing)) {
        return Some(Refusal::NoSuchFlag);
    }
    if present().next().is_none() {
        // Only filter copies answered, and a filter may leave the flag out.
        return Some(Refusal::NobodyAnswered);
    }
    if present().any(|(_, planned)| matches!(planned, Planned::Write(_) | Planned::AlreadySo { .. })) {
        return None;
    }
    let first_unpatchable = present().find_map(|(_, planned)| match planned {
        Planned::Unpatchable(error) => Some(Refusal::Unpatchable(error.clone())),
        _ => None,
    });
    Some(first_unpatchable.unwrap_or(Refusal::NoUsableCopy))
}

/// Plans one target again, after its record or override turned out not to be what had been read. `known` are the
/// changes that the operator knew when he decided: those of every override seen at the first read, and his own. An
/// override whose newest change is another one is a colleague's, and stops the update on this target: he decided
/// something in the meantime that this operator has not seen.
///
/// Everywhere else the edit is being written, so it is written here even if the flag has become so by itself.
pub fn replan(
    asked: &Asked<'_>,
    options: &Options<'_>,
    standing: &Standing,
    here: &Here<'_>,
    known: &[ChangeId],
) -> Planned {
    let stranger = here.seen.own().filter(|own| is_strangers(own, known) && own.change() != Some(asked.change));
    if let Some(stranger) = stranger {
        return Planned::Colleague(Box::new(stranger.clone()));
    }
    let standing = including(standing, here, asked.change);
    let course = Course::of(asked, options, &standing, [here.seen]);
    plan_one(asked, &course, here, options, true)
}

/// `standing`, which may be from before, and the override that is now in this target. Where the flag's override had
/// ended, only our own can have come since: a write of ours whose answer was lost.
fn including(standing: &Standing, here: &Here<'_>, ours: ChangeId) -> Standing {
    let own = here.seen.own().filter(|own| !matches!(standing, Standing::Ended(_)) || own.change() == Some(ours));
    let known = [standing.in_force(), own].map(|known| (here.target.clone(), known.cloned(), Vec::new()));
    match merged(&known) {
        Standing::None => standing.clone(),
        merged => merged,
    }
}

/// `even_if_so`: an override is written although it changes nothing here.
fn plan_one(
    asked: &Asked<'_>,
    course: &Course<'_>,
    here: &Here<'_>,
    options: &Options<'_>,
    even_if_so: bool,
) -> Planned {
    if let Some(Err(why)) = &here.seen.override_ {
        return Planned::OverrideUnreadable(why.clone());
    }
    let (before, mended) = match here.seen.copy.clone() {
        Copy::Missing => return Planned::Missing,
        Copy::Tombstone { record } => return Planned::Tombstone { version: record.version() },
        Copy::Readable(record) => (record, None),
        Copy::Damaged { record, unreadable } => match record.map(|record| (patch::repaired(&record), record)) {
            Some((Some(mended), record)) if options.repair => (record, Some(mended)),
            found => return Planned::Damaged { unreadable, repairable: matches!(found, Some((Some(_), _))) },
        },
    };
    let repaired = mended.is_some();
    let record = mended.unwrap_or_else(|| before.clone());
    planned_write(asked, course, here, options, even_if_so, &Found { before, record, repaired })
        .unwrap_or_else(Planned::Unpatchable)
}

/// The record of a target as it stands and, where it had to be mended, as it should read.
struct Found {
    before: Record,
    record: Record,
    repaired: bool,
}

fn planned_write(
    asked: &Asked<'_>,
    course: &Course<'_>,
    here: &Here<'_>,
    options: &Options<'_>,
    even_if_so: bool,
    stands: &Found,
) -> Result<Planned, PatchError> {
    let own = here.seen.own();
    let step = course.step(asked, own, &stands.record, stands.repaired, options.record_anyway)?;
    let version = stands.before.version();
    let catches_up = matches!(course, Course::CatchUp(_));
    let already_so = if let Course::CatchUp(merged) = course {
        stands_here(here.seen, merged, &stands.record) || step.launchdarkly_has_it
    } else {
        let changes_nothing = |record: &Record| patch::changes_nothing(record, &asked.edit.instructions);
        !even_if_so && changes_nothing(&stands.record)? && changes_nothing(&step.wanted)?
    };
    if already_so && !stands.repaired {
        return Ok(Planned::AlreadySo { version, explained_by: step.explained_by.map(Box::new) });
    }
    let after = step.next.stands_as()?;
    let next = match options.keys {
        Some(keys) => signed(keys, asked, course, &stands.record, step.next),
        None => step.next,
    };
    Ok(Planned::Write(Box::new(PlannedWrite {
        version_before: version,
        version_after: after.version(),
        repaired: stands.repaired,
        catches_up,
        write: Write {
            target: here.target.clone(),
            flag: asked.edit.flag.clone(),
            before: Some(stands.before.clone()),
            after: Some(after),
            override_before: here.seen.override_text.clone(),
            override_after: OverrideWrite::Put(Arc::new(next)),
            change: asked.change,
        },
    })))
}

/// `next` with a signature, where everything in it was typed by this operator or verified: not on top of an override that
/// was not signed, since what that says would be signed along. What targets catch up with keeps what it has.
///
/// A variation was chosen by what stands in the stores: where the base of the override has another list than `record`, its
/// place there would mean another value.
fn signed(keys: &Keys, asked: &Asked<'_>, course: &Course<'_>, record: &Record, next: Override) -> Override {
    let Edit { environment, flag, instructions } = asked.edit;
    let is_whole = match course {
        Course::CatchUp(_) => return next,
        Course::First { .. } | Course::AfterReplay { .. } => true,
        Course::Next(merged) => keys.verify(merged, environment, flag) == Signed::Yes,
    };
    if is_whole && name_the_same(instructions, record, &next.base) { keys.sign(next) } else { next }
}

/// Whether the merged override stands in this target: itself, and the record that it comes to. Its `upstream` may be
/// another one (see [`crate::change::seen::upstream_here`]).
fn stands_here(seen: &Seen, merged: &Override, record: &Record) -> bool {
    let own = seen.own();
    let has_override = match own {
        Some(own) => own.revision == merged.revision && own.change() == merged.change() && own.state == merged.state,
        None => !seen.own_keys,
    };
    has_override && is_ours(record, own.into_iter().chain([merged]))
}

#[cfg(test)]
mod tests;
