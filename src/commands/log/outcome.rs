//! What an edit has come to, in few words: where it was written, and how it stands with LaunchDarkly. Pure.

use std::collections::BTreeSet;

use crate::change::event::EditIndex;
use crate::change::event::Happened;
use crate::change::state::EditStanding;
use crate::change::state::EditState;
use crate::change::state::Outcome;
use crate::change::target::Target;
use crate::playback::LoadedFile;
use crate::ui::harmless::excerpt;

/// How many targets said that they have an edit. What was taken back or settled later had been written all the same.
pub(in crate::commands) fn written(file: &LoadedFile, edit: EditIndex) -> usize {
    let written: BTreeSet<&Target> = file
        .events
        .iter()
        .filter(|event| event.edit == edit)
        .filter_map(|event| match &event.what {
            Happened::Written { target, .. } => Some(target),
            _ => None,
        })
        .collect();
    written.len()
}

/// `written 3/4, owed`, `written 4/4, in LaunchDarkly as v43`, `written 4/4, undone by 8d2e`.
pub(in crate::commands) fn in_words(edit: &EditState, written: usize) -> String {
    let targets = edit.targets.len();
    let mut parts = vec![format!("written {written}/{targets}")];
    let unknown = |outcome: &&Outcome| matches!(outcome, Outcome::Intended | Outcome::Unknown { .. });
    let unknown = edit.targets.values().filter(unknown).count();
    if unknown > 0 {
        parts.push(format!("{unknown} not known"));
    }
    let standing = match &edit.standing {
        EditStanding::Owed | EditStanding::Nowhere if !edit.is_owed() && edit.is_over() => String::new(),
        EditStanding::Owed if !edit.is_owed() => "not finished".to_owned(),
        EditStanding::Owed => "owed".to_owned(),
        EditStanding::Nowhere => "in force nowhere".to_owned(),
        EditStanding::Attempted { .. } => "owed: was to be sent, and no answer is noted".to_owned(),
        EditStanding::Replayed { version, .. } => format!("in LaunchDarkly as v{version}"),
        EditStanding::AwaitingApproval { link, .. } => match link {
            Some(link) => format!("owed: waits for approval, {}", excerpt(link)),
            None => "owed: waits for approval".to_owned(),
        },
        EditStanding::Conflict { decision: None, .. } => "owed: conflict".to_owned(),
        EditStanding::Conflict { decision: Some(decision), .. } => {
            format!("owed: conflict, {} decided", excerpt(decision))
        }
        EditStanding::Abandoned { why } => format!("given up: {}", excerpt(why)),
        EditStanding::Undone { by } => format!("undone by {}", by.short()),
        EditStanding::Settled { version: Some(version) } => format!("settled, LaunchDarkly has v{version}"),
        EditStanding::Settled { version: None } => "settled".to_owned(),
    };
    parts.push(standing);
    if edit.asking {
        parts.push("an approval was to be asked for, and no answer is noted".to_owned());
    }
    parts.retain(|part| !part.is_empty());
    parts.join(", ")
}
