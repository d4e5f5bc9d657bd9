//! What the stream of one environment's flags is about: the channel that decides what goes out, what stores told and are
//! told, what is sent again later, what has to be alarmed. No connection and no clock of its own: times come in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::change::override_::Override;
use crate::change::target::Target;
use crate::flag::aspect::Aspect;
use crate::flag::key::FlagKey;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::guard::answer::Overrides;
use crate::guard::cache::KeptPlace;
use crate::guard::cache::KeptState;
use crate::guard::cache::Seen;
use crate::guard::overrides::EnvironmentStores;
use crate::guard::serving::Nothing;
use crate::guard::serving::Served;
use crate::guard::stream::channel::Channel;
use crate::guard::stream::channel::StoresWord;
use crate::guard::stream::event::Event;
use crate::guard::stream::item::Item;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::overlay::Reason;
use crate::guard::stream::shadow;
use crate::guard::stream::state::NotUnderstood;
use crate::guard::stream::state::State;
use crate::guard::stream::state::Told;
use crate::guard::stream::state::told;
use crate::guard::stream::view::FeedView;

/// When the patch of a changed override is sent again (launchdarkly.md 15); the third time is the relay's cache time and a
/// little more.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
const AGAIN_AFTER_CACHE: Duration = Duration::from_secs(2);

/// The longest cache time that is waited for; a relay with an endless one is beyond help.
const CACHE_TIME_MAX: Duration = Duration::from_secs(3_600);

/// The most patches that wait to be sent again.
const AGAIN_MAX: usize = 20_000;

/// The most that are sent again at one time.
const AGAIN_AT_ONCE: usize = 200;

/// For so long after the stores were last heard, the overrides that are remembered on disk are better than none.
const REMEMBERED_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

/// The stores of the environment, as the stream sees them.
enum Stores {
    /// It is not known where the environment is kept, so there are no overrides.
    None,
    /// They have been asked, and have not told yet.
    Asked { since: Instant, remembered: bool, of: Arc<dyn EnvironmentStores> },
    /// They told.
    Heard { of: Arc<dyn EnvironmentStores> },
}

/// The flags of one environment on their way to relays.
pub struct Flags {
    /// The environment's name, for alarms; what stands for it where that is not known.
    name: String,
    /// How it is to be kept on disk of which environment this is, where that was learnt.
    place: Option<KeptPlace>,
    /// Whether it is known of which environment this is.
    is_known: bool,
    /// What is sent.
    channel: Channel,
    /// What would be sent, where the guard is to have no effect.
    would: Option<Channel>,
    alarms: Alarms,
    stores: Stores,
    /// What the disk says of overrides, until the stores do.
    seen: Option<Seen>,
    cache_time: Duration,
    overrides: BTreeMap<FlagKey, Override>,
    again: BTreeSet<(Instant, FlagKey)>,
    /// Up to which version of each overridden flag the stores were told LaunchDarkly's record.
    noted: BTreeMap<FlagKey, u64>,
    alarmed: BTreeSet<AlarmName>,
    seen_live: bool,
    as_of: Option<Timestamp>,
}

impl Flags {
    /// Of the environment of this name; nothing is known yet.
    pub fn new(name: String, on_conflict: OnConflict, shadow: bool, alarms: Alarms) -> Self {
        Self {
            name,
            place: None,
            is_known: false,
            channel: Channel::new(on_conflict),
            would: shadow.then(|| Channel::new(on_conflict)),
            alarms,
            stores: Stores::None,
            seen: None,
            cache_time: Duration::ZERO,
            overrides: BTreeMap::new(),
            again: BTreeSet::new(),
            noted: BTreeMap::new(),
            alarmed: BTreeSet::new(),
            seen_live: false,
            as_of: None,
        }
    }

    /// It is known now of which environment this is.
    pub fn is_of(&mut self, name: String, place: Option<KeptPlace>) {
        self.alarms.clear(&self.alarm_name(AlarmKind::KeyUnknown, None));
        (self.name, self.place, self.is_known) = (name, place, true);
    }

    /// Its stores are known now, and have been asked.
    pub fn follow(&mut self, of: Arc<dyn EnvironmentStores>, cache_time: Duration, now: Instant, at: Timestamp) {
        self.alarms.clear(&self.alarm_name(AlarmKind::KeyUnknown, None));
        self.cache_time = cache_time;
        let seen = self
            .seen
            .take()
            .filter(|seen| seen.stores.is_some_and(|stores| at.duration_since(stores) < REMEMBERED_FOR));
        self.stores = match self.stores {
            // It was only begun anew: what they told holds on.
            Stores::Heard { .. } => Stores::Heard { of },
            Stores::None | Stores::Asked { .. } => Stores::Asked { since: now, remembered: seen.is_some(), of },
        };
        if let Some(seen) = seen {
            // Nobody has anything yet, so nothing comes out.
            self.deciding().stores(StoresWord { overrides: seen.overrides.clone(), ..StoresWord::default() });
            self.overrides = seen.overrides;
        }
    }

    /// Takes what was kept on disk, as far as nothing else is known.
    pub fn remember(&mut self, kept: Option<KeptState>, seen: Option<Seen>) {
        if let Some(kept) = kept.filter(|_| self.channel.last().is_none()) {
            let stream = seen.as_ref().and_then(|seen| seen.stream);
            self.as_of = Some(stream.map_or(kept.as_of, |stream| stream.max(kept.as_of)));
            self.place = kept.place;
            // Nobody has anything yet, so nothing comes out.
            self.channel.restore(kept.state);
        }
        self.seen = seen.filter(|_| matches!(self.stores, Stores::None));
    }

    /// Takes an event of LaunchDarkly's, and gives what goes out because of it.
    ///
    /// # Errors
    /// See [`Channel::event`].
    pub fn event(&mut self, event: &Event, at: Timestamp) -> Result<Vec<Bytes>, NotUnderstood> {
        let out = self.channel.event(event)?;
        if let Some(would) = &mut self.would {
            let other = would.event(event)?;
            self.compare(&out, &other);
        }
        if event.name == "put" {
            self.seen_live = true;
            self.tell_if_unknown();
        }
        self.as_of = Some(at);
        if self.concerns(event) {
            self.note_upstream();
            self.alarm();
        }
        Ok(out)
    }

    /// Whether an event may change what is said of overridden flags.
    fn concerns(&self, event: &Event) -> bool {
        if self.overrides.is_empty() {
            return !self.alarmed.is_empty();
        }
        event.name == "put"
            || matches!(told(event), Ok(Told::Item(name, _))
                if name.1.parse::<FlagKey>().is_ok_and(|flag| self.overrides.contains_key(&flag)))
    }

    /// Takes what the stores told, and gives what goes out because of it.
    pub fn word(&mut self, word: StoresWord, now: Instant) -> Vec<Bytes> {
        if let Stores::Asked { of, .. } = &self.stores {
            self.stores = Stores::Heard { of: Arc::clone(of) };
        }
        self.schedule(&word.overrides, now);
        self.overrides.clone_from(&word.overrides);
        self.noted.retain(|flag, _| self.overrides.contains_key(flag));
        let out = self.deciding().stores(word);
        let out = if self.would.is_some() {
            self.compare(&[], &out);
            Vec::new()
        } else {
            out
        };
        self.note_upstream();
        self.alarm();
        out
    }

    /// Takes what the stores hold as a whole, read while LaunchDarkly is away.
    pub fn restore(&mut self, served: Result<Served, Nothing>) -> Vec<Bytes> {
        let (old, nothing) =
            (self.alarm_name(AlarmKind::OldState, None), self.alarm_name(AlarmKind::NothingToServe, None));
        let served = match served {
            Ok(served) => served,
            Err(Nothing { left_out }) => {
                let told = format!(
                    "LaunchDarkly is away, this guard remembers nothing of {}, and no store of it can be used: relays that \
                     start wait{}",
                    self.name,
                    reasons(&left_out)
                );
                self.alarms.raise(nothing, told);
                return Vec::new();
            }
        };
        self.alarms.clear(&nothing);
        if served.from_store {
            self.alarms.clear(&old);
        } else {
            let age = self.as_of.map_or_else(|| "of unknown age".to_owned(), |at| format!("as of {at:.0}"));
            let told = format!(
                "no store of {} can be used while LaunchDarkly is away: relays that start get what this guard remembers, \
                 {age}{}",
                self.name,
                reasons(&served.left_out)
            );
            self.alarms.raise(old, told);
        }
        if !served.from_store && self.channel.last().is_some() {
            // It is what was remembered, and is known to the byte.
            return Vec::new();
        }
        let mut state = served.state;
        if let Some(last) = self.channel.last() {
            // What was learnt while the stores were read is not forgotten.
            for (name, item) in last.items() {
                if !matches!(state.item(name), Item::Absent) {
                    state.take(name, item);
                }
            }
        }
        let out = self.channel.restore(state);
        self.alarm();
        out
    }

    /// LaunchDarkly's stream is there again: what was alarmed because it was away is over.
    pub fn is_live(&mut self) {
        for kind in [AlarmKind::OldState, AlarmKind::NothingToServe] {
            self.alarms.clear(&self.alarm_name(kind, None));
        }
    }

    /// What is to be sent again by now.
    pub fn due(&mut self, now: Instant) -> Vec<Bytes> {
        let mut events = Vec::new();
        while events.len() < AGAIN_AT_ONCE
            && let Some((at, _)) = self.again.first()
            && *at <= now
            && let Some((_, flag)) = self.again.pop_first()
        {
            if self.would.is_none() {
                events.extend(self.channel.again(&flag));
            }
        }
        events
    }

    /// When something is to be sent again.
    pub fn next_due(&self) -> Option<Instant> {
        self.again.first().map(|(at, _)| *at)
    }

    /// The first event of a new relay; `None` while there is nothing to give.
    pub fn first(&mut self) -> Option<Bytes> {
        if let Some(would) = &mut self.would {
            would.put_for_new();
        }
        self.channel.put_for_new()
    }

    /// A relay that nobody told of is served, and it is said that overrides do not reach it.
    fn tell_if_unknown(&self) {
        if !matches!(self.stores, Stores::None) {
            return;
        }
        let told = if self.is_known {
            format!("it is not known in which store {} is kept: overrides of it do not reach its relays", self.name)
        } else {
            format!(
                "a relay asks with {}, and nothing says which environment that is of: it gets LaunchDarkly's stream, and \
                 overrides do not reach it. Name the relay's configuration with --relay-config",
                self.name
            )
        };
        self.alarms.raise(self.alarm_name(AlarmKind::KeyUnknown, None), told);
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is to be kept of which environment this is.
    pub fn place(&self) -> Option<&KeptPlace> {
        self.place.as_ref()
    }

    /// How many items there are.
    pub fn size(&self) -> usize {
        self.channel.last().map_or(0, State::len)
    }

    /// As it is seen from outside.
    pub fn view(&self, now: Instant) -> FeedView {
        FeedView {
            flags: self.size(),
            overrides: self.reasons(),
            overrides_known: self.overrides_known(now) == Overrides::Known,
            as_of: self.as_of,
            ..FeedView::default()
        }
    }

    /// Whether the overrides are known.
    pub fn overrides_known(&self, now: Instant) -> Overrides {
        match &self.stores {
            // What has no effect needs to know no overrides.
            _ if self.would.is_some() => Overrides::Known,
            Stores::None | Stores::Heard { .. } => Overrides::Known,
            Stores::Asked { since, remembered: true, .. } => {
                Overrides::Remembered(now.saturating_duration_since(*since))
            }
            Stores::Asked { since, remembered: false, .. } => Overrides::Unknown(now.saturating_duration_since(*since)),
        }
    }

    /// The environment's stores, where they are known.
    pub fn stores(&self) -> Option<Arc<dyn EnvironmentStores>> {
        match &self.stores {
            Stores::None => None,
            Stores::Asked { of, .. } | Stores::Heard { of } => Some(Arc::clone(of)),
        }
    }

    /// Whether the stores have told anything since this guard began.
    pub fn stores_heard(&self) -> bool {
        matches!(self.stores, Stores::Heard { .. })
    }

    /// The overrides that hold.
    pub fn overrides(&self) -> &BTreeMap<FlagKey, Override> {
        &self.overrides
    }

    /// LaunchDarkly's last state.
    pub fn last(&self) -> Option<&State> {
        self.channel.last()
    }

    /// When that was LaunchDarkly's.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    /// Whether a `put` has come over LaunchDarkly's stream since this guard began.
    pub fn seen_live(&self) -> bool {
        self.seen_live
    }

    /// Why each overridden flag is as it is, in words.
    fn reasons(&self) -> Vec<(FlagKey, &'static str)> {
        let channel = self.would.as_ref().unwrap_or(&self.channel);
        channel.reasons().iter().map(|(flag, reason)| (flag.clone(), word_for(reason))).collect()
    }

    /// The channel that knows the overrides.
    fn deciding(&mut self) -> &mut Channel {
        self.would.as_mut().unwrap_or(&mut self.channel)
    }

    fn compare(&self, did: &[Bytes], would: &[Bytes]) {
        if let Some(told) = shadow::difference(did, would) {
            self.alarms.tell_once(self.alarm_name(AlarmKind::Shadow, None), told);
        }
    }

    /// Whatever is another override now, or none any more, is sent again later.
    fn schedule(&mut self, next: &BTreeMap<FlagKey, Override>, now: Instant) {
        let changed = next.iter().filter(|(flag, one)| self.overrides.get(*flag) != Some(*one)).map(|(flag, _)| flag);
        let ended = self.overrides.keys().filter(|flag| !next.contains_key(*flag));
        let cache = (self.cache_time <= CACHE_TIME_MAX).then(|| self.cache_time + AGAIN_AFTER_CACHE);
        for flag in changed.chain(ended) {
            for after in AGAIN_AFTER.into_iter().chain(cache) {
                if self.again.len() < AGAIN_MAX {
                    self.again.insert((now + after, flag.clone()));
                }
            }
        }
    }

    /// Tells the stores LaunchDarkly's newest record of overridden flags.
    fn note_upstream(&mut self) {
        if self.would.is_some() {
            return;
        }
        let Some(stores) = self.stores() else { return };
        for (flag, override_) in &self.overrides {
            let Some(newest) = self.channel.newest(flag) else { continue };
            let version = newest.version();
            let noted = self.noted.get(flag).copied().unwrap_or(override_.upstream.version());
            if version > noted
                && let Ok(Some(record)) = newest.record()
            {
                self.noted.insert(flag.clone(), version);
                stores.note_upstream(flag, &record);
            }
        }
    }

    fn alarm_name(&self, kind: AlarmKind, flag: Option<FlagKey>) -> AlarmName {
        AlarmName { kind, environment: Some(self.name.clone()), flag }
    }

    /// Raises what has to be known of overridden flags, and takes back what is over.
    fn alarm(&mut self) {
        let channel = self.would.as_ref().unwrap_or(&self.channel);
        if channel.reasons().is_empty() && self.alarmed.is_empty() {
            return;
        }
        let mut standing = BTreeSet::new();
        for (flag, reason) in channel.reasons() {
            let Some((kind, told)) = alarm_of(flag, reason, &self.name) else { continue };
            let name = self.alarm_name(kind, Some(flag.clone()));
            self.alarms.raise(name.clone(), told);
            standing.insert(name);
        }
        for over in self.alarmed.difference(&standing) {
            self.alarms.clear(over);
        }
        self.alarmed = standing;
    }
}

/// Why stores were left out.
fn reasons(left_out: &[(Target, String)]) -> String {
    left_out.iter().map(|(target, why)| format!("; {target}: {why}")).collect()
}

fn word_for(reason: &Reason) -> &'static str {
    match reason {
        Reason::Held => "held",
        Reason::HeldInConflict(_) => "held-in-conflict",
        Reason::GivenWay(_) => "given-way",
        Reason::Arrived => "arrived",
        Reason::Gone => "gone",
        Reason::Failed(_) => "failed",
    }
}

fn alarm_of(flag: &FlagKey, reason: &Reason, environment: &str) -> Option<(AlarmKind, String)> {
    let aspects = |aspects: &BTreeSet<Aspect>| aspects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match reason {
        Reason::Held | Reason::Arrived => None,
        Reason::HeldInConflict(changed) => Some((
            AlarmKind::Conflict,
            format!(
                "{flag}, {environment}: LaunchDarkly changed it too ({}). The override holds. Decide:  rc replay -f {flag}",
                aspects(changed)
            ),
        )),
        Reason::GivenWay(changed) => Some((
            AlarmKind::GivenWay,
            format!(
                "{flag}, {environment}: LaunchDarkly's own value goes through, the override does not hold ({}). It is \
                 still owed:  rc replay -f {flag}",
                aspects(changed)
            ),
        )),
        Reason::Gone => Some((
            AlarmKind::FlagGone,
            format!("{flag}, {environment}: LaunchDarkly deleted or archived it, so it is gone for everybody"),
        )),
        Reason::Failed(problem) => Some((
            AlarmKind::NotApplied,
            format!(
                "{flag}, {environment}: the override cannot be applied, LaunchDarkly's record goes through: {problem}"
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
