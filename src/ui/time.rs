//! Times and durations as people read them: UTC with a `Z`, short where the day is clear.

use std::time::Duration;

use jiff::Timestamp;

/// `02:14Z` if `at` is on the same UTC day as `now`, else `2026-10-20 02:14Z`.
pub fn short(at: Timestamp, now: Timestamp) -> String {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let format = if day(at) == day(now) { "%H:%MZ" } else { "%Y-%m-%d %H:%MZ" };
    at.strftime(format).to_string()
}

/// `02:19:40Z`, for "when was this looked at".
pub fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// `2026-10-20 02:14:07Z`, for lists that go over days.
pub fn full(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `11 ms`, `1.4 s`, `28 min`, `3 h 5 min`, `2 d 4 h`: no more digits than matter.
pub fn duration(length: Duration) -> String {
    let (milliseconds, seconds) = (length.as_millis(), length.as_secs());
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..10 => {
            let tenths = milliseconds / 100;
            if tenths.is_multiple_of(10) {
                format!("{} s", tenths / 10)
            } else {
                format!("{}.{} s", tenths / 10, tenths % 10)
            }
        }
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{large} {large_unit}") } else { format!("{large} {large_unit} {small} {small_unit}") }
}

/// How long ago `at` was, as [`duration`]; `0 ms` where clocks differ and it lies ahead.
pub fn since(at: Timestamp, now: Timestamp) -> String {
    duration(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times() {
        let now = at("2026-10-20T23:59:59Z");
        assert_eq!(short(at("2026-10-20T02:14:07Z"), now), "02:14Z");
        assert_eq!(short(at("2026-10-19T23:59:59Z"), now), "2026-10-19 23:59Z");
        assert_eq!(clock(at("2026-10-20T02:19:40.999Z")), "02:19:40Z");
        assert_eq!(full(at("2026-10-20T02:19:40Z")), "2026-10-20 02:19:40Z");
    }

    #[test]
    fn durations() {
        #[track_caller]
        fn case(milliseconds: u64, expected: &str) {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        }
        case(0, "0 ms");
        case(11, "11 ms");
        case(1_400, "1.4 s");
        case(2_000, "2 s");
        case(12_900, "12 s");
        case(119_999, "119 s");
        case(28 * 60_000, "28 min");
        case(7_200_000, "2 h");
        case(11_100_000, "3 h 5 min");
        case(187_200_000, "2 d 4 h");
    }

    #[test]
    fn ago() {
        let now = at("2026-10-20T02:19:00Z");
        assert_eq!(since(at("2026-10-20T01:51:00Z"), now), "28 min");
        assert_eq!(since(at("2026-10-20T02:20:00Z"), now), "0 ms");
    }
}
