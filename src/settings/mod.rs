//! Settings: arguments over environment over `.env` over `relaycommander.toml` over defaults, resolved once into typed
//! values. The only reader of the process environment. It must not connect to anything, and nothing else in the program
//! looks where a value came from.

pub mod address;
pub mod arguments;
mod dot_env;
pub mod file;
pub mod guard;
pub mod home;
pub mod layers;
pub mod notify;
pub mod process;
pub mod table;
pub mod time;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use address::RelaySetting;
pub use address::StoreSetting;
pub use arguments::GlobalArguments;
pub use file::EnvironmentSetting;
pub use guard::GuardSettings;
pub use guard::LogForm;
pub use home::Home;
pub use notify::NotifySettings;
pub use process::Process;

use crate::change::id::Actor;
use crate::flag::key::Environment;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::ProjectKey;
use crate::ui::nearest::did_you_mean;
use crate::ui::secret::Secret;
use layers::Found;
use layers::Layer;
use layers::Layers;
use layers::Source;
use table::Setting;

/// The longest name of an actor, reason or incident, in characters.
const TEXT_LENGTH_MAX: usize = 1000;

/// Why settings cannot be meant, or are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value cannot be meant.
    #[error("{place} {problem}")]
    NotUnderstood {
        /// Where it stands: `--timeout`, `RC_TIMEOUT in /srv/rc/.env`.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name that is no setting.
    #[error("{place} has an unknown setting {name}{near}")]
    UnknownName {
        /// The name.
        name: String,
        /// The file it stands in.
        place: String,
        /// `; did you mean …?`, or nothing.
        near: String,
    },
    /// A home, or a file in it, that somebody else could have written.
    #[error("{} {problem}", path.display())]
    Untrusted {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What would make it right.
        way_out: String,
    },
    /// A file that cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        problem: String,
    },
    /// A line that cannot be read.
    #[error("{}{}, {problem}", path.display(), line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What is wrong with it, without what stands there.
        problem: String,
    },
    /// No store is configured.
    #[error("no store is configured: neither REDIS_HOSTS nor RC_STORES is set, {searched}")]
    NoStore {
        /// Where was looked for a home.
        searched: String,
    },
    /// No project or environment is named.
    #[error("which {what}? Neither {flag} nor {name} says so")]
    NotNamed {
        /// `project`, `environment`.
        what: &'static str,
        /// The option.
        flag: &'static str,
        /// The variable.
        name: &'static str,
    },
    /// No token for LaunchDarkly's API.
    #[error("no LD_API_KEY is set, and LaunchDarkly is not asked without one")]
    NoApiKey,
}

impl SettingsError {
    /// What to do, ready to paste.
    pub fn way_out(&self) -> Vec<String> {
        match self {
            SettingsError::Untrusted { way_out, .. } => vec![way_out.clone()],
            SettingsError::NoStore { .. } => vec![
                "Once:      REDIS_HOSTS=redis-a,redis-b rc status".to_owned(),
                "For good:  echo 'REDIS_HOSTS=redis-a,redis-b' >> .env     (more: rc help environment)".to_owned(),
            ],
            SettingsError::NotNamed { flag, name, .. } => {
                vec![format!("Give {flag}, or set {name} in the environment or in .env.")]
            }
            SettingsError::NoApiKey => vec![
                "Set LD_API_KEY (or LD_API_KEY_FILE) in the environment or in .env. Nothing is lost: what is owed stays recorded."
                    .to_owned(),
            ],
            SettingsError::NotUnderstood { .. }
            | SettingsError::UnknownName { .. }
            | SettingsError::Unreadable { .. }
            | SettingsError::Broken { .. } => Vec::new(),
        }
    }
}

/// How Redis servers are talked to, where their URLs do not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Number of the database; `None`: the server's first.
    pub database: Option<u32>,
    /// PEM file with the authority of `rediss://` servers; `None`: the system's roots.
    pub authority: Option<PathBuf>,
}

/// How LaunchDarkly is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchDarklySettings {
    /// The API access token.
    pub api_key: Option<Secret>,
    /// The REST API, without a slash at the end.
    pub api_url: String,
    /// Where SDKs poll, without a slash at the end, where that was given.
    pub sdk_url: Option<String>,
    /// How long to wait for each answer.
    pub timeout: Duration,
}

/// Everything that is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The home, if there is one.
    pub home: Option<Home>,
    /// The stores, labels unique, in the order given.
    pub stores: Vec<StoreSetting>,
    /// How Redis servers are talked to.
    pub redis: RedisSettings,
    /// The relays, labels unique, in the order given.
    pub relays: Vec<RelaySetting>,
    /// The relays' configuration files.
    pub relay_config: Vec<PathBuf>,
    /// The relay's own variables (`LD_ENV_*`, `LD_PREFIX_*`, …) as they stand in the environment or in `.env`. Some
    /// are SDK keys.
    pub relay_variables: BTreeMap<String, Secret>,
    /// How LaunchDarkly is reached.
    pub launchdarkly: LaunchDarklySettings,
    /// The file of the keys with which overrides are signed. Whether it can be used shows when it is.
    pub signing_key_file: Option<PathBuf>,
    /// How a guard runs, where its options do not say.
    pub guard: GuardSettings,
    /// Where people are told what happens.
    pub notify: NotifySettings,
    /// The project, typed or by default.
    pub project: Option<ProjectKey>,
    /// The environment, typed or by default.
    pub environment: Option<EnvironmentKey>,
    /// The prefix in every store, where it was given.
    pub prefix: Option<String>,
    /// The only prefix that is there, in every store: set by rehearsals on somebody's own Redis, and by nothing that an
    /// operator can set.
    pub confined_to: Option<String>,
    /// What restarts each relay, by its label: a program and its arguments. From the home's file alone.
    pub restarts: BTreeMap<String, Vec<String>>,
    /// Whether a replay asks no store for the right to replay: set by rehearsals that kill commands within one process,
    /// where no time passes in which the right of a dead one could end, and by nothing that an operator can set.
    pub replays_alone: bool,
    /// What is known about each environment.
    pub environments: BTreeMap<Environment, EnvironmentSetting>,
    /// Who makes changes, and where.
    pub actor: Actor,
    /// Why changes are made, where an option does not say.
    pub reason: Option<String>,
    /// The incident that changes belong to, where an option does not say.
    pub incident: Option<String>,
    /// The folder of recorded changes. It need not exist.
    pub playback: PathBuf,
    /// How long to wait for a store or a relay, name resolution included.
    pub timeout: Duration,
    /// Never ask.
    pub no_input: bool,
    /// Agree to everything that would be asked.
    pub yes: bool,
    /// What is odd, and no error: for people, one line each.
    pub warnings: Vec<String>,
    /// Where each setting that is not a default was taken from, for `--verbose`: without values.
    pub sources: Vec<String>,
    /// The folder `rc` was started in, for messages.
    pub folder: PathBuf,
}

impl Settings {
    /// Resolves what was typed, and what the process was started with.
    ///
    /// # Errors
    /// See [`SettingsError`]; nothing is half resolved.
    pub fn resolve(arguments: &GlobalArguments, process: &Process) -> Result<Self, SettingsError> {
        let home = home::find(process)?;
        let mut layers = vec![arguments_layer(arguments, process), environment_layer(process)?];
        let (mut environments, mut restarts) = (BTreeMap::new(), BTreeMap::new());
        let warnings = unknown_names(&layers[1].values)
            .into_iter()
            .map(|(name, near)| format!("{name} in the environment is no setting of rc{near}"))
            .collect::<Vec<_>>();
        if let Some(home) = &home {
            if let Some(path) = &home.dot_env {
                let values = dot_env::read(path)?;
                if let Some((name, near)) = unknown_names(&values).into_iter().next() {
                    return Err(SettingsError::UnknownName { name, place: path.display().to_string(), near });
                }
                layers.push(Layer { source: Source::DotEnv(path.clone()), folder: home.folder.clone(), values });
            }
            if let Some(path) = &home.file {
                let file = file::read(path)?;
                environments = file.environments;
                restarts = file.relay_commands.into_iter().map(|(label, command)| (label, command.restart)).collect();
                layers.push(Layer {
                    source: Source::File(path.clone()),
                    folder: home.folder.clone(),
                    values: file.values,
                });
            }
        }
        let layers = Layers(layers);
        let sources = sources(&layers)?;
        Ok(Self {
            stores: stores(&layers)?,
            redis: redis(&layers)?,
            relays: list(&layers, &table::RELAY_URLS, address::relays)?,
            relay_config: paths(&layers, &table::RC_RELAY_CONFIG)?,
            relay_variables: relay_variables(&layers),
            launchdarkly: launchdarkly(&layers)?,
            signing_key_file: layers.find(&table::RC_SIGNING_KEY_FILE)?.map(|found| found.path(&found.value)),
            guard: guard::read(&layers, home.as_ref().map_or(&process.folder, |home| &home.folder))?,
            notify: notify::read(&layers)?,
            project: key(&layers, &table::RC_PROJECT)?,
            environment: key(&layers, &table::RC_ENVIRONMENT)?,
            prefix: prefix(&layers)?,
            confined_to: None,
            restarts,
            replays_alone: false,
            environments,
            actor: actor(&layers, process)?,
            reason: words(&layers, &table::RC_REASON)?,
            incident: words(&layers, &table::RC_INCIDENT)?,
            playback: playback(&layers, home.as_ref(), process)?,
            timeout: wait(&layers, &table::RC_TIMEOUT)?,
            no_input: truth(&layers, &table::RC_NO_INPUT)?,
            yes: arguments.yes,
            warnings,
            sources,
            folder: process.folder.clone(),
            home,
        })
    }

    /// The stores, of which there must be one.
    ///
    /// # Errors
    /// [`SettingsError::NoStore`].
    pub fn required_stores(&self) -> Result<&[StoreSetting], SettingsError> {
        if !self.stores.is_empty() {
            return Ok(&self.stores);
        }
        let searched = match &self.home {
            Some(home) => format!("also not in {}", home.shown()),
            None => format!("and no .env or {} from {} upwards names one", home::FILE_NAME, self.folder.display()),
        };
        Err(SettingsError::NoStore { searched })
    }

    /// The project and environment, which must be named.
    ///
    /// # Errors
    /// [`SettingsError::NotNamed`].
    pub fn required_environment(&self) -> Result<Environment, SettingsError> {
        let missing = |what, flag, name| SettingsError::NotNamed { what, flag, name };
        let project = self.project.clone().ok_or(missing("project", "-p PROJECT", "RC_PROJECT"))?;
        let key = self.environment.clone().ok_or(missing("environment", "-e ENVIRONMENT", "RC_ENVIRONMENT"))?;
        Ok(Environment { project, key })
    }

    /// The token for LaunchDarkly's API, which must be there.
    ///
    /// # Errors
    /// [`SettingsError::NoApiKey`].
    pub fn required_api_key(&self) -> Result<&Secret, SettingsError> {
        self.launchdarkly.api_key.as_ref().ok_or(SettingsError::NoApiKey)
    }
}

fn arguments_layer(arguments: &GlobalArguments, process: &Process) -> Layer {
    let values = arguments.given().into_iter().map(|(setting, value)| (setting.name.to_owned(), value)).collect();
    Layer { source: Source::Arguments, folder: process.folder.clone(), values }
}

/// The variables that are ours or the relay's. Others are not even looked at.
fn environment_layer(process: &Process) -> Result<Layer, SettingsError> {
    let mut values = BTreeMap::new();
    for (name, value) in &process.variables {
        let known = table::ALL.iter().any(|row| row.name == name || row.file_name().as_ref() == Some(name));
        if !known && !name.starts_with("RC_") && !table::RELAY.iter().any(|row| row.matches(name)) {
            continue;
        }
        let Some(value) = value.to_str() else {
            return Err(SettingsError::NotUnderstood { place: name.clone(), problem: "is not UTF-8".to_owned() });
        };
        values.insert(name.clone(), value.to_owned());
    }
    Ok(Layer { source: Source::Environment, folder: process.folder.clone(), values })
}

/// The `RC_*` names that are no settings, each with the nearest that are.
fn unknown_names(values: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let known: Vec<String> =
        table::ALL.iter().flat_map(|row| [Some(row.name.to_owned()), row.file_name()]).flatten().collect();
    let unknown = values.keys().filter(|name| name.starts_with("RC_") && !known.contains(name));
    unknown.map(|name| (name.clone(), did_you_mean(name, known.iter().map(String::as_str)))).collect()
}

fn sources(layers: &Layers) -> Result<Vec<String>, SettingsError> {
    let mut sources = Vec::new();
    for setting in table::ALL {
        sources.extend(layers.find(setting)?.map(|found| found.place));
    }
    Ok(sources)
}

/// A value read by `read`, where one is given.
fn parsed<Value>(
    layers: &Layers,
    setting: &Setting,
    read: impl Fn(&str) -> Result<Value, String>,
) -> Result<Option<Value>, SettingsError> {
    match layers.find(setting)? {
        Some(found) => read(&found.value).map(Some).map_err(|problem| found.not_understood(problem)),
        None => Ok(None),
    }
}

/// As [`parsed`], with the default of the table; a test reads every default.
fn with_default<Value>(
    layers: &Layers,
    setting: &Setting,
    read: impl Fn(&str) -> Result<Value, String>,
) -> Result<Value, SettingsError> {
    let default = |problem: String| SettingsError::NotUnderstood { place: setting.name.to_owned(), problem };
    match parsed(layers, setting, &read)? {
        Some(value) => Ok(value),
        None => read(setting.default).map_err(default),
    }
}

/// A list read by `read`: what is wrong with it stands behind a colon, since it is about one entry.
fn list<Item>(
    layers: &Layers,
    setting: &Setting,
    read: impl Fn(&str) -> Result<Vec<Item>, String>,
) -> Result<Vec<Item>, SettingsError> {
    match layers.find(setting)? {
        Some(Found { value, place, .. }) => {
            read(&value).map_err(|problem| SettingsError::NotUnderstood { place: format!("{place}:"), problem })
        }
        None => Ok(Vec::new()),
    }
}

fn stores(layers: &Layers) -> Result<Vec<StoreSetting>, SettingsError> {
    let mut stores = list(layers, &table::REDIS_HOSTS, address::redis_hosts)?;
    stores.extend(list(layers, &table::RC_STORES, address::any_stores)?);
    address::tell_stores_apart(&mut stores)
        .map_err(|problem| SettingsError::NotUnderstood { place: "the list of stores:".to_owned(), problem })?;
    Ok(stores)
}

fn redis(layers: &Layers) -> Result<RedisSettings, SettingsError> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("is {text:?}, not the number of a database"));
    Ok(RedisSettings {
        user: layers.find(&table::RC_REDIS_USER)?.map(|found| found.value),
        password: layers.find(&table::RC_REDIS_PASSWORD)?.map(|found| Secret::new(found.value)),
        database: parsed(layers, &table::RC_REDIS_DB, number)?,
        authority: layers.find(&table::RC_REDIS_CA)?.map(|found| found.path(&found.value)),
    })
}

fn launchdarkly(layers: &Layers) -> Result<LaunchDarklySettings, SettingsError> {
    Ok(LaunchDarklySettings {
        api_key: layers.find(&table::LD_API_KEY)?.map(|found| Secret::new(found.value)),
        api_url: with_default(layers, &table::LD_API_URL, launchdarkly_url)?,
        sdk_url: parsed(layers, &table::LD_SDK_URL, launchdarkly_url)?,
        timeout: wait(layers, &table::RC_API_TIMEOUT)?,
    })
}

/// Reads a URL of LaunchDarkly. The token goes there, so plain http goes no further than this machine.
fn launchdarkly_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let shown = crate::ui::secret::without_credentials(url);
    let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("is {shown:?}, not a URL such as https://…"))?;
    if rest.is_empty() || shown != url || url.contains(char::is_whitespace) {
        return Err(format!("is {shown:?}, not a plain URL such as https://host"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(authority, |(host, _)| host);
    let own = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(url.to_owned()),
        "http" if own => Ok(url.to_owned()),
        "http" => Err(format!("is {shown}: plain http is only for this machine, since keys go there")),
        _ => Err(format!("is {shown}, not https://…")),
    }
}

fn key<Key: FromStr>(layers: &Layers, setting: &Setting) -> Result<Option<Key>, SettingsError>
where
    Key::Err: std::fmt::Display,
{
    let read = |text: &str| text.parse::<Key>().map_err(|error| format!("is not understood: {error}"));
    parsed(layers, setting, read)
}

fn prefix(layers: &Layers) -> Result<Option<String>, SettingsError> {
    let read = |text: &str| {
        let prefix = text.trim_end_matches(':');
        let allowed =
            !prefix.is_empty() && prefix.len() <= 1024 && !prefix.chars().any(|c| c.is_control() || c.is_whitespace());
        allowed.then(|| prefix.to_owned()).ok_or_else(|| format!("is {text:?}, not a prefix such as launchdarkly"))
    };
    parsed(layers, &table::RC_PREFIX, read)
}

fn words(layers: &Layers, setting: &Setting) -> Result<Option<String>, SettingsError> {
    parsed(layers, setting, readable)
}

/// Reads a reason, an incident, a name: one line of text, not too long.
///
/// # Errors
/// What is wrong, as a fragment that follows the name of the setting.
pub fn readable(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err("has a control character in it".to_owned());
    }
    if text.chars().count() > TEXT_LENGTH_MAX {
        return Err(format!("is longer than {TEXT_LENGTH_MAX} characters"));
    }
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn actor(layers: &Layers, process: &Process) -> Result<Actor, SettingsError> {
    let user = words(layers, &table::RC_ACTOR)?.unwrap_or_else(|| process.user());
    Ok(Actor { user, host: process.host.clone() })
}

fn playback(layers: &Layers, home: Option<&Home>, process: &Process) -> Result<PathBuf, SettingsError> {
    let folder = home.map_or(&process.folder, |home| &home.folder);
    let given = layers.find(&table::RC_PLAYBACK)?.map(|found| found.path(&found.value));
    Ok(given.unwrap_or_else(|| folder.join(table::RC_PLAYBACK.default)))
}

fn paths(layers: &Layers, setting: &Setting) -> Result<Vec<PathBuf>, SettingsError> {
    let Some(found) = layers.find(setting)? else { return Ok(Vec::new()) };
    let files = found.value.split(',').map(str::trim).filter(|file| !file.is_empty());
    Ok(files.map(|file| found.path(file)).collect())
}

fn wait(layers: &Layers, setting: &Setting) -> Result<Duration, SettingsError> {
    with_default(layers, setting, time::wait)
}

fn truth(layers: &Layers, setting: &Setting) -> Result<bool, SettingsError> {
    let read = |text: &str| match text.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("is {text:?}, neither true nor false")),
    };
    with_default(layers, setting, read)
}

fn relay_variables(layers: &Layers) -> BTreeMap<String, Secret> {
    let of_relay = |name: &String| table::RELAY.iter().any(|row| row.matches(name));
    // From the weakest to the strongest, so that the strongest is left.
    let values = layers.0.iter().rev().flat_map(|layer| &layer.values);
    values
        .filter(|(name, value)| of_relay(name) && !value.is_empty())
        .map(|(name, value)| (name.clone(), Secret::new(value.clone())))
        .collect()
}

#[cfg(test)]
mod tests;
