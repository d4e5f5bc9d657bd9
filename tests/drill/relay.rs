//! A real relay on the simulated LaunchDarkly and a real Redis. Runs where `LD_RELAY` names the relay's program; otherwise
//! it says that it did not.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::PayloadFilter;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::Wanted;
use serde_json::Value;
use serde_json::json;

use super::listening::Stream;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::seed;
use super::support::turn;
use crate::support::redis::RedisServer;

const LONG: Duration = Duration::from_secs(60);
const KEY: &str = "sdk-11111111-1111-4111-8111-111111111111";
const RELAY_KEY: &str = "rel-22222222-2222-4222-8222-222222222222";
const ID: &str = "0123456789abcdef01234567";
const PREFIX: &str = "ld:shop:production";
const CHECKOUT: &str = "/api/v2/flags/shop/checkout";

/// The relay's program, if there is one.
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn program(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("LD_RELAY").map(|name| Path::new(&name).canonicalize().unwrap());
    if named.is_none() {
        eprintln!("NOT RUN: {test} needs LD_RELAY to name the relay's program");
    }
    named
}

fn shop() -> Seed {
    let segments = json!({ "segments": { "testers": { "included": ["anna"], "version": 3 } } });
    seed()
        .environment("production")
        .sdk_key(KEY)
        .client_side_id(ID)
        .records(segments)
        .payload_filter("web", PayloadFilter { flags: vec!["checkout".to_owned()], tags: Vec::new() })
        .relay_key(RELAY_KEY, &["proj/shop:env/production", "proj/shop:env/canary"])
}

/// A relay that runs, with the Redis that it fills.
struct Relay {
    child: Child,
    url: String,
    redis: RedisServer,
    folder: tempfile::TempDir,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn start(program: &Path, shop: &Shop, sections: &str) -> Self {
        let redis = RedisServer::with().tcp().start();
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = &shop.running.stream_url;
        let text = format!(
            "[Main]\nport = {port}\nstreamUri = {url}\nbaseUri = {url}\nclientSideBaseUri = {url}\ninitTimeout = 5s\n\
             [Events]\nsendEvents = true\neventsUri = {url}\n[Redis]\nurl = {}\nlocalTtl = 100ms\n{sections}\n",
            redis.url()
        );
        fs::write(folder.path().join("ld-relay.conf"), text).unwrap();
        let output = fs::File::create(folder.path().join("output")).unwrap();
        let child = Command::new(program)
            .args(["--config", "ld-relay.conf"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, url: format!("http://127.0.0.1:{port}"), redis, folder }
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    /// The flag's record in Redis, once it is as wanted.
    async fn stored(&self, prefix: &str, flag: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let features = format!("{prefix}:features");
        let started = Instant::now();
        loop {
            let text = self.redis.run(&["HGET", &features, flag]);
            let record = serde_json::from_str(&text).unwrap_or_default();
            if wanted(&record) {
                return record;
            }
            assert!(started.elapsed() < LONG, "{flag} is {record}\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let mut keys: Vec<String> =
            self.redis.run(&["HKEYS", &format!("{prefix}:features")]).lines().map(str::to_owned).collect();
        keys.sort();
        keys
    }

    /// What the relay says of itself, once it is as wanted.
    async fn status(&self, shop: &Shop, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = shop.client.get(format!("{}/status", self.url)).send().await;
            let status: Value = match answer {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if wanted(&status) {
                return status;
            }
            assert!(started.elapsed() < LONG, "{status:#}\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn is_version(version: u64) -> impl Fn(&Value) -> bool {
    move |record| record["version"] == version
}

fn complaints(output: &str) -> Vec<&str> {
    output.lines().filter(|line| line.contains("ERROR:") || line.contains("WARN:")).collect()
}

#[tokio::test]
async fn a_relay_fills_its_store_and_passes_changes_on() {
    let Some(program) = program("a_relay_fills_its_store_and_passes_changes_on") else { return };
    let shop = Shop::with(shop()).await;
    let sections = format!(
        "[Environment \"Shop Production\"]\nsdkKey = {KEY}\nprefix = {PREFIX}\nprojKey = shop\n\
         [Filters \"shop\"]\nkeys = web"
    );
    let relay = Relay::start(&program, &shop, &sections);
    relay.status(&shop, |status| status["status"] == "healthy").await;
    relay.stored(PREFIX, "checkout", is_version(42)).await;
    assert_eq!(relay.keys(PREFIX), ["checkout", "pricing-tier", "refunds"]);
    // The part that the payload filter names has its own copy.
    let part = format!("{PREFIX}/web");
    relay.stored(&part, "checkout", is_version(42)).await;
    assert_eq!(relay.keys(&part), ["checkout"]);
    let segment: Value =
        serde_json::from_str(&relay.redis.run(&["HGET", &format!("{PREFIX}:segments"), "testers"])).unwrap();
    assert_eq!(segment["version"], 3);

    // Through the API to an SDK that is connected to the relay.
    let mut sdk = Stream::at(&shop, &format!("{}/all", relay.url), KEY).await;
    assert_eq!(sdk.event().await.data()["data"]["flags"]["checkout"]["version"], 42);
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    let patch = sdk.event().await;
    assert_eq!((patch.name.as_str(), &patch.data()["data"]["version"]), ("patch", &json!(43)));
    let stored = relay.stored(PREFIX, "checkout", is_version(43)).await;
    assert_eq!(stored["on"], false);
    relay.stored(&part, "checkout", is_version(43)).await;
    shop.control().delete_flag(&environment("production"), &flag_key("refunds"), "carol").unwrap();
    let delete = sdk.event().await;
    assert_eq!((delete.name.as_str(), &delete.data()["path"]), ("delete", &json!("/flags/refunds")));
    assert_eq!(relay.stored(PREFIX, "refunds", |record| record["deleted"] == true).await["version"], 2);
    assert!(complaints(&relay.output()).is_empty(), "{:#?}", complaints(&relay.output()));

    // A big segment has it open another stream, for each copy.
    let big = json!({ "unbounded": true, "generation": 1 });
    shop.control().put_segment(&environment("production"), &flag_key("everybody"), &big).unwrap();
    shop.control().wait_for_streams(Some("/big-segments"), Wanted::at_least(1), LONG).await.unwrap();
    relay
        .status(&shop, |status| status["environments"]["Shop Production"]["bigSegmentStatus"]["available"] == true)
        .await;

    // The stream breaks off and comes back with an old state: the store follows, back to the state of three changes ago.
    let old = FaultKind::OldPut { changes_ago: Some(3), moment: None };
    shop.control().stream().fault(Fault::new(old).on("GET", "/all").times(2)).await.unwrap();
    shop.control().stream().fault(Fault::new(FaultKind::Close).on("GET", "/all").times(2)).await.unwrap();
    relay.stored(PREFIX, "checkout", is_version(42)).await;
    relay.stored(&part, "checkout", is_version(42)).await;
    assert_eq!(relay.keys(PREFIX), ["checkout", "pricing-tier", "refunds"]);
    assert!(shop.control().stream().faults().is_empty());
    shop.patch(CHECKOUT, &turn("production", true)).await.expect(200);
    relay.stored(PREFIX, "checkout", is_version(44)).await;
}

#[tokio::test]
async fn a_relay_with_automatic_configuration() {
    let Some(program) = program("a_relay_with_automatic_configuration") else { return };
    let shop = Shop::with(shop()).await;
    let relay =
        Relay::start(&program, &shop, &format!("[AutoConfig]\nkey = {RELAY_KEY}\nenvDatastorePrefix = \"ld-$CID\""));
    let status = relay.status(&shop, |status| status["status"] == "healthy").await;
    let shown = &status["environments"][ID];
    assert_eq!((&shown["projKey"], &shown["envKey"]), (&json!("shop"), &json!("production")), "{status:#}");
    assert_eq!(shown["dataStoreStatus"]["dbPrefix"].as_str().map(|prefix| prefix.starts_with("ld-")), Some(true));
    let (whole, part) = (format!("ld-{ID}"), format!("ld-{ID}.web"));
    relay.stored(&whole, "checkout", is_version(42)).await;
    relay.stored(&part, "checkout", is_version(42)).await;
    assert_eq!(relay.keys(&whole), ["checkout", "pricing-tier", "refunds"]);
    assert_eq!(relay.keys(&part), ["checkout"]);
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    relay.stored(&whole, "checkout", is_version(43)).await;

    // Another SDK key: the relay goes on with it, and still takes the old one from SDKs.
    let expires = jiff::Timestamp::now().as_millisecond() + 600_000;
    shop.control().reset_sdk_key(&environment("production"), "sdk-new-0001", Some(expires)).unwrap();
    for key in ["sdk-new-0001", KEY] {
        let started = Instant::now();
        while shop
            .client
            .get(format!("{}/sdk/flags", relay.url))
            .header("Authorization", key)
            .send()
            .await
            .unwrap()
            .status()
            != 200
        {
            assert!(started.elapsed() < LONG, "{key} is not taken\n{}", relay.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Another environment comes and goes.
    shop.control().add_environment(&environment("canary"), Some("sdk-canary-0001")).unwrap();
    let status =
        relay.status(&shop, |status| status["environments"].as_object().is_some_and(|all| all.len() == 2)).await;
    let canary = status["environments"].as_object().unwrap().keys().find(|id| *id != ID).unwrap().clone();
    relay.stored(&format!("ld-{canary}"), "checkout", is_version(1)).await;
    shop.control().remove_environment(&environment("canary")).unwrap();
    relay.status(&shop, |status| status["environments"].as_object().is_some_and(|all| all.len() == 1)).await;
    let before = asked_for_configuration(&shop);
    shop.control().reconnect_relays();
    let again = Wanted::at_least(before + 1);
    shop.control().stream().wait_for_requests("/relay_auto_config", again, LONG).await.unwrap();
}

fn asked_for_configuration(shop: &Shop) -> usize {
    shop.control().stream().received().iter().filter(|one| one.path.starts_with("/relay_auto_config")).count()
}

#[tokio::test]
async fn a_relay_that_is_refused() {
    let Some(program) = program("a_relay_that_is_refused") else { return };
    let shop = Shop::with(shop()).await;
    shop.control().stream().fault(Fault::status(401).on("GET", "/all")).await.unwrap();
    let relay = Relay::start(&program, &shop, &format!("[Environment \"E\"]\nsdkKey = {KEY}\nprefix = {PREFIX}"));
    let off = |status: &Value| status["environments"]["E"]["connectionStatus"]["state"] == "OFF";
    relay.status(&shop, off).await;
    shop.control().stream().clear_faults().await.unwrap();
    let request = shop.client.get(format!("{}/sdk/flags", relay.url)).header("Authorization", KEY);
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401, "a 401 is final for it");

    let mut relay = Relay::start(&program, &shop, "[AutoConfig]\nkey = rel-wrong\nenvDatastorePrefix = \"ld-$CID\"");
    let started = Instant::now();
    while relay.child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < LONG, "{}", relay.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(relay.output().contains("Invalid auto-configuration key"), "{}", relay.output());
}
