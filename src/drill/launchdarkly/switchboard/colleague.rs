//! What colleagues do, over HTTP: to flags, approvals, segments, environments, payload filters and tokens.

use axum::Json;
use axum::extract::Path;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

use super::Answer;
use super::done;
use super::ok;
use crate::drill::launchdarkly::account::filter::PayloadFilter;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::control::Control;
use crate::drill::launchdarkly::control::SdkFlag;
use crate::drill::launchdarkly::shared::now_ms;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

type Place = Path<(String, String, String)>;

fn place((project, environment, flag): (String, String, String)) -> Result<(Environment, FlagKey), Problem> {
    let environment = format!("{project}/{environment}").parse();
    let environment = environment.map_err(|_| Problem::not_found())?;
    Ok((environment, flag.parse().map_err(|_| Problem::not_found())?))
}

pub async fn flag(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    let record = match control.sdk_flag(&environment, &flag)? {
        SdkFlag::Record(record) => record,
        SdkFlag::Gone { version } => json!({ "deleted": true, "version": version }),
    };
    let configuration = control.configuration(&environment, &flag).unwrap_or_default();
    ok(&json!({ "configuration": configuration, "record": record }))
}

/// What a colleague does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
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

pub async fn change(State(control): State<Control>, Path(path): Place, Json(deed): Json<Deed>) -> Answer {
    let (environment, flag) = place(path)?;
    let version = control.colleague_patches(&environment, &flag, &deed.instructions, &deed.member, &deed.comment)?;
    ok(&json!({ "version": version }))
}

pub async fn delete(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    control.delete_flag(&environment, &flag, &a_colleague())?;
    done()
}

pub async fn schedule(State(control): State<Control>, Path(path): Place, Json(deed): Json<Deed>) -> Answer {
    let (environment, flag) = place(path)?;
    control.schedule(&environment, &flag, &deed.instructions)?;
    done()
}

pub async fn unschedule(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    control.unschedule(&environment, &flag);
    done()
}

pub async fn approvals(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, flag) = place(path)?;
    ok(&json!({ "items": control.open_approvals(&environment, &flag) }))
}

pub async fn decide(
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

pub async fn put_segment(State(control): State<Control>, Path(path): Place, Json(record): Json<Value>) -> Answer {
    let (environment, segment) = place(path)?;
    let version = control.put_segment(&environment, &segment, &record)?;
    ok(&json!({ "version": version }))
}

pub async fn delete_segment(State(control): State<Control>, Path(path): Place) -> Answer {
    let (environment, segment) = place(path)?;
    control.delete_segment(&environment, &segment)?;
    done()
}

type EnvironmentPlace = Path<(String, String)>;

fn environment((project, environment): (String, String)) -> Result<Environment, Problem> {
    format!("{project}/{environment}").parse().map_err(|_| Problem::not_found())
}

/// An environment to add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Added {
    sdk_key: Option<String>,
}

pub async fn add_environment(
    State(control): State<Control>,
    Path(path): EnvironmentPlace,
    Json(added): Json<Added>,
) -> Answer {
    control.add_environment(&environment(path)?, added.sdk_key.as_deref())?;
    done()
}

pub async fn remove_environment(State(control): State<Control>, Path(path): EnvironmentPlace) -> Answer {
    control.remove_environment(&environment(path)?)?;
    done()
}

/// Another SDK key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reset {
    sdk_key: String,
    /// For how long the old one is still taken; none: not at all.
    old_for_milliseconds: Option<u32>,
}

pub async fn reset_sdk_key(
    State(control): State<Control>,
    Path(path): EnvironmentPlace,
    Json(reset): Json<Reset>,
) -> Answer {
    let old_expires = reset.old_for_milliseconds.map(|milliseconds| now_ms().saturating_add(i64::from(milliseconds)));
    control.reset_sdk_key(&environment(path)?, &reset.sdk_key, old_expires)?;
    done()
}

type FilterPlace = Path<(String, String)>;

pub async fn define_filter(
    State(control): State<Control>,
    Path((project, key)): FilterPlace,
    Json(definition): Json<PayloadFilter>,
) -> Answer {
    control.set_payload_filter(&project, &key, Some(definition))?;
    done()
}

pub async fn remove_filter(State(control): State<Control>, Path((project, key)): FilterPlace) -> Answer {
    control.set_payload_filter(&project, &key, None)?;
    done()
}

pub async fn revoke(State(control): State<Control>, Path(token): Path<String>) -> Answer {
    control.revoke(&token);
    done()
}
