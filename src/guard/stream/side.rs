//! LaunchDarkly's side of one stream as it stands: asked, open, up, away, refusing. PURE: times come in. It is up when it
//! has said everything: connections that are taken and stay silent are an outage like another.

use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;

use crate::guard::answer::Upstream;
use crate::guard::stream::upstream::Gone;

/// After so long somebody should know that it is away.
const MISSED_AFTER: Duration = Duration::from_secs(10);

/// What is told of one that is open.
const SILENT: &str = "it is open, and its first word has not come";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked(Instant),
    /// Since when it was asked, or away before.
    Open {
        since: Instant,
        was_away: bool,
    },
    Up,
    Away(Instant),
}

/// LaunchDarkly's side.
#[derive(Debug, Clone)]
pub struct Side {
    state: State,
    /// Since when that is so, for people.
    since: Timestamp,
    told: Option<String>,
    /// When LaunchDarkly said first, and when last, that it does not know the key, and nothing else in between.
    refused: Option<(Instant, Instant)>,
}

impl Side {
    /// It has just been asked for the first time.
    pub fn asked(now: Instant, at: Timestamp) -> Self {
        Self { state: State::Asked(now), since: at, told: None, refused: None }
    }

    /// It is open.
    pub fn opened(&mut self, now: Instant) {
        self.state = match self.state {
            State::Asked(since) => State::Open { since, was_away: false },
            State::Away(since) => State::Open { since, was_away: true },
            State::Open { .. } | State::Up => State::Open { since: now, was_away: false },
        };
        (self.told, self.refused) = (None, None);
    }

    /// It said everything.
    pub fn put(&mut self, at: Timestamp) {
        if matches!(self.state, State::Open { .. }) {
            (self.state, self.since) = (State::Up, at);
        }
    }

    /// It is not open, or not any more.
    pub fn gone(&mut self, gone: Gone, now: Instant, at: Timestamp) {
        match self.state {
            State::Away(_) => {}
            // It has been away all the time: nothing that it says is as good as new.
            State::Open { since, was_away: true } => self.state = State::Away(since),
            State::Asked(_) | State::Open { .. } | State::Up => (self.state, self.since) = (State::Away(now), at),
        }
        self.refused = gone.refused.then(|| (self.refused.map_or(now, |(first, _)| first), now));
        self.told = Some(gone.told);
    }

    /// As answers depend on it.
    pub fn upstream(&self, now: Instant) -> Upstream {
        let since = |then: Instant| now.saturating_duration_since(then);
        match (self.state, self.refused_for()) {
            (State::Up, _) => Upstream::Up { put: true },
            (State::Open { .. }, _) => Upstream::Up { put: false },
            (State::Asked(asked), _) => Upstream::Asked(since(asked)),
            (State::Away(_), Some(refused)) => Upstream::Refused(refused),
            (State::Away(away), None) => Upstream::Away(since(away)),
        }
    }

    /// Whether it is up; `None`: it has not answered yet.
    pub fn is_up(&self) -> Option<bool> {
        match self.state {
            State::Asked(_) | State::Open { was_away: false, .. } => None,
            State::Up => Some(true),
            State::Away(_) | State::Open { was_away: true, .. } => Some(false),
        }
    }

    /// Whether it has been away for so long that somebody should know: LaunchDarkly ends streams now and then, and they are
    /// open again at once.
    pub fn is_missed(&self, now: Instant) -> bool {
        match self.state {
            State::Up => false,
            State::Away(since) | State::Asked(since) | State::Open { since, .. } => {
                now.saturating_duration_since(since) >= MISSED_AFTER
            }
        }
    }

    /// For how long LaunchDarkly has said again and again that it does not know the key.
    pub fn refused_for(&self) -> Option<Duration> {
        self.refused.map(|(first, last)| last.saturating_duration_since(first))
    }

    /// Since when it is as it is.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What was said when it went away, or could not be reached.
    pub fn told(&self) -> Option<&str> {
        match self.state {
            State::Open { .. } => Some(SILENT),
            State::Asked(_) | State::Up | State::Away(_) => self.told.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(refused: bool) -> Gone {
        Gone { told: "it answers 401".to_owned(), refused }
    }

    #[test]
    fn refusals_are_counted_from_the_first_to_the_last_and_anything_else_ends_them() {
        let (begun, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut side = Side::asked(begun, at);
        assert_eq!(side.upstream(after(3)), Upstream::Asked(Duration::from_secs(3)));
        side.gone(gone(true), after(1), at);
        assert_eq!(side.upstream(after(700)), Upstream::Refused(Duration::ZERO), "it was said once");
        side.gone(gone(true), after(9), at);
        assert_eq!(side.upstream(after(10)), Upstream::Refused(Duration::from_secs(8)));
        side.gone(gone(false), after(20), at);
        assert_eq!(side.upstream(after(20)), Upstream::Away(Duration::from_secs(19)));
        side.gone(gone(true), after(30), at);
        side.gone(gone(true), after(31), at);
        assert_eq!(side.refused_for(), Some(Duration::from_secs(1)));
        side.opened(after(40));
        assert_eq!((side.upstream(after(40)), side.refused_for()), (Upstream::Up { put: false }, None));
        side.put(at);
        assert_eq!((side.upstream(after(40)), side.told()), (Upstream::Up { put: true }, None));
    }

    #[test]
    fn a_short_absence_is_not_missed() {
        let (begun, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut side = Side::asked(begun, at);
        side.opened(begun);
        side.put(at);
        side.gone(gone(false), begun, at);
        assert!(!side.is_missed(begun + Duration::from_secs(9)) && side.is_missed(begun + MISSED_AFTER));
        assert_eq!(side.is_up(), Some(false));
    }

    #[test]
    fn one_that_is_open_and_silent_is_not_up() {
        let (begun, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut side = Side::asked(begun, at);
        side.opened(after(1));
        assert_eq!((side.is_up(), side.told()), (None, Some(SILENT)));
        assert!(side.is_missed(after(10)));
        side.put(at);
        assert_eq!((side.is_up(), side.is_missed(after(99))), (Some(true), false));
        // It comes and goes, and says nothing: it has been away since it last said something.
        side.gone(gone(false), after(100), at);
        for second in 101..120 {
            side.opened(after(second));
            assert_eq!(side.is_up(), Some(false));
            side.gone(gone(false), after(second), at);
        }
        assert_eq!(side.upstream(after(120)), Upstream::Away(Duration::from_secs(20)));
        assert!(side.is_missed(after(120)));
    }
}
