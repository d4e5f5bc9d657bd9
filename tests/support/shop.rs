//! A shop in production: flag records as LaunchDarkly sends them, and homes whose `.env` names stores.

// Both test programs use this file, each another part of it.
#![allow(dead_code)]

use std::fs;

/// Where its flags are kept.
pub const PREFIX: &str = "ld:shop:production";

/// A deleted flag.
pub const TOMBSTONE: &str = r#"{"key":"old","version":3,"deleted":true}"#;

/// A record in the making: on, everybody gets the first value; off, the second.
#[derive(Debug, Clone)]
pub struct Flag {
    key: String,
    version: u64,
    on: bool,
    values: String,
    requires: String,
    targets: String,
    rules: String,
}

/// A flag that is on, and true or false.
pub fn flag(key: &str, version: u64) -> Flag {
    let (values, none) = ("[true,false]".to_owned(), "[]".to_owned());
    Flag { key: key.to_owned(), version, on: true, values, requires: none.clone(), targets: none.clone(), rules: none }
}

impl Flag {
    /// At another version.
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Off.
    pub fn off(mut self) -> Self {
        self.on = false;
        self
    }

    /// With these values, a JSON list.
    pub fn values(mut self, values: &str) -> Self {
        values.clone_into(&mut self.values);
        self
    }

    /// Requires the first value of that flag.
    pub fn requires(mut self, flag: &str) -> Self {
        self.requires = format!(r#"[{{"key":"{flag}","variation":0}}]"#);
        self
    }

    /// Gives this person the second value.
    pub fn target(mut self, key: &str) -> Self {
        self.targets = format!(r#"[{{"variation":1,"values":["{key}"]}}]"#);
        self
    }

    /// With a rule that gives the second value to a country.
    pub fn rule(mut self, country: &str) -> Self {
        self.rules = format!(
            r#"[{{"id":"r1","variation":1,"clauses":[{{"contextKind":"user","attribute":"country","op":"in","values":["{country}"],"negate":false}}],"trackEvents":false}}]"#
        );
        self
    }

    /// Its record.
    pub fn text(&self) -> String {
        let Self { key, version, on, values, requires, targets, rules } = self;
        format!(
            r#"{{"key":"{key}","on":{on},"prerequisites":{requires},"targets":{targets},"contextTargets":[],"rules":{rules},"fallthrough":{{"variation":0}},"offVariation":1,"variations":{values},"clientSideAvailability":{{"usingMobileKey":false,"usingEnvironmentId":false}},"clientSide":false,"salt":"s","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":{version},"deleted":false}}"#
        )
    }
}

/// A folder whose `.env` names these stores, by label and URL.
pub fn home(stores: &[(&str, &str)]) -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    let hosts: Vec<String> = stores.iter().map(|(label, url)| format!("{label}={url}")).collect();
    fs::write(home.path().join(".env"), format!("REDIS_HOSTS={}\n", hosts.join(","))).expect("a .env");
    home
}
