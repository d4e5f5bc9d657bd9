//! The `.env` file: read, never put into the process's own environment. Values are taken as Docker and shells take
//! them: quotes, `export`, `#` comments; a `$` that is meant needs single quotes.

use std::collections::BTreeMap;
use std::path::Path;

use super::SettingsError;

/// Whether the file names stores, and so makes its folder a home. Only the names are looked at: somebody else's `.env`
/// in a folder above may be anything, and is none of our business.
pub(super) fn names_stores(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let Some((name, value)) = line.split_once('=') else { return false };
        let name = name.trim_end();
        let name = name.strip_suffix("_FILE").unwrap_or(name);
        matches!(name, "REDIS_HOSTS" | "RC_STORES") && !value.trim().is_empty()
    })
}

/// The variables of a `.env` file.
///
/// # Errors
/// Where a line cannot be read, by file and number, and without showing what stands there; where a variable stands twice.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, SettingsError> {
    let unreadable = |problem: String| SettingsError::Unreadable { path: path.to_owned(), problem };
    let lines = dotenvy::from_path_iter(path).map_err(|error| unreadable(shown(&error)))?;
    let mut variables = BTreeMap::new();
    for line in lines {
        let (name, value) = match line {
            Ok(pair) => pair,
            Err(dotenvy::Error::LineParse(line, _)) => {
                let line = line_number(path, &line);
                let problem = "is not NAME=VALUE (a value with spaces, quotes or $ needs quotes)".to_owned();
                return Err(SettingsError::Broken { path: path.to_owned(), line, problem });
            }
            Err(error) => return Err(unreadable(shown(&error))),
        };
        if variables.insert(name.clone(), value).is_some() {
            return Err(unreadable(format!("{name} stands there twice")));
        }
    }
    Ok(variables)
}

/// The cause, without what stood in the file.
fn shown(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::Io(error) => error.to_string(),
        _ => "cannot be read".to_owned(),
    }
}

/// The number of the line that the parser gave back, counted from 1. It gives only the text: the line, or its value.
fn line_number(path: &Path, broken: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let first = broken.lines().next()?.trim();
    let meant = |line: &str| {
        let line = line.trim();
        line == first || line.split_once('=').is_some_and(|(_, value)| value.trim() == first)
    };
    text.lines().position(meant).map(|place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        std::fs::write(&path, text).unwrap();
        let shown = |error: SettingsError| error.to_string().replace(&folder.path().display().to_string(), "~");
        read(&path).map(|variables| variables.into_iter().collect()).map_err(shown)
    }

    #[test]
    fn as_shells_write_it() {
        let text = "# stores\nREDIS_HOSTS=redis-a,redis-b   # two\nexport LD_API_KEY='api-$1 x'\n\nA=\"b c\"\n";
        let expected = [("A", "b c"), ("LD_API_KEY", "api-$1 x"), ("REDIS_HOSTS", "redis-a,redis-b")];
        assert_eq!(of(text).unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn broken_lines_are_named_and_not_shown() {
        let problem = of("REDIS_HOSTS=a\n\nLD_API_KEY=api-1 hunter2\n").unwrap_err();
        assert_eq!(problem, "~/.env, line 3, is not NAME=VALUE (a value with spaces, quotes or $ needs quotes)");
        assert_eq!(of("A=1\nA=2\n").unwrap_err(), "~/.env: A stands there twice");
        assert!(of("A=1\nB\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn which_files_name_stores() {
        for text in ["REDIS_HOSTS=a", "  export RC_STORES = x", "A=1\nREDIS_HOSTS_FILE=/run/x"] {
            assert!(names_stores(text), "{text}");
        }
        for text in ["", "# REDIS_HOSTS=a", "REDIS_HOSTS=", "MY_REDIS_HOSTS=a", "REDIS_HOSTS", "not ( a shell"] {
            assert!(!names_stores(text), "{text}");
        }
    }
}
