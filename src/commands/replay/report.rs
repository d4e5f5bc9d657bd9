//! The report of a replay: what came of everything, for people and as JSON. Data in, text out.

use serde::Serialize;

use crate::commands::replay::carrying_out::requested;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::outcome::Outcome;
use crate::commands::replay::outcome::StrayDone;
use crate::commands::replay::outcome::StrayOutcome;
use crate::commands::replay::plan::Left;
use crate::commands::replay::stores::Came;
use crate::commands::replay::words;
use crate::error::ExitCode;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;

/// Everything that came of a replay.
#[derive(Debug, Default)]
pub struct Report {
    /// Only a rehearsal.
    pub dry_run: bool,
    /// Overrides.
    pub done: Vec<Done>,
    /// Edits without an override.
    pub strays: Vec<StrayDone>,
    /// What could not be looked at: environments, stores, overrides, files.
    pub problems: Vec<Problem>,
    /// How many changes were moved to `playback/replayed/`.
    pub moved: usize,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which environment, store or file.
    pub what: String,
    /// What is wrong.
    pub why: String,
    /// Its part in the exit code.
    #[serde(skip)]
    pub code: Option<ExitCode>,
}

impl Report {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        let parts = self.done.iter().map(Done::code).chain(self.strays.iter().map(StrayDone::code));
        crate::error::merge(parts.chain(self.problems.iter().filter_map(|problem| problem.code)))
    }

    fn several(&self) -> bool {
        let mut environments = self.done.iter().map(|done| &done.subject.0);
        let first = environments.next();
        environments.any(|environment| Some(environment) != first)
    }

    /// One line for each flag, and one for each edit without an override.
    pub fn lines(&self) -> String {
        let several = self.several();
        let mut table = Table::indented(2);
        for done in &self.done {
            let told = if self.dry_run { rehearsed(done) } else { told(done) };
            let stores = if self.dry_run { String::new() } else { stores(done) };
            table.row([words::name(&done.subject, several), told, stores]);
        }
        for stray in &self.strays {
            let name = format!("{} ({})", words::name(&stray.subject, several), stray.change.short());
            table.row([name, stray_told(stray)]);
        }
        table.to_string()
    }

    /// What it all comes to, and what to type next.
    pub fn verdict(&self) -> String {
        let mut lines = Vec::new();
        let owed: Vec<&Done> = self.done.iter().filter(|done| done.outcome.is_owed()).collect();
        let undecided: Vec<&StrayDone> = self.strays.iter().filter(|stray| stray.code() != ExitCode::Done).collect();
        let behind: Vec<&Done> =
            self.done.iter().filter(|done| !done.outcome.is_owed() && done.behind().next().is_some()).collect();
        for problem in &self.problems {
            lines.push(format!("  {}: {}", harmless(&problem.what), harmless(&problem.why)));
        }
        let number = owed.len() + undecided.len();
        lines.push(match (number, self.dry_run) {
            (0, true) => paint(STRONG, "NOTHING DONE: that was a rehearsal. To do it: rc replay"),
            (number, true) => paint(
                NOTICE,
                &format!("NOTHING DONE: that was a rehearsal. {number} would stay owed. To do it: rc replay"),
            ),
            (0, false) if behind.is_empty() && self.problems.is_empty() => {
                paint(GOOD, &format!("DONE: nothing is owed to LaunchDarkly any more.{}", self.moved_words()))
            }
            (0, false) => paint(NOTICE, "PARTLY DONE: LaunchDarkly has all that could be seen.  Again: rc replay"),
            (number, false) => paint(BAD, &format!("{number} OWED.")),
        });
        let several = self.several();
        let mut table = Table::indented(2);
        for done in owed {
            let left = match &done.outcome {
                Outcome::Requested(approval) => requested(approval),
                Outcome::Left(left) => left.clone(),
                _ => continue,
            };
            table.row([words::name(&done.subject, several), next(&left)]);
        }
        for stray in undecided {
            let next = words::command_for(&stray.subject, "--on-conflict launchdarkly");
            table.row([words::name(&stray.subject, several), format!("if it is over: {next}")]);
        }
        for done in behind {
            let why: Vec<String> =
                done.behind().map(|(target, came)| format!("{target} {}", came_in_words(came))).collect();
            table.row([words::name(&done.subject, several), format!("{}: rc replay again", list(&why))]);
        }
        if !table.is_empty() {
            lines.push(table.to_string());
        }
        lines.join("\n")
    }

    fn moved_words(&self) -> String {
        match self.moved {
            0 => String::new(),
            moved => format!(" {} moved to replayed/.", count(moved, "change")),
        }
    }
}

fn next(left: &Left) -> String {
    let mut parts: Vec<&str> = left.next.iter().map(String::as_str).collect();
    for hint in left.failure.iter().flat_map(|failure| &failure.hints) {
        if !parts.contains(&hint.as_str()) {
            parts.push(hint);
        }
    }
    let text = parts.join("  ");
    if text.is_empty() { "rc replay again".to_owned() } else { text }
}

fn told(done: &Done) -> String {
    let wish = harmless(&done.wish).into_owned();
    match &done.outcome {
        Outcome::Replayed { version, more } => {
            let more = if *more { "; somebody else changed it too" } else { "" };
            format!("{wish} in LaunchDarkly v{version}{more}")
        }
        Outcome::Already { version } => format!("{wish} in LaunchDarkly v{version}, already so"),
        Outcome::Before { version } => format!("{wish} in LaunchDarkly as v{version} before"),
        Outcome::Nothing => "nothing to send; LaunchDarkly's record is back".to_owned(),
        Outcome::Abandoned { why } => format!("given up: {why}"),
        Outcome::Requested(approval) => {
            format!("{}: {}", paint(NOTICE, "waits"), approval.link.as_deref().unwrap_or(&approval.id))
        }
        Outcome::Left(left) if left.waits => {
            format!("{}: {}", paint(NOTICE, "waits"), left.why)
        }
        Outcome::Left(left) => {
            let causes: Vec<String> = left.failure.iter().flat_map(|failure| failure.causes.clone()).collect();
            let why = std::iter::once(left.why.clone()).chain(causes).collect::<Vec<_>>().join(": ");
            format!("{}: {}", paint(NOTICE, "OWED"), harmless(&why))
        }
        Outcome::Valid => "LaunchDarkly would take it".to_owned(),
    }
}

fn rehearsed(done: &Done) -> String {
    match &done.outcome {
        Outcome::Valid => paint(GOOD, "LaunchDarkly would take it"),
        Outcome::Already { .. } => "already so".to_owned(),
        Outcome::Nothing => "nothing to send; LaunchDarkly's record would go back".to_owned(),
        Outcome::Abandoned { why } => format!("would be given up: {why}"),
        _ => told(done),
    }
}

/// `stores 4/4 settled`.
fn stores(done: &Done) -> String {
    let total = done.stores.len();
    if total == 0 {
        return String::new();
    }
    let number = |wanted: fn(&Came) -> bool| done.stores.values().filter(|came| wanted(came)).count();
    let mut parts = Vec::new();
    let over = number(|came| matches!(came, Came::Settled | Came::PutBack | Came::Nothing));
    if over > 0 {
        let word = if matches!(done.outcome, Outcome::Requested(_)) { "without it" } else { "settled" };
        parts.push(format!("{over}/{total} {word}"));
    }
    let held = number(|came| matches!(came, Came::Held));
    if held > 0 {
        parts.push(format!("{held}/{total} hold it until LaunchDarkly's stream shows it"));
    }
    let newer = number(|came| matches!(came, Came::Newer));
    if newer > 0 {
        parts.push(format!("{newer}/{total} have a newer edit, which stays owed"));
    }
    let awaits = number(|came| matches!(came, Came::Awaits));
    if awaits > 0 {
        parts.push(format!("{awaits}/{total} hold it until it is approved"));
    }
    for (target, came) in done.behind() {
        parts.push(format!("{} {}", paint(NOTICE, &target.store), harmless(&came_in_words(came))));
    }
    format!("stores {}", parts.join(", "))
}

fn came_in_words(came: &Came) -> String {
    match came {
        Came::Not(why) => format!("not: {why}"),
        Came::Silent => "did not answer".to_owned(),
        Came::Settled => "settled".to_owned(),
        Came::Held => "held".to_owned(),
        Came::Newer => "newer".to_owned(),
        Came::PutBack => "put back".to_owned(),
        Came::Awaits => "awaits approval".to_owned(),
        Came::Nothing => "nothing to do".to_owned(),
    }
}

fn stray_told(stray: &StrayDone) -> String {
    match &stray.outcome {
        StrayOutcome::Ended(mark) => {
            format!("over: {} by {} {}, says the store", mark.ending, harmless(&mark.actor.user), time::full(mark.at))
        }
        StrayOutcome::Replayed { version } => format!("LaunchDarkly has it as v{version}"),
        StrayOutcome::InAuditLog(entry) => format!("LaunchDarkly has it, says its audit log: {entry}"),
        StrayOutcome::Nowhere => {
            format!("was written nowhere, so nothing is owed. To write it: rc update --resume {}", stray.change.short())
        }
        StrayOutcome::GivenUp => "given up".to_owned(),
        StrayOutcome::Undecided { why, .. } => format!("{}: {}", paint(NOTICE, "OWED?"), harmless(why)),
    }
}

/// The report as JSON: `rc replay --json` prints one such object on a line.
#[derive(Debug, Serialize)]
pub struct ReportJson {
    /// `replay`.
    command: &'static str,
    /// Whether nothing was done.
    dry_run: bool,
    /// Overrides, owed or replayed.
    flags: Vec<FlagJson>,
    /// Changes in the playback that are part of no override.
    changes: Vec<ChangeJson>,
    /// What could not be looked at.
    problems: Vec<Problem>,
    /// How many changes were moved to `playback/replayed/`.
    moved: usize,
    /// The exit code.
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct FlagJson {
    environment: String,
    flag: String,
    /// What the override asks for, in words.
    r#override: String,
    /// What LaunchDarkly had, in words.
    launchdarkly: Option<String>,
    /// `replayed`, `already-so`, `replayed-before`, `nothing-to-send`, `abandoned`, `awaiting-approval`, `owed`, `valid`.
    outcome: &'static str,
    /// LaunchDarkly's version, where it has it.
    version: Option<u64>,
    /// Why it stays owed, or was given up.
    why: Option<String>,
    /// What to type, or where to look.
    next: Option<String>,
    changes: Vec<String>,
    stores: Vec<StoreJson>,
}

#[derive(Debug, Serialize)]
struct StoreJson {
    store: String,
    prefix: String,
    /// `settled`, `held`, `newer`, `put-back`, `awaits-approval`, `nothing-to-do`, `not`, `silent`.
    outcome: &'static str,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct ChangeJson {
    environment: String,
    flag: String,
    change: String,
    /// `ended`, `replayed`, `in-audit-log`, `nowhere`, `given-up`, `undecided`.
    outcome: &'static str,
    why: Option<String>,
}

impl Report {
    /// As JSON.
    pub fn json(&self) -> ReportJson {
        ReportJson {
            command: "replay",
            dry_run: self.dry_run,
            flags: self.done.iter().map(flag_json).collect(),
            changes: self.strays.iter().map(change_json).collect(),
            problems: self.problems.clone(),
            moved: self.moved,
            exit_code: self.code().number(),
        }
    }
}

fn flag_json(done: &Done) -> FlagJson {
    let (outcome, why, next) = match &done.outcome {
        Outcome::Replayed { .. } => ("replayed", None, None),
        Outcome::Already { .. } => ("already-so", None, None),
        Outcome::Before { .. } => ("replayed-before", None, None),
        Outcome::Nothing => ("nothing-to-send", None, None),
        Outcome::Abandoned { why } => ("abandoned", Some(why.clone()), None),
        Outcome::Requested(approval) => ("awaiting-approval", None, approval.link.clone()),
        Outcome::Left(left) if left.waits => ("awaiting-approval", Some(left.why.clone()), left.next.clone()),
        Outcome::Left(left) => ("owed", Some(left.why.clone()), left.next.clone()),
        Outcome::Valid => ("valid", None, None),
    };
    FlagJson {
        environment: done.subject.0.to_string(),
        flag: done.subject.1.to_string(),
        r#override: done.wish.clone(),
        launchdarkly: done.now.clone(),
        outcome,
        version: done.outcome.version(),
        why,
        next,
        changes: done.override_.changes.iter().map(ToString::to_string).collect(),
        stores: done.stores.iter().map(|(target, came)| store_json(target, came)).collect(),
    }
}

fn store_json(target: &crate::change::target::Target, came: &Came) -> StoreJson {
    let outcome = match came {
        Came::Settled => "settled",
        Came::Held => "held",
        Came::Newer => "newer",
        Came::PutBack => "put-back",
        Came::Awaits => "awaits-approval",
        Came::Nothing => "nothing-to-do",
        Came::Not(_) => "not",
        Came::Silent => "silent",
    };
    let why = if let Came::Not(why) = came { Some(why.clone()) } else { None };
    StoreJson { store: target.store.clone(), prefix: target.prefix.clone(), outcome, why }
}

fn change_json(stray: &StrayDone) -> ChangeJson {
    let (outcome, why) = match &stray.outcome {
        StrayOutcome::Ended(mark) => ("ended", Some(mark.ending.to_string())),
        StrayOutcome::Replayed { .. } => ("replayed", None),
        StrayOutcome::InAuditLog(entry) => ("in-audit-log", Some(entry.clone())),
        StrayOutcome::Nowhere => ("nowhere", None),
        StrayOutcome::GivenUp => ("given-up", None),
        StrayOutcome::Undecided { why, .. } => ("undecided", Some(why.clone())),
    };
    ChangeJson {
        environment: stray.subject.0.to_string(),
        flag: stray.subject.1.to_string(),
        change: stray.change.to_string(),
        outcome,
        why,
    }
}
