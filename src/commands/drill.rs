//! `rc drill`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;

/// Rehearse an outage against a simulated LaunchDarkly
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc drill is not built yet"))
}
