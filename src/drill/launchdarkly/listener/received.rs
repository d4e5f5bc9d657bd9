//! What arrived, for assertions: method, path, headers without secrets, body, and how it was answered. The oldest are
//! forgotten first.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::drill::launchdarkly::shared::locked;

/// How many requests are kept.
const REQUESTS_MAX: usize = 10_000;

/// How much of a body is kept, in bytes.
const BODY_KEPT_MAX: usize = 65_536;

/// Headers that hold secrets: only that they were there is kept.
const SECRET_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Counted from 0 since the start.
    pub number: u64,
    /// When it arrived, in milliseconds of the epoch.
    pub at: i64,
    /// In capitals.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in small letters. A secret's value is left out.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB of the body, as text.
    pub body: String,
    /// The status of the answer; `None` while there is none, and for ever where a fault took it away.
    pub status: Option<u16>,
}

impl Received {
    /// The value of a header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is not.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// How much of all bodies is kept, in bytes.
const BODIES_KEPT_MAX: usize = 64 * 1_024 * 1_024;

/// The requests that arrived.
#[derive(Debug, Default)]
pub struct ReceivedLog {
    state: Mutex<State>,
    arrivals: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    requests: VecDeque<Received>,
    body_bytes: usize,
}

impl ReceivedLog {
    /// Notes a request; the number is for [`ReceivedLog::answered`].
    pub fn note(&self, at: i64, method: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> u64 {
        let headers = headers.iter().map(|(name, value)| {
            let value = if SECRET_HEADERS.contains(&name.as_str()) { "" } else { value.to_str().unwrap_or_default() };
            (name.to_string(), value.to_owned())
        });
        let kept = body.get(..BODY_KEPT_MAX).unwrap_or(body);
        let mut request = Received {
            number: 0,
            at,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.collect(),
            body: String::from_utf8_lossy(kept).into_owned(),
            status: None,
        };
        let mut state = locked(&self.state);
        request.number = state.next;
        state.next += 1;
        state.body_bytes += request.body.len();
        state.requests.push_back(request);
        while state.requests.len() > REQUESTS_MAX || state.body_bytes > BODIES_KEPT_MAX {
            let Some(oldest) = state.requests.pop_front() else { break };
            state.body_bytes -= oldest.body.len();
        }
        let next = state.next;
        drop(state);
        self.arrivals.send_replace(next);
        next - 1
    }

    /// Notes how the request was answered.
    pub fn answered(&self, number: u64, status: u16) {
        let mut state = locked(&self.state);
        let first = state.requests.front().map_or(0, |request| request.number);
        let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(request) = place.and_then(|place| state.requests.get_mut(place)) {
            request.status = Some(status);
        }
    }

    pub fn list(&self) -> Vec<Received> {
        locked(&self.state).requests.iter().cloned().collect()
    }

    pub fn len(&self) -> usize {
        locked(&self.state).requests.len()
    }

    /// How many have this path; the query does not count.
    pub fn count(&self, path: &str) -> usize {
        let has = |request: &&Received| request.path.split('?').next() == Some(path);
        locked(&self.state).requests.iter().filter(has).count()
    }

    /// Changes when a request arrives.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    pub fn clear(&self) {
        let mut state = locked(&self.state);
        state.requests.clear();
        state.body_bytes = 0;
    }
}
