//! An SSE client for tests: reads what the simulated LaunchDarkly's stream sends, event by event, each with a deadline.

use std::time::Duration;

use relay_commander::drill::launchdarkly::Wanted;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::time::timeout;

use super::support::Shop;

/// Longer than anything takes here.
pub const LONG: Duration = Duration::from_secs(20);

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub name: String,
    pub text: String,
}

impl Event {
    /// Its data.
    #[track_caller]
    pub fn data(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// An open stream.
pub struct Stream {
    response: reqwest::Response,
    /// What came and is not an event yet.
    pending: String,
    /// So far there is no end of an event in it.
    searched: usize,
    pub comments: usize,
}

impl Stream {
    /// Opens a stream that must be granted.
    pub async fn open(shop: &Shop, path: &str, key: &str) -> Self {
        Self::at(shop, &format!("{}{path}", shop.running.stream_url), key).await
    }

    /// As [`Stream::open`], wherever it is.
    pub async fn at(shop: &Shop, url: &str, key: &str) -> Self {
        let request = shop.client.get(url).header("authorization", key).timeout(Duration::from_secs(120));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, pending: String::new(), searched: 0, comments: 0 }
    }

    /// The next event; `None` where the stream ends, in order or not.
    pub async fn next(&mut self) -> Option<Event> {
        timeout(LONG, self.read()).await.expect("no event in time")
    }

    /// The next event, which must come.
    pub async fn event(&mut self) -> Event {
        self.next().await.expect("the stream ended")
    }

    /// Whether nothing at all comes for so long.
    pub async fn is_silent_for(&mut self, duration: Duration) -> bool {
        let before = self.comments;
        timeout(duration, self.read()).await.is_err() && self.comments == before
    }

    /// Waits for a comment.
    pub async fn comment(&mut self) {
        let before = self.comments;
        let came = timeout(LONG, async {
            while self.comments == before {
                assert!(self.take_block().is_none(), "an event instead of a comment");
                assert!(self.more().await, "the stream ended");
                self.take_comments();
            }
        });
        came.await.expect("no comment in time");
    }

    /// What came of an event that is not whole.
    pub fn torn(&self) -> &str {
        &self.pending
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            self.take_comments();
            if let Some(event) = self.take_block() {
                return Some(event);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        match self.response.chunk().await {
            Ok(Some(piece)) => {
                self.pending.push_str(std::str::from_utf8(&piece).unwrap());
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    fn take_comments(&mut self) {
        while let Some(rest) = self.pending.strip_prefix(":\n\n") {
            self.comments += 1;
            self.pending = rest.to_owned();
        }
    }

    fn take_block(&mut self) -> Option<Event> {
        let Some(end) = self.pending[self.searched..].find("\n\n").map(|place| self.searched + place) else {
            self.searched = self.pending.floor_char_boundary(self.pending.len().saturating_sub(1));
            return None;
        };
        self.searched = 0;
        let (block, rest) = (&self.pending[..end], &self.pending[end + 2..]);
        let (first, second) = block.split_once('\n').unwrap();
        let event = Event {
            name: first.strip_prefix("event: ").unwrap().to_owned(),
            text: second.strip_prefix("data: ").unwrap().to_owned(),
        };
        self.pending = rest.to_owned();
        Some(event)
    }
}

/// Asks the stream's listener.
pub async fn ask(shop: &Shop, path: &str, key: &str) -> reqwest::Response {
    try_to_ask(shop, path, key).await.unwrap()
}

/// As [`ask`], where it may fail.
pub async fn try_to_ask(shop: &Shop, path: &str, key: &str) -> Result<reqwest::Response, reqwest::Error> {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", key.parse().unwrap());
    shop.client.get(format!("{}{path}", shop.running.stream_url)).headers(headers).send().await
}

/// Waits until so many streams are open.
pub async fn streams_open(shop: &Shop, path: &str, number: usize) {
    shop.control().wait_for_streams(Some(path), Wanted::exactly(number), LONG).await.unwrap();
}
