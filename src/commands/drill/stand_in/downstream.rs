//! The SDKs' side of the stand-in: `/all`, `/sdk/flags/{key}` and `/status`, as a relay answers them (launchdarkly.md 8.1
//! and 9.2; ld-relay's `relay_endpoints.go`). It listens on the loopback only.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use tokio::sync::broadcast;

use super::Connection;
use super::Shared;
use crate::commands::drill::raw::Kind;

type Relay = State<Arc<Shared>>;

/// What SDKs may ask for.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/all", get(all))
        .route("/sdk/flags/{key}", get(flag))
        .with_state(shared)
}

async fn status(State(relay): Relay) -> Response {
    let (connection, since) = {
        let state = relay.state.borrow();
        (state.connection, state.since_ms)
    };
    let connected = connection == Connection::Valid;
    let state = match connection {
        Connection::Initializing => "INITIALIZING",
        Connection::Valid => "VALID",
        Connection::Interrupted => "INTERRUPTED",
    };
    let mut store = json!({ "state": "VALID", "stateSince": since, "dbPrefix": relay.place.prefix });
    if let Some(server) = &relay.place.server {
        store["database"] = json!("redis");
        store["dbServer"] = json!(server);
    }
    let tail = relay.sdk_key.get(relay.sdk_key.len().saturating_sub(5)..).unwrap_or_default();
    let environment = json!({
        "sdkKey": format!("sdk-********-****-****-****-*******{tail}"),
        "status": if connected { "connected" } else { "disconnected" },
        "connectionStatus": { "state": state, "stateSince": since },
        "dataStoreStatus": store,
    });
    let document = json!({
        "environments": { relay.place.environment.as_str(): environment },
        "status": if connected { "healthy" } else { "degraded" },
        "version": super::VERSION,
    });
    answer(StatusCode::OK, "application/json", Body::from(document.to_string()))
}

async fn all(State(relay): Relay, headers: HeaderMap) -> Response {
    if !may_enter(&relay, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    // Nothing is broadcast between the first event and the connection: both happen under one lock.
    let Ok((first, receiver)) = relay.keeper.lock().await.connect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let pieces = futures_util::stream::unfold((first, receiver), |(first, receiver)| async move {
        let (piece, receiver) = next(first, receiver).await?;
        Some((Ok::<Bytes, Infallible>(piece), (None, receiver)))
    });
    answer(StatusCode::OK, "text/event-stream; charset=utf-8", Body::from_stream(pieces))
}

/// The next event; none where the relay is gone, or the SDK reads too slowly.
async fn next(
    first: Option<Bytes>,
    mut receiver: broadcast::Receiver<Bytes>,
) -> Option<(Bytes, broadcast::Receiver<Bytes>)> {
    let piece = match first {
        Some(first) => first,
        None => receiver.recv().await.ok()?,
    };
    Some((piece, receiver))
}

async fn flag(State(relay): Relay, Path(key): Path<String>, headers: HeaderMap) -> Response {
    if !may_enter(&relay, &headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let found = relay.keeper.lock().await.single(Kind::Flags, &key).await;
    let Ok(found) = found else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let Some((version, text)) = found else { return StatusCode::NOT_FOUND.into_response() };
    // Made of the version alone, without quotes, as a relay makes it.
    let tag = format!("relay-{version}");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|held| held.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = answer(StatusCode::OK, "application/json", Body::from(text));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

fn may_enter(relay: &Shared, headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|key| key.as_bytes() == relay.sdk_key.as_bytes())
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The name of an environment and what it is kept in, as `/status` says it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The name of the environment.
    pub environment: String,
    /// The URL of the Redis, without a login; `None`: none.
    pub server: Option<String>,
    /// The prefix of its keys.
    pub prefix: String,
}

impl Place {
    /// The name of a section that says which project and environment it is.
    pub fn name_of(environment: &crate::flag::key::Environment) -> String {
        format!("{} {}", environment.project, environment.key)
    }
}
