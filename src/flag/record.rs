//! A flag record as a document: its exact text and where its top-level values stand in it, so that an edit splices
//! new values between bytes that nobody touched. What the values mean is left to the other files of this module.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

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
        let Spans(spans) = serde_json::from_str(text).map_err(not_an_object)?;
        let start = text.as_ptr().addr();
        let members = spans.into_iter().map(|(Name(name), raw)| {
            let begin = raw.get().as_ptr().addr().saturating_sub(start);
            Member { name: name.into(), value: begin..begin.saturating_add(raw.get().len()) }
        });
        Ok(Self { members: members.collect(), text: text.into() })
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
        Self { text: text.into(), members: members.into() }
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
