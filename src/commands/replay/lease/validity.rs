//! Until when a lease is good, by what the store has confirmed. Pure: times come in, from a clock that never stops.
//!
//! Once it is over it stays over: whoever was stopped past its end may find the lease free, and somebody else may have
//! replayed in between.

use std::time::Duration;

/// How long a lease is kept up while nothing is sent: somebody was asked, and went away.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Until when a lease is good.
#[derive(Debug)]
pub struct Validity {
    until: Duration,
    used: Duration,
    over: Option<String>,
}

impl Validity {
    /// Confirmed by the store, for so long from before it was asked.
    pub fn new(asked: Duration, lasts: Duration) -> Self {
        Self { until: asked + lasts, used: asked, over: None }
    }

    /// The store has confirmed it once more.
    pub fn renewed(&mut self, asked: Duration, lasts: Duration, now: Duration) {
        if !self.is_over(now) {
            self.until = self.until.max(asked + lasts);
        }
    }

    /// It is somebody else's.
    pub fn lost(&mut self, why: String) {
        self.over.get_or_insert(why);
    }

    /// Whether nothing may be sent by it any more.
    pub fn is_over(&mut self, now: Duration) -> bool {
        if self.over.is_none() && now >= self.until {
            let late = now.saturating_sub(self.until).as_secs();
            let why = format!(
                "this replay stood still, or its store did not answer: its right to replay ended {late} s ago, and somebody \
                 else may be at it"
            );
            self.over = Some(why);
        }
        self.over.is_some()
    }

    /// Whether it is to be kept up.
    pub fn is_wanted(&mut self, now: Duration) -> bool {
        !self.is_over(now) && now.saturating_sub(self.used) < IDLE_MAX
    }

    /// Whether a request that ends within `within` may be sent now.
    ///
    /// # Errors
    /// In words: why not.
    pub fn permits(&mut self, within: Duration, now: Duration) -> Result<(), String> {
        if !self.is_over(now) && now + within > self.until {
            self.lost("its right to replay could not be renewed in time: the store does not answer".to_owned());
        }
        match &self.over {
            Some(why) => Err(why.clone()),
            None => {
                self.used = now;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_request_must_end_before_it_does() {
        let mut validity = Validity::new(seconds(100), seconds(30));
        assert_eq!(validity.permits(seconds(10), seconds(120)), Ok(()));
        validity.renewed(seconds(119), seconds(30), seconds(121));
        assert_eq!(validity.permits(seconds(10), seconds(139)), Ok(()));
        assert!(validity.permits(seconds(10), seconds(140)).is_err());
        // Said once is said for good.
        validity.renewed(seconds(141), seconds(30), seconds(141));
        assert!(validity.permits(seconds(10), seconds(142)).is_err());
    }

    #[test]
    fn what_is_over_stays_over() {
        let mut validity = Validity::new(seconds(100), seconds(30));
        validity.renewed(seconds(129), seconds(30), seconds(130));
        assert!(validity.permits(seconds(1), seconds(131)).unwrap_err().contains("ended 0 s ago"));
        let mut validity = Validity::new(seconds(100), seconds(30));
        assert!(validity.is_over(seconds(135)));
        assert!(validity.permits(seconds(1), seconds(135)).unwrap_err().contains("ended 5 s ago"));
        let mut validity = Validity::new(seconds(100), seconds(30));
        validity.lost("bob has it".to_owned());
        assert_eq!(validity.permits(seconds(1), seconds(101)), Err("bob has it".to_owned()));
    }

    #[test]
    fn nobody_keeps_it_for_ever_by_going_away() {
        let mut validity = Validity::new(seconds(0), seconds(30));
        for at in (10..600).step_by(10) {
            assert!(validity.is_wanted(seconds(at)), "{at}");
            validity.renewed(seconds(at), seconds(30), seconds(at));
        }
        assert!(!validity.is_wanted(seconds(600)));
        assert_eq!(validity.permits(seconds(10), seconds(601)), Ok(()));
        assert!(validity.is_wanted(seconds(602)));
    }
}
