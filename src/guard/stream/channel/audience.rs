//! A channel and everything around it, at random: relays that take events when they like, two of them on one store, SDKs with
//! their version rule, a LaunchDarkly whose stream comes and goes, operators and relays without a guard that write into
//! stores. Several flags and a segment; flags are deleted, restored, and missing from a `put`.
//!
//! What the channel is promised here: whatever stood of a flag in a store is seen there, or its version is heard of. Whether
//! stores are looked at that well is another matter (`guard::overrides`). The segment comes over this stream only: nobody
//! looks at those in stores. So nobody, with or without a guard, hears of it where a relay that is behind writes what is old
//! into a store from which another one hands it out; that is left out here.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::tests::event;
use super::tests::of;
use super::*;
use crate::change::override_::OverrideState;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::change::seen::is_ours;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;
use crate::guard::stream::item::Text;
use crate::guard::stream::overlay::overlay;

const FLAGS: [&str; 3] = ["checkout", "search", "tier"];

/// More looks than it takes until nothing is under way.
const ROUNDS: usize = 12;

/// What stands somewhere, by name. What is not there is absent.
type Items = BTreeMap<Name, Item>;

fn flag_name(flag: usize) -> Name {
    (Kind::Flag, Arc::from(FLAGS[flag % FLAGS.len()]))
}

/// The flags, and a segment behind them.
fn any_name(item: usize) -> Name {
    if item % 4 == 3 { (Kind::Segment, Arc::from("beta")) } else { flag_name(item % 4) }
}

fn key_of(name: &Name) -> FlagKey {
    name.1.parse().unwrap()
}

fn of_items<'i>(items: &'i Items, name: &Name) -> &'i Item {
    items.get(name).unwrap_or(&Item::Absent)
}

/// An item of LaunchDarkly's.
fn made(name: &Name, version: u64, on: bool, variation: usize) -> Item {
    match name.0 {
        Kind::Flag => of(&flag(version, on, 1, variation)),
        Kind::Segment => Item::of(Text::from(
            format!(r#"{{"key":"beta","included":["{on}{variation}"],"version":{version}}}"#).as_str(),
        )),
    }
}

/// Whether an SDK answers the same with both.
fn evaluates_the_same(one: &Item, other: &Item, kind: Kind) -> bool {
    match (one.text(), other.text()) {
        (None, None) => true,
        _ => one.same(other, kind),
    }
}

#[derive(Debug, Clone)]
struct Sdk {
    relay: usize,
    holds: Items,
    /// Whether it came while another relay on that store was behind.
    between: bool,
}

/// What a relay was sent and has not taken yet, and which store it has.
#[derive(Debug)]
struct Relay {
    store: usize,
    coming: VecDeque<Bytes>,
}

#[derive(Debug, Default)]
struct Store {
    items: Items,
    /// What the guard saw there last.
    looked_at: Items,
    /// The highest version of each flag that stood there since.
    stood: BTreeMap<Name, u64>,
}

/// Everything.
struct World {
    channel: Channel,
    on_conflict: OnConflict,
    /// Whether the guard sees in stores also what its own relays write there.
    sees_relays: bool,
    relays: Vec<Relay>,
    stores: Vec<Store>,
    sdks: Vec<Sdk>,
    launchdarkly: Items,
    /// Everything that LaunchDarkly ever had.
    had: Vec<(Name, Item)>,
    /// Every single change that its stream told.
    told: Vec<Bytes>,
    overrides: BTreeMap<FlagKey, Override>,
    /// All states of all overrides there ever were.
    known: Vec<(FlagKey, Override)>,
    /// What LaunchDarkly turned out to have when an override ended, to be told with the next look.
    answers: Vec<Sight>,
    edits: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// LaunchDarkly changes an item, or brings it back; its stream says so, if it is up.
    Changed { item: usize, on: bool, variation: usize, stream_up: bool },
    /// LaunchDarkly deletes (archives) an item.
    Deleted { item: usize, stream_up: bool },
    /// LaunchDarkly's stream comes (again), with a `put`.
    StreamReturns,
    /// Something that its stream once told comes once more, late.
    Repeated { which: usize },
    /// `rc update` writes the override, and the record to some stores.
    Edited { flag: usize, on: bool, stores: u8 },
    /// `rc undo` puts LaunchDarkly's record back, where it reaches.
    Undone { flag: usize, stores: u8 },
    /// `rc replay`: LaunchDarkly accepts it, and stores get its version.
    Replayed { flag: usize, stores: u8, stream_up: bool },
    /// What was replayed, and has arrived, ends.
    Settled { flag: usize },
    /// The guard looks at the stores.
    Looks,
    /// What a flag should be is sent again, as it is some time after a change.
    SentAgain { flag: usize },
    /// A relay takes the next event.
    Delivered { relay: usize },
    /// A relay's connection to the guard breaks off, and it comes back.
    Cut { relay: usize },
    /// An SDK connects to a relay, or comes back to it, and gets what its store has.
    Connects { relay: usize },
    /// A relay that nobody guards resets its store.
    Reset { store: usize },
    /// A relay that nobody guards takes one change into its store.
    Brought { store: usize, flag: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (flag, item, relay, store) = (0..3_usize, 0..4_usize, 0..3_usize, 0..2_usize);
    prop_oneof![
        3 => (item.clone(), any::<bool>(), 0..3_usize, any::<bool>())
            .prop_map(|(item, on, variation, stream_up)| Step::Changed { item, on, variation, stream_up }),
        2 => (item, any::<bool>()).prop_map(|(item, stream_up)| Step::Deleted { item, stream_up }),
        2 => Just(Step::StreamReturns),
        1 => (0..8_usize).prop_map(|which| Step::Repeated { which }),
        4 => (flag.clone(), any::<bool>(), any::<u8>())
            .prop_map(|(flag, on, stores)| Step::Edited { flag, on, stores }),
        2 => (flag.clone(), any::<u8>()).prop_map(|(flag, stores)| Step::Undone { flag, stores }),
        2 => (flag.clone(), any::<u8>(), any::<bool>())
            .prop_map(|(flag, stores, stream_up)| Step::Replayed { flag, stores, stream_up }),
        1 => flag.clone().prop_map(|flag| Step::Settled { flag }),
        1 => flag.clone().prop_map(|flag| Step::SentAgain { flag }),
        4 => Just(Step::Looks),
        5 => relay.clone().prop_map(|relay| Step::Delivered { relay }),
        1 => relay.clone().prop_map(|relay| Step::Cut { relay }),
        4 => relay.prop_map(|relay| Step::Connects { relay }),
        1 => store.clone().prop_map(|store| Step::Reset { store }),
        1 => (store, flag).prop_map(|(store, flag)| Step::Brought { store, flag }),
    ]
}

impl World {
    /// Three relays, the first two on one store.
    fn new(on_conflict: OnConflict, sees_relays: bool) -> Self {
        let launchdarkly: Items = (0..4).map(any_name).map(|name| (name.clone(), made(&name, 42, true, 0))).collect();
        let mut channel = Channel::new(on_conflict);
        channel.event(&event(&whole(&launchdarkly))).unwrap();
        let store = || Store { items: launchdarkly.clone(), looked_at: launchdarkly.clone(), stood: BTreeMap::new() };
        let mut world = Self {
            channel,
            on_conflict,
            sees_relays,
            relays: [0, 0, 1].map(|store| Relay { store, coming: VecDeque::new() }).into(),
            stores: vec![store(), store()],
            sdks: (0..3).map(|relay| Sdk { relay, holds: launchdarkly.clone(), between: false }).collect(),
            had: launchdarkly.clone().into_iter().collect(),
            launchdarkly,
            told: Vec::new(),
            overrides: BTreeMap::new(),
            known: Vec::new(),
            answers: Vec::new(),
            edits: 0,
        };
        let first = world.channel.put_for_new().unwrap();
        world.broadcast(&[first]);
        world
    }

    fn broadcast(&mut self, events: &[Bytes]) {
        for relay in &mut self.relays {
            relay.coming.extend(events.iter().cloned());
        }
    }

    fn hears(&mut self, bytes: &Bytes) {
        let sent = self.channel.event(&event(bytes)).unwrap();
        self.broadcast(&sent);
    }

    /// Something stands in a store instead of something else.
    fn write(&mut self, store: usize, name: &Name, item: Item) {
        let store = &mut self.stores[store];
        let before = of_items(&store.items, name);
        if before.same(&item, name.0) {
            return;
        }
        let before = before.version();
        let stood = store.stood.entry(name.clone()).or_default();
        *stood = before.max(*stood);
        store.items.insert(name.clone(), item);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Changed { item, on, variation, stream_up } => {
                let name = any_name(*item);
                let version = of_items(&self.launchdarkly, &name).version() + 1;
                self.launchdarkly_has(&name, made(&name, version, *on, *variation), *stream_up);
            }
            Step::Deleted { item, stream_up } => {
                let name = any_name(*item);
                if let Item::Present(_) = of_items(&self.launchdarkly, &name) {
                    let version = of_items(&self.launchdarkly, &name).version() + 1;
                    self.launchdarkly_has(&name, Item::Deleted { version }, *stream_up);
                }
            }
            Step::StreamReturns => self.hears(&whole(&self.launchdarkly)),
            Step::Repeated { which } => {
                let Some(bytes) = self.told.iter().rev().nth(*which).cloned() else { return };
                self.hears(&bytes);
            }
            Step::Edited { flag, on, stores } => self.edit(*flag, *on, *stores),
            Step::Undone { flag, stores } => self.undo(*flag, *stores),
            Step::Replayed { flag, stores, stream_up } => self.replay(*flag, *stores, *stream_up),
            Step::Settled { flag } => self.settled(*flag),
            Step::Looks => self.look(),
            Step::SentAgain { flag } => {
                let again = self.channel.again(&key_of(&flag_name(*flag)));
                self.broadcast(again.as_slice());
            }
            Step::Delivered { relay } => self.deliver(*relay),
            Step::Cut { relay } => {
                let first = self.channel.put_for_new().unwrap();
                self.relays[*relay].coming = VecDeque::from([first]);
            }
            Step::Connects { relay } => {
                let between = self.is_before_others(*relay);
                if between && !self.sees_relays {
                    return;
                }
                let there = |(_, item): &(&Name, &Item)| item.text().is_some();
                let items = &self.stores[self.relays[*relay].store].items;
                let holds = items.iter().filter(there).map(|(name, item)| (name.clone(), item.clone())).collect();
                self.sdks.push(Sdk { relay: *relay, holds, between });
            }
            Step::Reset { store } => {
                for name in (0..FLAGS.len()).map(flag_name) {
                    let item = of_items(&self.launchdarkly, &name).clone();
                    let item = if item.text().is_some() { item } else { Item::Absent };
                    self.write(*store, &name, item);
                }
            }
            Step::Brought { store, flag } => {
                let name = flag_name(*flag);
                let item = of_items(&self.launchdarkly, &name).clone();
                if item.version() > of_items(&self.stores[*store].items, &name).version() {
                    self.write(*store, &name, item);
                }
            }
        }
    }

    /// Whether another relay on the same store has still to take what this one has taken.
    fn is_before_others(&self, relay: usize) -> bool {
        let own = &self.relays[relay];
        self.relays.iter().any(|other| other.store == own.store && other.coming.len() > own.coming.len())
    }

    fn launchdarkly_has(&mut self, name: &Name, item: Item, stream_up: bool) {
        self.launchdarkly.insert(name.clone(), item.clone());
        self.had.push((name.clone(), item.clone()));
        if stream_up {
            let bytes = to_event(name, &item).unwrap();
            self.told.push(bytes.clone());
            self.hears(&bytes);
        }
    }

    /// At least one of the two stores.
    fn reached(stores: u8) -> Vec<usize> {
        [vec![0], vec![1], vec![0, 1]][usize::from(stores) % 3].clone()
    }

    /// Whether LaunchDarkly had this, and no override made it.
    fn is_launchdarklys(&self, name: &Name, item: &Item) -> bool {
        let of_flag = self.known.iter().filter(|(flag, _)| flag.as_str() == &*name.1).map(|(_, override_)| override_);
        let ours = item.record().unwrap().is_some_and(|record| is_ours(&record, of_flag));
        !ours && self.had.iter().any(|(of, had)| of == name && had.same(item, name.0))
    }

    fn remember(&mut self, flag: &FlagKey, override_: Override) {
        self.known.push((flag.clone(), override_.clone()));
        self.overrides.insert(flag.clone(), override_);
    }

    fn edit(&mut self, flag: usize, on: bool, stores: u8) {
        let name = flag_name(flag);
        let flag = key_of(&name);
        self.edits += 1;
        let instruction = if on { Instruction::TurnFlagOn } else { Instruction::TurnFlagOff };
        let mut next = match self.overrides.get(&flag) {
            Some(known) if known.state != OverrideState::InForce => return,
            Some(known) => Override { instructions: vec![instruction], revision: known.revision + 1, ..known.clone() },
            None => {
                // LaunchDarkly's newest in any store; without one there is nothing to edit.
                let here = self.stores.iter().map(|store| of_items(&store.items, &name));
                let own = here.filter(|item| item.text().is_some() && self.is_launchdarklys(&name, item));
                let Some(newest) = own.max_by_key(|item| item.version()) else { return };
                override_of(&newest.record().unwrap().unwrap(), &[instruction], change(1))
            }
        };
        next.flag = flag.clone();
        next.changes.push(change(u8::try_from(self.edits % 200).unwrap()));
        let record = next.in_force().unwrap();
        for store in Self::reached(stores) {
            if of_items(&self.stores[store].items, &name).text().is_some() {
                self.write(store, &name, of(&record));
            }
        }
        self.remember(&flag, next);
    }

    fn undo(&mut self, flag: usize, stores: u8) {
        let name = flag_name(flag);
        let Some(override_) = self.overrides.get(&key_of(&name)).cloned() else { return };
        if override_.state != OverrideState::InForce {
            return;
        }
        self.overrides.remove(&key_of(&name));
        self.put_back(&name, stores, &override_.upstream);
    }

    /// Where a record of ours stands, this one takes its place.
    fn put_back(&mut self, name: &Name, stores: u8, record: &Record) {
        for store in Self::reached(stores) {
            let item = of_items(&self.stores[store].items, name).clone();
            if item.text().is_some() && !self.is_launchdarklys(name, &item) {
                self.write(store, name, of(record));
            }
        }
    }

    fn replay(&mut self, flag: usize, stores: u8, stream_up: bool) {
        let name = flag_name(flag);
        let flag = key_of(&name);
        let Some(mut override_) = self.overrides.get(&flag).cloned() else { return };
        let Some(now) = of_items(&self.launchdarkly, &name).record().unwrap() else { return };
        if override_.state != OverrideState::InForce {
            return;
        }
        // LaunchDarkly applies it to what it has, under its next version.
        let version = now.version() + 1;
        override_.state = OverrideState::Replayed { version };
        let applied = Override { upstream: now, ..override_.clone() }.answered(version).unwrap();
        self.remember(&flag, override_.clone());
        self.launchdarkly_has(&name, of(&applied), stream_up);
        self.put_back(&name, stores, &override_.answered(version).unwrap());
    }

    fn settled(&mut self, flag: usize) {
        let name = flag_name(flag);
        let flag = key_of(&name);
        if self.channel.reasons().get(&flag) != Some(&Reason::Arrived) {
            return;
        }
        let Some(override_) = self.overrides.get(&flag).cloned() else { return };
        let OverrideState::Replayed { version } = override_.state else { return };
        let Some(newest) = self.channel.newest(&flag).cloned() else { return };
        if newest.version() < version || newest.text().is_none() {
            return;
        }
        self.overrides.remove(&flag);
        self.answers.push(Sight { flag, item: newest.clone(), launchdarklys: true });
        self.put_back(&name, 2, &newest.record().unwrap().unwrap());
    }

    fn look(&mut self) {
        let mut word = StoresWord { overrides: self.overrides.clone(), ..StoresWord::default() };
        word.seen = std::mem::take(&mut self.answers);
        for store in 0..self.stores.len() {
            for name in (0..FLAGS.len()).map(flag_name) {
                let item = of_items(&self.stores[store].items, &name).clone();
                if !item.same(of_items(&self.stores[store].looked_at, &name), Kind::Flag) {
                    let launchdarklys = item.version() > 0 && self.is_launchdarklys(&name, &item);
                    word.seen.push(Sight { flag: key_of(&name), item: item.clone(), launchdarklys });
                }
                let store = &mut self.stores[store];
                if let Some(stood) = store.stood.remove(&name).filter(|stood| *stood > 0) {
                    word.perhaps_held.push((key_of(&name), stood));
                }
                store.looked_at.insert(name, item);
            }
        }
        let sent = self.channel.stores(word);
        self.broadcast(&sent);
    }

    /// A relay takes an event as relays do: into its store by the version rule, and on to its SDKs in any case.
    fn deliver(&mut self, relay: usize) {
        let Some(bytes) = self.relays[relay].coming.pop_front() else { return };
        let store = self.relays[relay].store;
        let sdks = self.sdks.iter_mut().filter(|sdk| sdk.relay == relay);
        match told(&event(&bytes)).unwrap() {
            Told::Put(state) => {
                let items: Items = state.items().map(|(name, item)| (name.clone(), item.clone())).collect();
                sdks.for_each(|sdk| sdk.holds.clone_from(&items));
                for name in (0..4).map(any_name) {
                    self.relay_writes(store, &name, of_items(&items, &name).clone());
                }
            }
            Told::Item(name, item) => {
                let behind = |sdk: &&mut Sdk| item.version() > of_items(&sdk.holds, &name).version();
                sdks.filter(behind).for_each(|sdk| {
                    sdk.holds.insert(name.clone(), item.clone());
                });
                if item.version() > of_items(&self.stores[store].items, &name).version() {
                    self.relay_writes(store, &name, item);
                }
            }
            Told::Other => {}
        }
    }

    fn relay_writes(&mut self, store: usize, name: &Name, item: Item) {
        let is_seen =
            of_items(&self.stores[store].items, name).same(of_items(&self.stores[store].looked_at, name), name.0);
        // What others wrote there is heard of all the same.
        if self.sees_relays || !is_seen {
            self.write(store, name, item.clone());
        }
        if self.sees_relays {
            return;
        }
        let store = &mut self.stores[store];
        store.items.insert(name.clone(), item.clone());
        store.looked_at.insert(name.clone(), item);
    }

    /// Everything that is under way arrives, and the guard has looked, until nothing comes of it any more.
    fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..ROUNDS {
            self.look();
            if self.relays.iter().all(|relay| relay.coming.is_empty()) {
                return Ok(());
            }
            for relay in 0..self.relays.len() {
                while !self.relays[relay].coming.is_empty() {
                    self.deliver(relay);
                }
            }
        }
        Err(TestCaseError::fail("it does not come to rest: something is sent again and again"))
    }

    /// Every SDK holds exactly what everybody should have.
    fn check(&self) -> Result<(), TestCaseError> {
        for name in (0..4).map(any_name) {
            let should = self.channel.should(&name);
            for sdk in self.sdks.iter().filter(|sdk| name.0 == Kind::Flag || !sdk.between) {
                let holds = of_items(&sdk.holds, &name);
                let is_it = evaluates_the_same(holds, &should, name.0);
                prop_assert!(is_it, "{name:?}: an SDK of relay {} holds {holds:?}, should {should:?}", sdk.relay);
            }
        }
        Ok(())
    }

    /// What everybody should have when LaunchDarkly's stream has just told everything, found out without a channel.
    fn check_overlay(&self) -> Result<(), TestCaseError> {
        for name in (0..4).map(any_name) {
            let theirs = of_items(&self.launchdarkly, &name);
            let theirs = if theirs.text().is_some() { theirs } else { &Item::Absent };
            let override_ = (name.0 == Kind::Flag).then(|| self.overrides.get(&key_of(&name))).flatten();
            let wanted = match override_ {
                Some(override_) => overlay(theirs, override_, self.on_conflict).item,
                None => theirs.clone(),
            };
            let should = self.channel.should(&name);
            prop_assert!(
                evaluates_the_same(&should, &wanted, name.0),
                "{name:?}: should be {should:?}, is to be {wanted:?}"
            );
        }
        Ok(())
    }
}

/// A `put` of LaunchDarkly's: what is deleted is not in it.
fn whole(items: &Items) -> Bytes {
    let mut state = State::default();
    for (name, item) in items.iter().filter(|(_, item)| item.text().is_some()) {
        state.set(name.clone(), item.clone());
    }
    state.to_put(&IndexMap::new())
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(500)))]

    #[test]
    fn every_client_ends_with_exactly_what_it_should(
        gives_way in any::<bool>(),
        sees_relays in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let on_conflict = if gives_way { OnConflict::LaunchDarkly } else { OnConflict::Hold };
        let mut world = World::new(on_conflict, sees_relays);
        for step in &steps {
            world.take(step);
        }
        world.come_to_rest()?;
        world.check()?;
        // LaunchDarkly comes back for good.
        world.take(&Step::StreamReturns);
        world.come_to_rest()?;
        world.check()?;
        world.check_overlay()?;
    }
}
