//! `rc update`.

use std::path::PathBuf;

use clap::ArgGroup;
use clap::ValueEnum;

use super::Context;
use super::motive::MotiveArguments;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;

/// On or off, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Turn it on.
    On,
    /// Turn it off: everybody gets the off variation.
    Off,
}

/// Change a flag in the stores behind the relays
///
/// The change is recorded first, then written to every store at once, then watched through the relays where their SDK
/// keys are known. The same command again, or --resume, finishes what a dead host left. Back: rc undo.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["state", "serve", "from", "resume"]))]
#[command(
    after_help = "For example:\n  rc update -p shop -e production -f checkout -s off --reason \"double charges\" --incident INC-4821"
)]
pub struct Arguments {
    /// Which flag; may be given several times: one change, of which nothing is written if one flag cannot be
    #[arg(short, long, value_name = "FLAG", required_unless_present_any = ["from", "resume"], conflicts_with_all = ["from", "resume"])]
    pub flag: Vec<FlagKey>,

    /// Turn it on or off
    #[arg(short, long, value_name = "on|off", value_enum, ignore_case = true, hide_possible_values = true)]
    pub state: Option<State>,

    /// Give everybody this variation, named by its value as JSON (or as plain text)
    #[arg(long, value_name = "VALUE")]
    pub serve: Option<String>,

    /// Take edits from a file, one JSON object a line: {"project","environment","flag"} and one of "state", "serve",
    /// "instructions"; - is standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// Finish a change that did not reach every store: by its last digits, else the newest one
    #[arg(long, value_name = "CHANGE", num_args = 0..=1)]
    pub resume: Option<Option<String>>,

    /// Why.
    #[command(flatten)]
    pub motive: MotiveArguments,

    /// Be reminded that it is still in force: after 2h, at 04:14Z, or at 2026-10-20T04:14Z
    #[arg(long, value_name = "WHEN", conflicts_with = "resume")]
    pub expires: Option<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Mend a record whose "on" is a text, as the old tool wrote it, and then change it
    #[arg(long)]
    pub repair: bool,

    /// Owe it to LaunchDarkly also where the flag is so already
    #[arg(long, conflicts_with = "resume")]
    pub record: bool,

    /// Write also where what would be served differs by host
    #[arg(long)]
    pub despite_differences: bool,
}

/// Runs it.
///
/// # Errors
/// Always: it is not built yet.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let _ = (arguments, context);
    Err(Failure::new(Kind::Other, "rc update is not built yet"))
}
