use proptest::prelude::*;

use super::*;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::change::sample::seen;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::patch;

const OFF: Instruction = Instruction::TurnFlagOff;

fn by() -> By {
    By { change: change(9), actor: sample::actor("bob"), at: "2026-10-20T03:00:00Z".parse().unwrap() }
}

/// An override of revision 3, so that its record is version 45.
fn sent() -> Override {
    let mut sent = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    sent.revision = 3;
    sent
}

fn answered(seen: &Seen, sent: &Override, version: u64, shown: Option<&Record>) -> Settling {
    after_patch(
        &by(),
        &sample::target("a"),
        seen,
        &Answer {
            sent,
            version,
            shown,
            gives_way: false,
            ended: false,
            overlaid: false,
            from_before: false,
            keys: None,
        },
    )
    .unwrap()
}

fn held(found: Settling) -> (Option<Record>, Override) {
    let Settling::Held(write) = found else { panic!("{found:?}") };
    let OverrideWrite::Put(next) = write.override_after else { panic!() };
    (write.after, next.as_ref().clone())
}

fn settled(found: Settling) -> Option<Record> {
    let Settling::Settled(write) = found else { panic!("{found:?}") };
    assert!(matches!(write.override_after, OverrideWrite::End(_)));
    write.after
}

/// Another store has lost its overrides, and an older record of ours stands there under the very number that LaunchDarkly
/// has by now.
#[test]
fn what_contradicts_launchdarklys_answer_is_no_proof_of_it() {
    let ours = flag(45, false, 1, 0);
    let bereft = flag(43, true, 1, 0);
    let (after, next) = held(answered(&seen(Some(&ours), Some(&sent())), &sent(), 43, Some(&bereft)));
    assert_eq!(after.unwrap().text(), flag(43, false, 1, 0).text());
    assert_eq!(next.state, OverrideState::Replayed { version: 43 });
}

#[test]
fn our_higher_version_becomes_launchdarklys() {
    let (after, next) = held(answered(&seen(Some(&flag(45, false, 1, 0)), Some(&sent())), &sent(), 43, None));
    assert_eq!(after.unwrap().text(), flag(43, false, 1, 0).text());
    assert_eq!((&next.state, next.revision), (&OverrideState::Replayed { version: 43 }, 3));
    assert_eq!(next.upstream.version(), 42);
}

#[test]
fn our_equal_or_lower_version_stays() {
    for version in [45, 46, 60] {
        let (after, next) = held(answered(&seen(Some(&flag(45, false, 1, 0)), Some(&sent())), &sent(), version, None));
        assert_eq!((after, next.state), (None, OverrideState::Replayed { version }));
    }
}

#[test]
fn launchdarklys_own_record_settles_it() {
    for shown in [flag(43, false, 1, 0), flag(50, true, 1, 0), flag(41, false, 2, 2)] {
        assert_eq!(settled(answered(&seen(Some(&shown), Some(&sent())), &sent(), 43, None)), None);
    }
    // One from before stays, and so does the override.
    let (after, next) = held(answered(&seen(Some(&flag(42, true, 1, 0)), Some(&sent())), &sent(), 43, None));
    assert_eq!((after, next.state), (None, OverrideState::Replayed { version: 43 }));
}

/// LaunchDarkly's patch came over the stream before any store said that the override was sent.
#[test]
fn what_a_guard_made_of_launchdarklys_answer_is_no_proof() {
    let overlaid = flag(46, false, 1, 0);
    let (after, next) = held(answered(&seen(Some(&overlaid), Some(&sent())), &sent(), 43, None));
    assert_eq!(after.unwrap().text(), flag(43, false, 1, 0).text(), "LaunchDarkly's next patch is 44");
    assert_eq!(next.state, OverrideState::Replayed { version: 43 });
    // Seen by its own data path, the answer ends it, and stands here.
    let shown = flag(43, false, 1, 0);
    let found = answered(&seen(Some(&overlaid), Some(&sent())), &sent(), 43, Some(&shown));
    assert_eq!(settled(found).unwrap().text(), shown.text());
    // On something of LaunchDarkly's that is not known here: nothing is claimed, and nothing taken back.
    let (after, next) = held(answered(&seen(Some(&flag(47, false, 1, 2)), Some(&sent())), &sent(), 43, None));
    assert_eq!((after, next.state, next.upstream.version()), (None, OverrideState::Replayed { version: 43 }, 42));
    // Once it says so, no guard makes anything of it any more, and the record is LaunchDarkly's.
    let replayed = Override { state: OverrideState::Replayed { version: 43 }, ..sent() };
    let found = answered(&seen(Some(&flag(47, false, 1, 2)), Some(&replayed)), &replayed, 43, None);
    assert_eq!(settled(found), None);
}

#[test]
fn what_launchdarkly_shows_elsewhere_takes_the_place_of_ours() {
    let shown = flag(43, false, 1, 2);
    let found = answered(&seen(Some(&flag(45, false, 1, 0)), Some(&sent())), &sent(), 43, Some(&shown));
    assert_eq!(settled(found).unwrap().text(), shown.text());
    let found = answered(&seen(Some(&flag(42, true, 1, 0)), Some(&sent())), &sent(), 43, Some(&shown));
    assert_eq!(settled(found).unwrap().text(), shown.text(), "an old one of LaunchDarkly's as well");
    let from_before = flag(42, true, 1, 0);
    let found = answered(&seen(Some(&flag(45, false, 1, 0)), Some(&sent())), &sent(), 43, Some(&from_before));
    assert_eq!(held(found).0.unwrap().version(), 43, "an old one proves nothing");
}

#[test]
fn a_target_that_missed_an_edit_gets_what_was_sent() {
    let serve = Instruction::UpdateOffVariation { variation: 2 };
    let mut both = sent();
    both.instructions.push(serve);
    let mut behind = sent();
    behind.revision = 1;
    let (after, next) = held(answered(&seen(Some(&flag(43, false, 1, 0)), Some(&behind)), &both, 43, None));
    assert_eq!(after.unwrap().text(), flag(43, false, 2, 0).text());
    assert_eq!((next.revision, next.instructions), (3, both.instructions));
}

#[test]
fn where_nothing_of_ours_is_nothing_is_written() {
    let nothing = [seen(Some(&flag(42, true, 1, 0)), None), seen(Some(&flag(43, false, 1, 2)), None), seen(None, None)];
    for seen in nothing {
        assert_eq!(answered(&seen, &sent(), 43, None), Settling::NothingThere);
    }
    let (after, _) = held(answered(&seen(Some(&flag(45, false, 1, 0)), None), &sent(), 43, None));
    assert_eq!(after.unwrap().version(), 43, "a record of ours without its override");
}

#[test]
fn a_tombstone_is_never_touched() {
    let mut here = seen(None, Some(&sent()));
    here.copy = Copy::of(Some(br#"{"version":41,"key":"$deleted","deleted":true}"#));
    assert_eq!(held(answered(&here, &sent(), 43, None)).0, None);
    assert_eq!(settled(answered(&here, &sent(), 43, Some(&flag(43, false, 1, 0)))), None);
    here.copy = Copy::of(Some(br#"{"version":44,"key":"$deleted","deleted":true}"#));
    assert_eq!(settled(answered(&here, &sent(), 43, None)), None, "a deletion is LaunchDarkly's word");
}

#[test]
fn only_what_was_sent_is_settled() {
    let mut newer = sent();
    newer.revision = 4;
    newer.changes.push(change(2));
    newer.instructions = vec![OFF, Instruction::UpdateFallthroughVariationOrRollout { variation: 2 }];
    let stands = newer.in_force().unwrap();
    let found = answered(&seen(Some(&stands), Some(&newer)), &sent(), 43, None);
    let Settling::Newer(write) = found else { panic!("{found:?}") };
    let OverrideWrite::Put(next) = write.override_after else { panic!() };
    assert_eq!(next.base.text(), flag(43, false, 1, 0).text());
    assert_eq!((next.revision, &next.changes[..], &next.state), (4, &[change(2)][..], &OverrideState::InForce));
    assert_eq!(next.instructions, newer.instructions[1..]);
    assert_eq!(write.after.as_ref().unwrap().text(), flag(47, false, 1, 2).text());
    let again = answered(&seen(write.after.as_ref(), Some(&next)), &sent(), 43, None);
    assert_eq!(again, Settling::OfItsOwn);
}

/// It was left here, and ended elsewhere when LaunchDarkly showed a later version: in that one somebody had set it back.
#[test]
fn what_ended_elsewhere_ends_here_with_any_later_record_of_launchdarklys() {
    let left = seen(Some(&flag(43, false, 1, 0)), Some(&sent()));
    let (sent, shown) = (sent(), flag(44, true, 1, 0));
    let of = |ended| {
        let answer = Answer {
            sent: &sent,
            version: 44,
            shown: Some(&shown),
            gives_way: false,
            ended,
            overlaid: true,
            from_before: false,
            keys: None,
        };
        after_patch(&by(), &sample::target("a"), &left, &answer).unwrap()
    };
    assert!(matches!(of(false), Settling::Held(_)), "of that very version, and it says otherwise");
    let Settling::Settled(write) = of(true) else { panic!() };
    assert_eq!(write.after, Some(shown.clone()));
    assert!(matches!(write.override_after, OverrideWrite::End(_)));
}

/// It ended while this store was away, and another one was sent since: the more edits it had, the less that may matter.
#[test]
fn what_is_over_gives_way() {
    let mut over = override_of(&flag(42, true, 1, 0), &[OFF], change(7));
    over.revision = 8;
    let here = seen(Some(&over.in_force().unwrap()), Some(&over));
    assert_eq!(answered(&here, &sent(), 43, None), Settling::OfItsOwn);
    let answer = Answer {
        sent: &sent(),
        version: 43,
        shown: None,
        gives_way: true,
        ended: false,
        overlaid: false,
        from_before: false,
        keys: None,
    };
    let (after, next) = held(after_patch(&by(), &sample::target("a"), &here, &answer).unwrap());
    assert_eq!(after.unwrap().version(), 43);
    assert_eq!((next.changes, next.state), (sent().changes, OverrideState::Replayed { version: 43 }));
}

/// Two operators on two sides of a broken network: what lost was not sent, and no mark may say that it was.
#[test]
fn no_mark_under_what_was_not_sent() {
    let rival = override_of(&flag(42, true, 1, 0), &[Instruction::UpdateOffVariation { variation: 2 }], change(7));
    let here = seen(Some(&rival.in_force().unwrap()), Some(&rival));
    let shown = flag(43, false, 1, 0);
    let Settling::Settled(write) = answered(&here, &sent(), 43, Some(&shown)) else { panic!() };
    let OverrideWrite::End(marks) = write.override_after else { panic!() };
    assert_eq!(marks.iter().map(|(change, _)| *change).collect::<Vec<_>>(), [change(1)]);
    let (after, next) = held(answered(&here, &sent(), 43, None));
    assert_eq!(next.changes, [change(1)], "it gives way");
    assert_eq!(after.unwrap().text(), flag(43, false, 1, 0).text(), "and so does its record");
}

/// Without a right to our own keys only the record can be brought back to LaunchDarkly's version.
#[test]
fn without_own_keys_the_record_alone() {
    let here = |record: &Record| Seen { own_keys: false, ..seen(Some(record), None) };
    let found = answered(&here(&flag(45, false, 1, 0)), &sent(), 43, None);
    let Settling::Settled(write) = found else { panic!("{found:?}") };
    assert_eq!((write.after.unwrap().version(), write.override_after), (43, OverrideWrite::Keep));
    assert_eq!(answered(&here(&flag(45, false, 1, 0)), &sent(), 45, None), Settling::NothingThere);
    assert_eq!(answered(&here(&flag(50, true, 1, 0)), &sent(), 43, None), Settling::NothingThere);
}

/// LaunchDarkly archived the flag, and its stream began anew since: not even a tombstone is left.
#[test]
fn a_record_that_is_gone_has_nothing_to_hold() {
    let mut held = sent();
    held.state = OverrideState::Replayed { version: 43 };
    let found = answered(&seen(None, Some(&held)), &held, 43, None);
    let Settling::Settled(write) = found else { panic!("{found:?}") };
    assert_eq!((&write.before, &write.after), (&None, &None));
    assert!(matches!(&write.override_after, OverrideWrite::End(marks) if marks[0].1.version == Some(43)));
    assert_eq!(answered(&seen(None, None), &held, 43, None), Settling::NothingThere, "a copy that never had it");
}

/// Two edits were sent as one patch, and LaunchDarkly then changed what decides nothing: its next version is, by value, the
/// record that two edits had made.
#[test]
fn launchdarklys_next_version_may_look_like_ours() {
    let mut held = sent();
    held.state = OverrideState::Replayed { version: 43 };
    let looks_like_ours = held.in_force().unwrap();
    assert!(looks_like_ours.version() > 43);
    let found = answered(&seen(Some(&looks_like_ours), Some(&held)), &held, 43, None);
    let Settling::Settled(write) = found else { panic!("{found:?}") };
    assert_eq!(write.after, None, "LaunchDarkly's record stays as it is");
}

#[test]
fn settle_is_for_replayed_ones() {
    let (target, here) = (sample::target("a"), seen(Some(&flag(50, false, 1, 0)), Some(&sent())));
    assert_eq!(settle(&by(), &target, &here, &sent(), None), Ok(None));
    let mut replayed = sent();
    replayed.state = OverrideState::Replayed { version: 43 };
    assert!(matches!(settle(&by(), &target, &here, &replayed, None), Ok(Some(Settling::Settled(_)))));
}

proptest! {
    /// Whatever stands there: doing it once leaves nothing to do, what was asked for goes on being served where it was
    /// served, and no version is made up: it is LaunchDarkly's answer, or LaunchDarkly's own record.
    #[test]
    fn once_is_enough_and_nothing_flips(
        base in sample::record(),
        other in sample::record(),
        instructions in prop::collection::vec(sample::instruction(), 1..4),
        revision in 1..4_u64,
        version in 1..9_u64,
        in_force in any::<bool>(),
        shown in prop::option::of(sample::record()),
    ) {
        let mut sent = override_of(&base, &crate::change::net::net(&instructions, &[]), change(1));
        sent.revision = revision;
        let version = base.version() + version;
        let stands = if in_force { sent.in_force().unwrap() } else { other };
        let here = seen(Some(&stands), Some(&sent));
        let (after, next) = match answered(&here, &sent, version, shown.as_ref()) {
            Settling::Settled(write) => (write.after, None),
            Settling::Held(write) => {
                let OverrideWrite::Put(next) = write.override_after else { panic!() };
                (write.after, Some(next.as_ref().clone()))
            }
            found => panic!("{found:?}"),
        };
        if let Some(after) = &after {
            prop_assert!(after.version() == version || shown.as_ref() == Some(after));
            let proven_otherwise = shown.as_ref() == Some(after);
            let wish = Configuration::of_record(&patch::apply(after, &sent.instructions).unwrap());
            prop_assert!(proven_otherwise || wish.differs(&Configuration::of_record(after)).is_empty());
        }
        let left = after.unwrap_or(stands);
        let again = answered(&seen(Some(&left), next.as_ref()), &sent, version, shown.as_ref());
        // A guard may have made it while nobody had said yet that the override was sent; after that it is proof.
        let doubted = left.version() > version
            && patch::changes_nothing(&left, &sent.instructions).unwrap();
        match next {
            Some(_) if doubted => prop_assert!(matches!(again, Settling::HeldAlready | Settling::Settled(_))),
            Some(_) => prop_assert_eq!(again, Settling::HeldAlready),
            // Without its override a record can still look like ours, by value; then it is taken for settled again.
            None => prop_assert!(matches!(again, Settling::NothingThere | Settling::Settled(_))),
        }
    }
}

/// A colleague changed something else (43), the guard saw that before the store's override knew of it, and the relay wrote
/// what the guard made of it (46). LaunchDarkly's answer happens to have the same version.
#[test]
fn what_a_guard_may_have_made_of_another_change_is_no_proof() {
    let (told, sent) = (seen(Some(&flag(46, false, 1, 2)), Some(&sent())), sent());
    let answer = |overlaid| Answer {
        sent: &sent,
        version: 46,
        shown: None,
        gives_way: false,
        ended: false,
        overlaid,
        from_before: false,
        keys: None,
    };
    let of = |overlaid| after_patch(&by(), &sample::target("a"), &told, &answer(overlaid)).unwrap();
    assert_eq!(settled(of(false)), None, "nobody is there who would have made it: LaunchDarkly's own");
    let (after, next) = held(of(true));
    assert_eq!((after, next.state, next.upstream.version()), (None, OverrideState::Replayed { version: 46 }, 42));
}

/// The override was evicted here, and its record stands on an older record of LaunchDarkly's than is known elsewhere. It was
/// read before LaunchDarkly made 45, so it cannot be LaunchDarkly's, whatever its version says.
#[test]
fn a_record_that_lost_its_override_is_not_taken_for_launchdarklys() {
    let (sent, bereft) = (sent(), flag(45, false, 2, 2));
    let of = |record: &Record, from_before, overlaid| {
        let answer = Answer {
            sent: &sent,
            version: 45,
            shown: None,
            gives_way: false,
            ended: false,
            overlaid,
            from_before,
            keys: None,
        };
        after_patch(&by(), &sample::target("a"), &seen(Some(record), None), &answer).unwrap()
    };
    assert_eq!(of(&bereft, false, false), Settling::NothingThere, "read later, it may be LaunchDarkly's");
    assert_eq!(of(&bereft, true, true), Settling::NothingThere, "a guard sees to it");
    assert_eq!(of(&flag(45, true, 2, 2), true, false), Settling::NothingThere, "not what was sent");
    assert_eq!(of(&flag(44, false, 2, 2), true, false), Settling::NothingThere, "LaunchDarkly's own comes");
    for version in [45, 47] {
        let (after, next) = held(of(&flag(version, false, 2, 2), true, false));
        assert!(after.unwrap().same_value(&flag(45, false, 1, 0)), "what was sent, as LaunchDarkly counts it");
        assert_eq!(next.state, OverrideState::Replayed { version: 45 });
    }
}

/// What is left of an edit that came in between.
#[test]
fn what_is_left_is_signed_where_all_of_it_was() {
    let keys = Keys::parse(&"k".repeat(32)).unwrap();
    let serve = Instruction::UpdateOffVariation { variation: 2 };
    let sent = sent();
    let mut newer = Override { instructions: vec![OFF, serve.clone()], revision: 4, ..sent.clone() };
    newer.changes.push(change(2));
    let answer = flag(43, false, 1, 0);
    let left = |sent: &Override, newer: &Override, answer: &Record| {
        let left = newer_after_replay(sent, newer, answer, Some(&keys));
        assert_eq!((&left.instructions[..], &left.changes[..]), (&[serve.clone()][..], &[change(2)][..]));
        keys.verify(&left, &left.environment, &left.flag)
    };
    let (good_sent, good) = (keys.sign(sent.clone()), keys.sign(newer.clone()));
    assert_eq!(left(&good_sent, &good, &answer), Signed::Yes);
    assert_eq!(left(&sent, &good, &answer), Signed::No, "what was sent was not");
    assert_eq!(left(&good_sent, &newer, &answer), Signed::No, "what is newer was not");
    let forged = Override { instructions: vec![serve.clone()], ..good.clone() };
    assert_eq!(left(&good_sent, &forged, &answer), Signed::No);
    // The answer may be a record of a store's.
    let shifted = answer.with(&[("variations", r#"["a","c","b"]"#.to_owned())]);
    assert_eq!(left(&good_sent, &good, &shifted), Signed::No);
    assert_eq!(left(&good_sent, &good, &flag(43, true, 1, 0)), Signed::No, "it has not what is taken off");
    assert_eq!(newer_after_replay(&good_sent, &good, &answer, None).signature, None);
}
