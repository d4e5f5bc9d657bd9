//! PURE. What a change makes of an event for SDKs and relays: from before and after to what LaunchDarkly's streams send.
//!
//! Sources: `launchdarkly.md` 7.1 and 7.4, checked in LaunchDarkly's Go SDK (`streaming_data_source_events.go`) and relay
//! (`internal/autoconfig/stream_messages.go`).

use axum::body::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::drill::launchdarkly::account::filter::PayloadFilter;
use crate::drill::launchdarkly::account::flag::version;
use crate::drill::launchdarkly::account::identity::Statement;
use crate::drill::launchdarkly::account::identity::statements_allow;
use crate::drill::launchdarkly::account::news::News;
use crate::drill::launchdarkly::account::record::record_of;
use crate::drill::launchdarkly::account::record::record_version;

/// A comment, which keeps connections alive.
pub const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// Tells relays to drop their automatic configuration stream and to open it again.
pub const RECONNECT: Bytes = Bytes::from_static(b"event: reconnect\ndata: {}\n\n");

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Everything there is.
    Put { data: Value },
    /// One thing as it is now.
    Patch { path: String, data: Value },
    /// One thing is gone, as of this version.
    Delete { path: String, version: u64 },
}

impl Event {
    /// As it is sent.
    pub fn text(&self) -> Bytes {
        let (name, data) = match self {
            Event::Put { data } => ("put", json!({ "path": "/", "data": data })),
            Event::Patch { path, data } => ("patch", json!({ "path": path, "data": data })),
            Event::Delete { path, version } => ("delete", json!({ "path": path, "version": version })),
        };
        Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
    }
}

/// Whether SDKs get the flag at all: it is not archived, and in the part that they asked for.
pub fn is_delivered(flag: &Value, filter: Option<&PayloadFilter>) -> bool {
    flag.get("archived") != Some(&json!(true)) && filter.is_none_or(|filter| filter.fits(flag))
}

/// What the SDKs of an environment hear of a change of a flag. A flag that is archived, or that leaves the part that they
/// asked for, is gone for them. `None`: it is nothing to them.
pub fn of_flag(
    key: &str,
    environment: &str,
    filter: Option<&PayloadFilter>,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Option<Event> {
    let record = |flag: &Value| is_delivered(flag, filter).then(|| record_of(flag, environment)).flatten();
    let path = format!("/flags/{key}");
    match (before.and_then(record), after.and_then(record)) {
        (Some(before), Some(after)) if before == after => None,
        (_, Some(data)) => Some(Event::Patch { path, data }),
        (Some(_), None) => {
            let gone_at = || before.map_or(0, |flag| version(flag, environment)) + 1;
            Some(Event::Delete { path, version: after.map_or_else(gone_at, |flag| version(flag, environment)) })
        }
        (None, None) => None,
    }
}

/// What the SDKs of its environment hear of a change of a segment.
pub fn of_segment(key: &str, before: Option<&Value>, after: Option<&Value>) -> Option<Event> {
    let path = format!("/segments/{key}");
    match (before, after) {
        (_, Some(after)) if before != Some(after) => Some(Event::Patch { path, data: after.clone() }),
        (Some(before), None) => Some(Event::Delete { path, version: record_version(before) + 1 }),
        _ => None,
    }
}

/// What a relay with automatic configuration hears. `policy` says which environments it may have.
pub fn of_configuration(news: &News, policy: &[Statement]) -> Option<Event> {
    let (path, before, after) = match news {
        News::Environment { project, environment, before, after } if may_have(policy, project, environment) => {
            let id = before.as_ref().or(after.as_ref()).and_then(|shown| shown.get("envID")).and_then(Value::as_str);
            (format!("/environments/{}", id.unwrap_or_default()), before, after)
        }
        News::Filter { id, before, after, .. } => (format!("/filters/{id}"), before, after),
        _ => return None,
    };
    match (before, after) {
        (_, Some(data)) => Some(Event::Patch { path, data: data.clone() }),
        (Some(before), None) => Some(Event::Delete { path, version: record_version(before) + 1 }),
        (None, None) => None,
    }
}

/// Whether a relay with this policy may have the environment.
pub fn may_have(policy: &[Statement], project: &str, environment: &str) -> bool {
    statements_allow(policy, "viewEnvironment", &format!("proj/{project}:env/{environment}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::drill::launchdarkly::account::flag::complete_configuration;
    use crate::drill::launchdarkly::account::flag::new_flag;
    use crate::drill::launchdarkly::account::identity::Effect;

    fn flag(on: bool, version: u64) -> Value {
        let mut flag = new_flag("shop", "checkout", &[json!(true), json!(false)], 0);
        flag["tags"] = json!(["web"]);
        for environment in ["production", "staging"] {
            complete_configuration(&mut flag, ["shop", environment, "checkout"], 0);
        }
        flag["environments"]["production"]["on"] = json!(on);
        flag["environments"]["production"]["version"] = json!(version);
        flag
    }

    fn archived(version: u64) -> Value {
        let mut flag = flag(true, version);
        flag["archived"] = json!(true);
        flag
    }

    fn web() -> PayloadFilter {
        PayloadFilter { flags: Vec::new(), tags: vec!["web".to_owned()] }
    }

    #[track_caller]
    fn case(filter: Option<&PayloadFilter>, before: Option<Value>, after: Option<Value>, expected: Option<Event>) {
        assert_eq!(of_flag("checkout", "production", filter, before.as_ref(), after.as_ref()), expected);
    }

    fn patch(flag: &Value) -> Option<Event> {
        Some(Event::Patch { path: "/flags/checkout".to_owned(), data: record_of(flag, "production").unwrap() })
    }

    fn delete(version: u64) -> Option<Event> {
        Some(Event::Delete { path: "/flags/checkout".to_owned(), version })
    }

    #[test]
    fn changes_of_flags() {
        let (on, off) = (flag(true, 42), flag(false, 43));
        case(None, Some(on.clone()), Some(off.clone()), patch(&off));
        case(None, None, Some(on.clone()), patch(&on));
        case(None, Some(on.clone()), None, delete(43));
        case(None, Some(on.clone()), Some(archived(43)), delete(43));
        case(None, Some(archived(43)), Some(flag(true, 44)), patch(&flag(true, 44)));
        case(None, Some(archived(43)), None, None);
        case(None, Some(on.clone()), Some(on), None);
    }

    #[test]
    fn another_environment_hears_nothing() {
        let event = of_flag("checkout", "staging", None, Some(&flag(true, 42)), Some(&flag(false, 43)));
        assert_eq!(event, None);
    }

    #[test]
    fn what_enters_and_leaves_a_part() {
        let mut without = flag(true, 43);
        without["tags"] = json!([]);
        case(Some(&web()), Some(flag(true, 42)), Some(without.clone()), delete(43));
        case(Some(&web()), Some(without.clone()), Some(flag(true, 44)), patch(&flag(true, 44)));
        case(Some(&web()), Some(without.clone()), None, None);
        case(None, Some(flag(true, 42)), Some(without.clone()), patch(&without));
    }

    #[test]
    fn changes_of_segments() {
        let segment = |version: u64| json!({ "key": "testers", "version": version });
        let path = || "/segments/testers".to_owned();
        let of = |before: Option<u64>, after: Option<u64>| {
            of_segment("testers", before.map(segment).as_ref(), after.map(segment).as_ref())
        };
        assert_eq!(of(Some(3), Some(4)), Some(Event::Patch { path: path(), data: segment(4) }));
        assert_eq!(of(Some(3), None), Some(Event::Delete { path: path(), version: 4 }));
        assert_eq!(of(Some(3), Some(3)), None);
    }

    #[test]
    fn relays_hear_of_the_environments_that_they_may_have() {
        let policy = [Statement {
            effect: Effect::Allow,
            resources: vec!["proj/shop:env/*".to_owned()],
            actions: vec!["*".to_owned()],
        }];
        let shown = |version: u64| Some(json!({ "envID": "e1", "version": version }));
        let news = |project: &str, before: Option<Value>, after: Option<Value>| News::Environment {
            project: project.to_owned(),
            environment: "production".to_owned(),
            before,
            after,
        };
        let path = || "/environments/e1".to_owned();
        let changed = of_configuration(&news("shop", shown(1), shown(2)), &policy);
        assert_eq!(changed, Some(Event::Patch { path: path(), data: shown(2).unwrap() }));
        let removed = of_configuration(&news("shop", shown(2), None), &policy);
        assert_eq!(removed, Some(Event::Delete { path: path(), version: 3 }));
        assert_eq!(of_configuration(&news("till", shown(1), shown(2)), &policy), None);
        let flag = News::Flag {
            project: "shop".to_owned(),
            key: "checkout".to_owned(),
            before: None,
            after: Some(Arc::new(Value::Null)),
        };
        assert_eq!(of_configuration(&flag, &policy), None);
    }

    #[test]
    fn as_it_is_sent() {
        let event = Event::Delete { path: "/flags/checkout".to_owned(), version: 43 };
        let text = "event: delete\ndata: {\"path\":\"/flags/checkout\",\"version\":43}\n\n";
        assert_eq!(event.text(), text.as_bytes());
    }
}
