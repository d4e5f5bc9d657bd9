//! What the rehearsal plays on: a simulated LaunchDarkly, a store that a relay would have filled, and two operators with
//! homes of their own. Everything is in one temporary folder and ends with it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use super::judgement::Deed;
use super::judgement::Step;
use super::operator::Operator;
use super::operator::Ran;
use super::raw;
use super::raw::Content;
use super::raw::RawStore;
use super::raw::Trouble;
use super::redis_server::RedisServer;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Options;
use crate::drill::launchdarkly::Running;
use crate::drill::launchdarkly::Seed;
use crate::drill::launchdarkly::SimulatedLaunchDarkly;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// The token of both operators. It opens nothing but the simulated LaunchDarkly.
const TOKEN: &str = "api-drill";

/// The stage.
#[derive(Debug)]
pub struct Stage {
    /// The store, without anything in between.
    pub store: RawStore,
    /// Who meets the incident.
    pub anna: Operator,
    /// Her colleague, on another machine.
    pub bob: Operator,
    /// The environment that everything happens in.
    pub environment: Environment,
    /// The store as it was before anything happened.
    pub before: Content,
    launchdarkly: Running,
    server: Option<RedisServer>,
    no_server: Option<String>,
    folder: TempDir,
}

impl Stage {
    /// Sets everything up.
    ///
    /// # Errors
    /// Where this machine does not let us: no temporary folder, no port.
    pub async fn set() -> Result<Self, Failure> {
        let environment: Environment =
            "shop/production".parse().map_err(|error: crate::flag::key::KeyError| not_set("no environment", error))?;
        let options = Options { seed: seed()?, listener: None };
        let started = SimulatedLaunchDarkly::start(options).await;
        let launchdarkly = started.map_err(|error| not_set("the simulated LaunchDarkly did not start", error))?;
        let folder = tempfile::Builder::new().prefix("rc-drill-").tempdir();
        let folder = folder.map_err(|error| not_set("there is no temporary folder", error))?;
        let file = folder.path().join("flags.json");
        let (server, no_server) = match RedisServer::start(folder.path()).await {
            Ok(server) => (Some(server), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let (store, setting) = match &server {
            Some(server) => {
                let connected = async { redis::Client::open(server.url())?.get_multiplexed_async_connection().await };
                let connection = connected.await.map_err(|error| not_set("redis-server does not answer", error))?;
                (RawStore::Redis(connection), format!("REDIS_HOSTS=drill={}", server.url()))
            }
            None => (RawStore::File(file.clone()), format!("RC_STORES=drill=file://{}", file.display())),
        };
        let dot_env = format!("{setting}\nLD_API_URL={}\nLD_API_KEY={TOKEN}\n", launchdarkly.base_url);
        let settled = |name| {
            Operator::settle(name, folder.path(), &dot_env).map_err(|error| not_set("a home could not be made", error))
        };
        let (anna, bob) = (settled("anna")?, settled("bob")?);
        let before = Content::default();
        let mut stage = Self { store, anna, bob, environment, before, launchdarkly, server, no_server, folder };
        stage.put().await.map_err(|error| not_set("the store could not be filled", error))?;
        stage.before = stage.store.content().await.map_err(|error| not_set("the store cannot be read", error))?;
        Ok(stage)
    }

    /// The store in words: what it is, and what is different with it.
    pub fn store_told(&self) -> String {
        match (&self.server, &self.no_server) {
            (Some(server), _) => {
                format!("redis-server {} on a unix socket, started for this and ended with it", server.version())
            }
            (None, why) => {
                format!("a flag file ({})", why.as_deref().unwrap_or("no redis-server"))
            }
        }
    }

    /// The version of the Redis server; `None` where a flag file is used.
    pub fn redis_version(&self) -> Option<&str> {
        self.server.as_ref().map(RedisServer::version)
    }

    /// Where the simulated LaunchDarkly is.
    pub fn launchdarkly_url(&self) -> &str {
        &self.launchdarkly.base_url
    }

    /// The folder with both homes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The hand on LaunchDarkly.
    pub fn control(&self) -> &Control {
        &self.launchdarkly.control
    }

    /// Ends everything. With `keep` the folder stays, and is returned.
    ///
    /// # Errors
    /// Where something does not end, or the folder cannot be removed.
    pub async fn strike(self, keep: bool) -> io::Result<Option<PathBuf>> {
        let Self { launchdarkly, server, folder, store, .. } = self;
        drop(store);
        launchdarkly.stop().await;
        if let Some(server) = server {
            server.stop().await?;
        }
        if keep {
            return Ok(Some(folder.keep()));
        }
        folder.close().map(|()| None)
    }

    /// Runs a command in Anna's home, and notes it.
    pub async fn anna(&self, step: &mut Step, words: &[&str]) -> Ran {
        noted(&self.anna, step, words).await
    }

    /// Runs a command in Bob's home, and notes it.
    pub async fn bob(&self, step: &mut Step, words: &[&str]) -> Ran {
        noted(&self.bob, step, words).await
    }

    /// LaunchDarkly's flag in the words of [`shape`].
    ///
    /// # Errors
    /// Where LaunchDarkly has no such flag.
    pub fn launchdarkly(&self, flag: &str) -> Result<String, Trouble> {
        let key = flag_key(flag)?;
        let configuration = self.control().configuration(&self.environment, &key).map_err(|why| why.to_string())?;
        let whole = self.control().flag(&self.environment, &key).map_err(|why| why.to_string())?;
        let variations = whole.get("variations").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<Value> = variations.filter_map(|variation| variation.get("value").cloned()).collect();
        Ok(shape(&configuration, &values))
    }

    /// The store's flag in the words of [`shape`].
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn stored(&mut self, flag: &str) -> Result<String, Trouble> {
        let content = self.store.content().await?;
        let Some(text) = content.records.get(flag) else { return Ok("not there".to_owned()) };
        let record: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let values = record.get("variations").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(shape(&record, &values))
    }

    /// How many of LaunchDarkly's flags stand in the store as LaunchDarkly would send them: `8 of 8`.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn as_launchdarkly_has_them(&mut self) -> Result<String, Trouble> {
        let theirs = self.control().sdk_flags(&self.environment).map_err(|why| why.to_string())?;
        let content = self.store.content().await?;
        let ours = |key: &String| serde_json::from_str::<Value>(content.records.get(key)?).ok();
        let same = theirs.iter().filter(|(key, flag)| ours(key).as_ref() == Some(flag)).count();
        Ok(format!("{same} of {}", theirs.len().max(content.records.len())))
    }

    /// In a relay's place: LaunchDarkly's `put` replaces everything in the store.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn put(&mut self) -> Result<(), Trouble> {
        let flags = self.control().sdk_flags(&self.environment).map_err(|why| why.to_string())?;
        self.store.put(&flags).await
    }

    /// In a relay's place: LaunchDarkly's newest record of each flag is written where its version is higher. Returns the
    /// flags that were.
    ///
    /// # Errors
    /// Where the store cannot be written.
    pub async fn patches(&mut self) -> Result<Vec<String>, Trouble> {
        let flags = self.control().sdk_flags(&self.environment).map_err(|why| why.to_string())?;
        let mut written = Vec::new();
        for (key, flag) in &flags {
            if self.store.patch(key, flag).await? {
                written.push(key.clone());
            }
        }
        Ok(written)
    }

    /// The flags that were patched through LaunchDarkly's API since `number`, with how often where that is more than
    /// once: `checkout, refunds x2`.
    pub fn patched_since(&self, number: u64) -> Vec<String> {
        let received = self.control().received();
        let patches = received.iter().filter(|request| {
            request.number >= number
                && request.method == "PATCH"
                && request.status == Some(200)
                && !request.path.contains("dryRun")
        });
        let mut counts = BTreeMap::<String, usize>::new();
        for patch in patches {
            let path = patch.path.split('?').next().unwrap_or_default();
            *counts.entry(path.rsplit('/').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let often = |count| if count > 1 { format!(" x{count}") } else { String::new() };
        counts.into_iter().map(|(flag, count)| format!("{flag}{}", often(count))).collect()
    }

    /// The number that LaunchDarkly's next request will have.
    pub fn next_request(&self) -> u64 {
        self.control().received().last().map_or(0, |request| request.number + 1)
    }

    /// What waits in an operator's playback, by flag and instruction, oldest first.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn waiting(operator: &Operator) -> Result<Vec<String>, Trouble> {
        Ok(raw::playback(operator.home())?.told())
    }
}

async fn noted(operator: &Operator, step: &mut Step, words: &[&str]) -> Ran {
    let ran = operator.run(words).await;
    step.deeds.push(Deed::Command(ran.clone()));
    ran
}

/// This machine does not let us begin.
pub fn not_set(what: &str, why: impl ToString) -> Failure {
    Failure::new(Kind::Other, format!("the rehearsal cannot begin: {what}")).cause(why.to_string())
}

/// # Errors
/// Where it is none, in words.
pub fn flag_key(flag: &str) -> Result<FlagKey, Trouble> {
    flag.parse().map_err(|error| format!("{flag}: {error}"))
}

/// `a, b`, or `none`.
pub fn listed(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// `all 6` where these are exactly the `expected` ones, else which they are: what is as it should be is said shortly.
pub fn all_of(expected: &[&str], saw: impl IntoIterator<Item = String>) -> String {
    let saw: Vec<String> = saw.into_iter().collect();
    if saw == expected { format!("all {}", expected.len()) } else { listed(saw) }
}

/// A flag in a few words, the same for a record and for the API's configuration: `off v43`; what everybody gets where
/// that is no truth value: `"bronze" v31`.
fn shape(flag: &Value, values: &[Value]) -> String {
    let on = flag.get("on").and_then(Value::as_bool);
    let index = if on == Some(true) { flag.pointer("/fallthrough/variation") } else { flag.get("offVariation") };
    let index = index.and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
    let everybody = index.and_then(|index| values.get(index)).filter(|value| !value.is_boolean());
    let version = flag.get("version").map_or("?".to_owned(), Value::to_string);
    match (on, everybody) {
        (Some(_), Some(value)) => format!("{value} v{version}"),
        (Some(true), None) => format!("on v{version}"),
        (Some(false), None) => format!("off v{version}"),
        (None, _) => format!("neither on nor off v{version}"),
    }
}

/// The account of the rehearsal: one environment, in which flags with the tag `money` need an approval.
fn seed() -> Result<Seed, Failure> {
    let flag = |on: bool, version: u64| json!({ "variations": [true, false], "environments": { "production": { "on": on, "version": version } } });
    let mut refunds = flag(true, 5);
    refunds["tags"] = json!(["money"]);
    let banner = json!({
        "variations": [{ "text": "Grüße", "size": 1.5 }, { "text": "", "size": 0 }],
        "environments": { "production": { "on": true, "version": 3 } },
    });
    let pricing = json!({
        "variations": ["gold", "silver", "bronze"],
        "environments": { "production": {
            "on": true, "version": 30, "fallthrough": { "variation": 0 }, "offVariation": 0,
        } },
    });
    let document = json!({
        "projects": { "shop": {
            "environments": { "production": {
                "approvalSettings": { "required": true, "requiredApprovalTags": ["money"], "minNumApprovals": 1 },
            } },
            "flags": {
                "banner": banner,
                "checkout": flag(true, 42),
                "express-pay": flag(true, 17),
                "new-tax": flag(true, 9),
                "pricing-tier": pricing,
                "promo": flag(false, 12),
                "refunds": refunds,
                "search-v2": flag(true, 89),
            },
        } },
        "tokens": { TOKEN: { "name": "rc", "role": "writer", "service": true, "member": "rc" } },
    });
    Seed::from_json(&document.to_string()).map_err(|error| not_set("its account is not one", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_exactly_these() {
        let saw = |flags: &[&str]| flags.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
        assert_eq!(all_of(&["a", "b"], saw(&["a", "b"])), "all 2");
        assert_eq!(all_of(&["a", "b"], saw(&["a"])), "a");
        assert_eq!(all_of(&["a"], saw(&["a", "b"])), "a, b");
        assert_eq!(all_of(&["a"], saw(&[])), "none");
    }

    #[test]
    fn flags_in_a_few_words() {
        let boolean = json!({ "on": false, "version": 43, "offVariation": 1, "fallthrough": { "variation": 0 } });
        assert_eq!(shape(&boolean, &[json!(true), json!(false)]), "off v43");
        let tier = json!({ "on": true, "version": 31, "offVariation": 0, "fallthrough": { "variation": 1 } });
        assert_eq!(shape(&tier, &[json!("gold"), json!("silver")]), "\"silver\" v31");
        assert_eq!(shape(&json!({ "on": "off" }), &[]), "neither on nor off v?");
    }
}
