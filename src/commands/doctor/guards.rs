//! The guards: which announced themselves beside the targets, whether they hear from LaunchDarkly, and which relays hang on
//! them. What relays say of their own connection is told in that light (`relays`): behind a guard they always say that
//! they are connected.

use std::collections::BTreeMap;

use super::finding::Findings;
use super::finding::Part;
use super::known;
use crate::commands::Context;
use crate::commands::guards::Beside;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::guard::presence::Presence;
use crate::guard::presence::place_in_words;
use crate::ui::harmless::excerpt;
use crate::ui::time;
use crate::ui::words::count;

/// How each relay's environments hang on guards: by the relay's label and its own key of the environment.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<(String, String), Link>);

impl Links {
    /// How one environment of a relay does; [`Link::NoGuard`] where nothing is known of it.
    pub(super) fn of(&self, relay: &str, environment: &str) -> &Link {
        self.0.get(&(relay.to_owned(), environment.to_owned())).unwrap_or(&Link::NoGuard)
    }
}

/// Looks at every guard. `views` say which targets there are.
pub(super) async fn examine(
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    findings: &mut Findings,
) -> Links {
    let targets = || known(views).map(|(_, target)| target.chosen.target.clone());
    let guards = Guards::look(&surroundings.stores, targets()).await;
    for guard in guards.all() {
        one(guard, findings);
    }
    for target in targets() {
        if let Some(beside) = guards.beside(&target) {
            strange(&target.to_string(), beside, findings);
        }
    }
    let links = links(context, surroundings, views, &guards, findings);
    if guards.all().is_empty() && !surroundings.fleet.relays.is_empty() && known(views).next().is_some() {
        let told = "none: SDKs that stay connected do not see an edit, and LaunchDarkly's return wipes it";
        findings.note(Part::Guards, "guards", "", told, Some("rc guard; docs/guard.md says how and when".to_owned()));
    }
    links
}

fn one(guard: &Presence, findings: &mut Findings) {
    let about = excerpt(&guard.name);
    let relays = count(guard.relay_count(), "relay");
    let told = format!("version {}, since {}, {relays}", excerpt(&guard.version), time::full(guard.since));
    findings.good(Part::Guards, &about, "there", told);
    if guard.shadow {
        let told = "only looks on (--shadow): it holds nothing";
        findings.note(Part::Guards, &about, "mode", told, Some("start it without --shadow".to_owned()));
    }
    if let Some(other) = &guard.namesake {
        let told = format!(
            "there are two of this name, one {}, the other {}: each overwrites what the other announces, and only one is \
             seen here",
            place_in_words(guard.listens),
            other.place()
        );
        let way_out = "give one of them another name: rc guard --guard-name, or RC_GUARD_NAME".to_owned();
        findings.bad(Part::Guards, &about, "name", told, Some(way_out));
    }
    let Some(address) = guard.listens else {
        let told =
            "watches stores alone (--no-stream): overrides that are lost there are written again, and no relay is held";
        return findings.note(Part::Guards, &about, "mode", told, None);
    };
    match guard.stream.up {
        Some(true) => {
            let told = format!("up since {}", time::full(guard.stream.since));
            findings.good(Part::Guards, &about, "LaunchDarkly's stream", told);
        }
        Some(false) => {
            let why = guard.stream.told.as_deref().map(|told| format!(" ({})", excerpt(told))).unwrap_or_default();
            let told = format!("away since {}{why}", time::full(guard.stream.since));
            findings.note(Part::Guards, &about, "LaunchDarkly's stream", told, None);
        }
        None => {
            let told = "not asked: no relay hangs on it";
            let way_out = format!("streamUri = http://{address} in the relay's configuration");
            findings.note(Part::Guards, &about, "LaunchDarkly's stream", told, Some(way_out));
        }
    }
}

fn strange(target: &str, beside: &Beside, findings: &mut Findings) {
    for (name, why) in &beside.strange {
        let told = format!("what it announces is not understood: {why}");
        let way_out = "use the same version of rc everywhere".to_owned();
        findings.note(Part::Guards, &excerpt(name), target, told, Some(way_out));
    }
    if let Some(problem) = &beside.problem {
        findings.note(Part::Guards, "guards", target, format!("whether there is one cannot be read: {problem}"), None);
    }
}

/// Finds out which relays hang on a guard, and tells of those that do not although there is one.
fn links(
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    guards: &Guards,
    findings: &mut Findings,
) -> Links {
    let mut links = Links::default();
    for view in views {
        // What is wrong with a key is told where the relays are.
        for (chosen, before) in view.relays_before(context, surroundings) {
            for (link, one) in guards.links(&chosen.target, &before).into_iter().zip(&before) {
                let relay = one.relay.address.label();
                told(&view.environment.to_string(), relay, &link, findings);
                if let Some(environment) = one.environment {
                    links.0.insert((relay.to_owned(), environment.key.clone()), link);
                }
            }
        }
    }
    links
}

fn told(environment: &str, relay: &str, link: &Link, findings: &mut Findings) {
    let subject = format!("relay {relay}");
    match link {
        Link::NoGuard => {}
        Link::On(guard) => findings.good(Part::Guards, environment, &subject, format!("is on guard {guard}")),
        Link::NotOn => {
            let told = "is NOT on the guard that is there: its connected SDKs do not see edits, and it wipes the store for all when LaunchDarkly returns";
            let way_out = "rc relay config --check its ld-relay.conf, --guard with the guard's URL; then restart it";
            findings.bad(Part::Guards, environment, &subject, told, Some(way_out.to_owned()));
        }
        Link::NotKnown => {
            let told = "whether it is on the guard that is there cannot be seen from here";
            let way_out = "name its configuration file with RC_RELAY_CONFIG or --relay-config".to_owned();
            findings.note(Part::Guards, environment, &subject, told, Some(way_out));
        }
    }
}
