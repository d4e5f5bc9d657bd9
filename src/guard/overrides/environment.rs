//! The stores of one environment, followed: a task for each target, one that tells what was learnt, one that announces the
//! guard, and the handle by which the stream asks. It joins what is pure (`ledger`, `upkeep`) with stores and disk.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::change::edit::Motive;
use crate::change::expiry::came_before;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::environment::StreamView;
use crate::guard::overrides::EnvironmentStores;
use crate::guard::overrides::WholeReading;
use crate::guard::overrides::expiry;
use crate::guard::overrides::known_flag::KnownFlag;
use crate::guard::overrides::ledger::Again;
use crate::guard::overrides::ledger::Ledger;
use crate::guard::overrides::ledger::TargetState;
use crate::guard::overrides::record_book::RecordBook;
use crate::guard::overrides::upkeep::Upkeep;
use crate::guard::story::News;
use crate::guard::story::Story;
use crate::guard::stream::channel::StoresWord;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::following::Whole;

/// How often what is not needed any more is put away.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How long a store is waited for that is asked who replays.
const LEASE_WITHIN: Duration = Duration::from_secs(1);

/// What all tasks of an environment share.
pub(super) struct Shared {
    pub(super) environment: GuardedEnvironment,
    pub(super) stores: BTreeMap<Target, Arc<dyn Store>>,
    pub(super) upkeep: Upkeep,
    pub(super) book: Arc<Mutex<RecordBook>>,
    pub(super) alarms: Alarms,
    /// LaunchDarkly's stream, as the other half of the guard sees it.
    pub(super) view: watch::Receiver<StreamView>,
    ledger: Mutex<Ledger>,
    /// Something is to be told.
    word: Notify,
    /// By when every target is to be looked at again.
    look_by: watch::Sender<Instant>,
    /// Alarms that stand, so that they can be taken back.
    alarmed: Mutex<BTreeSet<AlarmName>>,
    /// How overrides fared, as it was told.
    story: Mutex<Story>,
}

impl Shared {
    pub(super) fn new(
        environment: GuardedEnvironment,
        stores: BTreeMap<Target, Arc<dyn Store>>,
        (upkeep, book, alarms): (Upkeep, Arc<Mutex<RecordBook>>, Alarms),
        view: watch::Receiver<StreamView>,
    ) -> Self {
        let ledger = Ledger::new(environment.environment.clone(), stores.keys().cloned());
        Self {
            environment,
            stores,
            upkeep,
            book,
            alarms,
            view,
            ledger: Mutex::new(ledger),
            word: Notify::new(),
            look_by: watch::channel(Instant::now()).0,
            alarmed: Mutex::default(),
            story: Mutex::default(),
        }
    }

    /// What is known. Held only for as long as it takes to look something up or to note something.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // What is kept here is as good after a panic as before.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By when targets are to be looked at.
    pub(super) fn look_by(&self) -> watch::Receiver<Instant> {
        self.look_by.subscribe()
    }

    /// Whether the guard writes anything at all.
    pub(super) fn writes(&self) -> bool {
        !self.view.borrow().shadow
    }

    /// Whether somebody has the right to replay the environment, as far as its stores say.
    pub(super) async fn is_being_replayed(&self) -> bool {
        let asked = self.stores.iter().map(|(target, store)| async move {
            let lease = tokio::time::timeout(LEASE_WITHIN, store.lease(&target.prefix)).await;
            matches!(lease, Ok(Ok(Some(_))))
        });
        join_all(asked).await.contains(&true)
    }

    /// Goes over what is known, after something was learnt, and sees to it that it is told.
    pub(super) fn go_over(&self) {
        let now = Instant::now();
        let (again, at_once, let_go, has_word) = {
            let mut ledger = self.ledger();
            let again = ledger.go_over(now);
            (again, ledger.has_unchecked(), ledger.let_go(), ledger.has_word())
        };
        for override_ in let_go {
            let told = format!(
                "the override of {} is gone, and a store's log tells of something later that no store holds: it is not \
                 kept. What became of it: rc log",
                override_.flag
            );
            self.alarms.tell_once(self.alarm_name(AlarmKind::OverrideLost, Some(override_.flag)), told);
        }
        if has_word {
            self.word.notify_one();
        }
        match again {
            _ if at_once => self.look(now),
            Again::By(until) => self.look(until),
            Again::AsUsual => {}
        }
        self.alarm();
        self.tell_story();
    }

    /// Tells how overrides fare, once every target was asked.
    fn tell_story(&self) {
        let ledger = self.ledger();
        if ledger.targets().values().any(|state| *state == TargetState::NotAsked) {
            return;
        }
        let mut story = self.story.lock().unwrap_or_else(PoisonError::into_inner);
        for news in story.news(ledger.standing().map(|(_, override_)| override_)) {
            let ended = |flag: &FlagKey| ledger.flags().get(flag).and_then(KnownFlag::ended_with);
            if let Some((kind, flag, told)) = in_words(&news, ended, Timestamp::now()) {
                self.alarms.tell_once(self.alarm_name(kind, Some(flag)), told);
            }
        }
    }

    /// Has every target looked at by then.
    fn look(&self, by: Instant) {
        let now = Instant::now();
        self.look_by.send_if_modified(|known| {
            let sooner = *known <= now || by < *known;
            if sooner {
                *known = by;
            }
            sooner
        });
    }

    pub(super) fn alarm_name(&self, kind: AlarmKind, flag: Option<FlagKey>) -> AlarmName {
        AlarmName { kind, environment: Some(self.environment.name.clone()), flag }
    }

    /// Raises what stands, and takes back what is over.
    fn alarm(&self) {
        let now = Timestamp::now();
        let mut standing: BTreeMap<AlarmName, String> = BTreeMap::new();
        {
            let ledger = self.ledger();
            let silent = |(target, state): (&Target, &TargetState)| match state {
                TargetState::Silent(why) => Some(format!("{target}: {why}")),
                TargetState::NotAsked | TargetState::Answers => None,
            };
            let silent: Vec<String> = ledger.targets().iter().filter_map(silent).collect();
            if !silent.is_empty() {
                let what = if silent.len() == ledger.targets().len() { "no store" } else { "not every store" };
                let told = format!("{what} of {} answers: {}", self.environment.name, silent.join("; "));
                standing.insert(self.alarm_name(AlarmKind::StoreAway, None), told);
            }
            if let Some(told) = emptied(&ledger) {
                standing.insert(self.alarm_name(AlarmKind::StoreEmptied, None), told);
            }
            for (flag, known) in ledger.flags() {
                for (target, why) in known.unreadable() {
                    let told = format!(
                        "the override of {flag} in {target} cannot be read: {why}. It is neither followed nor overwritten"
                    );
                    standing.insert(self.alarm_name(AlarmKind::OverrideUnreadable, Some(flag.clone())), told);
                }
            }
            for (flag, override_) in ledger.standing() {
                if let Some(told) = self.upkeep.on_expiry.alarm(override_, now) {
                    standing.insert(self.alarm_name(AlarmKind::OverrideExpired, Some(flag.clone())), told);
                }
            }
        }
        let mut alarmed = self.alarmed.lock().unwrap_or_else(PoisonError::into_inner);
        for over in alarmed.iter().filter(|name| !standing.contains_key(*name)) {
            self.alarms.clear(over);
        }
        *alarmed = standing.keys().cloned().collect();
        drop(alarmed);
        for (name, told) in standing {
            self.alarms.raise(name, told);
        }
    }

    /// Tells what was learnt, for as long as somebody listens. What nobody took yet is told together with what comes later.
    pub(super) async fn tell(&self, words: mpsc::Sender<StoresWord>) {
        // Without any store there is nothing to learn, and nobody has to wait for it.
        if self.stores.is_empty() {
            let _ = words.send(StoresWord::default()).await;
            return words.closed().await;
        }
        loop {
            let permit = tokio::select! {
                permit = words.reserve() => permit,
                () = words.closed() => return,
            };
            let Ok(permit) = permit else { return };
            let word = loop {
                let word = self.ledger().word();
                match word {
                    Some(word) => break word,
                    None => tokio::select! {
                        () = self.word.notified() => {}
                        () = words.closed() => return,
                    },
                }
            };
            permit.send(word);
        }
    }

    /// Puts away what is not needed any more.
    pub(super) async fn tidy(self: Arc<Self>) {
        let name = self.alarm_name(AlarmKind::StateFolder, None);
        let mut failed = false;
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            let environment = self.environment.environment.clone();
            let (environments, kept) = {
                let ledger = self.ledger();
                let of = ledger.standing().map(|(_, override_)| override_.environment.clone());
                let all: BTreeSet<_> = of.chain(environment).collect();
                (all, ledger.watched().into_iter().collect::<BTreeSet<FlagKey>>())
            };
            let book = Arc::clone(&self.book);
            let tidied = tokio::task::spawn_blocking(move || {
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                environments.iter().try_for_each(|environment| book.keep_only(environment, &kept))
            });
            match tidied.await {
                Ok(Err(error)) => {
                    failed = true;
                    self.alarms.raise(name.clone(), error.to_string());
                }
                Ok(Ok(())) if std::mem::take(&mut failed) => self.alarms.clear(&name),
                Ok(Ok(())) | Err(_) => {}
            }
        }
    }
}

/// What is said of an override that was made, replayed, or has ended; nothing where it is only gone.
fn in_words<'m>(
    news: &News<'_>,
    ended: impl Fn(&FlagKey) -> Option<(&'m EndedMark, Option<&'m Override>)>,
    now: Timestamp,
) -> Option<(AlarmKind, FlagKey, String)> {
    match news {
        News::Made(override_) => {
            let wish: Vec<String> = override_.instructions.iter().map(ToString::to_string).collect();
            let Motive { actor, incident, reason, .. } = &override_.motive;
            let incident = incident.as_ref().map(|incident| format!(" {incident}")).unwrap_or_default();
            let reason = reason.as_ref().map(|reason| format!(" \"{reason}\"")).unwrap_or_default();
            let told = format!("{actor}{incident}{reason}: {} is overridden ({})", override_.flag, wish.join(", "));
            Some((AlarmKind::OverrideMade, override_.flag.clone(), told))
        }
        News::Replayed(override_, version) => {
            let stays = expiry::stays(override_, now);
            let told = format!("LaunchDarkly has the override of {} as version {version}{stays}", override_.flag);
            Some((AlarmKind::OverrideArrived, override_.flag.clone(), told))
        }
        News::Over(flag) => {
            let (mark, over) = ended(flag)?;
            let how = match mark.ending {
                Ending::Settled => " is settled: LaunchDarkly's own value holds, and is the same".to_owned(),
                Ending::Undone => {
                    let expires = over.and_then(|over| came_before(over.motive.expires, mark));
                    let expired = expires.map(|at| format!(", which expired at {at:.0},")).unwrap_or_default();
                    let asked = matches!(over.map(|over| &over.state), Some(OverrideState::AwaitingApproval { .. }));
                    let asked =
                        if asked { ". Its approval request in LaunchDarkly stays open: decline it there" } else { "" };
                    format!("{expired} was undone by {}: LaunchDarkly's value holds{asked}", mark.actor)
                }
                Ending::Abandoned => format!(" was given up by {}: LaunchDarkly's value holds", mark.actor),
            };
            Some((AlarmKind::OverrideEnded, flag.clone(), format!("the override of {flag}{how}")))
        }
    }
}

/// What is said of stores that were emptied, and are not filled yet.
fn emptied(ledger: &Ledger) -> Option<String> {
    let lost: Vec<String> = ledger.emptied().map(|(target, what)| format!("{target} ({what})")).collect();
    (!lost.is_empty()).then(|| {
        format!(
            "the flags are gone from {}: a flush, an eviction? Relays behind this guard are sent everything, and fill it \
             again; one without a guard fills it when it hears from LaunchDarkly",
            lost.join(", ")
        )
    })
}

/// The handle that the stream has.
pub(super) struct Handle(pub(super) Arc<Shared>);

impl EnvironmentStores for Handle {
    fn whole(
        &self,
        answering: Duration,
        others: Duration,
    ) -> BoxFuture<'_, Vec<(Target, Result<WholeReading, StoreError>)>> {
        let answered: BTreeSet<Target> = {
            let ledger = self.0.ledger();
            let answers = ledger.targets().iter().filter(|(_, state)| **state == TargetState::Answers);
            answers.map(|(target, _)| target.clone()).collect()
        };
        let read = |(target, store): (&Target, &Arc<dyn Store>)| {
            let within = if answered.contains(target) { answering } else { others };
            let (target, store) = (target.clone(), Arc::clone(store));
            async move {
                let late = || StoreError::Unreachable {
                    address: store.address(),
                    problem: format!("did not give everything within {} s", within.as_secs_f64()),
                };
                let whole = tokio::time::timeout(within, store.whole(&target.prefix)).await;
                let reading = whole.unwrap_or_else(|_| Err(late())).map(|whole| self.reading(whole));
                (target, reading)
            }
        };
        let reading: Vec<_> = self.0.stores.iter().map(read).collect();
        join_all(reading).boxed()
    }

    fn note_upstream(&self, flag: &FlagKey, record: &Record) {
        let news = self.0.ledger().note_upstream(flag, record);
        if news {
            self.0.go_over();
            // The stores are told at once: who reads a record that stands for this one must find it beside it.
            self.0.look(Instant::now());
        }
    }
}

impl Handle {
    fn reading(&self, whole: Whole) -> WholeReading {
        let own = whole.overrides.into_iter().filter_map(|(flag, stored)| Some((flag, stored.parsed.ok()?))).collect();
        WholeReading {
            initialised: whole.initialised,
            flags: whole.flags,
            segments: whole.segments,
            strange: whole.strange,
            ours: self.0.ledger().ours(&own),
        }
    }
}
