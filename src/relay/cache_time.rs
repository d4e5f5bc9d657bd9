//! How long a relay answers from its own memory before it looks into its store again (`localTtl`, `CACHE_TTL`), and the
//! durations of Go in which that is written. Pure.

use std::fmt;
use std::time::Duration;

/// A relay's cache time. It is counted from when an entry was loaded, and reading it does not prolong it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheTime {
    /// `0`: every read goes to the store.
    Zero,
    /// An edit of the store is seen by whoever asks anew, after this time at the latest.
    For(Duration),
    /// Negative: what was loaded once stays, and an edit of the store is never seen. After a failure of the store the
    /// relay even writes its memory back over it (launchdarkly.md 9.2).
    Endless,
}

/// What a relay takes where nothing is configured (`DefaultDatabaseCacheTTL` in ld-relay's `config/config.go`).
impl Default for CacheTime {
    fn default() -> Self {
        Self::For(Duration::from_secs(30))
    }
}

impl fmt::Display for CacheTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => formatter.write_str("no cache"),
            Self::Endless => formatter.write_str("endless"),
            Self::For(time) if time.subsec_nanos() == 0 => write!(formatter, "{} s", time.as_secs()),
            Self::For(time) => write!(formatter, "{} ms", time.as_millis()),
        }
    }
}

impl From<GoDuration> for CacheTime {
    fn from(duration: GoDuration) -> Self {
        match duration.nanoseconds {
            0 => Self::Zero,
            below if below < 0 => Self::Endless,
            above => Self::For(Duration::from_nanos(above.unsigned_abs())),
        }
    }
}

/// A duration as Go's `time.ParseDuration` reads it: `300ms`, `-1s`, `1h30m`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration {
    /// Below zero for a negative duration.
    pub nanoseconds: i64,
}

/// A text that Go would not read as a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration such as 30s, 1m30s or -1s")]
pub struct DurationError(String);

impl GoDuration {
    /// Reads a duration.
    ///
    /// # Errors
    /// [`DurationError`] for whatever Go refuses: no unit (only `0` needs none), an unknown one, more than about 292 years.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        let nanoseconds = nanoseconds(text).ok_or_else(|| DurationError(text.chars().take(40).collect()))?;
        Ok(Self { nanoseconds })
    }

    /// The duration, where it is not negative.
    pub fn not_negative(self) -> Option<Duration> {
        u64::try_from(self.nanoseconds).ok().map(Duration::from_nanos)
    }
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 200 {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total.checked_add(scaled(number, unit_nanoseconds(unit)?)?)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        // Go takes both letters that look like a micro sign.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, rounded down.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits behind the fifteenth are less than a nanosecond even of an hour.
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(15))?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(unit)?.checked_add(part.checked_mul(unit)? / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("30s", 30_000_000_000),
            ("-1s", -1_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ] {
            assert_eq!(GoDuration::parse(text), Ok(GoDuration { nanoseconds }), "{text}");
        }
        for text in ["", "-", "30", "s", ".s", "1.2.3s", "5 s", " 5s", "5d", "--1s", "9999999h", "1e3s", "-"] {
            assert!(GoDuration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cache_times() {
        let read = |text| CacheTime::from(GoDuration::parse(text).unwrap());
        assert_eq!(read("0s"), CacheTime::Zero);
        assert_eq!(read("-1ns"), CacheTime::Endless);
        assert_eq!(read("1m").to_string(), "60 s");
        assert_eq!(read("1500ms").to_string(), "1500 ms");
        assert_eq!(CacheTime::default().to_string(), "30 s");
    }

    proptest! {
        #[test]
        fn whole_units_add_up(hours in 0_i64..1000, minutes in 0_i64..100_000, seconds in 0_i64..1_000_000, negative: bool) {
            let sign = if negative { -1 } else { 1 };
            let text = format!("{}{hours}h{minutes}m{seconds}s", if negative { "-" } else { "" });
            let expected = sign * ((hours * 60 + minutes) * 60 + seconds) * 1_000_000_000;
            prop_assert_eq!(GoDuration::parse(&text), Ok(GoDuration { nanoseconds: expected }));
        }

        #[test]
        fn nothing_makes_it_fall(text in "[-+0-9.hmsnu\u{b5} ]{0,30}") {
            let _ = GoDuration::parse(&text);
        }
    }
}
