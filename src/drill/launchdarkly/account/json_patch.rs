//! JSON patch (RFC 6902) as LaunchDarkly takes it for flags: `test`, `replace`, `add`, `remove` on the representation
//! that `GET` shows. Must not know flags beyond what may not be written.

use serde_json::Value;
use serde_json::json;

use super::flag::list;
use crate::drill::launchdarkly::answer::Problem;

/// The fields that nobody may write, wherever they stand in a flag or a configuration.
const READ_ONLY: [&str; 9] =
    ["key", "kind", "_version", "creationDate", "archivedDate", "version", "lastModified", "sel", "_sdk"];

/// Applies the operations to the flag, all or none. A `test` that fails is answered like a lost race (409): how
/// LaunchDarkly answers it is not documented.
pub fn apply(flag: &mut Value, operations: &[Value]) -> Result<(), Problem> {
    for operation in operations {
        let name = operation.get("op").and_then(Value::as_str).unwrap_or_default();
        let path = operation.get("path").and_then(Value::as_str);
        let path =
            path.filter(|path| path.starts_with('/')).ok_or_else(|| Problem::invalid("a path must begin with '/'"))?;
        let value = || operation.get("value").cloned().ok_or_else(|| Problem::invalid("'value' is missing"));
        match name {
            "test" => test(flag, path, &value()?)?,
            "replace" => replace(flag, path, value()?)?,
            "add" => add(flag, path, value()?)?,
            "remove" => remove(flag, path)?,
            _ => return Err(Problem::invalid(format!("unknown operation '{name}'"))),
        }
    }
    Ok(())
}

fn no_such(path: &str) -> Problem {
    Problem::invalid(format!("there is nothing at '{path}'"))
}

fn writable(path: &str) -> Result<(), Problem> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let field = match parts.as_slice() {
        ["environments", _] | ["environments"] => None,
        ["environments", _, field, ..] => Some(*field),
        [field, ..] => Some(*field),
        [] => None,
    };
    match field {
        Some(field) if !READ_ONLY.contains(&field) && !field.is_empty() => Ok(()),
        _ => Err(Problem::invalid(format!("'{path}' can not be changed"))),
    }
}

fn test(flag: &Value, path: &str, wanted: &Value) -> Result<(), Problem> {
    // LaunchDarkly's own example tests `/version`, which its representation calls `_version`.
    let path = if path == "/version" { "/_version" } else { path };
    if flag.pointer(path) == Some(wanted) { Ok(()) } else { Err(Problem::conflict()) }
}

fn replace(flag: &mut Value, path: &str, value: Value) -> Result<(), Problem> {
    writable(path)?;
    *flag.pointer_mut(path).ok_or_else(|| no_such(path))? = value;
    Ok(())
}

/// The value that holds the one at this path, and the last part of the path.
fn holder<'a>(flag: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), Problem> {
    writable(path)?;
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| no_such(path))?;
    let holder = flag.pointer_mut(parent).ok_or_else(|| no_such(path))?;
    Ok((holder, last.replace("~1", "/").replace("~0", "~")))
}

fn add(flag: &mut Value, path: &str, value: Value) -> Result<(), Problem> {
    match holder(flag, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(elements), name) => {
            let place = if name == "-" { Some(elements.len()) } else { name.parse().ok() };
            let place = place.filter(|&place: &usize| place <= elements.len()).ok_or_else(|| no_such(path))?;
            elements.insert(place, value);
        }
        _ => return Err(no_such(path)),
    }
    Ok(())
}

fn remove(flag: &mut Value, path: &str) -> Result<(), Problem> {
    let removed = match holder(flag, path)? {
        (Value::Object(fields), name) => fields.shift_remove(&name),
        (Value::Array(elements), name) => {
            let place = name.parse().ok().filter(|&place: &usize| place < elements.len());
            place.map(|place| elements.remove(place))
        }
        _ => None,
    };
    removed.map(|_| ()).ok_or_else(|| no_such(path))
}

/// The actions that a role must allow for the difference between two versions of a flag: of the flag itself, and of its
/// configuration in each environment.
pub fn actions(before: &Value, after: &Value) -> Vec<(Option<String>, &'static str)> {
    let mut found = Vec::new();
    let own = [
        ("archived", "updateGlobalArchived"),
        ("variations", "updateFlagVariations"),
        ("defaults", "updateFlagDefaultVariations"),
        ("tags", "updateTags"),
        ("temporary", "updateTemporary"),
        ("name", "updateName"),
        ("description", "updateDescription"),
        ("customProperties", "updateFlagCustomProperties"),
        ("clientSideAvailability", "updateClientSideFlagAvailability"),
    ];
    let differ = |left: &Value, right: &Value, name: &str| left.get(name) != right.get(name);
    found.extend(own.iter().filter(|(name, _)| differ(before, after, name)).map(|&(_, action)| (None, action)));
    let configured = [
        ("on", "updateOn"),
        ("offVariation", "updateOffVariation"),
        ("fallthrough", "updateFallthrough"),
        ("targets", "updateTargets"),
        ("contextTargets", "updateTargets"),
        ("rules", "updateRules"),
        ("prerequisites", "updatePrerequisites"),
        ("trackEvents", "updateTrackEvents"),
        ("trackEventsFallthrough", "updateTrackEvents"),
    ];
    let none = json!({});
    let environments = after.get("environments").and_then(Value::as_object);
    for (environment, configuration) in environments.into_iter().flatten() {
        let old = before.get("environments").and_then(|all| all.get(environment)).unwrap_or(&none);
        let changed = configured.iter().filter(|(name, _)| differ(old, configuration, name));
        found.extend(changed.map(|&(_, action)| (Some(environment.clone()), action)));
    }
    found
}

/// The operations of a request: the body itself, or its `patch`; and its comment.
pub fn operations(body: &Value) -> Result<(&[Value], &str), Problem> {
    let comment = body.get("comment").and_then(Value::as_str).unwrap_or_default();
    let operations = if body.is_array() { Some(body) } else { body.get("patch").filter(|patch| patch.is_array()) };
    let operations = operations.ok_or_else(|| Problem::invalid("Invalid request body: expected a JSON patch"))?;
    Ok((list(Some(operations)), comment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag() -> Value {
        json!({ "_version": 3, "tags": ["a"], "environments": { "production": { "on": true, "version": 61 } } })
    }

    #[track_caller]
    fn case(operations: Value, outcome: Result<Value, u16>) {
        let mut patched = flag();
        let result = apply(&mut patched, list(Some(&operations)));
        assert_eq!(result.map(|()| patched).map_err(|problem| problem.status), outcome, "{operations}");
    }

    #[test]
    fn operations_do_what_they_say() {
        let mut off = flag();
        off["environments"]["production"]["on"] = json!(false);
        let test = json!({ "op": "test", "path": "/environments/production/version", "value": 61 });
        case(json!([test, { "op": "replace", "path": "/environments/production/on", "value": false }]), Ok(off));
        case(json!([{ "op": "test", "path": "/environments/production/version", "value": 60 }]), Err(409));
        case(json!([{ "op": "test", "path": "/version", "value": 3 }]), Ok(flag()));
        case(json!([{ "op": "replace", "path": "/environments/production/version", "value": 1 }]), Err(400));
        case(json!([{ "op": "replace", "path": "/missing", "value": 1 }]), Err(400));
        case(json!([{ "op": "remove", "path": "/tags/1" }]), Err(400));
        case(json!([{ "op": "move", "path": "/tags/0" }]), Err(400));
        let mut tagged = flag();
        tagged["tags"] = json!(["b", "a", "c"]);
        let adds = json!([
            { "op": "add", "path": "/tags/-", "value": "c" }, { "op": "add", "path": "/tags/0", "value": "b" },
        ]);
        case(adds, Ok(tagged));
    }
}
