//! The tests of the whole program: one binary, a file per subject.

// Clippy knows tests by `#[test]` and `#[cfg(test)]`; all of this crate is tests and what they share.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod architecture;
mod deploy;
mod doctor;
mod documents;
mod drill;
mod flags;
mod guard;
mod guard_stores;
mod help;
mod launchdarkly;
mod log;
mod notify;
mod readme;
mod rehearsal;
mod relay;
mod relay_config;
mod replay;
mod settings;
mod show;
mod status;
mod store;
mod support;
mod terminal;
mod undo;
mod update;
