//! [`Control`] over HTTP, below `/_drill/`, so that other programs can drive a rehearsal. Answered on a port of its own,
//! which no fault touches, and on the API's port too.
//!
//! | request | does |
//! |---|---|
//! | `GET /_drill/` | faults, limits, how many requests arrived |
//! | `POST /_drill/faults` | sets a fault: `{"fault": "status", "status": 503, "method": "PATCH", "path": "/api/v2/flags/*", "times": 2, "applied": false}`; other faults: `refuse`, `reset`, `close`, `blackHole`, `slow` and `clockSkew` (`milliseconds`), `garbage` |
//! | `DELETE /_drill/faults` | takes all back |
//! | `PUT /_drill/limits` | `{"account": 100, "route": 5, "windowMilliseconds": 10000, "answer": "reset"}` (or `retryAfter`, `silent`) |
//! | `GET`, `DELETE /_drill/received` | the requests that arrived; forgets them |
//! | `GET /_drill/flags/{project}/{environment}/{flag}` | its configuration, and its record as SDKs get it |
//! | `POST` same | a colleague's change: `{"instructions": […], "member": "carol", "comment": "…"}` |
//! | `DELETE` same | a colleague deletes the flag |
//! | `POST …/schedule`, `DELETE …/schedule` | marks a change as scheduled: `{"instructions": […]}`; takes it away |
//! | `GET …/approvals` | ids of open approval requests |
//! | `POST /_drill/approvals/{id}/{approve, decline or apply}` | a colleague does so: `{"member": "carol"}` |
//!
//! Only loopback is answered, only a loopback `Host` (a page in a browser may resolve its own name to 127.0.0.1), and
//! bodies only as `application/json` (which such a page may not send unasked).

use axum::Json;
use axum::Router;
use axum::extract::Path;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header;
use axum::middleware::Next;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use axum::routing::put;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::answer::Problem;
use super::answer::json_answer;
use super::control::Control;
use super::control::SdkFlag;
use super::fault::Fault;
use super::fault::FaultError;
use super::limit::Limits;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

type Answer = Result<Response, Problem>;

pub(super) fn router(control: Control) -> Router {
    const FLAG: &str = "/_drill/flags/{project}/{environment}/{flag}";
    Router::new()
        .route("/_drill/", get(overview))
        .route("/_drill/faults", post(set_fault).delete(clear_faults))
        .route("/_drill/limits", put(set_limits))
        .route("/_drill/received", get(received).delete(forget_received))
        .route(FLAG, get(flag).post(change).delete(delete))
        .route(&format!("{FLAG}/schedule"), post(schedule).delete(unschedule))
        .route(&format!("{FLAG}/approvals"), get(approvals))
        .route("/_drill/approvals/{id}/{verb}", post(decide))
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

fn done() -> Answer {
    Ok(json_answer(200, &json!({})))
}

fn refused(error: &FaultError) -> Problem {
    Problem::invalid(error.to_string())
}

async fn overview(State(control): State<Control>) -> Answer {
    let shown = json!({
        "faults": control.faults(), "limits": control.limits(), "received": control.received().len(),
    });
    Ok(json_answer(200, &shown))
}

async fn set_fault(State(control): State<Control>, Json(fault): Json<Fault>) -> Answer {
    control.fault(fault).await.map_err(|error| refused(&error))?;
    done()
}

async fn clear_faults(State(control): State<Control>) -> Answer {
    control.clear_faults().await.map_err(|error| refused(&error))?;
    done()
}

async fn set_limits(State(control): State<Control>, Json(limits): Json<Limits>) -> Answer {
    control.limit(limits);
    done()
}

async fn received(State(control): State<Control>) -> Answer {
    Ok(json_answer(200, &json!({ "items": control.received() })))
}

async fn forget_received(State(control): State<Control>) -> Answer {
    control.forget_received();
    done()
}

type Place = Path<(String, String, String)>;

fn place((project, environment, flag): (String, String, String)) -> Result<(Environment, FlagKey), Problem> {
    let environment = format!("{project}/{environment}").parse();
    let environment = environment.map_err(|_| Problem::not_found())?;
    Ok((environment, flag.parse().map_err(|_| Problem::not_found())?))
}

async fn flag(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    let record = match control.sdk_flag(&environment, &flag)? {
        SdkFlag::Record(record) => record,
        SdkFlag::Gone { version } => json!({ "deleted": true, "version": version }),
    };
    let configuration = control.configuration(&environment, &flag).unwrap_or_default();
    Ok(json_answer(200, &json!({ "configuration": configuration, "record": record })))
}

/// What a colleague does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deed {
    #[serde(default)]
    instructions: Vec<Value>,
    #[serde(default = "a_colleague")]
    member: String,
    #[serde(default)]
    comment: String,
}

fn a_colleague() -> String {
    "a colleague".to_owned()
}

async fn change(State(control): State<Control>, Path(path): Place, Json(deed): Json<Deed>) -> Answer {
    let (environment, flag) = place(path)?;
    let version = control.colleague_patches(&environment, &flag, &deed.instructions, &deed.member, &deed.comment)?;
    Ok(json_answer(200, &json!({ "version": version })))
}

async fn delete(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    control.delete_flag(&environment, &flag, &a_colleague())?;
    done()
}

async fn schedule(State(control): State<Control>, Path(path): Place, Json(deed): Json<Deed>) -> Answer {
    let (environment, flag) = place(path)?;
    control.schedule(&environment, &flag, &deed.instructions)?;
    done()
}

async fn unschedule(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    control.unschedule(&environment, &flag);
    done()
}

async fn approvals(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    Ok(json_answer(200, &json!({ "items": control.open_approvals(&environment, &flag) })))
}

async fn decide(
    State(control): State<Control>,
    Path((id, verb)): Path<(String, String)>,
    Json(deed): Json<Deed>,
) -> Answer {
    match verb.as_str() {
        "approve" | "decline" => control.colleague_reviews(&id, &verb, &deed.member)?,
        "apply" => {
            control.colleague_applies(&id, &deed.member)?;
        }
        _ => return Err(Problem::not_found()),
    }
    done()
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
