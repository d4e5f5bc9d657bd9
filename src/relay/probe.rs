//! The proof: what does a relay really serve? A connection of our own to the relay's stream, opened like any SDK's before
//! a store is written, shows whether the relay passes the edit on; and afterwards fresh questions show what those get
//! who ask anew. What follows from all that is decided in `verdict`.
//!
//! Looking has one effect: a connection makes the relay load its flags into its cache, so others may wait up to a whole
//! cache time for an edit, which is what they may have to wait anyhow.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::header::ACCEPT;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::header::IF_NONE_MATCH;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::relay::address::RelayAddress;
use crate::relay::client::RelayClient;
use crate::relay::client::RelayError;
use crate::relay::client::Request;
use crate::relay::client::refused;
use crate::relay::event_stream::EventReader;
use crate::relay::event_stream::FlagEvent;
use crate::relay::sdk_key::SdkKey;
use crate::relay::served::Served;

/// How many records of one flag a watch remembers: an edit must be found also where others follow at once.
const HISTORY_MAX: usize = 16;

/// A record, when it came, and whether the connection began with it.
#[derive(Debug, Clone)]
struct Received {
    served: Option<Served>,
    at: Instant,
    /// Sent because we connected, not because something changed.
    at_connecting: bool,
}

#[derive(Debug, Clone, Default)]
struct Progress {
    ready: bool,
    broken: Option<RelayError>,
    flags: BTreeMap<FlagKey, Vec<Received>>,
}

/// Whether a watch stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// Connected, and the relay has said what it serves: what comes from now on is a broadcast.
    Ready,
    /// Not yet.
    NotYet,
    /// It will not be.
    Broken(RelayError),
}

/// What a watch saw of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It came as a broadcast: what every connected SDK got.
    Saw {
        /// From the moment that was asked about; zero if it came before.
        after: Duration,
    },
    /// Our connection began with it: what a new SDK gets, and no proof for others. Also where it began with it before that
    /// moment: a relay's cache may hold the very same record from an earlier edit that was undone since, while SDKs that
    /// connected in between hold another.
    OnConnecting {
        /// From the moment that was asked about.
        after: Duration,
    },
    /// It stands, and has not seen it.
    NotYet {
        /// What it has instead; `None` if the relay does not know the flag.
        still: Option<Served>,
    },
    /// It never stood, or broke.
    Broken {
        /// Why; [`RelayError::TimedOut`] where it was still waiting for the relay.
        why: RelayError,
    },
}

/// A connection to a relay's stream, read in the background for as long as this value lives.
#[derive(Debug)]
pub struct Watch {
    relay: String,
    opened: Instant,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Opens a connection and returns at once. Only `flags` are kept of what comes. `filter`: the key of a payload filter.
    /// Must be called within a tokio runtime.
    pub fn open(
        client: &RelayClient,
        relay: &RelayAddress,
        key: &SdkKey,
        filter: Option<&str>,
        flags: &[FlagKey],
    ) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        let label = relay.label().to_owned();
        let reading = Reading {
            client: client.clone(),
            relay: relay.clone(),
            key: key.clone(),
            filter: filter.map(str::to_owned),
        };
        let flags = flags.to_vec();
        let task = tokio::spawn(async move {
            let why = reading.follow(&flags, &sender).await;
            sender.send_modify(|progress| progress.broken = Some(why));
        });
        Self { relay: label, opened: Instant::now(), progress, task }
    }

    /// Waits until the connection stands, at most so long.
    pub async fn ready(&self, at_most: Duration) -> Readiness {
        let mut progress = self.progress.clone();
        let waited = progress.wait_for(|progress| progress.ready || progress.broken.is_some());
        // The guard must not outlive this statement: the reader could not go on.
        let _ = tokio::time::timeout(at_most, waited).await.map(drop);
        let progress = self.progress.borrow();
        match &progress.broken {
            Some(why) => Readiness::Broken(why.clone()),
            None if progress.ready => Readiness::Ready,
            None => Readiness::NotYet,
        }
    }

    /// Waits until a record of `flag` comes that `is_it` recognises, at most so long. `since`: from when time is
    /// counted, as a rule the store's answer.
    pub async fn saw(
        &self,
        flag: &FlagKey,
        since: Instant,
        at_most: Duration,
        is_it: impl Fn(&Served) -> bool,
    ) -> Sight {
        let find = |progress: &Progress| -> Option<Sight> {
            let all = progress.flags.get(flag)?;
            let matching = || all.iter().filter(|received| received.served.as_ref().is_some_and(&is_it));
            let broadcast = matching().find(|received| !received.at_connecting);
            let it = broadcast.or_else(|| matching().next())?;
            let after = it.at.saturating_duration_since(since);
            Some(if it.at_connecting { Sight::OnConnecting { after } } else { Sight::Saw { after } })
        };
        let mut progress = self.progress.clone();
        // What it began with may yet be followed by the broadcast.
        let seen = |progress: &Progress| matches!(find(progress), Some(Sight::Saw { .. }));
        let waited = progress.wait_for(|progress| seen(progress) || progress.broken.is_some());
        let _ = tokio::time::timeout(at_most, waited).await.map(drop);
        let progress = self.progress.borrow();
        if let Some(sight) = find(&progress) {
            return sight;
        }
        match &progress.broken {
            Some(why) => Sight::Broken { why: why.clone() },
            None if progress.ready => Sight::NotYet { still: newest(&progress, flag) },
            None => {
                Sight::Broken { why: RelayError::TimedOut { relay: self.relay.clone(), after: self.opened.elapsed() } }
            }
        }
    }

    /// What the connection has of a flag now: `None` before it stands, `Some(None)` if the relay does not know the flag.
    pub fn has(&self, flag: &FlagKey) -> Option<Option<Served>> {
        let progress = self.progress.borrow();
        progress.ready.then(|| newest(&progress, flag))
    }
}

fn newest(progress: &Progress, flag: &FlagKey) -> Option<Served> {
    progress.flags.get(flag)?.last()?.served.clone().filter(|served| !served.deleted)
}

/// What the background task needs.
struct Reading {
    client: RelayClient,
    relay: RelayAddress,
    key: SdkKey,
    filter: Option<String>,
}

impl Reading {
    /// Reads until the connection ends, and says why it did.
    async fn follow(&self, flags: &[FlagKey], sender: &watch::Sender<Progress>) -> RelayError {
        let response = match self.connect().await {
            Ok(response) => response,
            Err(error) => return error,
        };
        let mut reader = EventReader::new(flags);
        let mut stream = response.bytes_stream();
        loop {
            let silence = self.client.deadlines.silence;
            let piece = match tokio::time::timeout(silence, stream.next()).await {
                Err(_) => return self.broken_off(format!("it was silent for {} s", silence.as_secs())),
                Ok(None) => return self.broken_off("it ended the stream".to_owned()),
                Ok(Some(Err(error))) => return self.client.broken_off(&self.relay, &error),
                Ok(Some(Ok(piece))) => piece,
            };
            let at = Instant::now();
            match reader.push(&piece) {
                Err(problem) => {
                    let relay = self.relay.label().to_owned();
                    return RelayError::NotUnderstood { relay, expected: "a stream of flags", problem };
                }
                Ok(events) if events.is_empty() => {}
                Ok(events) => sender.send_modify(|progress| {
                    for event in events {
                        note(progress, event, flags, at);
                    }
                }),
            }
        }
    }

    async fn connect(&self) -> Result<Response, RelayError> {
        let mut url = self.relay.endpoint(&["all"]);
        if let Some(filter) = &self.filter {
            url.query_pairs_mut().append_pair("filter", filter);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let request = Request { relay: &self.relay, url, key: Some(&self.key), headers };
        let response = self.client.ask(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&self.relay, response.status()));
        }
        Ok(response)
    }

    fn broken_off(&self, problem: String) -> RelayError {
        RelayError::BrokenOff { relay: self.relay.label().to_owned(), problem }
    }
}

fn note(progress: &mut Progress, event: FlagEvent, flags: &[FlagKey], at: Instant) {
    match event {
        // A put replaces all, whatever the versions.
        FlagEvent::Put(mut found) => {
            let at_connecting = !progress.ready;
            for flag in flags {
                remember(progress, flag, Received { served: found.remove(flag), at, at_connecting });
            }
            progress.ready = true;
        }
        // An SDK takes a patch only if its version is higher (launchdarkly.md 15), so that is what we have, too.
        FlagEvent::Patch(flag, served) => {
            let held = progress.flags.get(&flag).and_then(|all| all.last()?.served.as_ref()).map(|held| held.version);
            if held.is_none_or(|held| served.version > held) {
                remember(progress, &flag, Received { served: Some(served), at, at_connecting: false });
            }
        }
    }
}

fn remember(progress: &mut Progress, flag: &FlagKey, received: Received) {
    let all = progress.flags.entry(flag.clone()).or_default();
    if all.len() >= HISTORY_MAX {
        all.remove(0);
    }
    all.push(received);
}

/// What a relay answers to those who ask anew.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// What a new connection to the stream begins with; `None` if the relay does not know the flag.
    pub connected: Result<Option<Served>, RelayError>,
    /// What `GET /sdk/flags/{key}` answers, by which PHP asks.
    pub polled: Result<Polled, RelayError>,
}

/// An answer of `GET /sdk/flags/{key}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// The record; `None` if the relay does not know the flag.
    pub served: Option<Served>,
    /// Whether somebody who holds the version that was asked about is told that nothing changed (304). The relay
    /// compares versions only.
    pub unchanged: Option<bool>,
}

impl RelayClient {
    /// Asks a relay anew for a flag, in both ways at once. `held`: the version that somebody may still hold, to ask whether
    /// he would be told of a change. Takes at most the deadline of an answer and `at_most` for the stream's beginning.
    pub async fn fresh(
        &self,
        relay: &RelayAddress,
        key: &SdkKey,
        filter: Option<&str>,
        flag: &FlagKey,
        held: Option<u64>,
        at_most: Duration,
    ) -> Fresh {
        let connected = async {
            let watch = Watch::open(self, relay, key, filter, std::slice::from_ref(flag));
            match watch.ready(at_most).await {
                Readiness::Ready => Ok(watch.has(flag).flatten()),
                Readiness::Broken(why) => Err(why),
                // A relay whose store is empty accepts connections and says nothing (launchdarkly.md 9.1).
                Readiness::NotYet => Err(RelayError::TimedOut { relay: relay.label().to_owned(), after: at_most }),
            }
        };
        let (connected, polled) = futures_util::join!(connected, self.poll(relay, key, filter, flag, held));
        Fresh { connected, polled }
    }

    /// Asks for one flag the way PHP does.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn poll(
        &self,
        relay: &RelayAddress,
        key: &SdkKey,
        filter: Option<&str>,
        flag: &FlagKey,
        held: Option<u64>,
    ) -> Result<Polled, RelayError> {
        let response = self.ask(poll_request(relay, key, filter, flag, HeaderMap::new())).await?;
        let served = if response.status() == StatusCode::NOT_FOUND {
            None
        } else {
            let bytes = self.body(relay, response, RECORD_LENGTH_MAX).await?;
            let served = Served::parse(&bytes).map_err(|problem| RelayError::NotUnderstood {
                relay: relay.label().to_owned(),
                expected: "a flag",
                problem,
            })?;
            Some(served)
        };
        let Some(held) = held else { return Ok(Polled { served, unchanged: None }) };
        let mut headers = HeaderMap::new();
        // The relay's own form of an ETag, without quotes (relay_endpoints.go, writeCacheableJSONResponse).
        if let Ok(tag) = HeaderValue::from_str(&format!("relay-{held}")) {
            headers.insert(IF_NONE_MATCH, tag);
        }
        let response = self.ask(poll_request(relay, key, filter, flag, headers)).await?;
        Ok(Polled { served, unchanged: Some(response.status() == StatusCode::NOT_MODIFIED) })
    }
}

fn poll_request<'a>(
    relay: &'a RelayAddress,
    key: &'a SdkKey,
    filter: Option<&str>,
    flag: &FlagKey,
    headers: HeaderMap,
) -> Request<'a> {
    let mut url = relay.endpoint(&["sdk", "flags", flag.as_str()]);
    if let Some(filter) = filter {
        url.query_pairs_mut().append_pair("filter", filter);
    }
    Request { relay, url, key: Some(key), headers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_changes_without_end_is_remembered_within_limits() {
        let flag: FlagKey = "a".parse().unwrap();
        let flags = [flag.clone()];
        let mut progress = Progress::default();
        let at = Instant::now();
        note(&mut progress, FlagEvent::Put(BTreeMap::new()), &flags, at);
        assert!(progress.ready);
        for version in (0..1000).chain(0..10) {
            let served = Served { version, deleted: false, text: String::new() };
            note(&mut progress, FlagEvent::Patch(flag.clone(), served), &flags, at);
        }
        let versions: Vec<u64> =
            progress.flags[&flag].iter().filter_map(|received| received.served.as_ref()).map(|it| it.version).collect();
        assert_eq!(versions, (984..1000).collect::<Vec<_>>());
    }

    /// Whoever watches many relays does so in tasks.
    #[test]
    fn watching_can_be_done_in_a_task() {
        fn in_a_task<T: Send>(_: impl FnOnce(Watch, RelayClient, RelayAddress, SdkKey) -> T) {}
        in_a_task(|watch, client, relay, key| async move {
            let flag: FlagKey = "a".parse().unwrap();
            watch.ready(Duration::ZERO).await;
            watch.saw(&flag, Instant::now(), Duration::ZERO, |_| true).await;
            client.fresh(&relay, &key, None, &flag, None, Duration::ZERO).await.connected.is_ok()
        });
    }
}
