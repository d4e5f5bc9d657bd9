//! Plays many sequences at once: a thread for each core, and on each of them many lanes, since a sequence waits most of
//! its time (for disks, for Redis, for the pauses between tries). Everything ends with the crew.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::sync::watch;

use super::lane::Lane;
use super::play::Ended;
use super::play::Play;
use super::steps::Story;
use super::world::World;

/// A story that was played.
#[derive(Debug)]
pub struct Played {
    /// The story.
    pub story: Story,
    /// Everything that happened, for people.
    pub told: String,
    /// Why it was not played to its end; `None`: everything held.
    pub ended: Option<Ended>,
    /// How many commands were typed.
    pub commands: usize,
}

/// Plays one story, to its end or to the first rule that is broken.
pub async fn play(lane: &Lane, story: &Story) -> Played {
    let played = |told, ended, commands| Played { story: story.clone(), told, ended, commands };
    let world = match World::new(lane, &story.cast).await {
        Ok(world) => world,
        Err(trouble) => return played(String::new(), Some(Ended::Trouble(trouble)), 0),
    };
    let mut play = match Play::begin(world).await {
        Ok(play) => play,
        Err(trouble) => return played(String::new(), Some(Ended::Trouble(trouble)), 0),
    };
    play.told.part(&story.cast.to_string());
    let mut ended = play.steps(story).await;
    if ended.is_ok() {
        ended = play.ending(story).await;
    }
    let (told, commands) = (play.told.text(), play.typed.len());
    play.world.end().await;
    played(told, ended.err(), commands)
}

/// Threads that play, each with its lanes.
#[derive(Debug)]
pub struct Crew {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// What was played, as it comes; it ends when all is played.
    pub played: mpsc::UnboundedReceiver<Played>,
}

impl Crew {
    /// Has them play `count` stories, made by `story` from their number.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(
        lanes: Vec<Vec<Lane>>,
        count: u64,
        story: impl Fn(u64) -> Story + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (report, played) = mpsc::unbounded_channel();
        let (next, story) = (Arc::new(AtomicU64::new(0)), Arc::new(story));
        let mut threads = Vec::new();
        for lanes in lanes {
            let (next, story, report, mut stopped) =
                (Arc::clone(&next), Arc::clone(&story), report.clone(), stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            threads.push(thread::Builder::new().name("sequences".to_owned()).spawn(move || {
                let lane = |lane: Lane| {
                    let (next, story, report) = (Arc::clone(&next), Arc::clone(&story), report.clone());
                    async move {
                        loop {
                            let number = next.fetch_add(1, Ordering::AcqRel);
                            if number >= count || report.send(play(&lane, &story(number)).await).is_err() {
                                return;
                            }
                        }
                    }
                };
                runtime.block_on(async {
                    tokio::select! {
                        _ = join_all(lanes.into_iter().map(lane)) => {}
                        _ = stopped.wait_for(|stop| *stop) => {}
                    }
                });
                runtime.shutdown_background();
            })?);
        }
        Ok(Self { stop, threads, played })
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // One that died of a panic has said so itself.
            let _ = thread.join();
        }
    }
}
