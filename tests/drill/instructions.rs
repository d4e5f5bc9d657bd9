//! Every semantic patch instruction that LaunchDarkly documents for flags, carried out once, in an order in which each
//! changes something.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use super::support::Shop;
use super::support::environment;
use super::support::flag_key;
use relay_commander::drill::launchdarkly::SdkFlag;

const DOCUMENTED: &str = include_str!("../data/launchdarkly-flag-instructions.json");
const TIER: &str = "/api/v2/flags/shop/pricing-tier";

/// The instructions of one step, from the flag as it is then.
type Step = fn(&Value) -> Value;

fn variation(flag: &Value, index: usize) -> Value {
    flag["variations"][index]["_id"].clone()
}

fn rule(flag: &Value, index: usize) -> Value {
    flag["environments"]["production"]["rules"][index]["_id"].clone()
}

fn clause(flag: &Value) -> Value {
    flag["environments"]["production"]["rules"][0]["clauses"][0]["_id"].clone()
}

fn country(values: &[&str]) -> Value {
    json!({ "attribute": "country", "op": "in", "values": values, "contextKind": "user", "negate": false })
}

const STEPS: [Step; 52] = [
    |_| json!({ "kind": "turnFlagOff" }),
    |_| json!({ "kind": "turnFlagOn" }),
    |flag| json!({ "kind": "addRule", "clauses": [country(&["SE"])], "variationId": variation(flag, 1) }),
    |flag| {
        let (one, two) = (variation(flag, 0), variation(flag, 1));
        let weights = json!({ one.as_str().unwrap(): 60_000, two.as_str().unwrap(): 40_000 });
        json!({ "kind": "addRule", "clauses": [country(&["NO"])], "rolloutWeights": weights,
                "beforeRuleId": rule(flag, 0), "rolloutBucketBy": "country", "rolloutContextKind": "org" })
    },
    |flag| json!({ "kind": "reorderRules", "ruleIds": [rule(flag, 1), rule(flag, 0)] }),
    |flag| json!({ "kind": "updateRuleDescription", "ruleId": rule(flag, 0), "description": "the north" }),
    |flag| json!({ "kind": "updateRuleTrackEvents", "ruleId": rule(flag, 0), "trackEvents": true }),
    |flag| json!({ "kind": "updateRuleVariationOrRollout", "ruleId": rule(flag, 0), "variationId": variation(flag, 2) }),
    |flag| json!({ "kind": "addClauses", "ruleId": rule(flag, 0), "clauses": [country(&["FI"])] }),
    |flag| json!({ "kind": "addValuesToClause", "ruleId": rule(flag, 0), "clauseId": clause(flag), "values": ["DK"] }),
    |flag| json!({ "kind": "removeValuesFromClause", "ruleId": rule(flag, 0), "clauseId": clause(flag), "values": ["SE"] }),
    |flag| json!({ "kind": "updateClause", "ruleId": rule(flag, 0), "clauseId": clause(flag), "clause": country(&["IS"]) }),
    |flag| json!({ "kind": "removeClauses", "ruleId": rule(flag, 0), "clauseIds": [clause(flag)] }),
    |flag| json!({ "kind": "removeRule", "ruleId": rule(flag, 1) }),
    |flag| json!({ "kind": "replaceRules", "rules": [{ "clauses": [country(&["CH"])], "variationId": variation(flag, 0) }] }),
    |flag| json!({ "kind": "addTargets", "values": ["o1"], "contextKind": "org", "variationId": variation(flag, 0) }),
    |flag| json!({ "kind": "addUserTargets", "values": ["anna", "bob"], "variationId": variation(flag, 1) }),
    |flag| json!({ "kind": "removeTargets", "values": ["o1"], "contextKind": "org", "variationId": variation(flag, 0) }),
    |flag| json!({ "kind": "removeUserTargets", "values": ["bob"], "variationId": variation(flag, 1) }),
    |flag| json!({ "kind": "clearUserTargets", "variationId": variation(flag, 1) }),
    |flag| json!({ "kind": "replaceUserTargets", "targets": [{ "values": ["carol"], "variationId": variation(flag, 2) }] }),
    |flag| {
        json!({ "kind": "replaceTargets", "targets": [
        { "values": ["o2"], "contextKind": "org", "variationId": variation(flag, 1) },
        { "values": ["dave"], "variationId": variation(flag, 0) },
    ] })
    },
    |flag| json!({ "kind": "clearTargets", "variationId": variation(flag, 1) }),
    |_| json!({ "kind": "addPrerequisite", "key": "checkout", "variationId": "FIRST OF checkout" }),
    |_| json!({ "kind": "updatePrerequisite", "key": "checkout", "variationId": "SECOND OF checkout" }),
    |_| json!({ "kind": "replacePrerequisites", "prerequisites": [{ "key": "refunds", "variationId": "FIRST OF refunds" }] }),
    |_| json!({ "kind": "removePrerequisite", "key": "refunds" }),
    |flag| json!({ "kind": "updateFallthroughVariationOrRollout", "variationId": variation(flag, 1) }),
    |flag| json!({ "kind": "updateOffVariation", "variationId": variation(flag, 0) }),
    |_| json!({ "kind": "updateTrackEvents", "trackEvents": true }),
    |_| json!({ "kind": "updateTrackEventsFallthrough", "trackEvents": true }),
    |_| json!({ "kind": "addVariation", "value": "copper", "name": "Copper" }),
    |flag| json!({ "kind": "updateVariation", "variationId": variation(flag, 3), "value": "tin", "description": "Tin" }),
    |flag| json!({ "kind": "removeVariation", "variationId": variation(flag, 3) }),
    |_| json!({ "kind": "updateDefaultVariation", "onVariationValue": "silver", "offVariationValue": "gold" }),
    |_| json!({ "kind": "addTags", "values": ["eu", "money"] }),
    |_| json!({ "kind": "removeTags", "values": ["eu"] }),
    |_| json!({ "kind": "addCustomProperties", "key": "jira", "name": "Jira", "values": ["A-1", "A-2"] }),
    |_| json!({ "kind": "replaceCustomProperties", "key": "jira", "name": "Jira", "values": ["A-3"] }),
    |_| json!({ "kind": "removeCustomProperties", "key": "jira", "values": ["A-3"] }),
    |_| json!({ "kind": "makeFlagTemporary" }),
    |_| json!({ "kind": "makeFlagPermanent" }),
    |_| json!({ "kind": "updateMaintainerMember", "value": "1234a56b7c89d012345e678f" }),
    |_| json!({ "kind": "updateMaintainerTeam", "value": "till-team" }),
    |_| json!({ "kind": "removeMaintainer" }),
    |_| json!({ "kind": "turnOnClientSideAvailability", "value": "usingMobileKey" }),
    |_| json!({ "kind": "turnOffClientSideAvailability", "value": "usingMobileKey" }),
    |_| json!({ "kind": "updateDescription", "value": "what everybody pays" }),
    |_| json!({ "kind": "updateName", "value": "Pricing" }),
    |_| json!({ "kind": "deprecateFlag" }),
    |_| json!({ "kind": "restoreDeprecatedFlag" }),
    |_| json!({ "kind": "archiveFlag" }),
];

/// Puts ids of another flag's variations where a step names them.
async fn with_ids(shop: &Shop, mut instruction: Value) -> Value {
    let mut text = instruction.to_string();
    for flag in ["checkout", "refunds"] {
        for (index, name) in ["FIRST", "SECOND"].iter().enumerate() {
            let id = shop.control().variation_id(&environment("production"), &flag_key(flag), index).unwrap();
            text = text.replace(&format!("{name} OF {flag}"), &id);
        }
    }
    instruction = serde_json::from_str(&text).unwrap();
    instruction
}

fn version(shop: &Shop) -> u64 {
    match shop.control().sdk_flag(&environment("production"), &flag_key("pricing-tier")).unwrap() {
        SdkFlag::Record(record) => record["version"].as_u64().unwrap(),
        SdkFlag::Gone { version } => version,
    }
}

#[tokio::test]
async fn every_documented_instruction_does_something() {
    let shop = Shop::open().await;
    let documented: Value = serde_json::from_str(DOCUMENTED).unwrap();
    let documented = documented["flag"].as_object().unwrap();
    let mut done = BTreeSet::new();
    let steps = STEPS.iter().copied();
    let ends: [Step; 2] = [|_| json!({ "kind": "restoreFlag" }), |_| json!({ "kind": "deleteFlag" })];
    for step in steps.chain(ends) {
        let flag = shop.get(TIER).await.expect(200);
        let instruction = with_ids(&shop, step(&flag)).await;
        let kind = instruction["kind"].as_str().unwrap().to_owned();
        for parameter in instruction.as_object().unwrap().keys().filter(|name| *name != "kind") {
            assert!(documented[&kind].as_array().unwrap().contains(&json!(parameter)), "{kind}: {parameter}");
        }
        let before = version(&shop);
        let body = json!({ "environmentKey": "production", "instructions": [instruction] });
        shop.patch(TIER, &body).await.expect(200);
        assert_eq!(version(&shop), before + 1, "{kind} changes something, and counts the version up by one");
        done.insert(kind);
    }
    shop.get(TIER).await.expect(404);
    let documented: BTreeSet<String> = documented.keys().cloned().collect();
    assert_eq!(done, documented);
}
