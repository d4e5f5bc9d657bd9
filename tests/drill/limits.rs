//! Rate limits and their headers.

use relay_commander::drill::launchdarkly::LimitAnswer;
use relay_commander::drill::launchdarkly::Limits;

use super::support::Shop;

const CHECKOUT: &str = "/api/v2/flags/shop/checkout";

fn limits(account: Option<u64>, route: Option<u64>, answer: LimitAnswer) -> Limits {
    // Longer than any test takes: a window that ends in between would let a request through.
    Limits { account, route, window_milliseconds: 600_000, answer }
}

#[tokio::test]
async fn no_limits_no_headers() {
    let shop = Shop::open().await;
    let answer = shop.get(CHECKOUT).await;
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-ratelimit")));
}

#[tokio::test]
async fn routes_count_apart_and_the_account_together() {
    let shop = Shop::open().await;
    shop.control().limit(limits(Some(4), Some(2), LimitAnswer::Reset));
    let first = shop.get(CHECKOUT).await;
    assert_eq!(first.header("x-ratelimit-route-remaining"), Some("1"));
    assert_eq!(first.header("x-ratelimit-global-remaining"), Some("3"));
    // Another flag is the same route.
    shop.get("/api/v2/flags/shop/refunds").await.expect(200);
    let refused = shop.get(CHECKOUT).await;
    assert_eq!(refused.header("x-ratelimit-route-remaining"), Some("0"));
    let reset: i64 = refused.header("x-ratelimit-reset").unwrap().parse().unwrap();
    let ahead = reset - jiff::Timestamp::now().as_millisecond();
    assert!((1..=600_000).contains(&ahead), "{ahead}");
    assert_eq!(refused.expect(429)["code"], "rate_limited");
    shop.get("/api/v2/versions").await.expect(200);
    shop.get("/api/v2/versions").await.expect(200);
    let refused = shop.get("/api/v2/auditlog").await;
    assert_eq!(refused.header("x-ratelimit-global-remaining"), Some("0"));
    refused.expect(429);
}

#[tokio::test]
async fn a_new_window_lets_requests_through_again() {
    let shop = Shop::open().await;
    shop.control().limit(Limits { route: Some(1), window_milliseconds: 300, ..Limits::default() });
    shop.get(CHECKOUT).await.expect(200);
    let mut refused = 0;
    // Waits for a condition, each time as long as the server says.
    while shop.get(CHECKOUT).await.status == 429 {
        refused += 1;
        assert!(refused < 100, "the window never ends");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_other_ways_to_refuse() {
    let shop = Shop::open().await;
    shop.control().limit(limits(Some(0), None, LimitAnswer::RetryAfter));
    let refused = shop.get(CHECKOUT).await;
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=600).contains(&seconds));
    assert!(refused.header("x-ratelimit-reset").is_none());
    shop.control().limit(limits(Some(0), None, LimitAnswer::Silent));
    let refused = shop.get(CHECKOUT).await;
    assert!(refused.header("retry-after").is_none() && refused.header("x-ratelimit-reset").is_none());
    refused.expect(429);
}
