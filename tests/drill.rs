//! The simulated LaunchDarkly, driven over HTTP as RelayCommander drives the real one. Every answer is checked against
//! LaunchDarkly's own OpenAPI description (`data/launchdarkly-openapi-parts.json`) on its way through [`support`].

mod approvals;
mod audit;
mod configuration;
mod faults;
mod flags;
mod instructions;
mod limits;
mod listening;
mod paper;
mod patches;
mod polling;
mod relay;
mod seeds;
mod stream_faults;
mod streams;
mod support;
mod switchboard;
