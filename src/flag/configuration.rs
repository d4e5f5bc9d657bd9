//! What a flag does in one environment, free of how it was written down: both a stored record and LaunchDarkly's REST
//! form are brought into this one shape, and only in this shape are they compared (launchdarkly.md 13). (stub)

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::flag::aspect::Aspect;
use crate::flag::json;
use crate::flag::json::Json;
use crate::flag::json::Members;
use crate::flag::model;
use crate::flag::record::Record;

/// The weights of a whole rollout, in thousandths of a percent.
const WHOLE: i64 = 100_000;
/// The operator whose attribute and kind do not count.
const SEGMENT_MATCH: &str = "segmentMatch";
/// The most characters of a value that are shown in a table.
const SHOWN_VALUE_MAX: usize = 40;
/// The most flag keys or values that are shown in a list.
const SHOWN_LIST_MAX: usize = 3;

/// A JSON value that equals another by value: objects unordered, numbers as doubles.
#[derive(Debug, Clone)]
pub struct JsonValue(pub Value);

impl PartialEq for JsonValue {
    fn eq(&self, other: &Self) -> bool {
        json::same_value(&self.0, &other.0)
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
    /// model's default, and so does what no reader would take.
    pub fn of_record(record: &Record) -> Self {
        let tree = record.tree().unwrap_or(Json::Null);
        let empty = Members::default();
        let flag = tree.object().unwrap_or(&empty);
        let prerequisites = objects(flag, "prerequisites").map(|one| (text(one, "key"), number(one, "variation")));
        Self {
            on: flag.get("on").and_then(Json::bool).unwrap_or(false),
            off_variation: optional_number(flag, "offVariation"),
            fallthrough: flag.get("fallthrough").and_then(Json::object).map_or(Serve::Nothing, serve),
            targets: targets(flag),
            rules: objects(flag, "rules").map(rule).collect(),
            prerequisites: prerequisites.collect(),
            variations: values(flag, "variations"),
        }
        .normalised()
    }

    /// The same configuration without what does not count (launchdarkly.md 13): empty target sets, attribute and kind
    /// of `segmentMatch`, shares of weight 0 (as long as the others are a whole: else the last share takes what is
    /// left), what only experiments or only plain rollouts use; and with `key` and `user` where nothing was named.
    /// Whoever fills a configuration calls this before it is compared.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.targets.retain(|_, keys| !keys.is_empty());
        self.fallthrough = self.fallthrough.normalised();
        for rule in &mut self.rules {
            rule.serve = std::mem::replace(&mut rule.serve, Serve::Nothing).normalised();
            for clause in rule.clauses.iter_mut().filter(|clause| clause.op == SEGMENT_MATCH) {
                clause.context_kind = Some(String::new());
                clause.attribute.clear();
            }
        }
        self
    }

    /// The aspects in which two configurations differ. A rule that is disabled on one side counts on neither.
    pub fn differs(&self, other: &Self) -> BTreeSet<Aspect> {
        Aspect::ALL.into_iter().filter(|aspect| !self.same_in(*aspect, other)).collect()
    }

    fn same_in(&self, aspect: Aspect, other: &Self) -> bool {
        match aspect {
            Aspect::On => self.on == other.on,
            Aspect::OffVariation => self.off_variation == other.off_variation,
            Aspect::Fallthrough => self.fallthrough.same(&other.fallthrough),
            Aspect::Targets => self.targets == other.targets,
            Aspect::Rules => self.same_rules(other),
            Aspect::Prerequisites => self.prerequisites == other.prerequisites,
            Aspect::Variations => self.variations == other.variations,
        }
    }

    fn same_rules(&self, other: &Self) -> bool {
        let rules = self.rules.iter().chain(&other.rules);
        let disabled: BTreeSet<&str> = rules.filter(|rule| rule.disabled).map(|rule| rule.id.as_str()).collect();
        let counts = |rule: &&Rule| !rule.disabled && (rule.id.is_empty() || !disabled.contains(rule.id.as_str()));
        let (mut mine, mut theirs) = (self.rules.iter().filter(counts), other.rules.iter().filter(counts));
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(mine), Some(theirs)) if mine.same(theirs) => {}
                _ => return false,
            }
        }
    }

    /// One aspect in few words, for a table: `on`, `"silver"`, `3 rules`.
    pub fn in_words(&self, aspect: Aspect) -> String {
        match aspect {
            Aspect::On => if self.on { "on" } else { "off" }.to_owned(),
            Aspect::OffVariation => match self.off_variation {
                Some(variation) => self.variation_in_words(variation),
                None => "no variation (the code's own default)".to_owned(),
            },
            Aspect::Fallthrough => self.serve_in_words(&self.fallthrough),
            Aspect::Targets => counted(self.targets.values().map(BTreeSet::len).sum(), "target"),
            Aspect::Rules => counted(self.rules.iter().filter(|rule| !rule.disabled).count(), "rule"),
            Aspect::Prerequisites if self.prerequisites.is_empty() => "no prerequisites".to_owned(),
            Aspect::Prerequisites => format!("requires {}", listed(self.prerequisites.keys().cloned())),
            Aspect::Variations if self.variations.is_empty() => "no variations".to_owned(),
            Aspect::Variations => listed(self.variations.iter().map(|value| shortened(&value.0.to_string()))),
        }
    }

    fn variation_in_words(&self, variation: i64) -> String {
        let value = usize::try_from(variation).ok().and_then(|place| self.variations.get(place));
        match value {
            Some(value) => shortened(&value.0.to_string()),
            None => format!("variation {variation}, which does not exist"),
        }
    }

    fn serve_in_words(&self, serve: &Serve) -> String {
        match serve {
            Serve::Variation(variation) => self.variation_in_words(*variation),
            Serve::Rollout { experiment, shares, .. } => {
                let share =
                    |share: &Share| format!("{} {}", percent(share.weight), self.variation_in_words(share.variation));
                let prefix = if *experiment { "experiment: " } else { "" };
                format!("{prefix}{}", listed(shares.iter().map(share)))
            }
            Serve::Measured => "a guarded rollout".to_owned(),
            Serve::Nothing => "nothing".to_owned(),
        }
    }
}

impl Serve {
    /// A guarded rollout equals nothing, not even itself: what it serves at this moment is not known.
    fn same(&self, other: &Self) -> bool {
        !matches!((self, other), (Serve::Measured, _) | (_, Serve::Measured)) && self == other
    }

    fn normalised(self) -> Self {
        let Serve::Rollout { experiment, context_kind, bucket_by, seed, mut shares } = self else { return self };
        if shares.is_empty() {
            return Serve::Nothing;
        }
        let total = shares.iter().fold(0_i64, |sum, share| sum.saturating_add(share.weight));
        if total >= WHOLE {
            shares.retain(|share| share.weight != 0);
        }
        for share in &mut shares {
            // Only an experiment tracks.
            share.untracked &= experiment;
        }
        Serve::Rollout {
            experiment,
            context_kind: if context_kind.is_empty() { "user".to_owned() } else { context_kind },
            // Experiments always go by the key.
            bucket_by: if experiment || bucket_by.is_empty() { "key".to_owned() } else { bucket_by },
            seed,
            shares,
        }
    }
}

impl Rule {
    fn same(&self, other: &Self) -> bool {
        self.id == other.id && self.clauses == other.clauses && self.serve.same(&other.serve)
    }
}

fn objects<'tree, 'text>(
    parent: &'tree Members<'text>,
    name: &str,
) -> impl Iterator<Item = &'tree Members<'text>> + use<'tree, 'text> {
    parent.get(name).and_then(Json::list).unwrap_or_default().iter().filter_map(Json::object)
}

fn text(parent: &Members<'_>, name: &str) -> String {
    parent.get(name).and_then(Json::text).unwrap_or_default().to_owned()
}

fn number(parent: &Members<'_>, name: &str) -> i64 {
    optional_number(parent, name).unwrap_or(0)
}

fn optional_number(parent: &Members<'_>, name: &str) -> Option<i64> {
    parent.get(name).and_then(Json::number).map(model::whole)
}

fn values(parent: &Members<'_>, name: &str) -> Vec<JsonValue> {
    let values = parent.get(name).and_then(Json::list).unwrap_or_default();
    values.iter().map(|value| JsonValue(value.to_value())).collect()
}

/// A variation wins over a rollout, as in every reader.
fn serve(parent: &Members<'_>) -> Serve {
    if let Some(variation) = optional_number(parent, "variation") {
        return Serve::Variation(variation);
    }
    let Some(rollout) = parent.get("rollout").and_then(Json::object) else { return Serve::Nothing };
    let share = |share: &Members<'_>| Share {
        variation: number(share, "variation"),
        weight: number(share, "weight"),
        untracked: share.get("untracked").and_then(Json::bool).unwrap_or(false),
    };
    Serve::Rollout {
        experiment: text(rollout, "kind") == "experiment",
        context_kind: text(rollout, "contextKind"),
        bucket_by: text(rollout, "bucketBy"),
        seed: optional_number(rollout, "seed"),
        shares: objects(rollout, "variations").map(share).collect(),
    }
}

fn targets(flag: &Members<'_>) -> BTreeMap<(String, i64), BTreeSet<String>> {
    let mut targets: BTreeMap<(String, i64), BTreeSet<String>> = BTreeMap::new();
    for target in objects(flag, "targets").chain(objects(flag, "contextTargets")) {
        let kind = text(target, "contextKind");
        let keys = target.get("values").and_then(Json::list).unwrap_or_default();
        let keys = keys.iter().filter_map(Json::text).map(str::to_owned);
        targets.entry((model::target_kind(&kind).to_owned(), number(target, "variation"))).or_default().extend(keys);
    }
    targets
}

fn rule(rule: &Members<'_>) -> Rule {
    let clause = |clause: &Members<'_>| Clause {
        context_kind: Some(text(clause, "contextKind")).filter(|kind| !kind.is_empty()),
        attribute: text(clause, "attribute"),
        op: text(clause, "op"),
        values: values(clause, "values"),
        negate: clause.get("negate").and_then(Json::bool).unwrap_or(false),
    };
    Rule {
        id: text(rule, "id"),
        clauses: objects(rule, "clauses").map(clause).collect(),
        serve: serve(rule),
        disabled: false,
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(SHOWN_LIST_MAX);
    let shown = items.take(SHOWN_LIST_MAX).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Thousandths of a percent as a percentage: `60%`, `33.333%`.
fn percent(weight: i64) -> String {
    format!("{}%", weight as f64 / 1000.0)
}

/// The value's beginning, where it is long.
pub(crate) fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN_VALUE_MAX) {
        Some((end, _)) => format!("{}...", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}
