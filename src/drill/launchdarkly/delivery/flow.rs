//! What flows over one open stream: its first event, then what comes into its queue, comments where there is nothing to
//! send, and the faults that are set for events. Must not know what the events say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header;
use axum::response::Response;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;

use super::event::HEARTBEAT;
use super::subscribers::Feed;
use super::subscribers::Queue;
use crate::drill::launchdarkly::listener::connection::Cut;
use crate::drill::launchdarkly::listener::fault::Damage;
use crate::drill::launchdarkly::listener::line::Fate;
use crate::drill::launchdarkly::listener::line::Line;
use crate::drill::launchdarkly::shared::Shared;

/// The longest that an event is held back.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// One open stream. It leaves the subscribers with the value.
struct Flow {
    ld: Arc<Shared>,
    feed: Feed,
    queue: Queue,
    line: Arc<Line>,
    /// What is sent before anything of the queue.
    first: VecDeque<Bytes>,
    fate: watch::Receiver<Fate>,
    heartbeat: watch::Receiver<Duration>,
    /// When something was sent last.
    sent: Instant,
    /// It ends with what was sent last.
    over: bool,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.line.has_no_stream();
        self.ld.delivery.unsubscribe(&self.feed, self.queue.number);
    }
}

/// A stream that has been entered among the subscribers, as an answer.
pub struct Opened {
    pub ld: Arc<Shared>,
    pub feed: Feed,
    pub queue: Queue,
    pub line: Arc<Line>,
}

impl Opened {
    /// The answer, which begins with this event, if one is given.
    pub fn answer(self, first: Option<Bytes>) -> Response {
        let Self { ld, feed, queue, line } = self;
        let heartbeat = ld.delivery.heartbeat.subscribe();
        let (fate, sent) = (line.fate(), Instant::now());
        let first = first.into_iter().collect();
        let flow = Flow { ld, feed, queue, line, first, fate, heartbeat, sent, over: false };
        let mut response = Response::new(Body::from_stream(unfold(flow, |mut flow| async {
            let piece = flow.next().await?;
            Some((piece, flow))
        })));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
        response
    }
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if self.over {
            return None;
        }
        let event = tokio::select! {
            biased;
            () = sealed(&mut self.fate) => None,
            event = wanted(&mut self.first, &mut self.queue) => Some(event?),
            () = heartbeat(&mut self.heartbeat, self.sent) => {
                self.sent = Instant::now();
                return Some(Ok(HEARTBEAT));
            }
        };
        let Some(event) = event else { return self.silence().await };
        let verdict = self.ld.stream.faults.decide_event(self.feed.path());
        if verdict.delay_ms > 0 {
            sleep(Duration::from_millis(verdict.delay_ms).min(DELAY_MAX)).await;
            if *self.fate.borrow() > Fate::Open {
                return self.silence().await;
            }
        }
        self.sent = Instant::now();
        match verdict.damage {
            None => Some(Ok(event)),
            Some(Damage::Half) => {
                self.over = true;
                Some(Ok(event.slice(..event.len() / 2)))
            }
            Some(Damage::Garbage) => Some(Ok(garbled(&event))),
        }
    }

    /// Nothing more is sent; the connection ends from outside.
    async fn silence(&mut self) -> Option<Result<Bytes, Cut>> {
        self.queue.close();
        std::future::pending().await
    }
}

/// Returns when nothing more may be sent.
async fn sealed(fate: &mut watch::Receiver<Fate>) {
    // An error says that the connection is gone: whoever polls this goes with it.
    let _ = fate.wait_for(|&fate| fate > Fate::Open).await;
}

async fn wanted(first: &mut VecDeque<Bytes>, queue: &mut Queue) -> Option<Bytes> {
    match first.pop_front() {
        Some(event) => Some(event),
        None => queue.next().await,
    }
}

/// Returns when a comment is due. The interval may change meanwhile.
async fn heartbeat(interval: &mut watch::Receiver<Duration>, sent: Instant) {
    loop {
        let due = sent + *interval.borrow_and_update();
        tokio::select! {
            () = sleep_until(due) => return,
            changed = interval.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// The event with data that are not JSON.
fn garbled(event: &[u8]) -> Bytes {
    let name_end = event.iter().position(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let name = event.get(..name_end).unwrap_or_default();
    Bytes::from([name, b"data: {\"path\": \"/fla\n\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbled_data_keep_the_name_of_the_event() {
        let event = garbled(b"event: put\ndata: {\"path\":\"/\"}\n\n");
        assert_eq!(event, &b"event: put\ndata: {\"path\": \"/fla\n\n"[..]);
    }
}
