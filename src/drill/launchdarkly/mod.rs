//! A LaunchDarkly to rehearse against: the REST API that RelayCommander uses, in memory, with an outage switch.
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
mod approval;
mod audit;
mod call;
mod control;
mod fault;
mod flag;
mod flags;
mod identifier;
mod identity;
mod instruction;
mod json_patch;
mod limit;
mod limited;
mod patch;
mod received;
mod routes;
mod sdk;
mod seed;
mod server;
mod shared;
mod switchboard;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use self::answer::Problem;
pub use self::control::Control;
pub use self::control::SdkFlag;
pub use self::fault::Fault;
pub use self::fault::FaultError;
pub use self::fault::FaultKind;
pub use self::identity::Effect;
pub use self::identity::Role;
pub use self::identity::Statement;
pub use self::limit::LimitAnswer;
pub use self::limit::Limits;
pub use self::received::Received;
pub use self::seed::Seed;
pub use self::seed::SeedError;
use self::server::Endpoints;
pub use self::shared::FlagChange;
use self::shared::Shared;

/// How long the server may take to end after the stop signal.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How the simulated LaunchDarkly is started.
#[derive(Debug)]
pub struct Options {
    /// What it begins with.
    pub seed: Seed,
    /// The socket of the API; none: a free port of 127.0.0.1.
    pub listener: Option<TcpListener>,
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
        let listener = match options.listener {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
        };
        let board = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let control_url = format!("http://{}/_drill/", board.local_addr()?);
        let control = Control::new(Arc::clone(&shared));
        let switchboard = switchboard::router(control.clone());
        let endpoints = Endpoints { api: routes::router(Arc::clone(&shared)), switchboard: switchboard.clone() };
        let mut stop = shared.stop.subscribe();
        let stopped = async move {
            // An error says that the server is gone, which is the end too.
            let _ = stop.wait_for(|&stop| stop).await;
        };
        let board = axum::serve(board, switchboard).with_graceful_shutdown(stopped);
        let tasks = [
            tokio::spawn(server::serve(Arc::clone(&shared), listener, endpoints)),
            tokio::spawn(async move { board.await }),
        ];
        Ok(Running { base_url, control_url, control, shared, tasks })
    }
}

/// A simulated LaunchDarkly that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API is: `http://127.0.0.1:PORT`.
    pub base_url: String,
    /// Where it can be driven over HTTP, whatever faults are set: `http://127.0.0.1:PORT/_drill/`.
    pub control_url: String,
    /// The hand on it.
    pub control: Control,
    shared: Arc<Shared>,
    tasks: [JoinHandle<io::Result<()>>; 2],
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
