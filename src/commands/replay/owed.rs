//! What is owed to LaunchDarkly (design 4.4), read off what the stores and the playback say. Pure: it must not ask
//! LaunchDarkly or a person; where only these can tell, it says so.
//!
//! An override in a store is owed while LaunchDarkly has not accepted it. An edit in the playback whose change is part of
//! no override is owed only as far as somebody says so: it may have been replayed from elsewhere long ago. Where our own
//! keys are forbidden, what is owed is made from the playback (`only_filed`).

mod only_filed;

use std::collections::HashMap;

use jiff::Timestamp;

use crate::change::edit::ChangeKind;
use crate::change::event::EditIndex;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::merge::ended_by;
use crate::change::override_::EndedMark;
use crate::change::override_::OVERRIDE_CHANGES_MAX;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Seen;
use crate::change::state;
use crate::change::state::EditStanding;
use crate::change::state::Outcome;
use crate::change::target::Target;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::FiledEdit;
use crate::commands::overview::Situation;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::playback::LoadedFile;

/// A flag of an environment.
pub type Subject = (Environment, FlagKey);

/// One edit in the playback: its change, and its place there.
pub type Part = (ChangeId, EditIndex);

/// One override, owed or replayed, with all that is needed to see it through.
#[derive(Debug, Clone)]
pub struct Matter {
    /// Which flag.
    pub subject: Subject,
    /// What is in force: merged from all targets, or made from the playback where [`Matter::only_filed`].
    pub override_: Override,
    /// Our keys are forbidden in the stores, so that only the playback knows of it.
    pub only_filed: bool,
    /// The edits in the playback that are part of it.
    pub parts: Vec<Part>,
    /// Whether one of these edits does not know yet that LaunchDarkly has it.
    pub unnoted: bool,
    /// What every target that answered holds.
    pub seen: Vec<(Target, Seen)>,
    /// What holds by all of them.
    pub standing: Standing,
    /// The ended marks that stand in any of them, of this override and of others.
    pub marks: Vec<(ChangeId, EndedMark)>,
    /// The targets that did not answer.
    pub silent: Vec<Target>,
    /// LaunchDarkly's ids of approval requests that were made for it earlier, as the playback here tells.
    pub requests: Vec<String>,
    /// What the newest of its edits says of a conflict and of how it was decided, if that is how it stands: it need not be
    /// noted twice.
    pub conflict: Option<(String, String)>,
}

impl Matter {
    /// The mark that says that an override which a target has is over.
    pub fn mark_of(&self, own: &Override) -> Option<&EndedMark> {
        ended_by(own, self.marks.iter())
    }

    /// Where an override still stands that is over, with its mark: the target did not answer when it ended. It gives way
    /// to this one.
    pub fn over(&self) -> impl Iterator<Item = (&Target, &EndedMark)> {
        self.seen.iter().filter_map(|(target, seen)| Some((target, self.mark_of(seen.own()?)?)))
    }
}

/// An edit in the playback that is part of no override.
#[derive(Debug, Clone)]
pub struct Stray {
    /// Which flag.
    pub subject: Subject,
    /// The edit.
    pub part: Part,
    /// What is known of it.
    pub why: Astray,
    /// What it wrote, where that still stands.
    pub stands: Vec<Record>,
    /// When it was to be over.
    pub expires: Option<Timestamp>,
}

/// Why an edit is part of no override.
#[derive(Debug, Clone, PartialEq)]
pub enum Astray {
    /// It ended: a mark in a store says so.
    Ended(EndedMark),
    /// LaunchDarkly has it, as the playback says.
    Replayed {
        /// LaunchDarkly's version.
        version: u64,
    },
    /// Every store refused it: it was never written anywhere.
    Nowhere,
    /// It stands nowhere, and whether it was written was not noted: the program was stopped, or no answer came. It may have
    /// been in force, and a failover may have lost it.
    Unnoted,
    /// The same, and this later edit of the same playback was written since: whoever typed that has gone on.
    Superseded(ChangeId),
    /// These targets may hold its override, and did not answer.
    Hidden(Vec<Target>),
    /// There is an override in these targets, and it cannot be read: it may be this one.
    Unreadable(Vec<Target>),
    /// Its override is gone, and what it wrote still stands in these targets.
    Stands(Vec<Target>),
    /// It was written, and its override is gone.
    Unexplained,
    /// It lost to another override, which was written on another side of a broken network: these targets still hold it.
    PutAside(Vec<Target>),
}

/// An edit of an undo that could not be finished, and turns out to have nothing left to do in some targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneSince {
    /// Which flag.
    pub subject: Subject,
    /// The edit.
    pub part: Part,
    /// Where there is nothing left to take back.
    pub targets: Vec<Target>,
}

/// What there is to see to.
#[derive(Debug, Clone, Default)]
pub struct Owed {
    /// LaunchDarkly has not accepted these.
    pub owed: Vec<Matter>,
    /// LaunchDarkly has accepted these; they wait for its own data path, or for a store that did not answer then.
    pub replayed: Vec<Matter>,
    /// These ended elsewhere while the store that still has them did not answer: with how they ended.
    pub leftovers: Vec<(Matter, EndedMark)>,
    /// Edits without an override.
    pub strays: Vec<Stray>,
    /// Undos that are finished by what was seen now.
    pub undone: Vec<UndoneSince>,
}

/// The folded events of each change, folded once: a change may have thousands of edits.
type Folds = HashMap<ChangeId, state::State>;

/// Reads it off.
pub fn owed(views: &[EnvironmentView<'_>]) -> Owed {
    let mut owed = Owed::default();
    let mut folds = Folds::new();
    for filed in views.iter().flat_map(|view| &view.situations).flat_map(|situation| &situation.filed) {
        folds.entry(filed.file.change()).or_insert_with(|| fold(filed.file));
    }
    for view in views {
        let silent: Vec<Target> = view.silent().map(|(chosen, _)| chosen.target.clone()).collect();
        for situation in &view.situations {
            take(&mut owed, &view.environment, situation, &silent, &folds);
        }
    }
    owed
}

fn take(owed: &mut Owed, environment: &Environment, situation: &Situation<'_>, silent: &[Target], folds: &Folds) {
    let subject = (environment.clone(), situation.flag.clone());
    let matter = |override_: Override, only_filed, parts: &[FiledEdit<'_>]| Matter {
        subject: subject.clone(),
        override_,
        only_filed,
        parts: parts.iter().map(part).collect(),
        unnoted: parts.iter().any(|filed| !is_replayed(filed, folds)),
        seen: situation.seen.iter().map(|(chosen, seen)| (chosen.target.clone(), seen.clone())).collect(),
        standing: situation.standing.clone(),
        marks: situation.said.iter().flat_map(|(_, _, marks)| marks).cloned().collect(),
        silent: silent.to_vec(),
        requests: parts.iter().filter_map(|filed| request(filed, folds)).collect(),
        conflict: parts.last().and_then(|filed| conflict(filed, folds)),
    };
    let is_undo = |filed: &&FiledEdit<'_>| filed.file.intent.change.kind == ChangeKind::Undo;
    let (undos, filed): (Vec<&FiledEdit<'_>>, Vec<_>) = situation.filed.iter().partition(is_undo);
    let in_force = situation.standing.in_force();
    let (parts, others): (Vec<FiledEdit<'_>>, Vec<_>) =
        filed.into_iter().partition(|filed| in_force.is_some_and(|override_| is_part(filed, override_)));
    if let Some(override_) = in_force {
        let matter = matter(override_.clone(), false, &parts);
        match override_.state {
            OverrideState::Replayed { .. } => owed.replayed.push(matter),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => owed.owed.push(matter),
        }
    }
    let undos: Vec<FiledEdit<'_>> = undos.into_iter().copied().collect();
    // Where another override is in force, what was left over gives way to it (`Matter::over`).
    for (override_, targets, mark) in left_over(situation).into_iter().filter(|_| in_force.is_none()) {
        let all = matter(override_, false, &undos);
        let seen = all.seen.into_iter().filter(|(target, _)| targets.contains(target)).collect();
        // Those that do not answer now are looked at when they do.
        owed.leftovers.push((Matter { seen, silent: Vec::new(), unnoted: false, ..all }, mark));
    }
    owed.undone.extend(undos.iter().filter_map(|filed| undone_since(&subject, filed, situation, folds)));
    let (alone, others): (Vec<FiledEdit<'_>>, Vec<_>) = others.into_iter().partition(|filed| {
        in_force.is_none() && mark_of(filed, situation).is_none() && only_filed::is_so(filed, situation, folds)
    });
    if let Some(override_) = only_filed::override_of(environment, &situation.flag, &alone, folds) {
        let all = matter(override_, true, &alone);
        let seen = only_filed::seen(all.seen, &alone, &all.override_);
        owed.owed.push(Matter { seen, ..all });
    }
    for filed in others {
        let why = match astray(&filed, situation, silent, folds) {
            Astray::Unnoted => later(&filed, situation, folds).map_or(Astray::Unnoted, Astray::Superseded),
            why => why,
        };
        let stands = match &why {
            Astray::Stands(targets) => records(situation, targets),
            _ => Vec::new(),
        };
        let expires = filed.file.intent.change.motive.expires;
        owed.strays.push(Stray { subject: subject.clone(), part: part(&filed), why, stands, expires });
    }
}

fn records(situation: &Situation<'_>, targets: &[Target]) -> Vec<Record> {
    let there = situation.seen.iter().filter(|(chosen, _)| targets.contains(&chosen.target));
    there.filter_map(|(_, seen)| seen.copy.readable().cloned()).collect()
}

fn part(filed: &FiledEdit<'_>) -> Part {
    (filed.file.change(), filed.edit)
}

/// A long history drops its oldest changes from the override, so one older than all that are named may be part of it.
/// An adopted change usually has the id of the override's newest one; where that was taken, it has its motive.
fn is_part(filed: &FiledEdit<'_>, override_: &Override) -> bool {
    let change = filed.file.change();
    let dropped = override_.changes.len() >= OVERRIDE_CHANGES_MAX
        && override_.changes.first().is_some_and(|oldest| change < *oldest);
    let adopted = &filed.file.intent.change;
    override_.changes.contains(&change)
        || dropped
        || (adopted.kind == ChangeKind::Adopted && adopted.motive == override_.motive)
}

/// The overrides that stand somewhere although a mark says that they are over, each with where and with its mark.
fn left_over(situation: &Situation<'_>) -> Vec<(Override, Vec<Target>, EndedMark)> {
    let marks = || situation.said.iter().flat_map(|(_, _, marks)| marks);
    let mut found: Vec<(Override, Vec<Target>, EndedMark)> = Vec::new();
    for (chosen, seen) in &situation.seen {
        let Some(own) = seen.own() else { continue };
        let Some(mark) = ended_by(own, marks()) else { continue };
        match found.iter_mut().find(|(known, _, _)| known.changes == own.changes && known.revision == own.revision) {
            Some((_, targets, _)) => targets.push(chosen.target.clone()),
            None => found.push((own.clone(), vec![chosen.target.clone()], mark.clone())),
        }
    }
    found
}

fn fold(file: &LoadedFile) -> state::State {
    state::fold(&file.intent.change, &overview::targets_of(file), &file.events)
}

fn folded<'f>(filed: &FiledEdit<'_>, folds: &'f Folds) -> Option<&'f state::EditState> {
    folds.get(&filed.file.change())?.edits.get(filed.edit)
}

fn is_replayed(filed: &FiledEdit<'_>, folds: &Folds) -> bool {
    folded(filed, folds).is_some_and(|state| matches!(state.standing, EditStanding::Replayed { .. }))
}

fn request(filed: &FiledEdit<'_>, folds: &Folds) -> Option<String> {
    let asked = filed.file.events.iter().rev().find_map(|event| match &event.what {
        Happened::AwaitingApproval { request, .. } if event.edit == filed.edit => Some(request.clone()),
        _ => None,
    });
    asked.filter(|_| folded(filed, folds).is_some_and(|state| !state.is_over()))
}

fn conflict(filed: &FiledEdit<'_>, folds: &Folds) -> Option<(String, String)> {
    match &folded(filed, folds)?.standing {
        EditStanding::Conflict { told, decision: Some(decision) } => Some((told.clone(), decision.clone())),
        _ => None,
    }
}

/// What became meanwhile of an undo that a target had refused: where no override is left, somebody else has done it.
fn undone_since(
    subject: &Subject,
    filed: &FiledEdit<'_>,
    situation: &Situation<'_>,
    folds: &Folds,
) -> Option<UndoneSince> {
    let state = folded(filed, folds)?;
    let is_clear = |target: &&Target| {
        let seen = situation.seen.iter().find(|(chosen, _)| chosen.target == **target).map(|(_, seen)| seen);
        seen.is_some_and(|seen| seen.own_keys && seen.override_.is_none())
    };
    let unfinished = state.targets.iter().filter(|(_, outcome)| outcome.is_unfinished()).map(|(target, _)| target);
    let targets: Vec<Target> = unfinished.filter(is_clear).cloned().collect();
    (!targets.is_empty()).then(|| UndoneSince { subject: subject.clone(), part: part(filed), targets })
}

fn mark_of<'s>(filed: &FiledEdit<'_>, situation: &'s Situation<'_>) -> Option<&'s EndedMark> {
    let change = filed.file.change();
    let mut marks = situation.said.iter().flat_map(|(_, _, marks)| marks);
    marks.find(|(marked, _)| *marked == change).map(|(_, mark)| mark)
}

fn astray(filed: &FiledEdit<'_>, situation: &Situation<'_>, silent: &[Target], folds: &Folds) -> Astray {
    if let Some(mark) = mark_of(filed, situation) {
        return Astray::Ended(mark.clone());
    }
    let Some(state) = folded(filed, folds) else { return Astray::Unexplained };
    if let EditStanding::Replayed { version, .. } = state.standing {
        return Astray::Replayed { version };
    }
    let targets_where = |is: &dyn Fn(&Seen) -> bool| -> Vec<Target> {
        let found = situation.seen.iter().filter(|(_, seen)| is(seen));
        found.map(|(chosen, _)| chosen.target.clone()).collect()
    };
    let unreadable = targets_where(&|seen| matches!(seen.override_, Some(Err(_))));
    if !unreadable.is_empty() {
        return Astray::Unreadable(unreadable);
    }
    let hidden: Vec<Target> = silent
        .iter()
        .filter(|target| state.targets.get(*target).is_none_or(Outcome::may_be_in_force))
        .cloned()
        .collect();
    if !hidden.is_empty() {
        return Astray::Hidden(hidden);
    }
    let change = filed.file.change();
    let aside = targets_where(&|seen| seen.own().is_some_and(|own| own.changes.contains(&change)));
    if !aside.is_empty() {
        return Astray::PutAside(aside);
    }
    // Where it was refused, LaunchDarkly's own record may be the very same.
    let may_stand = |target: &Target| state.targets.get(target).is_none_or(Outcome::may_be_in_force);
    let stands = situation
        .seen
        .iter()
        .filter(|(chosen, seen)| may_stand(&chosen.target) && only_filed::stands(filed, &chosen.target, seen));
    let stands: Vec<Target> = stands.map(|(chosen, _)| chosen.target.clone()).collect();
    if !stands.is_empty() && situation.standing.in_force().is_none() {
        return Astray::Stands(stands);
    }
    let begun = matches!(state.standing, EditStanding::Owed | EditStanding::Nowhere);
    if !begun || state.targets.is_empty() || state.targets.values().any(wrote) {
        return Astray::Unexplained;
    }
    if state.targets.values().any(Outcome::may_be_in_force) { Astray::Unnoted } else { Astray::Nowhere }
}

fn wrote(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Written { .. } | Outcome::Settled { .. } | Outcome::Undone)
}

/// The newest edit after this one, in the same playback, of which it is known that it was written.
fn later(filed: &FiledEdit<'_>, situation: &Situation<'_>, folds: &Folds) -> Option<ChangeId> {
    let is_written = |other: &&FiledEdit<'_>| {
        situation.standing.in_force().is_some_and(|override_| override_.changes.contains(&other.file.change()))
            || folded(other, folds).is_some_and(|state| state.targets.values().any(wrote))
    };
    let updates = situation.filed.iter().filter(|other| other.file.intent.change.kind != ChangeKind::Undo);
    let later = updates.filter(|other| other.file.change() > filed.file.change()).filter(is_written);
    later.map(|other| other.file.change()).max()
}

#[cfg(test)]
mod tests;
