//! After a replay: an override is settled in every store as soon as LaunchDarkly's own stream shows what was sent.

use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;

use super::stage::Guard;
use super::stage::Home;
use super::stage::Wish;
use super::stage::runtime;
use super::stage::wait_until;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;

const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";
const FEATURES: &str = "ld:shop:production:features";

#[test]
fn launchdarklys_stream_settles_what_was_replayed_and_every_guard_learns_what_it_has() {
    let runtime = runtime();
    let seed = Seed::new().project("shop").environment("production").boolean_flag("checkout", true, 42).token(
        "api-writer-0001",
        Role::Writer,
        "anna@example.com",
    );
    let launchdarkly = runtime.block_on(SimulatedLaunchDarkly::start(Options { seed, listener: None })).unwrap();
    let environment = "shop/production".parse().unwrap();
    let record = || {
        let flags = launchdarkly.control.sdk_flags(&environment).unwrap();
        flags.into_iter().find(|(key, _)| key == "checkout").unwrap().1.to_string()
    };
    let stores = [RedisServer::with().tcp().start(), RedisServer::with().tcp().start()];
    for store in &stores {
        store.fill(PREFIX, &[("checkout", &record())]);
    }
    let urls: Vec<String> = stores.iter().map(RedisServer::url).collect();
    let home = Home::new(&urls);
    let env = home.folder.path().join(".env");
    let mut text = std::fs::read_to_string(&env).unwrap();
    text.push_str(&format!("LD_API_KEY=api-writer-0001\nLD_API_URL={}\n", launchdarkly.base_url));
    std::fs::write(&env, text).unwrap();

    let mut hears = Guard::start(&runtime, &Wish::of(&urls));
    let mut deaf = Guard::start(&runtime, &Wish { name: "deaf", ..Wish::of(&urls) });
    home.off("checkout").code(0);
    hears.wait("the override", |guard| guard.holds("checkout"));
    deaf.wait("the override", |guard| guard.holds("checkout"));
    home.rc("replay --yes").code(0);
    hears.wait("that it was replayed", |guard| {
        guard.overrides.values().any(|override_| format!("{:?}", override_.state).contains("43"))
    });
    assert_eq!(stores[0].run(&["HLEN", OVERRIDES]), "1", "the API's word alone does not end it");

    hears.shown("checkout", &record());
    for store in &stores {
        wait_until("it is settled", || store.run(&["HLEN", OVERRIDES]) == "0");
        assert!(store.line("HVALS ld:shop:production:relaycommander:ended").contains("settled"));
        assert!(store.run(&["HGET", FEATURES, "checkout"]).contains("\"version\":43"));
    }
    for guard in [&mut hears, &mut deaf] {
        guard.wait("its end", |guard| !guard.holds("checkout"));
        // Whose own stream is still away would put everybody back to what it had before.
        guard.wait("LaunchDarkly's record", |guard| guard.saw("checkout", 43, true));
    }
    let ends =
        deaf.heard.iter().find(|word| word.overrides.is_empty() && word.seen.iter().any(|sight| sight.launchdarklys));
    assert!(ends.is_some(), "in the same word as the end");
}
