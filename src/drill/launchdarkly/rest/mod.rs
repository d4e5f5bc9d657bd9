//! The endpoints of the simulated REST API. Each reads its request, asks the account, and answers in the form of
//! LaunchDarkly's OpenAPI description. Must not know faults, connections or limits.

mod call;
mod flags;
pub mod limit;
pub mod limited;
mod lists;

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use axum::routing::get;
use axum::routing::post;
use serde_json::Value;
use serde_json::json;

use self::call::Call;
use crate::drill::launchdarkly::account::approval::Scope;
use crate::drill::launchdarkly::account::audit;
use crate::drill::launchdarkly::account::flag::text;
use crate::drill::launchdarkly::account::identity::API_VERSION;
use crate::drill::launchdarkly::account::identity::API_VERSIONS;
use crate::drill::launchdarkly::account::json_patch;
use crate::drill::launchdarkly::account::patch::Change;
use crate::drill::launchdarkly::account::patch::Patch;
use crate::drill::launchdarkly::account::shown;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::json_answer;
use crate::drill::launchdarkly::answer::link;
use crate::drill::launchdarkly::shared::Shared;
use crate::drill::launchdarkly::shared::now_ms;

type Ld = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// All endpoints.
pub fn router(shared: Arc<Shared>) -> Router {
    const APPROVALS: &str = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests";
    Router::new()
        .route("/api/v2", get(root))
        .route("/api/v2/versions", get(versions))
        .route("/api/v2/caller-identity", get(caller_identity))
        .route("/api/v2/tokens", get(lists::tokens))
        .route("/api/v2/tokens/{id}", get(token))
        .route("/api/v2/projects", get(lists::projects))
        .route("/api/v2/projects/{project}", get(project))
        .route("/api/v2/projects/{project}/environments", get(lists::environments))
        .route("/api/v2/projects/{project}/environments/{environment}", get(environment))
        .route("/api/v2/flags/{project}", get(flags::list_flags))
        .route("/api/v2/flags/{project}/{flag}", get(flags::get_flag).patch(patch_flag).delete(delete_flag))
        .route(APPROVALS, get(approvals).post(request_approval))
        .route(&format!("{APPROVALS}/{{id}}"), get(approval))
        .route(&format!("{APPROVALS}/{{id}}/reviews"), post(review))
        .route(&format!("{APPROVALS}/{{id}}/apply"), post(apply))
        .route("/api/v2/auditlog", get(audit_log))
        .route("/api/v2/auditlog/{id}", get(audit_entry))
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), self::limited::limited))
        .fallback(|| async { Problem::not_found() })
        .with_state(shared)
}

pub fn ok(body: &Value) -> Answer {
    Ok(json_answer(200, body))
}

async fn root() -> Answer {
    let names = ["auditlog", "caller-identity", "projects", "tokens", "versions"];
    let links = names.iter().map(|name| ((*name).to_owned(), link(format!("/api/v2/{name}"))));
    let mut links: serde_json::Map<String, Value> = links.collect();
    links.insert("self".to_owned(), link("/api/v2"));
    ok(&json!({ "links": links }))
}

async fn versions(_: Call) -> Answer {
    let versions = json!({
        "validVersions": API_VERSIONS, "latestVersion": API_VERSION, "currentVersion": API_VERSION, "beta": false,
    });
    ok(&versions)
}

/// Answers an SDK key too, with the environment that it belongs to.
async fn caller_identity(State(ld): Ld, headers: HeaderMap, call: Result<Call, Problem>) -> Answer {
    let secret = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let account = ld.account();
    if let Some((project, environment)) = account.with_sdk_key(secret, now_ms()) {
        return ok(&json!({
            "accountId": account.id, "authKind": "sdk", "environmentId": environment.id,
            "environmentName": environment.name, "projectId": project.id, "projectName": project.name,
        }));
    }
    ok(&call?.token.caller_identity(&account.id))
}

async fn token(State(ld): Ld, Path(id): Path<String>, call: Call) -> Answer {
    call.caller().must("viewToken", "member/*:token/*").or_else(|problem| {
        // Everybody may look at his own.
        if call.token.id == id { Ok(()) } else { Err(problem) }
    })?;
    let account = ld.account();
    let token = account.tokens.values().find(|token| token.id == id).ok_or_else(Problem::not_found)?;
    ok(&token.representation(&account.id))
}

pub fn must_view(call: &Call, project: &str) -> Result<(), Problem> {
    call.caller().must("viewProject", &format!("proj/{project}"))
}

async fn project(State(ld): Ld, Path(project): Path<String>, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().project(&project)?.representation())
}

async fn environment(State(ld): Ld, Path((project, key)): Path<(String, String)>, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().project(&project)?.environment(&key)?.representation(&project))
}

async fn patch_flag(State(ld): Ld, Path((project, flag)): Path<(String, String)>, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json()?;
    let (change, comment) = if call.semantic {
        let instructions = body.get("instructions").and_then(Value::as_array);
        let instructions = instructions.ok_or_else(|| Problem::invalid("Invalid request body: no 'instructions'"))?;
        let environment = body.get("environmentKey").and_then(Value::as_str);
        (Change::Semantic { environment, instructions }, text(&body, "comment"))
    } else {
        let (operations, comment) = json_patch::operations(&body)?;
        (Change::Json(operations), comment)
    };
    let patched = ld.patch(&Patch {
        project: &project,
        flag: &flag,
        change,
        comment,
        caller: &call.caller(),
        dry_run: call.switch("dryRun")?,
        ignore_conflicts: call.switch("ignoreConflicts")?,
        approved: false,
        now: now_ms(),
    })?;
    let names = ld.account().project(&project)?.environment_names();
    ok(&shown(&project, &names, &patched.flag, false))
}

async fn delete_flag(State(ld): Ld, Path((project, flag)): Path<(String, String)>, call: Call) -> Answer {
    must_view(&call, &project)?;
    ld.patch(&Patch {
        project: &project,
        flag: &flag,
        change: Change::Delete,
        comment: "",
        caller: &call.caller(),
        dry_run: false,
        ignore_conflicts: false,
        approved: false,
        now: now_ms(),
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

type Place = Path<(String, String, String)>;
type PlaceAndId = Path<(String, String, String, String)>;

fn scope<'a>(project: &'a str, flag: &'a str, environment: &'a str) -> Scope<'a> {
    Scope { project, flag, environment }
}

async fn approvals(State(ld): Ld, Path((project, flag, environment)): Place, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().approvals_of(scope(&project, &flag, &environment))?)
}

async fn request_approval(State(ld): Ld, Path((project, flag, environment)): Place, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json()?;
    let scope = scope(&project, &flag, &environment);
    let request = ld.edit(|account| account.request_approval(scope, &body, &call.caller(), now_ms()))?;
    Ok(json_answer(201, &request))
}

async fn approval(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().approval(scope(&project, &flag, &environment), &id)?)
}

async fn review(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json()?;
    let scope = scope(&project, &flag, &environment);
    ok(&ld.edit(|account| account.review(scope, &id, &body, &call.caller(), now_ms()))?)
}

async fn apply(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json_or_null()?;
    let scope = scope(&project, &flag, &environment);
    let comment = text(&body, "comment");
    let applied = ld.edit(|account| account.apply_approval(scope, &id, comment, &call.caller(), now_ms()));
    ok(&applied?.0)
}

async fn audit_log(State(ld): Ld, call: Call) -> Answer {
    let query = audit::Query {
        spec: call.parameter("spec").map(str::to_owned),
        text: call.parameter("q").map(str::to_owned),
        after: call.number("after")?,
        before: call.number("before")?,
        limit: call.number("limit")?,
    };
    let account = ld.account();
    let (page, more) = account.audit.page(&query)?;
    let id = account.id.clone();
    // The entries are shared: they are written out without holding the account.
    drop(account);
    ok(&audit::listing(&query, &page, more, &id))
}

async fn audit_entry(State(ld): Ld, Path(id): Path<String>, _call: Call) -> Answer {
    let account = ld.account();
    let entry = account.audit.get(&id).ok_or_else(Problem::not_found)?;
    let account_id = account.id.clone();
    drop(account);
    ok(&entry.whole(&account_id))
}
