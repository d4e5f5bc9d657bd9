//! Which target belongs to a project and environment (design 4.5): the decision itself, pure, from evidence that others
//! gathered. It must not ask anybody anything.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::change::target::Label;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::store::PrefixFound;

/// A relay's word that an environment is kept under a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The prefix.
    pub prefix: String,
    /// Who says so: `ld-relay.conf, section "Prod EU"`, `relay eu-1`.
    pub said_by: String,
}

/// What is known about a store's prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefixes {
    /// A flag file: it holds one environment and has no prefixes.
    None,
    /// These were found.
    Found(Vec<PrefixFound>),
    /// The store did not answer.
    Silent,
    /// The store does not let us look.
    NotKnown,
}

/// Everything that can tell where an environment is kept, strongest first.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// `--prefix`.
    pub given: Option<String>,
    /// `prefix` of `[environment."project/environment"]` in `relaycommander.toml`.
    pub named: Option<String>,
    /// `prefixes` there: the prefix in single stores, by label. They go before `named`, and before what relays say.
    pub named_in: BTreeMap<Label, String>,
    /// The relays' own configuration.
    pub configured: Vec<Claim>,
    /// The relays' `/status`.
    pub reported: Vec<Claim>,
    /// What is in the stores, by label.
    pub stores: BTreeMap<Label, Prefixes>,
}

/// A target, and what is special about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// Where.
    pub target: Target,
    /// A payload filter's copy, which need not have every flag.
    pub is_filter_copy: bool,
}

/// The targets of an environment, and how they were found where that is worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In the order of stores, the full copy before its filter copies.
    pub targets: Vec<Chosen>,
    /// Said in the output: the environment was not named anywhere, and this is why this prefix was taken.
    pub told: Option<String>,
}

/// Nothing says which prefix it is, or several things do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// What there is: store, prefix, number of flags, who claims it.
    pub candidates: Vec<Candidate>,
    /// Whether something named several prefixes (`true`), or nothing named any.
    pub several: bool,
}

/// A prefix that the operator may have meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The prefix.
    pub prefix: String,
    /// The stores that have it.
    pub stores: Vec<Label>,
    /// The most flags that any of them has under it.
    pub flag_count: u64,
    /// Who says that it is this environment.
    pub said_by: Vec<String>,
}

/// The prefix that relays of this program's predecessor were given by convention.
pub fn conventional(environment: &Environment) -> String {
    format!("ld:{}:{}", environment.project, environment.key)
}

/// Decides, in the order of design 4.5.
///
/// # Errors
/// [`Unclear`] where the operator has to say which prefix is meant.
pub fn choose(environment: &Environment, evidence: &Evidence) -> Result<Choice, Unclear> {
    let only_files = evidence.stores.values().all(|prefixes| *prefixes == Prefixes::None);
    if only_files {
        return Ok(Choice { targets: spread(&[], evidence), told: None });
    }
    if let Some(prefix) = &evidence.given {
        return Ok(Choice { targets: spread(std::slice::from_ref(prefix), evidence), told: None });
    }
    let every_store_is_named = evidence.stores.keys().all(|label| evidence.named_in.contains_key(label));
    if let Some(prefix) = &evidence.named {
        return Ok(Choice { targets: spread(std::slice::from_ref(prefix), evidence), told: None });
    }
    if every_store_is_named && !evidence.stores.is_empty() {
        return Ok(Choice { targets: spread(&[], evidence), told: None });
    }
    for claims in [&evidence.configured, &evidence.reported] {
        match full_copies(claims).as_slice() {
            [] => {}
            [prefix] => return Ok(Choice { targets: spread(std::slice::from_ref(prefix), evidence), told: None }),
            _ => return Err(unclear(evidence, true)),
        }
    }
    let conventional = conventional(environment);
    if evidence.stores.values().all(|prefixes| matches!(prefixes, Prefixes::None | Prefixes::Silent)) {
        // Nobody answered, so nothing can be written; but what the operator decided can be written down, and finished
        // with --resume when a store answers and says which prefix it is.
        let told = format!("no store answered: taking {conventional} for {environment}, by convention");
        return Ok(Choice { targets: spread(&[conventional], evidence), told: Some(told) });
    }
    let found = found(evidence);
    if found.contains_key(conventional.as_str()) {
        return Ok(Choice { targets: spread(&[conventional], evidence), told: None });
    }
    let full: Vec<&str> =
        found.keys().copied().filter(|prefix| !found.keys().any(|other| is_filter_copy_of(prefix, other))).collect();
    match full.as_slice() {
        [prefix] if names_nothing(prefix) => Ok(Choice {
            targets: spread(&[(*prefix).to_owned()], evidence),
            told: Some(format!("taking {prefix} for {environment}: it is the only prefix there is")),
        }),
        _ => Err(unclear(evidence, false)),
    }
}

/// Whether `prefix` is a payload filter's copy of `full`: `prefix/filter`, or `envId.filter` in automatic configuration.
pub fn is_filter_copy_of(prefix: &str, full: &str) -> bool {
    let Some(rest) = prefix.strip_prefix(full) else { return false };
    let mut rest = rest.chars();
    match rest.next() {
        Some('/') => rest.next().is_some(),
        Some('.') => rest.next().is_some() && is_environment_id(full),
        _ => false,
    }
}

/// Neither a project nor an environment is named by LaunchDarkly's default prefix or by a bare environment id.
fn names_nothing(prefix: &str) -> bool {
    prefix == "launchdarkly" || is_environment_id(prefix)
}

fn is_environment_id(prefix: &str) -> bool {
    prefix.len() == 24 && prefix.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn full_copies(claims: &[Claim]) -> Vec<String> {
    let prefixes: BTreeSet<&str> = claims.iter().map(|claim| claim.prefix.as_str()).collect();
    prefixes
        .iter()
        .filter(|prefix| !prefixes.iter().any(|other| is_filter_copy_of(prefix, other)))
        .map(|prefix| (*prefix).to_owned())
        .collect()
}

fn found(evidence: &Evidence) -> BTreeMap<&str, Vec<(&Label, u64)>> {
    let mut by_prefix: BTreeMap<&str, Vec<(&Label, u64)>> = BTreeMap::new();
    for (label, prefixes) in &evidence.stores {
        let Prefixes::Found(found) = prefixes else { continue };
        for found in found {
            by_prefix.entry(found.prefix.as_str()).or_default().push((label, found.flag_count));
        }
    }
    by_prefix
}

/// The full copies in every store that has prefixes, each followed by the filter copies that relays name or that are there.
fn spread(full: &[String], evidence: &Evidence) -> Vec<Chosen> {
    let mut targets = Vec::new();
    let claimed: BTreeSet<&str> =
        evidence.configured.iter().chain(&evidence.reported).map(|claim| claim.prefix.as_str()).collect();
    for (label, prefixes) in &evidence.stores {
        let target = |prefix: &str| Target { store: label.clone(), prefix: prefix.to_owned() };
        if *prefixes == Prefixes::None {
            targets.push(Chosen { target: target(""), is_filter_copy: false });
            continue;
        }
        let named_here = evidence.named_in.get(label).filter(|_| evidence.given.is_none());
        let full_here = named_here.map_or(full, std::slice::from_ref);
        for full in full_here {
            targets.push(Chosen { target: target(full), is_filter_copy: false });
            let there: BTreeSet<&str> = match prefixes {
                Prefixes::Found(found) => found.iter().map(|found| found.prefix.as_str()).collect(),
                // A store that did not answer gets what relays say it has, so that the report names it.
                Prefixes::Silent | Prefixes::NotKnown => claimed.clone(),
                Prefixes::None => BTreeSet::new(),
            };
            let copies = there.into_iter().filter(|prefix| is_filter_copy_of(prefix, full));
            targets.extend(copies.map(|prefix| Chosen { target: target(prefix), is_filter_copy: true }));
        }
    }
    targets
}

fn unclear(evidence: &Evidence, several: bool) -> Unclear {
    let claims = || evidence.configured.iter().chain(&evidence.reported);
    let found = found(evidence);
    let prefixes: BTreeSet<&str> = found.keys().copied().chain(claims().map(|claim| claim.prefix.as_str())).collect();
    let candidates = prefixes
        .into_iter()
        .map(|prefix| {
            let stores = found.get(prefix).cloned().unwrap_or_default();
            let said_by: BTreeSet<&str> =
                claims().filter(|claim| claim.prefix == prefix).map(|claim| claim.said_by.as_str()).collect();
            Candidate {
                prefix: prefix.to_owned(),
                flag_count: stores.iter().map(|(_, count)| *count).max().unwrap_or(0),
                stores: stores.into_iter().map(|(label, _)| label.clone()).collect(),
                said_by: said_by.into_iter().map(str::to_owned).collect(),
            }
        })
        .collect();
    Unclear { candidates, several }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        "shop/production".parse().unwrap()
    }

    fn store(prefixes: &[&str]) -> Prefixes {
        Prefixes::Found(
            prefixes
                .iter()
                .map(|prefix| PrefixFound { prefix: (*prefix).to_owned(), flag_count: 3, initialised: true })
                .collect(),
        )
    }

    fn stores(stores: &[(&str, &[&str])]) -> Evidence {
        let stores = stores.iter().map(|(label, prefixes)| ((*label).to_owned(), store(prefixes))).collect();
        Evidence { stores, ..Evidence::default() }
    }

    fn claim(prefix: &str) -> Claim {
        Claim { prefix: prefix.to_owned(), said_by: "relay".to_owned() }
    }

    fn shown(choice: &Choice) -> Vec<String> {
        choice
            .targets
            .iter()
            .map(|chosen| format!("{}{}", chosen.target, if chosen.is_filter_copy { " (copy)" } else { "" }))
            .collect()
    }

    #[test]
    fn what_was_typed_comes_before_everything() {
        let mut evidence = stores(&[("a", &["ld:shop:production", "x"])]);
        evidence.given = Some("x".to_owned());
        evidence.named = Some("y".to_owned());
        evidence.configured = vec![claim("z")];
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a x"]);
        evidence.given = None;
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a y"]);
        evidence.named = None;
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a z"]);
        evidence.configured.clear();
        evidence.reported = vec![claim("w")];
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a w"]);
        evidence.reported.clear();
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a ld:shop:production"]);
    }

    #[test]
    fn a_store_can_have_a_prefix_of_its_own() {
        let mut evidence = stores(&[("a", &["p"]), ("b", &["q", "q/eu"])]);
        evidence.named_in = BTreeMap::from([("b".to_owned(), "q".to_owned())]);
        evidence.named = Some("p".to_owned());
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a p", "b q", "b q/eu (copy)"]);
        evidence.named = None;
        evidence.named_in.insert("a".to_owned(), "p".to_owned());
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["a p", "b q", "b q/eu (copy)"]);
    }

    #[test]
    fn filter_copies_belong_to_their_full_copy() {
        let evidence = stores(&[("a", &["ld:shop:production", "ld:shop:production/eu", "ld:shop:production2"])]);
        let choice = choose(&environment(), &evidence).unwrap();
        assert_eq!(shown(&choice), ["a ld:shop:production", "a ld:shop:production/eu (copy)"]);
    }

    #[test]
    fn automatic_configuration_names_copies_with_a_dot() {
        let id = "0123456789abcdef01234567";
        assert!(is_filter_copy_of(&format!("{id}.eu"), id));
        assert!(!is_filter_copy_of("shop.eu", "shop"));
        assert!(!is_filter_copy_of("shop/", "shop"));
    }

    #[test]
    fn a_store_that_is_away_gets_the_targets_it_should_have() {
        let mut evidence = stores(&[("a", &["p", "p/eu"])]);
        evidence.configured = vec![claim("p"), claim("p/eu")];
        evidence.stores.insert("b".to_owned(), Prefixes::NotKnown);
        let choice = choose(&environment(), &evidence).unwrap();
        assert_eq!(shown(&choice), ["a p", "a p/eu (copy)", "b p", "b p/eu (copy)"]);
    }

    #[test]
    fn the_only_prefix_is_taken_if_it_names_nothing_else_and_it_is_said() {
        let choice = choose(&environment(), &stores(&[("a", &["launchdarkly", "launchdarkly/eu"])])).unwrap();
        assert_eq!(shown(&choice), ["a launchdarkly", "a launchdarkly/eu (copy)"]);
        assert!(choice.told.unwrap().contains("launchdarkly"));
        assert!(choose(&environment(), &stores(&[("a", &["ld:shop:staging"])])).is_err());
        assert!(choose(&environment(), &stores(&[("a", &["launchdarkly", "other"])])).is_err());
    }

    #[test]
    fn where_nobody_answers_the_convention_holds() {
        let mut evidence = Evidence::default();
        evidence.stores.insert("a".to_owned(), Prefixes::Silent);
        evidence.stores.insert("b".to_owned(), Prefixes::Silent);
        let choice = choose(&environment(), &evidence).unwrap();
        assert_eq!(shown(&choice), ["a ld:shop:production", "b ld:shop:production"]);
        assert!(choice.told.unwrap().contains("no store answered"));
        evidence.stores.insert("b".to_owned(), Prefixes::NotKnown);
        assert!(choose(&environment(), &evidence).is_err(), "one that does not let us look may be made to");
    }

    #[test]
    fn two_claims_are_a_question() {
        let mut evidence = stores(&[("a", &["p", "q"])]);
        evidence.configured = vec![claim("p"), claim("q")];
        let unclear = choose(&environment(), &evidence).unwrap_err();
        assert!(unclear.several);
        assert_eq!(unclear.candidates.len(), 2);
        assert_eq!(unclear.candidates[0].said_by, ["relay"]);
    }

    #[test]
    fn a_flag_file_is_one_target() {
        let mut evidence = Evidence::default();
        evidence.stores.insert("file".to_owned(), Prefixes::None);
        assert_eq!(shown(&choose(&environment(), &evidence).unwrap()), ["file"]);
    }
}
