//! What a command claims by its exit code and its words, held against how the world is right after it. PURE. Most claims
//! can only be judged where nothing else happened while the command ran.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Broken;
use super::Rule;
use super::edition::Edition;
use super::edition::Editions;
use super::edition::served;
use super::ledger::Ledger;
use super::records::is_an_answer;
use crate::commands::drill::sequences::steps::FLAGS;
use crate::commands::drill::sequences::steps::Verb;
use crate::commands::drill::sequences::steps::Wish;
use crate::commands::drill::sequences::world::store::Content;

/// A store right after the command.
#[derive(Debug, Clone, Copy)]
pub struct Look<'c> {
    /// Its name.
    pub store: &'c str,
    /// What it holds.
    pub content: &'c Content,
    /// Whether the command could reach it.
    pub reached: bool,
}

/// A command that has ended by itself.
#[derive(Debug)]
pub struct Claim<'c> {
    /// What was typed.
    pub verb: &'c Verb,
    /// Its exit code.
    pub code: u8,
    /// Everything it said.
    pub words: &'c str,
    /// Whether nothing else happened while it ran.
    pub quiet: bool,
    /// Whether one of its connections broke while it ran.
    pub cut: bool,
    /// Whether it changed anything in a store or in LaunchDarkly.
    pub did: bool,
    /// The stores.
    pub stores: Vec<Look<'c>>,
    /// What LaunchDarkly has said.
    pub ledger: &'c Ledger,
    /// The overrides that were seen in stores.
    pub editions: &'c Editions,
    /// Whether it could reach LaunchDarkly's API.
    pub api: bool,
    /// Whether that was as it should be.
    pub api_is_well: bool,
    /// The flags that the playback of its home names.
    pub recorded: &'c BTreeSet<String>,
    /// Whether a change in that playback has not been moved away.
    pub waiting: bool,
}

/// Holds the rules against it.
///
/// # Errors
/// The first rule that was broken.
pub fn check(claim: &Claim<'_>) -> Result<(), Broken> {
    let told = |why: &str| format!("exit code {}: {why}", claim.code);
    if claim.code > 8 {
        return Err(Broken::new(Rule::ExitCodes, told("there is no such code")));
    }
    let looks = match claim.verb {
        Verb::Verify | Verb::Status => true,
        Verb::Replay { dry_run, .. } => *dry_run,
        _ => false,
    };
    if looks && claim.did {
        return Err(Broken::new(Rule::OnlyLooks, told("it changed something")));
    }
    if matches!(claim.code, 2 | 3 | 4 | 7) && claim.did && !claim.cut {
        return Err(Broken::new(Rule::NothingDone, told("and yet it changed something")));
    }
    if !claim.quiet {
        return Ok(());
    }
    let problem = match claim.verb {
        Verb::Update { flags, wish, .. } if claim.code == 0 => {
            let edits: Vec<(usize, Wish)> = flags.iter().map(|flag| (*flag, *wish)).collect();
            update(claim, &edits).map(|why| (Rule::UpdateTruth, why))
        }
        Verb::Batch(edits) if claim.code == 0 => update(claim, edits).map(|why| (Rule::UpdateTruth, why)),
        Verb::Undo { flag, .. } if claim.code == 0 => undo(claim, key(*flag)).map(|why| (Rule::UndoTruth, why)),
        Verb::Replay { flags, dry_run: false, .. } if claim.code == 0 => {
            let scope: Vec<&str> = flags.iter().map(|flag| key(*flag)).collect();
            owed(claim, &scope).map(|why| (Rule::ReplayTruth, why))
        }
        Verb::Verify => verify(claim).map(|why| (Rule::VerifyTruth, why)),
        Verb::Status => status(claim).map(|why| (Rule::StatusTruth, why)),
        _ => None,
    };
    problem.map_or(Ok(()), |(rule, why)| Err(Broken::new(rule, told(&why))))
}

fn key(flag: usize) -> &'static str {
    FLAGS.get(flag).map_or("?", |flag| flag.key)
}

/// The first store that was not reached: nothing can be claimed of all of them then.
fn unreached(claim: &Claim<'_>) -> Option<String> {
    let look = claim.stores.iter().find(|look| !look.reached)?;
    Some(format!("{} could not be reached", look.store))
}

fn record(content: &Content, flag: &str) -> Option<Value> {
    serde_json::from_str(content.records.get(flag)?).ok()
}

fn update(claim: &Claim<'_>, edits: &[(usize, Wish)]) -> Option<String> {
    if let Some(why) = unreached(claim) {
        return Some(why);
    }
    for (flag, wish) in edits {
        for look in &claim.stores {
            let Some(record) = record(look.content, key(*flag)) else {
                return Some(format!("{} has no {}", look.store, key(*flag)));
            };
            let on = |wanted: bool| record.get("on") == Some(&Value::Bool(wanted));
            let is_so = match wish {
                Wish::On => on(true),
                Wish::Off => on(false),
                Wish::Serve(variation) => {
                    let value = FLAGS.get(*flag).and_then(|flag| flag.values.get(*variation));
                    on(false)
                        && value.is_some_and(|value| {
                            serde_json::from_str(value).ok() == Some(served(&record, "offVariation"))
                        })
                }
                Wish::Fallthrough(variation) => {
                    record.pointer("/fallthrough/variation").and_then(Value::as_u64) == u64::try_from(*variation).ok()
                }
            };
            if !is_so {
                return Some(format!("{} in {} is not so: {record}", key(*flag), look.store));
            }
        }
    }
    None
}

fn undo(claim: &Claim<'_>, flag: &str) -> Option<String> {
    if let Some(why) = unreached(claim) {
        return Some(why);
    }
    claim.stores.iter().find_map(|look| {
        if let Some(text) = look.content.overrides.get(flag) {
            return Some(format!("{} still has an override: {text}", look.store));
        }
        let record = record(look.content, flag)?;
        let is_theirs = is_tombstone(&record)
            || claim.ledger.has_sent(flag, &record)
            || is_an_answer(claim.ledger, claim.editions, flag, &record)
            || claim.editions.of_flag(flag).any(|edition| edition.base == record);
        (!is_theirs).then(|| format!("{flag} in {} is not LaunchDarkly's own: {record}", look.store))
    })
}

fn is_tombstone(record: &Value) -> bool {
    record.get("deleted") == Some(&Value::Bool(true))
}

/// Why it is not so that nothing is owed; an empty scope is all flags.
fn owed(claim: &Claim<'_>, scope: &[&str]) -> Option<String> {
    if let Some(why) = unreached(claim) {
        return Some(why);
    }
    claim.stores.iter().find_map(|look| {
        let mut overrides = look.content.overrides.iter();
        overrides.find_map(|(flag, text)| {
            let edition = Edition::parse(text).ok().filter(|edition| edition.is_owed() && !is_over(claim, edition))?;
            if *claim.verb == Verb::Verify && is_delivered(claim, &edition) {
                return None;
            }
            let in_scope = scope.is_empty() || scope.contains(&flag.as_str());
            in_scope.then(|| format!("{flag} is owed by {}, change {}", look.store, edition.newest()))
        })
    })
}

/// Whether another store says that LaunchDarkly has this very edition: one that did not answer a replay still holds it as it
/// was. That is for a later replay to set right, and LaunchDarkly is owed nothing.
fn is_delivered(claim: &Claim<'_>, edition: &Edition) -> bool {
    claim.stores.iter().any(|look| {
        let known = look.content.overrides.get(&edition.flag).and_then(|text| Edition::parse(text).ok());
        known.is_some_and(|known| {
            !known.is_owed() && known.changes == edition.changes && known.revision == edition.revision
        })
    })
}

/// Whether a store says that it is over: one in which it still stands did not answer when it ended.
fn is_over(claim: &Claim<'_>, edition: &Edition) -> bool {
    let keys = || edition.changes.iter().map(|change| format!("{change}/{}", edition.flag));
    let marks = |look: &Look<'_>| keys().filter_map(|key| look.content.ended.get(&key)).cloned().collect::<Vec<_>>();
    claim.stores.iter().flat_map(marks).any(|text| {
        let mark: Value = serde_json::from_str(&text).unwrap_or_default();
        mark.get("revision").and_then(Value::as_u64).is_some_and(|revision| revision >= edition.revision)
    })
}

/// How stores and LaunchDarkly differ about a flag; a store that is ahead of LaunchDarkly counts only if `versions`.
pub fn difference(stores: &[Look<'_>], ledger: &Ledger, flag: &str, versions: bool) -> Option<String> {
    let theirs = ledger.newest(flag).and_then(|said| said.record.clone());
    stores.iter().find_map(|look| {
        let ours = record(look.content, flag).filter(|record| !is_tombstone(record));
        let (one, other) = match (theirs.clone(), ours) {
            (None, None) => return None,
            (Some(one), Some(other)) => (one, other),
            (one, _) => {
                let (here, there) = if one.is_some() { ("not in", "in") } else { ("in", "not in") };
                return Some(format!("{flag} is {there} LaunchDarkly, and {here} {}", look.store));
            }
        };
        let without = |mut record: Value| {
            if !versions && let Some(fields) = record.as_object_mut() {
                fields.shift_remove("version");
            }
            record
        };
        (without(one.clone()) != without(other.clone()))
            .then(|| format!("LaunchDarkly  {one}\n  {}  {other}", look.store))
    })
}

fn verify(claim: &Claim<'_>) -> Option<String> {
    let overridden: BTreeSet<&String> = claim.stores.iter().flat_map(|look| look.content.overrides.keys()).collect();
    if claim.code == 0 {
        let has_a_say = !overridden.is_empty() || !claim.recorded.is_empty();
        let unasked = (has_a_say && !claim.api).then(|| "LaunchDarkly could not be asked".to_owned());
        let flags = overridden.into_iter().chain(claim.recorded);
        let differs = || flags.into_iter().find_map(|flag| difference(&claim.stores, claim.ledger, flag, false));
        return unasked.or_else(|| owed(claim, &[])).or_else(differs);
    }
    // A machine that is busy with other sequences may be too slow for that, and then it is said.
    if claim.words.contains("did not list its keys within") {
        return None;
    }
    let all_there =
        claim.api && claim.api_is_well && claim.stores.iter().all(|look| look.reached && look.content.initialised);
    if !all_there || claim.waiting || !overridden.is_empty() {
        return None;
    }
    let same = claim.ledger.all().all(|(flag, _)| difference(&claim.stores, claim.ledger, flag, true).is_none());
    same.then(|| "and yet LaunchDarkly and all stores agree, and nothing waits".to_owned())
}

fn status(claim: &Claim<'_>) -> Option<String> {
    if claim.code != 0 {
        return Some("it reports in any case".to_owned());
    }
    // A machine that is busy with other sequences may be too slow for its deadline, and then it says so.
    let no_answer = |store: &str| {
        claim.words.lines().any(|line| line.contains("NO ANSWER") && line.split_whitespace().next() == Some(store))
    };
    claim.stores.iter().filter(|look| look.reached && !no_answer(look.store)).find_map(|look| {
        let missing = look.content.overrides.keys().find(|flag| !claim.words.contains(flag.as_str()))?;
        Some(format!("it does not name {missing}, which {} has an override of", look.store))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ledger::By;
    use super::super::ledger::Said;
    use super::*;

    fn content(on: bool, version: u64, state: Option<&str>) -> Content {
        let record = json!({ "on": on, "offVariation": 1, "variations": [true, false], "version": version });
        let override_ = state.map(|state| {
            json!({
                "revision": 1, "flag": "checkout", "instructions": [{ "kind": "turnFlagOff" }], "changes": ["a"],
                "state": { "is": state, "version": 43 }, "base": "{}",
            })
        });
        Content {
            records: [("checkout".to_owned(), record.to_string())].into(),
            initialised: true,
            overrides: override_.map(|text| ("checkout".to_owned(), text.to_string())).into_iter().collect(),
            ..Content::default()
        }
    }

    fn judged(verb: &Verb, code: u8, content: &Content, change: impl FnOnce(&mut Claim<'_>)) -> Option<Rule> {
        judged_of(verb, code, vec![Look { store: "eu", content, reached: true }], change)
    }

    fn judged_of(verb: &Verb, code: u8, stores: Vec<Look<'_>>, change: impl FnOnce(&mut Claim<'_>)) -> Option<Rule> {
        let mut ledger = Ledger::default();
        let record = json!({ "on": true, "offVariation": 1, "variations": [true, false], "version": 42 });
        ledger.add("checkout", Said { version: 42, record: Some(record), by: By::Beginning, command: 0, step: 0 });
        let recorded = BTreeSet::from(["checkout".to_owned()]);
        let mut claim = Claim {
            verb,
            code,
            words: "checkout",
            quiet: true,
            cut: false,
            did: false,
            stores,
            ledger: &ledger,
            editions: &Editions::default(),
            api: true,
            api_is_well: true,
            recorded: &recorded,
            waiting: false,
        };
        change(&mut claim);
        check(&claim).err().map(|broken| broken.rule)
    }

    #[test]
    fn updates_and_undos() {
        let off = Verb::Update { flags: vec![0], wish: Wish::Off, record: false, despite_differences: false };
        assert_eq!(judged(&off, 0, &content(false, 43, Some("in-force")), |_| ()), None);
        assert_eq!(judged(&off, 0, &content(true, 42, None), |_| ()), Some(Rule::UpdateTruth));
        assert_eq!(judged(&off, 5, &content(true, 42, None), |_| ()), None);
        assert_eq!(judged(&off, 7, &content(true, 42, None), |claim| claim.did = true), Some(Rule::NothingDone));
        let unreached = |claim: &mut Claim<'_>| claim.stores[0].reached = false;
        assert_eq!(judged(&off, 0, &content(false, 43, None), unreached), Some(Rule::UpdateTruth));
        let undo = Verb::Undo { flag: 0, yes: false };
        assert_eq!(judged(&undo, 0, &content(true, 42, None), |_| ()), None);
        assert_eq!(judged(&undo, 0, &content(true, 43, None), |_| ()), Some(Rule::UndoTruth));
        assert_eq!(judged(&undo, 0, &content(true, 42, Some("in-force")), |_| ()), Some(Rule::UndoTruth));
    }

    #[test]
    fn replays_and_looks() {
        let replay = Verb::Replay { flags: Vec::new(), on_conflict: None, request_approval: false, dry_run: false };
        assert_eq!(judged(&replay, 0, &content(false, 43, Some("in-force")), |_| ()), Some(Rule::ReplayTruth));
        assert_eq!(judged(&replay, 0, &content(false, 43, Some("replayed")), |_| ()), None);
        assert_eq!(judged(&Verb::Verify, 0, &content(true, 42, None), |_| ()), None);
        assert_eq!(judged(&Verb::Verify, 0, &content(false, 43, None), |_| ()), Some(Rule::VerifyTruth));
        assert_eq!(judged(&Verb::Verify, 6, &content(true, 42, None), |_| ()), Some(Rule::VerifyTruth), "cries wolf");
        assert_eq!(judged(&Verb::Verify, 6, &content(true, 42, None), |claim| claim.waiting = true), None);
        assert_eq!(judged(&Verb::Verify, 0, &content(true, 42, None), |claim| claim.did = true), Some(Rule::OnlyLooks));
        // LaunchDarkly is as the stores are; one store did not answer the replay, and the other one did.
        let (untold, told) = (content(true, 42, Some("in-force")), content(true, 42, Some("replayed")));
        let one = |content| Look { store: "us", content, reached: true };
        assert_eq!(judged(&Verb::Verify, 0, &untold, |_| ()), Some(Rule::VerifyTruth));
        for (verb, expected) in [(&Verb::Verify, None), (&replay, Some(Rule::ReplayTruth))] {
            assert_eq!(judged_of(verb, 0, vec![one(&untold), one(&told)], |_| ()), expected);
        }
        let silent = |claim: &mut Claim<'_>| claim.words = "nothing";
        assert_eq!(judged(&Verb::Status, 0, &content(false, 43, Some("in-force")), silent), Some(Rule::StatusTruth));
        assert_eq!(judged(&Verb::Status, 9, &content(true, 42, None), |_| ()), Some(Rule::ExitCodes));
    }
}
