//! Lets a command run, message by message: each of its messages stops, and so does each answer, and what the story wants to
//! happen at that moment happens before it goes on. It must not know what the messages mean.

use std::pin::pin;

use tokio::time::timeout;

use super::play::Ended;
use super::play::Play;
use super::steps::Interjection;
use super::steps::Pace;
use super::steps::STORES;
use super::steps::Typed;
use super::world::wire::Moment;
use super::world::wire::Stop;
use super::world::wire::To;
use super::world::wire::UNANSWERED;
use crate::commands::drill::operator::Operator;
use crate::commands::drill::operator::Ran;

/// How often those who write at the same moment get the chance to be heard together.
const GATHERED: usize = 3;

/// What is done with a message, and with the command that it belongs to.
enum Fate {
    Passes,
    Cut,
    Killed,
}

impl Play {
    /// Runs it. Returns how it ended; `None`: it was killed.
    pub(super) async fn run(
        &mut self,
        typed: &Typed,
        operator: &Operator,
        words: &[String],
        number: u64,
    ) -> Result<Option<Ran>, Ended> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let before = self.world.gate.is_running(number);
        let mut sights = 0_u16;
        // Whose answer is waited for before anybody else has his turn.
        let mut asked = None;
        let outcome = {
            let mut command = pin!(operator.run(&words));
            loop {
                let stop = tokio::select! {
                    biased;
                    stop = self.next_stop(number, asked) => stop,
                    ran = &mut command => break Ok(Some(ran)),
                };
                let Some(stop) = stop else { return Err(Ended::Trouble("the gate is gone".to_owned())) };
                sights = sights.saturating_add(1);
                asked = (stop.moment == Moment::Asks).then_some(stop.connection);
                let place = format!("{sights}, {}", words_of(&stop));
                match self.sight(typed, sights, &place, number).await {
                    Ok(Fate::Passes) => stop.reply(true),
                    Ok(Fate::Cut) => stop.reply(false),
                    Ok(Fate::Killed) => {
                        stop.reply(false);
                        break Ok(None);
                    }
                    Err(ended) => break Err(ended),
                }
            }
            // Here the command is dropped: killed, if it has not ended by itself.
        };
        self.world.gate.kill(number);
        self.waiting.retain(|stop| stop.command != number);
        self.world.gate.is_running(before);
        outcome
    }

    /// The next stop of a command. Whoever was asked answers first, or his connection ends; of those that come at the same
    /// moment the first store has the first turn, and LaunchDarkly the last: whoever happens to be quicker must not decide.
    async fn next_stop(&mut self, number: u64, asked: Option<u64>) -> Option<Stop> {
        let mut asked = asked;
        loop {
            for _ in 0..GATHERED {
                tokio::task::yield_now().await;
                while let Ok(stop) = self.world.stops.try_recv() {
                    self.waiting.push_back(stop);
                }
            }
            let is_gone = |stop: &Stop| stop.moment == Moment::Gone;
            let has_ended = |stop: &Stop| is_gone(stop) && Some(stop.connection) == asked;
            if self.waiting.iter().any(has_ended) {
                asked = None;
            }
            // What has ended while nobody waited for its answer is of no interest. Somebody may wait who has no turn now.
            let waits = |stop: &Stop| {
                stop.command != number && self.running.iter().any(|running| running.number == stop.command)
            };
            self.waiting.retain(|stop| !is_gone(stop) || waits(stop));
            let ours = self
                .waiting
                .iter()
                .enumerate()
                .filter(|(_, stop)| stop.command == number && asked.is_none_or(|asked| stop.connection == asked));
            if let Some((place, _)) = ours.min_by_key(|(place, stop)| (stop.to, *place)) {
                return self.waiting.remove(place);
            }
            let stop = match asked {
                None => self.world.stops.recv().await?,
                Some(_) => match timeout(UNANSWERED, self.world.stops.recv()).await {
                    Ok(stop) => stop?,
                    // It takes its time.
                    Err(_) => {
                        asked = None;
                        continue;
                    }
                },
            };
            self.waiting.push_back(stop);
        }
    }

    /// One sight of the world by a command: a message is about to go out, or its answer is there.
    async fn sight(&mut self, typed: &Typed, sights: u16, place: &str, number: u64) -> Result<Fate, Ended> {
        self.hear_ours().await?;
        self.relays_write(Pace::Prompt).await?;
        let mut fate = Fate::Passes;
        for meanwhile in typed.meanwhile.iter().filter(|meanwhile| meanwhile.at == sights) {
            self.told.say(format!("  meanwhile, at its sight {place}:"));
            if let Some(running) = self.running.last_mut() {
                running.disturbed = true;
                running.interrupted = true;
                running.cut |= !matches!(meanwhile.what, Interjection::Typed(_));
            }
            match &meanwhile.what {
                Interjection::Killed => return Ok(Fate::Killed),
                Interjection::Cut => {
                    self.told.say("  its connection breaks");
                    fate = Fate::Cut;
                }
                Interjection::Event(event) => {
                    self.ours().await?;
                    self.event(event).await?;
                }
                Interjection::Typed(other) => {
                    self.ours().await?;
                    self.command(other).await?;
                    self.world.gate.is_running(number);
                }
            }
        }
        Ok(fate)
    }
}

/// Where a command is.
fn words_of(stop: &Stop) -> String {
    let to = match stop.to {
        To::Store(store) => STORES.get(store).copied().unwrap_or("?"),
        To::LaunchDarkly => "LaunchDarkly",
    };
    if stop.moment == Moment::Answered { format!("{to} has answered") } else { format!("before {to} is asked") }
}
