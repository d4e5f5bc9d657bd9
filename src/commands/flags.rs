//! `rc flags`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;

/// List the flags of an environment
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only flags whose key holds this
    pub part: Option<String>,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc flags is not built yet"))
}
