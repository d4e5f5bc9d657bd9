//! The journal as people read it: one line a change, what could not be read, and how many there are.

use jiff::Timestamp;

use super::entries::ChangeTold;
use super::entries::Journal;
use super::entries::Wanted;
use crate::flag::key::Environment;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::FAINT;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list_some;

/// The most flags that a line names.
const FLAGS_MAX: usize = 3;

/// The edits of a change that look the same.
struct Alike<'j> {
    environment: &'j Environment,
    what: &'j str,
    outcome: &'j str,
    flags: Vec<&'j str>,
}

/// One line a change; more where its flags came to different things.
pub(super) fn table(journal: &Journal, now: Timestamp) -> String {
    let mut table = Table::new();
    let several = only_environment(journal).is_none();
    let mut heading = vec!["TIME", "WHO", "ENVIRONMENT", "FLAG", "WHAT", "OUTCOME", "CHANGE", "WHY"];
    heading.retain(|heading| several || *heading != "ENVIRONMENT");
    table.row(heading.into_iter().map(|heading| paint(FAINT, heading)));
    for change in &journal.changes {
        for alike in alike(change) {
            let mut why: Vec<String> = change.incident.iter().map(|incident| excerpt(incident)).collect();
            why.extend(change.reason.as_ref().map(|reason| format!("\"{}\"", excerpt(reason))));
            why.extend(change.expires.map(|expires| {
                let word = if expires <= now { "expired" } else { "expires" };
                format!("{word} {}", time::short(expires, change.at.unwrap_or(now)))
            }));
            let mut row = vec![change.at.map(time::full).unwrap_or_else(|| "?".to_owned()), who(change)];
            row.extend(several.then(|| harmless(&alike.environment.to_string()).into_owned()));
            row.extend([
                list_some(&alike.flags, FLAGS_MAX),
                excerpt(alike.what),
                excerpt(alike.outcome),
                change.digits.clone(),
                why.join(" "),
            ]);
            table.row(row);
        }
    }
    table.to_string()
}

/// The environment, where all that is listed belongs to one; the verdict names it.
fn only_environment(journal: &Journal) -> Option<&Environment> {
    let mut environments = journal.changes.iter().flat_map(|change| &change.edits).map(|edit| &edit.environment);
    let first = environments.next()?;
    environments.all(|other| other == first).then_some(first)
}

fn who(change: &ChangeTold) -> String {
    if change.host.is_empty() {
        return excerpt(&change.user);
    }
    format!("{}@{}", excerpt(&change.user), excerpt(&change.host))
}

fn alike(change: &ChangeTold) -> Vec<Alike<'_>> {
    let mut all: Vec<Alike<'_>> = Vec::new();
    for edit in &change.edits {
        let same = |alike: &&mut Alike<'_>| {
            *alike.environment == edit.environment && alike.what == edit.what && alike.outcome == edit.outcome
        };
        match all.iter_mut().find(same) {
            Some(alike) => alike.flags.push(edit.flag.as_str()),
            None => all.push(Alike {
                environment: &edit.environment,
                what: &edit.what,
                outcome: &edit.outcome,
                flags: vec![edit.flag.as_str()],
            }),
        }
    }
    all
}

/// What is missing from the journal.
pub(super) fn notices(journal: &Journal) -> Vec<String> {
    let damaged = journal.damaged.iter().map(|damage| {
        let line = damage.line.map(|line| format!(", line {line}")).unwrap_or_default();
        format!("{}{line}: {}", harmless(&damage.file.display().to_string()), excerpt(&damage.problem))
    });
    let not_read = journal.not_read.iter();
    let not_read = not_read.map(|one| {
        format!("{}: what colleagues did there is not told: {}", harmless(&one.place), excerpt(&one.problem))
    });
    damaged.chain(not_read).collect()
}

/// How many changes, and what to do where there is none.
pub(super) fn verdict(journal: &Journal, wanted: &Wanted<'_>) -> String {
    let mut verdict = count(journal.changes.len(), "change");
    if let Some(environment) = only_environment(journal) {
        verdict.push_str(&format!(" in {environment}"));
    }
    if journal.left_out > 0 {
        verdict.push_str(&format!("; {} not listed (-n)", count(journal.left_out, "older one")));
    }
    let owed = |change: &&ChangeTold| change.edits.iter().any(|edit| edit.owed);
    let owed = journal.changes.iter().filter(owed).count();
    if owed > 0 {
        verdict.push_str(&format!("; {owed} owed to LaunchDarkly:  rc status, then rc replay"));
    }
    if let (Some(incident), true) = (wanted.incident, journal.changes.is_empty()) {
        verdict.push_str(&format!(" of incident {}", excerpt(incident)));
    }
    verdict
}
