//! The list of flags as people read it: a table, what to know about the stores, a verdict.

use jiff::Timestamp;

use super::listed::CopyTold;
use super::listed::Differing;
use super::listed::List;
use super::listed::Listed;
use super::listed::Mark;
use super::listed::State;
use super::listed::Wishes;
use crate::change::override_::OverrideState;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::FAINT;
use crate::ui::output::NOTICE;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// The most stores that a row names one by one.
const DIFFERING_MAX: usize = 4;

/// One line a flag, under a heading.
pub(super) fn table(list: &List, now: Timestamp) -> String {
    let mut table = Table::new();
    table.row(["FLAG", "STATE", "SERVES", "VERSION", "NOTES"].map(|heading| paint(FAINT, heading)));
    for listed in &list.flags {
        let told = &listed.told;
        let notes = notes(listed, now).join("; ");
        table.row([listed.flag.clone(), state(told.state), serves(told), version(told), notes]);
    }
    table.to_string()
}

fn state(state: State) -> String {
    match state {
        State::On | State::Off => state.word().to_owned(),
        State::Deleted => paint(FAINT, state.word()),
        State::Damaged | State::Missing => paint(BAD, state.word()),
    }
}

fn serves(told: &CopyTold) -> String {
    harmless(&told.serves_in_words).into_owned()
}

fn version(told: &CopyTold) -> String {
    told.version.map(|version| format!("v{version}")).unwrap_or_default()
}

fn notes(listed: &Listed, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(listed.override_.as_ref().map(|mark| paint(NOTICE, &override_(mark, now))));
    let problem = listed.told.problem.as_ref();
    notes.extend(problem.map(|problem| paint(BAD, &excerpt(problem))));
    notes.extend(
        listed.damaged_overrides.iter().map(|told| paint(BAD, &format!("override damaged in {}", excerpt(told)))),
    );
    if listed.differs.len() > DIFFERING_MAX {
        notes.push(paint(NOTICE, &format!("{} say something else", count(listed.differs.len(), "store"))));
    } else {
        notes.extend(listed.differs.iter().map(differing));
    }
    notes
}

fn differing(differing: &Differing) -> String {
    let target = harmless(&differing.name);
    let told = &differing.told;
    match told.state {
        State::Missing => paint(NOTICE, &format!("not in {target}")),
        State::Damaged => paint(BAD, &format!("DAMAGED in {target}")),
        State::Deleted => paint(NOTICE, &format!("deleted in {target} {}", version(told))),
        State::On | State::Off => {
            paint(NOTICE, &format!("{target} has {}, {}, {}", told.state.word(), serves(told), version(told)))
        }
    }
}

/// Whose override it is, since when, and how far it has come.
pub(in crate::commands) fn override_(mark: &Mark, now: Timestamp) -> String {
    let mut text = format!("override {} by {} {}", mark.digits, excerpt(&mark.user), time::short(mark.at, now));
    if let Some(incident) = &mark.incident {
        text.push_str(&format!(" {}", excerpt(incident)));
    }
    match &mark.state {
        OverrideState::InForce => text.push_str(", owed"),
        OverrideState::Replayed { version } => {
            text.push_str(&format!(", in LaunchDarkly as v{version}, held until its stream shows it"));
        }
        OverrideState::AwaitingApproval { .. } => text.push_str(", owed, waits for approval"),
    }
    if mark.expires.is_some_and(|expires| expires <= now) {
        text.push_str(", EXPIRED");
    }
    text
}

/// What to know about the stores: those that did not answer, or not completely.
pub(super) fn notices(list: &List) -> Vec<String> {
    let mut notices = Vec::new();
    for told in &list.targets {
        let target = harmless(&told.name);
        match &told.problem {
            Some(problem) => notices.push(format!("{target} could not be read: {}", harmless(problem))),
            None => {
                if !told.initialised {
                    notices
                        .push(format!("{target} has no $inited: relays take it for empty until LaunchDarkly fills it"));
                }
                if !told.own_keys {
                    notices.push(format!("{target} does not let us read our own keys: overrides there are not seen"));
                }
                if !told.strange_fields.is_empty() {
                    let names: Vec<String> = told.strange_fields.iter().map(|name| excerpt(name)).collect();
                    let fields = count(names.len(), "field");
                    notices.push(format!("{target} has {fields} that no flag can be called: {}", list_some(&names, 3)));
                }
            }
        }
    }
    notices
}

/// How many there are, of what kind, and what to type about those that need it.
pub(super) fn verdict(list_: &List, wishes: &Wishes<'_>) -> String {
    let flags = &list_.flags;
    let environment = harmless(&list_.environment);
    let of = |wanted: fn(&Listed) -> bool| flags.iter().filter(|listed| wanted(listed)).count();
    let damaged_in = |listed: &Listed| {
        listed.told.state == State::Damaged || listed.differs.iter().any(|other| other.told.state == State::Damaged)
    };
    let mut parts = Vec::new();
    let mut part = |number: usize, word: &str| {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    };
    part(of(|listed| listed.told.state == State::On), "on");
    part(of(|listed| listed.told.state == State::Off), "off");
    part(of(|listed| listed.told.state == State::Deleted), "deleted");
    part(of(|listed| listed.override_.is_some()), "overridden");
    let damaged: Vec<&Listed> = flags.iter().filter(|listed| damaged_in(listed)).collect();
    part(damaged.len(), "DAMAGED");
    part(of(|listed| !listed.differs.is_empty()), "not the same in all stores");
    let holding = wishes.part.map(|part| format!(" whose key holds {:?}", harmless(part))).unwrap_or_default();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", list(&parts)) };
    let mut verdict = format!("{} in {environment}{holding}{parts}", count(flags.len(), "flag"));
    if list_.deleted_left_out > 0 {
        verdict.push_str(&format!("; {} not shown (--all)", count(list_.deleted_left_out, "deleted flag")));
    }
    if let Some(first) = damaged.first() {
        verdict.push_str(&format!("\nA damaged record takes the whole environment down:  rc show {}", first.flag));
    }
    verdict
}
