//! How a relay is configured, as far as it decides where a flag is kept and who sees an edit: environments with their
//! keys and prefixes, payload filters, the database, the cache time. Read from `ld-relay.conf` or from the relay's
//! environment variables; which of ours belong to it (and that we never read the process environment here) is the
//! caller's business. Pure, except for [`RelayConfiguration::load`].
//!
//! Names, defaults and meanings follow ld-relay v8.10.1 (`config/config.go`, `config/config_from_env.go`,
//! `relay/relay.go`); settings that we have no use for are passed over, newer ones too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::flag::key::Environment;
use crate::relay::cache_time::CacheTime;
use crate::relay::configuration_environment;
use crate::relay::configuration_file;
use crate::relay::configuration_settings::Settings;
use crate::relay::sdk_key::SdkKey;

/// The longest configuration file that is read, in bytes.
pub const CONFIGURATION_LENGTH_MAX: usize = 1024 * 1024;

/// The prefix that a relay takes where none is configured (Redis and Consul).
pub const DEFAULT_PREFIX: &str = "launchdarkly";

/// What stands for the environment's id in the prefix of an automatic configuration.
const ENVIRONMENT_ID_PLACEHOLDER: &str = "$CID";

/// What is wrong with a relay's configuration. Shows no key and no password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigurationError {
    /// File and line (`ld-relay.conf:12`), or the variable's name.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
    /// What to write instead.
    pub way_out: String,
}

/// One environment that the relay serves by its own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayEnvironment {
    /// The section's name: a name people chose, not LaunchDarkly's key.
    pub name: String,
    /// The SDK key, where it is there and can be one.
    pub sdk_key: Option<SdkKey>,
    /// The prefix in the database, if one is given. See [`RelayConfiguration::copies`].
    pub prefix: Option<String>,
    /// The DynamoDB table, if it has its own.
    pub table_name: Option<String>,
    /// The client-side id.
    pub env_id: Option<String>,
    /// LaunchDarkly's project key. Relays need it for payload filters only, so it is often absent.
    pub proj_key: Option<String>,
}

/// One copy of an environment in the relay's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentCopy {
    /// The prefix, without the colon.
    pub prefix: String,
    /// The payload filter that it holds, or `None` for the whole environment.
    pub filter: Option<String>,
}

/// A Redis that a relay uses, without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisFacts {
    /// Name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The number of the database.
    pub database: u32,
    /// Whether TLS is used.
    pub tls: bool,
}

/// Where a relay keeps flag records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// Only in its memory.
    Memory,
    /// A Redis.
    Redis(RedisFacts),
    /// A DynamoDB table; `None` where each environment names its own.
    DynamoDb {
        /// The table.
        table_name: Option<String>,
    },
    /// A Consul.
    Consul {
        /// Its address.
        host: String,
    },
}

/// Automatic configuration: the relay learns its environments from LaunchDarkly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoConfig {
    /// The prefix, with `$CID` in the place of the environment's id.
    pub env_datastore_prefix: Option<String>,
    /// Whether the relay keeps its environments in its database, so that it can start while LaunchDarkly is away
    /// (`cacheKey`, in relays newer than 8.10.1).
    pub has_cache: bool,
}

impl AutoConfig {
    /// The prefix of an environment, given its client-side id (`internal/envfactory`: `$CID` becomes the id, and
    /// `id.filter` in the copy of a payload filter).
    pub fn prefix(&self, env_id: &str, filter: Option<&str>) -> Option<String> {
        let id = filter.map_or_else(|| env_id.to_owned(), |filter| format!("{env_id}.{filter}"));
        Some(self.env_datastore_prefix.as_ref()?.replace(ENVIRONMENT_ID_PLACEHOLDER, &id))
    }
}

/// Offline mode: the relay serves an archive file and never talks to LaunchDarkly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// The archive.
    pub file: String,
    /// The prefix, with `$CID` in the place of the environment's id.
    pub env_datastore_prefix: Option<String>,
}

/// A relay's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayConfiguration {
    /// Where it was read from, as shown in messages.
    pub source: String,
    /// By name; empty in automatic configuration and offline mode.
    pub environments: Vec<RelayEnvironment>,
    /// Project key to the keys of its payload filters.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Where records are kept.
    pub database: Database,
    /// `localTtl`; 30 s where it is not configured.
    pub cache_time: CacheTime,
    /// Whether [`Self::cache_time`] is written down, or the default.
    pub cache_time_is_given: bool,
    /// Automatic configuration, if that is used.
    pub auto_config: Option<AutoConfig>,
    /// Offline mode, if that is used.
    pub offline: Option<Offline>,
    /// Where the relay gets flags from, if not from LaunchDarkly's own address.
    pub stream_uri: Option<String>,
    /// The same for polling.
    pub base_uri: Option<String>,
    /// The port that the relay listens on.
    pub port: u16,
    /// How long the relay answers 503 at most when it starts while LaunchDarkly is away.
    pub init_timeout: Duration,
    /// After this time the relay closes an SDK's connection, which then reads the store again.
    pub max_client_connection_time: Option<Duration>,
}

impl RelayConfiguration {
    /// Reads the text of an `ld-relay.conf`; `name` is shown in messages.
    ///
    /// # Errors
    /// [`ConfigurationError`], with the line, for what the relay's own reader would refuse.
    pub fn from_file(text: &str, name: &str) -> Result<Self, ConfigurationError> {
        let mut settings = Settings::default();
        configuration_file::read(text, name, &mut settings)?;
        settings.finish(name)
    }

    /// The host and the port of the stream that the relay is told to use; `None` where that is LaunchDarkly's own.
    pub fn stream_host(&self) -> Option<(String, u16)> {
        let url = reqwest::Url::parse(self.stream_uri.as_ref()?).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port_or_known_default()?))
    }

    /// Reads the relay's environment variables (`LD_ENV_*` and so on) among `variables`; all others are passed over.
    ///
    /// # Errors
    /// [`ConfigurationError`], with the variable's name, for what the relay would refuse.
    pub fn from_variables<I>(variables: I) -> Result<Self, ConfigurationError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let mut settings = Settings::default();
        configuration_environment::read(variables, &mut settings)?;
        settings.finish("environment variables")
    }

    /// Reads a file, and over it the variables, as a relay does that is started with `--config` and `--from-env`.
    ///
    /// # Errors
    /// As [`Self::from_file`] and [`Self::from_variables`].
    pub fn from_both<I>(text: &str, name: &str, variables: I) -> Result<Self, ConfigurationError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        let mut settings = Settings::default();
        configuration_file::read(text, name, &mut settings)?;
        configuration_environment::read(variables, &mut settings)?;
        settings.finish(name)
    }

    /// Opens and reads an `ld-relay.conf`.
    ///
    /// # Errors
    /// [`ConfigurationError`] where it cannot be opened, is longer than [`CONFIGURATION_LENGTH_MAX`], is not text, or as
    /// [`Self::from_file`].
    pub async fn load(path: &Path) -> Result<Self, ConfigurationError> {
        let name = path.display().to_string();
        let wrong = |problem: String| ConfigurationError {
            place: name.clone(),
            problem,
            way_out: "name the relay's configuration file with --relay-config or RC_RELAY_CONFIG".to_owned(),
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| wrong(format!("cannot be opened: {error}")))?;
        let mut bytes = Vec::new();
        let limit = CONFIGURATION_LENGTH_MAX as u64 + 1;
        tokio::io::AsyncReadExt::read_to_end(&mut tokio::io::AsyncReadExt::take(file, limit), &mut bytes)
            .await
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not text in UTF-8".to_owned()))?;
        Self::from_file(&text, &name)
    }

    /// The environments whose section can mean `environment`: by its `projKey`, if it has one, and by its name, in
    /// which case and the characters between words do not count (`production`, `Project Production`,
    /// `project/production`). Those that name the project come first; whoever finds several decides.
    pub fn matches(&self, environment: &Environment) -> Vec<&RelayEnvironment> {
        let mut found: Vec<&RelayEnvironment> =
            self.environments.iter().filter(|candidate| candidate.can_mean(environment)).collect();
        found.sort_by_key(|candidate| !candidate.names_project(environment));
        found
    }

    /// The copies of an environment in the relay's database: its own prefix, and `prefix/filter` for each payload filter
    /// of its project. Without a prefix a single environment has [`DEFAULT_PREFIX`] (its filter copies as well: the
    /// relay gives them nothing of their own then); among several it is not known, and there are none.
    pub fn copies(&self, environment: &RelayEnvironment) -> Vec<EnvironmentCopy> {
        let Some(prefix) = environment.prefix.as_ref() else {
            if self.environments.len() != 1 || matches!(self.database, Database::DynamoDb { .. }) {
                return Vec::new();
            }
            return vec![EnvironmentCopy { prefix: DEFAULT_PREFIX.to_owned(), filter: None }];
        };
        let filters = environment.proj_key.as_ref().and_then(|key| self.filters.get(key));
        let whole = EnvironmentCopy { prefix: prefix.clone(), filter: None };
        let filtered = filters
            .into_iter()
            .flatten()
            .map(|filter| EnvironmentCopy { prefix: format!("{prefix}/{filter}"), filter: Some(filter.clone()) });
        std::iter::once(whole).chain(filtered).collect()
    }

    /// The environment, and the payload filter, that an entry of `/status` is about: relays name it `name`, or
    /// `name/filter`.
    pub fn behind(&self, status_key: &str) -> Option<(&RelayEnvironment, Option<&str>)> {
        if let Some(environment) = self.environments.iter().find(|environment| environment.name == status_key) {
            return Some((environment, None));
        }
        self.environments.iter().find_map(|environment| {
            let filter = status_key.strip_prefix(&environment.name)?.strip_prefix('/')?;
            let known = self.filters.get(environment.proj_key.as_ref()?)?;
            let filter = known.iter().find(|key| key.as_str() == filter)?;
            Some((environment, Some(filter.as_str())))
        })
    }

    /// The Redis, if that is where records are kept.
    pub fn redis(&self) -> Option<&RedisFacts> {
        match &self.database {
            Database::Redis(facts) => Some(facts),
            Database::Memory | Database::DynamoDb { .. } | Database::Consul { .. } => None,
        }
    }
}

impl RelayEnvironment {
    fn can_mean(&self, environment: &Environment) -> bool {
        if self.proj_key.as_ref().is_some_and(|key| key != environment.project.as_str()) {
            return false;
        }
        let name = words(&self.name);
        name == words(environment.key.as_str()) || name == full_words(environment)
    }

    /// Whether the section names the environment's project, by `projKey` or in its name; if not, only the name of the
    /// environment speaks for it, which another project may have too.
    pub fn names_project(&self, environment: &Environment) -> bool {
        self.proj_key.as_ref().is_some_and(|key| key == environment.project.as_str())
            || words(&self.name) == full_words(environment)
    }
}

fn full_words(environment: &Environment) -> Vec<String> {
    let mut all = words(environment.project.as_str());
    all.extend(words(environment.key.as_str()));
    all
}

fn words(text: &str) -> Vec<String> {
    text.split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RelayConfiguration {
        RelayConfiguration::from_file(text, "ld-relay.conf").unwrap()
    }

    fn names(text: &str, environment: &str) -> Vec<String> {
        let configuration = read(text);
        let environment: Environment = environment.parse().unwrap();
        configuration.matches(&environment).iter().map(|found| found.name.clone()).collect()
    }

    #[test]
    fn sections_are_matched_by_name_and_project_key() {
        for name in [
            "production",
            "Production",
            "project production",
            "project-production",
            "project/production",
            "project_production",
            "Project Production",
            "project: production",
        ] {
            assert_eq!(names(&format!("[Environment \"{name}\"]"), "project/production"), [name]);
        }
        for name in [
            "other production",
            "staging",
            "project",
            "production project",
            "production-eu",
            "myproject production",
            "",
        ] {
            assert_eq!(names(&format!("[Environment \"{name}\"]"), "project/production"), [""; 0], "{name}");
        }
    }

    #[test]
    fn a_section_of_another_project_never_matches() {
        let text =
            "[Environment \"production\"]\nprojKey = other\n[Environment \"project production\"]\nprojKey = other\n";
        assert_eq!(names(text, "project/production"), [""; 0]);
        // `web shop/production` and `web/shop-production` look alike in words; projKey tells them apart.
        let text = "[Environment \"web shop production\"]\nprojKey = web\n";
        assert_eq!(names(text, "web-shop/production"), [""; 0]);
        assert_eq!(names(text, "web/shop-production"), ["web shop production"]);
    }

    #[test]
    fn those_that_name_the_project_come_first() {
        let text = "[Environment \"PRODUCTION\"]\n[Environment \"shop production\"]\n[Environment \"production\"]\nprojKey=shop";
        assert_eq!(names(text, "shop/production"), ["production", "shop production", "PRODUCTION"]);
        let configuration = read(text);
        let environment = "shop/production".parse().unwrap();
        let named: Vec<bool> =
            configuration.matches(&environment).iter().map(|found| found.names_project(&environment)).collect();
        assert_eq!(named, [true, true, false]);
    }

    #[test]
    fn copies_of_filters_have_prefixes_of_their_own() {
        let text = "[Redis]\nhost = r\n[Environment \"a\"]\nprefix = ld:a\nprojKey = shop\n\
            [Environment \"b\"]\nprojKey = other\nprefix = ld:b\n[Environment \"c\"]\n[Filters \"shop\"]\nkeys = web, app\nkeys = till\n";
        let configuration = read(text);
        let prefixes = |index: usize| -> Vec<String> {
            configuration.copies(&configuration.environments[index]).into_iter().map(|copy| copy.prefix).collect()
        };
        assert_eq!(prefixes(0), ["ld:a", "ld:a/web", "ld:a/app", "ld:a/till"]);
        assert_eq!(prefixes(1), ["ld:b"]);
        assert_eq!(prefixes(2), [""; 0], "a relay refuses this; which prefix is meant is not known");
        let one = |text| {
            let configuration = read(text);
            configuration.copies(&configuration.environments[0])
        };
        let whole = [EnvironmentCopy { prefix: DEFAULT_PREFIX.to_owned(), filter: None }];
        assert_eq!(one("[Environment \"a\"]"), whole);
        assert_eq!(one("[Environment \"a\"]\nprojKey=p\n[Filters \"p\"]\nkeys=web"), whole);
        assert_eq!(one("[DynamoDB]\nenabled\n[Environment \"a\"]"), []);
    }

    #[test]
    fn entries_of_a_status_are_found_again() {
        let configuration = read(
            "[Environment \"a\"]\nprojKey=p\n[Environment \"a/web\"]\nprojKey=q\n[Environment \"b\"]\nprojKey=p\n[Filters \"p\"]\nkeys=web",
        );
        let behind = |key| configuration.behind(key).map(|(found, filter)| (found.name.as_str(), filter));
        assert_eq!(behind("a"), Some(("a", None)));
        assert_eq!(behind("a/web"), Some(("a/web", None)));
        assert_eq!(behind("b/web"), Some(("b", Some("web"))));
        assert_eq!(behind("b/app"), None);
        assert_eq!(behind("c"), None);
    }

    #[test]
    fn the_prefix_of_an_automatic_configuration() {
        let auto = read("[AutoConfig]\nkey = rel-secret\nenvDatastorePrefix = ld-$CID\n").auto_config.unwrap();
        assert_eq!(auto.prefix("abc", None).unwrap(), "ld-abc");
        assert_eq!(auto.prefix("abc", Some("web")).unwrap(), "ld-abc.web");
        assert!(!auto.has_cache);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let configuration = read(
            "[Main]\nstreamUri = https://u:hunter2@stream.example\n[Redis]\nurl = rediss://u:hunter2@r:7000/3\n[Environment \"a\"]\nsdkKey = sdk-hunter2",
        );
        assert!(!format!("{configuration:?}").contains("hunter2"));
        assert_eq!(configuration.environments[0].sdk_key.as_ref().unwrap().tail(), "nter2");
        let redis = configuration.redis().unwrap();
        assert_eq!((redis.host.as_str(), redis.port, redis.database, redis.tls), ("r", 7000, 3, true));
        let error = RelayConfiguration::from_file("[Redis]\nurl = hunter2\n", "x").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
