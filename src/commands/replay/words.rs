//! The plan and its conflicts in words: data in, text out. It prints nothing and decides nothing.

use jiff::Timestamp;

use crate::change::edit::Motive;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::owed::Subject;
use crate::commands::replay::plan;
use crate::commands::replay::plan::Course;
use crate::commands::replay::plan::Item;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::approval::ReviewStatus;
use crate::launchdarkly::audit::AuditEntry;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::NOTICE;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;

/// `a is` or `a and b are`.
pub fn are(names: &str, number: usize) -> String {
    if number == 1 { format!("{names} is") } else { format!("{names} are") }
}

/// What to type about one flag, ready to paste.
pub fn command(item: &Item, options: &str) -> String {
    command_for(&item.matter.subject, options)
}

/// As [`command`].
pub fn command_for((environment, flag): &Subject, options: &str) -> String {
    let gap = if options.is_empty() { "" } else { " " };
    format!("rc replay -p {} -e {} -f {flag}{gap}{options}", environment.project, environment.key)
}

/// The name of a flag, with its environment where there are several.
pub fn name((environment, flag): &Subject, several: bool) -> String {
    if several { format!("{environment} {flag}") } else { flag.to_string() }
}

/// `anna 02:14Z INC-4821 "double charges"`.
pub fn motive(motive: &Motive) -> String {
    let mut text = format!("{} {}", harmless(&motive.actor.user), time::short(motive.at, Timestamp::now()));
    if let Some(incident) = &motive.incident {
        text.push_str(&format!(" {}", harmless(incident)));
    }
    if let Some(reason) = &motive.reason {
        text.push_str(&format!(" \"{}\"", excerpt(reason)));
    }
    text
}

/// The plan: one line for each override.
pub fn plan(items: &[Item], several: bool) -> String {
    let mut table = Table::indented(2);
    for item in items {
        let (from, to, mut what) = line(item);
        if let Some(doubt) = item.vouched.doubt() {
            what.push_str(&format!("; {} ({doubt})", paint(BAD, "NOT SIGNED WITH YOUR KEY")));
        }
        table.row([name(&item.matter.subject, several), from, to, what]);
    }
    table.to_string()
}

/// What LaunchDarkly has, what the override makes of it, and what is done.
fn line(item: &Item) -> (String, String, String) {
    let override_ = &item.matter.override_;
    let wish = harmless(&item.wish).into_owned();
    let now = match &item.now {
        Some(now) => {
            format!("{} v{}", harmless(&plan::in_few_words(&now.configuration, override_)), now.version)
        }
        None => "?".to_owned(),
    };
    let owed = |text: &str| paint(NOTICE, text);
    match &item.course {
        Course::Send { instructions, elsewhere } => {
            let mut what = format!("send {}", kinds(instructions));
            if item.matter.only_filed {
                what.push_str("; only the playback knows of it");
            }
            if !elsewhere.is_empty() {
                let aspects: Vec<String> = elsewhere.iter().map(ToString::to_string).collect();
                what.push_str(&format!("; LaunchDarkly's new {} stay", list(&aspects)));
            }
            if let Some(reviewers) = item.reviewers {
                what = format!("{} ({})", owed("NEEDS APPROVAL"), count(reviewers as usize, "reviewer"));
                if item.approval.as_ref().is_some_and(|approval| approval.review == ReviewStatus::Declined) {
                    what.push_str("; the last one was declined");
                }
            }
            (now, format!("-> {wish}"), what)
        }
        Course::Already { .. } => (now, format!("= {wish}"), "already so".to_owned()),
        Course::Had { since, .. } => {
            (now, format!("/ {wish}"), format!("LaunchDarkly has had it; since then: {}", entry_in_words(since)))
        }
        Course::Nothing => (now, format!("= {wish}"), "changed and changed back here: nothing to send".to_owned()),
        Course::Conflict { .. } => (now, format!("/ {wish}"), owed("CONFLICT")),
        Course::ChangedBack { base_version, .. } => {
            (now, format!("/ {wish}"), format!("{} since v{base_version}", owed("CHANGED AND CHANGED BACK")))
        }
        Course::Gone { archived } => {
            let told = if *archived { "ARCHIVED in LaunchDarkly" } else { "GONE from LaunchDarkly" };
            ("?".to_owned(), format!("-> {wish}"), owed(told))
        }
        Course::Waits => {
            let left = super::decide::waits(item.approval.as_ref());
            (now, format!("-> {wish}"), format!("{} {}", owed(&left.why), left.next.unwrap_or_default()))
        }
        Course::Failed(failure) => {
            (now, format!("-> {wish}"), format!("{}: {}", owed("CANNOT TELL"), harmless(&failure.message)))
        }
    }
}

/// The names of instructions.
pub fn kinds(instructions: &[Instruction]) -> String {
    let kinds: Vec<&str> = instructions.iter().map(Instruction::kind).collect();
    list(&kinds)
}

/// The three values of a conflict.
pub fn conflict(item: &Item) -> String {
    let override_ = &item.matter.override_;
    let mut text = match &item.course {
        Course::ChangedBack { base_version, version_now, .. } => format!(
            "CHANGED AND CHANGED BACK {}: LaunchDarkly is as it was, but went from v{base_version} to v{version_now}",
            item.matter.subject.1
        ),
        _ => format!("CONFLICT {}", item.matter.subject.1),
    };
    let mut table = Table::indented(2);
    let base = format!("v{}", override_.base.version());
    let who = format!("{}{}", item.now.as_ref().map(|now| format!("v{}", now.version)).unwrap_or_default(), by(item));
    match &item.course {
        Course::Conflict { aspects, .. } => {
            for aspect in aspects {
                let about = if aspects.len() > 1 { format!("  ({})", aspect.aspect) } else { String::new() };
                table.row(["before", &harmless(&aspect.base), &format!("{base}{about}")]);
                table.row(["override", &harmless(&aspect.override_), &motive(&override_.motive)]);
                table.row(["LaunchDarkly now", &harmless(&aspect.now), &who]);
            }
        }
        _ => {
            let before = plan::in_few_words(&Configuration::of_record(&override_.base), override_);
            let now = item.now.as_ref().map(|now| plan::in_few_words(&now.configuration, override_));
            table.row(["before", &harmless(&before), &base]);
            table.row(["override", &harmless(&item.wish), &motive(&override_.motive)]);
            table.row(["LaunchDarkly now", &harmless(&now.unwrap_or_default()), &who]);
        }
    }
    text.push('\n');
    text.push_str(&table.to_string());
    text
}

/// Who changed it in LaunchDarkly, if the audit log says so.
fn by(item: &Item) -> String {
    let Some(audit) = &item.audit else { return "; the audit log could not be read".to_owned() };
    let newest = item.told.since.as_ref();
    newest.or(audit.entries.first()).map(|entry| format!(", {}", entry_in_words(entry))).unwrap_or_default()
}

/// `carol 04:59Z "margin fix"`.
pub fn entry_in_words(entry: &AuditEntry) -> String {
    let mut text = format!("{} {}", harmless(&entry.author), time::short(entry.at, Timestamp::now()));
    if !entry.comment.is_empty() {
        text.push_str(&format!(" \"{}\"", excerpt(&entry.comment)));
    }
    text
}

/// Who owes what: `9 changes (6 anna here, 3 bob from the stores) on 7 flags`.
pub fn heading(matters: &[&Matter]) -> String {
    let mut whose: Vec<(String, usize)> = Vec::new();
    for matter in matters {
        let place = if matter.parts.is_empty() { "from the stores" } else { "here" };
        let who = format!("{} {place}", harmless(&matter.override_.motive.actor.user));
        match whose.iter_mut().find(|(known, _)| *known == who) {
            Some((_, number)) => *number += matter.override_.changes.len(),
            None => whose.push((who, matter.override_.changes.len())),
        }
    }
    let changes: usize = whose.iter().map(|(_, number)| number).sum();
    let whose: Vec<String> = whose.into_iter().map(|(who, number)| format!("{number} {who}")).collect();
    format!("{} ({}) on {}", count(changes, "change"), whose.join(", "), count(matters.len(), "flag"))
}
