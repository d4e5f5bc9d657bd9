//! The streams that are open, and the queues before them. A queue has a limit: whoever reads too slowly for it is dropped,
//! as LaunchDarkly would. Must not know what is sent.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::drill::launchdarkly::listener::line::Fate;
use crate::drill::launchdarkly::listener::line::Line;

/// How many events may wait for one stream.
const EVENTS_MAX: usize = 1_024;

/// How many bytes may wait for one stream; one event may always.
const BYTES_MAX: usize = 32 * 1_024 * 1_024;

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Flags and segments of an environment, or of the part of it that a payload filter names.
    Environment { project: String, environment: String, filter: Option<String> },
    /// Environments and payload filters, for the relays that have this key.
    Configuration { key: String },
    /// Members of the big segments of an environment.
    BigSegments { project: String, environment: String },
}

impl Feed {
    /// Where it is served.
    pub fn path(&self) -> &'static str {
        match self {
            Feed::Environment { .. } => "/all",
            Feed::Configuration { .. } => "/relay_auto_config",
            Feed::BigSegments { .. } => "/big-segments",
        }
    }

    fn place(&self) -> (String, Option<String>) {
        match self {
            Feed::Environment { project, environment, filter } => (format!("{project}/{environment}"), filter.clone()),
            Feed::BigSegments { project, environment } => (format!("{project}/{environment}"), None),
            Feed::Configuration { .. } => (String::new(), None),
        }
    }
}

/// How many streams of one kind are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenStreams {
    /// `/all`, `/relay_auto_config` or `/big-segments`.
    pub path: &'static str,
    /// `project/environment`; empty for automatic configuration.
    pub environment: String,
    /// The payload filter that was asked for.
    pub filter: Option<String>,
    /// How many.
    pub streams: usize,
}

/// The sending end of a stream.
#[derive(Debug)]
struct Subscriber {
    number: u64,
    /// The key by which it was opened.
    credential: String,
    events: mpsc::Sender<Bytes>,
    bytes: Arc<AtomicUsize>,
    line: Arc<Line>,
}

impl Subscriber {
    /// Puts the event into the queue; says whether there was room.
    fn take(&self, event: &Bytes) -> bool {
        let waiting = self.bytes.load(Ordering::Acquire);
        if waiting > 0 && waiting.saturating_add(event.len()) > BYTES_MAX {
            return false;
        }
        self.bytes.fetch_add(event.len(), Ordering::AcqRel);
        match self.events.try_send(event.clone()) {
            Ok(()) => true,
            // A silent stream takes nothing more and stays.
            Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }
}

/// The receiving end of a stream.
#[derive(Debug)]
pub struct Queue {
    pub number: u64,
    events: mpsc::Receiver<Bytes>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// The next event; none once the stream is to end.
    pub async fn next(&mut self) -> Option<Bytes> {
        let event = self.events.recv().await?;
        self.bytes.fetch_sub(event.len(), Ordering::AcqRel);
        Some(event)
    }

    /// Takes nothing more.
    pub fn close(&mut self) {
        self.events.close();
        while self.events.try_recv().is_ok() {}
    }
}

/// All streams that are open.
#[derive(Debug, Default)]
pub struct Subscribers {
    open: HashMap<Feed, Vec<Subscriber>>,
    next_number: u64,
    /// How many were dropped, since they read too slowly.
    pub dropped: u64,
}

impl Subscribers {
    /// One more.
    pub fn add(&mut self, feed: &Feed, credential: &str, line: Arc<Line>) -> Queue {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let number = self.next_number;
        self.next_number += 1;
        let bytes = Arc::new(AtomicUsize::new(0));
        let credential = credential.to_owned();
        let subscriber = Subscriber { number, credential, events: sender, bytes: Arc::clone(&bytes), line };
        self.open.entry(feed.clone()).or_default().push(subscriber);
        Queue { number, events, bytes }
    }

    /// One less.
    pub fn remove(&mut self, feed: &Feed, number: u64) {
        self.retain(feed, |subscriber| subscriber.number != number);
    }

    fn retain(&mut self, feed: &Feed, keep: impl FnMut(&Subscriber) -> bool) {
        if let Some(subscribers) = self.open.get_mut(feed) {
            subscribers.retain(keep);
            if subscribers.is_empty() {
                self.open.remove(feed);
            }
        }
    }

    pub fn feeds(&self) -> Vec<Feed> {
        self.open.keys().cloned().collect()
    }

    /// Sends an event to all streams of the feed.
    pub fn send(&mut self, feed: &Feed, event: &Bytes) {
        let mut dropped = 0;
        self.retain(feed, |subscriber| {
            let taken = subscriber.take(event);
            if !taken {
                subscriber.line.seal(Fate::Closed);
                dropped += 1;
            }
            taken
        });
        self.dropped += dropped;
    }

    /// Ends the streams that do not go on: what waits for them is sent, and then they end.
    pub fn end(&mut self, goes_on: impl Fn(&Feed, &str) -> bool) {
        self.open.retain(|feed, subscribers| {
            subscribers.retain(|subscriber| goes_on(feed, &subscriber.credential));
            !subscribers.is_empty()
        });
    }

    /// How many are open, by what they carry.
    pub fn list(&self) -> Vec<OpenStreams> {
        let mut counts: BTreeMap<_, usize> = BTreeMap::new();
        for (feed, subscribers) in &self.open {
            *counts.entry((feed.path(), feed.place())).or_default() += subscribers.len();
        }
        let shown = counts.into_iter().map(|((path, (environment, filter)), streams)| OpenStreams {
            path,
            environment,
            filter,
            streams,
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::launchdarkly::listener::line::Lines;

    fn feed() -> Feed {
        Feed::BigSegments { project: "shop".to_owned(), environment: "production".to_owned() }
    }

    #[tokio::test]
    async fn in_order_to_all_and_the_slow_are_dropped() {
        let lines = Arc::new(Lines::default());
        let (quick_line, slow_line) = (lines.open(), lines.open());
        let mut subscribers = Subscribers::default();
        let mut quick = subscribers.add(&feed(), "sdk-1", Arc::clone(&quick_line.line));
        let _slow = subscribers.add(&feed(), "sdk-1", Arc::clone(&slow_line.line));
        for number in 0..=EVENTS_MAX {
            let event = Bytes::from(number.to_string());
            subscribers.send(&feed(), &event);
            assert_eq!(quick.next().await, Some(event));
        }
        assert_eq!((subscribers.dropped, subscribers.list()[0].streams), (1, 1));
        assert_eq!(*slow_line.line.fate().borrow(), Fate::Closed);
        assert_eq!(*quick_line.line.fate().borrow(), Fate::Open);
    }

    #[tokio::test]
    async fn bytes_are_limited_too_but_one_event_may_always_wait() {
        let lines = Arc::new(Lines::default());
        let open = lines.open();
        let mut subscribers = Subscribers::default();
        let mut queue = subscribers.add(&feed(), "sdk-1", Arc::clone(&open.line));
        let large = Bytes::from(vec![b'x'; BYTES_MAX + 1]);
        subscribers.send(&feed(), &large);
        assert!(queue.next().await.is_some());
        subscribers.send(&feed(), &large);
        subscribers.send(&feed(), &Bytes::from_static(b"y"));
        assert_eq!(subscribers.dropped, 1);
    }

    #[tokio::test]
    async fn ended_streams_get_what_waits_and_silent_ones_stay() {
        let lines = Arc::new(Lines::default());
        let open = lines.open();
        let mut subscribers = Subscribers::default();
        let mut ending = subscribers.add(&feed(), "sdk-old", Arc::clone(&open.line));
        let mut silent = subscribers.add(&feed(), "sdk-new", Arc::clone(&open.line));
        silent.close();
        subscribers.send(&feed(), &Bytes::from_static(b"last"));
        subscribers.end(|_, credential| credential == "sdk-new");
        assert_eq!(ending.next().await, Some(Bytes::from_static(b"last")));
        assert_eq!(ending.next().await, None);
        assert_eq!(subscribers.list()[0].streams, 1);
        subscribers.remove(&feed(), silent.number);
        assert!(subscribers.list().is_empty());
    }
}
