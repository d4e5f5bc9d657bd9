//! `rc verify`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;

/// Hold LaunchDarkly, stores, relays and the record against each other
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc verify is not built yet"))
}
