//! Sockets: listens, hands requests to the endpoints, and makes the faults happen that are set. Owns every connection,
//! so that it can break them. Must not know what a request means.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::Method;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::answer::Problem;
use super::answer::json_answer;
use super::fault::FaultKind;
use super::limited::Skew;
use super::shared::Shared;
use super::shared::now_ms;

/// The largest request body that is read, in bytes.
const BODY_MAX: usize = 4 * 1_024 * 1_024;

/// The most connections at once; more wait in the socket's queue.
const CONNECTIONS_MAX: usize = 10_000;

/// The longest that a request is held back or held without an answer.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How often, and how far apart, a socket that could not be had is tried again.
const TRIES: u32 = 100;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// What answers requests.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub api: Router,
    /// Answers below `/_drill/`, to loopback only, whatever faults are set.
    pub switchboard: Router,
}

/// The connection is broken off instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken off, as the drill wants it")]
struct Cut;

/// Serves until the stop signal, and refuses connections while that fault is set.
pub(super) async fn serve(shared: Arc<Shared>, listener: TcpListener, endpoints: Endpoints) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut refusing = shared.faults.refusing();
    let mut stop = shared.stop.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    // Once round for each outage.
    while !*stop.borrow() {
        if let Some(open) = listener.take() {
            tokio::select! {
                () = accept(&shared, &open, &endpoints, &mut connections) => {}
                _ = refusing.wait_for(|&refuse| refuse) => {}
                _ = stop.wait_for(|&stop| stop) => {}
            }
        }
        connections.shutdown().await;
        if *stop.borrow() {
            break;
        }
        let reserved = reserve(address).await?;
        shared.listening.send_replace(false);
        tokio::select! {
            _ = refusing.wait_for(|&refuse| !refuse) => {}
            _ = stop.wait_for(|&stop| stop) => {}
        }
        listener = Some(reserved.listen(BACKLOG)?);
        shared.listening.send_replace(true);
    }
    connections.shutdown().await;
    Ok(())
}

/// Holds the port without listening on it: connections are refused, and nobody else gets it meanwhile.
async fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let mut tries = 0;
    loop {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        match socket.bind(address) {
            Ok(()) => return Ok(socket),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        sleep(TRY_PAUSE).await;
    }
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener, endpoints: &Endpoints, connections: &mut JoinSet<()>) {
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, peer)) => {
                connections.spawn(connection(Arc::clone(shared), stream, peer, endpoints.clone()));
            }
            // Out of file descriptors, or the connection went away: the next one may come through.
            Err(_) => sleep(TRY_PAUSE).await,
        }
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, endpoints: Endpoints) {
    // Answers are small and go out whole: waiting to fill a packet would only add delay.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let handler = service_fn(|request: hyper::Request<Incoming>| {
        let (shared, endpoints, reset) = (Arc::clone(&shared), endpoints.clone(), Arc::clone(&reset));
        async move {
            if request.uri().path().starts_with("/_drill") {
                return Ok(switchboard(request.map(Body::new), peer, &endpoints).await);
            }
            answer(&shared, request, &endpoints, &reset).await
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let mut served = builder.serve_connection(TokioIo::new(stream), handler);
    // How a connection ends is for its client to judge.
    let _ = (&mut served).await;
    if reset.load(Ordering::Acquire) {
        let _ = served.into_parts().io.into_inner().set_zero_linger();
    }
}

async fn switchboard(request: Request, peer: SocketAddr, endpoints: &Endpoints) -> Response {
    if peer.ip().is_loopback() {
        called(&endpoints.switchboard, request).await
    } else {
        Problem::forbidden().into_response()
    }
}

async fn called(router: &Router, request: Request) -> Response {
    match TowerToHyperService::new(router.clone()).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// One request of the API, with the faults that are set for it.
async fn answer(
    shared: &Arc<Shared>,
    request: hyper::Request<Incoming>,
    endpoints: &Endpoints,
    reset: &AtomicBool,
) -> Result<Response, Cut> {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = to_bytes(Body::new(body), BODY_MAX).await else {
        return Ok(Problem::invalid("Invalid request body").into_response());
    };
    // For networks that let no PATCH through. Source: "Overriding the method" in LaunchDarkly's API description.
    if let Some(method) = parts.headers.get("x-http-method-override").filter(|_| parts.method == Method::POST)
        && let Ok(method) = Method::from_bytes(method.as_bytes())
    {
        parts.method = method;
    }
    let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
    let whole_path = parts.uri.path_and_query().map_or(path.as_str(), |whole| whole.as_str());
    let number = shared.received.note(now_ms(), &method, whole_path, &parts.headers, &body);
    let verdict = shared.faults.decide(&method, &path);
    if verdict.delay_ms > 0 {
        sleep(Duration::from_millis(verdict.delay_ms).min(HOLD_MAX)).await;
    }
    parts.extensions.insert(Skew(verdict.skew_ms));
    let request = Request::from_parts(parts, Body::from(body));
    let mut response = match verdict.instead {
        None => called(&endpoints.api, request).await,
        Some((fault, applied)) => {
            if applied {
                called(&endpoints.api, request).await;
            }
            instead(shared, &fault, reset).await?
        }
    };
    if verdict.skew_ms != 0
        && let Some(date) = date(now_ms().saturating_add(verdict.skew_ms))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    shared.received.answered(number, response.status().as_u16());
    Ok(response)
}

/// The fault instead of the answer.
async fn instead(shared: &Shared, fault: &FaultKind, reset: &AtomicBool) -> Result<Response, Cut> {
    match fault {
        FaultKind::Status { status, retry_after } => {
            let mut response = Problem::of_status(*status).into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Ok(response)
        }
        FaultKind::Garbage => {
            let mut response = json_answer(200, &serde_json::Value::Null);
            *response.body_mut() = Body::from(r#"{"key": "che"#);
            Ok(response)
        }
        FaultKind::BlackHole => {
            let (mut epoch, mut stop) = (shared.faults.epoch(), shared.stop.subscribe());
            tokio::select! {
                _ = epoch.changed() => {}
                _ = stop.wait_for(|&stop| stop) => {}
                () = sleep(HOLD_MAX) => {}
            }
            Err(Cut)
        }
        FaultKind::Reset | FaultKind::Refuse => {
            reset.store(true, Ordering::Release);
            Err(Cut)
        }
        // Slow answers and wrong clocks come with an answer, and are never instead of one.
        FaultKind::Close | FaultKind::Slow { .. } | FaultKind::ClockSkew { .. } => Err(Cut),
    }
}

/// The time as HTTP writes it.
fn date(milliseconds: i64) -> Option<HeaderValue> {
    let time = Timestamp::from_millisecond(milliseconds).ok()?;
    HeaderValue::from_str(&time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}
