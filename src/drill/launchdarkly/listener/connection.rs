//! One connection of a listener: its requests go to the endpoints, and the faults happen to them that are set. Must not
//! know what a request means.

use std::net::SocketAddr;
use std::sync::Arc;
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
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Board;
use super::fault::AsksFor;
use super::fault::FaultKind;
use super::line::Fate;
use super::line::Line;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::json_answer;
use crate::drill::launchdarkly::shared::now_ms;

/// The largest request body that is read, in bytes.
const BODY_MAX: usize = 4 * 1_024 * 1_024;

/// The longest that a request is held back or held without an answer.
const HOLD_MAX: Duration = Duration::from_secs(600);

/// What a captive portal shows.
const WEB_PAGE: &str =
    "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n";

/// What answers requests.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub service: Router,
    /// Answers below `/_drill/`, to loopback only, whatever faults are set.
    pub switchboard: Router,
}

/// How far ahead the answering clock is, in milliseconds; rides along with a request.
#[derive(Debug, Clone, Copy)]
pub struct Skew(pub i64);

/// The connection is broken off instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is broken off, as the drill wants it")]
pub struct Cut;

/// Serves one connection to its end.
pub async fn connection(board: Arc<Board>, stream: TcpStream, peer: SocketAddr, endpoints: Endpoints) {
    // Answers are small and go out whole: waiting to fill a packet would only add delay.
    let _ = stream.set_nodelay(true);
    let open = board.lines.open();
    let handler = service_fn(|request: hyper::Request<Incoming>| {
        let (board, endpoints, line) = (Arc::clone(&board), endpoints.clone(), Arc::clone(&open.line));
        async move {
            if request.uri().path().starts_with("/_drill") {
                return Ok(switchboard(request.map(Body::new), peer, &endpoints).await);
            }
            answer(&board, request, &endpoints, &line).await
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    let mut served = builder.serve_connection(TokioIo::new(stream), handler);
    let mut fate = open.line.fate();
    tokio::select! {
        // How a connection ends is for its client to judge.
        _ = &mut served => {}
        _ = fate.wait_for(|&fate| fate >= Fate::Closed) => {}
    }
    let reset = *fate.borrow() == Fate::Reset;
    if reset {
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

/// One request, with the faults that are set for it.
async fn answer(
    board: &Board,
    request: hyper::Request<Incoming>,
    endpoints: &Endpoints,
    line: &Arc<Line>,
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
    let number = board.received.note(now_ms(), &method, whole_path, &parts.headers, &body);
    let asks_for = if parts.method == Method::GET { (board.asks_for)(&path) } else { AsksFor::default() };
    if asks_for.stream {
        line.asks_for_stream(&path);
    }
    // Looked at before, so that whatever is taken back after the decision ends a black hole.
    let epoch = board.faults.epoch();
    let verdict = board.faults.decide(&method, &path, asks_for);
    if verdict.delay_ms > 0 {
        sleep(Duration::from_millis(verdict.delay_ms).min(HOLD_MAX)).await;
    }
    parts.extensions.insert(Skew(verdict.skew_ms));
    parts.extensions.insert(Arc::clone(line));
    if let Some(past) = verdict.past {
        parts.extensions.insert(past);
    }
    let request = Request::from_parts(parts, Body::from(body));
    let mut response = match verdict.instead {
        None => called(&endpoints.service, request).await,
        Some((fault, applied)) => {
            if applied {
                called(&endpoints.service, request).await;
            }
            instead(&fault, epoch, line).await?
        }
    };
    if verdict.skew_ms != 0
        && let Some(date) = date(now_ms().saturating_add(verdict.skew_ms))
    {
        response.headers_mut().insert(header::DATE, date);
    }
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if asks_for.stream && !media_type.is_some_and(|media_type| media_type.starts_with("text/event-stream")) {
        line.has_no_stream();
    }
    board.received.answered(number, response.status().as_u16());
    Ok(response)
}

/// The fault instead of the answer.
async fn instead(fault: &FaultKind, mut epoch: watch::Receiver<u64>, line: &Line) -> Result<Response, Cut> {
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
        FaultKind::WebPage => {
            let mut response = Response::new(Body::from(WEB_PAGE));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            Ok(response)
        }
        FaultKind::BlackHole => {
            tokio::select! {
                _ = epoch.changed() => {}
                () = sleep(HOLD_MAX) => {}
            }
            Err(Cut)
        }
        FaultKind::Reset | FaultKind::Refuse => {
            line.seal(Fate::Reset);
            Err(Cut)
        }
        // The others come with an answer, and are never instead of one.
        FaultKind::Close
        | FaultKind::Slow { .. }
        | FaultKind::ClockSkew { .. }
        | FaultKind::HalfEvent
        | FaultKind::OldPut { .. } => Err(Cut),
    }
}

/// The time as HTTP writes it.
fn date(milliseconds: i64) -> Option<HeaderValue> {
    let time = Timestamp::from_millisecond(milliseconds).ok()?;
    HeaderValue::from_str(&time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}
