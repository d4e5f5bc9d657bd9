//! When an override was to be over (`--expires`), held against a time that comes in, and against the mark of its end. It
//! must not know what is done about it. The newest edit's word counts: one that names a later time extends the override, and
//! one that names none lets it stay.
//!
//! Times order nothing here either. Whether the time has come is told by the clock of whoever asks; whose an edit is that is
//! made at the same moment, compare-and-set on the override tells.

use jiff::Timestamp;

use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;

/// When it was to be over, if that has come.
pub fn come(override_: &Override, now: Timestamp) -> Option<Timestamp> {
    override_.motive.expires.filter(|expires| *expires <= now)
}

/// When something was to be over that was undone after that: whoever asks what became of it wants to know.
pub fn came_before(expires: Option<Timestamp>, mark: &EndedMark) -> Option<Timestamp> {
    expires.filter(|expires| mark.ending == Ending::Undone && *expires <= mark.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::mark;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    #[test]
    fn time_has_come_when_it_is_there_and_not_before() {
        let at = Timestamp::UNIX_EPOCH;
        let second = jiff::SignedDuration::from_secs(1);
        let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
        assert_eq!(come(&override_, Timestamp::MAX), None);
        override_.motive.expires = Some(at);
        assert_eq!(come(&override_, at - second), None);
        assert_eq!(come(&override_, at), Some(at));
    }

    #[test]
    fn only_what_was_undone_after_its_time_ended_by_it_as_far_as_anybody_knows() {
        let undone = mark(Ending::Undone, 1);
        let second = jiff::SignedDuration::from_secs(1);
        assert_eq!(came_before(None, &undone), None);
        assert_eq!(came_before(Some(undone.at), &undone), Some(undone.at));
        assert_eq!(came_before(Some(undone.at + second), &undone), None);
        assert_eq!(came_before(Some(undone.at), &mark(Ending::Settled, 1)), None);
    }
}
