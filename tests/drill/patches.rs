//! Changing flags: semantic patches and JSON patches.

use relay_commander::drill::launchdarkly::SdkFlag;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use super::support::ADMIN;
use super::support::ON_OFF_ONLY;
use super::support::READER;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::turn;

const CHECKOUT: &str = "/api/v2/flags/shop/checkout";
const TIER: &str = "/api/v2/flags/shop/pricing-tier";

fn patch(instructions: Value) -> Value {
    json!({ "environmentKey": "production", "instructions": instructions })
}

#[tokio::test]
async fn off_counts_the_version_up_once_and_only_where_it_happened() {
    let shop = Shop::open().await;
    let mut changes = shop.control().changes();
    let shown = shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    let production = &shown["environments"]["production"];
    assert_eq!((&production["on"], &production["version"]), (&json!(false), &json!(43)));
    assert_eq!((&shown["environments"]["staging"]["version"], &shown["_version"]), (&json!(1), &json!(1)));
    // The same again changes nothing, and leaves no trace.
    let again = shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    assert_eq!(again["environments"]["production"]["version"], 43);
    assert_eq!(again["environments"]["production"]["lastModified"], production["lastModified"]);
    assert_eq!(shop.audit_count().await, 1);
    let change = changes.try_recv().unwrap();
    assert_eq!((change.environment, change.flag.as_str(), change.version), (environment("production"), "checkout", 43));
    assert!(changes.try_recv().is_err());
}

#[tokio::test]
async fn a_patch_is_made_whole_or_not_at_all() {
    let shop = Shop::open().await;
    let unknown = patch(json!([{ "kind": "turnFlagOff" }, { "kind": "turnFlagSideways" }]));
    let answer = shop.patch(CHECKOUT, &unknown).await.expect(400);
    assert_eq!(answer["code"], "invalid_request");
    assert!(answer["message"].as_str().unwrap().contains("turnFlagSideways"));
    let foreign = patch(json!([{ "kind": "turnFlagOff" }, { "kind": "updateOffVariation", "variationId": "x" }]));
    shop.patch(CHECKOUT, &foreign).await.expect(400);
    shop.patch(CHECKOUT, &json!({ "instructions": [{ "kind": "turnFlagOff" }] })).await.expect(400);
    shop.patch(CHECKOUT, &patch(json!([]))).await.expect(400);
    shop.patch(CHECKOUT, &turn("moon", false)).await.expect(404);
    assert_eq!(shop.configuration("checkout", "production").await["version"], 42);
    assert_eq!(shop.audit_count().await, 0);
}

#[tokio::test]
async fn the_content_type_decides_what_a_body_is() {
    let shop = Shop::open().await;
    shop.json_patch(CHECKOUT, &turn("production", false)).await.expect(400);
    let broken = shop.request(Method::PATCH, CHECKOUT).body("{");
    shop.send(broken).await.expect(400);
    let by_post = shop.request(Method::POST, CHECKOUT).header("X-HTTP-Method-Override", "PATCH");
    let by_post = by_post.header("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch");
    let response = by_post.body(turn("production", false).to_string()).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(shop.configuration("checkout", "production").await["on"], false);
}

#[tokio::test]
async fn a_dry_run_shows_and_keeps_nothing() {
    let shop = Shop::open().await;
    let shown = shop.patch(&format!("{CHECKOUT}?dryRun=true"), &turn("production", false)).await.expect(200);
    assert_eq!(shown["environments"]["production"]["on"], false);
    assert_eq!(shop.configuration("checkout", "production").await["on"], true);
    assert_eq!(shop.audit_count().await, 0);
    shop.patch(&format!("{CHECKOUT}?dryRun=perhaps"), &turn("production", false)).await.expect(400);
}

#[tokio::test]
async fn roles_hold() {
    let shop = Shop::open().await;
    shop.patch_as(READER, CHECKOUT, &turn("production", false)).await.expect(403);
    shop.patch_as(ON_OFF_ONLY, CHECKOUT, &turn("production", false)).await.expect(200);
    let id = shop.control().variation_id(&environment("production"), &flag_key("checkout"), 0).unwrap();
    let off = patch(json!([{ "kind": "updateOffVariation", "variationId": id }]));
    shop.patch_as(ON_OFF_ONLY, CHECKOUT, &off).await.expect(403);
    shop.patch(CHECKOUT, &off).await.expect(200);
    // A writer does not get past an approval, an administrator does.
    let refunds = "/api/v2/flags/shop/refunds";
    let answer = shop.patch(refunds, &turn("guarded", false)).await.expect(405);
    let message = "Flag configuration updates require approval: action 'updateOn' not allowed";
    assert_eq!((&answer["code"], &answer["message"]), (&json!("method_not_allowed"), &json!(message)));
    shop.patch(&format!("{refunds}?dryRun=true"), &turn("guarded", false)).await.expect(405);
    shop.patch_as(ADMIN, refunds, &turn("guarded", false)).await.expect(200);
}

#[tokio::test]
async fn what_is_served_can_be_changed() {
    let shop = Shop::open().await;
    let id = |index: usize| {
        shop.control().variation_id(&environment("production"), &flag_key("pricing-tier"), index).unwrap()
    };
    let kind = "updateFallthroughVariationOrRollout";
    shop.patch(TIER, &patch(json!([{ "kind": kind, "variationId": id(2) }]))).await.expect(200);
    assert_eq!(shop.configuration("pricing-tier", "production").await["fallthrough"], json!({ "variation": 2 }));
    let weights = json!({ id(1): 40_000, id(0): 60_000 });
    shop.patch(TIER, &patch(json!([{ "kind": kind, "rolloutWeights": weights }]))).await.expect(200);
    let rollout = json!({ "rollout": {
        "variations": [{ "variation": 0, "weight": 60_000 }, { "variation": 1, "weight": 40_000 }],
        "contextKind": "user",
    } });
    assert_eq!(shop.configuration("pricing-tier", "production").await["fallthrough"], rollout);
    shop.patch(TIER, &patch(json!([{ "kind": kind, "rolloutWeights": { id(0): 1 } }]))).await.expect(400);
    shop.patch(TIER, &patch(json!([{ "kind": kind }]))).await.expect(400);
    shop.patch(TIER, &patch(json!([{ "kind": "updateOffVariation", "variationId": id(1) }]))).await.expect(200);
    assert_eq!(shop.configuration("pricing-tier", "production").await["offVariation"], 1);
}

#[tokio::test]
async fn targets() {
    let shop = Shop::open().await;
    let id = |index| shop.control().variation_id(&environment("production"), &flag_key("pricing-tier"), index).unwrap();
    let targets = async || {
        let shown = shop.configuration("pricing-tier", "production").await;
        (shown["targets"].clone(), shown["contextTargets"].clone())
    };
    let add = json!([
        { "kind": "addTargets", "variationId": id(0), "values": ["u1", "u2", "u1"] },
        { "kind": "addTargets", "variationId": id(1), "contextKind": "org", "values": ["o1"] },
    ]);
    shop.patch(TIER, &patch(add.clone())).await.expect(200);
    let users = json!([{ "values": ["u1", "u2"], "variation": 0, "contextKind": "user" }]);
    let others = json!([
        { "values": [], "variation": 0, "contextKind": "user" },
        { "values": ["o1"], "variation": 1, "contextKind": "org" },
    ]);
    assert_eq!(targets().await, (users, others));
    shop.patch(TIER, &patch(add)).await.expect(200);
    assert_eq!(shop.configuration("pricing-tier", "production").await["version"], 31);
    // A key is a target of one variation only.
    let moved = json!([{ "kind": "addUserTargets", "variationId": id(2), "values": ["u2"] }]);
    shop.patch(TIER, &patch(moved)).await.expect(200);
    assert_eq!(targets().await.0[0]["values"], json!(["u1"]));
    let removed = json!([
        { "kind": "removeTargets", "variationId": id(0), "values": ["u1"] }, { "kind": "clearTargets", "variationId": id(1) },
    ]);
    shop.patch(TIER, &patch(removed)).await.expect(200);
    let (users, others) = targets().await;
    assert_eq!((users.as_array().unwrap().len(), others.as_array().unwrap().len()), (1, 1));
    let replaced = json!([{ "kind": "replaceTargets", "targets": [
        { "variationId": id(1), "contextKind": "device", "values": ["d"] },
    ] }]);
    shop.patch(TIER, &patch(replaced)).await.expect(200);
    let device = json!([{ "values": ["d"], "variation": 1, "contextKind": "device" }]);
    assert_eq!(targets().await, (json!([]), device));
    let wrong = json!([{ "kind": "addTargets", "variationId": id(0), "values": [1] }]);
    shop.patch(TIER, &patch(wrong)).await.expect(400);
}

#[tokio::test]
async fn rules_and_clauses() {
    let shop = Shop::open().await;
    let id = |index| shop.control().variation_id(&environment("production"), &flag_key("pricing-tier"), index).unwrap();
    let rules = async || shop.configuration("pricing-tier", "production").await["rules"].clone();
    let clause = json!({ "attribute": "country", "op": "in", "values": ["SE"] });
    let add = |index: usize| json!([{ "kind": "addRule", "variationId": id(index), "clauses": [clause] }]);
    shop.patch(TIER, &patch(add(0))).await.expect(200);
    let first = rules().await[0]["_id"].clone();
    let before = json!([
        { "kind": "addRule", "variationId": id(1), "clauses": [clause], "beforeRuleId": first },
        { "kind": "updateRuleDescription", "ruleId": first, "description": "Swedes" },
    ]);
    shop.patch(TIER, &patch(before)).await.expect(200);
    let shown = rules().await;
    assert_eq!(
        (&shown[1]["_id"], &shown[1]["description"], &shown[0]["variation"]),
        (&first, &json!("Swedes"), &json!(1))
    );
    let clause_id = shown[1]["clauses"][0]["_id"].clone();
    let edits = json!([
        { "kind": "addValuesToClause", "ruleId": first, "clauseId": clause_id, "values": ["NO", "SE"] },
        { "kind": "removeValuesFromClause", "ruleId": first, "clauseId": clause_id, "values": ["SE"] },
        { "kind": "updateRuleVariationOrRollout", "ruleId": first, "variationId": id(2) },
        { "kind": "updateRuleTrackEvents", "ruleId": first, "trackEvents": true },
        { "kind": "addClauses", "ruleId": first, "clauses": [{ "op": "segmentMatch", "values": ["beta"] }] },
        { "kind": "reorderRules", "ruleIds": [first, shown[0]["_id"]] },
    ]);
    shop.patch(TIER, &patch(edits)).await.expect(200);
    let shown = rules().await;
    assert_eq!(shown[0]["clauses"][0]["values"], json!(["NO"]));
    assert_eq!((&shown[0]["variation"], &shown[0]["trackEvents"]), (&json!(2), &json!(true)));
    assert_eq!(shown[0]["clauses"].as_array().unwrap().len(), 2);
    shop.patch(TIER, &patch(json!([{ "kind": "removeRule", "ruleId": first }]))).await.expect(200);
    shop.patch(TIER, &patch(json!([{ "kind": "removeRule", "ruleId": first }]))).await.expect(400);
    let wrong = json!([{ "kind": "addRule", "variationId": id(0), "clauses": [{ "attribute": "a", "op": "is", "values": [] }] }]);
    shop.patch(TIER, &patch(wrong)).await.expect(400);
    shop.patch(TIER, &patch(json!([{ "kind": "replaceRules", "rules": [] }]))).await.expect(200);
    assert_eq!(rules().await, json!([]));
}

#[tokio::test]
async fn prerequisites_make_no_circle() {
    let shop = Shop::open().await;
    let id = |flag: &str| shop.control().variation_id(&environment("production"), &flag_key(flag), 0).unwrap();
    let add = |flag: &str| patch(json!([{ "kind": "addPrerequisite", "key": flag, "variationId": id(flag) }]));
    shop.patch(TIER, &add("checkout")).await.expect(200);
    let expected = json!([{ "key": "checkout", "variation": 0 }]);
    assert_eq!(shop.configuration("pricing-tier", "production").await["prerequisites"], expected);
    shop.patch(CHECKOUT, &add("pricing-tier")).await.expect(400);
    shop.patch(CHECKOUT, &add("checkout")).await.expect(400);
    shop.patch(TIER, &patch(json!([{ "kind": "removePrerequisite", "key": "checkout" }]))).await.expect(200);
    shop.patch(TIER, &patch(json!([{ "kind": "removePrerequisite", "key": "checkout" }]))).await.expect(400);
    shop.patch(CHECKOUT, &add("pricing-tier")).await.expect(200);
}

#[tokio::test]
async fn a_change_of_the_flag_itself_counts_everywhere() {
    let shop = Shop::open().await;
    let tags = json!({ "instructions": [{ "kind": "addTags", "values": ["money"] }] });
    let shown = shop.patch(CHECKOUT, &tags).await.expect(200);
    assert_eq!((&shown["_version"], &shown["tags"]), (&json!(2), &json!(["money"])));
    assert_eq!(shown["environments"]["production"]["version"], 43);
    assert_eq!(shown["environments"]["staging"]["version"], 2);
    // Removing a variation moves the indices behind it.
    let id = shop.control().variation_id(&environment("production"), &flag_key("pricing-tier"), 1).unwrap();
    let remove = json!({ "instructions": [{ "kind": "removeVariation", "variationId": id }] });
    let shown = shop.patch(TIER, &remove).await.expect(200);
    assert_eq!(shown["environments"]["production"]["offVariation"], 1);
    assert_eq!(shown["variations"][1]["value"], "bronze");
    let used = json!({ "instructions": [{ "kind": "removeVariation", "variationId": shown["variations"][0]["_id"] }] });
    shop.patch(TIER, &used).await.expect(400);
}

#[tokio::test]
async fn archived_and_deleted_flags() {
    let shop = Shop::open().await;
    let (production, checkout) = (environment("production"), flag_key("checkout"));
    shop.control().archive_flag(&production, &checkout, "carol").unwrap();
    assert_eq!(shop.get(CHECKOUT).await.expect(200)["archived"], true);
    assert_eq!(shop.control().sdk_flag(&production, &checkout).unwrap(), SdkFlag::Gone { version: 43 });
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(400);
    shop.patch(CHECKOUT, &json!({ "instructions": [{ "kind": "restoreFlag" }] })).await.expect(200);
    shop.patch(CHECKOUT, &turn("production", false)).await.expect(200);
    let delete = shop.request(Method::DELETE, CHECKOUT);
    shop.send(delete).await.expect(204);
    shop.get(CHECKOUT).await.expect(404);
    shop.patch(CHECKOUT, &turn("production", true)).await.expect(404);
    assert_eq!(shop.control().sdk_flag(&production, &checkout).unwrap(), SdkFlag::Gone { version: 46 });
}

#[tokio::test]
async fn json_patches() {
    let shop = Shop::open().await;
    let off = |version: u64| {
        json!({ "comment": "by hand", "patch": [
            { "op": "test", "path": "/environments/production/version", "value": version },
            { "op": "replace", "path": "/environments/production/on", "value": false },
        ] })
    };
    assert_eq!(shop.json_patch(CHECKOUT, &off(41)).await.expect(409)["code"], "optimistic_locking_error");
    let shown = shop.json_patch(CHECKOUT, &off(42)).await.expect(200);
    assert_eq!(shown["environments"]["production"]["version"], 43);
    let wrong = json!([{ "op": "replace", "path": "/environments/production/on", "value": "off" }]);
    shop.json_patch(CHECKOUT, &wrong).await.expect(400);
    let guarded = json!([{ "op": "replace", "path": "/environments/guarded/on", "value": true }]);
    shop.json_patch(CHECKOUT, &guarded).await.expect(405);
    shop.json_patch(CHECKOUT, &json!({ "patch": "on" })).await.expect(400);
}

#[tokio::test]
async fn a_scheduled_change_is_a_conflict_of_its_own() {
    let shop = Shop::open().await;
    let (production, checkout) = (environment("production"), flag_key("checkout"));
    shop.control().schedule(&production, &checkout, &[json!({ "kind": "turnFlagOff" })]).unwrap();
    let answer = shop.patch(CHECKOUT, &turn("production", false)).await.expect(400);
    assert!(answer["message"].as_str().unwrap().contains("scheduled change"));
    shop.patch(CHECKOUT, &turn("staging", true)).await.expect(200);
    shop.patch(&format!("{CHECKOUT}?ignoreConflicts=true"), &turn("production", false)).await.expect(200);
    shop.control().unschedule(&production, &checkout);
    shop.patch(CHECKOUT, &turn("production", true)).await.expect(200);
}
