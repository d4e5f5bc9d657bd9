//! What should be different in a relay's configuration so that an edit of its store reaches everybody and stays, and why.
//! Pure. Where it follows from the relay's code, launchdarkly.md 7 to 9 has the place.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::Serialize;

use crate::relay::cache_time::CacheTime;
use crate::relay::configuration::DEFAULT_PREFIX;
use crate::relay::configuration::Database;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::configuration::RelayEnvironment;

/// A cache time above this many seconds is worth shortening: new connections wait for it.
const CACHE_SECONDS_MAX: u64 = 60;

/// An `initTimeout` above this many seconds is worth shortening: a restart in an outage answers 503 for so long.
const INIT_SECONDS_MAX: u64 = 10;

/// One thing that should be different, or that is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Whether an edit does not get through without it; else it is worth knowing.
    pub must: bool,
    /// The section: `[Main]`, `[Environment "production"]`.
    pub section: String,
    /// What is so now, and what comes of it.
    pub told: String,
    /// The line to write there.
    pub write: Option<String>,
}

/// An address that a relay can be given as its `streamUri`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamUri(Url);

/// A text that a relay would not take as its `streamUri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an http:// or https:// address")]
pub struct StreamUriError;

impl FromStr for StreamUri {
    type Err = StreamUriError;

    fn from_str(text: &str) -> Result<Self, StreamUriError> {
        let url = Url::parse(text).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        url.map(Self).ok_or(StreamUriError)
    }
}

/// Without a slash at the end.
impl fmt::Display for StreamUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl StreamUri {
    /// Whether what is sent there can be read on the way.
    fn is_in_the_clear(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|at| at.is_loopback());
        self.0.scheme() == "http" && !is_loopback
    }
}

fn must(section: impl Into<String>, told: impl Into<String>, write: impl Into<String>) -> Advice {
    Advice { must: true, section: section.into(), told: told.into(), write: Some(write.into()) }
}

fn note(section: impl Into<String>, told: impl Into<String>, write: Option<&str>) -> Advice {
    Advice { must: false, section: section.into(), told: told.into(), write: write.map(ToOwned::to_owned) }
}

/// Everything that should be different. `guard` is where a guard listens for this relay, if there is to be one.
pub fn advice(configuration: &RelayConfiguration, guard: Option<&StreamUri>) -> Vec<Advice> {
    let mut all = Vec::new();
    stream(configuration, guard, &mut all);
    database(configuration, &mut all);
    environments(configuration, &mut all);
    start(configuration, guard, &mut all);
    all
}

fn stream(configuration: &RelayConfiguration, guard: Option<&StreamUri>, all: &mut Vec<Advice>) {
    if configuration.offline.is_some() {
        let told = "serves an archive file and never hears from LaunchDarkly: no edit of a store matters to it";
        all.push(note("[OfflineMode]", told, None));
        return;
    }
    let configured = configuration.stream_uri.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    match (guard.map(ToString::to_string), configured) {
        (Some(guard), Some(configured)) if guard == configured => {}
        (Some(guard), configured) => {
            let now = configured.map_or("LaunchDarkly itself".to_owned(), |configured| configured);
            let told = format!(
                "its stream comes from {now}: edits do not reach connected SDKs, and LaunchDarkly's return wipes them"
            );
            all.push(must("[Main]", told, format!("streamUri = \"{guard}\"")));
        }
        (None, None) => {
            let told = "its stream comes from LaunchDarkly itself: without a guard, edits do not reach connected SDKs, and \
                        LaunchDarkly's return wipes them (rc relay config --check --guard http://127.0.0.1:8031)";
            all.push(note("[Main]", told, None));
        }
        (None, Some(_)) => {}
    }
    if let Some(guard) = guard.filter(|guard| guard.is_in_the_clear()) {
        let told = format!("SDK keys go to {guard} in the clear: have the guard listen with TLS, or beside the relay");
        all.push(note("[Main]", told, None));
    }
}

fn database(configuration: &RelayConfiguration, all: &mut Vec<Advice>) {
    let section = match &configuration.database {
        Database::Redis(_) => "[Redis]",
        Database::Memory => {
            let told = "it keeps flags in its memory only: there is no store that could be edited";
            all.push(must("[Redis]", told, "url = \"redis://HOST:6379/0\""));
            return;
        }
        Database::DynamoDb { .. } | Database::Consul { .. } => {
            let told = "this version of rc edits Redis only";
            all.push(must("[Redis]", told, "url = \"redis://HOST:6379/0\""));
            return;
        }
    };
    match configuration.cache_time {
        CacheTime::Endless => {
            let told = "an endless cache: an edit of the store is seen by nobody before the relay is restarted, and after a \
                        failure of Redis the relay writes its memory back over it";
            all.push(must(section, told, "localTtl = 30s"));
        }
        CacheTime::For(time) if time.as_secs() > CACHE_SECONDS_MAX => {
            let told = format!("whoever connects after an edit may wait for {}", configuration.cache_time);
            all.push(note(section, told, Some("localTtl = 30s")));
        }
        CacheTime::For(_) | CacheTime::Zero => {}
    }
}

fn section_of(environment: &RelayEnvironment) -> String {
    format!("[Environment \"{}\"]", environment.name)
}

fn environments(configuration: &RelayConfiguration, all: &mut Vec<Advice>) {
    if let Some(auto_config) = &configuration.auto_config {
        let has_id = |prefix: &String| prefix.contains("$CID");
        if !auto_config.env_datastore_prefix.as_ref().is_some_and(has_id) {
            let told = "every environment needs a prefix of its own: without $CID the relay does not start";
            all.push(must("[AutoConfig]", told, "envDatastorePrefix = \"ld-$CID\""));
        }
        return;
    }
    if configuration.environments.is_empty() && configuration.offline.is_none() {
        all.push(must("[Environment \"production\"]", "there is no environment", "sdkKey = \"sdk-...\""));
    }
    let several = configuration.environments.len() > 1;
    for (place, environment) in configuration.environments.iter().enumerate() {
        let section = section_of(environment);
        match &environment.prefix {
            None if several => {
                let told = "it has no prefix, and beside others a relay does not start without one";
                all.push(must(&section, told, "prefix = \"ld:PROJECT:ENVIRONMENT\""));
            }
            None => {
                let told = format!("without a prefix it is kept under {DEFAULT_PREFIX}, which names no environment");
                all.push(note(&section, told, Some("prefix = \"ld:PROJECT:ENVIRONMENT\"")));
            }
            Some(prefix) => {
                let earlier = configuration.environments.iter().take(place);
                if let Some(other) = earlier.into_iter().find(|other| other.prefix.as_ref() == Some(prefix)) {
                    let told = format!(
                        "it shares the prefix {prefix} with {}: each of the two overwrites the other's flags",
                        other.name
                    );
                    all.push(must(&section, told, "prefix = \"ld:PROJECT:ENVIRONMENT\""));
                }
            }
        }
        if environment.sdk_key.is_none() {
            let told = "its SDK key is not in the file: the relay must get it from LD_ENV_*";
            all.push(note(&section, told, None));
        }
        if environment.proj_key.is_none() {
            let told = "it does not say which project it is of: rc goes by the section's name";
            all.push(note(&section, told, Some("projKey = \"PROJECT\"")));
        }
    }
}

fn start(configuration: &RelayConfiguration, guard: Option<&StreamUri>, all: &mut Vec<Advice>) {
    let behind_guard = guard.is_some() || configuration.stream_uri.is_some();
    if let Some(auto_config) = &configuration.auto_config
        && !behind_guard
        && !auto_config.has_cache
    {
        let told = "started while LaunchDarkly is away, it knows no environment and answers 503 to everybody: never restart \
                    it then (a guard, or cacheKey in newer relays, helps)";
        all.push(note("[AutoConfig]", told, None));
    }
    if configuration.init_timeout.as_secs() > INIT_SECONDS_MAX && !behind_guard {
        let told = format!(
            "started while LaunchDarkly is away, it answers 503 for {} s",
            configuration.init_timeout.as_secs()
        );
        all.push(note("[Main]", told, Some("initTimeout = 10s")));
    }
    if configuration.max_client_connection_time.is_none() && !behind_guard && configuration.offline.is_none() {
        let told = "connections are never closed: without a guard, SDKs that are connected see an edit only when they \
                    happen to reconnect";
        all.push(note("[Main]", told, Some("maxClientConnectionTime = 10m")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[Main]\nstreamUri = \"http://127.0.0.1:8031\"\n[Redis]\nurl = \"redis://r:6379/0\"\n\
        [Environment \"shop production\"]\nsdkKey = \"sdk-1\"\nprefix = \"ld:shop:production\"\nprojKey = \"shop\"\n";

    #[track_caller]
    fn told(text: &str, guard: Option<&str>) -> Vec<String> {
        let configuration = RelayConfiguration::from_file(text, "ld-relay.conf").unwrap();
        let guard = guard.map(|url| url.parse::<StreamUri>().unwrap());
        let line = |advice: Advice| {
            let weight = if advice.must { "must" } else { "note" };
            format!("{weight} {} {} | {}", advice.section, advice.told, advice.write.unwrap_or_default())
        };
        advice(&configuration, guard.as_ref()).into_iter().map(line).collect()
    }

    #[track_caller]
    fn case(text: &str, guard: Option<&str>, expected: &[&str]) {
        let told = told(text, guard);
        for expected in expected {
            assert!(told.iter().any(|line| line.contains(expected)), "{expected:?} is not in {told:#?}");
        }
    }

    #[test]
    fn nothing_to_say_of_a_good_one() {
        assert_eq!(told(GOOD, Some("http://127.0.0.1:8031/")), Vec::<String>::new());
        assert_eq!(told(GOOD, None), Vec::<String>::new());
    }

    #[test]
    fn what_keeps_an_edit_from_getting_through() {
        let changed = |from: &str, to: &str| {
            assert!(GOOD.contains(from));
            GOOD.replace(from, to)
        };
        case(
            &changed("127.0.0.1:8031", "other:1"),
            Some("http://127.0.0.1:8031"),
            &["must [Main] its stream comes from http://other:1", "streamUri = \"http://127.0.0.1:8031\""],
        );
        case(
            &changed("streamUri = \"http://127.0.0.1:8031\"", ""),
            None,
            &["note [Main] its stream comes from LaunchDarkly itself", "maxClientConnectionTime = 10m"],
        );
        case(
            &changed("url = \"redis://r:6379/0\"", "url = \"redis://r:6379/0\"\nlocalTtl = -1s"),
            None,
            &["must [Redis] an endless cache"],
        );
        case(
            &changed("url = \"redis://r:6379/0\"", "url = \"redis://r:6379/0\"\nlocalTtl = 5m"),
            None,
            &["note [Redis] whoever connects after an edit may wait for 300 s"],
        );
        case(
            &changed("[Redis]\nurl = \"redis://r:6379/0\"\n", ""),
            None,
            &["must [Redis] it keeps flags in its memory"],
        );
        case(
            &changed("prefix = \"ld:shop:production\"\n", ""),
            None,
            &["note [Environment \"shop production\"] without a prefix"],
        );
        let twice = format!("{GOOD}[Environment \"b\"]\nsdkKey = \"sdk-2\"\nprefix = \"ld:shop:production\"\n");
        case(
            &twice,
            None,
            &[
                "must [Environment \"shop production\"] it shares the prefix ld:shop:production with b",
                "note [Environment \"b\"] it does not say which project",
            ],
        );
        let bare = format!("{GOOD}[Environment \"b\"]\nsdkKey = \"sdk-2\"\n");
        case(&bare, None, &["must [Environment \"b\"] it has no prefix"]);
        case(GOOD, Some("http://guard.internal:8031"), &["SDK keys go to http://guard.internal:8031 in the clear"]);
    }

    #[test]
    fn automatic_configuration() {
        let text =
            "[Redis]\nurl = \"redis://r:6379\"\n[AutoConfig]\nkey = \"rel-1\"\nenvDatastorePrefix = \"ld-$CID\"\n";
        case(text, None, &["note [AutoConfig] started while LaunchDarkly is away, it knows no environment"]);
        assert!(told(&format!("{text}[Main]\nstreamUri = http://127.0.0.1:8031\n"), None).is_empty());
    }
}
