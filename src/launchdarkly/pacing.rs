//! How fast to ask LaunchDarkly, and how long to wait before asking again. PURE: clocks and chance come in as arguments,
//! waits come out. It must not know what is asked, nor how.
//!
//! LaunchDarkly counts requests per account in windows (of 10 s, numbers undocumented) and says in headers what is left
//! and when the window ends (OpenAPI description, "Rate limiting"). Waiting for the window's end before being refused
//! costs nothing that the limit does not cost anyway, so that is what happens; a wait ends as soon after the window as
//! the knowledge of LaunchDarkly's clock allows, and never before.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::fmt::rfc2822;

/// LaunchDarkly's window, which is waited for where no header says when it ends.
pub const WINDOW: Duration = Duration::from_secs(10);
/// The longest wait that `X-Ratelimit-Reset` can ask for; more means that a clock is wrong.
pub const RESET_WAIT_MAX: Duration = Duration::from_secs(60);
/// What is added by chance to the end of a window, so that not everybody comes at once.
pub const JITTER_MAX: Duration = Duration::from_millis(250);
/// The wait after a refusal whose own word would be not to wait at all.
pub const REFUSED_WAIT_MIN: Duration = Duration::from_secs(1);
/// The first wait after a failure that is no rate limit.
pub const BACK_OFF_FIRST: Duration = Duration::from_millis(500);
/// The longest such wait.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(8);

/// A URL pattern with its verb: what LaunchDarkly counts together.
pub type Route = &'static str;

/// A moment on both local clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// A clock that never jumps, from any beginning.
    pub steady: Duration,
    /// The wall clock, in milliseconds since 1970; possibly wrong.
    pub wall_ms: i64,
}

/// What `Retry-After` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// To wait this long.
    Wait(Duration),
    /// Not before this time by LaunchDarkly's clock, in milliseconds since 1970.
    Until(i64),
}

/// The headers of an answer that say how fast to go on. Each may be absent; what cannot be read counts as absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signals {
    /// `Retry-After`.
    pub retry_after: Option<RetryAfter>,
    /// `X-Ratelimit-Global-Remaining`: requests left to the account.
    pub global_remaining: Option<u64>,
    /// `X-Ratelimit-Route-Remaining`: requests left on this route.
    pub route_remaining: Option<u64>,
    /// `X-Ratelimit-Reset`: when the window ends, in milliseconds since 1970 by LaunchDarkly's clock.
    pub reset_ms: Option<i64>,
    /// `Date`: LaunchDarkly's clock, whole seconds, as milliseconds since 1970.
    pub date_ms: Option<i64>,
}

impl Signals {
    /// Reads the signals; `header` gives the value of a header by its lower-case name.
    pub fn read<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Self {
        let number = |name: &str| header(name).and_then(|value| value.trim().parse::<u64>().ok());
        Self {
            retry_after: header("retry-after").and_then(retry_after),
            global_remaining: number("x-ratelimit-global-remaining"),
            route_remaining: number("x-ratelimit-route-remaining"),
            reset_ms: number("x-ratelimit-reset").and_then(|value| i64::try_from(value).ok()),
            date_ms: header("date").and_then(http_date_ms),
        }
    }
}

fn retry_after(value: &str) -> Option<RetryAfter> {
    match value.trim().parse::<u32>() {
        Ok(seconds) => Some(RetryAfter::Wait(Duration::from_secs(u64::from(seconds)))),
        Err(_) => http_date_ms(value).map(RetryAfter::Until),
    }
}

/// The form of RFC 9110 that servers must send (`Sun, 06 Nov 1994 08:49:37 GMT`) is a date of RFC 2822.
fn http_date_ms(value: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok().map(|at| at.as_millisecond())
}

/// How far LaunchDarkly's clock is ahead of the local wall clock, as far as answers have shown: between `low` and `high`
/// milliseconds. `Date` has whole seconds, so one answer tells little; every further one can only narrow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// At least this far ahead.
    pub low_ms: i64,
    /// At most this far ahead.
    pub high_ms: i64,
}

impl Skew {
    const UNKNOWN: Skew = Skew { low_ms: i64::MIN, high_ms: i64::MAX };

    /// `None` where the local clock may be right, else how far LaunchDarkly's is ahead of it (negative: behind), at least.
    pub fn wrong_by_ms(&self) -> Option<i64> {
        if self.low_ms > 0 {
            return Some(self.low_ms);
        }
        (self.high_ms < 0).then_some(self.high_ms)
    }

    fn narrowed(self, newer: Skew) -> Skew {
        let both = Skew { low_ms: self.low_ms.max(newer.low_ms), high_ms: self.high_ms.min(newer.high_ms) };
        // They contradict each other: somebody set a clock. What was just seen holds.
        if both.low_ms > both.high_ms { newer } else { both }
    }

    /// LaunchDarkly's clock at `moment`, rather too early than too late; but a local clock that nothing speaks against
    /// is trusted, since `Date` alone would leave up to a second unused at the end of every window.
    fn remote_ms(&self, moment: Moment) -> i64 {
        match self.wrong_by_ms() {
            None => moment.wall_ms,
            Some(_) => moment.wall_ms.saturating_add(self.low_ms),
        }
    }
}

/// Why there is a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// LaunchDarkly's rate limit.
    RateLimit,
    /// LaunchDarkly answered with an error of its own.
    ServerError,
    /// No connection, or no answer.
    NoAnswer,
    /// Somebody else changed the same thing at the same moment.
    Locked,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            WaitReason::RateLimit => "rate limit",
            WaitReason::ServerError => "LaunchDarkly answered with an error",
            WaitReason::NoAnswer => "no answer",
            WaitReason::Locked => "somebody else changes the same flag",
        })
    }
}

/// What is known of LaunchDarkly's limits: when the next request on a route may be sent.
#[derive(Debug, Clone)]
pub struct Pace {
    everything: Duration,
    routes: BTreeMap<Route, Duration>,
    skew: Skew,
    reason: WaitReason,
}

impl Default for Pace {
    fn default() -> Self {
        let reason = WaitReason::RateLimit;
        Self { everything: Duration::ZERO, routes: BTreeMap::new(), skew: Skew::UNKNOWN, reason }
    }
}

impl Pace {
    /// How long the next request on `route` must wait.
    pub fn wait(&self, route: Route, now: Moment) -> Duration {
        let opens = self.routes.get(route).copied().unwrap_or_default().max(self.everything);
        opens.saturating_sub(now.steady)
    }

    /// Why there is something to wait for, if there is.
    pub fn reason(&self) -> WaitReason {
        self.reason
    }

    /// Learns that LaunchDarkly, failing, asked to be left alone for a while: on every route.
    pub fn pause(&mut self, received: Moment, retry_after: RetryAfter) {
        let wait = self.asked_wait(received, retry_after);
        if !wait.is_zero() {
            self.reason = WaitReason::ServerError;
            self.close(None, received, wait);
        }
    }

    fn asked_wait(&self, received: Moment, retry_after: RetryAfter) -> Duration {
        match retry_after {
            RetryAfter::Wait(wait) => wait,
            RetryAfter::Until(at) => milliseconds(at.saturating_sub(self.skew.remote_ms(received))),
        }
    }

    /// What is known of LaunchDarkly's clock; `None` before the first answer with a `Date`.
    pub fn skew(&self) -> Option<Skew> {
        (self.skew != Skew::UNKNOWN).then_some(self.skew)
    }

    /// Learns from an answer. `refused` is status 429; `chance` is in 0..1.
    pub fn learn(
        &mut self,
        route: Route,
        sent: Moment,
        received: Moment,
        refused: bool,
        signals: &Signals,
        chance: f64,
    ) {
        if let Some(date) = signals.date_ms {
            let low_ms = date.saturating_sub(received.wall_ms);
            let high_ms = date.saturating_add(999).saturating_sub(sent.wall_ms);
            self.skew = self.skew.narrowed(Skew { low_ms, high_ms: high_ms.max(low_ms) });
        }
        let jitter = JITTER_MAX.mul_f64(chance.clamp(0.0, 1.0));
        if refused || signals.global_remaining == Some(0) || signals.route_remaining == Some(0) {
            self.reason = WaitReason::RateLimit;
        }
        if refused {
            self.refused(route, sent, received, signals, jitter);
            return;
        }
        if signals.global_remaining == Some(0) {
            self.close(None, received, self.until_reset(received, signals) + jitter);
        }
        if signals.route_remaining == Some(0) {
            self.close(Some(route), received, self.until_reset(received, signals) + jitter);
        }
    }

    fn refused(&mut self, route: Route, sent: Moment, received: Moment, signals: &Signals, jitter: Duration) {
        if let Some(retry_after) = signals.retry_after {
            let wait = self.asked_wait(received, retry_after);
            // The limit is on our address, so on every route.
            self.close(None, received, at_least(wait, REFUSED_WAIT_MIN) + jitter);
            return;
        }
        if let (Some(reset), Some(known)) = (signals.reset_ms, self.skew()) {
            // Being refused proves that the window was not over yet by LaunchDarkly's clock.
            let high_ms = reset.saturating_sub(sent.wall_ms);
            if high_ms >= known.low_ms {
                self.skew = Skew { high_ms: known.high_ms.min(high_ms), ..known };
            }
        }
        let wait = match (signals.reset_ms, self.until_reset(received, signals)) {
            // Refused in a window that is over by our clock, and no `Date` to correct it with.
            (Some(_), Duration::ZERO) if self.skew().is_none() => WINDOW,
            (_, wait) => at_least(wait, REFUSED_WAIT_MIN),
        };
        let only_route = signals.route_remaining == Some(0) && signals.global_remaining.is_some_and(|left| left > 0);
        self.close(only_route.then_some(route), received, wait + jitter);
    }

    /// How long the window still lasts, at most [`RESET_WAIT_MAX`].
    fn until_reset(&self, received: Moment, signals: &Signals) -> Duration {
        let Some(reset) = signals.reset_ms else { return WINDOW };
        milliseconds(reset.saturating_sub(self.skew.remote_ms(received))).min(RESET_WAIT_MAX)
    }

    fn close(&mut self, route: Option<Route>, received: Moment, wait: Duration) {
        let opens = match route {
            None => &mut self.everything,
            Some(route) => self.routes.entry(route).or_default(),
        };
        *opens = received.steady.saturating_add(wait).max(*opens);
    }
}

fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

/// A wait of nothing becomes `least`; any other is taken at its word.
fn at_least(wait: Duration, least: Duration) -> Duration {
    if wait.is_zero() { least } else { wait }
}

/// How much is borne for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The most times that a request is sent.
    pub attempts: u32,
    /// The longest that a call waits for rate limits, altogether.
    pub rate_limit: Duration,
    /// No repetition after a failure begins later than this after the call began.
    pub failures: Duration,
}

impl Patience {
    /// For a replay: rate limits are waited out, failures are tried again for a short while.
    pub const REPLAY: Patience =
        Patience { attempts: 5, rate_limit: Duration::from_secs(150), failures: Duration::from_secs(15) };
    /// For what must answer at once: nothing is repeated and nothing waited for.
    pub const ONCE: Patience = Patience { attempts: 1, rate_limit: Duration::ZERO, failures: Duration::ZERO };
}

/// The wait before attempt number `attempts_made` + 1 after a failure that is no rate limit, or `None` where enough is
/// enough. Half of it is by chance, so that many clients spread out. `asked` is what the server wants at least
/// (`Retry-After` on a 503).
pub fn back_off(
    patience: Patience,
    attempts_made: u32,
    elapsed: Duration,
    asked: Option<Duration>,
    chance: f64,
) -> Option<Duration> {
    if attempts_made >= patience.attempts {
        return None;
    }
    let doubled = BACK_OFF_FIRST.saturating_mul(1_u32 << attempts_made.saturating_sub(1).min(16)).min(BACK_OFF_MAX);
    let spread = doubled / 2 + (doubled / 2).mul_f64(chance.clamp(0.0, 1.0));
    let wait = spread.max(asked.unwrap_or_default());
    (elapsed.saturating_add(wait) <= patience.failures).then_some(wait)
}

#[cfg(test)]
mod tests;
