//! What a guard does about an override whose time has come (`rc update --expires`), and what it tells. PURE: times come in.

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::change::expiry;
use crate::change::override_::Override;

/// How long after its time an override may still be in force before that is alarmed, where the guard is to undo it.
const UNDONE_WITHIN: SignedDuration = SignedDuration::from_secs(15);

/// What is done when the time of an override has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExpiry {
    /// People are told, again and again.
    Alarm,
    /// It is undone.
    Undo,
}

impl OnExpiry {
    /// Whether an override is to be undone now. What LaunchDarkly has is not: undone here, its stream would bring it back.
    pub(super) fn undoes(self, override_: &Override, now: Timestamp) -> bool {
        let is_owed = override_.replayed_as().is_none();
        self == OnExpiry::Undo && is_owed && expiry::come(override_, now).is_some()
    }

    /// What is said of an override that should be over by now, and is not: other words each hour, so that it is told again.
    pub(super) fn alarm(self, override_: &Override, now: Timestamp) -> Option<String> {
        let expires = expiry::come(override_, now)?;
        let hours = now.duration_since(expires).as_hours();
        let since = if hours == 0 { String::new() } else { format!(", {hours} h ago") };
        let (flag, who) = (&override_.flag, &override_.motive.actor);
        let was_to = format!("the override of {flag} by {who} was to be over at {expires:.0}{since}");
        match (self, override_.replayed_as()) {
            (OnExpiry::Alarm, Some(_)) => None,
            (OnExpiry::Undo, Some(version)) => Some(format!(
                "{was_to}, and was replayed before: LaunchDarkly has it as version {version}, so it is not undone here. To \
                 end it, change it in LaunchDarkly"
            )),
            (OnExpiry::Alarm, None) => Some(format!(
                "{was_to}, and is in force. Back to LaunchDarkly's value: rc undo {flag}. To keep it: rc replay"
            )),
            (OnExpiry::Undo, None) if now < expires.saturating_add(UNDONE_WITHIN).unwrap_or(Timestamp::MAX) => None,
            (OnExpiry::Undo, None) => Some(format!(
                "{was_to}, and is still in force: it is undone as soon as a store takes it and nobody is replaying. By hand: \
                 rc undo {flag}"
            )),
        }
    }
}

/// What is said besides of an override that LaunchDarkly has accepted and that was to be over later: nothing here will end it.
pub(super) fn stays(override_: &Override, now: Timestamp) -> String {
    match override_.motive.expires.filter(|expires| *expires > now) {
        Some(expires) => {
            format!(". It was to be over at {expires:.0}: LaunchDarkly keeps it until somebody changes it there")
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::override_::OverrideState;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    fn off() -> Override {
        override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1))
    }

    fn after(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    #[test]
    fn what_should_be_over_is_told_when_it_comes_and_in_other_words_each_hour() {
        let mut override_ = off();
        let told = |override_: &Override, minutes| OnExpiry::Alarm.alarm(override_, after(minutes));
        assert_eq!(told(&override_, 600), None, "it is to stay until somebody ends it");
        override_.motive.expires = Some(after(0));
        assert_eq!(told(&override_, -1), None);
        let first = told(&override_, 0).unwrap();
        assert!(
            first.contains("rc undo checkout") && first.contains("1970-01-01T00:00:00Z, and is in force"),
            "{first}"
        );
        assert_eq!(told(&override_, 59).unwrap(), first);
        let second = told(&override_, 60).unwrap();
        assert!(second.contains("1970-01-01T00:00:00Z, 1 h ago"), "{second}");
        assert_eq!(told(&override_, 119).unwrap(), second);
        override_.state = OverrideState::Replayed { version: 43 };
        assert_eq!(told(&override_, 1), None, "LaunchDarkly has it: nothing is owed any more");
    }

    #[test]
    fn where_it_is_to_be_undone_people_hear_of_what_is_not() {
        let mut override_ = Override { state: OverrideState::AwaitingApproval { request: "r".to_owned() }, ..off() };
        assert!(!OnExpiry::Undo.undoes(&override_, after(600)), "nobody named a time");
        override_.motive.expires = Some(after(0));
        assert!(!OnExpiry::Undo.undoes(&override_, after(-1)) && OnExpiry::Undo.undoes(&override_, after(0)));
        assert!(!OnExpiry::Alarm.undoes(&override_, after(0)));
        assert_eq!(OnExpiry::Undo.alarm(&override_, after(0)), None, "it is being undone");
        assert!(OnExpiry::Undo.alarm(&override_, after(1)).unwrap().contains("still in force"));
        override_.state = OverrideState::Replayed { version: 43 };
        assert!(!OnExpiry::Undo.undoes(&override_, after(1)));
        let told = OnExpiry::Undo.alarm(&override_, after(0)).unwrap();
        assert!(told.contains("as version 43") && told.contains("change it in LaunchDarkly"), "{told}");
        assert!(stays(&override_, after(-1)).contains("1970-01-01T00:00:00Z"));
        assert_eq!(stays(&override_, after(0)), "");
    }
}
