//! The format: everything comes back as it was written, and whatever is not as it was written is found.

use jiff::Timestamp;
use proptest::prelude::*;

use crate::change::edit::ChangeKind;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::flag::record::Record;
use crate::playback::contents::Contents;
use crate::playback::format;
use crate::playback::format::Intent;
use crate::playback::line;
use crate::playback::name;
use crate::playback::samples;

/// A file with these payloads.
fn sealed(payloads: &[String]) -> Vec<u8> {
    let mut text = String::new();
    let mut sum = None;
    for payload in payloads {
        let (line, next) = line::seal(sum.as_ref(), payload);
        text.push_str(&line);
        sum = Some(next);
    }
    text.into_bytes()
}

fn file(intent: &Intent, events: &[Event]) -> Vec<u8> {
    let mut payloads = vec![format::encode_intent(intent).unwrap()];
    payloads.extend(events.iter().map(|event| format::encode_event(event).unwrap()));
    sealed(&payloads)
}

fn whole_file() -> Vec<u8> {
    file(&samples::intent("7c1f", &["checkout"]), &[samples::written("eu-1"), samples::replayed()])
}

fn any_text() -> impl Strategy<Value = String> {
    // Control characters, quotes, line ends and whole planes beside the plain.
    proptest::collection::vec(prop_oneof![any::<char>(), Just('"'), Just('\n'), Just('\\'), Just(',')], 0..12)
        .prop_map(|characters| characters.into_iter().collect())
}

fn any_record() -> impl Strategy<Value = Option<Record>> {
    proptest::option::of((any_text(), 0_u64..4, any::<bool>()).prop_map(|(text, version, spaced)| {
        let name = serde_json::to_string(&text).unwrap();
        let space = if spaced { " \t" } else { "" };
        let text = format!("{{{space}\"name\":{name},\"version\":{version}}}");
        Record::parse(text.as_bytes()).unwrap()
    }))
}

fn any_intent() -> impl Strategy<Value = Intent> {
    let targets = proptest::collection::vec((any_text(), any_record(), any_record()), 0..4);
    let edits = proptest::collection::vec((any_text(), targets), 1..4);
    (edits, proptest::option::of(any_text()), any_text(), 0_i64..4_000_000_000).prop_map(
        |(edits, reason, user, second)| {
            let mut intent = samples::intent("7c1f", &vec!["checkout"; edits.len()]);
            intent.change.motive.reason = reason;
            intent.change.motive.actor.user = user.clone();
            intent.change.motive.at = Timestamp::from_second(second).unwrap();
            intent.outage[0].told = user;
            for (told, (request, targets)) in intent.edits.iter_mut().zip(edits) {
                let target = told.targets.remove(0);
                told.request = request;
                told.targets = targets
                    .into_iter()
                    .map(|(store, before, after)| {
                        let mut target = target.clone();
                        target.target.store = store;
                        (target.before, target.after) = (before, after);
                        target
                    })
                    .collect();
            }
            intent
        },
    )
}

fn any_event() -> impl Strategy<Value = Event> {
    let kinds = samples::one_of_each();
    (0..kinds.len(), any_text(), any_record(), any_record()).prop_map(move |(kind, text, old, new)| {
        let mut event = kinds[kind].clone();
        match &mut event.what {
            Happened::ReRead { before, after, .. } | Happened::Writing { before, after, .. } => {
                (*before, *after) = (old, new);
            }
            Happened::Refused { why, .. } | Happened::Unknown { why, .. } | Happened::Abandoned { why } => *why = text,
            Happened::Attempted { request, .. } => *request = text,
            Happened::Conflict { told, .. } => *told = text,
            _ => {}
        }
        event
    })
}

proptest! {
    #[test]
    fn everything_comes_back_as_it_was_written(
        intent in any_intent(),
        events in proptest::collection::vec(any_event(), 0..5),
    ) {
        let bytes = file(&intent, &events);
        prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), events.len() + 1);
        let contents = Contents::read(&bytes);
        prop_assert_eq!(contents.problem, None);
        prop_assert_eq!(contents.torn, None);
        prop_assert_eq!(contents.newer, None);
        prop_assert_eq!(contents.intent, Some(intent));
        prop_assert_eq!(contents.events, events);
        prop_assert_eq!(contents.tail.length, bytes.len() as u64);
    }

    #[test]
    fn each_distinct_record_stands_once(intent in any_intent()) {
        let payload = format::encode_intent(&intent).unwrap();
        let line: serde_json::Value = serde_json::from_str(&payload).unwrap();
        let mut distinct: Vec<&str> = Vec::new();
        for target in intent.edits.iter().flat_map(|edit| &edit.targets) {
            for record in [&target.before, &target.after].into_iter().flatten() {
                if !distinct.contains(&record.text()) {
                    distinct.push(record.text());
                }
            }
        }
        let stored: Vec<&str> =
            line["records"].as_object().unwrap().values().map(|record| record.as_str().unwrap()).collect();
        prop_assert_eq!(stored, distinct);
    }

    #[test]
    fn any_changed_byte_is_found(at in 0_usize..1_000_000, other in any::<u8>()) {
        let mut bytes = whole_file();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != other);
        bytes[at] = other;
        let contents = Contents::read(&bytes);
        prop_assert!(contents.problem.is_some() || contents.torn.is_some());
    }

    #[test]
    fn whatever_a_file_holds_reading_it_ends(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let contents = Contents::read(&bytes);
        prop_assert!(contents.intent.is_none());
    }

    #[test]
    fn lines_that_check_and_say_anything_are_refused_in_words(payload in "\\{\"[a-z\":,{}\\[\\]0-9]{0,40}") {
        let contents = Contents::read(&sealed(&[payload]));
        prop_assert!(contents.intent.is_none());
        prop_assert!(contents.problem.is_some());
    }
}

#[test]
fn every_single_flipped_bit_is_found() {
    let whole = whole_file();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let contents = Contents::read(&bytes);
            // The newline at the very end may be lost without losing what it ends; it cannot become anything else.
            assert!(contents.problem.is_some() || contents.torn.is_some(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn any_cut_leaves_a_torn_line_or_a_shorter_file() {
    let whole = whole_file();
    let full = Contents::read(&whole);
    for length in 0..=whole.len() {
        let cut = Contents::read(&whole[..length]);
        assert_eq!(cut.problem, None, "cut at {length}");
        assert!(full.events.starts_with(&cut.events));
        let sound = usize::try_from(cut.tail.length).unwrap();
        assert_eq!(cut.torn.is_some(), sound < length, "all that is not sound is torn");
        let again = Contents::read(&whole[..sound]);
        assert_eq!((again.torn, again.tail), (None, cut.tail), "what is sound stays so when the rest is cut off");
    }
    assert_eq!(Contents::read(&whole[..whole.len() - 1]).events, full.events, "only the newline is missing");
}

#[test]
fn a_line_that_is_gone_doubled_or_from_elsewhere_is_found() {
    let text = String::from_utf8(whole_file()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let problem = |lines: &[&str]| Contents::read(lines.concat().as_bytes()).problem.map(|problem| problem.line);
    assert_eq!(problem(&lines), None);
    assert_eq!(problem(&[lines[0], lines[2]]), Some(2));
    assert_eq!(problem(&[lines[0], lines[1], lines[1]]), Some(3));
    assert_eq!(problem(&[lines[0], lines[2], lines[1]]), Some(2));
    assert_eq!(problem(&lines[1..]), Some(1));
    assert_eq!(problem(&[lines[0], "\n", lines[1]]), Some(2));
}

#[test]
fn damage_in_the_middle_shows_what_stands_before_it() {
    let text = String::from_utf8(whole_file()).unwrap();
    let contents = Contents::read(text.replacen("\"version\":44", "\"version\":45", 1).as_bytes());
    assert_eq!(contents.problem.unwrap().line, 3);
    assert_eq!(contents.intent, Some(samples::intent("7c1f", &["checkout"])));
    assert_eq!(contents.events, [samples::written("eu-1")]);
}

#[test]
fn a_newer_intent_is_read_as_far_as_it_goes() {
    let payload = format::encode_intent(&samples::intent("7c1f", &["checkout"])).unwrap();
    let more = payload.replacen("{\"format\":1,", "{\"format\":2,\"mood\":\"calm\",", 1);
    let contents = Contents::read(&sealed(std::slice::from_ref(&more)));
    assert_eq!((contents.newer, contents.problem), (Some(2), None));
    assert_eq!(contents.intent.unwrap().change, samples::intent("7c1f", &["checkout"]).change);

    let strange = more.replace("turnFlagOff\"}", "turnFlagSideways\"}");
    let contents = Contents::read(&sealed(&[strange]));
    assert_eq!(contents.problem.unwrap().told, "it is written in format 2; this rc knows up to 1");
    assert_eq!(
        contents.glimpse.unwrap().to_string(),
        "checkout by anna at 2026-10-20T02:14:07Z, change 019a0000-0000-7000-8000-000000007c1f"
    );
}

#[test]
fn a_newer_event_is_told_and_the_others_are_read() {
    let intent = format::encode_intent(&samples::intent("7c1f", &["checkout"])).unwrap();
    let known = format::encode_event(&samples::written("eu-1")).unwrap();
    let strange = r#"{"format":3,"at":"2026-10-20T02:14:07Z","edit":0,"what":{"is":"sung"}}"#.to_owned();
    let contents = Contents::read(&sealed(&[intent.clone(), strange.clone(), known]));
    assert_eq!((contents.newer, contents.problem.clone()), (Some(3), None));
    assert_eq!(contents.events, [samples::written("eu-1")]);
    assert_eq!(contents.not_understood[0].line, 2);
    assert!(contents.not_understood[0].shown.contains("sung"));

    // In a format that is known, an unknown event is no riddle: it is wrong.
    let contents = Contents::read(&sealed(&[intent, strange.replace("\"format\":3", "\"format\":1")]));
    assert_eq!(contents.problem.unwrap().line, 2);
}

#[test]
fn what_checks_and_cannot_be_is_damage() {
    let intent = samples::intent("7c1f", &["checkout"]);
    let payload = format::encode_intent(&intent).unwrap();
    let told = |payloads: &[String]| Contents::read(&sealed(payloads)).problem.unwrap().told;
    assert!(told(&[payload.replace("\"before\":\"r1\"", "\"before\":\"r9\"")]).contains("there is no record \"r9\""));
    assert!(told(&[payload.replace("\"flag\":\"checkout\"", "\"flag\":\"../x\"")]).contains("letters"));
    let mut elsewhere = samples::written("eu-1");
    elsewhere.edit = 1;
    let event = format::encode_event(&elsewhere).unwrap();
    assert!(told(&[payload, event]).contains("it tells of edit 1, the change has 1"));
    let mut uneven = intent.clone();
    uneven.edits.clear();
    assert!(told(&[format::encode_intent(&uneven).unwrap()]).contains("it tells of 0 edits, the change has 1"));
}

#[test]
fn names_tell_when_what_and_which() {
    let name = |intent: &Intent| name::file_name(&intent.change, 4);
    let mut intent = samples::intent("7c1f", &["checkout"]);
    assert_eq!(name(&intent), "20261020T021407Z-checkout-off-7c1f.jsonl");
    intent.change.edits[0].instructions =
        serde_json::from_str(r#"[{"kind":"turnFlagOff"},{"kind":"updateOffVariation","variation":2}]"#).unwrap();
    assert_eq!(name(&intent), "20261020T021407Z-checkout-variation2-7c1f.jsonl");
    intent.change.kind = ChangeKind::Undo;
    assert_eq!(name(&intent), "20261020T021407Z-checkout-undo-7c1f.jsonl");

    let mut several = samples::intent("7c1f", &["a", "b", "c"]);
    assert_eq!(name(&several), "20261020T021407Z-3-flags-off-7c1f.jsonl");
    several.change.edits[1].instructions = serde_json::from_str(r#"[{"kind":"turnFlagOn"}]"#).unwrap();
    assert_eq!(name(&several), "20261020T021407Z-3-flags-mixed-7c1f.jsonl");

    let long = "x".repeat(256);
    let long = samples::intent("7c1f", &[long.as_str()]);
    let name = name::file_name(&long.change, 32);
    assert!(name.len() <= 255, "{}", name.len());
    assert!(name.contains("xxx~-off-"));
}

/// Keeps what is on disk from changing unseen: whoever changes this changes the format.
#[test]
fn a_file_looks_like_this() {
    let text = String::from_utf8(file(&samples::intent("7c1f", &["checkout"]), &samples::one_of_each())).unwrap();
    insta::assert_snapshot!(text);
}
