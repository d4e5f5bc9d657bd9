//! Which override comes next: the first one of a flag, the next revision of one, one that begins again after a replay,
//! or none, where targets only catch up with what others have.

use std::collections::BTreeSet;

use crate::change::merge::Standing;
use crate::change::net::covers;
use crate::change::net::net;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OVERRIDE_CHANGES_MAX;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::seen::shows;
use crate::change::seen::upstream_here;
use crate::change::update::Asked;
use crate::change::update::Options;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::flag::patch::PatchError;
use crate::flag::record::Record;

/// What kind of step an edit is, for all targets alike.
#[derive(Debug, Clone, PartialEq)]
pub enum Course<'a> {
    /// There is no override in force yet: the store's record is base and upstream.
    First {
        /// How the flag's last override ended, if it had one. Where that is left over in a target (it did not answer
        /// then, or failed over since), the record there is not LaunchDarkly's: see [`left_over`].
        ended: Option<&'a EndedMark>,
        /// 1, or the next one after all that were left over, so that no record's version goes down.
        revision: u64,
    },
    /// The merged override has this change, or comes to what is asked already: targets without it get it as it is. This
    /// is how the same command again, or `--resume`, finishes what is left.
    CatchUp(&'a Override),
    /// The merged override gets one more edit: its base stays, its revision goes up by one.
    Next(&'a Override),
    /// LaunchDarkly accepted the merged override as `version`, and now comes another edit. LaunchDarkly's answer is its
    /// base, and only what is new is owed.
    AfterReplay {
        /// The override that was accepted.
        from: &'a Override,
        /// LaunchDarkly's version after the patch.
        version: u64,
    },
}

/// The next override in one target, and what led to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// The override.
    pub(super) next: Override,
    /// What should stand in the target before this edit. It is not what does stand there if LaunchDarkly's return has
    /// wiped it: then the edit still has to reach the override, or a replay would send what it took back.
    pub(super) wanted: Record,
    /// An override without which the flag would not be as the edit asks.
    pub(super) explained_by: Option<Override>,
    /// The override was replayed, and this target shows that LaunchDarkly has it: there is nothing to catch up with.
    pub(super) launchdarkly_has_it: bool,
}

impl<'a> Course<'a> {
    /// Decides the course of `asked`, given what holds for the flag and what the targets hold.
    ///
    /// Once LaunchDarkly's own data path has shown a replayed override, in any target, that override has done its work:
    /// what differs from it now was decided in LaunchDarkly afterwards, and an edit that asks for the same again is a
    /// new edit.
    pub fn of<'s>(
        asked: &Asked<'_>,
        options: &Options,
        standing: &'a Standing,
        targets: impl IntoIterator<Item = &'s Seen>,
    ) -> Self {
        let Some(merged) = standing.in_force() else {
            let ended = if let Standing::Ended(mark) = standing { Some(mark) } else { None };
            let left = targets.into_iter().filter_map(|seen| left_over(seen.copy.readable()?, seen.own(), false));
            return Course::First { ended, revision: left.map(|own| own.revision).max().map_or(1, |left| left + 1) };
        };
        if merged.changes.contains(&asked.change) {
            return Course::CatchUp(merged);
        }
        let covered = covers(&merged.instructions, &asked.edit.instructions);
        let OverrideState::Replayed { version } = merged.state else {
            // Beside a rival of the same revision the edit needs the next one: under the same version as the rival's
            // record, relays and SDKs that have that one would drop it.
            let has_rival = || targets.into_iter().any(|seen| seen.own().is_some_and(|own| is_rival(own, merged)));
            // What is so already, and is to be over at another time, is an edit all the same.
            let expires = asked.motive.expires.filter(|_| options.record_anyway);
            let says_anew = expires.is_some() && expires != merged.motive.expires;
            return if covered && !says_anew && !has_rival() { Course::CatchUp(merged) } else { Course::Next(merged) };
        };
        let shown = || targets.into_iter().any(|seen| is_shown(seen, merged, version));
        if covered && !shown() {
            return Course::CatchUp(merged);
        }
        Course::AfterReplay { from: merged, version }
    }

    /// The next override in the target that holds `record` and `own`. `mended`: the record is not what LaunchDarkly
    /// wrote but a repaired one, so it says nothing about LaunchDarkly if an override knows better.
    pub(super) fn step(
        &self,
        asked: &Asked<'_>,
        own: Option<&Override>,
        record: &Record,
        mended: bool,
        insist: bool,
    ) -> Result<Step, PatchError> {
        let launchdarklys = |merged: &Override| upstream_here((!mended).then_some(record), own, merged);
        match *self {
            Course::First { ended, revision } => {
                let base = match left_over(record, own, mended) {
                    Some(own) => launchdarklys_after(own, ended)?,
                    None => record.clone(),
                };
                let next = begin(asked, revision, base.clone(), insist)?;
                Ok(Step { next, wanted: base, explained_by: None, launchdarkly_has_it: false })
            }
            Course::CatchUp(merged) => {
                let launchdarkly_has_it = match merged.state {
                    OverrideState::Replayed { version } => {
                        !is_ours(record, own.into_iter().chain([merged])) && shows(record, merged, version)
                    }
                    _ => false,
                };
                let next = Override { upstream: launchdarklys(merged), ..merged.clone() };
                let wanted = next.stands_as()?;
                Ok(Step { next, wanted, explained_by: Some(merged.clone()), launchdarkly_has_it })
            }
            Course::Next(merged) => {
                let upstream = launchdarklys(merged);
                let stands = Override { upstream: upstream.clone(), ..merged.clone() };
                let next = further(asked, stands.clone(), insist)?;
                let explained_by = explains(asked, merged, &upstream)?;
                Ok(Step { next, wanted: stands.in_force()?, explained_by, launchdarkly_has_it: false })
            }
            Course::AfterReplay { from, version } => {
                let is_launchdarklys = !mended && !is_ours(record, own.into_iter().chain([from]));
                let answer = if is_launchdarklys && shows(record, from, version) {
                    record.clone()
                } else {
                    Override { upstream: launchdarklys(from), ..from.clone() }.answered(version)?
                };
                let explained_by = explains(asked, from, &from.upstream)?;
                let next = begin(asked, from.revision.saturating_add(1), answer.clone(), insist)?;
                Ok(Step { next, wanted: answer, explained_by, launchdarkly_has_it: false })
            }
        }
    }
}

/// The override that has ended and is still here, if the record is its own. `mended`: what stood there was nobody's.
fn left_over<'o>(record: &Record, own: Option<&'o Override>, mended: bool) -> Option<&'o Override> {
    own.filter(|own| mended || is_ours(record, [*own]))
}

/// LaunchDarkly's record where an ended override was left over: what it was under that, or its answer to it.
fn launchdarklys_after(left: &Override, ended: Option<&EndedMark>) -> Result<Record, PatchError> {
    match ended {
        Some(EndedMark { ending: Ending::Settled, version: Some(version), .. })
            if *version > left.upstream.version() =>
        {
            left.answered(*version)
        }
        _ => Ok(left.upstream.clone()),
    }
}

/// Whether `own` was written by somebody who did not know `merged`, and as often edited: two operators who did not see each
/// other.
fn is_rival(own: &Override, merged: &Override) -> bool {
    own.revision >= merged.revision && own.change().is_some_and(|change| !merged.changes.contains(&change))
}

fn is_shown(seen: &Seen, merged: &Override, version: u64) -> bool {
    let Some(record) = seen.copy.readable() else { return false };
    !is_ours(record, seen.own().into_iter().chain([merged])) && shows(record, merged, version)
}

/// An override that begins with this edit. `base` is LaunchDarkly's record.
fn begin(asked: &Asked<'_>, revision: u64, base: Record, insist: bool) -> Result<Override, PatchError> {
    Ok(Override {
        format: OVERRIDE_FORMAT,
        revision,
        environment: asked.edit.environment.clone(),
        flag: asked.edit.flag.clone(),
        instructions: net(&asked.edit.instructions, &[]),
        state: OverrideState::InForce,
        changes: vec![asked.change],
        motive: asked.motive.clone(),
        insisted: insisted(asked, &base, insist)?,
        upstream: base.clone(),
        base,
        signature: None,
    })
}

/// The override with one more edit. An approval that was asked for was for less than this, so it is owed again.
fn further(asked: &Asked<'_>, from: Override, insist: bool) -> Result<Override, PatchError> {
    let mut changes = from.changes.clone();
    changes.push(asked.change);
    let dropped = changes.len().saturating_sub(OVERRIDE_CHANGES_MAX);
    let mut all_insisted = from.insisted.clone();
    all_insisted.extend(insisted(asked, &from.base, insist)?);
    Ok(Override {
        format: OVERRIDE_FORMAT,
        revision: from.revision.saturating_add(1),
        instructions: net(&from.instructions, &asked.edit.instructions),
        state: OverrideState::InForce,
        changes: changes.split_off(dropped),
        motive: asked.motive.clone(),
        insisted: all_insisted,
        signature: None,
        ..from
    })
}

/// The aspects that the edit asks for and that `base` has already, if they are to be owed all the same.
fn insisted(asked: &Asked<'_>, base: &Record, insist: bool) -> Result<BTreeSet<Aspect>, PatchError> {
    let mut aspects = BTreeSet::new();
    if insist {
        let edited = patch::apply(base, &asked.edit.instructions)?;
        let differing = Configuration::of_record(base).differs(&Configuration::of_record(&edited));
        aspects.extend(asked.edit.instructions.iter().map(Instruction::aspect));
        aspects.retain(|aspect| !differing.contains(aspect));
    }
    Ok(aspects)
}

/// `merged`, if the edit would change LaunchDarkly's own record: then it is the override that makes it so.
fn explains(asked: &Asked<'_>, merged: &Override, upstream: &Record) -> Result<Option<Override>, PatchError> {
    let unchanged = patch::apply(upstream, &asked.edit.instructions)?.same_value(upstream);
    Ok((!unchanged).then(|| merged.clone()))
}
