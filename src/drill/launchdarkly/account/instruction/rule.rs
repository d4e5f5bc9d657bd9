//! Targeting rules and their clauses.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::super::flag::complete_clause;
use super::super::flag::complete_rule;
use super::super::flag::edit_list;
use super::super::flag::list;
use super::super::flag::text;
use super::super::identifier::fresh_uuid;
use super::Bench;
use super::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

/// The operators of LaunchDarkly's clauses. Source: LaunchDarkly's documentation of targeting rules.
const OPERATORS: [&str; 15] = [
    "in",
    "endsWith",
    "startsWith",
    "matches",
    "contains",
    "lessThan",
    "lessThanOrEqual",
    "greaterThan",
    "greaterThanOrEqual",
    "before",
    "after",
    "segmentMatch",
    "semVerEqual",
    "semVerLessThan",
    "semVerGreaterThan",
];

pub(super) fn apply(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    match parameters.kind {
        "addRule" => {
            let rule = made(bench.flag, parameters)?;
            insert(bench, parameters, rule)
        }
        "replaceRules" => {
            let rules = parameters.objects("rules")?;
            let rules: Result<Vec<Value>, Problem> = rules.iter().map(|rule| made(bench.flag, rule)).collect();
            let rules = rules?;
            bench.set("rules", Value::Array(rules))
        }
        "removeRule" => {
            let id = parameters.text("ruleId")?;
            rule(bench, parameters, id)?;
            edit_list(bench.configuration()?, "rules", |rules| rules.retain(|rule| text(rule, "_id") != id));
            Ok(())
        }
        "reorderRules" => reorder(bench, parameters),
        _ => change(bench, parameters),
    }
}

fn change(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let id = parameters.text("ruleId")?;
    let served = match parameters.kind {
        "updateRuleVariationOrRollout" => Some(parameters.served(bench.flag)?),
        _ => None,
    };
    let mut changed = rule(bench, parameters, id)?;
    match parameters.kind {
        "updateRuleDescription" => {
            changed.insert("description".to_owned(), json!(parameters.text("description")?));
        }
        "updateRuleTrackEvents" => {
            changed.insert("trackEvents".to_owned(), json!(parameters.flag("trackEvents")?));
        }
        "updateRuleVariationOrRollout" => {
            changed.shift_remove("variation");
            changed.shift_remove("rollout");
            changed.extend(served.unwrap_or_default());
        }
        "addClauses" => {
            let added = clauses(parameters)?;
            edit_list(&mut changed, "clauses", |clauses| clauses.extend(added));
        }
        "removeClauses" => {
            let ids = parameters.texts("clauseIds")?;
            let is_named = |clause: &Value| clause.get("_id").is_some_and(|id| ids.contains(id));
            edit_list(&mut changed, "clauses", |clauses| clauses.retain(|clause| !is_named(clause)));
        }
        _ => change_clause(&mut changed, parameters)?,
    }
    edit_list(bench.configuration()?, "rules", |rules| {
        if let Some(slot) = rules.iter_mut().find(|rule| text(rule, "_id") == id) {
            *slot = Value::Object(changed);
        }
    });
    Ok(())
}

fn change_clause(rule: &mut Map<String, Value>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let id = parameters.text("clauseId")?;
    edit_list(rule, "clauses", |clauses| {
        let clause = clauses.iter_mut().find(|clause| text(clause, "_id") == id);
        let clause = clause.ok_or_else(|| parameters.problem(format_args!("there is no clause '{id}'")))?;
        if parameters.kind == "updateClause" {
            let given = parameters.get("clause").ok_or_else(|| parameters.problem("'clause' is missing"))?;
            let mut given = checked_clause(parameters, given)?;
            given["_id"] = json!(id);
            *clause = given;
            return Ok(());
        }
        let values = parameters.list("values")?;
        let adding = parameters.kind == "addValuesToClause";
        if let Some(fields) = clause.as_object_mut() {
            edit_list(fields, "values", |kept| {
                kept.retain(|value| adding || !values.contains(value));
                if adding {
                    let fresh: Vec<Value> = values.iter().filter(|&value| !kept.contains(value)).cloned().collect();
                    kept.extend(fresh);
                }
            });
        }
        Ok(())
    })
}

/// The rule with this id, copied.
fn rule(bench: &mut Bench<'_>, parameters: &Parameters<'_>, id: &str) -> Result<Map<String, Value>, Problem> {
    let configuration = bench.configuration()?;
    let found = list(configuration.get("rules")).iter().find(|rule| text(rule, "_id") == id);
    let found = found.and_then(Value::as_object).cloned();
    found.ok_or_else(|| parameters.problem(format_args!("there is no rule '{id}'")))
}

fn made(flag: &Value, parameters: &Parameters<'_>) -> Result<Value, Problem> {
    let mut rule = Map::new();
    rule.insert("_id".to_owned(), json!(fresh_uuid()));
    rule.extend(parameters.served(flag)?);
    rule.insert("clauses".to_owned(), Value::Array(clauses(parameters)?));
    rule.insert("trackEvents".to_owned(), json!(false));
    for name in ["trackEvents", "description", "ref", "disabled"] {
        if let Some(value) = parameters.get(name) {
            rule.insert(name.to_owned(), value.clone());
        }
    }
    let mut rule = Value::Object(rule);
    complete_rule(&mut rule);
    Ok(rule)
}

fn clauses(parameters: &Parameters<'_>) -> Result<Vec<Value>, Problem> {
    parameters.list("clauses")?.iter().map(|clause| checked_clause(parameters, clause)).collect()
}

fn checked_clause(parameters: &Parameters<'_>, clause: &Value) -> Result<Value, Problem> {
    let operator = text(clause, "op");
    if !OPERATORS.contains(&operator) {
        return Err(parameters.problem(format_args!("'{operator}' is not an operator")));
    }
    let needs_attribute = operator != "segmentMatch";
    if needs_attribute && text(clause, "attribute").is_empty() {
        return Err(parameters.problem("a clause must have an 'attribute'"));
    }
    if !clause.get("values").is_some_and(Value::is_array) {
        return Err(parameters.problem("a clause must have a list of 'values'"));
    }
    let mut clause = clause.clone();
    if let Some(fields) = clause.as_object_mut() {
        fields.shift_remove("_id");
        fields.entry("attribute").or_insert(json!(""));
        fields.entry("contextKind").or_insert(json!("user"));
    }
    complete_clause(&mut clause);
    Ok(clause)
}

fn insert(bench: &mut Bench<'_>, parameters: &Parameters<'_>, rule: Value) -> Result<(), Problem> {
    let before = parameters.get("beforeRuleId").and_then(Value::as_str);
    edit_list(bench.configuration()?, "rules", |rules| {
        let place = match before {
            None => Some(rules.len()),
            Some(id) => rules.iter().position(|rule| text(rule, "_id") == id),
        };
        let place = place.ok_or_else(|| parameters.problem("there is no rule 'beforeRuleId'"))?;
        rules.insert(place, rule);
        Ok(())
    })
}

fn reorder(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let ids = parameters.texts("ruleIds")?;
    edit_list(bench.configuration()?, "rules", |rules| {
        let place = |rule: &Value| ids.iter().position(|id| rule.get("_id") == Some(id));
        if ids.len() != rules.len() || rules.iter().any(|rule| place(rule).is_none()) {
            return Err(parameters.problem("'ruleIds' must name every rule once"));
        }
        rules.sort_by_key(place);
        Ok(())
    })
}
