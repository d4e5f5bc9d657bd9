//! The endpoints at which there are streams. Each finds out who asks, enters him among the subscribers, and answers with
//! what he has to know first.
//!
//! Refusals are final for LaunchDarkly's clients (every 4xx but 400, 408 and 429), so they are given only where
//! LaunchDarkly itself would: a key that it does not take (401), and a payload filter that is not there (404, as its
//! relay answers; LaunchDarkly's own answer is not documented).

use std::sync::Arc;

use axum::Extension;
use axum::Router;
use axum::extract::Query;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Reading;
use super::event::Event;
use super::event::may_have;
use super::feed_of;
use super::flow::Opened;
use super::payload::Payload;
use super::subscribers::Feed;
use crate::drill::launchdarkly::account::Account;
use crate::drill::launchdarkly::account::Project;
use crate::drill::launchdarkly::account::environment::Environment;
use crate::drill::launchdarkly::account::environment::filter_id;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::listener::fault::Past;
use crate::drill::launchdarkly::listener::line::Line;
use crate::drill::launchdarkly::shared::Shared;
use crate::drill::launchdarkly::shared::now_ms;

type Ld = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// The version of the automatic configuration protocol that knows payload filters.
const PROTOCOL_WITH_FILTERS: u64 = 2;

pub fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/all", get(all))
        .route("/relay_auto_config", get(configuration))
        .route("/big-segments", get(big_segments))
}

/// The key that the caller shows; empty if he shows none.
pub fn secret(headers: &HeaderMap) -> &str {
    headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What SDKs ask with.
#[derive(Debug, Default, Deserialize)]
pub struct Part {
    /// The key of a payload filter.
    pub filter: Option<String>,
}

impl Part {
    /// The key of the payload filter, which must be there. An empty one is none.
    pub fn filter(&self, project: &Project) -> Result<Option<&str>, Problem> {
        let Some(key) = self.filter.as_deref().filter(|key| !key.is_empty()) else { return Ok(None) };
        if project.filters.contains_key(key) { Ok(Some(key)) } else { Err(Problem::not_found()) }
    }
}

/// The environment whose SDK key the caller shows, and its project.
pub fn environment<'a>(account: &'a Account, headers: &HeaderMap) -> Result<(&'a Project, &'a Environment), Problem> {
    account.with_sdk_key(secret(headers), now_ms()).ok_or_else(Problem::unauthorized)
}

/// Makes of a reading what is sent, and keeps it for the next.
pub fn payload(ld: &Shared, feed: &Feed, reading: Reading) -> Payload {
    match reading {
        Reading::Ready(payload) => payload,
        Reading::Fresh { contents, stand } => {
            let payload = contents.payload();
            ld.delivery.keep(feed, stand, &payload);
            payload
        }
    }
}

async fn all(
    State(ld): Ld,
    Query(part): Query<Part>,
    headers: HeaderMap,
    Extension(line): Extension<Arc<Line>>,
    past: Option<Extension<Past>>,
) -> Answer {
    let (feed, queue, reading) = {
        let account = ld.account();
        let (project, environment) = environment(&account, &headers)?;
        let filter = part.filter(project)?;
        let feed = feed_of(&project.key, &environment.key, filter);
        let reading = ld.delivery.read(project, &environment.key, filter, past.as_deref());
        let queue = ld.delivery.subscribe(&feed, secret(&headers), &line);
        (feed, queue, reading)
    };
    let opened = Opened { ld, feed, queue, line };
    let first = payload(&opened.ld, &opened.feed, reading).put;
    Ok(opened.answer(Some(first)))
}

/// What a relay asks with.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protocol {
    rpac_protocol_version: Option<u64>,
}

async fn configuration(
    State(ld): Ld,
    Query(protocol): Query<Protocol>,
    headers: HeaderMap,
    Extension(line): Extension<Arc<Line>>,
) -> Answer {
    let key = secret(&headers).to_owned();
    let (queue, mut data) = {
        let account = ld.account();
        let data = configuration_data(&account, &key)?;
        let queue = ld.delivery.subscribe(&Feed::Configuration { key: key.clone() }, &key, &line);
        (queue, data)
    };
    if protocol.rpac_protocol_version.unwrap_or(1) < PROTOCOL_WITH_FILTERS
        && let Some(data) = data.as_object_mut()
    {
        data.shift_remove("filters");
    }
    let first = Event::Put { data }.text();
    Ok(Opened { ld, feed: Feed::Configuration { key }, queue, line }.answer(Some(first)))
}

/// The environments that a relay with this key may have, and the payload filters.
fn configuration_data(account: &Account, key: &str) -> Result<Value, Problem> {
    let policy = account.relay_keys.get(key).ok_or_else(Problem::unauthorized)?;
    let shown = account.environments().filter(|(project, one)| may_have(policy, &project.key, &one.key));
    let environments: Map<String, Value> = shown
        .map(|(project, environment)| (environment.id.clone(), environment.relay_representation(project)))
        .collect();
    let filters = account.projects.values().flat_map(|project| {
        project
            .filters
            .iter()
            .map(|(key, filter)| (filter_id(&project.key, key), filter.relay_representation(&project.key, key)))
    });
    Ok(json!({ "environments": environments, "filters": filters.collect::<Map<String, Value>>() }))
}

/// The members of big segments never change here, so the stream says nothing.
async fn big_segments(State(ld): Ld, headers: HeaderMap, Extension(line): Extension<Arc<Line>>) -> Answer {
    let (feed, queue) = {
        let account = ld.account();
        let (project, environment) = environment(&account, &headers)?;
        let feed = Feed::BigSegments { project: project.key.clone(), environment: environment.key.clone() };
        let queue = ld.delivery.subscribe(&feed, secret(&headers), &line);
        (feed, queue)
    };
    Ok(Opened { ld, feed, queue, line }.answer(None))
}
