//! Agreement, case by case.

use super::*;
use crate::change::sample;
use crate::flag::instruction::Instruction as Asked;
use crate::flag::record::Record;

fn voice(record: &Record) -> Voice {
    Voice::Says { configuration: Box::new(Configuration::of_record(record)), version: record.version() }
}

fn facts(launchdarkly: &Record, stores: &[&Record]) -> Facts {
    Facts {
        environment: "shop/production".parse().unwrap(),
        flag: "checkout".parse().unwrap(),
        override_: None,
        open: Vec::new(),
        stands: Vec::new(),
        held: Vec::new(),
        asked: false,
        launchdarkly: voice(launchdarkly),
        stores: stores
            .iter()
            .enumerate()
            .map(|(number, record)| (format!("s{number}"), voice(record), false))
            .collect(),
        relays: Vec::new(),
    }
}

fn off() -> Override {
    sample::override_of(&sample::flag(42, true, 1, 0), &[Asked::TurnFlagOff], sample::change(1))
}

#[track_caller]
fn judged(facts: &Facts, expected: Judgement) -> String {
    let judged = judge(facts);
    assert_eq!(judged.judgement, expected, "{}", judged.told);
    judged.told
}

#[test]
fn the_same_by_value_is_the_same() {
    let record = sample::flag(42, true, 1, 0);
    assert_eq!(judged(&facts(&record, &[&record, &record]), Judgement::Same), "");
    let older = sample::flag(41, true, 1, 0);
    judged(&facts(&record, &[&record, &older]), Judgement::Same);
}

#[test]
fn what_is_owed_is_told_target_by_target() {
    let (on, edited) = (sample::flag(42, true, 1, 0), sample::flag(43, false, 1, 0));
    let facts = Facts { override_: Some(off()), ..facts(&on, &[&edited, &on]) };
    assert_eq!(judged(&facts, Judgement::Owed), "LaunchDarkly on v42; off v43 in s0, on v42 in s1");
}

#[test]
fn a_replayed_override_that_waits_for_its_evidence_agrees() {
    let override_ = Override { state: OverrideState::Replayed { version: 43 }, ..off() };
    let edited = sample::flag(43, false, 1, 0);
    judged(&Facts { override_: Some(override_.clone()), ..facts(&edited, &[&edited]) }, Judgement::Same);
    let back = sample::flag(44, true, 1, 0);
    let told = judged(&Facts { override_: Some(override_.clone()), ..facts(&back, &[&back]) }, Judgement::Differs);
    assert!(told.contains("rc replay ends it"), "{told}");
    // A store that was away is another matter.
    let told = judged(&Facts { override_: Some(override_), ..facts(&edited, &[&edited, &back]) }, Judgement::Differs);
    assert!(!told.contains("rc replay ends it"), "{told}");
}

#[test]
fn what_is_not_over_is_owed() {
    let (on, edited) = (sample::flag(42, true, 1, 0), sample::flag(43, false, 1, 0));
    let open = vec!["change 7c1f: is not over, and its override is gone".to_owned()];
    let facts = Facts { open, ..facts(&on, &[&edited]) };
    let told = judged(&facts, Judgement::Owed);
    assert_eq!(told, "LaunchDarkly on v42; off v43 in s0; change 7c1f: is not over, and its override is gone");
}

/// One store shows what LaunchDarkly has, and the override ended; another one holds it by our record. That is not owed.
#[test]
fn what_launchdarkly_has_is_not_owed() {
    let (on, edited) = (sample::flag(42, true, 1, 0), sample::flag(43, false, 1, 0));
    let held = vec!["settled by anna, and not yet in s1".to_owned()];
    judged(&Facts { held: held.clone(), ..facts(&edited, &[&edited, &edited]) }, Judgement::Same);
    let told = judged(&Facts { held, ..facts(&edited, &[&edited, &on]) }, Judgement::Owed);
    assert!(told.ends_with("on v42 in s1; settled by anna, and not yet in s1"), "{told}");
}

#[test]
fn differences_without_an_override() {
    let (on, off) = (sample::flag(44, true, 1, 0), sample::flag(43, false, 1, 0));
    assert_eq!(
        judged(&facts(&on, &[&off, &on]), Judgement::Differs),
        "LaunchDarkly on v44; off v43 in s0, on v44 in s1"
    );
    let ahead = sample::flag(45, true, 1, 0);
    judged(&facts(&on, &[&ahead]), Judgement::Differs);
    let mut missing = facts(&on, &[&on]);
    missing.stores.push(("s1".to_owned(), Voice::Nothing, false));
    judged(&missing, Judgement::Differs);
    missing.stores[1].2 = true;
    judged(&missing, Judgement::Same);
}

#[test]
fn who_did_not_answer_is_not_in_agreement() {
    let on = sample::flag(42, true, 1, 0);
    let mut facts = facts(&on, &[&on]);
    facts.relays.push(("eu-1".to_owned(), Voice::Silent("refused".to_owned())));
    assert!(judged(&facts, Judgement::NotKnown).contains("NO ANSWER through relay eu-1"));
}

#[test]
fn what_launchdarkly_has_by_itself_is_nobodys_edit() {
    let ours = vec!["change 7c1f: its override is gone, what it wrote stands in s0".to_owned()];
    let (on, off) = (sample::flag(42, true, 1, 0), sample::flag(43, false, 1, 0));
    let stands = |facts| Facts { stands: ours.clone(), ..facts };
    assert!(judged(&stands(facts(&on, &[&off])), Judgement::Owed).contains("7c1f"));
    judged(&stands(facts(&off, &[&off, &off])), Judgement::Same);
    judged(&stands(facts(&off, &[&off, &on])), Judgement::Owed);
    let later = sample::flag(44, false, 1, 0);
    judged(&stands(facts(&later, &[&off])), Judgement::Owed);
}
