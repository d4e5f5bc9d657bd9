//! The guard's own folder: the last states of streams, which keys were vouched for, sealed automatic configurations. DISK.
//! Every file is written whole: beside, synced, renamed, folder synced. What cannot be read is as if it were not there: the
//! guard then knows less, and nothing wrong. It must not know what the files are for; what is secret comes in sealed.

use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::io::Read as _;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use ring::rand::SecureRandom as _;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::guard::keys::SALT_LENGTH;
use crate::guard::keys::Salt;

/// The largest file that is read, in bytes.
const FILE_LENGTH_MAX: u64 = 512 * 1024 * 1024;

/// How long a start waits for the guard before it to let go of the folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// A file that nobody has written for so long is of a stream that nobody asks for any more.
const UNUSED_AFTER: Duration = Duration::from_secs(90 * 24 * 3_600);

/// The most files that wait to be written.
const JOBS_MAX: usize = 256;

const SALT: &str = "salt";
const LOCK: &str = "lock";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made, read or written.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// Somebody else could read or write it.
    #[error("{} belongs to another user", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another guard has it.
    #[error("{} is in use by another guard", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// The folder, held by one guard at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder (0700) if it is not there, and takes hold of it. Blocks, for up to [`LOCK_PATIENCE`].
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| FolderError::Unusable { path, problem: error.to_string() }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable(path))?;
        let facts = fs::metadata(path).map_err(unusable(path))?;
        if std::os::unix::fs::MetadataExt::uid(&facts) != rustix::process::geteuid().as_raw() {
            return Err(FolderError::Foreign { path: path.to_owned() });
        }
        if facts.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable(path))?;
        }
        let place = path.join(LOCK);
        let mut options = File::options();
        options.create(true).write(true).truncate(false).mode(0o600);
        let lock = options.open(&place).map_err(unusable(&place))?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { path: path.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(unusable(&place)(error)),
            }
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.clear_out();
        Ok(folder)
    }

    /// The folder's own salt, made when it is first asked for.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn salt(&self) -> Result<Salt, FolderError> {
        if let Some(bytes) = self.read(SALT).and_then(|bytes| <[u8; SALT_LENGTH]>::try_from(bytes).ok()) {
            return Ok(Salt::new(&bytes));
        }
        let mut bytes = [0; SALT_LENGTH];
        let path = self.path.join(SALT);
        let random = ring::rand::SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| FolderError::Unusable {
            path: path.clone(),
            problem: "the system gives no random numbers".to_owned(),
        })?;
        self.write(SALT, &bytes).map_err(|error| FolderError::Unusable { path, problem: error.to_string() })?;
        Ok(Salt::new(&bytes))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file of it, if it is there and can be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path.join(name)).ok()?;
        file.take(FILE_LENGTH_MAX + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= FILE_LENGTH_MAX).then_some(bytes)
    }

    /// Writes a file of it, whole or not at all.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Its mode is 0600.
        let mut beside = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.path)?;
        beside.write_all(bytes)?;
        beside.as_file().sync_all()?;
        beside.persist(self.path.join(name)).map_err(|error| error.error)?;
        File::open(&self.path)?.sync_all()
    }

    /// What a killed guard left half written, and what nobody uses any more.
    fn clear_out(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let age = entry
                .metadata()
                .and_then(|facts| facts.modified())
                .ok()
                .and_then(|modified| SystemTime::now().duration_since(modified).ok());
            let is_of_a_stream = [".put", ".seen", ".sealed"].iter().any(|end| name.ends_with(end));
            if name.starts_with(".new-") || (is_of_a_stream && age.is_some_and(|age| age > UNUSED_AFTER)) {
                // It will be tried again at the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

type Make = Box<dyn FnOnce() -> Vec<u8> + Send>;

enum Job {
    Write { name: String, make: Make },
    Flush(oneshot::Sender<()>),
}

/// Writes files one after another, beside everything else. Clones are the same.
#[derive(Clone)]
pub struct Keeper {
    folder: std::sync::Arc<Folder>,
    jobs: mpsc::Sender<Job>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keeper").field("folder", &self.folder.path).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Begins; ends when the last clone is dropped. What cannot be written is alarmed, and everything else goes on.
    pub fn start(folder: Folder, alarms: Alarms) -> Self {
        let folder = std::sync::Arc::new(folder);
        let (jobs, mut waiting) = mpsc::channel(JOBS_MAX);
        let own = std::sync::Arc::clone(&folder);
        tokio::spawn(async move {
            while let Some(job) = waiting.recv().await {
                match job {
                    Job::Write { name, make } => {
                        let folder = std::sync::Arc::clone(&own);
                        let written = tokio::task::spawn_blocking(move || folder.write(&name, &make())).await;
                        tell(&alarms, own.path(), written.map_err(io::Error::other).and_then(|written| written));
                    }
                    Job::Flush(done) => {
                        // Nobody may be waiting any more.
                        let _ = done.send(());
                    }
                }
            }
        });
        Self { folder, jobs }
    }

    /// What is in the folder.
    pub fn folder(&self) -> &std::sync::Arc<Folder> {
        &self.folder
    }

    /// Has a file written; `false` where too many wait already.
    pub fn keep(&self, name: String, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> bool {
        self.jobs.try_send(Job::Write { name, make: Box::new(make) }).is_ok()
    }

    /// Waits until everything is written that was given before, for up to `patience`.
    pub async fn flush(&self, patience: Duration) {
        let (done, ended) = oneshot::channel();
        let flushed = async {
            if self.jobs.send(Job::Flush(done)).await.is_ok() {
                // An error means that the writer has ended.
                let _ = ended.await;
            }
        };
        // What is late is not waited for: the last state is a convenience.
        let _ = tokio::time::timeout(patience, flushed).await;
    }
}

fn tell(alarms: &Alarms, path: &Path, written: io::Result<()>) {
    let name = AlarmName { kind: AlarmKind::StateFolder, environment: None, flag: None };
    match written {
        Ok(()) => alarms.clear(&name),
        Err(error) => alarms.raise(
            name,
            format!(
                "{} cannot be written ({error}): relays are served, and a guard that starts anew will know less",
                path.display()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_for_their_owner_only() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("guard");
        let folder = Folder::open(&path).unwrap();
        folder.write("a.put", b"one").unwrap();
        folder.write("a.put", b"two").unwrap();
        assert_eq!(folder.read("a.put").unwrap(), b"two");
        assert_eq!(folder.read("b.put"), None);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("a.put")), mode(&path.join(LOCK))), (0o700, 0o600, 0o600));
        let salt = folder.salt().unwrap();
        assert_eq!(folder.salt().unwrap().of_key(b"x"), salt.of_key(b"x"));
        drop(folder);
        fs::write(path.join(".new-half"), "h").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = Folder::open(&path).unwrap();
        assert_eq!(folder.salt().unwrap().of_key(b"x"), salt.of_key(b"x"));
        assert_eq!(mode(&path), 0o700);
        let names: Vec<String> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name.starts_with(".new-")), "{names:?}");
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_alarmed_and_no_more_than_that() {
        let place = tempfile::tempdir().unwrap();
        let (alarms, _told) = Alarms::new();
        let keeper = Keeper::start(Folder::open(place.path()).unwrap(), alarms.clone());
        assert!(keeper.keep("a/b".to_owned(), || b"x".to_vec()));
        keeper.flush(Duration::from_secs(10)).await;
        assert_eq!(alarms.standing()[0].name.kind, AlarmKind::StateFolder);
        assert!(keeper.keep("c".to_owned(), || b"y".to_vec()));
        keeper.flush(Duration::from_secs(10)).await;
        assert!(alarms.standing().is_empty());
        assert_eq!(keeper.folder().read("c").unwrap(), b"y");
    }
}
