//! All that is known of one flag over all targets of an environment: what stands where, which override holds, how it ended.
//! PURE: times come in. It joins what single looks at single stores told; it must not know how a store is asked.
//!
//! What has to be kept apart, and how:
//!
//! * An override that is gone without an ended mark is not over (design 4.3): what held last is remembered, and holds on.
//! * An override that was not seen to be written, but found (a store that comes back), holds only once every store that
//!   answers was asked for marks of it: it may have ended while that store was away.
//! * A record that nothing explains is not believed before every store that answers was looked at again: the override that
//!   it stands for may be on its way, in another store or by another guard. What is doubtful is never believed.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::change::id::ChangeId;
use crate::change::merge::Said;
use crate::change::merge::Standing;
use crate::change::merge::merged;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Copy;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::guard::overrides::judgement::Evidence;
use crate::guard::overrides::judgement::Whose;
use crate::guard::overrides::place::Identity;
use crate::guard::overrides::place::Place;
use crate::guard::overrides::place::identity;
use crate::guard::stream::channel::Sight;
use crate::guard::stream::item::Item;
use crate::store::FlagReading;

/// How much later than a record that nothing explains all stores must have been looked at, before it is believed.
pub(super) const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// The same where a store of the environment does not answer, which may hold what explains it.
const BELIEVED_LATE: Duration = Duration::from_secs(20);

/// How long a doubtful record is kept back in the hope that it will be explained.
const DOUBTED_FOR: Duration = Duration::from_secs(10);

/// How long a flag is looked at after its override has ended.
pub(super) const KEPT_AFTER_END: Duration = Duration::from_secs(600);

/// The most overrides that are remembered of one flag, besides those that stand in its stores.
const REMEMBERED_MAX: usize = 16;

/// The most records of LaunchDarkly's that are remembered of one flag.
const LAUNCHDARKLYS_MAX: usize = 8;

/// The most overrides that are known to be no leftovers.
const CHECKED_MAX: usize = 64;

/// One flag.
#[derive(Debug)]
pub(super) struct KnownFlag {
    flag: FlagKey,
    places: BTreeMap<Target, Place>,
    /// What holds, or held last and has not ended.
    memory: Option<Override>,
    /// Since when this revision of it is known.
    since: Instant,
    remembered: Vec<Override>,
    launchdarklys: Vec<Record>,
    marks: BTreeMap<ChangeId, EndedMark>,
    checked: Vec<Identity>,
    /// Overrides that were found, and when; they may have ended long ago.
    unchecked: BTreeMap<Identity, Instant>,
    /// LaunchDarkly's newest record that its own stream showed.
    shown: Option<Record>,
    /// What LaunchDarkly's stream has shown to be there: ends wherever it still stands.
    settling: Option<(Override, Record)>,
    ended: Option<(EndedMark, Instant)>,
}

/// Around the targets of an environment, when a flag is gone over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// Those that answer, or were not asked yet.
    pub(super) answering: &'a BTreeSet<Target>,
    /// Whether there are others, which do not answer.
    pub(super) some_silent: bool,
    /// Now.
    pub(super) now: Instant,
}

/// What came of going over a flag.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// What clients may hold, and LaunchDarkly may have said.
    pub(super) sights: Vec<Sight>,
    /// Whether what holds is another than before.
    pub(super) changed: bool,
    /// Whether something waits for another look at all stores.
    pub(super) waits: bool,
    /// The override that was remembered and is not to be kept, since a log told of something later.
    pub(super) let_go: Option<Override>,
}

impl KnownFlag {
    pub(super) fn new(flag: FlagKey, now: Instant) -> Self {
        Self {
            flag,
            places: BTreeMap::new(),
            memory: None,
            since: now,
            remembered: Vec::new(),
            launchdarklys: Vec::new(),
            marks: BTreeMap::new(),
            checked: Vec::new(),
            unchecked: BTreeMap::new(),
            shown: None,
            settling: None,
            ended: None,
        }
    }

    /// The override that holds.
    pub(super) fn standing(&self) -> Option<&Override> {
        self.memory.as_ref()
    }

    /// Since when its revision is known.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// How the last one ended, if none holds.
    pub(super) fn ended(&self) -> Option<&EndedMark> {
        self.ended.as_ref().map(|(mark, _)| mark).filter(|_| self.memory.is_none())
    }

    /// The same, and what it was that ended, as far as that is remembered.
    pub(super) fn ended_with(&self) -> Option<(&EndedMark, Option<&Override>)> {
        let mark = self.ended()?;
        Some((mark, self.ours().find(|known| self.mark_of(known).is_some())))
    }

    /// Whether an override stands in any target, as far as they were looked at.
    pub(super) fn stands_anywhere(&self) -> bool {
        self.places.values().any(|place| place.seen().override_text.is_some())
    }

    /// What LaunchDarkly's stream has shown to be there.
    pub(super) fn settling(&self) -> Option<&(Override, Record)> {
        self.settling.as_ref()
    }

    /// Every override by which a record of ours can be told, the newest first.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Override> {
        self.memory.iter().chain(self.remembered.iter().rev())
    }

    /// What stands where.
    pub(super) fn place(&self, target: &Target) -> Option<&Place> {
        self.places.get(target)
    }

    pub(super) fn place_mut(&mut self, target: &Target) -> Option<&mut Place> {
        self.places.get_mut(target)
    }

    /// What stands in a target; nothing where it was not looked at yet.
    pub(super) fn place_or_new(&mut self, target: &Target, now: Instant) -> &mut Place {
        self.places.entry(target.clone()).or_insert_with(|| Place::new(now))
    }

    /// Whether an override was found that may have ended long ago.
    pub(super) fn has_unchecked(&self) -> bool {
        !self.unchecked.is_empty()
    }

    /// The targets whose override cannot be understood, and why.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (&Target, &str)> {
        self.places.iter().filter_map(|(target, place)| match &place.seen().override_ {
            Some(Err(why)) => Some((target, why.as_str())),
            _ => None,
        })
    }

    /// The changes whose ended marks have to be asked for.
    pub(super) fn changes(&self) -> BTreeSet<ChangeId> {
        self.ours().flat_map(|known| known.changes.iter().copied()).collect()
    }

    /// Whose a record in a target is that was seen there first at `seen_at`.
    pub(super) fn whose(&self, record: &Record, own_keys: bool, seen_at: Instant) -> Whose {
        let (standing, remembered) = (self.memory.as_ref(), self.remembered.as_slice());
        let changed = if standing.is_some() { Some(self.since) } else { self.ended.as_ref().map(|(_, at)| *at) };
        let lately = changed.is_some_and(|changed| seen_at.saturating_duration_since(changed) < DOUBTED_FOR);
        Evidence { standing, remembered, launchdarklys: &self.launchdarklys, own_keys, lately }.whose(record)
    }

    /// Whether it has to be looked at any longer.
    pub(super) fn is_of_interest(&self, now: Instant) -> bool {
        let lately = |(_, at): &(EndedMark, Instant)| now.duration_since(*at) < KEPT_AFTER_END;
        self.memory.is_some()
            || self.ended.as_ref().is_some_and(lately)
            || self.places.values().any(Place::is_of_interest)
    }

    /// The mark that says that this one is over.
    pub(super) fn mark_of(&self, override_: &Override) -> Option<&EndedMark> {
        let marks = override_.changes.iter().filter_map(|change| self.marks.get(change));
        marks.filter(|mark| mark.revision >= override_.revision).max_by_key(|mark| mark.revision)
    }

    /// Takes what a look at one target, begun at `looked`, told.
    pub(super) fn look(
        &mut self,
        target: &Target,
        (reading, own_keys): (&FlagReading, bool),
        environment: Option<&Environment>,
        looked: Instant,
    ) {
        let (flag, holds) = (self.flag.clone(), self.memory.as_ref().map(identity));
        let place = self.place_or_new(target, looked);
        if !place.look(reading, own_keys, (&flag, environment), looked) {
            return;
        }
        // What was heard was of one before it, or a failover has lost it.
        place.later_unseen &= place.seen().own().map(identity) != holds;
        let (own, marks) = (place.seen().own().cloned(), place.marks().to_vec());
        if let Some(own) = own {
            if !self.checked.contains(&identity(&own)) {
                self.unchecked.entry(identity(&own)).or_insert(looked);
            }
            self.remember(own);
        }
        for (change, mark) in marks {
            let known = self.marks.entry(change).or_insert_with(|| mark.clone());
            if mark.revision > known.revision {
                *known = mark;
            }
        }
    }

    /// A log told, as it was written, that this override was put: it is no leftover.
    pub(super) fn was_written(&mut self, which: Identity) {
        self.unchecked.remove(&which);
        if !self.checked.contains(&which) {
            self.checked.push(which);
            let surplus = self.checked.len().saturating_sub(CHECKED_MAX);
            self.checked.drain(..surplus);
        }
    }

    /// The log of a target told of an override of this revision, or of the end of one: what is remembered may be out of date.
    pub(super) fn heard_of(&mut self, (target, now): (&Target, Instant), revision: u64, is_end: bool) {
        let is_later = |memory: &Override| revision > memory.revision || (is_end && revision >= memory.revision);
        let is_later = self.memory.as_ref().is_some_and(is_later);
        self.place_or_new(target, now).later_unseen |= is_later;
    }

    /// LaunchDarkly's stream showed this record. Says whether that is news.
    pub(super) fn note_upstream(&mut self, record: &Record) -> bool {
        let newer = self.shown.as_ref().is_none_or(|shown| record.version() > shown.version());
        if newer {
            self.shown = Some(record.clone());
        }
        self.believe(record) || newer
    }

    /// Takes a record for LaunchDarkly's newest, if it is newer than what is known. Says whether it is.
    fn believe(&mut self, record: &Record) -> bool {
        if !self.launchdarklys.iter().any(|known| known == record) {
            self.launchdarklys.push(record.clone());
            let surplus = self.launchdarklys.len().saturating_sub(LAUNCHDARKLYS_MAX);
            self.launchdarklys.drain(..surplus);
        }
        let Some(memory) = &mut self.memory else { return false };
        if record.is_tombstone() || record.version() <= memory.upstream.version() {
            return false;
        }
        memory.upstream = record.clone();
        let memory = memory.clone();
        self.remember(memory);
        true
    }

    fn remember(&mut self, override_: Override) {
        if self.remembered.contains(&override_) {
            return;
        }
        self.remembered.push(override_);
        // What stands in a store that is away long outlives what came after it, and is what explains the record beside it.
        let stands = |known: &Override| self.places.values().any(|place| place.seen().own() == Some(known));
        let surplus = self.remembered.len().saturating_sub(REMEMBERED_MAX);
        let oldest: Vec<usize> =
            (0..self.remembered.len()).filter(|at| !stands(&self.remembered[*at])).take(surplus).collect();
        oldest.into_iter().rev().for_each(|at| drop(self.remembered.remove(at)));
    }

    /// LaunchDarkly's newest record that is known, from wherever.
    pub(super) fn newest(&self) -> Option<&Record> {
        self.ours().map(|known| &known.upstream).chain(&self.launchdarklys).max_by_key(|record| record.version())
    }

    /// LaunchDarkly's newest version that is known.
    pub(super) fn newest_version(&self) -> u64 {
        let known = self.newest().map(Record::version);
        // Without any override there is nothing of ours either.
        let stands =
            || self.places.values().filter_map(|place| place.seen().copy.readable()).map(Record::version).max();
        known.or_else(stands).unwrap_or_default()
    }

    /// Goes over everything that is known, after looks and news.
    pub(super) fn go_over(&mut self, around: Around<'_>) -> Gone {
        let mut gone = Gone::default();
        self.check(around);
        self.decide(around.now, &mut gone);
        self.begin_to_settle();
        let targets: Vec<Target> = self.places.keys().cloned().collect();
        for target in targets {
            self.tell(&target, around, &mut gone);
        }
        gone.waits |= !self.unchecked.is_empty();
        gone
    }

    /// Overrides that were found count once all stores that answer were asked for their marks.
    fn check(&mut self, around: Around<'_>) {
        // Where it stands, marks of it were looked for at the same moment.
        let is_asked = |which: &Identity, since: Instant| {
            let stands = |place: &Place| place.seen().own().is_some_and(|own| identity(own) == *which);
            let asked =
                |target: &Target| self.places.get(target).is_some_and(|place| place.looked() > since || stands(place));
            around.answering.iter().all(asked)
        };
        let asked = self.unchecked.iter().filter(|(which, since)| is_asked(which, **since));
        let asked: Vec<Identity> = asked.map(|(which, _)| *which).collect();
        asked.into_iter().for_each(|which| self.was_written(which));
        self.unchecked.retain(|which, _| self.remembered.iter().any(|known| identity(known) == *which));
    }

    /// Decides what holds.
    fn decide(&mut self, now: Instant, gone: &mut Gone) {
        let next = match self.merged(gone) {
            Standing::InForce(next) => Some(*next),
            Standing::Ended(mark) => {
                if self.memory.is_none() && self.ended.is_none() {
                    // It ended before anybody looked; what stands there is to be seen in that light.
                    self.places.values_mut().for_each(|place| place.wait_again(now));
                    self.ended = Some((mark, now));
                }
                None
            }
            Standing::None => None,
        };
        gone.changed = next != self.memory;
        if !gone.changed {
            return;
        }
        let of = |known: &Option<Override>| known.as_ref().map(identity);
        if of(&next) != of(&self.memory) {
            self.since = now;
            self.places.values_mut().for_each(|place| place.later_unseen = false);
        }
        match (&next, self.memory.take()) {
            (Some(next), _) => {
                self.ended = None;
                let next = next.clone();
                self.remember(next);
            }
            (None, Some(over)) => self.end(&over, now, gone),
            (None, None) => {}
        }
        self.memory = next;
    }

    /// Where LaunchDarkly's stream has shown what was replayed, the override ends wherever it stands.
    fn begin_to_settle(&mut self) {
        let Some(memory) = &self.memory else { return };
        let OverrideState::Replayed { version } = memory.state else { return };
        if let Some(shown) = self.shown.as_ref().filter(|shown| crate::change::seen::shows(shown, memory, version)) {
            self.settling = Some((memory.clone(), shown.clone()));
        }
    }

    /// What the stores and the memory come to.
    fn merged(&mut self, gone: &mut Gone) -> Standing {
        let counts = |own: &&Override| !self.unchecked.contains_key(&identity(own));
        let mut said: Vec<Said> = Vec::new();
        for (target, place) in &self.places {
            said.push((target.clone(), place.seen().own().filter(counts).cloned(), Vec::new()));
        }
        let nowhere = Target { store: String::new(), prefix: String::new() };
        let marks: Vec<_> = self.marks.iter().map(|(change, mark)| (*change, mark.clone())).collect();
        said.push((nowhere.clone(), None, marks.clone()));
        let stores = merged(&said);
        let Some(memory) = &self.memory else { return stores };
        let with_memory = |others: Option<&Override>| {
            let of = |known: Option<&Override>| (nowhere.clone(), known.cloned(), marks.clone());
            merged(&[of(others), of(Some(memory))])
        };
        match stores {
            Standing::InForce(found) if shares_history(&found, memory) => match with_memory(Some(&found)) {
                // It may know a newer record of LaunchDarkly's; of equal ones that of the store stays.
                Standing::InForce(mut both) => {
                    let newest = if memory.upstream.version() > found.upstream.version() { memory } else { &found };
                    both.upstream = newest.upstream.clone();
                    Standing::InForce(both)
                }
                _ => Standing::InForce(found),
            },
            Standing::InForce(found) => Standing::InForce(found),
            other => match with_memory(None) {
                Standing::InForce(_) if self.places.values().any(|place| place.later_unseen) => {
                    gone.let_go = Some(memory.clone());
                    other
                }
                Standing::InForce(kept) => Standing::InForce(kept),
                ended => ended,
            },
        }
    }

    /// The override that held is over.
    fn end(&mut self, over: &Override, now: Instant, gone: &mut Gone) {
        let Some(mark) = self.mark_of(over).cloned() else { return };
        if mark.ending == Ending::Settled
            && let Some(record) = self.launchdarklys_word(over, &mark)
        {
            // What LaunchDarkly has by now: without it, clients would be put back to what it had before.
            self.believe(&record);
            gone.sights.push(Sight { flag: self.flag.clone(), item: Item::of_record(&record), launchdarklys: true });
        }
        for place in self.places.values_mut() {
            // Whose it is may be clearer now.
            place.wait_again(now);
        }
        self.ended = Some((mark, now));
    }

    /// Tells what stands in a target, if it is another than the last time and it is known whose it is.
    fn tell(&mut self, target: &Target, around: Around<'_>, gone: &mut Gone) {
        let Some(place) = self.places.get(target) else { return };
        let Some(since) = place.waiting() else { return };
        let (copy, own_keys) = (place.seen().copy.clone(), place.seen().own_keys);
        let item = match &copy {
            Copy::Missing => Some((Item::Absent, false)),
            // Relays serve nothing of it.
            Copy::Damaged { .. } => None,
            Copy::Tombstone { record } => {
                self.believe(record);
                Some((Item::of_record(record), true))
            }
            Copy::Readable(record) => {
                let waited = around.now.duration_since(since);
                let whose = self.whose(record, own_keys, since);
                let launchdarklys = match whose {
                    Whose::Ours => self.stands_for_what_ended(record, target),
                    Whose::LaunchDarklys => true,
                    Whose::Old => false,
                    Whose::Unexplained if self.is_confirmed(since, around) => true,
                    Whose::Doubtful if waited >= DOUBTED_FOR => false,
                    Whose::Unexplained | Whose::Doubtful => {
                        gone.waits = true;
                        return;
                    }
                };
                if launchdarklys && self.believe(record) {
                    gone.changed = true;
                }
                Some((Item::of_record(record), launchdarklys))
            }
        };
        if let Some((item, launchdarklys)) = item {
            gone.sights.push(Sight { flag: self.flag.clone(), item, launchdarklys });
        }
        if let Some(place) = self.places.get_mut(target) {
            place.told();
        }
    }

    /// Whether a record like ours in a target is LaunchDarkly's all the same: the override was settled as just that.
    fn stands_for_what_ended(&self, record: &Record, target: &Target) -> bool {
        let Some(mark) = self.ended().filter(|mark| mark.ending == Ending::Settled) else { return false };
        // With its override beside it, it is what was left there, and may have LaunchDarkly's version by chance.
        let has_ended_here = || self.places.get(target).is_some_and(|place| place.seen().own().is_none());
        let is_it = mark.version == Some(record.version());
        is_it && self.settled_as(mark).map_or_else(has_ended_here, |known| known.same_value(record))
    }

    /// LaunchDarkly's record of the version under which an override was settled, if it is known.
    pub(super) fn settled_as(&self, mark: &EndedMark) -> Option<&Record> {
        self.launchdarklys.iter().rev().find(|record| Some(record.version()) == mark.version)
    }

    /// LaunchDarkly's record at the end of an override that it has: the one that is known, or that was left where it ended;
    /// else what it must come to.
    fn launchdarklys_word(&self, over: &Override, mark: &EndedMark) -> Option<Record> {
        let is_it = |record: &&Record| Some(record.version()) == mark.version;
        let left = self.places.values().map(Place::seen).filter(|seen| seen.override_text.is_none());
        let left = left.filter_map(|seen| seen.copy.readable());
        let known = self.launchdarklys.iter().rev().chain([&over.upstream]).chain(left).find(is_it);
        let version = match over.state {
            OverrideState::Replayed { version } => Some(version),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => mark.version,
        };
        // What it must have come to once is of no use where something later is known.
        let expected = version.filter(|version| *version > self.newest_version());
        known.cloned().or_else(|| over.answered(expected?).ok())
    }

    fn is_confirmed(&self, since: Instant, around: Around<'_>) -> bool {
        let looked =
            |target: &Target| self.places.get(target).is_some_and(|place| place.looked() >= since + BELIEVED_AFTER);
        let all = around.answering.iter().all(looked);
        all && (!around.some_silent || around.now.duration_since(since) >= BELIEVED_LATE)
    }
}

/// Whether both are states of one override.
pub(super) fn shares_history(one: &Override, other: &Override) -> bool {
    one.changes.iter().any(|change| other.changes.contains(change))
}
