//! What the commands may do to a store: replace records of flags that they override, put LaunchDarkly's own back, and
//! keep books under our own keys. Held against two looks at it between which nobody else wrote. PURE.

use std::collections::BTreeSet;

use launchdarkly_server_sdk_evaluation::Flag;
use serde_json::Value;

use super::Broken;
use super::Rule;
use super::edition::Edition;
use super::edition::Editions;
use super::edition::State;
use super::ledger::Ledger;
use crate::commands::drill::sequences::world::store::Content;

/// Two looks at one store.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'s> {
    /// The store's name.
    pub store: &'s str,
    /// The earlier look.
    pub before: &'s Content,
    /// The later one.
    pub after: &'s Content,
    /// What LaunchDarkly has said.
    pub ledger: &'s Ledger,
    /// The overrides that were known before.
    pub editions: &'s Editions,
}

/// Holds the rules against it.
///
/// # Errors
/// The first rule that was broken.
pub fn check(segment: &Segment<'_>) -> Result<(), Broken> {
    let Segment { store, before, after, .. } = segment;
    if before.initialised != after.initialised {
        return Err(Broken::new(
            Rule::NotOurs,
            format!("$inited of {store} was there: {}, and is: {}", before.initialised, after.initialised),
        ));
    }
    if before.strange != after.strange {
        return Err(Broken::new(Rule::NothingElse, format!("{store} has keys that are nobody's: {:?}", after.strange)));
    }
    let flags: BTreeSet<&String> = before.records.keys().chain(after.records.keys()).collect();
    let own: BTreeSet<&String> = before.overrides.keys().chain(after.overrides.keys()).collect();
    for flag in own {
        let (old, new) = (before.overrides.get(flag), after.overrides.get(flag));
        if let Some(new) = new.filter(|_| old != new) {
            an_override(segment, flag, new)?;
        }
    }
    for flag in flags {
        match (before.records.get(flag), after.records.get(flag)) {
            (Some(old), Some(new)) if old != new => a_record(segment, flag, old, new)?,
            (Some(_), Some(_)) => {}
            (None, _) => {
                return Err(Broken::new(Rule::NothingElse, format!("{flag} was not in {store}, and is now")));
            }
            (_, None) => {
                return Err(Broken::new(Rule::NothingElse, format!("{flag} was in {store}, and is not any more")));
            }
        }
    }
    Ok(())
}

fn a_record(segment: &Segment<'_>, flag: &str, old: &str, new: &str) -> Result<(), Broken> {
    let store = segment.store;
    let told = || format!("{flag} in {store}\n  was     {old}\n  became  {new}");
    let before: Value = serde_json::from_str(old).unwrap_or_default();
    if before.get("deleted") == Some(&Value::Bool(true)) {
        return Err(Broken::new(Rule::NotOurs, format!("a tombstone was replaced: {}", told())));
    }
    // A reader that we did not write: LaunchDarkly's own model.
    if let Err(error) = serde_json::from_str::<Flag>(new) {
        return Err(Broken::new(Rule::Readable, format!("{error}: {}", told())));
    }
    let record: Value = serde_json::from_str(new).unwrap_or_default();
    let edition = |content: &Content| content.overrides.get(flag).and_then(|text| Edition::parse(text).ok());
    let (own, was) = (edition(segment.after), edition(segment.before));
    // Put back is what the override that stood there knew of LaunchDarkly, be it LaunchDarkly's record or its answer.
    let was = was.filter(|was| own.is_none() && was.upstream == record);
    if let Some(was) = was
        && (is_an_answer(segment.ledger, segment.editions, flag, &record)
            || was.base == record
            || segment.editions.has_met(flag, &record))
    {
        // A base was judged when its override began: where our keys had been lost, and an older edit's record not, nobody
        // could tell that it is not LaunchDarkly's. The same holds where an override caught up with others in such a store.
        return Ok(());
    }
    explained(segment.ledger, flag, &record, own.as_ref())
        .map_err(|why| Broken::new(Rule::Explained, format!("{why}: {}", told())))
}

/// Whether a record that was written is one that may be: LaunchDarkly's own, or what the override beside it comes to.
fn explained(ledger: &Ledger, flag: &str, record: &Value, own: Option<&Edition>) -> Result<(), String> {
    if ledger.has_sent(flag, record) {
        return Ok(());
    }
    let Some(own) = own else { return Err("it is none of LaunchDarkly's, and no override explains it".to_owned()) };
    let version = record.get("version").and_then(Value::as_u64).unwrap_or(0);
    let sent = ledger.of(flag).iter().filter_map(|said| said.record.as_ref());
    for upstream in sent.chain([&own.base, &own.upstream]) {
        let mut expected = upstream.clone();
        for (name, wanted) in &own.wish {
            expected[*name] = wanted.clone();
        }
        let theirs = upstream.get("version").and_then(Value::as_u64).unwrap_or(0);
        let fits = match own.state {
            State::Replayed(accepted) => version == accepted || version == theirs.saturating_add(own.revision),
            State::Owed | State::Awaiting => version == theirs.saturating_add(own.revision),
        };
        expected["version"] = version.into();
        if fits && expected == *record {
            return Ok(());
        }
    }
    Err(format!("it is not what revision {} of the override makes of any of LaunchDarkly's records", own.revision))
}

fn an_override(segment: &Segment<'_>, flag: &str, text: &str) -> Result<(), Broken> {
    let told = || format!("the override of {flag} in {}: {text}", segment.store);
    let edition = Edition::parse(text).map_err(|why| Broken::new(Rule::Readable, format!("{why}: {}", told())))?;
    if edition.flag != flag {
        return Err(Broken::new(Rule::Readable, format!("it says that it is of {}: {}", edition.flag, told())));
    }
    let first = edition.changes.first();
    let known = segment.editions.of_flag(flag).filter(|known| known.changes.first() == first);
    let bases: Vec<&Value> = known.map(|known| &known.base).collect();
    if bases.contains(&&edition.base) {
        return Ok(());
    }
    // Stores may hold different records, and each is edited in place; but in one store the base stays.
    let before = segment.before.overrides.get(flag).and_then(|text| Edition::parse(text).ok());
    if before.is_some_and(|before| before.changes.first() == first) {
        let why = "it had another base before, and the same first change";
        return Err(Broken::new(
            Rule::Base,
            format!("{why} ({}): {}", bases.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), told()),
        ));
    }
    if segment.ledger.has_sent(flag, &edition.base)
        || is_an_answer(segment.ledger, segment.editions, flag, &edition.base)
    {
        return Ok(());
    }
    // Where our keys were lost and not the record, nobody can tell that it is not LaunchDarkly's.
    let found = segment.before.records.get(flag).and_then(|text| serde_json::from_str(text).ok());
    if !segment.before.overrides.contains_key(flag) && found.as_ref() == Some(&edition.base) {
        return Ok(());
    }
    Err(Broken::new(Rule::Base, format!("its base is no record that LaunchDarkly ever sent: {}", told())))
}

/// So many replays one after the other may be answered before a store has seen a record of LaunchDarkly's own.
const ANSWERS_MAX: usize = 4;

/// Whether a record stands for LaunchDarkly's answer, where nobody saw its own record of that version: what an override asks
/// for, on any of LaunchDarkly's records or on an answer before, under a version that LaunchDarkly has had.
pub fn is_an_answer(ledger: &Ledger, editions: &Editions, flag: &str, record: &Value) -> bool {
    let version = record.get("version").and_then(Value::as_u64);
    let said = ledger.of(flag);
    if !said.iter().any(|said| Some(said.version) == version) {
        return false;
    }
    let answer = |base: &Value, edition: &Edition| {
        let mut answer = base.clone();
        for (name, wanted) in &edition.wish {
            answer[*name] = wanted.clone();
        }
        answer["version"] = version.into();
        answer
    };
    let mut bases: Vec<Value> = said.iter().filter_map(|said| said.record.clone()).collect();
    for _ in 0..ANSWERS_MAX {
        let answers: Vec<Value> =
            bases.iter().flat_map(|base| editions.of_flag(flag).map(|edition| answer(base, edition))).collect();
        if answers.contains(record) {
            return true;
        }
        for answer in answers {
            if !bases.contains(&answer) {
                bases.push(answer);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ledger::By;
    use super::super::ledger::Said;
    use super::*;

    fn record(on: bool, version: u64) -> String {
        json!({
            "key": "checkout", "on": on, "prerequisites": [], "targets": [], "contextTargets": [], "rules": [],
            "fallthrough": { "variation": 0 }, "offVariation": 1, "variations": [true, false], "clientSide": false,
            "salt": "s", "trackEvents": false, "trackEventsFallthrough": false, "debugEventsUntilDate": null,
            "version": version, "deleted": false,
        })
        .to_string()
    }

    fn off(revision: u64, base: &str) -> String {
        json!({
            "format": 1, "revision": revision, "environment": "shop/production", "flag": "checkout",
            "instructions": [{ "kind": "turnFlagOff" }], "state": { "is": "in-force" }, "changes": ["a"],
            "motive": {}, "base": base,
        })
        .to_string()
    }

    fn content(record: &str, override_: Option<&str>) -> Content {
        let one = |text: &str| [("checkout".to_owned(), text.to_owned())].into();
        let overrides = override_.map(one).unwrap_or_default();
        Content { records: one(record), initialised: true, overrides, ..Content::default() }
    }

    fn judged(before: &Content, after: &Content) -> Option<Rule> {
        judged_after(&Editions::default(), before, after)
    }

    fn judged_after(editions: &Editions, before: &Content, after: &Content) -> Option<Rule> {
        let mut ledger = Ledger::default();
        for version in [42, 43] {
            let record = serde_json::from_str(&record(version == 42, version)).ok();
            ledger.add("checkout", Said { version, record, by: By::Beginning, command: 0, step: 0 });
        }
        let segment = Segment { store: "eu", before, after, ledger: &ledger, editions };
        check(&segment).err().map(|broken| broken.rule)
    }

    #[test]
    fn what_may_be_written() {
        let on = record(true, 42);
        let before = content(&on, None);
        assert_eq!(judged(&before, &before), None);
        assert_eq!(judged(&before, &content(&record(false, 44), Some(&off(2, &on)))), None);
        assert_eq!(judged(&content(&record(false, 44), Some(&off(2, &on))), &content(&on, None)), None, "put back");
    }

    /// Our keys had been evicted when the override began, and an older edit's record had not.
    #[test]
    fn what_an_override_was_made_on_may_be_put_back() {
        let ours = record(false, 45);
        let stands = content(&record(false, 46), Some(&off(1, &ours)));
        assert_eq!(judged(&stands, &content(&ours, None)), None);
        assert_eq!(judged(&stands, &content(&record(false, 44), None)), Some(Rule::Explained));
    }

    /// Two overrides were replayed one after the other, and no store saw what LaunchDarkly made of the first.
    #[test]
    fn an_answer_upon_an_answer_is_one() {
        let mut ledger = Ledger::default();
        for version in 42..=44 {
            let record = (version == 42).then(|| serde_json::from_str(&record(true, 42)).unwrap());
            ledger.add("checkout", Said { version, record, by: By::Beginning, command: 0, step: 0 });
        }
        let edition = |instruction: Value| {
            let mut text: Value = serde_json::from_str(&off(1, &record(true, 42))).unwrap();
            text["instructions"] = json!([instruction]);
            text["changes"] = json!([instruction.to_string()]);
            Edition::parse(&text.to_string()).unwrap()
        };
        let mut editions = Editions::default();
        editions.learn(&edition(json!({ "kind": "turnFlagOff" })));
        let both = record(false, 44).replace("\"offVariation\":1", "\"offVariation\":0");
        let both: Value = serde_json::from_str(&both).unwrap();
        assert!(!is_an_answer(&ledger, &editions, "checkout", &both));
        editions.learn(&edition(json!({ "kind": "updateOffVariation", "variation": 0 })));
        assert!(is_an_answer(&ledger, &editions, "checkout", &both));
        let mut later = both.clone();
        later["version"] = json!(45);
        assert!(!is_an_answer(&ledger, &editions, "checkout", &later), "LaunchDarkly never had that version");
    }

    /// The same, where an override caught up with what other stores had.
    #[test]
    fn what_an_override_met_where_it_caught_up_may_be_put_back() {
        let (on, ours) = (record(true, 42), record(false, 45));
        let mut caught_up: Value = serde_json::from_str(&off(2, &on)).unwrap();
        caught_up["upstream"] = json!(ours);
        let caught_up = caught_up.to_string();
        let stands = content(&record(false, 47), Some(&caught_up));
        assert_eq!(judged(&stands, &content(&ours, None)), Some(Rule::Explained), "nobody met it");
        let mut editions = Editions::default();
        editions.meet(&Edition::parse(&caught_up).unwrap(), &serde_json::from_str(&ours).unwrap());
        assert_eq!(judged_after(&editions, &stands, &content(&ours, None)), None);
        assert_eq!(judged_after(&editions, &stands, &content(&record(false, 44), None)), Some(Rule::Explained));
    }

    #[test]
    fn what_may_not() {
        let on = record(true, 42);
        let before = content(&on, None);
        let with_off = |record: &str| content(record, Some(&off(1, &on)));
        assert_eq!(judged(&before, &content(&record(false, 45), None)), Some(Rule::Explained), "no override");
        assert_eq!(judged(&before, &with_off(&record(false, 46))), Some(Rule::Explained), "the version jumps");
        let renamed = record(false, 43).replace("\"s\"", "\"t\"");
        assert_eq!(judged(&before, &with_off(&renamed)), Some(Rule::Explained), "another field");
        let text = record(false, 43).replace("false,\"prerequisites\"", "\"off\",\"prerequisites\"");
        assert_eq!(judged(&before, &with_off(&text)), Some(Rule::Readable));
        assert_eq!(judged(&before, &content(&on, Some(&off(1, &record(false, 42))))), Some(Rule::Base));
        let tombstone = json!({ "key": "$deleted", "deleted": true, "version": 50 }).to_string();
        assert_eq!(judged(&content(&tombstone, None), &with_off(&record(false, 51))), Some(Rule::NotOurs));
        assert_eq!(judged(&before, &Content { initialised: false, ..before.clone() }), Some(Rule::NotOurs));
        assert_eq!(
            judged(&before, &Content { records: Default::default(), ..before.clone() }),
            Some(Rule::NothingElse)
        );
    }
}
