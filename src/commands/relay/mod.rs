//! `rc relay`: what concerns the relays themselves. Each verb below it has a file of its own.

pub mod config;
pub mod restart;

use clap::Subcommand;

use super::Context;
use crate::error::ExitCode;
use crate::error::Failure;

/// Check or write a relay's configuration, and restart relays safely
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would take the place of the help, which stands at each Arguments")]
pub enum Verb {
    Config(config::Arguments),
    Restart(restart::Arguments),
}

/// Runs it.
///
/// # Errors
/// As the verb.
pub async fn run(arguments: &Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match &arguments.verb {
        Verb::Config(arguments) => config::run(arguments, context).await,
        Verb::Restart(arguments) => restart::run(arguments, context).await,
    }
}
