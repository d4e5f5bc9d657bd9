//! A relay of the same prefix that is not on the guard: its reset wipes the hash, and with it every edit.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;
use crate::launchdarkly::RETURN_WITHIN;
use crate::parts::Sdk;
use crate::support::guard::Guard;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::rc::Rc;
use crate::support::shop;
use crate::watcher::Watcher;

pub const TESTS: &[TestOfAWay] = &[
    ("a_reset_of_a_relay_without_a_guard", a_reset_of_a_relay_without_a_guard),
    ("a_hundred_resets_and_no_stream", a_hundred_resets_and_no_stream),
];

/// How often it is reset.
const RESETS: usize = 3;

/// Something that fills the store from LaunchDarkly's own stream.
enum Unguarded {
    Sdk(Watcher),
    Relay(LdRelay),
}

impl Unguarded {
    /// Begins; its first event replaces what the store has.
    fn start(scene: &Scene) -> Self {
        if scene.relay.is_none() {
            let source = scene.launchdarkly.source().into_redis(&scene.stage.redis.url(), shop::PREFIX);
            return Self::Sdk(Watcher::ready(Sdk::Go, &source));
        }
        let program = ld_relay::program().expect("tests without their parts are not run");
        let (url, port) = (scene.launchdarkly.stream_url(), scene.stage.redis.port());
        let section = scene.places[0].section();
        Self::Relay(LdRelay::start(&program, |own| {
            format!("[Main]\nport = {own}\nstreamUri = \"{url}\"\n[Redis]\nhost = 127.0.0.1\nport = {port}\n{section}")
        }))
    }

    fn end(self) {
        match self {
            Self::Sdk(sdk) => drop(sdk),
            Self::Relay(relay) => drop(relay),
        }
    }
}

fn a_reset_of_a_relay_without_a_guard(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);
    scene.stream_returns();
    // Those that serve out of the store see what stands in it; they only go on filling it.
    let paths = std::mem::take(&mut audience.paths);
    let mut store = Watcher::ready(Sdk::Go, &scene.stage.daemon());
    store.watch("checkout");
    let mut in_the_store = vec![json!(false)];
    for number in 1..=RESETS {
        let unguarded = Unguarded::start(&scene);
        in_the_store.extend([json!(true), json!(false)]);
        let begun = Instant::now();
        while store.seen("checkout").len() < in_the_store.len() {
            assert!(
                begun.elapsed() < RETURN_WITHIN,
                "{number}: {:?}\n{}",
                store.seen("checkout"),
                scene.guard().told()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        store.has_seen("checkout", &in_the_store);
        scene.stage.wait_for_record("checkout", 43, false);
        unguarded.end();
    }
    assert!(scene.override_of("checkout").is_some());
    // Who connects now gets it from a relay that may have cached the wiped one for a moment.
    let begun = Instant::now();
    while scene.sdk(Sdk::Go, &scene.places[0]).evaluate("checkout").value != json!(false) {
        assert!(begun.elapsed() < RETURN_WITHIN);
    }
    audience.have_seen("checkout", &[true, false]);
    audience.paths = paths;
    audience.have_stayed();
}

/// No guard stands on any stream: one watches the store alone, which LaunchDarkly's data path fills anew again and again. (A
/// relay takes longer to start: five times.)
fn a_hundred_resets_and_no_stream(way: Way) {
    let mut scene = Scene::shop(way);
    drop(scene.take_paths());
    scene.kill_guard();
    let line = "guard --no-stream --admin 127.0.0.1:0 --log json -p shop -e production";
    let mut guard = Guard::watching(&Rc::new().line(line), scene.stage.home.path());
    // A relay that is known holds its connected SDKs back, and it is said so.
    let (rounds, code) = if way == Way::DataPath { (100, 0) } else { (5, 8) };
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(code);
    scene.stage.wait_for_record("checkout", 43, false);
    let mut lengths = Vec::new();
    for number in 1..=rounds {
        let unguarded = Unguarded::start(&scene);
        let begun = Instant::now();
        let told = || guard.told().matches("had taken the place of the override of checkout").count();
        while told() < number {
            assert!(begun.elapsed() < RETURN_WITHIN, "{number}: {}", guard.told());
            std::thread::sleep(Duration::from_millis(10));
        }
        lengths.push(begun.elapsed());
        scene.stage.wait_for_record("checkout", 43, false);
        unguarded.end();
    }
    lengths.sort();
    println!("  back in the store after {:?} (median), {:?} at most", lengths[rounds / 2], lengths[rounds - 1]);
    // The slowest may have met a machine that is busy with other tests.
    assert!(lengths[rounds / 2] < Duration::from_millis(1_500), "{lengths:?}");
    assert!(guard.terminate().success());
}
