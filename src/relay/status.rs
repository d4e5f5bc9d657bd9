//! What a relay says of itself on `GET /status`, which asks for no key. Every field may be absent and unknown ones are
//! passed over: older relays say less, newer ones more (launchdarkly.md 8.1).

use std::net::IpAddr;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use serde_json::Map;
use serde_json::Value;

use crate::relay::address::RelayAddress;
use crate::relay::client::RelayClient;
use crate::relay::client::RelayError;
use crate::relay::client::Request;
use crate::relay::client::refused;
use crate::relay::sdk_key::SdkKey;
use crate::relay::sdk_key::tail_of;

/// The longest answer that is taken, in bytes.
pub const STATUS_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// The last failure of a relay's connection to LaunchDarkly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// `NETWORK_ERROR`, `ERROR_RESPONSE`, `INVALID_DATA`, `STORE_ERROR`, `UNKNOWN`, or what newer relays say.
    pub kind: String,
    /// The HTTP status, where the relay says it (newer than 8.10.1).
    pub status_code: Option<u16>,
    /// When.
    pub at: Option<Timestamp>,
}

/// The state of a connection to LaunchDarkly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not yet connected since the relay started.
    Initializing,
    /// Connected. A connection that died silently counts as this for up to 5 minutes.
    Valid,
    /// Was connected, and is not.
    Interrupted,
    /// Given up for good: LaunchDarkly refused the key. Only a restart tries again.
    Off,
    /// A word we do not know, or none.
    Other(String),
}

/// Where an environment's records are, as the relay says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreStatus {
    /// `VALID`, `INTERRUPTED` or `INITIALIZING`.
    pub state: Option<String>,
    /// `redis`, `dynamodb`, `consul`; `None` for memory only.
    pub database: Option<String>,
    /// The server's URL or address, with the password made unreadable by the relay. Show [`StoreStatus::address`].
    pub server: Option<String>,
    /// The prefix in force.
    pub prefix: Option<String>,
    /// The DynamoDB table.
    pub table: Option<String>,
}

impl StoreStatus {
    /// Host and port of a Redis in lower case, as `redis-a:6379`.
    pub fn address(&self) -> Option<String> {
        let server = self.server.as_deref()?;
        let with_scheme = if server.contains("://") { server.to_owned() } else { format!("redis://{server}") };
        let url = reqwest::Url::parse(&with_scheme).ok()?;
        Some(format!("{}:{}", url.host_str()?.to_lowercase(), url.port().unwrap_or(6379)))
    }
}

/// One environment of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentStatus {
    /// The entry's name: the section's name (`name/filter` for a filter copy), or the environment's id in automatic
    /// configuration and offline mode.
    pub key: String,
    /// LaunchDarkly's key of the environment; only in automatic configuration and offline mode.
    pub env_key: Option<String>,
    /// LaunchDarkly's key of the project; likewise.
    pub proj_key: Option<String>,
    /// The client-side id.
    pub env_id: Option<String>,
    /// The last characters of each SDK key that lets somebody in.
    pub sdk_key_tails: Vec<String>,
    /// The relay's own summary: false once it was cut off for `disconnectedStatusTime` (1 minute).
    pub connected: bool,
    /// The connection to LaunchDarkly.
    pub state: ConnectionState,
    /// Since when it is in that state.
    pub since: Option<Timestamp>,
    /// Its last failure, which may be long over.
    pub last_error: Option<LastError>,
    /// Where the records are.
    pub store: StoreStatus,
}

impl EnvironmentStatus {
    /// Whether `key` can be this environment's SDK key, by its last characters.
    pub fn may_have(&self, key: &SdkKey) -> bool {
        self.sdk_key_tails.iter().any(|tail| tail == key.tail())
    }
}

/// A relay, by its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// Such as `8.10.1`.
    pub version: Option<String>,
    /// Of LaunchDarkly's Go SDK in it.
    pub client_version: Option<String>,
    /// `healthy`; otherwise it is `degraded`.
    pub healthy: bool,
    /// The connection over which a relay learns its environments; only in automatic configuration, in newer relays.
    pub auto_config: Option<ConnectionState>,
    /// In the order the relay gave them.
    pub environments: Vec<EnvironmentStatus>,
    /// The address that answered, where one was asked.
    pub from: Option<IpAddr>,
}

impl RelayClient {
    /// Asks a relay for its status.
    ///
    /// # Errors
    /// [`RelayError`], also where the answer is longer than [`STATUS_LENGTH_MAX`] or is no status.
    pub async fn status(&self, relay: &RelayAddress) -> Result<RelayStatus, RelayError> {
        let request = Request { relay, url: relay.endpoint(&["status"]), key: None, headers: HeaderMap::new() };
        let response = self.ask(request).await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(refused(relay, response.status()));
        }
        let from = response.remote_addr().map(|address| address.ip());
        let bytes = self.body(relay, response, STATUS_LENGTH_MAX).await?;
        let status = RelayStatus::parse(&bytes).map_err(|problem| RelayError::NotUnderstood {
            relay: relay.label().to_owned(),
            expected: "a relay's status",
            problem,
        })?;
        Ok(RelayStatus { from, ..status })
    }
}

impl RelayStatus {
    /// Reads a status document.
    ///
    /// # Errors
    /// In words, where it is no JSON object, or one that has nothing of a relay's status in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
        let document = value.as_object().ok_or("not a JSON object")?;
        if !["environments", "version", "clientVersion"].iter().any(|name| document.contains_key(*name)) {
            return Err("neither environments nor a version in it".to_owned());
        }
        let environments = document.get("environments").and_then(Value::as_object);
        Ok(Self {
            version: text(document, "version"),
            client_version: text(document, "clientVersion"),
            healthy: text(document, "status").is_some_and(|word| word == "healthy"),
            auto_config: object(document, "autoConfigStatus").map(state),
            environments: environments.into_iter().flatten().map(|(key, value)| environment(key, value)).collect(),
            from: None,
        })
    }

    /// Whether it has environments, and this is so for each of them.
    pub fn all(&self, is_so: impl Fn(&EnvironmentStatus) -> bool) -> bool {
        !self.environments.is_empty() && self.environments.iter().all(is_so)
    }

    /// The first number of the version.
    pub fn major_version(&self) -> Option<u64> {
        self.version.as_ref()?.trim_start_matches('v').split('.').next()?.parse().ok()
    }
}

fn environment(key: &str, value: &Value) -> EnvironmentStatus {
    let nothing = Map::new();
    let value = value.as_object().unwrap_or(&nothing);
    let connection = object(value, "connectionStatus").unwrap_or(&nothing);
    let store = object(value, "dataStoreStatus").unwrap_or(&nothing);
    EnvironmentStatus {
        key: key.to_owned(),
        env_key: text(value, "envKey"),
        proj_key: text(value, "projKey"),
        env_id: text(value, "envId"),
        sdk_key_tails: sdk_key_tails(value),
        connected: text(value, "status").is_some_and(|word| word == "connected"),
        state: state(connection),
        since: time(connection, "stateSince"),
        last_error: object(connection, "lastError").and_then(last_error),
        store: StoreStatus {
            state: text(store, "state"),
            database: text(store, "database"),
            server: text(store, "dbServer"),
            prefix: text(store, "dbPrefix"),
            table: text(store, "dbTable"),
        },
    }
}

/// `sdkKey` and `expiringSdkKey`; relays of version 9 list `sdkKeys` with a `value` each.
fn sdk_key_tails(value: &Map<String, Value>) -> Vec<String> {
    let single = ["sdkKey", "expiringSdkKey"].iter().filter_map(|name| text(value, name));
    let listed = value.get("sdkKeys").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(|entry| text(entry.as_object()?, "value"));
    let mut tails: Vec<String> = single.chain(listed).map(|key| tail_of(&key).to_owned()).collect();
    tails.sort();
    tails.dedup();
    tails
}

fn last_error(value: &Map<String, Value>) -> Option<LastError> {
    Some(LastError {
        kind: text(value, "kind")?,
        status_code: value.get("statusCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
        at: time(value, "time"),
    })
}

fn state(value: &Map<String, Value>) -> ConnectionState {
    match text(value, "state").as_deref() {
        Some("INITIALIZING") => ConnectionState::Initializing,
        Some("VALID") => ConnectionState::Valid,
        Some("INTERRUPTED") => ConnectionState::Interrupted,
        Some("OFF") => ConnectionState::Off,
        other => ConnectionState::Other(other.unwrap_or_default().to_owned()),
    }
}

fn object<'a>(value: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    value.get(name).and_then(Value::as_object)
}

fn text(value: &Map<String, Value>, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Milliseconds since 1970; relays write 0 for never.
fn time(value: &Map<String, Value>, name: &str) -> Option<Timestamp> {
    let milliseconds = value.get(name).and_then(Value::as_i64).filter(|milliseconds| *milliseconds > 0)?;
    Timestamp::from_millisecond(milliseconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_status() {
        let text = r#"{"environments":{"Prod EU":{"sdkKey":"sdk-********-****-****-****-*******99999","envId":"5f",
            "expiringSdkKey":"sdk-****11111","status":"disconnected",
            "connectionStatus":{"state":"INTERRUPTED","stateSince":1700000000000,"lastError":{"kind":"ERROR_RESPONSE","statusCode":503,"time":0}},
            "dataStoreStatus":{"state":"VALID","stateSince":1,"database":"redis","dbServer":"redis://anna:xxxxx@Redis-A","dbPrefix":"ld:shop"},
            "bigSegmentStatus":{"available":true}}},"status":"degraded","version":"8.10.1","clientVersion":"7.6.0","new":[1]}"#;
        let status = RelayStatus::parse(text.as_bytes()).unwrap();
        assert_eq!((status.major_version(), status.healthy), (Some(8), false));
        let environment = &status.environments[0];
        assert_eq!((environment.key.as_str(), environment.env_key.as_deref()), ("Prod EU", None));
        assert_eq!(environment.sdk_key_tails, ["11111", "99999"]);
        assert!(environment.may_have(&SdkKey::parse("sdk-12345678-1234-1234-1234-123456799999").unwrap()));
        assert!(!environment.may_have(&SdkKey::parse("sdk-12345678-1234-1234-1234-123456788888").unwrap()));
        assert_eq!(environment.state, ConnectionState::Interrupted);
        let error = environment.last_error.as_ref().unwrap();
        assert_eq!((error.kind.as_str(), error.status_code, error.at), ("ERROR_RESPONSE", Some(503), None));
        assert_eq!(environment.store.address().as_deref(), Some("redis-a:6379"));
        assert_eq!(environment.store.prefix.as_deref(), Some("ld:shop"));
    }

    #[test]
    fn fields_may_be_absent_or_of_another_type() {
        let newer = json!({"version": "9.0.0-rc.6", "environments": {"a": {"sdkKeys": [{"key": "default", "value": "sdk-**abcde"}, 7],
            "connectionStatus": {"state": "SLEEPING", "stateSince": "yesterday", "lastError": 5}}, "b": 3}});
        let status = RelayStatus::parse(newer.to_string().as_bytes()).unwrap();
        assert_eq!(status.major_version(), Some(9));
        assert_eq!(status.environments[0].sdk_key_tails, ["abcde"]);
        assert_eq!(status.environments[0].state, ConnectionState::Other("SLEEPING".to_owned()));
        assert_eq!((status.environments[0].since, &status.environments[1].store), (None, &StoreStatus::default()));
        assert!(RelayStatus::parse(b"{\"version\":\"5.0\"}").unwrap().environments.is_empty());
        for text in ["", "[]", "<html>", "{\"a\":1}", "{\"version\":"] {
            assert!(RelayStatus::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_server_makes_it_fall(server in "\\PC{0,30}") {
            let _ = StoreStatus { server: Some(server), ..StoreStatus::default() }.address();
        }
    }
}
