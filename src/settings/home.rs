//! The home: the folder whose `.env` names stores, or that holds `relaycommander.toml`, found from the current folder
//! upwards. What stands there decides where writes go, so it must be the operator's own: somebody else's file in a
//! folder above must not steer `rc`.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use super::SettingsError;
use super::dot_env;
use super::process::Process;

/// The name of the configuration file.
pub const FILE_NAME: &str = "relaycommander.toml";

/// The name of the file with variables.
pub const DOT_ENV_NAME: &str = ".env";

/// The longest `.env` or `relaycommander.toml` that is read, in bytes.
const LENGTH_MAX: u64 = 1024 * 1024;

/// A home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The folder.
    pub folder: PathBuf,
    /// Its `.env`, if there is one.
    pub dot_env: Option<PathBuf>,
    /// Its `relaycommander.toml`, if there is one.
    pub file: Option<PathBuf>,
}

impl Home {
    /// As shown: `/srv/rc (.env)`.
    pub fn shown(&self) -> String {
        let name = |path: &Option<PathBuf>, name: &'static str| path.as_ref().map(|_| name);
        let files: Vec<&str> =
            [name(&self.dot_env, DOT_ENV_NAME), name(&self.file, FILE_NAME)].into_iter().flatten().collect();
        format!("{} ({})", self.folder.display(), files.join(", "))
    }
}

/// The home of a process, if there is one.
///
/// # Errors
/// Where the nearest one is not to be trusted, or cannot be read.
pub(super) fn find(process: &Process) -> Result<Option<Home>, SettingsError> {
    for folder in process.folder.ancestors() {
        let file = existing(&folder.join(FILE_NAME))?;
        let dot_env = existing(&folder.join(DOT_ENV_NAME))?;
        let is_home = match (&file, &dot_env) {
            (Some(_), _) => true,
            (None, Some((path, _))) => names_stores(path, folder == process.folder)?,
            (None, None) => false,
        };
        if !is_home {
            continue;
        }
        check_owner(process, folder, &metadata(folder)?)?;
        for (path, metadata) in [&file, &dot_env].into_iter().flatten() {
            check_owner(process, path, metadata)?;
            check_length(path, metadata)?;
        }
        let path = |found: Option<(PathBuf, Metadata)>| found.map(|(path, _)| path);
        return Ok(Some(Home { folder: folder.to_owned(), dot_env: path(dot_env), file: path(file) }));
    }
    Ok(None)
}

fn unreadable(path: &Path, problem: &std::io::Error) -> SettingsError {
    SettingsError::Unreadable { path: path.to_owned(), problem: problem.to_string() }
}

fn metadata(path: &Path) -> Result<Metadata, SettingsError> {
    std::fs::metadata(path).map_err(|error| unreadable(path, &error))
}

/// A regular file, if there is one. A folder above that may not be entered has no home for us.
fn existing(path: &Path) -> Result<Option<(PathBuf, Metadata)>, SettingsError> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some((path.to_owned(), metadata))),
        Ok(_) => Ok(None),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Ok(None),
            _ => Err(unreadable(path, &error)),
        },
    }
}

/// Whether a `.env` names stores. One in the current folder must be readable; one further up that is not is not ours.
fn names_stores(path: &Path, here: bool) -> Result<bool, SettingsError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(dot_env::names_stores(&String::from_utf8_lossy(&bytes))),
        Err(error) if here => Err(unreadable(path, &error)),
        Err(_) => Ok(false),
    }
}

fn check_length(path: &Path, metadata: &Metadata) -> Result<(), SettingsError> {
    if metadata.len() > LENGTH_MAX {
        let problem = "is longer than 1 MiB".to_owned();
        return Err(SettingsError::Unreadable { path: path.to_owned(), problem });
    }
    Ok(())
}

/// Owned by the user, by whoever called `sudo`, or by root, and not writable by all.
fn check_owner(process: &Process, path: &Path, metadata: &Metadata) -> Result<(), SettingsError> {
    let untrusted =
        |problem: String, way_out: String| Err(SettingsError::Untrusted { path: path.to_owned(), problem, way_out });
    let called_sudo = process.text("SUDO_UID").filter(|_| process.user_id == 0).and_then(|number| number.parse().ok());
    let owner = metadata.uid();
    if owner != process.user_id && owner != 0 && Some(owner) != called_sudo {
        let problem = format!("belongs to user {owner}, not to you");
        return untrusted(problem, format!("If it is yours:  sudo chown {} {}", process.user_id, path.display()));
    }
    if metadata.mode() & 0o002 != 0 {
        let problem = "can be written by everybody".to_owned();
        return untrusted(problem, format!("If it is yours:  chmod o-w {}", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn process(folder: &Path) -> Process {
        Process { folder: folder.to_owned(), user_id: rustix::process::geteuid().as_raw(), ..Process::default() }
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let tree = tempfile::tempdir().unwrap();
        let below = tree.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        (tree, below)
    }

    #[test]
    fn found_upwards() {
        let (tree, below) = tree();
        assert_eq!(find(&process(&below)).unwrap(), None);
        fs::write(tree.path().join(".env"), "REDIS_HOSTS=a\n").unwrap();
        let home = find(&process(&below)).unwrap().unwrap();
        assert_eq!(home.folder, tree.path());
        assert_eq!(home.shown(), format!("{} (.env)", tree.path().display()));
        fs::write(below.join(".env"), "PORT=80\n").unwrap();
        assert_eq!(find(&process(&below)).unwrap().unwrap().folder, tree.path());
        fs::write(tree.path().join("a").join(FILE_NAME), "").unwrap();
        assert_eq!(find(&process(&below)).unwrap().unwrap().folder, tree.path().join("a"));
    }

    #[test]
    fn not_writable_by_all() {
        let (tree, below) = tree();
        let dot_env = tree.path().join(".env");
        fs::write(&dot_env, "RC_STORES=redis://a\n").unwrap();
        fs::set_permissions(&dot_env, fs::Permissions::from_mode(0o666)).unwrap();
        let error = find(&process(&below)).unwrap_err();
        assert!(error.to_string().ends_with(".env can be written by everybody"), "{error}");
        fs::set_permissions(&dot_env, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = find(&process(&below)).unwrap_err();
        assert!(matches!(error, SettingsError::Untrusted { path, .. } if path == tree.path()));
        fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(find(&process(&below)).unwrap().is_some());
    }

    #[test]
    fn somebody_elses() {
        let (tree, below) = tree();
        let owner = fs::metadata(tree.path()).unwrap();
        let stranger = Process { user_id: 12_345, ..process(&below) };
        let check = |process: &Process, path: &Path| check_owner(process, path, &owner);
        // Tests may run as root, whose folders anybody may use; then there is no stranger to be had.
        if owner.uid() == 0 {
            assert_eq!(check(&stranger, tree.path()), Ok(()));
        } else {
            let error = check(&stranger, tree.path()).unwrap_err();
            assert!(error.to_string().ends_with("not to you"), "{error}");
        }
    }
}
