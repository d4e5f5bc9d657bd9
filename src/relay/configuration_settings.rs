//! The settings of a relay while they are being read, from a file, from variables, or from one over the other. Both
//! readers come down to the same thing here: a section, perhaps a name in quotes, a key, a value, and the place it was
//! found. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;

use crate::relay::cache_time::CacheTime;
use crate::relay::cache_time::GoDuration;
use crate::relay::configuration::AutoConfig;
use crate::relay::configuration::ConfigurationError;
use crate::relay::configuration::Database;
use crate::relay::configuration::NotKnown;
use crate::relay::configuration::Offline;
use crate::relay::configuration::RedisFacts;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::configuration::RelayEnvironment;
use crate::relay::sdk_key::SdkKey;

/// The key that stands for `USE_REDIS`: one that no file can have.
pub(super) const USE_REDIS: &str = "$use";

/// The most unknown things that are remembered.
const NOT_KNOWN_MAX: usize = 50;

const DEFAULT_PORT: u16 = 8030;
const DEFAULT_REDIS_PORT: u16 = 6379;
const DEFAULT_INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// One setting: where it stands and what it says.
#[derive(Debug, Clone, Default)]
pub(super) struct Setting {
    /// In lower case.
    pub(super) section: String,
    /// The name in quotes, as written; empty where there is none.
    pub(super) subsection: String,
    /// In lower case.
    pub(super) key: String,
    /// `None` for a key without `=`.
    pub(super) value: Option<String>,
    /// File and line, or the variable's name.
    pub(super) place: String,
}

impl Setting {
    pub(super) fn wrong(&self, problem: impl Into<String>, way_out: impl Into<String>) -> ConfigurationError {
        ConfigurationError { place: self.place.clone(), problem: problem.into(), way_out: way_out.into() }
    }

    /// The text; empty counts as not set.
    fn text(&self) -> Result<Option<String>, ConfigurationError> {
        let value = self.value.as_ref().ok_or_else(|| {
            self.wrong(format!("{} has no value", self.key), format!("write {} = …, or leave the line out", self.key))
        })?;
        Ok(Some(value.clone()).filter(|text| !text.is_empty()))
    }

    /// A boolean, as gcfg (`types/bool.go`) and go-configtypes (`opt_bool.go`) read one.
    fn boolean(&self) -> Result<bool, ConfigurationError> {
        let Some(value) = &self.value else { return Ok(true) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "" | "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(self.wrong(format!("{} is neither true nor false", self.key), "write true or false")),
        }
    }

    fn duration(&self) -> Result<Option<GoDuration>, ConfigurationError> {
        let Some(text) = self.text()? else { return Ok(None) };
        let duration = GoDuration::parse(&text).map_err(|error| {
            self.wrong(format!("{}: {error}", self.key), "write a number with ns, us, ms, s, m or h")
        })?;
        Ok(Some(duration))
    }

    fn port(&self) -> Result<Option<u16>, ConfigurationError> {
        let Some(text) = self.text()? else { return Ok(None) };
        let port = text.parse::<u16>().ok().filter(|port| *port > 0);
        port.map(Some).ok_or_else(|| self.wrong(format!("{} is no port", self.key), "write a number from 1 to 65535"))
    }

    fn url(&self) -> Result<Option<Url>, ConfigurationError> {
        let Some(text) = self.text()? else { return Ok(None) };
        // The text may hold a password, so it is not shown.
        let url = Url::parse(&text).ok().filter(Url::has_host);
        url.map(Some).ok_or_else(|| {
            self.wrong(format!("{} is not an absolute URL", self.key), "write scheme://host, perhaps with a port")
        })
    }
}

#[derive(Debug, Default)]
struct RedisSettings {
    used: bool,
    host: Option<String>,
    port: Option<u16>,
    url: Option<Url>,
    tls: bool,
}

/// All settings so far.
#[derive(Debug, Default)]
pub(super) struct Settings {
    not_known: Vec<NotKnown>,
    environments: BTreeMap<String, RelayEnvironment>,
    filters: BTreeMap<String, Vec<String>>,
    redis: RedisSettings,
    redis_cache: Option<GoDuration>,
    consul_host: Option<String>,
    consul_cache: Option<GoDuration>,
    dynamo_db: bool,
    dynamo_db_table: Option<String>,
    dynamo_db_cache: Option<GoDuration>,
    auto_config_key: bool,
    auto_config_prefix: Option<String>,
    auto_config_cache: bool,
    offline_file: Option<String>,
    offline_prefix: Option<String>,
    stream_uri: Option<Url>,
    base_uri: Option<Url>,
    port: Option<u16>,
    init_timeout: Option<GoDuration>,
    max_client_connection_time: Option<GoDuration>,
}

impl Settings {
    /// A section's header: an environment exists as soon as its section does.
    pub(super) fn open_section(&mut self, section: &str, subsection: &str) {
        if section == "environment" {
            self.environment(subsection);
        }
    }

    /// Takes one setting; one that is not ours to know is passed over.
    pub(super) fn apply(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        match setting.section.as_str() {
            "main" => self.apply_main(setting),
            "environment" => self.apply_environment(setting),
            "filters" => self.apply_filters(setting),
            "redis" => self.apply_redis(setting),
            "consul" | "dynamodb" => self.apply_other_database(setting),
            "autoconfig" | "offlinemode" => self.apply_mode(setting),
            _ => Ok(()),
        }
    }

    /// Notes something that no relay knows; it has no meaning here either.
    pub(super) fn note_not_known(&mut self, found: NotKnown) {
        if self.not_known.len() < NOT_KNOWN_MAX {
            self.not_known.push(found);
        }
    }

    /// Whether a Redis is named already: the relay then reads Redis' variables also without `USE_REDIS`.
    pub(super) fn names_redis(&self) -> bool {
        self.redis.host.is_some() || self.redis.url.is_some()
    }

    fn environment(&mut self, name: &str) -> &mut RelayEnvironment {
        self.environments.entry(name.to_owned()).or_insert_with(|| RelayEnvironment {
            name: name.to_owned(),
            sdk_key: None,
            prefix: None,
            table_name: None,
            env_id: None,
            proj_key: None,
        })
    }

    fn apply_main(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        match setting.key.as_str() {
            "streamuri" => self.stream_uri = setting.url()?,
            "baseuri" => self.base_uri = setting.url()?,
            "port" => self.port = setting.port()?,
            "inittimeout" => self.init_timeout = setting.duration()?,
            "maxclientconnectiontime" => self.max_client_connection_time = setting.duration()?,
            _ => {}
        }
        Ok(())
    }

    fn apply_environment(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        let environment = self.environment(&setting.subsection);
        match setting.key.as_str() {
            "sdkkey" => {
                let text = setting.text()?;
                let key = text.as_deref().map(SdkKey::parse).transpose();
                environment.sdk_key =
                    key.map_err(|error| setting.wrong(error.to_string(), "copy it from LaunchDarkly"))?;
            }
            "prefix" => environment.prefix = setting.text()?,
            "tablename" => environment.table_name = setting.text()?,
            "envid" => environment.env_id = setting.text()?,
            "projkey" => environment.proj_key = setting.text()?,
            _ => {}
        }
        Ok(())
    }

    fn apply_filters(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        if setting.key != "keys" {
            return Ok(());
        }
        // A second line adds to the first (go-configtypes, opt_string_list.go); spaces around a key do not count.
        let keys = self.filters.entry(setting.subsection.clone()).or_default();
        for key in setting.text()?.as_deref().unwrap_or_default().split(',').map(|key| key.trim_matches(' ')) {
            if key.is_empty() {
                return Err(
                    setting.wrong("a payload filter's key is empty", "write the keys with a comma between them")
                );
            }
            keys.push(key.to_owned());
        }
        Ok(())
    }

    fn apply_redis(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        match setting.key.as_str() {
            USE_REDIS => self.redis.used = setting.boolean()?,
            "host" => self.redis.host = setting.text()?,
            "port" => self.redis.port = setting.port()?,
            "url" => self.redis.url = setting.url()?,
            "tls" => self.redis.tls = setting.boolean()?,
            "localttl" => self.redis_cache = setting.duration()?,
            _ => return Ok(()),
        }
        if self.redis.url.is_some() && (self.redis.host.is_some() || self.redis.port.is_some()) {
            return Err(setting.wrong("Redis has a URL and also a host or a port", "write one or the other"));
        }
        Ok(())
    }

    fn apply_other_database(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        match (setting.section.as_str(), setting.key.as_str()) {
            ("consul", "host") => self.consul_host = setting.text()?,
            ("consul", "localttl") => self.consul_cache = setting.duration()?,
            ("dynamodb", "enabled") => self.dynamo_db = setting.boolean()?,
            ("dynamodb", "tablename") => self.dynamo_db_table = setting.text()?,
            ("dynamodb", "localttl") => self.dynamo_db_cache = setting.duration()?,
            _ => {}
        }
        Ok(())
    }

    fn apply_mode(&mut self, setting: &Setting) -> Result<(), ConfigurationError> {
        match (setting.section.as_str(), setting.key.as_str()) {
            ("autoconfig", "key") => self.auto_config_key = setting.text()?.is_some(),
            ("autoconfig", "envdatastoreprefix") => self.auto_config_prefix = setting.text()?,
            ("autoconfig", "cachekey") => self.auto_config_cache = setting.text()?.is_some(),
            ("offlinemode", "filedatasource") => self.offline_file = setting.text()?,
            ("offlinemode", "envdatastoreprefix") => self.offline_prefix = setting.text()?,
            _ => {}
        }
        Ok(())
    }

    /// The configuration, once everything is read.
    pub(super) fn finish(self, source: &str) -> Result<RelayConfiguration, ConfigurationError> {
        self.check(source)?;
        let (database, cache) = self.database(source)?;
        let auto_config = self
            .auto_config_key
            .then_some(AutoConfig { env_datastore_prefix: self.auto_config_prefix, has_cache: self.auto_config_cache });
        let offline = self.offline_file.map(|file| Offline { file, env_datastore_prefix: self.offline_prefix });
        Ok(RelayConfiguration {
            source: source.to_owned(),
            not_known: self.not_known,
            environments: self.environments.into_values().collect(),
            filters: self.filters,
            database,
            cache_time: cache.map_or_else(CacheTime::default, CacheTime::from),
            cache_time_is_given: cache.is_some(),
            auto_config,
            offline,
            stream_uri: self.stream_uri.map(without_user),
            base_uri: self.base_uri.map(without_user),
            port: self.port.unwrap_or(DEFAULT_PORT),
            init_timeout: self.init_timeout.and_then(GoDuration::not_negative).unwrap_or(DEFAULT_INIT_TIMEOUT),
            max_client_connection_time: self
                .max_client_connection_time
                .and_then(GoDuration::not_negative)
                .filter(|time| !time.is_zero()),
        })
    }

    /// The contradictions for which a relay does not start (`config/config_validation.go`) and which would leave open
    /// what is meant.
    fn check(&self, source: &str) -> Result<(), ConfigurationError> {
        let wrong = |problem: &str, way_out: &str| {
            Err(ConfigurationError {
                place: source.to_owned(),
                problem: problem.to_owned(),
                way_out: way_out.to_owned(),
            })
        };
        let own = !self.environments.is_empty();
        if self.auto_config_key && own {
            return wrong("has environments and automatic configuration, which a relay refuses", "keep one of the two");
        }
        if self.offline_file.is_some() && (own || self.auto_config_key) {
            return wrong("has offline mode and another source of environments, which a relay refuses", "keep one");
        }
        let redis =
            self.redis.used || self.redis.host.is_some() || self.redis.port.is_some() || self.redis.url.is_some();
        if usize::from(redis) + usize::from(self.consul_host.is_some()) + usize::from(self.dynamo_db) > 1 {
            return wrong("names more than one database, which a relay refuses", "keep one of Redis, Consul, DynamoDB");
        }
        Ok(())
    }

    fn database(&self, source: &str) -> Result<(Database, Option<GoDuration>), ConfigurationError> {
        if let Some(host) = &self.consul_host {
            return Ok((Database::Consul { host: host.clone() }, self.consul_cache));
        }
        if self.dynamo_db {
            return Ok((Database::DynamoDb { table_name: self.dynamo_db_table.clone() }, self.dynamo_db_cache));
        }
        let redis = &self.redis;
        if let Some(url) = &redis.url {
            return Ok((Database::Redis(redis_facts(url, redis.tls, source)?), self.redis_cache));
        }
        if redis.used || redis.host.is_some() || redis.port.is_some() {
            let facts = RedisFacts {
                host: redis.host.clone().unwrap_or_else(|| "localhost".to_owned()),
                port: redis.port.unwrap_or(DEFAULT_REDIS_PORT),
                database: 0,
                tls: redis.tls,
            };
            return Ok((Database::Redis(facts), self.redis_cache));
        }
        Ok((Database::Memory, None))
    }
}

/// Host, port, database and TLS of a Redis URL. The password stays behind.
pub(super) fn redis_facts(url: &Url, tls: bool, source: &str) -> Result<RedisFacts, ConfigurationError> {
    let wrong = |problem: &str| ConfigurationError {
        place: source.to_owned(),
        problem: format!("the URL of Redis {problem}"),
        way_out: "write redis://host:6379/0 or rediss://host:6379/0".to_owned(),
    };
    if !matches!(url.scheme(), "redis" | "rediss") {
        return Err(wrong("is neither redis:// nor rediss://"));
    }
    let path = url.path().trim_matches('/');
    let database = if path.is_empty() { Ok(0) } else { path.parse() };
    Ok(RedisFacts {
        host: url.host_str().unwrap_or_default().to_owned(),
        port: url.port().unwrap_or(DEFAULT_REDIS_PORT),
        database: database.map_err(|_| wrong("has a path that is no number of a database"))?,
        tls: tls || url.scheme() == "rediss",
    })
}

fn without_user(mut url: Url) -> String {
    // Both fail only for URLs without a host, which were refused when they were read.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    String::from(url)
}
