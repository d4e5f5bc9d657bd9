//! What an update stands on: the targets of its environments, what they hold, and afterwards what each of them got.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::change::edit::Edit;
use crate::change::merge::Standing;
use crate::change::target::Target;
use crate::change::update::EditPlan;
use crate::commands::Context;
use crate::commands::place::Ahead;
use crate::commands::place::Surroundings;
use crate::commands::survey;
use crate::commands::survey::TargetView;
use crate::commands::targets::Chosen;
use crate::commands::update::carrying_out::Done;
use crate::commands::update::outcome::EditResult;
use crate::commands::update::outcome::Outcome;
use crate::commands::update::outcome::TargetResult;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::undertaking::Undertaking;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// What was read of every target, by environment.
pub type Views = BTreeMap<Environment, Vec<TargetView>>;

/// The targets of each environment. How they were found is said where nobody had named them.
///
/// # Errors
/// Where it is not clear which they are.
pub fn choose(
    context: &Context<'_>,
    surroundings: &Surroundings,
    named: &BTreeSet<Environment>,
) -> Result<BTreeMap<Environment, Vec<Chosen>>, Failure> {
    let mut all = BTreeMap::new();
    for environment in named {
        let choice = surroundings.targets(context, environment)?;
        if let Some(told) = choice.told {
            context.output.say(&told);
        }
        all.insert(environment.clone(), choice.targets);
    }
    Ok(all)
}

/// Reads the flags of every environment from all of its targets at once.
pub async fn read(
    surroundings: &Surroundings,
    chosen: &BTreeMap<Environment, Vec<Chosen>>,
    flags: &BTreeMap<Environment, Vec<FlagKey>>,
    mut ahead: Ahead,
) -> Views {
    // Two environments that share a prefix share no answer: each was asked for its own flags.
    let shared = |target: &Target| chosen.values().flatten().filter(|other| other.target == *target).count() > 1;
    ahead.retain(|target, _| !shared(target));
    let read = chosen.iter().map(|(environment, chosen)| {
        let flags = flags.get(environment).map(Vec::as_slice).unwrap_or_default();
        let mine: Ahead = chosen.iter().filter_map(|chosen| ahead.remove_entry(&chosen.target)).collect();
        async move {
            let views = survey::look_beyond(&surroundings.stores, chosen, flags, mine).await;
            (environment.clone(), views)
        }
    });
    join_all(read).await.into_iter().collect()
}

/// What each edit stands on: the targets that answered and that relays do not take for empty.
pub async fn grounds(surroundings: &Surroundings, views: &Views, edits: Vec<Edit>) -> Vec<Ground> {
    let standings = views.iter().map(|(environment, views)| async move {
        (environment, survey::standings(&surroundings.stores, views, environment).await)
    });
    let mut standings: BTreeMap<&Environment, BTreeMap<FlagKey, Standing>> =
        join_all(standings).await.into_iter().collect();
    let ground = |edit: Edit| {
        let views = views.get(&edit.environment).map(Vec::as_slice).unwrap_or_default();
        let usable = views.iter().filter(|view| unusable(view).is_none());
        let seen = survey::seen_in(usable, &edit.environment, &edit.flag);
        let known = standings.get_mut(&edit.environment).and_then(|standings| standings.remove(&edit.flag));
        Ground { standing: known.unwrap_or(Standing::None), seen, edit }
    };
    edits.into_iter().map(ground).collect()
}

/// Why a target cannot be used whatever it holds of a flag; `None` if it can.
fn unusable(view: &TargetView) -> Option<Outcome> {
    match &view.reading {
        Err(error) => Some(Outcome::Failed(error.clone())),
        Ok(reading) if !reading.initialised => Some(Outcome::NotInitialised { flag_count: reading.flag_count }),
        Ok(_) => None,
    }
}

/// The targets that could not be used whatever they hold, for each edit, and why.
pub fn silent(grounds: &[Ground], views: &Views) -> BTreeMap<usize, Vec<(Chosen, Outcome)>> {
    let of_ground = |(place, ground): (usize, &Ground)| {
        let views = views.get(&ground.edit.environment).map(Vec::as_slice).unwrap_or_default();
        let silent: Vec<(Chosen, Outcome)> =
            views.iter().filter_map(|view| Some((view.chosen.clone(), unusable(view)?))).collect();
        (place, silent)
    };
    grounds.iter().enumerate().map(of_ground).filter(|(_, silent)| !silent.is_empty()).collect()
}

/// What every target of every edit got: what was done, else what was planned, else why it could not be used.
pub fn results(grounds: &[Ground], undertakings: &[Undertaking], views: &Views, done: Vec<Done>) -> Vec<EditResult> {
    let mut plans: BTreeMap<usize, &EditPlan> = BTreeMap::new();
    for part in undertakings.iter().flat_map(|undertaking| &undertaking.parts) {
        plans.insert(part.ground, &part.plan);
    }
    let mut done: BTreeMap<(usize, Target), Outcome> =
        done.into_iter().map(|done| ((done.ground, done.target), done.outcome)).collect();
    let mut results = Vec::new();
    for (place, ground) in grounds.iter().enumerate() {
        let plan = plans.get(&place).map(|plan| (*plan).clone()).unwrap_or_else(nothing_planned);
        let views = views.get(&ground.edit.environment).map(Vec::as_slice).unwrap_or_default();
        let targets = views
            .iter()
            .map(|view| {
                let target = &view.chosen.target;
                let outcome = done.remove(&(place, target.clone())).or_else(|| outcome(view, &plan));
                let outcome = outcome.unwrap_or(Outcome::Missing);
                TargetResult { chosen: view.chosen.clone(), outcome, sightings: Vec::new() }
            })
            .collect();
        results.push(EditResult { plan, targets, dependants: Default::default() });
    }
    results
}

fn nothing_planned() -> EditPlan {
    EditPlan { targets: Vec::new(), differing: Vec::new(), refusal: None }
}

/// What a target came to without being written.
fn outcome(view: &TargetView, plan: &EditPlan) -> Option<Outcome> {
    unusable(view).or_else(|| {
        let planned = plan.targets.iter().find(|(target, _)| *target == view.chosen.target);
        planned.map(|(_, planned)| Outcome::of_plan(planned.clone()))
    })
}
