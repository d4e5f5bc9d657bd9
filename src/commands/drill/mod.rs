//! `rc drill`: a whole outage, rehearsed. It sets a stage of its own (`stage`), plays one step after another (`scenes`)
//! with the commands' own code (`operator`), looks at what came of it without them (`raw`), judges (`judgement`) and
//! tells (`report`). Nothing of the operator's own is read or changed.

mod judgement;
mod operator;
mod raw;
mod redis_server;
mod report;
mod scenes;
mod sequences;
mod stage;

use std::io;
use std::time::Instant;

use jiff::Timestamp;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::output::Output;
use judgement::Step;
use report::Report;
use report::StepReport;
use report::StoreReport;
use stage::Stage;

/// Seeds that are made up are below this: short enough to be typed.
const SEEDS: u64 = 1_000_000_000;

/// Rehearse an outage against a simulated LaunchDarkly
///
/// Plays an outage from the kill switch to full agreement with the commands' own code, on a redis-server of its own (on
/// a flag file where none is on the path), and says for each step what was done, expected and seen. Reads and changes
/// nothing of yours. Exit code 0 only if every step held. With --json it prints one object: held, store, milliseconds,
/// kept, and the steps with did, checks, broken and held.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Keep the temporary folder with both homes, to look at their playback
    #[arg(long)]
    pub keep: bool,

    /// Play so many random outages instead of the scripted one: several operators, colleagues in LaunchDarkly, processes
    /// that are killed, stores that fail over. One that shows a fault is printed with its seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sequences: Option<u64>,

    /// The seed of the first random outage; the others follow. The same seed is the same outage
    #[arg(long, value_name = "SEED", requires = "sequences")]
    pub seed: Option<u64>,

    /// Only these steps of a random outage, by their numbers
    #[arg(long, value_name = "STEPS", requires = "seed", value_delimiter = ',')]
    pub only: Vec<usize>,
}

/// Runs it outside of any runtime, as `rc` does: no settings are read for it, so it works beside a broken `.env` too.
///
/// # Errors
/// See [`run`].
pub fn run_alone(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Kind::Other, "the runtime did not start").cause(error.to_string()))?;
    let ended = runtime.block_on(run(arguments, output));
    runtime.shutdown_background();
    ended
}

/// Runs it.
///
/// # Errors
/// Where the machine has no place for it (no temporary folder, no port), where it is interrupted, or where what it
/// started does not end.
pub async fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let interrupted = interruption().map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
    tokio::select! {
        // All that was started ends as its owner goes: server, LaunchDarkly, folder.
        name = interrupted => Err(Failure::new(Kind::Other, format!("the rehearsal was ended by {name}"))),
        ended = begin(arguments, output) => ended,
    }
}

async fn begin(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let Some(count) = arguments.sequences else { return rehearse(arguments, output).await };
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..SEEDS));
    let asked = sequences::Asked { count, seed, only: arguments.only.clone(), keep: arguments.keep };
    sequences::run(&asked, output).await
}

async fn rehearse(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let mut stage = Stage::set().await?;
    output.report(&report::opening(&stage));
    let mut steps: Vec<Step> = Vec::new();
    for scene in scenes::ALL {
        let mut step = Step::begun(steps.len() + 1, scene.title, Timestamp::now());
        output.report(&report::title(&step));
        let start = Instant::now();
        step.broken = (scene.play)(&mut stage, &mut step).await.err();
        step.took = start.elapsed();
        output.report(&report::step(&step));
        steps.push(step);
    }
    let held = judgement::all_held(&steps, scenes::ALL.len());
    let (version, told) = (stage.redis_version().map(ToOwned::to_owned), stage.store_told());
    let kept = stage.strike(arguments.keep).await;
    let kept = kept.map_err(|error| not_cleared(&error))?.map(|folder| folder.display().to_string());
    let took = began.elapsed();
    if output.wants_json() {
        let kind = if version.is_some() { "redis" } else { "file" };
        let store = StoreReport { kind, version: version.as_deref(), told };
        let steps = steps.iter().map(StepReport::of).collect();
        output.json(&Report { held, store, milliseconds: took.as_millis(), steps, kept });
    } else {
        output.report(&report::verdict(&steps, scenes::ALL.len(), held, took));
        if let Some(folder) = kept {
            output.say(&format!("Kept: {folder}"));
        }
    }
    Ok(if held { ExitCode::Done } else { ExitCode::Failure })
}

fn not_cleared(error: &io::Error) -> Failure {
    Failure::new(Kind::Other, "the rehearsal did not clear up behind itself").cause(error.to_string())
}

/// Waits for a signal that asks for the end, and names it.
fn interruption() -> io::Result<impl Future<Output = &'static str>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "a signal (TERM)",
            _ = hangup.recv() => "a signal (HUP)",
        }
    })
}
