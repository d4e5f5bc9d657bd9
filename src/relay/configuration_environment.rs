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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::relay::cache_time::CacheTime;
    use crate::relay::configuration::ConfigurationError;
    use crate::relay::configuration::Database;
    use crate::relay::configuration::RelayConfiguration;

    fn read(variables: &[(&str, &str)]) -> Result<RelayConfiguration, ConfigurationError> {
        let pairs = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        RelayConfiguration::from_variables(pairs)
    }

    #[test]
    fn environments_with_all_that_belongs_to_them() {
        let configuration = read(&[
            ("LD_ENV_shop_production", "sdk-1"),
            ("LD_MOBILE_KEY_shop_production", "mob-1"),
            ("LD_CLIENT_SIDE_ID_shop_production", "5f"),
            ("LD_PREFIX_shop_production", "ld:shop:production"),
            ("LD_PROJ_KEY_shop_production", "shop"),
            ("LD_TABLE_NAME_shop_production", "t"),
            ("LD_PREFIX_nobody", "x"),
            ("LD_ENV_b", "sdk-2"),
            ("LD_FILTER_KEYS_shop", "web,app"),
            ("USE_REDIS", "1"),
            ("REDIS_HOST", "redis-a"),
            ("CACHE_TTL", "-1s"),
            ("HOME", "/root"),
        ])
        .unwrap();
        let names: Vec<_> = configuration.environments.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["b", "shop_production"]);
        let shop = &configuration.environments[1];
        assert_eq!(shop.prefix.as_deref(), Some("ld:shop:production"));
        assert_eq!(shop.env_id.as_deref(), Some("5f"));
        assert_eq!(shop.table_name.as_deref(), Some("t"));
        assert_eq!(configuration.copies(shop).len(), 3);
        assert_eq!(configuration.matches(&"shop/production".parse().unwrap()), [shop]);
        assert_eq!(configuration.cache_time, CacheTime::Endless);
        assert_eq!(configuration.redis().unwrap().host, "redis-a");
    }

    #[test]
    fn databases_count_only_where_they_are_switched_on() {
        assert_eq!(read(&[("REDIS_HOST", "a"), ("CACHE_TTL", "1s")]).unwrap().database, Database::Memory);
        let redis = |more: &[(&str, &str)]| {
            let all: Vec<_> = [("USE_REDIS", "true")].iter().chain(more).copied().collect();
            let configuration = read(&all).unwrap();
            let facts = configuration.redis().unwrap();
            format!("{}:{}/{} {}", facts.host, facts.port, facts.database, facts.tls)
        };
        assert_eq!(redis(&[]), "localhost:6379/0 false");
        assert_eq!(redis(&[("REDIS_PORT", "7000")]), "localhost:7000/0 false");
        assert_eq!(redis(&[("REDIS_PORT", "tcp://10.0.0.1:7000"), ("REDIS_HOST", "x")]), "10.0.0.1:7000/0 false");
        assert_eq!(redis(&[("REDIS_URL", "redis://u:p@r/2"), ("REDIS_TLS", "1")]), "r:6379/2 true");
        assert_eq!(read(&[("USE_CONSUL", "yes")]).unwrap().database, Database::Consul { host: "localhost".to_owned() });
        let dynamo = read(&[("USE_DYNAMODB", "1"), ("DYNAMODB_TABLE", "t"), ("CACHE_TTL", "0s")]).unwrap();
        assert_eq!(dynamo.database, Database::DynamoDb { table_name: Some("t".to_owned()) });
        assert_eq!(dynamo.cache_time, CacheTime::Zero);
    }

    #[test]
    fn modes() {
        let auto =
            read(&[("AUTO_CONFIG_KEY", "rel"), ("ENV_DATASTORE_PREFIX", "ld-$CID"), ("AUTO_CONFIG_CACHE_KEY", "k")]);
        let auto = auto.unwrap().auto_config.unwrap();
        assert_eq!((auto.prefix("5f", None).unwrap().as_str(), auto.has_cache), ("ld-5f", true));
        let offline = read(&[("FILE_DATA_SOURCE", "a.tar"), ("ENV_DATASTORE_PREFIX", "ld-$CID")]).unwrap();
        assert_eq!(offline.offline.unwrap().env_datastore_prefix.as_deref(), Some("ld-$CID"));
        assert_eq!(offline.auto_config, None);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_variable() {
        for (name, value) in [
            ("CACHE_TTL", "30"),
            ("REDIS_PORT", "tcp://x"),
            ("REDIS_PORT", "many"),
            ("REDIS_URL", "hunter2"),
            ("STREAM_URI", "hunter2"),
            ("INIT_TIMEOUT", "soon"),
            ("LD_ENV_a", "hunter2 "),
            ("LD_ENV_b", "hunter 2"),
        ] {
            match read(&[("USE_REDIS", "1"), (name, value)]) {
                Ok(_) => assert_eq!(name, "LD_ENV_a"),
                Err(error) => {
                    assert_eq!(error.place, name);
                    assert!(!format!("{error:?}").contains("hunter"), "{error:?}");
                }
            }
        }
    }

    #[test]
    fn variables_stand_over_a_file() {
        let text = "[Redis]\nhost = file\nlocalTtl = 5s\n[Environment \"a\"]\nprefix = p\nsdkKey = sdk-1\n";
        let variables =
            [("CACHE_TTL", "7s"), ("LD_ENV_a", "sdk-2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let configuration = RelayConfiguration::from_both(text, "x", variables).unwrap();
        assert_eq!(configuration.cache_time, CacheTime::For(Duration::from_secs(7)));
        assert_eq!(configuration.redis().unwrap().host, "file");
        assert_eq!(configuration.environments[0].prefix.as_deref(), Some("p"));
        assert_eq!(configuration.environments[0].sdk_key.as_ref().unwrap().tail(), "sdk-2");
    }
}
