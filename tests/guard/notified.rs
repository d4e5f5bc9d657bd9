//! People are told what happens where they already look, and the guard does its work whatever becomes of that.

use std::path::Path;

use ring::hmac;

use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::update::plan;
use super::update::put;
use super::wire::Wire;
use crate::support::rc::Rc;
use crate::support::receiver::Manner;
use crate::support::receiver::Received;
use crate::support::receiver::Receiver;

const SIGNING_KEY: &str = "a key that nobody guesses";

fn run(plan: &Plan, line: &str) {
    Rc::new().home(plan.home()).line(line).args(["--relay-config", "ld-relay.conf"]).run().code(0);
}

fn is(kind: &'static str) -> impl Fn(&Received) -> bool {
    move |received| received.json()["kind"] == kind
}

/// As whoever runs the webhook checks it.
#[track_caller]
fn check_signature(received: &Received) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SIGNING_KEY.as_bytes());
    let signed = format!("{}.{}", received.header("x-relay-commander-timestamp"), received.body);
    let digits = received.header("x-relay-commander-signature").strip_prefix("sha256=").unwrap();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let tag: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    hmac::verify(&key, signed.as_bytes(), &tag).expect("signed by us");
}

#[test]
fn an_override_is_told_when_it_is_made_reaches_and_ends() {
    let receiver = Receiver::start(Manner::Takes);
    let upstream = Scripted::streaming(String::from_utf8(put(42)).unwrap());
    let url = receiver.url("/own");
    let plan =
        plan(&upstream).env("RC_NOTIFY_WEBHOOK", Path::new(&url)).env("RC_NOTIFY_WEBHOOK_KEY", Path::new(SIGNING_KEY));
    let mut guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    relay.event();
    guard.wait_for_status(|status| status["streams"][0]["overridesKnown"] == true);
    run(&plan, "update -p shop -e production -f checkout -s off --reason double<charges> --incident INC-4821");
    let made = receiver.wait_for("that it was made", is("override-made"));
    check_signature(&made);
    let told = made.json();
    assert!(told["environment"] == "shop production" && told["flag"] == "checkout", "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("anna ") && text.contains("INC-4821") && text.contains("double<charges>"), "{text}");
    let reached = receiver.wait_for("that it reached the relay", is("override-reached"));
    assert!(reached.json()["text"].as_str().unwrap().contains("the relay connected here"), "{}", reached.body);
    run(&plan, "undo checkout -p shop -e production");
    let ended = receiver.wait_for("that it is over", is("override-ended"));
    assert!(ended.json()["text"].as_str().unwrap().contains("was undone by anna:"), "{}", ended.body);
    assert!(guard.terminate().success());
    for received in receiver.received() {
        check_signature(&received);
    }
    // What was there before is no news to the next one.
    run(&plan, "update -p shop -e production -f checkout -s off");
    let before = receiver.received().len();
    let mut next = plan.start();
    let mut relay = Wire::stream(next.address, "/all", KEY);
    relay.event();
    next.wait_for_status(|status| status["streams"][0]["overrides"]["checkout"] == "held");
    assert!(next.terminate().success());
    assert!(!receiver.received()[before..].iter().any(is("override-made")), "{:#?}", receiver.received());
}

/// A receiver that is down, hangs, or sends elsewhere.
#[test]
fn whoever_is_told_holds_the_guard_up_in_no_way() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (hangs, redirects) = (Receiver::start(Manner::Hangs), Receiver::start(Manner::Says(307)));
    for (url, problem) in [
        (format!("http://{free}/s3cret"), "refused"),
        (hangs.url("/s3cret"), "no answer within 5 s"),
        (redirects.url("/s3cret"), "307"),
    ] {
        let upstream = Scripted::streaming(String::from_utf8(put(42)).unwrap());
        let plan = plan(&upstream).env("RC_NOTIFY_SLACK", Path::new(&url));
        let mut guard = plan.start();
        let mut relay = Wire::stream(guard.address, "/all", KEY);
        relay.event();
        run(&plan, "update -p shop -e production -f checkout -s off");
        let event = String::from_utf8(relay.event()).unwrap();
        assert!(event.contains("\"on\":false"), "{event}");
        guard.wait_for_told("not-notified");
        guard.wait_for_told(problem);
        assert!(guard.metrics().contains("rc_guard_alarms_total{kind=\"not-notified\"} 1"), "{}", guard.metrics());
        assert!(!guard.told().contains("s3cret"), "{}", guard.told());
        assert!(guard.terminate().success());
    }
    assert!(redirects.received().iter().all(|received| received.path == "/s3cret"), "a redirect was followed");
}
