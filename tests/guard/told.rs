//! What commands say where a guard is: a relay behind it always says that it is connected, so it is the guard's own word
//! that counts, and the relay's configuration.

use std::fs;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::json;

use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::update::plan;
use super::update::put;
use super::wire::LONG;
use super::wire::Wire;
use crate::status::Saying;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::free_port;
use crate::support::shop::PREFIX;

/// A relay that says that it is connected, as each behind a guard does.
fn relay() -> Saying {
    let mut environment = crate::status::environment("VALID", PREFIX);
    environment["sdkKey"] = json!("sdk-********-****-****-****-*******11111");
    Saying::relay("8.10.1", environment)
}

/// The plan, with that relay before the store, pointed at `stream`.
fn pointed_at(upstream: &Scripted, relay: &Saying, stream: &str) -> Plan {
    let plan = plan(upstream);
    let env = plan.home().join(".env");
    let text = fs::read_to_string(&env).unwrap();
    fs::write(&env, format!("{text}RELAY_URLS=eu-1={}\nRC_RELAY_CONFIG=ld-relay.conf\n", relay.url)).unwrap();
    plan.relay_configuration(&format!(
        "[Main]\nstreamUri = {stream}\n[Environment \"production\"]\nsdkKey = {KEY}\nprefix = {PREFIX}\nprojKey = shop\n"
    ))
}

fn rc(plan: &Plan, line: &str) -> Ran {
    Rc::new().home(plan.home()).line(line).run()
}

/// Says it again until it holds `wanted`: a guard announces itself within a second or so.
#[track_caller]
fn until(plan: &Plan, line: &str, wanted: &str) -> Ran {
    let begun = Instant::now();
    loop {
        let ran = rc(plan, line);
        if ran.stdout.contains(wanted) {
            return ran;
        }
        assert!(begun.elapsed() < LONG, "{wanted:?} is not said by {line}\n{ran}");
    }
}

#[test]
fn a_relay_on_a_guard_and_one_that_is_not() {
    let upstream = Scripted::streaming(put(42));
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let relay = relay();
    let plan = pointed_at(&upstream, &relay, &format!("http://{address}"));
    fs::write(plan.home().join("ld-relay.conf"), "").unwrap();
    rc(&plan, "doctor -p shop -e production").out("note guards: none: SDKs that stay connected do not see an edit");
    let guard = plan.start_at(address);
    // Nobody hangs on it yet.
    until(&plan, "doctor -p shop -e production", "BAD  shop/production, relay eu-1: is NOT on the guard that is there")
        .code(1)
        .out("not asked: no relay hangs on it")
        .out("environment production: connected to LaunchDarkly, it says");
    let mut wire = Wire::stream(guard.address, "/all", KEY);
    wire.event();
    until(&plan, "doctor -p shop -e production", "ok   shop/production, relay eu-1: is on guard ")
        .out("environment production: connected to guard ")
        .out("restart: safe: its guard gives it LaunchDarkly's last state, with the overrides")
        .out("LaunchDarkly's stream: up since ");
    upstream.go_away();
    rc(&plan, "update -p shop -e production -f checkout -s off --yes").code(8).out("held by a guard");
    until(&plan, "status", "stream  away since ").out("holds  overrides stay: a guard holds them");
    until(&plan, "doctor -p shop -e production", "LaunchDarkly's stream: away since ");
}

#[test]
fn a_relay_that_is_pointed_at_launchdarkly_loses_what_the_guard_holds_for_others() {
    let upstream = Scripted::streaming(put(42));
    let relay = relay();
    let plan = pointed_at(&upstream, &relay, "https://stream.launchdarkly.com");
    let guard = plan.start();
    let mut wire = Wire::stream(guard.address, "/all", KEY);
    wire.event();
    until(&plan, "status", "not on it");
    let ran = rc(&plan, "update -p shop -e production -f checkout -s off --yes").code(8);
    ran.out("a guard is there, but this relay is not on it");
    until(&plan, "status", "LOST").out("a guard is there, but this relay is not on it");
    rc(&plan, "doctor -p shop -e production")
        .code(1)
        .out("BAD  shop/production, relay eu-1: is NOT on the guard that is there")
        .out("rc relay config --check");
}

#[test]
fn two_guards_of_one_name_are_told_apart_by_what_they_say_of_each_other() {
    let upstream = Scripted::streaming(put(42));
    let plan = plan(&upstream).line("--guard-name eu");
    let (one, other) = (plan.start(), plan.start_elsewhere());
    for guard in [&one, &other] {
        guard.wait_for_told("name-taken");
    }
    let line = "doctor -p shop -e production --relay-config ld-relay.conf";
    let ran = until(&plan, line, "there are two of this name").code(1);
    ran.out(&one.address.to_string()).out(&other.address.to_string()).out("--guard-name");
}
