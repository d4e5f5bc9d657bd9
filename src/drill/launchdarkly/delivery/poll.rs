//! The endpoints at which SDKs ask again and again: everything at once, or one thing, as PHP's SDK does; each with an
//! `ETag`, and 304 where the caller has it already. The state is that of the streams, held back with them.

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use serde_json::Map;
use serde_json::Value;

use super::feed_of;
use super::payload::Contents;
use super::payload::entity_tag;
use super::stream::Part;
use super::stream::environment;
use super::stream::payload;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::json_answer;
use crate::drill::launchdarkly::listener::fault::Past;
use crate::drill::launchdarkly::shared::Shared;

type Ld = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;
type AsOf = Option<Extension<Past>>;

pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/sdk/latest-all", get(everything))
        .route("/sdk/flags", get(flags))
        .route("/sdk/flags/{key}", get(flag))
        .route("/sdk/segments/{key}", get(segment))
        .route("/sdk/big-segments/revisions", get(big_segments))
}

/// The body, or 304 where the caller names this tag in `If-None-Match`.
fn tagged(headers: &HeaderMap, body: Bytes, tag: &str) -> Answer {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = known.split(',').map(|one| one.trim().trim_start_matches("W/")).any(|one| one == tag || one == "*");
    let mut response = Response::new(if known { Body::empty() } else { Body::from(body) });
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

fn record(headers: &HeaderMap, record: Option<&Value>) -> Answer {
    let body = Bytes::from(record.ok_or_else(Problem::not_found)?.to_string());
    let tag = entity_tag(&body);
    tagged(headers, body, &tag)
}

async fn everything(State(ld): Ld, Query(part): Query<Part>, headers: HeaderMap, past: AsOf) -> Answer {
    let (feed, reading) = {
        let account = ld.account();
        let (project, environment) = environment(&account, &headers)?;
        let filter = part.filter(project)?;
        let reading = ld.delivery.read(project, &environment.key, filter, past.as_deref());
        (feed_of(&project.key, &environment.key, filter), reading)
    };
    let payload = payload(&ld, &feed, reading);
    tagged(&headers, payload.body, &payload.tag)
}

fn contents(ld: &Shared, part: &Part, headers: &HeaderMap, past: AsOf) -> Result<Contents, Problem> {
    let account = ld.account();
    let (project, environment) = environment(&account, headers)?;
    Ok(ld.delivery.contents(project, &environment.key, part.filter(project)?, past.as_deref()))
}

async fn flags(State(ld): Ld, Query(part): Query<Part>, headers: HeaderMap, past: AsOf) -> Answer {
    let contents = contents(&ld, &part, &headers, past)?;
    let flags: Map<String, Value> = contents.flags().map(|(key, record)| (key.to_owned(), record)).collect();
    record(&headers, Some(&Value::Object(flags)))
}

async fn flag(
    State(ld): Ld,
    Path(key): Path<String>,
    Query(part): Query<Part>,
    headers: HeaderMap,
    past: AsOf,
) -> Answer {
    record(&headers, contents(&ld, &part, &headers, past)?.flag(&key).as_ref())
}

async fn segment(
    State(ld): Ld,
    Path(key): Path<String>,
    Query(part): Query<Part>,
    headers: HeaderMap,
    past: AsOf,
) -> Answer {
    record(&headers, contents(&ld, &part, &headers, past)?.segment(&key))
}

/// Changes of the members of big segments after the one that the relay names: there are none.
async fn big_segments(State(ld): Ld, headers: HeaderMap) -> Answer {
    environment(&ld.account(), &headers)?;
    Ok(json_answer(200, &Value::Array(Vec::new())))
}
