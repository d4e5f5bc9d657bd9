//! Durations and moments as operators type them.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::Span;
use jiff::SpanRelativeTo;
use jiff::Timestamp;
use jiff::ToSpan;

/// The shortest and the longest wait that can be asked for.
const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(300);

/// The furthest expiry: an override that lives longer is a change to make in LaunchDarkly.
const EXPIRY_DAYS_MAX: i64 = 366;

/// Reads a wait such as `2s` or `500ms`.
///
/// # Errors
/// What is wrong, as a fragment that follows the name of the setting.
pub fn wait(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| format!("is {text:?}, not a time such as 2s or 500ms"))?;
    let wait = Duration::try_from(duration).unwrap_or_default();
    if (WAIT_MIN..=WAIT_MAX).contains(&wait) { Ok(wait) } else { Err(format!("is {text}, not from 50ms to 5m")) }
}

/// Reads the end of something: in a while (`2h`, `90m`, `1d 12h`), the next time that the clock shows `04:14Z`, or at
/// a moment (`2026-10-20T04:14Z`). UTC throughout.
///
/// # Errors
/// What is wrong, as a fragment that follows the name of the option.
pub fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let unclear = || format!("is {text:?}: 2h, 04:14Z or 2026-10-20T04:14Z is understood");
    let moment = if let Ok(span) = text.parse::<Span>() {
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| unclear())?;
        now.checked_add(length).map_err(|_| unclear())?
    } else {
        clock(text, now).or_else(|| text.parse().ok()).ok_or_else(unclear)?
    };
    if moment <= now {
        return Err(format!("is {text}, which is not ahead"));
    }
    if moment.duration_since(now) > SignedDuration::from_hours(24 * EXPIRY_DAYS_MAX) {
        return Err(format!("is {text}, which is more than a year ahead"));
    }
    Ok(moment)
}

/// `04:14Z`: the next time that it is so late.
fn clock(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (hours, minutes) = text.strip_suffix(['Z', 'z'])?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let day = now.strftime("%Y-%m-%d").to_string();
    let today: Timestamp = format!("{day}T{hours}:{minutes}:00Z").parse().ok()?;
    if today > now { Some(today) } else { today.checked_add(24.hours()).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        assert_eq!(wait("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(wait("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(wait("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(wait("2"), Err("is \"2\", not a time such as 2s or 500ms".to_owned()));
        for text in ["0s", "10ms", "1h", "-2s"] {
            assert_eq!(wait(text), Err(format!("is {text}, not from 50ms to 5m")));
        }
    }

    #[test]
    fn expiries() {
        let now: Timestamp = "2026-10-20T02:14:07Z".parse().unwrap();
        #[track_caller]
        fn case(now: Timestamp, text: &str, expected: &str) {
            let shown = expiry(text, now).map_or_else(|problem| problem, |moment| moment.to_string());
            assert_eq!(shown, expected);
        }
        case(now, "2h", "2026-10-20T04:14:07Z");
        case(now, "90m", "2026-10-20T03:44:07Z");
        case(now, "1d 12h", "2026-10-21T14:14:07Z");
        case(now, "04:14Z", "2026-10-20T04:14:00Z");
        case(now, "02:14Z", "2026-10-21T02:14:00Z");
        case(now, "2026-10-20T04:14Z", "2026-10-20T04:14:00Z");
        case(now, "2026-10-20T04:14:00+02:00", "is 2026-10-20T04:14:00+02:00, which is not ahead");
    }
}
