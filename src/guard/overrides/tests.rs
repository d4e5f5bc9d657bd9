//! What guards make of what happens to stores, in a small world without a network.

use std::time::Duration;

use proptest::prelude::*;

use super::known_flag::shares_history;
use super::upkeep::Why;
use super::world::World;
use super::world::key;
use crate::change::merge::Standing;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::sample::flag;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::flag::record::Record;
use crate::guard::stream::item::Item;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::overlay::Reason;
use crate::guard::stream::overlay::overlay;

const OFF: Instruction = Instruction::TurnFlagOff;
const ON: Instruction = Instruction::TurnFlagOn;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn is_on(record: Option<&Record>) -> Option<bool> {
    Some(record?.raw("on") == Some("true"))
}

/// The guard's relay has all, and the guards have looked again.
fn deliver(world: &mut World) {
    for guard in 0..world.guards.len() {
        while world.deliver(guard) {}
    }
    world.all_look();
}

fn why(world: &mut World, guard: usize) -> Vec<Why> {
    world.upkeep(guard).into_iter().map(|due| due.why).collect()
}

#[test]
fn an_edit_is_told_at_once_and_copied_to_whom_it_did_not_reach() {
    let mut world = World::new(3);
    world.store(2, false);
    world.update(OFF);
    world.look(0, 0);
    assert_eq!(is_on(world.should(0).as_ref()), Some(false), "told by one store alone");
    world.all_look();
    deliver(&mut world);
    world.store(2, true);
    assert_eq!(why(&mut world, 0), [], "whoever made it may still be writing");
    world.pass(6 * SECOND);
    assert_eq!(why(&mut world, 0), [Why::Copied]);
    assert_eq!(world.stores[2].override_text, world.stores[0].override_text);
    assert_eq!(world.stores[2].record, world.stores[0].record, "and the record with it");
    world.pass(60 * SECOND);
    world.all_look();
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn what_vanished_is_written_again_and_what_was_ended_is_not() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    world.wipe(0, false);
    world.wipe(1, true);
    world.all_look();
    assert_eq!(is_on(world.should(0).as_ref()), Some(false), "it is not over");
    assert_eq!(why(&mut world, 0), []);
    world.pass(2 * SECOND);
    assert_eq!(why(&mut world, 0), [Why::Vanished, Why::Vanished]);
    assert!(world.stores[0].own().is_some() && world.stores[1].own().is_some());
    assert_eq!(world.stores[0].record, None, "an empty store is LaunchDarkly's to fill");
    world.undo();
    world.all_look();
    world.pass(60 * SECOND);
    world.all_look();
    assert_eq!(why(&mut world, 0), []);
    assert!(world.guards[0].ledger.standing().next().is_none());
    assert!(world.stores.iter().all(|store| store.own().is_none()));
}

#[test]
fn what_vanished_holds_on_though_a_log_told_late_how_the_one_before_it_ended() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    world.undo();
    world.update(OFF);
    world.look(0, 0);
    world.look(0, 1);
    deliver(&mut world);
    (0..2).for_each(|store| world.wipe(store, false));
    world.all_look();
    assert_eq!(is_on(world.should(0).as_ref()), Some(false), "it is not over");
    world.pass(2 * SECOND);
    assert_eq!(why(&mut world, 0), [Why::Vanished, Why::Vanished]);
}

#[test]
fn what_a_log_told_and_nobody_saw_is_not_held_against() {
    let mut world = World::new(1);
    world.update(OFF);
    deliver(&mut world);
    world.undo();
    world.hear(0, 0);
    // All of it is lost before anybody has looked: how it ended nobody knows, and it is not brought back.
    world.stores[0].marks.clear();
    world.all_look();
    assert!(world.held_by(0).is_none());
    world.pass(60 * SECOND);
    assert_eq!(why(&mut world, 0), []);
}

#[test]
fn a_leftover_that_was_ended_while_its_store_was_away_never_counts() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    world.store(1, false);
    world.undo();
    world.all_look();
    deliver(&mut world);
    // A guard that begins now, and the store comes back.
    world.guards_begin_anew();
    world.look(0, 0);
    world.store(1, true);
    assert_eq!(is_on(world.should(0).as_ref()), Some(true));
    assert!(world.guards[0].ledger.standing().next().is_none());
    world.all_look();
    assert_eq!(is_on(world.should(0).as_ref()), Some(true));
    assert_eq!(why(&mut world, 0), [Why::Over], "it ends there as well");
    assert_eq!(world.stores[1].record, Some(flag(42, true, 1, 0)));
    assert!(world.stores[1].own().is_none());
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn a_leftover_of_an_edit_that_was_taken_back_before_the_replay_ends_too() {
    // No guard's relay fills the third.
    let mut world = World::new(3);
    world.launchdarkly_changes(false, 0);
    deliver(&mut world);
    world.update(ON);
    deliver(&mut world);
    world.store(2, false);
    world.update(OFF);
    assert!(world.stores[0].own() != world.stores[2].own() && world.stores[2].own().is_some());
    world.replay();
    world.settle();
    let left: Vec<Option<Override>> = world.stores.iter().map(|store| store.own()).collect();
    assert_eq!(left, [None, None, None]);
    assert_eq!(world.stores[2].record.as_ref(), Some(&world.launchdarkly));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn what_stands_in_a_store_that_is_away_for_long_explains_its_record_whatever_came_since() {
    let mut world = World::new(2);
    world.launchdarkly_changes(false, 0);
    deliver(&mut world);
    world.update(ON);
    deliver(&mut world);
    world.store(1, false);
    for edit in 0..20 {
        world.update(if edit % 2 == 0 { OFF } else { ON });
        world.replay();
        for _ in 0..60 {
            world.pass(SECOND);
            world.all_look();
            why(&mut world, 0);
            deliver(&mut world);
        }
    }
    assert_eq!(world.lies, Vec::<String>::new());
    world.settle();
    assert_eq!(world.lies, Vec::<String>::new());
    assert!(
        world.stores.iter().all(|store| store.own().is_none() && store.record.as_ref() == Some(&world.launchdarkly))
    );
}

#[test]
fn launchdarklys_newer_record_gets_into_every_override_together_with_its_record() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    world.launchdarkly_changes(true, 2);
    for store in &world.stores {
        assert_eq!(store.own().unwrap().upstream, world.launchdarkly);
        assert_eq!(store.record, Some(flag(44, false, 2, 0)));
    }
    deliver(&mut world);
    world.pass(60 * SECOND);
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]), "once");
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn a_record_that_nothing_explains_is_believed_when_all_have_looked_again() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    (0..2).for_each(|guard| world.stream(guard, false));
    world.launchdarkly_changes(true, 2);
    world.reset(0);
    world.look(0, 0);
    let standing = |world: &World| world.guards[0].ledger.standing().next().unwrap().1.clone();
    assert_eq!(standing(&world).upstream.version(), 42, "it may be an override's that is on its way");
    world.pass(2 * SECOND);
    world.look(0, 0);
    world.look(0, 1);
    assert_eq!(standing(&world).upstream.version(), 43);
    assert_eq!(world.should(0), Some(flag(44, false, 2, 0)));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn another_guards_newer_overlay_is_not_taken_for_launchdarklys() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    world.stream(0, false);
    // The other guard's relay has it, and the note of it did not get to the stores yet.
    world.stores[1].record = Some(flag(52, false, 2, 0));
    for _ in 0..20 {
        world.pass(SECOND);
        world.look(0, 0);
        world.look(0, 1);
    }
    assert_eq!(world.guards[0].ledger.standing().next().unwrap().1.upstream.version(), 42);
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn a_replayed_override_ends_when_a_stream_shows_it_and_nobody_is_put_back() {
    let mut world = World::new(2);
    world.update(OFF);
    world.update(Instruction::UpdateOffVariation { variation: 2 });
    deliver(&mut world);
    // The API is back, and no stream.
    (0..2).for_each(|guard| world.stream(guard, false));
    world.replay();
    deliver(&mut world);
    assert!(world.stores.iter().all(|store| matches!(store.own().unwrap().state, OverrideState::Replayed { .. })));
    assert_eq!(is_on(world.should(0).as_ref()), Some(false));
    // One of the two hears first; the other's last state is from before.
    world.stream(1, true);
    deliver(&mut world);
    world.upkeep(1);
    world.all_look();
    assert!(world.stores.iter().all(|store| store.own().is_none()), "settled");
    for guard in 0..2 {
        assert!(world.guards[guard].ledger.standing().next().is_none());
        assert_eq!(world.should(guard), Some(flag(43, false, 2, 0)), "guard {guard}");
    }
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn launchdarklys_record_in_the_place_of_an_overrides_is_overlaid_in_the_store_again() {
    let mut world = World::new(3);
    world.update(OFF);
    deliver(&mut world);
    (0..2).for_each(|guard| world.stream(guard, false));
    for round in 0..3 {
        // A store before which nobody stands.
        world.reset(2);
        world.look(0, 2);
        assert_eq!(why(&mut world, 0), [Why::Reasserted], "round {round}");
        assert_eq!(world.stores[2].record, world.stores[0].record);
        assert_eq!(why(&mut world, 0), []);
        world.reset(2);
        world.look(0, 2);
        assert_eq!(why(&mut world, 0), [], "it rests");
        world.pass(SECOND);
        assert_eq!(why(&mut world, 0), [Why::Reasserted]);
        world.pass(SECOND);
    }
    // LaunchDarkly's next record, which changes something else.
    world.launchdarkly_changes(true, 2);
    world.reset(2);
    world.look(0, 2);
    assert_eq!(why(&mut world, 0), [], "an override that it stands for may be on its way");
    world.pass(2 * SECOND);
    world.all_look();
    assert_eq!(why(&mut world, 0), [Why::Upstream, Why::Upstream, Why::Reasserted]);
    assert_eq!(world.stores[2].record, Some(flag(44, false, 2, 0)), "both are there");
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn what_is_in_conflict_stays_launchdarklys_in_the_store() {
    let mut world = World::new(3);
    world.update(Instruction::UpdateOffVariation { variation: 2 });
    world.update(OFF);
    deliver(&mut world);
    (0..2).for_each(|guard| world.stream(guard, false));
    world.launchdarkly_changes(true, 0);
    world.reset(2);
    let theirs = world.stores[2].record.clone();
    for _ in 0..5 {
        world.pass(2 * SECOND);
        world.all_look();
        let reasserted = why(&mut world, 0).into_iter().filter(|why| *why == Why::Reasserted).count();
        assert_eq!(reasserted, 0);
    }
    assert_eq!(world.stores[2].record, theirs);
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn what_was_replayed_stays_in_the_stores_until_a_stream_comes_however_late_that_is() {
    let mut world = World::new(2);
    world.update(OFF);
    deliver(&mut world);
    (0..2).for_each(|guard| world.stream(guard, false));
    world.replay();
    deliver(&mut world);
    // Ten minutes, as guards look and keep stores up to date; then a day.
    for step in (0..120).map(|_| 5 * SECOND).chain([24 * 3_600 * SECOND; 2]) {
        world.pass(step);
        world.all_look();
        assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
        deliver(&mut world);
        for guard in 0..2 {
            assert_eq!(world.should(guard), Some(flag(43, false, 1, 0)));
        }
        let is_replayed = |own: Override| matches!(own.state, OverrideState::Replayed { version: 43 });
        assert!(world.stores.iter().all(|store| store.own().is_some_and(is_replayed)));
    }
    // A reset by a relay without a guard, whose own stream is as old as that.
    let newest = std::mem::replace(&mut world.launchdarkly, flag(42, true, 1, 0));
    world.reset(0);
    world.launchdarkly = newest;
    world.all_look();
    assert_eq!(world.should(0), Some(flag(43, false, 1, 0)));
    world.stream(0, true);
    deliver(&mut world);
    world.upkeep(0);
    world.all_look();
    assert!(world.stores.iter().all(|store| store.own().is_none()), "settled");
    assert_eq!(world.should(0), Some(flag(43, false, 1, 0)));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn a_colleagues_override_in_the_place_of_one_that_vanished_is_not_overwritten() {
    let mut world = World::new(1);
    world.update(OFF);
    world.update(Instruction::UpdateOffVariation { variation: 2 });
    deliver(&mut world);
    world.wipe(0, false);
    world.reset(0);
    world.update(Instruction::UpdateFallthroughVariationOrRollout { variation: 2 });
    let theirs = world.stores[0].override_text.clone();
    world.all_look();
    world.pass(60 * SECOND);
    world.all_look();
    assert_eq!(why(&mut world, 0), []);
    assert_eq!(world.stores[0].override_text, theirs);
    let Standing::InForce(holds) = world.standing() else { panic!() };
    assert_eq!(world.guards[0].ledger.standing().next().unwrap().1.changes, holds.changes);
}

#[test]
fn what_was_put_and_undone_between_two_looks_may_be_held() {
    let mut world = World::new(1);
    world.update(OFF);
    world.update(ON);
    world.update(OFF);
    world.undo();
    let guard = &mut world.guards[0];
    assert!(guard.ledger.word().is_none());
    world.look(0, 0);
    // Four versions above what LaunchDarkly has: the channel knows, and makes everybody hold what they should.
    let put = world.guards[0].channel.put_for_new().unwrap();
    assert!(world.deliver(0), "somebody may hold what nobody saw");
    assert!(String::from_utf8_lossy(&put).contains("\"version\":42"));
}

#[test]
fn what_expires_is_undone_in_every_store_and_comes_back_from_none() {
    let mut world = World::new(3);
    world.undo_on_expiry(Some(60 * SECOND));
    world.update(OFF);
    deliver(&mut world);
    world.pass(59 * SECOND);
    world.all_look();
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
    // One store is away when the time comes; LaunchDarkly's newest record is one that came meanwhile.
    world.launchdarkly_changes(true, 2);
    deliver(&mut world);
    world.store(2, false);
    world.pass(SECOND);
    world.all_look();
    assert_eq!(why(&mut world, 0), [Why::Expired, Why::Expired]);
    assert_eq!(why(&mut world, 1), [], "the other guard finds that it is done");
    deliver(&mut world);
    for place in 0..2 {
        assert_eq!((world.stores[place].record.clone(), world.stores[place].own()), (Some(flag(43, true, 2, 0)), None));
        assert_eq!(world.should(place), Some(flag(43, true, 2, 0)));
    }
    // Guards that remember nothing must not take what they find there for one that holds.
    world.guards_begin_anew();
    world.store(2, true);
    world.all_look();
    assert_eq!(why(&mut world, 1), [Why::Over]);
    world.pass(600 * SECOND);
    world.all_look();
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
    assert!(world.stores.iter().all(|store| store.own().is_none()));
    assert_eq!(world.stores[2].record, Some(flag(43, true, 2, 0)));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn guards_that_were_down_when_the_time_came_undo_when_they_begin() {
    let mut world = World::new(2);
    world.undo_on_expiry(Some(60 * SECOND));
    world.update(OFF);
    deliver(&mut world);
    world.pass(3_600 * SECOND);
    world.guards_begin_anew();
    world.all_look();
    assert_eq!(why(&mut world, 1), [Why::Expired, Why::Expired]);
    // What was on its way to a relay, and then what takes it back.
    deliver(&mut world);
    deliver(&mut world);
    let records: Vec<_> = world.stores.iter().map(|store| store.record.clone()).collect();
    assert_eq!(records, vec![Some(flag(42, true, 1, 0)); 2]);
    assert_eq!(is_on(world.should(0).as_ref()), Some(true));
    assert_eq!(world.lies, Vec::<String>::new());
}

#[test]
fn the_newest_edit_says_when_it_is_over() {
    for (later, ends) in [(None, false), (Some(7_200 * SECOND), false), (Some(30 * SECOND), true)] {
        let mut world = World::new(1);
        world.undo_on_expiry(Some(60 * SECOND));
        world.update(OFF);
        deliver(&mut world);
        world.undo_on_expiry(later);
        world.update(Instruction::UpdateOffVariation { variation: 2 });
        // A guard that has not heard of the newer edit plans for the older: compare-and-set tells it.
        world.pass(61 * SECOND);
        assert_eq!(why(&mut world, 0), []);
        world.pass(5 * SECOND);
        world.all_look();
        assert_eq!(why(&mut world, 0), if ends { vec![Why::Expired] } else { vec![] });
        assert_eq!(world.stores[0].own().is_none(), ends);
        assert_eq!(world.lies, Vec::<String>::new());
    }
}

#[test]
fn what_was_replayed_is_not_undone_when_its_time_comes() {
    let mut world = World::new(2);
    world.undo_on_expiry(Some(60 * SECOND));
    world.update(OFF);
    deliver(&mut world);
    (0..2).for_each(|guard| world.stream(guard, false));
    world.replay();
    deliver(&mut world);
    world.pass(120 * SECOND);
    world.all_look();
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
    assert!(world.stores.iter().all(|store| matches!(store.own().unwrap().state, OverrideState::Replayed { .. })));
    assert_eq!(is_on(world.should(0).as_ref()), Some(false));
}

#[test]
fn what_was_lost_everywhere_before_its_time_came_is_over_and_not_written_again() {
    let mut world = World::new(2);
    world.undo_on_expiry(Some(60 * SECOND));
    world.update(OFF);
    deliver(&mut world);
    world.pass(60 * SECOND);
    (0..2).for_each(|store| world.wipe(store, false));
    (0..2).for_each(|store| world.reset(store));
    world.all_look();
    world.pass(10 * SECOND);
    world.all_look();
    assert_eq!(why(&mut world, 0), [Why::Expired, Why::Expired], "the marks alone");
    deliver(&mut world);
    deliver(&mut world);
    assert!(world.guards.iter().all(|guard| guard.ledger.standing().next().is_none()));
    assert_eq!(is_on(world.should(0).as_ref()), Some(true));
    let stands: Vec<_> = world.stores.iter().map(|store| (store.own(), store.record.clone())).collect();
    assert_eq!(stands, vec![(None, Some(flag(42, true, 1, 0))); 2]);
    world.pass(60 * SECOND);
    world.all_look();
    assert_eq!((why(&mut world, 0), why(&mut world, 1)), (vec![], vec![]));
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Launchdarkly { on: bool, variation: usize },
    Stream { guard: usize, up: bool },
    Store { store: usize, up: bool },
    Update { on: bool },
    Serve { variation: usize },
    Undo,
    Replay,
    Wipe { store: usize, only_ours: bool },
    Reset { store: usize },
    Look { guard: usize, store: usize },
    Upkeep { guard: usize },
    Deliver { guard: usize },
    Pass { tenths: u64 },
    Expire { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (guard, store) = (0..2_usize, 0..3_usize);
    prop_oneof![
        2 => (any::<bool>(), 0..3_usize).prop_map(|(on, variation)| Step::Launchdarkly { on, variation }),
        2 => (guard.clone(), any::<bool>()).prop_map(|(guard, up)| Step::Stream { guard, up }),
        2 => (store.clone(), any::<bool>()).prop_map(|(store, up)| Step::Store { store, up }),
        3 => any::<bool>().prop_map(|on| Step::Update { on }),
        1 => (0..3_usize).prop_map(|variation| Step::Serve { variation }),
        2 => Just(Step::Undo),
        2 => Just(Step::Replay),
        1 => (store.clone(), any::<bool>()).prop_map(|(store, only_ours)| Step::Wipe { store, only_ours }),
        1 => store.clone().prop_map(|store| Step::Reset { store }),
        8 => (guard.clone(), store).prop_map(|(guard, store)| Step::Look { guard, store }),
        4 => guard.clone().prop_map(|guard| Step::Upkeep { guard }),
        6 => guard.prop_map(|guard| Step::Deliver { guard }),
        4 => (1..80_u64).prop_map(|tenths| Step::Pass { tenths }),
        1 => (1..20_u64).prop_map(|seconds| Step::Expire { seconds }),
    ]
}

pub(super) fn take(world: &mut World, step: &Step) {
    match *step {
        Step::Launchdarkly { on, variation } => world.launchdarkly_changes(on, variation),
        Step::Stream { guard, up } => world.stream(guard, up),
        Step::Store { store, up } => world.store(store, up),
        Step::Update { on } => world.update(if on { ON } else { OFF }),
        Step::Serve { variation } => world.update(Instruction::UpdateOffVariation { variation }),
        Step::Undo => world.undo(),
        Step::Replay => world.replay(),
        Step::Wipe { store, only_ours } => world.wipe(store, only_ours),
        Step::Reset { store } => world.reset(store),
        Step::Look { guard, store } => world.look(guard, store),
        Step::Upkeep { guard } => {
            world.upkeep(guard);
        }
        Step::Deliver { guard } => {
            world.deliver(guard);
        }
        Step::Pass { tenths } => world.pass(Duration::from_millis(100 * tenths)),
        Step::Expire { seconds } => world.undo_on_expiry(Some(Duration::from_secs(seconds))),
    }
    // What is written is told by the log, within milliseconds.
    world.all_look();
}

/// In what stores and guards differ that had time to agree; `None` where all is well.
pub(super) fn disagreement(world: &World) -> Option<String> {
    let short = |own: &Override| (own.revision, own.changes.clone());
    let holds = world.standing().in_force().cloned();
    for store in &world.stores {
        // What somebody put on the other side of a broken network is not ours to overwrite: people are told.
        let own = store.own().filter(|own| holds.as_ref().is_none_or(|holds| shares_history(own, holds)));
        let is_rival = own.is_none() && store.own().is_some();
        if !is_rival && own.as_ref().map(short) != holds.as_ref().map(short) {
            return Some(format!(
                "a store has {:?}, and {:?} holds",
                own.as_ref().map(short),
                holds.as_ref().map(short)
            ));
        }
    }
    for guard in 0..world.guards.len() {
        let known = world.guards[guard].ledger.flags().get(&key()).and_then(|known| known.standing());
        if known.map(short) != holds.as_ref().map(short) {
            return Some(format!(
                "guard {guard} has {:?}, and {:?} holds",
                known.map(short),
                holds.as_ref().map(short)
            ));
        }
        let (should, stands) = (world.should(guard), world.stores[guard].record.clone());
        // A store that was wiped is LaunchDarkly's to fill, unless there is an override.
        let is_empty = stands.is_none() && holds.is_none();
        let agrees = matches!((&should, &stands), (Some(one), Some(other)) if one.same_value(other));
        if !is_empty && !agrees {
            return Some(format!("guard {guard}: {should:?}, in its store {stands:?}"));
        }
    }
    // The store before which no guarded relay stands.
    let alone = &world.stores[2];
    let is_rival = alone.own().is_some_and(|own| holds.as_ref().is_none_or(|holds| !shares_history(&own, holds)));
    let held = holds.as_ref().map(|holds| overlay(&Item::of_record(&holds.upstream), holds, OnConflict::Hold));
    let (Some(held), Some(stands), false) = (held.filter(|held| held.reason == Reason::Held), &alone.record, is_rival)
    else {
        return None;
    };
    let wanted = held.item.record().unwrap().unwrap();
    // LaunchDarkly may have come to the same by itself.
    let has_it = holds.as_ref().is_some_and(|holds| patch::changes_nothing(stands, &holds.instructions) == Ok(true));
    let agrees = has_it || stands.same_value(&wanted);
    (!agrees).then(|| format!("wanted {wanted:?}, and there stands {stands:?}"))
}

proptest! {
    // As many as PROPTEST_CASES says.
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn guards_never_take_our_own_for_launchdarklys_and_agree_in_the_end(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new(3);
        for step in &steps {
            take(&mut world, step);
            prop_assert!(world.lies.is_empty(), "{:?}", world.lies);
        }
        world.settle();
        prop_assert!(world.lies.is_empty(), "{:?}", world.lies);
        prop_assert_eq!(disagreement(&world), None);
    }
}
