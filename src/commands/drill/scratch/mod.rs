//! A prefix of the operator's own Redis, taken for one rehearsal and given back. It takes none that holds data which no
//! rehearsal wrote; everything it writes is under a mark of its own (`mark`), so that what a killed rehearsal left is found
//! by the next one and by nobody else; and no other key is ever written.
//!
//! A running rehearsal renews a key that expires: by that, two at once keep apart, and a dead one is known.

mod mark;

use std::time::Duration;

use jiff::Timestamp;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::raw::Keys;
use super::raw::RawStore;
use super::your_redis::YourRedis;
use crate::error::Failure;
use crate::error::Kind;
use crate::ui::harmless::harmless;
use crate::ui::words::list_some;
use mark::Found;
use mark::Mark;
use mark::ScratchKeys;
use mark::judge;

/// The prefix where none is given.
pub const PREFIX: &str = "rc-drill";

/// The sign of life expires after this, and is renewed more often.
const ALIVE: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(4);

/// How many keys one step of a look at all keys sees, and how long the whole look may take.
const SCAN_STEP: usize = 2_000;
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// How often it is tried to take a prefix that somebody else takes at the same moment, and to clear it.
const ATTEMPTS_MAX: u32 = 10;

/// How long writes that were on their way when a rehearsal ended may take to arrive.
const SETTLES: Duration = Duration::from_millis(50);

/// How long clearing may take.
const CLEAR_WITHIN: Duration = Duration::from_secs(15);

/// The most keys that a refusal names.
const SHOWN_MAX: usize = 4;

/// A prefix that is ours for as long as the rehearsal lasts.
#[derive(Debug)]
pub struct Scratch {
    redis: YourRedis,
    prefix: String,
    keys: ScratchKeys,
    /// The exact text of our mark.
    mark: String,
    /// What had been left there, and is gone now.
    pub leavings: Option<String>,
    renewing: JoinHandle<()>,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Scratch {
    /// The Redis.
    pub fn redis(&self) -> &YourRedis {
        &self.redis
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The keys there, by a connection of one's own.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn raw(&self) -> Result<RawStore, Failure> {
        Ok(RawStore::Redis(self.redis.connect().await?, Box::new(Keys::of(&self.prefix))))
    }

    /// Gives the prefix back: removes all that a rehearsal writes, and the mark last. Nothing of the rehearsal may write any
    /// more, but for what is on its way.
    ///
    /// # Errors
    /// Where that cannot be done: what is left, and what removes it.
    pub async fn clear(&self) -> Result<(), Failure> {
        self.renewing.abort();
        let cleared = match timeout(CLEAR_WITHIN, self.cleared()).await {
            Ok(cleared) => cleared,
            Err(_) => {
                let told = format!("{} did not answer within {} s", self.redis.shown(), CLEAR_WITHIN.as_secs());
                Err(Failure::new(Kind::Unreachable, told))
            }
        };
        let way_out = "A later rehearsal there removes it:  the same rc drill again";
        let what = format!(
            "what the rehearsal wrote below {} in {} is not removed",
            harmless(&self.prefix),
            self.redis.shown()
        );
        cleared.map_err(|failure| failure.while_doing(what).hint(way_out))
    }

    async fn cleared(&self) -> Result<(), Failure> {
        let mut connection = self.redis.connect().await?;
        let failed = |error| self.redis.failed(&error);
        for _ in 0..ATTEMPTS_MAX {
            self.remove(&mut connection, &self.keys.rest).await?;
            // A command that was sent a moment before the end may still arrive.
            sleep(SETTLES).await;
            let left: u32 = connection.exists(&self.keys.rest).await.map_err(failed)?;
            if left == 0 {
                let last = [self.keys.mark.clone(), self.keys.alive.clone()];
                return self.remove(&mut connection, &last).await;
            }
        }
        Err(Failure::new(Kind::Other, "somebody goes on writing there"))
    }

    /// Removes these keys, if the mark is still ours.
    async fn remove(&self, connection: &mut MultiplexedConnection, keys: &[String]) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS_MAX {
            let removed = remove_if(connection, &self.keys.mark, &self.mark, keys).await;
            match removed.map_err(|error| self.redis.failed(&error))? {
                Removed::Yes => return Ok(()),
                Removed::NotOurs => return Err(Failure::refused("the mark of the rehearsal is gone or another's")),
                Removed::Again => {}
            }
        }
        Err(Failure::new(Kind::Other, "the mark of the rehearsal changes all the time"))
    }
}

enum Removed {
    Yes,
    /// The mark is not the one that was expected.
    NotOurs,
    /// It changed in between.
    Again,
}

/// Removes `keys` in one step, if `mark` has this text.
async fn remove_if(
    connection: &mut MultiplexedConnection,
    mark: &str,
    text: &str,
    keys: &[String],
) -> redis::RedisResult<Removed> {
    let () = redis::cmd("WATCH").arg(mark).query_async(connection).await?;
    let held: Option<String> = connection.get(mark).await?;
    if held.as_deref() != Some(text) {
        let () = redis::cmd("UNWATCH").query_async(connection).await?;
        return Ok(Removed::NotOurs);
    }
    let mut removal = redis::pipe();
    removal.atomic().del(keys).ignore();
    let removed: Option<()> = removal.query_async(connection).await?;
    Ok(if removed.is_some() { Removed::Yes } else { Removed::Again })
}

/// Shows for as long as it runs that the rehearsal lives.
async fn renew(redis: YourRedis, alive: String, id: String) {
    let mut connection: Option<MultiplexedConnection> = None;
    loop {
        sleep(RENEWED).await;
        if connection.is_none() {
            connection = redis.connect().await.ok();
        }
        let Some(used) = &mut connection else { continue };
        let sign = used.pset_ex::<_, _, ()>(&alive, &id, milliseconds(ALIVE));
        // A connection that failed is made anew; a sign that is missing for a while is not missed.
        if !matches!(timeout(RENEWED, sign).await, Ok(Ok(()))) {
            connection = None;
        }
    }
}

fn milliseconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// A prefix that is wanted.
#[derive(Debug)]
pub struct Claim {
    redis: YourRedis,
    prefix: String,
    keys: ScratchKeys,
    /// The exact text of our mark.
    text: String,
    id: String,
}

impl Claim {
    /// For somebody on some machine. Connects to nothing yet.
    ///
    /// # Errors
    /// Never in practice: the mark is plain data.
    pub fn new(redis: &YourRedis, prefix: &str, user: &str, host: &str) -> Result<Self, Failure> {
        let mark = Mark::new(user, host, Timestamp::now());
        let text = serde_json::to_string(&mark).map_err(|error| Failure::new(Kind::Other, error.to_string()))?;
        let keys = ScratchKeys::of(prefix);
        Ok(Self { redis: redis.clone(), prefix: prefix.to_owned(), keys, text, id: mark.id.to_string() })
    }

    /// Takes the prefix, and clears what a dead rehearsal left there.
    ///
    /// # Errors
    /// Where data lies there that no rehearsal wrote, where another rehearsal runs there, where Redis does not answer or
    /// does not permit it.
    pub async fn take(&self) -> Result<Scratch, Failure> {
        let mut connection = self.redis.connect().await?;
        match self.attempts(&mut connection).await {
            Ok(cleared) => Ok(Scratch {
                redis: self.redis.clone(),
                prefix: self.prefix.clone(),
                keys: self.keys.clone(),
                mark: self.text.clone(),
                leavings: cleared.map(|mark| mark.told(Timestamp::now())),
                renewing: tokio::spawn(renew(self.redis.clone(), self.keys.alive.clone(), self.id.clone())),
            }),
            Err(failure) => {
                // It may have failed behind the mark. What went wrong first is what is told.
                let _ = self.give_back().await;
                Err(failure)
            }
        }
    }

    /// Takes the prefix, and says what was cleared.
    async fn attempts(&self, connection: &mut MultiplexedConnection) -> Result<Option<Mark>, Failure> {
        for _ in 0..ATTEMPTS_MAX {
            if let Some(cleared) = self.attempt(connection).await? {
                return Ok(cleared);
            }
        }
        Err(self.refused("it finds no rest: others take it too"))
    }

    /// Gives up in the middle of [`Claim::take`]: if the mark is ours already, it goes again.
    ///
    /// # Errors
    /// Where Redis does not answer.
    pub async fn give_back(&self) -> Result<(), Failure> {
        // The mark may still be on its way.
        sleep(SETTLES).await;
        let ours = [self.keys.mark.clone(), self.keys.alive.clone()];
        let mut connection = self.redis.connect().await?;
        let removed = timeout(CLEAR_WITHIN, remove_if(&mut connection, &self.keys.mark, &self.text, &ours)).await;
        match removed {
            Ok(removed) => removed.map(drop).map_err(|error| self.redis.failed(&error)),
            Err(_) => Err(Failure::new(Kind::Unreachable, format!("{} does not answer", self.redis.shown()))),
        }
    }

    /// Takes the prefix: `Some`, with what was cleared; `None`: somebody was there at the same moment.
    async fn attempt(&self, connection: &mut MultiplexedConnection) -> Result<Option<Option<Mark>>, Failure> {
        let failed = |error| self.redis.failed(&error);
        let names = self.names(connection).await?;
        let mark = text_of(connection, &self.keys.mark).await.map_err(failed)?;
        let alive = connection.exists(&self.keys.alive).await.map_err(failed)?;
        match judge(&self.keys, &names, mark.as_deref(), alive) {
            Found::Nothing => self.take_empty(connection).await.map(|taken| taken.then_some(None)),
            Found::Leavings(left) => {
                let taken = self.take_over(connection, mark.as_deref().unwrap_or_default()).await.map_err(failed)?;
                Ok(taken.then_some(Some(left)))
            }
            Found::Running(other) => Err(self
                .refused("another rehearsal runs there")
                .cause(format!("of {}", harmless(&other.told(Timestamp::now()))))
                .hint(format!(
                    "If it was killed, it counts as running for {} s. Another prefix: --prefix P",
                    ALIVE.as_secs()
                ))),
            Found::Foreign(names) => Err(self.foreign(&names)),
        }
    }

    async fn take_empty(&self, connection: &mut MultiplexedConnection) -> Result<bool, Failure> {
        let failed = |error| self.redis.failed(&error);
        if !connection.set_nx(&self.keys.mark, &self.text).await.map_err(failed)? {
            return Ok(false);
        }
        let () = connection.pset_ex(&self.keys.alive, &self.id, milliseconds(ALIVE)).await.map_err(failed)?;
        // Whoever wrote there since the first look is found now, or comes after the mark.
        let names = self.names(connection).await?;
        let others: Vec<String> =
            names.into_iter().filter(|name| *name != self.keys.mark && *name != self.keys.alive).collect();
        if others.is_empty() {
            return Ok(true);
        }
        let ours = [self.keys.mark.clone(), self.keys.alive.clone()];
        remove_if(connection, &self.keys.mark, &self.text, &ours).await.map_err(failed)?;
        Err(self.foreign(&others))
    }

    /// Puts our mark in the place of the dead one's, and clears what that one left, in one step.
    async fn take_over(&self, connection: &mut MultiplexedConnection, dead: &str) -> redis::RedisResult<bool> {
        let () = redis::cmd("WATCH").arg(&self.keys.mark).arg(&self.keys.alive).query_async(connection).await?;
        let held: Option<String> = connection.get(&self.keys.mark).await?;
        let alive: bool = connection.exists(&self.keys.alive).await?;
        if alive || held.as_deref() != Some(dead) {
            let () = redis::cmd("UNWATCH").query_async(connection).await?;
            return Ok(false);
        }
        let mut taking = redis::pipe();
        taking.atomic();
        taking.del(&self.keys.rest).ignore();
        taking.set(&self.keys.mark, &self.text).ignore();
        taking.pset_ex(&self.keys.alive, &self.id, milliseconds(ALIVE)).ignore();
        let taken: Option<()> = taking.query_async(connection).await?;
        Ok(taken.is_some())
    }

    /// The keys below the prefix; not all of them where there are many.
    async fn names(&self, connection: &mut MultiplexedConnection) -> Result<Vec<String>, Failure> {
        let until = Instant::now() + LOOK_WITHIN;
        let pattern = format!("{}:*", escaped(&self.prefix));
        let (mut cursor, mut names) = (0_u64, Vec::new());
        loop {
            let mut step = redis::cmd("SCAN");
            step.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_STEP);
            let answer = timeout(until.saturating_duration_since(Instant::now()), step.query_async(connection)).await;
            let answer: (u64, Vec<Vec<u8>>) = match answer {
                Ok(answer) => answer.map_err(|error| self.redis.failed(&error))?,
                Err(_) => {
                    let told = format!(
                        "{} has too many keys to look at within {} s",
                        self.redis.shown(),
                        LOOK_WITHIN.as_secs()
                    );
                    return Err(Failure::new(Kind::Unreachable, told)
                        .hint("Nothing was written. Another database may be emptier: redis://HOST:PORT/DB"));
                }
            };
            names.extend(answer.1.iter().map(|name| String::from_utf8_lossy(name).into_owned()));
            cursor = answer.0;
            // More than a rehearsal ever writes: what the others are called does not matter.
            if cursor == 0 || names.len() > 2 * self.keys.rest.len() {
                names.sort();
                names.dedup();
                return Ok(names);
            }
        }
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::refused(format!("{} in {}: {why}", harmless(&self.prefix), self.redis.shown()))
    }

    fn foreign(&self, names: &[String]) -> Failure {
        let names: Vec<String> = names.iter().map(|name| harmless(name).into_owned()).collect();
        self.refused("this prefix holds data that no rehearsal wrote")
            .cause(list_some(&names, SHOWN_MAX))
            .hint("Nothing was written. Give a prefix that is not used: --prefix rc-drill")
    }
}

/// The text of a key; none where there is none, or something that is no text.
async fn text_of(connection: &mut MultiplexedConnection, key: &str) -> redis::RedisResult<Option<String>> {
    match connection.get(key).await {
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
        answer => answer,
    }
}

/// The prefix as a pattern that fits it alone.
fn escaped(prefix: &str) -> String {
    prefix.chars().fold(String::new(), |mut pattern, character| {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
        pattern
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_as_a_pattern() {
        assert_eq!(escaped("rc-drill"), "rc\\-drill");
        assert_eq!(escaped("a*[b]\\"), "a\\*\\[b\\]\\\\");
    }
}
