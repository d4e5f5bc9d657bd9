//! LaunchDarkly's rate limits: so many requests a window, for the whole account and for each route (URL pattern and
//! method). Fixed windows. Pure but for its lock: the time comes from outside.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::Deserialize;
use serde::Serialize;

use crate::drill::launchdarkly::shared::locked;

/// How a refusal for the rate tells when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitAnswer {
    /// By `X-Ratelimit-Reset`, as LaunchDarkly's account limits do.
    #[default]
    Reset,
    /// By `Retry-After` in seconds, as LaunchDarkly's limits by address do.
    RetryAfter,
    /// Not at all, as has been seen in the wild.
    Silent,
}

/// The limits. None set: no limit and no headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a window for the whole account.
    pub account: Option<u64>,
    /// Requests a window for each route.
    pub route: Option<u64>,
    /// The window in milliseconds; LaunchDarkly's is 10 s.
    pub window_milliseconds: u64,
    /// What a refusal tells.
    pub answer: LimitAnswer,
}

impl Default for Limits {
    fn default() -> Self {
        Self { account: None, route: None, window_milliseconds: 10_000, answer: LimitAnswer::Reset }
    }
}

/// What the limits say about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    pub refused: bool,
    /// Requests that are left in this window; `None` where there is no limit.
    pub account_remaining: Option<u64>,
    pub route_remaining: Option<u64>,
    /// When the window ends, in milliseconds of the epoch.
    pub reset_ms: i64,
    pub answer: LimitAnswer,
}

#[derive(Debug, Default)]
struct Window {
    ends_ms: i64,
    account: u64,
    routes: HashMap<String, u64>,
}

/// Counts requests against the limits.
#[derive(Debug, Default)]
pub struct Limiter {
    state: Mutex<(Limits, Window)>,
}

impl Limiter {
    /// Sets the limits and begins a new window.
    pub fn set(&self, limits: Limits) {
        *locked(&self.state) = (limits, Window::default());
    }

    pub fn limits(&self) -> Limits {
        locked(&self.state).0.clone()
    }

    /// Counts a request of a route; one that is refused does not count. `None`: there are no limits.
    pub fn count(&self, route: &str, now_ms: i64) -> Option<Allowance> {
        let mut state = locked(&self.state);
        let (limits, window) = &mut *state;
        if limits.account.is_none() && limits.route.is_none() {
            return None;
        }
        if now_ms >= window.ends_ms {
            let length = i64::try_from(limits.window_milliseconds.max(1)).unwrap_or(i64::MAX);
            *window = Window { ends_ms: now_ms.saturating_add(length), ..Window::default() };
        }
        let used = window.routes.get(route).copied().unwrap_or(0);
        let refused = limits.account.is_some_and(|limit| window.account >= limit)
            || limits.route.is_some_and(|limit| used >= limit);
        if !refused {
            window.account += 1;
            window.routes.insert(route.to_owned(), used + 1);
        }
        let used = window.routes.get(route).copied().unwrap_or(0);
        Some(Allowance {
            refused,
            account_remaining: limits.account.map(|limit| limit.saturating_sub(window.account)),
            route_remaining: limits.route.map(|limit| limit.saturating_sub(used)),
            reset_ms: window.ends_ms,
            answer: limits.answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_routes_and_the_account() {
        let limiter = Limiter::default();
        assert_eq!(limiter.count("GET a", 0), None);
        limiter.set(Limits { account: Some(3), route: Some(2), window_milliseconds: 100, ..Limits::default() });
        let refused = |route: &str, now: i64| limiter.count(route, now).unwrap().refused;
        assert_eq!([refused("GET a", 0), refused("GET a", 1), refused("GET a", 2)], [false, false, true]);
        assert_eq!([refused("GET b", 3), refused("GET b", 4)], [false, true]);
        let next = limiter.count("GET b", 100).unwrap();
        assert_eq!(
            (next.refused, next.account_remaining, next.route_remaining, next.reset_ms),
            (false, Some(2), Some(1), 200)
        );
    }
}
