//! What the stores tell of the past: their logs, the marks of what is over, and what is in force. It asks every store
//! once per environment; one that does not answer is named and costs the others nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde::Serialize;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::target::Target;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::survey;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::store::LogEntry;
use crate::store::StoreError;

/// The most entries of one log that are read: stores keep about as many.
const ENTRIES_MAX: usize = 10_000;

/// An entry of a store's log.
#[derive(Debug)]
pub(super) struct StoreEntry {
    /// The environment that the target belongs to.
    pub(super) environment: Environment,
    /// Whose log it stands in.
    pub(super) target: Target,
    /// `change`, `flag`, `what`, `user`, …
    pub(super) fields: BTreeMap<String, String>,
}

/// A place that could not be asked.
#[derive(Debug, Serialize)]
pub(super) struct NotRead {
    /// Which.
    pub(super) place: String,
    /// Why.
    pub(super) problem: String,
}

/// Everything that the stores tell.
#[derive(Debug, Default)]
pub(super) struct StoresTold {
    /// In the order of targets, each log in its own order.
    pub(super) entries: Vec<StoreEntry>,
    /// How changes ended.
    pub(super) marks: BTreeMap<(Environment, FlagKey, ChangeId), EndedMark>,
    /// What is in force.
    pub(super) overrides: BTreeMap<(Environment, FlagKey), Override>,
    /// What could not be asked.
    pub(super) not_read: Vec<NotRead>,
}

/// Asks the stores of every environment.
pub(super) async fn read(surroundings: &Surroundings, views: &[EnvironmentView<'_>]) -> StoresTold {
    let mut told = StoresTold::default();
    for view in views {
        let targets = match &view.targets {
            Ok(targets) => targets,
            Err(failure) => {
                let problem = failure.message.clone();
                told.not_read.push(NotRead { place: view.environment.to_string(), problem });
                continue;
            }
        };
        for (chosen, error) in view.silent() {
            told.not_read.push(NotRead { place: chosen.target.to_string(), problem: error.to_string() });
        }
        let answered = targets.iter().filter(|target| target.reading.is_ok()).map(|target| &target.chosen.target);
        let logs = join_all(answered.map(|target| async move { (target, history(surroundings, target).await) })).await;
        for (target, answer) in logs {
            match answer {
                Ok(history) => told.take(&view.environment, target, history),
                // Where our own keys are forbidden there is no log, and nothing is missed.
                Err(StoreError::Forbidden { .. }) => {}
                Err(error) => {
                    told.not_read.push(NotRead { place: target.to_string(), problem: error.to_string() });
                }
            }
        }
        for situation in &view.situations {
            if let Some(override_) = situation.standing.in_force() {
                told.overrides.insert((view.environment.clone(), situation.flag.clone()), override_.clone());
            }
            let marks = situation.said.iter().flat_map(|(_, _, marks)| marks);
            for (change, mark) in marks {
                told.marks.insert((view.environment.clone(), situation.flag.clone(), *change), mark.clone());
            }
        }
    }
    told
}

/// A log, and the marks of the changes in it.
struct History {
    entries: Vec<LogEntry>,
    marks: BTreeMap<ChangeId, Vec<EndedMark>>,
}

async fn history(surroundings: &Surroundings, target: &Target) -> Result<History, StoreError> {
    let Some(store) = survey::store_of(&surroundings.stores, target) else {
        return Ok(History { entries: Vec::new(), marks: BTreeMap::new() });
    };
    let entries = store.log(&target.prefix, ENTRIES_MAX).await?;
    let changes: BTreeSet<ChangeId> =
        entries.iter().filter_map(|entry| entry.fields.get("change")?.parse().ok()).collect();
    let changes: Vec<ChangeId> = changes.into_iter().collect();
    let marks = if changes.is_empty() { BTreeMap::new() } else { store.ended(&target.prefix, &changes).await? };
    Ok(History { entries, marks })
}

impl StoresTold {
    fn take(&mut self, environment: &Environment, target: &Target, history: History) {
        for (change, marks) in history.marks {
            for mark in marks {
                self.marks.insert((environment.clone(), mark.flag.clone(), change), mark);
            }
        }
        let entry = |entry: LogEntry| StoreEntry {
            environment: environment.clone(),
            target: target.clone(),
            fields: entry.fields,
        };
        self.entries.extend(history.entries.into_iter().map(entry));
    }
}
