//! What the tests begin with: a store as a relay has filled it, or a flag file, and an operator's home that names it.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::RETURN_WITHIN;
use crate::launchdarkly::WRITER;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;
use crate::support::shop::Flag;
use crate::support::shop::flag;
use crate::watcher::Source;

/// A Redis, and the home of somebody who edits it.
pub struct Stage {
    pub redis: RedisServer,
    pub home: tempfile::TempDir,
}

impl Stage {
    /// A Redis with a shop's flags.
    #[track_caller]
    pub fn filled(flags: &[Flag]) -> Self {
        let stage = Self::empty();
        let texts = keyed(flags);
        let texts: Vec<(&str, &str)> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        stage.redis.fill(shop::PREFIX, &texts);
        stage
    }

    /// A Redis with nothing in it.
    #[track_caller]
    pub fn empty() -> Self {
        let redis = RedisServer::with().tcp().start();
        let home = shop::home(&[("eu-1", &redis.url())]);
        Self { redis, home }
    }

    /// The operator has this LaunchDarkly's address and an access token for it.
    pub fn knows(&self, launchdarkly: &LaunchDarkly) {
        self.settings(&format!("LD_API_URL={}\nLD_API_KEY={WRITER}\n", launchdarkly.url()));
    }

    /// Adds lines to the home's `.env`.
    pub fn settings(&self, lines: &str) {
        let dot_env = self.home.path().join(".env");
        let before = fs::read_to_string(&dot_env).expect("a .env");
        fs::write(dot_env, format!("{before}{lines}")).expect("a .env");
    }

    /// The Redis for an SDK in daemon mode.
    pub fn daemon(&self) -> Source {
        Source::daemon(&self.redis.url(), shop::PREFIX)
    }

    /// Runs `rc` in the home.
    #[track_caller]
    pub fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.home.path()).line(line).run()
    }

    /// `rc update` for shop/production, which must come to its end.
    #[track_caller]
    pub fn update(&self, rest: &str) -> Ran {
        self.rc(&format!("update -p shop -e production {rest}")).code(0)
    }

    /// The bytes that the store has of a flag.
    #[track_caller]
    pub fn stored(&self, flag: &str) -> String {
        self.redis.run(&["HGET", &format!("{}:features", shop::PREFIX), flag])
    }

    /// The record that the store has of a flag.
    #[track_caller]
    pub fn record(&self, flag: &str) -> Value {
        serde_json::from_str(&self.stored(flag)).expect("a record")
    }

    /// Waits until the store has this version of a flag, on or off; how long that took.
    #[track_caller]
    pub fn wait_for_record(&self, flag: &str, version: u64, on: bool) -> Duration {
        let begun = Instant::now();
        loop {
            let stored = self.record(flag);
            if (&stored["version"], &stored["on"]) == (&json!(version), &json!(on)) {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < RETURN_WITHIN,
                "{flag} is not v{version}, on: {on}, but {stored}\n{}\n{}",
                self.redis.run(&["HGETALL", &format!("{}:relaycommander:ended", shop::PREFIX)]),
                self.redis.run(&["XRANGE", &format!("{}:relaycommander:log", shop::PREFIX), "-", "+"]),
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Puts bytes into the store, as anything but `rc` would.
    #[track_caller]
    pub fn put(&self, flag: &str, text: &str) {
        self.redis.run(&["HSET", &format!("{}:features", shop::PREFIX), flag, text]);
    }
}

/// The flags that most tests need: on, off, of several values, dependent, with targets and rules.
pub fn flags() -> Vec<Flag> {
    vec![
        flag("checkout", 42),
        flag("refunds", 5).off(),
        flag("pricing-tier", 30).values(r#"["gold","silver","bronze"]"#),
        flag("express-pay", 17).requires("checkout"),
        flag("search", 89).off().rule("NZ").target("anna"),
    ]
}

/// A flag file, and the home of somebody who edits it.
pub struct FlagFile {
    home: tempfile::TempDir,
}

impl FlagFile {
    /// A file with a shop's flags, and with one value that stands in it without a flag.
    #[track_caller]
    pub fn with(flags: &[Flag]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let file = Self { home };
        let records: Vec<String> = keyed(flags).iter().map(|(key, text)| format!("\"{key}\": {text}")).collect();
        let text = format!(
            "{{\n  \"flags\": {{\n    {}\n  }},\n  \"flagValues\": {{ \"banner\": \"hello\" }}\n}}\n",
            records.join(",\n    ")
        );
        fs::write(file.path(), text).expect("a flag file");
        fs::write(file.home.path().join(".env"), format!("RC_STORES=file://{}\n", file.path().display()))
            .expect("a .env");
        file
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("flags.json")
    }

    /// The file for an SDK.
    pub fn source(&self) -> Source {
        Source::file(&self.path())
    }

    /// Runs `rc` in the home.
    #[track_caller]
    pub fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.home.path()).line(line).run()
    }
}

/// Flags by key, as text.
pub fn keyed(flags: &[Flag]) -> Vec<(String, String)> {
    flags.iter().map(|flag| (key(&flag.text()), flag.text())).collect()
}

fn key(text: &str) -> String {
    let record: Value = serde_json::from_str(text).expect("a record");
    record["key"].as_str().expect("a key").to_owned()
}
