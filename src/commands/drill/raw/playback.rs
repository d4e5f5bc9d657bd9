//! The files of a playback as they lie on the disk: what waits, and what LaunchDarkly has.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use super::Trouble;

/// The files of a playback: those that wait, and those that LaunchDarkly has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaybackFiles {
    /// The first line of each file that waits, oldest first.
    pub waiting: Vec<Value>,
    /// How many lie in `replayed/`.
    pub replayed: usize,
}

impl PlaybackFiles {
    /// What each waiting file is about: flags and what would be sent for them, as `checkout turnFlagOff`.
    pub fn told(&self) -> Vec<String> {
        let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let edit = |edit: &Value| {
            let instructions = edit.get("instructions").and_then(Value::as_array).into_iter().flatten();
            let kinds: Vec<String> = instructions.map(|instruction| text(instruction, "kind")).collect();
            format!("{} {}", text(edit, "flag"), kinds.join(" "))
        };
        let file = |intent: &Value| {
            let edits = intent.pointer("/change/edits").and_then(Value::as_array).into_iter().flatten();
            edits.map(edit).collect::<Vec<_>>().join(" + ")
        };
        self.waiting.iter().map(file).collect()
    }
}

/// Reads the playback of a home.
///
/// # Errors
/// What went wrong, in words.
pub fn read(home: &Path) -> Result<PlaybackFiles, Trouble> {
    let folder = home.join("playback");
    let mut waiting = Vec::new();
    for path in change_files(&folder)? {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let first = text.lines().next().unwrap_or_default();
        waiting.push(serde_json::from_str(first).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    // Ids of changes begin with their time; names of files only tell the second.
    waiting.sort_by_key(|intent: &Value| intent.pointer("/change/id").map(Value::to_string));
    Ok(PlaybackFiles { waiting, replayed: change_files(&folder.join("replayed"))?.len() })
}

/// The files of changes in a folder, by name, and so by time; none where there is no folder.
fn change_files(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect();
    paths.sort();
    Ok(paths)
}
