//! What the commands may do to LaunchDarkly: bring each flag to the net effect of an override that is owed, once, and over
//! nobody's head. Each version that a patch of ours made is held against what was known when its command began. PURE.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Broken;
use super::Rule;
use super::edition::Edition;
use super::edition::Editions;
use super::edition::served;
use super::ledger::By;
use super::ledger::Ledger;
use super::ledger::Said;

/// A patch that LaunchDarkly accepted and that changed something: the newest version of its flag.
#[derive(Debug, Clone, Copy)]
pub struct Patched<'p> {
    /// The flag.
    pub flag: &'p str,
    /// What LaunchDarkly has said, this patch last.
    pub ledger: &'p Ledger,
    /// The overrides that were seen in stores.
    pub editions: &'p Editions,
    /// Whether `--on-conflict override` was typed.
    pub decided: bool,
    /// The changes and flags, as `change/flag`, whose ended marks could be read when the command began, each with the
    /// highest revision that a mark names.
    pub ended: &'p [(String, u64)],
}

/// Holds the rules against it.
///
/// # Errors
/// The first rule that was broken.
pub fn check(patched: &Patched<'_>) -> Result<(), Broken> {
    let said = patched.ledger.of(patched.flag);
    let Some((new, earlier)) = said.split_last() else { return Ok(()) };
    let By::Replay { changes } = &new.by else { return Ok(()) };
    let told = format!("{} v{} in LaunchDarkly, {}", patched.flag, new.version, named(changes));
    let Some(newest) = changes.last() else {
        return Err(Broken::new(Rule::NetEffect, format!("its comment names no change: {told}")));
    };
    once(earlier, new, newest, &told)?;
    let Some(edition) = patched.editions.of(patched.flag, newest).first() else {
        return Err(Broken::new(Rule::NetEffect, format!("no store had an override of that change: {told}")));
    };
    not_ended(patched, edition, newest, &told)?;
    net_effect(patched, earlier, new, edition, &told)?;
    not_unknowingly(patched, earlier, new, newest, &told)
}

fn named(changes: &[String]) -> String {
    let digits = |change: &String| change.get(change.len().saturating_sub(4)..).unwrap_or_default().to_owned();
    format!("changes {}", changes.iter().map(digits).collect::<Vec<_>>().join(", "))
}

/// LaunchDarkly had it never before, by this command or another.
fn once(earlier: &[Said], new: &Said, newest: &str, told: &str) -> Result<(), Broken> {
    let twice = earlier.iter().find(|said| said.by.changes().last().is_some_and(|change| change == newest));
    if let Some(twice) = twice {
        let why = format!("LaunchDarkly had that as v{} already (step {})", twice.version, twice.step);
        return Err(Broken::new(Rule::NotTwice, format!("{why}: {told}")));
    }
    let same_run = earlier
        .iter()
        .find(|said| said.command == new.command && new.command != 0 && matches!(said.by, By::Replay { .. }));
    if let Some(other) = same_run {
        let why = format!("one replay made two versions of it, v{} as well", other.version);
        return Err(Broken::new(Rule::NetEffect, format!("{why}: {told}")));
    }
    Ok(())
}

fn not_ended(patched: &Patched<'_>, edition: &Edition, newest: &str, told: &str) -> Result<(), Broken> {
    let key = format!("{newest}/{}", patched.flag);
    match patched.ended.iter().find(|(ended, revision)| *ended == key && *revision >= edition.revision) {
        Some(_) => Err(Broken::new(Rule::EndedElsewhere, format!("a store said that it had ended: {told}"))),
        None => Ok(()),
    }
}

/// What it asks for is so, and nothing else changed.
fn net_effect(
    patched: &Patched<'_>,
    earlier: &[Said],
    new: &Said,
    edition: &Edition,
    told: &str,
) -> Result<(), Broken> {
    let Some(after) = &new.record else { return Ok(()) };
    for (aspect, wanted) in &edition.wish {
        // What was so when it was read is not sent, and somebody may have changed it since.
        let writer = patched.ledger.last_writer(patched.flag, aspect, earlier.len());
        if writer.is_some_and(|writer| is_meanwhile(writer, new)) {
            continue;
        }
        let mut wished = edition.base.clone();
        wished[*aspect] = wanted.clone();
        if is_idle(edition, aspect) && served(&wished, aspect) == served(&edition.base, aspect) {
            continue;
        }
        if served(&wished, aspect) != served(after, aspect) {
            let why = format!("{aspect} is {}, and the override asks for {wanted}", served(after, aspect));
            return Err(Broken::new(Rule::NetEffect, format!("{why}: {told}")));
        }
    }
    let Some(before) = earlier.last().and_then(|said| said.record.as_ref()) else { return Ok(()) };
    let untouched = |name: &&String| !edition.wish.contains_key(name.as_str()) && *name != "version";
    let names: BTreeSet<&String> =
        [before, after].into_iter().filter_map(Value::as_object).flat_map(|o| o.keys()).collect();
    match names.iter().find(|name| untouched(name) && before.get(name.as_str()) != after.get(name.as_str())) {
        Some(name) => Err(Broken::new(Rule::NetEffect, format!("{name} was changed and not asked for: {told}"))),
        None => Ok(()),
    }
}

/// Whether what an aspect says reaches nobody while the override is in force. Where its edits of it come to nothing against
/// the base, LaunchDarkly is not told of it, and what others made of it there stays.
fn is_idle(edition: &Edition, aspect: &str) -> bool {
    let on = edition.wish.get("on").or_else(|| edition.base.get("on")) == Some(&Value::Bool(true));
    match aspect {
        "offVariation" => on,
        "fallthrough" => !on,
        _ => false,
    }
}

/// Whether a colleague changed it while the replay was running: between reading and sending nobody can be kept from it.
fn is_meanwhile(writer: &Said, new: &Said) -> bool {
    writer.by == By::Colleague && writer.command == new.command && new.command != 0
}

/// What it overwrote was ours, or older than what the operator knew, or decided about.
fn not_unknowingly(
    patched: &Patched<'_>,
    earlier: &[Said],
    new: &Said,
    newest: &str,
    told: &str,
) -> Result<(), Broken> {
    if patched.decided {
        return Ok(());
    }
    let Some(before) = earlier.last().and_then(|said| said.record.as_ref()) else { return Ok(()) };
    let known = patched.editions.of(patched.flag, newest).iter();
    let known = known.filter_map(|edition| edition.base.get("version").and_then(Value::as_u64)).max().unwrap_or(0);
    let overwritten =
        |aspect: &&&str| new.record.as_ref().is_some_and(|after| served(before, aspect) != served(after, aspect));
    for aspect in super::ledger::ASPECTS.iter().filter(overwritten) {
        let Some(writer) = patched.ledger.last_writer(patched.flag, aspect, earlier.len()) else { continue };
        if writer.by == By::Colleague && writer.version > known && !is_meanwhile(writer, new) {
            let why = format!(
                "{aspect} was changed in LaunchDarkly as v{} (step {}), after v{known} on which the override was made, and nobody decided",
                writer.version, writer.step
            );
            return Err(Broken::new(Rule::NotUnknowingly, format!("{why}: {told}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(on: bool, version: u64) -> Value {
        json!({ "on": on, "offVariation": 1, "variations": [true, false], "version": version })
    }

    fn edition(changes: &[&str]) -> Edition {
        let text = json!({
            "revision": 1, "flag": "checkout", "instructions": [{ "kind": "turnFlagOff" }], "changes": changes,
            "state": { "is": "in-force" }, "base": record(true, 42).to_string(),
        });
        Edition::parse(&text.to_string()).unwrap()
    }

    fn ours(changes: &[&str]) -> By {
        By::Replay { changes: changes.iter().map(|change| (*change).to_owned()).collect() }
    }

    fn judged(versions: &[(bool, By, u64)], decided: bool, ended: &[(String, u64)]) -> Option<Rule> {
        let mut ledger = Ledger::default();
        let mut version = 41;
        for (on, by, command) in versions {
            version += 1;
            let said = Said { version, record: Some(record(*on, version)), by: by.clone(), command: *command, step: 0 };
            ledger.add("checkout", said);
        }
        let mut editions = Editions::default();
        editions.learn(&edition(&["a"]));
        check(&Patched { flag: "checkout", ledger: &ledger, editions: &editions, decided, ended })
            .err()
            .map(|broken| broken.rule)
    }

    #[test]
    fn what_may_be_sent() {
        let beginning = (true, By::Beginning, 0);
        assert_eq!(judged(&[beginning.clone(), (false, ours(&["a"]), 1)], false, &[]), None);
        let toggled = [beginning, (false, By::Colleague, 0), (true, By::Colleague, 0), (false, ours(&["a"]), 1)];
        assert_eq!(judged(&toggled, true, &[]), None, "decided");
    }

    /// The override asks for an off variation that is the base's own; a colleague chose another one in LaunchDarkly.
    #[test]
    fn what_comes_to_nothing_and_reaches_nobody_is_not_sent() {
        let judged = |wanted: &str, on: bool| {
            let instructions = json!([{ "kind": wanted }, { "kind": "updateOffVariation", "variation": 1 }]);
            let text = json!({
                "revision": 2, "flag": "checkout", "instructions": instructions, "changes": ["a"],
                "state": { "is": "in-force" }, "base": record(true, 42).to_string(),
            });
            let mut editions = Editions::default();
            editions.learn(&Edition::parse(&text.to_string()).unwrap());
            let mut ledger = Ledger::default();
            let said = |version, on, off_variation: u64, by, command| {
                let mut record = record(on, version);
                record["offVariation"] = off_variation.into();
                Said { version, record: Some(record), by, command, step: 0 }
            };
            ledger.add("checkout", said(42, true, 1, By::Beginning, 0));
            ledger.add("checkout", said(43, !on, 0, By::Colleague, 0));
            ledger.add("checkout", said(44, on, 0, ours(&["a"]), 1));
            let patched = Patched { flag: "checkout", ledger: &ledger, editions: &editions, decided: true, ended: &[] };
            check(&patched).err().map(|broken| broken.rule)
        };
        assert_eq!(judged("turnFlagOn", true), None);
        assert_eq!(judged("turnFlagOff", false), Some(Rule::NetEffect), "off, everybody gets it");
    }

    #[test]
    fn what_may_not() {
        let beginning = (true, By::Beginning, 0);
        let off = (false, ours(&["a"]), 1);
        let toggled = [beginning.clone(), (false, By::Colleague, 0), (true, By::Colleague, 0), off.clone()];
        assert_eq!(judged(&toggled, false, &[]), Some(Rule::NotUnknowingly));
        let again = [beginning.clone(), off.clone(), (true, By::Colleague, 0), (false, ours(&["a"]), 2)];
        assert_eq!(judged(&again, true, &[]), Some(Rule::NotTwice));
        let ended = [("a/checkout".to_owned(), 1)];
        assert_eq!(judged(&[beginning.clone(), off], false, &ended), Some(Rule::EndedElsewhere));
        assert_eq!(judged(&[beginning.clone(), (false, ours(&[]), 1)], false, &[]), Some(Rule::NetEffect));
        assert_eq!(
            judged(&[beginning, (true, ours(&["a"]), 1)], false, &[]),
            Some(Rule::NetEffect),
            "not what is asked for"
        );
    }
}
