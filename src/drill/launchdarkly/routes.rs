//! The endpoints of the simulated REST API. Each reads its request, asks the account, and answers in the form of
//! LaunchDarkly's OpenAPI description. Must not know faults, connections or limits.

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

use super::account::shown;
use super::answer::Problem;
use super::answer::json_answer;
use super::answer::link;
use super::approval::Scope;
use super::audit;
use super::call::API_VERSIONS;
use super::call::Call;
use super::flag::text;
use super::flags;
use super::json_patch;
use super::patch::Change;
use super::patch::Patch;
use super::shared::Shared;
use super::shared::now_ms;

/// The current API version, and the default of every token.
pub(super) const API_VERSION: u32 = API_VERSIONS[0];

type Ld = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// All endpoints.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    const APPROVALS: &str = "/api/v2/projects/{project}/flags/{flag}/environments/{environment}/approval-requests";
    Router::new()
        .route("/api/v2", get(root))
        .route("/api/v2/versions", get(versions))
        .route("/api/v2/caller-identity", get(caller_identity))
        .route("/api/v2/tokens/{id}", get(token))
        .route("/api/v2/projects/{project}", get(project))
        .route("/api/v2/projects/{project}/environments", get(environments))
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
        .route_layer(axum::middleware::from_fn_with_state(Arc::clone(&shared), super::limited::limited))
        .fallback(|| async { Problem::not_found() })
        .with_state(shared)
}

pub(super) fn ok(body: &Value) -> Answer {
    Ok(json_answer(200, body))
}

async fn root() -> Answer {
    let names = ["auditlog", "caller-identity", "flags", "projects", "tokens", "versions"];
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
    let environments = account
        .projects
        .values()
        .flat_map(|project| project.environments.values().map(move |environment| (project, environment)));
    for (project, environment) in environments {
        if environment.sdk_key == secret {
            return ok(&json!({
                "accountId": account.id, "authKind": "sdk", "environmentId": environment.id,
                "environmentName": environment.name, "projectId": project.id, "projectName": project.name,
            }));
        }
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

pub(super) fn must_view(call: &Call, project: &str) -> Result<(), Problem> {
    call.caller().must("viewProject", &format!("proj/{project}"))
}

async fn project(State(ld): Ld, Path(project): Path<String>, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().project(&project)?.representation())
}

async fn environments(State(ld): Ld, Path(project): Path<String>, call: Call) -> Answer {
    must_view(&call, &project)?;
    let (limit, offset) = (call.number("limit")?.unwrap_or(20), call.number("offset")?.unwrap_or(0));
    let account = ld.account();
    let environments = &account.project(&project)?.environments;
    let items: Vec<Value> =
        environments.values().skip(offset).take(limit).map(|one| one.representation(&project)).collect();
    let links =
        flags::page_links(&format!("/api/v2/projects/{project}/environments"), "", offset, limit, environments.len());
    ok(&json!({ "items": items, "totalCount": environments.len(), "_links": links }))
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
    let request = ld.account().request_approval(scope, &body, &call.caller(), now_ms())?;
    Ok(json_answer(201, &request))
}

async fn approval(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    ok(&ld.account().approval(scope(&project, &flag, &environment), &id)?)
}

async fn review(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json()?;
    let mut account = ld.account();
    let scope = scope(&project, &flag, &environment);
    let (request, patched) = account.review(scope, &id, &body, &call.caller(), now_ms())?;
    if let Some(patched) = patched {
        ld.tell(&project, &flag, &patched);
    }
    ok(&request)
}

async fn apply(State(ld): Ld, Path((project, flag, environment, id)): PlaceAndId, call: Call) -> Answer {
    must_view(&call, &project)?;
    let body = call.json_or_null()?;
    let mut account = ld.account();
    let scope = scope(&project, &flag, &environment);
    let (request, patched) = account.apply_approval(scope, &id, text(&body, "comment"), &call.caller(), now_ms())?;
    ld.tell(&project, &flag, &patched);
    ok(&request)
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
