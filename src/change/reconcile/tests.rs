use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::change::net::net;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::flag::configuration::JsonValue;
use crate::flag::record::Record;

const OFF: Instruction = Instruction::TurnFlagOff;
const ON: Instruction = Instruction::TurnFlagOn;

fn default_rule(variation: usize) -> Instruction {
    Instruction::UpdateFallthroughVariationOrRollout { variation }
}

fn now(record: &Record) -> LaunchDarklyNow {
    let configuration = Configuration::of_record(record);
    LaunchDarklyNow { configuration, version: record.version(), archived: false }
}

fn reconciled(base: &Record, instructions: &[Instruction], now: &LaunchDarklyNow) -> Reconciled {
    reconcile(&override_of(base, instructions, change(1)), Some(now), &by_others()).unwrap()
}

/// What is there now is not from this override.
fn by_others() -> History {
    History { ours: Some(BTreeSet::new()), ..History::default() }
}

fn from_us(aspects: &[Aspect]) -> History {
    History { ours: Some(aspects.iter().copied().collect()), ..History::default() }
}

fn with_variations(mut now: LaunchDarklyNow, values: &[serde_json::Value]) -> LaunchDarklyNow {
    now.configuration.variations = values.iter().cloned().map(JsonValue).collect();
    now
}

#[test]
fn nobody_did_anything() {
    let base = flag(42, true, 1, 0);
    let sent = Reconciled::Send { instructions: vec![OFF], elsewhere: BTreeSet::new() };
    assert_eq!(reconciled(&base, &[OFF], &now(&base)), sent);
}

#[test]
fn it_comes_to_nothing() {
    let base = flag(42, true, 1, 0);
    assert_eq!(reconciled(&base, &[ON], &now(&base)), Reconciled::NothingToSend);
    assert_eq!(reconciled(&base, &[ON], &now(&flag(50, false, 2, 2))), Reconciled::NothingToSend);
    assert_eq!(reconciled(&base, &[], &now(&base)), Reconciled::NothingToSend);
}

#[test]
fn launchdarkly_has_it_already() {
    assert_eq!(
        reconciled(&flag(42, true, 1, 0), &[OFF], &now(&flag(43, false, 1, 0))),
        Reconciled::AlreadySo { version: 43 }
    );
}

#[test]
fn what_was_changed_elsewhere_stays() {
    let found = reconciled(&flag(42, true, 1, 0), &[OFF], &now(&flag(43, true, 1, 2)));
    assert_eq!(found, Reconciled::Send { instructions: vec![OFF], elsewhere: [Aspect::Fallthrough].into() });
    // What was changed and changed back here is not ours either.
    let found = reconciled(&flag(42, true, 1, 0), &[default_rule(0), OFF], &now(&flag(43, true, 1, 2)));
    assert_eq!(found, Reconciled::Send { instructions: vec![OFF], elsewhere: [Aspect::Fallthrough].into() });
}

/// Off, with the off variation that there was: everybody was to get that one. LaunchDarkly has another one by now, so
/// turning the flag off would give everybody something else.
#[test]
fn what_was_asked_for_together_belongs_together() {
    let serve = [OFF, Instruction::UpdateOffVariation { variation: 1 }];
    let found = reconciled(&flag(42, true, 1, 0), &serve, &now(&flag(43, true, 0, 0)));
    let Reconciled::Conflict { aspects, instructions } = found else { panic!("{found:?}") };
    assert_eq!(aspects.iter().map(|one| one.aspect).collect::<Vec<_>>(), [Aspect::OffVariation]);
    assert_eq!(instructions, Some(serve.to_vec()));
    let found = reconciled(&flag(42, true, 1, 0), &serve, &now(&flag(43, true, 1, 2)));
    assert_eq!(found, Reconciled::Send { instructions: vec![OFF], elsewhere: [Aspect::Fallthrough].into() });
}

#[test]
fn a_conflict_has_three_values() {
    let found = reconciled(&flag(42, true, 1, 0), &[OFF, default_rule(1)], &now(&flag(43, true, 1, 2)));
    let disagreement = Disagreement {
        aspect: Aspect::Fallthrough,
        base: r#""a""#.to_owned(),
        override_: r#""b""#.to_owned(),
        now: r#""c""#.to_owned(),
    };
    let instructions = Some(vec![OFF, default_rule(1)]);
    assert_eq!(found, Reconciled::Conflict { aspects: vec![disagreement], instructions });
}

#[test]
fn changed_and_changed_back_needs_a_reason() {
    let base = flag(42, true, 1, 0);
    let moved = now(&flag(44, true, 1, 0));
    let asked = Reconciled::ChangedAndChangedBack { base_version: 42, version_now: 44, instructions: vec![OFF] };
    let override_ = override_of(&base, &[OFF], change(1));
    let with = |explained| reconcile(&override_, Some(&moved), &History { explained, ..by_others() }).unwrap();
    assert_eq!(with(None), asked);
    assert_eq!(with(Some(false)), asked);
    assert_eq!(with(Some(true)), Reconciled::Send { instructions: vec![OFF], elsewhere: BTreeSet::new() });
}

#[test]
fn changed_and_changed_back_beside_another_change() {
    let override_ = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let moved = now(&flag(45, true, 1, 2));
    let with = |touched| reconcile(&override_, Some(&moved), &History { touched, ..by_others() }).unwrap();
    assert!(matches!(with(false), Reconciled::Send { .. }));
    assert!(matches!(with(true), Reconciled::ChangedAndChangedBack { version_now: 45, .. }));
}

/// A replay was cut off after LaunchDarkly took its patch; then came another edit.
#[test]
fn what_an_earlier_revision_put_there_is_no_conflict() {
    let base = flag(42, true, 1, 0);
    let with = |asked: &[Instruction], there: &Record, history: &History| {
        reconcile(&override_of(&base, asked, change(1)), Some(&now(there)), history).unwrap()
    };
    let sent = |instructions: &[Instruction]| Reconciled::Send {
        instructions: instructions.to_vec(),
        elsewhere: BTreeSet::new(),
    };
    let on = from_us(&[Aspect::On]);
    assert_eq!(with(&[ON], &flag(43, false, 1, 0), &on), sent(&[ON]), "off and on again");
    assert_eq!(with(&[ON], &flag(44, true, 1, 0), &on), Reconciled::AlreadySo { version: 44 }, "both were sent");
    assert_eq!(with(&[ON], &flag(43, false, 1, 0), &by_others()), Reconciled::NothingToSend, "another's off");
    assert!(matches!(with(&[ON], &flag(43, false, 1, 0), &History::default()), Reconciled::Conflict { .. }));
    assert_eq!(with(&[ON], &flag(42, false, 1, 0), &History::default()), Reconciled::NothingToSend, "the store's base");
    let rule = from_us(&[Aspect::Fallthrough]);
    assert_eq!(with(&[default_rule(2)], &flag(43, true, 1, 1), &rule), sent(&[default_rule(2)]));
    assert!(matches!(with(&[default_rule(2)], &flag(43, true, 1, 1), &by_others()), Reconciled::Conflict { .. }));
    assert_eq!(with(&[ON, default_rule(2)], &flag(43, false, 1, 0), &on), sent(&[ON, default_rule(2)]));
}

#[test]
fn gone() {
    let override_ = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    assert_eq!(reconcile(&override_, None, &by_others()).unwrap(), Reconciled::Gone { archived: false });
    let archived = LaunchDarklyNow { archived: true, ..now(&flag(43, true, 1, 0)) };
    assert_eq!(reconcile(&override_, Some(&archived), &by_others()).unwrap(), Reconciled::Gone { archived: true });
}

#[test]
fn a_measured_rollout_is_never_overwritten_unknowingly() {
    let base = flag(42, true, 1, 0);
    let mut measured = now(&flag(43, true, 1, 0));
    measured.configuration.fallthrough = Serve::Measured;
    assert!(matches!(reconciled(&base, &[default_rule(1)], &measured), Reconciled::Conflict { .. }));
    let elsewhere = [Aspect::Fallthrough].into();
    assert_eq!(reconciled(&base, &[OFF], &measured), Reconciled::Send { instructions: vec![OFF], elsewhere });
}

#[test]
fn a_shifted_list_of_variations() {
    let base = flag(42, true, 1, 0);
    // A new first one: "b" is now number 2, and LaunchDarkly's own settings moved along.
    let shifted = with_variations(now(&flag(43, true, 2, 1)), &[json!("new"), json!("a"), json!("b"), json!("c")]);
    let found = reconciled(&base, &[default_rule(1)], &shifted);
    assert_eq!(found, Reconciled::Send { instructions: vec![default_rule(2)], elsewhere: [Aspect::Variations].into() });
    // On and off name no variation.
    let lost = with_variations(now(&flag(43, true, 0, 0)), &[json!("x"), json!("y")]);
    assert!(matches!(reconciled(&base, &[OFF], &lost), Reconciled::Send { .. }));
    // The value is gone, or there twice.
    for values in [[json!("a"), json!("x"), json!("c")], [json!("b"), json!("x"), json!("b")]] {
        let lost = with_variations(now(&flag(43, true, 0, 0)), &values);
        let Reconciled::Conflict { aspects, instructions } = reconciled(&base, &[OFF, default_rule(1)], &lost) else {
            panic!("{values:?}");
        };
        assert_eq!((aspects[0].aspect, instructions), (Aspect::Variations, None));
        assert_eq!(aspects[0].override_, r#""b""#);
    }
}

#[test]
fn what_was_insisted_on_is_owed_though_base_has_it() {
    let mut override_ = override_of(&flag(42, false, 1, 0), &[OFF], change(1));
    override_.insisted = [Aspect::On].into();
    let with = |record: &Record| reconcile(&override_, Some(&now(record)), &by_others()).unwrap();
    assert_eq!(with(&flag(42, true, 1, 0)), Reconciled::Send { instructions: vec![OFF], elsewhere: [].into() });
    assert_eq!(with(&flag(42, false, 1, 0)), Reconciled::AlreadySo { version: 42 });
    assert!(matches!(with(&flag(43, true, 1, 0)), Reconciled::Conflict { .. }));
}

/// The naive model: a flag is three numbers.
fn numbers(record: &Record) -> [usize; 3] {
    let configuration = Configuration::of_record(record);
    let Serve::Variation(fallthrough) = configuration.fallthrough else { panic!() };
    [
        usize::from(configuration.on),
        usize::try_from(configuration.off_variation.unwrap()).unwrap(),
        usize::try_from(fallthrough).unwrap(),
    ]
}

fn applied(mut numbers: [usize; 3], instructions: &[Instruction]) -> [usize; 3] {
    for instruction in instructions {
        match instruction {
            Instruction::TurnFlagOn => numbers[0] = 1,
            Instruction::TurnFlagOff => numbers[0] = 0,
            Instruction::UpdateOffVariation { variation } => numbers[1] = *variation,
            Instruction::UpdateFallthroughVariationOrRollout { variation } => numbers[2] = *variation,
        }
    }
    numbers
}

proptest! {
    #[test]
    fn is_the_naive_three_way_merge(
        base in sample::record(),
        theirs in sample::record(),
        edits in prop::collection::vec(sample::instruction(), 0..5),
    ) {
        let instructions = net(&edits, &[]);
        let (before, now_) = (numbers(&base), numbers(&theirs));
        let wish = applied(before, &edits);
        let mut merged = now_;
        let mut conflict = false;
        let asked = |part: usize| edits.iter().any(|edit| {
            part == [Aspect::On, Aspect::OffVariation, Aspect::Fallthrough].iter().position(|one| *one == edit.aspect()).unwrap()
        });
        // Whether the flag is on decides; so does the off variation while it is off, and the default rule while it is on.
        let decides = [true, wish[0] == 0, wish[0] == 1];
        for part in 0..3 {
            let belongs = wish != before && asked(part) && decides[part];
            if (wish[part] == before[part] && !belongs) || wish[part] == now_[part] {
                continue;
            }
            conflict |= now_[part] != before[part] && (wish[part] != before[part] || theirs.version() > base.version());
            merged[part] = wish[part];
        }
        match reconciled(&base, &instructions, &now(&theirs)) {
            Reconciled::NothingToSend => prop_assert_eq!(wish, before),
            Reconciled::AlreadySo { .. } => prop_assert!(wish != before && merged == now_ && !conflict),
            Reconciled::Conflict { instructions, .. } => {
                prop_assert!(conflict);
                prop_assert_eq!(applied(now_, &instructions.unwrap()), merged);
            }
            Reconciled::Send { instructions, .. } => {
                prop_assert!(!conflict && merged != now_);
                prop_assert_eq!(applied(now_, &instructions), merged);
            }
            Reconciled::ChangedAndChangedBack { instructions, .. } => {
                prop_assert!(theirs.version() > base.version() && now_ == before);
                prop_assert_eq!(applied(now_, &instructions), merged);
            }
            Reconciled::Gone { .. } => prop_assert!(false),
        }
    }

    #[test]
    fn what_came_after_a_lost_answer_is_not_lost(
        base in sample::record(),
        first in prop::collection::vec(sample::instruction(), 1..4),
        then in prop::collection::vec(sample::instruction(), 0..4),
    ) {
        let wish = applied(applied(numbers(&base), &first), &then);
        let has = applied(numbers(&base), &first);
        let mut there = now(&base);
        there.configuration.on = has[0] == 1;
        there.configuration.off_variation = Some(i64::try_from(has[1]).unwrap());
        there.configuration.fallthrough = Serve::Variation(i64::try_from(has[2]).unwrap());
        there.version += u64::from(has != numbers(&base));
        let touched: Vec<Aspect> = first.iter().map(Instruction::aspect).collect();
        let override_ = override_of(&base, &net(&first, &then), change(1));
        match reconcile(&override_, Some(&there), &from_us(&touched)).unwrap() {
            Reconciled::NothingToSend | Reconciled::AlreadySo { .. } => prop_assert_eq!(has, wish),
            Reconciled::Send { instructions, .. } => prop_assert_eq!(applied(has, &instructions), wish),
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn what_was_not_touched_is_never_sent(
        base in sample::record(),
        theirs in sample::record(),
        edits in prop::collection::vec(sample::instruction(), 0..5),
    ) {
        let touched: BTreeSet<Aspect> = edits.iter().map(Instruction::aspect).collect();
        let found = reconciled(&base, &net(&edits, &[]), &now(&theirs));
        if let Reconciled::Send { instructions, elsewhere } = &found {
            prop_assert!(instructions.iter().all(|instruction| touched.contains(&instruction.aspect())));
            let sent: BTreeSet<Aspect> = instructions.iter().map(Instruction::aspect).collect();
            prop_assert!(sent.is_disjoint(elsewhere));
        }
        if let Reconciled::Conflict { aspects, .. } = &found {
            prop_assert!(aspects.iter().all(|disagreement| touched.contains(&disagreement.aspect)));
        }
    }

    #[test]
    fn what_was_sent_is_already_so_when_read_again(
        base in sample::record(),
        theirs in sample::record(),
        edits in prop::collection::vec(sample::instruction(), 1..5),
        shift in any::<bool>(),
        ours in prop::collection::btree_set(prop::sample::select(Aspect::ALL.to_vec()), 0..4),
    ) {
        let override_ = override_of(&base, &net(&edits, &[]), change(1));
        // Where the version has not moved, nothing of ours can be there.
        let ours = if theirs.version() > base.version() { ours } else { BTreeSet::new() };
        let history = History { explained: Some(true), touched: false, ours: Some(ours) };
        let mut there = now(&theirs);
        if shift {
            there = with_variations(there, &[json!("new"), json!("a"), json!("b"), json!("c")]);
        }
        let found = reconcile(&override_, Some(&there), &history).unwrap();
        let sent = match found {
            Reconciled::Send { instructions, .. } => instructions,
            Reconciled::Conflict { instructions: Some(instructions), .. } => instructions,
            _ => return Ok(()),
        };
        let after = applied(numbers(&theirs), &sent);
        there.configuration.on = after[0] == 1;
        there.configuration.off_variation = Some(i64::try_from(after[1]).unwrap());
        there.configuration.fallthrough = Serve::Variation(i64::try_from(after[2]).unwrap());
        there.version += 1;
        let version = there.version;
        prop_assert_eq!(reconcile(&override_, Some(&there), &history).unwrap(), Reconciled::AlreadySo { version });
    }
}
