//! The changes in a home's playback as its files tell them, read as JSON lines and by none of the program's code.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use crate::commands::drill::raw::Trouble;

/// A change in a playback.
#[derive(Debug, Clone, PartialEq)]
pub struct Filed {
    /// Its id.
    pub change: String,
    /// `update`, `undo` or `adopted`.
    pub kind: String,
    /// The flag of each of its edits.
    pub flags: Vec<String>,
    /// What each of its edits asks for: its instructions.
    pub instructions: Vec<Vec<Value>>,
    /// What happened: to which edit, and what.
    pub events: Vec<(usize, Value)>,
    /// Whether it lies in `replayed/`.
    pub moved: bool,
}

impl Filed {
    /// Whether one of these things is noted of an edit.
    pub fn is_noted(&self, edit: usize, what: &[&str]) -> bool {
        self.events.iter().any(|(of, event)| *of == edit && what.contains(&is(event)))
    }

    /// Whether it says of an edit that it is over: taken back, given up, or settled everywhere; and that it was written after
    /// that nowhere. An undo that comes while the update is at work ends it only as far as it has come.
    pub fn is_over(&self, edit: usize) -> bool {
        let everywhere = |event: &Value| event.get("target").is_none_or(Value::is_null);
        let over = |event: &Value| match is(event) {
            "undone" | "abandoned" => true,
            "settled" => everywhere(event),
            _ => false,
        };
        let mut newest = self.events.iter().rev().filter(|(of, _)| *of == edit).map(|(_, event)| event);
        newest.find(|event| over(event) || is(event) == "written").is_some_and(over)
    }
}

/// The name of what happened.
pub fn is(event: &Value) -> &str {
    event.get("is").and_then(Value::as_str).unwrap_or_default()
}

/// All changes of a home, oldest first.
///
/// # Errors
/// Where a file cannot be read, or its first line is none.
pub fn read(home: &Path) -> Result<Vec<Filed>, Trouble> {
    let folder = home.join("playback");
    let mut all = Vec::new();
    for (folder, moved) in [(folder.clone(), false), (folder.join("replayed"), true)] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{}: {error}", folder.display())),
        };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
                all.push(filed(&text, moved).ok_or_else(|| format!("{} tells of no change", path.display()))?);
            }
        }
    }
    all.sort_by(|one, other| one.change.cmp(&other.change));
    Ok(all)
}

fn filed(text: &str, moved: bool) -> Option<Filed> {
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let intent = lines.next()?;
    let change = intent.get("change")?;
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let edits = change.get("edits")?.as_array()?;
    let instructions = |edit: &Value| edit.get("instructions").and_then(Value::as_array).cloned().unwrap_or_default();
    let event = |line: Value| {
        let edit = usize::try_from(line.get("edit")?.as_u64()?).ok()?;
        Some((edit, line.get("what")?.clone()))
    };
    Some(Filed {
        change: text(change, "id"),
        kind: text(change, "kind"),
        flags: edits.iter().map(|edit| text(edit, "flag")).collect(),
        instructions: edits.iter().map(instructions).collect(),
        events: lines.filter_map(event).collect(),
        moved,
    })
}

/// The flags that any of these changes names.
pub fn flags(filed: &[Filed]) -> BTreeSet<String> {
    filed.iter().flat_map(|filed| filed.flags.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_after_its_end_is_not_over() {
        let filed = |events: &[&str]| Filed {
            change: "a".to_owned(),
            kind: "update".to_owned(),
            flags: vec!["checkout".to_owned()],
            instructions: Vec::new(),
            events: events.iter().map(|is| (0, json!({ "is": is }))).collect(),
            moved: false,
        };
        assert!(filed(&["written", "undone"]).is_over(0));
        assert!(filed(&["written", "settled", "attempted"]).is_over(0));
        assert!(!filed(&["undone", "written"]).is_over(0));
        assert!(!filed(&["written"]).is_over(0));
        assert!(!filed(&["undone"]).is_over(1), "another edit");
    }
}
