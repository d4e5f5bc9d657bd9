//! The listeners over HTTP: faults, rate limits, what arrived, and waiting for something to arrive.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::done;
use super::ok;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::control::Control;
use crate::drill::launchdarkly::control::ListenerControl;
use crate::drill::launchdarkly::control::Wanted;
use crate::drill::launchdarkly::listener::fault::Fault;
use crate::drill::launchdarkly::listener::fault::FaultError;
use crate::drill::launchdarkly::rest::limit::Limits;

/// How long is waited where nothing is said, and at most.
const WAIT_DEFAULT: u64 = 10;
const WAIT_MAX: u64 = 600;

fn listener(control: &Control, name: &str) -> Result<ListenerControl, Problem> {
    match name {
        "api" => Ok(control.api()),
        "stream" => Ok(control.stream()),
        _ => Err(Problem::not_found()),
    }
}

fn refused(error: &FaultError) -> Problem {
    Problem::invalid(error.to_string())
}

pub async fn faults(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    ok(&json!({ "items": listener(&control, &name)?.faults() }))
}

pub async fn set_fault(State(control): State<Control>, Path(name): Path<String>, Json(fault): Json<Fault>) -> Answer {
    listener(&control, &name)?.fault(fault).await.map_err(|error| refused(&error))?;
    done()
}

pub async fn clear_faults(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    listener(&control, &name)?.clear_faults().await.map_err(|error| refused(&error))?;
    done()
}

pub async fn received(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    ok(&json!({ "items": listener(&control, &name)?.received() }))
}

pub async fn forget_received(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    listener(&control, &name)?.forget_received();
    done()
}

pub async fn limits(State(control): State<Control>) -> Answer {
    ok(&json!(control.limits()))
}

pub async fn set_limits(State(control): State<Control>, Json(limits): Json<Limits>) -> Answer {
    control.limit(limits);
    done()
}

/// What is waited for: so many streams, or so many requests of a listener.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Awaited {
    streams: Option<usize>,
    requests: Option<usize>,
    /// No more than that either.
    #[serde(default)]
    exactly: bool,
    path: Option<String>,
    listener: Option<String>,
    seconds: Option<u64>,
}

pub async fn wait(State(control): State<Control>, Query(awaited): Query<Awaited>) -> Answer {
    let deadline = Duration::from_secs(awaited.seconds.unwrap_or(WAIT_DEFAULT).min(WAIT_MAX));
    let wanted = |number| if awaited.exactly { Wanted::exactly(number) } else { Wanted::at_least(number) };
    let path = awaited.path.as_deref();
    let waited = match (awaited.streams, awaited.requests, path) {
        (Some(number), None, path) => control.wait_for_streams(path, wanted(number), deadline).await,
        (None, Some(number), Some(path)) => {
            let listener = listener(&control, awaited.listener.as_deref().unwrap_or("stream"))?;
            listener.wait_for_requests(path, wanted(number), deadline).await
        }
        _ => return Err(Problem::invalid("wait for 'streams', or for 'requests' with a 'path'")),
    };
    waited.map_err(|late| Problem::not_in_time(late.to_string()))?;
    done()
}
