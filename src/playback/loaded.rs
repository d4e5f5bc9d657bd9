//! What is read from the folder: whole changes, damaged files, unfinished ones. Values in, values out; it touches no disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::path::PathBuf;

use crate::change::event::Event;
use crate::change::id::ChangeId;
use crate::playback::contents::Contents;
use crate::playback::contents::Glimpse;
use crate::playback::contents::NotUnderstood;
use crate::playback::contents::Tail;
use crate::playback::format::Intent;

/// One change, as its file tells it.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Where it is.
    pub path: PathBuf,
    /// What was decided.
    pub intent: Intent,
    /// What came of it, in the order in which it was written down.
    pub events: Vec<Event>,
    /// The beginning of a write that never ended, to be shown. It means nothing.
    pub torn: Option<String>,
    /// Whether it is in `playback/replayed/`: LaunchDarkly has it.
    pub replayed: bool,
    /// Whether events can be added: not where it is damaged, or newer than this program.
    pub writable: bool,
    /// Its format, where that is newer than [`PLAYBACK_FORMAT`].
    pub newer: Option<u32>,
    /// Lines of a newer format that this program does not understand.
    pub not_understood: Vec<NotUnderstood>,
    /// Where it ended when it was read, so that whoever adds to it need not read it again.
    pub end: Option<End>,
}

/// The end of a file, as it was read.
#[derive(Debug, Clone)]
pub struct End(pub(super) Tail);

impl LoadedFile {
    /// The id of the change.
    pub fn change(&self) -> ChangeId {
        self.intent.change.id
    }
}

/// A file that is not, or not surely, what was written, or that this program cannot read.
#[derive(Debug, Clone)]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// The line where reading stopped, counted from 1; `None` for the file as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
    /// What stands before that line, if the intent does: to be shown, and not written to.
    pub readable: Option<Box<LoadedFile>>,
    /// What can be told of an intent in a newer format.
    pub glimpse: Option<Glimpse>,
}

/// A file whose first line never ended: no store was written for it. (Or another `rc` is writing it at this moment.)
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Which file. Nobody needs it.
    pub file: PathBuf,
    /// The beginning of its text; empty where nothing came to the disk.
    pub torn: String,
}

/// What is in a playback folder.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The changes, in the order of their ids: by the clocks of those who made them, for display.
    pub files: Vec<LoadedFile>,
    /// Files that are damaged or in a newer format that does not let itself be read.
    pub damaged: Vec<Damage>,
    /// Changes that were never written down to the end.
    pub unfinished: Vec<Unfinished>,
    /// How many replayed files were not read, beyond the limit of 10,000.
    pub left_out: usize,
}

/// What one file turned out to be.
pub(super) enum Read {
    Whole(Box<LoadedFile>),
    Damaged(Damage),
    Unfinished(Unfinished),
}

/// Tells what a file is from what is in it.
pub(super) fn classify(path: &Path, replayed: bool, contents: Contents) -> Read {
    let writable = contents.problem.is_none() && contents.newer.is_none();
    let file = contents.intent.map(|intent| {
        Box::new(LoadedFile {
            path: path.to_owned(),
            intent,
            events: contents.events,
            torn: contents.torn.clone(),
            replayed,
            writable,
            newer: contents.newer,
            not_understood: contents.not_understood,
            end: Some(End(contents.tail)),
        })
    });
    match (contents.problem, file) {
        (None, Some(file)) => Read::Whole(file),
        (None, None) => Read::Unfinished(Unfinished { file: path.to_owned(), torn: contents.torn.unwrap_or_default() }),
        (Some(problem), readable) => Read::Damaged(Damage {
            file: path.to_owned(),
            line: Some(problem.line),
            problem: problem.told,
            readable,
            glimpse: contents.glimpse,
        }),
    }
}

/// A change to choose from, where several are meant: whole id, subject, who, when.
pub(super) fn candidate(file: &LoadedFile) -> String {
    let edits = &file.intent.change.edits;
    let subject = match edits.as_slice() {
        [edit] => edit.flag.to_string(),
        _ => format!("{} flags", edits.len()),
    };
    let motive = &file.intent.change.motive;
    format!("{} ({subject}, {} {})", file.change(), motive.actor, motive.at)
}

impl Loaded {
    /// Puts together what was read; a change that is there twice counts once.
    pub(super) fn of(reads: Vec<Read>) -> Self {
        let mut loaded = Self::default();
        let mut files: BTreeMap<ChangeId, LoadedFile> = BTreeMap::new();
        for read in reads {
            match read {
                Read::Unfinished(unfinished) => loaded.unfinished.push(unfinished),
                Read::Damaged(damage) => loaded.damaged.push(damage),
                Read::Whole(file) => match files.entry(file.change()) {
                    Entry::Vacant(place) => {
                        place.insert(*file);
                    }
                    Entry::Occupied(mut place) => match fuller(place.get(), &file) {
                        Some(Fuller::First) => {}
                        Some(Fuller::Second) => {
                            place.insert(*file);
                        }
                        None => loaded.damaged.push(contradiction(place.get(), *file)),
                    },
                },
            }
        }
        loaded.files = files.into_values().collect();
        loaded
    }
}

enum Fuller {
    First,
    Second,
}

/// Which of two files of the same change tells the whole story, if one of them does: somebody has made a copy, or
/// restored one beside the file that was moved. Where they are alike, the second: it may be the replayed one.
fn fuller(first: &LoadedFile, second: &LoadedFile) -> Option<Fuller> {
    if first.intent != second.intent {
        return None;
    }
    if second.events.starts_with(&first.events) {
        return Some(Fuller::Second);
    }
    first.events.starts_with(&second.events).then_some(Fuller::First)
}

fn contradiction(first: &LoadedFile, mut second: LoadedFile) -> Damage {
    second.writable = false;
    Damage {
        file: second.path.clone(),
        line: None,
        problem: format!("it tells of the same change as {}, and otherwise", first.path.display()),
        readable: Some(Box::new(second)),
        glimpse: None,
    }
}
