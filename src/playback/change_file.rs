//! One change's file, open for adding: re-reads and other writes before they are done, outcomes after.

use std::path::Path;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::flag::key::FlagKey;
use crate::playback::contents;
use crate::playback::contents::Contents;
use crate::playback::contents::Tail;
use crate::playback::disk::DiskFile;
use crate::playback::error::PlaybackError;
use crate::playback::folder::Place;
use crate::playback::format;
use crate::playback::format::PLAYBACK_FORMAT;
use crate::playback::line;
use crate::playback::lock;
use crate::playback::lock::ReplayGuard;
use crate::playback::name;
use crate::playback::writing;
use crate::playback::writing::AppendError;

/// A file, and the writes that it is to tell of: for each the edit, and its place among all.
#[derive(Debug)]
pub struct Telling<'f> {
    /// The file.
    pub file: &'f mut ChangeFile,
    /// Edits of it, and places of writes.
    pub writes: Vec<(EditIndex, usize)>,
}

/// As [`ChangeFile::record_writes`] for many changes at once, with one sync of each file.
///
/// # Errors
/// As [`ChangeFile::record_writes`], and if a write is told of in none of the files. Then nothing may be written.
pub fn record_writes_in<'w>(
    files: &mut [Telling<'_>],
    writes: &'w [Write],
    now: Timestamp,
) -> Result<Recorded<'w>, PlaybackError> {
    let mut told = vec![false; writes.len()];
    for (telling, (edit, place)) in
        files.iter().flat_map(|telling| telling.writes.iter().map(move |write| (telling, *write)))
    {
        let Some(write) = writes.get(place) else { continue };
        if telling.file.flags.get(edit) != Some(&write.flag) {
            return Err(untold(write));
        }
        if let Some(told) = told.get_mut(place) {
            *told = true;
        }
    }
    if let Some((write, _)) = writes.iter().zip(&told).find(|(_, told)| !**told) {
        return Err(untold(write));
    }
    Recorded::once(writes, |writes| {
        for telling in files {
            let event = |(edit, place): &(EditIndex, usize)| {
                let write = writes.get(*place)?;
                let (target, before) = (write.target.clone(), write.before.clone());
                let what = Happened::Writing { target, before, after: write.after.clone() };
                Some(Event { at: now, edit: *edit, what })
            };
            let events: Vec<Event> = telling.writes.iter().filter_map(event).collect();
            telling.file.note(&events, Syncing::Now)?;
        }
        Ok(())
    })
}

/// When an event must be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncing {
    /// Before the call returns: decisions, and whatever is about to be done because of them.
    Now,
    /// Whenever the system gets to it: outcomes. The store itself knows them too.
    Later,
}

/// The file of one change, to which events are added. Others may add to it at the same time.
#[derive(Debug)]
pub struct ChangeFile {
    place: Place,
    file_name: String,
    change: ChangeId,
    flags: Vec<FlagKey>,
    /// The end of the file as this value left it; trusted as long as the file's length says that nobody added to it.
    tail: Option<Tail>,
    /// The end of the file as it was read before; trusted if the sums say that it is still the same file.
    as_read: Option<Tail>,
    sync_lost: bool,
}

impl ChangeFile {
    pub(super) fn new(
        place: Place,
        file_name: String,
        change: ChangeId,
        flags: Vec<FlagKey>,
        tail: Option<Tail>,
    ) -> Self {
        Self { place, file_name, change, flags, tail, as_read: None, sync_lost: false }
    }

    /// With the end that it had when it was read.
    pub(super) fn after_reading(mut self, end: Option<Tail>) -> Self {
        self.as_read = end;
        self
    }

    /// The name of the file, without folders.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Where the file is, unless another process has moved it.
    pub fn path(&self) -> PathBuf {
        self.place.folder.join(&self.file_name)
    }

    /// The change that it holds.
    pub fn change(&self) -> ChangeId {
        self.change
    }

    /// Adds events, as one write. Nothing is added if one of them cannot be.
    ///
    /// # Errors
    /// [`PlaybackError`]: the disk refused, the file is locked, damaged, of a newer format, or no longer there.
    pub fn note(&mut self, events: &[Event], syncing: Syncing) -> Result<(), PlaybackError> {
        if events.is_empty() {
            return Ok(());
        }
        if self.sync_lost {
            return Err(PlaybackError::SyncLost { path: self.path() });
        }
        self.append(events, syncing).map_err(|AppendError { error, sync_lost }| {
            // What stands at the end now is read again before the next line.
            self.tail = None;
            self.sync_lost |= sync_lost;
            error
        })
    }

    /// Records writes that take the place of earlier ones of the same edit, since the record was not what it had been:
    /// one `re-read` each, durable on return.
    ///
    /// # Errors
    /// As [`ChangeFile::note`], and if a write is of another change or flag. Then nothing may be written.
    pub fn rerecord<'w>(
        &mut self,
        edit: EditIndex,
        writes: &'w [Write],
        now: Timestamp,
    ) -> Result<Recorded<'w>, PlaybackError> {
        if let Some(write) = writes.iter().find(|write| write.change != self.change) {
            return Err(untold(write));
        }
        self.record_before(edit, writes, now, |write| Happened::ReRead {
            target: write.target.clone(),
            before: write.before.clone(),
            after: write.after.clone(),
        })
    }

    /// Records any other writes that belong to an edit (settling after a replay, an undo's repetition): one `writing`
    /// each, durable on return. They may carry a newer change's id, since an override is made of several.
    ///
    /// # Errors
    /// As [`ChangeFile::note`], and if a write is of another flag. Then nothing may be written.
    pub fn record_writes<'w>(
        &mut self,
        edit: EditIndex,
        writes: &'w [Write],
        now: Timestamp,
    ) -> Result<Recorded<'w>, PlaybackError> {
        self.record_before(edit, writes, now, |write| Happened::Writing {
            target: write.target.clone(),
            before: write.before.clone(),
            after: write.after.clone(),
        })
    }

    fn record_before<'w>(
        &mut self,
        edit: EditIndex,
        writes: &'w [Write],
        now: Timestamp,
        what: impl Fn(&Write) -> Happened,
    ) -> Result<Recorded<'w>, PlaybackError> {
        let flag = self.flags.get(edit);
        if let Some(write) = writes.iter().find(|write| Some(&write.flag) != flag) {
            return Err(untold(write));
        }
        Recorded::once(writes, |writes| {
            let events: Vec<Event> = writes.iter().map(|write| Event { at: now, edit, what: what(write) }).collect();
            self.note(&events, Syncing::Now)
        })
    }

    /// Moves the file to `playback/replayed/`, durably: LaunchDarkly has it. For many files at once there is
    /// [`crate::playback::Playback::move_to_replayed`].
    ///
    /// # Errors
    /// The disk refused, or another file of that name is there. Calling it again is fine.
    pub fn move_to_replayed(&self, guard: &ReplayGuard) -> Result<(), PlaybackError> {
        self.place.move_to_replayed(guard, std::slice::from_ref(&self.file_name))
    }

    fn append(&mut self, events: &[Event], syncing: Syncing) -> Result<(), AppendError> {
        let (mut file, path) = self.open_locked()?;
        let mut tail = self.find_tail(file.as_mut(), &path)?;
        let mut text = String::new();
        let mut sum = tail.sum.clone();
        for event in events {
            let (line, line_sum) = self.line(&path, sum.as_ref(), event)?;
            text.push_str(&line);
            sum = Some(line_sum);
        }
        writing::append(file.as_mut(), &path, &tail, &text, syncing == Syncing::Now)?;
        tail.length += text.len() as u64 + u64::from(tail.open);
        self.tail = Some(Tail { length: tail.length, sum, open: false });
        Ok(())
    }

    /// One event as a line, read again before anybody relies on it.
    fn line(
        &self,
        path: &Path,
        previous: Option<&line::Sum>,
        event: &Event,
    ) -> Result<(String, line::Sum), PlaybackError> {
        let unwritable = |problem: String| PlaybackError::Unwritable { problem };
        let payload = format::encode_event(event).map_err(|error| unwritable(error.to_string()))?;
        if payload.len() + 128 > line::LINE_LENGTH_MAX {
            let (length, limit) = (payload.len() as u64, line::LINE_LENGTH_MAX as u64);
            return Err(PlaybackError::TooLong { path: path.to_owned(), length, limit });
        }
        if format::decode_event(&payload, self.flags.len()).map_err(unwritable)? != *event {
            return Err(unwritable("an event reads back other than it is".to_owned()));
        }
        Ok(line::seal(previous, &payload))
    }

    /// Opens and locks the file where it is: another process may have replayed the change and moved it.
    fn open_locked(&self) -> Result<(Box<dyn DiskFile>, PathBuf), PlaybackError> {
        let here = self.path();
        let moved = self.place.folder.join(name::REPLAYED).join(&self.file_name);
        let (mut file, path) = match self.place.disk.open(&here) {
            Ok(file) => (file, here),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match self.place.disk.open(&moved) {
                Ok(file) => (file, moved),
                Err(_) => return Err(PlaybackError::disk("open", &here, error)),
            },
            Err(error) => return Err(PlaybackError::disk("open", &here, error)),
        };
        lock::wait_for(file.as_mut(), &path, self.place.lock_wait)?;
        Ok((file, path))
    }

    /// The end of the locked file: as this value left it, or read and mended if anybody else was there.
    fn find_tail(&self, file: &mut dyn DiskFile, path: &Path) -> Result<Tail, AppendError> {
        let length = file.length().map_err(|error| PlaybackError::disk("read", path, error))?;
        if let Some(tail) = self.tail.as_ref().filter(|tail| tail.length == length) {
            return Ok(tail.clone());
        }
        if let Some(tail) = self.as_read.as_ref().filter(|tail| tail.length == length) {
            let bytes =
                file.read_all(writing::FILE_LENGTH_MAX).map_err(|error| PlaybackError::disk("read", path, error))?;
            if contents::is_unchanged(&bytes, tail) {
                return Ok(tail.clone());
            }
        }
        let contents = writing::mend(file, path)?;
        check_writable(path, &contents)?;
        if contents.intent.as_ref().map(|intent| intent.change.id) != Some(self.change) {
            let change = self.change.to_string();
            return Err(PlaybackError::Replaced { path: path.to_owned(), change }.into());
        }
        Ok(contents.tail)
    }
}

/// Refuses what is damaged, or newer than this program.
pub(super) fn check_writable(path: &Path, contents: &Contents) -> Result<(), PlaybackError> {
    if let Some(format) = contents.newer {
        return Err(PlaybackError::Newer { path: path.to_owned(), format, known: PLAYBACK_FORMAT });
    }
    match &contents.problem {
        Some(problem) => {
            Err(PlaybackError::Damaged { path: path.to_owned(), line: problem.line, problem: problem.told.clone() })
        }
        None => Ok(()),
    }
}

pub(super) fn untold(write: &Write) -> PlaybackError {
    PlaybackError::Untold { flag: write.flag.to_string(), target: write.target.to_string() }
}
