//! What a guard writes into stores so that every one of them knows what holds: an override is copied to a target that lacks
//! it or has an older state of it, written again where it vanished or LaunchDarkly's record took its record's place, kept up
//! to date with LaunchDarkly's newest record, and ended where it is over, or undone where it was to be over by now. PURE: it
//! plans; what it plans is recorded and compared before it is done.
//!
//! An override and its record are written together: an override whose record stands for something else would make everybody
//! who reads the two take our own record for LaunchDarkly's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::change::id::Actor;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::seen::Copy;
use crate::change::settle;
use crate::change::settle::Answer;
use crate::change::settle::Settling;
use crate::change::signing::Keys;
use crate::change::target::Target;
use crate::change::undo;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::flag::patch;
use crate::flag::record::Record;
use crate::guard::overrides::expiry::OnExpiry;
use crate::guard::overrides::judgement::Whose;
use crate::guard::overrides::known_flag::KnownFlag;
use crate::guard::overrides::known_flag::shares_history;
use crate::guard::overrides::ledger::Ledger;
use crate::guard::overrides::place::Place;
use crate::guard::stream::item::Item;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::overlay::Reason;
use crate::guard::stream::overlay::overlay;
use crate::store::WriteOutcome;

/// How long a target may lack an override before a guard copies it: whoever made it may still be writing.
pub(super) const COPIED_AFTER: Duration = Duration::from_secs(5);

/// How long an override has to be gone before it is written again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The shortest time between two writes of one flag to one target.
const REST: Duration = Duration::from_secs(1);

/// The longest time between two attempts.
const REST_MAX: Duration = Duration::from_secs(60);

/// The most writes to one target at a time.
const WRITES_MAX: usize = 200;

/// Why something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The target lacks it, or has an older state.
    Copied,
    /// It stood there and is gone, without having ended.
    Vanished,
    /// LaunchDarkly's record took the place of the override's own: a relay that no guard stands before was reset, or heard
    /// LaunchDarkly's word.
    Reasserted,
    /// LaunchDarkly has a newer record.
    Upstream,
    /// LaunchDarkly's stream shows it.
    Settled,
    /// It is over, by a mark in another target.
    Over,
    /// It was to be over by now, and is undone.
    Expired,
}

/// A write, and why.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) why: Why,
    pub(super) write: Write,
    /// The override that it is about.
    pub(super) about: Override,
}

/// Who writes, and by which rules.
#[derive(Debug, Clone)]
pub(super) struct Upkeep {
    /// Who.
    pub(super) actor: Actor,
    /// What holds in a conflict.
    pub(super) on_conflict: OnConflict,
    /// What is done about an override whose time has come.
    pub(super) on_expiry: OnExpiry,
    /// How much later than others this guard copies, so that not all of them do it at once.
    pub(super) patience: Duration,
    /// What it signs with.
    pub(super) keys: Option<Keys>,
}

/// Now, for waiting and for showing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Timestamp,
    pub(super) instant: Instant,
}

impl Upkeep {
    /// What is to be written to a target, by what was seen there last; at most one write for each flag.
    pub(super) fn due(&self, ledger: &Ledger, target: &Target, now: Now) -> Vec<Due> {
        let of = |known: &KnownFlag| self.of_flag(known, target, now);
        ledger.flags().values().filter_map(of).take(WRITES_MAX).collect()
    }

    fn of_flag(&self, known: &KnownFlag, target: &Target, now: Now) -> Option<Due> {
        let place = known.place(target)?;
        let seen = place.seen();
        let rests = place.rest_until.is_some_and(|until| now.instant < until);
        // What cannot be read is nobody's to overwrite; and without our keys there is nothing to keep.
        if rests || !seen.own_keys || matches!(seen.override_, Some(Err(_))) || is_no_document(&seen.copy) {
            return None;
        }
        let own = seen.own();
        if let Some((sent, shown)) =
            known.settling().filter(|(sent, _)| own.is_some_and(|own| shares_history(own, sent)))
        {
            let version = sent.replayed_as()?;
            return self.settled(Why::Settled, known, (target, place), (sent, version, shown), now);
        }
        if let Some((own, mark)) = own.and_then(|own| Some((own, known.mark_of(own)?))) {
            return self.over(known, (target, place), (own, mark), now);
        }
        let standing = known.standing()?;
        if self.on_expiry.undoes(standing, now.at) {
            return self.expired(known, (target, place), standing, now);
        }
        match own {
            None => {
                let (why, since, wait) = match place.vanished() {
                    Some(since) => (Why::Vanished, since, AGAIN_AFTER),
                    None => (Why::Copied, known.since(), COPIED_AFTER),
                };
                let waited = now.instant >= since.max(known.since()) + wait + self.patience;
                waited.then(|| self.put(why, known, target, place, standing)).flatten()
            }
            Some(own) if is_behind(own, standing) => {
                let waited = now.instant >= known.since() + COPIED_AFTER + self.patience;
                waited.then(|| self.put(Why::Copied, known, target, place, standing)).flatten()
            }
            Some(own) if is_same(own, standing) && own.upstream.version() < standing.upstream.version() => {
                let due = self.put(Why::Upstream, known, target, place, standing)?;
                Some(Due { why: if is_without(place, &due) { Why::Reasserted } else { Why::Upstream }, ..due })
            }
            Some(own) if is_same(own, standing) => {
                self.put(Why::Reasserted, known, target, place, standing).filter(|due| is_without(place, due))
            }
            // Another history: somebody else's, which is not ours to overwrite.
            Some(_) => None,
        }
    }

    fn by(&self, override_: &Override, now: Now) -> By {
        By { change: override_.change().unwrap_or_default(), actor: self.actor.clone(), at: now.at }
    }

    /// The override as it holds, and the record that goes with it.
    fn put(&self, why: Why, known: &KnownFlag, target: &Target, place: &Place, standing: &Override) -> Option<Due> {
        let seen = place.seen();
        let after = match self.paired(known, place, standing) {
            Paired::Stands => None,
            Paired::Becomes(record) => Some(record),
            Paired::Waits => return None,
        };
        let write = Write {
            target: target.clone(),
            flag: standing.flag.clone(),
            before: seen.copy.exact_record().cloned(),
            after,
            override_before: seen.override_text.clone(),
            override_after: OverrideWrite::Put(Arc::new(standing.clone())),
            change: standing.change()?,
        };
        Some(Due { why, write, about: standing.clone() })
    }

    /// What becomes of the record beside the override.
    fn paired(&self, known: &KnownFlag, place: &Place, standing: &Override) -> Paired {
        let record = match &place.seen().copy {
            Copy::Readable(record) => record,
            // LaunchDarkly's word goes through: what is not there is LaunchDarkly's to bring, what is deleted stays so.
            Copy::Tombstone { record } if record.version() >= standing.upstream.version() => return Paired::Waits,
            Copy::Missing | Copy::Tombstone { .. } | Copy::Damaged { .. } => return Paired::Stands,
        };
        let overlaid = overlay(&Item::of_record(&standing.upstream), standing, self.on_conflict);
        let Some(wanted) = overlaid.item.record().ok().flatten() else { return Paired::Stands };
        if matches!(overlaid.reason, Reason::Failed(_)) || record.same_value(&wanted) {
            return Paired::Stands;
        }
        match known.whose(record, true, place.seen_since()) {
            // What everybody should have, also where that is LaunchDarkly's own record, under LaunchDarkly's own version.
            Whose::Ours => Paired::Becomes(wanted),
            // LaunchDarkly's later word is not overwritten where a decision is needed.
            Whose::LaunchDarklys | Whose::Old if overlaid.reason != Reason::Held => Paired::Stands,
            Whose::LaunchDarklys | Whose::Old if record.version() > wanted.version() => Paired::Stands,
            Whose::LaunchDarklys | Whose::Old => Paired::Becomes(wanted),
            Whose::Doubtful if place.waiting().is_none() => Paired::Stands,
            Whose::Unexplained | Whose::Doubtful => Paired::Waits,
        }
    }

    /// Ends what has ended elsewhere.
    fn over(
        &self,
        known: &KnownFlag,
        (target, place): (&Target, &Place),
        (own, mark): (&Override, &EndedMark),
        now: Now,
    ) -> Option<Due> {
        if mark.ending == Ending::Settled {
            // What LaunchDarkly had before it was replayed is over.
            let version = mark.version?;
            let shown = known.newest().filter(|newest| newest.version() >= version)?;
            let mut due = self.settled(Why::Over, known, (target, place), (own, version, shown), now)?;
            if let OverrideWrite::End(marks) = &mut due.write.override_after {
                // With what it ended, and not what LaunchDarkly has by now.
                marks.iter_mut().for_each(|(_, own)| own.version = Some(version));
            }
            return Some(due);
        }
        let ended = Standing::Ended(mark.clone());
        let PutBack::Write(mut write) = undo::put_back(&self.by(own, now), mark.ending, target, place.seen(), &ended)
        else {
            return None;
        };
        with_newest(known, place, &mut write);
        Some(Due { why: Why::Over, write: *write, about: own.clone() })
    }

    /// Undoes what was to be over by now, as `rc undo` would.
    fn expired(
        &self,
        known: &KnownFlag,
        (target, place): (&Target, &Place),
        standing: &Override,
        now: Now,
    ) -> Option<Due> {
        let seen = place.seen();
        // Another history is somebody else's; and what has more edits than is known was written a moment ago.
        let is_other = |own: &Override| !shares_history(own, standing) || own.revision > standing.revision;
        // A record that may be ours must not stay behind as LaunchDarkly's.
        let whose = seen.copy.readable().map(|record| known.whose(record, true, place.seen_since()));
        let is_unclear = matches!(whose, Some(Whose::Unexplained | Whose::Doubtful)) && place.waiting().is_some();
        if is_unclear || seen.own().is_some_and(is_other) {
            return None;
        }
        let (by, in_force) = (self.by(standing, now), Standing::InForce(Box::new(standing.clone())));
        let write = match undo::undo(&by, target, seen, &in_force) {
            PutBack::Write(mut write) => {
                with_newest(known, place, &mut write);
                *write
            }
            // It was lost everywhere: what ended is said all the same, or those who remember it would hold it on.
            PutBack::NothingThere if !known.stands_anywhere() => undo::only_marks(&by, target, seen, standing),
            PutBack::NothingThere | PutBack::AlreadyReplayed { .. } | PutBack::OverrideUnreadable(_) => return None,
        };
        Some(Due { why: Why::Expired, write, about: standing.clone() })
    }

    /// Ends an override as which LaunchDarkly has been seen to have it.
    fn settled(
        &self,
        why: Why,
        known: &KnownFlag,
        (target, place): (&Target, &Place),
        (sent, version, shown): (&Override, u64, &Record),
        now: Now,
    ) -> Option<Due> {
        let (shown, keys) = (Some(shown), self.keys.as_ref());
        let answer = Answer {
            sent,
            version,
            shown,
            gives_way: false,
            ended: why == Why::Over,
            overlaid: true,
            from_before: false,
            keys,
        };
        let mut write = match settle::after_patch(&self.by(sent, now), target, place.seen(), &answer) {
            Ok(Settling::Settled(write)) => write,
            Ok(Settling::Newer(write)) => return Some(Due { why, write: *write, about: sent.clone() }),
            _ => return None,
        };
        with_newest(known, place, &mut write);
        Some(Due { why, write: *write, about: sent.clone() })
    }

    /// Notes what came of a write, which decides when the next one may be.
    pub(super) fn wrote(ledger: &mut Ledger, target: &Target, due: &Due, outcome: &WriteOutcome, now: Instant) {
        let known = ledger.flag_mut(&due.write.flag);
        let Some(place) = known.and_then(|known| known.place_mut(target)) else { return };
        let rest = match outcome {
            // What vanishes again and again is not written again and again.
            WriteOutcome::Written { .. } if due.why != Why::Vanished => {
                place.failures = 0;
                REST
            }
            _ => {
                place.failures = (place.failures + 1).min(16);
                (REST * 2_u32.saturating_pow(place.failures)).min(REST_MAX)
            }
        };
        place.rest_until = Some(now + rest);
    }
}

/// What becomes of a record.
enum Paired {
    /// It stays.
    Stands,
    /// This one takes its place.
    Becomes(Record),
    /// Nothing is written for now.
    Waits,
}

/// More is known here than one store tells: which record is ours, and which is LaunchDarkly's newest.
fn with_newest(known: &KnownFlag, place: &Place, write: &mut Write) {
    let is_ours = |record: &&Record| known.whose(record, true, place.seen_since()) == Whose::Ours;
    let record = place.seen().copy.readable().filter(is_ours);
    if let (Some(record), Some(newest)) = (record, known.newest()) {
        write.after = (!record.same_value(newest)).then(|| newest.clone());
    }
}

/// Whether the write brings the override's effect back: the record that stands there is without it.
fn is_without(place: &Place, due: &Due) -> bool {
    let OverrideWrite::Put(override_) = &due.write.override_after else { return false };
    let has_effect = |record: &Record| patch::changes_nothing(record, &override_.instructions).unwrap_or(true);
    due.write.after.is_some() && place.seen().copy.readable().is_some_and(|record| !has_effect(record))
}

/// Bytes that are not even a JSON object are never replaced.
fn is_no_document(copy: &Copy) -> bool {
    matches!(copy, Copy::Damaged { record: None, .. })
}

/// Whether both are the same but for LaunchDarkly's newest record.
fn is_same(own: &Override, standing: &Override) -> bool {
    own.revision == standing.revision && own.change() == standing.change() && own.state == standing.state
}

/// Whether `own` is an earlier state of what holds.
fn is_behind(own: &Override, standing: &Override) -> bool {
    let rank = |known: &Override| {
        let state = match known.state {
            OverrideState::InForce => (0, 0),
            OverrideState::AwaitingApproval { .. } => (1, 0),
            OverrideState::Replayed { version } => (2, version),
        };
        (known.revision, state)
    };
    shares_history(own, standing) && rank(own) < rank(standing)
}
