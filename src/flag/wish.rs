//! What an operator asks for (`-s on|off`, `--serve VALUE`) as instructions. It must not know how arguments are
//! parsed or where the record came from.

use serde_json::Value;

use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::JsonValue;
use crate::flag::instruction::Instruction;
use crate::flag::instruction::VariationIndex;
use crate::flag::record::Record;
use crate::flag::words::shortened;

/// Why a flag cannot be made to serve a value to everybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServeError {
    /// The record marks a deleted flag.
    #[error("the flag is deleted (a tombstone, version {version})")]
    Tombstone {
        /// Of the deletion.
        version: u64,
    },
    /// The record cannot be read, so nobody knows its values.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The flag has no variation with that value.
    #[error("{given:?} is not one of the flag's values: {}", values.join(", "))]
    NotAValue {
        /// The beginning of what was asked for.
        given: String,
        /// The flag's values as JSON, each cut where it is long.
        values: Vec<String>,
    },
}

/// `-s on` or `-s off`.
pub fn instructions_for_state(on: bool) -> Vec<Instruction> {
    vec![if on { Instruction::TurnFlagOn } else { Instruction::TurnFlagOff }]
}

/// `--serve VALUE`: everybody gets the variation with this value, so targeting is turned off and the off variation is
/// that one. `value_text` is JSON (compared by value), or else the bare text of a string variation: `silver` and
/// `"silver"` are the same, and `1` is the number where there is one, else the string. Of two equal variations it is
/// the first.
///
/// # Errors
/// See [`ServeError`].
pub fn instructions_to_serve(record: &Record, value_text: &str) -> Result<Vec<Instruction>, ServeError> {
    if record.is_tombstone() {
        return Err(ServeError::Tombstone { version: record.version() });
    }
    check::readable(record)?;
    let values = Configuration::of_record(record).variations;
    let variation = variation_of(&values, value_text).ok_or_else(|| ServeError::NotAValue {
        given: shortened(value_text),
        values: values.iter().map(|value| shortened(&value.0.to_string())).collect(),
    })?;
    Ok(vec![Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation }])
}

fn variation_of(values: &[JsonValue], value_text: &str) -> Option<VariationIndex> {
    let place = |wanted: JsonValue| values.iter().position(|value| *value == wanted);
    let as_json = serde_json::from_str(value_text).ok().map(JsonValue);
    as_json.and_then(place).or_else(|| place(JsonValue(Value::from(value_text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::patch::apply;
    use crate::flag::preview::Serves;
    use crate::flag::preview::serves;
    use crate::flag::samples::record;

    const TIERS: &str =
        r#"{"on":true,"offVariation":0,"variations":["gold","silver",1,"1",{"a":1,"b":[true]},"silver",true,null]}"#;

    fn variation(value_text: &str) -> Option<usize> {
        match instructions_to_serve(&record(TIERS), value_text).unwrap().as_slice() {
            [Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation }] => Some(*variation),
            _ => None,
        }
    }

    #[test]
    fn finds_the_variation_by_json_or_by_bare_text() {
        for (value_text, place) in [
            ("silver", 1),
            ("\"silver\"", 1),
            ("1", 2),
            ("1.0", 2),
            ("\"1\"", 3),
            (r#"{"b":[true],"a":1e0}"#, 4),
            ("true", 6),
            ("null", 7),
        ] {
            assert_eq!(variation(value_text), Some(place), "{value_text}");
        }
        let text_only = record(r#"{"variations":["1","true"]}"#);
        assert!(instructions_to_serve(&text_only, "true").is_ok());
    }

    #[test]
    fn makes_everybody_get_the_value() {
        let record = record(TIERS);
        let served = serves(&apply(&record, &instructions_to_serve(&record, "silver").unwrap()).unwrap());
        assert_eq!(served, Serves::Everybody(Value::from("silver")));
        let off = serves(&apply(&record, &instructions_for_state(false)).unwrap());
        assert_eq!(off, Serves::Everybody(Value::from("gold")));
        assert_eq!(instructions_for_state(true), [Instruction::TurnFlagOn]);
    }

    #[test]
    fn lists_the_values_where_it_is_none_of_them() {
        let refusal = |text: &str, value: &str| instructions_to_serve(&record(text), value).unwrap_err().to_string();
        assert_eq!(
            refusal(r#"{"variations":[true,"silver"]}"#, "bronze"),
            r#""bronze" is not one of the flag's values: true, "silver""#
        );
        assert!(refusal(TIERS, &"x".repeat(9999)).len() < 200);
        assert_eq!(refusal(r#"{"on":"off"}"#, "1"), r#"on: is the text "off", not true or false"#);
        assert_eq!(refusal(r#"{"deleted":true,"version":3}"#, "1"), "the flag is deleted (a tombstone, version 3)");
    }
}
