//! The delivery of flags over HTTP: standing still, moments, heartbeats, and the streams that are open.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::done;
use super::ok;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::control::Control;

pub async fn streams(State(control): State<Control>) -> Answer {
    ok(&json!({ "items": control.streams(), "dropped": control.dropped_streams() }))
}

pub async fn freeze(State(control): State<Control>) -> Answer {
    control.freeze();
    done()
}

pub async fn thaw(State(control): State<Control>) -> Answer {
    control.thaw();
    done()
}

pub async fn name_moment(State(control): State<Control>, Path(name): Path<String>) -> Answer {
    control.name_moment(&name);
    done()
}

/// How often a comment comes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    milliseconds: u64,
}

pub async fn set_heartbeat(State(control): State<Control>, Json(interval): Json<Interval>) -> Answer {
    if interval.milliseconds == 0 {
        return Err(Problem::invalid("'milliseconds' must be more than 0"));
    }
    control.set_heartbeat(Duration::from_millis(interval.milliseconds));
    done()
}

pub async fn reconnect_relays(State(control): State<Control>) -> Answer {
    control.reconnect_relays();
    done()
}
