//! SDK keys that were replaced are taken until they expire: then the streams end that were opened with them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::drill::launchdarkly::shared::Shared;
use crate::drill::launchdarkly::shared::now_ms;

/// The longest sleep at a time: clocks may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Ends streams as their keys expire, until the stop signal.
pub async fn end_expired(ld: Arc<Shared>) {
    let mut turns = ld.delivery.turns();
    let mut stop = ld.stop.subscribe();
    // Keys that had expired by then have been seen to.
    let mut seen_to = now_ms();
    loop {
        turns.borrow_and_update();
        let (now, next) = (now_ms(), ld.account().next_expiry(seen_to));
        if next.is_some_and(|time| time <= now) {
            ld.delivery.end_expired(&ld.account(), now);
            seen_to = now;
            continue;
        }
        let wait = next.and_then(|time| u64::try_from(time.saturating_sub(now)).ok()).map(Duration::from_millis);
        tokio::select! {
            () = sleep(wait.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)) => {}
            _ = turns.changed() => {}
            _ = stop.wait_for(|&stop| stop) => return,
        }
    }
}
