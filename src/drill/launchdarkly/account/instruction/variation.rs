//! The list of variations and the flag's default ones. Removing one moves every index behind it, in every environment.

use serde_json::Value;
use serde_json::json;

use super::super::flag::configuration;
use super::super::flag::edit_list;
use super::super::flag::list;
use super::super::identifier::fresh_uuid;
use super::Bench;
use super::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

pub(super) fn apply(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    match parameters.kind {
        "addVariation" => {
            let value = parameters.get("value").ok_or_else(|| parameters.problem("'value' is missing"))?;
            let mut made = json!({ "_id": fresh_uuid(), "value": value });
            describe(&mut made, parameters);
            edit_list(bench.fields()?, "variations", |variations| variations.push(made));
        }
        "updateVariation" => {
            let index = parameters.variation(bench.flag)?;
            edit_list(bench.fields()?, "variations", |variations| {
                if let Some(value) = parameters.get("value") {
                    variations[index]["value"] = value.clone();
                }
                describe(&mut variations[index], parameters);
            });
        }
        "removeVariation" => remove(bench, parameters)?,
        _ => update_defaults(bench, parameters)?,
    }
    Ok(())
}

fn describe(variation: &mut Value, parameters: &Parameters<'_>) {
    for name in ["name", "description"] {
        if let Some(value) = parameters.get(name) {
            variation[name] = value.clone();
        }
    }
}

fn update_defaults(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    // The parameter list and the example of LaunchDarkly's description differ in the first letter: both are taken.
    for (names, field) in [
        (["onVariationValue", "OnVariationValue"], "onVariation"),
        (["offVariationValue", "OffVariationValue"], "offVariation"),
    ] {
        let Some(wanted) = names.iter().find_map(|name| parameters.get(name)) else { continue };
        let place = list(bench.flag.get("variations")).iter().position(|one| one.get("value") == Some(wanted));
        let place = place.ok_or_else(|| parameters.problem(format_args!("no variation has the value {wanted}")))?;
        bench.flag["defaults"][field] = json!(place);
    }
    Ok(())
}

fn remove(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let index = parameters.variation(bench.flag)?;
    let environments: Vec<String> = bench
        .flag
        .get("environments")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect();
    for environment in &environments {
        let used = configuration(bench.flag, environment).is_some_and(|one| indices(one).contains(&index));
        if used {
            return Err(parameters.problem(format_args!("the variation is in use in environment '{environment}'")));
        }
    }
    if indices(&bench.flag["defaults"]).contains(&index) {
        return Err(parameters.problem("the variation is a default variation of the flag"));
    }
    edit_list(bench.fields()?, "variations", |variations| {
        variations.remove(index);
    });
    for part in ["environments", "defaults"] {
        if let Some(value) = bench.flag.get_mut(part) {
            shift(value, index);
        }
    }
    Ok(())
}

/// The fields of an API document that hold an index of this flag's variations.
const INDEX_FIELDS: [&str; 4] = ["variation", "offVariation", "onVariation", "defaultVariation"];

/// Prerequisites hold indices of other flags.
fn is_own(name: &str) -> bool {
    name != "prerequisites"
}

fn indices(value: &Value) -> Vec<usize> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| is_own(name))
            .flat_map(|(name, value)| match value.as_u64() {
                Some(index) if INDEX_FIELDS.contains(&name.as_str()) => usize::try_from(index).into_iter().collect(),
                _ => indices(value),
            })
            .collect(),
        Value::Array(elements) => elements.iter().flat_map(indices).collect(),
        _ => Vec::new(),
    }
}

fn shift(value: &mut Value, removed: usize) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut().filter(|(name, _)| is_own(name)) {
                match value.as_u64() {
                    Some(index) if INDEX_FIELDS.contains(&name.as_str()) && index > removed as u64 => {
                        *value = json!(index - 1);
                    }
                    _ => shift(value, removed),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| shift(element, removed)),
        _ => {}
    }
}
