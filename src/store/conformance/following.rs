//! What every store does for a guard: one moment, everything, the log as it is written, announcements.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::store::following::Announcement;
use crate::store::following::Following;
use crate::store::following::News;

/// A segment.
const SEGMENT: &str = r#"{"key":"testers","included":["a"],"version":12,"deleted":false}"#;

pub(super) async fn conform(fixture: &dyn Fixture) {
    reads_everything(fixture).await;
    reads_a_moment(fixture).await;
    if fixture.own_keys() {
        tells_a_moment_from_the_next(fixture).await;
        follows_what_is_written(fixture).await;
        says_what_is_only_upstream(fixture).await;
        keeps_announcements(fixture).await;
    } else {
        assert!(fixture.store().announced(fixture.prefixes().0).await.unwrap().is_empty());
    }
}

async fn reads_everything(fixture: &dyn Fixture) {
    let (store, (prefix, _)) = (fixture.store(), fixture.prefixes());
    fixture.put_record(prefix, "whole", record(true, 42).text());
    fixture.put_record(prefix, "whole-gone", TOMBSTONE);
    fixture.put_segment(prefix, "testers", SEGMENT);
    let whole = match store.whole(prefix).await {
        Ok(whole) => whole,
        // Rights to less than the relay's keys are rights to nothing whole.
        Err(StoreError::Forbidden { what, .. }) if !fixture.own_keys() => {
            assert!(what.contains(":segments"), "{what}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(whole.initialised);
    let text = |bytes: Option<&Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(text(whole.flags.get("whole")).as_deref(), Some(record(true, 42).text()));
    assert_eq!(text(whole.flags.get("whole-gone")).as_deref(), Some(TOMBSTONE));
    assert_eq!(text(whole.segments.get("testers")).as_deref(), Some(SEGMENT));
    assert!(!whole.flags.contains_key("absent") && whole.strange.is_empty());
    assert_eq!(whole.overrides.len(), store.overrides(prefix).await.unwrap().len());
}

async fn reads_a_moment(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "moment", record(true, 42).text());
    let (of_it, other) = (ChangeId::new(), ChangeId::new());
    let nothing = store.moment(prefix, &[], &[]).await.unwrap();
    assert!(nothing.reading.initialised && nothing.reading.flags.is_empty());
    assert_eq!(nothing.reading.own_keys, fixture.own_keys());
    let begun = turn_off(&target, "moment", of_it, &read_one(store, prefix, "moment").await);
    assert_written(&replace(store, &target, std::slice::from_ref(&begun)).await, fixture.own_keys());
    let wanted = [flag("moment"), flag("absent")];
    let asked = [(of_it, flag("moment")), (other, flag("moment")), (of_it, flag("absent")), (of_it, flag("not-read"))];
    let moment = store.moment(prefix, &wanted, &asked).await.unwrap();
    let found = &moment.reading.flags[&flag("moment")];
    assert_eq!(found.record.as_deref(), Some(record(false, 43).text().as_bytes()));
    assert_eq!(found.marks.as_ref().unwrap(), &[]);
    assert!(moment.reading.flags[&flag("absent")].record.is_none());
    assert_eq!(moment.reading.flags.len(), 2);
    if !fixture.own_keys() {
        assert!(found.override_.is_none() && moment.override_count == 0);
        return;
    }
    let text = found.override_.as_ref().unwrap().text.clone();
    assert_eq!(moment.override_count, store.overrides(prefix).await.unwrap().len() as u64);
    let end = Write {
        before: Some(record(false, 43)),
        after: Some(record(true, 42)),
        override_before: Some(text),
        override_after: OverrideWrite::End(vec![(of_it, mark("moment", Ending::Undone, "2026-11-23T03:00:00Z"))]),
        ..begun
    };
    assert_written(&replace(store, &target, &[end]).await, true);
    let moment = store.moment(prefix, &wanted, &asked).await.unwrap();
    let found = &moment.reading.flags[&flag("moment")];
    assert!(found.override_.is_none());
    let expected = (of_it, mark("moment", Ending::Undone, "2026-11-23T03:00:00Z"));
    assert_eq!(found.marks.as_ref().unwrap(), &[expected]);
    assert_eq!(moment.reading.flags[&flag("absent")].marks.as_ref().unwrap(), &[]);
}

/// A record of ours together with an override from before it would be taken for LaunchDarkly's own.
async fn tells_a_moment_from_the_next(fixture: &dyn Fixture) {
    const EDITS: u64 = 60;
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "moving", record(true, 42).text());
    let over = AtomicBool::new(false);
    let edit = async {
        let change = ChangeId::new();
        for revision in 1..=EDITS {
            let reading = read_one(store, prefix, "moving").await;
            let write = Write {
                after: Some(record(revision % 2 == 0, 42 + revision)),
                override_after: OverrideWrite::Put(Arc::new(override_of("moving", revision, change, "anna"))),
                ..turn_off(&target, "moving", change, &reading)
            };
            assert_written(&replace(store, &target, &[write]).await, true);
        }
        over.store(true, Ordering::SeqCst);
    };
    let look = async {
        let mut looks = 0;
        while !over.load(Ordering::SeqCst) {
            let moment = store.moment(prefix, &[flag("moving")], &[]).await.unwrap();
            let found = &moment.reading.flags[&flag("moving")];
            let version = Record::parse(found.record.as_ref().unwrap()).unwrap().version();
            let revision = found.override_.as_ref().map_or(0, |own| own.parsed.as_ref().unwrap().revision);
            assert_eq!(version, 42 + revision);
            looks += 1;
        }
        assert!(looks > 1, "nobody looked while it was written");
    };
    futures_util::join!(edit, look);
}

/// Waits for something to be told.
pub(in crate::store) async fn news(following: &mut dyn Following) -> News {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let news = following.next().await.unwrap();
        if news != News::default() {
            return news;
        }
    }
    panic!("nothing was told");
}

async fn follows_what_is_written(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    for key in ["followed-1", "followed-2", "followed-3"] {
        fixture.put_record(prefix, key, record(true, 42).text());
    }
    let write = async |key: &str, change: ChangeId| {
        let write = turn_off(&target, key, change, &read_one(store, prefix, key).await);
        assert_written(&replace(store, &target, &[write]).await, true);
    };
    let mut following = store.follow(prefix, None).await.unwrap();
    let changes = [ChangeId::new(), ChangeId::new(), ChangeId::new()];
    let (first, ()) = futures_util::join!(news(following.as_mut()), write("followed-1", changes[0]));
    let said =
        |news: &News, name: &str| news.entries.iter().map(|entry| entry.fields[name].clone()).collect::<Vec<_>>();
    assert_eq!(
        (said(&first, "flag"), said(&first, "change")),
        (vec!["followed-1".into()], vec![changes[0].to_string()])
    );
    assert_eq!(said(&first, "revision"), ["1"]);
    let place = following.place();
    drop(following);
    // What is written while nobody follows is told from the place that was reached.
    write("followed-2", changes[1]).await;
    write("followed-3", changes[2]).await;
    let mut following = store.follow(prefix, Some(&place)).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(said(&news(following.as_mut()).await, "flag"));
    }
    assert_eq!(told, ["followed-2", "followed-3"]);
    let begun = Instant::now();
    assert!(following.next().await.unwrap().entries.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(10), "waits for ever");
}

async fn says_what_is_only_upstream(fixture: &dyn Fixture) {
    let (store, (prefix, _), target) = (fixture.store(), fixture.prefixes(), target(fixture));
    fixture.put_record(prefix, "noted", record(true, 42).text());
    let change = ChangeId::new();
    let begun = turn_off(&target, "noted", change, &read_one(store, prefix, "noted").await);
    assert_written(&replace(store, &target, std::slice::from_ref(&begun)).await, true);
    let newer = Override { upstream: record(true, 50), ..override_of("noted", 1, change, "anna") };
    let note = Write {
        before: Some(record(false, 43)),
        after: None,
        override_before: read_one(store, prefix, "noted").await.override_.map(|stored| stored.text),
        override_after: OverrideWrite::Put(Arc::new(newer)),
        ..begun
    };
    assert_written(&replace(store, &target, &[note]).await, true);
    let log = store.log(prefix, 2).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.fields["what"].as_str()).collect::<Vec<_>>(), ["override", "upstream"]);
    assert!(!log[1].fields.contains_key("user"), "nobody did it");
}

async fn keeps_announcements(fixture: &dyn Fixture) {
    let (store, (prefix, other)) = (fixture.store(), fixture.prefixes());
    assert!(store.announced(prefix).await.unwrap().is_empty());
    let guard = |name: &str, text: &str| Announcement { name: name.to_owned(), text: text.to_owned() };
    for announced in [guard("eu-1", "{\"a\":1}"), guard("eu-2", "{}"), guard("eu-1", "{\"a\":2}")] {
        store.announce(prefix, &announced).await.unwrap();
    }
    let mut found = store.announced(prefix).await.unwrap();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(found, [guard("eu-1", "{\"a\":2}"), guard("eu-2", "{}")]);
    if let Some(other) = other {
        assert!(store.announced(other).await.unwrap().is_empty());
    }
    for name in ["eu-1", "eu-2", "nobody"] {
        store.withdraw(prefix, name).await.unwrap();
    }
    assert!(store.announced(prefix).await.unwrap().is_empty());
}
