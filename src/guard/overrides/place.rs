//! What stands of one flag in one target, as it was looked at last, and what has been told of it. PURE.

use tokio::time::Instant;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::store::FlagReading;

/// The most revisions of which it is remembered that they stood somewhere.
const STOOD_MAX: usize = 64;

/// The most entries of a log that wait for a look.
const HEARD_MAX: usize = 64;

/// Which revision of which override: its newest change, and the number of its edits.
pub(super) type Identity = (Option<ChangeId>, u64);

/// Which one it is.
pub(super) fn identity(override_: &Override) -> Identity {
    (override_.change(), override_.revision)
}

/// One flag in one target.
#[derive(Debug)]
pub(super) struct Place {
    seen: Seen,
    bytes: Option<Vec<u8>>,
    marks: Vec<(ChangeId, EndedMark)>,
    /// When the look began.
    looked: Instant,
    /// When the record was looked at last that stood there before.
    other_until: Instant,
    /// Since when what stands there is to be told, until it is.
    waiting: Option<Instant>,
    /// Since when an override is gone that stood there.
    vanished: Option<Instant>,
    stood: Vec<Identity>,
    /// Revisions that the log told of and nobody has seen.
    heard: Vec<Identity>,
    /// Whether the log may have left something out since the last look.
    gap: bool,
    /// Whether the log told of something later than the override that is remembered, and a look has not told what.
    pub(super) later_unseen: bool,
    /// When it may be written next, and how often that went wrong.
    pub(super) rest_until: Option<Instant>,
    pub(super) failures: u32,
}

impl Place {
    /// Takes what a look that began at `looked` found. Says whether it could be understood; if not, what was known stays.
    pub(super) fn look(
        &mut self,
        reading: &FlagReading,
        own_keys: bool,
        (flag, environment): (&FlagKey, Option<&Environment>),
        looked: Instant,
    ) -> bool {
        let Some(marks) = reading.marks.clone() else { return false };
        let (override_text, override_) = match &reading.override_ {
            Some(stored) => (Some(stored.text.clone()), Some(stored.parsed.clone())),
            None => (None, None),
        };
        let foreign = |own: &Override| own.flag != *flag || environment.is_some_and(|here| own.environment != *here);
        let override_ = match override_ {
            Some(Ok(own)) if foreign(&own) => {
                Some(Err(format!("it says that it belongs to {} of {}", own.flag, own.environment)))
            }
            other => other,
        };
        // What was missed is missed only if something became of it.
        self.gap &= self.seen.override_text != override_text;
        self.vanished = match (self.seen.own().is_some(), &override_text) {
            (true, None) => Some(looked),
            (false, None) => self.vanished,
            (_, Some(_)) => None,
        };
        if self.bytes != reading.record {
            self.seen.copy = Copy::of(reading.record.as_deref());
            self.bytes.clone_from(&reading.record);
            self.waiting = Some(looked);
            self.other_until = self.looked;
        }
        (self.seen.own_keys, self.seen.override_text, self.seen.override_) = (own_keys, override_text, override_);
        if let Some(own) = self.seen.own() {
            self.stood.push(identity(own));
            self.stood.dedup();
            let surplus = self.stood.len().saturating_sub(STOOD_MAX);
            self.stood.drain(..surplus);
        }
        (self.marks, self.looked) = (marks, looked);
        true
    }

    /// Nothing is known yet.
    pub(super) fn new(looked: Instant) -> Self {
        Self {
            seen: Seen::default(),
            bytes: None,
            marks: Vec::new(),
            looked,
            other_until: looked,
            waiting: None,
            vanished: None,
            stood: Vec::new(),
            heard: Vec::new(),
            gap: false,
            later_unseen: false,
            rest_until: None,
            failures: 0,
        }
    }

    /// What stands there.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The ended marks that stand there.
    pub(super) fn marks(&self) -> &[(ChangeId, EndedMark)] {
        &self.marks
    }

    /// Since when what stands there is known, as long as it was not told; else when it was looked at last.
    pub(super) fn seen_since(&self) -> Instant {
        self.waiting().unwrap_or_else(|| self.looked())
    }

    /// When the last look began.
    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    /// When another record than the one that stands there was seen last: it has stood there for this long at most.
    pub(super) fn other_until(&self) -> Instant {
        self.other_until
    }

    /// Since when an override is gone that stood there.
    pub(super) fn vanished(&self) -> Option<Instant> {
        self.vanished
    }

    /// Whether an override stands there, in whatever state, or something is yet to be told.
    pub(super) fn is_of_interest(&self) -> bool {
        self.seen.override_text.is_some() || self.waiting.is_some() || !self.heard.is_empty()
    }

    /// Since when what stands there is to be told.
    pub(super) fn waiting(&self) -> Option<Instant> {
        self.waiting
    }

    /// It was told.
    pub(super) fn told(&mut self) {
        self.waiting = None;
    }

    /// What stands there is to be told again.
    pub(super) fn wait_again(&mut self, now: Instant) {
        self.waiting.get_or_insert(now);
    }

    /// The log told of a revision.
    pub(super) fn heard_of(&mut self, which: Identity) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(which);
        } else {
            // Nothing is lost: how high it went counts.
            self.gap = true;
        }
    }

    /// The log could not tell all.
    pub(super) fn may_have_missed(&mut self) {
        self.gap = true;
    }

    /// The highest revision that stood there for all that is known, and was not seen. To be asked once after each look.
    pub(super) fn unseen(&mut self) -> Option<u64> {
        let saw = |(change, revision): &Identity| {
            let same = |(of, seen): &Identity| seen == revision && (change.is_none() || of == change);
            self.stood.iter().any(same)
        };
        let heard = self.heard.iter().filter(|which| !saw(which)).map(|(_, revision)| *revision).max();
        self.heard.clear();
        let missed = std::mem::take(&mut self.gap).then(|| {
            let marked = self.marks.iter().map(|(_, mark)| mark.revision);
            self.stood.iter().map(|(_, revision)| *revision).chain(marked).max().unwrap_or_default()
        });
        heard.max(missed).filter(|revision| *revision > 0)
    }
}
