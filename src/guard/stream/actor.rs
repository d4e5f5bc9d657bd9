//! The task of one stream: waits for whatever comes next, and has it dealt with.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;

use crate::flag::key::FlagKey;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::answer::Upstream;
use crate::guard::keys::Vouch;
use crate::guard::keys::Word;
use crate::guard::serving::Nothing;
use crate::guard::serving::Served;
use crate::guard::story::Story;
use crate::guard::stream::channel::StoresWord;
use crate::guard::stream::content::Content;
use crate::guard::stream::event::Event;
use crate::guard::stream::event::Piece;
use crate::guard::stream::feed::Again;
use crate::guard::stream::feed::Attach;
use crate::guard::stream::feed::FeedPlan;
use crate::guard::stream::feed::Message;
use crate::guard::stream::feed::now;
use crate::guard::stream::keeping::Keeping;
use crate::guard::stream::relays::Relays;
use crate::guard::stream::side::Side;
use crate::guard::stream::upstream::Heard;
use crate::guard::stream::view::FeedView;

/// Pieces of LaunchDarkly's stream that wait to be dealt with; all that wait are dealt with at once.
const HEARD_MAX: usize = 64;

/// How often is looked after what depends on time alone.
const TICK: Duration = Duration::from_millis(500);

/// The same while somebody waits.
const QUICK_TICK: Duration = Duration::from_millis(20);

/// How soon stores are followed anew where whoever did has ended.
const FOLLOW_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a stream goes on that nobody hangs on, and for whose key nobody vouches.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What may be served of what stores hold.
pub(super) type Reading = Result<Served, Nothing>;

/// The task of one stream.
pub(super) struct Actor {
    pub(super) plan: FeedPlan,
    pub(super) content: Content,
    pub(super) relays: Relays,
    pub(super) asking: Vec<Attach>,
    pub(super) side: Side,
    messages: mpsc::Receiver<Message>,
    heard: mpsc::Receiver<Heard>,
    /// What all relays get of what was heard, before anything else is sent to them.
    passing: Vec<Bytes>,
    again: Again,
    words: Option<mpsc::Receiver<StoresWord>>,
    pub(super) whole: Option<oneshot::Receiver<Reading>>,
    pub(super) whole_at: Option<Instant>,
    /// When the stores are to be followed anew, since whoever did has ended.
    follow_at: Option<Instant>,
    /// Whether what was kept was taken.
    remembered: bool,
    seen: watch::Sender<FeedView>,
    view: watch::Receiver<FeedView>,
    keeping: Keeping,
    /// Which overrides it was told of.
    story: Story,
    idle_since: Instant,
    ticked: Instant,
    events: u64,
    /// Something of the view may be different.
    pub(super) touched: bool,
}

enum Woken {
    Message(Option<Message>),
    /// All that had come; nothing if LaunchDarkly is not followed any more.
    Heard(Vec<Heard>),
    Word(Option<StoresWord>),
    Whole(Option<Reading>),
    Tick,
}

impl Actor {
    /// Asks LaunchDarkly, and remembers what was kept.
    pub(super) async fn begin(
        plan: FeedPlan,
        messages: mpsc::Receiver<Message>,
        seen: watch::Sender<FeedView>,
        view: watch::Receiver<FeedView>,
    ) -> Self {
        let (instant, at) = now();
        let (told, heard) = mpsc::channel(HEARD_MAX);
        let again = Again::default();
        let launchdarkly = plan.hub.parts().launchdarkly.clone();
        let (asked, own) = (plan.stream.asked.clone(), Arc::clone(&again));
        tokio::spawn(async move { launchdarkly.follow(asked, told, own).await });
        let content = Content::of(&plan);
        let mut actor = Self {
            content,
            relays: Relays::default(),
            asking: Vec::new(),
            side: Side::asked(instant, at),
            messages,
            heard,
            passing: Vec::new(),
            again,
            words: None,
            whole: None,
            whole_at: None,
            follow_at: None,
            remembered: false,
            seen,
            view,
            keeping: Keeping::default(),
            story: Story::default(),
            idle_since: instant,
            ticked: instant,
            events: 0,
            touched: true,
            plan,
        };
        actor.settle_place().await;
        actor.learn(Word::Kept);
        actor.show();
        actor
    }

    /// Until nobody needs it any more, or the guard ends.
    pub(super) async fn run(mut self) {
        loop {
            let woken = self.next().await;
            match woken {
                Woken::Message(None) => return,
                Woken::Message(Some(Message::Stop(done))) => {
                    self.stop();
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                    return;
                }
                Woken::Message(Some(Message::Learnt)) => self.settle_place().await,
                Woken::Message(Some(Message::Attach(attach))) => self.asking.push(attach),
                Woken::Heard(heard) if heard.is_empty() => return,
                Woken::Heard(heard) => {
                    heard.into_iter().for_each(|heard| self.hear(heard));
                    self.pass_on(Instant::now());
                }
                Woken::Word(Some(word)) => self.word(word),
                // Whoever follows the stores has ended; the overrides that are known hold on, and it is begun anew.
                Woken::Word(None) => (self.words, self.follow_at) = (None, Some(Instant::now() + FOLLOW_AGAIN_AFTER)),
                Woken::Whole(served) => self.whole(served),
                Woken::Tick => {}
            }
            self.answer();
            self.give_first();
            self.look_after();
            if self.follow_at.is_some_and(|at| at <= Instant::now()) {
                self.follow_at = None;
                self.settle_place().await;
            }
            if self.is_over() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Woken {
        let somebody_waits = !self.asking.is_empty() || self.relays.waiting(Instant::now()).is_some();
        let tick = self.ticked + if somebody_waits { QUICK_TICK } else { TICK };
        let wake = self.content.next_due().map_or(tick, |due| due.min(tick));
        let mut heard = Vec::new();
        tokio::select! {
            message = self.messages.recv() => Woken::Message(message),
            _ = self.heard.recv_many(&mut heard, HEARD_MAX) => Woken::Heard(heard),
            word = from(&mut self.words) => Woken::Word(word),
            served = read(&mut self.whole) => Woken::Whole(served),
            () = tokio::time::sleep_until(wake.into()) => Woken::Tick,
        }
    }

    fn hear(&mut self, heard: Heard) {
        let (instant, at) = now();
        self.touched = true;
        match heard {
            Heard::Opened => {
                self.side.opened(instant);
                self.show();
            }
            Heard::Piece(Piece::Comment(comment)) => {
                self.pass_on(instant);
                self.relays.comment(&comment, instant);
            }
            Heard::Piece(Piece::Event(event)) => self.event(&event),
            Heard::Gone(gone) => {
                self.pass_on(instant);
                if gone.refused {
                    let told = format!(
                        "LaunchDarkly does not know the key of {} ({}). Relays on it go on with what they have",
                        self.content.name(),
                        gone.told
                    );
                    self.plan.hub.parts().alarms.raise(self.alarm(AlarmKind::KeyRefused), told);
                }
                self.side.gone(gone, instant, at);
                self.give_up();
                self.show();
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let at = now().1;
        self.events += 1;
        let taken = match self.content.event(event, at) {
            Ok(taken) => taken,
            Err(error) => {
                let told = format!(
                    "{}: LaunchDarkly sent {error}. It was not passed on, and the stream is opened anew",
                    self.content.name()
                );
                self.plan.hub.parts().alarms.tell_once(self.alarm(AlarmKind::NotUnderstood), told);
                self.again.notify_one();
                return;
            }
        };
        if event.name == "put" {
            self.side.put(at);
            self.content.is_live();
            // What is being read of stores is older than this.
            (self.whole, self.whole_at) = (None, None);
            self.show();
            for kind in [AlarmKind::UpstreamAway, AlarmKind::KeyRefused] {
                self.plan.hub.parts().alarms.clear(&self.alarm(kind));
            }
            self.plan.hub.worked(self.plan.key);
        }
        self.keeping.changed();
        if taken.learnt {
            self.learn(Word::Live);
        }
        if taken.reconnect {
            self.again.notify_one();
        }
        self.passing.extend(taken.send);
    }

    /// Sends what was heard: each relay is woken once for all of it.
    fn pass_on(&mut self, now: Instant) {
        let passing = std::mem::take(&mut self.passing);
        self.relays.send(&passing, now);
    }

    fn word(&mut self, word: StoresWord) {
        self.touched = true;
        self.keeping.stores_told();
        let now = Instant::now();
        let news = self.story.news(word.overrides.values()).into_iter();
        let made: Vec<FlagKey> = news.filter_map(|news| news.made().map(|made| made.flag.clone())).collect();
        let out = self.content.word(word, now);
        self.relays.send(&out, now);
        if !out.is_empty() {
            self.tell_reached(made);
        }
        self.plan.hub.parts().alarms.clear(&self.alarm(AlarmKind::StoresAway));
    }

    /// Tells that overrides were sent to whoever is connected.
    fn tell_reached(&self, made: Vec<FlagKey>) {
        let relays = self.relays.len();
        for flag in made.into_iter().filter(|_| relays > 0) {
            let them = if relays == 1 { "the relay".to_owned() } else { format!("the {relays} relays") };
            let told = format!("the override of {flag} was sent to {them} connected here, and so to their SDKs");
            let name = AlarmName { flag: Some(flag), ..self.alarm(AlarmKind::OverrideReached) };
            self.plan.hub.parts().alarms.tell_once(name, told);
        }
    }

    /// What depends on time alone.
    fn look_after(&mut self) {
        let (instant, at) = now();
        let due = self.content.due(instant);
        self.relays.send(&due, instant);
        let tick = if self.relays.waiting(instant).is_some() || !self.asking.is_empty() { QUICK_TICK } else { TICK };
        if instant.saturating_duration_since(self.ticked) < tick {
            return;
        }
        self.ticked = instant;
        let there = self.relays.len();
        self.relays.look_after(instant);
        self.touched |= there != self.relays.len();
        for cut in self.relays.cut_off() {
            let told = format!(
                "the relay at {} was cut off from {}: {}. It comes back by itself",
                cut.relay.address,
                self.content.name(),
                cut.why
            );
            self.plan.hub.parts().alarms.tell_once(self.alarm(AlarmKind::RelaySlow), told);
            self.touched = true;
        }
        if !self.relays.is_empty() || !self.asking.is_empty() || self.vouch() > Vouch::Nobody {
            self.idle_since = instant;
        }
        self.miss(instant);
        self.give_up();
        let is_up = self.side.is_up() == Some(true);
        if let Some(keeper) = &self.plan.hub.parts().keeper {
            self.keeping.keep(&self.content, is_up, keeper, self.plan.id, (instant, at));
        }
        if self.touched {
            self.show();
        }
    }

    /// Alarms where LaunchDarkly is away, and not only for a moment.
    fn miss(&mut self, now: Instant) {
        let is_unwanted = self.relays.is_empty() && self.vouch() == Vouch::Nobody;
        let alarms = &self.plan.hub.parts().alarms;
        if !self.side.is_missed(now) || is_unwanted {
            return;
        }
        let told = format!(
            "LaunchDarkly's stream of {} is away since {:.0}: {}. Relays keep what they have",
            self.content.name(),
            self.side.since(),
            self.side.told().unwrap_or("it does not answer")
        );
        alarms.raise(self.alarm(AlarmKind::UpstreamAway), told);
    }

    /// LaunchDarkly has refused a key that worked for so long that it is true; and where the guard has no effect of its
    /// own, nobody is held when LaunchDarkly goes.
    fn give_up(&mut self) {
        let is_open = matches!(self.side.upstream(Instant::now()), Upstream::Up { .. });
        if self.plan.hub.parts().shadow && !is_open {
            self.relays.end_all();
        }
        let refused_for = self.plan.hub.parts().refused_for;
        if self.side.refused_for().is_some_and(|refused| refused >= refused_for) && self.vouch() == Vouch::Worked {
            self.plan.hub.refused(self.plan.key);
            self.relays.end_all();
            let told = format!(
                "LaunchDarkly has refused the key of {} for {} min: relays with it are refused too from now on",
                self.content.name(),
                refused_for.as_secs() / 60
            );
            self.plan.hub.parts().alarms.raise(self.alarm(AlarmKind::KeyRefused), told);
        }
    }

    fn is_over(&self) -> bool {
        Instant::now().saturating_duration_since(self.idle_since) >= IDLE_MAX
    }

    /// The guard ends.
    fn stop(&mut self) {
        self.asking.clear();
        self.relays.end_all();
        let up = self.side.is_up() == Some(true);
        if let Some(keeper) = &self.plan.hub.parts().keeper {
            self.keeping.keep_now(&self.content, up, keeper, self.plan.id, now());
        }
    }

    /// Takes what was kept, which is for keys that somebody vouches for; finds out which environment this is of, if that is
    /// not known yet, and listens to its stores.
    async fn settle_place(&mut self) {
        if !self.remembered && self.vouch() > Vouch::Nobody && !self.plan.hub.parts().shadow {
            self.remembered = true;
            self.content.remember(&self.plan).await;
        }
        if self.words.is_some() {
            return;
        }
        if let Some(followed) = self.content.settle_place(&self.plan) {
            self.words = Some(followed.listen(self.view.clone()).await);
        }
        self.touched = true;
    }

    /// Tells all others which environments and keys there are.
    fn learn(&mut self, word: Word) {
        if let Content::Configuration(configuration) = &self.content {
            let environments = configuration.environments();
            // That nothing was kept says nothing; that LaunchDarkly names none is a word.
            if word == Word::Live || !environments.is_empty() {
                self.plan.hub.learn(self.plan.key, &environments, word);
            }
        }
    }

    pub(super) fn vouch(&self) -> Vouch {
        self.plan.hub.vouch(&self.plan.key)
    }

    pub(super) fn alarm(&self, kind: AlarmKind) -> AlarmName {
        AlarmName { kind, environment: Some(self.content.name().to_owned()), flag: None }
    }

    fn show(&mut self) {
        self.touched = false;
        let view = FeedView {
            path: self.plan.stream.path,
            up: self.side.is_up(),
            since: self.side.since(),
            told: self.side.told().map(str::to_owned),
            relays: self.relays.list(),
            events: self.events,
            counts: self.relays.counts(),
            ..self.content.view(Instant::now())
        };
        self.seen.send_replace(view);
    }
}

/// What is sent to all relays because of an event, and what else comes of it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub send: Vec<Bytes>,
    pub learnt: bool,
    pub reconnect: bool,
}

async fn from(words: &mut Option<mpsc::Receiver<StoresWord>>) -> Option<StoresWord> {
    match words {
        Some(words) => words.recv().await,
        None => std::future::pending().await,
    }
}

async fn read(whole: &mut Option<oneshot::Receiver<Reading>>) -> Option<Reading> {
    match whole {
        // An error means that reading has ended without a result.
        Some(whole) => whole.await.ok(),
        None => std::future::pending().await,
    }
}
