//! A `redis-server` of the machine as a child, for as long as the rehearsal lasts. A shell stands between: it waits for
//! the end of its input, which comes when this process ends, however it ends, and then ends the server.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

/// How long the server may take to answer, or to end.
const WITHIN: Duration = Duration::from_secs(5);

/// How long a call for its version may take.
const VERSION_WITHIN: Duration = Duration::from_secs(2);

/// The most bytes of the path of a unix socket that every system takes.
const SOCKET_PATH_MAX: usize = 100;

/// How often another port is tried, where somebody else was quicker.
const PORTS_MAX: u32 = 3;

/// Starts the server, waits for the end of the input, ends the server.
const UNTIL_THE_INPUT_ENDS: &str =
    "redis-server \"$@\" </dev/null & server=$!; read -r nothing; kill \"$server\"; wait \"$server\"";

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    shell: Child,
    socket: PathBuf,
    /// The port of the loopback that it listens on too.
    port: Option<u16>,
    version: String,
}

/// There is no server to use.
#[derive(Debug, thiserror::Error)]
pub enum NoServer {
    /// None is on the path.
    #[error("no redis-server is on the path")]
    NotThere,
    /// There is one, and it does not run.
    #[error("redis-server does not start: {problem}")]
    DoesNotStart {
        /// What went wrong.
        problem: String,
    },
}

impl NoServer {
    fn problem(problem: impl ToString) -> Self {
        NoServer::DoesNotStart { problem: problem.to_string() }
    }
}

impl RedisServer {
    /// Starts one on a unix socket in `folder`, and waits until it answers.
    ///
    /// # Errors
    /// [`NoServer`].
    pub async fn start(folder: &Path) -> Result<Self, NoServer> {
        Self::launch(folder, None, 1).await
    }

    /// [`RedisServer::start`], with so many databases.
    ///
    /// # Errors
    /// [`NoServer`].
    pub async fn start_with_databases(folder: &Path, databases: usize) -> Result<Self, NoServer> {
        Self::launch(folder, None, databases).await
    }

    /// [`RedisServer::start`], on a free port of the loopback too: relays know no sockets.
    ///
    /// # Errors
    /// [`NoServer`].
    pub async fn start_with_port(folder: &Path) -> Result<Self, NoServer> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(NoServer::problem)?;
            let port = listener.local_addr().map_err(NoServer::problem)?.port();
            drop(listener);
            // Somebody else may be quicker to take the port: then it does not start.
            match Self::launch(folder, Some(port), 1).await {
                Err(NoServer::DoesNotStart { .. }) if attempts < PORTS_MAX => {}
                started => return started,
            }
        }
    }

    async fn launch(folder: &Path, port: Option<u16>, databases: usize) -> Result<Self, NoServer> {
        let version = version().await?;
        let socket = folder.join("redis.sock");
        let path = socket.to_str().filter(|path| path.len() <= SOCKET_PATH_MAX);
        let path = path.ok_or_else(|| NoServer::problem("the path of its socket would be too long"))?;
        let shell = Command::new("/bin/sh")
            .args(["-c", UNTIL_THE_INPUT_ENDS, "sh", "--unixsocket", path])
            .args(["--port", &port.unwrap_or(0).to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"])
            .args(["--databases", &databases.to_string()])
            .current_dir(folder)
            // A Ctrl-C is for this process, which then ends the server in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(NoServer::problem)?;
        let server = Self { shell, socket, port, version };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> Result<(), NoServer> {
        let until = Instant::now() + WITHIN;
        loop {
            // By the socket, which nobody else can have: on the port somebody else's server may answer.
            let answered = match redis::Client::open(self.socket_url()) {
                Ok(client) => ping(&client).await,
                Err(error) => return Err(NoServer::problem(error)),
            };
            match answered {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(NoServer::problem(error)),
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Where its socket is.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Where it is, as in `REDIS_HOSTS`: the port if it has one, else the socket.
    pub fn url(&self) -> String {
        match self.port {
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => self.socket_url(),
        }
    }

    /// The port of the loopback that it listens on too.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Ends it. Returns when it is gone.
    ///
    /// # Errors
    /// Where it does not go in time.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.shell.stdin.take());
        match timeout(WITHIN, self.shell.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "redis-server does not end")),
        }
    }
}

async fn ping(client: &redis::Client) -> redis::RedisResult<()> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async(&mut connection).await
}

/// The version in `Redis server v=7.0.15 sha=…`.
async fn version() -> Result<String, NoServer> {
    let called = Command::new("redis-server").arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match timeout(VERSION_WITHIN, called).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return Err(NoServer::NotThere),
        Ok(Err(error)) => return Err(NoServer::problem(error)),
        Err(_) => return Err(NoServer::problem("it does not tell its version")),
    };
    let told = String::from_utf8_lossy(&output.stdout);
    let version = told.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(version.unwrap_or("of an unknown version").to_owned())
}
