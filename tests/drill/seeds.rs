//! What the simulated LaunchDarkly can begin with: a flag file, and a store that a relay has filled.

use std::time::Duration;

use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::SdkFlag;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::store::Deadlines;
use relay_commander::store::file::FileStore;
use relay_commander::store::redis::RedisAddress;
use relay_commander::store::redis::RedisOptions;
use relay_commander::store::redis::RedisStore;
use serde_json::Value;
use serde_json::json;

use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::TOMBSTONE;
use crate::support::shop::flag;

const PATIENT: Deadlines = Deadlines { connect: Duration::from_secs(20), answer: Duration::from_secs(20) };

fn empty() -> Seed {
    Seed::new().project("shop").environment("production").sdk_key("sdk-1")
}

fn record(shop: &Shop, key: &str) -> SdkFlag {
    shop.control().sdk_flag(&environment("production"), &flag_key(key)).unwrap()
}

fn redis(server: &RedisServer) -> RedisStore {
    let address = RedisAddress::parse(&format!("r={}", server.url())).unwrap();
    RedisStore::new(address, RedisOptions::new(PATIENT))
}

#[tokio::test]
async fn a_store_that_a_relay_has_filled() {
    let server = RedisServer::start();
    let checkout = flag("checkout", 42).requires("refunds").rule("USA").text();
    let refunds = flag("refunds", 7).off().text();
    server.fill(PREFIX, &[("checkout", &checkout), ("refunds", &refunds), ("old", TOMBSTONE)]);
    let segment = r#"{"key":"testers","included":["anna"],"version":9,"deleted":false}"#;
    let gone = r#"{"key":"$deleted","version":4,"deleted":true}"#;
    server.run(&["HSET", &format!("{PREFIX}:segments"), "testers", segment, "nobody", gone]);

    let shop = Shop::with(empty().store(&redis(&server), PREFIX).await.unwrap()).await;
    let stored: Value = serde_json::from_str(&checkout).unwrap();
    assert_eq!(record(&shop, "checkout"), SdkFlag::Record(stored), "it comes back as it was taken");
    assert_eq!(record(&shop, "old"), SdkFlag::Gone { version: 3 }, "of a tombstone the version is remembered");
    let place = environment("production");
    let control = shop.control();
    let poll = super::listening::ask(&shop, "/sdk/latest-all", "sdk-1").await.text().await.unwrap();
    let all: Value = serde_json::from_str(&poll).unwrap();
    assert_eq!(all["flags"].as_object().unwrap().keys().collect::<Vec<_>>(), ["checkout", "refunds"]);
    assert_eq!(all["segments"]["testers"]["version"], 9);
    assert_eq!(all["segments"].get("nobody"), None);
    assert_eq!(control.put_segment(&place, &flag_key("nobody"), &json!({})).unwrap(), 5, "after the tombstone's");
}

#[tokio::test]
async fn a_store_that_is_no_relays() {
    let server = RedisServer::start();
    let told =
        |refused: Result<Seed, relay_commander::drill::launchdarkly::SeedError>| refused.unwrap_err().to_string();
    let problem = told(empty().store(&redis(&server), PREFIX).await);
    assert!(problem.contains("no relay has filled it"), "{problem}");
    server.fill(PREFIX, &[("checkout", "not JSON")]);
    let problem = told(empty().store(&redis(&server), PREFIX).await);
    assert!(problem.contains("flag checkout of") && problem.contains(PREFIX), "{problem}");
    server.run(&["DEL", &format!("{PREFIX}:features")]);
    server.run(&["SET", &format!("{PREFIX}:features"), "a text"]);
    told(empty().store(&redis(&server), PREFIX).await);
}

const FILE: &str = r#"{
    "flags": { "checkout": { "key": "checkout", "version": 3, "on": true, "variations": ["a", "b", "c"],
                             "fallthrough": { "variation": 2 }, "offVariation": 1 } },
    "flagValues": { "banner": "blue", "dark": false },
    "segments": { "testers": { "key": "testers", "included": ["anna"], "version": 2 } }
}"#;

#[tokio::test]
async fn a_flag_file_by_itself_and_by_its_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    std::fs::write(&path, FILE).unwrap();
    let by_itself = empty().flag_file(FILE).unwrap();
    let by_store = empty().store(&FileStore::new("f", &path), "").await.unwrap();
    for (seed, values) in [(by_itself, true), (by_store, false)] {
        let shop = Shop::with(seed).await;
        let SdkFlag::Record(checkout) = record(&shop, "checkout") else { panic!() };
        assert_eq!((&checkout["version"], &checkout["fallthrough"]), (&json!(3), &json!({ "variation": 2 })));
        let poll = super::listening::ask(&shop, "/sdk/segments/testers", "sdk-1").await.text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&poll).unwrap()["included"], json!(["anna"]));
        if values {
            let SdkFlag::Record(banner) = record(&shop, "banner") else { panic!() };
            let served = banner["fallthrough"]["variation"].as_u64().unwrap() as usize;
            assert_eq!((&banner["on"], &banner["variations"][served]), (&json!(true), &json!("blue")));
            let SdkFlag::Record(dark) = record(&shop, "dark") else { panic!() };
            assert_eq!(dark["variations"], json!([false, true]));
        }
    }
}

#[tokio::test]
async fn what_is_no_flag_file() {
    assert!(empty().flag_file("flags: {}").is_err());
    for wrong in [
        json!({ "flags": { "a": { "version": 1, "on": true, "variations": [1] } } }),
        json!({ "flags": { "not a key": { "version": 1, "on": true, "variations": [1, 2] } } }),
        json!({ "flags": [] }),
        json!({ "segments": { "s": { "included": "anna" } } }),
        json!({ "segments": { "s": 7 } }),
        json!({ "things": {} }),
    ] {
        let options = Options { seed: empty().records(wrong.clone()), listener: None };
        assert!(SimulatedLaunchDarkly::start(options).await.is_err(), "{wrong}");
    }
}
