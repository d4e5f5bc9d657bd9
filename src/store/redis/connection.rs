//! Connections to one Redis: made when they are needed, kept while they are used, and never waited for longer than the
//! deadlines allow. It knows how to ask and how long to wait; it must not know what is asked.
//!
//! Name resolution, TLS and login are inside the one deadline of a connection. A resolver that hangs keeps a thread of
//! tokio's blocking pool, which nothing can cancel: whoever owns the runtime must end it with `shutdown_background`.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ConnectionAddr;
use redis::ConnectionInfo;
use redis::IntoConnectionInfo;
use redis::Pipeline;
use redis::RedisConnectionInfo;
use redis::RedisError;
use redis::TlsCertificates;
use redis::Value;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use tokio::sync::Mutex;

use crate::store::StoreError;
use crate::store::redis::RedisOptions;
use crate::store::redis::address::Place;
use crate::store::redis::address::RedisAddress;

/// A connection that was not used for longer is made anew: the server, or a firewall, may have dropped it, and a write
/// that is lost that way would be `unknown` for no reason.
const KEPT_AT_MOST: Duration = Duration::from_secs(5);

/// A server that let a deadline pass is not waited for again so soon: what is read in several steps from a dead server
/// costs one deadline, not one for each step.
const TAKEN_FOR_DEAD: Duration = Duration::from_secs(5);

/// The connections to one server.
pub(super) struct Connections {
    address: RedisAddress,
    options: RedisOptions,
    kept: Mutex<Option<Kept>>,
    /// When a deadline passed last, and what was said then.
    silent: Mutex<Option<(Instant, String)>>,
}

struct Kept {
    connection: MultiplexedConnection,
    used: Instant,
}

/// A connection of one's own, as `WATCH` needs it: what is watched belongs to the connection, not to the asker.
pub(super) struct Dedicated {
    connection: MultiplexedConnection,
    answer: Duration,
}

/// An answer that did not come, and why.
pub(super) struct Lost {
    problem: String,
}

impl Lost {
    /// What a lost answer means where nothing could have been written.
    pub(super) fn unreachable(self, address: String) -> StoreError {
        StoreError::Unreachable { address, problem: self.problem }
    }

    /// What a lost answer means where a write was sent.
    pub(super) fn unknown(self, address: String) -> StoreError {
        StoreError::Unknown { address, problem: self.problem }
    }
}

impl Connections {
    pub(super) fn new(address: RedisAddress, options: RedisOptions) -> Self {
        Self { address, options, kept: Mutex::new(None), silent: Mutex::new(None) }
    }

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Asks something that changes nothing. A kept connection that turns out to be dead is made anew once.
    pub(super) async fn ask(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let (mut connection, kept) = self.connection().await?;
        let mut answer = exchange(&mut connection, pipeline, self.options.deadlines.answer).await;
        if kept && matches!(&answer, Err(Failed::Broken(_))) {
            self.forget().await;
            (connection, _) = self.connection().await?;
            answer = exchange(&mut connection, pipeline, self.options.deadlines.answer).await;
        }
        self.settle(answer).await.map_err(|lost| lost.unreachable(self.address.to_string()))
    }

    /// Sends something that may change something: never twice.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if it was sent and no answer came; what [`Connections::ask`] says if it was not sent.
    pub(super) async fn tell(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let (mut connection, _) = self.connection().await?;
        let answer = exchange(&mut connection, pipeline, self.options.deadlines.answer).await;
        self.settle(answer).await.map_err(|lost| lost.unknown(self.address.to_string()))
    }

    /// A connection that nobody else uses.
    pub(super) async fn dedicated(&self) -> Result<Dedicated, StoreError> {
        Ok(Dedicated { connection: self.connect().await?, answer: self.options.deadlines.answer })
    }

    /// The kept connection, or a new one; and whether it had been kept.
    async fn connection(&self) -> Result<(MultiplexedConnection, bool), StoreError> {
        let mut kept = self.kept.lock().await;
        if let Some(known) = kept.as_mut()
            && known.used.elapsed() < KEPT_AT_MOST
        {
            known.used = Instant::now();
            return Ok((known.connection.clone(), true));
        }
        let connection = self.connect().await?;
        *kept = Some(Kept { connection: connection.clone(), used: Instant::now() });
        Ok((connection, false))
    }

    /// A connection with a lost answer is dropped: that answer would only come in somebody's way.
    async fn settle(&self, answer: Result<Vec<Value>, Failed>) -> Result<Vec<Value>, Lost> {
        match answer {
            Ok(values) => {
                if let Some(kept) = self.kept.lock().await.as_mut() {
                    kept.used = Instant::now();
                }
                Ok(values)
            }
            Err(failed) => {
                self.forget().await;
                if matches!(failed, Failed::TooLate(_)) {
                    self.fell_silent(&failed.words()).await;
                }
                Err(failed.lost())
            }
        }
    }

    async fn fell_silent(&self, problem: &str) {
        *self.silent.lock().await = Some((Instant::now(), problem.to_owned()));
    }

    async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        if let Some((at, problem)) = &*self.silent.lock().await
            && at.elapsed() < TAKEN_FOR_DEAD
        {
            return Err(self.unreachable(problem.clone()));
        }
        let deadline = self.options.deadlines.connect;
        if let Ok(connected) = tokio::time::timeout(deadline, self.connect_and_log_in()).await {
            return connected;
        }
        // A server that expects no TLS says nothing to its greeting.
        let tls = matches!(self.address.place(), Place::Tcp { tls: true, .. });
        let hint = if tls { " (does it speak TLS on this port?)" } else { "" };
        let problem = format!("{}{hint}", too_late(deadline));
        self.fell_silent(&problem).await;
        Err(self.unreachable(problem))
    }

    async fn connect_and_log_in(&self) -> Result<MultiplexedConnection, StoreError> {
        let client = self.client()?;
        // Both limits of the library are off: there is one around all of this, and one around each answer.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut connection = connected.map_err(|error| self.not_connected(&error))?;
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    fn client(&self) -> Result<Client, StoreError> {
        let not_ours = |error: RedisError| self.credentials(format!("the authority given for TLS: {error}"));
        let information = self.information().map_err(|error| self.unreachable(error.to_string()))?;
        match &self.options.authority_pem {
            Some(_) if matches!(self.address.place(), Place::Tcp { tls: true, .. }) => {
                let root_cert = self.options.authority_pem.clone();
                Client::build_with_tls(information, TlsCertificates { client_tls: None, root_cert }).map_err(not_ours)
            }
            _ => Client::open(information).map_err(|error| self.unreachable(error.to_string())),
        }
    }

    /// Without the login: we send that ourselves, because the library keeps the server's words about it to itself.
    fn information(&self) -> Result<ConnectionInfo, RedisError> {
        let address = match self.address.place().clone() {
            Place::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host, port),
            Place::Tcp { host, port, tls: true } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            Place::Socket(path) => ConnectionAddr::Unix(path),
        };
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(address.into_connection_info()?.set_redis_settings(settings).set_tcp_settings(tcp))
    }

    async fn log_in(&self, connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        let password = self.address.password().or(self.options.password.as_deref());
        if let Some(password) = password {
            let auth = pipeline.cmd("AUTH");
            if let Some(username) = self.username() {
                auth.arg(username);
            }
            auth.arg(password);
        }
        let database = self.address.database().or(self.options.database).unwrap_or(0);
        if database != 0 {
            pipeline.cmd("SELECT").arg(database);
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        // The whole of it is inside the deadline of the connection.
        let values = connection
            .send_packed_commands(&pipeline, 0, pipeline.len())
            .await
            .map_err(|error| self.not_connected(&error))?;
        for (position, value) in values.iter().enumerate() {
            if let Value::ServerError(error) = value {
                let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
                return Err(match position {
                    0 if password.is_some() => self.credentials(words),
                    _ if error.code() == "NOAUTH" => self.credentials(words),
                    _ => StoreError::Other {
                        address: self.address.to_string(),
                        problem: format!("{words} (database {database})"),
                    },
                });
            }
        }
        Ok(())
    }

    /// The user that logs in, if one is named.
    pub(super) fn username(&self) -> Option<&str> {
        self.address.username().or(self.options.username.as_deref())
    }

    fn unreachable(&self, problem: String) -> StoreError {
        StoreError::Unreachable { address: self.address.to_string(), problem }
    }

    fn credentials(&self, problem: String) -> StoreError {
        StoreError::Credentials { address: self.address.to_string(), problem }
    }

    fn not_connected(&self, error: &RedisError) -> StoreError {
        let words = error.to_string();
        if let Some(what) = certificate_problem(&words) {
            return self.credentials(what);
        }
        self.unreachable(connection_problem(error, self.address.place()))
    }
}

impl Dedicated {
    /// Sends and waits for the answers.
    pub(super) async fn exchange(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, Lost> {
        self.exchange_within(pipeline, self.answer).await
    }

    /// As [`Dedicated::exchange`], with another deadline.
    pub(super) async fn exchange_within(&mut self, pipeline: &Pipeline, within: Duration) -> Result<Vec<Value>, Lost> {
        exchange(&mut self.connection, pipeline, within).await.map_err(Failed::lost)
    }

    /// How long an answer is waited for.
    pub(super) fn answer_within(&self) -> Duration {
        self.answer
    }
}

enum Failed {
    /// The connection was closed or its answer makes no sense.
    Broken(String),
    TooLate(Duration),
}

impl Failed {
    fn words(&self) -> String {
        match self {
            Failed::Broken(problem) => problem.clone(),
            Failed::TooLate(deadline) => too_late(*deadline),
        }
    }

    fn lost(self) -> Lost {
        Lost { problem: self.words() }
    }
}

async fn exchange(
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
    deadline: Duration,
) -> Result<Vec<Value>, Failed> {
    let count = pipeline.len();
    match tokio::time::timeout(deadline, connection.send_packed_commands(pipeline, 0, count)).await {
        Ok(Ok(values)) if values.len() == count => Ok(values),
        Ok(Ok(values)) => Err(Failed::Broken(format!("gave {} answers to {count} questions", values.len()))),
        Ok(Err(error)) => Err(Failed::Broken(format!("closed the connection ({error})"))),
        Err(_) => Err(Failed::TooLate(deadline)),
    }
}

fn too_late(deadline: Duration) -> String {
    format!("did not answer within {} s", deadline.as_secs_f64())
}

/// What a failed connection is in words that read on after the address.
fn connection_problem(error: &RedisError, place: &Place) -> String {
    // The library wraps the cause once more.
    let io_kind = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>())
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    let words = error.to_string();
    match (io_kind, place) {
        (Some(io::ErrorKind::ConnectionRefused), _) => "refused the connection".to_owned(),
        (Some(io::ErrorKind::NotFound), Place::Socket(_)) => "is not there (no such socket)".to_owned(),
        (Some(io::ErrorKind::PermissionDenied), Place::Socket(_)) => {
            "may not be opened by this user (the socket's file mode)".to_owned()
        }
        (Some(io::ErrorKind::TimedOut), _) => "could not be reached in time".to_owned(),
        (Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable), _) => {
            "has no route from here".to_owned()
        }
        _ if words.contains("failed to lookup address") => {
            format!("could not be found: its name does not resolve ({words})")
        }
        (Some(io::ErrorKind::InvalidData), Place::Tcp { tls: true, .. }) => {
            format!("does not speak TLS as it should ({words})")
        }
        _ => format!("could not be connected to ({words})"),
    }
}

/// Words about a certificate that is not trusted, if that is what went wrong.
fn certificate_problem(words: &str) -> Option<String> {
    let (_, about) = words.split_once("invalid peer certificate: ")?;
    Some(format!("its TLS certificate is not trusted ({about})"))
}
