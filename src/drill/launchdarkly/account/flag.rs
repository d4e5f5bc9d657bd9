//! A flag in LaunchDarkly's API shape: how a new one looks, what is filled in, what must be true of it, and how it is
//! shown. Must not know who asks, nor anything of `flag/`.
//!
//! What is kept of a flag is what `GET` shows, less what follows from the rest (`_links`, `_site`, `_summary`), plus
//! `_sdk` in a configuration: fields that only SDKs know and that a seed brought along.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::identifier::digits_of;
use super::identifier::fresh_uuid;
use super::identifier::uuid_of;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// The sum of the weights of a rollout: thousandths of a percent.
pub const WEIGHT_TOTAL: u64 = 100_000;

/// Field of a configuration that only the SDK form knows.
pub const SDK_ONLY: &str = "_sdk";

/// A flag with these variation values and no environments yet.
pub fn new_flag(project: &str, key: &str, values: &[Value], created: i64) -> Value {
    let variations: Vec<Value> = values
        .iter()
        .enumerate()
        .map(|(index, value)| json!({ "_id": variation_id(project, key, index), "value": value }))
        .collect();
    let mut flag = json!({ "key": key, "variations": variations });
    complete_flag(&mut flag, project, key, created);
    flag
}

/// The id of a seeded variation.
pub fn variation_id(project: &str, key: &str, index: usize) -> String {
    uuid_of(&["variation", project, key, &index.to_string()])
}

/// Fills in what a seeded flag left out, so that it has all that LaunchDarkly requires.
pub fn complete_flag(flag: &mut Value, project: &str, key: &str, created: i64) {
    let Some(fields) = flag.as_object_mut() else { return };
    edit_list(fields, "variations", |variations| {
        for (index, variation) in variations.iter_mut().enumerate() {
            if variation.get("value").is_none() {
                *variation = json!({ "value": variation });
            }
            put_default(variation, "_id", || json!(variation_id(project, key, index)));
        }
    });
    let values: Vec<&Value> = list(fields.get("variations")).iter().filter_map(|one| one.get("value")).collect();
    let boolean = values == [&json!(true), &json!(false)];
    let last = values.len().saturating_sub(1);
    let defaults = [
        ("key", json!(key)),
        ("name", json!(key)),
        ("kind", json!(if boolean { "boolean" } else { "multivariate" })),
        ("description", json!("")),
        ("_version", json!(1)),
        ("creationDate", json!(created)),
        ("includeInSnippet", json!(false)),
        ("clientSideAvailability", json!({ "usingMobileKey": false, "usingEnvironmentId": false })),
        ("temporary", json!(false)),
        ("tags", json!([])),
        ("goalIds", json!([])),
        ("experiments", json!({ "baselineIdx": 0, "items": [] })),
        ("customProperties", json!({})),
        ("archived", json!(false)),
        ("deprecated", json!(false)),
        ("defaults", json!({ "onVariation": 0, "offVariation": last })),
        ("environments", json!({})),
    ];
    for (name, value) in defaults {
        fields.entry(name).or_insert(value);
    }
    for derived in ["_links", "_maintainer", "_maintainerTeam"] {
        fields.shift_remove(derived);
    }
}

/// Fills in what a configuration of a flag in one environment left out. `place` names project, environment and flag.
pub fn complete_configuration(flag: &mut Value, place: [&str; 3], created: i64) {
    let defaults = flag.get("defaults").cloned().unwrap_or_default();
    let archived = flag.get("archived").cloned().unwrap_or(json!(false));
    let [project, environment, key] = place;
    let Some(environments) = flag.get_mut("environments").and_then(Value::as_object_mut) else { return };
    let Some(fields) = environments.entry(environment).or_insert_with(|| json!({})).as_object_mut() else { return };
    for derived in ["_site", "_summary", "_environmentName", "_access"] {
        fields.shift_remove(derived);
    }
    let values = [
        ("on", json!(false)),
        ("archived", archived),
        ("salt", json!(digits_of(&["salt", project, environment, key]))),
        ("sel", json!(digits_of(&["sel", project, environment, key]))),
        ("lastModified", json!(created)),
        ("version", json!(1)),
        ("targets", json!([])),
        ("contextTargets", json!([])),
        ("rules", json!([])),
        ("fallthrough", json!({ "variation": defaults.get("onVariation").cloned().unwrap_or(json!(0)) })),
        ("prerequisites", json!([])),
        ("trackEvents", json!(false)),
        ("trackEventsFallthrough", json!(false)),
    ];
    let is_new = !fields.contains_key("fallthrough");
    for (name, value) in values {
        fields.entry(name).or_insert(value);
    }
    match fields.get("offVariation") {
        None if is_new => {
            fields.insert("offVariation".to_owned(), defaults.get("offVariation").cloned().unwrap_or(json!(0)));
        }
        Some(Value::Null) => {
            fields.shift_remove("offVariation");
        }
        _ => {}
    }
    edit_list(fields, "rules", |rules| rules.iter_mut().for_each(complete_rule));
}

/// Gives a rule and its clauses the ids and the fields that LaunchDarkly requires.
pub fn complete_rule(rule: &mut Value) {
    put_default(rule, "_id", || json!(fresh_uuid()));
    put_default(rule, "clauses", || json!([]));
    put_default(rule, "trackEvents", || json!(false));
    if let Some(fields) = rule.as_object_mut() {
        edit_list(fields, "clauses", |clauses| clauses.iter_mut().for_each(complete_clause));
    }
}

/// Gives a clause the id and the fields that LaunchDarkly requires.
pub fn complete_clause(clause: &mut Value) {
    put_default(clause, "_id", || json!(fresh_uuid()));
    put_default(clause, "negate", || json!(false));
}

fn put_default(object: &mut Value, name: &str, value: impl FnOnce() -> Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(name).or_insert_with(value);
    }
}

/// The elements of an array; none if it is not one.
pub fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Edits the array in this field, made if it is not there.
pub fn edit_list<T>(fields: &mut Map<String, Value>, name: &str, edit: impl FnOnce(&mut Vec<Value>) -> T) -> T {
    let mut elements = match fields.get_mut(name).map(Value::take) {
        Some(Value::Array(elements)) => elements,
        _ => Vec::new(),
    };
    let outcome = edit(&mut elements);
    fields.insert(name.to_owned(), Value::Array(elements));
    outcome
}

/// A text field, empty if it is missing.
pub fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The configuration of the flag in one environment.
pub fn configuration<'a>(flag: &'a Value, environment: &str) -> Option<&'a Value> {
    flag.get("environments").and_then(|environments| environments.get(environment))
}

/// The version of the flag in one environment; 0 if it has no configuration there.
pub fn version(flag: &Value, environment: &str) -> u64 {
    configuration(flag, environment).and_then(|one| one.get("version")).and_then(Value::as_u64).unwrap_or(0)
}

/// How many variations the flag has.
pub fn variation_count(flag: &Value) -> usize {
    list(flag.get("variations")).len()
}

/// What is shown of a flag: `environments` limited to those that are asked for (`None`: all of them), and everything
/// that follows from the rest.
pub struct View<'a> {
    /// The project's key.
    pub project: &'a str,
    /// Key and name of the environments to show, in order.
    pub environments: Vec<(&'a str, &'a str)>,
    /// Without targets, rules and prerequisites, as in a list.
    pub summary: bool,
}

impl View<'_> {
    /// The representation that LaunchDarkly's API gives of the flag.
    pub fn of(&self, flag: &Value) -> Value {
        let mut shown = Map::new();
        for (name, value) in flag.as_object().into_iter().flatten() {
            if name != "environments" {
                shown.insert(name.clone(), value.clone());
            }
        }
        let (project, key) = (self.project, text(flag, "key"));
        let links = json!({
            "parent": link(format!("/api/v2/flags/{project}")),
            "self": link(format!("/api/v2/flags/{project}/{key}")),
        });
        shown.insert("_links".to_owned(), links);
        if !self.environments.is_empty() {
            let configurations = self.environments.iter().filter_map(|&(environment, name)| {
                let one = self.configuration(flag, environment, name)?;
                Some((environment.to_owned(), one))
            });
            shown.insert("environments".to_owned(), Value::Object(configurations.collect()));
        }
        Value::Object(shown)
    }

    fn configuration(&self, flag: &Value, environment: &str, name: &str) -> Option<Value> {
        let stored = configuration(flag, environment)?;
        let mut shown = stored.as_object()?.clone();
        shown.shift_remove(SDK_ONLY);
        if self.summary {
            for field in ["targets", "contextTargets", "rules", "prerequisites", "fallthrough", "offVariation"] {
                shown.shift_remove(field);
            }
        }
        let href = format!("/{}/{environment}/features/{}", self.project, text(flag, "key"));
        shown.insert("_site".to_owned(), json!({ "href": href, "type": "text/html" }));
        shown.insert("_environmentName".to_owned(), json!(name));
        shown.insert("_summary".to_owned(), summary(flag, stored));
        Some(Value::Object(shown))
    }
}

fn summary(flag: &Value, configuration: &Value) -> Value {
    let fallthrough = configuration.get("fallthrough");
    let serves = |object: &Value, index: usize| object.get("variation").and_then(Value::as_u64) == Some(index as u64);
    let count = |name: &str, index: usize| -> usize {
        let targets = list(configuration.get(name)).iter().filter(|target| serves(target, index));
        targets.map(|target| list(target.get("values")).len()).sum()
    };
    let mut variations = Map::new();
    for index in 0..variation_count(flag) {
        let rules = list(configuration.get("rules")).iter().filter(|rule| serves(rule, index)).count();
        let mut one = json!({
            "rules": rules, "nullRules": 0,
            "targets": count("targets", index), "contextTargets": count("contextTargets", index),
        });
        if fallthrough.is_some_and(|object| serves(object, index)) {
            one["isFallthrough"] = json!(true);
        }
        if configuration.get("offVariation").and_then(Value::as_u64) == Some(index as u64) {
            one["isOff"] = json!(true);
        }
        let weights = list(fallthrough.and_then(|object| object.pointer("/rollout/variations")));
        if let Some(weight) = weights.iter().find(|weighted| serves(weighted, index)) {
            one["rollout"] = weight.get("weight").cloned().unwrap_or(json!(0));
        }
        variations.insert(index.to_string(), one);
    }
    json!({ "variations": variations, "prerequisites": list(configuration.get("prerequisites")).len() })
}

/// Checks what must be true of every configuration after every change, whoever made it: types, and variations that
/// exist. LaunchDarkly refuses such a change as a whole.
pub fn check(flag: &Value) -> Result<(), Problem> {
    let variations = list(flag.get("variations"));
    if variations.len() < 2 || variations.iter().any(|one| one.get("value").is_none() || text(one, "_id").is_empty()) {
        return Err(Problem::invalid("a flag must have at least two variations, each with a value"));
    }
    let defaults = flag.get("defaults").cloned().unwrap_or_default();
    for name in ["onVariation", "offVariation"] {
        check_index(flag, defaults.get(name))?;
    }
    for (environment, configuration) in flag.get("environments").and_then(Value::as_object).into_iter().flatten() {
        check_configuration(flag, configuration)
            .map_err(|problem| Problem::invalid(format!("{} in environment '{environment}'", problem.message)))?;
    }
    Ok(())
}

fn check_configuration(flag: &Value, configuration: &Value) -> Result<(), Problem> {
    for name in ["on", "trackEvents", "trackEventsFallthrough"] {
        if !configuration.get(name).is_some_and(Value::is_boolean) {
            return Err(Problem::invalid(format!("'{name}' must be true or false")));
        }
    }
    if let Some(index) = configuration.get("offVariation") {
        check_index(flag, Some(index))?;
    }
    check_served(flag, configuration.get("fallthrough").unwrap_or(&Value::Null))?;
    for rule in list(configuration.get("rules")) {
        check_served(flag, rule)?;
    }
    for name in ["targets", "contextTargets"] {
        for target in list(configuration.get(name)) {
            check_index(flag, target.get("variation"))?;
            if !list(target.get("values")).iter().all(Value::is_string) {
                return Err(Problem::invalid("a target must be a text"));
            }
        }
    }
    let prerequisites = list(configuration.get("prerequisites"));
    if prerequisites.iter().any(|one| text(one, "key").is_empty() || one.get("variation").is_none()) {
        return Err(Problem::invalid("a prerequisite must have a key and a variation"));
    }
    Ok(())
}

fn check_served(flag: &Value, served: &Value) -> Result<(), Problem> {
    match (served.get("variation"), served.get("rollout")) {
        (Some(index), None) => check_index(flag, Some(index)),
        (None, Some(rollout)) => {
            let weighted = list(rollout.get("variations"));
            let total: u64 = weighted.iter().filter_map(|one| one.get("weight")).filter_map(Value::as_u64).sum();
            if total != WEIGHT_TOTAL {
                return Err(Problem::invalid(format!("rollout weights must add up to {WEIGHT_TOTAL}, not {total}")));
            }
            weighted.iter().try_for_each(|one| check_index(flag, one.get("variation")))
        }
        _ => Err(Problem::invalid("exactly one of a variation and a rollout must be served")),
    }
}

fn check_index(flag: &Value, index: Option<&Value>) -> Result<(), Problem> {
    let count = variation_count(flag) as u64;
    match index.and_then(Value::as_u64) {
        Some(index) if index < count => Ok(()),
        _ => Err(Problem::invalid(format!("a variation must be the index of one of the {count} variations"))),
    }
}
