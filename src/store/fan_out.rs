//! The same question to several stores at once: one dead host costs its own deadline, and not the sum of all. It must
//! not know what is asked.
//!
//! What is cut off here is only not waited for any longer. Name resolution runs on a thread of tokio's blocking pool,
//! which nothing can cancel: whoever owns the runtime must end it with `shutdown_background` (or a short
//! `shutdown_timeout`), or a resolver that hangs delays the exit.

use std::time::Duration;

use futures_util::future::join_all;

/// Runs `work` once for each of `stores`, all at once, for at most `limit`. The answers come in the order of `stores`;
/// `None` for one that was not ready in time.
pub async fn on_all<S, T, F>(
    stores: impl IntoIterator<Item = S>,
    limit: Duration,
    work: impl Fn(S) -> F,
) -> Vec<Option<T>>
where
    F: Future<Output = T>,
{
    let one = |store| {
        let waited = tokio::time::timeout(limit, work(store));
        async move { waited.await.ok() }
    };
    join_all(stores.into_iter().map(one)).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;
    use std::time::Instant;

    use super::on_all;

    #[tokio::test]
    async fn answers_keep_their_order_and_the_slow_do_not_hold_up_the_others() {
        let begun = Instant::now();
        let answers = on_all([2_u64, 1, 3600], Duration::from_millis(300), async |tenths| {
            tokio::time::sleep(Duration::from_millis(tenths * 20)).await;
            tenths
        })
        .await;
        assert_eq!(answers, [Some(2), Some(1), None]);
        assert!(begun.elapsed() < Duration::from_secs(3), "the deadlines were waited for one after the other");
    }
}
