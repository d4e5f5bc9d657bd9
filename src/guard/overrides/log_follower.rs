//! Following the log of one target for as long as somebody listens, through restarts and failovers of its store. NETWORK. It
//! says when it begins and when it is cut off; it must not know what the entries mean.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::store::Store;
use crate::store::StoreError;
use crate::store::following::LogPlace;
use crate::store::following::News;

/// How many messages wait for who listens; then the log waits.
const WAITING_MAX: usize = 16;

/// How long to wait after a store was lost, at first and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long to wait where a store does not let us follow: rights are not given every second.
const FORBIDDEN_FOR: Duration = Duration::from_secs(30);

/// What is heard of a log.
#[derive(Debug)]
pub(super) enum Heard {
    /// From now on it is followed: what the store holds has to be looked at.
    Begun,
    /// Something was written.
    News {
        /// What.
        news: News,
        /// Whether it was written since following began, and not while nobody followed.
        live: bool,
    },
    /// The store does not answer.
    Lost(StoreError),
}

/// Follows until the receiver is dropped.
pub(super) fn follow(store: Arc<dyn Store>, prefix: String) -> mpsc::Receiver<Heard> {
    let (told, heard) = mpsc::channel(WAITING_MAX);
    tokio::spawn(run(store, prefix, told));
    heard
}

async fn run(store: Arc<dyn Store>, prefix: String, told: mpsc::Sender<Heard>) {
    let mut place: Option<LogPlace> = None;
    let mut wait = WAIT.0;
    while !told.is_closed() {
        match store.follow(&prefix, place.as_ref()).await {
            Ok(mut following) => {
                let mut live = place.is_none();
                if told.send(Heard::Begun).await.is_err() {
                    return;
                }
                let error = loop {
                    let news = tokio::select! {
                        news = following.next() => news,
                        () = told.closed() => return,
                    };
                    let news = match news {
                        Ok(news) => news,
                        Err(error) => break error,
                    };
                    wait = WAIT.0;
                    place = Some(following.place());
                    let was_live = live;
                    // What was written while nobody followed comes first.
                    live = true;
                    if news != News::default()
                        && told.send(Heard::News { live: was_live && !news.broken, news }).await.is_err()
                    {
                        return;
                    }
                };
                if told.send(Heard::Lost(error)).await.is_err() {
                    return;
                }
            }
            // Without the right to follow, looking now and then is all there is.
            Err(StoreError::Forbidden { .. }) => tokio::time::sleep(FORBIDDEN_FOR).await,
            Err(error) => {
                if told.send(Heard::Lost(error)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT.1);
    }
}
