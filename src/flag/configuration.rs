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
/// The context kind where none is named.
const USER: &str = "user";

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
    /// left), what only experiments or only plain rollouts use; and with `key` and `user` where nothing was named (a plain
    /// attribute name is then written as the reference that means the same).
    /// Whoever fills a configuration calls this before it is compared.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.targets.retain(|_, keys| !keys.is_empty());
        self.fallthrough = self.fallthrough.normalised();
        for rule in &mut self.rules {
            rule.serve = std::mem::replace(&mut rule.serve, Serve::Nothing).normalised();
            rule.clauses.iter_mut().for_each(Clause::normalise);
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
}

impl Clause {
    fn normalise(&mut self) {
        if self.op == SEGMENT_MATCH {
            self.context_kind = Some(String::new());
            self.attribute.clear();
            return;
        }
        let kind = self.context_kind.take().filter(|kind| !kind.is_empty());
        if kind.is_none() {
            self.attribute = reference(&self.attribute);
        }
        // A test of `kind` looks at every context, whatever kind is named.
        let of_any_kind = self.attribute == "kind";
        self.context_kind = Some(kind.filter(|_| !of_any_kind).unwrap_or_else(|| USER.to_owned()));
    }
}

/// A plain attribute name as an attribute reference: they differ only in names that begin with a slash.
fn reference(name: &str) -> String {
    if name.starts_with('/') { format!("/{}", name.replace('~', "~0").replace('/', "~1")) } else { name.to_owned() }
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
        let bucket_by = match context_kind.as_str() {
            // Experiments always go by the key.
            _ if experiment || bucket_by.is_empty() => "key".to_owned(),
            "" => reference(&bucket_by),
            _ => bucket_by,
        };
        Serve::Rollout {
            experiment,
            context_kind: if context_kind.is_empty() { USER.to_owned() } else { context_kind },
            bucket_by,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::flag::samples::TYPICAL;
    use crate::flag::samples::any_flag;
    use crate::flag::samples::as_go_writes;
    use crate::flag::samples::mixed;
    use crate::flag::samples::record;
    use crate::flag::samples::respelled;

    fn configuration(text: &str) -> Configuration {
        Configuration::of_record(&record(text))
    }

    fn differs(one: &str, other: &str) -> Vec<Aspect> {
        let (one, other) = (configuration(one), configuration(other));
        assert_eq!(one.differs(&other), other.differs(&one));
        one.differs(&other).into_iter().collect()
    }

    #[test]
    fn reads_a_record() {
        let read = configuration(TYPICAL);
        assert!(read.on);
        assert_eq!(read.off_variation, Some(1));
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(
            read.targets,
            BTreeMap::from([(("user".into(), 0), keys(&["anna", "bob"])), (("org".into(), 1), keys(&["acme"]))])
        );
        assert_eq!(read.prerequisites, BTreeMap::from([("payments".into(), 0)]));
        assert_eq!(read.variations, [JsonValue(json!(true)), JsonValue(json!(false))]);
        let rule = &read.rules[0];
        assert_eq!((rule.id.as_str(), &rule.serve, rule.clauses.len()), ("a902ef4a-6a35", &Serve::Variation(1), 2));
        assert_eq!(rule.clauses[0].context_kind.as_deref(), Some("user"));
        assert_eq!((rule.clauses[1].context_kind.as_deref(), rule.clauses[1].negate), (Some(""), true));
        let Serve::Rollout { seed: Some(61), shares, .. } = &read.fallthrough else { panic!("{:?}", read.fallthrough) };
        assert_eq!(shares.iter().map(|share| share.weight).collect::<Vec<_>>(), [60_000, 40_000]);
        assert_eq!(configuration("{}").differs(&configuration(r#"{"on":false,"rules":null}"#)), BTreeSet::new());
    }

    #[test]
    fn differs_by_aspect() {
        for (one, other, aspect) in [
            (r#"{"on":true}"#, "{}", Aspect::On),
            (r#"{"offVariation":0}"#, "{}", Aspect::OffVariation),
            (r#"{"fallthrough":{"variation":0}}"#, "{}", Aspect::Fallthrough),
            (r#"{"targets":[{"values":["a"]}]}"#, r#"{"targets":[{"values":["a"],"variation":1}]}"#, Aspect::Targets),
            (r#"{"rules":[{"id":"a"},{"id":"b"}]}"#, r#"{"rules":[{"id":"b"},{"id":"a"}]}"#, Aspect::Rules),
            (
                r#"{"rules":[{"clauses":[{"attribute":"/a"}]}]}"#,
                r#"{"rules":[{"clauses":[{"attribute":"/a","contextKind":"user"}]}]}"#,
                Aspect::Rules,
            ),
            (r#"{"prerequisites":[{"key":"a"}]}"#, r#"{"prerequisites":[{"key":"b"}]}"#, Aspect::Prerequisites),
            (r#"{"variations":[1,2]}"#, r#"{"variations":[2,1]}"#, Aspect::Variations),
        ] {
            assert_eq!(differs(one, other), [aspect], "{one}");
        }
    }

    #[test]
    fn passes_over_what_does_not_count() {
        for (one, other) in [
            (
                r#"{"targets":[{"values":["b","a"]}],"contextTargets":[{"contextKind":"user","values":[]}]}"#,
                r#"{"contextTargets":[{"contextKind":"user","values":["a"]},{"values":["b"]}]}"#,
            ),
            (
                r#"{"rules":[{"clauses":[{"op":"segmentMatch","attribute":"x","values":["s"]}]}]}"#,
                r#"{"rules":[{"clauses":[{"op":"segmentMatch","contextKind":"user","values":["s"]}],"trackEvents":true}]}"#,
            ),
            (
                r#"{"fallthrough":{"rollout":{"variations":[{"weight":0},{"variation":1,"weight":100000,"untracked":true}]}}}"#,
                r#"{"fallthrough":{"rollout":{"kind":"rollout","contextKind":"user","bucketBy":"key","variations":[{"variation":1,"weight":100000}]}}}"#,
            ),
            (
                r#"{"rules":[{"clauses":[{"attribute":"/a~b"},{"attribute":"c"},{"attribute":"kind"}]}]}"#,
                r#"{"rules":[{"clauses":[{"attribute":"/~1a~0b","contextKind":"user"},{"attribute":"c","contextKind":"user"},{"attribute":"kind","contextKind":"org"}]}]}"#,
            ),
            (r#"{"variations":[{"a":1,"b":2}]}"#, r#"{"variations":[{"b":2.0,"a":1e0}]}"#),
            (r#"{"prerequisites":[{"key":"a"},{"key":"b"}]}"#, r#"{"prerequisites":[{"key":"b"},{"key":"a"}]}"#),
            (r#"{"version":7,"salt":"s"}"#, r#"{"version":8,"debugEventsUntilDate":1}"#),
        ] {
            assert_eq!(differs(one, other), [], "{one}");
        }
    }

    #[test]
    fn knows_experiments_from_rollouts() {
        let rollout = |kind: &str| {
            format!(
                r#"{{"fallthrough":{{"rollout":{{"kind":"{kind}","seed":1,"variations":[{{"weight":100000}}]}}}}}}"#
            )
        };
        assert_eq!(differs(&rollout("rollout"), &rollout("experiment")), [Aspect::Fallthrough]);
        let other_seed = rollout("experiment").replace("\"seed\":1", "\"seed\":2");
        assert_eq!(differs(&rollout("experiment"), &other_seed), [Aspect::Fallthrough]);
        let by_country = rollout("experiment").replace("\"seed\"", "\"bucketBy\":\"country\",\"seed\"");
        assert_eq!(differs(&rollout("experiment"), &by_country), []);
        assert_eq!(differs(&rollout("rollout"), &by_country.replace("experiment", "rollout")), [Aspect::Fallthrough]);
        // The last share takes what is missing from the whole, so that it is there counts.
        let short = r#"{"fallthrough":{"rollout":{"variations":[{"weight":50000},{"variation":1,"weight":0}]}}}"#;
        let shorter = r#"{"fallthrough":{"rollout":{"variations":[{"weight":50000}]}}}"#;
        assert_eq!(differs(short, shorter), [Aspect::Fallthrough]);
    }

    #[test]
    fn a_disabled_rule_counts_on_neither_side() {
        let mut rest = configuration(r#"{"rules":[{"id":"a","variation":0},{"id":"b","variation":1}]}"#);
        rest.rules[0].disabled = true;
        assert_eq!(rest.differs(&configuration(r#"{"rules":[{"id":"b","variation":1}]}"#)), BTreeSet::new());
        let with_it = configuration(r#"{"rules":[{"id":"a","variation":7},{"id":"b","variation":1}]}"#);
        assert_eq!(with_it.differs(&rest), BTreeSet::new());
        assert_eq!(rest.in_words(Aspect::Rules), "1 rule");
        let without = configuration(r#"{"rules":[{"id":"a","variation":0}]}"#);
        assert_eq!(without.differs(&rest), BTreeSet::from([Aspect::Rules]));
    }

    #[test]
    fn a_guarded_rollout_equals_nothing() {
        let mut guarded = configuration("{}");
        guarded.fallthrough = Serve::Measured;
        assert_eq!(guarded.differs(&guarded.clone()), BTreeSet::from([Aspect::Fallthrough]));
    }

    proptest! {
        #[test]
        fn does_not_depend_on_spelling_or_on_relays(flag in any_flag(), seed: u64) {
            let original = Configuration::of_record(&record(&flag.to_string()));
            let other = Configuration::of_record(&record(&respelled(&flag, &mut seed.clone())));
            prop_assert_eq!(original.differs(&other), BTreeSet::new());
            let relayed = Configuration::of_record(&record(&as_go_writes(&flag).to_string()));
            prop_assert_eq!(original.differs(&relayed), BTreeSet::new());
            prop_assert_eq!(&original.clone().normalised(), &original);
        }

        /// Records that mean the same do the same, whatever else they differ in.
        #[test]
        fn the_same_value_is_the_same_configuration(one in any_flag(), other in any_flag(), choice: u32) {
            let other = mixed(&one, &other, choice & (choice >> 1) & (choice >> 2));
            let (one, other) = (record(&one.to_string()), record(&other.to_string()));
            let differs = Configuration::of_record(&one).differs(&Configuration::of_record(&other));
            prop_assert!(!one.same_value(&other) || differs.is_empty());
        }
    }
}
