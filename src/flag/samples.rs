//! Flags for the tests of this module: ones as LaunchDarkly sends them, and generated ones whose every property is
//! there, absent or at its default; a second spelling of any document; and a naive copy of what a relay makes of one.

use proptest::prelude::*;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::flag::json::tests::any_value;
use crate::flag::record::Record;

/// A flag exactly as a relay writes it, of about 1 KB.
pub(crate) const TYPICAL: &str = r#"{"key":"checkout","on":true,"prerequisites":[{"key":"payments","variation":0}],"targets":[{"variation":0,"values":["anna","bob"]},{"variation":1,"values":[]}],"contextTargets":[{"contextKind":"user","variation":0,"values":[]},{"contextKind":"org","variation":1,"values":["acme"]}],"rules":[{"variation":1,"id":"a902ef4a-6a35","clauses":[{"contextKind":"user","attribute":"country","op":"in","values":["USA","CA"],"negate":false},{"attribute":"","op":"segmentMatch","values":["beta"],"negate":true}],"trackEvents":false}],"fallthrough":{"rollout":{"kind":"rollout","contextKind":"user","variations":[{"variation":0,"weight":60000},{"variation":1,"weight":40000,"untracked":true}],"seed":61,"bucketBy":"key"}},"offVariation":1,"variations":[true,false],"clientSideAvailability":{"usingMobileKey":true,"usingEnvironmentId":false},"clientSide":false,"salt":"2b26","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":42,"deleted":false}"#;

/// A record of a text that is one.
pub(crate) fn record(text: &str) -> Record {
    Record::parse(text.as_bytes()).unwrap()
}

fn member(name: &'static str, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Vec<(String, Value)>> {
    prop_oneof![3 => value.prop_map(move |value| vec![(name.to_owned(), value)]), 1 => Just(Vec::new())].boxed()
}

fn object(members: Vec<BoxedStrategy<Vec<(String, Value)>>>) -> BoxedStrategy<Value> {
    members.prop_map(|members| Value::Object(members.into_iter().flatten().collect())).boxed()
}

fn list(item: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    let items = prop::collection::vec(item, 0..3).prop_map(Value::from);
    prop_oneof![4 => items, 1 => Just(Value::Null)].boxed()
}

fn or_null(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![3 => value, 1 => Just(Value::Null)].boxed()
}

fn text() -> BoxedStrategy<Value> {
    prop_oneof![Just(""), Just("user"), Just("org"), Just("key"), Just("in"), Just("experiment"), Just("segmentMatch")]
        .prop_map(Value::from)
        .boxed()
}

fn truth() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

fn whole() -> BoxedStrategy<Value> {
    prop_oneof![6 => (0i64..4).prop_map(Value::from), 1 => (0i64..4).prop_map(|number| json!(number as f64 + 0.5))]
        .boxed()
}

fn rollout() -> BoxedStrategy<Value> {
    let weight = prop_oneof![Just(json!(0)), Just(json!(40_000)), Just(json!(60_000)), Just(json!(100_000))];
    let share = object(vec![member("variation", whole()), member("weight", weight), member("untracked", truth())]);
    or_null(object(vec![
        member("kind", text()),
        member("contextKind", text()),
        member("variations", prop::collection::vec(share, 0..3).prop_map(Value::from)),
        member("bucketBy", or_null(text())),
        member("seed", or_null(whole())),
    ]))
}

fn rule() -> BoxedStrategy<Value> {
    let clause = object(vec![
        member("contextKind", text()),
        member("attribute", or_null(text())),
        member("op", text()),
        member("values", list(any_value())),
        member("negate", truth()),
    ]);
    object(vec![
        member("id", text()),
        member("variation", or_null(whole())),
        member("rollout", rollout()),
        member("clauses", list(clause)),
        member("trackEvents", truth()),
    ])
}

fn target() -> BoxedStrategy<Value> {
    object(vec![member("contextKind", text()), member("values", list(text())), member("variation", whole())])
}

/// Any flag that Go's reader reads, without properties that it does not know.
pub(crate) fn any_flag() -> BoxedStrategy<Value> {
    let availability = object(vec![member("usingMobileKey", truth()), member("usingEnvironmentId", truth())]);
    object(vec![
        member("key", text()),
        member("on", truth()),
        member("prerequisites", list(object(vec![member("key", text()), member("variation", whole())]))),
        member("targets", list(target())),
        member("contextTargets", list(target())),
        member("rules", list(rule())),
        member("fallthrough", object(vec![member("variation", or_null(whole())), member("rollout", rollout())])),
        member("offVariation", or_null(whole())),
        member("variations", list(any_value())),
        member("clientSideAvailability", or_null(availability)),
        member("clientSide", truth()),
        member("salt", text()),
        member("trackEvents", truth()),
        member("trackEventsFallthrough", truth()),
        member("debugEventsUntilDate", or_null(whole())),
        member("version", whole()),
        member("deleted", Just(json!(false))),
        member("excludeFromSummaries", truth()),
        member("samplingRatio", whole()),
        member("migration", or_null(object(vec![member("checkRatio", whole())]))),
    ])
}

/// `one` with some of the members of `other`: a bit of `choice` for each.
pub(crate) fn mixed(one: &Value, other: &Value, choice: u32) -> Value {
    let (one, other) = (one.as_object().unwrap(), other.as_object().unwrap());
    let mut mixed = one.clone();
    for (place, (name, value)) in other.iter().enumerate() {
        if choice >> (place % 32) & 1 == 1 {
            mixed.insert(name.clone(), value.clone());
        }
    }
    Value::Object(mixed)
}

/// The same value spelled otherwise: members shuffled, spaces put in, numbers written another way.
pub(crate) fn respelled(value: &Value, seed: &mut u64) -> String {
    // The generator of Knuth's MMIX: chance enough for spelling.
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let chance = *seed >> 33;
    let space = ["", " ", "\n\t"][(chance % 3) as usize];
    match value {
        Value::Number(number) => match number.as_i64().filter(|number| number.abs() < 1 << 50) {
            Some(whole) => [format!("{whole}"), format!("{whole}.0"), format!("{whole}e0"), format!("{whole}.00E+0")]
                [(chance % 4) as usize]
                .clone(),
            None => number.to_string(),
        },
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| respelled(item, seed)).collect();
            format!("[{space}{}{space}]", items.join(&format!("{space},")))
        }
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}{space}:{}", Value::from(name.as_str()), respelled(value, seed)))
                .collect();
            members.sort_by_key(|member| {
                member.bytes().fold(chance, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
            });
            format!("{space}{{{}{space}}}{space}", members.join(&format!("{space},{space}")))
        }
        scalar => scalar.to_string(),
    }
}

/// What a relay writes when it has read the flag (`model_unmarshal.go`, then `model_marshal.go`).
pub(crate) fn as_go_writes(flag: &Value) -> Value {
    let mut out = Map::new();
    let flag_of = |name: &str| flag.get(name).and_then(Value::as_bool).unwrap_or(false);
    out.insert("key".into(), text_or_empty(flag, "key"));
    out.insert("on".into(), json!(flag_of("on")));
    let prerequisite =
        |one: &Value| json!({"key": text_or_empty(one, "key"), "variation": whole_or_0(one, "variation")});
    out.insert("prerequisites".into(), each(flag, "prerequisites", prerequisite));
    out.insert("targets".into(), each(flag, "targets", target_as_go_writes));
    out.insert("contextTargets".into(), each(flag, "contextTargets", target_as_go_writes));
    out.insert("rules".into(), each(flag, "rules", rule_as_go_writes));
    out.insert(
        "fallthrough".into(),
        Value::Object(serve_as_go_writes(flag.get("fallthrough").unwrap_or(&Value::Null))),
    );
    out.insert("offVariation".into(), whole_of(flag, "offVariation").map_or(Value::Null, Value::from));
    out.insert("variations".into(), each(flag, "variations", Value::clone));
    let availability = flag.get("clientSideAvailability").filter(|value| !value.is_null());
    let client_side = match availability {
        Some(explicit) => {
            let set = |name: &str| explicit.get(name).and_then(Value::as_bool).unwrap_or(false);
            let (mobile, client) = (set("usingMobileKey"), set("usingEnvironmentId"));
            out.insert(
                "clientSideAvailability".into(),
                json!({"usingMobileKey": mobile, "usingEnvironmentId": client}),
            );
            client
        }
        None => flag_of("clientSide"),
    };
    out.insert("clientSide".into(), json!(client_side));
    out.insert("salt".into(), text_or_empty(flag, "salt"));
    out.insert("trackEvents".into(), json!(flag_of("trackEvents")));
    out.insert("trackEventsFallthrough".into(), json!(flag_of("trackEventsFallthrough")));
    let moment = whole_of(flag, "debugEventsUntilDate").filter(|moment| *moment != 0);
    out.insert("debugEventsUntilDate".into(), moment.map_or(Value::Null, Value::from));
    out.insert("version".into(), whole_or_0(flag, "version"));
    out.insert("deleted".into(), json!(flag_of("deleted")));
    if let Some(migration) = flag.get("migration") {
        let ratio = whole_of(migration, "checkRatio");
        out.insert("migration".into(), ratio.map_or(json!({}), |ratio| json!({ "checkRatio": ratio })));
    }
    if let Some(ratio) = whole_of(flag, "samplingRatio") {
        out.insert("samplingRatio".into(), json!(ratio));
    }
    if flag_of("excludeFromSummaries") {
        out.insert("excludeFromSummaries".into(), json!(true));
    }
    Value::Object(out)
}

fn text_or_empty(parent: &Value, name: &str) -> Value {
    json!(parent.get(name).and_then(Value::as_str).unwrap_or(""))
}

fn whole_of(parent: &Value, name: &str) -> Option<i64> {
    parent.get(name).and_then(Value::as_f64).map(|number| number as i64)
}

fn whole_or_0(parent: &Value, name: &str) -> Value {
    json!(whole_of(parent, name).unwrap_or(0))
}

fn each(parent: &Value, name: &str, written: impl Fn(&Value) -> Value) -> Value {
    Value::Array(parent.get(name).and_then(Value::as_array).into_iter().flatten().map(written).collect())
}

fn insert_text(out: &mut Map<String, Value>, parent: &Value, name: &str) {
    let value = text_or_empty(parent, name);
    if value != "" {
        out.insert(name.to_owned(), value);
    }
}

fn target_as_go_writes(target: &Value) -> Value {
    let mut out = Map::new();
    insert_text(&mut out, target, "contextKind");
    out.insert("variation".into(), whole_or_0(target, "variation"));
    out.insert("values".into(), each(target, "values", Value::clone));
    Value::Object(out)
}

fn rule_as_go_writes(rule: &Value) -> Value {
    let mut out = serve_as_go_writes(rule);
    insert_text(&mut out, rule, "id");
    let clause = |clause: &Value| {
        let mut out = Map::new();
        insert_text(&mut out, clause, "contextKind");
        out.insert("attribute".into(), text_or_empty(clause, "attribute"));
        out.insert("op".into(), text_or_empty(clause, "op"));
        out.insert("values".into(), each(clause, "values", Value::clone));
        out.insert("negate".into(), json!(clause.get("negate").and_then(Value::as_bool).unwrap_or(false)));
        Value::Object(out)
    };
    out.insert("clauses".into(), each(rule, "clauses", clause));
    out.insert("trackEvents".into(), json!(rule.get("trackEvents").and_then(Value::as_bool).unwrap_or(false)));
    Value::Object(out)
}

fn serve_as_go_writes(parent: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    if let Some(variation) = whole_of(parent, "variation") {
        out.insert("variation".into(), json!(variation));
    }
    let Some(rollout) = parent.get("rollout") else { return out };
    let share = |share: &Value| {
        let mut out = Map::new();
        out.insert("variation".into(), whole_or_0(share, "variation"));
        out.insert("weight".into(), whole_or_0(share, "weight"));
        if share.get("untracked") == Some(&json!(true)) {
            out.insert("untracked".into(), json!(true));
        }
        Value::Object(out)
    };
    let shares = each(rollout, "variations", share);
    if shares == json!([]) {
        return out;
    }
    let mut written = Map::new();
    insert_text(&mut written, rollout, "kind");
    insert_text(&mut written, rollout, "contextKind");
    written.insert("variations".into(), shares);
    if let Some(seed) = whole_of(rollout, "seed") {
        written.insert("seed".into(), json!(seed));
    }
    insert_text(&mut written, rollout, "bucketBy");
    out.insert("rollout".into(), Value::Object(written));
    out
}
