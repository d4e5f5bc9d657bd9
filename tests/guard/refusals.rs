//! Status codes: whatever LaunchDarkly or something in between answers, no relay takes it for final that should not.

use std::time::Duration;

use super::bytes::PUT;
use super::process::Guard;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::Wire;

const STRANGER: &str = "sdk-99999999-9999-4999-8999-999999999999";

/// What LaunchDarkly, or something in between, may answer.
const STATUSES: [u16; 13] = [301, 302, 307, 400, 403, 404, 405, 407, 429, 500, 502, 503, 504];

fn worked(guard: &Guard) {
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
}

#[test]
fn no_status_ends_a_relay_whose_key_is_known() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    worked(&guard);
    for status in STATUSES.into_iter().chain([401]) {
        upstream.script(move |_| Reply::Status(status, "Location: https://elsewhere.example/all\r\n"));
        upstream.cut();
        let mut relay = Wire::ask(guard.address, "/all", KEY);
        assert_eq!((relay.status, relay.text().as_str()), (200, PUT), "{status}");
    }
    guard.wait_for_told("upstream-away");
}

#[test]
fn a_stranger_hears_not_now_and_never_a_final_refusal() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    for (number, status) in STATUSES.into_iter().chain([401]).enumerate() {
        upstream.script(move |_| Reply::Status(status, "Location: https://elsewhere.example/all\r\n"));
        let answer = Wire::ask(guard.address, "/all", &format!("{STRANGER}-{number}"));
        // A 401 without TLS could be anybody's word.
        assert_eq!(answer.status, 503, "{status}");
        let configuration = Wire::ask(guard.address, "/relay_auto_config", &format!("rel-{STRANGER}-{number}"));
        assert_eq!(configuration.status, 503, "{status}");
    }
    upstream.script(|_| Reply::Stream(PUT.into()));
    assert_eq!(Wire::stream(guard.address, "/all", &format!("{STRANGER}-x")).text(), PUT);
}

#[test]
fn launchdarklys_own_refusal_of_a_key_that_never_worked_goes_on_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    let upstream = Scripted::with_tls(&authority, |request| match request.header("authorization") {
        KEY => Reply::Stream(PUT.into()),
        _ => Reply::Status(401, ""),
    });
    let plan = Plan::new(&upstream).env("SSL_CERT_FILE", &authority);
    let guard = plan.start();
    worked(&guard);
    assert_eq!(Wire::ask(guard.address, "/all", STRANGER).status, 401);
    assert_eq!(Wire::ask(guard.address, "/relay_auto_config?rpacProtocolVersion=2", "rel-1").status, 401);
    assert_eq!(Wire::ask(guard.address, "/big-segments", STRANGER).status, 401);
    // The one that worked is not refused for a 401 that may be a mistake of LaunchDarkly's.
    upstream.script(|_| Reply::Status(401, ""));
    upstream.cut();
    assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), PUT);
    guard.wait_for_told("key-refused");
    assert!(!guard.told().contains(KEY) && !guard.told().contains(STRANGER));
}

#[test]
fn a_certificate_of_nobody_known_is_not_launchdarkly() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Scripted::with_tls(&folder.path().join("authority.pem"), |_| Reply::Status(401, ""));
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    assert_eq!(Wire::ask(guard.address, "/all", STRANGER).status, 503);
    assert!(upstream.requests().is_empty(), "the key was not sent");
}

#[test]
fn a_black_hole_costs_a_stranger_his_patience_and_nobody_else() {
    let upstream = Scripted::start(|request| match request.header("authorization") {
        KEY => Reply::Stream(PUT.into()),
        _ => Reply::BlackHole,
    });
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    worked(&guard);
    let asked = std::thread::spawn({
        let address = guard.address;
        move || Wire::ask(address, "/all", STRANGER)
    });
    worked(&guard);
    let answer = asked.join().unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.answered_after < Duration::from_secs(25), "{:?}", answer.answered_after);
}
