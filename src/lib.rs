//! RelayCommander: changes LaunchDarkly flags behind the Relay Proxy while LaunchDarkly is unreachable, and replays
//! the changes when it is back. `ARCHITECTURE.md` is the map.

pub mod change;
pub mod commands;
pub mod drill;
pub mod error;
pub mod flag;
pub mod guard;
pub mod launchdarkly;
pub mod notification;
pub mod playback;
pub mod relay;
pub mod settings;
pub mod store;
pub mod ui;

use std::ffi::OsString;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use commands::Cli;
use commands::Context;
use commands::drill::Start;
use error::ExitCode;
use error::Failure;
use error::Kind;
use settings::Process;
use ui::output::ColourWishes;
use ui::output::Output;
use ui::prompt::Prompter;

/// Does what `arguments` (the name of the program first) ask for, prints, and says how it ended. Can be called again.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> std::process::ExitCode {
    // The only TLS provider in the tree. An error means that it is installed already, by an earlier call.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let process = Process::current();
    let wishes = colour_wishes(process.as_ref().ok());
    let (code, output) = match parse(arguments) {
        Ok(cli) => {
            let output = Output::standard(cli.global.color, wishes).with(cli.global.json, cli.global.verbose);
            match process.map_err(no_folder).and_then(|process| execute(cli, process, &output)) {
                Ok(code) => (code, output),
                Err(failure) => {
                    output.error(&failure.to_string());
                    (failure.exit_code(), output)
                }
            }
        }
        Err(told) => {
            let output = Output::standard(ui::output::Colour::Auto, wishes);
            (tell(&told, &output), output)
        }
    };
    match output.finish() {
        Ok(()) => code.into(),
        Err(error) => {
            output.error(&format!("error: not everything could be printed\n  {error}"));
            // What was done is done: only a run that would have been called good is called bad for its missing words.
            if code == ExitCode::Done { ExitCode::Failure.into() } else { code.into() }
        }
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = commands::command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Prints what the parser has to say: help and version as data, mistakes as talk.
fn tell(told: &clap::Error, output: &Output) -> ExitCode {
    let text = told.render().ansi().to_string();
    let text = text.trim_end();
    match told.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output.data(text);
            ExitCode::Done
        }
        _ => {
            output.say(text);
            ExitCode::Usage
        }
    }
}

fn execute(cli: Cli, process: Process, output: &Output) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    let start = Start { global: &global, process: &process, output };
    if let Some(ended) = commands::without_settings(&command, start) {
        return ended;
    }
    let settings = settings::Settings::resolve(&global, &process)?;
    for warning in &settings.warnings {
        output.warn(warning);
    }
    if let Some(home) = &settings.home {
        output.detail(&format!("home {}", home.shown()));
    }
    for source in &settings.sources {
        output.detail(&format!("set by {source}"));
    }
    let prompter = Prompter::new(output, settings.yes, settings.no_input);
    let context = Context { settings: &settings, typed: &global, output, prompter };
    let mut runtime = if commands::serves(&command) {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, "the runtime did not start").cause(error.to_string()))?;
    let ended = runtime.block_on(commands::run(command, &context));
    // A resolver that hangs cannot be cancelled; it must not delay the end.
    runtime.shutdown_background();
    ended
}

fn no_folder(error: std::io::Error) -> Failure {
    Failure::new(Kind::Other, "the current folder is gone, or may not be entered")
        .cause(error.to_string())
        .hint("Change to a folder that is there:  cd /srv/rc")
}

fn colour_wishes(process: Option<&Process>) -> ColourWishes {
    let set = |name| process.is_some_and(|process| process.text(name).is_some());
    let dumb = process.and_then(|process| process.text("TERM")) == Some("dumb");
    ColourWishes { unwanted: set("NO_COLOR") || dumb, forced: set("CLICOLOR_FORCE") }
}
