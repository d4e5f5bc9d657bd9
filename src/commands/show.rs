//! `rc show`.

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;

/// Tell one flag in words: in every store, what it serves, what depends on it
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Which flag
    pub flag: FlagKey,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc show is not built yet"))
}
