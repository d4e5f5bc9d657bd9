//! What colleagues and reviewers do in LaunchDarkly itself, in its own instructions. It must not know why.

use serde_json::Value;
use serde_json::json;

use super::super::steps::Deed;
use crate::commands::drill::raw::Trouble;
use crate::commands::drill::stage::flag_key;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Problem;
use crate::flag::key::Environment;

/// Who does all of it.
pub const COLLEAGUE: &str = "zoe";

/// Does it. Returns why LaunchDarkly did not let him, where it did not.
///
/// # Errors
/// The flag has no such key.
pub fn does(control: &Control, environment: &Environment, flag: &str, deed: Deed) -> Result<Option<String>, Trouble> {
    let key = flag_key(flag)?;
    let Ok(now) = control.flag(environment, &key) else { return Ok(Some("there is no such flag".to_owned())) };
    let configuration = control.configuration(environment, &key).unwrap_or_default();
    if deed == Deed::Delete {
        return Ok(why_not(control.delete_flag(environment, &key, COLLEAGUE)));
    }
    for instructions in instructions(&now, &configuration, deed) {
        let done = control.colleague_patches(environment, &key, &instructions, COLLEAGUE, "as zoe wanted it");
        if let Some(why) = why_not(done) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

fn why_not<T>(done: Result<T, Problem>) -> Option<String> {
    done.err().map(|problem| problem.to_string())
}

/// One list of instructions for each patch.
fn instructions(flag: &Value, configuration: &Value, deed: Deed) -> Vec<Vec<Value>> {
    let kind = |kind: &str| vec![json!({ "kind": kind })];
    let turned = |on: bool| kind(if on { "turnFlagOn" } else { "turnFlagOff" });
    let on = configuration.get("on") == Some(&Value::Bool(true));
    let variations = flag.get("variations").and_then(Value::as_array).cloned().unwrap_or_default();
    let id = |number: usize| variations.get(number % variations.len().max(1)).and_then(|one| one.get("_id")).cloned();
    let off = |number: usize| vec![json!({ "kind": "updateOffVariation", "variationId": id(number) })];
    let off_now = number(configuration.get("offVariation"));
    match deed {
        Deed::TurnOn => vec![turned(true)],
        Deed::TurnOff => vec![turned(false)],
        Deed::ToggleTwice => vec![turned(!on), turned(on)],
        Deed::OffVariation(variation) => vec![off(variation)],
        Deed::OffVariationTwice => vec![off(off_now + 1), off(off_now)],
        Deed::Fallthrough(variation) => {
            vec![vec![json!({ "kind": "updateFallthroughVariationOrRollout", "variationId": id(variation) })]]
        }
        Deed::AddRule => vec![vec![json!({
            "kind": "addRule", "variationId": id(0),
            "clauses": [{ "contextKind": "user", "attribute": "country", "op": "in", "negate": false, "values": ["NO"] }],
        })]],
        Deed::AddTarget => {
            vec![vec![json!({ "kind": "addTargets", "variationId": id(1), "contextKind": "user", "values": ["u1"] })]]
        }
        Deed::Describe => {
            let version = configuration.get("version").map(ToString::to_string).unwrap_or_default();
            vec![vec![json!({ "kind": "updateDescription", "value": format!("as of version {version}") })]]
        }
        Deed::AddVariation => {
            vec![vec![json!({ "kind": "addVariation", "value": format!("value {}", variations.len()) })]]
        }
        Deed::RemoveVariation => {
            let used = [off_now, number(configuration.pointer("/fallthrough/variation"))];
            let free = (0..variations.len()).find(|variation| !used.contains(variation) && variations.len() > 2);
            free.map(|free| vec![json!({ "kind": "removeVariation", "variationId": id(free) })]).into_iter().collect()
        }
        Deed::Archive => vec![kind("archiveFlag")],
        Deed::Restore => vec![kind("restoreFlag")],
        Deed::Delete => vec![kind("deleteFlag")],
    }
}

fn number(value: Option<&Value>) -> usize {
    value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// Agrees to every request that is open for a flag and applies it, or declines it. Returns what came of each.
///
/// # Errors
/// The flag has no such key.
pub fn reviews(control: &Control, environment: &Environment, flag: &str, agrees: bool) -> Result<Vec<String>, Trouble> {
    let mut told = Vec::new();
    for id in control.open_approvals(environment, &flag_key(flag)?) {
        let verb = if agrees { "approve" } else { "decline" };
        let done = control.colleague_reviews(&id, verb, COLLEAGUE);
        let applied =
            done.and_then(|()| if agrees { control.colleague_applies(&id, COLLEAGUE).map(Some) } else { Ok(None) });
        told.push(match applied {
            Ok(None) => format!("request {id}: {verb}d"),
            Ok(Some(version)) => format!("request {id}: {verb}d, and applied: v{version}"),
            Err(why) => format!("request {id}: not {verb}d, {why}"),
        });
    }
    Ok(told)
}
