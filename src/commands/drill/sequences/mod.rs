//! `rc drill --sequences`: random outages instead of the scripted one, by seed. What happens in a sequence is data
//! (`steps`), made from its seed; `world` has everything around the commands, `play` lets it happen, and `judge` holds what
//! comes of it against the rules. Many are played at once (`crew`); one that fails is made shorter (`shrink`) and told
//! (`report`).

mod claiming;
mod crew;
mod ending;
mod following;
mod judge;
mod lane;
mod play;
mod report;
mod running;
mod shrink;
mod steps;
mod told;
mod world;

use std::fs;
use std::io;
use std::time::Instant;

use super::interruption;
use super::not_cleared;
use super::redis_server::NoServer;
use super::redis_server::RedisServer;
use super::stage::not_set;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::output::Output;
use crew::Crew;
use crew::Played;
use crew::play;
use lane::Lane;
use play::Ended;
use report::Failed;
use report::Run;
use steps::STORES;
use steps::Story;
use steps::generator;

/// How many sequences a thread plays at once: they wait most of the time, but each needs room.
const LANES: usize = 12;

/// After so many that failed, no more are waited for.
const FAILED_MAX: usize = 5;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How many sequences.
    pub count: u64,
    /// The seed of the first; the others follow.
    pub seed: u64,
    /// Only these steps of it; empty: all.
    pub only: Vec<usize>,
    /// Keep the temporary folder.
    pub keep: bool,
}

impl Asked {
    /// Whether the steps that were asked for are there. Step 0 is none, for a story that fails without any.
    fn are_there(&self, redis: bool) -> Result<(), Failure> {
        if self.only.is_empty() {
            return Ok(());
        }
        if self.count > 1 {
            return Err(Failure::usage("--only is for one sequence:  rc drill --sequences 1 --seed SEED --only STEPS"));
        }
        let story = generator::story(self.seed, redis);
        let is_there = |number: &usize| *number == 0 || story.steps.iter().any(|step| step.number == *number);
        match self.only.iter().find(|number| !is_there(number)) {
            Some(number) => Err(Failure::usage(format!("the sequence of seed {} has no step {number}", self.seed))),
            None => Ok(()),
        }
    }
}

/// The servers that all sequences share.
struct Servers {
    servers: Vec<RedisServer>,
    /// Why there are none.
    none: Option<String>,
}

/// Runs it.
///
/// # Errors
/// Where this machine does not let us (no temporary folder, no port, no thread), where it is interrupted, or where what it
/// started does not end.
pub async fn run(asked: &Asked, output: &Output) -> Result<ExitCode, Failure> {
    tokio::select! {
        // All that was started ends as its owner goes: crew, servers, folder.
        name = interruption()? => Err(Failure::new(Kind::Other, format!("the sequences were ended by {name}"))),
        ended = play_all(asked, output) => ended,
    }
}

async fn play_all(asked: &Asked, output: &Output) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let folder = tempfile::Builder::new().prefix("rc-drill-").tempdir();
    let folder = folder.map_err(|error| not_set("there is no temporary folder", error))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(usize::try_from(asked.count).unwrap_or(cores)).max(1);
    let lanes_each = LANES.min(usize::try_from(asked.count).unwrap_or(LANES).div_ceil(threads)).max(1);
    // One more, for making what fails shorter.
    let databases = threads * lanes_each + 1;
    let servers = Servers::start(folder.path(), databases).await.map_err(|error| not_set("no folder", error))?;
    let sockets: Vec<String> = servers.servers.iter().map(|server| server.socket().display().to_string()).collect();
    let redis = !sockets.is_empty();
    asked.are_there(redis)?;
    output.report(&report::opening(asked, &servers.told()));

    let lane = |number| Lane::new(folder.path(), &sockets, number);
    let lanes = (0..threads).map(|thread| (0..lanes_each).map(|number| lane(thread * lanes_each + number)).collect());
    let (seed, only) = (asked.seed, asked.only.clone());
    let story = move |number: u64| only_some(generator::story(seed.wrapping_add(number), redis), &only);
    let crew = Crew::start(lanes.collect(), asked.count, story).map_err(|error| not_set("no thread", error))?;
    let mut run = Run::new(asked);
    gather(&mut run, crew, output).await;
    if asked.count > 1
        && let Some(first) = run.failed.first()
    {
        let shorter = shorter(&lane(databases - 1), first, output).await;
        run.shorter = shorter;
    }
    run.took = began.elapsed();
    for server in servers.servers {
        server.stop().await.map_err(|error| not_cleared(&error))?;
    }
    if asked.keep {
        output.say(&format!("Kept: {}", folder.keep().display()));
    } else {
        folder.close().map_err(|error| not_cleared(&error))?;
    }
    if output.wants_json() {
        output.json(&run.json());
    } else {
        output.report(&run.verdict());
    }
    Ok(if run.held() { ExitCode::Done } else { ExitCode::Failure })
}

/// Takes what was played as it comes, and tells how far it is.
async fn gather(run: &mut Run, mut crew: Crew, output: &Output) {
    while let Some(played) = crew.played.recv().await {
        if run.count == 1 {
            output.report(&played.told);
        }
        run.add(played);
        if let Some(line) = run.progress() {
            output.say(&line);
        }
        if run.failed.len() >= FAILED_MAX {
            break;
        }
    }
}

fn only_some(story: Story, only: &[usize]) -> Story {
    if only.is_empty() {
        return story;
    }
    let steps = story.steps.iter().filter(|step| only.contains(&step.number)).cloned().collect();
    Story { steps, ..story }
}

/// The shortest story that could be found in which the same rule breaks.
async fn shorter(lane: &Lane, failed: &Failed, output: &Output) -> Option<Played> {
    let rule = failed.rule?;
    output.say(&format!("Looking for a shorter story than seed {} tells …", failed.story.seed));
    let breaks = |story: Story| async move {
        match play(lane, &story).await.ended {
            Some(Ended::Broken(broken)) => Some(broken.rule),
            _ => None,
        }
    };
    let story = shrink::shrink(&failed.story, rule, breaks).await;
    let played = play(lane, &story).await;
    matches!(&played.ended, Some(Ended::Broken(broken)) if broken.rule == rule).then_some(played)
}

impl Servers {
    /// One server for each store, if there is a redis-server.
    async fn start(folder: &std::path::Path, databases: usize) -> io::Result<Self> {
        let mut servers = Vec::new();
        for name in STORES {
            let folder = folder.join(name);
            fs::create_dir(&folder)?;
            match RedisServer::start_with_databases(&folder, databases).await {
                Ok(server) => servers.push(server),
                Err(why @ (NoServer::NotThere | NoServer::DoesNotStart { .. })) => {
                    return Ok(Self { servers: Vec::new(), none: Some(why.to_string()) });
                }
            }
        }
        Ok(Self { servers, none: None })
    }

    fn told(&self) -> String {
        match (self.servers.first(), &self.none) {
            (Some(server), _) => format!("redis-server {}, {} of them", server.version(), self.servers.len()),
            (None, why) => format!("flag files ({})", why.as_deref().unwrap_or("no redis-server")),
        }
    }
}
