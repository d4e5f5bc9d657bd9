//! Following the log of a prefix: `XREAD BLOCK` on a connection of its own, for a second at a time, so that a dead server
//! is noticed. Where that command is forbidden, the end of the log is looked at every second. It knows entries and places;
//! it must not know what they mean.
//!
//! A log can only be followed as long as the entry is there that was seen last: after a flush, a failover to a replica
//! that was behind, or ten thousand entries at once, nobody knows what is missing, and that is said.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::Pipeline;
use redis::ServerError;
use redis::Value;

use crate::store::LogEntry;
use crate::store::StoreError;
use crate::store::following::Following;
use crate::store::following::LogPlace;
use crate::store::following::News;
use crate::store::redis::RedisStore;
use crate::store::redis::connection::Dedicated;
use crate::store::redis::keys::Keys;
use crate::store::redis::refusal::Asked;
use crate::store::redis::refusal::Missing;
use crate::store::redis::refusal::is_unknown_command;
use crate::store::redis::refusal::missing;
use crate::store::redis::scan;

/// How long the server keeps one question.
const BLOCKED_FOR: Duration = Duration::from_millis(1_000);

/// How often the log's end is looked at where it cannot be followed.
const POLL_EVERY: Duration = Duration::from_millis(1_000);

/// The most entries that are taken at once.
const ENTRIES_AT_ONCE: usize = 1_000;

/// The place before every entry.
const BEGINNING: &str = "0-0";

struct Follower {
    connection: Dedicated,
    log: String,
    address: String,
    user: Option<String>,
    /// The newest entry that was seen.
    last: String,
    /// Which server it is, where it says so.
    run: Option<String>,
    /// Whether the log's end has to be looked at, since it cannot be followed.
    polls: bool,
}

impl RedisStore {
    pub(super) async fn open_follower(
        &self,
        prefix: &str,
        from: Option<&LogPlace>,
    ) -> Result<Box<dyn Following>, StoreError> {
        let mut follower = Follower {
            connection: self.connections.dedicated().await?,
            log: Keys::new(prefix).log,
            address: self.shown_address(),
            user: self.connections.username().map(str::to_owned),
            last: String::new(),
            run: None,
            polls: false,
        };
        follower.go_to_the_end().await?;
        if let Some(LogPlace(place)) = from {
            follower.last = place.clone();
        }
        Ok(Box::new(follower))
    }
}

impl Following for Follower {
    fn next(&mut self) -> BoxFuture<'_, Result<News, StoreError>> {
        async move { if self.polls { self.poll().await } else { self.wait().await } }.boxed()
    }

    fn place(&self) -> LogPlace {
        LogPlace(self.last.clone())
    }
}

impl Follower {
    async fn go_to_the_end(&mut self) -> Result<(), StoreError> {
        let mut question = self.server();
        question.cmd("XREVRANGE").arg(&self.log).arg("+").arg("-").arg("COUNT").arg(1);
        let mut values = self.exchange(&question, Duration::ZERO).await?.into_iter();
        self.run = values.next().and_then(run_id);
        let newest = self.entries(values.next(), "xrevrange")?;
        self.last = newest.into_iter().next().map_or_else(|| BEGINNING.to_owned(), |entry| entry.id);
        Ok(())
    }

    /// Lets the server hold the question until there is something.
    async fn wait(&mut self) -> Result<News, StoreError> {
        let mut question = self.server();
        question.cmd("XREVRANGE").arg(&self.log).arg(&self.last).arg(&self.last).arg("COUNT").arg(1);
        question.cmd("XREAD").arg("COUNT").arg(ENTRIES_AT_ONCE);
        question.arg("BLOCK").arg(u64::try_from(BLOCKED_FOR.as_millis()).unwrap_or(u64::MAX));
        question.arg("STREAMS").arg(&self.log).arg(&self.last);
        let mut values = self.exchange(&question, BLOCKED_FOR).await?.into_iter();
        let run = values.next().and_then(run_id);
        let last_is_there = !self.entries(values.next(), "xrevrange")?.is_empty();
        let entries = match values.next() {
            Some(Value::ServerError(error)) if is_only_xread(&error) => {
                self.polls = true;
                return self.poll().await;
            }
            // One stream was asked for: its name and its entries.
            Some(Value::Array(mut streams)) => match streams.pop() {
                Some(Value::Array(mut stream)) => self.entries(stream.pop(), "xread")?,
                _ => Vec::new(),
            },
            other => self.entries(other, "xread")?,
        };
        self.news(run, last_is_there, entries).await
    }

    async fn poll(&mut self) -> Result<News, StoreError> {
        tokio::time::sleep(POLL_EVERY).await;
        let mut question = self.server();
        question.cmd("XREVRANGE").arg(&self.log).arg("+").arg(&self.last).arg("COUNT").arg(ENTRIES_AT_ONCE);
        let mut values = self.exchange(&question, Duration::ZERO).await?.into_iter();
        let run = values.next().and_then(run_id);
        let mut entries = self.entries(values.next(), "xrevrange")?;
        entries.reverse();
        let last_is_there = entries.first().is_some_and(|first| first.id == self.last);
        entries.retain(|entry| entry.id != self.last);
        self.news(run, last_is_there, entries).await
    }

    async fn news(
        &mut self,
        run: Option<String>,
        last_is_there: bool,
        entries: Vec<LogEntry>,
    ) -> Result<News, StoreError> {
        let other_server = run.is_some() && self.run.is_some() && run != self.run;
        if other_server || !(last_is_there || self.last == BEGINNING) {
            // What came has its worth all the same; the end is noted anew before anybody looks.
            self.go_to_the_end().await?;
            return Ok(News { entries: entries.into_iter().flat_map(one_per_flag).collect(), broken: true });
        }
        if let Some(newest) = entries.last() {
            self.last = newest.id.clone();
        }
        Ok(News { entries: entries.into_iter().flat_map(one_per_flag).collect(), broken: false })
    }

    fn server(&self) -> Pipeline {
        let mut question = redis::pipe();
        question.cmd("INFO").arg("server");
        question
    }

    async fn exchange(&mut self, question: &Pipeline, longer: Duration) -> Result<Vec<Value>, StoreError> {
        let within = self.connection.answer_within() + longer;
        let answer = self.connection.exchange_within(question, within).await;
        answer.map_err(|lost| lost.unreachable(self.address.clone()))
    }

    fn entries(&self, value: Option<Value>, command: &str) -> Result<Vec<LogEntry>, StoreError> {
        match value {
            Some(Value::Array(entries)) => Ok(entries.into_iter().filter_map(log_entry).collect()),
            Some(Value::ServerError(error)) => {
                let user = self.user.as_deref();
                Err(Asked { address: &self.address, user, command, key: Some(&self.log) }.refused(&error))
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Whether only this command is not to be had, by rights or by name.
fn is_only_xread(error: &ServerError) -> bool {
    matches!(missing(error), Some(Missing::Command(command)) if command == "xread" || command == "the command")
        || is_unknown_command(error)
}

fn run_id(info: Value) -> Option<String> {
    let Value::BulkString(text) = info else { return None };
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().find_map(|line| line.strip_prefix("run_id:")).map(|run| run.trim().to_owned())
}

pub(super) fn log_entry(value: Value) -> Option<LogEntry> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next()) else { return None };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let fields = scan::pairs(fields).into_iter().map(|(name, value)| (text(name), text(value))).collect();
    Some(LogEntry { id: text(id), fields })
}

/// Flags of one change that share an entry have one each for whoever reads.
pub(super) fn one_per_flag(entry: LogEntry) -> Vec<LogEntry> {
    let flags = entry.fields.get("flag").cloned().unwrap_or_default();
    if !flags.contains(' ') {
        return vec![entry];
    }
    let of = |flag: &str| {
        let mut one = entry.clone();
        one.fields.insert("flag".to_owned(), flag.to_owned());
        one
    };
    flags.split(' ').map(of).collect()
}
