//! The relays' side: connections are taken, requests are read, and each gets the stream it asks for. NETWORK. It must not
//! know what streams say. Every connection is bounded in memory and in the time it may take to ask.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::answer::Answer;
use crate::guard::environment::AttachedRelay;
use crate::guard::stream::body::GuardBody;
use crate::guard::stream::hub::Hub;
use crate::guard::stream::line::line;
use crate::guard::stream::passthrough::pass_through;
use crate::guard::stream::request::Stream;
use crate::guard::stream::request::Wanted;
use crate::guard::stream::request::agent;
use crate::guard::stream::request::wanted;

/// The most connections at one time.
pub const CONNECTIONS_MAX: usize = 10_000;

/// How long a connection may take to ask, or to agree on TLS.
const ASK_DEADLINE: Duration = Duration::from_secs(10);

/// The longest header of a request, and the most that is buffered of what goes out, in bytes.
const BUFFER_MAX: usize = 16 * 1024;

/// Waits after a connection could not be taken: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long an alarm stands about those who were turned away, after the last of them.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(300);

/// How often is looked whether alarms are over.
const TICK: Duration = Duration::from_secs(5);

/// A relay that has vanished is noticed by the system after about a minute.
const VANISHED_AFTER_MS: u32 = 60_000;

/// Says that the guard ends.
pub type Stopping = watch::Receiver<bool>;

/// The relays' side.
pub struct Downstream {
    hub: Arc<Hub>,
    tls: Option<TlsAcceptor>,
    connections: Arc<AtomicUsize>,
    stopping: Stopping,
}

/// One connection counted as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Downstream {
    /// For these streams.
    pub fn new(hub: Arc<Hub>, tls: Option<TlsAcceptor>, connections: Arc<AtomicUsize>, stopping: Stopping) -> Self {
        Self { hub, tls, connections, stopping }
    }

    /// Takes connections until the guard ends.
    pub async fn serve(&self, listener: &TcpListener) {
        let mut stopping = self.stopping.clone();
        let mut tick = tokio::time::interval(TICK);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = tick.tick() => {
                    self.hub.parts().alarms.end_those_over(Instant::now());
                    continue;
                }
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    turned_away(&self.hub, limit(), format!("a connection could not be taken: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let counted = Counted(Arc::clone(&self.connections));
        if self.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            drop(counted);
            let told = format!("a relay was turned away: there are {CONNECTIONS_MAX} connections");
            turned_away(&self.hub, limit(), told);
            return;
        }
        // What the system cannot do makes the connection no worse than it is.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, VANISHED_AFTER_MS);
        let (hub, tls, stopping) = (Arc::clone(&self.hub), self.tls.clone(), self.stopping.clone());
        tokio::spawn(async move {
            let _counted = counted;
            match tls {
                None => serve_one(hub, stream, peer.ip(), stopping).await,
                Some(tls) => {
                    // Whoever does not agree on TLS in time goes as he came.
                    if let Ok(Ok(stream)) = tokio::time::timeout(ASK_DEADLINE, tls.accept(stream)).await {
                        serve_one(hub, stream, peer.ip(), stopping).await;
                    }
                }
            }
        });
    }
}

fn limit() -> AlarmName {
    AlarmName { kind: AlarmKind::Limit, environment: None, flag: None }
}

/// Whoever is turned away comes again at once, and many do at a time: that is told once, and is over when they stay away.
fn turned_away(hub: &Hub, name: AlarmName, told: String) {
    hub.parts().alarms.raise_for(name, told, TURNED_AWAY_FOR, Instant::now());
}

/// Serves one connection to its end.
async fn serve_one<Io>(hub: Arc<Hub>, io: Io, address: IpAddr, mut stopping: Stopping)
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let cut = Arc::new(Notify::new());
    let own = Arc::clone(&cut);
    let service = service_fn(move |request| {
        let (hub, cut) = (Arc::clone(&hub), Arc::clone(&own));
        async move { Ok::<_, io::Error>(answer(&hub, request, address, cut).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ASK_DEADLINE).max_buf_size(BUFFER_MAX);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut is_stopping = false;
    loop {
        tokio::select! {
            // How a connection ends is for its client to judge.
            _ = served.as_mut() => return,
            () = cut.notified() => return,
            _ = stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                is_stopping = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(hub: &Arc<Hub>, request: Request<Incoming>, address: IpAddr, cut: Arc<Notify>) -> Response<GuardBody> {
    let agent = agent(request.headers());
    let uri = request.uri();
    match wanted(request.method(), uri.path(), uri.query(), request.headers()) {
        Wanted::Stream(stream) => stream_to(hub, stream, AttachedRelay { address, agent }, cut).await,
        Wanted::Through(asked) => {
            let key = asked.headers.get(hyper::header::AUTHORIZATION).map(|key| key.as_bytes().to_vec());
            let vouch = hub.vouch(&hub.parts().salt.of_key(&key.unwrap_or_default()));
            pass_through(&hub.parts().launchdarkly, &asked, vouch).await
        }
        Wanted::Unsupported => {
            let name = AlarmName { kind: AlarmKind::RelayUnsupported, environment: None, flag: None };
            let told = format!(
                "a relay of version 9 or newer asked ({address}, {agent}): its protocol is not supported, and it gets \
                 nothing from this guard. Point its streamUri and baseUri at LaunchDarkly, or use version 8"
            );
            turned_away(hub, name, told);
            let words = "rc guard does not support relays of version 9 or newer: their protocol is another one";
            // Of the 5xx, which no client takes for final, the one that says so.
            GuardBody::words(StatusCode::NOT_IMPLEMENTED, words)
        }
        Wanted::Nothing => GuardBody::words(
            StatusCode::METHOD_NOT_ALLOWED,
            "rc guard serves what relays GET of LaunchDarkly's streams",
        ),
    }
}

async fn stream_to(hub: &Arc<Hub>, stream: Stream, relay: AttachedRelay, cut: Arc<Notify>) -> Response<GuardBody> {
    let feed = match hub.feed(stream, relay.address) {
        Ok(feed) => feed,
        Err(full) => {
            turned_away(hub, limit(), format!("a relay at {} was turned away: {full}", relay.address));
            return GuardBody::later(&full.to_string());
        }
    };
    let (line, body) = line(cut);
    match feed.attach(relay, line).await {
        Answer::Stream => GuardBody::stream(body),
        Answer::Refuse => GuardBody::words(StatusCode::UNAUTHORIZED, "LaunchDarkly does not know this key"),
        Answer::Later | Answer::Wait => {
            GuardBody::later("LaunchDarkly's stream is away, and nobody vouches for this key")
        }
    }
}
