//! A stand-in for a relay, for rehearsals on machines that have none: it follows the simulated LaunchDarkly's stream over
//! HTTP (`upstream`, `event`), keeps its store and its cache by a relay's rules (`keeper`, `cache`), and serves what SDKs
//! that connect to a relay would be served (`downstream`). What it cannot show is what only the real program does: how long
//! it takes to start, how long it waits before it connects again, and how Go writes JSON.

mod cache;
mod downstream;
mod event;
mod keeper;
mod upstream;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::raw::RawStore;
use super::raw::Trouble;
use cache::Cache;
pub use downstream::Place;
use keeper::Keeper;
use upstream::Heard;
use upstream::Source;

/// What it calls itself where relays tell their version: it behaves as relays of version 8 do.
pub const VERSION: &str = "8.0.0-stand-in";

/// How long its cache keeps what it read. A relay's default is 30 s.
pub const CACHE_TIME: Duration = Duration::from_millis(200);

/// How many events may wait to be stored.
const EVENTS_MAX: usize = 64;

/// What it is started with.
#[derive(Debug)]
pub struct Setup {
    /// Where LaunchDarkly's streams are: `http://127.0.0.1:PORT`.
    pub stream_url: String,
    /// The SDK key of the environment, for LaunchDarkly and for SDKs.
    pub sdk_key: String,
    /// The store, by a connection that nobody else uses.
    pub store: RawStore,
    /// What it says of it.
    pub place: Place,
}

/// The connection to LaunchDarkly, in a relay's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Connection {
    Initializing,
    Valid,
    Interrupted,
}

#[derive(Debug, Clone)]
struct State {
    connection: Connection,
    since_ms: i64,
    /// What went wrong with the store last.
    trouble: Option<Trouble>,
    /// Why the stream broke last.
    lost: Option<String>,
}

#[derive(Debug)]
struct Shared {
    keeper: Mutex<Keeper>,
    state: watch::Sender<State>,
    sdk_key: String,
    place: Place,
}

impl Shared {
    async fn hear(&self, heard: Heard) {
        match heard {
            Heard::Lost(why) => {
                self.state.send_modify(|state| state.lost = Some(why));
                let connection = match self.state.borrow().connection {
                    Connection::Initializing => Connection::Initializing,
                    Connection::Valid | Connection::Interrupted => Connection::Interrupted,
                };
                self.is(connection);
            }
            Heard::Event(event) => {
                let taken = self.keeper.lock().await.take(event).await;
                if let Err(trouble) = taken {
                    self.state.send_modify(|state| state.trouble = Some(trouble));
                }
                // As for an SDK, it is connected once the first event has been stored.
                self.is(Connection::Valid);
            }
        }
    }

    fn is(&self, connection: Connection) {
        self.state.send_if_modified(|state| {
            let changed = state.connection != connection;
            if changed {
                *state = State { connection, since_ms: Timestamp::now().as_millisecond(), ..state.clone() };
            }
            changed
        });
    }
}

/// A stand-in that runs. It ends with the value.
#[derive(Debug)]
pub struct StandIn {
    url: String,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 3],
}

impl StandIn {
    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(setup: Setup) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let source = Source {
            authority: setup.stream_url.trim_start_matches("http://").to_owned(),
            sdk_key: setup.sdk_key.clone(),
        };
        let now = Timestamp::now().as_millisecond();
        let state = State { connection: Connection::Initializing, since_ms: now, trouble: None, lost: None };
        let shared = Arc::new(Shared {
            keeper: Mutex::new(Keeper::new(setup.store, Cache::new(CACHE_TIME))),
            state: watch::Sender::new(state),
            sdk_key: setup.sdk_key,
            place: setup.place,
        });
        let router = downstream::router(Arc::clone(&shared));
        let served = tokio::spawn(async move {
            // It ends only by being aborted: what its listener has to say is nobody's business.
            let _ = axum::serve(listener, router).await;
        });
        let (heard, mut hearing) = mpsc::channel(EVENTS_MAX);
        let followed = tokio::spawn(async move { upstream::follow(&source, heard).await });
        let keeping = Arc::clone(&shared);
        let kept = tokio::spawn(async move {
            while let Some(heard) = hearing.recv().await {
                keeping.hear(heard).await;
            }
        });
        Ok(Self { url, shared, tasks: [served, followed, kept] })
    }

    /// Where SDKs connect to it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it has stored what LaunchDarkly sent first.
    ///
    /// # Errors
    /// Where that does not happen in time.
    pub async fn filled(&self, within: Duration) -> Result<(), Trouble> {
        let mut state = self.shared.state.subscribe();
        let valid = state.wait_for(|state| state.connection == Connection::Valid);
        let waited = timeout(within, valid).await.map(|waited| waited.map(drop));
        match (waited, self.trouble()) {
            (_, Some(trouble)) => Err(trouble),
            (Ok(Ok(())), None) => Ok(()),
            _ => {
                let lost = self.shared.state.borrow().lost.clone().unwrap_or_default();
                Err(format!("LaunchDarkly's stream did not begin within {} s {lost}", within.as_secs()))
            }
        }
    }

    /// What went wrong with its store last.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.state.borrow().trouble.clone()
    }

    /// Ends it. Returns when nothing of it writes any more.
    pub async fn stop(mut self) {
        for task in &mut self.tasks {
            task.abort();
            // Aborted is what it should be.
            let _ = task.await;
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
