//! What SDKs ask for again and again, and what they send.

use serde_json::Value;
use serde_json::json;

use super::listening::ask;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::seed;
use super::support::turn;

const KEY: &str = "sdk-production-0001";

async fn open() -> Shop {
    let seed = seed().environment("production").sdk_key(KEY).client_side_id("0123456789abcdef01234567");
    Shop::with(seed.records(json!({ "segments": { "testers": { "included": ["anna"], "version": 3 } } }))).await
}

/// Status, tag and body, asked for with this tag.
async fn poll(shop: &Shop, path: &str, tag: &str) -> (u16, String, String) {
    let request = shop.client.get(format!("{}{path}", shop.running.stream_url)).header("Authorization", KEY);
    let answer = request.header("If-None-Match", tag).send().await.unwrap();
    let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
    (answer.status().as_u16(), tag.unwrap_or_default(), answer.text().await.unwrap())
}

#[tokio::test]
async fn tags_tell_whether_anything_changed() {
    let shop = open().await;
    for path in ["/sdk/latest-all", "/sdk/flags", "/sdk/flags/checkout"] {
        let (status, tag, body) = poll(&shop, path, "\"another\"").await;
        assert_eq!(status, 200, "{path}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body.to_string().contains("checkout"), "{body}");
        assert_eq!(poll(&shop, path, &tag).await, (304, tag.clone(), String::new()), "{path}");
        assert_eq!(poll(&shop, path, &format!("\"x\", W/{tag}")).await.0, 304, "{path}");
        let on = shop.configuration("checkout", "production").await["on"].as_bool().unwrap();
        shop.patch("/api/v2/flags/shop/checkout", &turn("production", !on)).await.expect(200);
        let (status, new_tag, _) = poll(&shop, path, &tag).await;
        assert_eq!(status, 200, "{path}");
        assert_ne!(new_tag, tag, "{path}");
    }
}

#[tokio::test]
async fn one_thing_at_a_time() {
    let shop = open().await;
    let flag: Value = serde_json::from_str(&poll(&shop, "/sdk/flags/checkout", "").await.2).unwrap();
    assert_eq!((&flag["key"], &flag["version"]), (&json!("checkout"), &json!(42)));
    let segment: Value = serde_json::from_str(&poll(&shop, "/sdk/segments/testers", "").await.2).unwrap();
    assert_eq!((&segment["key"], &segment["version"]), (&json!("testers"), &json!(3)));
    let all: Value = serde_json::from_str(&poll(&shop, "/sdk/latest-all", "").await.2).unwrap();
    assert_eq!((&all["flags"]["checkout"], &all["segments"]["testers"]), (&flag, &segment));
    for missing in ["/sdk/flags/nothing", "/sdk/segments/nothing", "/sdk/nothing"] {
        assert_eq!(poll(&shop, missing, "").await.0, 404, "{missing}");
    }
    shop.control().archive_flag(&environment("production"), &flag_key("checkout"), "carol").unwrap();
    assert_eq!(poll(&shop, "/sdk/flags/checkout", "").await.0, 404);
}

#[tokio::test]
async fn what_clients_send_is_taken_and_dropped() {
    let shop = open().await;
    let send = |path: &str, key: &str| {
        let request = shop.client.post(format!("{}{path}", shop.running.stream_url)).header("Authorization", key);
        let request = request.json(&json!([{ "kind": "identify" }]));
        async move { request.send().await.unwrap().status().as_u16() }
    };
    let shown = shop.get("/api/v2/projects/shop/environments/production").await.expect(200);
    let mobile = shown["mobileKey"].as_str().unwrap();
    for path in ["/bulk", "/diagnostic", "/api/events/bulk"] {
        assert_eq!((send(path, KEY).await, send(path, "sdk-wrong").await), (202, 401), "{path}");
    }
    for path in ["/mobile", "/mobile/events/bulk", "/mobile/events/diagnostic"] {
        assert_eq!((send(path, mobile).await, send(path, KEY).await), (202, 401), "{path}");
    }
    assert_eq!(send("/events/bulk/0123456789abcdef01234567", "").await, 202);
    assert_eq!(send("/events/diagnostic/ffffffffffffffffffffffff", "").await, 404);
    let goals = ask(&shop, "/sdk/goals/0123456789abcdef01234567", "").await;
    assert_eq!((goals.status().as_u16(), goals.text().await.unwrap().as_str()), (200, "[]"));
    let revisions = ask(&shop, "/sdk/big-segments/revisions?after=1", KEY).await;
    assert_eq!((revisions.status().as_u16(), revisions.text().await.unwrap().as_str()), (200, "[]"));
    let received = shop.control().stream().received();
    assert_eq!(received[0].json(), json!([{ "kind": "identify" }]));
    assert!(!format!("{received:?}").contains(KEY));
    assert!(
        shop.control().received().iter().all(|request| request.path.starts_with("/api/")),
        "the API's own are apart"
    );
}
