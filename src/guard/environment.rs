//! An environment that is guarded: its name, its keys, and where its records are kept. Plain data; who makes it from
//! settings, from a relay's configuration or from LaunchDarkly's automatic configuration is not known here.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::relay::sdk_key::SdkKey;

/// One environment, or one payload filter's copy of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedEnvironment {
    /// Its name for people, unique among all: the section of the relay's configuration, or `project/environment`; with
    /// `/filter` behind it for a payload filter's copy.
    pub name: String,
    /// LaunchDarkly's keys, where they are known.
    pub environment: Option<Environment>,
    /// The keys by which relays ask for it.
    pub sdk_keys: Vec<SdkKey>,
    /// The payload filter.
    pub filter: Option<String>,
    /// Where its records are kept; empty where that is not known.
    pub targets: Vec<Target>,
    /// How long a relay may hand out what it has read before.
    pub cache_time: Duration,
}

/// LaunchDarkly's stream of one environment, as the guard sees it, and who hangs on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamView {
    /// Whether it is up; `None` while no relay has asked for it yet.
    pub up: Option<bool>,
    /// Since when that is so.
    pub since: Timestamp,
    /// What LaunchDarkly, or the network, said last when it went away.
    pub told: Option<String>,
    /// The relays that are connected, without duplicates; bounded.
    pub relays: Vec<AttachedRelay>,
    /// Whether the guard only forwards and compares.
    pub shadow: bool,
}

/// A relay that is connected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachedRelay {
    /// From where.
    pub address: IpAddr,
    /// What it calls itself: its `User-Agent`, made harmless, cut to 100 characters.
    pub agent: String,
}
