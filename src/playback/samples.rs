//! Changes for the tests of this module.

use jiff::Timestamp;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::edit::Motive;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;
use crate::playback::format::EditIntent;
use crate::playback::format::Intent;
use crate::playback::format::OutageNote;
use crate::playback::format::PLAYBACK_FORMAT;
use crate::playback::format::TargetIntent;

/// Two seconds after two, on the night of the sessions.
pub(super) fn now() -> Timestamp {
    "2026-10-20T02:14:07Z".parse().unwrap()
}

pub(super) fn id(digits: &str) -> ChangeId {
    format!("019a0000-0000-7000-8000-{digits:0>12}").parse().unwrap()
}

/// A record whose spelling no serialiser would repeat.
pub(super) fn record(flag: &str, on: bool, version: u64) -> Record {
    let text = format!("{{ \"key\":\"{flag}\",\"on\":{on}, \"variations\":[1.10,\"ä\\n\"],\"version\":{version}}}");
    Record::parse(text.as_bytes()).unwrap()
}

pub(super) fn target(store: &str) -> Target {
    Target { store: store.to_owned(), prefix: "ld:shop:production".to_owned() }
}

/// `flags` switched off in two stores that hold the same records.
pub(super) fn intent(digits: &str, flags: &[&str]) -> Intent {
    let edit = |flag: &&str| Edit {
        environment: "shop/production".parse().unwrap(),
        flag: flag.parse().unwrap(),
        instructions: vec![Instruction::TurnFlagOff],
    };
    let told = |flag: &&str| EditIntent {
        request: format!("PATCH /api/v2/flags/shop/{flag} {{\"instructions\":[{{\"kind\":\"turnFlagOff\"}}]}}"),
        targets: ["eu-1", "us-1"]
            .map(|store| TargetIntent {
                target: target(store),
                before: Some(record(flag, true, 42)),
                after: Some(record(flag, false, 43)),
                theirs: None,
            })
            .into(),
    };
    Intent {
        format: PLAYBACK_FORMAT,
        change: Change {
            id: id(digits),
            kind: ChangeKind::Update,
            motive: Motive {
                actor: Actor { user: "anna".to_owned(), host: "bastion".to_owned() },
                at: now(),
                reason: Some("double charges".to_owned()),
                incident: Some("INC-4821".to_owned()),
                expires: None,
            },
            edits: flags.iter().map(edit).collect(),
        },
        tool_version: "0.1.0".to_owned(),
        outage: vec![OutageNote { relay: "eu-1".to_owned(), told: "INTERRUPTED since 01:51Z".to_owned() }],
        edits: flags.iter().map(told).collect(),
    }
}

/// The writes that an intent tells of.
pub(super) fn writes(intent: &Intent) -> Vec<Write> {
    let mut writes = Vec::new();
    for (edit, told) in intent.change.edits.iter().zip(&intent.edits) {
        for target in &told.targets {
            writes.push(Write {
                target: target.target.clone(),
                flag: edit.flag.clone(),
                before: target.before.clone(),
                after: target.after.clone(),
                override_before: None,
                override_after: OverrideWrite::Keep,
                change: intent.change.id,
            });
        }
    }
    writes
}

/// The same flag's write after LaunchDarkly changed its record in between.
pub(super) fn later_write(intent: &Intent) -> Write {
    let first = writes(intent).remove(0);
    let flag = first.flag.as_str().to_owned();
    Write { before: Some(record(&flag, true, 50)), after: Some(record(&flag, false, 51)), ..first }
}

pub(super) fn event(what: Happened) -> Event {
    Event { at: now(), edit: 0, what }
}

pub(super) fn written(store: &str) -> Event {
    event(Happened::Written { target: target(store), version: Some(43), colleagues_see: true })
}

pub(super) fn attempted() -> Event {
    event(Happened::Attempted { revision: 1, request: "PATCH /api/v2/flags/shop/checkout".to_owned() })
}

pub(super) fn replayed() -> Event {
    event(Happened::Replayed { revision: 1, version: 44 })
}

/// One event of each kind.
pub(super) fn one_of_each() -> Vec<Event> {
    let why = "it said \"no\"\n".to_owned();
    let (before, after) = (Some(record("checkout", true, 50)), None);
    [
        Happened::ReRead { target: target("eu-1"), before: before.clone(), after: after.clone() },
        Happened::Writing { target: target("eu-1"), before, after },
        Happened::Written { target: target("eu-1"), version: None, colleagues_see: false },
        Happened::Refused { target: target("eu-1"), why: why.clone() },
        Happened::Unknown { target: target("eu-1"), why: why.clone() },
        Happened::SeenLive { relay: "eu-1".to_owned(), after_ms: 11 },
        Happened::Attempted { revision: u64::MAX, request: why.clone() },
        Happened::Replayed { revision: 1, version: 44 },
        Happened::AwaitingApproval { request: "6712".to_owned(), link: None },
        Happened::Conflict { told: why.clone(), decision: Some("skip".to_owned()) },
        Happened::Abandoned { why: why.clone() },
        Happened::Undone { by: id("beef") },
        Happened::Settled { target: None, version: Some(44) },
        Happened::NotLive { relay: "eu-1".to_owned(), told: why.clone() },
        Happened::Restarted { relay: "eu-1".to_owned() },
        Happened::Asking { revision: 1 },
        Happened::NotAsked { why },
    ]
    .map(event)
    .into()
}
