//! Tests of `flags`: what is sent again and when, what stores and people are told, what disk is good for.

use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::change::override_::OverrideState;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;
use crate::guard::overrides::WholeReading;
use crate::guard::stream::channel::Sight;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::item::Kind;
use crate::guard::stream::state::to_event;
use crate::store::StoreError;

/// What the stores were told.
#[derive(Default)]
struct Noted(Mutex<Vec<u64>>);

impl EnvironmentStores for Noted {
    fn whole(&self, _: Duration, _: Duration) -> BoxFuture<'_, Vec<(Target, Result<WholeReading, StoreError>)>> {
        std::future::ready(Vec::new()).boxed()
    }

    fn note_upstream(&self, _: &FlagKey, record: &Record) {
        self.0.lock().unwrap().push(record.version());
    }
}

const CACHE_TIME: Duration = Duration::from_secs(30);

fn event(bytes: &[u8]) -> Event {
    match Splitter::new(1 << 20).push(bytes).unwrap().pop() {
        Some(Piece::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn state(record: &Record) -> State {
    let mut state = State::default();
    state.set((Kind::Flag, "checkout".into()), Item::of_record(record));
    state
}

fn put(record: &Record) -> Event {
    event(&state(record).to_put(&Default::default()))
}

fn patch(record: &Record) -> Bytes {
    to_event(&(Kind::Flag, "checkout".into()), &Item::of_record(record)).unwrap()
}

fn off(base: u64) -> Override {
    override_of(&flag(base, true, 1, 0), &[Instruction::TurnFlagOff], change(1))
}

fn word(override_: &Override) -> StoresWord {
    StoresWord { overrides: [(override_.flag.clone(), override_.clone())].into(), ..StoresWord::default() }
}

/// Flags whose stores are followed, and a relay that has LaunchDarkly's record of version 42.
fn followed(shadow: bool, cache_time: Duration, now: Instant) -> (Flags, Arc<Noted>, Alarms) {
    let (alarms, _) = Alarms::new();
    let mut flags = Flags::new("shop/production".to_owned(), OnConflict::Hold, shadow, alarms.clone());
    let stores = Arc::new(Noted::default());
    flags.follow(Arc::clone(&stores) as Arc<dyn EnvironmentStores>, cache_time, now, Timestamp::UNIX_EPOCH);
    flags.event(&put(&flag(42, true, 1, 0)), Timestamp::UNIX_EPOCH).unwrap();
    flags.first().unwrap();
    (flags, stores, alarms)
}

/// When something was sent again, in seconds after `begun`, and what.
fn again(flags: &mut Flags, begun: Instant) -> Vec<(u64, Bytes)> {
    let mut sent = Vec::new();
    for second in 0..200 {
        sent.extend(flags.due(begun + Duration::from_secs(second)).into_iter().map(|event| (second, event)));
    }
    sent
}

#[test]
fn a_change_of_an_override_is_sent_again_three_times() {
    let begun = Instant::now();
    let (mut flags, _, _) = followed(false, CACHE_TIME, begun);
    let patch = patch(&flag(43, false, 1, 0));
    assert_eq!(flags.word(word(&off(42)), begun), std::slice::from_ref(&patch));
    assert_eq!(flags.next_due(), Some(begun + Duration::from_secs(1)));
    let sent = again(&mut flags, begun);
    assert_eq!(sent, [1, 5, 32].map(|second| (second, patch.clone())));
    assert_eq!(flags.next_due(), None);
    // The same word again is no change.
    assert!(flags.word(word(&off(42)), begun).is_empty());
    assert_eq!(flags.next_due(), None);
    // Its end is one: what is sent again is what everybody should have by then.
    assert_eq!(flags.word(StoresWord::default(), begun).len(), 1);
    let own = self::patch(&flag(42, true, 1, 0));
    assert_eq!(again(&mut flags, begun), [1, 5, 32].map(|second| (second, own.clone())));
}

#[test]
fn a_relay_whose_cache_never_ends_is_beyond_help() {
    let begun = Instant::now();
    for (cache_time, wanted) in [(Duration::MAX, vec![1, 5]), (Duration::ZERO, vec![1, 2, 5])] {
        let (mut flags, _, _) = followed(false, cache_time, begun);
        flags.word(word(&off(42)), begun);
        let seconds: Vec<u64> = again(&mut flags, begun).into_iter().map(|(second, _)| second).collect();
        assert_eq!(seconds, wanted);
    }
}

#[test]
fn what_only_looks_on_sends_nothing_and_tells_no_store() {
    let begun = Instant::now();
    let (mut flags, stores, alarms) = followed(true, CACHE_TIME, begun);
    assert!(flags.word(word(&off(42)), begun).is_empty());
    assert!(again(&mut flags, begun).is_empty());
    let next = patch(&flag(50, true, 1, 2));
    assert_eq!(flags.event(&event(&next), Timestamp::UNIX_EPOCH).unwrap(), [next]);
    assert!(stores.0.lock().unwrap().is_empty());
    assert_eq!(alarms.counts().0[&AlarmKind::Shadow], 2, "what it would have done is told");
}

#[test]
fn launchdarklys_newest_record_is_told_to_the_stores_once() {
    let begun = Instant::now();
    let (mut flags, stores, _) = followed(false, CACHE_TIME, begun);
    flags.word(word(&off(42)), begun);
    assert!(stores.0.lock().unwrap().is_empty(), "they know it");
    for version in [45, 45, 44, 46] {
        flags.event(&event(&patch(&flag(version, true, 1, 2))), Timestamp::UNIX_EPOCH).unwrap();
        flags.event(&put(&flag(46.min(version), true, 1, 2)), Timestamp::UNIX_EPOCH).unwrap();
    }
    assert_eq!(*stores.0.lock().unwrap(), [45, 46]);
}

#[test]
fn a_conflict_is_alarmed_at_once_and_over_with_the_override() {
    let begun = Instant::now();
    let (mut flags, _, alarms) = followed(false, CACHE_TIME, begun);
    let serve = override_of(&flag(42, true, 1, 0), &[Instruction::UpdateOffVariation { variation: 2 }], change(1));
    flags.word(word(&serve), begun);
    assert!(alarms.standing().is_empty());
    let sent = flags.event(&event(&patch(&flag(43, true, 0, 0))), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(sent, [patch(&flag(44, true, 2, 0))], "it is held");
    let [alarm] = alarms.standing().try_into().unwrap();
    assert_eq!((alarm.name.kind, alarm.name.flag), (AlarmKind::Conflict, Some("checkout".parse().unwrap())));
    assert!(alarm.told.contains("rc replay -f checkout"), "{}", alarm.told);
    flags.word(StoresWord::default(), begun);
    assert!(alarms.standing().is_empty());
}

#[test]
fn overrides_on_disk_count_until_stores_tell_and_not_after_an_hour() {
    let (begun, at) = (Instant::now(), Timestamp::from_second(1_000_000).unwrap());
    for (minutes, counts) in [(59, true), (61, false)] {
        let mut flags = Flags::new("shop/production".to_owned(), OnConflict::Hold, false, Alarms::new().0);
        let stores = Some(at - jiff::SignedDuration::from_mins(minutes));
        let seen = Seen { stream: None, stores, overrides: word(&off(42)).overrides };
        let kept = KeptState { as_of: at, place: None, state: state(&flag(42, true, 1, 0)) };
        flags.remember(Some(kept), Some(seen));
        flags.follow(Arc::new(Noted::default()), CACHE_TIME, begun, at);
        assert_eq!(flags.overrides().len(), usize::from(counts), "{minutes} min");
        let known = flags.overrides_known(begun + Duration::from_secs(1));
        assert_eq!(matches!(known, Overrides::Remembered(_)), counts);
        let first = String::from_utf8(flags.first().unwrap().to_vec()).unwrap();
        assert_eq!(first.contains("\"version\":43"), counts);
        flags.word(StoresWord::default(), begun);
        assert_eq!((flags.overrides().len(), flags.overrides_known(begun)), (0, Overrides::Known));
        // Followed anew because whoever did had failed: what stores told is not forgotten.
        flags.follow(Arc::new(Noted::default()), CACHE_TIME, begun, at);
        assert_eq!(flags.overrides_known(begun), Overrides::Known);
    }
}

#[test]
fn what_was_kept_takes_nothing_from_what_came_since() {
    let begun = Instant::now();
    let (mut flags, _, _) = followed(false, CACHE_TIME, begun);
    flags.word(word(&off(42)), begun);
    let kept = KeptState { as_of: Timestamp::UNIX_EPOCH, place: None, state: state(&flag(30, true, 1, 0)) };
    flags.remember(Some(kept), Some(Seen::default()));
    assert_eq!(flags.last().unwrap().item(&(Kind::Flag, "checkout".into())).version(), 42);
    assert_eq!(flags.overrides().len(), 1);
}

#[test]
fn what_is_served_without_launchdarkly_is_alarmed_by_how_good_it_is() {
    let (alarms, _) = Alarms::new();
    let mut flags = Flags::new("shop/production".to_owned(), OnConflict::Hold, false, alarms.clone());
    let left_out = || vec![(Target { store: "eu".to_owned(), prefix: "p".to_owned() }, "it is not filled".to_owned())];
    let stands = || -> Vec<(AlarmKind, String)> {
        alarms.standing().into_iter().map(|alarm| (alarm.name.kind, alarm.told)).collect()
    };
    assert!(flags.restore(Err(Nothing { left_out: left_out() })).is_empty());
    assert_eq!(stands()[0].0, AlarmKind::NothingToServe);
    assert!(stands()[0].1.ends_with("; eu p: it is not filled"), "{:?}", stands());
    let kept = KeptState { as_of: Timestamp::UNIX_EPOCH, place: None, state: state(&flag(42, true, 1, 0)) };
    flags.remember(Some(kept), None);
    let served = |from_store| Served { state: state(&flag(42, true, 1, 0)), from_store, left_out: left_out() };
    flags.restore(Ok(served(false)));
    assert_eq!(stands()[0].0, AlarmKind::OldState);
    assert!(stands()[0].1.contains("as of 1970-01-01T00:00:00Z; eu p"), "{:?}", stands());
    flags.restore(Ok(served(true)));
    assert_eq!(stands(), []);
    flags.restore(Ok(served(false)));
    flags.is_live();
    assert_eq!(stands(), []);
}

/// LaunchDarkly's API is back, `rc replay` was accepted, and the stream stays away: for 5 minutes and for a day.
#[test]
fn what_was_replayed_holds_for_as_long_as_the_stream_is_away() {
    const HOLDS: &str = "\"version\":43";
    let begun = Instant::now();
    let (mut flags, stores, alarms) = followed(false, CACHE_TIME, begun);
    flags.word(word(&off(42)), begun);
    again(&mut flags, begun);
    let replayed = Override { state: OverrideState::Replayed { version: 43 }, ..off(42) };
    assert!(flags.word(word(&replayed), begun).is_empty(), "LaunchDarkly's version is the one that all have");
    let is_held = |event: &Bytes| *event == patch(&flag(43, false, 1, 0));
    let mut resent = 0;
    for seconds in (0..=600).step_by(5).chain([3_600, 86_400]) {
        let now = begun + Duration::from_secs(seconds);
        // What depends on time alone; a relay that starts; a look at the stores, which have LaunchDarkly's last state or
        // what it was before the edit, in a store that a reset put back; the same word of them again.
        let due = flags.due(now);
        resent += due.len();
        assert!(due.iter().all(is_held), "after {seconds} s: {due:?}");
        let first = String::from_utf8(flags.first().unwrap().to_vec()).unwrap();
        assert!(first.contains(HOLDS) && first.contains("\"on\":false"), "after {seconds} s: {first}");
        let served = Served { state: state(&flag(42, true, 1, 0)), from_store: true, left_out: Vec::new() };
        assert!(flags.restore(Ok(served)).is_empty(), "after {seconds} s");
        let old =
            Sight { flag: replayed.flag.clone(), item: Item::of_record(&flag(42, true, 1, 0)), launchdarklys: true };
        let told = flags.word(StoresWord { seen: vec![old], ..word(&replayed) }, now);
        assert!(told.iter().all(is_held), "after {seconds} s: {told:?}");
        assert_eq!(flags.reasons(), [(replayed.flag.clone(), "held")], "after {seconds} s");
    }
    assert_eq!(resent, 3, "only for the change of the override itself");
    // The stream comes, and its first word is older than the replay; then it has arrived.
    assert!(flags.event(&put(&flag(42, true, 1, 0)), Timestamp::UNIX_EPOCH).unwrap().iter().all(is_held));
    assert_eq!(flags.reasons(), [(replayed.flag.clone(), "held")]);
    let arrived = flags.event(&event(&patch(&flag(43, false, 1, 0))), Timestamp::UNIX_EPOCH).unwrap();
    assert!(arrived.iter().all(is_held), "{arrived:?}");
    assert_eq!(flags.reasons(), [(replayed.flag.clone(), "arrived")]);
    assert_eq!(*stores.0.lock().unwrap(), [43], "which ends it in the stores");
    assert!(alarms.standing().is_empty());
}

/// The same environment, a hundred times in a row: what a guard waits from one return to the next is left out.
#[test]
fn launchdarkly_returns_a_hundred_times_and_nothing_is_sent() {
    let begun = Instant::now();
    let (mut flags, _, alarms) = followed(false, CACHE_TIME, begun);
    assert_eq!(flags.word(word(&off(42)), begun), [patch(&flag(43, false, 1, 0))]);
    again(&mut flags, begun);
    for round in 0..100 {
        let sent = flags.event(&put(&flag(42, true, 1, 0)), Timestamp::UNIX_EPOCH).unwrap();
        assert!(sent.is_empty(), "round {round}: {sent:?}");
        let first = String::from_utf8(flags.first().unwrap().to_vec()).unwrap();
        assert!(first.contains("\"version\":43") && first.contains("\"on\":false"), "round {round}: {first}");
    }
    assert!(alarms.standing().is_empty());
}
