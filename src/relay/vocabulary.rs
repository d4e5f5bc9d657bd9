//! The sections and keys that an `ld-relay.conf` can have. A relay refuses a whole file because of one that it does not
//! know, and does not start. Pure.
//!
//! Names are the fields of ld-relay v8.10.1 (`config/config.go`), which its reader takes in any case; `cacheKey` is of
//! newer ones.

/// Sections, and the keys in each.
const KNOWN: [(&str, &[&str]); 13] = [
    (
        "Main",
        &[
            "exitOnError",
            "exitAlways",
            "ignoreConnectionErrors",
            "streamUri",
            "baseUri",
            "clientSideBaseUri",
            "port",
            "initTimeout",
            "heartbeatInterval",
            "maxClientConnectionTime",
            "disconnectedStatusTime",
            "tlsEnabled",
            "tlsCert",
            "tlsKey",
            "tlsMinVersion",
            "logLevel",
            "bigSegmentsStaleAsDegraded",
            "bigSegmentsStaleThreshold",
            "expiredCredentialCleanupInterval",
        ],
    ),
    (
        "AutoConfig",
        &["key", "envDatastorePrefix", "envDatastoreTableName", "envAllowedOrigin", "envAllowedHeader", "cacheKey"],
    ),
    (
        "OfflineMode",
        &[
            "fileDataSource",
            "fileDataSourceMonitoringInterval",
            "envDatastorePrefix",
            "envDatastoreTableName",
            "envAllowedOrigin",
            "envAllowedHeader",
        ],
    ),
    ("Events", &["eventsUri", "sendEvents", "flushInterval", "capacity", "inlineUsers", "maxInboundPayloadSize"]),
    ("Redis", &["host", "port", "url", "localTtl", "tls", "username", "password"]),
    ("Consul", &["host", "localTtl", "token", "tokenFile"]),
    ("DynamoDB", &["enabled", "tableName", "url", "localTtl"]),
    (
        "Environment",
        &[
            "sdkKey",
            "mobileKey",
            "envId",
            "prefix",
            "tableName",
            "allowedOrigin",
            "allowedHeader",
            "secureMode",
            "logLevel",
            "ttl",
            "projKey",
            "filterKey",
            "offline",
        ],
    ),
    ("Filters", &["keys"]),
    ("Proxy", &["url", "ntlmAuth", "user", "password", "domain", "caCertFiles"]),
    ("Datadog", &["enabled", "prefix", "traceAddr", "statsAddr", "tag"]),
    ("Stackdriver", &["enabled", "prefix", "projectId"]),
    ("Prometheus", &["enabled", "prefix", "port"]),
];

/// Whether relays know the section, in any case.
pub(super) fn has_section(section: &str) -> bool {
    keys(section).is_some()
}

/// Whether they know the key in the section, in any case.
pub(super) fn has_key(section: &str, key: &str) -> bool {
    keys(section).is_some_and(|keys| keys.iter().any(|known| known.eq_ignore_ascii_case(key)))
}

/// The key that was probably meant.
pub(super) fn like(section: &str, key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_ascii_lowercase(), &key);
    let best = keys(section)?.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(best)
}

fn keys(section: &str) -> Option<&'static [&'static str]> {
    KNOWN.iter().find(|(known, _)| known.eq_ignore_ascii_case(section)).map(|(_, keys)| *keys)
}
