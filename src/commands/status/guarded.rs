//! What becomes of a target's overrides when LaunchDarkly returns: which guards stand beside it, whether its relays hang on
//! one, and the words for it. Pure, and no surer than what was seen.

use crate::commands::guards::Beside;
use crate::commands::guards::Link;
use crate::commands::status::report::GuardReport;
use crate::commands::status::report::GuardState;
use crate::commands::status::report::Return;
use crate::commands::status::report::TargetReport;
use crate::guard::presence::Holds;
use crate::guard::presence::OverrideWord;

/// The guards that announced themselves beside a target, those that are not understood too.
pub(super) fn reports(beside: &Beside) -> Vec<GuardReport> {
    let understood = beside.guards.iter().map(|guard| {
        let flags = |held: bool| {
            let is_it = |word: &&OverrideWord| matches!(word.holds, Holds::Held | Holds::Arrived) == held;
            guard.overrides.iter().filter(is_it).map(|word| word.flag.to_string()).collect()
        };
        GuardReport {
            guard: guard.name.clone(),
            version: Some(guard.version.clone()),
            since: Some(guard.since),
            shadow: guard.shadow,
            only_stores: guard.listens.is_none(),
            stream_up: guard.stream.up,
            stream_since: Some(guard.stream.since),
            relays: guard.relay_count(),
            holds: flags(true),
            in_conflict: flags(false),
            problem: None,
        }
    });
    let strange = beside.strange.iter().map(|(name, why)| GuardReport {
        guard: name.clone(),
        problem: Some(why.clone()),
        ..GuardReport::default()
    });
    understood.chain(strange).collect()
}

/// What the guards are for a target whose relays hang on them so.
pub(super) fn state(guards: &[GuardReport], links: &[&Link]) -> GuardState {
    if guards.is_empty() {
        return GuardState::None;
    }
    if guards.iter().all(|guard| guard.shadow) {
        return GuardState::LooksOn;
    }
    if guards.iter().all(|guard| guard.shadow || guard.only_stores) {
        return GuardState::Watches;
    }
    match links {
        [] => GuardState::NotKnown,
        links if links.iter().all(|link| link.is_on()) => GuardState::Holds,
        links if links.contains(&&Link::NotOn) => GuardState::NotOn,
        _ => GuardState::NotKnown,
    }
}

/// What a return of LaunchDarkly does to the overrides of a target.
pub(super) fn on_return(report: &TargetReport, no_relays: bool, is_missing: bool) -> String {
    if report.problem.is_some() && is_missing {
        return "not written yet; do not restart this relay".to_owned();
    }
    if report.problem.is_some() {
        return "not known".to_owned();
    }
    let is_guarded = !matches!(report.guard, GuardState::None | GuardState::LooksOn | GuardState::Watches);
    let told = match report.on_return {
        _ if report.overrides == 0 => "no override here",
        None if is_guarded && no_relays => "not known: RELAY_URLS names no relay; those on the guard keep overrides",
        None if is_guarded && report.relays.is_empty() => {
            "not known: no relay is known before it; those on the guard keep overrides"
        }
        None if report.guard == GuardState::NotKnown => {
            "not known: a guard is there; whether this relay is on it is not known"
        }
        None if no_relays => "not known: RELAY_URLS names no relay",
        None if report.relays.is_empty() => "not known: no relay is known before it",
        None => "not known: its relay does not answer",
        Some(Return::Lost | Return::LostAtNextEvent) if report.guard == GuardState::Watches => {
            "DIVERGED: connected SDKs get LaunchDarkly's value, and a guard writes overrides into the store again"
        }
        Some(Return::Lost) if report.guard == GuardState::NotOn => {
            "overrides LOST within about 30 s: a guard is there, but this relay is not on it"
        }
        Some(Return::LostAtNextEvent) if report.guard == GuardState::NotOn => {
            "overrides LOST at LaunchDarkly's next event: a guard is there, but this relay is not on it"
        }
        Some(Return::Lost) => "overrides LOST within about 30 s",
        Some(Return::LostAtNextEvent) => "overrides LOST when LaunchDarkly sends the flag or its stream begins anew",
        Some(Return::MayStay) => "overrides may stay until LaunchDarkly changes the flag",
        Some(Return::Held) => "overrides stay: a guard holds them",
        Some(Return::Stays) => "overrides stay: the relay never hears from LaunchDarkly",
    };
    told.to_owned()
}
