//! `generate-relay-config`, a name of the old tool. What it did is not built yet, and it must not be pretended.

use std::ffi::OsString;

use crate::error::ExitCode;
use crate::error::Failure;

/// The old name of something that is not built yet
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whatever the old tool took
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<OsString>,
}

/// Says what to do instead.
///
/// # Errors
/// Always: usage.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = &arguments.rest;
    Err(Failure::usage("generate-relay-config is not part of this version of rc")
        .hint("Write ld-relay.conf by hand, one section per environment:")
        .hint("  [Environment \"shop production\"]\n  sdkKey = sdk-…\n  prefix = ld:shop:production")
        .hint("Then name it, so that rc knows the prefixes:  rc doctor --relay-config ld-relay.conf"))
}
