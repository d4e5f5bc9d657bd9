//! Whose a record in a store is: one that an override put there, one that LaunchDarkly is known to have had, or one that
//! has to be waited for. PURE. A record of ours that passed for LaunchDarkly's own would be overlaid again and again, and
//! an undo would put it back as LaunchDarkly's word; so what is not certain is not claimed.

use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::is_ours;
use crate::flag::patch;
use crate::flag::record::Record;

/// Whose a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// It stands for an override that is known.
    Ours,
    /// LaunchDarkly is known to have had it.
    LaunchDarklys,
    /// It is no newer than what is known of LaunchDarkly, and not that: a lagging copy, or one of ours that nobody
    /// remembers. LaunchDarkly gives a version to one content only.
    Old,
    /// Nothing explains it so far: LaunchDarkly's next one, if nobody else turns out to have written it.
    Unexplained,
    /// It is as the override wants it, under a version that the override does not explain: LaunchDarkly may have come to
    /// the same, or another guard knows a newer record of LaunchDarkly's than we do.
    Doubtful,
}

/// By what a record is judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'e> {
    /// What is in force.
    pub(super) standing: Option<&'e Override>,
    /// Every override of the flag that is remembered, those that ended and those of single stores included.
    pub(super) remembered: &'e [Override],
    /// Records that LaunchDarkly is known to have had, besides those that overrides name.
    pub(super) launchdarklys: &'e [Record],
    /// Whether overrides can stand beside records in that store.
    pub(super) own_keys: bool,
    /// Whether what was remembered was taken back, or edited again, only a moment ago: what another guard made of it may
    /// still stand there.
    pub(super) lately: bool,
}

impl Evidence<'_> {
    /// Whose `record` is.
    pub(super) fn whose(&self, record: &Record) -> Whose {
        // A deletion is never ours.
        if record.is_tombstone() {
            return Whose::LaunchDarklys;
        }
        if is_ours(record, self.standing.into_iter().chain(self.remembered)) {
            return Whose::Ours;
        }
        let named = self.standing.into_iter().chain(self.remembered).flat_map(|known| [&known.upstream, &known.base]);
        if self.launchdarklys.iter().chain(named).any(|known| known.same_value(record)) {
            return Whose::LaunchDarklys;
        }
        let may_be = |known: &Override| is_above(record, known) && changes_nothing(record, known);
        // A relay that is far behind writes what another guard made of LaunchDarkly's answer before it heard of the replay.
        let was_again = |known: &Override| is_overlaid_again(record, known) && changes_nothing(record, known);
        let was_ours = self.remembered.iter().any(|known| (self.lately && may_be(known)) || was_again(known));
        let Some(standing) = self.standing else {
            return if was_ours { Whose::Doubtful } else { Whose::Unexplained };
        };
        if record.version() <= standing.upstream.version() {
            return Whose::Old;
        }
        if was_ours || self.may_be_ours(record, standing) { Whose::Doubtful } else { Whose::Unexplained }
    }

    /// Whether it could be what the override makes of a record of LaunchDarkly's that is not known here.
    fn may_be_ours(&self, record: &Record, standing: &Override) -> bool {
        if !changes_nothing(record, standing) {
            return false;
        }
        let above = is_above(record, standing);
        let answered = matches!(standing.state, OverrideState::Replayed { version } if version == record.version());
        above || answered || is_overlaid_again(record, standing) || !self.own_keys
    }
}

fn changes_nothing(record: &Record, override_: &Override) -> bool {
    patch::changes_nothing(record, &override_.instructions).unwrap_or(true)
}

/// Whether its version is what a guard makes of LaunchDarkly's answer that has not heard yet that the override was replayed:
/// it overlays the answer once more.
fn is_overlaid_again(record: &Record, override_: &Override) -> bool {
    matches!(override_.state, OverrideState::Replayed { version }
        if version.saturating_add(override_.revision) == record.version())
}

/// Whether its version is above what the override makes of the newest record of LaunchDarkly's that it knows.
fn is_above(record: &Record, override_: &Override) -> bool {
    record.version() > override_.upstream.version().saturating_add(override_.revision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    fn off(upstream: u64) -> Override {
        override_of(&flag(upstream, true, 1, 0), &[Instruction::TurnFlagOff], change(1))
    }

    #[test]
    fn records_are_told_apart() {
        let standing = Override { revision: 2, ..off(42) };
        let ended = off(30);
        let known = [flag(44, true, 1, 1)];
        let remembered = [ended];
        let evidence = Evidence {
            standing: Some(&standing),
            remembered: &remembered,
            launchdarklys: &known,
            own_keys: true,
            lately: false,
        };
        let whose = |record: &Record| evidence.whose(record);
        assert_eq!(whose(&flag(44, false, 1, 0)), Whose::Ours);
        assert_eq!(whose(&flag(31, false, 1, 0)), Whose::Ours, "of one that ended");
        assert_eq!(whose(&flag(42, true, 1, 0)), Whose::LaunchDarklys, "what lies under the override");
        assert_eq!(whose(&flag(44, true, 1, 1)), Whose::LaunchDarklys, "its stream showed it");
        assert_eq!(whose(&flag(40, true, 1, 2)), Whose::Old);
        assert_eq!(whose(&flag(42, false, 1, 2)), Whose::Old, "another guard's, on a record from before");
        assert_eq!(whose(&flag(43, true, 1, 2)), Whose::Unexplained, "LaunchDarkly's next one");
        assert_eq!(whose(&flag(43, false, 1, 2)), Whose::Unexplained, "we never made it that low");
        assert_eq!(whose(&flag(52, false, 1, 2)), Whose::Doubtful, "the override on a record that we do not know");
        let gone = Record::parse(br#"{"key":"$deleted","deleted":true,"version":9}"#).unwrap();
        assert_eq!(whose(&gone), Whose::LaunchDarklys);
        let blind = Evidence { own_keys: false, ..evidence };
        assert_eq!(blind.whose(&flag(43, false, 1, 2)), Whose::Doubtful, "nothing can stand beside it");
        let nothing = Evidence { standing: None, remembered: &[], launchdarklys: &[], own_keys: true, lately: false };
        assert_eq!(nothing.whose(&flag(43, false, 1, 2)), Whose::Unexplained);
        let remembered = [off(42)];
        let taken_back = Evidence { remembered: &remembered, lately: true, ..nothing };
        assert_eq!(
            taken_back.whose(&flag(45, false, 1, 2)),
            Whose::Doubtful,
            "on a record that only another guard knows"
        );
        assert_eq!(taken_back.whose(&flag(45, true, 1, 2)), Whose::Unexplained);
        assert_eq!(Evidence { lately: false, ..taken_back }.whose(&flag(45, false, 1, 2)), Whose::Unexplained);
    }

    #[test]
    fn what_was_replayed_may_stand_under_launchdarklys_version() {
        let standing = Override { state: OverrideState::Replayed { version: 43 }, revision: 3, ..off(42) };
        let evidence =
            Evidence { standing: Some(&standing), remembered: &[], launchdarklys: &[], own_keys: true, lately: false };
        assert_eq!(evidence.whose(&flag(43, false, 1, 0)), Whose::Ours);
        assert_eq!(evidence.whose(&flag(43, false, 1, 2)), Whose::Doubtful, "on a record that we do not know");
        assert_eq!(evidence.whose(&flag(44, false, 1, 2)), Whose::Unexplained);
        assert_eq!(evidence.whose(&flag(44, true, 1, 0)), Whose::Unexplained);
        assert_eq!(evidence.whose(&flag(46, false, 1, 2)), Whose::Doubtful, "overlaid once more by another guard");
        // It is over, and that long ago: a relay that is far behind may still write it.
        let remembered = [standing.clone()];
        let over = Evidence { standing: None, remembered: &remembered, ..evidence };
        assert_eq!(over.whose(&flag(46, false, 1, 2)), Whose::Doubtful);
        assert_eq!(over.whose(&flag(47, false, 1, 2)), Whose::Unexplained);
        assert_eq!(over.whose(&flag(46, true, 1, 2)), Whose::Unexplained);
    }
}
