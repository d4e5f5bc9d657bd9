//! The whole of `settings/` through `Settings::resolve`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::*;

fn process(folder: &Path, variables: &[(&str, &str)]) -> Process {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    let user_id = rustix::process::geteuid().as_raw();
    Process { variables, folder: folder.to_owned(), user_id, host: "bastion-1".to_owned() }
}

fn resolve(variables: &[(&str, &str)]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::resolve(&GlobalArguments::default(), &process(folder.path(), variables));
    settings.map_err(|error| error.to_string())
}

#[track_caller]
fn refused(name: &str, value: &str, expected: &str) {
    assert_eq!(resolve(&[(name, value)]).unwrap_err(), expected);
}

#[test]
fn without_anything() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        Settings::resolve(&GlobalArguments::default(), &process(folder.path(), &[("USER", "anna")])).unwrap();
    assert_eq!(settings.home, None);
    assert_eq!(settings.playback, folder.path().join("playback"));
    assert_eq!(settings.launchdarkly.api_url, "https://app.launchdarkly.com");
    assert_eq!(settings.launchdarkly.timeout, Duration::from_secs(10));
    assert_eq!(settings.timeout, Duration::from_secs(2));
    assert_eq!((settings.actor.user.as_str(), settings.actor.host.as_str()), ("anna", "bastion-1"));
    assert!(!settings.no_input && !settings.yes && settings.sources.is_empty() && settings.warnings.is_empty());
    let error = settings.required_stores().unwrap_err();
    assert!(error.to_string().starts_with("no store is configured: neither REDIS_HOSTS nor RC_STORES is set"));
    assert!(error.way_out()[0].contains("REDIS_HOSTS=redis-a,redis-b"));
    assert_eq!(settings.required_api_key().unwrap_err(), SettingsError::NoApiKey);
    assert!(settings.required_environment().unwrap_err().to_string().contains("-p PROJECT nor RC_PROJECT"));
}

#[test]
fn arguments_over_environment_over_dot_env_over_file() {
    let home = tempfile::tempdir().unwrap();
    let dot_env =
        "REDIS_HOSTS=a,b\nRC_PROJECT=from-dot-env\nRC_PLAYBACK=changes\nLD_ENV_Production=sdk-1\nCACHE_TTL=5s\n";
    fs::write(home.path().join(".env"), dot_env).unwrap();
    let file = "default_project = \"from-file\"\ndefault_environment = \"from-file\"\nredis_ca = \"ca.pem\"\ntimeout = \"4s\"\n\
                [environment.\"shop/production\"]\nprefix = \"launchdarkly\"\n";
    fs::write(home.path().join("relaycommander.toml"), file).unwrap();
    let below = home.path().join("below");
    fs::create_dir(&below).unwrap();
    let variables =
        [("RC_TIMEOUT", "3s"), ("RC_ACTOR", "bob"), ("LD_ENV_Production", "sdk-2"), ("RC_RELAY_CONFIG", "x.conf, /y")];
    let typed = GlobalArguments { timeout: Some("1s".to_owned()), yes: true, ..GlobalArguments::default() };
    let settings = Settings::resolve(&typed, &process(&below, &variables)).unwrap();
    assert_eq!(settings.timeout, Duration::from_secs(1));
    assert_eq!(settings.project.as_ref().unwrap().as_str(), "from-dot-env");
    assert_eq!(settings.environment.as_ref().unwrap().as_str(), "from-file");
    assert_eq!(settings.playback, home.path().join("changes"));
    assert_eq!(settings.redis.authority, Some(home.path().join("ca.pem")));
    assert_eq!(settings.relay_config, [below.join("x.conf"), PathBuf::from("/y")]);
    assert_eq!(settings.relay_variables["LD_ENV_Production"].expose(), "sdk-2");
    assert_eq!(settings.relay_variables["CACHE_TTL"].expose(), "5s");
    assert_eq!(settings.actor.user, "bob");
    assert!(settings.yes);
    let environment: Environment = "shop/production".parse().unwrap();
    assert_eq!(settings.environments[&environment].prefix.as_deref(), Some("launchdarkly"));
    let labels: Vec<&str> = settings.required_stores().unwrap().iter().map(|store| store.label.as_str()).collect();
    assert_eq!(labels, ["a", "b"]);
    assert_eq!(settings.home.unwrap().folder, home.path());
    let place = format!("RC_PROJECT in {}", home.path().join(".env").display());
    assert!(settings.sources.contains(&place) && settings.sources.contains(&"--timeout".to_owned()));
}

#[test]
fn stores_from_both_lists() {
    let settings = resolve(&[("REDIS_HOSTS", "a"), ("RC_STORES", "f=file:///srv/flags.json")]).unwrap();
    assert_eq!(
        settings.stores.iter().map(StoreSetting::address).collect::<Vec<_>>(),
        ["redis://a", "file:///srv/flags.json"]
    );
    let twice = resolve(&[("REDIS_HOSTS", "a"), ("RC_STORES", "redis://a")]).unwrap_err();
    assert_eq!(twice, "the list of stores: redis://a stands twice");
    refused("REDIS_HOSTS", "a,b:x", "REDIS_HOSTS: redis://b:x: the port is not a number from 1 to 65535");
}

#[test]
fn what_cannot_be_meant() {
    refused("RC_TIMEOUT", "2", "RC_TIMEOUT is \"2\", not a time such as 2s or 500ms");
    refused("RC_REDIS_DB", "one", "RC_REDIS_DB is \"one\", not the number of a database");
    refused("RC_NO_INPUT", "maybe", "RC_NO_INPUT is \"maybe\", neither true nor false");
    refused("RC_REASON", "a\u{1b}[2J", "RC_REASON has a control character in it");
    refused("RC_PREFIX", "a b", "RC_PREFIX is \"a b\", not a prefix such as launchdarkly");
    refused(
        "LD_API_URL",
        "app.launchdarkly.com",
        "LD_API_URL is \"app.launchdarkly.com\", not a URL such as https://…",
    );
    refused("LD_API_URL", "ftp://a", "LD_API_URL is ftp://a, not https://…");
    refused(
        "LD_API_URL",
        "http://app.example.com",
        "LD_API_URL is http://app.example.com: plain http is only for this machine, since keys go there",
    );
    assert!(resolve(&[("RC_PROJECT", "a/b")]).unwrap_err().starts_with("RC_PROJECT is not understood: project key"));
}

#[test]
fn launchdarkly_on_this_machine() {
    for url in ["http://localhost:8080", "http://127.0.0.1:1/", "http://[::1]:9", "https://app.eu.launchdarkly.com"] {
        let settings = resolve(&[("LD_API_URL", url)]).unwrap();
        assert_eq!(settings.launchdarkly.api_url, url.trim_end_matches('/'));
    }
    for url in ["http://127.0.0.1.example.com", "http://localhost.example.com", "http://10.0.0.1"] {
        assert!(resolve(&[("LD_API_URL", url)]).is_err(), "{url}");
    }
}

/// A colleague's typing error in the environment must not stop an incident; in our own files it is an error.
#[test]
fn unknown_names_in_the_environment_are_warned_of() {
    let settings = resolve(&[("RC_PROJET", "shop"), ("RCFILE", "x")]).unwrap();
    assert_eq!(settings.warnings, ["RC_PROJET in the environment is no setting of rc; did you mean RC_PROJECT?"]);
}

#[test]
fn no_text() {
    use std::os::unix::ffi::OsStringExt;
    let folder = tempfile::tempdir().unwrap();
    let mut process = process(folder.path(), &[]);
    process.variables.insert("OTHER".to_owned(), OsString::from_vec(vec![0xff]));
    assert!(Settings::resolve(&GlobalArguments::default(), &process).is_ok());
    process.variables.insert("RC_REASON".to_owned(), OsString::from_vec(vec![0xff]));
    let error = Settings::resolve(&GlobalArguments::default(), &process).unwrap_err();
    assert_eq!(error.to_string(), "RC_REASON is not UTF-8");
}

#[test]
fn no_secret_in_debug() {
    let secrets = [
        ("REDIS_HOSTS", "redis://:hunter2@a"),
        ("RC_REDIS_PASSWORD", "hunter2"),
        ("LD_API_KEY", "hunter2"),
        ("LD_ENV_X", "hunter2"),
    ];
    let settings = resolve(&secrets).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}

/// Every default of the table is one that its own reader takes.
#[test]
fn defaults_can_be_said() {
    let plain = table::ALL.iter().filter(|row| !row.default.is_empty() && !row.default.starts_with('['));
    for row in plain {
        assert!(resolve(&[(row.name, row.default)]).is_ok(), "{row:?}");
    }
}
