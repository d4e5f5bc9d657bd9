//! The endpoints that show flags: one, and a list with filters and pages.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;

use super::call::Call;
use super::must_view;
use super::ok;
use crate::drill::launchdarkly::account::Project;
use crate::drill::launchdarkly::account::audit::encoded;
use crate::drill::launchdarkly::account::flag::list;
use crate::drill::launchdarkly::account::flag::text;
use crate::drill::launchdarkly::account::shown;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;
use crate::drill::launchdarkly::shared::Shared;

/// LaunchDarkly's page size where none is asked for.
const PAGE_DEFAULT: usize = 20;

/// The largest page that is given.
const PAGE_MAX: usize = 100;

pub async fn get_flag(
    State(ld): State<Arc<Shared>>,
    Path((project, flag)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    must_view(&call, &project)?;
    let (flag, names) = {
        let account = ld.account();
        let found = account.project(&project)?;
        let wanted = call.parameters("env");
        let names = if wanted.is_empty() { found.environment_names() } else { named(found, &wanted)? };
        (Arc::clone(found.flag(&flag)?), names)
    };
    ok(&shown(&project, &names, &flag, false))
}

/// Key and name of these environments.
fn named(project: &Project, keys: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let one = |key: &&str| project.environment(key).map(|found| (found.key.clone(), found.name.clone()));
    keys.iter().map(one).collect()
}

/// The filters of a list that a rehearsal needs; an unknown one is refused, as LaunchDarkly does.
#[derive(Default)]
struct Filter<'a> {
    environments: Vec<&'a str>,
    query: Option<String>,
    tags: Vec<&'a str>,
    kept: Kept,
    temporary: Option<bool>,
}

/// Which flags are listed. LaunchDarkly's own list leaves archived flags out.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kept {
    #[default]
    Live,
    Deprecated,
    Archived,
}

impl<'a> Filter<'a> {
    fn of(call: &'a Call) -> Result<Self, Problem> {
        let mut environments = call.parameters("env");
        environments.extend(call.parameters("filterEnv"));
        let kept = if call.switch("archived")? { Kept::Archived } else { Kept::Live };
        let mut filter = Self { environments, kept, tags: call.parameters("tag"), ..Self::default() };
        for part in call.parameter("filter").into_iter().flat_map(|filter| filter.split(',')) {
            match part.split_once(':').map(|(name, value)| (name.trim(), value)) {
                Some(("filterEnv", value)) => filter.environments.push(value),
                Some(("query", value)) => filter.query = Some(value.to_lowercase()),
                Some(("tags", value)) => filter.tags.extend(value.split('+')),
                Some(("state", "archived") | ("archived", "true")) => filter.kept = Kept::Archived,
                Some(("state", "live") | ("archived", "false")) => filter.kept = Kept::Live,
                Some(("state", "deprecated")) => filter.kept = Kept::Deprecated,
                Some(("type", "temporary")) => filter.temporary = Some(true),
                Some(("type", "permanent")) => filter.temporary = Some(false),
                _ => return Err(Problem::invalid(format!("unknown filter '{part}'"))),
            }
        }
        filter.environments.dedup();
        Ok(filter)
    }

    fn fits(&self, flag: &Value) -> bool {
        let has = |name: &str, wanted: &str| text(flag, name).to_lowercase().contains(wanted);
        let tags = list(flag.get("tags"));
        let is = |name: &str| flag.get(name) == Some(&json!(true));
        let kept = match self.kept {
            Kept::Live => !is("archived"),
            Kept::Deprecated => !is("archived") && is("deprecated"),
            Kept::Archived => is("archived"),
        };
        kept && self.temporary.is_none_or(|wanted| is("temporary") == wanted)
            && self.query.as_ref().is_none_or(|wanted| has("key", wanted) || has("name", wanted))
            && self.tags.iter().all(|tag| tags.contains(&json!(tag)))
    }
}

pub async fn list_flags(
    State(ld): State<Arc<Shared>>,
    Path(project): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    must_view(&call, &project)?;
    let filter = Filter::of(&call)?;
    let limit = call.number("limit")?.unwrap_or(PAGE_DEFAULT);
    let offset = call.number("offset")?.unwrap_or(0);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid(format!("limit must be between 1 and {PAGE_MAX}")));
    }
    let (page, total, names) = {
        let account = ld.account();
        let found = account.project(&project)?;
        let mut fitting: Vec<&Arc<Value>> = found.flags.values().filter(|flag| filter.fits(flag)).collect();
        sort(&mut fitting, call.parameter("sort"))?;
        let page: Vec<Arc<Value>> = fitting.iter().skip(offset).take(limit).map(|&flag| Arc::clone(flag)).collect();
        (page, fitting.len(), named(found, &filter.environments)?)
    };
    let summary = !matches!(call.parameter("summary"), Some("0" | "false"));
    let items: Vec<Value> = page.iter().map(|flag| shown(&project, &names, flag, summary)).collect();
    let kept = call.query.iter().filter(|(name, _)| name != "offset" && name != "limit");
    let kept: String = kept.map(|(name, value)| format!("&{}={}", encoded(name), encoded(value))).collect();
    let links = page_links(&format!("/api/v2/flags/{project}"), &kept, offset, limit, total);
    ok(&json!({ "items": items, "totalCount": total, "_links": links }))
}

/// Sorts as asked: by a field, the other way round where its name begins with `-`.
fn sort(flags: &mut [&Arc<Value>], by: Option<&str>) -> Result<(), Problem> {
    let Some(by) = by else { return Ok(()) };
    let (field, turned) = by.strip_prefix('-').map_or((by, false), |field| (field, true));
    match field {
        "key" | "name" => flags.sort_by(|one, other| text(one, field).cmp(text(other, field))),
        "creationDate" => flags.sort_by_key(|flag| flag.get(field).and_then(Value::as_i64)),
        _ => return Err(Problem::invalid(format!("the simulated LaunchDarkly can not sort by '{field}'"))),
    }
    if turned {
        flags.reverse();
    }
    Ok(())
}

/// `self`, and `first`, `prev`, `next`, `last` where there is such a page. `kept`: the other parameters.
pub fn page_links(path: &str, kept: &str, offset: usize, limit: usize, total: usize) -> Value {
    let page = |offset: usize| link(format!("{path}?limit={limit}&offset={offset}{kept}"));
    let mut links = json!({ "self": page(offset) });
    if offset > 0 {
        links["first"] = page(0);
        links["prev"] = page(offset.saturating_sub(limit));
    }
    let limit_or_one = limit.max(1);
    if offset.saturating_add(limit) < total {
        links["next"] = page(offset.saturating_add(limit));
        links["last"] = page((total - 1) / limit_or_one * limit_or_one);
    }
    links
}
