//! What says nothing: a store that hangs beside one that answers, a LaunchDarkly that takes connections and is silent, a
//! guard that has nothing to give.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use super::bytes::PUT;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::Wire;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

/// A guard with a second store, which is `eu-2`.
fn with_second_store(plan: &Plan) -> RedisServer {
    let second = RedisServer::with().tcp().start();
    let both = format!("REDIS_HOSTS=eu-1={},eu-2={}\n", plan.redis_url(), second.url());
    fs::write(plan.home().join(".env"), both).unwrap();
    second
}

#[test]
fn a_store_that_hangs_does_not_hide_what_another_one_holds() {
    let put = PUT.replace("\"version\":42", "\"version\":30");
    let upstream = Scripted::streaming(put.clone());
    let plan = Plan::new(&upstream);
    let second = with_second_store(&plan);
    let guard = plan.start();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), put);
    plan.wait_for_kept(".put", 1);
    plan.wait_for_kept("keys.json", 1);
    guard.kill();
    upstream.go_away();
    // Relays had something newer from elsewhere.
    plan.redis().fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    second.freeze();
    let guard = plan.start();
    let begun = Instant::now();
    let first = Wire::stream(guard.address, "/all", KEY).text();
    let after = begun.elapsed();
    second.thaw();
    assert!(first.contains("\"version\":42"), "older than the store: {first}\n{}", guard.told());
    assert!(after < Duration::from_secs(4), "{after:?}");
}

#[test]
fn a_stream_that_is_open_and_says_nothing_is_not_up() {
    let upstream = Scripted::start(|_| Reply::Stream(Vec::new()));
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let relay = Wire::ask(guard.address, "/all", KEY);
    assert_eq!(relay.status, 200);
    guard.wait_for_told("upstream-away");
    assert!(guard.told().contains("it is open, and its first word has not come"), "{}", guard.told());
    assert_ne!(guard.status()["streams"][0]["launchdarkly"], "up");
    assert!(guard.metrics().contains("rc_guard_up{environment=\"shop production\",path=\"/all\"} 0"));
    // Nor is one that was up before.
    upstream.script(|_| Reply::Stream(PUT.into()));
    upstream.cut();
    guard.wait_for_status(|status| status["streams"][0]["launchdarkly"] == "up");
    upstream.script(|_| Reply::Stream(Vec::new()));
    let before = upstream.requests().len();
    upstream.cut();
    upstream.wait_for_requests(before + 1);
    upstream.wait_for_held(1);
    guard.wait_for_status(|status| status["streams"][0]["launchdarkly"] == "away");
    guard.wait_for_status(|status| status["alarms"][0]["kind"] == "upstream-away");
}

#[test]
fn a_guard_that_has_nothing_to_give_says_why() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    upstream.go_away();
    plan.redis().fill(PREFIX, &[("checkout", "{\"on\":\"off\"}")]);
    let guard = plan.start();
    let mut relay = Wire::ask(guard.address, "/all", KEY);
    assert_eq!(relay.status, 200);
    guard.wait_for_told("nothing-to-serve");
    assert!(guard.told().contains("its flag checkout"), "{}", guard.told());
    upstream.come_back();
    assert_eq!(relay.text(), PUT);
    guard.wait_for_status(|status| status["alarms"].as_array().unwrap().is_empty());
}
