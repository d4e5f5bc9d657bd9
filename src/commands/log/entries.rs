//! The changes of the playback and those of colleagues joined into one journal, ordered by their ids: by the clocks of
//! those who made them, for display and for nothing else. Pure.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::outcome;
use super::stores::NotRead;
use super::stores::StoreEntry;
use super::stores::StoresTold;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::event::EditIndex;
use crate::change::expiry::came_before;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::state;
use crate::change::state::EditState;
use crate::commands::overview;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::playback::Damage;
use crate::playback::EditIntent;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::ui::harmless::excerpt;
use crate::ui::words::list_some;

/// Which changes are wanted.
pub(super) struct Wanted<'w> {
    pub(super) environment: Option<&'w Environment>,
    pub(super) flags: &'w [FlagKey],
    pub(super) incident: Option<&'w str>,
    pub(super) limit: usize,
}

/// The document of `rc log --json`.
#[derive(Debug, Serialize)]
pub(super) struct Journal {
    /// Oldest first.
    pub(super) changes: Vec<ChangeTold>,
    /// How many older ones were left out (`-n`).
    pub(super) left_out: usize,
    /// Files of the playback that are damaged, or too new for this program.
    pub(super) damaged: Vec<DamageTold>,
    /// Stores and environments whose part of the story is missing.
    pub(super) not_read: Vec<NotRead>,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChangeTold {
    /// Its id.
    pub(super) change: ChangeId,
    /// The last digits of it.
    pub(super) digits: String,
    /// `update`, `undo`, `adopted` (a colleague's, replayed from here), or `settled`, `abandoned` where nothing but its
    /// end is known.
    pub(super) kind: String,
    /// When, by the clock of who made it.
    pub(super) at: Option<Timestamp>,
    /// Who.
    pub(super) user: String,
    /// On which machine.
    pub(super) host: String,
    /// Why.
    pub(super) reason: Option<String>,
    /// The incident it belongs to.
    pub(super) incident: Option<String>,
    /// When somebody wants to be reminded of it.
    pub(super) expires: Option<Timestamp>,
    /// Its file in the playback; none for a colleague's.
    pub(super) file: Option<PathBuf>,
    /// The stores whose logs tell of it.
    pub(super) stores: BTreeSet<String>,
    /// What it did, flag by flag.
    pub(super) edits: Vec<EditTold>,
}

/// One flag of a change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EditTold {
    /// Where.
    pub(super) environment: Environment,
    /// Which flag.
    pub(super) flag: FlagKey,
    /// What was done, in words.
    pub(super) what: String,
    /// What came of it, in words.
    pub(super) outcome: String,
    /// Whether LaunchDarkly has to be told, as far as is known here.
    pub(super) owed: bool,
}

/// A file that cannot be read to its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct DamageTold {
    /// Which.
    pub(super) file: PathBuf,
    /// The line where reading stopped, counted from 1.
    pub(super) line: Option<usize>,
    /// What is wrong.
    pub(super) problem: String,
}

impl Journal {
    /// Joins what is known and keeps what is wanted.
    pub(super) fn of(loaded: &Loaded, told: &StoresTold, wanted: &Wanted<'_>) -> Self {
        let mut changes: BTreeMap<ChangeId, ChangeTold> = BTreeMap::new();
        let readable = loaded.damaged.iter().filter_map(|damage| Some((damage.readable.as_deref()?, Some(damage))));
        for (file, damage) in loaded.files.iter().map(|file| (file, None)).chain(readable) {
            changes.insert(file.change(), filed(file, damage, told));
        }
        let filed: BTreeSet<ChangeId> = changes.keys().copied().collect();
        for entry in &told.entries {
            take(&mut changes, &filed, entry, told);
        }
        let mut changes: Vec<ChangeTold> = changes.into_values().filter_map(|change| wanted.keep(change)).collect();
        let left_out = changes.len().saturating_sub(wanted.limit);
        changes.drain(..left_out);
        let damaged = |damage: &Damage| DamageTold {
            file: damage.file.clone(),
            line: damage.line,
            problem: damage.problem.clone(),
        };
        let not_read = |one: &NotRead| NotRead { place: one.place.clone(), problem: one.problem.clone() };
        Self {
            changes,
            left_out: left_out + loaded.left_out,
            damaged: loaded.damaged.iter().map(damaged).collect(),
            not_read: told.not_read.iter().map(not_read).collect(),
        }
    }
}

impl Wanted<'_> {
    fn keep(&self, mut change: ChangeTold) -> Option<ChangeTold> {
        if let Some(incident) = self.incident {
            let same = |other: &String| other.to_lowercase() == incident.to_lowercase();
            change.incident.as_ref().filter(|other| same(other))?;
        }
        change.edits.retain(|edit| {
            self.environment.is_none_or(|environment| edit.environment == *environment)
                && (self.flags.is_empty() || self.flags.contains(&edit.flag))
        });
        (!change.edits.is_empty()).then_some(change)
    }
}

/// A change as its file tells it, and the stores what became of it since.
fn filed(file: &LoadedFile, damage: Option<&Damage>, told: &StoresTold) -> ChangeTold {
    let change = &file.intent.change;
    let folded = state::fold(change, &overview::targets_of(file), &file.events);
    let edits = change.edits.iter().zip(&file.intent.edits).zip(folded.edits.iter().enumerate());
    let edit = |((edit, intent), (index, state)): ((&Edit, &EditIntent), (EditIndex, &EditState))| {
        let mut outcome = outcome::in_words(state, outcome::written(file, index));
        let key = (edit.environment.clone(), edit.flag.clone(), change.id);
        let mark = told.marks.get(&key).filter(|_| state.is_owed());
        if let Some(mark) = mark {
            let expired = came_before(change.motive.expires, mark).map(|_| "expired, and ").unwrap_or_default();
            outcome = format!("{outcome} as this file has it; the stores say {expired}{}", ended(mark));
        }
        if let Some(damage) = damage {
            let line = damage.line.map(|line| format!(" at line {line}")).unwrap_or_default();
            outcome.push_str(&format!("; FILE DAMAGED{line}, more may have come of it"));
        }
        EditTold {
            environment: edit.environment.clone(),
            flag: edit.flag.clone(),
            what: what(change.kind, &edit.instructions, intent),
            outcome,
            owed: state.is_owed() && mark.is_none(),
        }
    };
    let motive = &change.motive;
    ChangeTold {
        change: change.id,
        digits: change.id.short(),
        kind: match change.kind {
            ChangeKind::Update => "update",
            ChangeKind::Undo => "undo",
            ChangeKind::Adopted => "adopted",
        }
        .to_owned(),
        at: Some(motive.at),
        user: motive.actor.user.clone(),
        host: motive.actor.host.clone(),
        reason: motive.reason.clone(),
        incident: motive.incident.clone(),
        expires: motive.expires,
        file: Some(file.path.clone()),
        stores: BTreeSet::new(),
        edits: edits.map(edit).collect(),
    }
}

/// What an edit did: by the first target of which a record before and after is known.
fn what(kind: ChangeKind, instructions: &[Instruction], intent: &EditIntent) -> String {
    let undo = if kind == ChangeKind::Undo { "undo: " } else { "" };
    let both = |told: &crate::playback::TargetIntent| Some((told.before.clone()?, told.after.clone()?));
    if let Some((before, after)) = intent.targets.iter().find_map(both) {
        return format!("{undo}{}", difference(&before, &after, instructions));
    }
    if kind == ChangeKind::Undo {
        return "undo: nothing to write".to_owned();
    }
    let told: Vec<String> = instructions.iter().map(ToString::to_string).collect();
    format!("{} (was so already)", list_some(&told, 3))
}

/// The aspects that differ or were asked for, in words: `on -> off`.
fn difference(before: &Record, after: &Record, instructions: &[Instruction]) -> String {
    let (before, after) = (Configuration::of_record(before), Configuration::of_record(after));
    let mut aspects = before.differs(&after);
    aspects.extend(instructions.iter().map(Instruction::aspect));
    let words = |aspect: &Aspect| {
        let (from, to) = (before.in_words(*aspect), after.in_words(*aspect));
        let name = if *aspect == Aspect::On { String::new() } else { format!("{aspect} ") };
        if from == to { format!("{name}stays {to}") } else { format!("{name}{from} -> {to}") }
    };
    let words: Vec<String> = aspects.iter().map(words).collect();
    if words.is_empty() { "version only".to_owned() } else { words.join(", ") }
}

fn ended(mark: &EndedMark) -> String {
    let version = mark.version.map(|version| format!(", LaunchDarkly has v{version}")).unwrap_or_default();
    format!("{} by {}{version}", mark.ending, excerpt(&mark.actor.user))
}

/// Takes an entry of a store's log into the journal. What a file of the playback tells is not told again.
fn take(
    changes: &mut BTreeMap<ChangeId, ChangeTold>,
    filed: &BTreeSet<ChangeId>,
    entry: &StoreEntry,
    told: &StoresTold,
) {
    let field = |name: &str| entry.fields.get(name).cloned();
    let Some((id, flag)) =
        field("change").and_then(|id| Some((id.parse::<ChangeId>().ok()?, field("flag")?.parse::<FlagKey>().ok()?)))
    else {
        return;
    };
    let kind = match field("what").as_deref() {
        // A guard noted what LaunchDarkly says meanwhile: nobody changed anything.
        Some("upstream") => return,
        Some("override" | "record") => "update".to_owned(),
        Some("undone") => "undo".to_owned(),
        Some(other) => other.to_owned(),
        None => "update".to_owned(),
    };
    let change = changes.entry(id).or_insert_with(|| ChangeTold {
        change: id,
        digits: id.short(),
        kind: kind.clone(),
        at: None,
        user: String::new(),
        host: String::new(),
        reason: None,
        incident: None,
        expires: None,
        file: None,
        stores: BTreeSet::new(),
        edits: Vec::new(),
    });
    change.stores.insert(entry.target.store.clone());
    if filed.contains(&id) {
        return;
    }
    // Its beginning says who made it; its end, who ended it.
    if change.at.is_none() || (kind == "update" && change.kind != "update") {
        change.kind = kind;
        change.at = field("at").and_then(|at| at.parse().ok());
        change.user = field("user").unwrap_or_default();
        change.host = field("host").unwrap_or_default();
        change.reason = field("reason");
        change.incident = field("incident");
    }
    if change.edits.iter().any(|edit| edit.flag == flag && edit.environment == entry.environment) {
        return;
    }
    let in_force = told.overrides.get(&(entry.environment.clone(), flag.clone()));
    let in_force = in_force.filter(|override_| override_.changes.contains(&id));
    let mark = told.marks.get(&(entry.environment.clone(), flag.clone(), id));
    let edit = EditTold {
        environment: entry.environment.clone(),
        what: colleagues_what(&change.kind, in_force.filter(|override_| override_.change() == Some(id))),
        outcome: colleagues_outcome(&change.kind, in_force, id, mark),
        owed: in_force.is_some_and(|override_| override_.replayed_as().is_none()),
        flag,
    };
    change.edits.push(edit);
}

/// Logs name the flag and not what was done to it; an override that is still in force tells.
fn colleagues_what(kind: &str, newest: Option<&Override>) -> String {
    match (kind, newest) {
        ("update", Some(override_)) => match override_.in_force() {
            Ok(after) => difference(&override_.base, &after, &override_.instructions),
            Err(_) => "changed".to_owned(),
        },
        ("update", None) => "changed".to_owned(),
        (other, _) => excerpt(other),
    }
}

fn colleagues_outcome(kind: &str, in_force: Option<&Override>, id: ChangeId, mark: Option<&EndedMark>) -> String {
    if kind != "update" {
        return "done, say the stores".to_owned();
    }
    if let Some(override_) = in_force {
        let part = match override_.change().filter(|newest| *newest != id) {
            Some(newest) => format!(" as part of {}", newest.short()),
            None => String::new(),
        };
        return match &override_.state {
            OverrideState::InForce => format!("in force{part}, owed"),
            OverrideState::Replayed { version } => format!("in force{part}, in LaunchDarkly as v{version}"),
            OverrideState::AwaitingApproval { .. } => format!("in force{part}, owed: waits for approval"),
        };
    }
    match mark {
        Some(mark) => ended(mark),
        None => "not in force any more".to_owned(),
    }
}
