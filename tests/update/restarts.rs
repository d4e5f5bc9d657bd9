//! `rc relay restart` and `rc update --restart` with relays that say what a test wants: each refusal, with its reason and
//! without a command having run, and what the playback tells of a restart that was none. Three of LaunchDarkly's own relays
//! are restarted in `tests/sdk/relay_restart.rs`.

use std::fs;

use super::relays::SDK_KEY;
use super::relays::run;
use super::stage::FEATURES;
use super::stage::LABELS;
use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::record;
use crate::relay::simulated::Answer;
use crate::relay::simulated::SimulatedRelay;
use crate::relay::simulated::StreamEnd;
use crate::relay::simulated::put;
use crate::support::redis::RedisServer;

/// What a relay says of itself: the state of its stream, the one of its store.
fn status(stream: &str, store: &str, more: &str) -> Answer {
    Answer::ok(format!(
        r#"{{"environments":{{"Prod":{{{more}"sdkKey":"sdk-********-****-****-****-*******bcdef","status":"{}",
        "connectionStatus":{{"state":"{stream}","stateSince":1790000000000,
        "lastError":{{"kind":"NETWORK_ERROR","time":1790000000000}}}},
        "dataStoreStatus":{{"state":"{store}","stateSince":1790000000000,"database":"redis","dbPrefix":"{PREFIX}"}}}}}},
        "status":"degraded","version":"8.10.1"}}"#,
        if stream == "VALID" { "connected" } else { "disconnected" }
    ))
}

/// Stores, each with a relay before it that is cut off from LaunchDarkly. What restarts one leaves a mark in the home.
struct Scene {
    stage: Stage,
    relays: Vec<SimulatedRelay>,
}

impl Scene {
    async fn set(count: usize) -> Self {
        let stage = tokio::task::spawn_blocking(move || Stage::with_stores(count)).await.unwrap();
        let mut relays = Vec::new();
        for _ in 0..count {
            let relay = SimulatedRelay::start().await;
            relay.on_status(status("INTERRUPTED", "VALID", ""));
            relay.on_flag(42, &record("checkout", 42, true));
            relays.push(relay);
        }
        let urls: Vec<String> =
            LABELS.iter().zip(&relays).map(|(label, relay)| format!("{label}={}", relay.address)).collect();
        let scene = Self { stage, relays };
        scene.adds(".env", &format!("RELAY_URLS={}\n", urls.join(",")));
        for label in &LABELS[..count] {
            let mark = scene.stage.home.path().join(format!("restarted-{label}"));
            scene.adds("relaycommander.toml", &format!("[relay.\"{label}\"]\nrestart = [\"touch\", {mark:?}]\n"));
        }
        scene
    }

    /// Adds to a file of the home.
    fn adds(&self, file: &str, text: &str) {
        let path = self.stage.home.path().join(file);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + text).unwrap();
    }

    fn with_key(&self) {
        self.adds("sdk-key", SDK_KEY);
        self.adds("relaycommander.toml", "[environment.\"shop/production\"]\nsdk_key_file = \"sdk-key\"\n");
    }

    fn was_run(&self, label: &str) -> bool {
        self.stage.home.path().join(format!("restarted-{label}")).exists()
    }

    /// Both commands refuse it for this reason, and run nothing. The edit is written all the same, and said to be not live.
    async fn refuse(&self, label: &str, why: &str) {
        self.refuses(label, why).await;
        let edited = run(&self.stage, &format!("{OFF} --restart --yes")).await.code(8);
        edited.out(&format!("NOT RESTARTED: {why}"));
        self.stage.has(0, "checkout", 43, false);
        assert!(!self.was_run(label));
    }

    async fn refuses(&self, label: &str, why: &str) {
        let ran = run(&self.stage, &format!("relay restart {label} --yes")).await.code(3);
        ran.out(&format!("NOT RESTARTED: {why}")).out("RESTARTED 0 of 1 relay.");
        assert!(!self.was_run(label));
    }
}

#[tokio::test]
async fn launchdarklys_stream_is_up_and_no_guard_is_in_front() {
    let scene = Scene::set(1).await;
    scene.relays[0].on_status(status("VALID", "VALID", ""));
    scene.refuse("eu-1", "it is connected to LaunchDarkly, which fills its store anew: overrides would be lost").await;
}

#[tokio::test]
async fn automatic_configuration_without_guard_or_cache() {
    let scene = Scene::set(1).await;
    let named = r#""envKey":"production","projKey":"shop","#;
    scene.relays[0].on_status(status("INTERRUPTED", "VALID", named));
    let why = "its environments come from LaunchDarkly: started now it answers 503 to everybody";
    scene.refuses("eu-1", why).await;
    scene.adds("ld-relay.conf", "[AutoConfig]\nkey = rel-1\nenvDatastorePrefix = x-$CID\n");
    scene.adds(".env", "RC_RELAY_CONFIG=ld-relay.conf\n");
    scene.refuse("eu-1", why).await;
    // With a cache it knows its environments by itself, and is restarted.
    scene.adds("ld-relay.conf", "cacheKey = mine\n");
    run(&scene.stage, "relay restart eu-1 --yes --within 1s").await;
    assert!(scene.was_run("eu-1"));
}

#[tokio::test]
async fn a_store_that_is_not_complete() {
    let scene = Scene::set(1).await;
    let server = &scene.stage.servers[0];
    let why = "the store of Prod is not complete: started now it serves nothing there";
    server.run(&["DEL", &format!("{PREFIX}:$inited")]);
    scene.refuses("eu-1", why).await;
    run(&scene.stage, &format!("{OFF} --restart --yes")).await.code(3).out("no $inited there").nowhere("RESTARTED");
    server.run(&["SET", &format!("{PREFIX}:$inited"), ""]);
    server.run(&["DEL", FEATURES]);
    scene.refuses("eu-1", why).await;
}

#[tokio::test]
async fn a_store_that_is_smaller_than_another_of_the_same_environment() {
    let scene = Scene::set(2).await;
    scene.stage.servers[1].run(&["HDEL", FEATURES, "refunds"]);
    let why = "the store of Prod has 2 flags, and another one of the same environment has 3: started now it serves what is left";
    scene.refuses("us-1", why).await;
    // The one that has everything is restarted by the same update; the simulated one stays as it is, and that is said.
    let edited = run(&scene.stage, &format!("{OFF} --restart --yes")).await.code(8);
    edited.out(&format!("us-1  NOT RESTARTED: {why}"));
    assert!(scene.was_run("eu-1") && !scene.was_run("us-1"));
}

#[tokio::test]
async fn a_store_that_lost_flags_since_the_first_relay_was_restarted() {
    let scene = Scene::set(2).await;
    let loses = |server: &RedisServer| format!("redis-cli -s {:?} HDEL {FEATURES} refunds\n", server.socket());
    let lost = scene.stage.servers.iter().map(loses);
    scene.adds("loses", &lost.collect::<String>());
    // While the first relay is restarted, all stores lose a flag.
    let settings = scene.stage.home.path().join("relaycommander.toml");
    let loses = format!("\"sh\", {:?}", scene.stage.home.path().join("loses"));
    let first = fs::read_to_string(&settings).unwrap().replacen("\"touch\"", &loses, 1);
    fs::write(&settings, first).unwrap();
    let restarted = run(&scene.stage, "relay restart --yes").await.code(5);
    restarted.out("the store of Prod has 2 flags, and had 3 a moment ago: started now it serves what is left");
    assert!(!scene.was_run("us-1"));
}

#[tokio::test]
async fn a_damaged_store_one_out_of_reach_and_a_refused_key() {
    let scene = Scene::set(1).await;
    scene.relays[0].on_status(status("INTERRUPTED", "INTERRUPTED", ""));
    scene.refuses("eu-1", "it does not reach the store of Prod: started now it serves nothing there").await;
    scene.relays[0].on_status(status("OFF", "VALID", ""));
    scene.refuses("eu-1", "Prod was refused for good (its SDK key, or a proxy on the way)").await;
    scene.relays[0].on_status(Answer::status(500));
    scene.refuses("eu-1", "relay eu-1 answered 500").await;
    scene.relays[0].on_status(status("INTERRUPTED", "VALID", ""));
    scene.stage.servers[0].run(&["HSET", FEATURES, "refunds", &record("refunds", 5, true).replace("true", "\"on\"")]);
    scene.refuse("eu-1", "the store of Prod has damaged records: started now it answers 500 to everybody there").await;
}

/// Another one that serves nothing at this moment: there would be none.
#[tokio::test]
async fn a_relay_beside_one_that_is_down() {
    let scene = Scene::set(2).await;
    scene.relays[1].on_status(Answer::status(500));
    scene.refuses("eu-1", "us-1 does not serve: there would be one fewer").await;
}

/// What the relay showed our connections is written down, and so is the restart; the timeline says how long it was so.
#[tokio::test]
async fn the_timeline_says_diverged_until_a_restart_has_ended_that() {
    let scene = Scene::set(1).await;
    scene.with_key();
    let relay = &scene.relays[0];
    let stream = |version: u64, on: bool| -> StreamEnd {
        let stream = relay.expect_stream();
        stream.send(put(&format!("{{\"checkout\":{}}}", record("checkout", version, on))));
        stream
    };
    let streams: Vec<StreamEnd> = (0..2).map(|_| stream(42, true)).collect();
    run(&scene.stage, &format!("{OFF} --incident INC-7")).await.code(8).out("STILL ON for connected SDKs");
    let timeline = run(&scene.stage, "log --incident INC-7 --timeline").await.code(0);
    let told = "checkout: DIVERGED, SDKs that stay connected do not have it (whoever connects anew gets it within 30 s \
                (default cache time)): relay eu-1";
    drop(timeline.out(told).nowhere("DIVERGED no more"));
    drop(streams);
    // Our connection from before is cut, as by a restart; then it serves what stands in its store.
    drop(relay.expect_stream());
    let stands = scene.stage.record(0, "checkout");
    let _after: Vec<StreamEnd> = (0..8)
        .map(|_| {
            let stream = relay.expect_stream();
            stream.send(put(&format!("{{\"checkout\":{stands}}}")));
            stream
        })
        .collect();
    run(&scene.stage, "relay restart --yes").await.code(0).out("and shows 1 edit").nowhere("does not tell");
    let timeline = run(&scene.stage, "log --incident INC-7 --timeline").await.code(0).out(told);
    timeline.out("DIVERGED no more, shown after a restart, which had every SDK connect anew, by relay eu-1");
    let file = scene.stage.only_file();
    assert!(file.contains("\"is\":\"not-live\"") && file.contains("\"is\":\"restarted\""), "{file}");
    // Neither ends anything, nor keeps anything from ending.
    run(&scene.stage, "log").await.code(0).out("written 1/1, owed");
    run(&scene.stage, "undo checkout --yes").await;
    run(&scene.stage, "log").await.code(0).out("undone by");
}
