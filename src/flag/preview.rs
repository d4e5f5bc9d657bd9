//! What a flag serves, in words, and which flags hang on it. LaunchDarkly's own evaluation model
//! (`launchdarkly-server-sdk-evaluation`) is asked as a second opinion; it is never used to write a record.

use launchdarkly_server_sdk_evaluation::ContextBuilder;
use launchdarkly_server_sdk_evaluation::Flag;
use launchdarkly_server_sdk_evaluation::FlagValue;
use launchdarkly_server_sdk_evaluation::Segment;
use launchdarkly_server_sdk_evaluation::Store;
use launchdarkly_server_sdk_evaluation::evaluate;
use serde_json::Value;

use crate::flag::check;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::Serve;
use crate::flag::json;
use crate::flag::json::Json;
use crate::flag::key::FlagKey;
use crate::flag::model;
use crate::flag::record::Record;

/// What contexts get from a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Serves {
    /// Everybody gets this value (JSON).
    Everybody(Value),
    /// Targeting is off and there is no off variation, or the variation does not exist, or the flag is deleted: the
    /// code's own default.
    CodeDefault,
    /// It depends on who asks; the value of the default rule where that is one variation.
    Depends(Option<Value>),
}

/// What the flag serves, by our reading of the record and by LaunchDarkly's own evaluation. `Depends(None)` where the
/// two disagree, and where relays cannot read the record. A record that LaunchDarkly's Rust model does not read
/// (see [`second_opinion`]) is told by our reading alone.
pub fn serves(record: &Record) -> Serves {
    if record.is_tombstone() {
        return Serves::CodeDefault;
    }
    if check::readable(record).is_err() {
        return Serves::Depends(None);
    }
    let ours = reading(&Configuration::of_record(record));
    let expected = match &ours {
        Serves::Everybody(value) => Some(value),
        Serves::CodeDefault => None,
        Serves::Depends(_) => return ours,
    };
    let agreed = serde_json::from_str::<Flag>(record.text()).map_or(true, |flag| agrees(&flag, expected));
    if agreed { ours } else { Serves::Depends(None) }
}

fn reading(configuration: &Configuration) -> Serves {
    let value = |variation: i64| {
        let place = usize::try_from(variation).ok()?;
        configuration.variations.get(place).map(|value| value.0.clone())
    };
    let everybody = |variation: i64| value(variation).map_or(Serves::CodeDefault, Serves::Everybody);
    if !configuration.on {
        return configuration.off_variation.map_or(Serves::CodeDefault, everybody);
    }
    let plain =
        configuration.prerequisites.is_empty() && configuration.targets.is_empty() && configuration.rules.is_empty();
    match configuration.fallthrough {
        Serve::Variation(variation) if plain => everybody(variation),
        Serve::Variation(variation) => Serves::Depends(value(variation)),
        Serve::Nothing if plain => Serves::CodeDefault,
        Serve::Rollout { .. } | Serve::Measured | Serve::Nothing => Serves::Depends(None),
    }
}

/// Whether LaunchDarkly's evaluation gives that value (or none) to somebody of whom nothing is known.
fn agrees(flag: &Flag, expected: Option<&Value>) -> bool {
    let Ok(nobody) = ContextBuilder::new("relay-commander-preview").build() else { return true };
    match (evaluate(&NothingElse, flag, &nobody, None).value, expected) {
        (Some(theirs), Some(ours)) => json::same_value(&as_json(theirs), ours),
        (theirs, ours) => theirs.is_none() && ours.is_none(),
    }
}

fn as_json(value: &FlagValue) -> Value {
    match value {
        FlagValue::Bool(value) => Value::from(*value),
        FlagValue::Str(text) => Value::from(text.as_str()),
        FlagValue::Number(number) => Value::from(*number),
        FlagValue::Json(value) => value.clone(),
    }
}

/// A world with no other flag and no segment. What is evaluated in it has no prerequisites and no rules.
struct NothingElse;

impl Store for NothingElse {
    fn flag(&self, _key: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _key: &str) -> Option<Segment> {
        None
    }
}

/// What LaunchDarkly's Rust model says against the record, if anything: a second opinion, shown and not obeyed. It is
/// not asked about deleted flags, which it does not have.
pub fn second_opinion(record: &Record) -> Option<String> {
    if record.is_tombstone() {
        return None;
    }
    serde_json::from_str::<Flag>(record.text()).err().map(|error| error.to_string())
}

/// A flag that has another one as a prerequisite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependant {
    /// The flag that has the prerequisite.
    pub flag: FlagKey,
    /// The variation of the other flag that it wants, by index. An other flag that is off never meets this.
    pub variation: i64,
    /// Whether its targeting is on. Where it is off the prerequisite makes no difference at this moment.
    pub on: bool,
}

/// The flags whose prerequisites name `flag`, in the order given. Deleted flags have none, and what is wrong with a
/// record is not told here.
pub fn dependants<'record>(
    flag: &FlagKey,
    records: impl IntoIterator<Item = (&'record FlagKey, &'record Record)>,
) -> Vec<Dependant> {
    let wanted = |record: &Record| -> Option<i64> {
        // Most flags have none, and there may be 20,000 of them.
        let raw = record.raw("prerequisites").filter(|raw| *raw != "[]")?;
        let prerequisites: Json<'_> = serde_json::from_str(raw).ok()?;
        let mut members = prerequisites.list()?.iter().filter_map(Json::object);
        let named = members.find(|one| one.get("key").and_then(Json::text) == Some(flag.as_str()))?;
        Some(named.get("variation").and_then(Json::number).map_or(0, model::whole))
    };
    let dependant = |(key, record): (&FlagKey, &Record)| {
        let variation = wanted(record).filter(|_| !record.is_tombstone())?;
        Some(Dependant { flag: key.clone(), variation, on: record.raw("on") == Some("true") })
    };
    records.into_iter().filter_map(dependant).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::flag::samples::TYPICAL;
    use crate::flag::samples::any_flag;
    use crate::flag::samples::record;

    const PLAIN: &str = r#"{"key":"f","on":true,"prerequisites":[],"targets":[],"rules":[],"fallthrough":{"variation":1},"offVariation":0,"variations":["gold",{"a":10}],"salt":"s"}"#;

    #[test]
    fn tells_what_everybody_gets() {
        let served = |text: &str| serves(&record(text));
        assert_eq!(served(PLAIN), Serves::Everybody(json!({"a": 10})));
        let off = PLAIN.replace("true", "false");
        assert_eq!(served(&off), Serves::Everybody(json!("gold")));
        assert_eq!(served(&off.replace("\"offVariation\":0", "\"offVariation\":null")), Serves::CodeDefault);
        assert_eq!(served(&off.replace("\"offVariation\":0", "\"offVariation\":7")), Serves::CodeDefault);
        assert_eq!(served(&PLAIN.replace("\"variation\":1", "\"variation\":-1")), Serves::CodeDefault);
        assert_eq!(served(&PLAIN.replace("{\"variation\":1}", "{}")), Serves::CodeDefault);
        assert_eq!(served(r#"{"key":"$deleted","deleted":true,"version":1}"#), Serves::CodeDefault);
        // LaunchDarkly's Rust model does not read so short a record; SDKs with the Go reader do.
        assert_eq!(served(r#"{"variations":[1],"offVariation":0}"#), Serves::Everybody(json!(1)));
    }

    #[test]
    fn tells_that_it_depends() {
        let rule = r#""rules":[{"variation":0,"clauses":[]}]"#;
        assert_eq!(serves(&record(TYPICAL)), Serves::Depends(None));
        assert_eq!(serves(&record(&PLAIN.replace("\"rules\":[]", rule))), Serves::Depends(Some(json!({"a": 10}))));
        assert_eq!(
            serves(&record(
                &PLAIN.replace("\"prerequisites\":[]", r#""prerequisites":[{"key":"other","variation":0}]"#)
            )),
            Serves::Depends(Some(json!({"a": 10})))
        );
        assert_eq!(
            serves(&record(&PLAIN.replace("\"targets\":[]", r#""targets":[{"values":["anna"],"variation":0}]"#))),
            Serves::Depends(Some(json!({"a": 10})))
        );
        assert_eq!(serves(&record(r#"{"on":"off"}"#)), Serves::Depends(None));
    }

    #[test]
    fn agrees_only_with_the_same_value() {
        let flag: Flag = serde_json::from_str(PLAIN).unwrap();
        assert!(agrees(&flag, Some(&json!({"a": 10.0}))));
        assert!(!agrees(&flag, Some(&json!("gold"))));
        assert!(!agrees(&flag, None));
    }

    #[test]
    fn asks_launchdarklys_rust_model() {
        assert_eq!(second_opinion(&record(PLAIN)), None);
        assert_eq!(second_opinion(&record(TYPICAL)), None);
        assert!(second_opinion(&record("{}")).unwrap().contains("missing field"));
        assert_eq!(second_opinion(&record(r#"{"key":"$deleted","deleted":true}"#)), None);
    }

    #[test]
    fn finds_the_flags_that_hang_on_another() {
        let key = |text: &str| text.parse::<FlagKey>().unwrap();
        let records: Vec<(FlagKey, Record)> = [
            ("checkout", TYPICAL),
            ("plain", PLAIN),
            ("second", r#"{"prerequisites":[{"key":"other","variation":1},{"key":"\u0070ayments","variation":2}]}"#),
            ("deleted", r#"{"deleted":true,"prerequisites":[{"key":"payments"}]}"#),
            ("odd", r#"{"prerequisites":"payments"}"#),
        ]
        .into_iter()
        .map(|(name, text)| (key(name), record(text)))
        .collect();
        let found = dependants(&key("payments"), records.iter().map(|(key, record)| (key, record)));
        assert_eq!(
            found,
            [
                Dependant { flag: key("checkout"), variation: 0, on: true },
                Dependant { flag: key("second"), variation: 2, on: false },
            ]
        );
    }

    proptest! {
        /// What everybody gets is what LaunchDarkly's evaluation gives to anybody.
        #[test]
        fn never_claims_what_evaluation_does_not_give(flag in any_flag(), key in "[a-z]{1,4}") {
            let told = serves(&record(&flag.to_string()));
            let Ok(flag) = serde_json::from_value::<Flag>(flag) else { return Ok(()) };
            let somebody = ContextBuilder::new(key).build().unwrap();
            let given = evaluate(&NothingElse, &flag, &somebody, None).value.map(as_json);
            match told {
                Serves::Everybody(value) => prop_assert!(json::same_value(&given.unwrap(), &value)),
                Serves::CodeDefault => prop_assert_eq!(given, None),
                Serves::Depends(_) => {}
            }
        }
    }
}
