//! What each relay stands on: the stores behind its environments, whether it hangs on a guard, and what it is to show when it
//! is back. From one look at everything; it asks no relay.

use std::collections::BTreeMap;

use crate::change::seen::Copy;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::targets::Chosen;
use crate::flag::key::FlagKey;
use crate::flag::patch;
use crate::flag::record::Record;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::judgement;
use crate::relay::judgement::RestartDanger;
use crate::relay::judgement::StoreState;
use crate::relay::sdk_key::SdkKey;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::RelayStatus;

/// One environment of a relay.
#[derive(Debug, Clone)]
pub(super) struct Footing {
    /// The environment, for people.
    pub environment: String,
    /// The store behind it.
    pub store: StoreState,
    /// Whether it hangs on a guard.
    pub link: Link,
    /// By what it can be looked at.
    pub key: Option<SdkKey>,
    /// The payload filter whose copy this is.
    pub filter: Option<String>,
    /// The overridden flags whose edit the store has, each with its record there.
    pub edits: Vec<(FlagKey, Record)>,
}

/// A relay's label, and its own name of an environment.
type Place = (String, String);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Footings {
    places: BTreeMap<Place, Footing>,
    /// The most flags that were ever seen behind each, also where a relay does not answer now.
    flag_counts: BTreeMap<Place, u64>,
}

impl Footings {
    /// Reads all stores. `before`: what an earlier look found, since when nothing may have been lost.
    pub(super) async fn look(
        context: &Context<'_>,
        surroundings: &Surroundings,
        views: &[EnvironmentView<'_>],
        before: &Self,
    ) -> Self {
        let mut footings = Self { places: BTreeMap::new(), flag_counts: before.flag_counts.clone() };
        let guards = Guards::look(&surroundings.stores, overview::targets(views)).await;
        for view in views {
            let all = survey::look(&surroundings.stores, &view.chosen(), Extent::All).await;
            // Payload filters' copies have fewer flags by their nature.
            let whole = all.iter().filter(|target| !target.chosen.is_filter_copy);
            let most = whole.map(flag_count).max().unwrap_or_default();
            for (target, (_, relays)) in all.iter().zip(view.relays_before(context, surroundings)) {
                let has = flag_count(target);
                let elsewhere = if target.chosen.is_filter_copy { has } else { most };
                for (link, one) in guards.links(&target.chosen.target, &relays).into_iter().zip(&relays) {
                    let Some(environment) = one.environment else { continue };
                    let place = (one.relay.address.label().to_owned(), environment.key.clone());
                    let had = footings.flag_counts.get(&place).map_or(has, |had| has.max(*had));
                    let footing = Footing {
                        environment: view.environment.to_string(),
                        store: store_state(target, Counts { has, had, elsewhere }),
                        link,
                        key: one.key.clone(),
                        filter: one.filter.clone(),
                        edits: edits(view, &target.chosen),
                    };
                    footings.flag_counts.insert(place.clone(), had);
                    footings.places.insert(place, footing);
                }
            }
        }
        footings
    }

    /// The environments of one relay.
    pub(super) fn of<'f>(&'f self, relay: &'f str) -> impl Iterator<Item = &'f Footing> {
        self.places.iter().filter(move |((label, _), _)| label == relay).map(|(_, footing)| footing)
    }

    /// Whether a relay can be restarted now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn is_safe(
        &self,
        relay: &str,
        status: &RelayStatus,
        configuration: Option<&RelayConfiguration>,
    ) -> Result<(), RestartDanger> {
        let of = |environment: &EnvironmentStatus| self.places.get(&(relay.to_owned(), environment.key.clone()));
        let all_on_guard = status.all(|environment| of(environment).is_some_and(|footing| footing.link.is_on()));
        let store = |environment: &EnvironmentStatus| of(environment).map_or(StoreState::NotComplete, |one| one.store);
        judgement::restart_is_safe(status, configuration, all_on_guard, store)
    }
}

fn flag_count(view: &survey::TargetView) -> u64 {
    view.reading
        .as_ref()
        .map_or(0, |reading| reading.flags.values().filter(|flag| flag.record.is_some()).count() as u64)
}

/// How many flags a store has, has had at most, and the most that another one of the environment has.
#[derive(Clone, Copy)]
struct Counts {
    has: u64,
    had: u64,
    elsewhere: u64,
}

fn store_state(view: &survey::TargetView, Counts { has, had, elsewhere }: Counts) -> StoreState {
    let Ok(reading) = &view.reading else { return StoreState::NotComplete };
    let is_damaged = |bytes: Option<&[u8]>| matches!(Copy::of(bytes), Copy::Damaged { .. });
    if !reading.initialised || has == 0 {
        StoreState::NotComplete
    } else if has < had {
        StoreState::Shrunk { has, had }
    } else if has < elsewhere {
        StoreState::Smaller { has, elsewhere }
    } else if reading.flags.values().any(|flag| is_damaged(flag.record.as_deref())) {
        StoreState::Damaged
    } else {
        StoreState::Complete
    }
}

/// The overridden flags that a target has as the override wants them.
fn edits(view: &EnvironmentView<'_>, chosen: &Chosen) -> Vec<(FlagKey, Record)> {
    let overridden = view.situations.iter().filter(|situation| situation.standing.in_force().is_some());
    let here = overridden.filter_map(|situation| {
        let (_, seen) = situation.seen.iter().find(|(known, _)| known.target == chosen.target)?;
        let record = seen.copy.readable()?;
        // Another store may have it, and this one not: then there is nothing to be shown.
        let wished = &situation.standing.in_force()?.instructions;
        let has_it = patch::changes_nothing(record, wished).unwrap_or(false);
        has_it.then(|| (situation.flag.clone(), record.clone()))
    });
    here.collect()
}
