use proptest::prelude::*;

use super::*;
use crate::change::net::net;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::mark;
use crate::change::sample::override_of;
use crate::change::sample::seen;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;

fn by() -> By {
    By { change: change(9), actor: sample::actor("bob"), at: "2026-10-20T03:00:00Z".parse().unwrap() }
}

fn undone(seen: &Seen, standing: &Standing) -> PutBack {
    undo(&by(), &sample::target("a"), seen, standing)
}

fn in_force(override_: &Override) -> Standing {
    Standing::InForce(Box::new(override_.clone()))
}

fn known() -> Override {
    let mut known = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    known.revision = 2;
    known.changes.push(change(2));
    known
}

fn write(found: PutBack) -> Write {
    let PutBack::Write(write) = found else { panic!("{found:?}") };
    *write
}

#[test]
fn launchdarklys_record_goes_back_with_its_own_version() {
    let found = write(undone(&seen(Some(&flag(44, false, 1, 0)), Some(&known())), &in_force(&known())));
    assert_eq!(found.after.unwrap().text(), flag(42, true, 1, 0).text());
    let OverrideWrite::End(marks) = found.override_after else { panic!() };
    assert_eq!(marks.iter().map(|(change, _)| *change).collect::<Vec<_>>(), [change(1), change(2)]);
    assert!(marks.iter().all(|(_, mark)| mark.revision == 2 && mark.ending == Ending::Undone));
    assert!(marks.iter().all(|(_, mark)| mark.version == Some(42) && mark.actor.user == "bob"));
}

#[test]
fn the_newest_record_that_a_guard_saw() {
    let mut guarded = known();
    guarded.upstream = flag(45, true, 1, 2);
    let found = write(undone(&seen(Some(&flag(47, false, 1, 2)), Some(&guarded)), &in_force(&guarded)));
    assert_eq!(found.after.unwrap().text(), flag(45, true, 1, 2).text());
}

#[test]
fn after_a_wipe_only_the_override_ends() {
    for wiped in [flag(42, true, 1, 0), flag(50, true, 2, 2), flag(41, true, 1, 0)] {
        let found = write(undone(&seen(Some(&wiped), Some(&known())), &in_force(&known())));
        assert_eq!((found.before, found.after), (Some(wiped), None));
        assert!(matches!(found.override_after, OverrideWrite::End(marks) if marks.len() == 2));
    }
    let gone = write(undone(&seen(None, Some(&known())), &in_force(&known())));
    assert_eq!((gone.before, gone.after), (None, None));
}

#[test]
fn after_a_replay_it_refuses() {
    let mut replayed = known();
    replayed.state = OverrideState::Replayed { version: 43 };
    let held = seen(Some(&flag(43, false, 1, 0)), Some(&known()));
    assert_eq!(undone(&held, &in_force(&replayed)), PutBack::AlreadyReplayed { version: Some(43) });
    let mut settled = mark(Ending::Settled, 2);
    settled.version = Some(43);
    assert_eq!(undone(&held, &Standing::Ended(settled)), PutBack::AlreadyReplayed { version: Some(43) });
}

#[test]
fn what_was_never_written() {
    let untouched = seen(Some(&flag(42, true, 1, 0)), None);
    assert_eq!(undone(&untouched, &in_force(&known())), PutBack::NothingThere);
    assert_eq!(undone(&untouched, &Standing::None), PutBack::NothingThere);
    assert_eq!(undone(&Seen::default(), &in_force(&known())), PutBack::NothingThere);
    let unreadable = Seen { override_: Some(Err("format 2".to_owned())), ..untouched };
    assert_eq!(undone(&unreadable, &in_force(&known())), PutBack::OverrideUnreadable("format 2".to_owned()));
}

#[test]
fn a_leftover_and_a_record_without_override_are_put_back_too() {
    let leftover = seen(Some(&flag(44, false, 1, 0)), Some(&known()));
    let found = write(undone(&leftover, &Standing::Ended(mark(Ending::Undone, 2))));
    assert_eq!(found.after.unwrap().version(), 42);
    let record_only = seen(Some(&flag(44, false, 1, 0)), None);
    assert_eq!(write(undone(&record_only, &in_force(&known()))).after.unwrap().version(), 42);
}

proptest! {
    /// An update and its undo leave every store as it was, to the byte, with nothing in force.
    #[test]
    fn undo_takes_back_any_edits(record in sample::record(), edits in prop::collection::vec(sample::instruction(), 1..5)) {
        let mut override_ = override_of(&record, &net(&edits, &[]), change(1));
        override_.revision = u64::try_from(edits.len()).unwrap();
        let standing: Record = override_.in_force().unwrap();
        let found = write(undone(&seen(Some(&standing), Some(&override_)), &in_force(&override_)));
        let after = found.after.unwrap();
        prop_assert_eq!(after.text(), record.text());
        let OverrideWrite::End(marks) = found.override_after else { panic!() };
        let said = [(sample::target("a"), None, marks), (sample::target("b"), Some(override_), Vec::new())];
        prop_assert!(matches!(crate::change::merge::merged(&said), Standing::Ended(_)));
    }
}
