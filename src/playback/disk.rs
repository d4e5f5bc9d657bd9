//! The seam between the playback and the disk: the few things that are done to files and folders, each one step, so
//! that a test can stop the disk at every single one and reopen it. Nothing here decides what is synced when: that is
//! `writing`.

use std::fmt;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The mode of playback files: only their owner reads what was changed and why.
const FILE_MODE: u32 = 0o600;

/// The mode of the folders.
const FOLDER_MODE: u32 = 0o700;

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name; entries whose names are not text are left out.
    pub name: String,
    /// Whether it is a regular file: no folder, link or pipe.
    pub is_file: bool,
}

/// What the playback does to a disk. Every error is the operating system's.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder that only its owner can use. Its parent must be there, it must not.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes an empty file that only its owner can use, and opens it. It must not be there.
    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, for reading and appending.
    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// The content of a file; more than `limit` bytes are an error.
    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// What is in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>>;

    /// Whether something is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Moves a file, in one step that happens whole or not at all; a file that is there is replaced. Not durable
    /// before both folders are synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, file: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// An open file. Its lock, if it has one, ends with the value.
pub trait DiskFile: Send + fmt::Debug {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Its content; more than `limit` bytes are an error.
    fn read_all(&mut self, limit: u64) -> io::Result<Vec<u8>>;

    /// Adds at the end, as one write. An error may leave a part of it there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it off.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes its content and length durable, not its name: that is the folder's.
    fn sync(&mut self) -> io::Result<()>;

    /// Locks it against other processes that do the same, or says that one of them has it. An error of the kind
    /// `Unsupported` means that there are no locks here.
    fn try_lock(&mut self) -> io::Result<bool>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(FOLDER_MODE).create(folder)
    }

    fn create_new(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(FILE_MODE).open(file)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).append(true).open(file)?)))
    }

    fn read(&self, file: &Path, limit: u64) -> io::Result<Vec<u8>> {
        read_at_most(&File::open(file)?, limit)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let is_file = entry.file_type()?.is_file();
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Listed { name, is_file });
            }
        }
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        match File::open(folder)?.sync_all() {
            // Some network file systems say so of folders: they make names durable by themselves, or never.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
            done => done,
        }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_all(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        self.0.seek(SeekFrom::Start(0))?;
        read_at_most(&self.0, limit)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length is part of it: it is needed to read the data. Times are not.
        self.0.sync_data()
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn read_at_most(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
    if length > limit {
        return Err(too_long());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(|_| too_long())?);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long());
    }
    Ok(bytes)
}
