//! What is owed to LaunchDarkly (design 4.4), read off what the stores and the playback say. Pure: it must not ask
//! LaunchDarkly or a person; where only these can tell, it says so.
//!
//! An override in a store is owed while LaunchDarkly has not accepted it. An edit in the playback whose change is part of
//! no override is owed only as far as somebody says so: it may have been replayed from elsewhere long ago.

use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::change::edit::ChangeKind;
use crate::change::event::EditIndex;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::net::net;
use crate::change::override_::EndedMark;
use crate::change::override_::OVERRIDE_CHANGES_MAX;
use crate::change::override_::OVERRIDE_FORMAT;
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
    /// The targets that did not answer.
    pub silent: Vec<Target>,
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
    /// It was never written anywhere.
    Nowhere,
    /// These targets may hold its override, and did not answer.
    Hidden(Vec<Target>),
    /// It was written, and its override is gone.
    Unexplained,
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
    /// Overrides that cannot be read: which flag, where, what is wrong.
    pub unreadable: Vec<(Subject, Target, String)>,
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
    for (chosen, seen) in &situation.seen {
        if let Some(Err(why)) = &seen.override_ {
            owed.unreadable.push((subject.clone(), chosen.target.clone(), why.clone()));
        }
    }
    let matter = |override_: Override, only_filed, parts: &[FiledEdit<'_>]| Matter {
        subject: subject.clone(),
        override_,
        only_filed,
        parts: parts.iter().map(part).collect(),
        unnoted: parts.iter().any(|filed| !is_replayed(filed, folds)),
        seen: situation.seen.iter().map(|(chosen, seen)| (chosen.target.clone(), seen.clone())).collect(),
        standing: situation.standing.clone(),
        silent: silent.to_vec(),
    };
    let filed = situation.filed.iter().filter(|filed| filed.file.intent.change.kind != ChangeKind::Undo);
    let in_force = situation.standing.in_force();
    let (parts, others): (Vec<FiledEdit<'_>>, Vec<_>) =
        filed.partition(|filed| in_force.is_some_and(|override_| is_part(filed, override_)));
    if let Some(override_) = in_force {
        let matter = matter(override_.clone(), false, &parts);
        match override_.state {
            OverrideState::Replayed { .. } => owed.replayed.push(matter),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => owed.owed.push(matter),
        }
    }
    if let Standing::Ended(mark) = &situation.standing {
        let own = situation.seen.iter().filter_map(|(_, seen)| seen.own());
        if let Some(left) = own.max_by_key(|own| own.revision) {
            owed.leftovers.push((matter(left.clone(), false, &[]), mark.clone()));
        }
    }
    let (alone, others): (Vec<FiledEdit<'_>>, Vec<_>) =
        others.into_iter().partition(|filed| in_force.is_none() && is_only_filed(filed, situation, folds));
    if let Some(override_) = from_playback(environment, &situation.flag, &alone) {
        owed.owed.push(matter(override_, true, &alone));
    }
    for filed in others {
        let why = astray(&filed, situation, silent, folds);
        owed.strays.push(Stray { subject: subject.clone(), part: part(&filed), why });
    }
}

fn part(filed: &FiledEdit<'_>) -> Part {
    (filed.file.change(), filed.edit)
}

/// A long history drops its oldest changes from the override, so one older than all that are named may be part of it.
fn is_part(filed: &FiledEdit<'_>, override_: &Override) -> bool {
    let change = filed.file.change();
    let dropped = override_.changes.len() >= OVERRIDE_CHANGES_MAX
        && override_.changes.first().is_some_and(|oldest| change < *oldest);
    override_.changes.contains(&change) || dropped || filed.file.intent.change.kind == ChangeKind::Adopted
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

/// Whether it stands in a store in which our own keys are forbidden, by its own outcome or by the record there.
fn is_only_filed(filed: &FiledEdit<'_>, situation: &Situation<'_>, folds: &Folds) -> bool {
    let Some(state) = folded(filed, folds).filter(|state| state.is_owed()) else { return false };
    let intents = filed.file.intent.edits.get(filed.edit).map(|edit| edit.targets.as_slice()).unwrap_or_default();
    situation.seen.iter().filter(|(_, seen)| !seen.own_keys).any(|(chosen, seen)| {
        let written = matches!(
            state.targets.get(&chosen.target),
            Some(Outcome::Written { colleagues_see: false, .. } | Outcome::Intended | Outcome::Unknown { .. })
        );
        let Some(record) = seen.copy.readable() else { return false };
        let stands = intents
            .iter()
            .filter(|intent| intent.target == chosen.target)
            .any(|intent| intent.after.as_ref().is_some_and(|after| after.same_value(record)));
        let told = matches!(state.targets.get(&chosen.target), Some(Outcome::Written { colleagues_see: false, .. }));
        written && (stands || told)
    })
}

/// The override that the playback alone knows of: LaunchDarkly's record is the one that the oldest edit met.
fn from_playback(environment: &Environment, flag: &FlagKey, filed: &[FiledEdit<'_>]) -> Option<Override> {
    let (oldest, newest) = (filed.first()?, filed.last()?);
    let records = |filed: &FiledEdit<'_>| filed.file.intent.edits.get(filed.edit).map(|edit| edit.targets.clone());
    let base = records(oldest)?.into_iter().find_map(|target| target.before)?;
    let after = records(newest)?.into_iter().find_map(|target| target.after);
    let edits = filed.iter().filter_map(|filed| filed.file.intent.change.edits.get(filed.edit));
    let instructions = edits.fold(Vec::new(), |known, edit| net(&known, &edit.instructions));
    let revision = after.map_or(0, |after| after.version().saturating_sub(base.version())).max(1);
    Some(Override {
        format: OVERRIDE_FORMAT,
        revision,
        environment: environment.clone(),
        flag: flag.clone(),
        instructions,
        state: OverrideState::InForce,
        changes: filed.iter().map(|filed| filed.file.change()).collect(),
        motive: newest.file.intent.change.motive.clone(),
        upstream: base.clone(),
        base,
        insisted: BTreeSet::new(),
    })
}

fn astray(filed: &FiledEdit<'_>, situation: &Situation<'_>, silent: &[Target], folds: &Folds) -> Astray {
    let change = filed.file.change();
    let mut marks = situation.said.iter().flat_map(|(_, _, marks)| marks);
    if let Some((_, mark)) = marks.find(|(marked, _)| *marked == change) {
        return Astray::Ended(mark.clone());
    }
    let Some(state) = folded(filed, folds) else { return Astray::Unexplained };
    if let EditStanding::Replayed { version, .. } = state.standing {
        return Astray::Replayed { version };
    }
    let wrote =
        |outcome: &Outcome| matches!(outcome, Outcome::Written { .. } | Outcome::Settled { .. } | Outcome::Undone);
    let hidden: Vec<Target> = silent
        .iter()
        .filter(|target| state.targets.get(*target).is_none_or(Outcome::may_be_in_force))
        .cloned()
        .collect();
    if !hidden.is_empty() {
        return Astray::Hidden(hidden);
    }
    let begun = matches!(state.standing, EditStanding::Owed | EditStanding::Nowhere);
    if begun && !state.targets.is_empty() && !state.targets.values().any(wrote) {
        return Astray::Nowhere;
    }
    Astray::Unexplained
}

#[cfg(test)]
mod tests;
