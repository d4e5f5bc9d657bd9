//! What became of every edit that anybody made, once nothing moves any more: LaunchDarkly has it, somebody took it back or
//! decided against it, a later one took its place, it never was in force, or somebody is told that it is owed. PURE.

use serde_json::Value;

use super::Broken;
use super::Rule;
use super::edition::Editions;
use super::edition::asks_for;
use super::ledger::Ledger;
use crate::commands::drill::sequences::steps::FLAGS;
use crate::commands::drill::sequences::steps::OnConflict;
use crate::commands::drill::sequences::steps::Verb;
use crate::commands::drill::sequences::world::playback::Filed;
use crate::commands::drill::sequences::world::store::Content;

/// What a last look said.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its exit code.
    pub code: u8,
    /// Its words.
    pub words: String,
}

impl Report {
    /// Whether somebody who reads it learns that something is wrong with a flag.
    pub fn tells_of(&self, flag: &str) -> bool {
        self.code != 0 && self.words.contains(flag)
    }
}

/// All that is known.
#[derive(Debug)]
pub struct Accounts<'a> {
    /// The playback of each home.
    pub homes: &'a [Vec<Filed>],
    /// What LaunchDarkly has said.
    pub ledger: &'a Ledger,
    /// The overrides that were ever seen in a store.
    pub editions: &'a Editions,
    /// What the stores hold.
    pub contents: &'a [Content],
    /// What `verify` said at last, in every home.
    pub reports: &'a [Report],
    /// What was typed, in order.
    pub typed: &'a [Verb],
}

/// One edit.
#[derive(Debug, Clone, Copy)]
struct Edit<'a> {
    filed: &'a Filed,
    number: usize,
    flag: &'a str,
}

/// Holds the rule against it.
///
/// # Errors
/// The first edit that is lost.
pub fn check(accounts: &Accounts<'_>) -> Result<(), Broken> {
    for (home, all) in accounts.homes.iter().enumerate() {
        for filed in all.iter().filter(|filed| filed.kind != "undo") {
            for (number, flag) in filed.flags.iter().enumerate() {
                let edit = Edit { filed, number, flag };
                if !accounts.is_accounted_for(edit) {
                    return Err(Broken::new(Rule::NothingLost, accounts.lost(edit, home)));
                }
            }
        }
    }
    Ok(())
}

impl Accounts<'_> {
    fn is_accounted_for(&self, edit: Edit<'_>) -> bool {
        self.is_delivered(edit)
            || self.is_undone(edit)
            || self.is_given_up(edit)
            || self.came_to_nothing(edit)
            || self.never_was(edit)
            || self.reports.iter().any(|report| report.tells_of(edit.flag))
    }

    /// LaunchDarkly made a version of it.
    fn is_delivered(&self, edit: Edit<'_>) -> bool {
        self.ledger.of(edit.flag).iter().any(|said| said.by.changes().contains(&edit.filed.change))
    }

    /// Whether it has ended so, by its own file or by a store.
    fn has_ended(&self, edit: Edit<'_>, noted: &[&str], ending: &str) -> bool {
        let key = format!("{}/{}", edit.filed.change, edit.flag);
        let marked = self.contents.iter().filter_map(|content| content.ended.get(&key)).any(|text| {
            let mark: Value = serde_json::from_str(text).unwrap_or_default();
            mark.get("ending").and_then(Value::as_str) == Some(ending)
        });
        marked || edit.filed.is_noted(edit.number, noted)
    }

    fn is_undone(&self, edit: Edit<'_>) -> bool {
        let typed = self.typed.iter().any(|verb| {
            matches!(verb, Verb::Undo { flag, .. } if FLAGS.get(*flag).is_some_and(|flag| flag.key == edit.flag))
        });
        // A stranger's undo is noted as given up, since his mark says so.
        typed && self.has_ended(edit, &["undone", "abandoned"], "undone")
    }

    fn is_given_up(&self, edit: Edit<'_>) -> bool {
        let typed = self
            .typed
            .iter()
            .any(|verb| matches!(verb, Verb::Replay { on_conflict: Some(OnConflict::LaunchDarkly), .. }));
        let gone = self.ledger.of(edit.flag).iter().any(|said| said.record.is_none());
        (typed || gone) && self.has_ended(edit, &["abandoned"], "abandoned")
    }

    /// It was over without a patch, which is right where LaunchDarkly had it so, or something later took its place.
    fn came_to_nothing(&self, edit: Edit<'_>) -> bool {
        let over = self.has_ended(edit, &["settled", "replayed"], "settled");
        let instructions = edit.filed.instructions.get(edit.number).map(Vec::as_slice).unwrap_or_default();
        let asked: Vec<(&str, Value)> = instructions.iter().filter_map(|one| asks_for(one).ok()).collect();
        let was_so = self
            .ledger
            .of(edit.flag)
            .iter()
            .filter_map(|said| said.record.as_ref())
            .any(|record| asked.iter().all(|(aspect, wanted)| record.get(*aspect) == Some(wanted)));
        // By what came to the stores, and not by when it was typed: an older change that is resumed comes after a newer one.
        let later = self.editions.has_later(edit.flag, &edit.filed.change);
        (over && was_so) || later
    }

    /// It was never in any store.
    fn never_was(&self, edit: Edit<'_>) -> bool {
        !self.editions.of_flag(edit.flag).any(|edition| edition.changes.contains(&edit.filed.change))
    }

    fn lost(&self, edit: Edit<'_>, home: usize) -> String {
        let change = &edit.filed.change;
        let events: Vec<String> =
            edit.filed.events.iter().filter(|(of, _)| *of == edit.number).map(|(_, event)| event.to_string()).collect();
        format!(
            "change {change} of {} in home {}: LaunchDarkly made no version of it, nobody took it back or decided against it, \
             nothing later took its place, and no verify tells of the flag\n  its file says:\n    {}",
            edit.flag,
            home + 1,
            events.join("\n    ")
        )
    }
}
