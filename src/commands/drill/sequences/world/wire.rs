//! The wires between a home and what its commands talk to: one to each store and one to LaunchDarkly. Every message
//! stops at the gate before it goes out, and when its answer is there: whoever directs the sequence lets it pass, or cuts
//! the connection, and can let anything happen in between. So what comes before what is decided by the story and not by
//! the machine's mood. It must not know what the messages mean.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio::time::timeout;

/// How much of a message is taken at once, in bytes.
const PIECE: usize = 65_536;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// So long a message waits behind one that is not answered: then it belongs to it. Otherwise how many messages there are
/// would depend on who is quicker.
pub const UNANSWERED: Duration = Duration::from_millis(100);

/// How long a wire may take to open or close.
const SWITCH_MAX: Duration = Duration::from_secs(10);

/// One stop of a message at the gate.
#[derive(Debug)]
pub struct Stop {
    /// The command whose connection it is.
    pub command: u64,
    /// Where the connection leads.
    pub to: To,
    /// Whether its answer is there; otherwise it has not gone out yet.
    pub answered: bool,
    reply: oneshot::Sender<bool>,
}

impl Stop {
    /// Lets it go on, or breaks its connection.
    pub fn reply(self, passes: bool) {
        // An error says that the connection is gone by itself.
        let _ = self.reply.send(passes);
    }
}

/// What a wire leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// A store, by number.
    Store(usize),
    /// LaunchDarkly.
    LaunchDarkly,
}

/// What all wires of a world have in common.
#[derive(Debug, Clone)]
pub struct Gate {
    stops: mpsc::UnboundedSender<Stop>,
    /// The command that is running: new connections are its.
    running: Arc<AtomicU64>,
    /// The command that was killed last: its connections end.
    killed: watch::Sender<u64>,
}

impl Gate {
    /// A gate, and where its stops arrive. No command has the number 0.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Stop>) {
        let (stops, arrive) = mpsc::unbounded_channel();
        let (killed, _) = watch::channel(0);
        (Self { stops, running: Arc::new(AtomicU64::new(0)), killed }, arrive)
    }

    /// From now on, connections that are made are this command's. Returns whose they were.
    pub fn is_running(&self, command: u64) -> u64 {
        self.running.swap(command, Ordering::AcqRel)
    }

    /// Ends the connections of a command, as its death would.
    pub fn kill(&self, command: u64) {
        self.killed.send_replace(command);
    }

    async fn passes(&self, command: u64, to: To, answered: bool) -> bool {
        let (reply, answer) = oneshot::channel();
        self.stops.send(Stop { command, to, answered, reply }).is_ok() && answer.await.unwrap_or(false)
    }
}

/// Where a wire can be used by a home, and what is at its other end.
#[derive(Debug)]
enum Ends {
    Sockets {
        here: PathBuf,
        there: PathBuf,
    },
    Ports {
        here: SocketAddr,
        there: SocketAddr,
        /// Bound, and never listening: while nobody listens, nobody else gets the port.
        _kept: TcpSocket,
    },
}

/// One wire. It ends when it is dropped.
#[derive(Debug)]
pub struct Wire {
    open: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    address: String,
    task: JoinHandle<io::Result<()>>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// A wire from a new unix socket to that of a server.
    ///
    /// # Errors
    /// Where the socket cannot be made.
    pub async fn to_socket(gate: &Gate, to: To, here: PathBuf, there: PathBuf) -> io::Result<Self> {
        let address = here.display().to_string();
        Self::lay(gate, to, Ends::Sockets { here, there }, address).await
    }

    /// A wire from a free port of 127.0.0.1 to another one.
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn to_port(gate: &Gate, to: To, there: SocketAddr) -> io::Result<Self> {
        let kept = bound(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let here = kept.local_addr()?;
        Self::lay(gate, to, Ends::Ports { here, there, _kept: kept }, here.to_string()).await
    }

    async fn lay(gate: &Gate, to: To, ends: Ends, address: String) -> io::Result<Self> {
        let (open, is_open) = watch::channel(true);
        let (listens, listening) = watch::channel(false);
        let task = tokio::spawn(serve(gate.clone(), to, ends, is_open, listens));
        let mut wire = Self { open, listening, address, task };
        wire.set(true).await?;
        Ok(wire)
    }

    /// Where it can be used.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens it, or closes it: then connections are refused, and those that there are break. Returns when it is so.
    ///
    /// # Errors
    /// Where that does not happen in time.
    pub async fn set(&mut self, open: bool) -> io::Result<()> {
        self.open.send_replace(open);
        match timeout(SWITCH_MAX, self.listening.wait_for(|listening| *listening == open)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(io::Error::other(format!("the wire at {} does not switch", self.address))),
        }
    }
}

async fn serve(
    gate: Gate,
    to: To,
    ends: Ends,
    mut open: watch::Receiver<bool>,
    listens: watch::Sender<bool>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return Ok(());
        }
        match &ends {
            Ends::Sockets { here, there } => {
                let listener = UnixListener::bind(here)?;
                listens.send_replace(true);
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (near, _) = accepted?;
                            let command = gate.running.load(Ordering::Acquire);
                            if let Ok(far) = UnixStream::connect(there).await {
                                connections.spawn(carry(gate.clone(), to, command, near, far));
                            }
                        }
                        () = is_so(&mut open, |open| !*open) => break,
                    }
                    while connections.try_join_next().is_some() {}
                }
                drop(listener);
                std::fs::remove_file(here)?;
            }
            Ends::Ports { here, there, .. } => {
                let listener = bound(*here)?.listen(BACKLOG)?;
                listens.send_replace(true);
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (near, _) = accepted?;
                            let command = gate.running.load(Ordering::Acquire);
                            if let Ok(far) = TcpStream::connect(there).await {
                                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                                connections.spawn(carry(gate.clone(), to, command, near, far));
                            }
                        }
                        () = is_so(&mut open, |open| !*open) => break,
                    }
                    while connections.try_join_next().is_some() {}
                }
                drop(listener);
            }
        }
        connections.shutdown().await;
        listens.send_replace(false);
    }
}

/// A socket that is bound to a port, which sockets of ours may share, and that does not listen.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Carries messages one way and answers the other, until either side is gone or the command is killed.
async fn carry<S>(gate: Gate, to: To, command: u64, mut near: S, mut far: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut killed = gate.killed.subscribe();
    let (mut out, mut back) = (vec![0; PIECE], vec![0; PIECE]);
    let mut asked = false;
    loop {
        let message = async {
            if asked {
                sleep(UNANSWERED).await;
            }
            near.read(&mut out).await
        };
        tokio::select! {
            read = message => {
                let Some(message) = piece(read, &out) else { return };
                if !gate.passes(command, to, false).await || far.write_all(message).await.is_err() {
                    return;
                }
                asked = true;
            }
            read = far.read(&mut back) => {
                let Some(answer) = piece(read, &back) else { return };
                if (std::mem::take(&mut asked) && !gate.passes(command, to, true).await)
                    || near.write_all(answer).await.is_err()
                {
                    return;
                }
            }
            () = is_so(&mut killed, |killed| *killed == command) => return,
        }
    }
}

/// Waits until it is so, or until nobody can say any more.
async fn is_so<T>(watched: &mut watch::Receiver<T>, is: impl FnMut(&T) -> bool) {
    let _ = watched.wait_for(is).await;
}

fn piece(read: io::Result<usize>, buffer: &[u8]) -> Option<&[u8]> {
    read.ok().filter(|length| *length > 0).and_then(|length| buffer.get(..length))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that says back what it hears.
    async fn echo(path: PathBuf) -> JoinHandle<()> {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..length]).await.unwrap();
                    }
                });
            }
        })
    }

    #[tokio::test]
    async fn messages_stop_at_the_gate_and_their_answers_too() {
        let folder = tempfile::tempdir().unwrap();
        let server = echo(folder.path().join("server")).await;
        let (gate, mut stops) = Gate::new();
        gate.is_running(7);
        let (here, there) = (folder.path().join("wire"), folder.path().join("server"));
        let mut wire = Wire::to_socket(&gate, To::Store(1), here.clone(), there).await.unwrap();

        let mut stream = UnixStream::connect(&here).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        for answered in [false, true] {
            let stop = stops.recv().await.unwrap();
            assert_eq!((stop.command, stop.to, stop.answered), (7, To::Store(1), answered));
            stop.reply(true);
        }
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");

        stream.write_all(b"again").await.unwrap();
        stops.recv().await.unwrap().reply(false);
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "cut");

        let mut stream = UnixStream::connect(&here).await.unwrap();
        stream.write_all(b"third").await.unwrap();
        let stop = stops.recv().await.unwrap();
        gate.kill(7);
        stop.reply(false);
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "killed");

        wire.set(false).await.unwrap();
        assert!(UnixStream::connect(&here).await.is_err());
        wire.set(true).await.unwrap();
        assert!(UnixStream::connect(&here).await.is_ok());
        server.abort();
    }

    #[tokio::test]
    async fn a_closed_port_refuses_and_opens_again() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (gate, _stops) = Gate::new();
        let mut wire = Wire::to_port(&gate, To::LaunchDarkly, listener.local_addr().unwrap()).await.unwrap();
        assert!(TcpStream::connect(wire.address()).await.is_ok());
        wire.set(false).await.unwrap();
        assert_eq!(TcpStream::connect(wire.address()).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        wire.set(true).await.unwrap();
        assert!(TcpStream::connect(wire.address()).await.is_ok());
    }
}
