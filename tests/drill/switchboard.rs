//! Driving the simulated LaunchDarkly over HTTP.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use super::support::Shop;
use super::support::turn;

async fn call(shop: &Shop, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = shop.client.request(method, format!("{}{path}", shop.running.control_url));
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn an_outage_is_switched_on_and_off() {
    let shop = Shop::open().await;
    let (status, _) = call(&shop, Method::POST, "api/faults", Some(json!({ "fault": "refuse" }))).await;
    assert_eq!(status, 200);
    assert!(shop.request(Method::GET, "/api/v2/versions").send().await.unwrap_err().is_connect());
    let (_, overview) = call(&shop, Method::GET, "", None).await;
    assert_eq!(overview["api"]["faults"][0]["fault"], "refuse");
    assert_eq!(call(&shop, Method::DELETE, "api/faults", None).await.0, 200);
    shop.get("/api/v2/versions").await.expect(200);
    let wrong = json!({ "fault": "refuse", "times": 1 });
    assert_eq!(call(&shop, Method::POST, "api/faults", Some(wrong)).await.0, 400);
    let limits = json!({ "account": 0 });
    assert_eq!(call(&shop, Method::PUT, "limits", Some(limits)).await.0, 200);
    shop.get("/api/v2/versions").await.expect(429);
    assert_eq!(call(&shop, Method::GET, "api/received", None).await.1["items"].as_array().unwrap().len(), 2);
    assert_eq!(call(&shop, Method::DELETE, "api/received", None).await.0, 200);
    assert_eq!(call(&shop, Method::GET, "", None).await.1["api"]["received"], 0);
}

#[tokio::test]
async fn colleagues_act_over_http() {
    let shop = Shop::open().await;
    let flag = "flags/shop/production/checkout";
    let off = json!([{ "kind": "turnFlagOff" }]);
    let deed = json!({ "instructions": off, "member": "carol", "comment": "margin fix" });
    assert_eq!(call(&shop, Method::POST, flag, Some(deed)).await, (200, json!({ "version": 43 })));
    let (_, shown) = call(&shop, Method::GET, flag, None).await;
    assert_eq!((&shown["configuration"]["on"], &shown["record"]["version"]), (&json!(false), &json!(43)));
    let on = json!({ "instructions": [{ "kind": "turnFlagOn" }] });
    assert_eq!(call(&shop, Method::POST, &format!("{flag}/schedule"), Some(on)).await.0, 200);
    shop.patch("/api/v2/flags/shop/checkout", &turn("production", true)).await.expect(400);
    assert_eq!(call(&shop, Method::DELETE, &format!("{flag}/schedule"), None).await.0, 200);

    let requests = "/api/v2/projects/shop/flags/refunds/environments/guarded/approval-requests";
    let request = json!({ "description": "x", "instructions": off });
    shop.post(super::support::WRITER, requests, &request).await.expect(201);
    let (_, open) = call(&shop, Method::GET, "flags/shop/guarded/refunds/approvals", None).await;
    let id = open["items"][0].as_str().unwrap();
    for verb in ["approve", "apply"] {
        let deed = json!({ "member": "carol" });
        assert_eq!(call(&shop, Method::POST, &format!("approvals/{id}/{verb}"), Some(deed)).await.0, 200);
    }
    assert_eq!(shop.configuration("refunds", "guarded").await["on"], false);
    assert_eq!(call(&shop, Method::DELETE, flag, None).await.0, 200);
    assert_eq!(call(&shop, Method::GET, flag, None).await.1["record"], json!({ "deleted": true, "version": 44 }));
    assert_eq!(call(&shop, Method::GET, "nothing", None).await.0, 404);
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let shop = Shop::open().await;
    for url in [format!("{}api/faults", shop.running.control_url), shop.url("/_drill/api/faults")] {
        let rebound = shop.client.delete(&url).header("Host", "evil.example");
        assert_eq!(rebound.send().await.unwrap().status().as_u16(), 403);
        let form = shop.client.post(&url).header("Content-Type", "text/plain").body(r#"{"fault":"refuse"}"#);
        assert_eq!(form.send().await.unwrap().status().as_u16(), 415);
        assert_eq!(shop.client.delete(&url).send().await.unwrap().status().as_u16(), 200);
    }
}
