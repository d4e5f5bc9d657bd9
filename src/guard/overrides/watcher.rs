//! One target, watched: its log is followed, what it holds is looked at when something was written and now and then, and
//! what has to be written there is written. NETWORK. A store that hangs holds up nobody but its own watcher.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::guard::alarm::AlarmKind;
use crate::guard::overrides::environment::Shared;
use crate::guard::overrides::ledger::changes_of;
use crate::guard::overrides::log_follower;
use crate::guard::overrides::log_follower::Heard;
use crate::guard::overrides::upkeep::Due;
use crate::guard::overrides::upkeep::Now;
use crate::guard::overrides::upkeep::Upkeep;
use crate::guard::overrides::upkeep::Why;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::following::Moment;

/// How often everything that is of interest is looked at, whatever the log says: it finds what was reset, wiped, evicted or
/// trimmed away, and costs by the number of overrides, not of flags.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same where a look takes long, in lengths of the last look: the store has others to answer.
const LOOKS_APART: u32 = 20;

/// The longest time between two looks.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(10);

/// How soon a store that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The shortest time between two looks at everything.
const LOOK_APART: Duration = Duration::from_millis(100);

/// How often one look is made again because it found changes of which marks were not asked for.
const ROUNDS_MAX: usize = 3;

/// How often what was found makes for another write at once.
const WRITES_IN_A_ROW_MAX: usize = 3;

/// What is looked at because something was written: some flags, and the changes of which the log told, whose marks are
/// asked for along with them. So one question is enough, mostly.
#[derive(Debug, Clone, Default)]
struct Named {
    flags: BTreeSet<FlagKey>,
    marks: BTreeSet<(ChangeId, FlagKey)>,
}

pub(super) struct Watcher {
    shared: Arc<Shared>,
    target: Target,
    store: Arc<dyn Store>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, target: Target, store: Arc<dyn Store>) -> Self {
        Self { shared, target, store }
    }

    /// Watches, for ever.
    pub(super) async fn run(self) {
        let mut look_by = self.shared.look_by();
        let mut heard = log_follower::follow(Arc::clone(&self.store), self.target.prefix.clone());
        let mut looked: Option<Instant> = None;
        let mut next = Instant::now();
        loop {
            let wake = wake(next, looked, &mut look_by);
            tokio::select! {
                message = heard.recv() => match message {
                    Some(Heard::Begun) => next = Instant::now(),
                    Some(Heard::News { news, live }) => {
                        let flags = {
                            let mut ledger = self.shared.ledger();
                            if news.broken {
                                ledger.may_have_missed(&self.target);
                            }
                            ledger.entries(&self.target, &news.entries, live, Instant::now())
                        };
                        if news.broken {
                            next = Instant::now();
                        }
                        let named = Named { flags, marks: changes_of(&news.entries) };
                        if !named.flags.is_empty() && self.look(Some(named)).await.is_err() {
                            next = Instant::now() + ASK_AGAIN;
                        }
                        next = self.rested().map_or(next, |rested| next.min(rested));
                    }
                    Some(Heard::Lost(error)) => self.silent(&error),
                    // It ends only with its receiver.
                    None => heard = log_follower::follow(Arc::clone(&self.store), self.target.prefix.clone()),
                },
                () = tokio::time::sleep_until(wake) => {
                    let begun = Instant::now();
                    let answered = self.look(None).await.is_ok();
                    looked = Some(begun);
                    next = if answered { begun + apart(begun.elapsed()) } else { Instant::now() + ASK_AGAIN };
                    next = self.rested().map_or(next, |rested| next.min(rested));
                }
                _ = look_by.changed() => {}
            }
        }
    }

    /// When something may be written again that was written a moment ago: more may have become due there meanwhile.
    fn rested(&self) -> Option<Instant> {
        let now = Instant::now();
        let ledger = self.shared.ledger();
        let rests = ledger.flags().values().filter_map(|known| known.place(&self.target)?.rest_until);
        rests.filter(|until| *until > now).min()
    }

    fn silent(&self, error: &StoreError) {
        self.shared.ledger().silent(&self.target, error.to_string());
        self.shared.go_over();
    }

    /// Looks at some flags, or at all that are of interest; and writes what is due there.
    async fn look(&self, named: Option<Named>) -> Result<(), StoreError> {
        let mut named = named;
        for _ in 0..WRITES_IN_A_ROW_MAX {
            if let Err(error) = self.look_once(named.clone()).await {
                self.silent(&error);
                return Err(error);
            }
            let written = self.keep_up().await;
            if written.is_empty() {
                break;
            }
            named = Some(Named { flags: written, marks: BTreeSet::new() });
        }
        Ok(())
    }

    async fn look_once(&self, named: Option<Named>) -> Result<(), StoreError> {
        let all = named.is_none();
        let Named { mut flags, mut marks } = named.unwrap_or_default();
        let mut begun = Instant::now();
        let mut moment = Moment::default();
        for round in 0..ROUNDS_MAX {
            let asked: Vec<FlagKey> = {
                let ledger = self.shared.ledger();
                if all && round == 0 {
                    flags.extend(ledger.watched());
                }
                let asked: Vec<FlagKey> = flags.iter().cloned().collect();
                marks.extend(ledger.marks(&asked));
                asked
            };
            begun = Instant::now();
            let wanted: Vec<(ChangeId, FlagKey)> = marks.iter().cloned().collect();
            moment = self.store.moment(&self.target.prefix, &asked, &wanted).await?;
            let found = moment.reading.flags.values().filter(|found| found.override_.is_some()).count() as u64;
            let mut again = false;
            if all && moment.override_count > found {
                let known = flags.len();
                flags.extend(self.store.overrides(&self.target.prefix).await?.into_keys());
                again |= flags.len() > known;
            }
            let unasked = unasked(&moment, &marks);
            again |= !unasked.is_empty();
            marks.extend(unasked);
            if !again {
                break;
            }
        }
        // Of what changes all the time no marks are known that belong to it: it is left for the next look.
        let late: BTreeSet<FlagKey> = unasked(&moment, &marks).into_iter().map(|(_, flag)| flag).collect();
        moment.reading.flags.retain(|flag, _| !late.contains(flag));
        self.shared.ledger().take(&self.target, &moment, begun);
        self.shared.go_over();
        Ok(())
    }

    /// Writes what is due; the flags that were written, or turned out to be others, come back.
    async fn keep_up(&self) -> BTreeSet<FlagKey> {
        if !self.shared.writes() {
            return BTreeSet::new();
        }
        let now = Now { at: Timestamp::now(), instant: Instant::now() };
        let mut dues = self.shared.upkeep.due(&self.shared.ledger(), &self.target, now);
        if dues.iter().any(|due| due.why == Why::Expired) && self.shared.is_being_replayed().await {
            // LaunchDarkly may be about to have it; what came of that is seen when it is over.
            dues.retain(|due| due.why != Why::Expired);
        }
        if dues.is_empty() {
            return BTreeSet::new();
        }
        let outcomes = self.write(dues.iter().map(|due| (due.write.clone(), due.about.clone())).unzip()).await;
        let mut touched = BTreeSet::new();
        for (due, outcome) in dues.iter().zip(&outcomes) {
            Upkeep::wrote(&mut self.shared.ledger(), &self.target, due, outcome, Instant::now());
            self.tell(due, outcome);
            if !matches!(outcome, WriteOutcome::Failed(_)) {
                touched.insert(due.write.flag.clone());
            }
        }
        touched
    }

    /// Writes down, then writes.
    async fn write(&self, (writes, about): (Vec<Write>, Vec<Override>)) -> Vec<WriteOutcome> {
        let count = writes.len();
        let failed = |problem: String| {
            let address = self.store.address();
            vec![WriteOutcome::Failed(StoreError::Other { address, problem }); count]
        };
        let (book, store, target) = (Arc::clone(&self.shared.book), Arc::clone(&self.store), self.target.clone());
        let (alarms, name) = (self.shared.alarms.clone(), self.shared.alarm_name(AlarmKind::StateFolder, None));
        let runtime = tokio::runtime::Handle::current();
        // The proof that it is on disk lives no longer than the writes that it is for, so both are done in one place.
        let work = move || {
            let recorded = book.lock().unwrap_or_else(PoisonError::into_inner).record(&writes, &about);
            match recorded {
                Ok(recorded) => {
                    alarms.clear(&name);
                    Ok(runtime.block_on(store.replace(&target, &recorded)))
                }
                Err(error) => {
                    let told = format!("nothing was written to {target}, since it could not be written down: {error}");
                    alarms.raise(name, told.clone());
                    Err(told)
                }
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(outcomes)) if outcomes.len() == count => outcomes,
            Ok(Ok(_)) => failed("it did not say what came of it".to_owned()),
            Ok(Err(told)) => failed(told),
            Err(error) => failed(error.to_string()),
        }
    }

    /// For how long at most the record has stood there that was seen last.
    fn gone(&self, flag: &FlagKey) -> Option<Duration> {
        let ledger = self.shared.ledger();
        Some(ledger.flags().get(flag)?.place(&self.target)?.other_until().elapsed())
    }

    /// Tells people what was written, or could not be.
    fn tell(&self, due: &Due, outcome: &WriteOutcome) {
        let (flag, target) = (&due.write.flag, &self.target);
        let not_kept = self.shared.alarm_name(AlarmKind::OverrideNotKept, Some(flag.clone()));
        let told = match outcome {
            WriteOutcome::Written { .. } => {
                self.shared.alarms.clear(&not_kept);
                match due.why {
                    Why::Vanished => {
                        let told = format!(
                            "the override of {flag} was gone from {target} without having ended (failover, flush, \
                             eviction?): it is written there again"
                        );
                        let name = self.shared.alarm_name(AlarmKind::OverrideLost, Some(flag.clone()));
                        return self.shared.alarms.tell_once(name, told);
                    }
                    Why::Reasserted => {
                        let gone = self.gone(flag).unwrap_or_default().as_secs_f64();
                        let told = format!(
                            "LaunchDarkly's record had taken the place of the override of {flag} in {target}, for {gone:.1} s \
                             at most: the override is written there again. A relay that writes there is not behind a guard"
                        );
                        let name = self.shared.alarm_name(AlarmKind::OverrideReasserted, Some(flag.clone()));
                        return self.shared.alarms.tell_once(name, told);
                    }
                    Why::Copied => format!("the override of {flag} is copied to {target}, which lacked it"),
                    Why::Settled => format!("the override of {flag} is settled in {target}: LaunchDarkly shows it"),
                    Why::Over => format!("the override of {flag} has ended elsewhere, and now in {target} too"),
                    Why::Expired => {
                        let expires = due.about.motive.expires.map(|at| format!(" at {at:.0}")).unwrap_or_default();
                        format!("the override of {flag} expired{expires}, and is undone in {target}")
                    }
                    // LaunchDarkly changes flags all the time.
                    Why::Upstream => return,
                }
            }
            WriteOutcome::Failed(error) => {
                let told = format!("the override of {flag} cannot be kept in {target}: {error}");
                return self.shared.alarms.raise(not_kept, told);
            }
            // It was another meanwhile: it is looked at again.
            WriteOutcome::RecordChanged | WriteOutcome::OverrideChanged => return,
        };
        self.shared.alarms.tell_once(self.shared.alarm_name(AlarmKind::OverrideKept, Some(flag.clone())), told);
    }
}

/// How long after a look began the next one does, by how long it took.
fn apart(took: Duration) -> Duration {
    took.saturating_mul(LOOKS_APART).clamp(LOOK_EVERY, LOOK_EVERY_MAX)
}

/// When everything is to be looked at: as usual, or sooner where somebody wants it.
fn wake(next: Instant, looked: Option<Instant>, look_by: &mut watch::Receiver<Instant>) -> Instant {
    let by = *look_by.borrow_and_update();
    match looked {
        Some(looked) if looked < by => next.min(by).max(looked + LOOK_APART),
        _ => next,
    }
}

/// Marks of changes that an override names and that were not asked for.
fn unasked(moment: &Moment, asked: &BTreeSet<(ChangeId, FlagKey)>) -> BTreeSet<(ChangeId, FlagKey)> {
    let named = |(flag, found): (&FlagKey, &crate::store::FlagReading)| {
        let own = found.override_.as_ref().and_then(|stored| stored.parsed.as_ref().ok());
        let changes = own.map(|own| own.changes.clone()).unwrap_or_default();
        changes.into_iter().map(|change| (change, flag.clone())).collect::<Vec<_>>()
    };
    moment.reading.flags.iter().flat_map(named).filter(|mark| !asked.contains(mark)).collect()
}
