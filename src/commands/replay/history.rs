//! What LaunchDarkly's audit log says about an override: whether LaunchDarkly has had it, whose values stand there now, and
//! whether a version that moved is accounted for. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::override_::Override;
use crate::change::reconcile::History;
use crate::flag::aspect::Aspect;
use crate::flag::instruction::Instruction;
use crate::launchdarkly::audit::AuditEntry;
use crate::launchdarkly::audit::AuditLog;
use crate::launchdarkly::audit::Wrote;

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// What counts in a comparison.
    pub history: History,
    /// LaunchDarkly has had the override as it is now: a replay of it was cut off before anybody noted it. How many
    /// entries have come since: what stands there now was decided after it.
    pub delivered: Option<u64>,
    /// The newest entry of others that touched what the override touches, or may have.
    pub since: Option<AuditEntry>,
}

/// Reads it off. `moved`: by how much LaunchDarkly's version has gone up since the override's base.
pub fn told(audit: &AuditLog, override_: &Override, moved: u64) -> Told {
    let touched: BTreeSet<Aspect> = override_.instructions.iter().map(Instruction::aspect).collect();
    // An entry that names a change of ours and ends with one that we do not know is a later edition of this override, which
    // the store has lost (a failover): what it wrote was decided after all that stands here.
    let ours = |entry: &&AuditEntry| entry.newest_change().is_some_and(|newest| override_.changes.contains(&newest));
    let touches = |entry: &&AuditEntry| touched.iter().any(|aspect| entry.wrote(*aspect) != Wrote::No);
    let by_others = |entry: &&AuditEntry| touches(entry) && !ours(entry);
    // Whoever names a variation by its place stands on the list. A list that is another one now is seen by comparing; one
    // that was changed and changed back is not.
    let names_one = override_.instructions.iter().any(|instruction| instruction.variation().is_some());
    let moves_list = |entry: &&AuditEntry| names_one && entry.wrote(Aspect::Variations) != Wrote::No;
    let newest = override_.change();
    let delivering = |entry: &&AuditEntry| {
        let is_it = newest.is_some_and(|change| entry.is_replay_of(change));
        is_it && touched.iter().any(|aspect| entry.wrote(*aspect) == Wrote::Yes)
    };
    let first = |wanted: &dyn Fn(&&AuditEntry) -> bool| audit.entries.iter().position(|entry| wanted(&entry));
    let delivered = first(&|entry| delivering(entry) && ours(entry)).or_else(|| first(&delivering));
    let since = delivered.map_or(audit.entries.len(), |position| position.saturating_add(1));
    let began = began(override_);
    let after_the_beginning = |entry: &&AuditEntry| began.is_none_or(|began| entry.at >= began);
    let is_touched = audit.entries.iter().filter(after_the_beginning).any(|entry| by_others(&entry));
    let wanted = usize::try_from(moved).unwrap_or(usize::MAX);
    let newest: Vec<&AuditEntry> = audit.entries.iter().take(wanted).collect();
    let touched_since_the_base = newest.iter().any(by_others);
    let accounted = newest.len() == wanted && !touched_since_the_base && !newest.iter().any(moves_list);
    Told {
        history: History {
            // One entry for each version is what LaunchDarkly seems to do, and nowhere promised. So none that came after
            // the override may touch it either.
            explained: Some(accounted && !is_touched),
            // The store may have been behind LaunchDarkly when the override began: what came before it, and after its base,
            // nobody here has seen.
            touched: is_touched || touched_since_the_base,
            ours: whose(audit, &touched, ours),
        },
        delivered: delivered.and_then(|newer| u64::try_from(newer).ok()),
        since: audit.entries.iter().take(since).find(by_others).cloned(),
    }
}

/// When the first change of an override was made, by the clock of whoever made it. Beside LaunchDarkly's clock it only
/// decides whether to ask once more.
fn began(override_: &Override) -> Option<Timestamp> {
    let made = override_.changes.iter().filter_map(|change| change.made_at_ms()).min()?;
    Timestamp::from_millisecond(i64::try_from(made).ok()?).ok()
}

/// The aspects that were written last by an entry of ours; `None` where the log does not reach back to who wrote one.
fn whose(
    audit: &AuditLog,
    touched: &BTreeSet<Aspect>,
    ours: impl Fn(&&AuditEntry) -> bool,
) -> Option<BTreeSet<Aspect>> {
    let mut from_us = BTreeSet::new();
    for aspect in touched {
        match audit.entries.iter().find(|entry| entry.wrote(*aspect) != Wrote::No) {
            Some(entry) if ours(&entry) => {
                from_us.insert(*aspect);
            }
            None if !audit.complete => return None,
            Some(_) | None => {}
        }
    }
    Some(from_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::id::ChangeId;
    use crate::change::sample;
    use crate::launchdarkly::comment::comment;

    /// One minute after the other, the last one newest; each with its actions and the change that it replays.
    fn log(entries: &[(&[&str], Option<ChangeId>)]) -> AuditLog {
        let of_one: Vec<(&[&str], &[ChangeId])> =
            entries.iter().map(|(actions, change)| (*actions, change.as_slice())).collect();
        log_of_several(&of_one)
    }

    /// The same, each the replay of several changes.
    fn log_of_several(entries: &[(&[&str], &[ChangeId])]) -> AuditLog {
        let motive = off(&[]).motive;
        let began: Timestamp = "2026-10-20T02:00:00Z".parse().unwrap();
        let entry = |(minute, (actions, changes)): (usize, &(&[&str], &[ChangeId]))| AuditEntry {
            at: began + jiff::SignedDuration::from_mins(i64::try_from(minute).unwrap()),
            title: String::new(),
            comment: if changes.is_empty() { String::new() } else { comment("off", &motive, changes) },
            author: "carol".to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        };
        AuditLog { entries: entries.iter().enumerate().map(entry).rev().collect(), complete: true }
    }

    fn off(changes: &[ChangeId]) -> Override {
        let mut off =
            sample::override_of(&sample::flag(42, true, 1, 0), &[Instruction::TurnFlagOff], sample::change(1));
        off.changes = changes.to_vec();
        off
    }

    /// A change that was made half a minute after `minute`.
    fn made_after(minute: i64) -> ChangeId {
        let began: Timestamp = "2026-10-20T02:00:30Z".parse().unwrap();
        let at = began + jiff::SignedDuration::from_mins(minute);
        let id = format!("{:012x}", at.as_millisecond());
        format!("{}-{}-7000-8000-000000000000", &id[..8], &id[8..]).parse().unwrap()
    }

    #[test]
    fn a_version_that_moved_is_explained() {
        let explained = |log: &AuditLog, moved| told(log, &off(&[made_after(0)]), moved).history.explained;
        let quiet: (&[&str], Option<ChangeId>) = (&["updateTags"], None);
        let toggled: (&[&str], Option<ChangeId>) = (&["updateOn"], None);
        assert_eq!(explained(&log(&[quiet, quiet, quiet]), 2), Some(true));
        assert_eq!(explained(&log(&[quiet, toggled, toggled]), 2), Some(false));
        assert_eq!(explained(&log(&[toggled, quiet, quiet]), 2), Some(true), "that was before");
        assert_eq!(explained(&log(&[quiet]), 2), Some(false), "one version is not accounted for");
        assert_eq!(explained(&log(&[]), 2), Some(false));
        let list: (&[&str], Option<ChangeId>) = (&["updateFlagVariations"], None);
        assert_eq!(explained(&log(&[list, list]), 2), Some(true), "off names no variation");
        let mut serve = off(&[made_after(0)]);
        serve.instructions.push(Instruction::UpdateOffVariation { variation: 1 });
        assert_eq!(told(&log(&[list, list]), &serve, 2).history.explained, Some(false));
        let unknown: (&[&str], Option<ChangeId>) = (&["copyFlagConfigTo"], None);
        assert_eq!(explained(&log(&[quiet, unknown, unknown]), 2), Some(false), "it may be anything");
        // Were tags to move no version, the two that did would be these.
        assert_eq!(explained(&log(&[quiet, toggled, toggled, quiet, quiet]), 2), Some(false));
    }

    /// The store was behind: LaunchDarkly had moved on before the override was made on the old record.
    #[test]
    fn what_came_after_the_base_counts_though_it_came_before_the_override() {
        let rule: (&[&str], Option<ChangeId>) = (&["updateRules"], None);
        let toggled: (&[&str], Option<ChangeId>) = (&["updateOn"], None);
        let touched = |log: &AuditLog, moved| told(log, &off(&[made_after(9)]), moved).history.touched;
        assert!(touched(&log(&[toggled, toggled, rule]), 3));
        assert!(touched(&log(&[toggled, toggled, rule]), 2));
        assert!(!touched(&log(&[toggled, toggled, rule]), 1), "the base has what came before");
        assert!(!touched(&log(&[rule, rule]), 2));
    }

    #[test]
    fn whose_values_stand_there() {
        let (first, second) = (made_after(0), made_after(2));
        let ours: (&[&str], Option<ChangeId>) = (&["updateOn"], Some(first));
        let carols: (&[&str], Option<ChangeId>) = (&["updateOn"], None);
        let override_ = off(&[first, second]);
        let from_us = |log: &AuditLog| told(log, &override_, 1).history.ours;
        assert_eq!(from_us(&log(&[carols, ours])), Some([Aspect::On].into()));
        assert_eq!(from_us(&log(&[ours, carols])), Some([].into()));
        assert_eq!(from_us(&log(&[])), Some([].into()));
        assert_eq!(from_us(&AuditLog { complete: false, ..log(&[]) }), None);
        assert_eq!(told(&log(&[carols, ours]), &override_, 1).delivered, None, "not the newest change");
    }

    #[test]
    fn what_launchdarkly_has_had_is_delivered() {
        let change = made_after(0);
        let with = |actions: &'static [&'static str]| {
            let carols: (&[&str], Option<ChangeId>) = (&["updateOn"], None);
            told(&log(&[(actions, Some(change)), carols]), &off(&[change]), 2)
        };
        let found = with(&["updateOn"]);
        assert_eq!(found.delivered, Some(1));
        assert_eq!(found.since.unwrap().author, "carol");
        assert_eq!(with(&["createApprovalRequest"]).delivered, None, "only asked for");
        assert_eq!(with(&["updateTags"]).delivered, None, "not what it asks for");
    }

    /// A failover took the second edition from the store, after LaunchDarkly had got both.
    #[test]
    fn a_later_edition_of_the_override_that_the_store_lost_is_the_later_word() {
        let (first, second) = (made_after(0), made_after(2));
        let off_was_sent: (&[&str], &[ChangeId]) = (&["updateOn"], &[first]);
        let then_on: (&[&str], &[ChangeId]) = (&["updateOn"], &[first, second]);
        let found = told(&log_of_several(&[off_was_sent, then_on]), &off(&[first]), 2);
        assert_eq!(found.delivered, Some(1));
        assert!(found.since.unwrap().is_replay_of(second));
        assert_eq!(found.history.ours, Some([].into()), "what stands there is not of this edition");
        let at_once = told(&log_of_several(&[then_on]), &off(&[first]), 1);
        assert_eq!(at_once.delivered, Some(0), "with the later one");
        assert!(at_once.since.unwrap().is_replay_of(second));
        let whole = told(&log_of_several(&[off_was_sent, then_on]), &off(&[first, second]), 2);
        assert_eq!((whole.delivered, whole.since), (Some(0), None));
        let elsewhere: (&[&str], &[ChangeId]) = (&["updateRules"], &[first, second]);
        assert_eq!(told(&log_of_several(&[off_was_sent, elsewhere]), &off(&[first]), 2).since, None, "not about on");
    }
}
