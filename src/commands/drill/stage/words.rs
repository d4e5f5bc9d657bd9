//! What the rehearsal compares, in few words: flags, lists. PURE.

use serde_json::Value;

/// `a, b`, or `none`.
pub fn listed(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// `all 6` where these are exactly the `expected` ones, else which they are: what is as it should be is said shortly.
pub fn all_of(expected: &[&str], saw: impl IntoIterator<Item = String>) -> String {
    let saw: Vec<String> = saw.into_iter().collect();
    if saw == expected { format!("all {}", expected.len()) } else { listed(saw) }
}

/// A flag in a few words, the same for a record and for the API's configuration: `off v43`; what everybody gets where
/// that is no truth value: `"bronze" v31`.
pub fn shape(flag: &Value, values: &[Value]) -> String {
    let on = flag.get("on").and_then(Value::as_bool);
    let index = if on == Some(true) { flag.pointer("/fallthrough/variation") } else { flag.get("offVariation") };
    let index = index.and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    let everybody = index.and_then(|index| values.get(index)).filter(|value| !value.is_boolean());
    let version = flag.get("version").map_or("?".to_owned(), Value::to_string);
    match (on, everybody) {
        (Some(_), Some(value)) => format!("{value} v{version}"),
        (Some(true), None) => format!("on v{version}"),
        (Some(false), None) => format!("off v{version}"),
        (None, _) => format!("neither on nor off v{version}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_means_exactly_these() {
        let saw = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        assert_eq!(all_of(&["a", "b"], saw(&["a", "b"])), "all 2");
        assert_eq!(all_of(&["a", "b"], saw(&["a"])), "a");
        assert_eq!(all_of(&["a"], saw(&["a", "b"])), "a, b");
        assert_eq!(all_of(&["a"], saw(&[])), "none");
    }

    #[test]
    fn flags_in_a_few_words() {
        let boolean = json!({ "on": false, "version": 43, "offVariation": 1, "fallthrough": { "variation": 0 } });
        assert_eq!(shape(&boolean, &[json!(true), json!(false)]), "off v43");
        let tier = json!({ "on": true, "version": 31, "offVariation": 0, "fallthrough": { "variation": 1 } });
        assert_eq!(shape(&tier, &[json!("gold"), json!("silver")]), "\"silver\" v31");
        assert_eq!(shape(&json!({ "on": "off" }), &[]), "neither on nor off v?");
    }
}
