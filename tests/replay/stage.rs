//! What the tests of `rc replay` begin with: a shop in a LaunchDarkly that can be away, behind two real Redis servers.

use std::path::Path;
use std::path::PathBuf;

use relay_commander::drill::launchdarkly::Control;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::flag::key::Environment;
use relay_commander::flag::key::FlagKey;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::update::stage::Started;
use crate::update::stage::wait_until;

pub const PREFIX: &str = "ld:shop:production";
/// The paths of flags in LaunchDarkly's API.
pub const FLAGS: &str = "/api/v2/flags/*";
pub const TOKEN: &str = "api-writer-0001";

/// A LaunchDarkly with a shop, two Redis servers that a relay has filled from it, and an operator's home.
pub struct Shop {
    runtime: Runtime,
    pub running: Running,
    pub stores: Vec<RedisServer>,
    pub home: TempDir,
}

pub fn environment() -> Environment {
    "shop/production".parse().unwrap()
}

pub fn flag(key: &str) -> FlagKey {
    key.parse().unwrap()
}

impl Shop {
    pub fn new(seed: impl FnOnce(Seed) -> Seed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seed = seed(Seed::new().project("shop").environment("production"))
            .boolean_flag("checkout", true, 42)
            .boolean_flag("refunds", true, 5)
            .flag("tier", json!(["gold", "silver", "bronze"]), json!({"on": false, "offVariation": 0, "version": 30}))
            .token(TOKEN, Role::Writer, "anna@example.com");
        let running = runtime.block_on(SimulatedLaunchDarkly::start(Options { seed, listener: None })).unwrap();
        let stores = vec![RedisServer::start(), RedisServer::start()];
        let home = tempfile::tempdir().unwrap();
        let shop = Self { runtime, running, stores, home };
        shop.fill();
        shop.settings(shop.home.path(), TOKEN);
        shop
    }

    pub fn control(&self) -> &Control {
        &self.running.control
    }

    /// As a relay's reset does, from LaunchDarkly's own records.
    pub fn fill(&self) {
        let flags = self.control().sdk_flags(&environment()).unwrap();
        let flags: Vec<(String, String)> = flags.into_iter().map(|(key, record)| (key, record.to_string())).collect();
        let flags: Vec<(&str, &str)> = flags.iter().map(|(key, record)| (key.as_str(), record.as_str())).collect();
        for store in &self.stores {
            store.fill(PREFIX, &flags);
        }
    }

    pub fn settings(&self, home: &Path, token: &str) {
        let hosts: Vec<String> =
            self.stores.iter().enumerate().map(|(number, store)| format!("s{number}={}", store.url())).collect();
        let key = if token.is_empty() { String::new() } else { format!("LD_API_KEY={token}\n") };
        let text = format!(
            "REDIS_HOSTS={}\n{key}LD_API_URL={}\nRC_PROJECT=shop\nRC_ENVIRONMENT=production\nRC_TIMEOUT=2s\n",
            hosts.join(","),
            self.running.base_url
        );
        std::fs::write(home.join(".env"), text).unwrap();
    }

    pub fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.home.path()).line(line).run()
    }

    /// As a colleague on another machine.
    pub fn colleague(&self, home: &TempDir, line: &str) -> Ran {
        self.settings(home.path(), TOKEN);
        Rc::new().home(home.path()).line(line).run()
    }

    pub fn away(&self) {
        self.runtime.block_on(self.control().fault(Fault::new(FaultKind::Refuse))).unwrap();
    }

    pub fn fault(&self, fault: Fault) {
        self.runtime.block_on(self.control().fault(fault)).unwrap();
    }

    pub fn back(&self) {
        self.runtime.block_on(self.control().clear_faults()).unwrap();
    }

    pub fn patched(&self, key: &str, instructions: &[Value]) {
        self.control()
            .colleague_patches(&environment(), &flag(key), instructions, "carol@example.com", "margin fix")
            .unwrap();
    }

    pub fn is_on(&self, key: &str) -> bool {
        self.control().configuration(&environment(), &flag(key)).unwrap()["on"].as_bool().unwrap()
    }

    pub fn version(&self, key: &str) -> u64 {
        self.control().configuration(&environment(), &flag(key)).unwrap()["version"].as_u64().unwrap()
    }

    /// Starts it and does not wait for its end.
    pub fn started(&self, home: &Path, line: &str) -> Started {
        self.settings(home, TOKEN);
        Started::rc(&Rc::new().line(line), home)
    }

    /// Starts `line`, ends it like a power cut once LaunchDarkly has applied the patch of `key`, and lets LaunchDarkly
    /// answer again: nobody here knows what came of it.
    #[track_caller]
    pub fn cut_off_after_the_patch(&self, line: &str, key: &str) {
        let before = self.version(key);
        self.fault(Fault::new(FaultKind::BlackHole).on("PATCH", "*").after_applying());
        let mut run = self.started(self.home.path(), line);
        wait_until("LaunchDarkly has the patch", || self.version(key) > before);
        run.kill();
        self.back();
    }

    /// Lets LaunchDarkly take its time over the next request of this method below `path`.
    pub fn slow(&self, method: &str, path: &str, milliseconds: u64) {
        self.fault(Fault::new(FaultKind::Slow { milliseconds }).on(method, path).times(1));
    }

    /// Starts a replay here, and gives it when it waits for LaunchDarkly's answer about the first flag: the stores were
    /// read more than a second before that answer comes.
    #[track_caller]
    pub fn reading(&self, line: &str) -> Started {
        self.slow("GET", FLAGS, 1_500);
        let run = self.started(self.home.path(), line);
        wait_until("it reads", || self.received("GET").iter().any(|path| path.contains("/flags/")));
        run
    }

    /// Starts a replay here, and gives it when its first patch is under way and not yet applied.
    #[track_caller]
    pub fn sending(&self, line: &str) -> Started {
        self.slow("PATCH", FLAGS, 1_500);
        let run = self.started(self.home.path(), line);
        wait_until("it sends", || self.patches() > 0);
        run
    }

    /// What the playback files below `folder` say, all together.
    pub fn text_of(&self, folder: &str) -> String {
        self.files(folder).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
    }

    /// What arrived with this method, by path.
    pub fn received(&self, method: &str) -> Vec<String> {
        let received = self.control().received();
        received.into_iter().filter(|one| one.method == method).map(|one| one.path).collect()
    }

    pub fn patches(&self) -> usize {
        self.control().received().iter().filter(|received| received.method == "PATCH").count()
    }

    /// The version that a store has, and whether the flag is on there.
    pub fn stands(&self, store: usize, key: &str) -> (u64, bool) {
        let record = self.record(store, key);
        (record["version"].as_u64().unwrap(), record["on"].as_bool().unwrap())
    }

    pub fn record(&self, store: usize, key: &str) -> Value {
        serde_json::from_str(&self.stores[store].run(&["HGET", &format!("{PREFIX}:features"), key])).unwrap()
    }

    pub fn override_(&self, store: usize, key: &str) -> String {
        self.stores[store].run(&["HGET", &format!("{PREFIX}:relaycommander:overrides"), key])
    }

    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(listed) = std::fs::read_dir(self.home.path().join(folder)) else { return Vec::new() };
        let files = listed.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect()
    }
}
