//! What comes out of a channel, case by case; `audience` has everything at once.

use super::*;
use crate::change::override_::OverrideState;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::event::written;

const FLAG: &str = "checkout";

fn key() -> FlagKey {
    FLAG.parse().unwrap()
}

fn name() -> Name {
    name_of(&key())
}

pub(super) fn event(bytes: &Bytes) -> Event {
    match Splitter::new(1 << 20).push(bytes).unwrap().pop() {
        Some(Piece::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn put(records: &[(&str, Item)]) -> Bytes {
    let mut state = State::default();
    for (key, item) in records {
        state.set((Kind::Flag, Arc::from(*key)), item.clone());
    }
    state.to_put(&IndexMap::new())
}

fn patch(item: &Item) -> Bytes {
    to_event(&name(), item).unwrap()
}

pub(super) fn of(record: &Record) -> Item {
    Item::of_record(record)
}

fn names(events: &[Bytes]) -> Vec<String> {
    events.iter().map(|bytes| event(bytes).name).collect()
}

fn overrides(override_: Override) -> StoresWord {
    StoresWord { overrides: BTreeMap::from([(key(), override_)]), ..StoresWord::default() }
}

/// A channel of which somebody got a `put` with the flag on at version 42.
fn channel() -> Channel {
    let mut channel = Channel::new(OnConflict::Hold);
    let first = put(&[(FLAG, of(&flag(42, true, 1, 0))), ("other", of(&flag(7, true, 1, 0)))]);
    assert_eq!(channel.event(&event(&first)).unwrap(), std::slice::from_ref(&first));
    assert_eq!(channel.put_for_new(), Some(first));
    channel
}

#[test]
fn without_overrides_every_byte_goes_on_as_it_came() {
    let mut channel = channel();
    for bytes in [
        written("patch", &[br#"{"path":"/flags/other",  "data":{"version":8}}"#]),
        // Nobody takes it, and it is not ours to hold back.
        written("patch", &[br#"{"path":"/flags/other",  "data":{"version":3}}"#]),
        written("delete", &[br#"{"version":9 ,"path":"/flags/other"}"#]),
        written("something-new", &[b"anything"]),
        put(&[(FLAG, of(&flag(41, true, 1, 0)))]),
    ] {
        assert_eq!(channel.event(&event(&bytes)).unwrap(), [bytes]);
    }
    assert!(channel.event(&event(&written("patch", &[b"{"]))).is_err());
}

#[test]
fn a_late_word_about_what_was_deleted_since_brings_nothing_back() {
    let mut channel = channel();
    let other = (Kind::Flag, Arc::from("other"));
    let late = to_event(&other, &of(&flag(8, true, 1, 0))).unwrap();
    let deleted = to_event(&other, &Item::Deleted { version: 9 }).unwrap();
    for bytes in [&late, &deleted] {
        assert_eq!(channel.event(&event(bytes)).unwrap(), std::slice::from_ref(bytes));
    }
    // A `put` has no deletions in it: who comes now knows nothing of the flag, and would take any version.
    assert!(!String::from_utf8_lossy(&channel.put_for_new().unwrap()).contains("\"other\""));
    assert!(channel.event(&event(&late)).unwrap().is_empty());
    assert_eq!(channel.event(&event(&deleted)).unwrap(), [deleted], "that does no harm");
    let restored = to_event(&other, &of(&flag(10, true, 1, 0))).unwrap();
    assert_eq!(channel.event(&event(&restored)).unwrap(), [restored]);
}

#[test]
fn an_edit_is_a_patch_and_its_undoing_a_put() {
    let mut channel = channel();
    let override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    // As `rc update` leaves it: the record stands in the store when the guard hears of the override.
    let edited = Sight { flag: key(), item: of(&flag(43, false, 1, 0)), launchdarklys: false };
    let sent = channel.stores(StoresWord { seen: vec![edited], ..overrides(override_.clone()) });
    assert_eq!(sent, [patch(&of(&flag(43, false, 1, 0)))]);
    assert_eq!(channel.again(&key()), Some(sent[0].clone()));
    assert!(channel.stores(overrides(override_)).is_empty());
    let undone = channel.stores(StoresWord::default());
    assert_eq!(names(&undone), ["put"]);
    assert_eq!(event(&undone[0]).data, event(&channel.put_for_new().unwrap()).data);
    assert!(channel.should(&name()).same(&of(&flag(42, true, 1, 0)), Kind::Flag));
}

#[test]
fn launchdarklys_return_resets_nobody() {
    let mut channel = channel();
    channel.stores(overrides(override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1))));
    // The same as before the outage.
    let before = put(&[(FLAG, of(&flag(42, true, 1, 0))), ("other", of(&flag(7, true, 1, 0)))]);
    assert!(channel.event(&event(&before)).unwrap().is_empty());
    // Another flag was changed, and another aspect of this one.
    let after = put(&[(FLAG, of(&flag(45, true, 1, 2))), ("other", of(&flag(8, true, 1, 0)))]);
    let sent = channel.event(&event(&after)).unwrap();
    assert_eq!(names(&sent), ["patch", "patch"]);
    assert!(channel.should(&name()).same(&of(&flag(46, false, 1, 2)), Kind::Flag));
    // A flag is gone: that cannot be said but by a put.
    let gone = channel.event(&event(&put(&[(FLAG, of(&flag(45, true, 1, 2)))]))).unwrap();
    assert_eq!(names(&gone), ["put"]);
}

#[test]
fn a_flag_that_launchdarkly_deleted_does_not_come_back_from_a_store() {
    let without = put(&[("other", of(&flag(7, true, 1, 0)))]);
    let override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    let old = || Sight { flag: key(), item: of(&flag(42, true, 1, 0)), launchdarklys: true };
    let is_gone = |channel: &Channel| matches!(channel.should(&name()), Item::Absent);
    // Deleted while it was overridden; a store that nobody reset still has the record from before.
    let mut channel = channel();
    channel.stores(overrides(override_.clone()));
    assert_eq!(names(&channel.event(&event(&without)).unwrap()), ["put"]);
    let sent = channel.stores(StoresWord { seen: vec![old()], ..overrides(override_.clone()) });
    assert!(is_gone(&channel), "{:?}", channel.should(&name()));
    assert_eq!(channel.reasons()[&key()], Reason::Gone);
    // Whoever has it from that store loses it again.
    assert_eq!(names(&sent), ["put"]);
    assert!(!String::from_utf8_lossy(&sent[0]).contains("\"checkout\":{"), "{sent:?}");
    // Nor when its override ends.
    channel.stores(StoresWord { seen: vec![old()], ..StoresWord::default() });
    assert!(is_gone(&channel));
    // Deleted before this guard began: the override is heard of after LaunchDarkly's put.
    let mut channel = Channel::new(OnConflict::Hold);
    channel.event(&event(&without)).unwrap();
    channel.put_for_new();
    channel.stores(StoresWord { seen: vec![old()], ..overrides(override_.clone()) });
    assert!(is_gone(&channel));
    // What only disk remembers may well be older than a store.
    let mut channel = Channel::new(OnConflict::Hold);
    let Ok(Told::Put(remembered)) = told(&event(&without)) else { panic!() };
    channel.restore(remembered);
    channel.stores(StoresWord { seen: vec![old()], ..overrides(override_) });
    assert_eq!(channel.should(&name()).version(), 43);
}

#[test]
fn a_replayed_override_goes_back_to_launchdarklys_version() {
    let mut channel = channel();
    let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    override_.revision = 3;
    assert_eq!(names(&channel.stores(overrides(override_.clone()))), ["patch"]);
    override_.state = OverrideState::Replayed { version: 43 };
    assert_eq!(names(&channel.stores(overrides(override_.clone()))), ["put"]);
    // LaunchDarkly's stream shows it, and its next change is a change for everybody.
    assert!(channel.event(&event(&patch(&of(&flag(43, false, 1, 0))))).unwrap().is_empty());
    assert_eq!(channel.reasons()[&key()], Reason::Arrived);
    assert_eq!(names(&channel.event(&event(&patch(&of(&flag(44, true, 1, 0))))).unwrap()), ["patch"]);
    assert!(channel.stores(StoresWord::default()).is_empty());
}

#[test]
fn one_edit_replayed_sends_nothing() {
    let mut channel = channel();
    let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    channel.stores(overrides(override_.clone()));
    override_.state = OverrideState::Replayed { version: 43 };
    assert!(channel.stores(overrides(override_)).is_empty());
    assert!(channel.event(&event(&patch(&of(&flag(43, false, 1, 0))))).unwrap().is_empty());
}
