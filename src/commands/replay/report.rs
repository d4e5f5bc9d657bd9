//! The report of a replay: what came of everything, for people and as JSON. Data in, text out.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::change::target::Target;
use crate::commands::replay::decide;
use crate::commands::replay::outcome::Done;
use crate::commands::replay::outcome::Outcome;
use crate::commands::replay::outcome::StrayDone;
use crate::commands::replay::outcome::StrayOutcome;
use crate::commands::replay::outcome::Way;
use crate::commands::replay::plan::Left;
use crate::commands::replay::problem::Problem;
use crate::commands::replay::stores::Came;
use crate::commands::replay::strays::expired_in_words;
use crate::commands::replay::words;
use crate::error::ExitCode;
use crate::flag::key::Environment;
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
    /// The environments that somebody else replays at this moment.
    pub others: BTreeSet<Environment>,
}

impl Report {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        let parts = self.done.iter().map(Done::code).chain(self.strays.iter().map(StrayDone::code));
        // Something was done, though it stays owed, or another edit of it does.
        let did = self.done.iter().filter(|done| done.did_something());
        let parts = parts.chain(did.map(|_| ExitCode::Done));
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
            let would_be = self.dry_run && stray.outcome == StrayOutcome::GivenUp;
            table.row([name, if would_be { "would be given up".to_owned() } else { stray_told(stray) }]);
        }
        table.to_string()
    }

    /// What it all comes to, and what to type next.
    pub fn verdict(&self) -> String {
        let mut lines = Vec::new();
        let owed: Vec<&Done> = self.done.iter().filter(|done| done.outcome.is_owed()).collect();
        let undecided: Vec<&StrayDone> = self.strays.iter().filter(|stray| stray.code() != ExitCode::Done).collect();
        let newer: Vec<&Done> = self.done.iter().filter(|done| !done.outcome.is_owed() && done.has_newer()).collect();
        let behind: Vec<&Done> =
            self.done.iter().filter(|done| !done.outcome.is_owed() && done.behind().next().is_some()).collect();
        for problem in &self.problems {
            lines.push(format!("  {}: {}", harmless(&problem.what), harmless(&problem.why)));
        }
        let number = owed.len() + undecided.len() + newer.len();
        for (done, told) in self.done.iter().filter_map(|done| Some((done, done.left_behind.as_ref()?))) {
            let name = words::name(&done.subject, self.several());
            lines.push(paint(NOTICE, &format!("  {name}: {}", harmless(told))));
        }
        lines.push(match (number, self.dry_run) {
            (0, true) => paint(STRONG, "NOTHING DONE: that was a rehearsal. To do it: rc replay"),
            (number, true) => paint(
                NOTICE,
                &format!("NOTHING DONE: that was a rehearsal. {number} would stay owed. To do it: rc replay"),
            ),
            (0, false) if behind.is_empty() && self.problems.is_empty() => {
                paint(GOOD, &format!("DONE: nothing is owed to LaunchDarkly any more.{}", self.moved_words()))
            }
            (0, false) if behind.iter().any(|done| was_ended_meanwhile(done)) => {
                paint(BAD, "PARTLY DONE: LaunchDarkly has what somebody else took back here meanwhile.")
            }
            (0, false) => paint(NOTICE, "PARTLY DONE: LaunchDarkly has all that could be seen.  Again: rc replay"),
            (number, false) if owed.is_empty() => paint(BAD, &format!("{number} OWED.")),
            (number, false) => {
                let told = "Until then relays without a guard serve what LaunchDarkly says.";
                format!("{} {told}", paint(BAD, &format!("{number} OWED.")))
            }
        });
        let several = self.several();
        let mut table = Table::indented(2);
        for done in owed {
            let left = match &done.outcome {
                Outcome::Requested(approval) => decide::waits(Some(approval)),
                Outcome::Left(left) => left.clone(),
                _ => continue,
            };
            table.row([words::name(&done.subject, several), next(&left)]);
        }
        for stray in undecided {
            table.row([words::name(&stray.subject, several), way_out(stray)]);
        }
        for done in newer {
            let next = format!("another edit of it is owed: {}", words::command_for(&done.subject, ""));
            table.row([words::name(&done.subject, several), next]);
        }
        for done in behind {
            table.row([words::name(&done.subject, several), behind_in_words(done)]);
        }
        for (done, page) in self.done.iter().flat_map(|done| done.still_open.iter().map(move |page| (done, page))) {
            let told = format!("an approval request of an earlier edit is still open: decline {}", harmless(page));
            table.row([words::name(&done.subject, several), told]);
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

/// What can be done about an edit of which nobody knows what became.
fn way_out(stray: &StrayDone) -> String {
    let StrayOutcome::Undecided { way, .. } = &stray.outcome else { return String::new() };
    let (environment, flag) = &stray.subject;
    let place = format!("-p {} -e {}", environment.project, environment.key);
    let over = format!("if it is over: {}", words::command_for(&stray.subject, "--on-conflict launchdarkly"));
    match way {
        Way::GiveUp => over,
        Way::Resume => format!("to write it: rc update --resume {}   {over}", stray.change.short()),
        Way::Undo => format!("to put LaunchDarkly's record back: rc undo {flag} {place}"),
        Way::Again => "rc replay again".to_owned(),
        Way::Look => format!("rc show {flag} {place}"),
    }
}

/// Whether LaunchDarkly has an override that somebody ended in a store while it was sent.
fn was_ended_meanwhile(done: &Done) -> bool {
    done.outcome.version().is_some() && done.stores.values().any(|came| matches!(came, Came::Ended(_)))
}

/// The targets of an override that LaunchDarkly has, or that is over, which are not as they should be.
fn behind_in_words(done: &Done) -> String {
    let told = |(target, came): (&Target, &Came)| format!("{target} {}", came_in_words(came));
    let why = list(&done.behind().map(told).collect::<Vec<_>>());
    if was_ended_meanwhile(done) {
        return harmless(&format!("{why}; but LaunchDarkly has it: to take it back, change it in LaunchDarkly"))
            .into_owned();
    }
    harmless(&format!("{why}: rc replay again")).into_owned()
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
        Outcome::Had { version, since } => {
            format!("LaunchDarkly has had {wish} as v{version}, and has {since}; not sent again")
        }
        Outcome::Before { version } => format!("{wish} in LaunchDarkly as v{version} before"),
        Outcome::Nothing => "nothing to send; LaunchDarkly's record is back".to_owned(),
        Outcome::Abandoned { why } => format!("given up: {}", harmless(why)),
        Outcome::Requested(approval) => {
            let page = approval.link.as_deref().unwrap_or(&approval.id);
            format!("{}: {}", paint(NOTICE, "waits"), harmless(page))
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
        Outcome::WouldRequest => "an approval would be asked for".to_owned(),
    }
}

fn rehearsed(done: &Done) -> String {
    match &done.outcome {
        Outcome::Valid => paint(GOOD, "LaunchDarkly would take it"),
        Outcome::Already { .. } => "already so".to_owned(),
        Outcome::Nothing => "nothing to send; LaunchDarkly's record would go back".to_owned(),
        Outcome::Abandoned { why } => format!("would be given up: {}", harmless(why)),
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
    let over = number(|came| matches!(came, Came::Settled | Came::PutBack));
    if over > 0 {
        parts.push(format!("{over}/{total} settled"));
    }
    let without = number(|came| matches!(came, Came::Nothing));
    if without > 0 {
        parts.push(format!("{without}/{total} had nothing of it left"));
    }
    let held = number(|came| matches!(came, Came::Held));
    if held > 0 {
        parts.push(format!("{held}/{total} hold it until LaunchDarkly's stream shows it"));
    }
    let newer = number(|came| matches!(came, Came::Newer));
    if newer > 0 {
        parts.push(format!("{newer}/{total} have another edit, which stays owed"));
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
        Came::Ended(how) => how.clone(),
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
        StrayOutcome::Ended { mark, expired } => {
            let (who, when) = (harmless(&mark.actor.user), time::full(mark.at));
            let (expired, ending) = (expired_in_words(*expired), mark.ending);
            let sent = if expired.is_empty() { "" } else { "; not sent" };
            format!("over: {expired}{ending} by {who} {when}, says the store{sent}")
        }
        StrayOutcome::Replayed { version } => format!("LaunchDarkly has it as v{version}"),
        StrayOutcome::InAuditLog(entry) => format!("LaunchDarkly has it, says its audit log: {entry}"),
        StrayOutcome::Theirs { version } => {
            format!("nothing to send: LaunchDarkly has it so by itself, as v{version}, and that is what stands there")
        }
        StrayOutcome::Nowhere => {
            format!("stands in no store, so nothing is owed. To write it: rc update --resume {}", stray.change.short())
        }
        StrayOutcome::Superseded { by } => format!("over: stands in no store, and change {} came after it", by.short()),
        StrayOutcome::GivenUp => "given up".to_owned(),
        StrayOutcome::Undone(targets) => {
            let stores: Vec<String> = targets.iter().map(|target| target.store.clone()).collect();
            format!("the undo is finished: nothing of it is left in {}", list(&stores))
        }
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
    /// `replayed`, `already-so`, `changed-since` (LaunchDarkly has had it), `replayed-before`, `nothing-to-send`,
    /// `abandoned`, `awaiting-approval`, `owed`; in a rehearsal `valid`, `would-request`.
    outcome: &'static str,
    /// LaunchDarkly's version, where it has it.
    version: Option<u64>,
    /// Why it stays owed, or was given up.
    why: Option<String>,
    /// What to type, or where to look.
    next: Option<String>,
    /// SDKs that may hold a version of ours which LaunchDarkly has not reached, and what heals that.
    left_behind: Option<String>,
    changes: Vec<String>,
    /// Whether a key here signed it as it is; null where there is none, or LaunchDarkly was not asked about it.
    signed: Option<bool>,
    /// Approval requests of earlier edits that are still open in LaunchDarkly: pages, or ids.
    open_approvals: Vec<String>,
    stores: Vec<StoreJson>,
}

#[derive(Debug, Serialize)]
struct StoreJson {
    store: String,
    prefix: String,
    /// `settled`, `held`, `newer`, `put-back`, `awaits-approval`, `nothing-to-do`, `ended`, `not`, `silent`.
    outcome: &'static str,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct ChangeJson {
    environment: String,
    flag: String,
    change: String,
    /// `ended`, `replayed`, `in-audit-log`, `nowhere`, `given-up`, `undone`, `undecided`.
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
        Outcome::Had { since, .. } => ("changed-since", Some(since.clone()), None),
        Outcome::Before { .. } => ("replayed-before", None, None),
        Outcome::Nothing => ("nothing-to-send", None, None),
        Outcome::Abandoned { why } => ("abandoned", Some(why.clone()), None),
        Outcome::Requested(approval) => ("awaiting-approval", None, approval.link.clone()),
        Outcome::Left(left) if left.waits => ("awaiting-approval", Some(left.why.clone()), left.next.clone()),
        Outcome::Left(left) => ("owed", Some(left.why.clone()), left.next.clone()),
        Outcome::Valid => ("valid", None, None),
        Outcome::WouldRequest => ("would-request", None, None),
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
        left_behind: done.left_behind.clone(),
        changes: done.override_.changes.iter().map(ToString::to_string).collect(),
        signed: done.vouched.is_signed(),
        open_approvals: done.still_open.clone(),
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
        Came::Ended(_) => "ended",
        Came::Not(_) => "not",
        Came::Silent => "silent",
    };
    let why = match came {
        Came::Not(why) | Came::Ended(why) => Some(why.clone()),
        _ => None,
    };
    StoreJson { store: target.store.clone(), prefix: target.prefix.clone(), outcome, why }
}

fn change_json(stray: &StrayDone) -> ChangeJson {
    let (outcome, why) = match &stray.outcome {
        StrayOutcome::Ended { mark, expired } => {
            ("ended", Some(format!("{}{}", expired_in_words(*expired), mark.ending)))
        }
        StrayOutcome::Replayed { .. } => ("replayed", None),
        StrayOutcome::InAuditLog(entry) => ("in-audit-log", Some(entry.clone())),
        StrayOutcome::Theirs { .. } => ("already-so", None),
        StrayOutcome::Nowhere => ("nowhere", None),
        StrayOutcome::Superseded { by } => ("superseded", Some(by.to_string())),
        StrayOutcome::GivenUp => ("given-up", None),
        StrayOutcome::Undone(_) => ("undone", None),
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
