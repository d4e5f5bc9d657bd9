//! Announces the guard in every store of an environment, for as long as it is followed. NETWORK. A store that hangs holds up
//! no other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::guard::alarm::AlarmKind;
use crate::guard::overrides::environment::Shared;
use crate::guard::presence::Itself;
use crate::guard::presence::Presence;
use crate::store::StoreError;

/// How often: three times within the life of an announcement.
const EVERY: Duration = Duration::from_secs(5);

/// How soon something new is announced after the last time.
const APART: Duration = Duration::from_secs(1);

/// How long taking it back may take.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(1);

/// Announces, for ever.
pub(super) async fn run(shared: Arc<Shared>, itself: Itself) {
    let mut view = shared.view.clone();
    loop {
        let begun = Instant::now();
        announce(&shared, &itself).await;
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

async fn announce(shared: &Shared, itself: &Itself) {
    let view = shared.view.borrow().clone();
    let presence = {
        let ledger = shared.ledger();
        let overrides = ledger.standing().map(|(_, override_)| override_);
        Presence::of(itself, &shared.environment, &view, overrides, Timestamp::now())
    };
    let Ok(announcement) = presence.announcement() else { return };
    let announcing = shared.stores.iter().map(|(target, store)| {
        let announcement = &announcement;
        async move {
            let announced = tokio::time::timeout(EVERY, store.announce(&target.prefix, announcement)).await;
            // That a store is away is told elsewhere; that it is late must not let the others' announcements expire.
            (target, announced.unwrap_or(Ok(())))
        }
    });
    let mut forbidden = Vec::new();
    for (target, outcome) in join_all(announcing).await {
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

/// Takes the announcements back.
pub(super) async fn withdraw(shared: &Shared, itself: &Itself) {
    let withdrawing = shared.stores.iter().map(|(target, store)| store.withdraw(&target.prefix, &itself.name));
    // What is not taken back in time expires.
    let _ = tokio::time::timeout(WITHDRAWN_WITHIN, join_all(withdrawing)).await;
}
