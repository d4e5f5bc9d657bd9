//! Carrying out an undertaking: recorded first, then written everywhere at once, then decided again where a record had
//! changed in between. Each outcome is noted as it comes.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::seen::Seen;
use crate::change::signing;
use crate::change::state;
use crate::change::target::Target;
use crate::change::update;
use crate::change::update::Asked;
use crate::change::update::Here;
use crate::change::update::Options;
use crate::change::update::Planned;
use crate::change::update::PlannedWrite;
use crate::commands::overview;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::survey::Stores;
use crate::commands::targets::Chosen;
use crate::commands::update::outcome::Outcome;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::undertaking::Part;
use crate::commands::update::undertaking::Undertaking;
use crate::commands::writing;
use crate::error::Failure;
use crate::flag::configuration::Configuration;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::launchdarkly::comment;
use crate::launchdarkly::patch;
use crate::playback::ChangeFile;
use crate::playback::EditIntent;
use crate::playback::Intent;
use crate::playback::OutageNote;
use crate::playback::PLAYBACK_FORMAT;
use crate::playback::Playback;
use crate::playback::Syncing;
use crate::playback::TargetIntent;
use crate::store::StoreError;
use crate::store::WriteOutcome;

/// What came of one write of one edit.
#[derive(Debug)]
pub struct Done {
    /// Which ground the edit stands on.
    pub ground: usize,
    /// Where.
    pub target: Target,
    /// What came of it.
    pub outcome: Outcome,
    /// When the store answered.
    pub at: Instant,
}

/// Everything that carrying out needs and does not change.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The stores.
    pub stores: &'a Stores,
    /// Where changes are recorded.
    pub playback: &'a Playback,
    /// What the edits stand on.
    pub grounds: &'a [Ground],
    /// What the operator allows.
    pub options: &'a Options<'a>,
    /// What the relays said about LaunchDarkly's absence.
    pub outage: &'a [OutageNote],
    /// Targets that could not be used, by ground, and why: recorded as refused, so that a resumption finishes them.
    pub silent: &'a BTreeMap<usize, Vec<(Chosen, Outcome)>>,
}

/// The change's file, and what came of every write.
pub struct CarriedOut {
    /// Where it is recorded.
    pub file: ChangeFile,
    /// What came of the writes.
    pub done: Vec<Done>,
    /// The first thing that could not be noted after the stores were written. The stores know it too.
    pub trouble: Option<Failure>,
}

/// Records and writes an undertaking.
///
/// # Errors
/// It could not be recorded: then no store was touched. What happens to stores is told in the result.
pub async fn carry_out(undertaking: &Undertaking, means: Means<'_>) -> Result<CarriedOut, Failure> {
    let writes = undertaking.writes();
    let Some(existing) = &undertaking.file else {
        let all: Vec<Write> = writes.into_iter().flat_map(|(_, writes)| writes).collect();
        let intent = intent(undertaking, means);
        let (file, recorded) = means.playback.record(&intent, &all)?;
        let mut run = Run::new(undertaking, means, file);
        run.note_left_out();
        run.write(&recorded).await;
        return run.finished();
    };
    let file = means.playback.reopen(existing)?;
    let mut run = Run::new(undertaking, means, file);
    for (edit, writes) in &writes {
        match run.file.rerecord(*edit, writes, Timestamp::now()) {
            Ok(recorded) => run.write(&recorded).await,
            Err(error) => {
                run.notes_failed.get_or_insert(error.into());
                break;
            }
        }
    }
    run.finished()
}

/// Notes in the file of a change that its edits stand in targets of which the file did not know it: the answer of a write
/// was lost, or somebody else finished it. What cannot be noted is given back; the stores know it all the same.
pub fn note_found(undertaking: &Undertaking, playback: &Playback) -> Option<Failure> {
    let existing = undertaking.file.as_ref().filter(|file| file.writable)?;
    let folded = state::fold(&existing.intent.change, &overview::targets_of(existing), &existing.events);
    let mut events = Vec::new();
    for part in &undertaking.parts {
        let Some(known) = folded.edits.get(part.edit) else { continue };
        let unfinished: Vec<&Target> = known.unfinished().collect();
        for (target, planned) in &part.plan.targets {
            let Planned::AlreadySo { version, explained_by: Some(own) } = planned else { continue };
            if own.changes.contains(&undertaking.change.id) && unfinished.contains(&target) {
                let target = target.clone();
                let what = Happened::Written { target, version: Some(*version), colleagues_see: true };
                events.push(Event { at: Timestamp::now(), edit: part.edit, what });
            }
        }
    }
    if events.is_empty() {
        return None;
    }
    let noted = playback.reopen(existing).and_then(|mut file| file.note(&events, Syncing::Later));
    noted.err().map(Failure::from)
}

struct Run<'a> {
    undertaking: &'a Undertaking,
    means: Means<'a>,
    file: ChangeFile,
    done: Vec<Done>,
    /// The first outcome that could not be noted. The stores know it too, so the work goes on.
    notes_failed: Option<Failure>,
    /// Which part a flag in a target belongs to. Two environments of one batch may have the same flag key; they never
    /// share a target.
    parts: BTreeMap<(&'a FlagKey, &'a Target), usize>,
}

impl<'a> Run<'a> {
    fn new(undertaking: &'a Undertaking, means: Means<'a>, file: ChangeFile) -> Self {
        let mut parts = BTreeMap::new();
        for (place, part) in undertaking.parts.iter().enumerate() {
            let Some(ground) = means.grounds.get(part.ground) else { continue };
            for (chosen, _) in &ground.seen {
                parts.insert((&ground.edit.flag, &chosen.target), place);
            }
        }
        Self { undertaking, means, file, done: Vec::new(), notes_failed: None, parts }
    }

    fn finished(self) -> Result<CarriedOut, Failure> {
        match self.notes_failed {
            // Nothing was written: the failure is all there is to tell.
            Some(failure) if self.done.is_empty() => Err(failure),
            trouble => Ok(CarriedOut { file: self.file, done: self.done, trouble }),
        }
    }

    /// Writes, and decides again where a record was not what it had been, so often as [`writing::ATTEMPTS_MAX`].
    async fn write(&mut self, recorded: &Recorded<'_>) {
        let mut again = self.attempt(recorded).await;
        for attempt in 1..=writing::ATTEMPTS_MAX {
            if again.is_empty() {
                return;
            }
            if attempt == writing::ATTEMPTS_MAX {
                let unsettled = again.into_iter().map(|(part, target)| (part, target, Outcome::Unsettled)).collect();
                self.came_of(unsettled);
                return;
            }
            let replanned = self.decide_again(again).await;
            again = Vec::new();
            for (edit, writes) in &replanned {
                match self.file.rerecord(*edit, writes, Timestamp::now()) {
                    Ok(recorded) => again.extend(self.attempt(&recorded).await),
                    Err(error) => {
                        self.notes_failed.get_or_insert(error.into());
                        return;
                    }
                }
            }
        }
    }

    /// Writes once; what has to be decided again is given back.
    async fn attempt(&mut self, recorded: &Recorded<'_>) -> Vec<(usize, Target)> {
        let planned: BTreeMap<(&FlagKey, &Target), &Write> =
            recorded.all().iter().map(|write| ((&write.flag, &write.target), write)).collect();
        let mut again = Vec::new();
        let mut writing = pin!(writing::write(self.means.stores, recorded));
        while let Some(wrote) = writing.next().await {
            let mut known = Vec::new();
            for one in wrote {
                let Some(part) = self.parts.get(&(&one.flag, &one.target)).copied() else { continue };
                let Some(write) = planned.get(&(&one.flag, &one.target)) else { continue };
                match one.outcome {
                    WriteOutcome::Written { colleagues_see } => {
                        let planned = Box::new(self.told(part, write));
                        known.push((part, one.target, Outcome::Written { planned, colleagues_see }));
                    }
                    WriteOutcome::RecordChanged | WriteOutcome::OverrideChanged => again.push((part, one.target)),
                    WriteOutcome::Failed(error) => known.push((part, one.target, Outcome::Failed(error))),
                }
            }
            self.came_of(known);
        }
        again
    }

    /// The write as it was planned, or as it turned out after it was decided again.
    fn told(&self, part: usize, write: &Write) -> PlannedWrite {
        let planned = self
            .undertaking
            .parts
            .get(part)
            .and_then(|part| part.plan.writes().find(|planned| planned.write.target == write.target));
        let version = |record: &Option<crate::flag::record::Record>| {
            record.as_ref().map(crate::flag::record::Record::version).unwrap_or_default()
        };
        PlannedWrite {
            write: write.clone(),
            version_before: version(&write.before),
            version_after: version(&write.after),
            repaired: planned.is_some_and(|planned| planned.repaired),
            catches_up: planned.is_some_and(|planned| planned.catches_up),
        }
    }

    /// Reads again and plans again.
    async fn decide_again(&mut self, again: Vec<(usize, Target)>) -> Vec<(EditIndex, Vec<Write>)> {
        let mut writes: BTreeMap<EditIndex, Vec<Write>> = BTreeMap::new();
        let mut known = Vec::new();
        for (place, target) in again {
            let Some(part) = self.undertaking.parts.get(place) else { continue };
            let Some(ground) = self.means.grounds.get(part.ground) else { continue };
            let Some((chosen, _)) = ground.seen.iter().find(|(chosen, _)| chosen.target == target) else { continue };
            let flags = [ground.edit.flag.clone()];
            let views = survey::look(self.means.stores, std::slice::from_ref(chosen), Extent::Flags(&flags)).await;
            let Some(view) = views.into_iter().next() else { continue };
            let seen = match (&view.reading, survey::seen(&view, &ground.edit.environment, &ground.edit.flag)) {
                (_, Some(seen)) => seen,
                (Err(error), None) => {
                    known.push((place, target, Outcome::Failed(error.clone())));
                    continue;
                }
                (Ok(_), None) => continue,
            };
            let change = &self.undertaking.change;
            let asked = Asked { change: change.id, motive: &change.motive, edit: &ground.edit };
            let here = Here { target: &target, is_filter_copy: chosen.is_filter_copy, seen: &seen };
            let options = self.rules(ground, &target, &seen);
            let planned = update::replan(&asked, &options, &ground.standing, &here, &known_changes(ground));
            match planned {
                Planned::Write(planned) => writes.entry(part.edit).or_default().push(planned.write),
                other => known.push((place, target, Outcome::of_plan(other))),
            }
        }
        self.came_of(known);
        writes.into_iter().collect()
    }

    /// What the operator allows, by what is there now. A variation was chosen by the list that was read at first: where there
    /// is another one now, its place may mean another value, and that nobody signs.
    fn rules(&self, ground: &Ground, target: &Target, now: &Seen) -> Options<'a> {
        let options = self.undertaking.rules(self.means.options);
        let at_first = ground.seen.iter().find(|(chosen, _)| chosen.target == *target);
        let at_first = at_first.and_then(|(_, seen)| seen.copy.exact_record());
        let is_the_same = at_first
            .zip(now.copy.exact_record())
            .is_some_and(|(one, other)| signing::name_the_same(&ground.edit.instructions, one, other));
        Options { keys: options.keys.filter(|_| is_the_same), ..options }
    }

    /// Notes outcomes, and keeps them for the report.
    fn came_of(&mut self, outcomes: Vec<(usize, Target, Outcome)>) {
        let now = Timestamp::now();
        let events: Vec<Event> = outcomes
            .iter()
            .filter_map(|(part, target, outcome)| {
                let edit = self.undertaking.parts.get(*part)?.edit;
                Some(Event { at: now, edit, what: happened(target, outcome)? })
            })
            .collect();
        if let Err(error) = self.file.note(&events, Syncing::Later) {
            self.notes_failed.get_or_insert(error.into());
        }
        for (part, target, outcome) in outcomes {
            let Some(part) = self.undertaking.parts.get(part) else { continue };
            self.done.push(Done { ground: part.ground, target, outcome, at: Instant::now() });
        }
    }

    /// Notes why targets were left out.
    fn note_left_out(&mut self) {
        let events: Vec<Event> = self
            .undertaking
            .parts
            .iter()
            .flat_map(|part| left_out(self.means, part).into_iter().map(|left_out| (part.edit, left_out)))
            .filter_map(|(edit, (target, outcome))| {
                Some(Event { at: Timestamp::now(), edit, what: happened(&target, &outcome)? })
            })
            .collect();
        if let Err(error) = self.file.note(&events, Syncing::Later) {
            self.notes_failed.get_or_insert(error.into());
        }
    }
}

/// The targets that should have the edit and do not get it now: they are part of the change all the same, which is not
/// finished without them. A deleted flag is none of them, nor one that a payload filter leaves out.
fn left_out(means: Means<'_>, part: &Part) -> Vec<(Target, Outcome)> {
    let silent = means.silent.get(&part.ground).into_iter().flatten();
    let mut left_out: Vec<(Target, Outcome)> =
        silent.map(|(chosen, outcome)| (chosen.target.clone(), outcome.clone())).collect();
    let seen = means.grounds.get(part.ground).map(|ground| ground.seen.as_slice()).unwrap_or_default();
    for (target, planned) in &part.plan.targets {
        let is_filter_copy = seen.iter().any(|(chosen, _)| chosen.target == *target && chosen.is_filter_copy);
        let is_left_out = match planned {
            Planned::Write(_) | Planned::AlreadySo { .. } | Planned::Tombstone { .. } => false,
            Planned::Missing => !is_filter_copy,
            Planned::Damaged { .. }
            | Planned::OverrideUnreadable(_)
            | Planned::Unpatchable(_)
            | Planned::Colleague(_) => true,
        };
        if is_left_out {
            left_out.push((target.clone(), Outcome::of_plan(planned.clone())));
        }
    }
    left_out
}

/// The changes that were known when the operator decided.
fn known_changes(ground: &Ground) -> Vec<ChangeId> {
    let own = ground.seen.iter().filter_map(|(_, seen)| seen.own());
    own.chain(ground.standing.in_force()).flat_map(|override_| override_.changes.iter().copied()).collect()
}

fn happened(target: &Target, outcome: &Outcome) -> Option<Happened> {
    let target = target.clone();
    let refused = |why: String| Some(Happened::Refused { target: target.clone(), why });
    match outcome {
        Outcome::Written { planned, colleagues_see } => {
            Some(Happened::Written { target, version: Some(planned.version_after), colleagues_see: *colleagues_see })
        }
        Outcome::Failed(error @ StoreError::Unknown { .. }) => {
            Some(Happened::Unknown { target, why: error.to_string() })
        }
        Outcome::Failed(error) => refused(error.to_string()),
        Outcome::Unsettled => refused("the record changed again and again".to_owned()),
        Outcome::Colleague(other) => refused(format!("{}'s override came in between", other.motive.actor)),
        Outcome::Missing => refused("the flag is not there any more".to_owned()),
        Outcome::Tombstone { .. } => refused("the flag is deleted".to_owned()),
        Outcome::Damaged { unreadable, .. } => refused(unreadable.to_string()),
        Outcome::OverrideUnreadable(why) => refused(why.clone()),
        Outcome::Unpatchable(error) => refused(error.to_string()),
        Outcome::NotInitialised { .. } => refused("the store is not initialised".to_owned()),
        Outcome::NotRecorded | Outcome::Would(_) | Outcome::AlreadySo { .. } => None,
    }
}

/// The change as its first line will tell it.
fn intent(undertaking: &Undertaking, means: Means<'_>) -> Intent {
    let edits = undertaking.parts.iter().map(|part| {
        let written = part.plan.writes().map(|planned| TargetIntent {
            target: planned.write.target.clone(),
            before: planned.write.before.clone(),
            after: planned.write.after.clone(),
            theirs: theirs(&planned.write),
        });
        let left_out = left_out(means, part).into_iter();
        let left_out = left_out.map(|(target, _)| TargetIntent { target, before: None, after: None, theirs: None });
        let targets = written.chain(left_out).collect();
        let request =
            means.grounds.get(part.ground).map(|ground| request(undertaking, ground, part)).unwrap_or_default();
        EditIntent { request, targets }
    });
    Intent {
        format: PLAYBACK_FORMAT,
        change: undertaking.change.clone(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        outage: means.outage.to_vec(),
        edits: edits.collect(),
    }
}

/// LaunchDarkly's newest record as the override knows it, where another one stands in its place.
fn theirs(write: &Write) -> Option<Record> {
    let OverrideWrite::Put(own) = &write.override_after else { return None };
    Some(own.upstream.clone()).filter(|theirs| write.before.as_ref() != Some(theirs))
}

/// The request that a replay would send by what is known now.
fn request(undertaking: &Undertaking, ground: &Ground, part: &Part) -> String {
    // Most instructions name no variation, and then the list is not wanted.
    let names_one = ground.edit.instructions.iter().any(|instruction| instruction.variation().is_some());
    let before = part.plan.writes().find_map(|planned| planned.write.before.as_ref()).filter(|_| names_one);
    let variations = before.map(|record| Configuration::of_record(record).variations).unwrap_or_default();
    let change = &undertaking.change;
    let what = ground.edit.instructions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let comment = comment::comment(&what, &change.motive, &[change.id]);
    patch::foreseen(&ground.edit.instructions, &variations, comment)
        .described(&ground.edit.environment, &ground.edit.flag)
}
