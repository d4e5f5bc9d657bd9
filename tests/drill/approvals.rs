//! Approval requests: asked for, reviewed, applied.

use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Seed;
use serde_json::Value;
use serde_json::json;

use super::support::OTHER;
use super::support::READER;
use super::support::Shop;
use super::support::WRITER;
use super::support::environment;
use super::support::flag_key;
use super::support::turn;

const REFUNDS: &str = "/api/v2/flags/shop/refunds";
const REQUESTS: &str = "/api/v2/projects/shop/flags/refunds/environments/guarded/approval-requests";

fn request() -> Value {
    json!({ "description": "an outage", "comment": "why", "instructions": [{ "kind": "turnFlagOff" }] })
}

async fn requested(shop: &Shop) -> String {
    let made = shop.post(WRITER, REQUESTS, &request()).await.expect(201);
    assert_eq!((&made["reviewStatus"], &made["status"]), (&json!("pending"), &json!("pending")));
    format!("{REQUESTS}/{}", made["_id"].as_str().unwrap())
}

#[tokio::test]
async fn from_request_to_change() {
    let shop = Shop::open().await;
    let path = requested(&shop).await;
    assert_eq!(shop.configuration("refunds", "guarded").await["on"], true);
    // Not before somebody else has approved it.
    shop.post(WRITER, &format!("{path}/apply"), &json!({})).await.expect(400);
    shop.post(WRITER, &format!("{path}/reviews"), &json!({ "kind": "approve" })).await.expect(403);
    shop.post(READER, &format!("{path}/reviews"), &json!({ "kind": "approve" })).await.expect(403);
    shop.post(OTHER, &format!("{path}/reviews"), &json!({ "kind": "like" })).await.expect(400);
    let reviewed = shop.post(OTHER, &format!("{path}/reviews"), &json!({ "kind": "approve", "comment": "ok" })).await;
    assert_eq!(reviewed.expect(200)["reviewStatus"], "approved");
    let applied = shop.post(WRITER, &format!("{path}/apply"), &json!({ "comment": "now" })).await.expect(200);
    assert_eq!(applied["status"], "completed");
    assert!(applied["appliedDate"].is_i64());
    let shown = shop.configuration("refunds", "guarded").await;
    assert_eq!((&shown["on"], &shown["version"]), (&json!(false), &json!(6)));
    shop.post(WRITER, &format!("{path}/apply"), &json!({})).await.expect(400);
    assert_eq!(shop.get(&path).await.expect(200)["status"], "completed");
    let entry = shop.get("/api/v2/auditlog").await.expect(200)["items"][0].clone();
    assert_eq!(entry["comment"], "now");
}

#[tokio::test]
async fn lists_and_mistakes() {
    let shop = Shop::open().await;
    let path = requested(&shop).await;
    let all = shop.get(REQUESTS).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    shop.get(&format!("{REQUESTS}/nothing")).await.expect(404);
    let elsewhere = path.replace("guarded", "staging");
    shop.get(&elsewhere).await.expect(404);
    shop.post(WRITER, REQUESTS, &json!({ "description": "no instructions" })).await.expect(400);
    let unknown = json!({ "description": "x", "instructions": [{ "kind": "explode" }] });
    shop.post(WRITER, REQUESTS, &unknown).await.expect(400);
    shop.post(READER, REQUESTS, &request()).await.expect(403);
}

#[tokio::test]
async fn declined_is_not_applied() {
    let shop = Shop::open().await;
    let path = requested(&shop).await;
    let reviewed = shop.post(OTHER, &format!("{path}/reviews"), &json!({ "kind": "decline" })).await.expect(200);
    assert_eq!(reviewed["reviewStatus"], "declined");
    shop.post(WRITER, &format!("{path}/apply"), &json!({})).await.expect(400);
    assert_eq!(shop.configuration("refunds", "guarded").await["on"], true);
}

#[tokio::test]
async fn colleagues_approve_and_apply() {
    let shop = Shop::open().await;
    let mut changes = shop.control().changes();
    requested(&shop).await;
    let (guarded, refunds) = (environment("guarded"), flag_key("refunds"));
    let open = shop.control().open_approvals(&guarded, &refunds);
    shop.control().colleague_reviews(&open[0], "approve", "carol").unwrap();
    assert_eq!(shop.control().colleague_applies(&open[0], "carol").unwrap(), 6);
    assert!(shop.control().open_approvals(&guarded, &refunds).is_empty());
    assert_eq!(changes.try_recv().unwrap().version, 6);
}

#[tokio::test]
async fn approved_changes_apply_themselves_where_that_is_set() {
    let settings = json!({ "required": true, "canReviewOwnRequest": true, "autoApplyApprovedChanges": true });
    let seed = Seed::new().project("shop").environment("guarded").approval_settings(settings);
    let shop = Shop::with(seed.boolean_flag("refunds", true, 5).token(WRITER, Role::Writer, "anna")).await;
    let path = requested(&shop).await;
    let shown = shop.post(WRITER, &format!("{path}/reviews"), &json!({ "kind": "approve" })).await.expect(200);
    assert_eq!(shown["status"], "completed");
    assert_eq!(shop.configuration("refunds", "guarded").await["on"], false);
}

#[tokio::test]
async fn only_tagged_flags_need_an_approval_where_tags_are_set() {
    let settings = json!({ "required": true, "requiredApprovalTags": ["money"] });
    let seed = Seed::new().project("shop").environment("guarded").approval_settings(settings);
    let seed = seed.boolean_flag("refunds", true, 5).tags("refunds", &["money"]).boolean_flag("banner", true, 1);
    let shop = Shop::with(seed.token(WRITER, Role::Writer, "anna")).await;
    shop.patch(REFUNDS, &turn("guarded", false)).await.expect(405);
    shop.patch("/api/v2/flags/shop/banner", &turn("guarded", false)).await.expect(200);
}
