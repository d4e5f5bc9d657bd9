//! A naive model of who has the last word: operators' edits one after the other, what LaunchDarkly has got of them, and what
//! was taken back. It knows no revisions, no marks and no merging, so it only speaks of sequences in which every store got
//! every edit and lost nothing. PURE.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use super::Broken;
use super::Rule;
use super::edition::served;
use super::ledger::By;
use super::ledger::Ledger;

/// What an operator wants of a flag, beyond what LaunchDarkly says.
#[derive(Debug, Clone)]
struct Wanted {
    /// LaunchDarkly's record when it began.
    base: Value,
    /// The fields of a record, as they were asked for last.
    wish: BTreeMap<&'static str, Value>,
    /// The fields that are owed although they were so.
    insisted: BTreeSet<&'static str>,
}

impl Wanted {
    /// The fields in which it comes to something.
    fn counted(&self) -> impl Iterator<Item = &'static str> {
        let differs =
            |name: &&'static str| self.wish.get(*name) != self.base.get(*name) || self.insisted.contains(*name);
        self.wish.keys().copied().filter(move |name| differs(name))
    }

    /// What was asked for along with that, as far as it decides about what everybody gets: off, with a certain off variation,
    /// is not so where LaunchDarkly has another one.
    fn together(&self) -> Option<&'static str> {
        self.counted().next()?;
        let on = self.wish.get("on").or_else(|| self.base.get("on")) == Some(&Value::Bool(true));
        let name = if on { "fallthrough" } else { "offVariation" };
        self.wish.get_key_value(name).map(|(name, _)| *name)
    }
}

/// The model.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    wanted: BTreeMap<String, Wanted>,
    /// Something happened that it knows nothing about.
    blind: bool,
}

impl Outlook {
    /// Something happened that the model knows nothing about: from here on it says nothing.
    pub fn lose_sight(&mut self) {
        self.blind = true;
    }

    /// An edit that every store has. `base`: LaunchDarkly's record, if there was no override; `insisted`: with `--record`.
    pub fn edited(&mut self, flag: &str, base: &Value, wish: &[(&'static str, Value)], insisted: bool) {
        let new = || Wanted { base: base.clone(), wish: BTreeMap::new(), insisted: BTreeSet::new() };
        let wanted = self.wanted.entry(flag.to_owned()).or_insert_with(new);
        for (name, value) in wish {
            if insisted && wanted.base.get(*name) == Some(value) {
                wanted.insisted.insert(name);
            }
            wanted.wish.insert(name, value.clone());
        }
    }

    /// The override is over: LaunchDarkly has it, or it was taken back.
    pub fn over(&mut self, flag: &str) {
        self.wanted.remove(flag);
    }

    /// A replay has run to its end: what came to nothing, or was so in LaunchDarkly already, is over.
    pub fn replayed(&mut self, ledger: &Ledger, gives_up: bool) {
        self.wanted.retain(|flag, wanted| {
            let Some(now) = ledger.newest(flag).and_then(|said| said.record.as_ref()) else { return !gives_up };
            let mut asked = wanted.counted().chain(wanted.together());
            let is_so = asked.all(|name| served_as(&wanted.base, wanted, name) == served(now, name));
            let is_over = is_so || (gives_up && is_touched(ledger, flag, wanted));
            !is_over
        });
    }

    /// Holds the end against it: every conflict was decided for the override. `agreed`: whether reviewers agree to what needs
    /// an approval, if the flag does; `ending`: the first step of the end.
    ///
    /// # Errors
    /// Somebody else had the last word.
    pub fn check(&self, ledger: &Ledger, agreed: impl Fn(&str) -> bool, ending: usize) -> Result<(), Broken> {
        if self.blind {
            return Ok(());
        }
        for (flag, said) in ledger.all() {
            let Some(now) = said.last().and_then(|said| said.record.as_ref()) else { continue };
            let Some(wanted) = self.wanted.get(flag).filter(|_| agreed(flag)) else {
                let sent = said.iter().find(|said| said.step >= ending && matches!(said.by, By::Replay { .. }));
                if let Some(sent) = sent {
                    let why = format!("nobody wanted anything of {flag} any more, and v{} was sent", sent.version);
                    return Err(Broken::new(Rule::LastWord, why));
                }
                continue;
            };
            for name in wanted.counted() {
                let (wish, found) = (served_as(&wanted.base, wanted, name), served(now, name));
                if wish != found {
                    let why = format!("{name} of {flag} was to be {wish} in LaunchDarkly, and is {found}");
                    return Err(Broken::new(Rule::LastWord, why));
                }
            }
        }
        Ok(())
    }
}

/// What is wanted, by value.
fn served_as(base: &Value, wanted: &Wanted, name: &str) -> Value {
    let mut record = base.clone();
    if let (Some(value), true) = (wanted.wish.get(name), record.is_object()) {
        record[name] = value.clone();
    }
    served(&record, name)
}

/// Whether somebody in LaunchDarkly wrote what is wanted to be otherwise, after it began.
fn is_touched(ledger: &Ledger, flag: &str, wanted: &Wanted) -> bool {
    let began = wanted.base.get("version").and_then(Value::as_u64).unwrap_or(0);
    wanted.wish.keys().any(|name| {
        let writer = ledger.last_writer(flag, name, ledger.of(flag).len());
        writer.is_some_and(|writer| writer.by == By::Colleague && writer.version > began)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ledger::Said;
    use super::*;

    fn record(on: bool, version: u64) -> Value {
        json!({ "on": on, "offVariation": 1, "variations": [true, false], "version": version })
    }

    fn ledger(said: &[(bool, By, usize)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (place, (on, by, step)) in said.iter().enumerate() {
            let version = 42 + u64::try_from(place).unwrap();
            let record = Some(record(*on, version));
            ledger.add("checkout", Said { version, record, by: by.clone(), command: 0, step: *step });
        }
        ledger
    }

    #[test]
    fn the_last_word() {
        let off = [("on", json!(false))];
        let ours = || By::Replay { changes: Vec::new() };
        let mut outlook = Outlook::default();
        outlook.edited("checkout", &record(true, 42), &off, false);
        let judged = |outlook: &Outlook, said: &[(bool, By, usize)]| outlook.check(&ledger(said), |_| true, 10).is_ok();
        assert!(judged(&outlook, &[(true, By::Beginning, 0), (false, ours(), 11)]));
        assert!(!judged(&outlook, &[(true, By::Beginning, 0)]), "lost");
        outlook.over("checkout");
        assert!(!judged(&outlook, &[(true, By::Beginning, 0), (false, ours(), 11)]), "taken back, and sent");
        assert!(judged(&outlook, &[(true, By::Beginning, 0), (false, ours(), 9)]));
        outlook.edited("checkout", &record(true, 42), &off, false);
        outlook.edited("checkout", &record(true, 42), &[("on", json!(true))], false);
        assert!(judged(&outlook, &[(true, By::Beginning, 0), (false, By::Colleague, 1)]), "came to nothing");
        outlook.edited("checkout", &record(true, 42), &off, false);
        outlook.replayed(&ledger(&[(true, By::Beginning, 0), (false, By::Colleague, 1)]), false);
        assert!(judged(&outlook, &[(true, By::Beginning, 0), (true, By::Colleague, 2)]), "was so already");
        let serves_false = [("on", json!(false)), ("offVariation", json!(1))];
        let mut serving = Outlook::default();
        serving.edited("checkout", &record(true, 42), &serves_false, false);
        let mut other = ledger(&[(true, By::Beginning, 0)]);
        let record_44 = json!({ "on": false, "offVariation": 0, "variations": [true, false], "version": 44 });
        let said = |by| Said { version: 44, record: Some(record_44.clone()), by, command: 0, step: 1 };
        other.add("checkout", said(By::Colleague));
        serving.replayed(&other, false);
        assert!(serving.check(&ledger(&[(true, By::Beginning, 0), (false, ours(), 11)]), |_| true, 10).is_ok(), "owed");
        outlook.edited("checkout", &record(true, 42), &off, false);
        outlook.lose_sight();
        assert!(judged(&outlook, &[(true, By::Beginning, 0)]));
    }
}
