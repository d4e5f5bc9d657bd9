//! The commands, one file per verb: its arguments, whose doc comments are its help, and its flow. The only place that
//! joins stores, relays, LaunchDarkly and the playback. Deciding belongs to `change/` and `flag/`, printing to `ui/`.

pub mod completions;
pub mod confined;
pub mod doctor;
pub mod drill;
pub mod flags;
pub mod guard;
pub mod guards;
pub mod help;
pub mod left_behind;
pub mod log;
mod lookout;
pub mod man;
pub mod motive;
pub mod notify;
pub mod overview;
pub mod place;
pub mod relay;
pub mod relays;
pub mod replay;
pub mod show;
pub mod sighting;
mod signing;
pub mod status;
pub mod stores;
pub mod survey;
pub mod targets;
pub mod undo;
pub mod update;
pub mod verify;
pub mod writing;

use clap::CommandFactory;
use clap::Parser;
use clap::Subcommand;

use crate::error::ExitCode;
use crate::error::Failure;
use crate::settings::GlobalArguments;
use crate::settings::Settings;
use crate::ui::output::Output;
use crate::ui::prompt::Prompter;

/// Change LaunchDarkly flags behind the Relay Proxy while LaunchDarkly is away, and replay the changes when it is back
#[derive(Debug, Parser)]
#[command(name = "rc", version, propagate_version = false, disable_help_subcommand = true, max_term_width = 100)]
#[command(
    after_help = "In an incident: rc help runbook. Settings: rc help environment. Exit codes: rc help exit-codes."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArguments,

    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs, in the order in which an incident needs them.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would take the place of the help, which stands at each Arguments")]
pub enum Command {
    #[command(alias = "update-redis")]
    Update(update::Arguments),
    #[command(aliases = ["playback", "update-ld-api"])]
    Replay(replay::Arguments),
    Verify(verify::Arguments),
    Status(status::Arguments),
    Flags(flags::Arguments),
    Show(show::Arguments),
    Log(log::Arguments),
    Undo(undo::Arguments),
    Doctor(doctor::Arguments),
    Guard(guard::Arguments),
    Notify(notify::Arguments),
    Drill(drill::Arguments),
    Relay(relay::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Help(help::Arguments),
    #[command(hide = true)]
    GenerateRelayConfig(relay::config::Arguments),
}

/// What a command is given besides its own arguments.
#[derive(Debug, Clone)]
pub struct Context<'r> {
    /// Everything that is configured.
    pub settings: &'r Settings,
    /// The options of every command as they were typed, for what must not come from a default (`-p` as a filter).
    pub typed: &'r GlobalArguments,
    /// The way out for words.
    pub output: &'r Output,
    /// The way to ask.
    pub prompter: Prompter,
}

/// The command line, as clap knows it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs a command that needs no settings, and so works beside a broken `.env`; `None` for any other.
pub fn without_settings(command: &Command, start: drill::Start<'_>) -> Option<Result<ExitCode, Failure>> {
    let output = start.output;
    match command {
        Command::Completions(arguments) => Some(completions::run(arguments, output)),
        Command::Man(arguments) => Some(man::run(arguments, output)),
        Command::Help(arguments) => Some(help::run(arguments, output)),
        Command::Drill(arguments) => Some(drill::run_alone(arguments, start)),
        _ => None,
    }
}

/// Whether a command serves many at a time, and so wants all processors.
pub fn serves(command: &Command) -> bool {
    matches!(command, Command::Guard(_))
}

/// Runs a command.
///
/// # Errors
/// Why it could not do what it was asked; nothing of it is printed yet.
pub async fn run(command: Command, context: &Context<'_>) -> Result<ExitCode, Failure> {
    match command {
        Command::Update(arguments) => update::run(arguments, context).await,
        Command::Replay(arguments) => replay::run(arguments, context).await,
        Command::Verify(arguments) => verify::run(arguments, context).await,
        Command::Status(arguments) => status::run(arguments, context).await,
        Command::Flags(arguments) => flags::run(arguments, context).await,
        Command::Show(arguments) => show::run(arguments, context).await,
        Command::Log(arguments) => log::run(arguments, context).await,
        Command::Undo(arguments) => undo::run(arguments, context).await,
        Command::Doctor(arguments) => doctor::run(arguments, context).await,
        Command::Guard(arguments) => guard::run(arguments, context).await,
        Command::Notify(arguments) => notify::run(&arguments, context).await,
        Command::Drill(_) => Err(Failure::usage("a rehearsal is no step of another one")),
        Command::Completions(arguments) => completions::run(&arguments, context.output),
        Command::Man(arguments) => man::run(&arguments, context.output),
        Command::Help(arguments) => help::run(&arguments, context.output),
        Command::Relay(arguments) => relay::run(&arguments, context).await,
        Command::GenerateRelayConfig(arguments) => relay::config::run(&arguments, context).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    /// Every option that a setting claims exists, and every option that sounds like a setting is in the table.
    #[test]
    fn options_and_settings_agree() {
        let mut command = command();
        command.build();
        let verbs = command.get_subcommands().flat_map(|verb| verb.get_arguments().cloned().collect::<Vec<_>>());
        let arguments: Vec<clap::Arg> = command.get_arguments().cloned().chain(verbs).collect();
        for row in crate::settings::table::ALL {
            let Some(flag) = row.flag else { continue };
            assert!(arguments.iter().any(|argument| argument.get_long() == Some(flag)), "--{flag} is no option");
        }
        let without_setting = ["yes", "json", "color", "verbose"];
        let global = Cli::command();
        let global = global.get_arguments().filter(|argument| argument.is_global_set());
        for name in global.filter_map(clap::Arg::get_long).filter(|name| !without_setting.contains(name)) {
            let known = crate::settings::table::ALL.iter().any(|row| row.flag == Some(name));
            assert!(known, "--{name} has no row in settings/table.rs");
        }
    }
}
