//! The journal as a timeline: what happened when, in Markdown, to be pasted into a post-mortem. Pure. What people typed is
//! escaped, so that it stays text wherever it is pasted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::entries::ChangeTold;
use super::entries::Journal;
use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::flag::key::FlagKey;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::ui::harmless::excerpt;
use crate::ui::time;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// The most flags that a line names.
const FLAGS_MAX: usize = 5;

/// Lines by their time: those of one second and one kind are one line.
#[derive(Debug, Default)]
struct Lines(BTreeMap<(Timestamp, usize), String>);

impl Lines {
    fn add(&mut self, at: Timestamp, text: String) {
        let number = self.0.len();
        self.0.insert((at, number), text);
    }
}

/// What happened to several flags, or in several stores, in one second.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Together {
    second: i64,
    what: String,
}

/// The timeline; `heading` names what it is of.
pub(super) fn text(journal: &Journal, loaded: &Loaded, heading: &str, now: Timestamp) -> String {
    let mut lines = Lines::default();
    for change in &journal.changes {
        let file = loaded.files.iter().find(|file| file.change() == change.change);
        if let Some(file) = file {
            for note in &file.intent.outage {
                let told = format!("relay {} said: {}", markdown(&note.relay), markdown(&note.told));
                lines.add(file.intent.change.motive.at, told);
            }
        }
        if let Some(at) = change.at {
            lines.add(at, made(change, file.is_some()));
        }
        if let Some(file) = file {
            for (at, told) in came(change, file) {
                lines.add(at, told);
            }
        }
    }
    let mut text = format!("## Timeline of {} (UTC, as of {})\n", markdown(heading), time::full(now));
    for ((at, _), line) in &lines.0 {
        text.push_str(&format!("\n- {} {line}", time::full(*at)));
    }
    text
}

/// Who did what, and why. What became of a colleague's is known by the stores alone, so it stands here.
fn made(change: &ChangeTold, is_filed: bool) -> String {
    let mut what: BTreeMap<(String, &str, &str), Vec<&str>> = BTreeMap::new();
    for edit in &change.edits {
        let outcome = if is_filed { "" } else { edit.outcome.as_str() };
        what.entry((edit.environment.to_string(), &edit.what, outcome)).or_default().push(edit.flag.as_str());
    }
    let what: Vec<String> = what
        .into_iter()
        .map(|((environment, what, outcome), flags)| {
            let outcome = if outcome.is_empty() { String::new() } else { format!(": {}", markdown(outcome)) };
            format!("{} of {environment}: {}{outcome}", markdown(&list_some(&flags, FLAGS_MAX)), markdown(what))
        })
        .collect();
    let reason = change.reason.as_ref().map(|reason| format!(", \"{}\"", markdown(reason))).unwrap_or_default();
    format!("**{}** {}{reason} (change {})", markdown(&change.user), what.join("; "), change.digits)
}

/// What came of a change of this playback, in the order in which it was noted.
fn came(change: &ChangeTold, file: &LoadedFile) -> Vec<(Timestamp, String)> {
    let mut all: BTreeMap<Together, (Timestamp, BTreeSet<FlagKey>, BTreeSet<String>)> = BTreeMap::new();
    let mut diverged: BTreeSet<(EditIndex, &str)> = BTreeSet::new();
    for event in &file.events {
        let Some(edit) = file.intent.change.edits.get(event.edit) else { continue };
        let is_wanted = change.edits.iter().any(|told| told.flag == edit.flag && told.environment == edit.environment);
        let Some((mut what, place)) = in_words(event).filter(|_| is_wanted) else { continue };
        match &event.what {
            Happened::NotLive { relay, .. } => drop(diverged.insert((event.edit, relay))),
            Happened::SeenLive { relay, .. } | Happened::Restarted { relay }
                if diverged.remove(&(event.edit, relay)) =>
            {
                what = format!("DIVERGED no more, {what}");
            }
            _ => {}
        }
        let key = Together { second: event.at.as_second(), what };
        let (_, flags, places) = all.entry(key).or_insert_with(|| (event.at, BTreeSet::new(), BTreeSet::new()));
        flags.insert(edit.flag.clone());
        places.extend(place);
    }
    let line = |(together, (at, flags, places)): (Together, (Timestamp, BTreeSet<FlagKey>, BTreeSet<String>))| {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let places: Vec<String> = places.into_iter().collect();
        let places = if places.is_empty() { String::new() } else { format!(" {}", markdown(&list(&places))) };
        (at, format!("{}: {}{places}", markdown(&list_some(&flags, FLAGS_MAX)), together.what))
    };
    all.into_iter().map(line).collect()
}

/// What an event says to somebody who was not there, and where; `None` for what is of interest to the program alone.
fn in_words(event: &Event) -> Option<(String, Option<String>)> {
    let at = |target: &crate::change::target::Target| Some(target.store.clone());
    Some(match &event.what {
        Happened::Written { target, .. } => ("written in".to_owned(), at(target)),
        Happened::Refused { target, why } => (format!("NOT written ({}) in", markdown(why)), at(target)),
        Happened::Unknown { target, why } => {
            (format!("written or not, no answer ({}) from", markdown(why)), at(target))
        }
        Happened::SeenLive { relay, after_ms } => {
            (format!("seen live within {after_ms} ms through relay"), Some(relay.clone()))
        }
        Happened::NotLive { relay, told } => {
            let told = format!("DIVERGED, SDKs that stay connected do not have it ({}): relay", markdown(told));
            (told, Some(relay.clone()))
        }
        Happened::Restarted { relay } => {
            ("shown after a restart, which had every SDK connect anew, by relay".to_owned(), Some(relay.clone()))
        }
        Happened::Attempted { .. } => ("sent to LaunchDarkly".to_owned(), None),
        Happened::Replayed { version, .. } => (format!("LaunchDarkly has it, as version {version}"), None),
        Happened::Asking { .. } => ("LaunchDarkly is asked for an approval".to_owned(), None),
        Happened::NotAsked { why } => (format!("no approval is asked for: {}", markdown(why)), None),
        Happened::AwaitingApproval { link, .. } => {
            let link = link.as_ref().map(|link| format!(", {}", markdown(link))).unwrap_or_default();
            (format!("waits for an approval{link}"), None)
        }
        Happened::Conflict { told, decision } => {
            let decision = decision.as_ref().map(|word| format!("; decided: {}", markdown(word))).unwrap_or_default();
            (format!("CONFLICT, {}{decision}", markdown(told)), None)
        }
        Happened::Abandoned { why } => (format!("given up: {}", markdown(why)), None),
        Happened::Undone { by } => (format!("taken back by change {}", by.short()), None),
        Happened::Settled { target: Some(target), .. } => {
            ("over, LaunchDarkly's own record stands in".to_owned(), at(target))
        }
        Happened::Settled { target: None, .. } => ("over".to_owned(), None),
        Happened::ReRead { .. } | Happened::Writing { .. } => return None,
    })
}

/// Text that Markdown leaves as it is.
fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in excerpt(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_typed_stays_text() {
        assert_eq!(markdown("**now** <script> [x](y) `rm`"), "\\*\\*now\\*\\* \\<script\\> \\[x\\](y) \\`rm\\`");
    }
}
