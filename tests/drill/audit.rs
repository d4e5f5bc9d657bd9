//! The audit log: who, what, when, why, in pages.

use serde_json::json;

use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::turn;

#[tokio::test]
async fn an_entry_tells_who_did_what_and_why() {
    let shop = Shop::open().await;
    shop.patch("/api/v2/flags/shop/checkout", &turn("production", false)).await.expect(200);
    let listed = shop.get("/api/v2/auditlog").await.expect(200)["items"][0].clone();
    assert_eq!(listed["comment"], "a test");
    assert_eq!(listed["member"]["firstName"], "anna");
    assert_eq!(listed["token"]["ending"], "0001");
    assert_eq!(listed["titleVerb"], "turned off the flag");
    let access = json!({ "action": "updateOn", "resource": "proj/shop:env/production:flag/checkout" });
    assert_eq!(listed["accesses"], json!([access]));
    let whole = shop.get(&format!("/api/v2/auditlog/{}", listed["_id"].as_str().unwrap())).await.expect(200);
    let version = |name: &str| whole[name]["environments"]["production"]["version"].clone();
    assert_eq!((version("previousVersion"), version("currentVersion")), (json!(42), json!(43)));
    shop.get("/api/v2/auditlog/nothing").await.expect(404);
}

#[tokio::test]
async fn colleagues_are_named_and_pages_follow_their_links() {
    let shop = Shop::open().await;
    let (production, checkout) = (environment("production"), flag_key("checkout"));
    for number in 0..12 {
        let kind = if number % 2 == 0 { "turnFlagOff" } else { "turnFlagOn" };
        let comment = format!("change {number}");
        let instructions = [json!({ "kind": kind })];
        shop.control().colleague_patches(&production, &checkout, &instructions, "carol", &comment).unwrap();
    }
    shop.patch("/api/v2/flags/shop/checkout", &turn("staging", true)).await.expect(200);
    let mut comments = Vec::new();
    let spec = "proj/shop:env/production:flag/checkout";
    let mut next = Some(format!("/api/v2/auditlog?limit=5&spec={spec}"));
    while let Some(path) = next {
        let page = shop.get(&path).await.expect(200);
        for entry in page["items"].as_array().unwrap() {
            assert_eq!(entry["member"]["firstName"], "carol");
            assert!(entry.get("token").is_none());
            comments.push(entry["comment"].as_str().unwrap().to_owned());
        }
        next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        assert!(comments.len() <= 12);
    }
    let expected: Vec<String> = (0..12).rev().map(|number| format!("change {number}")).collect();
    assert_eq!(comments, expected);
    let found = shop.get("/api/v2/auditlog?q=change%207").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let since = found["items"][0]["date"].as_i64().unwrap();
    let later = shop.get(&format!("/api/v2/auditlog?after={since}&spec={spec}")).await.expect(200);
    assert_eq!(later["items"].as_array().unwrap().len(), 4);
    shop.get("/api/v2/auditlog?limit=21").await.expect(400);
    shop.get("/api/v2/auditlog?after=yesterday").await.expect(400);
}
