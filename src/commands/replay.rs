//! `rc replay`.

use clap::ValueEnum;

use super::Context;
use super::motive::MotiveArguments;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;

/// What becomes of a flag that LaunchDarkly changed in what an override touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnConflict {
    /// Ask; where nobody can be asked, leave it owed.
    Ask,
    /// Send the override all the same.
    #[value(alias = "ours")]
    Override,
    /// Give the override up in favour of what LaunchDarkly says.
    #[value(alias = "theirs")]
    Launchdarkly,
    /// Leave it owed.
    Skip,
}

/// Bring LaunchDarkly up to date with what was changed
///
/// Shows a plan of everything that is owed (or of -p -e -f only), asks once, and sends the net effect of each flag as
/// one patch. Without a terminal it sends what needs no decision and leaves the rest owed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only these flags; may be given several times
    #[arg(short, long, value_name = "FLAG")]
    pub flag: Vec<FlagKey>,

    /// Show the plan, let LaunchDarkly validate it, and send nothing
    #[arg(long)]
    pub dry_run: bool,

    /// What to do where LaunchDarkly changed what an override touches
    #[arg(long, value_name = "WHAT", value_enum, ignore_case = true, default_value = "ask")]
    pub on_conflict: OnConflict,

    /// Request approval where LaunchDarkly wants one
    #[arg(long)]
    pub request_approval: bool,

    /// Send also where that breaks a change scheduled in LaunchDarkly
    #[arg(long)]
    pub break_scheduled: bool,

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
    Err(Failure::new(Kind::Other, "rc replay is not built yet"))
}
