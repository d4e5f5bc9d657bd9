//! How LaunchDarkly is asked: once for what several relays ask for, apart for what differs.

use std::time::Duration;

use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::Wire;

#[test]
fn relays_that_ask_for_the_same_share_one_connection() {
    let upstream = Scripted::start(|request| {
        let flag = if request.path.contains("filter") { "part" } else { "whole" };
        Reply::Stream(
            format!("event: put\ndata: {{\"path\":\"/\",\"data\":{{\"flags\":{{\"{flag}\":{{\"version\":1}}}}}}}}\n\n")
                .into_bytes(),
        )
    });
    let plan = Plan::new(&upstream).keys(["sdk-another-0001"]);
    let guard = plan.start();
    let mut first = Wire::stream(guard.address, "/all", KEY);
    assert!(first.text().contains("whole"));
    let mut second = Wire::stream(guard.address, "/all", KEY);
    assert!(second.text().contains("whole"));
    assert_eq!(upstream.requests().len(), 1);
    let mut filtered = Wire::stream(guard.address, "/all?filter=web", KEY);
    assert!(filtered.text().contains("part"));
    let mut other_key = Wire::stream(guard.address, "/all", "sdk-another-0001");
    assert!(other_key.text().contains("whole"));
    let asked: Vec<(String, String)> =
        upstream.requests().iter().map(|one| (one.path.clone(), one.header("authorization").to_owned())).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");

    let patch = "event: patch\ndata: {\"path\":\"/flags/new\",\"data\":{\"version\":1}}\n\n";
    upstream.send(patch.as_bytes());
    for relay in [&mut first, &mut second, &mut filtered, &mut other_key] {
        assert_eq!(relay.text(), patch);
    }
    let status = guard.wait_for_status(|status| {
        let streams = status["streams"].as_array().unwrap();
        streams.iter().map(|stream| stream["relays"].as_array().unwrap().len()).sum::<usize>() == 4
    });
    let names: Vec<&str> =
        status["streams"].as_array().unwrap().iter().map(|stream| stream["environment"].as_str().unwrap()).collect();
    assert_eq!(names, ["sdk-another-0001", "shop production", "shop production/web"]);

    // The stream stays open for a key that is vouched for, though no relay is there.
    drop((first, second, filtered, other_key));
    guard.wait_for_status(|status| {
        let streams = status["streams"].as_array().unwrap();
        streams.iter().all(|stream| stream["relays"].as_array().unwrap().is_empty() && stream["launchdarkly"] == "up")
    });
    upstream.send(patch.replace("\"version\":1", "\"version\":2").as_bytes());
    let mut late = Wire::stream(guard.address, "/all", KEY);
    let first = late.text();
    assert!(first.contains("whole") && first.contains("new"), "{first}");
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn a_stream_that_ends_is_opened_again_and_relays_do_not_notice() {
    let upstream = Scripted::streaming(super::bytes::PUT);
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(relay.text(), super::bytes::PUT);
    upstream.cut();
    // LaunchDarkly's own put goes on, since nothing of ours has a hand in it.
    assert_eq!(relay.text(), super::bytes::PUT);
    assert_eq!(upstream.wait_for_requests(2).len(), 2);
    assert!(!guard.told().contains("upstream-away"), "a moment is not worth an alarm: {}", guard.told());
}

#[test]
fn what_retry_after_asks_for_is_waited_for() {
    let upstream = Scripted::start(|request| match request.before {
        0 => Reply::Status(429, "Retry-After: 4\r\n"),
        _ => Reply::Stream(super::bytes::PUT.into()),
    });
    let plan = Plan::new(&upstream);
    let guard = plan.start();
    let begun = std::time::Instant::now();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(relay.text(), super::bytes::PUT);
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
}
