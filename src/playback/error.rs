//! What can go wrong with the playback, each with the path and, where there is one, the way out.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Why the playback did not do what it was asked. Where a record was asked for, no store may be written.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The disk refused: full, read-only, no permission, gone.
    #[error("cannot {doing} {}: {problem}", path.display())]
    Disk {
        /// What was tried: `create`, `write to`, `sync`, …
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong, in words.
        problem: String,
        /// What helps.
        way_out: Option<String>,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// What was read back is not what was written: the disk or the memory lies.
    #[error("{} reads back other than it was written", path.display())]
    ReadBack {
        /// Which file.
        path: PathBuf,
    },
    /// An earlier sync of the file failed, so nothing more is promised about it: an operating system may forget the
    /// failure and report the next sync as done.
    #[error("{} could not be synced before, so nothing more is written to it", path.display())]
    SyncLost {
        /// Which file.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is in use by another rc (waited {} s)", path.display(), waited.as_secs())]
    Busy {
        /// The locked file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The file system has no locks.
    #[error("{} cannot be locked: its file system has no locks", path.display())]
    NoLocks {
        /// The file that should be locked.
        path: PathBuf,
    },
    /// A line is not what was written.
    #[error("{}, line {line}: {problem}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer program wrote it.
    #[error("{} is written in format {format}, this rc knows up to {known}: it is read, not written to", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The newest one that is known here.
        known: u32,
    },
    /// The file is another change's, or none's any more: it was replaced since it was opened.
    #[error("{} no longer holds change {change}", path.display())]
    Replaced {
        /// Which file.
        path: PathBuf,
        /// The change that should be in it.
        change: String,
    },
    /// More than the reader would take.
    #[error("{} would grow to {length} bytes, more than the {limit} that are read again", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// More files than are read.
    #[error("{} holds {count} changes that are not replayed, more than the {limit} that are read", folder.display())]
    TooManyFiles {
        /// Which folder.
        folder: PathBuf,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A bug of the caller: a write to a store was not told in the change that was to be recorded.
    #[error("the change does not tell of the write to {flag} in {target}")]
    Untold {
        /// Which flag.
        flag: String,
        /// Where.
        target: String,
    },
    /// A bug of the caller: the change cannot be written down.
    #[error("the change cannot be written down: {problem}")]
    Unwritable {
        /// Why.
        problem: String,
    },
    /// Nothing of that name.
    #[error("no change in {} ends with {digits:?}", folder.display())]
    NoSuchChange {
        /// What was asked for.
        digits: String,
        /// Which playback.
        folder: PathBuf,
    },
    /// Several of that name.
    #[error("{} changes in {} end with {digits:?}", candidates.len(), folder.display())]
    Ambiguous {
        /// What was asked for.
        digits: String,
        /// Which playback.
        folder: PathBuf,
        /// The whole ids with the flags they change, to choose from.
        candidates: Vec<String>,
    },
    /// A file of that name has been moved before, and it is another one.
    #[error("{} is there already, and is another file", path.display())]
    AlreadyThere {
        /// Where it should have gone.
        path: PathBuf,
    },
}

impl PlaybackError {
    /// What the operator can do about it, where that is known.
    pub fn way_out(&self) -> Option<String> {
        match self {
            PlaybackError::Disk { way_out, .. } => way_out.clone(),
            PlaybackError::ReadBack { .. } | PlaybackError::SyncLost { .. } => {
                Some(format!("this disk may be failing: {ELSEWHERE}"))
            }
            PlaybackError::Busy { path, .. } => Some(format!(
                "wait for the other rc (`fuser {}` shows which process); on a network drive a lock may outlive its owner: {ELSEWHERE}",
                path.display()
            )),
            PlaybackError::NoLocks { .. } => Some(ELSEWHERE.to_owned()),
            PlaybackError::Damaged { path, .. } => Some(format!(
                "other changes still work; keep {} for what is readable in it, and put a copy in its place if there is one",
                path.display()
            )),
            PlaybackError::Newer { .. } => Some("use the newer rc that wrote it".to_owned()),
            PlaybackError::Replaced { .. } => Some("run the command again".to_owned()),
            PlaybackError::TooLong { .. } => Some("do it in smaller batches".to_owned()),
            PlaybackError::TooManyFiles { .. } => {
                Some("rc replay, or move files that nobody needs to another folder".to_owned())
            }
            PlaybackError::NoSuchChange { .. } => Some("rc log lists the changes".to_owned()),
            PlaybackError::Ambiguous { candidates, .. } => Some(format!("one of: {}", candidates.join("; "))),
            PlaybackError::AlreadyThere { path } => Some(format!("look at {} and rename it", path.display())),
            PlaybackError::Untold { .. } | PlaybackError::Unwritable { .. } => None,
        }
    }

    /// An error of the operating system, in words that help.
    pub(super) fn disk(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let (problem, way_out) = match source.kind() {
            io::ErrorKind::StorageFull => {
                ("the disk is full".to_owned(), Some(format!("free some space there, or {ELSEWHERE}")))
            }
            io::ErrorKind::QuotaExceeded => {
                ("the disk quota is used up".to_owned(), Some(format!("free some space there, or {ELSEWHERE}")))
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                ("the disk is mounted read-only".to_owned(), Some(ELSEWHERE.to_owned()))
            }
            io::ErrorKind::PermissionDenied => (
                "no permission".to_owned(),
                Some(format!(
                    "give this user read and write permission there (the folder is 0700, files are 0600), or {ELSEWHERE}"
                )),
            ),
            io::ErrorKind::NotFound => {
                ("it is not there".to_owned(), Some(format!("make the folder it should be in, or {ELSEWHERE}")))
            }
            io::ErrorKind::NotADirectory => ("it is not a folder".to_owned(), Some(ELSEWHERE.to_owned())),
            _ => (source.to_string(), None),
        };
        Self::Disk { doing, path: path.to_owned(), problem, way_out, source }
    }
}

const ELSEWHERE: &str = "name another folder with RC_PLAYBACK or --playback";
