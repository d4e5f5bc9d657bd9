//! `rc log`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;

/// List what was done, by whom and why
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,

    /// Print comma separated values instead of a table
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// How many of the newest to list
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc log is not built yet"))
}
