//! `rc undo`.

use super::Context;
use super::motive::MotiveArguments;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;

/// Put back what LaunchDarkly last sent, for a flag or for all flags of a change
///
/// Alone it lists what is in force and asks. A colleague's change is never undone without asking.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A flag, or the last digits of a change
    #[arg(value_name = "FLAG|CHANGE")]
    pub what: Option<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Why.
    #[command(flatten)]
    pub motive: MotiveArguments,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc undo is not built yet"))
}
