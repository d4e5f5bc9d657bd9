//! The simulated LaunchDarkly with a shop in it, for tests that do not run in a runtime of their own.

use std::time::Duration;

use relay_commander::drill::launchdarkly::Control;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::drill::launchdarkly::Wanted;
use relay_commander::flag::key::Environment;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::stage::keyed;
use crate::support::shop::Flag;
use crate::watcher::Source;

/// An access token that may change flags.
pub const WRITER: &str = "api-writer-0001";

/// The SDK key of shop/production.
pub const SDK_KEY: &str = "sdk-12345678-90ab-cdef-1234-567890abcdef";

/// How long SDKs and relays may take to come back: they wait up to 30 s between two attempts.
pub const RETURN_WITHIN: Duration = Duration::from_secs(60);

/// A LaunchDarkly that runs; it ends with the value.
pub struct LaunchDarkly {
    running: Running,
    // Behind what runs in it.
    runtime: Runtime,
}

/// Where everything happens.
pub fn environment() -> Environment {
    "shop/production".parse().expect("an environment")
}

/// An account with these flags in shop/production.
pub fn seed(flags: &[Flag]) -> Seed {
    let shop = Seed::new().project("shop").environment("production").sdk_key(SDK_KEY).records(records(flags));
    shop.token(WRITER, Role::Writer, "anna")
}

/// The instruction that turns a flag on or off.
pub fn turn(on: bool) -> Value {
    json!({ "kind": if on { "turnFlagOn" } else { "turnFlagOff" } })
}

/// Flags as records by key.
pub fn records(flags: &[Flag]) -> Value {
    let records = keyed(flags).into_iter().map(|(key, text)| (key, serde_json::from_str(&text).expect("a record")));
    json!({ "flags": records.collect::<serde_json::Map<String, Value>>() })
}

impl LaunchDarkly {
    /// With these flags in shop/production.
    pub fn with(flags: &[Flag]) -> Self {
        Self::of(seed(flags))
    }

    /// With this account.
    pub fn of(seed: Seed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let started = runtime.block_on(SimulatedLaunchDarkly::start(Options { seed, listener: None }));
        Self { running: started.expect("the simulated LaunchDarkly"), runtime }
    }

    pub fn control(&self) -> &Control {
        &self.running.control
    }

    /// Sets a fault of its API; it is in force when this returns.
    pub fn fault(&self, fault: Fault) {
        self.runtime.block_on(self.control().fault(fault)).expect("a fault");
    }

    /// Its API is away; nobody listens.
    pub fn api_goes_away(&self) {
        self.fault(Fault::new(FaultKind::Refuse));
    }

    /// Its API is there again, without faults.
    pub fn api_returns(&self) {
        self.runtime.block_on(self.control().clear_faults()).expect("no faults");
    }

    /// Sets a fault of its streams; it is in force when this returns.
    pub fn stream_fault(&self, fault: Fault) {
        self.runtime.block_on(self.control().stream().fault(fault)).expect("a fault");
    }

    /// Its streams are away; nobody listens, and those that were open have broken.
    pub fn stream_goes_away(&self) {
        self.stream_fault(Fault::new(FaultKind::Refuse));
    }

    /// Its streams are there again, without faults.
    pub fn stream_returns(&self) {
        self.runtime.block_on(self.control().stream().clear_faults()).expect("no faults");
    }

    /// The one stream that is open breaks; it can be opened again at once.
    pub fn stream_breaks(&self) {
        self.stream_fault(Fault::new(FaultKind::Close).times(1));
    }

    /// Waits until somebody streams.
    pub fn wait_for_a_stream(&self, path: &str) {
        self.wait_for_streams(path, 1);
    }

    /// Waits until so many stream.
    pub fn wait_for_streams(&self, path: &str, number: usize) {
        let waiting = self.control().wait_for_streams(Some(path), Wanted::at_least(number), RETURN_WITHIN);
        self.runtime.block_on(waiting).expect("a stream");
    }

    /// Whether so many requests that are not forgotten come to this path of its streams within so long.
    pub fn is_asked(&self, path: &str, times: usize, within: Duration) -> bool {
        let control = self.control().stream();
        self.runtime.block_on(control.wait_for_requests(path, Wanted::at_least(times), within)).is_ok()
    }

    /// A colleague changes a flag in the dashboard; its version there.
    pub fn colleague(&self, flag: &str, instruction: &Value) -> u64 {
        self.colleague_in(&environment(), flag, instruction)
    }

    /// The same in another environment.
    pub fn colleague_in(&self, environment: &Environment, flag: &str, instruction: &Value) -> u64 {
        let (flag, instructions) = (flag.parse().expect("a key"), std::slice::from_ref(instruction));
        let changed = self.control().colleague_patches(environment, &flag, instructions, "carol", "a test");
        changed.expect("the change is taken")
    }

    /// A colleague turns a flag on or off; its version there.
    pub fn colleague_turns(&self, flag: &str, on: bool) -> u64 {
        self.colleague(flag, &turn(on))
    }

    /// The version of a flag there.
    pub fn version(&self, flag: &str) -> u64 {
        let configuration = self.control().configuration(&environment(), &flag.parse().expect("a key"));
        configuration.expect("the flag")["version"].as_u64().expect("a version")
    }

    /// Where its API is.
    pub fn url(&self) -> &str {
        &self.running.base_url
    }

    /// Where its streams are.
    pub fn stream_url(&self) -> &str {
        &self.running.stream_url
    }

    /// Its streams for an SDK.
    pub fn source(&self) -> Source {
        Source::stream(self.stream_url(), SDK_KEY)
    }
}
