//! Everything that is known of an environment's overrides, and what is to be told of it. PURE: times come in. One flag's
//! knowledge is `known_flag`'s; here flags, targets and words come together.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::guard::overrides::filling::Filling;
use crate::guard::overrides::known_flag::Around;
use crate::guard::overrides::known_flag::BELIEVED_AFTER;
use crate::guard::overrides::known_flag::KnownFlag;
use crate::guard::overrides::place::Place;
use crate::guard::stream::channel::Sight;
use crate::guard::stream::channel::StoresWord;
use crate::store::LogEntry;
use crate::store::following::Moment;

/// More sights than this that nobody took are remembered by their version alone.
const SIGHTS_MAX: usize = 10_000;

/// How a target stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TargetState {
    /// It was not asked yet.
    NotAsked,
    /// It answered the last time.
    Answers,
    /// It did not, in words.
    Silent(String),
}

/// One environment.
#[derive(Debug)]
pub(super) struct Ledger {
    environment: Option<Environment>,
    targets: BTreeMap<Target, TargetState>,
    /// Whether each target that was looked at is still full.
    fillings: BTreeMap<Target, Filling>,
    flags: BTreeMap<FlagKey, KnownFlag>,
    /// What was not told yet.
    sights: Vec<Sight>,
    perhaps_held: BTreeMap<FlagKey, u64>,
    changed: bool,
    /// A target was emptied, and everything is to be sent to whom fills it.
    emptied: bool,
    /// Overrides that were let go without a mark, to be told.
    let_go: Vec<Override>,
    /// Whether everything was looked at once.
    begun: bool,
}

/// When stores have to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// As usual.
    AsUsual,
    /// By then at the latest.
    By(Instant),
}

/// The changes that a log tells of, each with the flag that it is of.
pub(super) fn changes_of(entries: &[LogEntry]) -> BTreeSet<(ChangeId, FlagKey)> {
    let of =
        |entry: &LogEntry| Some((entry.fields.get("change")?.parse().ok()?, entry.fields.get("flag")?.parse().ok()?));
    entries.iter().filter_map(of).collect()
}

impl Ledger {
    pub(super) fn new(environment: Option<Environment>, targets: impl IntoIterator<Item = Target>) -> Self {
        let targets = targets.into_iter().map(|target| (target, TargetState::NotAsked)).collect();
        Self {
            environment,
            targets,
            fillings: BTreeMap::new(),
            flags: BTreeMap::new(),
            sights: Vec::new(),
            perhaps_held: BTreeMap::new(),
            changed: true,
            emptied: false,
            let_go: Vec::new(),
            begun: false,
        }
    }

    /// How each target stands.
    pub(super) fn targets(&self) -> &BTreeMap<Target, TargetState> {
        &self.targets
    }

    /// The targets that were emptied, each with what it has lost, in words.
    pub(super) fn emptied(&self) -> impl Iterator<Item = (&Target, &'static str)> {
        self.fillings.iter().filter_map(|(target, filling)| Some((target, filling.lost()?)))
    }

    /// The flags that are looked at.
    pub(super) fn watched(&self) -> Vec<FlagKey> {
        self.flags.keys().cloned().collect()
    }

    /// What is known of each.
    pub(super) fn flags(&self) -> &BTreeMap<FlagKey, KnownFlag> {
        &self.flags
    }

    pub(super) fn flag_mut(&mut self, flag: &FlagKey) -> Option<&mut KnownFlag> {
        self.flags.get_mut(flag)
    }

    /// The overrides that hold.
    pub(super) fn standing(&self) -> impl Iterator<Item = (&FlagKey, &Override)> {
        self.flags.iter().filter_map(|(flag, known)| Some((flag, known.standing()?)))
    }

    /// The ended marks that have to be asked for when these flags are looked at.
    pub(super) fn marks(&self, flags: &[FlagKey]) -> BTreeSet<(ChangeId, FlagKey)> {
        let of = |flag: &FlagKey| {
            let changes = self.flags.get(flag).map(KnownFlag::changes).unwrap_or_default();
            changes.into_iter().map(|change| (change, flag.clone())).collect::<Vec<_>>()
        };
        flags.iter().flat_map(of).collect()
    }

    /// The overrides by which records of ours can be told, those of `own` first.
    pub(super) fn ours(&self, own: &BTreeMap<FlagKey, Override>) -> BTreeMap<FlagKey, Vec<Override>> {
        let mut ours: BTreeMap<FlagKey, Vec<Override>> =
            own.iter().map(|(flag, override_)| (flag.clone(), vec![override_.clone()])).collect();
        for (flag, known) in &self.flags {
            let known = known.ours().cloned();
            ours.entry(flag.clone()).or_default().extend(known);
        }
        ours
    }

    /// Takes what a log told. `live`: it was written while it was followed. The flags that have to be looked at come back.
    pub(super) fn entries(
        &mut self,
        target: &Target,
        entries: &[LogEntry],
        live: bool,
        now: Instant,
    ) -> BTreeSet<FlagKey> {
        let mut named = BTreeSet::new();
        for entry in entries {
            let field = |name: &str| entry.fields.get(name).map(String::as_str);
            let Some(flag) = field("flag").and_then(|flag| flag.parse::<FlagKey>().ok()) else { continue };
            let change = field("change").and_then(|change| change.parse::<ChangeId>().ok());
            let revision = field("revision").and_then(|revision| revision.parse::<u64>().ok());
            let known = self.flags.entry(flag.clone()).or_insert_with(|| KnownFlag::new(flag.clone(), now));
            named.insert(flag);
            // A guard's own note changes neither a record nor a revision.
            let (Some(revision), false) = (revision, field("what") == Some("upstream")) else { continue };
            let is_end = field("what") != Some("override");
            known.heard_of((target, now), revision, is_end);
            if live && !is_end {
                known.was_written((change, revision));
            }
            // Who ends an override is another change than those it was made of.
            known.place_or_new(target, now).heard_of((change.filter(|_| !is_end), revision));
        }
        named
    }

    /// The log of a target could not tell all that was written.
    pub(super) fn may_have_missed(&mut self, target: &Target) {
        self.flags.values_mut().filter_map(|known| known.place_mut(target)).for_each(Place::may_have_missed);
    }

    /// Takes what a look at a target, begun at `looked`, found.
    pub(super) fn take(&mut self, target: &Target, moment: &Moment, looked: Instant) {
        self.targets.insert(target.clone(), TargetState::Answers);
        let filling = self.fillings.entry(target.clone()).or_default();
        filling.look(moment.reading.initialised, moment.reading.flag_count, looked);
        for (flag, reading) in &moment.reading.flags {
            let known = self.flags.entry(flag.clone()).or_insert_with(|| KnownFlag::new(flag.clone(), looked));
            known.look(target, (reading, moment.reading.own_keys), self.environment.as_ref(), looked);
            if let Some(revision) = known.place_mut(target).and_then(Place::unseen) {
                let bound = known.newest_version().saturating_add(revision);
                let held = self.perhaps_held.entry(flag.clone()).or_default();
                *held = bound.max(*held);
            }
        }
    }

    /// A target did not answer.
    pub(super) fn silent(&mut self, target: &Target, why: String) {
        self.targets.insert(target.clone(), TargetState::Silent(why));
    }

    /// LaunchDarkly's stream showed a record of an overridden flag. Says whether that is news.
    pub(super) fn note_upstream(&mut self, flag: &FlagKey, record: &Record) -> bool {
        let news = self.flags.get_mut(flag).is_some_and(|known| known.note_upstream(record));
        self.changed |= news;
        news
    }

    /// Goes over everything, after looks and news; when stores have to be looked at again comes back.
    pub(super) fn go_over(&mut self, now: Instant) -> Again {
        let is_silent = |state: &TargetState| matches!(state, TargetState::Silent(_));
        let answering: BTreeSet<Target> =
            self.targets.iter().filter(|(_, state)| !is_silent(state)).map(|(target, _)| target.clone()).collect();
        let some_silent = answering.len() < self.targets.len();
        let around = Around { answering: &answering, some_silent, now };
        for filling in self.fillings.values_mut() {
            self.emptied |= filling.is_due(now);
        }
        let mut waits = false;
        for known in self.flags.values_mut() {
            let gone = known.go_over(around);
            self.sights.extend(gone.sights);
            self.changed |= gone.changed;
            self.let_go.extend(gone.let_go);
            waits |= gone.waits;
        }
        self.flags.retain(|_, known| known.is_of_interest(now));
        self.bound_sights();
        let asked = self.targets.values().all(|state| *state != TargetState::NotAsked);
        let answers = self.targets.is_empty() || self.targets.values().any(|state| *state == TargetState::Answers);
        let unchecked = self.flags.values().any(KnownFlag::has_unchecked);
        self.begun |= asked && answers && !unchecked;
        if waits { Again::By(now + BELIEVED_AFTER) } else { Again::AsUsual }
    }

    /// Whether an override was found of which marks have to be asked for in other stores at once.
    pub(super) fn has_unchecked(&self) -> bool {
        self.flags.values().any(KnownFlag::has_unchecked)
    }

    /// Overrides that were let go since this was asked last: a log told of something later, and nobody knows what.
    pub(super) fn let_go(&mut self) -> Vec<Override> {
        std::mem::take(&mut self.let_go)
    }

    /// Whether there is something to tell.
    pub(super) fn has_word(&self) -> bool {
        self.begun && (self.changed || self.emptied || !self.sights.is_empty() || !self.perhaps_held.is_empty())
    }

    /// What is to be told; `None` if nothing is.
    pub(super) fn word(&mut self) -> Option<StoresWord> {
        if !self.has_word() {
            return None;
        }
        self.changed = false;
        Some(StoresWord {
            overrides: self.standing().map(|(flag, override_)| (flag.clone(), override_.clone())).collect(),
            seen: std::mem::take(&mut self.sights),
            perhaps_held: std::mem::take(&mut self.perhaps_held).into_iter().collect(),
            emptied: std::mem::take(&mut self.emptied),
        })
    }

    /// Of what nobody took for long, the version is enough to be safe.
    fn bound_sights(&mut self) {
        let surplus = self.sights.len().saturating_sub(SIGHTS_MAX);
        for sight in self.sights.drain(..surplus) {
            let held = self.perhaps_held.entry(sight.flag).or_default();
            *held = sight.item.version().max(*held);
        }
    }
}
