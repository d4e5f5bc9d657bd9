//! LaunchDarkly's Relay Proxy, seen from outside: how it is configured, what it says of itself on `/status`, and what it
//! really serves. NETWORK: reads from relays over HTTP, and only reads. It must not know stores, playback or
//! LaunchDarkly's API; which store and prefix a relay stands before is said by name and address only.
//!
//! Facts about the relay come from its sources (v8.10.1) and are collected in launchdarkly.md 7.1, 8 and 9.

pub mod address;
pub mod advice;
pub mod cache_time;
pub mod client;
pub mod configuration;
mod configuration_environment;
mod configuration_file;
mod configuration_settings;
mod event_stream;
pub mod judgement;
pub mod pairing;
pub mod probe;
mod put_scanner;
pub mod sdk_key;
pub mod served;
pub mod status;
pub mod verdict;
