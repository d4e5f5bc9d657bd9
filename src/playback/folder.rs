//! The folder of changes: recording a new one, reading what is there, finding one, moving what is replayed.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::playback::change_file;
use crate::playback::change_file::ChangeFile;
use crate::playback::contents::Contents;
use crate::playback::contents::Tail;
use crate::playback::disk::Disk;
use crate::playback::disk::DiskFile;
use crate::playback::error::PlaybackError;
use crate::playback::format;
use crate::playback::format::Intent;
use crate::playback::format::PLAYBACK_FORMAT;
use crate::playback::line;
use crate::playback::loaded;
use crate::playback::loaded::Damage;
use crate::playback::loaded::End;
use crate::playback::loaded::Loaded;
use crate::playback::loaded::LoadedFile;
use crate::playback::loaded::Read;
use crate::playback::lock;
use crate::playback::lock::ReplayGuard;
use crate::playback::name;
use crate::playback::writing;
use crate::playback::writing::FILE_LENGTH_MAX;

/// The most files that are read. Of those that are replayed the newest are taken; more that are not replayed are an
/// error, since one that is left out may be owed.
pub(super) const FILES_MAX: usize = 10_000;

/// From how many bytes on a second thread is worth its start.
const LARGE: usize = 256 * 1024;

/// The most candidates that an ambiguous name is answered with.
const CANDIDATES_MAX: usize = 20;

/// A playback folder and the disk it is on.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub lock_wait: Duration,
}

impl Place {
    pub(super) fn move_to_replayed(&self, guard: &ReplayGuard, names: &[String]) -> Result<(), PlaybackError> {
        self.is_locked_by(guard)?;
        writing::move_to_replayed(self.disk.as_ref(), &self.folder, names, self.lock_wait)
    }

    fn is_locked_by(&self, guard: &ReplayGuard) -> Result<(), PlaybackError> {
        if guard.folder == self.folder {
            return Ok(());
        }
        let problem = format!("the lock is for {}, not for {}", guard.folder.display(), self.folder.display());
        Err(PlaybackError::Unwritable { problem })
    }
}

/// The folder of changes. Cheap to clone; it holds nothing open.
#[derive(Debug, Clone)]
pub struct Playback {
    place: Place,
}

impl Playback {
    /// A playback in `folder`, which need not be there: then it is empty, and made (0700) when a change is recorded;
    /// the folder above it must be there by then. Nothing on the disk is touched.
    ///
    /// # Errors
    /// `folder` is there and is not a folder, or cannot be looked at.
    pub fn open(folder: &Path, disk: Arc<dyn Disk>) -> Result<Self, PlaybackError> {
        let there = disk.exists(folder).map_err(|error| PlaybackError::disk("open", folder, error))?;
        // A path below something tells the two apart: below a file there is nothing to look at.
        if there {
            disk.exists(&folder.join(name::LOCK)).map_err(|error| PlaybackError::disk("open", folder, error))?;
        }
        Ok(Self { place: Place { disk, folder: folder.to_owned(), lock_wait: lock::WAIT_MAX } })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// The same playback with another patience for locks.
    #[cfg(test)]
    pub(super) fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.place.lock_wait = wait;
        self
    }

    /// Writes a change down, durably: file, name and folder. Only then it gives the proof that its `writes` may be
    /// done. Costs one new file, one sync of it and one of the folder.
    ///
    /// # Errors
    /// [`PlaybackError`]; no store may be written then, and no file is left (unless the disk refuses even that). A
    /// write of which the intent does not tell (change, flag, target, record before and after) is an error too.
    pub fn record<'w>(
        &self,
        intent: &Intent,
        writes: &'w [Write],
    ) -> Result<(ChangeFile, Recorded<'w>), PlaybackError> {
        let (line, sum) = intent_line(intent)?;
        if let Some(write) = intent.first_untold(writes) {
            return Err(change_file::untold(write));
        }
        let mut file_name = String::new();
        let recorded = Recorded::once(writes, |_| {
            writing::ensure_folder(self.place.disk.as_ref(), &self.place.folder)?;
            let (name, file) = self.create(intent)?;
            let path = self.place.folder.join(&name);
            file_name = name;
            writing::fill(self.place.disk.as_ref(), file, &self.place.folder, &path, line.as_bytes())
        })?;
        let tail = Tail { length: line.len() as u64, sum: Some(sum), open: false };
        let file = ChangeFile::new(self.place.clone(), file_name, intent.change.id, intent.flags(), Some(tail));
        Ok((file, recorded))
    }

    /// Makes the file, with more digits of the id where a name is taken: by a change of the same second, flag and
    /// state whose id ends alike.
    fn create(&self, intent: &Intent) -> Result<(String, Box<dyn DiskFile>), PlaybackError> {
        let mut taken = PlaybackError::Unwritable { problem: "no name is free".to_owned() };
        for digits in name::DIGITS {
            let name = name::file_name(&intent.change, digits);
            let path = self.place.folder.join(&name);
            match self.place.disk.create_new(&path) {
                Ok(file) => return Ok((name, file)),
                Err(error) => {
                    let again = error.kind() == io::ErrorKind::AlreadyExists;
                    taken = PlaybackError::disk("create", &path, error);
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(taken)
    }

    /// Opens the file of a change that was read, to add events to it.
    ///
    /// # Errors
    /// It is damaged or of a newer format, so it is not written to.
    pub fn reopen(&self, file: &LoadedFile) -> Result<ChangeFile, PlaybackError> {
        let path = file.path.clone();
        if let Some(format) = file.newer {
            return Err(PlaybackError::Newer { path, format, known: PLAYBACK_FORMAT });
        }
        if !file.writable {
            let line = file.events.len() + 2;
            return Err(PlaybackError::Damaged { path, line, problem: "it is damaged".to_owned() });
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let end = file.end.as_ref().map(|End(tail)| tail.clone());
        Ok(ChangeFile::new(self.place.clone(), name, file.change(), file.intent.flags(), None).after_reading(end))
    }

    /// Everything that is there, replayed or not.
    ///
    /// # Errors
    /// A folder cannot be listed, or holds more than 10,000 changes that are not replayed. What is wrong with a single
    /// file is told in the answer.
    pub fn load(&self) -> Result<Loaded, PlaybackError> {
        let mut waiting = self.names(&self.place.folder)?;
        let replayed_folder = self.place.folder.join(name::REPLAYED);
        let mut replayed = self.names(&replayed_folder)?;
        self.check_count(&waiting)?;
        // Names begin with the time, so the newest are last.
        let room = FILES_MAX.saturating_sub(waiting.len());
        let left_out = replayed.len().saturating_sub(room);
        replayed.drain(..left_out);
        let mut reads = Vec::with_capacity(waiting.len() + replayed.len());
        for (name, is_file) in waiting.drain(..) {
            match self.read(&self.place.folder.join(&name), is_file, false) {
                Some(read) => reads.push(read),
                // Another process has moved it between the two looks.
                None => reads.extend(self.read(&replayed_folder.join(&name), is_file, true)),
            }
        }
        for (name, is_file) in replayed {
            reads.extend(self.read(&replayed_folder.join(&name), is_file, true));
        }
        let mut loaded = Loaded::of(reads);
        loaded.left_out = left_out;
        Ok(loaded)
    }

    /// Only what has not been moved to `replayed/`: all that can be owed. Its cost does not grow with history.
    ///
    /// # Errors
    /// As [`Playback::load`].
    pub fn load_waiting(&self) -> Result<Loaded, PlaybackError> {
        let waiting = self.names(&self.place.folder)?;
        self.check_count(&waiting)?;
        let read = |(name, is_file): &(String, bool)| self.read(&self.place.folder.join(name), *is_file, false);
        Ok(Loaded::of(waiting.iter().filter_map(read).collect()))
    }

    /// Of what has been moved to `replayed/`, what was made since `since`, by the times in the names: of more than `at_most`
    /// files, the newest. What cannot be read whole is left out: whoever looks at all of it hears of it.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn load_replayed(&self, since: Timestamp, at_most: usize) -> Result<Loaded, PlaybackError> {
        let folder = self.place.folder.join(name::REPLAYED);
        let (mut names, since) = (self.names(&folder)?, name::time(since));
        names.retain(|(name, _)| *name >= since);
        let left_out = names.len().saturating_sub(at_most);
        let read = |(name, is_file): &(String, bool)| self.read(&folder.join(name), *is_file, true);
        let mut loaded = Loaded::of(names.iter().skip(left_out).filter_map(read).collect());
        loaded.left_out = left_out;
        Ok(loaded)
    }

    /// The change whose id is, or ends with, `digits`, replayed or not.
    ///
    /// # Errors
    /// There is none, or several; or its file is damaged; or the folder cannot be read.
    pub fn find(&self, digits: &str) -> Result<LoadedFile, PlaybackError> {
        let loaded = self.load()?;
        let folder = self.place.folder.clone();
        let digits = digits.to_owned();
        let wanted = |file: &LoadedFile| file.change().ends_with(&digits);
        let mut found: Vec<LoadedFile> = loaded.files.into_iter().filter(|file| wanted(file)).collect();
        let damaged = loaded.damaged.into_iter().find(|damage| match &damage.readable {
            Some(file) => wanted(file),
            // Of a file whose first line is damaged, the name still has the last digits.
            None => digits.len() >= name::DIGITS[0] && name_ends_with(&damage.file, &digits),
        });
        match (found.pop(), damaged) {
            (Some(file), None) if found.is_empty() => Ok(file),
            (None, Some(damage)) => {
                let line = damage.line.unwrap_or(1);
                Err(PlaybackError::Damaged { path: damage.file, line, problem: damage.problem })
            }
            (None, None) => Err(PlaybackError::NoSuchChange { digits, folder }),
            (last, damaged) => {
                let damaged = damaged.and_then(|damage| damage.readable).map(|file| *file);
                let all = found.into_iter().chain(last).chain(damaged);
                let candidates = all.take(CANDIDATES_MAX).map(|file| loaded::candidate(&file)).collect();
                Err(PlaybackError::Ambiguous { digits, folder, candidates })
            }
        }
    }

    /// Takes the right to replay from this playback; one process has it at a time.
    ///
    /// # Errors
    /// Another one has it and did not give it back within 5 s; the folder cannot be written; there are no locks.
    pub fn lock_for_replay(&self) -> Result<ReplayGuard, PlaybackError> {
        ReplayGuard::take(&self.place.disk, &self.place.folder, self.place.lock_wait)
    }

    /// Moves files to `playback/replayed/`, durably, with one sync of each folder for all of them.
    ///
    /// # Errors
    /// The disk refused, or another file of that name is there. Some may be moved then; calling it again is fine.
    pub fn move_to_replayed<'f>(
        &self,
        guard: &ReplayGuard,
        files: impl IntoIterator<Item = &'f ChangeFile>,
    ) -> Result<(), PlaybackError> {
        let names: Vec<String> = files.into_iter().map(|file| file.file_name().to_owned()).collect();
        self.place.move_to_replayed(guard, &names)
    }

    /// Whether there are more files than this in `playback/replayed/`.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn has_replayed(&self, more_than: usize) -> Result<bool, PlaybackError> {
        Ok(self.names(&self.place.folder.join(name::REPLAYED))?.len() > more_than)
    }

    /// Removes what is in `playback/replayed/` beyond the newest `keep` files, by the times in their names, as far as it
    /// `may_go`. What is damaged or of a newer format stays. For a guard's own playback: an operator's history is never
    /// trimmed. Says how many went.
    ///
    /// # Errors
    /// The folder cannot be listed, or the disk refused to remove one; some may be gone then.
    pub fn trim_replayed(
        &self,
        guard: &ReplayGuard,
        keep: usize,
        may_go: impl Fn(&LoadedFile) -> bool,
    ) -> Result<usize, PlaybackError> {
        self.place.is_locked_by(guard)?;
        let folder = self.place.folder.join(name::REPLAYED);
        let mut names = self.names(&folder)?;
        names.truncate(names.len().saturating_sub(keep));
        let goes = |(name, is_file): &(String, bool)| match self.read(&folder.join(name), *is_file, true) {
            Some(Read::Whole(file)) => file.writable && may_go(&file),
            Some(Read::Damaged(_) | Read::Unfinished(_)) | None => false,
        };
        let names: Vec<String> = names.into_iter().filter(goes).map(|(name, _)| name).collect();
        writing::forget(self.place.disk.as_ref(), &self.place.folder, &names)?;
        Ok(names.len())
    }

    /// The playback files in a folder, sorted by name, each with whether it is a regular file. None where there is no
    /// such folder.
    fn names(&self, folder: &Path) -> Result<Vec<(String, bool)>, PlaybackError> {
        let listed = match self.place.disk.list(folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(PlaybackError::disk("list", folder, error)),
        };
        let ours = listed.into_iter().filter(|entry| entry.name.ends_with(name::ENDING));
        let mut names: Vec<(String, bool)> = ours.map(|entry| (entry.name, entry.is_file)).collect();
        names.sort();
        Ok(names)
    }

    fn check_count(&self, waiting: &[(String, bool)]) -> Result<(), PlaybackError> {
        let count = waiting.len();
        if count <= FILES_MAX {
            return Ok(());
        }
        Err(PlaybackError::TooManyFiles { folder: self.place.folder.clone(), count, limit: FILES_MAX })
    }

    /// Reads one file; `None` if it is not there any more.
    fn read(&self, path: &Path, is_file: bool, replayed: bool) -> Option<Read> {
        let whole = |problem: String| {
            Read::Damaged(Damage { file: path.to_owned(), line: None, problem, readable: None, glimpse: None })
        };
        if !is_file {
            return Some(whole("it is not a regular file".to_owned()));
        }
        match self.place.disk.read(path, FILE_LENGTH_MAX) {
            Ok(bytes) => Some(loaded::classify(path, replayed, Contents::read(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(whole(format!("it cannot be read: {error}"))),
        }
    }
}

/// The line of an intent, read again before anybody relies on it.
fn intent_line(intent: &Intent) -> Result<(String, line::Sum), PlaybackError> {
    let unwritable = |problem: String| PlaybackError::Unwritable { problem };
    if intent.format != PLAYBACK_FORMAT {
        return Err(unwritable(format!("its format is {}, not {PLAYBACK_FORMAT}", intent.format)));
    }
    if let Some(flaw) = intent.flaw() {
        return Err(unwritable(flaw));
    }
    let payload = format::encode_intent(intent).map_err(|error| unwritable(error.to_string()))?;
    // A large one has the second core look at what was made while its sum is taken.
    let (sealed, read) = alongside(
        payload.len() > LARGE,
        || line::seal(None, &payload),
        || format::reads_back(&payload, intent).map_err(unwritable),
    );
    let (line, sum) = sealed;
    if line.len() > line::LINE_LENGTH_MAX {
        return Err(unwritable(format!("it has {} bytes, more than one line may have", line.len())));
    }
    if !read? {
        return Err(unwritable("it reads back other than it is".to_owned()));
    }
    Ok((line, sum))
}

/// Does both, at the same time if that is `worth` a thread.
fn alongside<One, Other: Send>(
    worth: bool,
    one: impl FnOnce() -> One,
    other: impl FnOnce() -> Other + Send,
) -> (One, Other) {
    if !worth {
        return (one(), other());
    }
    std::thread::scope(|scope| {
        let aside = scope.spawn(other);
        let here = one();
        match aside.join() {
            Ok(there) => (here, there),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    })
}

/// Whether the name of a change's file ends with these digits of its id.
fn name_ends_with(file: &Path, digits: &str) -> bool {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.rsplit('-').next().is_some_and(|end| end.ends_with(digits))
}
