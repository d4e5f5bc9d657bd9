//! What belongs to the flag as a whole: tags, name, maintainer, availability, archiving.

use serde_json::Value;
use serde_json::json;

use super::super::flag::edit_list;
use super::Bench;
use super::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

pub(super) fn apply(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let now = bench.now;
    match parameters.kind {
        "archiveFlag" => mark(bench, "archived", true, now),
        "restoreFlag" => mark(bench, "archived", false, now),
        "deprecateFlag" => mark(bench, "deprecated", true, now),
        "restoreDeprecatedFlag" => mark(bench, "deprecated", false, now),
        "deleteFlag" => Ok(()),
        "addTags" | "removeTags" => edit_tags(bench, parameters),
        "makeFlagPermanent" => put(bench, "temporary", json!(false)),
        "makeFlagTemporary" => put(bench, "temporary", json!(true)),
        "updateName" => put(bench, "name", json!(parameters.text("value")?)),
        "updateDescription" => {
            let value = parameters.get("value").and_then(Value::as_str);
            put(bench, "description", json!(value.ok_or_else(|| parameters.problem("'value' must be a text"))?))
        }
        "updateMaintainerMember" => maintainer(bench, Some(("maintainerId", parameters.text("value")?))),
        "updateMaintainerTeam" => maintainer(bench, Some(("maintainerTeamKey", parameters.text("value")?))),
        "removeMaintainer" => maintainer(bench, None),
        "turnOnClientSideAvailability" => availability(bench, parameters, true),
        "turnOffClientSideAvailability" => availability(bench, parameters, false),
        _ => custom_property(bench, parameters),
    }
}

fn put(bench: &mut Bench<'_>, name: &str, value: Value) -> Result<(), Problem> {
    bench.fields()?.insert(name.to_owned(), value);
    Ok(())
}

/// `archived` or `deprecated`, with its date, in the flag and (`archived`) in every configuration.
fn mark(bench: &mut Bench<'_>, name: &str, value: bool, now: i64) -> Result<(), Problem> {
    let date = format!("{name}Date");
    let fields = bench.fields()?;
    if fields.insert(name.to_owned(), json!(value)) == Some(json!(value)) {
        return Ok(());
    }
    if value {
        fields.insert(date, json!(now));
    } else {
        fields.shift_remove(&date);
    }
    if name == "archived" {
        let environments = fields.get_mut("environments").and_then(Value::as_object_mut);
        for (_, configuration) in environments.into_iter().flatten() {
            configuration["archived"] = json!(value);
        }
    }
    Ok(())
}

fn edit_tags(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let values = parameters.texts("values")?;
    edit_list(bench.fields()?, "tags", |tags| {
        tags.retain(|tag| parameters.kind == "addTags" || !values.contains(tag));
        if parameters.kind == "addTags" {
            let fresh: Vec<Value> = values.iter().filter(|&value| !tags.contains(value)).cloned().collect();
            tags.extend(fresh);
        }
    });
    Ok(())
}

fn maintainer(bench: &mut Bench<'_>, given: Option<(&str, &str)>) -> Result<(), Problem> {
    let fields = bench.fields()?;
    for name in ["maintainerId", "maintainerTeamKey"] {
        fields.shift_remove(name);
    }
    if let Some((name, value)) = given {
        fields.insert(name.to_owned(), json!(value));
    }
    Ok(())
}

fn availability(bench: &mut Bench<'_>, parameters: &Parameters<'_>, value: bool) -> Result<(), Problem> {
    let name = parameters.text("value")?;
    if !matches!(name, "usingMobileKey" | "usingEnvironmentId") {
        return Err(parameters.problem(format_args!("'{name}' is not a kind of client-side availability")));
    }
    bench.flag["clientSideAvailability"][name] = json!(value);
    Ok(())
}

fn custom_property(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let key = parameters.text("key")?;
    let values = parameters.texts("values")?;
    let fields = bench.fields()?;
    let Some(properties) = fields.entry("customProperties").or_insert(json!({})).as_object_mut() else {
        return Err(parameters.problem("the flag's custom properties are damaged"));
    };
    if parameters.kind == "removeCustomProperties" {
        let Some(property) = properties.get_mut(key).and_then(Value::as_object_mut) else { return Ok(()) };
        let left = edit_list(property, "value", |kept| {
            kept.retain(|value| !values.contains(value));
            kept.len()
        });
        if left == 0 {
            properties.shift_remove(key);
        }
        return Ok(());
    }
    let name = parameters.text("name")?;
    let Some(property) = properties.entry(key).or_insert_with(|| json!({ "name": name, "value": [] })).as_object_mut()
    else {
        return Err(parameters.problem("the custom property is damaged"));
    };
    property.insert("name".to_owned(), json!(name));
    edit_list(property, "value", |kept| {
        kept.retain(|_| parameters.kind == "addCustomProperties");
        let fresh: Vec<Value> = values.iter().filter(|&value| !kept.contains(value)).cloned().collect();
        kept.extend(fresh);
    });
    Ok(())
}
