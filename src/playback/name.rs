//! The names of playback files, made for people: what counts is inside. Only by their times, with
//! which they begin, old ones are told from new ones without reading them. PURE.

use jiff::Timestamp;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::flag::instruction::Instruction;

/// How every playback file's name ends.
pub(super) const ENDING: &str = ".jsonl";

/// The folder in the playback that holds what LaunchDarkly has.
pub(super) const REPLAYED: &str = "replayed";

/// The file in the playback that a replay locks.
pub(super) const LOCK: &str = ".lock";

/// How many digits of the id a name ends with; more where that name is taken. The last one is the whole id.
pub(super) const DIGITS: [usize; 3] = [4, 12, 32];

/// The most characters of a flag key in a name. Keys may have 256, file names 255.
const FLAG_LENGTH_MAX: usize = 80;

/// `<UTC time>-<flag>-<state>-<last digits of the id>.jsonl`; several flags are counted.
pub(super) fn file_name(change: &Change, digits: usize) -> String {
    let time = time(change.motive.at);
    let id = change.id.to_string().replace('-', "");
    let id = &id[id.len().saturating_sub(digits)..];
    format!("{time}-{}-{}-{id}{ENDING}", subject(&change.edits), state(change))
}

/// A time as names begin with it: whoever sorts them has the oldest first.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn subject(edits: &[Edit]) -> String {
    match edits {
        [edit] => {
            let key = edit.flag.as_str();
            match key.get(..FLAG_LENGTH_MAX) {
                Some(beginning) if key.len() > FLAG_LENGTH_MAX => format!("{beginning}~"),
                _ => key.to_owned(),
            }
        }
        _ => format!("{}-flags", edits.len()),
    }
}

fn state(change: &Change) -> String {
    if change.kind == ChangeKind::Undo {
        return "undo".to_owned();
    }
    let mut states = change.edits.iter().map(|edit| edit_state(&edit.instructions));
    let first = states.next().unwrap_or_else(|| "edit".to_owned());
    if states.all(|state| state == first) { first } else { "mixed".to_owned() }
}

/// What an edit comes to, in a word: a variation that everybody gets, else on or off, else `edit`.
fn edit_state(instructions: &[Instruction]) -> String {
    if let Some(variation) = instructions.iter().rev().find_map(Instruction::variation) {
        return format!("variation{variation}");
    }
    let switch = instructions.iter().rev().find_map(|instruction| match instruction {
        Instruction::TurnFlagOn => Some("on"),
        Instruction::TurnFlagOff => Some("off"),
        _ => None,
    });
    switch.unwrap_or("edit").to_owned()
}
