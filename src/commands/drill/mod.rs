//! `rc drill`: rehearsals of an outage against a simulated LaunchDarkly. What is typed becomes a form ([`Form`]), and each
//! form has a file or a folder of its own: the scripted rehearsal (`rehearsal`), random outages by seed (`sequences`), a
//! simulated LaunchDarkly that is left running (`serve`). The rehearsal sets a stage (`stage`), plays one step after another
//! (`scenes`) with the commands' own code (`operator`), looks at what came of it without them (`raw`, `sdks`), judges
//! (`judgement`) and tells (`report`).

mod child;
mod judgement;
mod operator;
mod raw;
mod redis_server;
mod rehearsal;
mod relay_program;
mod report;
mod scenes;
mod scratch;
mod sdks;
mod sequences;
mod serve;
mod stage;
mod stand_in;
mod your_redis;

use std::io;
use std::path::PathBuf;

use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::settings::GlobalArguments;
use crate::settings::Process;
use crate::settings::Settings;
use crate::ui::output::Output;

/// The heading of the options for a LaunchDarkly that outlives the rehearsal.
const LEFT_RUNNING: &str = "A LaunchDarkly that is left running";

/// The heading of the options for random outages.
const RANDOM: &str = "Random outages";

/// Seeds that are made up are below this: short enough to be typed.
const SEEDS: u64 = 1_000_000_000;

/// Rehearse an outage against a simulated LaunchDarkly
///
/// Plays an outage from the kill switch to full agreement with the commands' own code, on a redis-server of its own (on
/// a flag file where none is on the path) behind a stand-in for a relay, and says for each step what was done, expected
/// and seen, by SDKs of every kind too. Reads and changes nothing of yours, but for what --store and --relay name. Exit
/// code 0 only if every step held. With --serve it leaves the simulated LaunchDarkly running instead, to point a relay and
/// rc at it. With --json it prints one object. More: docs/drill.md
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep the temporary folder with both homes, to look at their playback
    #[arg(long, conflicts_with = "serve")]
    pub keep: bool,

    /// Rehearse on a scratch prefix of this Redis of yours (--prefix, else rc-drill). Refuses one that holds data, and
    /// clears it afterwards
    #[arg(long, value_name = "URL", conflicts_with = "serve")]
    pub store: Option<String>,

    /// Rehearse through a relay program of yours (ld-relay, version 8) in place of the stand-in
    #[arg(long, value_name = "PROGRAM", conflicts_with = "serve")]
    pub relay: Option<PathBuf>,

    /// Rehearse nothing: leave a simulated LaunchDarkly running, and print what points a relay and rc at it
    #[arg(long, help_heading = LEFT_RUNNING)]
    pub serve: bool,

    /// What it begins with: a seed document, or a flag file (docs/drill.md)
    #[arg(long, value_name = "FILE", requires = "serve", help_heading = LEFT_RUNNING)]
    pub from: Option<PathBuf>,

    /// It begins with what a relay has put into the configured store
    #[arg(long, requires = "serve", help_heading = LEFT_RUNNING, conflicts_with = "from")]
    pub from_store: bool,

    /// Its API listens on this port of 127.0.0.1, its streams and its control on the next two; otherwise on free ones
    #[arg(long, value_name = "PORT", requires = "serve", help_heading = LEFT_RUNNING, value_parser = clap::value_parser!(u16).range(1..=65_533))]
    pub port: Option<u16>,

    /// It ends when its standard input ends, so that it does not outlive who started it
    #[arg(long, requires = "serve", help_heading = LEFT_RUNNING)]
    pub until_input_ends: bool,

    /// Play so many random outages instead: several operators, colleagues in LaunchDarkly, processes that are killed, stores
    /// that fail over. One in which a rule is broken is printed with its seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = RANDOM,
        conflicts_with_all = ["serve", "store", "relay"])]
    pub sequences: Option<u64>,

    /// The seed of the first; the others follow. The same seed is the same outage
    #[arg(long, value_name = "SEED", requires = "sequences", help_heading = RANDOM)]
    pub seed: Option<u64>,

    /// Only these steps, by their numbers
    #[arg(long, value_name = "STEPS", requires = "seed", value_delimiter = ',', help_heading = RANDOM)]
    pub only: Vec<usize>,
}

/// What was typed around the arguments, and where. No settings are read for a rehearsal, so that it works beside a broken
/// `.env` too; what needs some resolves them.
#[derive(Debug, Clone, Copy)]
pub struct Start<'s> {
    /// The options of every command.
    pub global: &'s GlobalArguments,
    /// The process.
    pub process: &'s Process,
    /// The way out for words.
    pub output: &'s Output,
}

impl Start<'_> {
    /// The settings, with their warnings said.
    ///
    /// # Errors
    /// Where one cannot be meant.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let settings = Settings::resolve(self.global, self.process)?;
        for warning in &settings.warnings {
            self.output.warn(warning);
        }
        Ok(settings)
    }
}

/// What is asked for.
#[derive(Debug)]
enum Form {
    /// The scripted rehearsal.
    Rehearsal(Box<rehearsal::Asked>),
    /// Random outages.
    Sequences(sequences::Asked),
    /// A simulated LaunchDarkly that is left running.
    Serve(serve::Asked),
}

impl Form {
    fn of(arguments: &Arguments, start: Start<'_>) -> Result<Self, Failure> {
        if arguments.serve {
            return serve::Asked::of(arguments, start).map(Form::Serve);
        }
        if let Some(count) = arguments.sequences {
            rehearsal::no_other_places(arguments, start)?;
            let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..SEEDS));
            let asked = sequences::Asked { count, seed, only: arguments.only.clone(), keep: arguments.keep };
            return Ok(Form::Sequences(asked));
        }
        rehearsal::Asked::of(arguments, start).map(|asked| Form::Rehearsal(Box::new(asked)))
    }
}

/// Runs it outside of any runtime, as `rc` does.
///
/// # Errors
/// Where what was typed cannot be meant; see the forms for the rest.
pub fn run_alone(arguments: &Arguments, start: Start<'_>) -> Result<ExitCode, Failure> {
    let form = Form::of(arguments, start)?;
    // Who is served may be many; a rehearsal is one thing after another.
    let mut builder = match &form {
        Form::Rehearsal(_) | Form::Sequences(_) => tokio::runtime::Builder::new_current_thread(),
        Form::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, "the runtime did not start").cause(error.to_string()))?;
    let ended = runtime.block_on(async {
        match form {
            Form::Rehearsal(asked) => rehearsal::run(&asked, start.output).await,
            Form::Sequences(asked) => sequences::run(&asked, start.output).await,
            Form::Serve(asked) => serve::run(asked, start).await,
        }
    });
    // Whoever still reads from a terminal cannot be cancelled.
    runtime.shutdown_background();
    ended
}

/// What a rehearsal has left behind.
fn not_cleared(error: &io::Error) -> Failure {
    Failure::new(Kind::Other, "the rehearsal did not clear up behind itself").cause(error.to_string())
}

/// Waits for a signal that asks for the end, and names it.
fn interruption() -> Result<impl Future<Output = &'static str>, Failure> {
    let caught = |kind| signal(kind).map_err(|error| Failure::new(Kind::Other, error.to_string()));
    let mut interrupt = caught(SignalKind::interrupt())?;
    let mut terminate = caught(SignalKind::terminate())?;
    let mut hangup = caught(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "a signal (TERM)",
            _ = hangup.recv() => "a signal (HUP)",
        }
    })
}
