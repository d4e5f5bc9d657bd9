//! Every setting, one row each: the only list there is. The code asks for a setting by its row, `rc help environment`
//! prints the rows, and a test holds them against the command line, so none of the three can drift from the others.

/// One setting: where it may be given, and what it is for.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// In the environment and in `.env`.
    pub name: &'static str,
    /// On the command line, without the hyphens.
    pub flag: Option<&'static str>,
    /// In `relaycommander.toml`. A secret stands there only as the file that holds it, under this name and `_file`.
    pub key: Option<&'static str>,
    /// What holds where it is not given, as it would be typed; or in words, in brackets.
    pub default: &'static str,
    /// Whether the value may hold a secret. Then `NAME_FILE` can name a file that holds it.
    pub secret: bool,
    /// What it is for.
    pub help: &'static str,
}

impl Setting {
    /// The variable that names a file which holds the value, for secrets.
    pub fn file_name(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.name))
    }

    /// The key that names a file which holds the value, for secrets.
    pub fn file_key(&self) -> Option<String> {
        self.key.filter(|_| self.secret).map(|key| format!("{key}_file"))
    }
}

macro_rules! settings {
    ($($row:ident { flag: $flag:expr, key: $key:expr, default: $default:expr, secret: $secret:expr, $help:expr })*) => {
        $(
            #[doc = $help]
            pub static $row: Setting = Setting {
                name: stringify!($row),
                flag: $flag,
                key: $key,
                default: $default,
                secret: $secret,
                help: $help,
            };
        )*

        /// All rows, in the order of `rc help environment`.
        pub static ALL: &[&Setting] = &[$(&$row),*];
    };
}

settings! {
    REDIS_HOSTS { flag: None, key: Some("redis_hosts"), default: "", secret: true,
        "Redis servers behind the relays, comma separated: host, host:port, redis://, rediss://, unix://; LABEL= in front names one" }
    RC_STORES { flag: Some("stores"), key: Some("stores"), default: "", secret: true,
        "stores of any kind by URL, comma separated: as above, and file:///path/to/flags.json" }
    RC_REDIS_USER { flag: None, key: Some("redis_user"), default: "", secret: false,
        "user for Redis servers whose URL names none" }
    RC_REDIS_PASSWORD { flag: None, key: Some("redis_password"), default: "", secret: true,
        "password for Redis servers whose URL has none" }
    RC_REDIS_DB { flag: None, key: Some("redis_db"), default: "0", secret: false,
        "database number for Redis servers whose URL names none" }
    RC_REDIS_CA { flag: Some("redis-ca"), key: Some("redis_ca"), default: "[the system's roots]", secret: false,
        "PEM file with the authority of rediss:// servers" }
    RELAY_URLS { flag: None, key: Some("relay_urls"), default: "", secret: false,
        "relays, comma separated: http(s)://host:port; LABEL= in front pairs one with the store of that label" }
    RC_RELAY_CONFIG { flag: Some("relay-config"), key: Some("relay_config"), default: "", secret: false,
        "the relays' configuration files (ld-relay.conf), comma separated" }
    LD_API_KEY { flag: None, key: Some("ld_api_key"), default: "", secret: true,
        "LaunchDarkly API access token; needed by what talks to LaunchDarkly and by nothing else" }
    LD_API_URL { flag: None, key: Some("ld_api_url"), default: "https://app.launchdarkly.com", secret: false,
        "LaunchDarkly's REST API; plain http only to this machine" }
    LD_SDK_URL { flag: None, key: Some("ld_sdk_url"), default: "[the one beside LD_API_URL, where that is LaunchDarkly's own]", secret: false,
        "where LaunchDarkly's SDKs poll; rc replay asks there, with the SDK key, whether they get what it sent; plain http only to this machine" }
    LD_STREAM_URL { flag: None, key: Some("ld_stream_url"), default: "https://stream.launchdarkly.com", secret: false,
        "LaunchDarkly's stream, for the guard; plain http only to this machine" }
    RC_PROJECT { flag: Some("project"), key: Some("default_project"), default: "", secret: false,
        "key of the LaunchDarkly project" }
    RC_ENVIRONMENT { flag: Some("environment"), key: Some("default_environment"), default: "", secret: false,
        "key of the environment within the project" }
    RC_PREFIX { flag: Some("prefix"), key: None, default: "[found]", secret: false,
        "prefix of the environment's keys in every store, such as launchdarkly" }
    RC_PLAYBACK { flag: Some("playback"), key: Some("playback"), default: "playback", secret: false,
        "the folder of recorded changes; by default in the home, or here where there is no home" }
    RC_ACTOR { flag: Some("as"), key: None, default: "[SUDO_USER, else the user]", secret: false,
        "who makes the change" }
    RC_REASON { flag: Some("reason"), key: None, default: "", secret: false,
        "why: stands in the record, in the stores' log and in the comment to LaunchDarkly" }
    RC_INCIDENT { flag: Some("incident"), key: None, default: "", secret: false,
        "the incident that the change belongs to" }
    RC_TIMEOUT { flag: Some("timeout"), key: Some("timeout"), default: "2s", secret: false,
        "how long to wait for a store or a relay, name resolution included" }
    RC_API_TIMEOUT { flag: Some("api-timeout"), key: Some("api_timeout"), default: "10s", secret: false,
        "how long to wait for each answer of LaunchDarkly's API" }
    RC_SIGNING_KEY_FILE { flag: None, key: Some("signing_key_file"), default: "", secret: false,
        "file of the keys with which overrides are signed, one a line: the first signs, all verify; rc guard --replay auto sends only what is signed" }
    RC_LISTEN { flag: Some("listen"), key: Some("listen"), default: "", secret: false,
        "where the guard is asked by relays, such as 127.0.0.1:8031: their streamUri" }
    RC_ADMIN { flag: Some("admin"), key: Some("admin"), default: "", secret: false,
        "where the guard answers /status and /metrics, such as 127.0.0.1:8032" }
    RC_STATE { flag: Some("state"), key: Some("state"), default: "guard", secret: false,
        "the guard's folder; by default in the home, or here where there is no home" }
    RC_GUARD_NAME { flag: Some("guard-name"), key: Some("guard_name"), default: "[host-port]", secret: false,
        "what the guard is called where it announces itself" }
    RC_TLS_CERT { flag: Some("tls-cert"), key: Some("tls_cert"), default: "", secret: false,
        "PEM file with the guard's certificate, where relays speak TLS to it" }
    RC_TLS_KEY { flag: Some("tls-key"), key: Some("tls_key"), default: "", secret: false,
        "PEM file with the certificate's key" }
    RC_LOG { flag: Some("log"), key: Some("log"), default: "text", secret: false,
        "how the guard tells what happens: text or json" }
    RC_NOTIFY_WEBHOOK { flag: None, key: Some("notify_webhook"), default: "", secret: true,
        "a program of yours that the guard tells what happens, as JSON: https://host/path; plain http only to this machine" }
    RC_NOTIFY_WEBHOOK_KEY { flag: None, key: Some("notify_webhook_key"), default: "", secret: true,
        "the key with which what goes to the webhook is signed (HMAC-SHA256)" }
    RC_NOTIFY_SLACK { flag: None, key: Some("notify_slack"), default: "", secret: true,
        "an incoming webhook of Slack, told what happens" }
    RC_NOTIFY_TEAMS { flag: None, key: Some("notify_teams"), default: "", secret: true,
        "a webhook of a Microsoft Teams workflow, told what happens" }
    RC_NOTIFY_PAGERDUTY { flag: None, key: Some("notify_pagerduty"), default: "", secret: true,
        "the integration key of a PagerDuty service (Events API v2), told what somebody has to look at" }
    RC_NOTIFY_PAGERDUTY_URL { flag: None, key: Some("notify_pagerduty_url"), default: "https://events.pagerduty.com/v2/enqueue", secret: false,
        "where PagerDuty takes events; in Europe https://events.eu.pagerduty.com/v2/enqueue" }
    RC_NO_INPUT { flag: Some("no-input"), key: None, default: "false", secret: false,
        "true: never ask, also on a terminal" }
}

/// A variable of somebody else's that matters here.
#[derive(Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name; `*` at the end stands for any ending.
    pub name: &'static str,
    /// What it does here.
    pub help: &'static str,
}

impl Foreign {
    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(beginning) => name.len() > beginning.len() && name.starts_with(beginning),
            None => name == self.name,
        }
    }
}

/// The relay's own variables (its `docs/configuration.md`), which say what it serves and how. Passed along as they are.
pub static RELAY: &[Foreign] = &[
    Foreign { name: "LD_ENV_*", help: "SDK key of the environment of that name" },
    Foreign { name: "LD_PREFIX_*", help: "prefix of its keys in the store" },
    Foreign { name: "LD_PROJ_KEY_*", help: "key of its project" },
    Foreign { name: "LD_FILTER_KEYS_*", help: "payload filters of that project" },
    Foreign { name: "LD_CLIENT_SIDE_ID_*", help: "its client-side id" },
    Foreign { name: "ENV_DATASTORE_PREFIX", help: "prefix in automatic configuration, with $CID" },
    Foreign { name: "CACHE_TTL", help: "how long the relay keeps what it read from the store" },
];

/// Variables that the libraries inside read for themselves, and the few for colours.
pub static LIBRARIES: &[Foreign] = &[
    Foreign { name: "SSL_CERT_FILE", help: "PEM file that takes the place of the system's roots" },
    Foreign { name: "SSL_CERT_DIR", help: "folder that takes the place of the system's roots" },
    Foreign { name: "HTTPS_PROXY", help: "proxy on the way to LaunchDarkly (relays are asked directly)" },
    Foreign { name: "HTTP_PROXY", help: "the same for plain http" },
    Foreign { name: "NO_PROXY", help: "hosts that are reached without a proxy" },
    Foreign { name: "NO_COLOR", help: "set: no colours" },
    Foreign { name: "CLICOLOR_FORCE", help: "set: colours also into files and pipes" },
    Foreign { name: "TERM", help: "dumb: no colours" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_apart() {
        for (place, row) in ALL.iter().enumerate() {
            for other in &ALL[place + 1..] {
                assert_ne!(row.name, other.name);
                assert!(row.flag.is_none() || row.flag != other.flag, "{row:?}");
                assert!(row.key.is_none() || row.key != other.key, "{row:?}");
            }
        }
    }

    #[test]
    fn names_follow_the_flags() {
        for row in ALL {
            let Some(flag) = row.flag.filter(|flag| *flag != "as") else { continue };
            assert_eq!(row.name, format!("RC_{}", flag.to_uppercase().replace('-', "_")));
        }
    }

    #[test]
    fn endings() {
        assert!(RELAY[0].matches("LD_ENV_Production"));
        assert!(!RELAY[0].matches("LD_ENV_"));
        assert!(RELAY.iter().any(|row| row.matches("CACHE_TTL")));
        assert!(!RELAY.iter().any(|row| row.matches("CACHE_TTL_X")));
    }
}
