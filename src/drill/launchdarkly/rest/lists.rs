//! The endpoints that list projects, environments and tokens, in pages.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::call::Call;
use super::flags::page_links;
use super::must_view;
use super::ok;
use crate::drill::launchdarkly::account::identity::Role;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::shared::Shared;

type Ld = State<Arc<Shared>>;
type Answer = Result<Response, Problem>;

/// LaunchDarkly's page sizes where none is asked for.
const PAGE_DEFAULT: usize = 20;
const TOKENS_DEFAULT: usize = 25;

/// One page of all that there is.
fn page(call: &Call, path: &str, page_default: usize, all: Vec<Value>) -> Answer {
    let (limit, offset) = (call.number("limit")?.unwrap_or(page_default), call.number("offset")?.unwrap_or(0));
    if limit == 0 {
        return Err(Problem::invalid("limit must be at least 1"));
    }
    let total = all.len();
    let items: Vec<Value> = all.into_iter().skip(offset).take(limit).collect();
    ok(&json!({ "items": items, "totalCount": total, "_links": page_links(path, "", offset, limit, total) }))
}

pub async fn projects(State(ld): Ld, call: Call) -> Answer {
    let account = ld.account();
    let seen = account.projects.values().filter(|project| must_view(&call, &project.key).is_ok());
    page(&call, "/api/v2/projects", PAGE_DEFAULT, seen.map(|project| project.representation()).collect())
}

pub async fn environments(State(ld): Ld, Path(project): Path<String>, call: Call) -> Answer {
    must_view(&call, &project)?;
    let account = ld.account();
    let environments = account.project(&project)?.environments.values();
    let path = format!("/api/v2/projects/{project}/environments");
    page(&call, &path, PAGE_DEFAULT, environments.map(|one| one.representation(&project)).collect())
}

/// A personal token sees its member's tokens and those of services, a service token those of services, and an
/// administrator's sees all if it asks to. Source: the operation `getTokens`, and `launchdarkly.md` 5.
pub async fn tokens(State(ld): Ld, call: Call) -> Answer {
    let all = call.switch("showAll")? && matches!(call.token.role, Role::Admin);
    let account = ld.account();
    let own = |member: &str| !call.token.service && member == call.token.member.id;
    let seen = account.tokens.values().filter(|token| all || token.service || own(&token.member.id));
    let mut shown: Vec<Value> = seen.map(|token| token.representation(&account.id)).collect();
    shown.sort_by_key(|token| token.get("_id").map(Value::to_string));
    page(&call, "/api/v2/tokens", TOKENS_DEFAULT, shown)
}
