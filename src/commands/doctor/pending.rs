//! What is under way: owed, unfinished, expired, put aside. None of it is bad; all of it wants somebody.

use jiff::Timestamp;

use super::finding::Findings;
use super::finding::Part;
use crate::change::merge;
use crate::change::override_::OverrideState;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Situation;
use crate::commands::status::unfinished_changes;
use crate::playback::Loaded;
use crate::ui::harmless::excerpt;
use crate::ui::time;
use crate::ui::words::list;

/// Looks at what is pending.
pub(super) fn examine(loaded: &Loaded, views: &[EnvironmentView<'_>], now: Timestamp, findings: &mut Findings) {
    let mut any = false;
    for view in views {
        let environment = view.environment.to_string();
        for situation in &view.situations {
            any |= one(&environment, situation, now, findings);
        }
    }
    for change in unfinished_changes(loaded, views) {
        any = true;
        let told = format!("{}: not noted as written in {}", list(&change.flags), list(&change.targets));
        findings.note(Part::Pending, &format!("change {}", change.change), "unfinished", told, Some(change.next));
    }
    if !any {
        findings.good(Part::Pending, "nothing", "", "is in force, owed or unfinished, as far as could be seen");
    }
}

fn one(environment: &str, situation: &Situation<'_>, now: Timestamp, findings: &mut Findings) -> bool {
    let Some(override_) = situation.standing.in_force() else { return false };
    let flag = situation.flag.to_string();
    let motive = &override_.motive;
    let by = format!("{}, {}", excerpt(&motive.actor.user), time::full(motive.at));
    let digits = override_.change().map(|change| change.short()).unwrap_or_default();
    match &override_.state {
        OverrideState::InForce => {
            let told = format!("owed to LaunchDarkly ({by}, {digits})");
            findings.note(Part::Pending, environment, &flag, told, Some("rc replay".to_owned()));
        }
        OverrideState::AwaitingApproval { .. } => {
            let told = format!("owed, and awaiting approval ({by}, {digits})");
            findings.note(Part::Pending, environment, &flag, told, Some("rc status; then rc replay".to_owned()));
        }
        OverrideState::Replayed { version } => {
            let told = format!("in LaunchDarkly as v{version}; held until its stream shows it ({by}, {digits})");
            findings.note(Part::Pending, environment, &flag, told, None);
        }
    }
    if let Some(expires) = motive.expires.filter(|expires| *expires <= now) {
        let told = format!("EXPIRED {}, and still in force", time::full(expires));
        let way_out = format!("rc undo {flag}     or rc replay, if it is to stay");
        findings.note(Part::Pending, environment, &flag, told, Some(way_out));
    }
    for (target, lost) in merge::put_aside(&situation.said) {
        let digits = lost.change().map(|change| change.short()).unwrap_or_default();
        let told = format!(
            "{}'s change {digits} in {target} lost to {digits_of_winner}",
            excerpt(&lost.motive.actor.user),
            digits_of_winner = override_.change().map(|change| change.short()).unwrap_or_default()
        );
        let way_out = format!("the next write puts it aside; ask them, then: rc show {flag}");
        findings.note(Part::Pending, environment, &flag, told, Some(way_out));
    }
    true
}
