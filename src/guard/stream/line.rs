//! One connection's queue, and the body that empties it. What is pushed is shared, not copied; a relay that does not take
//! it is cut off before it costs much, and never holds up whoever pushes. It must not know what events mean.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use tokio::sync::Notify;

/// Handed out at a time: so much progress shows that a relay still reads, and so much may be copied on the way.
const PIECE_LENGTH: usize = 64 * 1024;

/// How long a relay may take nothing of what waits for it.
const STALL_MAX: Duration = Duration::from_secs(30);

/// The most bytes that wait for a relay beside two of the largest events.
const WAITING_MAX: usize = 32 * 1024 * 1024;

/// The most events that wait for a relay.
const EVENTS_MAX: usize = 20_000;

/// Why nothing more can be pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The relay is gone.
    #[error("it has gone")]
    Gone,
    /// It took nothing for too long.
    #[error("it took nothing of what waits for it for {} s", STALL_MAX.as_secs())]
    Stalled,
    /// Too much waits for it.
    #[error("more than it can be given time for waits for it ({waiting} bytes)")]
    TooMuch {
        /// How much.
        waiting: usize,
    },
}

#[derive(Debug)]
struct Queue {
    events: VecDeque<Bytes>,
    bytes: usize,
    largest: usize,
    waker: Option<Waker>,
    /// Nothing more comes: the body ends when it is empty.
    ended: bool,
    /// The body is gone.
    gone: bool,
    /// When something was last taken, or began to wait.
    moved: Instant,
}

impl Queue {
    fn push(&mut self, event: Bytes, now: Instant) -> Result<(), LineError> {
        if self.gone {
            return Err(LineError::Gone);
        }
        if self.events.is_empty() {
            self.moved = now;
        } else if now.saturating_duration_since(self.moved) > STALL_MAX {
            return Err(LineError::Stalled);
        }
        self.largest = self.largest.max(event.len());
        let waiting = self.bytes + event.len();
        if waiting > WAITING_MAX + self.largest.saturating_mul(2) || self.events.len() >= EVENTS_MAX {
            return Err(LineError::TooMuch { waiting });
        }
        self.bytes = waiting;
        self.events.push_back(event);
        Ok(())
    }
}

/// The side of the line that is pushed into. Dropped, it ends the body when that is empty.
#[derive(Debug)]
pub struct Line(Arc<Shared>);

/// The side that a connection reads from.
#[derive(Debug)]
pub struct LineBody(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    cut: Arc<Notify>,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Queue> {
        // What is kept here is as good after a panic as before.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new line. `cut` is notified where the connection itself is to be broken off, though it waits for the relay.
pub fn line(cut: Arc<Notify>) -> (Line, LineBody) {
    let queue = Queue {
        events: VecDeque::new(),
        bytes: 0,
        largest: 0,
        waker: None,
        ended: false,
        gone: false,
        moved: Instant::now(),
    };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), cut });
    (Line(Arc::clone(&shared)), LineBody(shared))
}

impl Line {
    /// Pushes an event. It never waits.
    ///
    /// # Errors
    /// [`LineError`]: the line is of no more use, and should be cut.
    pub fn push(&self, event: Bytes, now: Instant) -> Result<(), LineError> {
        self.push_all(&[event], now)
    }

    /// Pushes events, and wakes the connection once for all of them.
    ///
    /// # Errors
    /// As [`Line::push`]; what came before the one that was too much is pushed.
    pub fn push_all(&self, events: &[Bytes], now: Instant) -> Result<(), LineError> {
        let mut queue = self.0.held();
        let pushed = events.iter().try_for_each(|event| queue.push(event.clone(), now));
        let waker = if queue.events.is_empty() { None } else { queue.waker.take() };
        drop(queue);
        // Not while the queue is held: who is woken wants it at once.
        if let Some(waker) = waker {
            waker.wake();
        }
        pushed
    }

    /// Whether the connection is still there.
    pub fn is_open(&self) -> bool {
        !self.0.held().gone
    }

    /// How much waits, in bytes.
    pub fn waiting(&self) -> usize {
        self.0.held().bytes
    }

    /// Breaks the connection off, also where it waits for the relay.
    pub fn cut(&self) {
        self.0.cut.notify_one();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut queue = self.0.held();
        queue.ended = true;
        if let Some(waker) = queue.waker.take() {
            waker.wake();
        }
    }
}

impl Body for LineBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        let mut queue = self.0.held();
        let Some(front) = queue.events.front_mut() else {
            if queue.ended {
                return Poll::Ready(None);
            }
            // What the queue has grown to for a `put` that is long gone.
            if queue.events.capacity() > 64 {
                queue.events.shrink_to_fit();
            }
            queue.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let piece = front.split_to(front.len().min(PIECE_LENGTH));
        if front.is_empty() {
            queue.events.pop_front();
        }
        queue.bytes = queue.bytes.saturating_sub(piece.len());
        if queue.events.is_empty() {
            queue.largest = 0;
        }
        queue.moved = Instant::now();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let queue = self.0.held();
        queue.ended && queue.events.is_empty()
    }
}

impl Drop for LineBody {
    fn drop(&mut self) {
        let mut queue = self.0.held();
        queue.gone = true;
        queue.events = VecDeque::new();
        queue.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn line() -> (Line, LineBody) {
        super::line(Arc::default())
    }

    async fn next(body: &mut LineBody) -> Option<Bytes> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test]
    async fn what_is_pushed_comes_out_in_order_and_in_pieces() {
        let (line, mut body) = line();
        let large = Bytes::from(vec![b'x'; PIECE_LENGTH + 1]);
        for event in [Bytes::from_static(b"one"), large.clone(), Bytes::from_static(b"two")] {
            line.push(event, Instant::now()).unwrap();
        }
        assert_eq!(line.waiting(), PIECE_LENGTH + 7);
        assert_eq!(next(&mut body).await.unwrap(), "one");
        let piece = next(&mut body).await.unwrap();
        assert_eq!(piece.as_ptr(), large.as_ptr(), "it is shared, not copied");
        assert_eq!((piece.len(), next(&mut body).await.unwrap().len()), (PIECE_LENGTH, 1));
        drop(line);
        assert_eq!(next(&mut body).await.unwrap(), "two");
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let (line, mut body) = line();
        let reader = tokio::spawn(async move { next(&mut body).await });
        tokio::task::yield_now().await;
        line.push(Bytes::from_static(b"late"), Instant::now()).unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), "late");
        // The reader dropped the body.
        assert_eq!(line.push(Bytes::from_static(b"x"), Instant::now()), Err(LineError::Gone));
        assert!(!line.is_open());
    }

    #[tokio::test]
    async fn a_relay_that_takes_nothing_is_told_apart_from_one_that_has_nothing_to_take() {
        let (line, mut body) = line();
        let begun = Instant::now();
        line.push(Bytes::from_static(b"one"), begun).unwrap();
        next(&mut body).await;
        // Nothing waited for an hour: that is no stall.
        line.push(Bytes::from_static(b"two"), begun + Duration::from_secs(3_600)).unwrap();
        assert!(line.push(Bytes::from_static(b"three"), begun + Duration::from_secs(3_629)).is_ok());
        let stalled = line.push(Bytes::from_static(b"four"), begun + Duration::from_secs(3_631));
        assert_eq!(stalled, Err(LineError::Stalled));
    }

    #[test]
    fn what_waits_is_bounded_and_two_large_events_fit() {
        let (line, _body) = line();
        let now = Instant::now();
        let large = Bytes::from(vec![0; WAITING_MAX]);
        for _ in 0..3 {
            line.push(large.clone(), now).unwrap();
        }
        assert_eq!(line.push(large, now), Err(LineError::TooMuch { waiting: WAITING_MAX * 4 }));
        let (line, _body) = super::line(Arc::default());
        for _ in 0..EVENTS_MAX {
            line.push(Bytes::from_static(b"x"), now).unwrap();
        }
        assert!(matches!(line.push(Bytes::from_static(b"x"), now), Err(LineError::TooMuch { .. })));
    }
}
