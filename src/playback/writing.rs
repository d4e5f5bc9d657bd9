//! Every rule about what is synced when. Each function says what is durable when it returns, and what a crash in the
//! middle leaves: always too much rather than too little.
//!
//! What it relies on: a synced file keeps its content, a synced folder keeps its names, a rename happens whole or not
//! at all. It relies on no order between unsynced steps.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::playback::contents::Contents;
use crate::playback::contents::Tail;
use crate::playback::disk::Disk;
use crate::playback::disk::DiskFile;
use crate::playback::error::PlaybackError;
use crate::playback::lock;
use crate::playback::name;

/// The longest file, in bytes. Nothing longer is read, so nothing longer is written.
pub(super) const FILE_LENGTH_MAX: u64 = 320 * 1024 * 1024;

/// Makes sure that the playback folder is there and that its own name is durable.
///
/// The lock file is the sign that this was done: it is made only after the parent was synced, so a process that was
/// killed in between leaves the work to the next one. Where the sign is there, this costs one look.
pub(super) fn ensure_folder(disk: &dyn Disk, folder: &Path) -> Result<(), PlaybackError> {
    let sign = folder.join(name::LOCK);
    let known = disk.exists(&sign).map_err(|error| PlaybackError::disk("open", folder, error))?;
    if known {
        return Ok(());
    }
    let created = match disk.create_folder(folder) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(PlaybackError::disk("create the folder", folder, error)),
    };
    match disk.sync_folder(parent_of(folder)) {
        // Somebody else made the folder, in one that this user may not even list: then it is not ours to sync.
        Err(error) if !created && error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(PlaybackError::disk("sync the folder above", folder, error)),
        Ok(()) => {}
    }
    match disk.create_new(&sign) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(PlaybackError::disk("write to the folder", folder, error)),
    }
}

/// The folder that holds the name of `folder`.
fn parent_of(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => folder,
    }
}

/// Fills a file that was just created. When it returns, content and name are durable, and the content was read back.
/// When it fails, the file is taken away again, so that nobody takes it for a change that is owed; where even that
/// fails, or a crash comes first, it stays behind as a change that no store has.
pub(super) fn fill(
    disk: &dyn Disk,
    mut file: Box<dyn DiskFile>,
    folder: &Path,
    path: &Path,
    text: &[u8],
) -> Result<(), PlaybackError> {
    let filled = fill_and_sync(disk, file.as_mut(), folder, path, text);
    if filled.is_err() {
        drop(file);
        // The first error is the one to tell.
        let _ = disk.remove(path);
    }
    filled
}

fn fill_and_sync(
    disk: &dyn Disk,
    file: &mut dyn DiskFile,
    folder: &Path,
    path: &Path,
    text: &[u8],
) -> Result<(), PlaybackError> {
    if text.len() as u64 > FILE_LENGTH_MAX {
        let length = text.len() as u64;
        return Err(PlaybackError::TooLong { path: path.to_owned(), length, limit: FILE_LENGTH_MAX });
    }
    file.append(text).map_err(|error| PlaybackError::disk("write", path, error))?;
    file.sync().map_err(|error| PlaybackError::disk("sync", path, error))?;
    disk.sync_folder(folder).map_err(|error| PlaybackError::disk("sync the folder", folder, error))?;
    let read = file.read_all(FILE_LENGTH_MAX).map_err(|error| PlaybackError::disk("read back", path, error))?;
    if read != text {
        return Err(PlaybackError::ReadBack { path: path.to_owned() });
    }
    Ok(())
}

/// What went wrong with an append, and whether the file can still be trusted.
pub(super) struct AppendError {
    /// What to tell.
    pub error: PlaybackError,
    /// A sync failed: see [`PlaybackError::SyncLost`].
    pub sync_lost: bool,
}

impl From<PlaybackError> for AppendError {
    fn from(error: PlaybackError) -> Self {
        Self { error, sync_lost: false }
    }
}

/// Adds text after `tail`, which is the end of the locked file. With `sync` it is durable on return, and everything
/// before it; without, a crash may lose it or leave a part of it, which is then torn and ignored.
pub(super) fn append(
    file: &mut dyn DiskFile,
    path: &Path,
    tail: &Tail,
    text: &str,
    sync: bool,
) -> Result<(), AppendError> {
    let length = tail.length + text.len() as u64 + 1;
    if length > FILE_LENGTH_MAX {
        return Err(PlaybackError::TooLong { path: path.to_owned(), length, limit: FILE_LENGTH_MAX }.into());
    }
    let whole = if tail.open { format!("\n{text}") } else { text.to_owned() };
    if let Err(error) = file.append(whole.as_bytes()) {
        // A full disk may have taken a part. Whoever appends next would cut it off too.
        let _ = file.truncate(tail.length);
        return Err(PlaybackError::disk("write to", path, error).into());
    }
    if sync {
        file.sync().map_err(|error| {
            let _ = file.truncate(tail.length);
            AppendError { error: PlaybackError::disk("sync", path, error), sync_lost: true }
        })?;
    }
    Ok(())
}

/// Reads a locked file to its end and cuts off what is torn, so that the next line follows a sound one.
///
/// "Lines are only ever added" is not broken by that: torn text never was a line. Its write did not end, so nobody was
/// told that it is there; if it was an event that had to be durable, what it announced did not happen. The cut is
/// synced by itself: if it and the new line were made durable together, a crash could leave the end of the torn text
/// behind the beginning of the new line.
pub(super) fn mend(file: &mut dyn DiskFile, path: &Path) -> Result<Contents, AppendError> {
    let bytes = file.read_all(FILE_LENGTH_MAX).map_err(|error| PlaybackError::disk("read", path, error))?;
    let contents = Contents::read(&bytes);
    // What is damaged, newer or another's is not ours to cut.
    let ours = contents.problem.is_none() && contents.newer.is_none() && contents.intent.is_some();
    if ours && contents.torn.is_some() {
        file.truncate(contents.tail.length).map_err(|error| PlaybackError::disk("write to", path, error))?;
        file.sync()
            .map_err(|error| AppendError { error: PlaybackError::disk("sync", path, error), sync_lost: true })?;
    }
    Ok(contents)
}

/// Makes sure that the folder of what is replayed is there and that its name is durable. Done once by whoever holds
/// the lock for a replay; the sync is made in any case, since the one who created the folder may have been killed.
pub(super) fn ensure_replayed(disk: &dyn Disk, folder: &Path) -> Result<(), PlaybackError> {
    let replayed = folder.join(name::REPLAYED);
    match disk.create_folder(&replayed) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(PlaybackError::disk("create the folder", &replayed, error)),
    }
    disk.sync_folder(folder).map_err(|error| PlaybackError::disk("sync the folder", folder, error))
}

/// Moves files to the folder of what is replayed. When it returns, their contents and their new names are durable.
/// A crash leaves each of them in one of the two places, whole. One that has been moved already is fine.
pub(super) fn move_to_replayed(
    disk: &dyn Disk,
    folder: &Path,
    names: &[String],
    lock_wait: Duration,
) -> Result<(), PlaybackError> {
    let replayed = folder.join(name::REPLAYED);
    for name in names {
        let (from, to) = (folder.join(name), replayed.join(name));
        let look = |path: &Path| disk.exists(path).map_err(|error| PlaybackError::disk("open", path, error));
        match (look(&from)?, look(&to)?) {
            (true, false) => move_one(disk, &from, &to, lock_wait)?,
            (true, true) => return Err(PlaybackError::AlreadyThere { path: to }),
            (false, true) => {}
            (false, false) => {
                return Err(PlaybackError::disk("move", &from, io::Error::from(io::ErrorKind::NotFound)));
            }
        }
    }
    // First the folder that gains the names, then the one that loses them.
    for folder in [replayed.as_path(), folder] {
        disk.sync_folder(folder).map_err(|error| PlaybackError::disk("sync the folder", folder, error))?;
    }
    Ok(())
}

/// Removes files of what is replayed. That it is durable is of no matter: what comes back after a crash is removed again.
pub(super) fn forget(disk: &dyn Disk, folder: &Path, names: &[String]) -> Result<(), PlaybackError> {
    let replayed = folder.join(name::REPLAYED);
    for name in names {
        let path = replayed.join(name);
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(PlaybackError::disk("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Moves one file. It is synced first: outcomes are added without a sync, and the place says that they are complete.
fn move_one(disk: &dyn Disk, from: &Path, to: &Path, lock_wait: Duration) -> Result<(), PlaybackError> {
    let mut file = disk.open(from).map_err(|error| PlaybackError::disk("open", from, error))?;
    lock::wait_for(file.as_mut(), from, lock_wait)?;
    file.sync().map_err(|error| PlaybackError::disk("sync", from, error))?;
    disk.rename(from, to).map_err(|error| PlaybackError::disk("move", from, error))
}
