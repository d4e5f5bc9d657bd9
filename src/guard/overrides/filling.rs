//! Whether a target still holds what relays filled it with. Who empties it (a flush, an eviction) takes every flag away from
//! relays that start and from SDKs that connect, and `rc update` refuses to write there; relays do not look, and fill it only
//! from a full update. Behind a guard they need not wait for LaunchDarkly: the guard sends them one. PURE: times come in.

use std::time::Duration;

use tokio::time::Instant;

/// How soon everything is sent again where it did not help; then twice as long each time.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The longest time until everything is sent again.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(600);

/// One target.
#[derive(Debug, Default)]
pub(super) struct Filling {
    /// Whether it was ever seen full: who fills one that never was, and with what, is not known here.
    was_full: bool,
    /// What is missing, while something is.
    lost: Option<Lost>,
}

/// A target that was emptied.
#[derive(Debug)]
struct Lost {
    whole: bool,
    due: Instant,
    wait: Duration,
}

impl Filling {
    /// It was looked at: whether `$inited` is there, and how many flags.
    pub(super) fn look(&mut self, initialised: bool, flag_count: u64, now: Instant) {
        if initialised && flag_count > 0 {
            *self = Self { was_full: true, lost: None };
        } else if self.was_full {
            let lost = self.lost.get_or_insert(Lost { whole: false, due: now, wait: AGAIN_AFTER });
            lost.whole = !initialised;
        }
    }

    /// Whether everything is to be sent now. Asking counts as sending.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let Some(lost) = self.lost.as_mut().filter(|lost| lost.due <= now) else { return false };
        lost.due = now + lost.wait;
        lost.wait = lost.wait.saturating_mul(2).min(AGAIN_AFTER_MAX);
        true
    }

    /// What it has lost, in words, while it is empty.
    pub(super) fn lost(&self) -> Option<&'static str> {
        let lost = self.lost.as_ref()?;
        Some(if lost.whole { "$inited is gone" } else { "no flag is left" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_emptied_is_filled_again_less_and_less_often() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut filling = Filling::default();
        filling.look(false, 0, begun);
        assert!(!filling.is_due(begun), "it never was full");
        filling.look(true, 3, begun);
        assert!(!filling.is_due(begun));
        assert_eq!(filling.lost(), None);
        let mut sent = Vec::new();
        for second in 1..4_000 {
            filling.look(false, 0, at(second));
            if filling.is_due(at(second)) {
                sent.push(second);
            }
        }
        assert_eq!(sent, [1, 3, 7, 15, 31, 63, 127, 255, 511, 1_023, 1_623, 2_223, 2_823, 3_423]);
        assert_eq!(filling.lost(), Some("$inited is gone"));
        filling.look(true, 0, at(4_000));
        assert_eq!(filling.lost(), Some("no flag is left"));
        filling.look(true, 2, at(4_001));
        assert!(!filling.is_due(at(9_000)));
        assert_eq!(filling.lost(), None);
        filling.look(true, 0, at(4_002));
        assert!(filling.is_due(at(4_002)), "a second time");
    }
}
