use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const GET: Route = "GET /flags/{}/{}";
const PATCH: Route = "PATCH /flags/{}/{}";

fn signals(headers: &[(&str, &str)]) -> Signals {
    let headers: BTreeMap<&str, &str> = headers.iter().copied().collect();
    Signals::read(|name| headers.get(name).copied())
}

fn at(milliseconds: i64) -> Moment {
    Moment { steady: super::milliseconds(milliseconds), wall_ms: 1_000_000_000_000 + milliseconds }
}

fn wall(milliseconds: i64) -> String {
    (1_000_000_000_000 + milliseconds).to_string()
}

#[test]
fn headers_are_read_and_nonsense_is_absent() {
    let read = signals(&[
        ("retry-after", " 7 "),
        ("x-ratelimit-global-remaining", "12"),
        ("x-ratelimit-route-remaining", "0"),
        ("x-ratelimit-reset", "1469326565348"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    assert_eq!(
        read,
        Signals {
            retry_after: Some(RetryAfter::Wait(Duration::from_secs(7))),
            global_remaining: Some(12),
            route_remaining: Some(0),
            reset_ms: Some(1_469_326_565_348),
            date_ms: Some(784_111_777_000),
        }
    );
    let nonsense = signals(&[
        ("retry-after", "soon"),
        ("x-ratelimit-global-remaining", "-1"),
        ("x-ratelimit-route-remaining", ""),
        ("x-ratelimit-reset", "99999999999999999999999"),
        ("date", "yesterday"),
    ]);
    assert_eq!(nonsense, Signals::default());
    let dated = signals(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(dated.retry_after, Some(RetryAfter::Until(784_111_777_000)));
}

#[test]
fn a_refusal_is_waited_out_by_the_strongest_word() {
    let (reset, date) = (wall(4_000), "Sun, 09 Sep 2001 01:46:40 GMT");
    // (headers, wait without jitter): Retry-After, then the window's end, then the window's length.
    let cases: [(&[(&str, &str)], u64); 7] = [
        (&[("retry-after", "7"), ("x-ratelimit-reset", &reset)], 7_000),
        (&[("x-ratelimit-reset", &reset), ("date", date)], 4_000),
        (&[], 10_000),
        (&[("x-ratelimit-reset", &wall(600_000)), ("date", date)], 60_000),
        (&[("retry-after", "0")], 1_000),
        (&[("retry-after", "Sun, 09 Sep 2001 01:46:43 GMT"), ("date", date)], 3_000),
        // Over by our clock, and nothing to correct it with.
        (&[("x-ratelimit-reset", &wall(-5_000))], 10_000),
    ];
    for (headers, wait) in cases {
        for (chance, jitter) in [(0.0, 0), (1.0, 250)] {
            let mut pace = Pace::default();
            pace.learn(PATCH, at(0), at(0), true, &signals(headers), chance);
            assert_eq!(pace.wait(PATCH, at(0)), Duration::from_millis(wait + jitter), "{headers:?}");
        }
    }
}

#[test]
fn a_route_that_is_used_up_leaves_the_others_free() {
    let reset = wall(4_000);
    let mut pace = Pace::default();
    let headers =
        [("x-ratelimit-route-remaining", "0"), ("x-ratelimit-global-remaining", "5"), ("x-ratelimit-reset", &reset)];
    pace.learn(PATCH, at(0), at(0), false, &signals(&headers), 0.0);
    assert_eq!(pace.wait(GET, at(0)), Duration::ZERO);
    assert_eq!(pace.wait(PATCH, at(0)), Duration::from_secs(4));
    assert_eq!(pace.wait(PATCH, at(4_000)), Duration::ZERO);
    let headers = [("x-ratelimit-global-remaining", "0"), ("x-ratelimit-reset", &reset)];
    pace.learn(PATCH, at(0), at(0), false, &signals(&headers), 0.0);
    assert_eq!(pace.wait(GET, at(1_000)), Duration::from_secs(3));
}

#[test]
fn back_off_doubles_and_ends() {
    let patience = Patience { attempts: 4, rate_limit: Duration::ZERO, failures: Duration::from_secs(15) };
    let waits = |chance| (1..=4).map(|made| back_off(patience, made, Duration::ZERO, None, chance)).collect::<Vec<_>>();
    let seconds = |list: [f64; 3]| list.iter().map(|&wait| Some(Duration::from_secs_f64(wait))).collect::<Vec<_>>();
    assert_eq!(waits(0.0)[..3], seconds([0.25, 0.5, 1.0]));
    assert_eq!(waits(1.0)[..3], seconds([0.5, 1.0, 2.0]));
    assert_eq!(waits(0.5)[3], None);
    assert_eq!(back_off(patience, 1, Duration::from_secs(15), None, 0.0), None);
    assert_eq!(back_off(patience, 1, Duration::ZERO, Some(Duration::from_secs(3)), 0.0), Some(Duration::from_secs(3)));
    assert_eq!(back_off(patience, 1, Duration::ZERO, Some(Duration::from_secs(60)), 0.0), None);
    assert_eq!(back_off(Patience::ONCE, 1, Duration::ZERO, None, 0.0), None);
}

/// A LaunchDarkly that counts requests in windows, with a clock of its own.
#[derive(Debug, Clone)]
struct Limited {
    window_ms: i64,
    limit: u64,
    /// Its clock ahead of ours.
    skew_ms: i64,
    /// Where its windows begin.
    phase_ms: i64,
    /// How long a request is under way, each way.
    latency_ms: i64,
    /// Whether answers have a `Date`.
    dated: bool,
    window: i64,
    used: u64,
}

struct Outcome {
    elapsed_ms: i64,
    refused: u32,
    refused_in_a_row: u32,
}

impl Limited {
    fn answer(&mut self, arrives_ms: i64) -> (bool, Signals) {
        let now = 1_000_000_000_000 + arrives_ms + self.skew_ms;
        let window = (now - self.phase_ms).div_euclid(self.window_ms);
        if window != self.window {
            (self.window, self.used) = (window, 0);
        }
        let refused = self.used >= self.limit;
        self.used += u64::from(!refused);
        let signals = Signals {
            route_remaining: Some(self.limit - self.used),
            reset_ms: Some((window + 1) * self.window_ms + self.phase_ms),
            date_ms: self.dated.then_some(now.div_euclid(1_000) * 1_000),
            ..Signals::default()
        };
        (refused, signals)
    }

    /// Sends `count` requests one after the other, as the client does.
    fn serve(&mut self, count: u64, chance: f64) -> Outcome {
        let (mut pace, mut now, mut done) = (Pace::default(), 0, 0);
        let (mut refused, mut in_a_row, mut most_in_a_row) = (0, 0, 0);
        while done < count {
            now += i64::try_from(pace.wait(PATCH, at(now)).as_nanos().div_ceil(1_000_000)).unwrap();
            let (no, signals) = self.answer(now + self.latency_ms);
            let received = now + 2 * self.latency_ms;
            pace.learn(PATCH, at(now), at(received), no, &signals, chance);
            now = received;
            (refused, in_a_row) = if no { (refused + 1, in_a_row + 1) } else { (refused, 0) };
            most_in_a_row = most_in_a_row.max(in_a_row);
            done += u64::from(!no);
        }
        Outcome { elapsed_ms: now, refused, refused_in_a_row: most_in_a_row }
    }

    /// The least time that the limit allows, for one who knows LaunchDarkly's clock, from the same beginning.
    fn least_ms(&self, count: u64) -> i64 {
        let mut oracle = Limited { window: i64::MIN, used: 0, ..self.clone() };
        let (mut now, mut done) = (0, 0);
        while done < count {
            let (no, signals) = oracle.answer(now + self.latency_ms);
            done += u64::from(!no);
            now = if no {
                signals.reset_ms.unwrap() - 1_000_000_000_000 - self.skew_ms - self.latency_ms
            } else {
                now + 2 * self.latency_ms
            };
        }
        now
    }
}

fn limited() -> impl Strategy<Value = Limited> {
    let skew = prop_oneof![Just(0), -900..900_i64, -7_200_000..7_200_000_i64];
    (20..300_u64, skew, 0..10_000_i64, 0..40_i64, any::<bool>()).prop_map(
        |(limit, skew_ms, phase_ms, latency_ms, dated)| Limited {
            window_ms: 10_000,
            limit,
            skew_ms,
            phase_ms,
            latency_ms,
            dated,
            window: i64::MIN,
            used: 0,
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_refused_twice_in_a_row(mut server in limited(), chance in 0.0..1.0) {
        let outcome = server.serve(1_000, chance);
        prop_assert!(outcome.refused_in_a_row <= 1, "{}", outcome.refused_in_a_row);
    }

    #[test]
    fn with_a_right_clock_nothing_is_refused_and_little_time_is_lost(mut server in limited(), chance in 0.0..1.0) {
        server.skew_ms = 0;
        // The last window of the few begun ones must not weigh more than all the others.
        let (outcome, least) = (server.serve(1_000, chance), server.least_ms(1_000));
        prop_assert_eq!(outcome.refused, 0);
        prop_assert!(outcome.elapsed_ms * 10 <= least * 11, "{} of {least}", outcome.elapsed_ms);
    }

    #[test]
    fn a_wrong_clock_costs_a_second_per_window_at_most(mut server in limited(), chance in 0.0..1.0) {
        server.dated = true;
        let outcome = server.serve(1_000, chance);
        let windows = i64::try_from(1_000 / server.limit).unwrap() + 2;
        prop_assert!(outcome.elapsed_ms <= server.least_ms(1_000) + windows * 1_500, "{}", outcome.elapsed_ms);
        prop_assert!(outcome.refused <= 1, "{}", outcome.refused);
    }

    #[test]
    fn waits_are_bounded_whatever_the_headers_say(
        reset in proptest::option::of(any::<i64>()), date in proptest::option::of(any::<i64>()),
        left in proptest::option::of(any::<u64>()), refused in any::<bool>(), chance in any::<f64>(),
    ) {
        let mut pace = Pace::default();
        let said = Signals { retry_after: None, global_remaining: left, route_remaining: left, reset_ms: reset, date_ms: date };
        pace.learn(GET, at(0), at(5), refused, &said, chance);
        prop_assert!(pace.wait(GET, at(5)) <= RESET_WAIT_MAX + JITTER_MAX);
    }
}
