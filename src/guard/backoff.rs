//! When LaunchDarkly is asked again after its stream ended or did not open. PURE: the clock and chance come in. As
//! LaunchDarkly's own SDKs do it: 1 s, doubled up to 30 s, up to half of it taken off by chance, begun anew after a minute
//! of a good connection (launchdarkly.md 7.1).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// After a connection that was good for so long, the next wait is the first again.
const GOOD_AFTER: Duration = Duration::from_secs(60);

/// The longest that LaunchDarkly's `Retry-After` is obeyed: whoever stands in between may answer anything.
const ASKED_MAX: Duration = Duration::from_secs(300);

/// How many doublings are counted.
const DOUBLINGS_MAX: u32 = 5;

/// How often in a row it went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    doublings: u32,
}

/// What is known when a connection has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ended {
    /// How long it was open; `None` where it did not open.
    pub good_for: Option<Duration>,
    /// What LaunchDarkly asked for by `Retry-After`.
    pub retry_after: Option<Duration>,
    /// A random number in 0..1.
    pub chance: f64,
}

impl Backoff {
    /// How long to wait before the next try.
    pub fn wait(&mut self, ended: Ended) -> Duration {
        if ended.good_for.is_some_and(|good| good >= GOOD_AFTER) {
            self.doublings = 0;
        }
        let full = LONGEST.min(FIRST * 2_u32.pow(self.doublings));
        self.doublings = DOUBLINGS_MAX.min(self.doublings + 1);
        let chance = if ended.chance.is_finite() { ended.chance.clamp(0.0, 1.0) } else { 0.0 };
        let own = full.mul_f64(1.0 - chance / 2.0);
        // What was asked for is waited for in full, and a little longer by chance, so that not all come back at once.
        let asked = ended.retry_after.map(|asked| asked.min(ASKED_MAX).mul_f64(1.0 + chance / 10.0));
        asked.unwrap_or_default().max(own)
    }
}

/// The wait that a `Retry-After` header asks for, in seconds; a date in it is not obeyed.
pub fn retry_after(header: &str) -> Option<Duration> {
    header.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_OPEN: Ended = Ended { good_for: None, retry_after: None, chance: 0.0 };

    #[test]
    fn waits_are_doubled_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.wait(NEVER_OPEN).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        let short = Ended { good_for: Some(Duration::from_secs(59)), ..NEVER_OPEN };
        assert_eq!(backoff.wait(short).as_secs(), 30, "a connection that does not last is no good one");
        let long = Ended { good_for: Some(Duration::from_secs(60)), ..NEVER_OPEN };
        assert_eq!(backoff.wait(long).as_secs(), 1);
    }

    #[test]
    fn chance_takes_off_up_to_half() {
        let mut backoff = Backoff { doublings: 3 };
        assert_eq!(backoff.wait(Ended { chance: 1.0, ..NEVER_OPEN }).as_secs(), 4);
        assert_eq!(backoff.wait(Ended { chance: f64::NAN, ..NEVER_OPEN }).as_secs(), 16);
    }

    #[test]
    fn what_launchdarkly_asks_for_is_waited_for() {
        let mut backoff = Backoff::default();
        let asked = |seconds, chance| Ended { retry_after: Some(Duration::from_secs(seconds)), chance, ..NEVER_OPEN };
        assert_eq!(backoff.wait(asked(20, 0.0)).as_secs(), 20);
        assert_eq!(backoff.wait(asked(20, 1.0)).as_secs(), 22);
        assert_eq!(backoff.wait(asked(1, 0.0)).as_secs(), 4, "no sooner than by itself");
        assert_eq!(backoff.wait(asked(86_400, 0.0)).as_secs(), 300);
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
