//! A small world for tests: stores as plain values, LaunchDarkly, two guards with a relay each, and `rc`, all around one flag.
//! What is decided is the program's own; only the network is left out.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::ledger::Ledger;
use super::upkeep::Due;
use super::upkeep::Now;
use super::upkeep::Upkeep;
use super::*;
use crate::change::edit::Edit;
use crate::change::edit::Motive;
use crate::change::id::ChangeId;
use crate::change::merge;
use crate::change::merge::Said;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::OverrideState;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::sample::actor;
use crate::change::sample::flag;
use crate::change::sample::motive;
use crate::change::sample::one_of_many;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::seen::is_ours;
use crate::change::settle;
use crate::change::settle::Answer;
use crate::change::settle::Settling;
use crate::change::undo;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::change::update;
use crate::change::update::EditSeen;
use crate::change::update::Here;
use crate::change::update::Options;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::guard::stream::channel::Channel;
use crate::guard::stream::channel::StoresWord;
use crate::guard::stream::event::Event;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::item::Item;
use crate::guard::stream::item::Kind;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::state::Name;
use crate::guard::stream::state::State;
use crate::guard::stream::state::Told;
use crate::guard::stream::state::to_event;
use crate::guard::stream::state::told;
use crate::store::FlagReading;
use crate::store::LogEntry;
use crate::store::StoredOverride;
use crate::store::WriteOutcome;
use crate::store::following::Moment;
use jiff::Timestamp;
use tokio::time::Instant;

/// A store.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreModel {
    pub(super) record: Option<Record>,
    pub(super) override_text: Option<String>,
    pub(super) marks: Vec<(ChangeId, EndedMark)>,
    log: Vec<LogEntry>,
    /// How many entries the log ever had, on whatever server; by that they are told apart, as by a time that goes on.
    logged: u64,
    /// How often the log was emptied.
    emptied: usize,
    pub(super) up: bool,
}

/// A guard, with a relay on one store.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) ledger: Ledger,
    pub(super) channel: Channel,
    upkeep: Upkeep,
    /// How far each store's log was followed, and which of its lives that was.
    followed: Vec<(u64, usize)>,
    pub(super) stream_up: bool,
    relay_on: usize,
    coming: VecDeque<Bytes>,
    /// What an SDK on its stream has in memory.
    pub(super) client: Option<Record>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) launchdarkly: Record,
    /// Every record that LaunchDarkly ever had.
    pub(super) history: Vec<Record>,
    pub(super) stores: Vec<StoreModel>,
    pub(super) guards: Vec<Guard>,
    pub(super) now: Instant,
    /// Now, by everybody's clock.
    clock: Timestamp,
    /// How long what is edited from now on is to stay.
    expires_after: Option<Duration>,
    changes: u32,
    /// What was claimed of LaunchDarkly and is not so.
    pub(super) lies: Vec<String>,
}

pub(super) fn key() -> FlagKey {
    "checkout".parse().unwrap()
}

pub(super) fn target(store: usize) -> Target {
    Target { store: format!("s{store}"), prefix: "p".to_owned() }
}

fn name() -> Name {
    (Kind::Flag, "checkout".into())
}

fn event(bytes: &Bytes) -> Event {
    match Splitter::new(1 << 20).push(bytes).unwrap().pop() {
        Some(Piece::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// Whether one of these is the same record. A day's history is long, so the numbers are compared first.
fn has(history: &[Record], record: &Record) -> bool {
    history.iter().rev().any(|known| known.version() == record.version() && known.same_value(record))
}

/// Whoever hears it has it then, by the rule of versions.
fn take(known: &mut Option<Record>, told: &Told) {
    match told {
        Told::Put(state) => *known = state.item(&name()).record().unwrap(),
        Told::Item(_, item) => {
            if item.version() > known.as_ref().map_or(0, Record::version) {
                *known = item.record().unwrap();
            }
        }
        Told::Other => {}
    }
}

fn put(record: &Record) -> Bytes {
    let mut state = State::default();
    state.set(name(), Item::of_record(record));
    state.to_put(&indexmap::IndexMap::new())
}

impl Guard {
    /// Whether its relay and its SDK have heard everything.
    pub(super) fn has_told_all(&self) -> bool {
        self.coming.is_empty()
    }
}

impl StoreModel {
    pub(super) fn seen(&self) -> Seen {
        let stored = self.override_text.clone().map(StoredOverride::read);
        Seen {
            copy: Copy::of(self.record.as_ref().map(|record| record.text().as_bytes())),
            own_keys: true,
            override_text: self.override_text.clone(),
            override_: stored.map(|stored| stored.parsed),
        }
    }

    /// The override there.
    pub(super) fn own(&self) -> Option<Override> {
        self.seen().own().cloned()
    }

    fn write(&mut self, write: &Write) -> WriteOutcome {
        if !self.up {
            let problem = "is away".to_owned();
            return WriteOutcome::Failed(StoreError::Unreachable { address: "s".to_owned(), problem });
        }
        if self.record != write.before {
            return WriteOutcome::RecordChanged;
        }
        if self.override_text != write.override_before {
            return WriteOutcome::OverrideChanged;
        }
        let (what, revision, change) = match &write.override_after {
            OverrideWrite::Keep => ("record", 0, write.change),
            OverrideWrite::Put(next) => {
                self.override_text = Some(serde_json::to_string(next.as_ref()).unwrap());
                ("override", next.revision, write.change)
            }
            OverrideWrite::End(marks) => {
                self.override_text = None;
                self.marks.retain(|(known, _)| !marks.iter().any(|(change, _)| change == known));
                self.marks.extend(marks.iter().cloned());
                (
                    ["settled", "undone"][usize::from(marks[0].1.ending != crate::change::override_::Ending::Settled)],
                    marks[0].1.revision,
                    write.change,
                )
            }
        };
        let fields = [
            ("flag", "checkout".to_owned()),
            ("what", what.to_owned()),
            ("revision", revision.to_string()),
            ("change", change.to_string()),
        ];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.logged += 1;
        self.log.push(LogEntry { id: self.logged.to_string(), fields });
        if let Some(after) = &write.after {
            self.record = Some(after.clone());
        }
        WriteOutcome::Written { colleagues_see: true }
    }

    fn reading(&self, marks: &[(ChangeId, FlagKey)]) -> FlagReading {
        let asked = |(change, _): &&(ChangeId, EndedMark)| marks.iter().any(|(wanted, _)| wanted == change);
        FlagReading {
            record: self.record.as_ref().map(|record| record.text().as_bytes().to_vec()),
            override_: self.override_text.clone().map(StoredOverride::read),
            marks: Some(self.marks.iter().filter(asked).cloned().collect()),
        }
    }
}

impl World {
    /// LaunchDarkly has the flag on at version 42, and so has every store; both guards hear from it.
    pub(super) fn new(stores: usize) -> Self {
        let launchdarkly = flag(42, true, 1, 0);
        let store = StoreModel { record: Some(launchdarkly.clone()), up: true, ..StoreModel::default() };
        let guard = |relay_on: usize| {
            let mut channel = Channel::new(OnConflict::Hold);
            channel.event(&event(&put(&launchdarkly))).unwrap();
            channel.put_for_new();
            Guard {
                ledger: Ledger::new(None, (0..stores).map(target)),
                channel,
                upkeep: Upkeep {
                    actor: actor("guard"),
                    on_conflict: OnConflict::Hold,
                    on_expiry: OnExpiry::Alarm,
                    patience: Duration::from_millis(200 * relay_on as u64),
                    keys: None,
                },
                followed: vec![(0, 0); stores],
                stream_up: true,
                relay_on,
                coming: VecDeque::new(),
                client: Some(launchdarkly.clone()),
            }
        };
        let mut world = Self {
            history: vec![launchdarkly.clone()],
            launchdarkly: launchdarkly.clone(),
            stores: vec![store; stores],
            guards: vec![guard(0), guard(1)],
            now: Instant::now(),
            clock: motive("anna").at,
            expires_after: None,
            changes: 0,
            lies: Vec::new(),
        };
        world.all_look();
        world
    }

    /// Both guards begin anew: they know nothing, and follow logs from their ends.
    pub(super) fn guards_begin_anew(&mut self) {
        (0..self.guards.len()).for_each(|guard| self.forgets(guard));
    }

    fn forgets(&mut self, guard: usize) {
        let ends = self.stores.iter().map(|store| (store.logged, store.emptied)).collect();
        let targets = (0..self.stores.len()).map(target);
        (self.guards[guard].ledger, self.guards[guard].followed) = (Ledger::new(None, targets), ends);
    }

    /// A guard is killed and begun anew: of LaunchDarkly it has its last state, of overrides what it knew last until the stores
    /// have told theirs. Its relay connects again. Not while something stands in a store that only a guard from before can
    /// explain; says whether it was.
    pub(super) fn guard_begins_anew(&mut self, place: usize) -> bool {
        if !self.is_plain() {
            return false;
        }
        let guard = &mut self.guards[place];
        let last = guard.channel.last().cloned();
        let overrides = guard.ledger.standing().map(|(flag, known)| (flag.clone(), known.clone())).collect();
        guard.channel = Channel::new(OnConflict::Hold);
        last.map(|last| guard.channel.restore(last));
        guard.channel.stores(StoresWord { overrides, ..StoresWord::default() });
        self.forgets(place);
        (0..self.stores.len()).for_each(|store| self.look(place, store));
        if std::mem::take(&mut self.guards[place].stream_up) {
            self.stream(place, true);
        }
        let guard = &mut self.guards[place];
        guard.coming = guard.channel.put_for_new().into_iter().collect();
        true
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.clock += jiff::SignedDuration::try_from(time).unwrap();
    }

    /// From now on guards undo what expires, and edits stay for so long.
    pub(super) fn undo_on_expiry(&mut self, expires_after: Option<Duration>) {
        self.guards.iter_mut().for_each(|guard| guard.upkeep.on_expiry = OnExpiry::Undo);
        self.expires_after = expires_after;
    }

    fn change(&mut self) -> ChangeId {
        self.changes += 1;
        one_of_many(self.changes)
    }

    /// LaunchDarkly's flag becomes another. Guards that hear of it note it in the stores before it goes on.
    pub(super) fn launchdarkly_changes(&mut self, on: bool, variation: usize) {
        let next = flag(self.launchdarkly.version() + 1, on, variation, 0);
        self.launchdarkly_has(next);
    }

    fn launchdarkly_has(&mut self, record: Record) {
        self.history.push(record.clone());
        self.launchdarkly = record;
        for guard in 0..self.guards.len() {
            if self.guards[guard].stream_up {
                let patch = to_event(&name(), &Item::of_record(&self.launchdarkly)).unwrap();
                self.stream_tells(guard, &patch);
            }
        }
    }

    pub(super) fn stream(&mut self, guard: usize, up: bool) {
        let returns = up && !self.guards[guard].stream_up;
        self.guards[guard].stream_up = up;
        if returns {
            self.stream_tells(guard, &put(&self.launchdarkly.clone()));
        }
    }

    fn stream_tells(&mut self, place: usize, bytes: &Bytes) {
        let record = self.launchdarkly.clone();
        let guard = &mut self.guards[place];
        guard.ledger.note_upstream(&key(), &record);
        self.word(place);
        self.upkeep(place);
        let guard = &mut self.guards[place];
        let events = guard.channel.event(&event(bytes)).unwrap();
        guard.coming.extend(events);
    }

    /// What all reachable stores say, as `rc` reads it.
    pub(super) fn standing(&self) -> Standing {
        let said: Vec<Said> = self
            .stores
            .iter()
            .enumerate()
            .filter(|(_, store)| store.up)
            .map(|(place, store)| (target(place), store.own(), store.marks.clone()))
            .collect();
        merge::merged(&said)
    }

    /// Whether every store that can be reached shows a record of LaunchDarkly's, or one that the override beside it explains,
    /// and no leftover of what has ended. `rc` cannot tell apart what is not so, and is not what is tested here.
    fn is_plain(&self) -> bool {
        self.up().all(|place| {
            let (store, own) = (&self.stores[place], self.stores[place].own());
            let theirs = |record: &Record| has(&self.history, record);
            let is_over = |own: &Override| {
                let mut marks = self.up().flat_map(|place| self.stores[place].marks.clone());
                marks.any(|(change, mark)| own.changes.contains(&change) && mark.revision >= own.revision)
            };
            let is_leftover = own.as_ref().is_some_and(is_over);
            !is_leftover && store.record.as_ref().is_none_or(|record| theirs(record) || is_ours(record, &own))
        })
    }

    /// `rc update` in every store that can be reached.
    pub(super) fn update(&mut self, instruction: Instruction) {
        if !self.is_plain() {
            return;
        }
        let change = self.change();
        let edit =
            Edit { environment: "shop/production".parse().unwrap(), flag: key(), instructions: vec![instruction] };
        let standing = self.standing();
        let seen: Vec<(Target, Seen)> = self.up().map(|place| (target(place), self.stores[place].seen())).collect();
        let targets = seen.iter().map(|(target, seen)| Here { target, is_filter_copy: false, seen }).collect();
        let options = Options { despite_differences: true, ..Options::default() };
        let edits = [EditSeen { edit: &edit, standing: &standing, targets }];
        let lasts = self.expires_after.and_then(|lasts| jiff::SignedDuration::try_from(lasts).ok());
        let motive = Motive { expires: lasts.map(|lasts| self.clock + lasts), ..motive("anna") };
        let writes = update::plan(change, &motive, &options, &edits).writes();
        if matches!(standing.in_force().map(|own| &own.state), Some(OverrideState::Replayed { .. })) {
            // It begins on LaunchDarkly's answer, as far as that is known.
            let begun = writes.iter().filter_map(|write| match &write.override_after {
                OverrideWrite::Put(next) => Some(next.upstream.clone()),
                _ => None,
            });
            self.history.extend(begun);
        }
        self.write(&writes);
    }

    /// `rc undo` in every store that can be reached.
    pub(super) fn undo(&mut self) {
        if !self.is_plain() {
            return;
        }
        let change = self.change();
        let standing = self.standing();
        let by = By { change, actor: actor("anna"), at: motive("anna").at };
        let writes: Vec<Write> = self
            .up()
            .filter_map(|place| match undo::undo(&by, &target(place), &self.stores[place].seen(), &standing) {
                PutBack::Write(write) => Some(*write),
                _ => None,
            })
            .collect();
        self.write(&writes);
    }

    /// `rc replay`: LaunchDarkly takes the override, and the stores hear of it.
    pub(super) fn replay(&mut self) {
        if !self.is_plain() {
            return;
        }
        let Standing::InForce(sent) = self.standing() else { return };
        if sent.state != OverrideState::InForce {
            return;
        }
        let version = self.launchdarkly.version() + 1;
        let taken = patch::apply(&self.launchdarkly, &sent.instructions).unwrap();
        let record = taken.with(&[("version", version.to_string())]);
        // The API answers before the stream tells.
        self.history.push(record.clone());
        let by = By { change: sent.change().unwrap(), actor: actor("anna"), at: motive("anna").at };
        let answer = Answer {
            sent: &sent,
            version,
            shown: None,
            gives_way: false,
            ended: false,
            overlaid: true,
            from_before: false,
            keys: None,
        };
        let mut writes = Vec::new();
        for place in self.up() {
            match settle::after_patch(&by, &target(place), &self.stores[place].seen(), &answer).unwrap() {
                Settling::Settled(write) | Settling::Held(write) | Settling::Newer(write) => writes.push(*write),
                _ => {}
            }
        }
        // What stands for LaunchDarkly's answer where its own record was not seen yet lacks what LaunchDarkly changed
        // elsewhere meanwhile; nobody can know better (`change::settle`).
        self.history.extend(writes.iter().filter_map(|write| write.after.clone()));
        self.history.push(sent.answered(version).unwrap());
        self.write(&writes);
        self.launchdarkly_has(record);
    }

    fn up(&self) -> impl Iterator<Item = usize> + use<> {
        let up: Vec<usize> = (0..self.stores.len()).filter(|place| self.stores[*place].up).collect();
        up.into_iter()
    }

    fn write(&mut self, writes: &[Write]) {
        for write in writes {
            let place: usize = write.target.store[1..].parse().unwrap();
            let outcome = self.stores[place].write(write);
            assert!(matches!(outcome, WriteOutcome::Written { .. }), "{outcome:?}");
        }
    }

    /// A store loses everything, or only what is ours.
    pub(super) fn wipe(&mut self, place: usize, only_ours: bool) {
        let store = &mut self.stores[place];
        (store.override_text, store.marks) = (None, Vec::new());
        store.log.clear();
        store.emptied += 1;
        if !only_ours {
            store.record = None;
        }
    }

    /// A relay that nobody guards, and that hears from LaunchDarkly, resets its store.
    pub(super) fn reset(&mut self, place: usize) {
        if self.stores[place].up {
            self.stores[place].record = Some(self.launchdarkly.clone());
        }
    }

    /// A store is away, or comes back: then everybody looks at it, and its relay gets everything anew.
    pub(super) fn store(&mut self, place: usize, up: bool) {
        let returns = up && !self.stores[place].up;
        self.stores[place].up = up;
        for guard in 0..self.guards.len() {
            self.look(guard, place);
            if returns && self.guards[guard].relay_on == place {
                let put = self.guards[guard].channel.put_for_new();
                self.guards[guard].coming = put.into_iter().collect();
            }
        }
    }

    pub(super) fn all_look(&mut self) {
        for guard in 0..self.guards.len() {
            for place in 0..self.stores.len() {
                self.look(guard, place);
            }
        }
    }

    /// A guard hears what a store's log has to tell.
    pub(super) fn hear(&mut self, guard: usize, place: usize) {
        let (store, of) = (&self.stores[place], &mut self.guards[guard]);
        let (followed, life) = of.followed[place];
        let broken = life != store.emptied;
        let is_news = |entry: &&LogEntry| entry.id.parse::<u64>().unwrap() > followed;
        let entries: Vec<LogEntry> = store.log.iter().filter(is_news).cloned().collect();
        of.ledger.entries(&target(place), &entries, !broken, self.now);
        if broken {
            of.ledger.may_have_missed(&target(place));
        }
        of.followed[place] = (store.logged, store.emptied);
    }

    /// A guard looks at a store, and tells its relay what comes of it.
    pub(super) fn look(&mut self, guard: usize, place: usize) {
        if self.stores[place].up {
            self.hear(guard, place);
            let (store, of) = (&self.stores[place], &mut self.guards[guard]);
            let mut marks = of.ledger.marks(&[key()]);
            marks.extend(store.own().into_iter().flat_map(|own| own.changes).map(|change| (change, key())));
            let mut moment = Moment::default();
            moment.reading.own_keys = true;
            moment.reading.flags.insert(key(), store.reading(&marks.into_iter().collect::<Vec<_>>()));
            of.ledger.take(&target(place), &moment, self.now);
        } else {
            self.guards[guard].ledger.silent(&target(place), "is away".to_owned());
        }
        self.word(guard);
    }

    /// What a guard's ledger has to say goes to its channel, and from there to its relay.
    fn word(&mut self, place: usize) {
        let guard = &mut self.guards[place];
        guard.ledger.go_over(self.now);
        let Some(word) = guard.ledger.word() else { return };
        let told = word.seen.iter().filter(|sight| sight.launchdarklys).map(|sight| sight.item.clone());
        let known = |item: &Item| match item.record() {
            Ok(Some(record)) => has(&self.history, &record),
            _ => true,
        };
        for item in told.filter(|item| !known(item)).collect::<Vec<_>>() {
            self.lies.push(format!("guard {place} takes {:?} for LaunchDarkly's", item.text()));
        }
        for override_ in word.overrides.values() {
            if !has(&self.history, &override_.upstream) {
                self.lies.push(format!("guard {place} has upstream {}", override_.upstream.text()));
            }
        }
        let events = guard.channel.stores(word);
        guard.coming.extend(events);
        // What the stream told before there was an override.
        let last = guard.channel.last().and_then(|last| last.item(&name()).record().unwrap());
        if let Some(last) = last
            && guard.ledger.note_upstream(&key(), &last)
        {
            self.word(place);
        }
    }

    /// A guard keeps the stores up to date.
    pub(super) fn upkeep(&mut self, guard: usize) -> Vec<Due> {
        let now = Now { at: self.clock, instant: self.now };
        let mut done = Vec::new();
        // What does not answer is not written to.
        for place in self.up() {
            let of = &mut self.guards[guard];
            for due in of.upkeep.due(&of.ledger, &target(place), now) {
                let outcome = self.stores[place].write(&due.write);
                Upkeep::wrote(&mut of.ledger, &target(place), &due, &outcome, self.now);
                if matches!(outcome, WriteOutcome::Written { .. }) {
                    done.push(due);
                }
            }
        }
        for place in 0..self.stores.len() {
            self.look(guard, place);
        }
        done
    }

    /// A guard's relay takes the next event, into its store by the version rule.
    pub(super) fn deliver(&mut self, guard: usize) -> bool {
        let Some(bytes) = self.guards[guard].coming.pop_front() else { return false };
        let told = told(&event(&bytes)).unwrap();
        take(&mut self.guards[guard].client, &told);
        let store = &mut self.stores[self.guards[guard].relay_on];
        if store.up {
            take(&mut store.record, &told);
        }
        true
    }

    /// A store is as it was before: what was written there since, a failover has lost.
    pub(super) fn fail_over(&mut self, place: usize, before: &StoreModel) {
        let now = &mut self.stores[place];
        *now = StoreModel { up: now.up, emptied: now.emptied + 1, logged: now.logged, ..before.clone() };
    }

    /// All stores and streams are there.
    pub(super) fn everything_returns(&mut self) {
        for place in 0..self.stores.len() {
            self.store(place, true);
        }
        for guard in 0..self.guards.len() {
            self.stream(guard, true);
        }
    }

    /// Everything is up, and has time.
    pub(super) fn settle(&mut self) {
        self.everything_returns();
        for _ in 0..30 {
            self.pass(Duration::from_secs(2));
            self.all_look();
            for guard in 0..self.guards.len() {
                self.upkeep(guard);
                while self.deliver(guard) {}
            }
        }
    }

    /// The override that a guard takes to be in force.
    pub(super) fn held_by(&self, guard: usize) -> Option<&Override> {
        self.guards[guard].ledger.flags().get(&key())?.standing()
    }

    /// What a guard's clients should have.
    pub(super) fn should(&self, guard: usize) -> Option<Record> {
        self.guards[guard].channel.should(&name()).record().unwrap()
    }
}
