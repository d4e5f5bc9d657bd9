//! What can be made to go wrong.

use std::error::Error as _;
use std::io;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use reqwest::Method;
use serde_json::json;

use super::support::Shop;
use super::support::client;
use super::support::turn;

const CHECKOUT: &str = "/api/v2/flags/shop/checkout";

/// The kind of the I/O error behind a failed request.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

async fn fails(shop: &Shop, method: Method) -> reqwest::Error {
    let request = shop.request(method, CHECKOUT);
    let request = request.header("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch");
    request.body(turn("production", false).to_string()).send().await.unwrap_err()
}

#[tokio::test]
async fn refused_and_back_on_the_same_port() {
    let shop = Shop::open().await;
    for _ in 0..3 {
        shop.get(CHECKOUT).await.expect(200);
        shop.control().fault(Fault::new(FaultKind::Refuse)).await.unwrap();
        // The connection that was kept open does not survive the outage. How it ends is the kernel's: another test of
        // this process that starts a child at this moment holds a copy of its socket until the child is another program.
        fails(&shop, Method::PATCH).await;
        // A new connection is refused.
        let error = client().get(shop.url(CHECKOUT)).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert_eq!(io_kind(&error), Some(io::ErrorKind::ConnectionRefused), "{error:?}");
        shop.control().clear_faults().await.unwrap();
        shop.get(CHECKOUT).await.expect(200);
    }
    assert_eq!(shop.configuration("checkout", "production").await["version"], 42);
    shop.control().fault(Fault::new(FaultKind::Refuse).times(1)).await.unwrap_err();
}

#[tokio::test]
async fn reset() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::new(FaultKind::Reset)).await.unwrap();
    let error = fails(&shop, Method::PATCH).await;
    assert_eq!(io_kind(&error), Some(io::ErrorKind::ConnectionReset), "{error:?}");
    shop.control().clear_faults().await.unwrap();
    assert_eq!(shop.configuration("checkout", "production").await["version"], 42);
}

#[tokio::test]
async fn a_black_hole_never_answers() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::new(FaultKind::BlackHole)).await.unwrap();
    let request = shop.request(Method::GET, CHECKOUT).timeout(Duration::from_millis(300));
    assert!(request.send().await.unwrap_err().is_timeout());
    // Whoever still waits when it ends has his connection closed.
    let waiting = tokio::spawn(shop.request(Method::GET, CHECKOUT).send());
    let deadline = Instant::now() + Duration::from_secs(10);
    while shop.control().received().len() < 2 {
        assert!(Instant::now() < deadline, "the second request never arrived");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shop.control().clear_faults().await.unwrap();
    assert!(!waiting.await.unwrap().unwrap_err().is_timeout());
}

#[tokio::test]
async fn statuses_limited_to_a_route_and_a_count() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::status(503).on("PATCH", "/api/v2/flags/*").times(2)).await.unwrap();
    shop.get(CHECKOUT).await.expect(200);
    for expected in [503, 503, 200] {
        shop.patch(CHECKOUT, &turn("production", false)).await.expect(expected);
    }
    for status in [401, 403, 407, 409, 429, 500, 502] {
        shop.control().fault(Fault::status(status).times(1)).await.unwrap();
        shop.get(CHECKOUT).await.expect(status);
    }
    let kind = FaultKind::Status { status: 429, retry_after: Some(7) };
    shop.control().fault(Fault::new(kind).times(1)).await.unwrap();
    assert_eq!(shop.get(CHECKOUT).await.header("retry-after"), Some("7"));
    assert!(shop.control().faults().is_empty());
    shop.get(CHECKOUT).await.expect(200);
}

#[tokio::test]
async fn an_answer_lost_before_and_after_applying() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::new(FaultKind::Close).on("PATCH", "*").times(1)).await.unwrap();
    fails(&shop, Method::PATCH).await;
    assert_eq!(shop.configuration("checkout", "production").await["version"], 42);
    shop.control().fault(Fault::new(FaultKind::Close).on("PATCH", "*").times(1).after_applying()).await.unwrap();
    fails(&shop, Method::PATCH).await;
    assert_eq!(shop.configuration("checkout", "production").await["version"], 43);
    shop.control().fault(Fault::status(500).on("PATCH", "*").times(1).after_applying()).await.unwrap();
    shop.patch(CHECKOUT, &turn("production", true)).await.expect(500);
    assert_eq!(shop.configuration("checkout", "production").await["version"], 44);
    let statuses: Vec<Option<u16>> = shop.control().received().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [None, Some(200), None, Some(200), Some(500), Some(200)]);
}

#[tokio::test]
async fn slow_and_garbled() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::new(FaultKind::Slow { milliseconds: 200 }).times(1)).await.unwrap();
    let start = Instant::now();
    shop.get(CHECKOUT).await.expect(200);
    assert!(start.elapsed() >= Duration::from_millis(200));
    shop.control().fault(Fault::new(FaultKind::Garbage).times(1)).await.unwrap();
    let response = shop.request(Method::GET, CHECKOUT).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert!(serde_json::from_str::<serde_json::Value>(&response.text().await.unwrap()).is_err());
}

#[tokio::test]
async fn a_wrong_clock() {
    let shop = Shop::open().await;
    shop.control().limit(relay_commander::drill::launchdarkly::Limits { route: Some(9), ..Default::default() });
    shop.control().fault(Fault::new(FaultKind::ClockSkew { milliseconds: 3_600_000 })).await.unwrap();
    let answer = shop.get(CHECKOUT).await;
    let date = rfc2822::parse(answer.header("date").unwrap()).unwrap().timestamp();
    let ahead = date.as_second() - Timestamp::now().as_second();
    assert!((3_595..=3_605).contains(&ahead), "{ahead}");
    // The reset is in the same clock.
    let reset: i64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((-1_000..=11_000).contains(&(reset - date.as_millisecond())));
}

#[tokio::test]
async fn what_arrived_is_known_without_the_token() {
    let shop = Shop::open().await;
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    let received = shop.control().received();
    let request = &received[0];
    assert_eq!((request.method.as_str(), request.path.as_str(), request.status), ("PATCH", CHECKOUT, Some(200)));
    assert_eq!(request.json()["instructions"], json!([{ "kind": "turnFlagOff" }]));
    assert_eq!(request.header("authorization"), Some(""));
    assert!(!format!("{received:?}").contains(super::support::WRITER));
    shop.control().forget_received();
    shop.get(CHECKOUT).await.expect(200);
    assert_eq!(shop.control().received()[0].number, 1);
}

#[tokio::test]
async fn it_ends_when_told_to() {
    let shop = Shop::open().await;
    shop.control().fault(Fault::new(FaultKind::BlackHole)).await.unwrap();
    let waiting = tokio::spawn(shop.request(Method::GET, CHECKOUT).send());
    let url = shop.url(CHECKOUT);
    shop.running.stop().await;
    waiting.await.unwrap().unwrap_err();
    assert!(client().get(url).send().await.unwrap_err().is_connect());
}
