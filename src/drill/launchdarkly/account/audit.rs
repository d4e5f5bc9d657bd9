//! The account's audit log: who changed what, when, with which comment. Must not know how a change is made.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;
use serde_json::json;

use super::flag::View;
use super::identifier::fresh_object;
use super::identity::Caller;
use super::identity::glob;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// How many entries are kept; the oldest are forgotten first.
const ENTRIES_MAX: usize = 100_000;

/// LaunchDarkly's limits of one page.
const PAGE_MAX: usize = 20;
const PAGE_DEFAULT: usize = 10;

/// Where a change was made.
#[derive(Debug, Clone)]
pub struct Place {
    pub project: String,
    /// Key and name; `None` where the change is the flag's own.
    pub environment: Option<(String, String)>,
    /// The names of all environments of the project, to show the flag as it was.
    pub environments: Vec<(String, String)>,
    pub flag: String,
    pub flag_name: String,
}

impl Place {
    /// The resource specifier, as roles and `spec` name it.
    pub fn resource(&self) -> String {
        let environment = self.environment.as_ref().map_or("*", |(key, _)| key.as_str());
        format!("proj/{}:env/{environment}:flag/{}", self.project, self.flag)
    }
}

/// One entry of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: String,
    pub date: i64,
    pub place: Place,
    pub actions: Vec<&'static str>,
    pub verb: &'static str,
    pub comment: String,
    pub caller: Caller,
    pub before: Option<Arc<Value>>,
    pub after: Option<Arc<Value>>,
    /// The body of a JSON patch.
    pub delta: Option<Value>,
}

/// What a listing asks for.
#[derive(Debug, Default, Clone)]
pub struct Query {
    pub spec: Option<String>,
    pub text: Option<String>,
    pub after: Option<i64>,
    pub before: Option<i64>,
    pub limit: Option<usize>,
}

/// The log, oldest entry first. Dates go strictly up, so that a page can go on where another ended.
#[derive(Debug, Default)]
pub struct AuditLog {
    entries: VecDeque<Arc<Entry>>,
}

impl AuditLog {
    /// Adds an entry; its date is moved behind the last one's.
    pub fn add(&mut self, mut entry: Entry) {
        let last = self.entries.back().map_or(i64::MIN, |last| last.date);
        entry.date = entry.date.max(last.saturating_add(1));
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::new(entry));
    }

    pub fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.entries.iter().rev().find(|entry| entry.id == id).cloned()
    }

    /// The entries of one page, newest first, and whether more follow.
    pub fn page(&self, query: &Query) -> Result<(Vec<Arc<Entry>>, bool), Problem> {
        let limit = query.limit.unwrap_or(PAGE_DEFAULT);
        if !(1..=PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid(format!("limit must be between 1 and {PAGE_MAX}")));
        }
        let newest_first = self.entries.iter().rev();
        let in_time = newest_first
            .skip_while(|entry| query.before.is_some_and(|before| entry.date >= before))
            .take_while(|entry| query.after.is_none_or(|after| entry.date > after));
        let mut found = in_time.filter(|entry| entry.fits(query));
        let page: Vec<Arc<Entry>> = found.by_ref().take(limit).cloned().collect();
        Ok((page, found.next().is_some()))
    }
}

/// The answer of a listing.
pub fn listing(query: &Query, page: &[Arc<Entry>], more: bool, account: &str) -> Value {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT);
    let href = |before: Option<i64>| {
        let mut href = format!("/api/v2/auditlog?limit={limit}");
        let number = |name: &str, value: Option<i64>| value.map_or(String::new(), |value| format!("&{name}={value}"));
        href += &number("before", before);
        href += &number("after", query.after);
        for (name, value) in [("spec", &query.spec), ("q", &query.text)] {
            if let Some(value) = value {
                href += &format!("&{name}={}", encoded(value));
            }
        }
        link(href)
    };
    let mut links = json!({ "self": href(query.before) });
    if more && let Some(last) = page.last() {
        links["next"] = href(Some(last.date));
    }
    let items: Vec<Value> = page.iter().map(|entry| entry.listed(account)).collect();
    json!({ "items": items, "_links": links })
}

/// The value of a query parameter, percent-encoded.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Entry {
    /// An entry that is about to be added.
    pub fn new(date: i64, place: Place, actions: Vec<&'static str>, verb: &'static str, caller: Caller) -> Self {
        let comment = String::new();
        Self { id: fresh_object(), date, place, actions, verb, comment, caller, before: None, after: None, delta: None }
    }

    fn fits(&self, query: &Query) -> bool {
        let resource = self.place.resource();
        let spec_fits = query.spec.as_ref().is_none_or(|spec| glob(spec, &resource) || covers(&resource, spec));
        let text_fits = query.text.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            [&self.place.flag, &self.place.flag_name, &self.comment]
                .iter()
                .any(|it| it.to_lowercase().contains(&wanted))
        });
        spec_fits && text_fits
    }

    fn title(&self) -> String {
        let member = self.caller.member();
        let Place { project, flag, flag_name, .. } = &self.place;
        let (key, name) = self.place.environment.clone().unwrap_or_else(|| ("~".to_owned(), String::new()));
        let within = if name.is_empty() { String::new() } else { format!(" in {name}") };
        let href = format!("https://app.launchdarkly.com/{project}/{key}/features/{flag}");
        format!("[{}](mailto:{}) {} [{flag_name}]({href}){within}", member.first_name, member.email, self.verb)
    }

    /// As it stands in a list.
    pub fn listed(&self, account: &str) -> Value {
        let place = &self.place;
        let resource = place.resource();
        let accesses: Vec<Value> =
            self.actions.iter().map(|action| json!({ "action": action, "resource": resource })).collect();
        let flag_href = format!("/api/v2/flags/{}/{}", place.project, place.flag);
        let mut shown = json!({
            "_links": {
                "canonical": link(&flag_href),
                "parent": link("/api/v2/auditlog"),
                "self": link(format!("/api/v2/auditlog/{}", self.id)),
                "site": { "href": format!("/{}/~/features/{}", place.project, place.flag), "type": "text/html" },
            },
            "_id": self.id, "_accountId": account, "date": self.date, "accesses": accesses, "kind": "flag",
            "name": place.flag_name,
            "description": "", "shortDescription": "",
            "subject": { "name": self.caller.member().first_name },
            "member": self.caller.member().in_audit(),
            "titleVerb": self.verb, "title": self.title(),
            "target": { "_links": { "canonical": link(&flag_href) }, "name": place.flag_name, "resources": [resource] },
        });
        if !self.comment.is_empty() {
            shown["comment"] = json!(self.comment);
        }
        if let Caller::Token(token) = &self.caller {
            shown["token"] = token.in_audit();
        }
        if let Some((key, name)) = &place.environment {
            shown["parent"] = json!({ "name": name, "resource": format!("proj/{}:env/{key}", place.project) });
        }
        shown
    }

    /// The whole entry, with the flag before and after.
    pub fn whole(&self, account: &str) -> Value {
        let mut shown = self.listed(account);
        let environments = self.place.environments.iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
        let view = View { project: &self.place.project, environments, summary: false };
        for (name, version) in [("previousVersion", &self.before), ("currentVersion", &self.after)] {
            if let Some(flag) = version {
                shown[name] = view.of(flag);
            }
        }
        if let Some(delta) = &self.delta {
            shown["delta"] = delta.clone();
        }
        shown
    }
}

/// Whether a change of the flag as a whole (`env/*`) is also a change of the one place that was asked for.
fn covers(resource: &str, spec: &str) -> bool {
    resource.contains(":env/*:") && glob(resource, spec)
}

#[cfg(test)]
mod tests {
    use super::super::identity::Member;
    use super::*;

    fn log_of(count: i64) -> AuditLog {
        let mut log = AuditLog::default();
        for number in 0..count {
            let place = Place {
                project: "shop".to_owned(),
                environment: Some(("production".to_owned(), "Production".to_owned())),
                environments: Vec::new(),
                flag: format!("flag-{}", number % 2),
                flag_name: "A flag".to_owned(),
            };
            let caller = Caller::Dashboard(Member::named("carol"));
            // All at the same time: dates are moved apart.
            log.add(Entry::new(1_000, place, vec!["updateOn"], "turned off the flag", caller));
        }
        log
    }

    #[test]
    fn pages_join_without_gap_or_repetition() {
        let log = log_of(45);
        let mut query = Query { limit: Some(20), ..Query::default() };
        let mut dates = Vec::new();
        loop {
            let (page, more) = log.page(&query).unwrap();
            dates.extend(page.iter().map(|entry| entry.date));
            if !more {
                break;
            }
            query.before = page.last().map(|entry| entry.date);
        }
        let expected: Vec<i64> = (1_000..1_045).rev().collect();
        assert_eq!(dates, expected);
    }

    #[test]
    fn spec_time_and_limits() {
        let log = log_of(6);
        let spec = Some("proj/shop:env/production:flag/flag-1".to_owned());
        let (page, more) = log.page(&Query { spec, after: Some(1_001), ..Query::default() }).unwrap();
        assert_eq!(page.iter().map(|entry| entry.date).collect::<Vec<i64>>(), [1_005, 1_003]);
        assert!(!more);
        assert_eq!(log.page(&Query { limit: Some(21), ..Query::default() }).unwrap_err().status, 400);
    }
}
