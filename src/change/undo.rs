//! Putting LaunchDarkly's own record back: what an undo writes in one target, and what a replay writes when there was
//! nothing to send or when LaunchDarkly's word was chosen over the override. It must not know who asked or how it is
//! shown.
//!
//! Which version is written, and why it may go down. A record of ours has LaunchDarkly's version plus the revision. Left
//! there, the store would refuse LaunchDarkly's next patches, which count on from its own version (an upsert takes only
//! a higher one). So the record goes back under the version that LaunchDarkly itself gave it: the override's `upstream`,
//! which is the newest record of LaunchDarkly's that this target knows. Nothing else may lower a version.
//!
//! A record in the store that LaunchDarkly wrote is left alone, older or newer: the override is over, and what
//! LaunchDarkly sends is what stands there.

use jiff::Timestamp;

use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::seen::upstream_here;
use crate::change::target::Target;
use crate::flag::record::Record;

/// Who ends an override, in which change.
#[derive(Debug, Clone)]
pub struct By {
    /// The change that does it: an undo's own id; in a replay the newest change that is replayed.
    pub change: ChangeId,
    /// Who.
    pub actor: Actor,
    /// When, by his clock. Only shown.
    pub at: Timestamp,
}

/// What one target gets.
#[derive(Debug, Clone, PartialEq)]
pub enum PutBack {
    /// The override ends. `write.after` is LaunchDarkly's record; `None` where LaunchDarkly's record stands there
    /// already (its return wiped the edit) and only the override ends.
    Write(Box<Write>),
    /// This target has neither an override nor a record of ours: it was never written, or is done.
    NothingThere,
    /// LaunchDarkly has the override: undoing it here would only make the store differ from LaunchDarkly until
    /// LaunchDarkly's stream comes by. It has to be undone in LaunchDarkly.
    AlreadyReplayed {
        /// LaunchDarkly's version, where it is known.
        version: Option<u64>,
    },
    /// The override there is damaged, or of a newer format: what LaunchDarkly's record was is not known.
    OverrideUnreadable(String),
}

/// What an undo writes in `target`. `standing` is merged from all targets.
pub fn undo(by: &By, target: &Target, seen: &Seen, standing: &Standing) -> PutBack {
    let replayed = |override_: &Override| match override_.state {
        OverrideState::Replayed { version } => Some(version),
        OverrideState::InForce | OverrideState::AwaitingApproval { .. } => None,
    };
    match standing {
        Standing::Ended(mark) if mark.ending == Ending::Settled => {
            return PutBack::AlreadyReplayed { version: mark.version };
        }
        Standing::InForce(merged) => {
            if let Some(version) = replayed(merged) {
                return PutBack::AlreadyReplayed { version: Some(version) };
            }
        }
        // A leftover of an override that was undone or abandoned elsewhere while this target did not answer.
        Standing::Ended(_) | Standing::None => {}
    }
    put_back(by, Ending::Undone, target, seen, standing)
}

/// Ends the override in `target` and puts LaunchDarkly's own record back where ours stands. Also for a replay that found
/// nothing to send ([`Ending::Settled`]) or in which LaunchDarkly's word was chosen, or whose flag is gone
/// ([`Ending::Abandoned`]). Not for an override that LaunchDarkly has: see `settle`.
///
/// The marks stand under every change of the override, here and merged, with the higher revision of the two, so that a
/// copy in a target that did not answer is known to be over as well.
pub fn put_back(by: &By, ending: Ending, target: &Target, seen: &Seen, standing: &Standing) -> PutBack {
    if let Some(Err(why)) = &seen.override_ {
        return PutBack::OverrideUnreadable(why.clone());
    }
    let own = seen.own();
    let merged = standing.in_force();
    let Some(known) = merged.or(own) else { return PutBack::NothingThere };
    let overrides = || own.into_iter().chain(merged);
    let record = seen.copy.readable();
    let ours = record.is_some_and(|record| is_ours(record, overrides()));
    if own.is_none() && !ours {
        return PutBack::NothingThere;
    }
    let upstream = upstream_here(record, own, known);
    let version = if ours { Some(upstream.version()) } else { record.map(Record::version) };
    PutBack::Write(Box::new(Write {
        target: target.clone(),
        flag: known.flag.clone(),
        before: seen.copy.exact_record().cloned(),
        after: ours.then_some(upstream),
        override_before: seen.override_text.clone(),
        override_after: OverrideWrite::End(marks(by, ending, version, overrides())),
        change: by.change,
    }))
}

/// What an undo writes in `target` where neither the override nor its record stands any more, and nobody said how it ended:
/// the marks alone, so that nobody who remembers it, or finds it elsewhere, takes it for one that holds.
pub fn only_marks(by: &By, target: &Target, seen: &Seen, override_: &Override) -> Write {
    let version = seen.copy.readable().map(Record::version);
    Write {
        target: target.clone(),
        flag: override_.flag.clone(),
        before: seen.copy.exact_record().cloned(),
        after: None,
        override_before: None,
        override_after: OverrideWrite::End(marks(by, Ending::Undone, version, std::iter::once(override_))),
        change: by.change,
    }
}

/// The marks that an override leaves: one under each of its changes.
pub(super) fn marks<'o>(
    by: &By,
    ending: Ending,
    version: Option<u64>,
    overrides: impl Iterator<Item = &'o Override> + Clone,
) -> Vec<(ChangeId, EndedMark)> {
    let revision = overrides.clone().map(|override_| override_.revision).max().unwrap_or_default();
    let mut marks: Vec<(ChangeId, EndedMark)> = Vec::new();
    for (override_, change) in overrides.flat_map(|override_| override_.changes.iter().map(move |id| (override_, *id)))
    {
        if marks.iter().any(|(marked, _)| *marked == change) {
            continue;
        }
        let flag = override_.flag.clone();
        let (actor, at) = (by.actor.clone(), by.at);
        marks.push((change, EndedMark { format: OVERRIDE_FORMAT, flag, ending, version, actor, at, revision }));
    }
    marks
}

#[cfg(test)]
mod tests;
