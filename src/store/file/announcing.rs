//! Guards that announce themselves beside a flag file: a small file each, which counts as long as it is fresh. It must not
//! know what they say.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::store::file::disk;
use crate::store::following::ANNOUNCED_FOR;
use crate::store::following::Announcement;

/// The most guards that are read.
const GUARDS_MAX: usize = 1_000;

/// The longest announcement, in bytes, that is read.
const TEXT_LENGTH_MAX: u64 = 1024 * 1024;

/// What the names begin with that stand after the flag file's.
const BETWEEN: &str = ".relaycommander.guard.";

fn path_of(path: &Path, name: &str) -> PathBuf {
    disk::beside(path, &format!("{BETWEEN}{name}"))
}

/// Puts the announcement in place. Nothing is synced: it is of no worth after a crash.
///
/// # Errors
/// What the system says.
pub(super) fn announce(path: &Path, announcement: &Announcement) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".relaycommander-").tempfile_in(folder)?;
    file.write_all(announcement.text.as_bytes())?;
    file.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    file.persist(path_of(path, &announcement.name)).map_err(|error| error.error)?;
    Ok(())
}

/// Takes it away again.
///
/// # Errors
/// What the system says; that there is none is no error.
pub(super) fn withdraw(path: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(path_of(path, name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The announcements that are fresh.
///
/// # Errors
/// The folder cannot be listed.
pub(super) fn announced(path: &Path) -> io::Result<Vec<Announcement>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beginning = format!("{}{BETWEEN}", path.file_name().and_then(OsStr::to_str).unwrap_or_default());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(GUARDS_MAX * 100) {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(&beginning)) else { continue };
        let age = entry.metadata().and_then(|found| found.modified()).ok();
        let age = age.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        // One from the future counts as fresh: two machines' clocks differ.
        if age.is_some_and(|age| age > ANNOUNCED_FOR) {
            continue;
        }
        let mut text = String::new();
        let read = fs::File::open(entry.path()).and_then(|file| file.take(TEXT_LENGTH_MAX).read_to_string(&mut text));
        if read.is_ok() && found.len() < GUARDS_MAX {
            found.push(Announcement { name: name.to_owned(), text });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
