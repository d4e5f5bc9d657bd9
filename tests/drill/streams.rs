//! The stream of flags and segments: what comes first, what comes of each kind of change, and that nothing is lost.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use relay_commander::drill::launchdarkly::PayloadFilter;
use relay_commander::drill::launchdarkly::SdkFlag;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::Wanted;
use serde_json::Value;
use serde_json::json;

use super::listening::LONG;
use super::listening::Stream;
use super::listening::ask;
use super::listening::streams_open;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::seed;
use super::support::turn;

const KEY: &str = "sdk-production-0001";
const STAGING: &str = "sdk-staging-0002";
const CHECKOUT: &str = "/api/v2/flags/shop/checkout";

fn streaming() -> Seed {
    seed()
        .environment("staging")
        .sdk_key(STAGING)
        .environment("production")
        .sdk_key(KEY)
        .records(json!({ "segments": { "testers": { "included": ["anna"], "version": 3 } } }))
        .payload_filter("web", PayloadFilter { flags: vec!["check*".to_owned()], tags: vec!["web".to_owned()] })
}

async fn open() -> Shop {
    Shop::with(streaming()).await
}

fn record(shop: &Shop, flag: &str) -> Value {
    match shop.control().sdk_flag(&environment("production"), &flag_key(flag)).unwrap() {
        SdkFlag::Record(record) => record,
        gone => panic!("{gone:?}"),
    }
}

#[tokio::test]
async fn everything_comes_first() {
    let shop = open().await;
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    let put = stream.event().await;
    assert_eq!(put.name, "put");
    let data = put.data();
    assert_eq!(data["path"], "/");
    let flags = shop.control().sdk_flags(&environment("production")).unwrap();
    assert_eq!(data["data"]["flags"], json!(flags));
    assert_eq!(flags["checkout"]["version"], 42);
    let testers = &data["data"]["segments"]["testers"];
    assert_eq!((&testers["key"], &testers["version"]), (&json!("testers"), &json!(3)));
    assert_eq!(testers["included"], json!(["anna"]));
}

#[tokio::test]
async fn a_change_through_the_api_is_a_patch_one_version_up() {
    let shop = open().await;
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    let mut elsewhere = Stream::open(&shop, "/all", STAGING).await;
    stream.event().await;
    elsewhere.event().await;
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    let patch = stream.event().await;
    assert_eq!((patch.name.as_str(), &patch.data()["path"]), ("patch", &json!("/flags/checkout")));
    assert_eq!((&patch.data()["data"]["on"], &patch.data()["data"]["version"]), (&json!(false), &json!(43)));
    assert_eq!(patch.data()["data"], record(&shop, "checkout"));
    // Nothing changes: nothing comes. What comes next is what is done next.
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    shop.patch(CHECKOUT, &turn("staging", true)).await.expect(200);
    shop.patch(CHECKOUT, &turn("production", true)).await.expect(200);
    assert_eq!(stream.event().await.data()["data"]["version"], 44);
    let other = elsewhere.event().await.data();
    assert_eq!((&other["data"]["on"], &other["data"]["version"]), (&json!(true), &json!(2)));
}

#[tokio::test]
async fn rules_targets_and_the_flag_itself() {
    let shop = open().await;
    let control = shop.control();
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    stream.event().await;
    let (place, flag) = (environment("production"), flag_key("checkout"));
    let variation = control.variation_id(&place, &flag, 1).unwrap();
    let clauses = json!([{ "attribute": "country", "op": "in", "values": ["USA"] }]);
    let rule = |disabled: bool| json!({ "kind": "addRule", "variationId": variation, "clauses": clauses, "disabled": disabled });
    let target = |kind: &str| json!({ "kind": kind, "variationId": variation, "values": ["anna"] });
    let instructions = [rule(false), rule(true), target("addTargets")];
    control.colleague_patches(&place, &flag, &instructions, "carol", "").unwrap();
    let data = stream.event().await.data()["data"].clone();
    assert_eq!(data["version"], 43, "one patch, one version");
    assert_eq!(data["rules"].as_array().unwrap().len(), 1, "a disabled rule does not reach SDKs");
    assert_eq!(data["targets"][0]["values"], json!(["anna"]));
    control.colleague_patches(&place, &flag, &[target("removeTargets")], "carol", "").unwrap();
    let data = stream.event().await.data()["data"].clone();
    assert!(!data["targets"].to_string().contains("anna"), "{data}");
    let tag = json!({ "kind": "addTags", "values": ["eu"] });
    control.colleague_patches(&place, &flag, &[tag], "carol", "").unwrap();
    assert_eq!(stream.event().await.data()["data"]["version"], 45, "a change of the flag itself counts too");
}

#[tokio::test]
async fn archived_restored_and_deleted() {
    let shop = open().await;
    let control = shop.control();
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    stream.event().await;
    let (place, flag) = (environment("production"), flag_key("checkout"));
    control.archive_flag(&place, &flag, "carol").unwrap();
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), event.data()), ("delete", json!({ "path": "/flags/checkout", "version": 43 })));
    control.colleague_patches(&place, &flag, &[json!({ "kind": "restoreFlag" })], "carol", "").unwrap();
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), event.data()["data"].clone()), ("patch", record(&shop, "checkout")));
    control.delete_flag(&place, &flag, "carol").unwrap();
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), event.data()), ("delete", json!({ "path": "/flags/checkout", "version": 45 })));
    let mut later = Stream::open(&shop, "/all", KEY).await;
    assert_eq!(later.event().await.data()["data"]["flags"].get("checkout"), None);
}

#[tokio::test]
async fn segments_change_too() {
    let shop = open().await;
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    stream.event().await;
    let (place, testers) = (environment("production"), flag_key("testers"));
    let changed = json!({ "included": ["anna", "bob"] });
    assert_eq!(shop.control().put_segment(&place, &testers, &changed).unwrap(), 4);
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), &event.data()["path"]), ("patch", &json!("/segments/testers")));
    let data = &event.data()["data"];
    assert_eq!((&data["included"], &data["version"]), (&json!(["anna", "bob"]), &json!(4)));
    shop.control().delete_segment(&place, &testers).unwrap();
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), event.data()), ("delete", json!({ "path": "/segments/testers", "version": 5 })));
    assert_eq!(shop.control().put_segment(&place, &testers, &changed).unwrap(), 6, "versions never go back");
}

#[tokio::test]
async fn a_part_of_the_environment() {
    let shop = open().await;
    let control = shop.control();
    let mut stream = Stream::open(&shop, "/all?filter=web", KEY).await;
    let data = stream.event().await.data();
    let keys: Vec<&String> = data["data"]["flags"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["checkout"]);
    assert!(data["data"]["segments"].get("testers").is_some(), "segments are in every part");
    let place = environment("production");
    let tag = |kind: &str| [json!({ "kind": kind, "values": ["web"] })];
    control.colleague_patches(&place, &flag_key("refunds"), &tag("addTags"), "carol", "").unwrap();
    let event = stream.event().await;
    assert_eq!((event.name.as_str(), &event.data()["path"]), ("patch", &json!("/flags/refunds")));
    // What is not in the part is not heard of.
    let off = [json!({ "kind": "turnFlagOff" })];
    control.colleague_patches(&place, &flag_key("pricing-tier"), &off, "carol", "").unwrap();
    control.colleague_patches(&place, &flag_key("refunds"), &tag("removeTags"), "carol", "").unwrap();
    let event = stream.event().await;
    let version = control.configuration(&place, &flag_key("refunds")).unwrap()["version"].clone();
    assert_eq!(
        (event.name.as_str(), event.data()),
        ("delete", json!({ "path": "/flags/refunds", "version": version }))
    );
    assert_eq!(ask(&shop, "/all?filter=till", KEY).await.status().as_u16(), 404);
    control.set_payload_filter("shop", "web", None).unwrap();
    assert_eq!(stream.next().await, None, "the part is not there any more");
}

#[tokio::test]
async fn keys_that_are_not_taken() {
    let shop = open().await;
    for key in ["sdk-wrong", "", super::support::WRITER] {
        for path in ["/all", "/sdk/latest-all", "/big-segments"] {
            assert_eq!(ask(&shop, path, key).await.status().as_u16(), 401, "{path} with {key:?}");
        }
    }
    assert_eq!(shop.control().stream_count(None), 0);
}

#[tokio::test]
async fn a_key_that_was_replaced_is_taken_until_it_expires() {
    let shop = open().await;
    let place = environment("production");
    let mut old = Stream::open(&shop, "/all", KEY).await;
    old.event().await;
    let in_a_minute = jiff::Timestamp::now().as_millisecond() + 60_000;
    shop.control().reset_sdk_key(&place, "sdk-new", Some(in_a_minute)).unwrap();
    Stream::open(&shop, "/all", "sdk-new").await.event().await;
    Stream::open(&shop, "/all", KEY).await.event().await;
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    assert_eq!(old.event().await.data()["data"]["version"], 43);
    let soon = jiff::Timestamp::now().as_millisecond() + 300;
    shop.control().reset_sdk_key(&place, "sdk-newer", Some(soon)).unwrap();
    assert_eq!(old.next().await, None, "its key was the one before the last");
    let mut newer = Stream::open(&shop, "/all", "sdk-new").await;
    newer.event().await;
    assert_eq!(newer.next().await, None, "its key expired");
    assert_eq!(ask(&shop, "/all", "sdk-new").await.status().as_u16(), 401);
}

#[tokio::test]
async fn comments_keep_it_alive() {
    let shop = open().await;
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    stream.event().await;
    shop.control().set_heartbeat(Duration::from_millis(20));
    stream.comment().await;
    stream.comment().await;
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    assert_eq!(stream.event().await.name, "patch");
}

/// Readers come while a flag changes: whatever a reader's `put` says, the patches that follow go on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_put_and_patches() {
    const ROUNDS: u64 = 50;
    const CHANGES: u64 = 8;
    const LAST: u64 = 42 + ROUNDS * CHANGES;
    let shop = Arc::new(open().await);
    let mut readers = tokio::task::JoinSet::new();
    for round in 0..ROUNDS {
        let control = shop.control().clone();
        let changes = tokio::task::spawn_blocking(move || {
            for version in (43..).skip((round * CHANGES) as usize).take(CHANGES as usize) {
                let kind = if version % 2 == 0 { "turnFlagOn" } else { "turnFlagOff" };
                let instructions = [json!({ "kind": kind })];
                let (place, flag) = (environment("production"), flag_key("checkout"));
                assert_eq!(control.colleague_patches(&place, &flag, &instructions, "carol", "").unwrap(), version);
            }
        });
        let shop = Arc::clone(&shop);
        readers.spawn(async move {
            let mut stream = Stream::open(&shop, "/all", KEY).await;
            let begun = stream.event().await.data()["data"]["flags"]["checkout"]["version"].as_u64().unwrap();
            for version in begun + 1..=LAST {
                let patch = stream.event().await.data();
                assert_eq!(patch["data"]["version"], version, "in order, and none left out");
            }
            begun
        });
        changes.await.unwrap();
    }
    let begun: HashSet<u64> = readers.join_all().await.into_iter().collect();
    assert!(begun.len() > 5, "they came at different times: {begun:?}");
}

#[tokio::test]
async fn who_reads_too_slowly_is_dropped() {
    let shop = open().await;
    // Asks, and never reads: the sockets' buffers fill, then the queue before them.
    let address = shop.running.stream_url.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /all HTTP/1.1\r\nHost: {address}\r\nAuthorization: {KEY}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    let mut quick = Stream::open(&shop, "/all", KEY).await;
    streams_open(&shop, "/all", 2).await;
    quick.event().await;
    let (place, big) = (environment("production"), flag_key("big"));
    let value = "x".repeat(300_000);
    let mut sent = 0;
    while shop.control().dropped_streams() == 0 {
        assert!(sent < 2_000, "nobody was dropped");
        shop.control().put_segment(&place, &big, &json!({ "included": [value] })).unwrap();
        sent += 1;
        quick.event().await;
    }
    assert_eq!(shop.control().dropped_streams(), 1);
    assert_eq!(shop.control().stream_count(Some("/all")), 1);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(LONG, tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest)).await;
    assert!(ended.is_ok(), "its connection is closed");
}

#[tokio::test]
async fn streams_are_counted() {
    let shop = open().await;
    let first = Stream::open(&shop, "/all", KEY).await;
    let _second = Stream::open(&shop, "/all?filter=web", KEY).await;
    let _third = Stream::open(&shop, "/big-segments", KEY).await;
    let shown: Vec<(String, Option<String>, usize)> = (shop.control().streams().into_iter())
        .map(|one| (format!("{} {}", one.path, one.environment), one.filter, one.streams))
        .collect();
    let expected = [
        ("/all shop/production".to_owned(), None, 1),
        ("/all shop/production".to_owned(), Some("web".to_owned()), 1),
        ("/big-segments shop/production".to_owned(), None, 1),
    ];
    assert_eq!(shown, expected);
    drop(first);
    streams_open(&shop, "/all", 1).await;
    let late = shop.control().wait_for_streams(None, Wanted::at_least(3), Duration::from_millis(20)).await;
    assert_eq!(late.unwrap_err().to_string(), "after 0 s there are 2 streams, which is not what was waited for");
}
