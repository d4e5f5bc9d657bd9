//! A flag record as a document: its exact text and where its top-level values stand in it, so that an edit splices
//! new values between bytes that nobody touched. What the values mean is left to the other files of this module.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::json::Json;
use crate::flag::json::Name;
use crate::flag::model;

/// The largest record that is read from anywhere, in bytes.
pub const RECORD_LENGTH_MAX: usize = 16 * 1024 * 1024;

/// Why bytes are not a record that can be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not UTF-8, not JSON (nested deeper than 127 levels and a number beyond a double count as that: no reader takes
    /// them all), or not a JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(String),
    /// A key stands twice in one object, so readers would disagree about the value.
    #[error("the key {0:?} stands twice")]
    DuplicateKey(String),
    /// Longer than [`RECORD_LENGTH_MAX`].
    #[error("{0} bytes are more than a record may have")]
    TooLong(usize),
}

/// A flag record: its exact text, and where its top-level values stand in it. Cheap to clone. `==` compares bytes;
/// what is meant almost everywhere is [`Record::same_value`]. Inside other documents it is written as a JSON string of
/// its text, so that every byte survives whatever reads and writes that document.
#[derive(Debug, Clone)]
pub struct Record {
    text: Arc<str>,
    members: Arc<[Member]>,
    /// Whether readers take it, where that was found out while it was read.
    verdict: Option<Result<(), Box<Unreadable>>>,
}

/// A top-level member: its name without escapes, and the bytes of its value.
#[derive(Debug, Clone)]
struct Member {
    name: Box<str>,
    value: Range<usize>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Record {}

impl Record {
    /// Reads a record. Any JSON object is a record (also a tombstone, also one that readers refuse: see `check`).
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_LENGTH_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| RecordError::NotAnObject(error.to_string()))?;
        let not_an_object = |error: serde_json::Error| RecordError::NotAnObject(error.to_string());
        let tree: Json<'_> = serde_json::from_str(text).map_err(not_an_object)?;
        if let Some(key) = tree.duplicate() {
            return Err(RecordError::DuplicateKey(key.to_owned()));
        }
        // The tree is here anyway; a batch has thousands of records, and most are asked about.
        let verdict = Some(check::readable_tree(&tree).map_err(Box::new));
        let Spans(spans) = serde_json::from_str(text).map_err(not_an_object)?;
        let start = text.as_ptr().addr();
        let members = spans.into_iter().map(|(Name(name), raw)| {
            let begin = raw.get().as_ptr().addr().saturating_sub(start);
            Member { name: name.into(), value: begin..begin.saturating_add(raw.get().len()) }
        });
        Ok(Self { members: members.collect(), text: text.into(), verdict })
    }

    /// The exact text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The raw JSON text of a top-level value.
    pub fn raw(&self, name: &str) -> Option<&str> {
        let member = self.members.iter().find(|member| *member.name == *name)?;
        self.text.get(member.value.clone())
    }

    /// The names of the top-level values, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| &*member.name)
    }

    /// The `version`, or 0 where there is none (as LaunchDarkly's Go reader takes it: any number, by way of a double,
    /// cut off after the point). 0 where it is below 0 or not a number.
    pub fn version(&self) -> u64 {
        // `as` stays at the limits and makes 0 of what is no number.
        self.raw("version").and_then(|raw| raw.parse::<f64>().ok()).map_or(0, |version| version as u64)
    }

    /// Whether the record marks a deleted flag (`"deleted": true`).
    pub fn is_tombstone(&self) -> bool {
        self.raw("deleted") == Some("true")
    }

    /// The same document with some top-level values replaced (or added at the end, where they were absent);
    /// every other byte stays as it is. `values` are pairs of a name and a raw JSON text; of a name that stands there
    /// twice the last counts. That the texts are JSON is up to the caller; [`crate::flag::check::readable`] tells.
    #[must_use]
    pub fn with(&self, values: &[(&str, String)]) -> Self {
        let new = |name: &str| values.iter().rev().find(|(other, _)| *other == name).map(|(_, raw)| raw.as_str());
        let room: usize = values.iter().map(|(name, raw)| name.len() + raw.len() + 8).sum();
        let mut text = String::with_capacity(self.text.len() + room);
        let mut members = Vec::with_capacity(self.members.len() + values.len());
        let mut taken = 0;
        for member in self.members.iter() {
            text.push_str(self.text.get(taken..member.value.start).unwrap_or_default());
            let old = self.text.get(member.value.clone()).unwrap_or_default();
            let begin = text.len();
            text.push_str(new(&member.name).unwrap_or(old));
            members.push(Member { name: member.name.clone(), value: begin..text.len() });
            taken = member.value.end;
        }
        if members.is_empty() {
            taken = self.text.find('{').map_or(0, |brace| brace + 1);
            text.push_str(self.text.get(..taken).unwrap_or_default());
        }
        for (name, _) in values {
            let absent = !members.iter().any(|member| *member.name == **name);
            if let (true, Some(raw)) = (absent, new(name)) {
                let comma = if members.is_empty() { "" } else { "," };
                text.push_str(&format!("{comma}{}:", serde_json::Value::from(*name)));
                let begin = text.len();
                text.push_str(raw);
                members.push(Member { name: (*name).into(), value: begin..text.len() });
            }
        }
        text.push_str(self.text.get(taken..).unwrap_or_default());
        Self { text: text.into(), members: members.into(), verdict: None }
    }

    /// Equality by value (design 3.3): objects unordered, numbers as doubles, the model's defaults filled in.
    ///
    /// What LaunchDarkly's Go reader takes for absent equals absent: an empty list and null, `false`, an empty text, a
    /// rollout without shares; and a number where a whole one is meant is cut off as there. A property that the model
    /// does not know is compared by value where both records have it; where only one has it, it makes no difference,
    /// because a relay drops it when it writes the record again. So this is no equivalence: two records that differ
    /// in such a property both equal a third one without it.
    pub fn same_value(&self, other: &Self) -> bool {
        if self.text == other.text {
            return true;
        }
        match (self.tree(), other.tree()) {
            (Ok(one), Ok(other)) => model::same_flag(&one, &other),
            _ => false,
        }
    }

    /// The same record, with what is known about it already.
    pub(crate) fn judged(self, verdict: Result<(), Unreadable>) -> Self {
        Self { verdict: Some(verdict.map_err(Box::new)), ..self }
    }

    /// What [`check::readable`] says, where that is known already: of a record that was read or edited by an instruction,
    /// not of one that anything was spliced into.
    pub(crate) fn verdict(&self) -> Option<Result<(), Unreadable>> {
        self.verdict.clone().map(|verdict| verdict.map_err(|unreadable| *unreadable))
    }

    /// The record as a tree.
    ///
    /// # Errors
    /// Only where a text that is not JSON was spliced in.
    pub(crate) fn tree(&self) -> Result<Json<'_>, Unreadable> {
        serde_json::from_str(&self.text)
            .map_err(|error| Unreadable { path: String::new(), problem: format!("is not JSON: {error}") })
    }
}

/// The top-level values of an object where they stand in the text.
struct Spans<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Spans<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SpansVisitor)
    }
}

struct SpansVisitor;

impl<'de> Visitor<'de> for SpansVisitor {
    type Value = Spans<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Spans<'de>, A::Error> {
        let mut spans = Vec::new();
        while let Some(member) = object.next_entry()? {
            spans.push(member);
        }
        Ok(Spans(spans))
    }
}

impl serde::Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Record {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::flag::json::same_value;
    use crate::flag::json::tests::any_value;
    use crate::flag::samples::TYPICAL;
    use crate::flag::samples::any_flag;
    use crate::flag::samples::as_go_writes;
    use crate::flag::samples::mixed;
    use crate::flag::samples::record;
    use crate::flag::samples::respelled;

    fn refusal(text: impl AsRef<[u8]>) -> String {
        Record::parse(text.as_ref()).unwrap_err().to_string()
    }

    #[test]
    fn refuses_what_is_no_object_and_what_readers_disagree_about() {
        for text in ["", "null", "[]", "\"on\"", "{", "{}{}", "{\"a\":}", "{\"a\":01}", "\u{feff}{}"] {
            assert!(refusal(text).starts_with("not a JSON object: "), "{text}");
        }
        assert!(refusal(b"{\"a\":\"\xff\"}").contains("utf-8"));
        assert_eq!(refusal(r#"{"on":true,"version":1,"on":false}"#), r#"the key "on" stands twice"#);
        assert_eq!(refusal(r#"{"on":true,"\u006fn":true}"#), r#"the key "on" stands twice"#);
        assert_eq!(refusal(r#"{"a":[{"b":{"c":1,"c":1}}]}"#), r#"the key "c" stands twice"#);
        assert!(refusal(r#"{"a":1e400}"#).contains("out of range"));
        assert!(refusal(r#"{"a":"\ud800"}"#).contains("hex escape"));
        assert_eq!(refusal(vec![b' '; RECORD_LENGTH_MAX + 1]), "16777217 bytes are more than a record may have");
    }

    #[test]
    fn refuses_what_is_nested_too_deep() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Record::parse(nested(126).as_bytes()).is_ok());
        assert!(refusal(nested(127)).contains("recursion limit"));
        assert!(refusal(nested(100_000)).contains("recursion limit"));
    }

    #[test]
    fn finds_values_by_name() {
        let record = record(" {\"a\" : [ 1,2 ] ,\"o\\u006e\":true}\n");
        assert_eq!(record.raw("a"), Some("[ 1,2 ]"));
        assert_eq!(record.raw("on"), Some("true"));
        assert_eq!(record.raw("b"), None);
        assert_eq!(record.names().collect::<Vec<_>>(), ["a", "on"]);
    }

    #[test]
    fn takes_the_version_as_go_does() {
        for (raw, version) in [
            ("42", 42),
            ("42.0", 42),
            ("4.2e1", 42),
            ("42.9", 42),
            ("0", 0),
            ("-5", 0),
            ("\"42\"", 0),
            ("null", 0),
            ("99999999999999999999999", u64::MAX),
        ] {
            assert_eq!(record(&format!("{{\"version\":{raw}}}")).version(), version, "{raw}");
        }
        assert_eq!(record("{}").version(), 0);
    }

    #[test]
    fn knows_tombstones() {
        assert!(record(r#"{"version":7,"key":"$deleted","deleted":true}"#).is_tombstone());
        assert!(!record(r#"{"deleted":false}"#).is_tombstone());
        assert!(!record("{}").is_tombstone());
    }

    #[test]
    fn splices_and_leaves_the_rest_to_the_byte() {
        let text = "{\"zeta\":12345678901234567890123, \"on\" :true,\"variations\":[ 1.10,0.1e1 ], \"version\":7 }\n";
        let edited = record(text).with(&[("on", "false".into()), ("version", "8".into())]);
        assert_eq!(
            edited.text(),
            "{\"zeta\":12345678901234567890123, \"on\" :false,\"variations\":[ 1.10,0.1e1 ], \"version\":8 }\n"
        );
        assert_eq!(record(" { } ").with(&[("on", "true".into())]).text(), " {\"on\":true } ");
        assert_eq!(record("{}").with(&[("a", "1".into()), ("b", "2".into())]).text(), r#"{"a":1,"b":2}"#);
        assert_eq!(
            record("{\"a\":1 }").with(&[("q\"", "2".into()), ("q\"", "3".into())]).text(),
            r#"{"a":1,"q\"":3 }"#
        );
        assert_eq!(record(TYPICAL).with(&[]).text(), TYPICAL);
    }

    #[test]
    fn survives_inside_another_document() {
        let text = "{\"a\" : \"\u{1F600}\\n\", \"b\":1.10}";
        let inside = serde_json::to_string(&json!({ "record": record(text) })).unwrap();
        let read: Value = serde_json::from_str(&inside).unwrap();
        let back: Record = serde_json::from_value(read["record"].clone()).unwrap();
        assert_eq!(back.text(), text);
        assert!(serde_json::from_value::<Record>(json!("[]")).is_err());
    }

    #[test]
    fn means_the_same_with_and_without_defaults() {
        let same = |one: &str, other: &str| record(one).same_value(&record(other));
        for (one, other) in [
            (r#"{"on":false,"targets":[],"salt":"","offVariation":null,"version":0}"#, "{}"),
            (
                r#"{"version":7,"key":"$deleted","deleted":true}"#,
                r#"{"key":"$deleted","on":false,"version":7.0,"deleted":true,"rules":[]}"#,
            ),
            (r#"{"fallthrough":{"rollout":{"kind":"rollout","variations":[]}}}"#, r#"{"fallthrough":{}}"#),
            (
                r#"{"clientSideAvailability":{"usingEnvironmentId":true,"usingMobileKey":true}}"#,
                r#"{"clientSide":true}"#,
            ),
            (r#"{"migration":null}"#, r#"{"migration":{}}"#),
            (
                r#"{"targets":[{"values":["a"]}]}"#,
                r#"{"targets":[{"contextKind":"user","values":["a"],"variation":0}]}"#,
            ),
            (r#"{"_siteId":"x","rules":[{"ref":"y"}]}"#, r#"{"rules":[{}]}"#),
        ] {
            assert!(same(one, other) && same(other, one), "{one} {other}");
        }
        for (one, other) in [
            (r#"{"on":true}"#, "{}"),
            (r#"{"on":"off"}"#, "{}"),
            (r#"{"on":"off"}"#, r#"{"on":false}"#),
            (r#"{"offVariation":0}"#, "{}"),
            (r#"{"samplingRatio":0}"#, "{}"),
            (r#"{"migration":{}}"#, "{}"),
            (r#"{"variations":[null]}"#, r#"{"variations":[]}"#),
            (r#"{"variations":[{"a":1}]}"#, r#"{"variations":[{"a":1,"b":null}]}"#),
            (r#"{"rules":[{"id":"a"},{"id":"b"}]}"#, r#"{"rules":[{"id":"b"},{"id":"a"}]}"#),
            (r#"{"unknown":1}"#, r#"{"unknown":2}"#),
            (r#"{"clientSideAvailability":{"usingEnvironmentId":true}}"#, r#"{"clientSide":true}"#),
            (r#"{"clientSideAvailability":7}"#, "{}"),
        ] {
            assert!(!same(one, other) && !same(other, one), "{one} {other}");
        }
    }

    /// What decides between two flags, naively: what a relay would write, with what is the same to every SDK levelled.
    fn essence(flag: &Value) -> Value {
        let mut written = as_go_writes(flag);
        if written.get("clientSideAvailability").is_none() {
            written["clientSideAvailability"] =
                json!({"usingMobileKey": true, "usingEnvironmentId": written["clientSide"]});
        }
        for list in ["targets", "contextTargets"] {
            for target in written[list].as_array_mut().unwrap() {
                target.as_object_mut().unwrap().entry("contextKind").or_insert(json!("user"));
            }
        }
        written
    }

    proptest! {
        #[test]
        fn any_object_is_a_record_and_its_values_are_found(
            members in prop::collection::vec(("[a-z\"\u{e9}]{1,4}", any_value()), 0..5), seed: u64
        ) {
            let value = Value::Object(members.into_iter().collect());
            let record = record(&respelled(&value, &mut seed.clone()));
            for (name, value) in value.as_object().unwrap() {
                let raw: Value = serde_json::from_str(record.raw(name).unwrap()).unwrap();
                prop_assert!(same_value(&raw, value));
            }
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]\",:a1 .e\\\\-]{0,40}") {
            let _ = Record::parse(&bytes);
            if let Ok(record) = Record::parse(text.as_bytes()) {
                let _ = (record.version(), record.is_tombstone(), record.same_value(&record));
            }
        }

        #[test]
        fn a_splice_changes_its_value_and_nothing_else(
            members in prop::collection::btree_map("[a-e]{1,2}", (any_value(), "[ \n]{0,2}", "[ \n]{0,2}"), 1..6),
            name in "[a-f]{1,2}",
            new in any_value(),
            seed: u64,
        ) {
            let mut seed = seed;
            let spelled = |place: &str, value: &str, before: &str, after: &str| format!("{before}\"{place}\"{after}:{before}{value}{after}");
            let document = |parts: &[String]| format!("{{{}}}", parts.join(","));
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for (place, (value, left, right)) in &members {
                let old = respelled(value, &mut seed).trim().to_owned();
                let kept = if *place == name { new.to_string() } else { old.clone() };
                before.push(spelled(place, &old, left, right));
                after.push(spelled(place, &kept, left, right));
            }
            if !members.contains_key(&name) {
                // The new member stands right behind the last value, before the spaces that follow it.
                let last = after.pop().unwrap();
                let end = last.trim_end().len();
                after.push(format!("{},\"{name}\":{new}{}", &last[..end], &last[end..]));
            }
            let edited = record(&document(&before)).with(&[(&name, new.to_string())]);
            prop_assert_eq!(edited.text(), document(&after));
            // What the splice knows of the new text is what reading it again finds.
            let again = record(edited.text());
            prop_assert_eq!(edited.names().collect::<Vec<_>>(), again.names().collect::<Vec<_>>());
            for name in again.names() {
                prop_assert_eq!(edited.raw(name), again.raw(name));
            }
        }

        #[test]
        fn means_the_same_in_any_spelling_and_after_a_relay(flag in any_flag(), seed: u64) {
            let original = record(&flag.to_string());
            let other = record(&respelled(&flag, &mut seed.clone()));
            prop_assert!(original.same_value(&other) && other.same_value(&original));
            let relayed = record(&as_go_writes(&flag).to_string());
            prop_assert!(original.same_value(&relayed) && relayed.same_value(&original));
        }

        #[test]
        fn differs_exactly_where_a_relay_would_write_something_else(one in any_flag(), other in any_flag(), choice: u32) {
            let other = mixed(&one, &other, choice & (choice >> 1) & (choice >> 2));
            let expected = same_value(&essence(&one), &essence(&other));
            let (first, second) = (record(&one.to_string()), record(&other.to_string()));
            prop_assert_eq!(first.same_value(&second), expected);
            prop_assert_eq!(second.same_value(&first), expected);
        }
    }
}
