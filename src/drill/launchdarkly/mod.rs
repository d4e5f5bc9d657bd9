//! A LaunchDarkly to rehearse against: the REST API that RelayCommander uses, and the streams and endpoints that SDKs and
//! relays use, in memory, with an outage switch for each of the two.
//!
//! It is stateful (projects, environments, flags with variation ids, audit log, approvals, scheduled changes, tokens,
//! rate limits) and answers in the form of LaunchDarkly's OpenAPI description. It must not know the rest of
//! RelayCommander: of `flag/` it uses the keys only, so that its interpreter of semantic patches is a second one.
//!
//! Where LaunchDarkly's behaviour is not documented, it does the stricter thing: approvals hold for `dryRun` too, a
//! missing right is 403, a failed JSON patch `test` is 409, a change of the flag itself counts the version up in every
//! environment, an archived flag takes no change of its configuration.

mod account;
mod answer;
mod control;
mod delivery;
mod listener;
mod rest;
mod shared;
mod switchboard;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::account::filter::PayloadFilter;
pub use self::account::identity::Effect;
pub use self::account::identity::Role;
pub use self::account::identity::Statement;
pub use self::account::seed::Seed;
pub use self::account::seed::SeedError;
pub use self::answer::Problem;
pub use self::control::Control;
pub use self::control::EnvironmentKeys;
pub use self::control::ListenerControl;
pub use self::control::NotInTime;
pub use self::control::SdkFlag;
pub use self::control::Wanted;
pub use self::delivery::subscribers::OpenStreams;
use self::listener::connection::Endpoints;
pub use self::listener::fault::Fault;
pub use self::listener::fault::FaultError;
pub use self::listener::fault::FaultKind;
pub use self::listener::received::Received;
use self::listener::server::serve;
pub use self::rest::limit::LimitAnswer;
pub use self::rest::limit::Limits;
pub use self::shared::FlagChange;
use self::shared::Shared;

/// How long the server may take to end after the stop signal.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How the simulated LaunchDarkly is started.
#[derive(Debug)]
pub struct Options {
    /// What it begins with.
    pub seed: Seed,
    /// Its sockets; none: free ports of 127.0.0.1.
    pub listener: Option<Listeners>,
}

/// Its sockets.
#[derive(Debug)]
pub struct Listeners {
    /// Of the REST API.
    pub api: TcpListener,
    /// Of the streams, and of all else that SDKs and relays ask for.
    pub stream: TcpListener,
    /// Of the switchboard, which no fault touches.
    pub control: TcpListener,
}

impl Listeners {
    async fn on_free_ports() -> io::Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        Ok(Self { api: free().await?, stream: free().await?, control: free().await? })
    }

    /// On this port of 127.0.0.1 and the two behind it, in the order of the fields.
    ///
    /// # Errors
    /// Where one of them is not free.
    pub async fn from_port(port: u16) -> io::Result<Self> {
        let on = |offset: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port.saturating_add(offset)));
        Ok(Self { api: on(0).await?, stream: on(1).await?, control: on(2).await? })
    }
}

/// It could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The seed is wrong.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// There is no socket to listen on.
    #[error("no socket for the simulated LaunchDarkly: {source}")]
    Socket {
        /// Why.
        #[from]
        source: io::Error,
    },
}

/// The simulated LaunchDarkly.
#[derive(Debug)]
pub struct SimulatedLaunchDarkly;

impl SimulatedLaunchDarkly {
    /// Starts it on the current tokio runtime. It ends by [`Running::stop`], or when [`Running`] is dropped.
    ///
    /// # Errors
    /// [`StartError`]: the seed is wrong, or there is no socket.
    pub async fn start(options: Options) -> Result<Running, StartError> {
        let shared = Shared::new(options.seed.into_account(shared::now_ms())?);
        let Listeners { api, stream, control: board } = match options.listener {
            Some(listeners) => listeners,
            None => Listeners::on_free_ports().await?,
        };
        let (base_url, stream_url) =
            (format!("http://{}", api.local_addr()?), format!("http://{}", stream.local_addr()?));
        let control_url = format!("http://{}/_drill/", board.local_addr()?);
        let control = Control::new(Arc::clone(&shared));
        let switchboard = switchboard::router(control.clone());
        let endpoints = |service: Router| Endpoints { service, switchboard: switchboard.clone() };
        let mut stop = shared.stop.subscribe();
        let stopped = async move {
            // An error says that the server is gone, which is the end too.
            let _ = stop.wait_for(|&stop| stop).await;
        };
        let served = [
            serve(Arc::clone(&shared.api), shared.stop.subscribe(), api, endpoints(rest::router(Arc::clone(&shared)))),
            serve(
                Arc::clone(&shared.stream),
                shared.stop.subscribe(),
                stream,
                endpoints(delivery::router(Arc::clone(&shared))),
            ),
        ];
        let board = axum::serve(board, switchboard).with_graceful_shutdown(stopped);
        let expiry = delivery::end_expired(Arc::clone(&shared));
        let mut tasks: Vec<JoinHandle<io::Result<()>>> = served.into_iter().map(tokio::spawn).collect();
        tasks.push(tokio::spawn(async move { board.await }));
        tasks.push(tokio::spawn(async move {
            expiry.await;
            Ok(())
        }));
        Ok(Running { base_url, stream_url, control_url, control, shared, tasks })
    }
}

/// A simulated LaunchDarkly that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API is: `http://127.0.0.1:PORT`.
    pub base_url: String,
    /// Where the streams are, and all else that SDKs and relays ask for (a relay's `streamUri`, `baseUri`,
    /// `clientSideBaseUri` and `eventsUri`): `http://127.0.0.1:PORT`.
    pub stream_url: String,
    /// Where it can be driven over HTTP, whatever faults are set: `http://127.0.0.1:PORT/_drill/`.
    pub control_url: String,
    /// The hand on it.
    pub control: Control,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Ends it: connections break, the ports are free afterwards.
    pub async fn stop(mut self) {
        self.shared.stop.send_replace(true);
        for task in &mut self.tasks {
            // What is not done in time is ended by dropping it.
            let _ = timeout(STOP_MAX, task).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        for task in &self.tasks {
            task.abort();
        }
    }
}
