//! LaunchDarkly's side of one stream as it stands: asked, up, away, refusing. PURE: times come in.

use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;

use crate::guard::answer::Upstream;
use crate::guard::stream::upstream::Gone;

/// After so long somebody should know that it is away.
const MISSED_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked(Instant),
    Up { put: bool },
    Away(Instant),
}

/// LaunchDarkly's side.
#[derive(Debug, Clone)]
pub struct Side {
    state: State,
    /// Since when that is so, for people.
    since: Timestamp,
    told: Option<String>,
    /// Since when LaunchDarkly says nothing else than that it does not know the key.
    refused: Option<Instant>,
}

impl Side {
    /// It has just been asked for the first time.
    pub fn asked(now: Instant, at: Timestamp) -> Self {
        Self { state: State::Asked(now), since: at, told: None, refused: None }
    }

    /// It is open.
    pub fn opened(&mut self, at: Timestamp) {
        *self = Self { state: State::Up { put: false }, since: at, told: None, refused: None };
    }

    /// It said everything.
    pub fn put(&mut self) {
        if let State::Up { put } = &mut self.state {
            *put = true;
        }
    }

    /// It is not open, or not any more.
    pub fn gone(&mut self, gone: Gone, now: Instant, at: Timestamp) {
        if !matches!(self.state, State::Away(_)) {
            (self.state, self.since) = (State::Away(now), at);
        }
        self.refused = gone.refused.then(|| self.refused.unwrap_or(now));
        self.told = Some(gone.told);
    }

    /// As answers depend on it.
    pub fn upstream(&self, now: Instant) -> Upstream {
        let since = |then: Instant| now.saturating_duration_since(then);
        match (self.state, self.refused) {
            (State::Up { put }, _) => Upstream::Up { put },
            (State::Asked(asked), _) => Upstream::Asked(since(asked)),
            (State::Away(_), Some(refused)) => Upstream::Refused(since(refused)),
            (State::Away(away), None) => Upstream::Away(since(away)),
        }
    }

    /// Whether it is up; `None`: it has not answered yet.
    pub fn is_up(&self) -> Option<bool> {
        match self.state {
            State::Asked(_) => None,
            State::Up { .. } => Some(true),
            State::Away(_) => Some(false),
        }
    }

    /// Whether it has been away for so long that somebody should know: LaunchDarkly ends streams now and then, and they are
    /// open again at once.
    pub fn is_missed(&self, now: Instant) -> bool {
        match self.state {
            State::Up { .. } => false,
            State::Away(since) | State::Asked(since) => now.saturating_duration_since(since) >= MISSED_AFTER,
        }
    }

    /// How long LaunchDarkly has refused the key.
    pub fn refused_for(&self, now: Instant) -> Option<Duration> {
        self.refused.map(|since| now.saturating_duration_since(since))
    }

    /// Since when it is as it is.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What was said when it went away, or could not be reached.
    pub fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(refused: bool) -> Gone {
        Gone { told: "it answers 401".to_owned(), refused }
    }

    #[test]
    fn refusals_are_counted_from_the_first_and_anything_else_ends_them() {
        let (begun, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut side = Side::asked(begun, at);
        assert_eq!(side.upstream(after(3)), Upstream::Asked(Duration::from_secs(3)));
        side.gone(gone(true), after(1), at);
        side.gone(gone(true), after(9), at);
        assert_eq!(side.upstream(after(10)), Upstream::Refused(Duration::from_secs(9)));
        side.gone(gone(false), after(20), at);
        assert_eq!(side.upstream(after(20)), Upstream::Away(Duration::from_secs(19)));
        side.gone(gone(true), after(30), at);
        assert_eq!(side.refused_for(after(31)), Some(Duration::from_secs(1)));
        side.opened(at);
        assert_eq!((side.upstream(after(40)), side.told()), (Upstream::Up { put: false }, None));
        side.put();
        assert_eq!(side.upstream(after(40)), Upstream::Up { put: true });
    }

    #[test]
    fn a_short_absence_is_not_missed() {
        let (begun, at) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut side = Side::asked(begun, at);
        side.opened(at);
        side.gone(gone(false), begun, at);
        assert!(!side.is_missed(begun + Duration::from_secs(9)) && side.is_missed(begun + MISSED_AFTER));
        assert_eq!(side.is_up(), Some(false));
    }
}
