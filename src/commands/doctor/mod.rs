//! `rc doctor`: everything that could fail on the day, a line each, with the way out. Each file here looks at one part and
//! gives findings; `finding` shows them. Nothing is changed in stores, relays or LaunchDarkly; in the playback folder a
//! file is made, synced and removed again, since nothing else tells that a change could be recorded.

mod delivery;
mod environments;
mod finding;
mod guards;
mod home;
mod launchdarkly;
mod pending;
mod playback;
mod records;
mod relay_configurations;
mod relays;
mod signing;
mod stores;

use super::Context;
use super::overview;
use super::overview::EnvironmentView;
use super::overview::Scope;
use super::place::Surroundings;
use super::relays::Configurations;
use super::relays::Fleet;
use super::survey;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::playback::Loaded;
use crate::store::Grade;
use finding::Findings;

/// Check everything that could fail on the day; changes nothing
///
/// A line for each finding: ok, note (worth knowing) or BAD (will fail on the day), with the way out. Exits with 0 if
/// nothing is BAD, 1 if something is, and 7 if no store could be reached at all. With --json it prints one object:
/// findings (part, about, subject, grade, told, way_out), bad, notes and good.
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Runs it.
///
/// # Errors
/// Where no store is configured, or a setting cannot be meant. Everything else is a finding.
pub async fn run(_: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let scope = Scope::typed(context, &[])?;
    let (surroundings, wrong) = surroundings(context).await?;
    let mut findings = Findings::default();
    home::examine(context.settings, &mut findings);
    signing::examine(context.settings, &mut findings);
    let (loaded, unreadable) = load(context);
    let views = overview::look(context, &surroundings, &loaded, &scope).await;
    let reached = stores::examine(&surroundings, &views, &mut findings).await;
    environments::examine(&surroundings, &views, &mut findings);
    let (damaged, samples) = records::examine(&surroundings, &views, &mut findings).await;
    let links = guards::examine(context, &surroundings, &views, &mut findings).await;
    relays::examine(context, &surroundings, &views, (&damaged, &links), &mut findings);
    relay_configurations::examine(&surroundings.configurations, &wrong, &views, &mut findings);
    launchdarkly::examine(context.settings, &views, &mut findings).await;
    delivery::examine(context, &surroundings, &views, &samples, &mut findings).await;
    playback::examine(context.settings, &loaded, unreadable.as_ref(), &mut findings);
    pending::examine(&loaded, &views, jiff::Timestamp::now(), &mut findings);
    if context.output.wants_json() {
        context.output.json(&findings.report());
    } else {
        context.output.report(&findings.text());
    }
    Ok(match findings.count(Grade::Bad) {
        _ if !reached => ExitCode::Unreachable,
        0 => ExitCode::Done,
        _ => ExitCode::Failure,
    })
}

/// As [`Surroundings::look`], except that a relay's configuration that cannot be read is a finding and no end.
async fn surroundings(context: &Context<'_>) -> Result<(Surroundings, Vec<Failure>), Failure> {
    let stores = super::stores::open(context.settings)?;
    let (configurations, wrong) = Configurations::read_what_can_be(context.settings).await;
    let (prefixes, fleet) = futures_util::join!(survey::prefixes(&stores, &[]), Fleet::look(context.settings));
    Ok((Surroundings { stores, prefixes, fleet: fleet?, configurations }, wrong))
}

/// The playback, or an empty one and why it cannot be read.
fn load(context: &Context<'_>) -> (Loaded, Option<Failure>) {
    let loaded = overview::playback(context).and_then(|playback| playback.load().map_err(Failure::from));
    match loaded {
        Ok(loaded) => (loaded, None),
        Err(failure) => (Loaded::default(), Some(failure)),
    }
}

/// Each environment's name and its targets that are known.
fn known<'v, 'o>(
    views: &'v [EnvironmentView<'o>],
) -> impl Iterator<Item = (&'v EnvironmentView<'o>, &'v survey::TargetView)> {
    views.iter().flat_map(|view| view.targets.iter().flatten().map(move |target| (view, target)))
}
