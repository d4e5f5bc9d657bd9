//! What only the playback knows of: where our own keys are forbidden in a store, an edit stands there as a bare record.
//! What it was and what stood there before is in the change's file, and an override is made from that. Pure.

use std::collections::BTreeSet;

use super::Folds;
use super::folded;
use crate::change::event::Happened;
use crate::change::net::net;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Seen;
use crate::change::state::EditStanding;
use crate::change::state::Outcome;
use crate::change::target::Target;
use crate::commands::overview::FiledEdit;
use crate::commands::overview::Situation;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;

/// Whether an edit stands in a store in which our own keys are forbidden, by its own outcome or by the record there.
pub(super) fn is_so(filed: &FiledEdit<'_>, situation: &Situation<'_>, folds: &Folds) -> bool {
    let Some(state) = folded(filed, folds).filter(|state| state.is_owed()) else { return false };
    situation.seen.iter().filter(|(_, seen)| !seen.own_keys).any(|(chosen, seen)| {
        let readable = seen.copy.readable().is_some();
        match state.targets.get(&chosen.target) {
            Some(Outcome::Written { colleagues_see: false, .. }) => readable,
            Some(Outcome::Intended | Outcome::Unknown { .. }) => stands(filed, &chosen.target, seen),
            _ => false,
        }
    })
}

/// Whether what an edit wrote to a target stands there.
pub(super) fn stands(filed: &FiledEdit<'_>, target: &Target, seen: &Seen) -> bool {
    let Some(record) = seen.copy.readable() else { return false };
    written(filed, target).is_some_and(|(_, after)| after.same_value(record))
}

/// What an edit met in a target and what it wrote there, by its file: where the record had changed before it could be
/// written, what was met the last time.
fn written(filed: &FiledEdit<'_>, target: &Target) -> Option<(Record, Record)> {
    let again =
        filed.file.events.iter().rev().filter(|event| event.edit == filed.edit).find_map(|event| match &event.what {
            Happened::ReRead { target: there, before, after } if there == target => Some((before, after)),
            _ => None,
        });
    let intended = || {
        let intent = filed.file.intent.edits.get(filed.edit)?;
        intent.targets.iter().find(|told| told.target == *target).map(|told| (&told.before, &told.after))
    };
    let (before, after) = again.or_else(intended)?;
    Some((before.clone()?, after.clone()?))
}

/// The override that the playback alone knows of, as it is in the first target that the oldest of `filed` names:
/// LaunchDarkly's record is the one that the oldest edit met.
pub(super) fn override_of(
    environment: &Environment,
    flag: &FlagKey,
    filed: &[FiledEdit<'_>],
    folds: &Folds,
) -> Option<Override> {
    let (oldest, newest) = (filed.first()?, filed.last()?);
    let targets = &oldest.file.intent.edits.get(oldest.edit)?.targets;
    let (base, revision) = targets.iter().find_map(|told| met(filed, &told.target))?;
    let edits = filed.iter().filter_map(|filed| filed.file.intent.change.edits.get(filed.edit));
    let instructions = edits.fold(Vec::new(), |known, edit| net(&known, &edit.instructions));
    let state = match folded(newest, folds).map(|state| &state.standing) {
        Some(EditStanding::AwaitingApproval { request, .. }) => {
            OverrideState::AwaitingApproval { request: request.clone() }
        }
        _ => OverrideState::InForce,
    };
    Some(Override {
        format: OVERRIDE_FORMAT,
        revision,
        environment: environment.clone(),
        flag: flag.clone(),
        instructions,
        state,
        changes: filed.iter().map(|filed| filed.file.change()).collect(),
        motive: newest.file.intent.change.motive.clone(),
        upstream: base.clone(),
        base,
        insisted: BTreeSet::new(),
        signature: None,
    })
}

/// LaunchDarkly's record in a target when the oldest edit met it, and the revision that the newest one made of it.
fn met(filed: &[FiledEdit<'_>], target: &Target) -> Option<(Record, u64)> {
    let (base, _) = filed.iter().find_map(|filed| written(filed, target))?;
    let (_, after) = filed.iter().rev().find_map(|filed| written(filed, target))?;
    let revision = after.version().saturating_sub(base.version()).max(1);
    Some((base, revision))
}

/// What the targets hold, with the override that the playback knows of beside each record that has none: hosts may hold
/// different content, and each was edited in place.
pub(super) fn seen(seen: Vec<(Target, Seen)>, filed: &[FiledEdit<'_>], override_: &Override) -> Vec<(Target, Seen)> {
    let with = |(target, seen): (Target, Seen)| {
        let known = if seen.own_keys { None } else { met(filed, &target) };
        let Some((base, revision)) = known else { return (target, seen) };
        let own = Override { revision, upstream: base.clone(), base, ..override_.clone() };
        (target, Seen { override_: Some(Ok(own)), ..seen })
    };
    seen.into_iter().map(with).collect()
}
