//! `rc drill --serve`: a simulated LaunchDarkly that is left running, for relays, SDKs and `rc` to be pointed at. What it
//! begins with is `seeding`'s; what points others at it is `told`'s; on a terminal it takes orders (`order`, `carrying_out`)
//! in plain lines, and programs drive it over HTTP in any case (docs/drill.md).

mod carrying_out;
mod order;
mod seeding;
mod told;

use std::path::PathBuf;

use super::Arguments;
use super::Start;
use super::interruption;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Listeners;
use crate::drill::launchdarkly::Options;
use crate::drill::launchdarkly::SimulatedLaunchDarkly;
use crate::drill::launchdarkly::StartError;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::harmless::harmless;
use crate::ui::output::Output;
use crate::ui::prompt::Prompter;
use crate::ui::prompt::input_ended;
use order::Order;
use seeding::Begun;
use told::Settings;

/// What stands before the cursor.
const PROMPT: &str = "drill>";

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    origin: Origin,
    port: Option<u16>,
    until_input_ends: bool,
}

/// What it begins with.
#[derive(Debug)]
enum Origin {
    Shop,
    File(PathBuf),
    Store,
}

impl Asked {
    /// Reads what was typed.
    ///
    /// # Errors
    /// None so far: clap has seen to it.
    pub fn of(arguments: &Arguments, start: Start<'_>) -> Result<Self, Failure> {
        let origin = match &arguments.from {
            Some(path) => Origin::File(start.process.folder.join(path)),
            None if arguments.from_store => Origin::Store,
            None => Origin::Shop,
        };
        Ok(Self { origin, port: arguments.port, until_input_ends: arguments.until_input_ends })
    }
}

/// Runs it until somebody ends it.
///
/// # Errors
/// Where what it is to begin with cannot be used, or there is no port.
pub async fn run(asked: Asked, start: Start<'_>) -> Result<ExitCode, Failure> {
    let output = start.output;
    let interrupted = interruption()?;
    let begun = match &asked.origin {
        Origin::Shop => seeding::shop()?,
        Origin::File(path) => seeding::of_file(path, start)?,
        Origin::Store => seeding::of_store(start).await?,
    };
    let Begun { seed, .. } = &begun;
    let listener = listeners(asked.port).await?;
    let started = SimulatedLaunchDarkly::start(Options { seed: seed.clone(), listener }).await;
    let running = started.map_err(|error| match error {
        StartError::Seed(error) => seeding::unusable(&begun.told, &error),
        StartError::Socket { source } => {
            Failure::new(Kind::Other, "there is no port to listen on").cause(source.to_string())
        }
    })?;
    let settings = Settings::of(&running, &begun);
    if output.wants_json() {
        output.json(&settings);
    } else {
        output.report(&settings.text());
    }
    let prompter = Prompter::new(output, false, start.global.no_input || start.global.yes || output.wants_json());
    tokio::select! {
        _ = interrupted => {}
        _ = input_ended(), if asked.until_input_ends => {}
        () = orders(&running.control, &settings, &prompter, output), if prompter.can_ask() && !asked.until_input_ends => {}
    }
    running.stop().await;
    Ok(ExitCode::Done)
}

async fn listeners(port: Option<u16>) -> Result<Option<Listeners>, Failure> {
    let Some(port) = port else { return Ok(None) };
    let listeners = Listeners::from_port(port).await;
    listeners.map(Some).map_err(|error| {
        Failure::usage(format!("the ports {port} to {} of 127.0.0.1 are not all free", port.saturating_add(2)))
            .cause(error.to_string())
            .hint("Without --port it takes free ones.")
    })
}

/// Takes orders until there are no more, or one says so.
async fn orders(control: &Control, settings: &Settings, prompter: &Prompter, output: &Output) {
    output.say("\nWhat goes wrong, and what colleagues do, is typed here: help lists it, quit ends all.");
    loop {
        let line = match prompter.line(output, PROMPT).await {
            Ok(Some(line)) => line,
            // Nobody is there any more.
            Ok(None) | Err(_) => return,
        };
        match order::read(&line) {
            Ok(Order::Nothing) => {}
            Ok(Order::Quit) => return,
            Ok(Order::Help) => output.say(order::HELP),
            Ok(Order::Settings) => output.say(&settings.text()),
            Ok(order) => match carrying_out::carry_out(control, order).await {
                Ok(told) => output.say(&told),
                Err(problem) => output.error(&format!("error: {}", harmless(&problem))),
            },
            Err(problem) => output.error(&format!("error: {}", harmless(&problem))),
        }
    }
}
