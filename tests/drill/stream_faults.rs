//! What can be made to go wrong on the streams, while the API goes on.

use std::time::Duration;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultError;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::Value;
use serde_json::json;

use super::listening::Stream;
use super::listening::ask;
use super::listening::streams_open;
use super::listening::try_to_ask;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::seed;
use super::support::turn;

const KEY: &str = "sdk-production-0001";
const CHECKOUT: &str = "/api/v2/flags/shop/checkout";

async fn open() -> Shop {
    Shop::with(seed().environment("production").sdk_key(KEY)).await
}

async fn set(shop: &Shop, fault: Fault) {
    shop.control().stream().fault(fault).await.unwrap();
}

async fn streaming(shop: &Shop) -> Stream {
    let mut stream = Stream::open(shop, "/all", KEY).await;
    assert_eq!(stream.event().await.name, "put");
    stream
}

async fn flip(shop: &Shop) -> u64 {
    let configuration = shop.configuration("checkout", "production").await;
    let on = configuration["on"].as_bool().unwrap();
    shop.patch(CHECKOUT, &turn("production", !on)).await.expect(200);
    configuration["version"].as_u64().unwrap() + 1
}

fn version(put: &Value) -> &Value {
    &put["data"]["flags"]["checkout"]["version"]
}

#[tokio::test]
async fn refused_while_the_api_goes_on_and_the_other_way_round() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    set(&shop, Fault::new(FaultKind::Refuse)).await;
    assert_eq!(stream.next().await, None);
    assert!(try_to_ask(&shop, "/all", KEY).await.unwrap_err().is_connect());
    let changed = flip(&shop).await;
    shop.control().stream().clear_faults().await.unwrap();
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    assert_eq!(*version(&stream.event().await.data()), changed);
    shop.control().api().fault(Fault::new(FaultKind::Refuse)).await.unwrap();
    let off = [json!({ "kind": "turnFlagOff" })];
    let refunds = (environment("production"), flag_key("refunds"));
    shop.control().colleague_patches(&refunds.0, &refunds.1, &[json!({ "kind": "turnFlagOn" })], "carol", "").unwrap();
    assert_eq!(stream.event().await.data()["path"], "/flags/refunds", "the stream does not need the API");
    shop.control().colleague_patches(&refunds.0, &refunds.1, &off, "carol", "").unwrap();
    assert_eq!(stream.event().await.name, "patch");
}

#[tokio::test]
async fn open_streams_are_reset_or_closed_and_count() {
    let shop = open().await;
    for kind in [FaultKind::Reset, FaultKind::Close] {
        let mut first = streaming(&shop).await;
        let mut other = Stream::open(&shop, "/big-segments", KEY).await;
        set(&shop, Fault::new(kind.clone()).on("GET", "/all").times(2)).await;
        assert_eq!(first.next().await, None, "{kind:?}");
        assert!(try_to_ask(&shop, "/all", KEY).await.is_err(), "{kind:?}");
        streaming(&shop).await;
        assert!(other.is_silent_for(Duration::from_millis(50)).await, "it is another path");
        assert!(shop.control().stream().faults().is_empty());
    }
}

#[tokio::test]
async fn an_open_stream_goes_silent_and_ends_when_the_fault_does() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    shop.control().set_heartbeat(Duration::from_millis(10));
    stream.comment().await;
    set(&shop, Fault::new(FaultKind::BlackHole)).await;
    // What was on its way may still come.
    while !stream.is_silent_for(Duration::from_millis(200)).await {}
    flip(&shop).await;
    assert!(stream.is_silent_for(Duration::from_millis(200)).await);
    assert_eq!(shop.control().stream_count(Some("/all")), 1, "for its client it is open");
    let asked = try_to_ask(&shop, "/all", KEY);
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err(), "new ones get no answer");
    shop.control().stream().clear_faults().await.unwrap();
    assert_eq!(stream.next().await, None);
    streaming(&shop).await;
}

#[tokio::test]
async fn statuses_and_pages_instead_of_a_stream() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    for status in [401, 403, 407, 429, 500, 503] {
        set(&shop, Fault::status(status).on("GET", "/all").times(1)).await;
        assert_eq!(ask(&shop, "/all", KEY).await.status().as_u16(), status);
    }
    set(&shop, Fault::new(FaultKind::WebPage).times(1)).await;
    let page = ask(&shop, "/all", KEY).await;
    assert_eq!(
        (page.status().as_u16(), &page.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    flip(&shop).await;
    assert_eq!(stream.event().await.name, "patch", "what is open does not notice");
}

/// A connection on which a stream was refused stays open for other requests, and is none of a fault for streams.
#[tokio::test]
async fn refused_streams_do_not_count() {
    let shop = open().await;
    assert!(ask(&shop, "/all", "sdk-wrong").await.text().await.unwrap().contains("unauthorized"));
    set(&shop, Fault::new(FaultKind::Reset).on("GET", "/all").times(1)).await;
    assert_eq!(shop.control().stream().faults().len(), 1);
    assert!(try_to_ask(&shop, "/all", KEY).await.is_err());
    streaming(&shop).await;
}

#[tokio::test]
async fn half_an_event() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    set(&shop, Fault::new(FaultKind::HalfEvent).times(1)).await;
    flip(&shop).await;
    assert_eq!(stream.next().await, None);
    assert!(stream.torn().starts_with("event: patch\ndata: {\"path\":\"/flags/checkout\""), "{}", stream.torn());
    set(&shop, Fault::new(FaultKind::HalfEvent).times(1)).await;
    let mut torn = Stream::open(&shop, "/all", KEY).await;
    assert_eq!(torn.next().await, None);
    assert!(torn.torn().starts_with("event: put\ndata: {"), "{}", torn.torn());
    streaming(&shop).await;
}

#[tokio::test]
async fn garbage_in_the_middle() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    set(&shop, Fault::new(FaultKind::Garbage).times(1)).await;
    let garbled = flip(&shop).await;
    let event = stream.event().await;
    assert_eq!(event.name, "patch");
    assert!(serde_json::from_str::<Value>(&event.text).is_err());
    assert_eq!(flip(&shop).await, garbled + 1);
    assert_eq!(stream.event().await.data()["data"]["version"], garbled + 1, "it goes on");
    // A poll has no events: its body is garbled.
    set(&shop, Fault::new(FaultKind::Garbage).on("GET", "/sdk/*").times(1)).await;
    let body = ask(&shop, "/sdk/latest-all", KEY).await.text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&body).is_err());
}

#[tokio::test]
async fn slow_events() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    set(&shop, Fault::new(FaultKind::Slow { milliseconds: 150 }).on("GET", "/all")).await;
    let start = std::time::Instant::now();
    flip(&shop).await;
    flip(&shop).await;
    stream.event().await;
    stream.event().await;
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_old_put() {
    let shop = open().await;
    flip(&shop).await;
    shop.control().name_moment("before lunch");
    for _ in 0..3 {
        flip(&shop).await;
    }
    let old = |changes_ago, moment: Option<&str>| {
        Fault::new(FaultKind::OldPut { changes_ago, moment: moment.map(str::to_owned) }).times(1)
    };
    let mut seen = Vec::new();
    for fault in [old(Some(0), None), old(Some(2), None), old(Some(99), None), old(None, Some("before lunch"))] {
        set(&shop, fault).await;
        let mut stream = Stream::open(&shop, "/all", KEY).await;
        seen.push(version(&stream.event().await.data()).as_u64().unwrap());
    }
    assert_eq!(seen, [46, 44, 42, 43]);
    // What follows an old put is what really changes.
    set(&shop, old(Some(2), None)).await;
    let mut stream = Stream::open(&shop, "/all", KEY).await;
    stream.event().await;
    let changed = flip(&shop).await;
    assert_eq!(stream.event().await.data()["data"]["version"], changed);
    // Polls as well.
    set(&shop, old(Some(1), None)).await;
    let poll = ask(&shop, "/sdk/flags/checkout", KEY).await.text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&poll).unwrap()["version"], changed - 1);
    let refused = shop.control().stream().fault(old(None, Some("dinner"))).await;
    assert_eq!(refused, Err(FaultError::NoMoment { name: "dinner".to_owned() }));
    let refused = shop.control().api().fault(old(Some(1), None)).await;
    assert_eq!(refused, Err(FaultError::OnlyOnStreams));
}

#[tokio::test]
async fn delivery_stands_still_and_goes_on() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    shop.control().freeze();
    let (first, second) = (flip(&shop).await, flip(&shop).await);
    let mut later = Stream::open(&shop, "/all", KEY).await;
    assert_eq!(*version(&later.event().await.data()), first - 1, "the API is ahead of the stream");
    let poll = ask(&shop, "/sdk/flags/checkout", KEY).await.text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&poll).unwrap()["version"], first - 1);
    shop.control().thaw();
    for open in [&mut stream, &mut later] {
        for expected in [first, second] {
            assert_eq!(open.event().await.data()["data"]["version"], expected);
        }
    }
    let third = flip(&shop).await;
    assert_eq!(stream.event().await.data()["data"]["version"], third);
}

#[tokio::test]
async fn a_wrong_clock_on_the_stream() {
    let shop = open().await;
    set(&shop, Fault::new(FaultKind::ClockSkew { milliseconds: -3_600_000 })).await;
    let answer = ask(&shop, "/sdk/latest-all", KEY).await;
    let date = jiff::fmt::rfc2822::parse(answer.headers()["date"].to_str().unwrap()).unwrap().timestamp();
    let behind = jiff::Timestamp::now().as_second() - date.as_second();
    assert!((3_595..=3_605).contains(&behind), "{behind}");
}

#[tokio::test]
async fn streams_end_when_it_is_told_to() {
    let shop = open().await;
    let mut stream = streaming(&shop).await;
    streams_open(&shop, "/all", 1).await;
    let url = format!("{}/all", shop.running.stream_url);
    shop.running.stop().await;
    assert_eq!(stream.next().await, None);
    assert!(shop.client.get(url).send().await.unwrap_err().is_connect());
}
