//! What is owed, case by case of design 4.4.

use std::path::PathBuf;

use super::*;
use crate::change::edit::Change;
use crate::change::edit::Edit;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::merge;
use crate::change::override_::Ending;
use crate::change::sample;
use crate::commands::targets::Chosen;
use crate::flag::instruction::Instruction;
use crate::playback::EditIntent;
use crate::playback::Intent;
use crate::playback::PLAYBACK_FORMAT;
use crate::playback::TargetIntent;

fn file(change: ChangeId, events: Vec<Happened>) -> LoadedFile {
    let at = "2026-10-20T02:14:07Z".parse().unwrap();
    let edit = Edit {
        environment: "shop/production".parse().unwrap(),
        flag: "checkout".parse().unwrap(),
        instructions: vec![Instruction::TurnFlagOff],
    };
    let target = TargetIntent {
        target: sample::target("a"),
        before: Some(sample::flag(42, true, 1, 0)),
        after: Some(sample::flag(43, false, 1, 0)),
        theirs: None,
    };
    LoadedFile {
        path: PathBuf::from("x.jsonl"),
        intent: Intent {
            format: PLAYBACK_FORMAT,
            change: Change { id: change, kind: ChangeKind::Update, motive: sample::motive("anna"), edits: vec![edit] },
            tool_version: String::new(),
            outage: Vec::new(),
            edits: vec![EditIntent { request: String::new(), targets: vec![target] }],
        },
        events: events.into_iter().map(|what| Event { at, edit: 0, what }).collect(),
        torn: None,
        replayed: false,
        writable: true,
        newer: None,
        not_understood: Vec::new(),
        end: None,
    }
}

fn written(colleagues_see: bool) -> Happened {
    Happened::Written { target: sample::target("a"), version: Some(43), colleagues_see }
}

/// What comes of one target that holds `seen`, with these marks and files.
fn taken(seen: Seen, marks: Vec<(ChangeId, EndedMark)>, files: &[LoadedFile], silent: &[Target]) -> Owed {
    let said = vec![(sample::target("a"), seen.own().cloned(), marks)];
    let situation = Situation {
        flag: "checkout".parse().unwrap(),
        standing: merge::merged(&said),
        said,
        seen: vec![(Chosen { target: sample::target("a"), is_filter_copy: false }, seen)],
        filed: files.iter().map(|file| FiledEdit { file, edit: 0 }).collect(),
    };
    let mut owed = Owed::default();
    let folds = files.iter().map(|file| (file.change(), fold(file))).collect();
    take(&mut owed, &"shop/production".parse().unwrap(), &situation, silent, &folds);
    owed
}

fn in_force() -> Override {
    sample::override_of(&sample::flag(42, true, 1, 0), &[Instruction::TurnFlagOff], sample::change(1))
}

fn why(owed: &Owed) -> Vec<Astray> {
    assert!(owed.owed.is_empty(), "{owed:?}");
    owed.strays.iter().map(|stray| stray.why.clone()).collect()
}

#[test]
fn an_override_is_owed_until_launchdarkly_has_it() {
    let (record, mut override_) = (sample::flag(43, false, 1, 0), in_force());
    let files = [file(sample::change(1), vec![written(true)])];
    let owed = taken(sample::seen(Some(&record), Some(&override_)), Vec::new(), &files, &[]);
    assert_eq!(owed.owed.len(), 1);
    assert_eq!(owed.owed[0].parts, [(sample::change(1), 0)]);
    override_.state = OverrideState::AwaitingApproval { request: "6712".to_owned() };
    let owed = taken(sample::seen(Some(&record), Some(&override_)), Vec::new(), &files, &[]);
    assert_eq!(owed.owed.len(), 1);
    override_.state = OverrideState::Replayed { version: 43 };
    let owed = taken(sample::seen(Some(&record), Some(&override_)), Vec::new(), &files, &[]);
    assert!(owed.owed.is_empty() && owed.strays.is_empty());
    assert!(owed.replayed[0].unnoted, "the file does not know it");
}

#[test]
fn an_edit_without_an_override_is_over_if_a_mark_says_so() {
    let seen = sample::seen(Some(&sample::flag(42, true, 1, 0)), None);
    let mark = sample::mark(Ending::Undone, 1);
    let files = [file(sample::change(1), vec![written(true)])];
    let owed = taken(seen.clone(), vec![(sample::change(1), mark.clone())], &files, &[]);
    assert_eq!(why(&owed), [Astray::Ended(mark.clone())]);
    let other = taken(seen.clone(), vec![(sample::change(2), mark)], &files, &[]);
    assert_eq!(why(&other), [Astray::Unexplained], "another change's mark");
    let silent = taken(seen, Vec::new(), &files, &[sample::target("b")]);
    assert_eq!(why(&silent), [Astray::Hidden(vec![sample::target("b")])]);
}

#[test]
fn an_edit_beside_a_later_override_is_looked_at_by_itself() {
    let override_ = sample::override_of(&sample::flag(42, true, 1, 0), &[Instruction::TurnFlagOff], sample::change(2));
    let files = [file(sample::change(1), vec![written(true)]), file(sample::change(2), vec![written(true)])];
    let seen = sample::seen(Some(&sample::flag(43, false, 1, 0)), Some(&override_));
    let owed = taken(seen, Vec::new(), &files, &[]);
    assert_eq!(owed.owed[0].parts, [(sample::change(2), 0)]);
    assert_eq!(owed.strays[0].part, (sample::change(1), 0));
    assert_eq!(owed.strays[0].why, Astray::Unexplained);
}

#[test]
fn what_was_written_nowhere_is_not_owed() {
    let seen = sample::seen(Some(&sample::flag(42, true, 1, 0)), None);
    let unknown = Happened::Unknown { target: sample::target("a"), why: "no answer".to_owned() };
    let refused = Happened::Refused { target: sample::target("a"), why: "changed".to_owned() };
    let owed = taken(seen.clone(), Vec::new(), &[file(sample::change(1), vec![refused])], &[]);
    assert_eq!(why(&owed), [Astray::Nowhere]);
    // It may have been in force, and lost by a failover.
    for events in [vec![], vec![unknown]] {
        let owed = taken(seen.clone(), Vec::new(), &[file(sample::change(1), events)], &[]);
        assert_eq!(why(&owed), [Astray::Unnoted]);
    }
    let attempted = Happened::Attempted { revision: 1, request: String::new() };
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![attempted])], &[]);
    assert_eq!(why(&owed), [Astray::Unexplained], "it may have been sent");
}

/// An update was killed, and its operator typed something else.
#[test]
fn what_was_not_noted_is_over_where_its_operator_went_on() {
    let (on, off) = (sample::flag(42, true, 1, 0), sample::flag(43, false, 1, 0));
    let (killed, later) = (file(sample::change(1), vec![]), file(sample::change(2), vec![written(true)]));
    let superseded = Astray::Superseded(sample::change(2));
    let own = sample::override_of(&on, &[Instruction::TurnFlagOff], sample::change(2));
    let files = [killed.clone(), later.clone()];
    let owed = taken(sample::seen(Some(&off), Some(&own)), Vec::new(), &files, &[]);
    assert_eq!(owed.strays.iter().map(|stray| &stray.why).collect::<Vec<_>>(), [&superseded]);
    // A colleague has replayed that one meanwhile.
    let mark = (sample::change(2), sample::mark(Ending::Settled, 1));
    let owed = taken(sample::seen(Some(&on), None), vec![mark.clone()], &files, &[]);
    assert_eq!(why(&owed), [superseded, Astray::Ended(mark.1)]);
    // An earlier edit says nothing of it, nor does one that was killed as well.
    let (earlier, killed) = (file(sample::change(1), vec![written(true)]), file(sample::change(2), vec![]));
    let owed = taken(sample::seen(Some(&on), None), Vec::new(), &[earlier, killed.clone()], &[]);
    assert_eq!(why(&owed), [Astray::Unexplained, Astray::Unnoted]);
    let owed = taken(sample::seen(Some(&on), None), Vec::new(), &[killed, file(sample::change(3), vec![])], &[]);
    assert_eq!(why(&owed), [Astray::Unnoted, Astray::Unnoted]);
}

#[test]
fn where_our_keys_are_forbidden_the_playback_is_all_there_is() {
    let seen = Seen { own_keys: false, ..sample::seen(Some(&sample::flag(43, false, 1, 0)), None) };
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![written(false)])], &[]);
    let [matter] = &owed.owed[..] else { panic!("{owed:?}") };
    assert!(matter.only_filed);
    assert_eq!(matter.override_.revision, 1);
    assert_eq!(matter.override_.base, sample::flag(42, true, 1, 0));
    assert_eq!(matter.override_.in_force().unwrap(), sample::flag(43, false, 1, 0));
    // Another store has the mark of its end.
    let seen = Seen { own_keys: false, ..sample::seen(Some(&sample::flag(43, false, 1, 0)), None) };
    let mark = (sample::change(1), sample::mark(Ending::Settled, 1));
    let owed = taken(seen, vec![mark.clone()], &[file(sample::change(1), vec![written(false)])], &[]);
    assert_eq!(why(&owed), [Astray::Ended(mark.1)]);
}

/// LaunchDarkly's record had changed between reading and writing: what was met the second time is what it was made of.
#[test]
fn only_the_playback_knows_what_was_met_when_it_was_read_again() {
    let (met, made) = (sample::flag(50, true, 2, 0), sample::flag(51, false, 2, 0));
    let target = sample::target("a");
    let again = Happened::ReRead { target, before: Some(met.clone()), after: Some(made.clone()) };
    let asked = Happened::AwaitingApproval { request: "6712".to_owned(), link: None };
    let seen = Seen { own_keys: false, ..sample::seen(Some(&made), None) };
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![again, written(false), asked])], &[]);
    let [matter] = &owed.owed[..] else { panic!("{owed:?}") };
    assert_eq!((&matter.override_.base, matter.override_.revision), (&met, 1));
    assert_eq!(matter.override_.state, OverrideState::AwaitingApproval { request: "6712".to_owned() });
    assert_eq!(matter.seen[0].1.own().unwrap().in_force().unwrap(), made);
}

/// A damaged override, or one of a newer program, may be the very one: nobody can say that it is gone.
#[test]
fn an_override_that_cannot_be_read_is_not_gone() {
    let mut seen = sample::seen(Some(&sample::flag(43, false, 1, 0)), None);
    seen.override_ = Some(Err("nonsense".to_owned()));
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![written(true)])], &[]);
    assert_eq!(why(&owed), [Astray::Unreadable(vec![sample::target("a")])]);
}

#[test]
fn an_edit_whose_record_still_stands_is_not_over() {
    let seen = sample::seen(Some(&sample::flag(43, false, 1, 0)), None);
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![written(true)])], &[]);
    assert_eq!(why(&owed), [Astray::Stands(vec![sample::target("a")])]);
}

/// Where it was refused, the very same record can only be LaunchDarkly's own.
#[test]
fn an_edit_that_was_refused_stands_nowhere() {
    let seen = sample::seen(Some(&sample::flag(43, false, 1, 0)), None);
    let refused = Happened::Refused { target: sample::target("a"), why: "changed in between".to_owned() };
    let owed = taken(seen, Vec::new(), &[file(sample::change(1), vec![refused])], &[]);
    assert_eq!(why(&owed), [Astray::Nowhere]);
}

/// Two operators on two sides of a broken network.
#[test]
fn an_edit_that_lost_is_told_from_one_that_is_gone() {
    let (on, off) = (sample::flag(42, true, 1, 0), [Instruction::TurnFlagOff]);
    let winner = sample::override_of(&on, &off, sample::change(2));
    let files = [file(sample::change(1), vec![written(true)])];
    let loser = sample::override_of(&on, &off, sample::change(1));
    let seen = [(sample::target("a"), loser), (sample::target("b"), winner)]
        .map(|(target, own)| (target, sample::seen(Some(&sample::flag(43, false, 1, 0)), Some(&own))));
    let said: Vec<_> = seen.iter().map(|(target, seen)| (target.clone(), seen.own().cloned(), Vec::new())).collect();
    let situation = Situation {
        flag: "checkout".parse().unwrap(),
        standing: merge::merged(&said),
        said,
        seen: seen.map(|(target, seen)| (Chosen { target, is_filter_copy: false }, seen)).into(),
        filed: files.iter().map(|file| FiledEdit { file, edit: 0 }).collect(),
    };
    let mut owed = Owed::default();
    let folds = files.iter().map(|file| (file.change(), fold(file))).collect();
    take(&mut owed, &"shop/production".parse().unwrap(), &situation, &[], &folds);
    assert_eq!(owed.owed[0].override_.changes, [sample::change(2)]);
    assert_eq!(owed.strays[0].why, Astray::PutAside(vec![sample::target("a")]));
}

/// An undo that one store had refused, and that somebody else has finished.
#[test]
fn an_undo_that_has_nothing_left_to_do_is_finished() {
    let refused = Happened::Refused { target: sample::target("a"), why: "no answer".to_owned() };
    let mut undo = file(sample::change(2), vec![refused]);
    undo.intent.change.kind = ChangeKind::Undo;
    let on = sample::flag(42, true, 1, 0);
    let mark = sample::mark(Ending::Undone, 1);
    let owed = taken(sample::seen(Some(&on), None), vec![(sample::change(1), mark.clone())], &[undo.clone()], &[]);
    assert_eq!(owed.undone[0].targets, [sample::target("a")]);
    let still = sample::seen(Some(&sample::flag(43, false, 1, 0)), Some(&in_force()));
    let owed = taken(still, vec![(sample::change(1), mark)], &[undo], &[]);
    assert!(owed.undone.is_empty());
    assert_eq!(owed.leftovers[0].0.parts, [(sample::change(2), 0)], "the undo's own file tells of the rest");
}

#[test]
fn an_adopted_change_is_part_of_what_it_was_adopted_for() {
    let override_ = in_force();
    let mut adopted = file(sample::change(9), vec![]);
    adopted.intent.change.kind = ChangeKind::Adopted;
    let part = |file: &LoadedFile| is_part(&FiledEdit { file, edit: 0 }, &override_);
    assert!(part(&adopted));
    adopted.intent.change.motive = sample::motive("bob");
    assert!(!part(&adopted), "of another one");
}

#[test]
fn what_ended_elsewhere_is_left_over_here() {
    let seen = sample::seen(Some(&sample::flag(43, false, 1, 0)), Some(&in_force()));
    let mark = sample::mark(Ending::Abandoned, 1);
    let owed = taken(seen, vec![(sample::change(1), mark.clone())], &[], &[]);
    assert!(owed.owed.is_empty());
    assert_eq!(owed.leftovers[0].1, mark);
}
