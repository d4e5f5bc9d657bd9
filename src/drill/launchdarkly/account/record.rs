//! From LaunchDarkly's API shape to the record that SDKs and relays get, and back. Written on LaunchDarkly's own
//! documents, not with `flag/`'s types. Must not know projects or who asks.
//!
//! Source of the record's fields and their order: `launchdarkly.md` 6.1 (what LaunchDarkly's Go SDK writes).

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::flag::SDK_ONLY;
use super::flag::configuration;
use super::flag::list;
use super::flag::text;
use super::identifier::uuid_of;

/// Fields of a record that the API does not show and that are kept beside the configuration.
const SDK_ONLY_FIELDS: [&str; 4] = ["clientSide", "migration", "samplingRatio", "excludeFromSummaries"];

/// The record of the flag in one environment as LaunchDarkly sends it to SDKs: disabled rules dropped, no ids of
/// variations and clauses, no names. `None` where the flag has no configuration there.
pub fn record_of(flag: &Value, environment: &str) -> Option<Value> {
    let configuration = configuration(flag, environment)?;
    let field = |name: &str| configuration.get(name).cloned();
    let kept = configuration.get(SDK_ONLY);
    let values: Vec<Value> =
        list(flag.get("variations")).iter().filter_map(|variation| variation.get("value").cloned()).collect();
    let enabled = list(configuration.get("rules")).iter().filter(|rule| rule.get("disabled") != Some(&json!(true)));
    let mut record = json!({
        "key": text(flag, "key"),
        "on": field("on"),
        "prerequisites": field("prerequisites").unwrap_or(json!([])),
        "targets": field("targets").unwrap_or(json!([])),
        "contextTargets": field("contextTargets").unwrap_or(json!([])),
        "rules": enabled.map(rule_to_record).collect::<Vec<Value>>(),
        "fallthrough": served_to_record(configuration.get("fallthrough").unwrap_or(&Value::Null)),
        "offVariation": field("offVariation"),
        "variations": values,
        "clientSideAvailability": flag.get("clientSideAvailability").cloned().unwrap_or(json!({})),
        "clientSide": flag.pointer("/clientSideAvailability/usingEnvironmentId").cloned().unwrap_or(json!(false)),
        "salt": field("salt"),
        "trackEvents": field("trackEvents"),
        "trackEventsFallthrough": field("trackEventsFallthrough"),
        "debugEventsUntilDate": field("_debugEventsUntilDate"),
        "version": field("version"),
        "deleted": false,
    });
    for name in SDK_ONLY_FIELDS {
        if let Some(value) = kept.and_then(|fields| fields.get(name)) {
            record[name] = value.clone();
        }
    }
    Some(record)
}

/// The version that a record carries.
pub fn record_version(record: &Value) -> u64 {
    record.get("version").and_then(Value::as_u64).unwrap_or(0)
}

fn rule_to_record(rule: &Value) -> Value {
    let mut record = served_to_record(rule);
    record["id"] = json!(text(rule, "_id"));
    let clauses = list(rule.get("clauses")).iter().map(|clause| without(clause, &["_id"]));
    record["clauses"] = Value::Array(clauses.collect());
    record["trackEvents"] = rule.get("trackEvents").cloned().unwrap_or(json!(false));
    record
}

/// The variation or rollout of a rule or of the fallthrough.
fn served_to_record(served: &Value) -> Value {
    let Some(rollout) = served.get("rollout") else {
        return json!({ "variation": served.get("variation") });
    };
    let experiment = rollout.get("experimentAllocation").is_some();
    let mut record = Map::new();
    record.insert("kind".to_owned(), json!(if experiment { "experiment" } else { "rollout" }));
    for (name, value) in rollout.as_object().into_iter().flatten() {
        match name.as_str() {
            "experimentAllocation" => {}
            "variations" => {
                let weighted = list(Some(value)).iter().map(|one| renamed(one, "_untracked", "untracked"));
                record.insert(name.clone(), Value::Array(weighted.collect()));
            }
            _ => {
                record.insert(name.clone(), value.clone());
            }
        }
    }
    json!({ "rollout": record })
}

/// Makes a flag's configuration of a record. The flag's own fields are not touched: see [`variations_of`].
pub fn configuration_of(record: &Value, place: [&str; 3]) -> Value {
    let copied = [
        ("on", "on"),
        ("salt", "salt"),
        ("version", "version"),
        ("targets", "targets"),
        ("contextTargets", "contextTargets"),
        ("prerequisites", "prerequisites"),
        ("offVariation", "offVariation"),
        ("trackEvents", "trackEvents"),
        ("trackEventsFallthrough", "trackEventsFallthrough"),
        ("debugEventsUntilDate", "_debugEventsUntilDate"),
    ];
    let mut fields = Map::new();
    for (from, to) in copied {
        if let Some(value) = record.get(from).filter(|value| !value.is_null()) {
            fields.insert(to.to_owned(), value.clone());
        }
    }
    for name in ["targets", "contextTargets"] {
        let targets = list(record.get(name)).iter().map(|target| with_default(target, "contextKind", "user"));
        fields.insert(name.to_owned(), Value::Array(targets.collect()));
    }
    let fallthrough = served_of_record(record.get("fallthrough").unwrap_or(&Value::Null));
    fields.insert("fallthrough".to_owned(), fallthrough);
    let rules = list(record.get("rules")).iter().enumerate().map(|(index, rule)| rule_of_record(rule, index, place));
    fields.insert("rules".to_owned(), Value::Array(rules.collect()));
    let kept = SDK_ONLY_FIELDS.iter().filter_map(|&name| Some((name.to_owned(), record.get(name)?.clone())));
    fields.insert(SDK_ONLY.to_owned(), Value::Object(kept.collect()));
    Value::Object(fields)
}

fn rule_of_record(rule: &Value, index: usize, [project, environment, key]: [&str; 3]) -> Value {
    let number = index.to_string();
    let mut made = served_of_record(rule);
    made["_id"] = match text(rule, "id") {
        "" => json!(uuid_of(&["rule", project, environment, key, &number])),
        id => json!(id),
    };
    let clauses = list(rule.get("clauses")).iter().enumerate().map(|(place, clause)| {
        let mut clause = clause.clone();
        clause["_id"] = json!(uuid_of(&["clause", project, environment, key, &number, &place.to_string()]));
        clause
    });
    made["clauses"] = Value::Array(clauses.collect());
    made["trackEvents"] = rule.get("trackEvents").cloned().unwrap_or(json!(false));
    made
}

fn served_of_record(served: &Value) -> Value {
    let Some(rollout) = served.get("rollout").filter(|rollout| !rollout.is_null()) else {
        return json!({ "variation": served.get("variation").cloned().unwrap_or(json!(0)) });
    };
    let mut made = without(rollout, &["kind", "variations"]);
    let weighted = list(rollout.get("variations")).iter().map(|one| renamed(one, "untracked", "_untracked"));
    made["variations"] = Value::Array(weighted.collect());
    if text(rollout, "kind") == "experiment" {
        made["experimentAllocation"] = json!({ "defaultVariation": 0, "canReshuffle": false });
    }
    json!({ "rollout": made })
}

/// The variation values of a record.
pub fn variations_of(record: &Value) -> Vec<Value> {
    list(record.get("variations")).to_vec()
}

fn without(object: &Value, names: &[&str]) -> Value {
    let fields = object.as_object().into_iter().flatten().filter(|(name, _)| !names.contains(&name.as_str()));
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn renamed(object: &Value, from: &str, to: &str) -> Value {
    let fields = object.as_object().into_iter().flatten();
    let named = fields.map(|(name, value)| (if name == from { to } else { name }.to_owned(), value.clone()));
    Value::Object(named.collect())
}

fn with_default(object: &Value, name: &str, value: &str) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.entry(name).or_insert(json!(value));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::super::flag::complete_configuration;
    use super::super::flag::new_flag;
    use super::*;

    fn record() -> Value {
        json!({
            "key": "alternate.page", "on": true,
            "prerequisites": [{ "key": "other", "variation": 0 }],
            "targets": [{ "contextKind": "user", "variation": 0, "values": ["u1"] }],
            "contextTargets": [{ "contextKind": "org", "variation": 0, "values": ["o1"] }],
            "rules": [{ "variation": 1, "id": "a902ef4a-2faf-4eaf-88e1-ecc356708a29", "clauses": [
                { "contextKind": "user", "attribute": "country", "op": "in", "values": ["USA"], "negate": false },
            ], "trackEvents": false }],
            "fallthrough": { "rollout": { "kind": "experiment", "contextKind": "user", "variations": [
                { "variation": 0, "weight": 60_000 }, { "variation": 1, "weight": 40_000, "untracked": true },
            ], "seed": 61, "bucketBy": "key" } },
            "offVariation": 1, "variations": [true, false],
            "clientSideAvailability": { "usingMobileKey": false, "usingEnvironmentId": false },
            "clientSide": false, "salt": "2b26", "trackEvents": false, "trackEventsFallthrough": false,
            "debugEventsUntilDate": null, "version": 61, "deleted": false, "samplingRatio": 7,
        })
    }

    fn flag_of(record: &Value) -> Value {
        let place = ["shop", "production", "alternate.page"];
        let mut flag = new_flag("shop", "alternate.page", &variations_of(record), 1);
        flag["environments"]["production"] = configuration_of(record, place);
        complete_configuration(&mut flag, place, 1);
        flag
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        assert_eq!(record_of(&flag_of(&record()), "production"), Some(record()));
    }

    #[test]
    fn disabled_rules_do_not_reach_sdks() {
        let mut flag = flag_of(&record());
        flag["environments"]["production"]["rules"][0]["disabled"] = json!(true);
        assert_eq!(record_of(&flag, "production").unwrap()["rules"], json!([]));
    }

    #[test]
    fn a_null_off_variation_stays_null() {
        let mut with_null = record();
        with_null["offVariation"] = Value::Null;
        let flag = flag_of(&with_null);
        assert!(configuration(&flag, "production").unwrap().get("offVariation").is_none());
        assert_eq!(record_of(&flag, "production").unwrap()["offVariation"], Value::Null);
    }
}
