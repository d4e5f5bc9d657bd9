//! Samples for the tests of this folder: records, overrides and instructions, small enough to collide often.

use proptest::prelude::*;

use crate::change::edit::Motive;
use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::target::Target;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;

/// How many variations every sample record has.
pub(crate) const VARIATIONS: usize = 3;

/// Change number `number`; higher numbers are later ids.
pub(crate) fn change(number: u8) -> ChangeId {
    one_of_many(u32::from(number))
}

/// The same, for long histories.
pub(crate) fn one_of_many(number: u32) -> ChangeId {
    format!("01900000-0000-7000-8000-0000{number:08x}").parse().unwrap()
}

/// A target in the store `store`.
pub(crate) fn target(store: &str) -> Target {
    Target { store: store.to_owned(), prefix: "ld:shop:production".to_owned() }
}

/// Somebody.
pub(crate) fn actor(user: &str) -> Actor {
    Actor { user: user.to_owned(), host: "bastion".to_owned() }
}

/// Somebody's reason.
pub(crate) fn motive(user: &str) -> Motive {
    Motive {
        actor: actor(user),
        at: "2026-10-20T02:14:07Z".parse().unwrap(),
        reason: None,
        incident: None,
        expires: None,
    }
}

/// A flag with the variations `"a"`, `"b"`, `"c"`.
pub(crate) fn flag(version: u64, on: bool, off_variation: usize, fallthrough: usize) -> Record {
    let text = format!(
        r#"{{"key":"checkout","on":{on},"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{{"variation":{fallthrough}}},"offVariation":{off_variation},"variations":["a","b","c"],"clientSide":false,"salt":"s","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":{version},"deleted":false}}"#
    );
    Record::parse(text.as_bytes()).unwrap()
}

/// An override of `base` in its first revision.
pub(crate) fn override_of(base: &Record, instructions: &[Instruction], change: ChangeId) -> Override {
    Override {
        format: OVERRIDE_FORMAT,
        revision: 1,
        environment: "shop/production".parse().unwrap(),
        flag: "checkout".parse().unwrap(),
        instructions: instructions.to_vec(),
        state: OverrideState::InForce,
        changes: vec![change],
        motive: motive("anna"),
        base: base.clone(),
        upstream: base.clone(),
        insisted: Default::default(),
        signature: None,
    }
}

/// A mark of `revision`.
pub(crate) fn mark(ending: Ending, revision: u64) -> EndedMark {
    EndedMark {
        format: OVERRIDE_FORMAT,
        flag: "checkout".parse().unwrap(),
        ending,
        version: None,
        actor: actor("anna"),
        at: "2026-10-20T02:20:00Z".parse().unwrap(),
        revision,
    }
}

/// What a store holds that has this record and this override.
pub(crate) fn seen(record: Option<&Record>, override_: Option<&Override>) -> Seen {
    Seen {
        copy: Copy::of(record.map(|record| record.text().as_bytes())),
        own_keys: true,
        override_text: override_.map(|override_| serde_json::to_string(override_).unwrap()),
        override_: override_.cloned().map(Ok),
    }
}

/// Any instruction on a sample record.
pub(crate) fn instruction() -> impl Strategy<Value = Instruction> {
    prop_oneof![
        Just(Instruction::TurnFlagOn),
        Just(Instruction::TurnFlagOff),
        (0..VARIATIONS).prop_map(|variation| Instruction::UpdateOffVariation { variation }),
        (0..VARIATIONS).prop_map(|variation| Instruction::UpdateFallthroughVariationOrRollout { variation }),
    ]
}

/// Any sample record.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    (1..6_u64, any::<bool>(), 0..VARIATIONS, 0..VARIATIONS)
        .prop_map(|(version, on, off_variation, fallthrough)| flag(version, on, off_variation, fallthrough))
}
