//! A day of two guards, a relay on each, three stores, an operator and LaunchDarkly, in simulated time and by a seed: streams and
//! stores that go and come, flushes, evictions, failovers, resets, guards that are killed, edits, undos, replays and changes in
//! LaunchDarkly, as they come. What must hold holds at every second that is looked at, and what the guards keep in memory
//! does not grow.
//!
//! The tests play two days ([`PLAYED`]). `RC_DAYS=N cargo test --lib a_day_with_everything` plays the first N, `RC_DAY=SEED`
//! that one.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::known_flag::KEPT_AFTER_END;
use super::known_flag::shares_history;
use super::tests::Step;
use super::tests::disagreement;
use super::tests::is_on;
use super::tests::take;
use super::world::StoreModel;
use super::world::World;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::flag::instruction::Instruction;
use crate::flag::record::Record;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How often everything is up for a minute, and must agree.
const CALM_EVERY: Duration = Duration::from_secs(1_800);

/// How many of these calm minutes until everything is undone, and the guards may forget it.
const CALMS_TO_FORGET: u32 = 4;

/// How far a replica may be behind when it takes over.
const BEHIND_MAX: Duration = Duration::from_secs(60);

/// The longest time between two things that happen, in seconds.
const APART_MAX: u64 = 90;

/// How many seconds after something happened are looked at one by one.
const LOOKED_AT: u64 = 4;

/// The days that the tests play.
const PLAYED: [u64; 2] = [5, 24];

const STORES: usize = 3;
const GUARDS: usize = 2;

struct Day {
    world: World,
    random: Rng,
    /// What each store held a while ago, oldest first.
    before: [VecDeque<(Instant, StoreModel)>; STORES],
    /// The override that was in force everywhere, and known to everybody, when the operator did something last.
    owed: Option<Override>,
    happened: Vec<String>,
}

/// What a day came to.
#[derive(Debug, Default)]
struct Told {
    failovers: usize,
    restarts: usize,
    edits: usize,
    /// How much the guards kept in memory each time when there was nothing to keep, in characters of its description.
    sizes: Vec<usize>,
}

fn is_off(record: Option<&Record>) -> bool {
    is_on(record) == Some(false)
}

fn wants_off(override_: &Override) -> bool {
    override_.instructions.contains(&Instruction::TurnFlagOff)
}

fn in_short(record: Option<&Record>) -> String {
    let on = |record: &Record| if is_off(Some(record)) { "off" } else { "on" };
    record.map_or_else(|| "nothing".to_owned(), |record| format!("v{} {}", record.version(), on(record)))
}

impl Day {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(STORES),
            random: Rng::with_seed(seed),
            before: Default::default(),
            owed: None,
            happened: Vec::new(),
        }
    }

    /// What happens next. The operator is one of many things.
    fn step(&mut self) -> Step {
        let random = &mut self.random;
        let (guard, store) = (random.usize(..GUARDS), random.usize(..STORES));
        match random.u8(..20) {
            0..3 => Step::Launchdarkly { on: random.bool(), variation: random.usize(..3) },
            3..6 => Step::Stream { guard, up: random.bool() },
            6..9 => Step::Store { store, up: random.u8(..3) > 0 },
            9..11 => Step::Wipe { store, only_ours: random.bool() },
            11..13 => Step::Reset { store },
            13..16 => Step::Update { on: random.u8(..3) == 0 },
            16 => Step::Serve { variation: random.usize(..3) },
            17 => Step::Undo,
            _ => Step::Replay,
        }
    }

    /// A replica that was behind takes a store's place.
    fn fail_over(&mut self) {
        let place = self.random.usize(..STORES);
        let known = self.before[place].len();
        if known > 0 {
            let before = self.before[place][self.random.usize(..known)].1.clone();
            self.happened.push(format!("store {place} fails over"));
            self.world.fail_over(place, &before);
        }
    }

    /// A guard is killed and begun anew, if what is owed stands in a store (what all have lost, the guards alone know) and
    /// nothing does that only a guard from before could explain. Says whether it was.
    fn begin_anew(&mut self) -> bool {
        let guard = self.random.usize(..GUARDS);
        let standing = self.world.standing();
        let stands = |owed| standing.in_force().is_some_and(|known| shares_history(known, owed));
        let begun = self.owed.as_ref().is_none_or(stands) && self.world.guard_begins_anew(guard);
        if begun {
            self.happened.push(format!("guard {guard} begins anew"));
        }
        begun
    }

    fn happens(&mut self, told: &mut Told) {
        match self.random.u8(..20) {
            0..2 => {
                told.failovers += 1;
                return self.fail_over();
            }
            2 => {
                told.restarts += usize::from(self.begin_anew());
                return;
            }
            _ => {}
        }
        let step = self.step();
        // What a store loses of ours while nobody reaches it, and shows when the override is long over, nobody can tell from
        // LaunchDarkly's.
        if let Step::Wipe { store, only_ours: true } = step
            && !self.world.stores[store].up
        {
            return;
        }
        self.happened.push(format!("{step:?}"));
        if matches!(step, Step::Update { .. } | Step::Serve { .. } | Step::Undo | Step::Replay) {
            told.edits += 1;
            self.owed = None;
        }
        take(&mut self.world, &step);
    }

    /// A second: guards look and write, relays hear, or are slow.
    fn second(&mut self) -> Result<(), String> {
        self.world.pass(Duration::from_secs(1));
        self.world.all_look();
        for guard in 0..GUARDS {
            self.world.upkeep(guard);
        }
        for guard in 0..GUARDS {
            self.hear(guard)?;
        }
        self.keep_what_was();
        self.note_what_is_owed();
        self.holds()
    }

    /// A guard's relay and SDK hear what there is. None of them gets another value than the override's for a moment.
    fn hear(&mut self, guard: usize) -> Result<(), String> {
        while self.random.u8(..8) > 0 && self.world.deliver(guard) {
            let client = self.world.guards[guard].client.as_ref();
            if self.owed.as_ref().is_some_and(wants_off) && !is_off(client) {
                return Err(format!("an SDK behind guard {guard} has {}, and the override says off", in_short(client)));
            }
        }
        Ok(())
    }

    fn keep_what_was(&mut self) {
        let now = self.world.now;
        for (before, store) in self.before.iter_mut().zip(&self.world.stores) {
            if store.up && before.back().is_none_or(|(at, _)| now.duration_since(*at) > BEHIND_MAX / 6) {
                before.push_back((now, store.clone()));
            }
            while before.front().is_some_and(|(at, _)| now.duration_since(*at) > BEHIND_MAX) {
                before.pop_front();
            }
        }
    }

    /// Only what every store and both guards know, and every SDK has, is said to be held from now on.
    fn note_what_is_owed(&mut self) {
        let everywhere = self.world.stores.iter().all(|store| store.up);
        if self.owed.is_some() || !everywhere {
            return;
        }
        let holds = self.world.standing().in_force().cloned();
        let Some(holds) = holds.filter(|holds| holds.state == OverrideState::InForce) else { return };
        let same = |own: Option<Override>| own.is_some_and(|own| own.changes == holds.changes);
        let in_stores = self.world.stores.iter().all(|store| same(store.own()));
        let in_guards = (0..GUARDS).all(|guard| {
            let client = self.world.guards[guard].client.as_ref();
            // What is still on its way may be LaunchDarkly's from before.
            let heard = self.world.guards[guard].has_told_all();
            heard && same(self.world.held_by(guard).cloned()) && (!wants_off(&holds) || is_off(client))
        });
        if in_stores && in_guards {
            self.owed = Some(holds);
        }
    }

    /// What holds at any time.
    fn holds(&self) -> Result<(), String> {
        if let Some(lie) = self.world.lies.first() {
            return Err(lie.clone());
        }
        for guard in 0..GUARDS {
            let held = self.world.held_by(guard);
            let Some(owed) = &self.owed else { continue };
            if held.is_none_or(|held| !shares_history(held, owed)) {
                return Err(format!("guard {guard} has forgotten what is owed, and has {held:?}"));
            }
        }
        Ok(())
    }

    /// Everything is up, and has time: all agree, and what is owed stands everywhere.
    fn calm(&mut self) -> Result<(), String> {
        self.world.everything_returns();
        for _ in 0..60 {
            self.second()?;
        }
        for guard in 0..GUARDS {
            while self.world.deliver(guard) {}
        }
        if let Some(why) = disagreement(&self.world) {
            return Err(why);
        }
        let lost = |store: &StoreModel, owed| store.own().is_none_or(|own| !shares_history(&own, owed));
        match &self.owed {
            Some(owed) if self.world.stores.iter().any(|store| lost(store, owed)) => {
                Err("a store has not what is owed".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Everything is undone and long ago: how much the guards keep in memory.
    fn size_when_all_is_over(&mut self) -> Result<usize, String> {
        self.owed = None;
        self.world.undo();
        self.calm()?;
        self.world.pass(KEPT_AFTER_END + Duration::from_secs(60));
        self.calm()?;
        match self.world.standing().in_force() {
            // It was replayed, and is not shown yet.
            Some(_) => Ok(0),
            None => Ok(self.world.guards.iter().map(|guard| format!("{guard:?}").len()).sum()),
        }
    }

    /// How everything stands, for whoever has to find out why.
    fn picture(&self) -> String {
        let of = |own: Option<&Override>| {
            own.map(|own| {
                let (wish, newest) = (&own.instructions, own.changes.last().map(ToString::to_string));
                format!("{wish:?} r{} {:?} {newest:?} on v{}", own.revision, own.state, own.upstream.version())
            })
        };
        let mut lines = vec![format!("LaunchDarkly {}", in_short(Some(&self.world.launchdarkly)))];
        lines.push(format!("owed {:?}", of(self.owed.as_ref())));
        for store in &self.world.stores {
            let (up, record) = (if store.up { "up" } else { "away" }, in_short(store.record.as_ref()));
            lines.push(format!("store {up} {record} {:?}", of(store.own().as_ref())));
        }
        for (place, guard) in self.world.guards.iter().enumerate() {
            let (held, client) = (of(self.world.held_by(place)), in_short(guard.client.as_ref()));
            lines.push(format!("guard {held:?} {:?}, its SDK {client}", guard.channel.reasons()));
        }
        lines.join("\n")
    }

    fn play(&mut self) -> Result<Told, String> {
        let mut told = Told::default();
        let begun = self.world.now;
        let mut calms = 0;
        while self.world.now.duration_since(begun) < DAY {
            self.happens(&mut told);
            let apart = self.random.u64(1..=APART_MAX);
            for _ in 0..apart.min(LOOKED_AT) {
                self.second()?;
            }
            self.world.pass(Duration::from_secs(apart.saturating_sub(LOOKED_AT)));
            if self.world.now.duration_since(begun) > CALM_EVERY * (calms + 1) {
                calms += 1;
                self.happened.push("calm".to_owned());
                self.calm()?;
                if calms % CALMS_TO_FORGET == 0 {
                    self.happened.push("undone, and forgotten".to_owned());
                    told.sizes.push(self.size_when_all_is_over()?);
                }
            }
        }
        Ok(told)
    }
}

#[test]
fn a_day_with_everything_that_goes_wrong() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds: Vec<u64> = match (number("RC_DAY"), number("RC_DAYS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(days)) => (1..=days).collect(),
        (None, None) => PLAYED.to_vec(),
    };
    for seed in seeds {
        let mut day = Day::new(seed);
        let told = day.play().unwrap_or_else(|why| {
            panic!(
                "RC_DAY={seed}: {why}\n{}\n{}",
                day.happened[day.happened.len().saturating_sub(40)..].join("\n"),
                day.picture()
            )
        });
        assert!(told.edits > 100 && told.failovers > 30 && told.restarts > 30, "{told:?}");
        let sizes: Vec<usize> = told.sizes.iter().copied().filter(|size| *size > 0).collect();
        let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
            panic!("nothing was ever over: {told:?}")
        };
        assert!(sizes.len() > 2 && *last < 2 * first, "RC_DAY={seed}: what is kept grows: {sizes:?}");
    }
}
