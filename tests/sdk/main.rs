//! Parts that we did not write, against ours: LaunchDarkly's server SDKs for Go, Node and Python, its API client and, where
//! `LD_RELAY` names one, its relay. `scripts/sdk` installs them and runs this; whatever is not there is shown as not run.
//!
//! At the end stands what reaches whom: the table of README.md as it was seen, with the versions of who saw it.

// Clippy knows tests by `#[test]` and `#[cfg(test)]`; all of this crate is tests and what they share.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)]

mod api_client;
mod daemon;
mod data_path;
mod facts;
mod file;
mod generated;
mod guard;
mod launchdarkly;
mod parts;
mod reach;
mod records;
mod relay;
mod relay_restart;
mod rest;
mod rewritten;
mod stage;
mod streaming;
#[allow(dead_code, reason = "shared with tests/all.rs")]
#[path = "../support/mod.rs"]
mod support;
mod watcher;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use libtest_mimic::Trial;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let listing = arguments.list;
    if !listing {
        parts::say_what_is_not_there();
    }
    let mut trials: Vec<Trial> = [
        daemon::trials(),
        file::trials(),
        records::trials(),
        rest::trials(),
        rewritten::trials(),
        streaming::trials(),
        data_path::trials(),
        relay::trials(),
        relay_restart::trials(),
        guard::trials(),
    ]
    .into_iter()
    .flatten()
    .collect();
    trials.extend(facts::trials(trials.iter().map(|trial| trial.name().to_owned()).collect()));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        reach::tell();
    }
    conclusion.exit_code()
}
