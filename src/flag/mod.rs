//! Feature flag records and what can be done to them. PURE: no I/O, no clock, no settings.
//!
//! A record is the JSON document of a flag as LaunchDarkly's SDKs define it. This module reads it, edits it by
//! splicing (never by re-serialising), says whether every reader would accept it, compares it by value, and tells in
//! words what it serves. It must not know about stores, playback, LaunchDarkly's REST API or overrides.

pub mod aspect;
pub mod check;
pub mod configuration;
pub mod instruction;
pub(crate) mod json;
pub mod key;
mod model;
pub mod patch;
pub mod preview;
pub mod record;
#[cfg(test)]
mod samples;
pub mod wish;
mod words;
