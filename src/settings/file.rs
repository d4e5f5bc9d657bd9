//! `relaycommander.toml`: the settings of the table by their keys, and what is known about each environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use super::SettingsError;
use super::table;
use crate::flag::key::Environment;
use crate::ui::nearest::did_you_mean;

/// What `[environment."project/environment"]` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSetting {
    /// The prefix of its keys in every store.
    pub prefix: Option<String>,
    /// The prefix in single stores, by the store's label; goes before `prefix`.
    #[serde(default)]
    pub prefixes: BTreeMap<String, String>,
    /// A file that holds the environment's SDK key, for looking at what a relay serves.
    pub sdk_key_file: Option<PathBuf>,
    /// Whether `rc update` asks first.
    #[serde(default)]
    pub critical: bool,
}

/// What `[relay."label"]` says. Here alone, and not in the environment: it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayCommand {
    /// The program that restarts the relay, and its arguments. No shell reads them.
    pub restart: Vec<String>,
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct File {
    /// Settings by their name in the environment.
    pub(super) values: BTreeMap<String, String>,
    pub(super) environments: BTreeMap<Environment, EnvironmentSetting>,
    pub(super) relay_commands: BTreeMap<String, RelayCommand>,
}

/// Reads the file.
///
/// # Errors
/// Where it is no TOML, a key is unknown, or a value is of the wrong type: by line, without showing what stands there.
pub(super) fn read(path: &Path) -> Result<File, SettingsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| SettingsError::Unreadable { path: path.to_owned(), problem: error.to_string() })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<File, SettingsError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        SettingsError::Broken { path: path.to_owned(), line, problem: format!("is no TOML: {}", error.message()) }
    })?;
    let mut file = File::default();
    for (key, value) in table {
        if key == "environment" {
            file.environments = environments(value, path)?;
            continue;
        }
        if key == "relay" {
            file.relay_commands = relay_commands(value, path)?;
            continue;
        }
        let name = name_of(&key).ok_or_else(|| unknown(&key, path))?;
        let place = || format!("{key} in {}", path.display());
        let value = text_of(&value).map_err(|problem| SettingsError::NotUnderstood { place: place(), problem })?;
        file.values.insert(name, value);
    }
    Ok(file)
}

/// The name in the environment of what stands under `key`.
fn name_of(key: &str) -> Option<String> {
    let plain = |row: &&&table::Setting| row.key == Some(key) && !row.secret;
    let plain = table::ALL.iter().find(plain).map(|row| row.name.to_owned());
    // A URL is a secret where it holds a password; stores may stand in the file all the same.
    let stores = || [&table::REDIS_HOSTS, &table::RC_STORES].into_iter().find(|row| row.key == Some(key));
    let file = || table::ALL.iter().find(|row| row.file_key().as_deref() == Some(key)).and_then(|row| row.file_name());
    plain.or_else(|| stores().map(|row| row.name.to_owned())).or_else(file)
}

/// The keys that a setting may stand under: itself, and as the file that holds it.
pub fn keys_of(setting: &table::Setting) -> Vec<String> {
    let itself = setting.key.filter(|key| name_of(key).is_some()).map(ToOwned::to_owned);
    itself.into_iter().chain(setting.file_key()).collect()
}

fn unknown(key: &str, path: &Path) -> SettingsError {
    if let Some(row) = table::ALL.iter().find(|row| row.key == Some(key)) {
        let problem =
            format!("is a secret, which does not stand in a file like this: {key}_file can name a file that holds it");
        return SettingsError::NotUnderstood {
            place: format!("{} in {}", row.key.unwrap_or(key), path.display()),
            problem,
        };
    }
    let file_keys: Vec<String> = table::ALL.iter().filter_map(|row| row.file_key()).collect();
    let keys = table::ALL.iter().filter_map(|row| row.key).chain(file_keys.iter().map(String::as_str));
    let near = did_you_mean(key, keys.chain(["environment", "relay"]));
    SettingsError::UnknownName { name: key.to_owned(), place: path.display().to_string(), near }
}

/// A value as it would stand in the environment; lists with commas.
fn text_of(value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        toml::Value::Array(items) => {
            let items: Result<Vec<&str>, String> =
                items.iter().map(|item| item.as_str().ok_or_else(|| "is not a list of texts".to_owned())).collect();
            Ok(items?.join(","))
        }
        _ => Err("is neither a text, a number, true or false, nor a list of texts".to_owned()),
    }
}

fn environments(value: toml::Value, path: &Path) -> Result<BTreeMap<Environment, EnvironmentSetting>, SettingsError> {
    let toml::Value::Table(table) = value else {
        let place = format!("environment in {}", path.display());
        let problem = "is a section per environment, [environment.\"project/environment\"]; \
                       the one to take by default is default_environment"
            .to_owned();
        return Err(SettingsError::NotUnderstood { place, problem });
    };
    let folder = path.parent().unwrap_or(path);
    let read = |(name, value): (String, toml::Value)| {
        let failed = |problem: String| SettingsError::NotUnderstood {
            place: format!("[environment.{name:?}] in {}", path.display()),
            problem,
        };
        let environment: Environment =
            name.parse().map_err(|error| failed(format!("is not project/environment: {error}")))?;
        let mut setting: EnvironmentSetting =
            value.try_into().map_err(|error: toml::de::Error| failed(error.message().to_owned()))?;
        setting.sdk_key_file = setting.sdk_key_file.map(|file| folder.join(file));
        Ok((environment, setting))
    };
    table.into_iter().map(read).collect()
}

fn relay_commands(value: toml::Value, path: &Path) -> Result<BTreeMap<String, RelayCommand>, SettingsError> {
    let failed = |label: &str, problem: String| SettingsError::NotUnderstood {
        place: format!("[relay.{label:?}] in {}", path.display()),
        problem,
    };
    let toml::Value::Table(table) = value else {
        return Err(failed("label", "is a section per relay, by its label in RELAY_URLS".to_owned()));
    };
    let read = |(label, value): (String, toml::Value)| {
        let command: RelayCommand =
            value.try_into().map_err(|error: toml::de::Error| failed(&label, error.message().to_owned()))?;
        if command.restart.first().is_none_or(String::is_empty) {
            return Err(failed(
                &label,
                "names no program: restart = [\"systemctl\", \"restart\", \"ld-relay\"]".to_owned(),
            ));
        }
        Ok((label, command))
    };
    table.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<File, String> {
        parse(text, Path::new("/srv/rc/relaycommander.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn values_and_environments() {
        let text = r#"
            redis_hosts = ["eu-1=redis-a", "us-1=redis-b"]
            redis_db = 3
            ld_api_key_file = "/run/token"
            [environment."shop/production"]
            prefix = "launchdarkly"
            prefixes = { us-1 = "prod" }
            sdk_key_file = "sdk-key"
            critical = true
        "#;
        let file = of(text).unwrap();
        assert_eq!(file.values["REDIS_HOSTS"], "eu-1=redis-a,us-1=redis-b");
        assert_eq!(file.values["RC_REDIS_DB"], "3");
        assert_eq!(file.values["LD_API_KEY_FILE"], "/run/token");
        let setting = &file.environments[&"shop/production".parse().unwrap()];
        assert_eq!(setting.sdk_key_file.as_deref(), Some(Path::new("/srv/rc/sdk-key")));
        assert_eq!((setting.prefixes["us-1"].as_str(), setting.critical), ("prod", true));
    }

    /// Every key of the table is known here, with a value of its kind.
    #[test]
    fn every_key_of_the_table() {
        for row in table::ALL {
            let Some(key) = row.key else { continue };
            let store = [&table::REDIS_HOSTS, &table::RC_STORES].contains(row);
            if !row.secret || store {
                assert_eq!(of(&format!("{key} = \"x\"")).unwrap().values[row.name], "x");
            } else {
                assert!(of(&format!("{key} = \"hunter2\"")).unwrap_err().contains("is a secret"));
            }
            if let (Some(key), Some(name)) = (row.file_key(), row.file_name()) {
                assert_eq!(of(&format!("{key} = \"x\"")).unwrap().values[&name], "x");
            }
        }
    }

    #[test]
    fn mistakes_are_named() {
        #[track_caller]
        fn case(text: &str, expected: &str) {
            assert_eq!(of(text).unwrap_err().replace("/srv/rc/", ""), expected);
        }
        case("timeot = \"2s\"", "relaycommander.toml has an unknown setting timeot; did you mean timeout?");
        case("timeout = [1]", "timeout in relaycommander.toml is not a list of texts");
        case(
            "timeout = 2.5",
            "timeout in relaycommander.toml is neither a text, a number, true or false, nor a list of texts",
        );
        case(
            "environment = \"production\"",
            "environment in relaycommander.toml is a section per environment, [environment.\"project/environment\"]; \
             the one to take by default is default_environment",
        );
        case(
            "[environment.production]",
            "[environment.\"production\"] in relaycommander.toml is not project/environment: environment key \"\" is not \
             made of 1 to 256 letters, digits, '.', '_' or '-'",
        );
        let unknown = of("[environment.\"a/b\"]\nprefx = \"x\"").unwrap_err();
        assert!(unknown.contains("unknown field `prefx`, expected one of `prefix`"), "{unknown}");
        let broken = of("a = 1\nredis_hosts = redis://:hunter2@a\n").unwrap_err();
        assert!(broken.contains("relaycommander.toml, line 2, is no TOML") && !broken.contains("hunter2"), "{broken}");
    }
}
