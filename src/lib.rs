//! RelayCommander: changes LaunchDarkly flags behind the Relay Proxy while LaunchDarkly is unreachable, and replays
//! the changes when it is back. `ARCHITECTURE.md` is the map.

pub mod change;
pub mod commands;
pub mod drill;
pub mod error;
pub mod flag;
pub mod launchdarkly;
pub mod playback;
pub mod relay;
pub mod settings;
pub mod store;
pub mod ui;
