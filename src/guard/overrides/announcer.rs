//! Announces the guard in every store of an environment, for as long as it is followed. NETWORK. A store that hangs holds up
//! no other.
//!
//! Two guards of the same name overwrite each other's announcements. Each finds that where its own stood the other's stands;
//! what stands there before a guard has announced itself is of its own last run, mostly, and says nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::change::target::Target;
use crate::guard::alarm::AlarmKind;
use crate::guard::overrides::environment::Shared;
use crate::guard::presence::Itself;
use crate::guard::presence::Namesake;
use crate::guard::presence::Presence;
use crate::store::Store;
use crate::store::StoreError;

/// How often: three times within the life of an announcement.
const EVERY: Duration = Duration::from_secs(5);

/// How soon something new is announced after the last time.
const APART: Duration = Duration::from_secs(1);

/// How long taking it back may take.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(1);

/// How long a guard of the same name is spoken of after it was seen last: the two may take turns.
const NAMESAKE_FOR: Duration = Duration::from_secs(15);

/// What is remembered from one announcement to the next.
#[derive(Debug, Default)]
struct Remembered {
    /// Where this guard has announced itself.
    announced: BTreeSet<Target>,
    /// Another guard of the same name, and when it was seen last.
    namesake: Option<(Namesake, Instant)>,
}

/// Announces, for ever.
pub(super) async fn run(shared: Arc<Shared>, itself: Itself) {
    let mut view = shared.view.clone();
    let mut remembered = Remembered::default();
    loop {
        let begun = Instant::now();
        announce(&shared, &itself, &mut remembered).await;
        tokio::select! {
            () = tokio::time::sleep_until(begun + EVERY) => {}
            changed = view.changed() => {
                if changed.is_err() {
                    // Nobody sees the stream any more; what was seen last goes on being announced until this ends.
                    tokio::time::sleep_until(begun + EVERY).await;
                }
                tokio::time::sleep_until(begun + APART).await;
            }
        }
    }
}

async fn announce(shared: &Shared, itself: &Itself, remembered: &mut Remembered) {
    let view = shared.view.borrow().clone();
    let mut presence = {
        let ledger = shared.ledger();
        let overrides = ledger.standing().map(|(_, override_)| override_);
        Presence::of(itself, &shared.environment, &view, overrides, Timestamp::now())
    };
    presence.namesake = remembered.namesake.as_ref().map(|(namesake, _)| namesake.clone());
    let Ok(announcement) = presence.announcement() else { return };
    let known = &remembered.announced;
    let announcing = shared.stores.iter().map(|(target, store)| {
        let announcement = &announcement;
        async move {
            let doing = async {
                let before = match known.contains(target) {
                    true => namesake(store.as_ref(), target, itself).await,
                    false => None,
                };
                (before, store.announce(&target.prefix, announcement).await)
            };
            // That a store is away is told elsewhere; that it is late must not let the others' announcements expire.
            (target, tokio::time::timeout(EVERY, doing).await.ok())
        }
    });
    let mut outcomes = Vec::new();
    let mut seen = None;
    for (target, outcome) in join_all(announcing).await {
        let Some((namesake, outcome)) = outcome else { continue };
        seen = seen.or(namesake);
        outcomes.push((target, outcome));
    }
    remembered
        .announced
        .extend(outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(target, _)| (*target).clone()));
    tell_of_namesake(shared, itself, seen, remembered);
    let mut forbidden = Vec::new();
    for (target, outcome) in outcomes {
        if let Err(error @ StoreError::Forbidden { .. }) = outcome {
            let way_out = match &error {
                StoreError::Forbidden { way_out, .. } => format!(" ({way_out})"),
                _ => String::new(),
            };
            forbidden.push(format!("{target}: {error}{way_out}"));
        }
    }
    let name = shared.alarm_name(AlarmKind::NotAnnounced, None);
    if forbidden.is_empty() {
        shared.alarms.clear(&name);
    } else {
        let told =
            format!("the guard cannot announce itself, so that rc does not know of it: {}", forbidden.join("; "));
        shared.alarms.raise(name, told);
    }
}

/// Another guard whose announcement stands where this one's stood. What cannot be read says nothing.
async fn namesake(store: &dyn Store, target: &Target, itself: &Itself) -> Option<Namesake> {
    let announced = store.announced(&target.prefix).await.ok()?;
    let same_name = announced.iter().find(|announcement| announcement.name == itself.name)?;
    let other = Presence::read(same_name).ok().filter(|presence| !presence.is_of(itself))?;
    Some(Namesake { listens: other.listens, since: other.since })
}

fn tell_of_namesake(shared: &Shared, itself: &Itself, seen: Option<Namesake>, remembered: &mut Remembered) {
    let name = shared.alarm_name(AlarmKind::NameTaken, None);
    if let Some(other) = seen {
        let told = format!(
            "another guard of {} calls itself {} too (it {}, and runs since {:.0}). Each overwrites what the other \
             announces, so rc sees one of them only, and may say of relays that they are on no guard. Give one of them \
             another name: --guard-name",
            shared.environment.name,
            itself.name,
            other.place(),
            other.since
        );
        shared.alarms.raise(name, told);
        remembered.namesake = Some((other, Instant::now()));
    } else if remembered.namesake.as_ref().is_some_and(|(_, at)| at.elapsed() >= NAMESAKE_FOR) {
        remembered.namesake = None;
        shared.alarms.clear(&name);
    }
}

/// Takes the announcements back.
pub(super) async fn withdraw(shared: &Shared, itself: &Itself) {
    let withdrawing = shared.stores.iter().map(|(target, store)| store.withdraw(&target.prefix, &itself.name));
    // What is not taken back in time expires.
    let _ = tokio::time::timeout(WITHDRAWN_WITHIN, join_all(withdrawing)).await;
}
