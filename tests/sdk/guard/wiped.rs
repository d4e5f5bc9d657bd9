//! A relay of the same prefix that is not on the guard: its reset wipes the hash, and with it every edit.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;
use crate::launchdarkly::RETURN_WITHIN;
use crate::parts::Sdk;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::shop;
use crate::watcher::Watcher;

pub const TESTS: &[TestOfAWay] = &[("a_reset_of_a_relay_without_a_guard", a_reset_of_a_relay_without_a_guard)];

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
