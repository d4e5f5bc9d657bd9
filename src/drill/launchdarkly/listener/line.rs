//! The connections of a listener, so that a fault can act on a stream that is open already, however stuck its reader
//! is. Must not know what flows over them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::watch;

use crate::drill::launchdarkly::shared::locked;

/// What is to become of a connection. Later ones are worse, and none is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on.
    Open,
    /// It stays open, and nothing more is sent on it.
    Silent,
    /// It is closed in the middle of whatever is being sent.
    Closed,
    /// It is reset.
    Reset,
}

/// One connection.
#[derive(Debug)]
pub struct Line {
    fate: watch::Sender<Fate>,
    /// The path of the stream that is asked for or open on it.
    stream: Mutex<Option<String>>,
}

impl Line {
    /// Seals the connection's fate, unless that is worse already.
    pub fn seal(&self, fate: Fate) {
        self.fate.send_if_modified(|now| {
            let worse = fate > *now;
            if worse {
                *now = fate;
            }
            worse
        });
    }

    pub fn fate(&self) -> watch::Receiver<Fate> {
        self.fate.subscribe()
    }

    /// A stream is asked for on it. Said before the faults are asked about the request: a fault that is set in between
    /// acts on one or the other.
    pub fn asks_for_stream(&self, path: &str) {
        *locked(&self.stream) = Some(path.to_owned());
    }

    /// No stream is open on it (any more).
    pub fn has_no_stream(&self) {
        *locked(&self.stream) = None;
    }
}

/// The connections that are open.
#[derive(Debug, Default)]
pub struct Lines {
    state: Mutex<(u64, HashMap<u64, Arc<Line>>)>,
}

impl Lines {
    /// A new connection; it is forgotten with the value.
    pub fn open(self: &Arc<Self>) -> OpenLine {
        let line = Arc::new(Line { fate: watch::Sender::new(Fate::Open), stream: Mutex::default() });
        let mut state = locked(&self.state);
        let number = state.0;
        state.0 += 1;
        state.1.insert(number, Arc::clone(&line));
        OpenLine { line, number, lines: Arc::clone(self) }
    }

    /// Seals the fate of up to `most` connections on which there is a stream whose path fits; says of how many.
    pub fn seal_streams(&self, fate: Fate, most: usize, fits: impl Fn(&str) -> bool) -> usize {
        let state = locked(&self.state);
        let streams = state
            .1
            .values()
            .filter(|line| *line.fate.borrow() < fate && locked(&line.stream).as_deref().is_some_and(&fits));
        streams.take(most).map(|line| line.seal(fate)).count()
    }

    /// Closes the connections that are silent.
    pub fn end_silence(&self) {
        let silent = |line: &&Arc<Line>| *line.fate.borrow() == Fate::Silent;
        locked(&self.state).1.values().filter(silent).for_each(|line| line.seal(Fate::Closed));
    }
}

/// A connection as long as it is open.
#[derive(Debug)]
pub struct OpenLine {
    pub line: Arc<Line>,
    number: u64,
    lines: Arc<Lines>,
}

impl Drop for OpenLine {
    fn drop(&mut self) {
        locked(&self.lines.state).1.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_only_get_worse_and_are_counted() {
        let lines = Arc::new(Lines::default());
        let (one, two) = (lines.open(), lines.open());
        one.line.asks_for_stream("/all");
        assert_eq!(lines.seal_streams(Fate::Silent, 5, |path| path == "/all"), 1);
        assert_eq!(lines.seal_streams(Fate::Silent, 5, |path| path == "/all"), 0, "it is silent already");
        assert_eq!(lines.seal_streams(Fate::Reset, 0, |path| path == "/all"), 0);
        one.line.seal(Fate::Closed);
        one.line.seal(Fate::Silent);
        assert_eq!(*one.line.fate().borrow(), Fate::Closed);
        assert_eq!(*two.line.fate().borrow(), Fate::Open, "no stream was asked for on it");
        two.line.asks_for_stream("/all");
        two.line.has_no_stream();
        drop(one);
        assert_eq!(lines.seal_streams(Fate::Reset, 5, |_| true), 0);
    }
}
