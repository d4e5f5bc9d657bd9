//! What a flag does in one environment, free of how it was written down: both a stored record and LaunchDarkly's REST
//! form are brought into this one shape, and only in this shape are they compared (launchdarkly.md 13). (stub)

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::flag::aspect::Aspect;
use crate::flag::record::Record;

/// A JSON value that equals another by value: objects unordered, numbers as doubles.
#[derive(Debug, Clone)]
pub struct JsonValue(pub Value);

impl PartialEq for JsonValue {
    fn eq(&self, other: &Self) -> bool {
        let _ = other;
        todo!()
    }
}

/// A share of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// The variation served.
    pub variation: i64,
    /// In thousandths of a percent, 0 to 100,000.
    pub weight: i64,
    /// Not counted in an experiment.
    pub untracked: bool,
}

/// What a rule, or the default rule, serves.
#[derive(Debug, Clone, PartialEq)]
pub enum Serve {
    /// One variation.
    Variation(i64),
    /// A percentage rollout or an experiment. Shares of weight 0 are left out.
    Rollout {
        /// Whether it is an experiment.
        experiment: bool,
        /// `user` where none was named.
        context_kind: String,
        /// `key` where none was named.
        bucket_by: String,
        /// The experiment's seed.
        seed: Option<i64>,
        /// In the order of the list.
        shares: Vec<Share>,
    },
    /// A guarded (measured) rollout, which only REST shows: never comparable, a conflict where it is touched.
    Measured,
    /// Neither a variation nor a rollout.
    Nothing,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// Empty where it does not count (`segmentMatch`); `None` where the attribute is a plain name.
    pub context_kind: Option<String>,
    /// A plain name without context kind, an attribute reference with one. Empty for `segmentMatch`.
    pub attribute: String,
    /// The operator.
    pub op: String,
    /// The values.
    pub values: Vec<JsonValue>,
    /// Whether the condition is turned round.
    pub negate: bool,
}

/// A targeting rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The SDK's `id`, REST's `_id`.
    pub id: String,
    /// All must hold.
    pub clauses: Vec<Clause>,
    /// What is served then.
    pub serve: Serve,
    /// Only REST shows disabled rules; they count neither way.
    pub disabled: bool,
}

/// What a flag does in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    /// Targeting on.
    pub on: bool,
    /// `None` serves the default of the code that asks.
    pub off_variation: Option<i64>,
    /// The default rule.
    pub fallthrough: Serve,
    /// (context kind, variation) to keys; no empty sets.
    pub targets: BTreeMap<(String, i64), BTreeSet<String>>,
    /// In order.
    pub rules: Vec<Rule>,
    /// Flag key to variation.
    pub prerequisites: BTreeMap<String, i64>,
    /// The list of values.
    pub variations: Vec<JsonValue>,
}

impl Configuration {
    /// The configuration that a stored record holds. The record must be readable (`check`); what is absent takes the
    /// model's default.
    pub fn of_record(record: &Record) -> Self {
        let _ = record;
        todo!()
    }

    /// The aspects in which two configurations differ.
    pub fn differs(&self, other: &Self) -> BTreeSet<Aspect> {
        let _ = other;
        todo!()
    }

    /// One aspect in few words, for a table: `on`, `"silver"`, `3 rules`.
    pub fn in_words(&self, aspect: Aspect) -> String {
        let _ = aspect;
        todo!()
    }
}
