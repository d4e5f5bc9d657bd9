//! What is said of SDKs that may not have what everybody should. Where versions of ours stood in stores that LaunchDarkly has
//! not left behind for certain, it is asked how its flag is now, beside everything else that is asked; where it does not
//! say so in time, what is known of an override alone is said.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::change::override_::Override;
use crate::commands::Context;
use crate::commands::left_behind;
use crate::commands::left_behind::Fronts;
use crate::commands::left_behind::recorded::ByFlag;
use crate::commands::left_behind::recorded::Edits;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::FiledEdit;
use crate::commands::overview::RECENT;
use crate::commands::status::overrides::Places;
use crate::commands::status::report::LeftBehindReport;
use crate::flag::configuration::Configuration;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::playback::Loaded;

/// The most files of replayed changes that are read, newest first.
const FILES_MAX: usize = 200;
/// The most flags that LaunchDarkly is asked about, those first that were edited last: `rc verify` asks about all.
const ASKED_MAX: usize = 20;
/// How many of them at once: LaunchDarkly's limits are for the account.
const ASKED_AT_ONCE: usize = 4;

/// What LaunchDarkly says of flags: the version, and what they do.
pub(super) type Said = BTreeMap<(Environment, FlagKey), (u64, Configuration)>;

/// The changes that LaunchDarkly has had lately. A disk can hang as a network can, so they are read aside; nothing where they
/// do not come in time, or cannot be read: that is told of the playback as a whole.
pub(super) async fn replayed_lately(context: &Context<'_>, until: Instant) -> Loaded {
    let Ok(playback) = overview::playback(context) else { return Loaded::default() };
    let since = Timestamp::now().saturating_sub(RECENT).unwrap_or(Timestamp::MIN);
    let read = tokio::task::spawn_blocking(move || playback.load_replayed(since, FILES_MAX));
    match tokio::time::timeout_at(until, read).await {
        Ok(Ok(Ok(loaded))) => loaded,
        _ => Loaded::default(),
    }
}

/// The flags of which only LaunchDarkly's word tells whether SDKs are left behind, as many as are asked about.
pub(super) fn to_ask(views: &[EnvironmentView<'_>], edits: &ByFlag<'_>, now: Timestamp) -> Vec<(Environment, FlagKey)> {
    let mut wanted: Vec<(Timestamp, (Environment, FlagKey))> = Vec::new();
    for ((environment, flag), edits) in edits {
        // Where a store is silent, what it holds may still be owed.
        let is_told = |view: &&EnvironmentView<'_>| view.targets.is_ok() && view.silent().next().is_none();
        let view = views.iter().filter(is_told).find(|view| view.environment == **environment);
        let (Some(view), Some(at)) = (view, edits.last().filter(|at| is_recent(*at, now))) else { continue };
        let situation = view.situations.iter().find(|situation| situation.flag == **flag);
        let override_ = situation.and_then(|situation| situation.standing.in_force());
        // Without the right to our keys the playback alone tells what is owed.
        let is_owed = |filed: &FiledEdit<'_>| filed.state().is_none_or(|edit| edit.is_owed());
        if override_.is_none() && situation.is_some_and(|situation| situation.filed.iter().any(is_owed)) {
            continue;
        }
        if may_be_left(override_, edits) {
            wanted.push((at, ((*environment).clone(), (*flag).clone())));
        }
    }
    wanted.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    wanted.into_iter().map(|(_, key)| key).take(ASKED_MAX).collect()
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).unwrap_or_default() <= RECENT
}

/// Whether LaunchDarkly's version may be one of ours, or lower. As long as an override is owed, it is meant to be.
fn may_be_left(override_: Option<&Override>, edits: &Edits<'_>) -> bool {
    let stood = override_.map(|own| left_behind::stood(own).version);
    let highest = edits.highest().into_iter().chain(stood).max();
    let replayed = override_.map(Override::replayed_as);
    let accepted = edits.accepted().into_iter().chain(replayed.flatten()).max();
    match (highest, accepted) {
        _ if replayed == Some(None) => false,
        (None, _) => false,
        (Some(_), None) => true,
        (Some(highest), Some(accepted)) => {
            highest > accepted || (highest == accepted && !edits.is_the_same_step(accepted))
        }
    }
}

/// Asks LaunchDarkly about them, until it does not answer any more.
pub(super) async fn ask(client: Option<&Client>, flags: Vec<(Environment, FlagKey)>, until: Instant) -> Said {
    let mut said = Said::new();
    let Some(client) = client else { return said };
    let asked = flags.into_iter().map(async |key: (Environment, FlagKey)| {
        let answer = client.flag(&key.0, &key.1).await;
        (key, answer)
    });
    let mut answers = std::pin::pin!(futures_util::stream::iter(asked).buffer_unordered(ASKED_AT_ONCE));
    while let Ok(Some((key, answer))) = tokio::time::timeout_at(until, answers.next()).await {
        match answer {
            Ok(flag) if !flag.archived => drop(said.insert(key, (flag.version, flag.configuration))),
            // Nobody serves it any more.
            Ok(_) | Err(ApiError::NotFound { .. }) => {}
            Err(_) => break,
        }
    }
    said
}

/// What is said of the SDKs before an override.
pub(super) fn of_override(
    override_: &Override,
    places: &Places,
    fronts: &Fronts,
    edits: Option<&Edits<'_>>,
    said: Option<&(u64, Configuration)>,
    now: Timestamp,
) -> Vec<String> {
    let missing = fronts.missing(override_, |target| places.in_force.contains(target));
    let none = Edits::default();
    let left = match (override_.replayed_as(), said) {
        (None, _) => None,
        (Some(_), Some((has, does))) => edits.unwrap_or(&none).left(Some(override_), *has, does),
        (Some(version), None) => left_behind::ahead(override_, version).map(|left| (left, override_.motive.at)),
    };
    let left = left.and_then(|(left, edited)| left_behind::in_words(left, fronts, edited));
    left_behind::diverged(&missing, override_, now).into_iter().chain(left).collect()
}

/// What is said of flags whose overrides are over, in one environment.
pub(super) fn after(
    environment: &Environment,
    overridden: &BTreeSet<&FlagKey>,
    fronts: &Fronts,
    edits: &ByFlag<'_>,
    said: &Said,
) -> Vec<LeftBehindReport> {
    let here = said.iter().filter(|((of, flag), _)| of == environment && !overridden.contains(flag));
    let told = here.filter_map(|((_, flag), (has, does))| {
        let (left, edited) = edits.get(&(environment, flag))?.left(None, *has, does)?;
        let told = left_behind::in_words(left, fronts, edited)?;
        Some(LeftBehindReport { flag: flag.to_string(), told })
    });
    told.collect()
}
