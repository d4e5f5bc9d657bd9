//! What a step of the rehearsal came to: what was done, what was expected and what was seen. PURE. It compares texts and
//! nothing else, so what is judged is exactly what is shown. It must not know how anything was done or seen.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use super::operator::Ran;

/// Something that was looked at by other means than the code under rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: String,
    /// What should have been seen.
    pub expected: String,
    /// What was seen.
    pub saw: String,
    /// When it was seen, counted from what the scene says; `None` where time does not matter.
    pub after: Option<Duration>,
}

impl Check {
    /// Whether what was seen is what was expected.
    pub fn held(&self) -> bool {
        self.expected == self.saw
    }
}

/// Something that was done in a step.
#[derive(Debug, Clone)]
pub enum Deed {
    /// A command of `rc`.
    Command(Ran),
    /// What the drill did in somebody else's place: LaunchDarkly, a relay, a colleague.
    Other(String),
}

/// A step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    /// Its title.
    pub title: &'static str,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What was done, in order.
    pub deeds: Vec<Deed>,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
    /// Why it could not be played to its end: the drill's own trouble.
    pub broken: Option<String>,
}

impl Step {
    /// A step in which nothing has happened yet.
    pub fn begun(number: usize, title: &'static str, at: Timestamp) -> Self {
        Self { number, title, at, took: Duration::ZERO, deeds: Vec::new(), checks: Vec::new(), broken: None }
    }

    /// Notes what was done in somebody else's place.
    pub fn tell(&mut self, told: impl Into<String>) {
        self.deeds.push(Deed::Other(told.into()));
    }

    /// Notes what was expected and what was seen.
    pub fn check(&mut self, what: impl Into<String>, expected: impl Display, saw: impl Display) {
        let (expected, saw) = (expected.to_string(), saw.to_string());
        self.checks.push(Check { what: what.into(), expected, saw, after: None });
    }

    /// [`Step::check`], with when it was seen.
    pub fn check_after(&mut self, what: impl Into<String>, expected: impl Display, saw: impl Display, after: Duration) {
        let (expected, saw) = (expected.to_string(), saw.to_string());
        self.checks.push(Check { what: what.into(), expected, saw, after: Some(after) });
    }

    /// Whether it was played to its end, something was looked at, and all of it was as expected.
    pub fn held(&self) -> bool {
        self.broken.is_none() && !self.checks.is_empty() && self.checks.iter().all(Check::held)
    }

    /// The first thing that was not as expected, in words; `None` where the step held.
    pub fn why_not(&self) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        match self.checks.iter().find(|check| !check.held()) {
            Some(check) => Some(format!("{}: expected {}, saw {}", check.what, check.expected, check.saw)),
            None if self.checks.is_empty() => Some("nothing was looked at".to_owned()),
            None => None,
        }
    }
}

/// Whether the whole rehearsal held: every one of the `planned` steps was played, and each held.
pub fn all_held(steps: &[Step], planned: usize) -> bool {
    steps.len() == planned && steps.iter().all(Step::held)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(checks: &[(&str, &str)]) -> Step {
        let mut step = Step::begun(1, "a step", Timestamp::UNIX_EPOCH);
        for (expected, saw) in checks {
            step.check("the store", expected, saw);
        }
        step
    }

    #[test]
    fn a_step_holds_only_if_everything_does() {
        assert!(step(&[("off v43", "off v43"), ("0", "0")]).held());
        let not_held = step(&[("0", "0"), ("off v43", "on v42")]);
        assert!(!not_held.held());
        assert_eq!(not_held.why_not().as_deref(), Some("the store: expected off v43, saw on v42"));
    }

    #[test]
    fn a_step_in_which_nothing_was_looked_at_does_not_hold() {
        assert!(!step(&[]).held());
        assert_eq!(step(&[]).why_not().as_deref(), Some("nothing was looked at"));
    }

    #[test]
    fn a_broken_step_does_not_hold() {
        let mut broken = step(&[("0", "0")]);
        broken.broken = Some("redis-server is gone".to_owned());
        assert!(!broken.held());
        assert_eq!(broken.why_not().as_deref(), Some("redis-server is gone"));
    }

    #[test]
    fn one_step_that_does_not_hold_or_is_missing_fails_the_whole() {
        let (good, bad) = (step(&[("0", "0")]), step(&[("0", "1")]));
        assert!(all_held(&[good.clone(), good.clone()], 2));
        assert!(!all_held(&[good.clone(), bad], 2));
        assert!(!all_held(&[good], 2));
        assert!(!all_held(&[], 1));
    }
}
