//! Files that are locked, read within a limit, and replaced so that a power cut leaves the old or the new one whole.
//! It must not know what is in them. Everything here blocks: callers use tokio's blocking pool.

use std::ffi::OsString;
use std::fs::File;
use std::fs::Metadata;
use std::fs::TryLockError;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::io::Errno;

/// How often a lock is tried.
const LOCK_STEP: Duration = Duration::from_millis(100);

/// How long a lock is waited for.
pub(super) const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// The longest file that is read, in bytes.
pub(super) const FILE_LENGTH_MAX: u64 = 16 * 1024 * 1024;

/// Holds the lock until it is dropped.
pub(super) struct Locked {
    _file: File,
}

/// `path` with `ending` after its whole name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Locks for writing, by a file of its own: the flag file itself is replaced, and a lock on it would go with it.
///
/// # Errors
/// What the system says; `TimedOut` if somebody holds it for longer than [`LOCK_WITHIN`].
pub(super) fn lock(path: &Path) -> io::Result<Locked> {
    let file = File::options().create(true).write(true).truncate(false).open(path)?;
    wait(|| file.try_lock())?;
    Ok(Locked { _file: file })
}

/// Locks for reading, if there is a lock: a folder where nobody ever wrote may be read-only.
///
/// # Errors
/// As [`lock`].
pub(super) fn lock_shared(path: &Path) -> io::Result<Option<Locked>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    wait(|| file.try_lock_shared())?;
    Ok(Some(Locked { _file: file }))
}

fn wait(mut attempt: impl FnMut() -> Result<(), TryLockError>) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= LOCK_WITHIN => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds its lock"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_STEP),
        }
    }
}

/// The whole file; `None` if there is none.
///
/// # Errors
/// What the system says; `FileTooLarge` above [`FILE_LENGTH_MAX`].
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(FILE_LENGTH_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_LENGTH_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {FILE_LENGTH_MAX} bytes")));
    }
    Ok(Some(bytes))
}

/// Why a file was not replaced, or not surely.
#[derive(Debug)]
pub(super) enum NotReplaced {
    /// The file is the old one.
    Unchanged(io::Error),
    /// The new one stands there, but may not survive a power cut: its folder could not be synced.
    Perhaps(io::Error),
}

/// Puts `bytes` in place of the file: written beside it, synced, renamed, and the folder synced. The file keeps its
/// mode and its owner, since others have to go on reading it; a new one gets those of `like`.
///
/// # Errors
/// What the system says, also where the owner cannot be kept.
pub(super) fn replace(path: &Path, bytes: &[u8], like: &Path) -> Result<(), NotReplaced> {
    let renamed = folder_of(path).and_then(|folder| {
        let mut file = tempfile::Builder::new().prefix(".relaycommander-").tempfile_in(folder.path)?;
        let like = std::fs::metadata(path).or_else(|_| std::fs::metadata(like))?;
        fill(file.as_file_mut(), bytes, &like)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(folder.open)
    });
    renamed.map_err(NotReplaced::Unchanged)?.sync_all().map_err(NotReplaced::Perhaps)
}

/// The same for a file that others watch: it changes places with the one at `previous`, which is made where there is none.
///
/// LaunchDarkly's Node SDK watches the file that it once opened, and not its name: a file that is gone for good takes the
/// watch with it, and of two changes the SDK would see the first. So the two files take turns, and none is ever gone.
/// Where a file system cannot exchange two files, one takes the other's place.
///
/// # Errors
/// As [`replace`].
pub(super) fn exchange(path: &Path, bytes: &[u8], previous: &Path) -> Result<(), NotReplaced> {
    let exchanged = folder_of(path).and_then(|folder| {
        fill(&mut spare(previous)?, bytes, &std::fs::metadata(path)?)?;
        match rustix::fs::renameat_with(CWD, previous, CWD, path, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => std::fs::rename(previous, path)?,
            other => other?,
        }
        Ok(folder.open)
    });
    exchanged.map_err(NotReplaced::Unchanged)?.sync_all().map_err(NotReplaced::Perhaps)
}

/// A folder, opened before anything in it is changed.
struct Folder<'p> {
    path: &'p Path,
    open: File,
}

fn folder_of(path: &Path) -> io::Result<Folder<'_>> {
    let path = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(Folder { path, open: File::open(path)? })
}

/// The file at this path, emptied; a new one if what is there is not one of ours alone.
fn spare(path: &Path) -> io::Result<File> {
    let ours = std::fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw());
    if ours {
        return File::options().write(true).truncate(true).open(path);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::options().write(true).create_new(true).open(path),
    }
}

/// Writes and syncs the whole file, with the mode and the owner of another one.
fn fill(file: &mut File, bytes: &[u8], like: &Metadata) -> io::Result<()> {
    file.write_all(bytes)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&*file, Some(like.uid()), Some(like.gid()))?;
    }
    // After the owner: a change of owner may take mode bits away.
    file.set_permissions(like.permissions())?;
    file.sync_all()
}
