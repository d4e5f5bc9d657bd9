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
use tokio::time::Instant;
use tokio::time::sleep_until;
use tokio::time::timeout;

/// How much of a message is taken at once, in bytes.
const PIECE: usize = 65_536;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;

/// So long a message waits behind one that is not answered: then it belongs to it. Otherwise how many messages there are
/// would depend on who is quicker. Whoever has no answer to expect any more is told so ([`Moment::Gone`]), so this is only
/// waited for where a server wants more before it answers, and it may be longer than any answer takes on a busy machine.
pub const UNANSWERED: Duration = Duration::from_secs(5);

/// How long a wire may take to open or close.
const SWITCH_MAX: Duration = Duration::from_secs(10);

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has not gone out yet.
    Asks,
    /// Its answer is there.
    Answered,
    /// Its connection has ended: no answer will come. Nobody waits for a reply.
    Gone,
}

/// One stop of a message at the gate.
#[derive(Debug)]
pub struct Stop {
    /// The command whose connection it is.
    pub command: u64,
    /// Which of all connections.
    pub connection: u64,
    /// Where the connection leads.
    pub to: To,
    /// Where the message is.
    pub moment: Moment,
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
    /// How many connections there were.
    connections: Arc<AtomicU64>,
    /// The command that was killed last: its connections end.
    killed: watch::Sender<u64>,
}

impl Gate {
    /// A gate, and where its stops arrive. No command has the number 0.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Stop>) {
        let (stops, arrive) = mpsc::unbounded_channel();
        let (killed, _) = watch::channel(0);
        let zero = || Arc::new(AtomicU64::new(0));
        (Self { stops, running: zero(), connections: zero(), killed }, arrive)
    }

    /// From now on, connections that are made are this command's. Returns whose they were.
    pub fn is_running(&self, command: u64) -> u64 {
        self.running.swap(command, Ordering::AcqRel)
    }

    /// Ends the connections of a command, as its death would.
    pub fn kill(&self, command: u64) {
        self.killed.send_replace(command);
    }

    /// A connection that is made now.
    fn connection(&self, to: To) -> Connection {
        let command = self.running.load(Ordering::Acquire);
        let number = self.connections.fetch_add(1, Ordering::AcqRel);
        Connection { gate: self.clone(), command, number, to }
    }
}

/// A connection of a command. When it ends, in whatever way, the gate hears of it.
struct Connection {
    gate: Gate,
    command: u64,
    number: u64,
    to: To,
}

impl Connection {
    fn stop(&self, moment: Moment) -> (Stop, oneshot::Receiver<bool>) {
        let (reply, answer) = oneshot::channel();
        (Stop { command: self.command, connection: self.number, to: self.to, moment, reply }, answer)
    }

    async fn passes(&self, moment: Moment) -> bool {
        let (stop, answer) = self.stop(moment);
        self.gate.stops.send(stop).is_ok() && answer.await.unwrap_or(false)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An error says that the world is gone.
        let _ = self.gate.stops.send(self.stop(Moment::Gone).0);
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
                            let connection = gate.connection(to);
                            if let Ok(far) = UnixStream::connect(there).await {
                                connections.spawn(carry(connection, near, far));
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
                            let connection = gate.connection(to);
                            if let Ok(far) = TcpStream::connect(there).await {
                                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                                connections.spawn(carry(connection, near, far));
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
async fn carry<S>(connection: Connection, mut near: S, mut far: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut killed = connection.gate.killed.subscribe();
    let (mut out, mut back) = (vec![0; PIECE], vec![0; PIECE]);
    let mut asked = false;
    // A message that waits behind one that is not answered: how long it is, and until when it waits.
    let mut held = None;
    loop {
        let until = held.map_or_else(Instant::now, |(_, until)| until);
        let message = tokio::select! {
            read = near.read(&mut out), if held.is_none() => {
                let Some(length) = piece(read, &out).map(<[u8]>::len) else { return };
                if asked {
                    held = Some((length, Instant::now() + UNANSWERED));
                    continue;
                }
                length
            }
            read = far.read(&mut back) => {
                let Some(answer) = piece(read, &back) else { return };
                if (std::mem::take(&mut asked) && !connection.passes(Moment::Answered).await)
                    || near.write_all(answer).await.is_err()
                {
                    return;
                }
                let Some((length, _)) = held.take() else { continue };
                length
            }
            () = sleep_until(until), if held.is_some() => {
                let Some((length, _)) = held.take() else { continue };
                length
            }
            () = is_so(&mut killed, |killed| *killed == connection.command) => return,
        };
        let Some(message) = out.get(..message) else { return };
        if !connection.passes(Moment::Asks).await || far.write_all(message).await.is_err() {
            return;
        }
        asked = true;
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
        for moment in [Moment::Asks, Moment::Answered] {
            let stop = stops.recv().await.unwrap();
            assert_eq!((stop.command, stop.to, stop.moment), (7, To::Store(1), moment));
            stop.reply(true);
        }
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");

        stream.write_all(b"again").await.unwrap();
        let cut = stops.recv().await.unwrap();
        let connection = cut.connection;
        cut.reply(false);
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "cut");
        let gone = stops.recv().await.unwrap();
        assert_eq!((gone.connection, gone.moment), (connection, Moment::Gone));

        let mut stream = UnixStream::connect(&here).await.unwrap();
        stream.write_all(b"third").await.unwrap();
        let stop = stops.recv().await.unwrap();
        assert_ne!(stop.connection, connection);
        gate.kill(7);
        stop.reply(false);
        assert_eq!(stream.read(&mut heard).await.unwrap(), 0, "killed");

        wire.set(false).await.unwrap();
        assert!(UnixStream::connect(&here).await.is_err());
        wire.set(true).await.unwrap();
        assert!(UnixStream::connect(&here).await.is_ok());
        server.abort();
    }

    /// How many messages there are must not depend on who is quicker.
    #[tokio::test]
    async fn what_is_sent_before_the_answer_is_there_stops_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let server = echo(folder.path().join("server")).await;
        let (gate, mut stops) = Gate::new();
        gate.is_running(7);
        let (here, there) = (folder.path().join("wire"), folder.path().join("server"));
        let mut wire = Wire::to_socket(&gate, To::Store(0), here.clone(), there).await.unwrap();
        let mut stream = UnixStream::connect(&here).await.unwrap();
        stream.write_all(b"first").await.unwrap();
        let first = stops.recv().await.unwrap();
        stream.write_all(b"second").await.unwrap();
        first.reply(true);
        for moment in [Moment::Answered, Moment::Asks, Moment::Answered] {
            let stop = stops.recv().await.unwrap();
            assert_eq!(stop.moment, moment);
            stop.reply(true);
        }
        let mut heard = [0; 11];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"firstsecond");
        // The server goes while a message is at the gate.
        stream.write_all(b"third").await.unwrap();
        let third = stops.recv().await.unwrap();
        wire.set(false).await.unwrap();
        let gone = stops.recv().await.unwrap();
        assert_eq!((gone.connection, gone.moment), (third.connection, Moment::Gone));
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
