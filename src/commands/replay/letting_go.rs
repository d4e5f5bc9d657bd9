//! The history of a guard that replays by itself, which nobody else looks after: of what LaunchDarkly has had, the newest is
//! kept. Nothing that is decided goes by it: that LaunchDarkly has a change is told by LaunchDarkly, by the override and by its
//! ended mark. An operator's history is never trimmed.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::id::ChangeId;
use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::RECENT;
use crate::commands::place::Surroundings;
use crate::playback::LoadedFile;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::ReplayGuard;

/// How many files are kept, however old they are.
const KEPT_MAX: usize = 500;

/// Lets go of old files. Where a store did not tell what stands in it, they stay.
///
/// # Errors
/// The folder cannot be listed, or the disk refused to remove one; some may be gone then.
pub(super) fn let_go(
    playback: &Playback,
    guard: &ReplayGuard,
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
) -> Result<usize, PlaybackError> {
    let is_known = |view: &EnvironmentView<'_>| view.targets.is_ok() && view.silent().next().is_none();
    if !views.iter().all(is_known) || !overview::unseen(surroundings, views).is_empty() {
        return Ok(0);
    }
    let seen = views.iter().flat_map(|view| &view.situations).flat_map(|situation| &situation.seen);
    let standing = seen.filter_map(|(_, seen)| seen.own()).flat_map(|own| own.changes.iter().copied()).collect();
    beyond(KEPT_MAX, playback, guard, &standing, Timestamp::now())
}

/// Beyond the newest `most`, a file goes once a week has passed since its change was made: so long the change can be sent once
/// more (`commands::signing`), and `rc verify` looks back. The file of what still stands in a store would be begun anew.
fn beyond(
    most: usize,
    playback: &Playback,
    guard: &ReplayGuard,
    standing: &BTreeSet<ChangeId>,
    now: Timestamp,
) -> Result<usize, PlaybackError> {
    if !playback.has_replayed(most)? {
        return Ok(0);
    }
    let since = now.saturating_sub(RECENT).unwrap_or(Timestamp::MIN);
    let may_go = |file: &LoadedFile| file.intent.change.motive.at < since && !standing.contains(&file.change());
    playback.trim_replayed(guard, most, may_go)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::edit::Change;
    use crate::change::edit::ChangeKind;
    use crate::change::edit::Edit;
    use crate::change::edit::Motive;
    use crate::change::sample::motive;
    use crate::flag::instruction::Instruction;
    use crate::playback::EditIntent;
    use crate::playback::Intent;
    use crate::playback::PLAYBACK_FORMAT;
    use crate::playback::RealDisk;

    #[test]
    fn what_is_old_goes_unless_it_is_among_the_newest_or_still_stands() {
        let folder = tempfile::tempdir().unwrap();
        let playback = Playback::open(&folder.path().join("replays"), Arc::new(RealDisk)).unwrap();
        let day = |day: u8| format!("2026-10-{day:02}T02:14:07Z").parse::<Timestamp>().unwrap();
        let record = |of: u8| {
            let edit = Edit {
                environment: "shop/production".parse().unwrap(),
                flag: "checkout".parse().unwrap(),
                instructions: vec![Instruction::TurnFlagOff],
            };
            let intent = Intent {
                format: PLAYBACK_FORMAT,
                change: Change {
                    id: ChangeId::new(),
                    kind: ChangeKind::Adopted,
                    motive: Motive { at: day(of), ..motive("anna") },
                    edits: vec![edit],
                },
                tool_version: String::new(),
                outage: Vec::new(),
                edits: vec![EditIntent { request: String::new(), targets: Vec::new() }],
            };
            playback.record(&intent, &[]).unwrap().0
        };
        let files: Vec<_> = [1, 2, 3, 11, 12, 13].into_iter().map(record).collect();
        let guard = playback.lock_for_replay().unwrap();
        playback.move_to_replayed(&guard, &files).unwrap();
        let days = || -> Vec<u8> {
            let loaded = playback.load().unwrap();
            let mut at: Vec<Timestamp> = loaded.files.iter().map(|file| file.intent.change.motive.at).collect();
            at.sort();
            at.iter().map(|at| at.strftime("%d").to_string().parse().unwrap()).collect()
        };
        let beyond = |most, standing: &[ChangeId], today: u8| {
            beyond(most, &playback, &guard, &standing.iter().copied().collect(), day(today)).unwrap()
        };
        assert_eq!(beyond(6, &[], 31), 0, "not more than are kept");
        assert_eq!(beyond(1, &[], 8), 0, "a week has not passed for any");
        assert_eq!((beyond(1, &[files[1].change()], 10), days()), (1, vec![2, 3, 11, 12, 13]), "a week and no more");
        assert_eq!((beyond(2, &[files[1].change()], 31), days()), (2, vec![2, 12, 13]));
        assert_eq!((beyond(2, &[], 31), days()), (1, vec![12, 13]));
    }
}
