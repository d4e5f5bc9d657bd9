//! The two locks of a playback: one on each file while a line is added to it, held for the blink of an eye, and one on
//! the folder while a replay runs.
//!
//! Appending without a lock could break the chain of sums; two replays at once would send everything twice. Locks are
//! the operating system's (`flock`): they end with their owner, however it dies.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::playback::disk::Disk;
use crate::playback::disk::DiskFile;
use crate::playback::error::PlaybackError;
use crate::playback::name;
use crate::playback::writing;

/// How long a lock is waited for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

const STEP: Duration = Duration::from_millis(100);

/// The right to replay: only one process has it at a time, for one playback. It ends with the value.
#[derive(Debug)]
pub struct ReplayGuard {
    pub(super) folder: PathBuf,
    _lock: Box<dyn DiskFile>,
}

impl ReplayGuard {
    pub(super) fn take(disk: &Arc<dyn Disk>, folder: &Path, wait: Duration) -> Result<Self, PlaybackError> {
        writing::ensure_folder(disk.as_ref(), folder)?;
        let path = folder.join(name::LOCK);
        let mut file = disk.open(&path).map_err(|error| PlaybackError::disk("open", &path, error))?;
        if !wait_for(file.as_mut(), &path, wait)? {
            return Err(PlaybackError::NoLocks { path });
        }
        writing::ensure_replayed(disk.as_ref(), folder)?;
        Ok(Self { folder: folder.to_owned(), _lock: file })
    }
}

/// Waits for a lock. `false`: this file system has none. Whoever appends to one file goes on without it, since an
/// outcome that is written down unlocked is better than one that is lost; a replay does not.
pub(super) fn wait_for(file: &mut dyn DiskFile, path: &Path, wait: Duration) -> Result<bool, PlaybackError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(true) => return Ok(true),
            Ok(false) if start.elapsed() >= wait => {
                return Err(PlaybackError::Busy { path: path.to_owned(), waited: wait });
            }
            Ok(false) => thread::sleep(STEP.min(wait)),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(false),
            Err(error) => return Err(PlaybackError::disk("lock", path, error)),
        }
    }
}
