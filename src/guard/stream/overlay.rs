//! What everybody should have of an overridden flag: the override's instructions applied to LaunchDarkly's newest record,
//! with its version plus the revision, as every `rc` computes it too (design 4.3). PURE. It fails open: where it cannot be
//! computed, LaunchDarkly's record goes through as it came. It must not know who holds what.

use std::collections::BTreeSet;

use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::reconcile::History;
use crate::change::reconcile::LaunchDarklyNow;
use crate::change::reconcile::Reconciled;
use crate::change::reconcile::reconcile;
use crate::change::seen::is_newer;
use crate::change::seen::shows;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::record::Record;
use crate::guard::stream::item::Item;

/// What holds where LaunchDarkly changed the same aspect as the override meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The override, except that LaunchDarkly turning the flag off wins.
    #[default]
    Hold,
    /// LaunchDarkly.
    LaunchDarkly,
}

/// Why an overridden flag is as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The override holds.
    Held,
    /// The override holds although LaunchDarkly has another value since, in these aspects.
    HeldInConflict(BTreeSet<Aspect>),
    /// LaunchDarkly's value goes through: it has another one since, in these aspects.
    GivenWay(BTreeSet<Aspect>),
    /// The override was replayed, and LaunchDarkly's own record shows it.
    Arrived,
    /// LaunchDarkly deleted or archived the flag: its word goes through.
    Gone,
    /// It cannot be computed, in words; LaunchDarkly's record goes through.
    Failed(String),
}

/// What everybody should have of one flag, and why.
#[derive(Debug, Clone)]
pub struct Overlaid {
    /// What.
    pub item: Item,
    /// Why.
    pub reason: Reason,
}

/// Overlays `newest`, LaunchDarkly's newest word on the flag that was seen anywhere.
pub fn overlay(newest: &Item, override_: &Override, on_conflict: OnConflict) -> Overlaid {
    let through = |reason: Reason| Overlaid { item: newest.clone(), reason };
    let known = &override_.upstream;
    let record = match (newest, newest.record()) {
        (Item::Absent, _) => return through(Reason::Gone),
        // The override may know of a later restoration.
        (Item::Deleted { version }, _) if *version >= known.version() => return through(Reason::Gone),
        (_, Ok(Some(record))) if !is_newer(known, &record) => record,
        (_, Ok(_)) => known.clone(),
        (_, Err(error)) => return through(Reason::Failed(format!("LaunchDarkly's record is {error}"))),
    };
    let made = |record: &Record| Overlaid { item: Item::of_record(record), reason: Reason::Held };
    let stands = Override { upstream: record.clone(), ..override_.clone() }.stands_as();
    let held = match stands {
        Ok(stands) => made(&stands),
        Err(error) => return through(Reason::Failed(error.to_string())),
    };
    if let OverrideState::Replayed { version } = override_.state {
        if shows(&record, override_, version) {
            return Overlaid { item: Item::of_record(&record), reason: Reason::Arrived };
        }
        return held;
    }
    if is_on(&override_.base)
        && !is_on(&record)
        && held.item.record().is_ok_and(|held| held.is_some_and(|held| is_on(&held)))
    {
        let aspects = BTreeSet::from([Aspect::On]);
        return Overlaid { item: Item::of_record(&record), reason: Reason::GivenWay(aspects) };
    }
    let now = LaunchDarklyNow {
        configuration: Configuration::of_record(&record),
        version: record.version(),
        archived: false,
    };
    let aspects = match reconcile(override_, Some(&now), &History::default()) {
        Ok(Reconciled::Conflict { aspects, .. }) => aspects,
        Ok(_) => return held,
        Err(error) => return through(Reason::Failed(error.to_string())),
    };
    let aspects: BTreeSet<Aspect> = aspects.into_iter().map(|disagreement| disagreement.aspect).collect();
    if on_conflict == OnConflict::LaunchDarkly {
        return Overlaid { item: Item::of_record(&record), reason: Reason::GivenWay(aspects) };
    }
    Overlaid { reason: Reason::HeldInConflict(aspects), ..held }
}

fn is_on(record: &Record) -> bool {
    record.raw("on") == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;
    use crate::guard::stream::item::Kind;

    const OFF: Instruction = Instruction::TurnFlagOff;
    const SERVE: Instruction = Instruction::UpdateOffVariation { variation: 2 };

    fn overlaid(newest: &Record, override_: &Override) -> (Record, Reason) {
        let overlaid = overlay(&Item::of_record(newest), override_, OnConflict::Hold);
        (overlaid.item.record().unwrap().unwrap(), overlaid.reason)
    }

    #[test]
    fn the_override_is_applied_to_what_launchdarkly_has_now() {
        let override_ = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
        assert_eq!(overlaid(&flag(42, true, 1, 0), &override_), (flag(43, false, 1, 0), Reason::Held));
        // Another aspect was changed: merged.
        assert_eq!(overlaid(&flag(50, true, 1, 2), &override_), (flag(51, false, 1, 2), Reason::Held));
        // An old copy says nothing new.
        assert_eq!(overlaid(&flag(40, true, 1, 2), &override_), (flag(43, false, 1, 0), Reason::Held));
        // LaunchDarkly has it by itself.
        assert_eq!(overlaid(&flag(43, false, 1, 0), &override_).0.version(), 44);
    }

    #[test]
    fn conflicts_are_held_except_that_off_wins() {
        let override_ = override_of(&flag(42, true, 1, 0), &[OFF, SERVE], change(1));
        let (held, reason) = overlaid(&flag(50, true, 0, 0), &override_);
        assert_eq!((held, reason), (flag(51, false, 2, 0), Reason::HeldInConflict([Aspect::OffVariation].into())));
        let on = override_of(&flag(42, false, 1, 0), &[Instruction::TurnFlagOn], change(1));
        assert_eq!(overlaid(&flag(50, false, 1, 2), &on).1, Reason::Held, "off as it was in the base");
        let off_and_on = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOn], change(1));
        let turned_off = overlaid(&flag(50, false, 1, 0), &off_and_on);
        assert_eq!(turned_off, (flag(50, false, 1, 0), Reason::GivenWay([Aspect::On].into())));
        let gives_way = overlay(&Item::of_record(&flag(50, true, 0, 0)), &override_, OnConflict::LaunchDarkly);
        assert_eq!(gives_way.reason, Reason::GivenWay([Aspect::OffVariation].into()));
        assert_eq!(gives_way.item.version(), 50);
    }

    #[test]
    fn launchdarklys_end_of_a_flag_goes_through() {
        let override_ = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
        for newest in [Item::Absent, Item::Deleted { version: 43 }] {
            let overlaid = overlay(&newest, &override_, OnConflict::Hold);
            assert!(overlaid.item.same(&newest, Kind::Flag) && overlaid.reason == Reason::Gone);
        }
        let older = overlay(&Item::Deleted { version: 41 }, &override_, OnConflict::Hold);
        assert_eq!((older.item.version(), older.reason), (43, Reason::Held));
    }

    #[test]
    fn a_replayed_override_holds_until_launchdarklys_record_shows_it() {
        let mut override_ = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
        override_.revision = 3;
        override_.state = OverrideState::Replayed { version: 43 };
        assert_eq!(overlaid(&flag(42, true, 1, 0), &override_), (flag(43, false, 1, 0), Reason::Held));
        assert_eq!(overlaid(&flag(43, false, 1, 0), &override_), (flag(43, false, 1, 0), Reason::Arrived));
        assert_eq!(overlaid(&flag(44, true, 1, 0), &override_), (flag(44, true, 1, 0), Reason::Arrived));
    }

    #[test]
    fn what_cannot_be_computed_goes_through() {
        let override_ = override_of(&flag(42, true, 1, 0), &[SERVE], change(1));
        let odd = Item::of_record(&Record::parse(br#"{"key":"checkout","on":"yes","version":50}"#).unwrap());
        let overlaid = overlay(&odd, &override_, OnConflict::Hold);
        assert!(matches!(overlaid.reason, Reason::Failed(_)), "{:?}", overlaid.reason);
        assert_eq!(overlaid.item.version(), 50);
    }
}
