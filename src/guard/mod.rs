//! The guard: the long-running half of RelayCommander, which stands on the relays' stream. What `rc update` writes into
//! the stores it has the relays broadcast, and it keeps that in force when LaunchDarkly's stream returns (design 4.3).
//! SERVER: it joins what it reads from LaunchDarkly, from stores and from disk. It must not know commands, and it must
//! not write to LaunchDarkly.

pub mod admin;
pub mod alarm;
pub mod answer;
pub mod auto_configuration;
pub mod backoff;
pub mod cache;
pub mod environment;
pub mod folder;
pub mod keys;
pub mod overrides;
pub mod presence;
pub mod running;
pub mod seal;
pub mod serving;
pub mod story;
pub mod stream;
