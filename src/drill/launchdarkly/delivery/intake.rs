//! What SDKs and relays send: events and diagnostics. Taken from those who may send them, noted among what was received,
//! and dropped.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::routing::get;
use axum::routing::post;

use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::json_answer;
use crate::drill::launchdarkly::shared::Shared;
use crate::drill::launchdarkly::shared::now_ms;

type Ld = State<Arc<Shared>>;

/// Sources of the paths: LaunchDarkly's relay (`internal/events`, `relay/relay_routes.go`) and SDKs.
pub fn routes() -> Router<Arc<Shared>> {
    let mut router = Router::new().route("/sdk/goals/{id}", get(goals));
    for path in ["/bulk", "/diagnostic", "/api/events/bulk", "/api/events/diagnostic"] {
        router = router.route(path, post(from_server));
    }
    for path in ["/mobile", "/mobile/events", "/mobile/events/bulk", "/mobile/events/diagnostic"] {
        router = router.route(path, post(from_mobile));
    }
    for path in ["/events/bulk/{id}", "/events/diagnostic/{id}"] {
        router = router.route(path, post(from_browser));
    }
    router
}

async fn from_server(State(ld): Ld, headers: HeaderMap) -> Result<StatusCode, Problem> {
    let key = super::stream::secret(&headers);
    let account = ld.account();
    account.with_sdk_key(key, now_ms()).map(|_| StatusCode::ACCEPTED).ok_or_else(Problem::unauthorized)
}

async fn from_mobile(State(ld): Ld, headers: HeaderMap) -> Result<StatusCode, Problem> {
    let key = super::stream::secret(&headers);
    let account = ld.account();
    let known = account.environments().any(|(_, environment)| environment.mobile_key == key);
    if known { Ok(StatusCode::ACCEPTED) } else { Err(Problem::unauthorized()) }
}

fn must_know(ld: &Shared, id: &str) -> Result<(), Problem> {
    let known = ld.account().environments().any(|(_, environment)| environment.id == id);
    if known { Ok(()) } else { Err(Problem::not_found()) }
}

async fn from_browser(State(ld): Ld, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    must_know(&ld, &id).map(|()| StatusCode::ACCEPTED)
}

/// The goals of LaunchDarkly's old experiments, of which there are none.
async fn goals(State(ld): Ld, Path(id): Path<String>) -> Result<axum::response::Response, Problem> {
    must_know(&ld, &id).map(|()| json_answer(200, &serde_json::json!([])))
}
