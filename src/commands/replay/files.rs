//! The playback's side of a replay: every override that is touched has a file here before anything is sent or written
//! (a colleague's gets one, docs/decisions/0004), and what happens to it is noted in every file that has a part in it.
//! It must not know what LaunchDarkly or a store is.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::change::override_::OverrideState;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::state;
use crate::commands::overview;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::owed::Part;
use crate::commands::replay::owed::Subject;
use crate::playback::ChangeFile;
use crate::playback::EditIntent;
use crate::playback::Intent;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::playback::PLAYBACK_FORMAT;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::ReplayGuard;
use crate::playback::Syncing;
use crate::playback::Telling;
use crate::playback::record_writes_in;

/// The files that are open, and which of their edits belong to which flag.
#[derive(Debug)]
pub struct Files<'p> {
    playback: &'p Playback,
    guard: &'p ReplayGuard,
    open: BTreeMap<ChangeId, ChangeFile>,
    parts: BTreeMap<Subject, Vec<Part>>,
    /// The changes of which this run began the file.
    adopted: BTreeSet<ChangeId>,
}

impl<'p> Files<'p> {
    /// None yet. `guard` is the right to replay.
    pub fn new(playback: &'p Playback, guard: &'p ReplayGuard) -> Self {
        Self { playback, guard, open: BTreeMap::new(), parts: BTreeMap::new(), adopted: BTreeSet::new() }
    }

    /// Opens the files that have a part in `matters`, and begins one where there is none.
    ///
    /// # Errors
    /// The folder cannot be read or written. A file that is damaged counts as none.
    pub fn prepare(&mut self, loaded: &Loaded, matters: &[&Matter]) -> Result<(), PlaybackError> {
        let by_change: BTreeMap<ChangeId, &LoadedFile> =
            loaded.files.iter().map(|file| (file.change(), file)).collect();
        let new = matters.iter().filter(|matter| !self.parts.contains_key(&matter.subject));
        for matter in new.collect::<Vec<_>>() {
            for (change, edit) in &matter.parts {
                if let Some(file) = by_change.get(change) {
                    self.take(&matter.subject, file, *edit);
                }
            }
        }
        if matters.iter().all(|matter| self.parts.contains_key(&matter.subject)) {
            return Ok(());
        }
        let all = self.playback.load()?;
        self.look_among_replayed(&all, matters);
        // A file that cannot be written to has its id to itself all the same.
        let unusable = all.damaged.iter().filter_map(|damage| damage.readable.as_deref());
        let taken = all.files.iter().chain(unusable).map(LoadedFile::change).collect();
        self.adopt(&taken, matters)
    }

    /// Notes something about one edit alone.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn note_one(
        &mut self,
        loaded: &Loaded,
        (change, edit): Part,
        what: Happened,
        syncing: Syncing,
    ) -> Result<(), PlaybackError> {
        let events = [Event { at: Timestamp::now(), edit, what }];
        if let Some(file) = self.open.get_mut(&change) {
            return file.note(&events, syncing);
        }
        let Some(file) = loaded.files.iter().find(|file| file.change() == change) else { return Ok(()) };
        self.playback.reopen(file)?.note(&events, syncing)
    }

    fn take(&mut self, subject: &Subject, file: &LoadedFile, edit: usize) {
        let change = file.change();
        if !self.open.contains_key(&change) {
            let Ok(opened) = self.playback.reopen(file) else { return };
            self.open.insert(change, opened);
        }
        self.parts.entry(subject.clone()).or_default().push((change, edit));
    }

    /// A change that LaunchDarkly has may have come to a store only now. Reads the whole history, so only where a file
    /// is missing.
    fn look_among_replayed(&mut self, all: &Loaded, matters: &[&Matter]) {
        for matter in matters {
            if self.parts.contains_key(&matter.subject) {
                continue;
            }
            for file in all.files.iter().filter(|file| matter.override_.changes.contains(&file.change())) {
                if let Some(edit) = place_in(&file.intent.change, &matter.subject) {
                    self.take(&matter.subject, file, edit);
                }
            }
        }
    }

    fn adopt(&mut self, taken: &BTreeSet<ChangeId>, matters: &[&Matter]) -> Result<(), PlaybackError> {
        let mut adopted: BTreeMap<ChangeId, Vec<&Matter>> = BTreeMap::new();
        for matter in matters.iter().filter(|matter| !self.parts.contains_key(&matter.subject)) {
            let newest = matter.override_.change().filter(|change| !taken.contains(change));
            adopted.entry(newest.unwrap_or_default()).or_default().push(matter);
        }
        for (id, matters) in adopted {
            let Some(first) = matters.first() else { continue };
            let edit = |matter: &&Matter| Edit {
                environment: matter.subject.0.clone(),
                flag: matter.subject.1.clone(),
                instructions: matter.override_.instructions.clone(),
            };
            let intent = Intent {
                format: PLAYBACK_FORMAT,
                change: Change {
                    id,
                    kind: ChangeKind::Adopted,
                    motive: first.override_.motive.clone(),
                    edits: matters.iter().map(edit).collect(),
                },
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
                outage: Vec::new(),
                edits: matters.iter().map(|_| EditIntent { request: String::new(), targets: Vec::new() }).collect(),
            };
            let (mut file, _) = self.playback.record(&intent, &[])?;
            file.note(&replayed_before(&matters), Syncing::Later)?;
            self.open.insert(id, file);
            self.adopted.insert(id);
            for (edit, matter) in matters.iter().enumerate() {
                self.parts.entry(matter.subject.clone()).or_default().push((id, edit));
            }
        }
        Ok(())
    }

    /// Notes what happened to flags, in every file that has a part in them, with one sync of each file.
    ///
    /// # Errors
    /// One of the files could not be written; the others may have been.
    pub fn note(&mut self, happened: &[(&Subject, Happened)], syncing: Syncing) -> Result<(), PlaybackError> {
        let at = Timestamp::now();
        let mut by_file: BTreeMap<ChangeId, Vec<Event>> = BTreeMap::new();
        for (subject, what) in happened {
            for (change, edit) in self.parts.get(subject).into_iter().flatten() {
                by_file.entry(*change).or_default().push(Event { at, edit: *edit, what: what.clone() });
            }
        }
        let mut failed = None;
        for (change, events) in by_file {
            if let Some(file) = self.open.get_mut(&change)
                && let Err(error) = file.note(&events, syncing)
            {
                failed = failed.or(Some(error));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Notes how an override ended that was found over, in the file that was begun for it here; others know by themselves.
    /// What cannot be noted the next replay finds out again.
    pub fn note_adopted(&mut self, subject: &Subject, what: &Happened) {
        for (change, edit) in self.parts.get(subject).into_iter().flatten() {
            if let Some(file) = self.open.get_mut(change).filter(|_| self.adopted.contains(change)) {
                let event = Event { at: Timestamp::now(), edit: *edit, what: what.clone() };
                let _ = file.note(&[event], Syncing::Later);
            }
        }
    }

    /// Writes down that stores are about to be written: each write in the newest file that has a part in its flag.
    ///
    /// # Errors
    /// A file could not be written, or a flag has none. Then no store may be written.
    pub fn record<'w>(&mut self, of: &[&Subject], writes: &'w [Write]) -> Result<Recorded<'w>, PlaybackError> {
        let mut by_file: BTreeMap<ChangeId, Vec<(usize, usize)>> = BTreeMap::new();
        for (place, subject) in of.iter().enumerate() {
            if let Some((change, edit)) = self.parts.get(*subject).and_then(|parts| parts.last()) {
                by_file.entry(*change).or_default().push((*edit, place));
            }
        }
        let mut files: Vec<Telling<'_>> = self
            .open
            .iter_mut()
            .filter_map(|(change, file)| Some(Telling { file, writes: by_file.remove(change)? }))
            .collect();
        record_writes_in(&mut files, writes, Timestamp::now())
    }

    /// Moves every change to `replayed/` of which nothing is owed any more, and gives their number, and why one could not
    /// be moved: that keeps no other from being moved, and changes nothing about what was done.
    pub fn sweep(&self) -> (usize, Vec<PlaybackError>) {
        let loaded = match self.playback.load_waiting() {
            Ok(loaded) => loaded,
            Err(error) => return (0, vec![error]),
        };
        let done = loaded.files.iter().filter(|file| file.writable && is_done(file));
        let files: Vec<ChangeFile> = done.filter_map(|file| self.playback.reopen(file).ok()).collect();
        if files.is_empty() || self.playback.move_to_replayed(self.guard, &files).is_ok() {
            return (files.len(), Vec::new());
        }
        let one_by_one = files.iter().map(|file| file.move_to_replayed(self.guard));
        let (moved, failed): (Vec<_>, Vec<_>) = one_by_one.partition(Result::is_ok);
        (moved.len(), failed.into_iter().filter_map(Result::err).collect())
    }
}

/// What the overrides themselves say: an adopted change that LaunchDarkly has already must not wait for it for ever.
fn replayed_before(matters: &[&Matter]) -> Vec<Event> {
    let at = Timestamp::now();
    let event = |(edit, matter): (usize, &&Matter)| match matter.override_.state {
        OverrideState::Replayed { version } => {
            let what = Happened::Replayed { revision: matter.override_.revision, version };
            Some(Event { at, edit, what })
        }
        OverrideState::InForce | OverrideState::AwaitingApproval { .. } => None,
    };
    matters.iter().enumerate().filter_map(event).collect()
}

/// Whether LaunchDarkly has every edit of it, or the edit is over.
fn is_done(file: &LoadedFile) -> bool {
    let state = state::fold(&file.intent.change, &overview::targets_of(file), &file.events);
    let has = |edit: &state::EditState| edit.is_over() || matches!(edit.standing, state::EditStanding::Replayed { .. });
    state.edits.iter().all(has)
}

fn place_in(change: &Change, (environment, flag): &Subject) -> Option<usize> {
    change.edits.iter().position(|edit| edit.environment == *environment && edit.flag == *flag)
}
