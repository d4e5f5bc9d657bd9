//! What every store does for the right to replay: one holder at a time, who keeps it by renewing it, and loses it by not.

use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::store::LeaseWish;

/// Long enough for a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(400);

fn wish(text: &str, lasts: Duration, over: &[&str]) -> LeaseWish {
    LeaseWish { text: text.to_owned(), lasts, over: over.iter().map(|text| (*text).to_owned()).collect() }
}

pub(super) async fn conform(fixture: &dyn Fixture) {
    let (store, (prefix, other)) = (fixture.store(), fixture.prefixes());
    if !fixture.own_keys() {
        let error = store.take_lease(prefix, &wish("a", LONG, &["a"])).await.unwrap_err();
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error:?}");
        return;
    }
    let take = async |text, lasts, over: &[&str]| store.take_lease(prefix, &wish(text, lasts, over)).await.unwrap();
    assert_eq!(store.lease(prefix).await.unwrap(), None);

    // Two holders: the second is told of the first, and changes nothing.
    assert_eq!(take("a 1", LONG, &["a "]).await, None);
    assert_eq!(take("b 1", LONG, &["b "]).await.as_deref(), Some("a 1"));
    assert_eq!(store.lease(prefix).await.unwrap().as_deref(), Some("a 1"));
    if let Some(other) = other {
        assert_eq!(store.lease(other).await.unwrap(), None);
    }

    // Renewed by its holder, and given back.
    assert_eq!(take("a 2", LONG, &["a "]).await, None);
    assert_eq!(take("b 1", LONG, &["b ", "a 1"]).await.as_deref(), Some("a 2"));
    assert_eq!(take("", Duration::ZERO, &["a "]).await, None);
    let free = Instant::now() + LONG;
    while take("b 1", SHORT, &["b "]).await.is_some() {
        assert!(Instant::now() < free, "what was given back is not free");
    }

    // Not renewed, it expires; renewed, it does not.
    let begun = Instant::now();
    while take("c 1", LONG, &["c "]).await.is_some() {
        assert!(Instant::now() < begun + LONG, "it does not expire");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever lost it is told so when he wants to renew it.
    assert_eq!(take("b 2", LONG, &["b "]).await.as_deref(), Some("c 1"));
    // Taken from a dead one, by whoever knows that he is dead.
    assert_eq!(take("d 1", LONG, &["d ", "c "]).await, None);
    assert_eq!(take("", Duration::ZERO, &["d "]).await, None);
}
