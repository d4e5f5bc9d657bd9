use proptest::prelude::*;

use super::*;
use crate::change::edit::Edit;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::target;

fn a_change(kind: ChangeKind, edits: usize) -> Change {
    let edit = |number| Edit {
        environment: "shop/production".parse().unwrap(),
        flag: format!("flag-{number}").parse().unwrap(),
        instructions: Vec::new(),
    };
    Change { id: change(1), kind, motive: sample::motive("anna"), edits: (0..edits).map(edit).collect() }
}

fn event(edit: EditIndex, what: Happened) -> Event {
    Event { at: "2026-10-20T02:14:07Z".parse().unwrap(), edit, what }
}

fn written(store: &str) -> Happened {
    Happened::Written { target: target(store), version: Some(43), colleagues_see: true }
}

fn refused(store: &str) -> Happened {
    Happened::Refused { target: target(store), why: "down".to_owned() }
}

fn of(kind: ChangeKind, what: &[Happened]) -> EditState {
    let events: Vec<Event> = what.iter().cloned().map(|what| event(0, what)).collect();
    let targets = [[target("a"), target("b")].into()];
    fold(&a_change(kind, 1), &targets, &events).edits.remove(0)
}

fn state(what: &[Happened]) -> EditState {
    of(ChangeKind::Update, what)
}

#[test]
fn nothing_noted_may_be_written() {
    let state = state(&[]);
    assert_eq!(state.targets[&target("a")], Outcome::Intended);
    assert_eq!(state.standing, EditStanding::Owed);
    assert!(state.is_owed() && !state.is_over());
    assert_eq!(state.unfinished().count(), 2);
}

#[test]
fn one_written_and_one_down() {
    let state = state(&[written("a"), refused("b")]);
    assert_eq!(state.unfinished().collect::<Vec<_>>(), [&target("b")]);
    assert!(state.is_owed());
}

#[test]
fn refused_everywhere_is_owed_to_nobody() {
    let state = state(&[refused("a"), refused("b")]);
    assert_eq!(state.standing, EditStanding::Nowhere);
    assert!(!state.is_owed() && !state.is_over());
    assert_eq!(state.unfinished().count(), 2, "it can be resumed");
}

#[test]
fn a_replay() {
    let attempted = Happened::Attempted { revision: 1, request: String::new() };
    let replayed = Happened::Replayed { revision: 1, version: 43 };
    let settled = |target| Happened::Settled { target, version: Some(43) };
    let so_far = state(&[written("a"), written("b"), attempted.clone()]);
    assert!(so_far.is_owed() && so_far.standing == EditStanding::Attempted { revision: 1 });
    let so_far = state(&[written("a"), refused("b"), attempted, replayed.clone(), settled(Some(target("a")))]);
    assert!(!so_far.is_owed() && !so_far.is_over());
    assert_eq!(so_far.unfinished().count(), 0, "LaunchDarkly brings it");
    let done = state(&[written("a"), refused("b"), replayed, settled(None)]);
    assert!(done.is_over());
    assert_eq!(done.targets[&target("a")], Outcome::Settled { version: Some(43) });
    assert!(matches!(done.targets[&target("b")], Outcome::Refused { .. }), "it was never written");
}

#[test]
fn undone() {
    let done = state(&[written("a"), refused("b"), Happened::Undone { by: change(2) }]);
    assert!(done.is_over() && !done.is_owed());
    assert_eq!(done.targets[&target("a")], Outcome::Undone);
    assert_eq!(done.unfinished().count(), 0);
}

#[test]
fn an_undo_is_owed_to_nobody() {
    let begun = of(ChangeKind::Undo, &[written("a"), refused("b")]);
    assert!(!begun.is_owed() && !begun.is_over());
    assert!(of(ChangeKind::Undo, &[written("a"), written("b")]).is_over());
}

#[test]
fn a_stray_event_is_reported() {
    let events = [event(0, written("a")), event(7, written("a")), event(usize::MAX, written("a"))];
    let state = fold(&a_change(ChangeKind::Update, 1), &[], &events);
    assert_eq!(state.stray, [1, 2]);
    assert_eq!(state.edits[0].targets.len(), 1);
    let empty = fold(&a_change(ChangeKind::Update, 0), &[], &events[1..]);
    assert!(empty.is_over() && !empty.is_owed());
}

fn happened() -> impl Strategy<Value = Happened> {
    let store = || prop::sample::select(vec!["a", "b", "c"]).prop_map(target);
    let text = || "[a-z]{1,3}";
    let version = || prop::option::of(1..5_u64);
    prop_oneof![
        store().prop_map(|target| Happened::ReRead { target, before: None, after: None }),
        (store(), version(), any::<bool>()).prop_map(|(target, version, colleagues_see)| Happened::Written {
            target,
            version,
            colleagues_see
        }),
        (store(), text()).prop_map(|(target, why)| Happened::Refused { target, why }),
        (store(), text()).prop_map(|(target, why)| Happened::Unknown { target, why }),
        (text(), 0..99_u64).prop_map(|(relay, after_ms)| Happened::SeenLive { relay, after_ms }),
        (text(), text()).prop_map(|(relay, told)| Happened::NotLive { relay, told }),
        text().prop_map(|relay| Happened::Restarted { relay }),
        (1..9_u64).prop_map(|revision| Happened::Asking { revision }),
        text().prop_map(|why| Happened::NotAsked { why }),
        (1..4_u64, text()).prop_map(|(revision, request)| Happened::Attempted { revision, request }),
        (1..4_u64, 1..5_u64).prop_map(|(revision, version)| Happened::Replayed { revision, version }),
        (text(), prop::option::of(text())).prop_map(|(request, link)| Happened::AwaitingApproval { request, link }),
        (text(), prop::option::of(text())).prop_map(|(told, decision)| Happened::Conflict { told, decision }),
        text().prop_map(|why| Happened::Abandoned { why }),
        (1..9_u8).prop_map(|by| Happened::Undone { by: change(by) }),
        (prop::option::of(store()), version()).prop_map(|(target, version)| Happened::Settled { target, version }),
    ]
}

/// The naive model of a target: look back for the last event that names it, then whether the whole ended after that.
fn naive_outcome(intended: bool, store: &Target, events: &[&Happened]) -> Option<Outcome> {
    let about = |what: &Happened| match what {
        Happened::ReRead { target, .. } if target == store => Some(Outcome::Intended),
        Happened::Written { target, version, colleagues_see } if target == store => {
            Some(Outcome::Written { version: *version, colleagues_see: *colleagues_see })
        }
        Happened::Refused { target, why } if target == store => Some(Outcome::Refused { why: why.clone() }),
        Happened::Unknown { target, why } if target == store => Some(Outcome::Unknown { why: why.clone() }),
        Happened::Settled { target: Some(target), version } if target == store => {
            Some(Outcome::Settled { version: *version })
        }
        _ => None,
    };
    let last = events.iter().rposition(|what| about(what).is_some());
    let outcome = last.and_then(|place| about(events[place])).or(intended.then_some(Outcome::Intended))?;
    if matches!(outcome, Outcome::Refused { .. } | Outcome::Settled { .. }) {
        return Some(outcome);
    }
    let ended = events[last.map_or(0, |place| place + 1)..].iter().find_map(|what| match what {
        Happened::Undone { .. } => Some(Outcome::Undone),
        Happened::Settled { target: None, version } => Some(Outcome::Settled { version: *version }),
        _ => None,
    });
    Some(ended.unwrap_or(outcome))
}

/// The naive model of the standing: the last event that is about the edit as a whole.
fn naive_standing(events: &[&Happened]) -> Option<EditStanding> {
    events.iter().rev().find_map(|what| match (*what).clone() {
        Happened::Attempted { revision, .. } => Some(EditStanding::Attempted { revision }),
        Happened::Replayed { revision, version } => Some(EditStanding::Replayed { revision, version }),
        Happened::AwaitingApproval { request, link } => Some(EditStanding::AwaitingApproval { request, link }),
        Happened::Conflict { told, decision } => Some(EditStanding::Conflict { told, decision }),
        Happened::Abandoned { why } => Some(EditStanding::Abandoned { why }),
        Happened::Undone { by } => Some(EditStanding::Undone { by }),
        Happened::Settled { target: None, version } => Some(EditStanding::Settled { version }),
        _ => None,
    })
}

proptest! {
    #[test]
    fn is_what_the_last_relevant_event_says(events in prop::collection::vec((0..3_usize, happened()), 0..12)) {
        let events: Vec<Event> = events.into_iter().map(|(edit, what)| event(edit, what)).collect();
        let targets = [[target("a"), target("b")].into(), BTreeSet::new()];
        let state = fold(&a_change(ChangeKind::Update, 2), &targets, &events);
        let stray: Vec<usize> = (0..events.len()).filter(|place| events[*place].edit > 1).collect();
        prop_assert_eq!(&state.stray, &stray);
        for (index, edit) in state.edits.iter().enumerate() {
            let here: Vec<&Happened> = events.iter().filter(|event| event.edit == index).map(|event| &event.what).collect();
            for store in ["a", "b", "c"].map(target) {
                let expected = naive_outcome(targets[index].contains(&store), &store, &here);
                prop_assert_eq!(edit.targets.get(&store), expected.as_ref());
            }
            match naive_standing(&here) {
                Some(expected) => prop_assert_eq!(&edit.standing, &expected),
                None => {
                    let refused = edit.targets.values().filter(|outcome| matches!(outcome, Outcome::Refused { .. })).count();
                    let nowhere = refused > 0 && refused == edit.targets.len();
                    prop_assert_eq!(edit.standing == EditStanding::Nowhere, nowhere);
                    prop_assert_eq!(edit.standing == EditStanding::Owed, !nowhere);
                }
            }
        }
    }
}
