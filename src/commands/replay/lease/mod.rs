//! The right to replay an environment: one lease in its first reachable target, taken before LaunchDarkly is read, kept up
//! in the background, looked at before each request that changes something, and given back once all is sent. It must not
//! know what is sent.
//!
//! What a store confirmed counts from before it was asked, on a clock that goes on while the process is stopped
//! (`validity`). See docs/decisions/0014.

mod clock;
pub mod holders;
mod validity;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::change::lease::LEASE_FORMAT;
use crate::change::lease::Lease;
use crate::change::target::Target;
use crate::commands::overview::EnvironmentView;
use crate::commands::survey::Stores;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::launchdarkly::Permit;
use crate::settings::Settings;
use crate::store::LeaseWish;
use crate::store::Store;
use crate::store::StoreError;
use crate::ui::time;
use validity::Validity;

/// The shortest lease.
const LASTS_MIN: Duration = Duration::from_secs(3);

/// The longest that one store is waited for while the right is taken or given back.
const STORE_WITHIN: Duration = Duration::from_secs(3);

/// The number that the kernel gave this run of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Whether a replay was told to end.
pub type Ends = watch::Receiver<bool>;

/// The rights of one replay, environment by environment.
#[derive(Debug, Default)]
pub struct Rights(Mutex<BTreeMap<Environment, Arc<Right>>>);

#[derive(Debug)]
enum Right {
    /// A store keeps it.
    Held(Mutex<Validity>),
    /// No store keeps it: nothing is known of others.
    Unkept,
}

/// What is kept up, until it is given back.
#[derive(Default)]
pub struct Kept(Vec<Keeping>);

struct Keeping {
    store: Arc<dyn Store>,
    target: Target,
    lease: Lease,
    renewing: JoinHandle<()>,
}

/// What came of taking the right to several environments.
#[derive(Default)]
pub struct Taken {
    /// What is held, until it is given back.
    pub kept: Kept,
    /// Where somebody else is at it, and what is said of it.
    pub others: BTreeMap<Environment, Failure>,
    /// Where no store keeps the right, and why.
    pub unkept: BTreeMap<Environment, String>,
}

enum TakenOne {
    Held(Keeping, Arc<Right>),
    Others(Failure),
    Unkept(String),
}

/// How long a lease lasts: a request, which must end before it does, has a third of it.
pub fn lasts(settings: &Settings) -> Duration {
    (settings.launchdarkly.timeout * 3).max(LASTS_MIN)
}

impl Rights {
    /// What asks, before each request, whether the right still holds, and whether the replay was not told to end.
    pub fn permit(self: &Arc<Self>, settings: &Settings, ends: Option<Ends>) -> Permit {
        let (rights, within) = (Arc::clone(self), settings.launchdarkly.timeout);
        Permit::new(move |environment| {
            if ends.as_ref().is_some_and(|ends| *ends.borrow()) {
                return Err("it was told to end".to_owned());
            }
            let right = rights.0.lock().unwrap_or_else(PoisonError::into_inner).get(environment).cloned();
            match right.as_deref() {
                Some(Right::Held(validity)) => {
                    validity.lock().unwrap_or_else(PoisonError::into_inner).permits(within, clock::now())
                }
                Some(Right::Unkept) => Ok(()),
                None => Err("nobody took the right to replay this environment".to_owned()),
            }
        })
    }

    /// Takes the right to `environments`, all at once. The playback's own lock must be held.
    pub async fn take(
        &self,
        environments: &BTreeSet<&Environment>,
        views: &[EnvironmentView<'_>],
        stores: &Stores,
        settings: &Settings,
        by: &str,
    ) -> Taken {
        let home = home(&settings.playback);
        let views = views.iter().filter(|view| environments.contains(&view.environment));
        let asked = views.map(|view| {
            let home = home.clone();
            async move {
                let targets = view.targets.iter().flatten().map(|view| &view.chosen.target);
                let targets: Vec<_> = targets.filter_map(|target| Some((store_of(stores, target)?, target))).collect();
                (view.environment.clone(), take_one(&view.environment, &targets, settings, (by, home)).await)
            }
        });
        let mut taken = Taken::default();
        for (environment, one) in join_all(asked).await {
            let right = match one {
                TakenOne::Held(keeping, right) => {
                    taken.kept.0.push(keeping);
                    right
                }
                TakenOne::Unkept(why) => {
                    taken.unkept.insert(environment.clone(), why);
                    Arc::new(Right::Unkept)
                }
                TakenOne::Others(failure) => {
                    taken.others.insert(environment, failure);
                    continue;
                }
            };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(environment, right);
        }
        taken
    }

    /// Nobody else is asked: for rehearsals, see `Settings::replays_alone`.
    pub fn take_unasked(&self, environments: &BTreeSet<&Environment>) {
        let mut rights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rights.extend(environments.iter().map(|environment| ((*environment).clone(), Arc::new(Right::Unkept))));
    }
}

impl Kept {
    /// Gives everything back, as far as stores answer: what is not given back ends by itself.
    pub async fn give_back(&mut self) {
        let all = std::mem::take(&mut self.0);
        let given = all.iter().map(|keeping| {
            keeping.renewing.abort();
            give_back(keeping.store.as_ref(), &keeping.target, &keeping.lease)
        });
        join_all(given).await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.iter().for_each(|keeping| keeping.renewing.abort());
    }
}

async fn give_back(store: &dyn Store, target: &Target, lease: &Lease) {
    let wish = LeaseWish { text: String::new(), lasts: Duration::ZERO, over: vec![lease.beginning()] };
    let _ = timeout(STORE_WITHIN, store.take_lease(&target.prefix, &wish)).await;
}

/// Takes the right to one environment in the first of its targets that keeps it, and makes sure that nobody has it in
/// another: whoever could not reach the first.
async fn take_one(
    environment: &Environment,
    targets: &[(&Arc<dyn Store>, &Target)],
    settings: &Settings,
    (by, home): (&str, Option<String>),
) -> TakenOne {
    let since = Timestamp::now();
    let lasts = lasts(settings);
    let lease = Lease {
        token: uuid::Uuid::now_v7().to_string(),
        format: LEASE_FORMAT,
        actor: settings.actor.clone(),
        by: by.to_owned(),
        since,
        until: until(lasts),
        home,
    };
    let mut not_kept = Vec::new();
    for (place, (store, target)) in targets.iter().enumerate() {
        let asked = clock::now();
        match try_at(store.as_ref(), target, &lease, lasts).await {
            Ok(None) => {
                if let Some(text) = elsewhere(targets, place, &lease).await {
                    give_back(store.as_ref(), target, &lease).await;
                    return TakenOne::Others(others(environment, &text));
                }
                let right = Arc::new(Right::Held(Mutex::new(Validity::new(asked, lasts))));
                let renewing = tokio::spawn(keep_up(
                    Arc::clone(&right),
                    Arc::clone(store),
                    (*target).clone(),
                    lease.clone(),
                    lasts,
                ));
                let keeping = Keeping { store: Arc::clone(store), target: (*target).clone(), lease, renewing };
                return TakenOne::Held(keeping, right);
            }
            Ok(Some(text)) => return TakenOne::Others(others(environment, &text)),
            Err(why) => not_kept.push(format!("{}: {why}", target.store)),
        }
    }
    if not_kept.is_empty() {
        not_kept.push("it has no store here".to_owned());
    }
    TakenOne::Unkept(not_kept.join("; "))
}

/// `Some`: what stands in the way. An earlier holder of this very playback is dead, since its lock is ours.
async fn try_at(store: &dyn Store, target: &Target, lease: &Lease, lasts: Duration) -> Result<Option<String>, String> {
    let mut wish = LeaseWish { text: lease.text(), lasts, over: vec![lease.beginning()] };
    let ask = async |wish: &LeaseWish| match timeout(STORE_WITHIN, store.take_lease(&target.prefix, wish)).await {
        Ok(answer) => answer.map_err(|error: StoreError| error.to_string()),
        Err(_) => Err(format!("did not answer within {}", time::duration(STORE_WITHIN))),
    };
    let standing = ask(&wish).await?;
    match standing.as_deref().and_then(Lease::parse) {
        Some(known) if known.home.is_some() && known.home == lease.home => {
            wish.over.push(known.beginning());
            ask(&wish).await
        }
        _ => Ok(standing),
    }
}

/// A lease of somebody else's in a target after this one, as far as they answer.
async fn elsewhere(targets: &[(&Arc<dyn Store>, &Target)], place: usize, lease: &Lease) -> Option<String> {
    let all = targets.iter().enumerate().filter(|(other, _)| *other != place);
    let asked = all.map(|(_, (store, target))| timeout(STORE_WITHIN, store.lease(&target.prefix)));
    let found = join_all(asked).await.into_iter().filter_map(|answer| answer.ok()?.ok()?);
    let is_ours = |text: &String| match Lease::parse(text) {
        Some(known) => known.token == lease.token || (known.home.is_some() && known.home == lease.home),
        None => false,
    };
    found.into_iter().find(|text| !is_ours(text))
}

/// Renews it when a third of it is gone, and again soon where that fails, until it is over.
async fn keep_up(right: Arc<Right>, store: Arc<dyn Store>, target: Target, mut lease: Lease, lasts: Duration) {
    let Right::Held(validity) = right.as_ref() else { return };
    let held = || validity.lock().unwrap_or_else(PoisonError::into_inner);
    let (pause, soon) = (lasts / 3, lasts / 30);
    let mut wait = pause;
    loop {
        tokio::time::sleep(wait).await;
        let asked = clock::now();
        if !held().is_wanted(asked) {
            return;
        }
        lease.until = until(lasts);
        let wish = LeaseWish { text: lease.text(), lasts, over: vec![lease.beginning()] };
        wait = match timeout(pause, store.take_lease(&target.prefix, &wish)).await {
            Ok(Ok(None)) => {
                held().renewed(asked, lasts, clock::now());
                pause
            }
            Ok(Ok(Some(text))) => {
                held().lost(format!("{} has the right to replay now", holder(&text)));
                return;
            }
            Ok(Err(_)) | Err(_) => soon,
        };
    }
}

fn until(lasts: Duration) -> Timestamp {
    let lasts = jiff::SignedDuration::try_from(lasts).unwrap_or_default();
    Timestamp::now().saturating_add(lasts).unwrap_or(Timestamp::MAX)
}

fn holder(text: &str) -> String {
    match Lease::parse(text) {
        Some(lease) => format!("{} on {} ({})", lease.actor.user, lease.actor.host, lease.by),
        None => "somebody, with a program that this one does not understand,".to_owned(),
    }
}

/// Somebody else is at it.
fn others(environment: &Environment, text: &str) -> Failure {
    let when = match Lease::parse(text) {
        Some(Lease { since, until, .. }) => {
            format!(" since {}, at least until {} and longer while at it", time::clock(since), time::clock(until))
        }
        None => String::new(),
    };
    let message = format!("{} has the right to replay {environment}{when}; nothing was sent", holder(text));
    Failure::refused(message).hint("After that: rc replay")
}

fn store_of<'s>(stores: &'s Stores, target: &Target) -> Option<&'s Arc<dyn Store>> {
    stores.iter().find(|store| store.label() == target.store)
}

/// This playback on this machine, as long as it runs. A copy of the folder is another one. `None`: it cannot be told.
fn home(playback: &Path) -> Option<String> {
    let boot = std::fs::read_to_string(BOOT_ID).ok()?;
    let folder = std::fs::metadata(playback).ok()?;
    Some(format!("{}/{}/{}", boot.trim(), folder.dev(), folder.ino()))
}
