//! Looking at things: root, versions, identity, tokens, projects, environments, flags.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use super::support::ON_OFF_ONLY;
use super::support::READER;
use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use super::support::seed;
use relay_commander::drill::launchdarkly::SdkFlag;
use relay_commander::drill::launchdarkly::Seed;

#[tokio::test]
async fn the_account_answers_who_and_what_it_is() {
    let shop = Shop::open().await;
    shop.get("/api/v2").await.expect(200);
    assert_eq!(shop.get("/api/v2/versions").await.expect(200)["currentVersion"], 20_240_415);
    let identity = shop.get_as(READER, "/api/v2/caller-identity").await.expect(200);
    let token = shop.get_as(READER, &format!("/api/v2/tokens/{}", identity["tokenId"].as_str().unwrap())).await;
    let token = token.expect(200);
    assert_eq!((&token["role"], &token["token"]), (&json!("reader"), &json!("0002")));
    let custom = shop.get_as(ON_OFF_ONLY, "/api/v2/caller-identity").await.expect(200);
    let path = format!("/api/v2/tokens/{}", custom["tokenId"].as_str().unwrap());
    let custom = shop.get_as(ON_OFF_ONLY, &path).await.expect(200);
    assert_eq!(custom["inlineRole"][1]["actions"], json!(["updateOn"]));
    shop.get_as(ON_OFF_ONLY, &format!("/api/v2/tokens/{}", token["_id"].as_str().unwrap())).await.expect(403);
    shop.get("/api/v2/tokens/nobody").await.expect(404);
    let production = shop.get("/api/v2/projects/shop/environments/production").await.expect(200);
    let sdk = shop.get_as(production["apiKey"].as_str().unwrap(), "/api/v2/caller-identity").await.expect(200);
    assert_eq!((&sdk["environmentName"], &sdk["projectName"]), (&json!("Production"), &json!("Shop")));
    shop.get_as(production["apiKey"].as_str().unwrap(), "/api/v2/versions").await.expect(401);
    shop.get_as("nobody", "/api/v2/caller-identity").await.expect(401);
}

#[tokio::test]
async fn what_the_root_names_is_there() {
    let shop = Shop::open().await;
    let root = shop.get("/api/v2").await.expect(200);
    for (name, link) in root["links"].as_object().unwrap() {
        if name != "self" {
            shop.get(link["href"].as_str().unwrap()).await.expect(200);
        }
    }
    let projects = shop.get("/api/v2/projects").await.expect(200);
    assert_eq!((&projects["totalCount"], &projects["items"][0]["key"]), (&json!(1), &json!("shop")));
    let names = |tokens: Value| -> Vec<String> {
        let mut names: Vec<String> = tokens["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|token| token["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(shop.get("/api/v2/tokens").await.expect(200)), ["token of anna"], "his own, and no showing off");
    let all = shop.get_as(super::support::ADMIN, "/api/v2/tokens?showAll=true&limit=2").await.expect(200);
    assert_eq!((names(all.clone()).len(), &all["totalCount"]), (2, &json!(5)));
    let next = shop.get_as(super::support::ADMIN, "/api/v2/tokens?showAll=true").await.expect(200);
    assert_eq!(names(next).len(), 5);
    shop.get("/api/v2/tokens?limit=0").await.expect(400);
}

#[tokio::test]
async fn a_list_is_filtered_and_sorted() {
    let shop = Shop::open().await;
    let place = environment("production");
    let change = |flag: &str, kind: &str| {
        shop.control().colleague_patches(&place, &flag_key(flag), &[json!({ "kind": kind })], "carol", "").unwrap()
    };
    change("checkout", "archiveFlag");
    change("refunds", "deprecateFlag");
    change("pricing-tier", "makeFlagTemporary");
    let listed = async |query: &str| -> Vec<String> {
        let page = shop.get(&format!("/api/v2/flags/shop?{query}")).await.expect(200);
        page["items"].as_array().unwrap().iter().map(|flag| flag["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("sort=key").await, ["pricing-tier", "refunds"]);
    assert_eq!(listed("sort=-key").await, ["refunds", "pricing-tier"]);
    assert_eq!(listed("filter=state:archived").await, ["checkout"]);
    assert_eq!(listed("archived=true").await, ["checkout"]);
    assert_eq!(listed("filter=state:deprecated").await, ["refunds"]);
    assert_eq!(listed("filter=type:temporary").await, ["pricing-tier"]);
    assert_eq!(listed("filter=type:permanent,state:archived").await, ["checkout"]);
    shop.get("/api/v2/flags/shop?filter=colour:red").await.expect(400);
    shop.get("/api/v2/flags/shop?sort=colour").await.expect(400);
}

#[tokio::test]
async fn tokens_and_versions_are_checked() {
    let shop = Shop::open().await;
    assert_eq!(shop.get_as("api-unknown", "/api/v2/versions").await.expect(401)["code"], "unauthorized");
    let nobody = shop.client.get(shop.url("/api/v2/flags/shop"));
    shop.send(nobody).await.expect(401);
    let old = shop.client.get(shop.url("/api/v2/versions")).header("Authorization", READER);
    shop.send(old.header("LD-API-Version", "20990101")).await.expect(400);
    shop.control().revoke(READER);
    shop.get_as(READER, "/api/v2/versions").await.expect(401);
}

#[tokio::test]
async fn environments_show_their_approval_settings() {
    let shop = Shop::open().await;
    let path = "/api/v2/projects/shop/environments";
    let all = shop.get(path).await.expect(200);
    assert_eq!(all["totalCount"], 3);
    let guarded = shop.get(&format!("{path}/guarded")).await.expect(200);
    assert_eq!(guarded["approvalSettings"]["required"], true);
    assert_eq!(guarded["approvalSettings"]["minNumApprovals"], 1);
    let production = shop.get(&format!("{path}/production")).await.expect(200);
    assert_eq!(production["critical"], true);
    assert!(production.get("approvalSettings").is_none());
    shop.get(&format!("{path}/moon")).await.expect(404);
    shop.get("/api/v2/projects/shop").await.expect(200);
    shop.get("/api/v2/projects/moon").await.expect(404);
}

#[tokio::test]
async fn a_flag_is_shown_with_the_environments_asked_for() {
    let shop = Shop::open().await;
    let all = shop.get("/api/v2/flags/shop/checkout").await.expect(200);
    assert_eq!(all["environments"].as_object().unwrap().len(), 3);
    let one = shop.get("/api/v2/flags/shop/checkout?env=production").await.expect(200);
    assert_eq!(one["environments"].as_object().unwrap().keys().collect::<Vec<_>>(), ["production"]);
    let production = &one["environments"]["production"];
    assert_eq!((&production["on"], &production["version"]), (&json!(true), &json!(42)));
    assert_eq!(production["_environmentName"], "Production");
    assert_eq!(production["_summary"]["variations"]["1"]["isOff"], true);
    assert_eq!(one["environments"]["production"].get("_sdk"), None);
    // What the seed does not say is off, at version 1.
    assert_eq!(shop.configuration("checkout", "staging").await["version"], 1);
    assert_eq!(shop.get("/api/v2/flags/shop/moon").await.expect(404)["code"], "not_found");
    shop.get("/api/v2/flags/moon/checkout").await.expect(404);
    shop.get("/api/v2/nothing/there").await.expect(404);
    let wrong = shop.request(Method::PUT, "/api/v2/flags/shop/checkout");
    shop.send(wrong).await.expect(405);
}

#[tokio::test]
async fn a_list_has_pages_that_join() {
    let mut seed = Seed::new().project("shop").environment("production");
    for number in 0..45 {
        seed = seed.boolean_flag(&format!("flag-{number:02}"), number % 2 == 0, 7);
    }
    let seed = seed.token(super::support::WRITER, relay_commander::drill::launchdarkly::Role::Writer, "anna");
    let shop = Shop::with(seed).await;
    let mut keys: Vec<Value> = Vec::new();
    let mut next = Some("/api/v2/flags/shop?filterEnv=production".to_owned());
    while let Some(path) = next {
        let page = shop.get(&path).await.expect(200);
        assert_eq!(page["totalCount"], 45);
        for flag in page["items"].as_array().unwrap() {
            assert_eq!(flag["environments"]["production"]["version"], 7);
            keys.push(flag["key"].clone());
        }
        next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        assert!(keys.len() <= 45);
    }
    let expected: Vec<Value> = (0..45).map(|number| json!(format!("flag-{number:02}"))).collect();
    assert_eq!(keys, expected);
    let plain = shop.get("/api/v2/flags/shop?limit=1").await.expect(200);
    assert!(plain["items"][0].get("environments").is_none());
    let filter = "/api/v2/flags/shop?filter=filterEnv:production,query:flag-07&summary=0";
    let filtered = shop.get(filter).await.expect(200);
    assert_eq!(filtered["totalCount"], 1);
    assert_eq!(filtered["items"][0]["environments"]["production"]["rules"], json!([]));
    shop.get("/api/v2/flags/shop?limit=many").await.expect(400);
}

#[tokio::test]
async fn records_of_a_store_become_flags_and_come_back() {
    let record = json!({
        "key": "banner", "on": true, "prerequisites": [], "targets": [], "contextTargets": [],
        "rules": [{ "variation": 1, "id": "rule-1", "clauses": [
            { "attribute": "country", "op": "in", "values": ["SE"], "negate": false },
        ], "trackEvents": false }],
        "fallthrough": { "variation": 0 }, "offVariation": 1,
        "variations": [{ "text": "a" }, { "text": "b" }],
        "clientSideAvailability": { "usingMobileKey": true, "usingEnvironmentId": false }, "clientSide": false,
        "salt": "s", "trackEvents": false, "trackEventsFallthrough": false, "debugEventsUntilDate": null,
        "version": 12, "deleted": false,
    });
    let gone = json!({ "key": "$deleted", "deleted": true, "version": 3 });
    let seed = seed().environment("production").records(json!({ "flags": { "banner": record, "gone": gone } }));
    let shop = Shop::with(seed).await;
    assert_eq!(shop.configuration("banner", "production").await["rules"][0]["_id"], "rule-1");
    shop.get("/api/v2/flags/shop/gone").await.expect(404);
    let back = shop.control().sdk_flag(&environment("production"), &flag_key("banner")).unwrap();
    assert_eq!(back, SdkFlag::Record(record));
    assert_eq!(shop.control().sdk_flags(&environment("production")).unwrap().len(), 4);
}

#[tokio::test]
async fn a_seed_document_is_read_and_a_wrong_one_is_named() {
    let text = r#"{ "projects": { "shop": {
        "environments": { "production": { "sdkKey": "sdk-1", "approvalSettings": { "required": true } } },
        "flags": { "tier": { "variations": ["gold", "silver"],
                             "environments": { "production": { "on": true, "version": 30 } } } } } },
      "tokens": { "api-writer-0001": { "role": "writer", "service": true } } }"#;
    let shop = Shop::with(Seed::from_json(text).unwrap()).await;
    assert_eq!(shop.configuration("tier", "production").await["version"], 30);
    let shown = shop.get("/api/v2/projects/shop/environments/production").await.expect(200);
    assert_eq!(shown["apiKey"], "sdk-1");
    assert!(Seed::from_json(r#"{ "project": {} }"#).unwrap_err().to_string().contains("unknown field `project`"));
    let wrong = Seed::new().project("shop").environment("production").flag("x", json!([1]), json!({}));
    let options = relay_commander::drill::launchdarkly::Options { seed: wrong, listener: None };
    let error = relay_commander::drill::launchdarkly::SimulatedLaunchDarkly::start(options).await.unwrap_err();
    assert!(error.to_string().contains("flag x of project shop"), "{error}");
}
