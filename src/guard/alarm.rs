//! What somebody has to know: raised once, told once, kept until it is over. It must not know who listens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::flag::key::FlagKey;

/// The most alarms that stand at one time; more are counted as untold, and nothing else: what is not known to stand would be
/// told again and again.
const STANDING_MAX: usize = 10_000;

/// The most alarms that wait to be told.
const WAITING_MAX: usize = 1_000;

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// LaunchDarkly's stream is away.
    UpstreamAway,
    /// LaunchDarkly refuses a key.
    KeyRefused,
    /// A relay uses a key of which no environment is known: it gets LaunchDarkly's stream, and no overrides.
    KeyUnknown,
    /// LaunchDarkly sent what it never sends.
    NotUnderstood,
    /// The override holds although LaunchDarkly has another value since.
    Conflict,
    /// LaunchDarkly's value goes through in place of the override.
    GivenWay,
    /// The override cannot be applied; LaunchDarkly's record goes through.
    NotApplied,
    /// LaunchDarkly deleted or archived an overridden flag.
    FlagGone,
    /// No store of the environment answers.
    StoresAway,
    /// A store of the environment does not answer.
    StoreAway,
    /// A store that relays fill was emptied.
    StoreEmptied,
    /// An override was gone from a store without having ended.
    OverrideLost,
    /// LaunchDarkly's record had taken an override's place in a store; the override is written there again.
    OverrideReasserted,
    /// An override was copied to a store, or ended in one: nothing is wrong.
    OverrideKept,
    /// An override could not be written to a store.
    OverrideNotKept,
    /// An override in a store cannot be read.
    OverrideUnreadable,
    /// An override was to be over by now (`--expires`), and is in force.
    OverrideExpired,
    /// Somebody made an override, or edited one: nothing is wrong.
    OverrideMade,
    /// An override was sent to the relays that are connected: nothing is wrong.
    OverrideReached,
    /// LaunchDarkly has accepted an override: nothing is wrong.
    OverrideArrived,
    /// An override is over: nothing is wrong.
    OverrideEnded,
    /// An override is owed that no key of the guard vouches for: whoever can write the store may have made it, and the guard
    /// does not replay it.
    OverrideUnsigned,
    /// The guard replayed an override: nothing is wrong.
    OverrideReplayed,
    /// An override is owed that the guard does not replay by itself: it waits for a person.
    ReplayWaits,
    /// The guard cannot replay what is owed.
    ReplayFailed,
    /// The guard cannot announce itself in a store.
    NotAnnounced,
    /// Another guard calls itself the same.
    NameTaken,
    /// The relays' configurations say of one environment that it is kept under different prefixes.
    PrefixesDiffer,
    /// What is served is from memory or disk alone.
    OldState,
    /// LaunchDarkly is away, and nothing is known that could be served.
    NothingToServe,
    /// A relay did not take what it was sent, and was cut off.
    RelaySlow,
    /// A relay of a version that is not supported.
    RelayUnsupported,
    /// A limit was reached.
    Limit,
    /// The guard's own folder cannot be used.
    StateFolder,
    /// What people should be told does not reach them.
    NotNotified,
    /// A guard that only looks on would have sent something else.
    Shadow,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [AlarmKind; 36] = [
        AlarmKind::UpstreamAway,
        AlarmKind::KeyRefused,
        AlarmKind::KeyUnknown,
        AlarmKind::NotUnderstood,
        AlarmKind::Conflict,
        AlarmKind::GivenWay,
        AlarmKind::NotApplied,
        AlarmKind::FlagGone,
        AlarmKind::StoresAway,
        AlarmKind::StoreAway,
        AlarmKind::StoreEmptied,
        AlarmKind::OverrideLost,
        AlarmKind::OverrideReasserted,
        AlarmKind::OverrideKept,
        AlarmKind::OverrideNotKept,
        AlarmKind::OverrideUnreadable,
        AlarmKind::OverrideExpired,
        AlarmKind::OverrideMade,
        AlarmKind::OverrideReached,
        AlarmKind::OverrideArrived,
        AlarmKind::OverrideEnded,
        AlarmKind::OverrideUnsigned,
        AlarmKind::OverrideReplayed,
        AlarmKind::ReplayWaits,
        AlarmKind::ReplayFailed,
        AlarmKind::NotAnnounced,
        AlarmKind::NameTaken,
        AlarmKind::PrefixesDiffer,
        AlarmKind::OldState,
        AlarmKind::NothingToServe,
        AlarmKind::RelaySlow,
        AlarmKind::RelayUnsupported,
        AlarmKind::Limit,
        AlarmKind::StateFolder,
        AlarmKind::NotNotified,
        AlarmKind::Shadow,
    ];

    /// Its name in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            AlarmKind::UpstreamAway => "upstream-away",
            AlarmKind::KeyRefused => "key-refused",
            AlarmKind::KeyUnknown => "key-unknown",
            AlarmKind::NotUnderstood => "not-understood",
            AlarmKind::Conflict => "conflict",
            AlarmKind::GivenWay => "given-way",
            AlarmKind::NotApplied => "not-applied",
            AlarmKind::FlagGone => "flag-gone",
            AlarmKind::StoresAway => "stores-away",
            AlarmKind::StoreAway => "store-away",
            AlarmKind::StoreEmptied => "store-emptied",
            AlarmKind::OverrideLost => "override-lost",
            AlarmKind::OverrideReasserted => "override-reasserted",
            AlarmKind::OverrideKept => "override-kept",
            AlarmKind::OverrideNotKept => "override-not-kept",
            AlarmKind::OverrideUnreadable => "override-unreadable",
            AlarmKind::OverrideExpired => "override-expired",
            AlarmKind::OverrideMade => "override-made",
            AlarmKind::OverrideReached => "override-reached",
            AlarmKind::OverrideArrived => "override-arrived",
            AlarmKind::OverrideEnded => "override-ended",
            AlarmKind::OverrideUnsigned => "override-unsigned",
            AlarmKind::OverrideReplayed => "override-replayed",
            AlarmKind::ReplayWaits => "replay-waits",
            AlarmKind::ReplayFailed => "replay-failed",
            AlarmKind::NotAnnounced => "not-announced",
            AlarmKind::NameTaken => "name-taken",
            AlarmKind::PrefixesDiffer => "prefixes-differ",
            AlarmKind::OldState => "old-state",
            AlarmKind::NothingToServe => "nothing-to-serve",
            AlarmKind::RelaySlow => "relay-slow",
            AlarmKind::RelayUnsupported => "relay-unsupported",
            AlarmKind::Limit => "limit",
            AlarmKind::StateFolder => "state-folder",
            AlarmKind::NotNotified => "not-notified",
            AlarmKind::Shadow => "shadow",
        }
    }
}

/// Which alarm: there is one at a time of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmName {
    /// What it is about.
    pub kind: AlarmKind,
    /// The environment's name, where it is about one.
    pub environment: Option<String>,
    /// The flag, where it is about one.
    pub flag: Option<FlagKey>,
}

/// Something that somebody has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Which.
    pub name: AlarmName,
    /// For people: what is so, and what to do.
    pub told: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An alarm began, or says something else than before.
    Raised(Alarm),
    /// It is over.
    Over(Alarm),
}

#[derive(Debug, Default)]
struct Standing {
    alarms: BTreeMap<AlarmName, Alarm>,
    /// When those end of whose end nobody hears.
    until: BTreeMap<AlarmName, Instant>,
    counts: BTreeMap<AlarmKind, u64>,
    untold: u64,
}

/// The one place for alarms. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Alarms {
    standing: Arc<Mutex<Standing>>,
    telling: mpsc::Sender<Told>,
}

impl Alarms {
    /// The place, and what is told there.
    pub fn new() -> (Self, mpsc::Receiver<Told>) {
        let (telling, told) = mpsc::channel(WAITING_MAX);
        (Self { standing: Arc::default(), telling }, told)
    }

    /// Raises an alarm. One that stands already and says the same is not told again.
    pub fn raise(&self, name: AlarmName, told: impl Into<String>) {
        let told = told.into();
        let mut standing = self.held();
        let since = match standing.alarms.get(&name) {
            Some(known) if known.told == told => return,
            Some(known) => known.since,
            None => Timestamp::now(),
        };
        self.stand(&mut standing, Alarm { name, told, since });
    }

    /// Raises an alarm about something that happens again and again: it stands until it has not happened for so long, and
    /// says what it said first. See [`Alarms::end_those_over`].
    pub fn raise_for(&self, name: AlarmName, told: impl Into<String>, lasting: Duration, now: Instant) {
        let mut standing = self.held();
        if !standing.alarms.contains_key(&name) {
            self.stand(&mut standing, Alarm { name: name.clone(), told: told.into(), since: Timestamp::now() });
        }
        if standing.alarms.contains_key(&name) {
            standing.until.insert(name, now + lasting);
        }
    }

    /// Ends the alarms that were raised for a while, if that is over. To be called from time to time.
    pub fn end_those_over(&self, now: Instant) {
        let over: Vec<AlarmName> = {
            let standing = self.held();
            standing.until.iter().filter(|(_, until)| **until <= now).map(|(name, _)| name.clone()).collect()
        };
        over.iter().for_each(|name| self.clear(name));
    }

    fn stand(&self, standing: &mut Standing, alarm: Alarm) {
        if standing.alarms.len() >= STANDING_MAX && !standing.alarms.contains_key(&alarm.name) {
            standing.untold += 1;
            return;
        }
        *standing.counts.entry(alarm.name.kind).or_default() += 1;
        standing.alarms.insert(alarm.name.clone(), alarm.clone());
        self.tell(standing, Told::Raised(alarm));
    }

    /// Tells of something that is over as soon as it happened.
    pub fn tell_once(&self, name: AlarmName, told: impl Into<String>) {
        let mut standing = self.held();
        *standing.counts.entry(name.kind).or_default() += 1;
        let alarm = Alarm { name, told: told.into(), since: Timestamp::now() };
        self.tell(&mut standing, Told::Raised(alarm));
    }

    /// What was alarmed is over.
    pub fn clear(&self, name: &AlarmName) {
        let mut standing = self.held();
        standing.until.remove(name);
        if let Some(alarm) = standing.alarms.remove(name) {
            self.tell(&mut standing, Told::Over(alarm));
        }
    }

    /// The alarms that stand, in order.
    pub fn standing(&self) -> Vec<Alarm> {
        self.held().alarms.values().cloned().collect()
    }

    /// Something could not be told: nobody reads what is told.
    pub fn not_told(&self) {
        self.held().untold += 1;
    }

    /// How often each kind was raised, and how many could not be told because nobody listened fast enough.
    pub fn counts(&self) -> (BTreeMap<AlarmKind, u64>, u64) {
        let standing = self.held();
        (standing.counts.clone(), standing.untold)
    }

    fn tell(&self, standing: &mut Standing, told: Told) {
        if self.telling.try_send(told).is_err() {
            standing.untold += 1;
        }
    }

    fn held(&self) -> MutexGuard<'_, Standing> {
        // What is kept here is as good after a panic as before.
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(kind: AlarmKind) -> AlarmName {
        AlarmName { kind, environment: Some("shop/production".to_owned()), flag: None }
    }

    #[test]
    fn an_alarm_is_told_when_it_begins_changes_and_ends() {
        let (alarms, mut told) = Alarms::new();
        alarms.raise(name(AlarmKind::UpstreamAway), "away");
        alarms.raise(name(AlarmKind::UpstreamAway), "away");
        alarms.raise(name(AlarmKind::UpstreamAway), "still away");
        assert_eq!(alarms.standing().len(), 1);
        alarms.clear(&name(AlarmKind::UpstreamAway));
        alarms.clear(&name(AlarmKind::UpstreamAway));
        let mut words = Vec::new();
        while let Ok(one) = told.try_recv() {
            words.push(match one {
                Told::Raised(alarm) => alarm.told,
                Told::Over(alarm) => format!("over: {}", alarm.told),
            });
        }
        assert_eq!(words, ["away", "still away", "over: still away"]);
        assert!(alarms.standing().is_empty());
        assert_eq!(alarms.counts().0[&AlarmKind::UpstreamAway], 2);
    }

    #[test]
    fn what_stands_beyond_the_limit_is_counted_and_not_told_again_and_again() {
        let (alarms, mut told) = Alarms::new();
        let of = |number: usize| AlarmName {
            kind: AlarmKind::UpstreamAway,
            environment: Some(format!("shop/{number}")),
            flag: None,
        };
        for round in 0..3 {
            for number in 0..STANDING_MAX + 10 {
                alarms.raise(of(number), "away");
                while told.try_recv().is_ok() {
                    assert_eq!(round, 0, "it was told before");
                }
            }
        }
        assert_eq!(alarms.standing().len(), STANDING_MAX);
        assert_eq!(alarms.counts().1, 30, "what could not be told is counted");
    }

    #[test]
    fn what_happens_again_and_again_is_told_once_and_ends_when_it_has_not_for_a_while() {
        let (alarms, mut told) = Alarms::new();
        let (begun, minute) = (Instant::now(), Duration::from_secs(60));
        for second in 0..100 {
            let now = begun + Duration::from_secs(second);
            alarms.raise_for(name(AlarmKind::RelayUnsupported), format!("a relay from 10.0.0.{second}"), minute, now);
            alarms.end_those_over(now);
        }
        alarms.end_those_over(begun + Duration::from_secs(158));
        assert_eq!(alarms.standing().len(), 1);
        alarms.end_those_over(begun + Duration::from_secs(159));
        assert!(alarms.standing().is_empty() && alarms.held().until.is_empty());
        let Ok(Told::Raised(raised)) = told.try_recv() else { panic!() };
        assert_eq!(raised.told, "a relay from 10.0.0.0");
        assert!(matches!(told.try_recv(), Ok(Told::Over(_))) && told.try_recv().is_err());
    }

    #[test]
    fn nobody_who_listens_holds_nobody_up() {
        let (alarms, _told) = Alarms::new();
        for number in 0..=WAITING_MAX {
            alarms.raise(name(AlarmKind::UpstreamAway), format!("{number}"));
        }
        assert_eq!(alarms.counts().1, 1);
    }
}
