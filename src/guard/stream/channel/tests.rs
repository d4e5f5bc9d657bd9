//! What comes out of a channel, checked by a model of what listens: SDKs with their version rule, relays with a store
//! that they share or not, and others who write into it.

use proptest::prelude::*;

use super::*;
use crate::change::override_::OverrideState;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;
use crate::guard::stream::event::written;

const FLAG: &str = "checkout";

fn key() -> FlagKey {
    FLAG.parse().unwrap()
}

fn name() -> Name {
    name_of(&key())
}

fn event(bytes: &Bytes) -> Event {
    match Splitter::new(1 << 20).push(bytes).unwrap().pop() {
        Some(Piece::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

fn put(records: &[(&str, Item)]) -> Bytes {
    let mut state = State::default();
    for (key, item) in records {
        state.set((Kind::Flag, Arc::from(*key)), item.clone());
    }
    state.to_put(&IndexMap::new())
}

fn patch(item: &Item) -> Bytes {
    to_event(&name(), item).unwrap()
}

fn of(record: &Record) -> Item {
    Item::of_record(record)
}

fn names(events: &[Bytes]) -> Vec<String> {
    events.iter().map(|bytes| event(bytes).name).collect()
}

fn overrides(override_: Override) -> StoresWord {
    StoresWord { overrides: BTreeMap::from([(key(), override_)]), ..StoresWord::default() }
}

/// A channel of which somebody got a `put` with the flag on at version 42.
fn channel() -> Channel {
    let mut channel = Channel::new(OnConflict::Hold);
    let first = put(&[(FLAG, of(&flag(42, true, 1, 0))), ("other", of(&flag(7, true, 1, 0)))]);
    assert_eq!(channel.event(&event(&first)).unwrap(), std::slice::from_ref(&first));
    assert_eq!(channel.put_for_new(), Some(first));
    channel
}

#[test]
fn without_overrides_every_byte_goes_on_as_it_came() {
    let mut channel = channel();
    for bytes in [
        written("patch", &[br#"{"path":"/flags/other",  "data":{"version":8}}"#]),
        // Nobody takes it, and it is not ours to hold back.
        written("patch", &[br#"{"path":"/flags/other",  "data":{"version":3}}"#]),
        written("delete", &[br#"{"version":9 ,"path":"/flags/other"}"#]),
        written("something-new", &[b"anything"]),
        put(&[(FLAG, of(&flag(41, true, 1, 0)))]),
    ] {
        assert_eq!(channel.event(&event(&bytes)).unwrap(), [bytes]);
    }
    assert!(channel.event(&event(&written("patch", &[b"{"]))).is_err());
}

#[test]
fn an_edit_is_a_patch_and_its_undoing_a_put() {
    let mut channel = channel();
    let override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    // As `rc update` leaves it: the record stands in the store when the guard hears of the override.
    let edited = Sight { flag: key(), item: of(&flag(43, false, 1, 0)), launchdarklys: false };
    let sent = channel.stores(StoresWord { seen: vec![edited], ..overrides(override_.clone()) });
    assert_eq!(sent, [patch(&of(&flag(43, false, 1, 0)))]);
    assert_eq!(channel.again(&key()), Some(sent[0].clone()));
    assert!(channel.stores(overrides(override_)).is_empty());
    let undone = channel.stores(StoresWord::default());
    assert_eq!(names(&undone), ["put"]);
    assert_eq!(event(&undone[0]).data, event(&channel.put_for_new().unwrap()).data);
    assert!(channel.should(&name()).same(&of(&flag(42, true, 1, 0)), Kind::Flag));
}

#[test]
fn launchdarklys_return_resets_nobody() {
    let mut channel = channel();
    channel.stores(overrides(override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1))));
    // The same as before the outage.
    let before = put(&[(FLAG, of(&flag(42, true, 1, 0))), ("other", of(&flag(7, true, 1, 0)))]);
    assert!(channel.event(&event(&before)).unwrap().is_empty());
    // Another flag was changed, and another aspect of this one.
    let after = put(&[(FLAG, of(&flag(45, true, 1, 2))), ("other", of(&flag(8, true, 1, 0)))]);
    let sent = channel.event(&event(&after)).unwrap();
    assert_eq!(names(&sent), ["patch", "patch"]);
    assert!(channel.should(&name()).same(&of(&flag(46, false, 1, 2)), Kind::Flag));
    // A flag is gone: that cannot be said but by a put.
    let gone = channel.event(&event(&put(&[(FLAG, of(&flag(45, true, 1, 2)))]))).unwrap();
    assert_eq!(names(&gone), ["put"]);
}

#[test]
fn a_flag_that_launchdarkly_deleted_does_not_come_back_from_a_store() {
    let without = put(&[("other", of(&flag(7, true, 1, 0)))]);
    let override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    let old = || Sight { flag: key(), item: of(&flag(42, true, 1, 0)), launchdarklys: true };
    let is_gone = |channel: &Channel| matches!(channel.should(&name()), Item::Absent);
    // Deleted while it was overridden; a store that nobody reset still has the record from before.
    let mut channel = channel();
    channel.stores(overrides(override_.clone()));
    assert_eq!(names(&channel.event(&event(&without)).unwrap()), ["put"]);
    let sent = channel.stores(StoresWord { seen: vec![old()], ..overrides(override_.clone()) });
    assert!(is_gone(&channel), "{:?}", channel.should(&name()));
    assert_eq!(channel.reasons()[&key()], Reason::Gone);
    // Whoever has it from that store loses it again.
    assert_eq!(names(&sent), ["put"]);
    assert!(!String::from_utf8_lossy(&sent[0]).contains("\"checkout\":{"), "{sent:?}");
    // Nor when its override ends.
    channel.stores(StoresWord { seen: vec![old()], ..StoresWord::default() });
    assert!(is_gone(&channel));
    // Deleted before this guard began: the override is heard of after LaunchDarkly's put.
    let mut channel = Channel::new(OnConflict::Hold);
    channel.event(&event(&without)).unwrap();
    channel.put_for_new();
    channel.stores(StoresWord { seen: vec![old()], ..overrides(override_.clone()) });
    assert!(is_gone(&channel));
    // What only disk remembers may well be older than a store.
    let mut channel = Channel::new(OnConflict::Hold);
    let Ok(Told::Put(remembered)) = told(&event(&without)) else { panic!() };
    channel.restore(remembered);
    channel.stores(StoresWord { seen: vec![old()], ..overrides(override_) });
    assert_eq!(channel.should(&name()).version(), 43);
}

#[test]
fn a_replayed_override_goes_back_to_launchdarklys_version() {
    let mut channel = channel();
    let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    override_.revision = 3;
    assert_eq!(names(&channel.stores(overrides(override_.clone()))), ["patch"]);
    override_.state = OverrideState::Replayed { version: 43 };
    assert_eq!(names(&channel.stores(overrides(override_.clone()))), ["put"]);
    // LaunchDarkly's stream shows it, and its next change is a change for everybody.
    assert!(channel.event(&event(&patch(&of(&flag(43, false, 1, 0))))).unwrap().is_empty());
    assert_eq!(channel.reasons()[&key()], Reason::Arrived);
    assert_eq!(names(&channel.event(&event(&patch(&of(&flag(44, true, 1, 0))))).unwrap()), ["patch"]);
    assert!(channel.stores(StoresWord::default()).is_empty());
}

#[test]
fn one_edit_replayed_sends_nothing() {
    let mut channel = channel();
    let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
    channel.stores(overrides(override_.clone()));
    override_.state = OverrideState::Replayed { version: 43 };
    assert!(channel.stores(overrides(override_)).is_empty());
    assert!(channel.event(&event(&patch(&of(&flag(43, false, 1, 0))))).unwrap().is_empty());
}

/// What an SDK holds of the flag.
#[derive(Debug, Clone)]
struct Sdk {
    relay: usize,
    holds: Item,
}

/// A relay: what it was sent and has not taken yet, and which store it has.
#[derive(Debug)]
struct Relay {
    store: usize,
    coming: std::collections::VecDeque<Bytes>,
}

/// Everything around a channel.
struct World {
    channel: Channel,
    relays: Vec<Relay>,
    stores: Vec<Item>,
    /// What the guard saw last in each store.
    looked_at: Vec<Item>,
    /// The highest version that stood in each store since the guard looked.
    unseen: Vec<u64>,
    sdks: Vec<Sdk>,
    launchdarkly: Record,
    /// What the stream last said; behind `launchdarkly` while it is away.
    override_: Option<Override>,
    edits: u64,
}

#[derive(Debug, Clone)]
enum Step {
    /// LaunchDarkly changes the flag; its stream says so, if it is up.
    Changed { on: bool, variation: usize, stream_up: bool },
    /// LaunchDarkly's stream comes (again), with a `put`.
    StreamReturns,
    /// `rc update` writes the override, and the record to some stores.
    Edited { on: bool, stores: u8 },
    /// `rc undo` puts LaunchDarkly's record back, where it reaches.
    Undone { stores: u8 },
    /// The guard looks at the stores.
    Looks,
    /// A relay takes the next event.
    Delivered { relay: usize },
    /// An SDK connects to a relay, and gets what its store has.
    Connects { relay: usize },
    /// A relay that nobody guards resets its store.
    Reset { store: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (any::<bool>(), 0..3_usize, any::<bool>())
            .prop_map(|(on, variation, stream_up)| Step::Changed { on, variation, stream_up }),
        2 => Just(Step::StreamReturns),
        3 => (any::<bool>(), any::<u8>()).prop_map(|(on, stores)| Step::Edited { on, stores }),
        2 => any::<u8>().prop_map(|stores| Step::Undone { stores }),
        4 => Just(Step::Looks),
        4 => (0..3_usize).prop_map(|relay| Step::Delivered { relay }),
        4 => (0..3_usize).prop_map(|relay| Step::Connects { relay }),
        1 => (0..2_usize).prop_map(|store| Step::Reset { store }),
    ]
}

impl World {
    /// Three relays, the first two on one store.
    fn new() -> Self {
        let launchdarkly = flag(42, true, 1, 0);
        let first = put(&[(FLAG, of(&launchdarkly))]);
        let mut channel = Channel::new(OnConflict::Hold);
        channel.event(&event(&first)).unwrap();
        let item = of(&launchdarkly);
        Self {
            channel,
            relays: [0, 0, 1].map(|store| Relay { store, coming: Default::default() }).into(),
            stores: vec![item.clone(); 2],
            looked_at: vec![item.clone(); 2],
            unseen: vec![0; 2],
            sdks: (0..3).map(|relay| Sdk { relay, holds: item.clone() }).collect(),
            launchdarkly,
            override_: None,
            edits: 0,
        }
    }

    fn broadcast(&mut self, events: Vec<Bytes>) {
        for relay in &mut self.relays {
            relay.coming.extend(events.iter().cloned());
        }
    }

    /// Somebody writes the flag into a store.
    fn write(&mut self, store: usize, item: Item) {
        self.unseen[store] = self.unseen[store].max(self.stores[store].version());
        self.stores[store] = item;
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Changed { on, variation, stream_up } => {
                self.launchdarkly = flag(self.launchdarkly.version() + 1, *on, *variation, 0);
                if *stream_up {
                    let sent = self.channel.event(&event(&patch(&of(&self.launchdarkly)))).unwrap();
                    self.broadcast(sent);
                }
            }
            Step::StreamReturns => {
                let sent = self.channel.event(&event(&put(&[(FLAG, of(&self.launchdarkly))]))).unwrap();
                self.broadcast(sent);
            }
            Step::Edited { on, stores } => self.edit(*on, *stores),
            Step::Undone { stores } => {
                let Some(override_) = self.override_.take() else { return };
                for store in self.reached(*stores) {
                    self.write(store, of(&override_.upstream));
                }
            }
            Step::Looks => self.look(),
            Step::Delivered { relay } => self.deliver(*relay),
            Step::Connects { relay } => {
                let holds = self.stores[self.relays[*relay].store].clone();
                self.sdks.push(Sdk { relay: *relay, holds });
            }
            Step::Reset { store } => self.write(*store, of(&self.launchdarkly)),
        }
    }

    /// At least one of the two stores.
    fn reached(&self, stores: u8) -> Vec<usize> {
        [vec![0], vec![1], vec![0, 1]][usize::from(stores) % 3].clone()
    }

    fn edit(&mut self, on: bool, stores: u8) {
        self.edits += 1;
        let instruction = if on { Instruction::TurnFlagOn } else { Instruction::TurnFlagOff };
        let mut next = match self.override_.take() {
            Some(known) => Override { instructions: vec![instruction], revision: known.revision + 1, ..known },
            None => override_of(&self.known(), &[instruction], change(1)),
        };
        next.changes = vec![change(u8::try_from(self.edits % 200).unwrap())];
        let record = next.in_force().unwrap();
        for store in self.reached(stores) {
            self.write(store, of(&record));
        }
        self.override_ = Some(next);
    }

    /// What `rc` takes for LaunchDarkly's newest record where there is no override: the newest in a store.
    fn known(&self) -> Record {
        let newest = self.stores.iter().max_by_key(|item| item.version()).unwrap();
        let record = newest.record().unwrap().unwrap();
        // A leftover of ours would be told from LaunchDarkly's by the mark beside it.
        if record.version() > self.launchdarkly.version() { self.launchdarkly.clone() } else { record }
    }

    fn look(&mut self) {
        let mut word = StoresWord::default();
        if let Some(override_) = &self.override_ {
            word.overrides.insert(key(), override_.clone());
        }
        for store in 0..self.stores.len() {
            let item = self.stores[store].clone();
            if !item.same(&self.looked_at[store], Kind::Flag) {
                let record = item.record().unwrap().unwrap();
                let launchdarklys = record == self.launchdarkly;
                word.seen.push(Sight { flag: key(), item: item.clone(), launchdarklys });
            }
            if self.unseen[store] > 0 {
                word.perhaps_held.push((key(), self.unseen[store]));
            }
            self.looked_at[store] = item;
            self.unseen[store] = 0;
        }
        let sent = self.channel.stores(word);
        self.broadcast(sent);
    }

    /// A relay takes an event as relays do: into its store by the version rule, and on to its SDKs in any case.
    fn deliver(&mut self, relay: usize) {
        let Some(bytes) = self.relays[relay].coming.pop_front() else { return };
        let store = self.relays[relay].store;
        match told(&event(&bytes)).unwrap() {
            Told::Put(state) => {
                let item = state.item(&name()).clone();
                self.stores[store] = item.clone();
                self.looked_at[store] = item.clone();
                self.sdks.iter_mut().filter(|sdk| sdk.relay == relay).for_each(|sdk| sdk.holds = item.clone());
            }
            Told::Item(_, item) => {
                if item.version() > self.stores[store].version() {
                    self.stores[store] = item.clone();
                    self.looked_at[store] = item.clone();
                }
                let behind = |sdk: &&mut Sdk| sdk.relay == relay && item.version() > sdk.holds.version();
                self.sdks.iter_mut().filter(behind).for_each(|sdk| sdk.holds = item.clone());
            }
            Told::Other => {}
        }
    }

    /// Everything that is under way arrives, the guard has looked, and the patch was sent again.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.look();
            let again = self.channel.again(&key());
            self.broadcast(again.into_iter().collect());
            for relay in 0..self.relays.len() {
                while !self.relays[relay].coming.is_empty() {
                    self.deliver(relay);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_client_ends_with_exactly_what_it_should(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.settle();
        let should = world.channel.should(&name());
        for sdk in &world.sdks {
            prop_assert!(sdk.holds.same(&should, Kind::Flag), "holds {:?}, should {:?}", sdk.holds.text(), should.text());
        }
        if let Some(override_) = &world.override_ {
            let wanted = override_.instructions == [Instruction::TurnFlagOn];
            let is_on = should.record().unwrap().unwrap().raw("on") == Some("true");
            let gave_way = matches!(world.channel.reasons()[&key()], Reason::GivenWay(_));
            prop_assert!(gave_way || wanted == is_on);
        }
    }
}
