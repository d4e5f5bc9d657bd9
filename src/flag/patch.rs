//! The interpreter of instructions: a record in, a record out, by splicing. It knows what LaunchDarkly's instructions
//! do to a stored record, and nothing of overrides beyond the sum of two numbers.

use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::instruction::Instruction;
use crate::flag::instruction::VariationIndex;
use crate::flag::json::Json;
use crate::flag::model;
use crate::flag::record::Record;

/// Why instructions cannot be applied to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The record marks a deleted flag.
    #[error("the flag is deleted (a tombstone, version {version})")]
    Tombstone {
        /// Of the deletion.
        version: u64,
    },
    /// The relay's reader would not read the record as it is, or as it would be.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// An instruction names a variation that the flag has not got.
    #[error("there is no variation {variation}; the flag has {count}")]
    NoSuchVariation {
        /// The index named.
        variation: usize,
        /// How many there are.
        count: usize,
    },
}

/// The highest version that every reader counts exactly: readers take numbers as doubles.
const VERSION_MAX: u64 = (1 << 53) - 1;

/// Applies instructions in order, all or none. The version is not changed; a value that is already so keeps its bytes.
/// Where a variation becomes the default rule, the whole content of `fallthrough` is replaced.
///
/// # Errors
/// See [`PatchError`]; the result is always readable.
pub fn apply(record: &Record, instructions: &[Instruction]) -> Result<Record, PatchError> {
    spliced(record, &values(record, instructions)?)
}

/// Whether the instructions change nothing on the record: every value they are about is so already.
///
/// # Errors
/// Where they cannot be applied, see [`apply`].
pub fn changes_nothing(record: &Record, instructions: &[Instruction]) -> Result<bool, PatchError> {
    Ok(values(record, instructions)?.is_empty())
}

/// What is in force: `instructions` applied to LaunchDarkly's newest record, with its version plus `revision`.
///
/// # Errors
/// See [`apply`]; also where the version would be beyond 2^53 - 1, since readers would then not tell it from others.
pub fn in_force(upstream: &Record, instructions: &[Instruction], revision: u64) -> Result<Record, PatchError> {
    let mut values = values(upstream, instructions)?;
    if revision > 0 {
        let version = upstream.version().saturating_add(revision);
        if version > VERSION_MAX {
            let problem = format!("would be {version}, more than readers can count");
            return Err(Unreadable { path: "version".to_owned(), problem }.into());
        }
        values.push(("version", version.to_string()));
    }
    spliced(upstream, &values)
}

/// Mends what the old Python tool wrote: `"on"` as the text `"on"` or `"off"` (in any case) becomes `true` or `false`.
/// `None` where that is not what is wrong with the record, or where the mended record would still not be readable.
pub fn repaired(record: &Record) -> Option<Record> {
    let written: String = serde_json::from_str(record.raw("on")?).ok()?;
    let on = match written.to_ascii_lowercase().as_str() {
        "on" => true,
        "off" => false,
        _ => return None,
    };
    let mended = record.with(&[("on", on.to_string())]);
    (!mended.is_tombstone() && check::readable(&mended).is_ok()).then_some(mended)
}

fn spliced(record: &Record, values: &[(&str, String)]) -> Result<Record, PatchError> {
    if values.is_empty() {
        return Ok(record.clone());
    }
    Ok(check::edited(record, values)?)
}

/// What the instructions come to: the top-level values that are not so yet.
fn values(record: &Record, instructions: &[Instruction]) -> Result<Vec<(&'static str, String)>, PatchError> {
    if record.is_tombstone() {
        return Err(PatchError::Tombstone { version: record.version() });
    }
    check::readable(record)?;
    let (mut on, mut off_variation, mut fallthrough) = (None, None, None);
    for instruction in instructions {
        if let Some(variation) = instruction.variation() {
            exists(record, variation)?;
        }
        match instruction {
            Instruction::TurnFlagOn => on = Some(true),
            Instruction::TurnFlagOff => on = Some(false),
            Instruction::UpdateOffVariation { variation } => off_variation = Some(*variation),
            Instruction::UpdateFallthroughVariationOrRollout { variation } => fallthrough = Some(*variation),
        }
    }
    let is_on = member(record, "on").as_ref().and_then(Json::bool).unwrap_or(false);
    let on = on.filter(|on| *on != is_on).map(|on| ("on", on.to_string()));
    let is_off_variation = |index: &VariationIndex| names(member(record, "offVariation").as_ref(), *index);
    let off_variation =
        off_variation.filter(|index| !is_off_variation(index)).map(|index| ("offVariation", index.to_string()));
    let fallthrough = fallthrough
        .filter(|index| !is_fallthrough(record, *index))
        .map(|index| ("fallthrough", format!("{{\"variation\":{index}}}")));
    Ok([on, off_variation, fallthrough].into_iter().flatten().collect())
}

/// One top-level value. Only those that instructions are about are looked into: they are small, records may not be.
fn member<'r>(record: &'r Record, name: &str) -> Option<Json<'r>> {
    serde_json::from_str(record.raw(name)?).ok()
}

fn exists(record: &Record, variation: VariationIndex) -> Result<(), PatchError> {
    let variations = member(record, "variations");
    let count = variations.as_ref().and_then(Json::list).unwrap_or_default().len();
    if variation < count { Ok(()) } else { Err(PatchError::NoSuchVariation { variation, count }) }
}

/// Whether the value is that index, written as a whole number: one with a fraction is mended, not kept.
fn names(value: Option<&Json<'_>>, index: VariationIndex) -> bool {
    value.and_then(Json::number) == Some(index as f64)
}

/// A rollout beside the variation is without effect but not what LaunchDarkly would leave there.
fn is_fallthrough(record: &Record, index: VariationIndex) -> bool {
    let value = member(record, "fallthrough");
    let Some(fallthrough) = value.as_ref().and_then(Json::object) else { return false };
    names(fallthrough.get("variation"), index) && !model::has_shares(fallthrough.get("rollout"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::flag::samples::TYPICAL;
    use crate::flag::samples::any_flag;
    use crate::flag::samples::record;
    use crate::flag::samples::respelled;

    fn applied(text: &str, instructions: &[Instruction]) -> String {
        match apply(&record(text), instructions) {
            Ok(record) => record.text().to_owned(),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn turns_a_flag_off_and_touches_nothing_else() {
        let off = applied(TYPICAL, &[Instruction::TurnFlagOff]);
        assert_eq!(off, TYPICAL.replace("\"on\":true", "\"on\":false"));
        assert_eq!(applied(&off, &[Instruction::TurnFlagOff]), off);
        assert_eq!(applied(&off, &[Instruction::TurnFlagOn]), TYPICAL);
        assert_eq!(applied(TYPICAL, &[Instruction::TurnFlagOff, Instruction::TurnFlagOn]), TYPICAL);
        assert_eq!(applied("{ }", &[Instruction::TurnFlagOff]), "{ }");
        assert_eq!(applied("{ }", &[Instruction::TurnFlagOn]), "{\"on\":true }");
    }

    #[test]
    fn sets_variations() {
        let text = r#"{"fallthrough":{"rollout":{"variations":[{"variation":0,"weight":100000}]}},"offVariation":1.0,"variations":[1,2]}"#;
        let off = |variation| Instruction::UpdateOffVariation { variation };
        let default = |variation| Instruction::UpdateFallthroughVariationOrRollout { variation };
        assert_eq!(applied(text, &[off(1)]), text);
        assert_eq!(applied(text, &[off(0)]), text.replace("1.0", "0"));
        assert_eq!(
            applied(text, &[default(1)]),
            r#"{"fallthrough":{"variation":1},"offVariation":1.0,"variations":[1,2]}"#
        );
        let kept = r#"{"fallthrough":{ "variation": 1,"rollout":null},"variations":[1,2]}"#;
        assert_eq!(applied(kept, &[default(1)]), kept);
        assert_eq!(
            applied(r#"{"variations":[1]}"#, &[default(0), off(0)]),
            r#"{"variations":[1],"offVariation":0,"fallthrough":{"variation":0}}"#
        );
    }

    #[test]
    fn refuses_what_must_not_be_written() {
        let off = [Instruction::TurnFlagOff];
        assert_eq!(
            applied(r#"{"key":"$deleted","deleted":true,"version":9}"#, &off),
            "refused: the flag is deleted (a tombstone, version 9)"
        );
        assert_eq!(applied(r#"{"on":"off"}"#, &off), r#"refused: "on" is the text "off", not true or false"#);
        assert_eq!(applied(r#"{"on":true,"salt":7}"#, &off), r#"refused: "salt" is the number 7, not a text"#);
        let nowhere = [Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation: 2 }];
        assert_eq!(
            applied(r#"{"on":true,"variations":[1,2]}"#, &nowhere),
            "refused: there is no variation 2; the flag has 2"
        );
        assert!(applied("{}", &nowhere).starts_with("refused: there is no variation 2; the flag has 0"));
    }

    #[test]
    fn counts_the_version_on_from_upstream() {
        let version = |text: &str, revision| match in_force(&record(text), &[Instruction::TurnFlagOff], revision) {
            Ok(record) => record.text().to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(version(r#"{"on":true,"version":42}"#, 2), r#"{"on":false,"version":44}"#);
        assert_eq!(version(r#"{"on":false,"version":42.0}"#, 0), r#"{"on":false,"version":42.0}"#);
        assert_eq!(version(r#"{"on":true}"#, 1), r#"{"on":false,"version":1}"#);
        assert_eq!(version(r#"{"version":-5}"#, 1), r#"{"version":1}"#);
        assert!(version(r#"{"version":9007199254740991}"#, 1).starts_with(r#""version" would be 9007199254740992"#));
        assert!(version(r#"{"version":1e300}"#, u64::MAX).starts_with(r#""version" would be"#));
    }

    #[test]
    fn repairs_what_the_old_tool_wrote_and_nothing_else() {
        let repaired = |text: &str| super::repaired(&record(text)).map(|record| record.text().to_owned());
        assert_eq!(repaired(r#"{"on": "off","version":1.0}"#).as_deref(), Some(r#"{"on": false,"version":1.0}"#));
        assert_eq!(repaired(r#"{"on":"On"}"#).as_deref(), Some(r#"{"on":true}"#));
        for text in
            [r#"{"on":true}"#, r#"{"on":"yes"}"#, r#"{"on":"off","salt":7}"#, r#"{"on":"off","deleted":true}"#, "{}"]
        {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    fn any_instruction() -> impl Strategy<Value = Instruction> {
        prop_oneof![
            Just(Instruction::TurnFlagOn),
            Just(Instruction::TurnFlagOff),
            (0usize..3).prop_map(|variation| Instruction::UpdateOffVariation { variation }),
            (0usize..3).prop_map(|variation| Instruction::UpdateFallthroughVariationOrRollout { variation }),
        ]
    }

    /// The instructions one by one on a tree, as LaunchDarkly describes them.
    fn naively(flag: &Value, instructions: &[Instruction]) -> Option<Value> {
        let mut flag = flag.clone();
        for instruction in instructions {
            let count = flag["variations"].as_array().map_or(0, Vec::len);
            if instruction.variation().is_some_and(|variation| variation >= count) {
                return None;
            }
            match instruction {
                Instruction::TurnFlagOn => flag["on"] = json!(true),
                Instruction::TurnFlagOff => flag["on"] = json!(false),
                Instruction::UpdateOffVariation { variation } => flag["offVariation"] = json!(variation),
                Instruction::UpdateFallthroughVariationOrRollout { variation } => {
                    flag["fallthrough"] = json!({ "variation": variation });
                }
            }
        }
        Some(flag)
    }

    proptest! {
        #[test]
        fn does_what_the_naive_interpreter_does(
            flag in any_flag(),
            instructions in prop::collection::vec(any_instruction(), 0..5),
            revision in 0u64..5,
            seed: u64,
        ) {
            let before = record(&respelled(&flag, &mut seed.clone()));
            let outcome = apply(&before, &instructions);
            let Some(expected) = naively(&flag, &instructions) else {
                let refused = matches!(outcome, Err(PatchError::NoSuchVariation { .. }));
                prop_assert!(refused);
                return Ok(());
            };
            let after = outcome.unwrap();
            prop_assert!(after.same_value(&record(&expected.to_string())), "{} {}", after.text(), expected);
            // What was found out while splicing is what a fresh look finds.
            prop_assert_eq!(check::readable(&record(after.text())), check::readable(&after));
            // Again it is so already, and what no instruction names keeps its bytes and its place.
            prop_assert_eq!(&apply(&after, &instructions).unwrap(), &after);
            prop_assert!(changes_nothing(&after, &instructions).unwrap());
            prop_assert_eq!(changes_nothing(&before, &instructions).unwrap(), after == before);
            for name in before.names().filter(|name| !["on", "offVariation", "fallthrough"].contains(name)) {
                prop_assert_eq!(before.raw(name), after.raw(name));
            }
            let names: Vec<&str> = after.names().take(before.names().count()).collect();
            prop_assert_eq!(names, before.names().collect::<Vec<_>>());
            let in_force = in_force(&before, &instructions, revision).unwrap();
            prop_assert_eq!(in_force.version(), before.version() + revision);
            prop_assert_eq!(in_force.raw("on"), after.raw("on"));
        }
    }
}
