//! What is said of relays: only what came through our own connection to them.

use std::fs;
use std::time::Duration;

use relay_commander::relay::client::Deadlines;
use relay_commander::relay::client::RelayClient;
use relay_commander::relay::judgement::cut_off;
use serde_json::Value;

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::Stage;
use super::stage::record;
use crate::relay::real;
use crate::relay::simulated::Answer;
use crate::relay::simulated::SimulatedRelay;
use crate::relay::simulated::StreamEnd;
use crate::relay::simulated::put;
use crate::support::rc::Ran;
use crate::support::rc::Rc;

pub const SDK_KEY: &str = "sdk-12345678-90ab-cdef-1234-567890abcdef";

fn status(state: &str) -> Answer {
    Answer::ok(format!(
        r#"{{"environments":{{"Prod EU":{{"sdkKey":"sdk-********-****-****-****-*******bcdef","status":"{}",
        "connectionStatus":{{"state":"{state}","stateSince":1790000000000}},
        "dataStoreStatus":{{"state":"VALID","stateSince":1790000000000,"database":"redis","dbPrefix":"ld:shop:production"}}}}}},
        "status":"healthy","version":"8.10.1","clientVersion":"7.10.0"}}"#,
        if state == "VALID" { "connected" } else { "disconnected" }
    ))
}

/// A stage whose store has a relay before it; its SDK key is known if `with_key`.
async fn with_relay(with_key: bool) -> (Stage, SimulatedRelay) {
    let stage = tokio::task::spawn_blocking(|| Stage::with_stores(1)).await.unwrap();
    let relay = SimulatedRelay::start().await;
    let dot_env = stage.home.path().join(".env");
    let text = fs::read_to_string(&dot_env).unwrap();
    fs::write(&dot_env, format!("{text}RELAY_URLS=eu-1={}\n", relay.address)).unwrap();
    if with_key {
        fs::write(stage.home.path().join("sdk-key"), SDK_KEY).unwrap();
        let section = "[environment.\"shop/production\"]\nsdk_key_file = \"sdk-key\"\n";
        fs::write(stage.home.path().join("relaycommander.toml"), section).unwrap();
    }
    relay.on_status(status("INTERRUPTED"));
    relay.on_flag(42, &record("checkout", 42, true));
    (stage, relay)
}

fn connected(relay: &SimulatedRelay) -> StreamEnd {
    let stream = relay.expect_stream();
    stream.send(put(&format!("{{\"checkout\":{}}}", record("checkout", 42, true))));
    stream
}

pub async fn run(stage: &Stage, line: &str) -> Ran {
    let rc = stage.rc(line);
    tokio::task::spawn_blocking(move || rc.run()).await.unwrap()
}

/// As a guard has it done: the relay broadcasts what now stands in its store.
#[tokio::test]
async fn a_broadcast_that_our_connection_saw() {
    let (stage, relay) = with_relay(true).await;
    let stream = connected(&relay);
    let socket = stage.servers[0].socket();
    let broadcast = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        loop {
            let output = std::process::Command::new("redis-cli")
                .arg("-s")
                .arg(&socket)
                .args(["HGET", FEATURES, "checkout"])
                .output()
                .unwrap();
            let stands = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
            if stands.contains("\"version\":43") {
                stream.send(format!("event: patch\ndata: {{\"path\":\"/flags/checkout\",\"data\":{stands}}}\n\n"));
                return stream;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it is never written");
        }
    });
    let ran = run(&stage, OFF).await.code(0).out("our connected SDK saw it after");
    let _stream = broadcast.await.unwrap();
    let ran = ran.out("DONE: checkout is off in 1 of 1 store, seen live through 1 of 1 relay.").nowhere("STILL");
    ran.out("LOST").nowhere("90ab");
    let file = stage.only_file();
    assert!(file.contains("seen-live") && file.contains("cut off from LaunchDarkly"), "{file}");
}

/// A relay that does not look at its store: connected SDKs keep what they have.
#[tokio::test]
async fn a_relay_that_says_nothing() {
    let (stage, relay) = with_relay(true).await;
    let _streams: Vec<StreamEnd> = (0..3).map(|_| connected(&relay)).collect();
    let ran = run(&stage, OFF).await.code(8).out("STILL ON for connected SDKs").nowhere("saw it");
    let ran = ran.out("WRITTEN, NOT LIVE EVERYWHERE: checkout is off in 1 of 1 store, seen live through 0 of 1 relay.");
    drop(ran);
    stage.has(0, "checkout", 43, false);
    assert!(!stage.only_file().contains("seen-live"));
}

#[tokio::test]
async fn a_relay_whose_key_is_not_known() {
    let (stage, relay) = with_relay(false).await;
    let ran = run(&stage, OFF).await.code(8).out("not known").out("sdk_key_file").nowhere("STILL");
    drop(ran);
    assert!(relay.requests().iter().all(|request| request.path == "/status"));
}

#[tokio::test]
async fn a_relay_that_does_not_answer() {
    let (stage, relay) = with_relay(true).await;
    relay.on_status(Answer::Never);
    let ran = run(&stage, &format!("{OFF} --timeout 500ms")).await.code(8).out("did not answer within");
    assert!(ran.took < Duration::from_secs(4), "{:?}", ran.took);
    stage.has(0, "checkout", 43, false);
}

/// The stream hangs: the write waits a second for it and no longer.
#[tokio::test]
async fn a_stream_that_hangs_does_not_hold_the_write_back() {
    let (stage, relay) = with_relay(true).await;
    relay.on_all(Answer::Never);
    let ran = run(&stage, &format!("{OFF} --timeout 1s")).await.code(8);
    assert!(ran.took < Duration::from_secs(6), "{:?} {ran}", ran.took);
    stage.has(0, "checkout", 43, false);
}

/// LaunchDarkly's stream is there for this relay: a warning, no refusal.
#[tokio::test]
async fn a_relay_that_is_connected() {
    let (stage, relay) = with_relay(true).await;
    relay.on_status(status("VALID"));
    let _streams: Vec<StreamEnd> = (0..3).map(|_| connected(&relay)).collect();
    let ran = run(&stage, OFF).await.code(8).err("eu-1 is connected to LaunchDarkly").out("LOST");
    drop(ran);
    let ran = run(&stage, &format!("{OFF} --json")).await.code(0);
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["edits"][0]["targets"][0]["outcome"], "already-so");
}

/// The relay names the prefix: also one that nothing else would lead to.
#[tokio::test]
async fn a_prefix_that_only_the_relay_tells() {
    let (stage, relay) = with_relay(false).await;
    stage.servers[0].line("RENAME ld:shop:production:features odd:features");
    stage.servers[0].line("RENAME ld:shop:production:$inited odd:$inited");
    relay.on_status(Answer::ok(
        r#"{"environments":{"env":{"envKey":"production","projKey":"shop","status":"disconnected",
        "connectionStatus":{"state":"INTERRUPTED"},
        "dataStoreStatus":{"state":"VALID","database":"redis","dbPrefix":"odd"}}},"status":"degraded","version":"8.10.1"}"#,
    ));
    run(&stage, OFF).await.code(8);
    assert!(stage.servers[0].line("HGET odd:features checkout").contains("\"version\":43"));
}

/// The real relay in an outage: it does not watch its store, and that is what is said.
#[tokio::test]
async fn a_real_relay() {
    let Some(program) = real::program() else {
        println!("NOT RUN: a_real_relay (update) needs LD_RELAY to name the relay's program");
        return;
    };
    let scene = real::Stage::set(&program).await;
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = RelayClient::new(Deadlines::default()).unwrap();
    real::status_when(&client, &scene.relay, "healthy", |status| status.healthy).await;
    let configuration = scene.folder.path().join("ld-relay.conf");
    let text = format!(
        "REDIS_HOSTS=eu-1=127.0.0.1:{}\nRELAY_URLS=eu-1={}\nRC_RELAY_CONFIG={}\n",
        scene.redis_port,
        scene.relay,
        configuration.display()
    );
    let folder = super::stage::home(&text);
    let run = |line: &str| {
        let rc = Rc::new().home(folder.path()).line(line);
        tokio::task::spawn_blocking(move || rc.run())
    };
    // While LaunchDarkly is there: a warning.
    let ran = run(&format!("{OFF} --dry-run")).await.unwrap().code(0);
    drop(ran.err("eu-1 is connected to LaunchDarkly"));
    scene.launchdarkly.go_away().await;
    real::status_when(&client, &scene.relay, "cut off", |status| cut_off(&status.environments[0]).is_some()).await;
    let ran = run(OFF).await.unwrap().code(8).out("v42 -> v43").out("STILL ON for connected SDKs");
    let ran = ran.out("WRITTEN, NOT LIVE EVERYWHERE").out("LOST").nowhere("90ab");
    println!("{ran}");
}
