//! LaunchDarkly is away: relays stay, new ones start, and the guard itself may end and begin anew.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use super::bytes::PUT;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::Next;
use super::wire::Wire;

/// How soon a relay is ready.
const READY_WITHIN: Duration = Duration::from_secs(3);

const STRANGER: &str = "sdk-99999999-9999-4999-8999-999999999999";

#[test]
fn relays_stay_and_new_ones_start() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut early = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(early.text(), PUT);
    upstream.go_away();
    let begun = Instant::now();
    let mut late = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(late.text(), PUT);
    assert!(begun.elapsed() < READY_WITHIN, "{:?}", begun.elapsed());
    early.nothing_for(Duration::from_millis(500));
    guard.wait_for_told("upstream-away");
    assert_eq!(guard.status()["streams"][0]["launchdarkly"], "away");
    assert!(guard.metrics().contains("rc_guard_up{environment=\"shop production\",path=\"/all\"} 0"));
    let begun = Instant::now();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT, "also long after it went");
    assert!(begun.elapsed() < READY_WITHIN, "{:?}", begun.elapsed());
    upstream.come_back();
    for relay in [&mut early, &mut late] {
        assert_eq!(relay.text(), PUT);
    }
    guard.wait_for_told("\"over\"");
    assert!(guard.metrics().contains("rc_guard_up{environment=\"shop production\",path=\"/all\"} 1"));
}

#[test]
fn a_guard_that_begins_during_the_outage_gives_known_keys_what_was_kept() {
    for black_hole in [false, true] {
        let upstream = Scripted::streaming(PUT);
        let plan = Plan::new(&upstream);
        let guard = plan.start();
        assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
        plan.wait_for_kept(".put", 1);
        plan.wait_for_kept(".seen", 1);
        plan.wait_for_kept("keys.json", 1);
        // Like a power cut, in the middle of everything.
        guard.kill();
        if black_hole {
            upstream.script(|_| Reply::BlackHole);
        } else {
            upstream.go_away();
        }
        let guard = plan.start();
        let begun = Instant::now();
        let mut relay = Wire::stream(guard.address, "/all", KEY);
        assert_eq!(relay.text(), written_again(PUT), "{}", guard.told());
        assert!(begun.elapsed() < READY_WITHIN, "{:?}, black hole: {black_hole}", begun.elapsed());
        let stranger = Wire::ask(guard.address, "/all", STRANGER);
        assert_eq!(stranger.status, 503);
        assert!(guard.wait_for_status(|status| status["streams"][0]["asOf"].is_string())["streams"].is_array());
        guard.wait_for_told("old-state");
        let kept = String::from_utf8_lossy(&plan.kept()).into_owned();
        for secret in [KEY, STRANGER] {
            assert!(!kept.contains(secret) && !guard.told().contains(secret));
        }
    }
}

/// What was kept is a state, and is told in the usual way of writing.
fn written_again(put: &str) -> String {
    put.replace("\"/\", \"data\"", "\"/\",\"data\"")
}

#[test]
fn a_key_that_worked_is_known_without_any_configuration() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream).relay_configuration("");
    let guard = plan.start();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
    guard.wait_for_told("key-unknown");
    assert!(!guard.told().contains(KEY), "{}", guard.told());
    plan.wait_for_kept(".put", 1);
    plan.wait_for_kept("keys.json", 1);
    guard.kill();
    upstream.go_away();
    let guard = plan.start();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), written_again(PUT));
    assert_eq!(Wire::ask(guard.address, "/all", STRANGER).status, 503);
    assert_eq!(Wire::ask(guard.address, "/all?filter=web", KEY).status, 200, "the key is known, whatever it asks for");
}

#[test]
fn what_was_kept_and_is_damaged_is_as_if_it_were_not_there() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
    plan.wait_for_kept(".put", 1);
    guard.kill();
    upstream.go_away();
    for entry in fs::read_dir(plan.state()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "put" || ending == "seen" || ending == "json") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    relay.nothing_for(Duration::from_secs(4));
    upstream.come_back();
    assert_eq!(relay.text(), PUT, "it waited, and gets it as soon as it is there");
}

#[test]
fn a_guard_ends_in_order_and_the_next_one_begins_at_once() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let mut guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(relay.text(), PUT);
    let address = guard.address;
    let begun = Instant::now();
    let status = guard.terminate();
    assert_eq!(status.code(), Some(0), "{}", guard.told());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(relay.next(Duration::from_secs(5)), Next::End, "not broken off");
    upstream.go_away();
    // At the same address, and with what the one before knew when it ended.
    let next = plan.start_at(address);
    assert_eq!(Wire::stream(next.address, "/all", KEY).text(), written_again(PUT));
}

#[test]
fn two_guards_do_not_share_a_folder() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let ran = crate::support::rc::Rc::new()
        .home(plan.home())
        .line("guard --listen 127.0.0.1:0 --relay-config ld-relay.conf")
        .env("LD_STREAM_URL", upstream.url.as_str())
        .run();
    let ran = ran.code(1);
    assert!(ran.stderr.contains("in use by another guard") && ran.stderr.contains("--state"), "{}", ran.stderr);
    drop(guard);
}
