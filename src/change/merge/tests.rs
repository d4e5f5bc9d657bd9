use proptest::prelude::*;

use super::*;
use crate::change::override_::Ending;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::mark;
use crate::change::sample::override_of;
use crate::change::sample::target;
use crate::flag::instruction::Instruction;

fn override_(revision: u64, changes: &[u8]) -> Override {
    let mut made = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    made.revision = revision;
    made.changes = changes.iter().map(|number| change(*number)).collect();
    made
}

fn said(store: &str, override_: Option<Override>, marks: &[(u8, EndedMark)]) -> Said {
    let marks = marks.iter().map(|(number, mark)| (change(*number), mark.clone())).collect();
    (target(store), override_, marks)
}

#[test]
fn revision_then_change() {
    assert_eq!(merged(&[said("a", None, &[])]), Standing::None);
    let standing = merged(&[said("a", Some(override_(2, &[1, 2])), &[]), said("b", Some(override_(1, &[9])), &[])]);
    assert_eq!(standing.in_force().unwrap().revision, 2);
    let standing = merged(&[said("a", Some(override_(1, &[4])), &[]), said("b", Some(override_(1, &[9])), &[])]);
    assert_eq!(standing.in_force().unwrap().change(), Some(change(9)));
}

#[test]
fn the_newest_upstream_wherever_it_is() {
    let mut guarded = override_(1, &[1]);
    guarded.upstream = flag(45, true, 1, 0);
    let standing = merged(&[said("a", Some(override_(2, &[1, 2])), &[]), said("b", Some(guarded), &[])]);
    let standing = standing.in_force().unwrap();
    assert_eq!((standing.revision, standing.upstream.version(), standing.base.version()), (2, 45, 42));
}

#[test]
fn a_mark_of_equal_or_higher_revision_wins() {
    let undone = |revision| mark(Ending::Undone, revision);
    let ended = |said: &[Said]| matches!(merged(said), Standing::Ended(_));
    assert!(ended(&[said("a", Some(override_(1, &[1])), &[]), said("b", None, &[(1, undone(1))])]));
    assert!(ended(&[said("a", Some(override_(1, &[1])), &[]), said("b", None, &[(1, undone(3))])]));
    assert!(!ended(&[said("a", Some(override_(2, &[1, 2])), &[]), said("b", None, &[(1, undone(1))])]));
    assert!(
        !ended(&[said("a", Some(override_(1, &[7])), &[]), said("b", None, &[(1, undone(3))])]),
        "another override"
    );
    assert!(ended(&[said("a", None, &[(1, undone(1))])]));
}

#[test]
fn the_one_that_has_come_further_wins_at_the_same_revision() {
    let mut replayed = override_(1, &[1]);
    replayed.state = OverrideState::Replayed { version: 43 };
    let standing = merged(&[said("a", Some(replayed.clone()), &[]), said("b", Some(override_(1, &[1])), &[])]);
    assert_eq!(standing, Standing::InForce(Box::new(replayed)));
}

#[test]
fn the_other_side_of_a_broken_network_is_told() {
    let both = [said("a", Some(override_(1, &[4])), &[]), said("b", Some(override_(1, &[9])), &[])];
    let aside = put_aside(&both);
    assert_eq!(aside.len(), 1);
    assert_eq!(*aside[0].0, target("a"));
    let one_history = [said("a", Some(override_(1, &[1])), &[]), said("b", Some(override_(2, &[1, 2])), &[])];
    assert!(put_aside(&one_history).is_empty());
    // What was replayed in between is no longer part of the newer one, which began again from LaunchDarkly's answer.
    let mut later = override_(2, &[2]);
    later.base = flag(43, false, 1, 0);
    assert!(put_aside(&[said("a", Some(override_(1, &[1])), &[]), said("b", Some(later), &[])]).is_empty());
}

fn any_said() -> impl Strategy<Value = Said> {
    let any_override = (1..4_u64, prop::collection::vec(1..4_u8, 1..3), sample::record(), sample::record(), 0..3_u8)
        .prop_map(|(revision, changes, base, upstream, state)| Override {
            base,
            upstream,
            state: match state {
                0 => OverrideState::InForce,
                1 => OverrideState::AwaitingApproval { request: "r".to_owned() },
                _ => OverrideState::Replayed { version: 43 },
            },
            ..override_(revision, &changes)
        });
    let any_mark = (1..4_u8, 1..4_u64, any::<bool>()).prop_map(|(number, revision, undone)| {
        (change(number), mark(if undone { Ending::Undone } else { Ending::Settled }, revision))
    });
    (prop::option::of(any_override), prop::collection::vec(any_mark, 0..2))
        .prop_map(|(override_, marks)| (target("a"), override_, marks))
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        (straight, shuffled, again) in prop::collection::vec(any_said(), 0..5).prop_flat_map(|said| {
            (Just(said.clone()), Just(said.clone()).prop_shuffle(), prop::sample::subsequence(said.clone(), 0..=said.len()))
        }),
    ) {
        let expected = merged(&straight);
        prop_assert_eq!(&merged(&shuffled), &expected);
        let mut repeated = shuffled;
        repeated.extend(again);
        prop_assert_eq!(&merged(&repeated), &expected);
    }

    /// A reader that merged some stores and then meets others comes to what it would have come to with all at once, as
    /// long as it keeps the marks.
    #[test]
    fn merging_in_parts_is_merging_at_once(
        one in prop::collection::vec(any_said(), 0..4),
        other in prop::collection::vec(any_said(), 0..4),
    ) {
        let all: Vec<Said> = one.iter().chain(&other).cloned().collect();
        let marks: Vec<_> = all.iter().flat_map(|(_, _, marks)| marks.clone()).collect();
        let with_marks = |part: &[Said]| {
            let mut part = part.to_vec();
            part.push((target("m"), None, marks.clone()));
            merged(&part).in_force().cloned()
        };
        let parts = [(target("a"), with_marks(&one), marks.clone()), (target("b"), with_marks(&other), marks.clone())];
        prop_assert_eq!(merged(&parts), merged(&all));
    }

    /// The naive model: strike out every override that any mark ends, then look for the best by going through them.
    #[test]
    fn is_what_the_naive_model_says(said in prop::collection::vec(any_said(), 0..5)) {
        let mut best: Option<(u64, Option<ChangeId>)> = None;
        let mut any_mark = false;
        for (_, override_, _) in &said {
            let Some(override_) = override_ else { continue };
            let mut ended = false;
            for (_, _, marks) in &said {
                for (marked, mark) in marks {
                    for named in &override_.changes {
                        ended |= marked == named && mark.revision >= override_.revision;
                    }
                }
            }
            let rank = (override_.revision, override_.change());
            if !ended && best.is_none_or(|best| rank > best) {
                best = Some(rank);
            }
        }
        for (_, _, marks) in &said {
            any_mark |= !marks.is_empty();
        }
        match merged(&said) {
            Standing::InForce(winner) => prop_assert_eq!(Some((winner.revision, winner.change())), best),
            Standing::Ended(_) => prop_assert!(best.is_none() && any_mark),
            Standing::None => prop_assert!(best.is_none() && !any_mark),
        }
    }
}
