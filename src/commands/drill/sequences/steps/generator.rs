//! A story from a seed: the same seed gives the same story, whatever came of it. PURE. It knows roughly what is away and
//! what was edited, so that interleavings which matter are common; it does not know what the commands make of it.

use fastrand::Rng;

use super::Cast;
use super::Deed;
use super::Event;
use super::FLAGS;
use super::Interjection;
use super::Meanwhile;
use super::OPERATORS;
use super::OnConflict;
use super::Pace;
use super::STORES;
use super::Step;
use super::Story;
use super::Typed;
use super::Verb;
use super::What;
use super::Wish;

/// The fewest and the most steps of a story, without those in which everything is brought to rest.
const STEPS: std::ops::RangeInclusive<usize> = 6..=20;

/// The latest sight of the world at which something happens in the middle of a command.
const SIGHTS: u16 = 44;

/// Makes the story of a seed. Without `redis` nothing goes wrong with stores, which are flag files then.
pub fn story(seed: u64, redis: bool) -> Story {
    let mut dice = Dice { rng: Rng::with_seed(seed), redis };
    let cast = dice.cast();
    let mut rough = Rough::new(&cast, dice.rng.bool());
    let count = dice.rng.usize(STEPS);
    let steps = (1..=count).map(|number| Step { number, what: dice.step(&cast, &mut rough) }).collect();
    let last_word = if dice.one_in(3) { OnConflict::LaunchDarkly } else { OnConflict::Override };
    Story { seed, cast, steps, last_word, agreed_to: !dice.one_in(4) }
}

/// What the dice know of how things stand.
struct Rough {
    /// Flags that are picked more often than others.
    hot: usize,
    api_away: bool,
    stream_away: bool,
    stores_down: Vec<bool>,
    parted: Vec<bool>,
    edited: Vec<bool>,
    /// Whether stores lose what they held in this story. Where they do not, more can be said of what must come out.
    loses: bool,
}

impl Rough {
    fn new(cast: &Cast, loses: bool) -> Self {
        Self {
            hot: 0,
            api_away: false,
            stream_away: false,
            stores_down: vec![false; cast.stores],
            parted: vec![false; cast.home_count()],
            edited: vec![false; cast.flags],
            loses,
        }
    }
}

struct Dice {
    rng: Rng,
    redis: bool,
}

/// What a step is about.
#[derive(Clone, Copy)]
enum About {
    Update,
    Undo,
    Replay,
    Look,
    Resume,
    Api,
    Stream,
    Store,
    Relay,
    Network,
    Loss,
    Colleague,
    Approval,
}

impl Dice {
    fn one_in(&mut self, number: usize) -> bool {
        self.rng.usize(..number) == 0
    }

    fn number(&mut self, below: usize) -> usize {
        if below == 0 { 0 } else { self.rng.usize(..below) }
    }

    fn pick<T: Copy>(&mut self, weighted: &[(T, u32)], otherwise: T) -> T {
        let total: u32 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut left = if total == 0 { 0 } else { self.rng.u32(..total) };
        for (one, weight) in weighted {
            if left < *weight {
                return *one;
            }
            left -= weight;
        }
        otherwise
    }

    fn cast(&mut self) -> Cast {
        let stores = if self.redis { self.pick(&[(1, 5), (2, 4), (3, 2)], 1) } else { 1 };
        let operators = self.pick(&[(2, 5), (3, 3), (4, 1)], 2).min(OPERATORS.len());
        let mut homes = vec![0];
        for _ in 1..operators {
            let known = homes.iter().max().map_or(0, |last| last + 1);
            let shares = self.one_in(5);
            homes.push(if shares { self.number(known) } else { known });
        }
        let mut relays: Vec<usize> = (0..stores.min(STORES.len())).collect();
        if self.one_in(4) {
            relays.push(self.number(stores));
        }
        let flags = self.pick(&[(1, 4), (2, 5), (3, 3)], 2).min(FLAGS.len());
        Cast { stores, homes, relays, flags }
    }

    fn step(&mut self, cast: &Cast, rough: &mut Rough) -> What {
        let edited = rough.edited.iter().any(|edited| *edited);
        let weight = |on: bool, yes: u32, no: u32| if on { yes } else { no };
        let down = rough.stores_down.iter().any(|down| *down);
        let parted = rough.parted.iter().any(|parted| *parted);
        let redis = |weight| if self.redis { weight } else { 0 };
        let about = [
            (About::Update, 30),
            (About::Undo, weight(edited, 8, 1)),
            (About::Replay, weight(edited, weight(rough.api_away, 3, 20), 1)),
            (About::Look, 7),
            (About::Resume, weight(edited, 3, 0)),
            (About::Api, weight(rough.api_away, 10, 11)),
            (About::Stream, weight(rough.stream_away, 9, 8)),
            (About::Store, redis(weight(down, 9, 4))),
            (About::Relay, 8),
            (About::Network, redis(weight(parted, 7, 3))),
            (About::Loss, if rough.loses { redis(5) } else { 0 }),
            (About::Colleague, 15),
            (About::Approval, weight(cast.flags > 2, 4, 0)),
        ];
        let about = self.pick(&about, About::Update);
        match about {
            About::Update | About::Undo | About::Replay | About::Look | About::Resume => {
                let typed = self.typed(about, cast, rough);
                What::Typed(self.interrupted(typed, cast, rough))
            }
            about => What::Event(self.event(about, cast, rough)),
        }
    }

    fn flag(&mut self, cast: &Cast, rough: &mut Rough) -> usize {
        if !self.one_in(3) {
            return rough.hot;
        }
        let flag = self.number(cast.flags);
        if self.one_in(3) {
            rough.hot = flag;
        }
        flag
    }

    fn typed(&mut self, about: About, cast: &Cast, rough: &mut Rough) -> Typed {
        let who = self.number(cast.homes.len());
        let verb = match about {
            About::Undo => Verb::Undo { flag: self.flag(cast, rough), yes: !self.one_in(3) },
            About::Replay => self.replay(cast, rough),
            About::Look => {
                if self.one_in(3) {
                    Verb::Status
                } else {
                    Verb::Verify
                }
            }
            About::Resume => Verb::Resume,
            _ => self.update(cast, rough),
        };
        Typed { who, verb, meanwhile: Vec::new() }
    }

    fn wish(&mut self, flag: usize) -> Wish {
        let variations = FLAGS.get(flag).map_or(0, |flag| flag.values.len());
        match self.rng.u32(..10) {
            0..5 => Wish::Off,
            5..8 => Wish::On,
            _ => Wish::Serve(self.number(variations)),
        }
    }

    fn update(&mut self, cast: &Cast, rough: &mut Rough) -> Verb {
        let flag = self.flag(cast, rough);
        let mark = |rough: &mut Rough, flag: usize| {
            if let Some(edited) = rough.edited.get_mut(flag) {
                *edited = true;
            }
        };
        mark(rough, flag);
        if self.one_in(7) {
            let mut edits = Vec::new();
            for flag in 0..cast.flags {
                let wish = if self.one_in(3) { Wish::Fallthrough(self.number(2)) } else { self.wish(flag) };
                edits.push((flag, wish));
                mark(rough, flag);
            }
            return Verb::Batch(edits);
        }
        let mut flags = vec![flag];
        let wish = self.wish(flag);
        if cast.flags > 1 && self.one_in(8) && !matches!(wish, Wish::Serve(_)) {
            flags = (0..cast.flags).collect();
            flags.iter().for_each(|flag| mark(rough, *flag));
        }
        Verb::Update { flags, wish, record: self.one_in(8), despite_differences: self.one_in(2) }
    }

    fn replay(&mut self, cast: &Cast, rough: &mut Rough) -> Verb {
        let flags = if self.one_in(5) { vec![self.flag(cast, rough)] } else { Vec::new() };
        let on_conflict = match self.rng.u32(..10) {
            0..6 => None,
            6..8 => Some(OnConflict::Override),
            8 => Some(OnConflict::LaunchDarkly),
            _ => Some(OnConflict::Skip),
        };
        Verb::Replay {
            flags,
            on_conflict,
            request_approval: cast.flags > 2 && self.one_in(2),
            dry_run: self.one_in(12),
        }
    }

    /// Lets something happen in the middle of a command, now and then.
    fn interrupted(&mut self, typed: Typed, cast: &Cast, rough: &mut Rough) -> Typed {
        if !self.one_in(3) {
            return typed;
        }
        let mut meanwhile = Vec::new();
        for _ in 0..=usize::from(self.one_in(4)) {
            let highest = if self.one_in(2) { SIGHTS } else { SIGHTS / 3 };
            let at = self.rng.u16(1..=highest);
            meanwhile.push(Meanwhile { at, what: self.interjection(&typed, cast, rough) });
        }
        meanwhile.sort_by_key(|one| one.at);
        Typed { meanwhile, ..typed }
    }

    fn interjection(&mut self, typed: &Typed, cast: &Cast, rough: &mut Rough) -> Interjection {
        match self.rng.u32(..10) {
            0..3 => Interjection::Killed,
            3 => Interjection::Cut,
            4..6 => Interjection::Event(self.event(About::Colleague, cast, rough)),
            6..8 => {
                let about = self
                    .pick(&[(About::Update, 4), (About::Undo, 2), (About::Replay, 3), (About::Look, 1)], About::Update);
                let mut other = self.typed(about, cast, rough);
                // Two replays in one home shut each other out, which takes time and shows little.
                let same_home = cast.homes.get(other.who) == cast.homes.get(typed.who);
                if same_home && matches!((&typed.verb, &other.verb), (Verb::Replay { .. }, Verb::Replay { .. })) {
                    other.verb = self.update(cast, rough);
                }
                Interjection::Typed(Box::new(other))
            }
            8 => Interjection::Event(Event::RelayCatchesUp(self.number(cast.relays.len()))),
            _ => {
                let about = self
                    .pick(&[(About::Api, 2), (About::Stream, 2), (About::Store, 2), (About::Loss, 1)], About::Stream);
                let allowed = self.redis && (rough.loses || !matches!(about, About::Loss));
                Interjection::Event(self.event(if allowed { about } else { About::Stream }, cast, rough))
            }
        }
    }

    fn event(&mut self, about: About, cast: &Cast, rough: &mut Rough) -> Event {
        match about {
            About::Api => self.api(rough),
            About::Stream => {
                rough.stream_away = !rough.stream_away;
                if rough.stream_away { Event::StreamAway } else { Event::StreamBack }
            }
            About::Store => {
                let store = self.number(cast.stores);
                let Some(down) = rough.stores_down.get_mut(store) else { return Event::ApiBack };
                *down = !*down;
                if *down { Event::StoreDown(store) } else { Event::StoreUp(store) }
            }
            About::Network => self.network(cast, rough),
            About::Loss => {
                let store = self.number(cast.stores);
                match self.rng.u32(..6) {
                    0..4 => Event::Failover { store, back: self.rng.usize(1..=3) },
                    4 => Event::Flushed(store),
                    _ => Event::Evicted(store),
                }
            }
            About::Colleague => Event::Colleague { flag: self.flag(cast, rough), deed: self.deed(rough) },
            About::Approval => {
                let flag = cast.flags.saturating_sub(1);
                if self.one_in(4) { Event::Declined(flag) } else { Event::Approved(flag) }
            }
            _ => self.relay(cast),
        }
    }

    fn api(&mut self, rough: &mut Rough) -> Event {
        if rough.api_away && !self.one_in(6) {
            rough.api_away = false;
            return Event::ApiBack;
        }
        match self.rng.u32(..16) {
            0..9 => {
                rough.api_away = true;
                // The stream goes too, as a rule: the next steps will say.
                Event::ApiAway
            }
            9..11 => Event::AnswersLost { times: self.rng.u32(1..=2) },
            11 => Event::ApiFails { status: 409, times: self.rng.u32(1..=2) },
            12..14 => Event::ApiFails { status: 503, times: self.rng.u32(1..=3) },
            14 => Event::ApiLimited,
            _ => Event::ApiSlow,
        }
    }

    fn network(&mut self, cast: &Cast, rough: &mut Rough) -> Event {
        let home = self.number(cast.home_count());
        match rough.parted.get_mut(home) {
            Some(parted) if *parted => {
                *parted = false;
                Event::Healed(home)
            }
            Some(parted) => {
                *parted = true;
                if self.one_in(4) {
                    Event::PartedFromLaunchDarkly(home)
                } else {
                    Event::Parted { home, store: self.number(cast.stores) }
                }
            }
            None => Event::Healed(home),
        }
    }

    fn relay(&mut self, cast: &Cast) -> Event {
        let relay = self.number(cast.relays.len());
        match self.rng.u32(..12) {
            0..2 => Event::RelayPace(relay, Pace::Prompt),
            2..4 => Event::RelayPace(relay, Pace::Slow),
            4..6 => Event::RelayPace(relay, Pace::Lagging),
            6..8 => Event::RelayCatchesUp(relay),
            8 => Event::RelayCut(relay),
            9..11 => Event::RelayJoined(relay),
            _ => Event::RelayRestarted(relay),
        }
    }

    fn deed(&mut self, rough: &Rough) -> Deed {
        let variations = FLAGS.get(rough.hot).map_or(2, |flag| flag.values.len());
        match self.rng.u32(..34) {
            0..6 => Deed::TurnOn,
            6..12 => Deed::TurnOff,
            12..15 => Deed::ToggleTwice,
            15..18 => Deed::OffVariation(self.number(variations)),
            18 => Deed::OffVariationTwice,
            19..21 => Deed::Fallthrough(self.number(variations)),
            21..24 => Deed::AddRule,
            24..26 => Deed::AddTarget,
            26..28 => Deed::Describe,
            28 => Deed::AddVariation,
            29 => Deed::RemoveVariation,
            30 => Deed::Archive,
            31..33 => Deed::Restore,
            _ => Deed::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_story() {
        for seed in 0..50 {
            assert_eq!(story(seed, true), story(seed, true));
        }
        let different: std::collections::BTreeSet<String> =
            (0..50).map(|seed| format!("{:?}", story(seed, true).steps)).collect();
        assert!(different.len() > 45, "only {} of 50", different.len());
    }

    /// What has to be common is: else a run of a thousand shows nothing of it.
    #[test]
    fn what_matters_is_common() {
        let stories: Vec<Story> = (0..1_000).map(|seed| story(seed, true)).collect();
        let with = |has: &dyn Fn(&Typed) -> bool| {
            let typed =
                |story: &&Story| story.steps.iter().any(|step| matches!(&step.what, What::Typed(typed) if has(typed)));
            stories.iter().filter(typed).count()
        };
        let killed = with(&|typed| typed.meanwhile.iter().any(|one| one.what == Interjection::Killed));
        let crossed = with(&|typed| typed.meanwhile.iter().any(|one| matches!(one.what, Interjection::Typed(_))));
        let replayed = with(&|typed| matches!(typed.verb, Verb::Replay { .. }));
        let undone = with(&|typed| matches!(typed.verb, Verb::Undo { .. }));
        assert!(
            killed > 250 && crossed > 200 && replayed > 600 && undone > 250,
            "{killed} {crossed} {replayed} {undone}"
        );
        let happens = |event: &dyn Fn(&Event) -> bool| {
            let happens =
                |story: &&Story| story.steps.iter().any(|step| matches!(&step.what, What::Event(one) if event(one)));
            stories.iter().filter(happens).count()
        };
        assert!(happens(&|event| matches!(event, Event::Failover { .. })) > 100);
        assert!(happens(&|event| matches!(event, Event::Colleague { deed: Deed::ToggleTwice, .. })) > 80);
        assert!(happens(&|event| matches!(event, Event::Parted { .. })) > 80);
    }

    #[test]
    fn flag_files_do_not_fail_over() {
        for seed in 0..200 {
            let text = format!("{:?}", story(seed, false));
            assert!(!["Failover", "StoreDown", "Parted", "Flushed"].iter().any(|word| text.contains(word)), "{text}");
        }
    }
}
