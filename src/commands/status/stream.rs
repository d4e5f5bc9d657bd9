//! LaunchDarkly's stream by the word of guards and relays, and the relays before each target. Pure. They say these things,
//! not we: nothing here was tried.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::target::Target;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::guards::RelayFacts;
use crate::commands::relays::Configurations;
use crate::commands::relays::Relay;
use crate::commands::status::report::RelayReport;
use crate::commands::status::report::Return;
use crate::commands::status::report::Stream;
use crate::commands::status::report::StreamState;
use crate::guard::presence::Presence;
use crate::relay::judgement;
use crate::relay::judgement::OnReturn;
use crate::relay::pairing;
use crate::relay::pairing::RelayPlace;
use crate::relay::pairing::StorePlace;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::RelayStatus;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// The most relays that a sentence names.
const NAMED_MAX: usize = 4;

/// What guards and relays say of LaunchDarkly's stream. A relay that hangs on a guard, or may, is not asked whether it is
/// connected: it would say so of the guard.
pub(super) fn stream(guards: &[&Presence], relays: &[Relay], behind: &BTreeSet<String>, now: Timestamp) -> Stream {
    let mut stream = Stream::default();
    for guard in guards {
        match guard.stream.up {
            Some(true) => stream.guards_connected.push(guard.name.clone()),
            Some(false) => {
                stream.guards_cut_off.push(guard.name.clone());
                stream.since = stream.since.into_iter().chain([guard.stream.since]).min();
            }
            None => {}
        }
    }
    for relay in relays {
        let label = relay.address.label().to_owned();
        let environments = relay.status.as_ref().map(|status| status.environments.as_slice()).unwrap_or_default();
        let cut_off: Vec<_> = environments.iter().filter_map(judgement::cut_off).collect();
        if environments.is_empty() {
            stream.silent.push(label);
        } else if cut_off.is_empty() {
            if !behind.contains(&label) {
                stream.connected.push(label);
            }
        } else {
            stream.cut_off.push(label);
            stream.since = stream.since.into_iter().chain(cut_off.iter().filter_map(|cut| cut.since)).min();
        }
    }
    let away = stream.cut_off.len() + stream.guards_cut_off.len();
    stream.state = match (away, stream.connected.len() + stream.guards_connected.len()) {
        (0, 0) => StreamState::NotKnown,
        (_, 0) => StreamState::Away,
        (0, _) => StreamState::Connected,
        (_, _) => StreamState::Mixed,
    };
    stream.told = in_words(&stream, relays.is_empty(), now);
    stream
}

fn in_words(stream: &Stream, none_named: bool, now: Timestamp) -> String {
    let say = |guards: &[String], relays: &[String]| {
        let verb = if guards.len() + relays.len() == 1 { "says" } else { "say" };
        let some = |what: &str, who: &[String]| {
            (!who.is_empty()).then(|| format!("{} ({})", count(who.len(), what), list_some(who, NAMED_MAX)))
        };
        let who: Vec<String> = some("guard", guards).into_iter().chain(some("relay", relays)).collect();
        format!("{verb} {}", list(&who))
    };
    let since = match stream.since {
        Some(since) => format!(" since {} ({})", time::short(since, now), time::since(since, now)),
        None => String::new(),
    };
    let mut told = match stream.state {
        StreamState::NotKnown if none_named => return "not known: RELAY_URLS names no relay to ask".to_owned(),
        StreamState::NotKnown => "not known".to_owned(),
        StreamState::Away => format!("away{since}, {}", say(&stream.guards_cut_off, &stream.cut_off)),
        StreamState::Connected => format!("connected, {}", say(&stream.guards_connected, &stream.connected)),
        StreamState::Mixed => format!(
            "away{since}, {}; connected, {}",
            say(&stream.guards_cut_off, &stream.cut_off),
            say(&stream.guards_connected, &stream.connected)
        ),
    };
    if !stream.silent.is_empty() {
        let verb = if stream.silent.len() == 1 { "says" } else { "say" };
        told.push_str(&format!("; {} {verb} nothing", list_some(&stream.silent, NAMED_MAX)));
    }
    told
}

/// A relay before a target.
#[derive(Debug)]
pub(super) struct Before {
    /// What is told of it.
    pub(super) report: RelayReport,
    /// What LaunchDarkly's return does behind it.
    pub(super) return_: Option<Return>,
    /// Whether it hangs on a guard.
    pub(super) link: Link,
}

/// The relays before each of `targets`, in the same order.
pub(super) fn before(
    targets: &[Target],
    stores: &BTreeMap<String, String>,
    relays: &[Relay],
    configurations: &Configurations,
    guards: &Guards,
) -> Vec<Vec<Before>> {
    let places: Vec<StorePlace> = stores
        .iter()
        .map(|(label, address)| StorePlace { label: label.clone(), addresses: vec![address.to_lowercase()] })
        .collect();
    let known: Vec<RelayPlace<'_>> = relays
        .iter()
        .map(|relay| RelayPlace { label: relay.address.label(), status: relay.status.as_ref().ok() })
        .collect();
    let relay_of = |label: &str| relays.iter().find(|relay| relay.address.label() == label);
    let one = |target: &Target, count: usize, serving: pairing::Serving<'_>| {
        let status = relay_of(&serving.relay).and_then(|relay| relay.status.as_ref().ok());
        let configuration = configurations.of_relay(status, relays.len() == 1);
        let key = configurations.key_at(&target.prefix);
        let facts = RelayFacts {
            key: key.as_ref(),
            configuration,
            address: status.and_then(|status| status.from),
            relays: count,
        };
        let link = guards.link(target, facts);
        let mode = status.map(|status| judgement::mode(status, configuration));
        let return_ = match (status, mode, serving.environment) {
            (Some(status), Some(mode), Some(environment)) if link != Link::NotKnown => {
                Some(returned(judgement::on_return(environment, status.major_version(), mode, link.is_on())))
            }
            _ => None,
        };
        let report = relay_report(serving.relay, status, serving.environment, &link);
        Before { report, return_, link }
    };
    let paired = targets.iter().zip(pairing::pair(targets, &places, &known));
    paired
        .map(|(target, all)| {
            let count = all.len();
            all.into_iter().map(|serving| one(target, count, serving)).collect()
        })
        .collect()
}

fn relay_report(
    relay: String,
    status: Option<&RelayStatus>,
    environment: Option<&EnvironmentStatus>,
    link: &Link,
) -> RelayReport {
    let version = status.and_then(|status| status.version.clone());
    let Some(environment) = environment else {
        return RelayReport { relay, version, told: "NO ANSWER".to_owned(), ..RelayReport::default() };
    };
    let cut_off = judgement::cut_off(environment);
    let guard = match link {
        Link::On(guard) => Some(guard.clone()),
        Link::NoGuard | Link::NotOn | Link::NotKnown => None,
    };
    let told = match &cut_off {
        None if guard.is_some() => "connected to a guard",
        None => "connected",
        Some(cut_off) if cut_off.for_good => "GIVEN UP (refused for good: its SDK key, or a proxy)",
        Some(_) => "cut off",
    };
    RelayReport {
        relay,
        version,
        told: told.to_owned(),
        cut_off: Some(cut_off.is_some()),
        since: cut_off.and_then(|cut_off| cut_off.since),
        guard,
    }
}

fn returned(on_return: OnReturn) -> Return {
    match on_return {
        OnReturn::Held => Return::Held,
        OnReturn::Lost => Return::Lost,
        OnReturn::LostAtNextEvent => Return::LostAtNextEvent,
        OnReturn::MayStay => Return::MayStay,
        OnReturn::Stays => Return::Stays,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::guard::presence::StreamWord;
    use crate::relay::address::RelayAddress;
    use crate::relay::client::RelayError;

    fn relay(label: &str, states: Option<&[(&str, i64)]>) -> Relay {
        let environment = |(place, (state, since)): (usize, &(&str, i64))| {
            let connection = json!({"state": state, "stateSince": since * 1000});
            let store = json!({"state": "VALID", "database": "redis", "dbServer": "redis://r", "dbPrefix": format!("p{place}")});
            (format!("e{place}"), json!({"connectionStatus": connection, "dataStoreStatus": store}))
        };
        let status = states.map(|states| {
            let environments: serde_json::Map<_, _> = states.iter().enumerate().map(environment).collect();
            let text = json!({"version": "8.10.1", "environments": environments}).to_string();
            RelayStatus::parse(text.as_bytes()).unwrap()
        });
        let gone = || RelayError::Unreachable { relay: label.to_owned(), problem: "refused the connection".to_owned() };
        Relay { address: RelayAddress::labelled(label, "http://r:8030").unwrap(), status: status.ok_or_else(gone) }
    }

    fn guard(name: &str, up: Option<bool>, since: &str) -> Presence {
        let since = since.parse().unwrap();
        Presence {
            format: 1,
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            since,
            at: since,
            environment: "shop/production".to_owned(),
            listens: Some("127.0.0.1:8031".parse().unwrap()),
            shadow: false,
            stream: StreamWord { up, since, told: None },
            relays: Vec::new(),
            more_relays: 0,
            keys: Vec::new(),
            overrides: Vec::new(),
            more_overrides: 0,
            namesake: None,
        }
    }

    #[track_caller]
    fn told_by(guards: &[Presence], relays: &[Relay], behind: &[&str], expected: &str) {
        let now: Timestamp = "2026-10-20T02:19:00Z".parse().unwrap();
        let guards: Vec<&Presence> = guards.iter().collect();
        let behind = behind.iter().map(|label| (*label).to_owned()).collect();
        assert_eq!(stream(&guards, relays, &behind, now).told, expected);
    }

    #[track_caller]
    fn told(relays: &[Relay], expected: &str) {
        told_by(&[], relays, &[], expected);
    }

    #[test]
    fn guards_say_it_better_than_the_relays_that_hang_on_them() {
        let away = || guard("g1", Some(false), "2026-10-20T01:51:00Z");
        let relays = [relay("eu", Some(&[("VALID", 0)])), relay("us", Some(&[("VALID", 0)]))];
        told_by(&[away()], &relays, &["eu", "us"], "away since 01:51Z (28 min), says 1 guard (g1)");
        told_by(
            &[away(), guard("g2", Some(false), "2026-10-20T01:55:00Z")],
            &[relay("eu", Some(&[("VALID", 0)])), relay("ap", Some(&[("INTERRUPTED", 1_792_461_060)]))],
            &["eu"],
            "away since 01:51Z (28 min), say 2 guards (g1 and g2) and 1 relay (ap)",
        );
        told_by(
            &[guard("g1", Some(true), "2026-10-20T01:51:00Z")],
            &relays,
            &["eu", "us"],
            "connected, says 1 guard (g1)",
        );
        told_by(&[guard("g1", None, "2026-10-20T01:51:00Z")], &relays, &["eu", "us"], "not known");
    }

    #[test]
    fn relays_say_it_and_not_we() {
        // 01:51Z and 01:55Z of that day.
        let (first, later) = (1_792_461_060, 1_792_461_300);
        told(&[], "not known: RELAY_URLS names no relay to ask");
        told(&[relay("eu", None)], "not known; eu says nothing");
        told(&[relay("eu", Some(&[("VALID", 0)]))], "connected, says 1 relay (eu)");
        let cut =
            [relay("eu", Some(&[("INTERRUPTED", later), ("VALID", 0)])), relay("us", Some(&[("INTERRUPTED", first)]))];
        told(&cut, "away since 01:51Z (28 min), say 2 relays (eu and us)");
        let mixed =
            [relay("eu", Some(&[("INTERRUPTED", later)])), relay("us", Some(&[("VALID", 0)])), relay("ap", None)];
        told(&mixed, "away since 01:55Z (24 min), says 1 relay (eu); connected, says 1 relay (us); ap says nothing");
    }

    #[test]
    fn what_is_before_a_target() {
        let target = |store: &str, prefix: &str| Target { store: store.to_owned(), prefix: prefix.to_owned() };
        let stores =
            BTreeMap::from([("eu".to_owned(), "redis-eu:6379".to_owned()), ("us".to_owned(), "us:6379".to_owned())]);
        let relays = [relay("eu", Some(&[("INTERRUPTED", 1), ("OFF", 1), ("VALID", 0)])), relay("us", None)];
        let targets =
            [target("eu", "p0"), target("eu", "p1"), target("eu", "p2"), target("us", "p0"), target("eu", "p9")];
        let (configurations, guards) = (Configurations::default(), Guards::default());
        let found: Vec<Vec<(String, Option<Return>)>> = before(&targets, &stores, &relays, &configurations, &guards)
            .into_iter()
            .map(|all| all.into_iter().map(|one| (one.report.told, one.return_)).collect())
            .collect();
        let one = |told: &str, return_| vec![(told.to_owned(), return_)];
        assert_eq!(
            found,
            [
                one("cut off", Some(Return::Lost)),
                one("GIVEN UP (refused for good: its SDK key, or a proxy)", Some(Return::Lost)),
                one("connected", Some(Return::LostAtNextEvent)),
                one("NO ANSWER", None),
                vec![],
            ]
        );
    }
}
