//! The right to replay, beside a flag file: a small file that says until when it counts, by the clock of the machine that
//! wrote it. It is replaced under the flag file's own lock, and must not know what the text says.

use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use crate::change::lease::LEASE_LENGTH_MAX;
use crate::store::LeaseWish;
use crate::store::file::disk;

/// One that would count for longer than this was written by a clock that was wrong, and does not count.
const LASTS_MAX: Duration = Duration::from_secs(3_600);

fn path_of(path: &Path) -> PathBuf {
    disk::beside(path, ".relaycommander.lease")
}

/// Takes it, or gives what stands in the way.
///
/// # Errors
/// What the system says.
pub(super) fn take(path: &Path, wish: &LeaseWish) -> io::Result<Option<String>> {
    let _lock = disk::lock(&disk::beside(path, ".relaycommander.lock"))?;
    if let Some(now) = standing(path)?
        && !wish.over.iter().any(|beginning| now.starts_with(beginning))
    {
        return Ok(Some(now));
    }
    let until = since_1970() + wish.lasts;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".relaycommander-").tempfile_in(folder)?;
    // Nothing is synced: whoever held it is gone after a crash of the machine.
    write!(file, "{}\n{}", until.as_millis(), wish.text)?;
    file.as_file().set_permissions(std::fs::metadata(path)?.permissions())?;
    file.persist(path_of(path)).map_err(|error| error.error)?;
    Ok(None)
}

/// What stands there and counts.
///
/// # Errors
/// What the system says.
pub(super) fn standing(path: &Path) -> io::Result<Option<String>> {
    let Some(bytes) = disk::read(&path_of(path))? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let Some((until, text)) = text.split_once('\n') else { return Ok(None) };
    let Ok(until) = until.parse().map(Duration::from_millis) else { return Ok(None) };
    let counts = until.checked_sub(since_1970()).is_some_and(|left| !left.is_zero() && left <= LASTS_MAX);
    let text: String = text.chars().take(LEASE_LENGTH_MAX).collect();
    Ok((counts && !text.is_empty()).then_some(text))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
