//! What an operator asks for (`-s on|off`, `--serve VALUE`) as instructions. It must not know how arguments are
//! parsed or where the record came from.

use serde_json::Value;

use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::JsonValue;
use crate::flag::configuration::shortened;
use crate::flag::instruction::Instruction;
use crate::flag::instruction::VariationIndex;
use crate::flag::record::Record;

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
