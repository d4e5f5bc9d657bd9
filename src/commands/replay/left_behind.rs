//! What is said after a replay of SDKs that may hold a version of ours which LaunchDarkly has not reached. It decides nothing
//! about the replay.

use crate::change::stale::Stale;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::left_behind;
use crate::commands::left_behind::Fronts;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::outcome::Done;

/// Says it of each of `done` of which it is so. What stands before the stores is looked at only where something is to be said.
pub(super) fn say(
    done: &mut [Done],
    context: &Context<'_>,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    guards: &Guards,
) {
    for view in views {
        let here = done.iter_mut().filter(|done| done.subject.0 == view.environment && !done.has_newer());
        let ahead = |done: &Done| left_behind::ahead(&done.override_, done.outcome.version()?);
        let ahead: Vec<(Stale, &mut Done)> = here.filter_map(|done| Some((ahead(done)?, done))).collect();
        if ahead.is_empty() {
            continue;
        }
        let fronts = Fronts::of(context, surroundings, view, guards);
        for (stale, done) in ahead {
            done.left_behind = left_behind::in_words(stale, &fronts, done.override_.motive.at);
        }
    }
}
