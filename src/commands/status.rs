//! `rc status`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;

/// One screen: LaunchDarkly, relays, stores, overrides in force, what is owed
///
/// Answers within 3 s whatever is dead, and exits with 0 whenever it could report.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc status is not built yet"))
}
