//! The simulated LaunchDarkly with a shop in it, for tests that do not run in a runtime of their own.

use relay_commander::drill::launchdarkly::Control;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::flag::key::Environment;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::stage::keyed;
use crate::support::shop::Flag;

/// An access token that may change flags.
pub const WRITER: &str = "api-writer-0001";

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
    let records: serde_json::Map<String, Value> =
        keyed(flags).into_iter().map(|(key, text)| (key, serde_json::from_str(&text).expect("a record"))).collect();
    Seed::new().project("shop").environment("production").records(json!({ "flags": records })).token(
        WRITER,
        Role::Writer,
        "anna",
    )
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

    /// Where its API is.
    pub fn url(&self) -> &str {
        &self.running.base_url
    }
}
