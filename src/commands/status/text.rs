//! The report as one screen for people. It decides nothing; whatever came from stores, relays, the playback or LaunchDarkly
//! is made harmless here.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::commands::status::report::ApiState;
use crate::commands::status::report::EnvironmentReport;
use crate::commands::status::report::GuardState;
use crate::commands::status::report::OverrideReport;
use crate::commands::status::report::RelayReport;
use crate::commands::status::report::Report;
use crate::commands::status::report::StreamState;
use crate::commands::status::report::TargetReport;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::FAINT;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;

/// The screen.
pub(super) fn of(report: &Report) -> String {
    let now = report.at.unwrap_or(Timestamp::UNIX_EPOCH);
    let mut lines = vec![launchdarkly(report), targets(report)];
    for environment in &report.environments {
        lines.extend(overrides(environment, now));
    }
    lines.extend(attention(report));
    lines.push(String::new());
    lines.push(owed(report));
    let home = match &report.home {
        Some(home) => format!("home {}", harmless(home)),
        None => "no home (settings from the environment)".to_owned(),
    };
    lines.push(paint(FAINT, &format!("{}  {home}", time::clock(now))));
    lines.join("\n")
}

fn launchdarkly(report: &Report) -> String {
    let api = &report.launchdarkly.api;
    let stream = &report.launchdarkly.stream;
    let api_style = match api.state {
        ApiState::Answers => GOOD,
        ApiState::NotAsked => NOTICE,
        ApiState::TokenRefused | ApiState::Failing | ApiState::NoAnswer => BAD,
    };
    let stream_style = match stream.state {
        StreamState::Connected => GOOD,
        StreamState::NotKnown => NOTICE,
        StreamState::Away | StreamState::Mixed => BAD,
    };
    let mut table = Table::new();
    table.row([paint(STRONG, "LAUNCHDARKLY"), "api".to_owned(), paint(api_style, &excerpt(&api.told))]);
    table.row([String::new(), "stream".to_owned(), paint(stream_style, &harmless(&stream.told))]);
    table.to_string()
}

fn targets(report: &Report) -> String {
    let environments: BTreeSet<_> = report.targets.iter().map(environment_of).collect();
    let several = environments.len() > 1;
    let with_guards = report.targets.iter().any(|target| target.guard != GuardState::None);
    let mut table = Table::new();
    let mut header = vec!["STORE", "HOLDS", "RELAY", "WHEN LAUNCHDARKLY RETURNS"];
    if with_guards {
        header.insert(3, "GUARD");
    }
    if several {
        header.insert(1, "ENVIRONMENT");
    }
    table.row(header.into_iter().map(|cell| paint(STRONG, cell)));
    for target in &report.targets {
        let label = match (&target.prefix, target.filter_copy) {
            (Some(prefix), true) => format!("{} {}", target.store, harmless(prefix)),
            _ => target.store.clone(),
        };
        let on_return = harmless(&target.on_return_told);
        let is_bad = on_return.contains("LOST") || on_return.contains("not written");
        let on_return = if is_bad { paint(BAD, &on_return) } else { on_return.into_owned() };
        let mut row = vec![label, holds(target), relays(target), on_return];
        if with_guards {
            row.insert(3, guard(target.guard));
        }
        if several {
            row.insert(1, environment_of(target));
        }
        table.row(row);
    }
    let mut lines = vec![table.to_string()];
    let problems: BTreeSet<String> = report
        .targets
        .iter()
        .filter_map(|target| Some(format!("  {}: {}", target.store, excerpt(target.problem.as_ref()?))))
        .collect();
    lines.extend(problems);
    lines.join("\n")
}

fn environment_of(target: &TargetReport) -> String {
    match (&target.environment, &target.prefix) {
        (Some(environment), _) => environment.clone(),
        (None, Some(prefix)) => format!("? ({})", harmless(prefix)),
        (None, None) => "?".to_owned(),
    }
}

fn holds(target: &TargetReport) -> String {
    if target.problem.is_some() {
        return paint(BAD, "NO ANSWER");
    }
    let flags = target.flags.map(|flags| count(usize::try_from(flags).unwrap_or(usize::MAX), "flag"));
    let flags = flags.unwrap_or_default();
    match target.filled {
        Some(true) => flags,
        Some(false) => paint(BAD, &format!("{flags}, NOT FILLED: relays take it for empty")),
        None => paint(BAD, "no flags"),
    }
}

fn relays(target: &TargetReport) -> String {
    if target.relays.is_empty() {
        return paint(FAINT, "none known");
    }
    let one = |relay: &RelayReport| {
        let version = relay.version.as_deref().map(|version| format!("{} ", excerpt(version))).unwrap_or_default();
        let name = if relay.relay == target.store { String::new() } else { format!("{} ", relay.relay) };
        let style = if relay.cut_off == Some(false) { GOOD } else { BAD };
        format!("{name}{version}{}", paint(style, &relay.told))
    };
    target.relays.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn guard(state: GuardState) -> String {
    match state {
        GuardState::None => "none".to_owned(),
        GuardState::Holds => paint(GOOD, "holds"),
        GuardState::NotOn => paint(BAD, "not on it"),
        GuardState::NotKnown => paint(NOTICE, "not known"),
        GuardState::LooksOn => "looks on".to_owned(),
        GuardState::Watches => paint(NOTICE, "store only"),
    }
}

fn overrides(environment: &EnvironmentReport, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(problem) = &environment.problem {
        lines.push(String::new());
        let told = format!("{} NOT LOOKED AT: {}", environment.environment, excerpt(problem));
        lines.push(format!("{}  rc doctor tells more", paint(BAD, &told)));
    }
    if let Some(told) = &environment.told {
        lines.push(paint(FAINT, &harmless(told)));
    }
    if let Some(replaying) = &environment.replaying {
        let told = format!("BEING REPLAYED {}: {}", environment.environment, harmless(&replaying.told));
        lines.extend([String::new(), paint(NOTICE, &told)]);
    }
    if !environment.overrides.is_empty() {
        lines.extend(in_force(environment, now));
    }
    if !environment.left_behind.is_empty() {
        lines.extend([String::new(), paint(STRONG, &format!("SDKS LEFT BEHIND {}", environment.environment))]);
    }
    for one in &environment.left_behind {
        lines.push(format!("  {}", paint(NOTICE, &format!("{}: {}", one.flag, harmless(&one.told)))));
    }
    lines
}

fn in_force(environment: &EnvironmentReport, now: Timestamp) -> Vec<String> {
    let mut lines = vec![String::new(), paint(STRONG, &format!("OVERRIDES {}", environment.environment))];
    let mut table = Table::new();
    for one in &environment.overrides {
        table.row([
            one.flag.clone(),
            excerpt(&one.comes_to),
            places(one),
            who(one, now),
            one.change.clone(),
            expiry(one, now),
        ]);
    }
    lines.push(table.to_string());
    for one in &environment.overrides {
        lines.extend(more(one));
    }
    lines
}

fn places(one: &OverrideReport) -> String {
    let mut parts = Vec::new();
    if !one.in_force.is_empty() {
        parts.push(harmless(&one.in_force.join(" ")).into_owned());
    }
    if !one.not_in_force.is_empty() {
        parts.push(paint(BAD, &format!("NOT {}", harmless(&one.not_in_force.join(" ")))));
    }
    if !one.not_known.is_empty() {
        parts.push(paint(NOTICE, &format!("not known: {}", harmless(&one.not_known.join(" ")))));
    }
    parts.join(", ")
}

fn who(one: &OverrideReport, now: Timestamp) -> String {
    let when = one.when.map(|when| time::short(when, now)).unwrap_or_default();
    let incident = one.incident.as_deref().map(|incident| format!(" {}", excerpt(incident))).unwrap_or_default();
    format!("{} {when}{incident}", excerpt(&one.by))
}

fn expiry(one: &OverrideReport, now: Timestamp) -> String {
    match one.expires {
        Some(at) if one.expired => paint(BAD, &format!("EXPIRED {}", time::short(at, now))),
        Some(at) => format!("expires {}", time::short(at, now)),
        None => "no expiry".to_owned(),
    }
}

/// What does not fit into the row of an override.
fn more(one: &OverrideReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(version) = one.replayed_as {
        lines.push(format!(
            "  {}: in LaunchDarkly as v{version}; held until its stream shows it. Nothing is owed.",
            one.flag
        ));
    }
    if let Some(approval) = &one.approval {
        let told = match &approval.told {
            Some(told) => excerpt(told),
            None => "LaunchDarkly did not say how it stands".to_owned(),
        };
        let link = approval.link.as_deref().unwrap_or(&approval.request);
        lines.push(format!("  {}: awaiting approval ({told}): {}", one.flag, excerpt(link)));
    }
    if one.signed == Some(false) && one.replayed_as.is_none() {
        let told = format!("{}: NOT SIGNED WITH YOUR KEY: whoever can write the store may have made it", one.flag);
        lines.push(format!("  {}", paint(BAD, &told)));
    }
    for told in &one.guards_say {
        lines.push(format!("  {}", paint(BAD, &format!("{}: {}", one.flag, excerpt(told)))));
    }
    for told in &one.left_behind {
        lines.push(format!("  {}", paint(NOTICE, &format!("{}: {}", one.flag, harmless(told)))));
    }
    for aside in &one.put_aside {
        let told = format!("{}: will be put aside by the next write: {}", one.flag, excerpt(aside));
        lines.push(format!("  {}", paint(NOTICE, &told)));
    }
    lines
}

/// What is not as it should be: records, playback, and what could not be looked at.
fn attention(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for record in &report.damaged_records {
        let place = if record.prefix.is_empty() { String::new() } else { format!(" {}", harmless(&record.prefix)) };
        let told = format!("DAMAGED {}{place} {}: {}", record.store, harmless(&record.flag), excerpt(&record.problem));
        lines.push(paint(BAD, &told));
    }
    if !report.damaged_records.is_empty() {
        lines.push("  Relays there answer 500 for ALL flags of that environment. Ways out: rc doctor".to_owned());
    }
    let playback = &report.playback;
    if let Some(problem) = &playback.problem {
        lines.push(paint(BAD, &format!("PLAYBACK NOT READ: {}", excerpt(problem))));
    }
    for file in &playback.damaged {
        let line = file.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let told = format!("PLAYBACK {}{line}: {}", harmless(&file.file), excerpt(&file.problem));
        lines.push(paint(BAD, &told));
    }
    for change in &playback.unfinished {
        let flags = list(&change.flags);
        let told = format!("UNFINISHED {} {flags}: not noted as written in {}", change.change, list(&change.targets));
        lines.push(format!("{}  {}", paint(BAD, &told), change.next));
    }
    if !playback.without_override.is_empty() {
        let flags = list(&playback.without_override);
        lines.push(format!("RECORDED HERE, and no override any more: {flags}. rc replay finds out what became of it"));
    }
    lines.extend(report.notes.iter().map(|note| format!("{} {}", paint(NOTICE, "note:"), excerpt(note))));
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

fn owed(report: &Report) -> String {
    let owed = &report.owed;
    let style = if owed.flags == 0 { STRONG } else { NOTICE };
    let told = paint(style, &format!("OWED: {}", owed.told));
    match &owed.next {
        Some(next) => format!("{told}; {next}"),
        None => told,
    }
}
