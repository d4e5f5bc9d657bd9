//! Which of several places a setting is taken from: arguments over environment over `.env` over `relaycommander.toml`.
//! It must not know what a value means; it only finds it, and says where it stood.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use super::SettingsError;
use super::table::Setting;

/// The longest file that holds one secret, in bytes.
const SECRET_FILE_LENGTH_MAX: u64 = 64 * 1024;

/// What kind of place it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Arguments,
    /// The environment of the process.
    Environment,
    /// The `.env` of the home.
    DotEnv(PathBuf),
    /// The `relaycommander.toml` of the home.
    File(PathBuf),
}

/// One place, and what stands there. Names are those of the environment, `NAME_FILE` included.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) source: Source,
    /// What relative paths in it are relative to.
    pub(super) folder: PathBuf,
    pub(super) values: BTreeMap<String, String>,
}

/// A value, and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) value: String,
    /// For messages: `--timeout`, `RC_TIMEOUT`, `RC_TIMEOUT in /srv/rc/.env`.
    pub(super) place: String,
    folder: PathBuf,
}

impl Found {
    /// The value as a path; a relative one is relative to where it was said.
    pub(super) fn path(&self, value: &str) -> PathBuf {
        self.folder.join(value)
    }

    /// That the value cannot be meant.
    pub(super) fn not_understood(&self, problem: impl Into<String>) -> SettingsError {
        SettingsError::NotUnderstood { place: self.place.clone(), problem: problem.into() }
    }
}

/// All places, the strongest first.
#[derive(Debug, Clone)]
pub(super) struct Layers(pub(super) Vec<Layer>);

impl Layers {
    /// The value of a setting; an empty one counts as not given.
    ///
    /// # Errors
    /// Where a place gives it both itself and as `NAME_FILE`, or that file cannot be read.
    pub(super) fn find(&self, setting: &Setting) -> Result<Option<Found>, SettingsError> {
        for layer in &self.0 {
            let given = |name: &str| layer.values.get(name).filter(|value| !value.is_empty());
            let file_name = setting.file_name();
            let file = file_name.as_deref().and_then(given);
            let place = place(setting, &layer.source, false);
            let (value, place) = match (given(setting.name), file) {
                (Some(_), Some(_)) => {
                    let problem = format!("stands there, and {} as well", file_name.unwrap_or_default());
                    return Err(SettingsError::NotUnderstood { place, problem });
                }
                (Some(value), None) => (value.clone(), place),
                (None, Some(file)) => {
                    let place = self::place(setting, &layer.source, true);
                    (secret_in(&layer.folder.join(file), &place)?, place)
                }
                (None, None) => continue,
            };
            return Ok(Some(Found { value, place, folder: layer.folder.clone() }));
        }
        Ok(None)
    }
}

fn place(setting: &Setting, source: &Source, file: bool) -> String {
    let ending = if file { "_FILE" } else { "" };
    match source {
        Source::Arguments => setting.flag.map_or_else(|| setting.name.to_owned(), |flag| format!("--{flag}")),
        Source::Environment => format!("{}{ending}", setting.name),
        Source::DotEnv(path) => format!("{}{ending} in {}", setting.name, path.display()),
        Source::File(path) => {
            let key = setting.key.unwrap_or(setting.name);
            format!("{key}{} in {}", ending.to_lowercase(), path.display())
        }
    }
}

fn secret_in(path: &Path, place: &str) -> Result<String, SettingsError> {
    let failed = |problem: String| SettingsError::NotUnderstood {
        place: place.to_owned(),
        problem: format!("{}: {problem}", path.display()),
    };
    let mut text = String::new();
    let mut file = File::open(path).map_err(|error| failed(error.to_string()))?.take(SECRET_FILE_LENGTH_MAX + 1);
    file.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if length > SECRET_FILE_LENGTH_MAX {
        return Err(failed("is longer than 64 KiB, which no secret is".to_owned()));
    }
    let secret = text.trim();
    if secret.is_empty() { Err(failed("is empty".to_owned())) } else { Ok(secret.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::table;

    fn layer(source: Source, values: &[(&str, &str)]) -> Layer {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Layer { source, folder: PathBuf::from("/srv/rc"), values }
    }

    fn dot_env() -> Source {
        Source::DotEnv(PathBuf::from("/srv/rc/.env"))
    }

    #[test]
    fn the_strongest_place_wins_and_is_named() {
        let layers = Layers(vec![
            layer(Source::Arguments, &[]),
            layer(Source::Environment, &[("RC_TIMEOUT", "")]),
            layer(dot_env(), &[("RC_TIMEOUT", "3s"), ("RC_PLAYBACK", "changes")]),
            layer(
                Source::File(PathBuf::from("/srv/rc/relaycommander.toml")),
                &[("RC_TIMEOUT", "4s"), ("RC_REDIS_DB", "x")],
            ),
        ]);
        let found = layers.find(&table::RC_TIMEOUT).unwrap().unwrap();
        assert_eq!((found.value.as_str(), found.place.as_str()), ("3s", "RC_TIMEOUT in /srv/rc/.env"));
        let found = layers.find(&table::RC_PLAYBACK).unwrap().unwrap();
        assert_eq!(found.path(&found.value), PathBuf::from("/srv/rc/changes"));
        let found = layers.find(&table::RC_REDIS_DB).unwrap().unwrap();
        assert_eq!(found.place, "redis_db in /srv/rc/relaycommander.toml");
        assert_eq!(layers.find(&table::LD_API_KEY).unwrap(), None);
    }

    #[test]
    fn secrets_from_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "api-123\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let find = |values: &[(&str, &str)]| {
            let mut layer = layer(Source::Environment, values);
            layer.folder = folder.path().to_owned();
            Layers(vec![layer]).find(&table::LD_API_KEY)
        };
        assert_eq!(find(&[("LD_API_KEY_FILE", "token")]).unwrap().unwrap().value, "api-123");
        let both = find(&[("LD_API_KEY_FILE", "token"), ("LD_API_KEY", "api-1")]).unwrap_err().to_string();
        assert_eq!(both, "LD_API_KEY stands there, and LD_API_KEY_FILE as well");
        assert!(find(&[("LD_API_KEY_FILE", "none")]).unwrap_err().to_string().contains("/none: No such file"));
        assert!(find(&[("LD_API_KEY_FILE", "empty")]).unwrap_err().to_string().ends_with("/empty: is empty"));
    }
}
