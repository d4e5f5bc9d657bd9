//! What may be served, held against a naive model: every store and what is remembered as plain maps from names to versions.

use proptest::prelude::*;

use super::*;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::change::sample::target;
use crate::flag::instruction::Instruction;

const KEYS: [&str; 3] = ["checkout", "other", "third"];

/// What a store holds under one name.
#[derive(Debug, Clone)]
enum Holds {
    /// LaunchDarkly's record of this version.
    Theirs(u64),
    /// The record of an override of so many edits on LaunchDarkly's record of this version.
    Ours(u64, u64),
    /// LaunchDarkly's deletion.
    Gone(u64),
    /// What no relay reads.
    Damaged,
}

#[derive(Debug, Clone)]
struct StoreModel {
    answers: bool,
    initialised: bool,
    flags: BTreeMap<&'static str, Holds>,
    segments: BTreeMap<&'static str, Holds>,
}

fn holds(damage: u32) -> impl Strategy<Value = Holds> {
    prop_oneof![
        12 => (1..6_u64).prop_map(Holds::Theirs),
        6 => (1..6_u64, 1..4_u64).prop_map(|(upstream, revision)| Holds::Ours(upstream, revision)),
        3 => (1..6_u64).prop_map(Holds::Gone),
        damage => Just(Holds::Damaged),
    ]
}

fn names(damage: u32) -> impl Strategy<Value = BTreeMap<&'static str, Holds>> {
    prop::collection::btree_map(prop::sample::select(KEYS.to_vec()), holds(damage), 0..=KEYS.len())
}

fn store() -> impl Strategy<Value = StoreModel> {
    (prop::bool::weighted(0.8), prop::bool::weighted(0.8), names(1), names(1))
        .prop_map(|(answers, initialised, flags, segments)| StoreModel { answers, initialised, flags, segments })
}

const TOMBSTONE: &str = r#"{"key":"$deleted","deleted":true,"version":VERSION}"#;

fn segment(version: u64) -> String {
    format!(r#"{{"key":"testers","included":["a"],"version":{version}}}"#)
}

fn override_on(upstream: u64, revision: u64) -> Override {
    let base = flag(upstream, true, 1, 0);
    Override { revision, ..override_of(&base, &[Instruction::TurnFlagOff], change(1)) }
}

impl StoreModel {
    fn reading(&self) -> Result<WholeReading, StoreError> {
        if !self.answers {
            let problem = "did not answer".to_owned();
            return Err(StoreError::Unreachable { address: "eu".to_owned(), problem });
        }
        let tombstone = |version: &u64| TOMBSTONE.replace("VERSION", &version.to_string());
        let flag_text = |holds: &Holds| match holds {
            Holds::Theirs(version) => flag(*version, true, 1, 0).text().to_owned(),
            Holds::Ours(upstream, revision) => override_on(*upstream, *revision).in_force().unwrap().text().to_owned(),
            Holds::Gone(version) => tombstone(version),
            Holds::Damaged => r#"{"on":"off","version":9}"#.to_owned(),
        };
        let segment_text = |holds: &Holds| match holds {
            // Nothing overrides segments.
            Holds::Theirs(version) | Holds::Ours(version, _) => segment(*version),
            Holds::Gone(version) => tombstone(version),
            Holds::Damaged => r#"{"included":{},"version":9}"#.to_owned(),
        };
        let of = |text: &dyn Fn(&Holds) -> String, all: &BTreeMap<&'static str, Holds>| {
            all.iter().map(|(key, holds)| ((*key).to_owned(), text(holds).into_bytes())).collect()
        };
        let ours = |(key, holds): (&&str, &Holds)| match holds {
            Holds::Ours(upstream, revision) => {
                // Another one that does not explain it stands before.
                Some((key.parse().unwrap(), vec![override_on(90, 1), override_on(*upstream, *revision)]))
            }
            _ => None,
        };
        Ok(WholeReading {
            initialised: self.initialised,
            flags: of(&flag_text, &self.flags),
            segments: of(&segment_text, &self.segments),
            strange: Vec::new(),
            ours: self.flags.iter().filter_map(ours).collect(),
        })
    }

    fn counts(&self) -> bool {
        let mut all = self.flags.values().chain(self.segments.values());
        self.answers && self.initialised && !all.any(|holds| matches!(holds, Holds::Damaged))
    }
}

/// What everybody should get: name to version, and whether it is deleted.
type Model = BTreeMap<Name, (u64, bool)>;

fn name(kind: Kind, key: &str) -> Name {
    (kind, Arc::from(key))
}

fn model_of(store: &StoreModel) -> Model {
    let said = |kind: Kind, holds: &Holds| match (kind, holds) {
        (_, Holds::Theirs(version)) | (_, Holds::Ours(version, _)) => (*version, false),
        (_, Holds::Gone(version)) => (*version, true),
        (_, Holds::Damaged) => (0, true),
    };
    let flags = store.flags.iter().map(|(key, holds)| (name(Kind::Flag, key), said(Kind::Flag, holds)));
    let segments = store.segments.iter().map(|(key, holds)| (name(Kind::Segment, key), said(Kind::Segment, holds)));
    flags.chain(segments).collect()
}

fn model_of_state(state: &State) -> Model {
    let said = |item: &Item| (item.version(), matches!(item, Item::Deleted { .. }));
    state.items().map(|(name, item)| (name.clone(), said(item))).collect()
}

fn remembered() -> impl Strategy<Value = Option<StoreModel>> {
    prop::option::of((names(0), names(0)).prop_map(|(flags, segments)| StoreModel {
        answers: true,
        initialised: true,
        flags,
        segments,
    }))
}

/// What the stream would have told: there is nothing of ours in it.
fn state_of(model: &StoreModel) -> State {
    let mut state = State::default();
    for (name, (version, deleted)) in model_of(model) {
        let text = match name.0 {
            _ if deleted => TOMBSTONE.replace("VERSION", &version.to_string()),
            Kind::Flag => flag(version, true, 1, 0).text().to_owned(),
            Kind::Segment => segment(version),
        };
        state.set(name, Item::of(Text::from(text.as_str())));
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn never_older_than_the_stores(remembered in remembered(), stores in prop::collection::vec(store(), 0..4)) {
        let state = remembered.as_ref().map(state_of);
        let readings: Vec<_> = stores.iter().map(|store| (target("eu"), store.reading())).collect();
        let served = served(state.as_ref(), &readings);
        let counting: Vec<Model> = stores.iter().filter(|store| store.counts()).map(model_of).collect();
        let known = remembered.as_ref().map(model_of);
        let Ok(served) = served else {
            prop_assert!(counting.is_empty() && known.is_none());
            return Ok(());
        };
        prop_assert_eq!(served.from_store, !counting.is_empty());
        prop_assert_eq!(served.left_out.len(), stores.len() - counting.len());
        let mut expected = Model::new();
        if counting.is_empty() {
            expected = known.unwrap();
        } else {
            // By version; of equal ones the first that was known.
            for name in counting.iter().flat_map(|model| model.keys()) {
                let all = known.iter().chain(&counting).filter_map(|model| model.get(name));
                let highest = all.clone().map(|(version, _)| *version).max().unwrap();
                expected.insert(name.clone(), *all.clone().find(|(version, _)| *version == highest).unwrap());
            }
        }
        prop_assert_eq!(model_of_state(&served.state), expected);
        // Nothing of ours is in it.
        let on = |item: &Item| item.record().unwrap().is_none_or(|record| record.raw("on") == Some("true"));
        prop_assert!(served.state.items().filter(|(name, _)| name.0 == Kind::Flag).all(|(_, item)| on(item)));
    }
}

#[test]
fn what_has_no_say_is_told() {
    let store = |flags: &[(&'static str, Holds)], segments: &[(&'static str, Holds)]| StoreModel {
        answers: true,
        initialised: true,
        flags: flags.iter().cloned().collect(),
        segments: segments.iter().cloned().collect(),
    };
    let empty = StoreModel { initialised: false, ..store(&[], &[]) };
    let silent = StoreModel { answers: false, ..store(&[], &[]) };
    let mut constant = store(&[], &[]).reading().unwrap();
    constant.strange.push("flagValues/fixed".to_owned());
    let readings = [
        (target("a"), store(&[("checkout", Holds::Damaged)], &[]).reading()),
        (target("b"), store(&[], &[("testers", Holds::Damaged)]).reading()),
        (target("c"), empty.reading()),
        (target("d"), silent.reading()),
        (target("e"), Ok(constant)),
    ];
    let nothing = served(None, &readings).unwrap_err();
    let alone = served(Some(&State::default()), &readings).unwrap();
    assert!(!alone.from_store && nothing.left_out == alone.left_out);
    let told: Vec<&str> = alone.left_out.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(
        told,
        [
            "its flag checkout would not be read: \"on\" is the text \"off\", not true or false",
            "its segment testers would not be read: \"included\" is an object, not a list or null",
            "it is not filled: relays take it for empty",
            "eu did not answer",
            "flagValues/fixed is served from it and is no record",
        ]
    );
}

#[test]
fn launchdarklys_order_and_unknown_sections_stay() {
    let mut remembered = State::default();
    for key in ["z", "a", "m"] {
        remembered.set(name(Kind::Flag, key), Item::of(Text::from(flag(3, true, 1, 0).text())));
    }
    remembered.set_others(&[(Arc::from("new"), Text::from("[1]"))]);
    let reading = WholeReading {
        initialised: true,
        flags: ["m", "z", "b"].map(|key| (key.to_owned(), flag(2, true, 1, 0).text().as_bytes().to_vec())).into(),
        ..WholeReading::default()
    };
    let served = served(Some(&remembered), &[(target("eu"), Ok(reading))]).unwrap();
    let order: Vec<&str> = served.state.items().map(|(name, _)| &*name.1).collect();
    assert_eq!(order, ["z", "m", "b"], "a is in no store any more");
    assert_eq!(served.state.others().len(), 1);
}
