//! What is said of SDKs that may not have what everybody should, flag by flag: by the records that the playback says were
//! written, by the override, and by LaunchDarkly's version. Pure.

use jiff::Timestamp;

use crate::change::override_::Override;
use crate::change::stale::Stale;
use crate::change::target::Target;
use crate::commands::left_behind;
use crate::commands::left_behind::Fronts;
use crate::commands::left_behind::recorded::ByFlag;
use crate::commands::left_behind::recorded::Edits;
use crate::commands::verify::facts::Facts;
use crate::commands::verify::facts::Voice;

/// Whether something may have to be said of a flag, by what stands before its stores.
pub fn may_be(facts: &Facts, edits: &ByFlag<'_>) -> bool {
    facts.override_.is_some() || left(facts, edits).is_some()
}

/// What is to be said of one flag.
pub fn of(facts: &Facts, edits: &ByFlag<'_>, fronts: &Fronts, now: Timestamp) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(override_) = &facts.override_ {
        let missing = fronts.missing(override_, |target| is_in_force(facts, override_, target));
        told.extend(left_behind::diverged(&missing, override_, now));
    }
    told.extend(left(facts, edits).and_then(|(left, edited)| left_behind::in_words(left, fronts, edited)));
    told
}

/// What LaunchDarkly's version leaves behind. As long as an override is owed, it is meant to be ahead.
fn left(facts: &Facts, edits: &ByFlag<'_>) -> Option<(Stale, Timestamp)> {
    let override_ = facts.override_.as_ref();
    let is_owed = override_.is_some_and(|own| own.replayed_as().is_none());
    let Voice::Says { configuration, version } = &facts.launchdarkly else { return None };
    let (none, key) = (Edits::default(), (&facts.environment, &facts.flag));
    edits.get(&key).unwrap_or(&none).left(override_, *version, configuration).filter(|_| !is_owed)
}

/// Whether the record in a store does what the override wants.
fn is_in_force(facts: &Facts, override_: &Override, target: &Target) -> bool {
    let wish = super::judgement::wish(override_);
    let touched = super::judgement::touched(override_);
    let is_there = |(label, voice, _): &(String, Voice, bool)| match (voice, &wish) {
        (Voice::Says { configuration, .. }, Some(wish)) => {
            *label == target.store && configuration.differs(wish).is_disjoint(&touched)
        }
        _ => false,
    };
    facts.stores.iter().any(is_there)
}
