//! Prerequisites: other flags of the project that must serve a variation. A circle is refused.

use std::collections::HashSet;

use serde_json::Value;
use serde_json::json;

use super::super::flag::configuration;
use super::super::flag::edit_list;
use super::super::flag::list;
use super::super::flag::text;
use super::Bench;
use super::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

pub(super) fn apply(bench: &mut Bench<'_>, parameters: &Parameters<'_>) -> Result<(), Problem> {
    if parameters.kind == "replacePrerequisites" {
        let given = parameters.objects("prerequisites")?;
        let made: Result<Vec<Value>, Problem> = given.iter().map(|one| made(bench, one)).collect();
        let made = made?;
        return bench.set("prerequisites", Value::Array(made));
    }
    let key = parameters.text("key")?;
    let made = match parameters.kind {
        "removePrerequisite" => None,
        _ => Some(made(bench, parameters)?),
    };
    edit_list(bench.configuration()?, "prerequisites", |prerequisites| {
        let place = prerequisites.iter().position(|one| text(one, "key") == key);
        match (parameters.kind, place, made) {
            ("removePrerequisite", Some(place), _) => {
                prerequisites.remove(place);
            }
            ("updatePrerequisite" | "addPrerequisite", Some(place), Some(made)) => prerequisites[place] = made,
            ("addPrerequisite", None, Some(made)) => prerequisites.push(made),
            _ => return Err(parameters.problem(format_args!("'{key}' is not a prerequisite of this flag"))),
        }
        Ok(())
    })
}

fn made(bench: &Bench<'_>, parameters: &Parameters<'_>) -> Result<Value, Problem> {
    let key = parameters.text("key")?;
    let other = bench.flags.get(key).ok_or_else(|| parameters.problem(format_args!("there is no flag '{key}'")))?;
    let index = parameters.variation(other)?;
    if depends(bench, key, text(bench.flag, "key")) {
        return Err(parameters.problem(format_args!("'{key}' depends on this flag")));
    }
    Ok(json!({ "key": key, "variation": index }))
}

/// Whether `start` is `wanted`, or has it among its prerequisites, at any depth.
fn depends(bench: &Bench<'_>, start: &str, wanted: &str) -> bool {
    let environment = bench.environment.unwrap_or_default();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut open = vec![start];
    // Each flag is looked at once, so this ends.
    while let Some(key) = open.pop() {
        if key == wanted {
            return true;
        }
        let Some(flag) = bench.flags.get(key).filter(|_| seen.insert(key)) else { continue };
        let prerequisites = configuration(flag, environment).and_then(|one| one.get("prerequisites"));
        open.extend(list(prerequisites).iter().map(|one| text(one, "key")));
    }
    false
}
