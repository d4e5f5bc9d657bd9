//! The suite that every store passes, with a seam that sneaks in a write between read and write (of the record, and of
//! the override), as LaunchDarkly's `storetest` does for its own stores. It is compiled for tests only; it lies here,
//! and not under `tests/`, because the proof that a write is on disk ([`Recorded`]) can only be made inside the crate.

#[cfg(test)]
pub(super) mod following;
#[cfg(test)]
mod lease;

use std::convert::Infallible;
use std::sync::Arc;

use jiff::Timestamp;

use crate::change::edit::Motive;
use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::flag::instruction::Instruction;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::store::FlagReading;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::WriteOutcome;

/// A tombstone, as LaunchDarkly's Rust SDK writes it.
pub(super) const TOMBSTONE: &str = r#"{"version":7,"key":"$deleted","deleted":true}"#;

/// A store under test, and the ways to reach what it holds that do not go through it.
pub(super) trait Fixture: Send + Sync {
    /// The store.
    fn store(&self) -> &dyn Store;

    /// A prefix that it has, and another, where it has several.
    fn prefixes(&self) -> (&str, Option<&str>);

    /// Puts a record (any bytes) there, as a relay would.
    fn put_record(&self, prefix: &str, flag: &str, record: &str);

    /// Puts an override there, as a colleague would.
    fn put_override(&self, prefix: &str, flag: &str, text: &str);

    /// The record that is there.
    fn record(&self, prefix: &str, flag: &str) -> Option<String>;

    /// Whether our own keys may be used.
    fn own_keys(&self) -> bool {
        true
    }

    /// Puts a segment there, as a relay would.
    fn put_segment(&self, prefix: &str, segment: &str, record: &str);
}

/// A record with this version.
pub(super) fn record(on: bool, version: u64) -> Record {
    let text = format!(
        r#"{{"key":"checkout", "on":{on},"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{{"variation":0}},"offVariation":1,"variations":[true, 1.10],"salt":"s","big":12345678901234567890123,"version":{version},"deleted":false}}"#
    );
    Record::parse(text.as_bytes()).unwrap()
}

/// A flag key.
pub(super) fn flag(key: &str) -> FlagKey {
    key.parse().unwrap()
}

/// Somebody, at some time.
pub(super) fn motive(user: &str) -> Motive {
    Motive {
        actor: Actor { user: user.to_owned(), host: "bastion".to_owned() },
        at: "2026-11-23T02:14:07Z".parse().unwrap(),
        reason: Some("double charges".to_owned()),
        incident: Some("INC-4821".to_owned()),
        expires: None,
    }
}

/// An override of `revision` edits that turns the flag off.
pub(super) fn override_of(key: &str, revision: u64, change: ChangeId, user: &str) -> Override {
    Override {
        format: OVERRIDE_FORMAT,
        revision,
        environment: "shop/production".parse().unwrap(),
        flag: flag(key),
        instructions: vec![Instruction::TurnFlagOff],
        state: OverrideState::InForce,
        changes: vec![change],
        motive: motive(user),
        base: record(true, 42),
        signature: None,
        insisted: std::collections::BTreeSet::default(),
        upstream: record(true, 42),
    }
}

/// An ended mark.
pub(super) fn mark(key: &str, ending: Ending, at: &str) -> EndedMark {
    EndedMark {
        format: OVERRIDE_FORMAT,
        flag: flag(key),
        ending,
        version: Some(43),
        actor: Actor { user: "anna".to_owned(), host: "bastion".to_owned() },
        at: at.parse::<Timestamp>().unwrap(),
        revision: 1,
    }
}

/// A write that turns a flag off and puts an override, on what `reading` said.
pub(super) fn turn_off(target: &Target, key: &str, change: ChangeId, reading: &FlagReading) -> Write {
    let before = Record::parse(reading.record.as_ref().unwrap()).unwrap();
    Write {
        target: target.clone(),
        flag: flag(key),
        after: Some(record(false, 43)),
        before: Some(before),
        override_before: reading.override_.as_ref().map(|override_| override_.text.clone()),
        override_after: OverrideWrite::Put(Arc::new(override_of(key, 1, change, "anna"))),
        change,
    }
}

/// What came of these writes.
pub(super) async fn replace(store: &dyn Store, target: &Target, writes: &[Write]) -> Vec<WriteOutcome> {
    let recorded = Recorded::once(writes, |_| Ok::<(), Infallible>(())).unwrap();
    store.replace(target, &recorded).await
}

/// One flag, read.
pub(super) async fn read_one(store: &dyn Store, prefix: &str, key: &str) -> FlagReading {
    let mut reading = store.read(prefix, &[flag(key)]).await.unwrap();
    reading.flags.remove(&flag(key)).unwrap()
}

#[track_caller]
fn assert_written(outcomes: &[WriteOutcome], own_keys: bool) {
    for outcome in outcomes {
        let WriteOutcome::Written { colleagues_see } = outcome else { panic!("{outcomes:?}") };
        assert_eq!(*colleagues_see, own_keys);
    }
}

/// Everything that every store does.
pub(super) async fn conform(fixture: &dyn Fixture) {
    reads_what_is_there(fixture).await;
    replaces_record_and_override(fixture).await;
    refuses_a_record_that_is_another(fixture).await;
    writes_only_where_nothing_is_if_nothing_was_read(fixture).await;
    does_each_write_of_a_batch_for_itself(fixture).await;
    keeps_prefixes_apart(fixture).await;
    following::conform(fixture).await;
    lease::conform(fixture).await;
    if fixture.own_keys() {
        refuses_an_override_that_is_another(fixture).await;
        ends_with_marks(fixture).await;
        logs_in_order(fixture).await;
    }
}

fn target(fixture: &dyn Fixture) -> Target {
    Target { store: fixture.store().label().to_owned(), prefix: fixture.prefixes().0.to_owned() }
}

async fn reads_what_is_there(fixture: &dyn Fixture) {
    let (store, (prefix, _)) = (fixture.store(), fixture.prefixes());
    fixture.put_record(prefix, "read", record(true, 42).text());
    fixture.put_record(prefix, "gone", TOMBSTONE);
    // Valid JSON, so that a flag file can hold it, and nothing that a reader of flags would take.
    fixture.put_record(prefix, "strange", "[ 1.10,\"\u{e9}\" ]");
    let keys = [flag("read"), flag("gone"), flag("strange"), flag("absent")];
    let reading = store.read(prefix, &keys).await.unwrap();
    assert!(reading.initialised);
    assert_eq!(reading.own_keys, fixture.own_keys());
    assert!(reading.flag_count >= 3);
    let text =
        |key: &str| reading.flags[&flag(key)].record.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(text("read").as_deref(), Some(record(true, 42).text()));
    assert_eq!(text("gone").as_deref(), Some(TOMBSTONE));
    assert_eq!(text("strange").as_deref(), Some("[ 1.10,\"\u{e9}\" ]"));
    assert_eq!(text("absent"), None);
    assert!(reading.flags.values().all(|found| found.override_.is_none()));
    let all = store.read_all(prefix).await.unwrap();
    assert_eq!(all.flag_count, reading.flag_count);
    for key in ["read", "gone", "strange"] {
        assert_eq!(all.flags[&flag(key)].record, reading.flags[&flag(key)].record);
    }
    assert!(!all.flags.contains_key(&flag("absent")));
    let found = store.prefixes(&[]).await.unwrap();
    assert!(
        found.iter().any(|found| found.prefix == prefix && found.initialised && found.flag_count >= 3),
        "{found:?}"
    );
}

async fn replaces_record_and_override(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "replace", record(true, 42).text());
    let change = ChangeId::new();
    let write = turn_off(&target, "replace", change, &read_one(store, prefix, "replace").await);
    assert_written(&replace(store, &target, &[write]).await, fixture.own_keys());
    assert_eq!(fixture.record(prefix, "replace").as_deref(), Some(record(false, 43).text()));
    let found = read_one(store, prefix, "replace").await;
    let overrides = store.overrides(prefix).await.unwrap();
    if !fixture.own_keys() {
        assert!(found.override_.is_none() && overrides.is_empty());
        return;
    }
    let found = found.override_.unwrap();
    assert_eq!(found.parsed.unwrap(), override_of("replace", 1, change, "anna"));
    assert_eq!(overrides[&flag("replace")].text, found.text);
    let all = store.read_all(prefix).await.unwrap();
    assert_eq!(all.flags[&flag("replace")].override_.as_ref().unwrap().text, found.text);

    // The same again, on what is there now: the second edit of an override.
    let again = Write {
        before: Some(record(false, 43)),
        after: Some(record(true, 44)),
        override_before: Some(found.text),
        override_after: OverrideWrite::Put(Arc::new(override_of("replace", 2, change, "anna"))),
        ..turn_off(&target, "replace", change, &read_one(store, prefix, "replace").await)
    };
    assert_written(&replace(store, &target, &[again]).await, true);
    assert_eq!(fixture.record(prefix, "replace").as_deref(), Some(record(true, 44).text()));
}

async fn refuses_a_record_that_is_another(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "stale", record(true, 42).text());
    let write = turn_off(&target, "stale", ChangeId::new(), &read_one(store, prefix, "stale").await);
    let entries = store.log(prefix, 1_000).await.unwrap().len();
    // One space more: the same value, other bytes.
    let sneaked = record(true, 42).text().replace("\"on\":true", "\"on\": true");
    fixture.put_record(prefix, "stale", &sneaked);
    for write in [write.clone(), Write { after: None, ..write }] {
        let outcomes = replace(store, &target, &[write]).await;
        assert!(matches!(outcomes[..], [WriteOutcome::RecordChanged]), "{outcomes:?}");
    }
    assert_eq!(fixture.record(prefix, "stale"), Some(sneaked));
    assert!(read_one(store, prefix, "stale").await.override_.is_none());
    assert_eq!(store.log(prefix, 1_000).await.unwrap().len(), entries, "a refused write was logged");
}

async fn refuses_an_override_that_is_another(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "met", record(true, 42).text());
    let write = turn_off(&target, "met", ChangeId::new(), &read_one(store, prefix, "met").await);
    let colleague = serde_json::to_string(&override_of("met", 1, ChangeId::new(), "bob")).unwrap();
    fixture.put_override(prefix, "met", &colleague);
    let entries = store.log(prefix, 1_000).await.unwrap().len();
    let outcomes = replace(store, &target, std::slice::from_ref(&write)).await;
    assert!(matches!(outcomes[..], [WriteOutcome::OverrideChanged]), "{outcomes:?}");
    assert_eq!(fixture.record(prefix, "met").as_deref(), Some(record(true, 42).text()));
    let found = read_one(store, prefix, "met").await.override_.unwrap();
    assert_eq!(found.text, colleague);
    assert_eq!(found.parsed.unwrap().motive.actor.user, "bob");
    assert_eq!(store.log(prefix, 1_000).await.unwrap().len(), entries, "a refused write was logged");
    // An override that was read and is gone is another, too.
    let write = Write { flag: flag("met-gone"), override_before: Some(colleague), ..write };
    fixture.put_record(prefix, "met-gone", record(true, 42).text());
    let outcomes = replace(store, &target, &[write]).await;
    assert!(matches!(outcomes[..], [WriteOutcome::OverrideChanged]), "{outcomes:?}");
}

async fn writes_only_where_nothing_is_if_nothing_was_read(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    let write = Write {
        target: target.clone(),
        flag: flag("fresh"),
        before: None,
        after: Some(record(true, 1)),
        override_before: None,
        override_after: OverrideWrite::Keep,
        change: ChangeId::new(),
    };
    assert_written(&replace(store, &target, std::slice::from_ref(&write)).await, fixture.own_keys());
    assert_eq!(fixture.record(prefix, "fresh").as_deref(), Some(record(true, 1).text()));
    let outcomes = replace(store, &target, &[Write { after: Some(record(false, 2)), ..write }]).await;
    assert!(matches!(outcomes[..], [WriteOutcome::RecordChanged]), "{outcomes:?}");
    assert_eq!(fixture.record(prefix, "fresh").as_deref(), Some(record(true, 1).text()));
}

async fn does_each_write_of_a_batch_for_itself(fixture: &dyn Fixture) {
    const COUNT: usize = 300;
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    let change = ChangeId::new();
    let key = |number: usize| format!("batch-{number}");
    let new = |number: usize| Write {
        target: target.clone(),
        flag: flag(&key(number)),
        before: None,
        after: Some(record(true, 42)),
        override_before: None,
        override_after: OverrideWrite::Keep,
        change,
    };
    let made: Vec<Write> = (0..COUNT).map(new).collect();
    assert_written(&replace(store, &target, &made).await, fixture.own_keys());
    let mut writes: Vec<Write> = (0..COUNT)
        .map(|number| Write { before: Some(record(true, 42)), after: Some(record(false, 43)), ..new(number) })
        .collect();
    fixture.put_record(prefix, &key(7), record(true, 50).text());
    // The same flag twice: the second write must meet what the first left.
    writes.push(Write { before: Some(record(false, 43)), after: Some(record(true, 44)), ..new(9) });
    let outcomes = replace(store, &target, &writes).await;
    assert_eq!(outcomes.len(), COUNT + 1);
    for (number, outcome) in outcomes.iter().enumerate() {
        match number {
            7 => assert!(matches!(outcome, WriteOutcome::RecordChanged), "{outcome:?}"),
            _ => assert!(matches!(outcome, WriteOutcome::Written { .. }), "{number}: {outcome:?}"),
        }
    }
    assert_eq!(fixture.record(prefix, &key(7)).as_deref(), Some(record(true, 50).text()));
    assert_eq!(fixture.record(prefix, &key(8)).as_deref(), Some(record(false, 43).text()));
    assert_eq!(fixture.record(prefix, &key(9)).as_deref(), Some(record(true, 44).text()));
    assert_eq!(fixture.record(prefix, &key(COUNT - 1)).as_deref(), Some(record(false, 43).text()));
}

async fn keeps_prefixes_apart(fixture: &dyn Fixture) {
    let (store, (prefix, Some(other)), target) = (fixture.store(), fixture.prefixes(), target(fixture)) else { return };
    for prefix in [prefix, other] {
        fixture.put_record(prefix, "apart", record(true, 42).text());
    }
    let write = turn_off(&target, "apart", ChangeId::new(), &read_one(store, prefix, "apart").await);
    // A write for another target is none for this one.
    let elsewhere = Write { target: Target { prefix: other.to_owned(), ..target.clone() }, ..write.clone() };
    assert_written(&replace(store, &target, &[elsewhere, write]).await, fixture.own_keys());
    assert_eq!(fixture.record(other, "apart").as_deref(), Some(record(true, 42).text()));
    assert!(read_one(store, other, "apart").await.override_.is_none());
    assert!(store.overrides(other).await.unwrap().is_empty());
}

async fn ends_with_marks(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    let changes = [ChangeId::new(), ChangeId::new()];
    fixture.put_record(prefix, "end", record(true, 42).text());
    let begun = turn_off(&target, "end", changes[0], &read_one(store, prefix, "end").await);
    assert_written(&replace(store, &target, std::slice::from_ref(&begun)).await, true);
    let end = |at: &str| {
        OverrideWrite::End(changes.iter().map(|change| (*change, mark("end", Ending::Undone, at))).collect())
    };
    let text = read_one(store, prefix, "end").await.override_.unwrap().text;
    let write = Write {
        before: Some(record(false, 43)),
        after: Some(record(true, 42)),
        override_before: Some(text),
        override_after: end("2026-11-23T03:00:00Z"),
        ..begun.clone()
    };
    assert_written(&replace(store, &target, &[write]).await, true);
    assert_eq!(fixture.record(prefix, "end").as_deref(), Some(record(true, 42).text()));
    assert!(read_one(store, prefix, "end").await.override_.is_none());
    let nobodys = ChangeId::new();
    let ended = store.ended(prefix, &[changes[0], changes[1], nobodys]).await.unwrap();
    let expected = vec![mark("end", Ending::Undone, "2026-11-23T03:00:00Z")];
    assert_eq!(ended.get(&changes[0]), Some(&expected));
    assert_eq!(ended.get(&changes[1]), Some(&expected));
    assert_eq!(ended.get(&nobodys), None);
    assert_eq!(store.ended(prefix, &changes[..1]).await.unwrap().get(&changes[0]), Some(&expected));

    // 91 days later another override ends: the marks are swept.
    let late = ChangeId::new();
    let later = vec![(late, mark("end", Ending::Settled, "2027-02-22T03:00:00Z"))];
    let nothing_to_end = Write {
        before: Some(record(true, 42)),
        after: None,
        override_before: None,
        override_after: OverrideWrite::End(later),
        change: late,
        ..begun
    };
    assert_written(&replace(store, &target, &[nothing_to_end]).await, true);
    let ended = store.ended(prefix, &[changes[0], changes[1], late]).await.unwrap();
    assert_eq!(ended.into_keys().collect::<Vec<_>>(), [late]);
}

async fn logs_in_order(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    let changes = [ChangeId::new(), ChangeId::new(), ChangeId::new()];
    for (number, change) in changes.iter().enumerate() {
        let key = format!("logged-{number}");
        fixture.put_record(prefix, &key, record(true, 42).text());
        let write = turn_off(&target, &key, *change, &read_one(store, prefix, &key).await);
        assert_written(&replace(store, &target, &[write]).await, true);
    }
    let log = store.log(prefix, 2).await.unwrap();
    let said = |name: &str| log.iter().map(|entry| entry.fields[name].clone()).collect::<Vec<_>>();
    assert_eq!(said("change"), changes[1..].iter().map(ChangeId::to_string).collect::<Vec<_>>());
    assert_eq!(said("flag"), ["logged-1", "logged-2"]);
    assert_eq!(said("what"), ["override", "override"]);
    assert_eq!(said("user"), ["anna", "anna"]);
    assert_eq!(said("reason"), ["double charges", "double charges"]);
    assert_eq!(said("incident"), ["INC-4821", "INC-4821"]);
    assert_eq!(said("at"), ["2026-11-23T02:14:07Z", "2026-11-23T02:14:07Z"]);
}

/// The error of the only write.
#[track_caller]
pub(super) fn failed(outcomes: &[WriteOutcome]) -> &StoreError {
    let [WriteOutcome::Failed(error)] = outcomes else { panic!("{outcomes:?}") };
    error
}
