//! The task of one stream: waits for whatever comes next, and has it dealt with.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;

use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::answer;
use crate::guard::answer::Answer;
use crate::guard::answer::ConfigurationSituation;
use crate::guard::answer::First;
use crate::guard::answer::Situation;
use crate::guard::answer::StoresRead;
use crate::guard::answer::Upstream;
use crate::guard::keys::Vouch;
use crate::guard::serving::Served;
use crate::guard::serving::served;
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

/// Pieces of LaunchDarkly's stream that wait to be dealt with.
const HEARD_MAX: usize = 64;

/// How often is looked after what depends on time alone.
const TICK: Duration = Duration::from_millis(500);

/// The same while somebody waits.
const QUICK_TICK: Duration = Duration::from_millis(20);

/// How long all stores together may take to be read as a whole: a relay that starts is to be ready within 3 s.
const WHOLE_DEADLINE: Duration = Duration::from_millis(1_500);

/// For so long what stores were read to hold is good enough for the next relay; what is written meanwhile is followed.
const WHOLE_GOOD_FOR: Duration = Duration::from_secs(5);

/// How long a stream goes on that nobody hangs on, and for whose key nobody vouches.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// The task of one stream.
pub(super) struct Actor {
    plan: FeedPlan,
    content: Content,
    relays: Relays,
    asking: Vec<Attach>,
    side: Side,
    messages: mpsc::Receiver<Message>,
    heard: mpsc::Receiver<Heard>,
    again: Again,
    words: Option<mpsc::Receiver<StoresWord>>,
    whole: Option<oneshot::Receiver<Option<Served>>>,
    whole_at: Option<Instant>,
    seen: watch::Sender<FeedView>,
    view: watch::Receiver<FeedView>,
    keeping: Keeping,
    idle_since: Instant,
    ticked: Instant,
    events: u64,
    /// Something of the view may be different.
    touched: bool,
}

enum Woken {
    Message(Option<Message>),
    Heard(Option<Heard>),
    Word(Option<StoresWord>),
    Whole(Option<Served>),
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
            again,
            words: None,
            whole: None,
            whole_at: None,
            seen,
            view,
            keeping: Keeping::default(),
            idle_since: instant,
            ticked: instant,
            events: 0,
            touched: true,
            plan,
        };
        // What was kept is for keys that somebody vouches for.
        if actor.vouch() > Vouch::Nobody && !actor.plan.hub.parts().shadow {
            actor.content.remember(&actor.plan).await;
        }
        actor.settle_place().await;
        actor.learn();
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
                Woken::Heard(Some(heard)) => self.hear(heard),
                Woken::Heard(None) => return,
                Woken::Word(Some(word)) => self.word(word),
                // Whoever follows the stores has ended; the overrides that are known hold on.
                Woken::Word(None) => self.words = None,
                Woken::Whole(served) => self.whole(served),
                Woken::Tick => {}
            }
            self.answer();
            self.give_first();
            self.look_after();
            if self.is_over() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Woken {
        let somebody_waits = !self.asking.is_empty() || self.relays.waiting(Instant::now()).is_some();
        let tick = self.ticked + if somebody_waits { QUICK_TICK } else { TICK };
        let wake = self.content.next_due().map_or(tick, |due| due.min(tick));
        tokio::select! {
            message = self.messages.recv() => Woken::Message(message),
            heard = self.heard.recv() => Woken::Heard(heard),
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
                self.side.opened(at);
                self.show();
            }
            Heard::Piece(Piece::Comment(comment)) => {
                self.relays.comment(&comment, instant);
            }
            Heard::Piece(Piece::Event(event)) => self.event(&event),
            Heard::Gone(gone) => {
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
        let (instant, at) = now();
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
            self.side.put();
            self.content.is_live();
            for kind in [AlarmKind::UpstreamAway, AlarmKind::KeyRefused] {
                self.plan.hub.parts().alarms.clear(&self.alarm(kind));
            }
            self.plan.hub.worked(self.plan.key);
        }
        self.keeping.changed();
        if taken.learnt {
            self.learn();
        }
        if taken.reconnect {
            self.again.notify_one();
        }
        self.relays.send(&taken.send, instant);
    }

    fn word(&mut self, word: StoresWord) {
        self.touched = true;
        self.keeping.stores_told();
        let now = Instant::now();
        let out = self.content.word(word, now);
        self.relays.send(&out, now);
        self.plan.hub.parts().alarms.clear(&self.alarm(AlarmKind::StoresAway));
    }

    /// What the stores hold, read because LaunchDarkly is away.
    fn whole(&mut self, served: Option<Served>) {
        self.touched = true;
        let now = Instant::now();
        self.whole = None;
        self.whole_at = Some(now);
        // LaunchDarkly's own word, if it has come meanwhile, is newer than any of it.
        if !matches!(self.side.upstream(now), Upstream::Up { put: true }) {
            let out = self.content.restore(served);
            self.relays.send(&out, now);
        }
    }

    /// Answers the requests that can be answered.
    fn answer(&mut self) {
        if self.asking.is_empty() {
            return;
        }
        let now = Instant::now();
        let vouch = self.vouch();
        // A stranger waits for LaunchDarkly's own word.
        let upstream = if vouch == Vouch::Nobody { self.side.upstream(now) } else { self.upstream(now) };
        let parts = self.plan.hub.parts();
        let shadow = parts.shadow;
        let refused_for = parts.refused_for;
        for attach in std::mem::take(&mut self.asking) {
            let waited = now.saturating_duration_since(attach.since);
            let answer = if shadow {
                answer::answer_in_shadow(upstream, waited)
            } else {
                answer::answer(vouch, upstream, waited, refused_for)
            };
            match answer {
                Answer::Wait if attach.answer.is_closed() => {}
                Answer::Wait => self.asking.push(attach),
                answer => {
                    let is_there = attach.answer.send(answer).is_ok();
                    if answer == Answer::Stream && is_there {
                        self.relays.attach(attach.relay, attach.line, attach.since);
                        self.touched = true;
                    }
                }
            }
        }
    }

    /// Gives the relays that wait their first event, as soon as that can be right.
    fn give_first(&mut self) {
        let now = Instant::now();
        let Some(waited) = self.relays.waiting(now) else { return };
        let upstream = self.upstream(now);
        let (gives, for_those_who_waited) = match &self.content {
            Content::Flags(flags) => {
                let stores = match (&self.whole, self.whole_at) {
                    (Some(_), _) => StoresRead::Asked,
                    (None, Some(at)) if now.saturating_duration_since(at) < WHOLE_GOOD_FOR => StoresRead::Yes,
                    (None, _) => StoresRead::No,
                };
                let situation = Situation {
                    upstream,
                    waited,
                    overrides: flags.overrides_known(now),
                    seen_live: flags.seen_live(),
                    stores,
                };
                match answer::first(situation) {
                    First::Wait => (false, Duration::ZERO),
                    First::Give => (true, Duration::ZERO),
                    First::ReadStores => {
                        self.read_stores();
                        (false, Duration::ZERO)
                    }
                }
            }
            Content::Configuration(configuration) => {
                let situation = ConfigurationSituation {
                    upstream,
                    waited,
                    seen_live: configuration.seen_live(),
                    leaves_out: !configuration.seen_live() && self.plan.hub.leaves_out(&configuration.environments()),
                };
                let each_waits = if configuration.seen_live() { Duration::ZERO } else { waited };
                (answer::gives_configuration(situation), each_waits)
            }
        };
        if !gives {
            return;
        }
        if let Some(first) = self.content.first() {
            self.relays.give_first(&first, for_those_who_waited, now);
            self.tell_if_stores_are_away(now);
            self.touched = true;
        }
    }

    fn tell_if_stores_are_away(&self, now: Instant) {
        let Content::Flags(flags) = &self.content else { return };
        if flags.overrides_known(now) != answer::Overrides::Known {
            let told = format!(
                "no store of {} has told its overrides since this guard began: relays are served without knowing what \
                 was changed by rc meanwhile",
                self.content.name()
            );
            self.plan.hub.parts().alarms.raise(self.alarm(AlarmKind::StoresAway), told);
        }
    }

    fn read_stores(&mut self) {
        let Content::Flags(flags) = &self.content else { return };
        let (done, whole) = oneshot::channel();
        let last = flags.last().cloned();
        let stores = flags.stores();
        self.whole = Some(whole);
        tokio::spawn(async move {
            let readings = match stores {
                Some(stores) => tokio::time::timeout(WHOLE_DEADLINE, stores.whole()).await.unwrap_or_default(),
                None => Vec::new(),
            };
            let served = tokio::task::spawn_blocking(move || served(last.as_ref(), &readings)).await;
            // The stream may have ended meanwhile.
            let _ = done.send(served.unwrap_or_default());
        });
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
        let now = Instant::now();
        let is_up = self.side.is_up() == Some(true);
        if self.plan.hub.parts().shadow && !is_up {
            self.relays.end_all();
        }
        let refused_for = self.plan.hub.parts().refused_for;
        if self.side.refused_for(now).is_some_and(|refused| refused >= refused_for) && self.vouch() == Vouch::Worked {
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

    /// Finds out which environment this is of, if that is not known yet, and listens to its stores.
    async fn settle_place(&mut self) {
        if self.words.is_some() {
            return;
        }
        if let Some(followed) = self.content.settle_place(&self.plan) {
            self.words = Some(followed.listen(self.view.clone()).await);
        }
        self.touched = true;
    }

    /// Tells all others which environments and keys there are.
    fn learn(&mut self) {
        if let Content::Configuration(configuration) = &self.content {
            let environments = configuration.environments();
            if !environments.is_empty() {
                self.plan.hub.learn(self.plan.key, &environments);
            }
        }
    }

    fn vouch(&self) -> Vouch {
        self.plan.hub.vouch(&self.plan.key)
    }

    /// LaunchDarkly's side; where it answers nobody, that is not waited for by each stream anew.
    fn upstream(&self, now: Instant) -> Upstream {
        match self.side.upstream(now) {
            Upstream::Asked(asked) if asked < answer::NAMED_PATIENCE && self.plan.hub.nobody_is_answered() => {
                Upstream::Away(answer::JUST_NOW)
            }
            upstream => upstream,
        }
    }

    fn alarm(&self, kind: AlarmKind) -> AlarmName {
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

async fn read(whole: &mut Option<oneshot::Receiver<Option<Served>>>) -> Option<Served> {
    match whole {
        // An error means that reading has ended without a result.
        Some(whole) => whole.await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}
