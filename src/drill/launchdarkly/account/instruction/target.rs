//! Individual targets. LaunchDarkly keeps user keys in `targets` and all other kinds in `contextTargets`, where an
//! empty entry stands for each user target. A key is a target of one variation only: adding it to another moves it.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::super::flag::edit_list;
use super::super::flag::list;
use super::super::flag::text;
use super::Bench;
use super::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

const USER: &str = "user";

pub(super) fn apply(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let before = bench.configuration()?.clone();
    edit(bench, parameters)?;
    let after = bench.configuration()?;
    if targets(&before) == targets(after) {
        // Only the entries that stand for user targets differ: nothing was really changed.
        *after = before;
    }
    Ok(())
}

/// The targets that name anybody.
fn targets(configuration: &Map<String, Value>) -> Vec<&Value> {
    let lists = [list(configuration.get("targets")), list(configuration.get("contextTargets"))];
    lists.into_iter().flatten().filter(|target| !list(target.get("values")).is_empty()).collect()
}

fn edit(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    match parameters.kind {
        "addTargets" | "addUserTargets" => {
            let (index, kind) = place(bench, parameters)?;
            add(bench.configuration()?, index, kind, parameters.texts("values")?);
        }
        "removeTargets" | "removeUserTargets" => {
            let (index, kind) = place(bench, parameters)?;
            let values = parameters.texts("values")?;
            remove(bench.configuration()?, kind, |variation| variation == index, |value| values.contains(value));
        }
        "clearTargets" | "clearUserTargets" => {
            let index = parameters.variation(bench.flag)?;
            let kinds: &[&str] =
                if parameters.kind == "clearTargets" { &["targets", "contextTargets"] } else { &["targets"] };
            for name in kinds {
                edit_list(bench.configuration()?, name, |targets| {
                    targets.retain(|target| served(target) != Some(index))
                });
            }
            tidy(bench.configuration()?);
        }
        // replaceTargets and replaceUserTargets.
        _ => replace(bench, parameters)?,
    }
    Ok(())
}

fn place<'a>(bench: &Bench<'_>, parameters: &Parameters<'a>) -> Result<(usize, &'a str), Problem> {
    let kind = match parameters.kind {
        "addUserTargets" | "removeUserTargets" | "replaceUserTargets" => USER,
        _ => parameters.get("contextKind").and_then(Value::as_str).unwrap_or(USER),
    };
    Ok((parameters.variation(bench.flag)?, kind))
}

fn replace(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    let targets = match parameters.get("targets") {
        None if parameters.kind == "replaceTargets" => Vec::new(),
        _ => parameters.objects("targets")?,
    };
    let configuration = bench.configuration()?;
    configuration.insert("targets".to_owned(), json!([]));
    if parameters.kind == "replaceTargets" {
        configuration.insert("contextTargets".to_owned(), json!([]));
    }
    for target in &targets {
        let (index, kind) = place(bench, target)?;
        add(bench.configuration()?, index, kind, target.texts("values")?);
    }
    tidy(bench.configuration()?);
    Ok(())
}

fn served(target: &Value) -> Option<usize> {
    target.get("variation").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok())
}

fn list_name(kind: &str) -> &'static str {
    if kind == USER { "targets" } else { "contextTargets" }
}

fn add(configuration: &mut Map<String, Value>, index: usize, kind: &str, values: &[Value]) {
    remove(configuration, kind, |variation| variation != index, |value| values.contains(value));
    edit_list(configuration, list_name(kind), |targets| {
        let is_it = |target: &Value| served(target) == Some(index) && text(target, "contextKind") == kind;
        if !targets.iter().any(is_it) {
            targets.push(json!({ "values": [], "variation": index, "contextKind": kind }));
        }
        let target = targets.iter_mut().find(|target| is_it(target)).and_then(Value::as_object_mut);
        if let Some(target) = target {
            edit_list(target, "values", |kept| {
                for value in values {
                    if !kept.contains(value) {
                        kept.push(value.clone());
                    }
                }
            });
        }
    });
    tidy(configuration);
}

fn remove(
    configuration: &mut Map<String, Value>,
    kind: &str,
    variation: impl Fn(usize) -> bool,
    value: impl Fn(&Value) -> bool,
) {
    edit_list(configuration, list_name(kind), |targets| {
        for target in targets.iter_mut() {
            if text(target, "contextKind") == kind
                && served(target).is_some_and(&variation)
                && let Some(target) = target.as_object_mut()
            {
                edit_list(target, "values", |kept| kept.retain(|one| !value(one)));
            }
        }
    });
    tidy(configuration);
}

/// Drops targets without keys, and keeps one empty entry of `contextTargets` for each user target.
fn tidy(configuration: &mut Map<String, Value>) {
    let is_empty = |target: &Value| target.get("values").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let users: Vec<Value> = edit_list(configuration, "targets", |targets| {
        targets.retain(|target| !is_empty(target));
        targets.iter().filter_map(|target| target.get("variation").cloned()).collect()
    });
    edit_list(configuration, "contextTargets", |targets| {
        let stands_for_user = |target: &Value| {
            text(target, "contextKind") == USER && target.get("variation").is_some_and(|index| users.contains(index))
        };
        targets.retain(|target| !is_empty(target) || stands_for_user(target));
        for index in &users {
            let missing =
                |target: &Value| text(target, "contextKind") == USER && target.get("variation") == Some(index);
            if !targets.iter().any(missing) {
                targets.push(json!({ "values": [], "variation": index, "contextKind": USER }));
            }
        }
    });
}
