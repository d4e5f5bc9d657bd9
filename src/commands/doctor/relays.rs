//! The relays: do they answer, which versions are they, do they hear from LaunchDarkly, can what they serve be looked at,
//! when would an edit be seen, would a restart be safe. All by their own words and their configuration.

use std::collections::BTreeMap;

use super::finding::Findings;
use super::finding::Part;
use super::guards::Links;
use super::known;
use super::records::Damaged;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Link;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::relays::Before;
use crate::commands::relays::Relay;
use crate::relay::cache_time::CacheTime;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::judgement;
use crate::relay::judgement::Mode;
use crate::relay::judgement::RestartDanger;
use crate::relay::judgement::StoreState;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::RelayStatus;
use crate::store::Grade;
use crate::ui::harmless::excerpt;
use crate::ui::time;
use crate::ui::words::count;

/// Looks at every relay.
pub(super) fn examine(
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    (damaged, links): (&Damaged, &Links),
    findings: &mut Findings,
) {
    let relays = &surroundings.fleet.relays;
    if relays.is_empty() {
        let told = "RELAY_URLS names none: whether anything that is written gets to SDKs cannot be seen";
        let way_out = "RELAY_URLS=eu-1=http://relay-eu-1:8030,... in .env, with the stores' labels".to_owned();
        findings.note(Part::Relays, "relays", "", told, Some(way_out));
    }
    for relay in relays {
        one(relay, surroundings, views, (damaged, links), findings);
    }
    for view in views {
        served(context, surroundings, view, findings);
    }
}

fn one(
    relay: &Relay,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    (damaged, links): (&Damaged, &Links),
    findings: &mut Findings,
) {
    let label = relay.address.label();
    let status = match &relay.status {
        Ok(status) => status,
        Err(error) => {
            let way_out = "is its address in RELAY_URLS right, as seen from here?".to_owned();
            findings.bad(Part::Relays, label, "reach", error.to_string(), Some(way_out));
            return;
        }
    };
    let configuration = surroundings.configurations.of_relay(Some(status), surroundings.fleet.relays.len() == 1);
    version(label, status, findings);
    mode(label, status, configuration, findings);
    for environment in &status.environments {
        connection(label, environment, links.of(label, &environment.key), findings);
        database(label, environment, findings);
    }
    cache_time(label, configuration, findings);
    restart(label, status, configuration, (&filled(views), damaged, links), findings);
}

fn version(label: &str, status: &RelayStatus, findings: &mut Findings) {
    let shown = status.version.as_deref().map_or_else(|| "does not say".to_owned(), excerpt);
    match status.major_version() {
        Some(major) if major >= 9 => {
            let told = format!(
                "{shown}: once LaunchDarkly has filled it, it does not read its store any more, so that edits reach nobody before it is restarted"
            );
            let way_out =
                "stay with version 8, or expect to restart it after each rc update while LaunchDarkly is away";
            findings.note(Part::Relays, label, "version", told, Some(way_out.to_owned()));
        }
        Some(8) => findings.good(Part::Relays, label, "version", shown),
        _ => findings.note(Part::Relays, label, "version", format!("{shown}: rc was made for version 8"), None),
    }
}

fn mode(label: &str, status: &RelayStatus, configuration: Option<&RelayConfiguration>, findings: &mut Findings) {
    match judgement::mode(status, configuration) {
        Mode::Manual => {
            let told = format!("its own configuration, {}", count(status.environments.len(), "environment"));
            findings.good(Part::Relays, label, "mode", told);
        }
        Mode::AutoConfig => {
            let told = "automatic configuration: its environments come from LaunchDarkly";
            findings.good(Part::Relays, label, "mode", told);
        }
        Mode::Offline => {
            let told = "offline mode: it serves an archive and never hears from LaunchDarkly";
            findings.good(Part::Relays, label, "mode", told);
        }
        Mode::Unknown => {
            let way_out = "name its configuration file with RC_RELAY_CONFIG or --relay-config".to_owned();
            findings.note(Part::Relays, label, "mode", "how it is configured is not known", Some(way_out));
        }
    }
}

fn connection(label: &str, environment: &EnvironmentStatus, link: &Link, findings: &mut Findings) {
    let subject = format!("environment {}", environment.key);
    let Some(cut_off) = judgement::cut_off(environment) else {
        let told = match link {
            Link::On(guard) => format!("connected to guard {guard}"),
            Link::NotKnown => "connected, it says: to LaunchDarkly or to the guard that is there".to_owned(),
            Link::NoGuard | Link::NotOn => "connected to LaunchDarkly, it says".to_owned(),
        };
        findings.good(Part::Relays, label, &subject, told);
        return;
    };
    if cut_off.for_good {
        let told = "it was refused for good (its SDK key, or a proxy on the way), and has given up";
        let way_out = "see that its SDK key and its way to LaunchDarkly are right; then restart it, nothing else makes it try again".to_owned();
        findings.bad(Part::Relays, label, &subject, told, Some(way_out));
        return;
    }
    let since = cut_off.since.map(|since| format!(" since {}", time::full(since))).unwrap_or_default();
    let error = cut_off.last_error.map(|error| {
        let status = error.status_code.map(|code| format!(" {code}")).unwrap_or_default();
        format!(" ({}{status})", excerpt(&error.kind))
    });
    let from = if matches!(link, Link::On(_)) { "its guard" } else { "LaunchDarkly" };
    let told = format!("cut off from {from}{since}{}, it says", error.unwrap_or_default());
    findings.note(Part::Relays, label, &subject, told, None);
}

fn database(label: &str, environment: &EnvironmentStatus, findings: &mut Findings) {
    let store = &environment.store;
    let subject = format!("environment {}, store", environment.key);
    let place = || {
        let parts =
            [store.database.clone(), store.address(), store.prefix.as_ref().map(|prefix| format!("prefix {prefix}"))];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    match (&store.database, store.state.as_deref()) {
        (None, _) => {
            let told = "keeps flags in its memory alone: nothing can be changed behind it";
            let way_out = "give it a store, in its configuration: [Redis] url = ...".to_owned();
            findings.bad(Part::Relays, label, &subject, told, Some(way_out));
        }
        (Some(_), Some("INTERRUPTED")) => {
            let told = format!("it does not reach its store ({}), it says", place());
            findings.bad(
                Part::Relays,
                label,
                &subject,
                told,
                Some("look at the store from the relay's machine".to_owned()),
            );
        }
        (Some(_), _) => findings.good(Part::Relays, label, &subject, place()),
    }
}

fn cache_time(label: &str, configuration: Option<&RelayConfiguration>, findings: &mut Findings) {
    let Some(configuration) = configuration else {
        let told = "its cache time is not known; the default is 30 s";
        let way_out = "name its configuration file with RC_RELAY_CONFIG or --relay-config".to_owned();
        findings.note(Part::Relays, label, "cache", told, Some(way_out));
        return;
    };
    match configuration.cache_time {
        CacheTime::Endless => {
            let told = "its cache never runs out (localTtl below 0): edits of the store reach nobody before a restart";
            findings.bad(Part::Relays, label, "cache", told, Some("localTtl = 30s in its configuration".to_owned()));
        }
        time => {
            let default = if configuration.cache_time_is_given { "" } else { " (the default)" };
            findings.good(Part::Relays, label, "cache", format!("{time}{default}: who connects later sees an edit"));
        }
    }
}

/// Whether the store of a prefix was read and is filled, by prefix.
fn filled(views: &[EnvironmentView<'_>]) -> BTreeMap<String, bool> {
    let mut filled: BTreeMap<String, bool> = BTreeMap::new();
    for (_, target) in known(views) {
        let initialised = target.reading.as_ref().is_ok_and(|reading| reading.initialised);
        let all = filled.entry(target.chosen.target.prefix.clone()).or_insert(true);
        *all &= initialised;
    }
    filled
}

fn restart(
    label: &str,
    status: &RelayStatus,
    configuration: Option<&RelayConfiguration>,
    (filled, damaged, links): (&BTreeMap<String, bool>, &Damaged, &Links),
    findings: &mut Findings,
) {
    let store = |environment: &EnvironmentStatus| match environment.store.prefix.as_ref() {
        Some(prefix) if damaged.contains(prefix) => StoreState::Damaged,
        Some(prefix) if filled.get(prefix).copied().unwrap_or(false) => StoreState::Complete,
        _ => StoreState::NotComplete,
    };
    let all_on_guard = status.all(|environment| links.of(label, &environment.key).is_on());
    match judgement::restart_is_safe(status, configuration, all_on_guard, store) {
        Ok(()) => {
            let told = match all_on_guard {
                true => "safe: its guard gives it LaunchDarkly's last state, with the overrides",
                false => "safe now: it would come back serving its store",
            };
            findings.good(Part::Relays, label, "restart", told);
        }
        // The usual state, and nothing to mend.
        Err(danger @ RestartDanger::Connected) => {
            findings.good(Part::Relays, label, "restart", format!("not now: {danger}"))
        }
        Err(danger) => findings.note(Part::Relays, label, "restart", format!("NOT SAFE now: {danger}"), None),
    }
}

/// Whether what relays serve of an environment can be looked at.
fn served(context: &Context<'_>, surroundings: &Surroundings, view: &EnvironmentView<'_>, findings: &mut Findings) {
    let name = view.environment.to_string();
    let given = match surroundings.given_key(context, &view.environment) {
        Ok(given) => given,
        Err(failure) => {
            findings.failure(Grade::Bad, Part::Relays, &name, "SDK key", &failure);
            None
        }
    };
    if surroundings.fleet.relays.is_empty() {
        return;
    }
    let chosen = view.chosen();
    let before = surroundings.relays_before(&view.environment, &chosen, given.as_ref());
    for (chosen, before) in chosen.iter().zip(before) {
        if before.is_empty() {
            let told = "no relay is known before it: what is written there cannot be seen live";
            let way_out = "give the relay the store's label in RELAY_URLS".to_owned();
            findings.note(Part::Relays, &name, &chosen.target.to_string(), told, Some(way_out));
        }
        for before in before {
            key(&name, &chosen.target, &before, findings);
        }
    }
}

fn key(name: &str, target: &Target, before: &Before<'_>, findings: &mut Findings) {
    let subject = format!("SDK key at {} before {target}", before.relay.address.label());
    match (&before.key, before.environment) {
        (None, _) => {
            let told = "not known: what it serves cannot be looked at, and rc update ends with code 8 at best";
            let way_out = format!(
                "RC_RELAY_CONFIG=ld-relay.conf, or in relaycommander.toml: [environment.\"{name}\"]  sdk_key_file = \"FILE\""
            );
            findings.note(Part::Relays, name, &subject, told, Some(way_out));
        }
        (Some(key), Some(environment)) if !environment.sdk_key_tails.is_empty() && !environment.may_have(key) => {
            let told = "is not one that the relay knows, by its last characters";
            let way_out = "another environment's key, or one that was rotated".to_owned();
            findings.bad(Part::Relays, name, &subject, told, Some(way_out));
        }
        (Some(_), _) => findings.good(Part::Relays, name, &subject, "known"),
    }
}
