//! An override as it stands in a store, read as JSON, and what it asks for by the plainest reading of its instructions.
//! PURE.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

/// How far an override has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// In force, and owed.
    Owed,
    /// Owed, and waiting for a reviewer.
    Awaiting,
    /// LaunchDarkly has it as this version.
    Replayed(u64),
}

/// An override.
#[derive(Debug, Clone, PartialEq)]
pub struct Edition {
    /// Its flag.
    pub flag: String,
    /// The changes it is made of, oldest first; never empty.
    pub changes: Vec<String>,
    /// How many edits it has had.
    pub revision: u64,
    /// How far it has come.
    pub state: State,
    /// What it asks for: the fields of a record.
    pub wish: BTreeMap<&'static str, Value>,
    /// LaunchDarkly's record when it began.
    pub base: Value,
    /// LaunchDarkly's newest record, as far as this store knows.
    pub upstream: Value,
}

impl Edition {
    /// Reads the text of an override.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let field = |name: &str| value.get(name).ok_or_else(|| format!("it has no {name}"));
        let state = field("state")?;
        let version = || state.get("version").and_then(Value::as_u64);
        let state = match state.get("is").and_then(Value::as_str) {
            Some("in-force") => State::Owed,
            Some("awaiting-approval") => State::Awaiting,
            Some("replayed") => State::Replayed(version().ok_or("it was replayed and has no version")?),
            _ => return Err(format!("its state is {state}")),
        };
        let changes = field("changes")?.as_array().into_iter().flatten().filter_map(Value::as_str);
        let changes: Vec<String> = changes.map(ToOwned::to_owned).collect();
        if changes.is_empty() {
            return Err("it names no change".to_owned());
        }
        let mut wish = BTreeMap::new();
        for instruction in field("instructions")?.as_array().into_iter().flatten() {
            let (name, wanted) = asks_for(instruction)?;
            wish.insert(name, wanted);
        }
        let base = record(field("base")?)?;
        let upstream = value.get("upstream").map(record).transpose()?.unwrap_or_else(|| base.clone());
        Ok(Self {
            flag: field("flag")?.as_str().unwrap_or_default().to_owned(),
            changes,
            revision: field("revision")?.as_u64().ok_or("its revision is no number")?,
            state,
            wish,
            base,
            upstream,
        })
    }

    /// Its newest change.
    pub fn newest(&self) -> &str {
        self.changes.last().map(String::as_str).unwrap_or_default()
    }

    /// Whether LaunchDarkly has to be told of it.
    pub fn is_owed(&self) -> bool {
        !matches!(self.state, State::Replayed(_))
    }
}

/// The field of a record that an instruction sets, and to what.
///
/// # Errors
/// It is none of the four that there are.
pub fn asks_for(instruction: &Value) -> Result<(&'static str, Value), String> {
    let variation = || instruction.get("variation").cloned().unwrap_or(Value::Null);
    match instruction.get("kind").and_then(Value::as_str) {
        Some("turnFlagOn") => Ok(("on", json!(true))),
        Some("turnFlagOff") => Ok(("on", json!(false))),
        Some("updateOffVariation") => Ok(("offVariation", variation())),
        Some("updateFallthroughVariationOrRollout") => Ok(("fallthrough", json!({ "variation": variation() }))),
        _ => Err(format!("an instruction is {instruction}")),
    }
}

/// A record is kept as a text of its own, so that its bytes survive.
fn record(value: &Value) -> Result<Value, String> {
    let text = value.as_str().ok_or("a record in it is no text")?;
    serde_json::from_str(text).map_err(|error| format!("a record in it: {error}"))
}

/// The value of what an aspect of a record serves, by the record's own list: two records may number their variations
/// differently.
pub fn served(record: &Value, aspect: &str) -> Value {
    let found = record.get(aspect).cloned().unwrap_or(Value::Null);
    let index = match aspect {
        "offVariation" => found.as_u64(),
        "fallthrough" => found.get("variation").and_then(Value::as_u64),
        _ => None,
    };
    let by_index = index.and_then(|index| usize::try_from(index).ok());
    by_index.and_then(|index| record.get("variations")?.get(index)).cloned().unwrap_or(found)
}

/// Every override that was ever seen in a store, by flag and newest change.
#[derive(Debug, Clone, Default)]
pub struct Editions {
    known: BTreeMap<(String, String), Vec<Edition>>,
    /// Records, by flag, that an override met in a store which had none, and took for LaunchDarkly's.
    met: BTreeMap<String, Vec<Value>>,
    /// The changes of each flag in the order in which they came to each store, by flag and the store's number.
    came: BTreeMap<(String, usize), Vec<String>>,
}

impl Editions {
    /// Takes note of one.
    pub fn learn(&mut self, edition: &Edition) {
        let known = self.known.entry((edition.flag.clone(), edition.newest().to_owned())).or_default();
        if !known.contains(edition) {
            known.push(edition.clone());
        }
    }

    /// Takes note of the record that stood in a store without an override when this one was put there.
    pub fn meet(&mut self, edition: &Edition, found: &Value) {
        if edition.upstream == *found {
            self.met.entry(edition.flag.clone()).or_default().push(found.clone());
        }
    }

    /// Takes note of the changes that a store has got with an override that it did not have: `before` is what stood there.
    pub fn came(&mut self, store: usize, edition: &Edition, before: Option<&Edition>) {
        let is_new = |change: &&String| !before.is_some_and(|before| before.changes.contains(change));
        let new = edition.changes.iter().filter(is_new).cloned();
        self.came.entry((edition.flag.clone(), store)).or_default().extend(new);
    }

    /// Whether a store has got another change of a flag after it got this one for the last time. Each store by itself: what
    /// a failover brings back in one does not make an older change the later one in the others.
    pub fn has_later(&self, flag: &str, change: &str) -> bool {
        let of_flag = self.came.iter().filter(|((of, _), _)| of == flag);
        of_flag
            .map(|(_, came)| came)
            .any(|came| came.last().is_some_and(|last| last != change) && came.iter().any(|one| one == change))
    }

    /// Whether an override has taken this record for LaunchDarkly's where none stood: where our keys were lost, and an older
    /// edit's record was not, nobody could tell that it is not. Whoever takes the override back leaves that record.
    pub fn has_met(&self, flag: &str, record: &Value) -> bool {
        self.met.get(flag).is_some_and(|met| met.contains(record))
    }

    /// Those of a flag whose newest change is this one.
    pub fn of(&self, flag: &str, change: &str) -> &[Edition] {
        self.known.get(&(flag.to_owned(), change.to_owned())).map(Vec::as_slice).unwrap_or_default()
    }

    /// All of a flag.
    pub fn of_flag<'e>(&'e self, flag: &'e str) -> impl Iterator<Item = &'e Edition> {
        self.known.iter().filter(move |((of, _), _)| of == flag).flat_map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_override_asks_for() {
        let text = json!({
            "format": 1, "revision": 2, "environment": "shop/production", "flag": "tier",
            "instructions": [{ "kind": "turnFlagOff" }, { "kind": "updateOffVariation", "variation": 2 }],
            "state": { "is": "replayed", "version": 44 }, "changes": ["a", "b"], "motive": {},
            "base": "{\"version\":42}",
        });
        let edition = Edition::parse(&text.to_string()).unwrap();
        assert_eq!(edition.wish, BTreeMap::from([("on", json!(false)), ("offVariation", json!(2))]));
        assert_eq!((edition.state.clone(), edition.newest(), edition.is_owed()), (State::Replayed(44), "b", false));
        assert_eq!(edition.upstream, json!({ "version": 42 }));
        assert!(Edition::parse("{}").is_err());
        assert!(asks_for(&json!({ "kind": "deleteFlag" })).is_err());
    }

    /// An older change was resumed after a newer one; and a store caught up with both.
    #[test]
    fn what_came_later_is_what_the_stores_got_later() {
        let edition = |changes: &[&str]| {
            let text = json!({
                "revision": 1, "flag": "checkout", "instructions": [], "changes": changes,
                "state": { "is": "in-force" }, "base": "{}",
            });
            Edition::parse(&text.to_string()).unwrap()
        };
        let (newer, both) = (edition(&["2"]), edition(&["2", "1"]));
        let mut editions = Editions::default();
        editions.came(0, &newer, None);
        assert!(!editions.has_later("checkout", "2"));
        assert!(!editions.has_later("checkout", "1"), "no store has it");
        editions.came(1, &edition(&["3"]), None);
        assert!(!editions.has_later("checkout", "2"), "on another side of a broken network");
        editions.came(0, &both, Some(&newer));
        assert!(editions.has_later("checkout", "2") && !editions.has_later("checkout", "1"));
        editions.came(0, &both, None);
        assert!(editions.has_later("checkout", "2") && !editions.has_later("checkout", "1"));
        // A failover brings it back.
        editions.came(0, &newer, None);
        assert!(!editions.has_later("checkout", "2") && editions.has_later("checkout", "1"));
        // Another store has had both, and did not fail over.
        editions.came(1, &both, None);
        assert!(editions.has_later("checkout", "2"));
        assert!(!editions.has_later("tier", "2"));
    }

    #[test]
    fn variations_are_compared_by_value() {
        let record = |values: Value, off: u64| json!({ "variations": values, "offVariation": off, "on": false });
        let before = record(json!(["gold", "silver", "bronze"]), 2);
        let shifted = record(json!(["gold", "bronze"]), 1);
        assert_eq!(served(&before, "offVariation"), served(&shifted, "offVariation"));
        assert_eq!(served(&before, "on"), json!(false));
    }
}
