//! Relays with automatic configuration: passed through, kept sealed, and given back to whoever presents the key.

use std::time::Duration;
use std::time::Instant;

use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Request;
use super::scripted::Scripted;
use super::wire::Wire;

pub const RELAY_KEY: &str = "rel-22222222-2222-4222-8222-222222222222";
pub const SDK_KEY: &str = "sdk-33333333-3333-4333-8333-333333333333";
const OLD_KEY: &str = "sdk-44444444-4444-4444-8444-444444444444";
const MOBILE_KEY: &str = "mob-55555555-5555-4555-8555-555555555555";
const PATH: &str = "/relay_auto_config?rpacProtocolVersion=2";

fn environment(id: &str, key: &str, version: u64, expires: i64) -> String {
    format!(
        "{{\"envID\":\"{id}\",\"envKey\":\"{id}\",\"envName\":\"P\",\"mobKey\":\"{MOBILE_KEY}\",\"projKey\":\"shop\",\
         \"projName\":\"Shop\",\"sdkKey\":{{\"value\":\"{key}\",\"expiring\":{{\"value\":\"{OLD_KEY}\",\
         \"timestamp\":{expires}}}}},\"defaultTtl\":0,\"secureMode\":false,\"version\":{version}}}"
    )
}

fn put(expires: i64) -> String {
    format!(
        "event: put\ndata: {{\"path\":\"/\",\"data\":{{\"environments\":{{\"production\":{}}},\"filters\":{{}}}}}}\n\n",
        environment("production", SDK_KEY, 1, expires)
    )
}

pub fn answer(expires: i64) -> impl Fn(&Request) -> Reply {
    move |request| match (request.path.as_str(), request.header("authorization")) {
        (PATH, RELAY_KEY) => Reply::Stream(put(expires).into_bytes()),
        ("/all", SDK_KEY | OLD_KEY) => Reply::Stream(super::bytes::PUT.into()),
        _ => Reply::Status(403, ""),
    }
}

pub fn in_ms(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_millisecond() + seconds * 1_000
}

pub fn plan(upstream: &Scripted) -> Plan {
    Plan::new(upstream).relay_configuration(&format!(
        "[Redis]\nlocalTtl = 1s\n[AutoConfig]\nkey = {RELAY_KEY}\nenvDatastorePrefix = \"ld-$CID\"\n"
    ))
}

#[test]
fn a_relay_starts_during_the_outage_with_what_was_kept_sealed() {
    let upstream = Scripted::start(answer(in_ms(3_600)));
    let plan = plan(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
    assert_eq!(relay.text(), put_as_sent(&upstream, &relay));
    assert_eq!(Wire::stream(guard.address, "/all", SDK_KEY).text(), super::bytes::PUT);
    let status = guard.wait_for_status(|status| status["streams"].as_array().unwrap().len() == 2);
    let names: Vec<&str> =
        status["streams"].as_array().unwrap().iter().map(|one| one["environment"].as_str().unwrap()).collect();
    assert!(names.contains(&"shop/production"), "{names:?}");
    // A change by patch is a part of what is given to the next relay, and of what is kept.
    let patch = format!(
        "event: patch\ndata: {{\"path\":\"/environments/canary\",\"data\":{}}}\n\n",
        environment("canary", "sdk-canary-0001-0001", 1, 0)
    );
    upstream.send(patch.as_bytes());
    assert_eq!(relay.text(), patch);
    let mut second = Wire::stream(guard.address, PATH, RELAY_KEY);
    let whole = second.text();
    assert!(whole.starts_with("event: put\n") && whole.contains("sdk-canary-0001-0001") && whole.contains(SDK_KEY));
    let asked = upstream.requests().iter().filter(|request| request.path == PATH).count();
    assert_eq!(asked, 1);
    plan.wait_for_kept(".sealed", 1);
    plan.wait_for_kept(".put", 1);
    wait_for_keys(&plan, "named", 3);
    std::thread::sleep(Duration::from_secs(6));
    guard.kill();
    let kept = String::from_utf8_lossy(&plan.kept()).into_owned();
    for secret in [RELAY_KEY, SDK_KEY, OLD_KEY, MOBILE_KEY, "sdk-canary-0001-0001"] {
        assert!(!kept.contains(secret), "{secret} is on disk");
    }

    for black_hole in [false, true] {
        if black_hole {
            upstream.come_back();
            upstream.script(|_| Reply::BlackHole);
        } else {
            upstream.go_away();
        }
        let guard = plan.start();
        let begun = Instant::now();
        let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
        assert_eq!(relay.text(), whole);
        let mut flags = Wire::stream(guard.address, "/all", SDK_KEY);
        assert!(flags.text().contains("checkout"));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}, black hole: {black_hole}", begun.elapsed());
        assert_eq!(Wire::ask(guard.address, PATH, "rel-wrong-wrong-wrong").status, 503);
        assert_eq!(Wire::ask(guard.address, "/all", OLD_KEY).status, 200, "it has not expired yet");
        for secret in [RELAY_KEY, SDK_KEY, OLD_KEY, MOBILE_KEY] {
            assert!(!guard.told().contains(secret));
        }
    }
}

/// Waits until so many keys are on disk of which this is known.
#[track_caller]
fn wait_for_keys(plan: &Plan, known: &str, number: usize) {
    let begun = Instant::now();
    let count = |keys: String| keys.matches(known).count();
    while !std::fs::read_to_string(plan.state().join("keys.json")).is_ok_and(|keys| count(keys) >= number) {
        assert!(begun.elapsed() < super::wire::LONG);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The put that the script sends is made anew for each test, with its time in it.
fn put_as_sent(upstream: &Scripted, _: &Wire) -> String {
    let request = upstream.requests().into_iter().find(|request| request.path == PATH).unwrap();
    match upstream.reply_to(&request) {
        Reply::Stream(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expired_key_gets_nothing_that_was_kept() {
    let upstream = Scripted::start(answer(in_ms(8)));
    let plan = plan(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
    relay.text();
    assert_eq!(Wire::stream(guard.address, "/all", OLD_KEY).text(), super::bytes::PUT);
    upstream.go_away();
    assert_eq!(Wire::stream(guard.address, "/all", OLD_KEY).text(), super::bytes::PUT);
    let begun = Instant::now();
    while Wire::ask(guard.address, "/all", OLD_KEY).status != 503 {
        assert!(begun.elapsed() < super::wire::LONG, "it is honoured for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_key_that_is_named_only_later_gets_what_was_kept_all_the_same() {
    let upstream = Scripted::start(answer(0));
    let plan = plan(&upstream);
    let guard = plan.start();
    Wire::stream(guard.address, PATH, RELAY_KEY).text();
    Wire::stream(guard.address, "/all", SDK_KEY).text();
    plan.wait_for_kept(".sealed", 1);
    plan.wait_for_kept(".put", 1);
    wait_for_keys(&plan, "worked", 2);
    guard.kill();
    upstream.go_away();
    // Of the SDK key nothing is known but what the relay's configuration says, and that is sealed.
    let keys = plan.state().join("keys.json");
    let mut kept: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&keys).unwrap()).unwrap();
    kept.retain(|key| key["named"].is_null());
    assert_eq!(kept.len(), 1);
    std::fs::write(&keys, serde_json::to_vec(&kept).unwrap()).unwrap();
    let guard = plan.start();
    assert_eq!(Wire::ask(guard.address, "/all", SDK_KEY).status, 503);
    Wire::stream(guard.address, PATH, RELAY_KEY).text();
    let begun = Instant::now();
    assert!(Wire::stream(guard.address, "/all", SDK_KEY).text().contains("checkout"));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[test]
fn a_stream_that_begins_with_nonsense_takes_no_environment_from_a_relay() {
    for nonsense in ["event: put\ndata: {\n\n", "event: reconnect\ndata: {}\n\n"] {
        let expires = in_ms(3_600);
        let upstream = Scripted::start(move |request| match request.before {
            0..=2 => Reply::Stream(nonsense.into()),
            _ => Reply::Stream(put(expires).into_bytes()),
        });
        let plan = plan(&upstream);
        let guard = plan.start();
        let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
        assert_eq!(relay.text(), put(expires), "a relay drops what is not in its first event");
    }
}

#[test]
fn the_word_to_reconnect_is_heard_by_the_guard_and_not_by_relays() {
    let upstream = Scripted::start(answer(0));
    let plan = plan(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
    let first = relay.text();
    upstream.send(b"event: reconnect\ndata: {}\n\n");
    assert_eq!(relay.text(), first, "LaunchDarkly's new put, on the same connection");
    assert_eq!(upstream.wait_for_requests(2).len(), 2);
}

#[test]
fn an_environment_that_an_attached_relay_has_is_not_left_out() {
    let upstream = Scripted::start(answer(0));
    let plan = plan(&upstream);
    let guard = plan.start();
    Wire::stream(guard.address, PATH, RELAY_KEY).text();
    Wire::stream(guard.address, "/all", SDK_KEY).text();
    plan.wait_for_kept(".sealed", 1);
    wait_for_keys(&plan, "worked", 1);
    guard.kill();
    upstream.go_away();
    let guard = plan.start();
    // A relay that came to this guard from another one, with an environment that was not kept here.
    assert_eq!(Wire::ask(guard.address, "/all", "sdk-newer-environment-1").status, 503);
    let mut relay = Wire::stream(guard.address, PATH, RELAY_KEY);
    relay.nothing_for(Duration::from_secs(3));
    upstream.come_back();
    assert!(relay.text().contains("production"), "LaunchDarkly's own word goes through");
}

#[test]
fn automatic_configurations_that_differ_in_the_prefix_are_alarmed() {
    let upstream = Scripted::start(answer(0));
    for (prefix, differs) in [("other-$CID", true), ("ld-$CID", false)] {
        let plan = plan(&upstream).line("--relay-config other.conf");
        let other = format!("[AutoConfig]\nkey = rel-other-other-other\nenvDatastorePrefix = \"{prefix}\"\n");
        std::fs::write(plan.home().join("other.conf"), other).unwrap();
        let guard = plan.start();
        // What is wrong from the beginning is told before anything else comes.
        let status = guard.status();
        let alarms: Vec<&str> =
            status["alarms"].as_array().unwrap().iter().map(|one| one["told"].as_str().unwrap()).collect();
        assert_eq!(alarms.len(), usize::from(differs), "{alarms:?}");
        if differs {
            guard.wait_for_told("prefixes-differ");
            assert!(alarms[0].contains("follows ld-$CID"), "{alarms:?}");
            assert!(alarms[0].contains("NOT other-$CID") && alarms[0].contains("other.conf"), "{alarms:?}");
        }
    }
}

/// The key of the automatic configuration is rotated, and with it the environment's SDK key.
#[test]
fn what_a_rotated_configuration_vouched_for_is_vouched_for_no_longer() {
    const NEXT_RELAY_KEY: &str = "rel-66666666-6666-4666-8666-666666666666";
    const NEXT_SDK_KEY: &str = "sdk-77777777-7777-4777-8777-777777777777";
    let upstream = Scripted::start(|request| match (request.path.as_str(), request.header("authorization")) {
        (PATH, RELAY_KEY) => Reply::Stream(put(0).into_bytes()),
        (PATH, NEXT_RELAY_KEY) => Reply::Stream(put(0).replace(SDK_KEY, NEXT_SDK_KEY).into_bytes()),
        ("/all", SDK_KEY | NEXT_SDK_KEY) => Reply::Stream(super::bytes::PUT.into()),
        _ => Reply::Status(403, ""),
    });
    let plan = plan(&upstream);
    let guard = plan.start();
    for (relay_key, sdk_key) in [(RELAY_KEY, SDK_KEY), (NEXT_RELAY_KEY, NEXT_SDK_KEY)] {
        Wire::stream(guard.address, PATH, relay_key).text();
        Wire::stream(guard.address, "/all", sdk_key).text();
    }
    plan.wait_for_kept(".sealed", 2);
    plan.wait_for_kept(".put", 2);
    wait_for_keys(&plan, "worked", 3);
    guard.kill();
    upstream.go_away();
    let guard = plan.start();
    // A relay that was not told of the rotation gets back what it had, and that vouches for nothing that ended since.
    Wire::stream(guard.address, PATH, RELAY_KEY).text();
    assert_eq!(Wire::ask(guard.address, "/all", SDK_KEY).status, 503);
    assert!(Wire::stream(guard.address, "/all", NEXT_SDK_KEY).text().contains("checkout"));
}
