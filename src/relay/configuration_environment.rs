//! Reads a relay's environment variables, out of pairs that the caller gives: nothing here looks at the process. Names as in
//! ld-relay v8.10.1 (`config/config.go`, `config/config_from_env.go`), and `AUTO_CONFIG_CACHE_KEY` of newer ones. Pure.

use std::collections::BTreeMap;

use crate::relay::configuration::ConfigurationError;
use crate::relay::configuration_settings::Setting;
use crate::relay::configuration_settings::Settings;
use crate::relay::configuration_settings::USE_REDIS;

/// Variables that say one thing: name, section, key.
const SINGLE: &[(&str, &str, &str)] = &[
    ("STREAM_URI", "main", "streamuri"),
    ("BASE_URI", "main", "baseuri"),
    ("PORT", "main", "port"),
    ("INIT_TIMEOUT", "main", "inittimeout"),
    ("MAX_CLIENT_CONNECTION_TIME", "main", "maxclientconnectiontime"),
    ("AUTO_CONFIG_KEY", "autoconfig", "key"),
    ("AUTO_CONFIG_CACHE_KEY", "autoconfig", "cachekey"),
    ("FILE_DATA_SOURCE", "offlinemode", "filedatasource"),
    ("USE_REDIS", "redis", USE_REDIS),
    ("USE_DYNAMODB", "dynamodb", "enabled"),
];

/// Variables of an environment, with its name behind: beginning, key. `LD_ENV_` makes the environment.
const OF_ENVIRONMENT: &[(&str, &str)] = &[
    ("LD_ENV_", "sdkkey"),
    ("LD_CLIENT_SIDE_ID_", "envid"),
    ("LD_PREFIX_", "prefix"),
    ("LD_TABLE_NAME_", "tablename"),
    ("LD_PROJ_KEY_", "projkey"),
];

const FILTER_KEYS: &str = "LD_FILTER_KEYS_";

/// Reads all of the relay's variables among `variables` into `settings`.
pub(super) fn read<I>(variables: I, settings: &mut Settings) -> Result<(), ConfigurationError>
where
    I: IntoIterator<Item = (String, String)>,
{
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    for (name, section, key) in SINGLE {
        apply(&variables, name, section, "", key, settings)?;
    }
    // The same variable serves both modes; only one of them can be used at a time.
    apply(&variables, "ENV_DATASTORE_PREFIX", "autoconfig", "", "envdatastoreprefix", settings)?;
    apply(&variables, "ENV_DATASTORE_PREFIX", "offlinemode", "", "envdatastoreprefix", settings)?;
    let environments: Vec<&str> = variables.keys().filter_map(|name| name.strip_prefix("LD_ENV_")).collect();
    for environment in environments {
        settings.open_section("environment", environment);
        for (beginning, key) in OF_ENVIRONMENT {
            apply(&variables, &format!("{beginning}{environment}"), "environment", environment, key, settings)?;
        }
    }
    for project in variables.keys().filter_map(|name| name.strip_prefix(FILTER_KEYS)) {
        apply(&variables, &format!("{FILTER_KEYS}{project}"), "filters", project, "keys", settings)?;
    }
    databases(&variables, settings)
}

/// The relay looks at a database's variables only where that database is switched on.
fn databases(variables: &BTreeMap<String, String>, settings: &mut Settings) -> Result<(), ConfigurationError> {
    if on(variables, "USE_REDIS") || settings.names_redis() {
        apply(variables, "REDIS_HOST", "redis", "", "host", settings)?;
        apply(variables, "REDIS_URL", "redis", "", "url", settings)?;
        apply(variables, "REDIS_TLS", "redis", "", "tls", settings)?;
        apply(variables, "CACHE_TTL", "redis", "", "localttl", settings)?;
        redis_port(variables, settings)?;
    }
    if on(variables, "USE_CONSUL") {
        let host = Setting {
            section: "consul".to_owned(),
            key: "host".to_owned(),
            value: Some(variables.get("CONSUL_HOST").cloned().unwrap_or_else(|| "localhost".to_owned())),
            place: "CONSUL_HOST".to_owned(),
            ..Setting::default()
        };
        settings.apply(&host)?;
        apply(variables, "CACHE_TTL", "consul", "", "localttl", settings)?;
    }
    if on(variables, "USE_DYNAMODB") {
        apply(variables, "DYNAMODB_TABLE", "dynamodb", "", "tablename", settings)?;
        apply(variables, "CACHE_TTL", "dynamodb", "", "localttl", settings)?;
    }
    Ok(())
}

/// `REDIS_PORT` is a number, or `tcp://host:port` where Docker links a Redis.
fn redis_port(variables: &BTreeMap<String, String>, settings: &mut Settings) -> Result<(), ConfigurationError> {
    let Some(text) = variables.get("REDIS_PORT") else { return Ok(()) };
    let mut setting = Setting {
        section: "redis".to_owned(),
        key: "port".to_owned(),
        value: Some(text.clone()),
        place: "REDIS_PORT".to_owned(),
        ..Setting::default()
    };
    if let Some(linked) = text.strip_prefix("tcp://") {
        let (host, port) = linked
            .split_once(':')
            .ok_or_else(|| setting.wrong("names no port", "write a number, or tcp://host:port"))?;
        setting.value = Some(port.to_owned());
        let host = Setting { key: "host".to_owned(), value: Some(host.to_owned()), ..setting.clone() };
        settings.apply(&host)?;
    }
    settings.apply(&setting)
}

/// A mistyped switch counts as off here; the reader of [`SINGLE`] or the relay itself complains about it.
fn on(variables: &BTreeMap<String, String>, name: &str) -> bool {
    variables.get(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
}

fn apply(
    variables: &BTreeMap<String, String>,
    name: &str,
    section: &str,
    subsection: &str,
    key: &str,
    settings: &mut Settings,
) -> Result<(), ConfigurationError> {
    let Some(value) = variables.get(name) else { return Ok(()) };
    settings.apply(&Setting {
        section: section.to_owned(),
        subsection: subsection.to_owned(),
        key: key.to_owned(),
        value: Some(value.clone()),
        place: name.to_owned(),
    })
}
