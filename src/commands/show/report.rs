//! One flag as people read it: what it is, what every store and relay has, the override, who depends on it, the verdict.

use jiff::Timestamp;

use super::document::Author;
use super::document::CopyShown;
use super::document::FileShown;
use super::document::OverrideShown;
use super::document::Shown;
use super::relays::Answer;
use super::relays::RelayShown;
use crate::change::override_::OverrideState;
use crate::commands::flags::listed::CopyTold;
use crate::commands::flags::listed::Served;
use crate::commands::flags::listed::State;
use crate::commands::flags::report::override_ as mark_in_words;
use crate::flag::aspect::Aspect;
use crate::flag::key::Environment;
use crate::flag::record::Record;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::FAINT;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// The most values of a flag that are shown.
const VARIATIONS_MAX: usize = 20;

/// The most rules that are told; how many there are stands above them.
const RULES_MAX: usize = 20;

/// The most dependants that are named.
const NAMED_MAX: usize = 20;

/// Everything, the verdict last.
pub(super) fn text(shown: &Shown, environment: &Environment, now: Timestamp) -> String {
    let mut parts = vec![headline(shown)];
    if !shown.aspects.is_empty() {
        parts.push(aspects(shown).to_string());
    }
    parts.push(copies(shown).to_string());
    parts.extend(shown.override_.as_ref().map(|override_| overridden(override_, now)));
    parts.extend(ended(shown, now));
    if !shown.required_by.is_empty() {
        let is_off = shown.copies.iter().any(|copy| copy.told.state == State::Off);
        let told = |one: &super::document::Requiring| {
            let now = match (one.on, is_off) {
                (false, _) => "; is off itself",
                (true, true) => "; NOT met where this flag is off",
                (true, false) => "",
            };
            format!("{} (to be {}{now})", one.flag, one.value)
        };
        let told: Vec<String> = shown.required_by.iter().map(told).collect();
        parts.push(format!("{}  {}", paint(STRONG, "REQUIRED BY"), list_some(&told, NAMED_MAX)));
    }
    if !shown.relays.is_empty() {
        parts.push(format!("{}\n{}", paint(STRONG, "RELAYS, asked now"), relays(shown)));
    }
    if !shown.playback.is_empty() {
        parts.push(format!("{}\n{}", paint(STRONG, "CHANGES in this playback"), playback(&shown.playback, now)));
    }
    parts.push(verdict(shown, environment, now));
    parts.join("\n\n")
}

fn headline(shown: &Shown) -> String {
    let name = paint(STRONG, &shown.flag);
    let environment = harmless(&shown.environment);
    let copies: Vec<&CopyShown> = shown.copies.iter().filter(|copy| counts(copy)).collect();
    match copies.split_first() {
        Some((first, others)) if others.iter().all(|other| same(&first.told, &other.told)) => {
            format!("{name}, {environment}: {}", sentence(&first.told))
        }
        Some(_) => format!("{name}, {environment}: {}", paint(NOTICE, "not the same in all stores")),
        None => format!("{name}, {environment}"),
    }
}

/// A filter copy need not have the flag; a store that was not read says nothing.
fn counts(copy: &CopyShown) -> bool {
    copy.not_read.is_none() && (copy.told.state != State::Missing || !copy.is_filter_copy)
}

fn same(one: &CopyTold, other: &CopyTold) -> bool {
    one.state == other.state && one.serves == other.serves
}

fn sentence(told: &CopyTold) -> String {
    let serves = harmless(&told.serves_in_words);
    match (&told.state, &told.serves) {
        (State::On | State::Off, Some(Served::Everybody(_))) => {
            format!("{}. Everybody gets {serves}.", told.state.word())
        }
        (State::On | State::Off, Some(Served::CodeDefault)) => {
            format!("{}. Everybody gets the code's own default.", told.state.word())
        }
        (State::On | State::Off, Some(Served::Depends(Some(value)))) => {
            let value = excerpt(&value.to_string());
            format!("{}. Who gets what depends; whom nothing matches gets {value}.", told.state.word())
        }
        (State::On | State::Off, _) => format!("{}. Who gets what depends.", told.state.word()),
        (State::Deleted, _) => "deleted in LaunchDarkly.".to_owned(),
        (State::Damaged, _) => paint(BAD, "DAMAGED: relays cannot read it."),
        (State::Missing, _) => paint(BAD, "no record; only an override is there."),
    }
}

fn aspects(shown: &Shown) -> Table {
    let mut table = Table::indented(2);
    for (aspect, words) in &shown.aspects {
        let words = match aspect {
            Aspect::Variations => {
                let value =
                    |(index, value): (usize, &serde_json::Value)| format!("{index} = {}", excerpt(&value.to_string()));
                list_some(&shown.variations.iter().enumerate().map(value).collect::<Vec<_>>(), VARIATIONS_MAX)
            }
            Aspect::Prerequisites if !shown.requires.is_empty() => {
                let required = |one: &super::document::Required| {
                    let now = match one.on {
                        Some(true) => "",
                        Some(false) => "; it is off, so this is not met",
                        None => "; it is not in the store",
                    };
                    format!("{} to be {}{now}", excerpt(&one.flag), one.value)
                };
                list_some(&shown.requires.iter().map(required).collect::<Vec<_>>(), NAMED_MAX)
            }
            Aspect::Targets if !shown.targets.is_empty() => list_some(&shown.targets, NAMED_MAX),
            _ => harmless(words).into_owned(),
        };
        table.row([aspect.to_string(), words]);
        if *aspect == Aspect::Rules {
            for (place, rule) in shown.rules.iter().enumerate().take(RULES_MAX) {
                table.row([String::new(), format!("{}. if {rule}", place + 1)]);
            }
        }
    }
    table
}

fn copies(shown: &Shown) -> Table {
    let mut table = Table::indented(2);
    table.row(["STORE", "VERSION", "STATE", "WHOSE RECORD", "NOTES"].map(|heading| paint(FAINT, heading)));
    let digits = shown.override_.as_ref().map(|override_| override_.mark.digits.as_str()).unwrap_or_default();
    for copy in &shown.copies {
        let filter = if copy.is_filter_copy { " (filter copy)" } else { "" };
        let name = format!("{}{filter}", harmless(&copy.name));
        if let Some(problem) = &copy.not_read {
            table.row([name, String::new(), paint(BAD, "NOT READ"), String::new(), excerpt(problem)]);
            continue;
        }
        let whose = match &copy.written_by {
            Some(Author::Launchdarkly) => "LaunchDarkly's".to_owned(),
            Some(Author::Override) => format!("ours, override {digits}"),
            Some(Author::Change(digits)) => format!("ours, change {digits}"),
            None => String::new(),
        };
        let state = match copy.told.state {
            State::Damaged => paint(BAD, State::Damaged.word()),
            State::Missing if !copy.is_filter_copy => paint(NOTICE, State::Missing.word()),
            state => state.word().to_owned(),
        };
        table.row([name, version(&copy.told), state, whose, notes(copy).join("; ")]);
    }
    table
}

fn notes(copy: &CopyShown) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(copy.told.problem.as_ref().map(|problem| paint(BAD, &excerpt(problem))));
    notes.extend(copy.differs.iter().map(|(aspect, words)| paint(NOTICE, &format!("{aspect}: {}", excerpt(words)))));
    notes.extend(
        copy.damaged_override.as_ref().map(|problem| paint(BAD, &format!("override damaged: {}", excerpt(problem)))),
    );
    notes.extend(copy.second_opinion.as_ref().map(|told| format!("LaunchDarkly's Rust model says: {}", excerpt(told))));
    notes
}

fn version(told: &CopyTold) -> String {
    told.version.map(|version| format!("v{version}")).unwrap_or_default()
}

fn overridden(override_: &OverrideShown, now: Timestamp) -> String {
    let mark = &override_.mark;
    let mut lines =
        vec![format!("{}  {}", paint(STRONG, "OVERRIDE"), mark_in_words(mark, now).trim_start_matches("override "))];
    let mut why = vec![format!("{}@{}", excerpt(&mark.user), excerpt(&mark.host))];
    why.extend(mark.reason.as_ref().map(|reason| format!("\"{}\"", excerpt(reason))));
    why.extend(mark.expires.map(|expires| format!("expires {}", time::short(expires, now))));
    lines.push(format!("  {}", why.join("   ")));
    let changes: Vec<&str> = override_.changes.iter().filter_map(|id| id.get(id.len().saturating_sub(4)..)).collect();
    lines.push(format!("  revision {}, of changes {}", override_.revision, list(&changes)));
    let mut table = Table::indented(2);
    let heading = [
        String::new(),
        format!("BEFORE v{}", override_.base_version),
        "OVERRIDE".to_owned(),
        format!("LAUNCHDARKLY v{} (newest seen)", override_.launchdarkly_version),
    ];
    table.row(heading.map(|heading| paint(FAINT, &heading)));
    for touched in &override_.touches {
        let words = [&touched.base, &touched.wanted, &touched.launchdarkly].map(|words| excerpt(words));
        let [base, wanted, launchdarkly] = words;
        table.row([touched.aspect.to_string(), base, wanted, launchdarkly]);
    }
    lines.push(table.to_string());
    if !override_.lacking.is_empty() {
        let lacking: Vec<String> = override_.lacking.iter().map(|name| excerpt(name)).collect();
        lines.push(format!("  {} no override beside its record: {}", paint(NOTICE, "NOT IN"), list(&lacking)));
    }
    lines.join("\n")
}

fn ended(shown: &Shown, now: Timestamp) -> Option<String> {
    let mark = shown.ended.as_ref()?;
    let version = mark.version.map(|version| format!(", LaunchDarkly has v{version}")).unwrap_or_default();
    let (by, at) = (excerpt(&mark.actor.user), time::short(mark.at, now));
    Some(format!("An override was {} by {by} {at}{version}.", mark.ending))
}

fn relays(shown: &Shown) -> Table {
    let mut table = Table::indented(2);
    for relay in &shown.relays {
        let filter = relay.filter.as_ref().map(|filter| format!(" filter {}", excerpt(filter))).unwrap_or_default();
        let name = format!("{}{filter}", excerpt(&relay.relay));
        if let Some(why) = &relay.not_asked {
            table.row([name, format!("not asked: {}", excerpt(why))]);
            continue;
        }
        let store = shown.copies.iter().find(|copy| copy.target == relay.target);
        let answer = |answer: &Option<Answer>| answer.as_ref().map(|told| served(told, store)).unwrap_or_default();
        let (stream, poll) = (answer(&relay.stream), answer(&relay.poll));
        table.row([name, format!("new connection: {stream}"), format!("poll: {poll}")]);
    }
    table
}

fn served(answer: &Answer, store: Option<&CopyShown>) -> String {
    let (told, text) = match answer {
        Answer::Failed { problem } => return paint(BAD, &excerpt(problem)),
        Answer::Served { told, text } => (told, text),
    };
    let short = format!("{} {}", told.state.word(), version(told));
    let relays = text.as_ref().and_then(|text| Record::parse(text.as_bytes()).ok());
    let Some((copy, stores)) = store.and_then(|copy| Some((copy, copy.parsed.as_ref()?))) else { return short };
    match relays {
        Some(relays) if relays.same_value(stores) => format!("{short}, as in {}", harmless(&copy.name)),
        _ => paint(NOTICE, &format!("{short}, NOT as in {}", harmless(&copy.name))),
    }
}

/// Whether a relay serves something else than the store behind it.
fn serves_otherwise(relay: &RelayShown, shown: &Shown) -> bool {
    let store = shown.copies.iter().find(|copy| copy.target == relay.target).and_then(|copy| copy.parsed.as_ref());
    let otherwise = |answer: &Option<Answer>| match (answer, store) {
        (Some(Answer::Served { text, .. }), Some(store)) => {
            let record = text.as_ref().and_then(|text| Record::parse(text.as_bytes()).ok());
            !record.is_some_and(|record| record.same_value(store))
        }
        _ => false,
    };
    otherwise(&relay.stream) || otherwise(&relay.poll)
}

fn playback(files: &[FileShown], now: Timestamp) -> Table {
    let mut table = Table::indented(2);
    for file in files {
        let damaged =
            file.damaged_line.map(|line| paint(BAD, &format!("; DAMAGED at line {line}"))).unwrap_or_default();
        let who = format!("{} {}", excerpt(&file.user), time::short(file.at, now));
        let name = harmless(&file.file.display().to_string()).into_owned();
        table.row([file.digits.clone(), who, format!("{}{damaged}", file.outcome), paint(FAINT, &name)]);
    }
    table
}

/// One line, and what to type next.
fn verdict(shown: &Shown, environment: &Environment, now: Timestamp) -> String {
    let place = format!("-p {} -e {}", environment.project, environment.key);
    let flag = &shown.flag;
    let named = |wanted: &dyn Fn(&CopyShown) -> bool| -> Vec<String> {
        shown.copies.iter().filter(|copy| wanted(copy)).map(|copy| harmless(&copy.name).into_owned()).collect()
    };
    let damaged = named(&|copy| copy.told.state == State::Damaged);
    if !damaged.is_empty() {
        return damaged_verdict(shown, &damaged, environment, &place);
    }
    let silent = named(&|copy| copy.not_read.is_some());
    let seen = if silent.is_empty() { String::new() } else { format!(" Not read: {}.", list(&silent)) };
    let relays = shown.relays.iter().filter(|relay| serves_otherwise(relay, shown));
    let mut relays: Vec<String> = relays.map(|relay| excerpt(&relay.relay)).collect();
    relays.dedup();
    let relays = if relays.is_empty() {
        String::new()
    } else {
        format!(" NOT what its store holds is served by {}.", list(&relays))
    };
    let Some(override_) = &shown.override_ else {
        if shown.copies.iter().all(|copy| !counts(copy) || copy.told.state == State::Deleted) {
            return format!(
                "{flag} is deleted in LaunchDarkly: its code serves its own default, and rc does not change it.{seen}"
            );
        }
        let others = named(&|copy| counts(copy) && (!copy.differs.is_empty() || copy.told.state == State::Missing));
        if others.is_empty() {
            return format!("{flag} is not overridden.{seen}{relays}");
        }
        return format!("{flag} is not overridden, and not the same in {}.{seen}{relays}", list(&others));
    };
    let held = named(&|copy| copy.written_by == Some(Author::Override));
    let there = |copy: &CopyShown| counts(copy) && copy.told.state != State::Missing;
    let lost = named(&|copy| there(copy) && copy.written_by != Some(Author::Override));
    let mut line =
        format!("{flag} is overridden in {}", if held.is_empty() { "no store".to_owned() } else { list(&held) });
    if !lost.is_empty() {
        line.push_str(&format!(", NOT in {}", list(&lost)));
    }
    if override_.mark.expires.is_some_and(|expires| expires <= now) {
        line.push_str("; it was to be looked at again by now");
    }
    let mut next = Vec::new();
    match &override_.mark.state {
        OverrideState::Replayed { version } => {
            line.push_str(&format!("; in LaunchDarkly as v{version}.{seen}{relays}"))
        }
        OverrideState::InForce | OverrideState::AwaitingApproval { .. } => {
            line.push_str(&format!("; owed to LaunchDarkly.{seen}{relays}"));
            // A colleague's change can only be resumed where its file is.
            let is_here = shown.playback.iter().any(|file| file.digits == override_.mark.digits);
            if is_here && (!lost.is_empty() || !silent.is_empty()) {
                next.push(format!("Again everywhere:         rc update --resume {}", override_.mark.digits));
            }
            next.push(format!("LaunchDarkly is back:     rc replay {place} -f {flag}"));
            next.push(format!("To take it back:          rc undo {place} {flag}"));
        }
    }
    next.insert(0, line);
    next.join("\n")
}

fn damaged_verdict(shown: &Shown, damaged: &[String], environment: &Environment, place: &str) -> String {
    let flag = &shown.flag;
    let problem = shown.copies.iter().find_map(|copy| copy.told.problem.as_ref());
    let problem = problem.map(|problem| excerpt(problem)).unwrap_or_default();
    let mut lines = vec![
        paint(BAD, &format!("{flag} is DAMAGED in {}: {problem}.", list(damaged))),
        format!("Relays on such a store answer 500 for ALL flags of {environment}; SDKs that connect now get nothing."),
    ];
    let mendable = |copy: &CopyShown| copy.told.state != State::Damaged || copy.can_be_repaired;
    if shown.copies.iter().all(mendable) {
        lines.push(format!("To write it correctly (or -s on):  rc update {place} -f {flag} -s off --repair"));
    } else {
        lines.push(format!("rc does not write over that. Look at it:  rc show {place} {flag} --raw"));
        lines.push("LaunchDarkly sends it anew when a relay's stream connects; till then, put back the record of a healthy store.".to_owned());
    }
    lines.join("\n")
}
