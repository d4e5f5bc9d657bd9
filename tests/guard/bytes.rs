//! What goes through, byte for byte, and what never does: parts of events, and what LaunchDarkly never sends.

use std::time::Duration;

use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::Next;
use super::wire::Wire;

/// A `put` as LaunchDarkly might write it one day: odd spaces, sections that nobody knows.
pub const PUT: &str = "event: put\ndata: {\"path\":\"/\", \"data\":{\"flags\":{\"checkout\":{\"key\":\"checkout\",\"version\":42,\"on\":true,\"x\":1.10}},\"segments\":{},\"later\":[1]}}\n\n";
const PATCH: &str =
    "event:patch\ndata: {\"path\":\"/flags/checkout\",\"data\":{\"key\":\"checkout\",\"version\":43,\"on\":false}}\n\n";

#[test]
fn without_overrides_every_byte_goes_on_as_it_came() {
    let upstream = Scripted::streaming(PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert!(relay.head.to_lowercase().contains("content-type: text/event-stream"), "{}", relay.head);
    assert_eq!(relay.text(), PUT);
    for sent in [
        PATCH,
        "event: delete\r\ndata: {\"path\":\"/flags/checkout\", \"version\":44}\r\n\r\n".replace("\r\n", "\n").as_str(),
        "event: something-new\ndata: x\ndata: y\nid: 7\n\n",
        ":hello\n\n",
        PUT,
    ] {
        upstream.send(sent.as_bytes());
        let Next::Event(bytes) = relay.next(super::wire::LONG) else { panic!("{sent}") };
        assert_eq!(String::from_utf8(bytes).unwrap(), sent);
    }
    let asked = &upstream.requests()[0];
    assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/all", KEY));
    assert_eq!(asked.header("user-agent"), super::wire::AGENT);
    assert_eq!(asked.header("x-launchdarkly-tags"), "a/b");
    assert_eq!(asked.header("accept-encoding"), "", "a stream is read, so it must come as it is");
}

/// Every key has its own connection to LaunchDarkly, which is cut at another byte.
#[test]
fn a_put_that_is_cut_at_any_byte_never_goes_on_in_part() {
    let keys: Vec<String> = (0..PUT.len()).map(|cut| format!("sdk-cut-at-{cut:04}")).collect();
    let upstream = Scripted::start(|request| {
        let cut: usize = request.header("authorization").rsplit('-').next().unwrap().parse().unwrap();
        if request.before == 0 { Reply::Cut(PUT.as_bytes()[..cut].to_vec()) } else { Reply::Stream(PUT.into()) }
    });
    let plan = Plan::new(&upstream).keys(keys.iter().map(String::as_str));
    let guard = plan.start();
    let mut relays: Vec<Wire> = keys.iter().map(|key| Wire::stream(guard.address, "/all", key)).collect();
    for relay in &mut relays {
        assert_eq!(relay.text(), PUT);
    }
    relays[0].nothing_for(Duration::from_millis(300));
}

#[test]
fn a_patch_that_is_cut_at_any_byte_never_goes_on_in_part() {
    let after = PUT.replace("\"version\":42,\"on\":true", "\"version\":43,\"on\":false");
    let keys: Vec<String> = (0..PATCH.len()).map(|cut| format!("sdk-cut-at-{cut:04}")).collect();
    let upstream = Scripted::start({
        let after = after.clone();
        move |request| {
            let cut: usize = request.header("authorization").rsplit('-').next().unwrap().parse().unwrap();
            if request.before == 0 {
                Reply::Cut([PUT.as_bytes(), &PATCH.as_bytes()[..cut]].concat())
            } else {
                Reply::Stream(after.clone().into_bytes())
            }
        }
    });
    let plan = Plan::new(&upstream).keys(keys.iter().map(String::as_str));
    let guard = plan.start();
    let mut relays: Vec<Wire> = keys.iter().map(|key| Wire::stream(guard.address, "/all", key)).collect();
    for relay in &mut relays {
        let first = relay.text();
        if first != after {
            assert_eq!(first, PUT);
            assert_eq!(relay.text(), after);
        }
    }
}

#[test]
fn garbage_does_not_go_on_and_the_stream_is_opened_anew() {
    let after = PUT.replace("\"version\":42", "\"version\":50");
    for garbage in [
        "event: patch\ndata: {\"path\":\"/flags/checkout\",\"data\":{\"key\":\n\n",
        "event: put\ndata: <html>Sign in</html>\n\n",
        "event: delete\ndata: {\"path\":\"/flags/checkout\"}\n\n",
        "event: put\ndata: {\"path\":\"/\",\"data\":{}}\n\n",
        "data: \u{0}\u{1}\n\nevent: put\ndata: null\n\n",
    ] {
        let upstream = Scripted::start({
            let after = after.clone();
            move |request| {
                if request.before == 0 { Reply::Stream(PUT.into()) } else { Reply::Stream(after.clone().into_bytes()) }
            }
        });
        let plan = Plan::new(&upstream);
        let mut guard = plan.start();
        let mut relay = Wire::stream(guard.address, "/all", KEY);
        assert_eq!(relay.text(), PUT);
        upstream.send(garbage.as_bytes());
        let mut next = relay.text();
        if next.starts_with("data: \u{0}") {
            // An event without a name is none of the known ones, and goes on as it came.
            next = relay.text();
        }
        assert_eq!(next, after, "{garbage}");
        guard.wait_for_told("not-understood");
        assert!(guard.is_running());
    }
}

#[test]
fn bytes_that_are_no_text_and_answers_that_are_no_stream() {
    let upstream = Scripted::start(|request| match request.before {
        0 => Reply::Cut(b"event: put\ndata: \xff\xfe\n\n".to_vec()),
        1 => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>\n\n".to_vec()),
        2 => Reply::Raw(b"\x16\x03\x01 no HTTP at all".to_vec()),
        _ => Reply::Stream(PUT.into()),
    });
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(relay.text(), PUT);
    assert_eq!(guard.status()["streams"][0]["launchdarkly"], "up");
}
