//! Several stores, one truth. Each Redis stands alone (design 4.2): nothing replicates overrides between them, hosts
//! are down while others are written, and two operators may write on two sides of a broken network. Whoever reads
//! several stores merges what they hold, and everybody who reads the same gets the same, in whatever order they came.
//! It must not know which stores there are or what they failed to answer.

use std::cmp::Ordering;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::target::Target;
use crate::flag::record::Record;

/// What one target says about one flag: the override there, if it can be read, and the ended marks that stand there
/// under the changes that any of the overrides names. What a playback file knows can be passed in the same way.
pub type Said = (Target, Option<Override>, Vec<(ChangeId, EndedMark)>);

/// What holds for one flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// No override, and no mark of one.
    None,
    /// An override.
    InForce(Box<Override>),
    /// There was one; this is how it ended.
    Ended(EndedMark),
}

impl Standing {
    /// The override in force.
    pub fn in_force(&self) -> Option<&Override> {
        match self {
            Standing::InForce(override_) => Some(override_),
            Standing::None | Standing::Ended(_) => None,
        }
    }
}

/// Merges what targets say: of the overrides that have not ended the one of the highest revision, then of the latest
/// newest change; if all have ended, the mark of the highest revision.
///
/// * An override has ended if a mark of its revision or a higher one stands under one of its changes, in any target. A
///   mark of other changes says nothing about it: an override that begins after another has ended counts from 1 again.
/// * `upstream` is the newest that any override in force knows, since guards keep it up to date where they are and not
///   elsewhere.
/// * Copies of the same revision and change can differ: by how far they have come (then the one that has come further
///   wins: only LaunchDarkly's answer moves them) and by `base`, where hosts held different content. The choice is then
///   arbitrary but the same for everybody: the higher version of base, then the text.
pub fn merged(said: &[Said]) -> Standing {
    let marks = || said.iter().flat_map(|(_, _, marks)| marks);
    let overrides = || said.iter().filter_map(|(_, override_, _)| override_.as_ref());
    let in_force = || overrides().filter(|override_| !has_ended(override_, marks()));
    if let Some(winner) = in_force().max_by(|one, other| precedence(one, other)) {
        let mut winner = winner.clone();
        if let Some(upstream) = in_force().map(|override_| &override_.upstream).max_by(|one, other| newer(one, other)) {
            winner.upstream = upstream.clone();
        }
        return Standing::InForce(Box::new(winner));
    }
    let ended = marks().max_by(|(one_change, one), (other_change, other)| {
        let rank = |change: &ChangeId, mark: &EndedMark| (mark.revision, *change, text(mark));
        rank(one_change, one).cmp(&rank(other_change, other))
    });
    ended.map_or(Standing::None, |(_, mark)| Standing::Ended(mark.clone()))
}

/// The overrides in force that lost to the merged one and hold a change that it does not: edits on the other side of a
/// broken network, which the next write will put aside. People are told.
pub fn put_aside(said: &[Said]) -> Vec<(&Target, &Override)> {
    let Standing::InForce(winner) = merged(said) else { return Vec::new() };
    let marks = || said.iter().flat_map(|(_, _, marks)| marks);
    let lost = |override_: &Override| {
        !has_ended(override_, marks())
            && override_.base.version() >= winner.base.version()
            && override_.change().is_some_and(|change| !winner.changes.contains(&change))
    };
    said.iter()
        .filter_map(|(target, override_, _)| Some((target, override_.as_ref()?)))
        .filter(|(_, override_)| lost(override_))
        .collect()
}

fn has_ended<'m>(override_: &Override, marks: impl Iterator<Item = &'m (ChangeId, EndedMark)>) -> bool {
    ended_by(override_, marks).is_some()
}

/// The mark that says that an override is over: one of its revision or a higher one, under one of its changes.
pub fn ended_by<'m>(
    override_: &Override,
    mut marks: impl Iterator<Item = &'m (ChangeId, EndedMark)>,
) -> Option<&'m EndedMark> {
    let is_it = |(change, mark): &&(ChangeId, EndedMark)| {
        mark.revision >= override_.revision && override_.changes.contains(change)
    };
    marks.find(is_it).map(|(_, mark)| mark)
}

fn precedence(one: &Override, other: &Override) -> Ordering {
    // As a rule all hosts hold the same, and there may be many.
    if one == other {
        return Ordering::Equal;
    }
    let rank = |override_: &Override| {
        let state = match override_.state {
            OverrideState::InForce => (0, 0),
            OverrideState::AwaitingApproval { .. } => (1, 0),
            OverrideState::Replayed { version } => (2, version),
        };
        (override_.revision, override_.change(), state, override_.base.version())
    };
    rank(one).cmp(&rank(other)).then_with(|| {
        // Everything but `upstream`, which is merged for itself.
        let alike = |override_: &Override| text(&Override { upstream: override_.base.clone(), ..override_.clone() });
        alike(one).cmp(&alike(other))
    })
}

fn newer(one: &Record, other: &Record) -> Ordering {
    one.version().cmp(&other.version()).then_with(|| one.text().cmp(other.text()))
}

/// The JSON text. Overrides and marks can always be written; were one not, the order among equals would suffer and
/// nothing else.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
