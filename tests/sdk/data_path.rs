//! LaunchDarkly's Go SDK with its Redis store, streaming from the simulated LaunchDarkly into a real Redis. A relay is made
//! of this very code, so what happens to an edit in the store is what happens to it behind a relay.

use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;
use serde_json::json;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::environment;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;
use crate::reach::Done;
use crate::reach::row;
use crate::stage::Stage;
use crate::stage::flags;
use crate::support::shop;
use crate::watcher::SOON;
use crate::watcher::Watcher;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 6] = [
        ("data_path::the_return_wipes_every_edit", the_return_wipes_every_edit),
        ("data_path::a_patch_that_is_not_higher_is_refused", a_patch_that_is_not_higher_is_refused),
        ("data_path::replayed_first_nothing_flips", replayed_first_nothing_flips),
        ("data_path::after_a_replay_the_next_patch_is_taken", after_a_replay_the_next_patch_is_taken),
        ("data_path::one_record_that_does_not_decode", one_record_that_does_not_decode),
        ("data_path::a_deleted_flag_is_left_alone", a_deleted_flag_is_left_alone),
    ];
    tests.into_iter().map(|(name, test)| trial(name, &[Part::Sdk(Sdk::Go)], test)).collect()
}

/// LaunchDarkly, a Redis that the SDK fills from its stream, and an operator.
struct Scene {
    launchdarkly: LaunchDarkly,
    stage: Stage,
    sdk: Watcher,
}

impl Scene {
    fn set() -> Self {
        let launchdarkly = LaunchDarkly::with(&flags());
        let stage = Stage::empty();
        stage.knows(&launchdarkly);
        let source = launchdarkly.source().into_redis(&stage.redis.url(), shop::PREFIX);
        let mut sdk = Watcher::ready(Sdk::Go, &source);
        sdk.evaluate("checkout").is(true, 0, "FALLTHROUGH");
        Self { launchdarkly, stage, sdk }
    }

    fn stored(&self, flag: &str) -> Value {
        self.stage.record(flag)
    }

    /// Waits until the store has the flag so.
    #[track_caller]
    fn wait_for_stored(&self, flag: &str, version: u64, on: bool) -> Duration {
        self.stage.wait_for_record(flag, version, on)
    }

    /// Waits until everything that LaunchDarkly sent so far has been taken: its events come in order.
    fn wait_for_the_stream(&mut self) {
        let on = !self.stored("refunds")["on"].as_bool().unwrap();
        let version = self.launchdarkly.colleague_turns("refunds", on);
        self.wait_for_stored("refunds", version, on);
    }
}

fn the_return_wipes_every_edit() {
    let mut scene = Scene::set();
    scene.launchdarkly.api_goes_away();
    scene.launchdarkly.stream_goes_away();
    scene.stage.update("-f checkout -s off");
    scene.stage.update("-f pricing-tier --serve bronze");
    scene.sdk.wait("checkout", false).is(false, 1, "OFF");
    assert_eq!(scene.stored("checkout")["version"], 43);
    scene.launchdarkly.stream_returns();
    let after = scene.wait_for_stored("checkout", 42, true);
    scene.wait_for_stored("pricing-tier", 30, true);
    scene.sdk.wait("checkout", true).is(true, 0, "FALLTHROUGH");
    let who = format!("the store, written by {}", scene.sdk.who());
    row(Done::ReturnWithoutReplay, &who, format!("the edits are gone {} ms after the return", after.as_millis()));
    // What is ours survives, and says what is owed.
    scene.stage.rc("status").code(0).out("checkout").out("OWED: 2 flags");
}

fn a_patch_that_is_not_higher_is_refused() {
    let mut scene = Scene::set();
    scene.launchdarkly.api_goes_away();
    scene.stage.update("-f checkout -s off");
    scene.stage.update("-f checkout -s on");
    assert_eq!(scene.stored("checkout")["version"], 44);
    // Lower, then equal: neither is taken.
    for version in [43, 44] {
        assert_eq!(scene.launchdarkly.colleague_turns("checkout", version == 44), version);
        scene.wait_for_the_stream();
        let stored = scene.stored("checkout");
        assert_eq!((&stored["version"], &stored["on"]), (&json!(44), &json!(true)), "LaunchDarkly sent v{version}");
    }
    // Higher: taken, whatever it says.
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", false), 45);
    scene.wait_for_stored("checkout", 45, false);
}

fn replayed_first_nothing_flips() {
    let mut scene = Scene::set();
    scene.launchdarkly.api_goes_away();
    scene.launchdarkly.stream_goes_away();
    scene.stage.update("-f checkout -s off");
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(0);
    scene.launchdarkly.stream_returns();
    scene.launchdarkly.wait_for_a_stream("/all");
    scene.wait_for_the_stream();
    scene.sdk.evaluate("checkout").is(false, 1, "OFF");
    let stored = scene.stored("checkout");
    assert_eq!((&stored["version"], &stored["on"]), (&json!(43), &json!(false)));
    scene.stage.rc("verify -p shop -e production").code(0);
}

/// Three edits are one patch to LaunchDarkly: its version is then behind the store's, whose record goes back to it.
fn after_a_replay_the_next_patch_is_taken() {
    let mut scene = Scene::set();
    scene.launchdarkly.api_goes_away();
    for state in ["off", "on", "off"] {
        scene.stage.update(&format!("-f checkout -s {state}"));
    }
    assert_eq!(scene.stored("checkout")["version"], 45);
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(0);
    assert_eq!(scene.launchdarkly.version("checkout"), 43);
    scene.wait_for_stored("checkout", 43, false);
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", true), 44);
    scene.wait_for_stored("checkout", 44, true);
    scene.sdk.wait("checkout", true).is(true, 0, "FALLTHROUGH");
}

/// It takes the whole environment down, and the SDK thinks that its store is broken. While LaunchDarkly is there, that heals
/// it: the stream is opened anew, and its first event replaces the store.
fn one_record_that_does_not_decode() {
    let mut scene = Scene::set();
    let damaged = scene.stage.stored("checkout").replacen("\"on\":true", "\"on\":\"off\"", 1);
    scene.launchdarkly.stream_goes_away();
    scene.stage.put("checkout", &damaged);
    assert_eq!(scene.sdk.all(), None);
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(3).err("--repair");
    assert_eq!(scene.stage.stored("checkout"), damaged, "nothing is written over it unasked");
    scene.stage.update("-f checkout -s off --repair").out("(mended)");
    assert_eq!(scene.sdk.all_within(SOON).map(|all| all.len()), Some(flags().len()));
    scene.sdk.wait("checkout", false).is(false, 1, "OFF");
    scene.launchdarkly.stream_returns();
    scene.wait_for_stored("checkout", 42, true);
    scene.stage.put("checkout", &damaged);
    assert_eq!(scene.sdk.all(), None);
    scene.wait_for_stored("checkout", 42, true);
    assert!(scene.sdk.all_within(SOON).is_some());
}

fn a_deleted_flag_is_left_alone() {
    let mut scene = Scene::set();
    scene.launchdarkly.control().delete_flag(&environment(), &"checkout".parse().unwrap(), "carol").unwrap();
    scene.wait_for_the_stream();
    let tombstone = scene.stage.stored("checkout");
    let stored = scene.stored("checkout");
    assert_eq!(
        (&stored["key"], &stored["deleted"], &stored["version"]),
        (&json!("$deleted"), &json!(true), &json!(43))
    );
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(3);
    assert_eq!(scene.stage.stored("checkout"), tombstone);
}
