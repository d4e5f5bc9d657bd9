//! [`Control`] over HTTP, below `/_drill/`, so that other programs can drive a rehearsal. Answered on a port of its own,
//! which no fault touches, and on both listeners' ports too. `docs/drill.md` says what there is, with examples that a
//! test runs.
//!
//! Only loopback is answered, only a loopback `Host` (a page in a browser may resolve its own name to 127.0.0.1), and
//! bodies only as `application/json` (which such a page may not send unasked).

mod colleague;
mod delivery;
mod listener;

use axum::Router;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::delete;
use axum::routing::get;
use axum::routing::post;
use axum::routing::put;
use serde_json::Value;
use serde_json::json;

use super::answer::Problem;
use super::answer::json_answer;
use super::control::Control;

type Answer = Result<Response, Problem>;

pub(super) fn router(control: Control) -> Router {
    const FLAG: &str = "/_drill/flags/{project}/{environment}/{flag}";
    const ENVIRONMENT: &str = "/_drill/environments/{project}/{environment}";
    let listeners = Router::new()
        .route("/_drill/", get(overview))
        .route(
            "/_drill/{listener}/faults",
            get(listener::faults).post(listener::set_fault).delete(listener::clear_faults),
        )
        .route("/_drill/{listener}/received", get(listener::received).delete(listener::forget_received))
        .route("/_drill/limits", get(listener::limits).put(listener::set_limits))
        .route("/_drill/wait", get(listener::wait));
    let delivery = Router::new()
        .route("/_drill/streams", get(delivery::streams))
        .route("/_drill/freeze", post(delivery::freeze))
        .route("/_drill/thaw", post(delivery::thaw))
        .route("/_drill/moments/{name}", put(delivery::name_moment))
        .route("/_drill/heartbeat", put(delivery::set_heartbeat))
        .route("/_drill/relays/reconnect", post(delivery::reconnect_relays));
    let colleague = Router::new()
        .route(FLAG, get(colleague::flag).post(colleague::change).delete(colleague::delete))
        .route(&format!("{FLAG}/schedule"), post(colleague::schedule).delete(colleague::unschedule))
        .route(&format!("{FLAG}/approvals"), get(colleague::approvals))
        .route("/_drill/approvals/{id}/{verb}", post(colleague::decide))
        .route(
            "/_drill/segments/{project}/{environment}/{segment}",
            put(colleague::put_segment).delete(colleague::delete_segment),
        )
        .route(ENVIRONMENT, put(colleague::add_environment).delete(colleague::remove_environment))
        .route(&format!("{ENVIRONMENT}/sdk-key"), put(colleague::reset_sdk_key))
        .route("/_drill/filters/{project}/{filter}", put(colleague::define_filter).delete(colleague::remove_filter))
        .route("/_drill/tokens/{token}", delete(colleague::revoke));
    listeners
        .merge(delivery)
        .merge(colleague)
        .fallback(|| async { Problem::not_found() })
        .layer(from_fn(loopback_only))
        .with_state(control)
}

async fn loopback_only(request: Request, next: Next) -> Response {
    if is_loopback(request.headers()) { next.run(request).await } else { Problem::forbidden().into_response() }
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

fn ok(body: &Value) -> Answer {
    Ok(json_answer(200, body))
}

fn done() -> Answer {
    ok(&json!({}))
}

async fn overview(State(control): State<Control>) -> Answer {
    let (api, stream) = (control.api(), control.stream());
    ok(&json!({
        "api": { "faults": api.faults(), "limits": control.limits(), "received": api.received_count() },
        "stream": {
            "faults": stream.faults(), "received": stream.received_count(), "streams": control.stream_count(None),
            "dropped": control.dropped_streams(), "frozen": control.is_frozen(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[track_caller]
    fn case(host: &'static str, loopback: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        assert_eq!(is_loopback(&headers), loopback, "{host}");
    }

    #[test]
    fn which_hosts_are_loopback() {
        case("127.0.0.1:8080", true);
        case("localhost", true);
        case("[::1]:8080", true);
        case("127.0.0.1.evil.example:8080", false);
        case("evil.example", false);
        case("", false);
    }
}
