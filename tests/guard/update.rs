//! The whole way: `rc update` writes into a real Redis, and relays on the guard have it at once; then everything that could
//! take it back.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::process::Guard;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;
use crate::support::rc::Rc;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

/// How often the guard is killed and begun anew.
const ROUNDS: usize = 5;

pub fn put(version: u64) -> Vec<u8> {
    let record = flag("checkout", version).text();
    format!(
        "event: put\ndata: {{\"path\":\"/\",\"data\":{{\"flags\":{{\"checkout\":{record}}},\"segments\":{{}}}}}}\n\n"
    )
    .into_bytes()
}

/// A guard whose Redis a relay has filled.
pub fn plan(upstream: &Scripted) -> Plan {
    let plan = Plan::new(upstream);
    plan.redis().fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    plan
}

fn rc(plan: &Plan, line: &str) {
    let ran = Rc::new().home(plan.home()).line(line).args(["--relay-config", "ld-relay.conf"]).run();
    ran.code(0);
}

fn update(plan: &Plan, state: &str) {
    rc(plan, &format!("update -p shop -e production -f checkout -s {state} --yes"));
}

/// The record in an event, and whether the event is a `put`.
fn record(event: &[u8]) -> (bool, Value) {
    let text = std::str::from_utf8(event).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let is_put = data["path"] == "/";
    (is_put, if is_put { data["data"]["flags"]["checkout"].clone() } else { data["data"].clone() })
}

/// The next event that says something else than this.
fn next_other(relay: &mut Wire, version: u64, on: bool) -> (bool, Value) {
    loop {
        let (is_put, record) = record(&relay.event());
        if record["version"] != version || record["on"] != on {
            return (is_put, record);
        }
    }
}

fn stored(plan: &Plan) -> Value {
    serde_json::from_str(&plan.redis().run(&["HGET", &format!("{PREFIX}:features"), "checkout"])).unwrap()
}

#[test]
fn an_update_reaches_relays_at_once_and_undo_takes_it_back() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(record(&relay.event()).1["version"], 42);
    upstream.go_away();
    for (round, state) in ["off", "on", "off"].into_iter().enumerate() {
        update(&plan, state);
        let (is_put, record) = record_after(&mut relay, 42 + round as u64);
        assert_eq!((is_put, &record["on"]), (false, &(state == "on").into()), "{record}");
    }
    guard.wait_for_status(|status| status["streams"][0]["overrides"]["checkout"] == "held");
    rc(&plan, "undo -p shop -e production checkout --yes");
    let (is_put, record) = next_other(&mut relay, 45, false);
    assert_eq!((is_put, &record["version"], &record["on"]), (true, &42.into(), &true.into()));
}

#[test]
fn what_expires_goes_back_to_everybody_who_is_connected() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream).line("--on-expiry undo");
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(record(&relay.event()).1["version"], 42);
    upstream.go_away();
    rc(&plan, "update -p shop -e production -f checkout -s off --expires 2s --yes");
    assert_eq!(record_after(&mut relay, 42).1["on"], false);
    let (is_put, record) = next_other(&mut relay, 43, false);
    assert_eq!((is_put, &record["version"], &record["on"]), (true, &42.into(), &true.into()));
    guard.wait_for_told("which expired at ");
    assert_eq!((&stored(&plan)["version"], &stored(&plan)["on"]), (&42.into(), &true.into()));
}

/// The first record above a version.
fn record_after(relay: &mut Wire, version: u64) -> (bool, Value) {
    loop {
        let (is_put, record) = record(&relay.event());
        if record["version"].as_u64().unwrap() > version {
            return (is_put, record);
        }
    }
}

#[test]
fn no_restart_of_the_guard_and_no_return_flips_anything() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream);
    let mut guard = plan.start();
    let address = guard.address;
    let mut relay = Wire::stream(address, "/all", KEY);
    assert_eq!(record(&relay.event()).1["version"], 42);
    update(&plan, "off");
    assert_eq!(record_after(&mut relay, 42).1["on"], false);
    for round in 0..ROUNDS {
        let during_the_outage = round % 2 == 0;
        if during_the_outage {
            upstream.go_away();
        }
        guard.kill();
        guard = plan.start_at(address);
        let begun = Instant::now();
        let mut relay = Wire::stream(address, "/all", KEY);
        let (is_put, first) = record(&relay.event());
        assert_eq!((is_put, &first["version"], &first["on"]), (true, &43.into(), &false.into()), "round {round}");
        assert!(begun.elapsed() < Duration::from_secs(3), "round {round}: {:?}", begun.elapsed());
        if during_the_outage {
            upstream.come_back();
            upstream.wait_for_held(1);
        }
        upstream.send(&put(42));
        while let Some(event) = relay.event_within(Duration::from_millis(300)) {
            let (_, record) = record(&event);
            assert_eq!((&record["version"], &record["on"]), (&43.into(), &false.into()), "round {round}");
        }
        assert_eq!((&stored(&plan)["version"], &stored(&plan)["on"]), (&43.into(), &false.into()));
    }
    assert!(
        plan.redis().run(&["HGET", &format!("{PREFIX}:relaycommander:overrides"), "checkout"]).contains("checkout")
    );
}

#[test]
fn a_state_of_long_ago_overwrites_nothing_newer() {
    let upstream = Scripted::streaming(put(30));
    let plan = plan(&upstream);
    let guard = plan.start();
    assert_eq!(record(&Wire::stream(guard.address, "/all", KEY).event()).1["version"], 30);
    plan.wait_for_kept(".put", 1);
    guard.kill();
    upstream.go_away();
    // Three weeks later: relays have had newer things from elsewhere, and the file says when it was true.
    for entry in fs::read_dir(plan.state()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "seen") {
            fs::remove_file(&path).unwrap();
        }
        if path.extension().is_some_and(|ending| ending == "put") {
            let text = fs::read_to_string(&path).unwrap();
            let (header, put) = text.split_once('\n').unwrap();
            let mut header: Value = serde_json::from_str(header).unwrap();
            header["asOf"] = "2026-01-01T00:00:00Z".into();
            fs::write(&path, format!("{header}\n{put}")).unwrap();
        }
    }
    let newer = flag("other", 7).text();
    plan.redis().fill(PREFIX, &[("checkout", &flag("checkout", 42).text()), ("other", &newer)]);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    let event = relay.event();
    assert_eq!(record(&event).1["version"], 42);
    assert!(String::from_utf8_lossy(&event).contains("\"other\""));
    // One record that does not decode: relays on it answer 500, and the guard does not build on it.
    let features = format!("{PREFIX}:features");
    plan.redis().run(&["HSET", &features, "broken", "{\"on\":\"off\"}"]);
    let second = plan.start_elsewhere();
    let mut relay = Wire::stream(second.address, "/all", KEY);
    relay.nothing_for(Duration::from_secs(4));
    drop(guard);
}

#[test]
fn without_its_stores_a_guard_that_begins_anew_still_knows_the_overrides() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    relay.event();
    update(&plan, "off");
    assert_eq!(record_after(&mut relay, 42).1["on"], false);
    wait_until_kept(&plan);
    guard.kill();
    plan.redis().freeze();
    let guard: Guard = plan.start();
    let begun = Instant::now();
    let (_, first) = record(&Wire::stream(guard.address, "/all", KEY).event());
    assert_eq!((&first["version"], &first["on"]), (&43.into(), &false.into()));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    guard.wait_for_told("stores-away");
    plan.redis().thaw();
    upstream.script(|_| Reply::Stream(put(42)));
}

/// Waits until the override is in the guard's own folder.
fn wait_until_kept(plan: &Plan) {
    let begun = Instant::now();
    loop {
        let kept = fs::read_dir(plan.state()).unwrap().flatten().any(|entry| {
            entry.file_name().to_string_lossy().ends_with(".seen")
                && fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("turnFlagOff"))
        });
        if kept {
            return;
        }
        assert!(begun.elapsed() < LONG, "the override is not kept");
        std::thread::sleep(Duration::from_millis(50));
    }
}
