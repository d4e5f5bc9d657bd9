//! What the playback is told of a restart: that the relay showed these edits when it was back, so that SDKs, which connect anew
//! then, have them. Nothing is decided by it: it is for `rc log`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::footing::Footings;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::FiledEdit;
use crate::playback::LoadedFile;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::Syncing;

/// Notes it in the file of every change that is part of an override which the relay was seen to show.
///
/// # Errors
/// The first file that could not be written to; the others are.
pub(super) fn note(
    playback: &Playback,
    views: &[EnvironmentView<'_>],
    footings: &Footings,
    relay: &str,
) -> Result<(), PlaybackError> {
    let mut files: BTreeMap<&Path, (&LoadedFile, Vec<Event>)> = BTreeMap::new();
    for filed in shown(views, footings, relay).filter(|filed| filed.file.writable) {
        let (_, events) = files.entry(&filed.file.path).or_insert_with(|| (filed.file, Vec::new()));
        let event =
            Event { at: Timestamp::now(), edit: filed.edit, what: Happened::Restarted { relay: relay.to_owned() } };
        if !events.iter().any(|known| known.edit == event.edit) {
            events.push(event);
        }
    }
    let mut all = Ok(());
    for (file, events) in files.into_values() {
        let noted = playback.reopen(file).and_then(|mut file| file.note(&events, Syncing::Later));
        all = all.and(noted);
    }
    all
}

/// The edits that a relay which is back was seen to show.
fn shown<'v>(
    views: &'v [EnvironmentView<'v>],
    footings: &Footings,
    relay: &str,
) -> impl Iterator<Item = FiledEdit<'v>> {
    let seen = footings.of(relay).filter(|footing| footing.key.is_some());
    let mut shown = Vec::new();
    for footing in seen {
        let view = views.iter().filter(|view| view.environment.to_string() == footing.environment);
        for situation in view.flat_map(|view| &view.situations) {
            let Some(override_) = situation.standing.in_force() else { continue };
            if footing.edits.iter().any(|(flag, _)| *flag == situation.flag) {
                let part = |filed: &&FiledEdit<'_>| override_.changes.contains(&filed.file.change());
                shown.extend(situation.filed.iter().filter(part).copied());
            }
        }
    }
    shown.into_iter()
}
