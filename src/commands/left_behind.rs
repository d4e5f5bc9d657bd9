//! The SDKs that may not have what everybody should: those that were connected before an edit of the store, and those that
//! got a version of ours which LaunchDarkly has not reached. Nobody can look into them; what stores, relays, guards and
//! records say tells where such SDKs can be, and nothing is said where it does not.

pub mod recorded;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::override_::Override;
use crate::change::stale::Stale;
use crate::change::stale::Stood;
use crate::change::stale::stale;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::survey;
use crate::flag::configuration::Configuration;
use crate::flag::patch;
use crate::relay::judgement;
use crate::relay::judgement::misses;
use crate::ui::time;
use crate::ui::words::list;

/// What stands before the stores of one environment.
#[derive(Debug, Default)]
pub struct Fronts {
    /// The stores before which SDKs may have got a version of ours and will be sent nothing that takes its place; and since
    /// when LaunchDarkly's stream stands to every relay there, which began with everything anew.
    ahead: Vec<(String, Option<Timestamp>)>,
    /// The stores that relays serve from.
    relayed: Vec<String>,
    /// The relays that are on no guard: before which target, their label, whether they are cut off from LaunchDarkly, and
    /// since when they are as they are.
    relays: Vec<(Target, String, bool, Timestamp)>,
}

impl Fronts {
    /// Looks at it, by what was asked already.
    pub fn of(context: &Context<'_>, surroundings: &Surroundings, view: &EnvironmentView<'_>, guards: &Guards) -> Self {
        let mut fronts = Self::default();
        for (chosen, before) in view.relays_before(context, surroundings) {
            let target = &chosen.target;
            // A flag file is read as a whole, again and again.
            if !survey::store_of(&surroundings.stores, target).is_some_and(|store| store.has_prefixes()) {
                continue;
            }
            fronts.relayed.push(target.store.clone());
            let statuses = || before.iter().map(|one| one.environment);
            // What is cut off gets everything anew when LaunchDarkly's stream is back.
            let cut_off = |status: &crate::relay::status::EnvironmentStatus| judgement::cut_off(status).is_some();
            let all_cut_off = !before.is_empty() && statuses().all(|status| status.is_some_and(cut_off));
            if !all_cut_off && !guards.hold(target) {
                let connected = statuses().filter(|status| !status.is_some_and(cut_off));
                let since: Option<Vec<Timestamp>> = connected.map(|status| status?.since).collect();
                // A guard that watches stores alone writes ours again after that.
                let is_watched = guards.beside(target).is_some_and(|beside| !beside.guards.is_empty());
                let since = since.filter(|_| !is_watched).and_then(|since| since.into_iter().max());
                fronts.ahead.push((target.store.clone(), since));
            }
            for (one, link) in before.iter().zip(guards.links(target, &before)) {
                let Some(status) = one.environment.filter(|_| matches!(link, Link::NoGuard | Link::NotOn)) else {
                    continue;
                };
                if let Some(since) = status.since {
                    let label = one.relay.address.label().to_owned();
                    fronts.relays.push((target.clone(), label, cut_off(status), since));
                }
            }
        }
        fronts
    }

    /// The stores of which SDKs may hold what was edited last at `edited`.
    fn ahead(&self, edited: Timestamp) -> Vec<&str> {
        let is_it = |(_, since): &&(String, Option<Timestamp>)| since.is_none_or(|since| since <= edited);
        self.ahead.iter().filter(is_it).map(|(store, _)| store.as_str()).collect()
    }

    /// The relays whose connected SDKs cannot have an override that stands in these targets.
    pub fn missing(&self, override_: &Override, in_force: impl Fn(&Target) -> bool) -> BTreeSet<&str> {
        let is_owed = override_.replayed_as().is_none();
        let is_it = |(target, _, cut_off, since): &&(Target, String, bool, Timestamp)| {
            in_force(target) && misses(*cut_off, *since, override_.motive.at, is_owed)
        };
        self.relays.iter().filter(is_it).map(|(_, label, ..)| label.as_str()).collect()
    }
}

/// `DIVERGED: SDKs that have been connected to eu-1 since before 02:14Z do not have it; whoever connects anew gets it`.
pub fn diverged(relays: &BTreeSet<&str>, override_: &Override, now: Timestamp) -> Option<String> {
    let relays: Vec<&str> = relays.iter().copied().collect();
    (!relays.is_empty()).then(|| {
        format!(
            "DIVERGED: SDKs that have been connected to {} since before {} do not have it; whoever connects anew gets it",
            list(&relays),
            time::short(override_.motive.at, now)
        )
    })
}

/// The highest record that an override had in stores for certain: its edits count on from the record with which it began,
/// and LaunchDarkly's newer ones only make that higher.
pub fn stood(override_: &Override) -> Stood {
    let base = &override_.base;
    let is_known = override_.upstream.version() == base.version();
    let record = patch::apply(base, &override_.instructions).ok().filter(|_| is_known);
    Stood {
        version: base.version().saturating_add(override_.revision),
        configuration: record.map(|record| Configuration::of_record(&record)),
    }
}

/// What an override leaves behind, by itself, once LaunchDarkly has it as version `has`.
pub fn ahead(override_: &Override, has: u64) -> Option<Stale> {
    stale(&[stood(override_)], has, None)
}

/// What is said of SDKs that may be left behind by edits, the last one at `edited`, and what heals it.
pub fn in_words(stale: Stale, fronts: &Fronts, edited: Timestamp) -> Option<String> {
    let (heals_at, ahead) = (stale.heals_at(), fronts.ahead(edited));
    match stale {
        Stale::Ahead { .. } if ahead.is_empty() => None,
        Stale::Ahead { held, has } => Some(format!(
            "SDKs that connected to a relay on {} meanwhile may hold v{held}, and LaunchDarkly is at v{has}: they ignore what it \
             sends up to v{held}. That ends when they or their relay connect anew, or with LaunchDarkly's v{heals_at}",
            list(&ahead)
        )),
        Stale::Twice { .. } if fronts.relayed.is_empty() => None,
        Stale::Twice { version } => Some(format!(
            "v{version} stood in {} with another content than LaunchDarkly's v{version}: whoever got ours keeps it (PHP asks by \
             version alone), until PHP's cache is emptied, SDKs connect anew, or LaunchDarkly's v{heals_at}",
            list(&fronts.relayed)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_began_after_the_edit_has_sent_everything_anew() {
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
        let of = |name: &str, since: Option<i64>| (name.to_owned(), since.map(at));
        let ahead = vec![of("eu", None), of("us", Some(50)), of("ap", Some(200))];
        let fronts = Fronts { ahead, ..Fronts::default() };
        assert_eq!(fronts.ahead(at(100)), ["eu", "us"], "where nothing is known, they may be");
        let left = Stale::Ahead { held: 45, has: 43 };
        let told = in_words(left, &fronts, at(100)).unwrap();
        assert!(told.contains("eu and us") && told.contains("v46"), "{told}");
        let healed = Fronts { ahead: vec![of("ap", Some(200))], ..Fronts::default() };
        assert_eq!(in_words(left, &healed, at(100)), None);
        assert_eq!(in_words(Stale::Twice { version: 44 }, &healed, at(100)), None, "no relay serves from there");
    }
}
