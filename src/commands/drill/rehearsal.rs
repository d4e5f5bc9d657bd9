//! The scripted rehearsal, from what was typed to its exit code. What it sets up it ends again, however it ends: relay,
//! LaunchDarkly, Redis, folder, and at last the prefix that it took of somebody's Redis.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::Arguments;
use super::Start;
use super::interruption;
use super::judgement;
use super::judgement::Step;
use super::not_cleared;
use super::report;
use super::report::Report;
use super::scenes;
use super::scratch;
use super::scratch::Claim;
use super::scratch::Scratch;
use super::stage::Parts;
use super::stage::Stage;
use super::your_redis::YourRedis;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::output::Output;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    keep: bool,
    relay: Option<PathBuf>,
    store: Option<Place>,
}

/// A prefix of a Redis, and for whom it is taken.
#[derive(Debug)]
struct Place {
    redis: YourRedis,
    prefix: String,
    user: String,
    host: String,
}

impl Asked {
    /// Reads what was typed.
    ///
    /// # Errors
    /// Where it cannot be meant: no address, no program.
    pub fn of(arguments: &Arguments, start: Start<'_>) -> Result<Self, Failure> {
        no_other_places(arguments, start)?;
        let store = arguments.store.as_ref().map(|typed| Place::of(typed, start)).transpose()?;
        let relay = arguments.relay.as_ref().map(|path| start.process.folder.join(path));
        if let Some(path) = relay.as_ref().filter(|path| !path.is_file()) {
            return Err(Failure::usage(format!("there is no relay program at {}", path.display()))
                .hint("--relay takes the path of an ld-relay, such as /usr/local/bin/ld-relay"));
        }
        if let (Some(place), true) = (&store, relay.is_some()) {
            // What a relay cannot reach is said before anything is written.
            place.redis.for_relay()?;
        }
        Ok(Self { keep: arguments.keep, relay, store })
    }
}

/// What was typed says where other commands work: to pass over it would be to rehearse somewhere else than is thought.
///
/// # Errors
/// It does.
pub fn no_other_places(arguments: &Arguments, start: Start<'_>) -> Result<(), Failure> {
    let global = start.global;
    if global.stores.is_some() {
        return Err(Failure::usage("--stores names the stores of the other commands")
            .hint("The Redis to rehearse on:  rc drill --store redis://HOST:PORT --prefix SCRATCH"));
    }
    if global.prefix.is_some() && arguments.store.is_none() {
        return Err(Failure::usage("--prefix names a place in a Redis of yours, and --store names none"));
    }
    let others = [
        ("--project", global.project.is_some()),
        ("--environment", global.environment.is_some()),
        ("--relay-config", !global.relay_config.is_empty()),
        ("--playback", global.playback.is_some()),
    ];
    match others.into_iter().find(|(_, typed)| *typed) {
        Some((name, _)) => {
            Err(Failure::usage(format!("{name} is not taken: a rehearsal has a shop, homes and a playback of its own")))
        }
        None => Ok(()),
    }
}

impl Place {
    fn of(typed: &str, start: Start<'_>) -> Result<Self, Failure> {
        let settings = start.settings()?;
        let redis = YourRedis::new(typed, &settings)?;
        let prefix = settings.prefix.clone().unwrap_or_else(|| scratch::PREFIX.to_owned());
        Ok(Self { redis, prefix, user: settings.actor.user, host: settings.actor.host })
    }

    /// Takes the prefix.
    async fn claimed(&self, interrupted: impl Future<Output = &'static str>) -> Result<Scratch, Failure> {
        let claim = Claim::new(&self.redis, &self.prefix, &self.user, &self.host)?;
        tokio::select! {
            taken = claim.take() => taken,
            name = interrupted => {
                claim.give_back().await?;
                Err(ended_by(name))
            }
        }
    }
}

/// Plays it.
///
/// # Errors
/// Where the machine has no place for it (no temporary folder, no port), where the Redis or the relay that were named
/// cannot be used, where it is interrupted, or where what it started does not end.
pub async fn run(asked: &Asked, output: &Output) -> Result<ExitCode, Failure> {
    let mut interrupted = Box::pin(interruption()?);
    let scratch = match &asked.store {
        None => None,
        Some(place) => Some(Arc::new(place.claimed(&mut interrupted).await?)),
    };
    if let Some(left) = scratch.as_ref().and_then(|scratch| scratch.leavings.as_ref()) {
        output.say(&format!("Cleared what a rehearsal had left there ({left})."));
    }
    let ended = on_stage(asked, scratch.clone(), &mut interrupted, output).await;
    let cleared = match &scratch {
        Some(scratch) => scratch.clear().await,
        None => Ok(()),
    };
    match (ended, cleared) {
        (ended, Ok(())) => ended,
        (Ok(_), Err(failure)) => Err(failure),
        (Err(first), Err(second)) => Err(first.cause(second.message).hints(second.hints)),
    }
}

fn ended_by(name: &str) -> Failure {
    Failure::new(Kind::Other, format!("the rehearsal was ended by {name}"))
}

async fn on_stage(
    asked: &Asked,
    scratch: Option<Arc<Scratch>>,
    mut interrupted: impl Future<Output = &'static str> + Unpin,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let parts = Parts { scratch, relay: asked.relay.clone() };
    let mut stage = tokio::select! {
        // What was set up until then ends as its owner goes.
        name = &mut interrupted => return Err(ended_by(name)),
        stage = Stage::set(&parts) => stage?,
    };
    let scenes = scenes::all(stage.relay.is_named());
    output.report(&report::opening(&stage));
    let played = tokio::select! {
        name = &mut interrupted => Err(ended_by(name)),
        steps = play(&mut stage, &scenes, output) => Ok(steps),
    };
    let told = report::Setting::of(&stage);
    let kept = stage.strike(asked.keep).await.map_err(|error| not_cleared(&error));
    let steps = played?;
    let kept = kept?.map(|folder| folder.display().to_string());
    let (held, took) = (judgement::all_held(&steps, scenes.len()), began.elapsed());
    if output.wants_json() {
        output.json(&Report::of(held, took, &told, &steps, kept));
    } else {
        output.report(&report::verdict(&steps, scenes.len(), held, took, &told));
        if let Some(folder) = kept {
            output.say(&format!("Kept: {folder}"));
        }
    }
    Ok(if held { ExitCode::Done } else { ExitCode::Failure })
}

async fn play(stage: &mut Stage, scenes: &[scenes::Scene], output: &Output) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for scene in scenes {
        let mut step = Step::begun(steps.len() + 1, scene.title, Timestamp::now());
        output.report(&report::title(&step));
        let start = Instant::now();
        step.broken = (scene.play)(stage, &mut step).await.err();
        step.took = start.elapsed();
        output.report(&report::step(&step));
        steps.push(step);
    }
    steps
}
