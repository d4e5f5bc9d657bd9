//! What the guard writes down before it writes to a store: a playback of its own, below its folder. Nobody replays from
//! there; it is the proof that a write was written down (design 3.1), and for people who ask what happened. DISK: everything
//! here blocks.
//!
//! Each override that the guard has a hand in gets an edit in a file, in the name of whoever made the override. Files are
//! set aside as soon as the guard has nothing more to do with what is in them, or when they are long, and those of an earlier
//! run at once. Of what is set aside the newest are kept; one with a flag in it that is still overridden never goes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::event::EditIndex;
use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::ChangeFile;
use crate::playback::EditIntent;
use crate::playback::Intent;
use crate::playback::PLAYBACK_FORMAT;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::Telling;
use crate::playback::record_writes_in;

/// The most edits in one file.
const EDITS_MAX: usize = 200;

/// How many files that were set aside are kept.
const KEPT_MAX: usize = 500;

/// A file into which more than this was written, in bytes, is set aside, and another one is begun.
const LENGTH_MAX: usize = 4 * 1024 * 1024;

/// One flag of an environment.
type Subject = (Environment, FlagKey);

/// A file that is open.
#[derive(Debug)]
struct Open {
    file: ChangeFile,
    /// The flags in it with which the guard is not done.
    flags: BTreeSet<Subject>,
    /// About how long it is, in bytes.
    length: usize,
}

/// The guard's playback.
#[derive(Debug)]
pub struct RecordBook {
    playback: Playback,
    open: BTreeMap<ChangeId, Open>,
    places: BTreeMap<Subject, (ChangeId, EditIndex)>,
    /// The flags of each environment with which the guard is not done, whether anything was written of them or not.
    kept: BTreeMap<Environment, BTreeSet<FlagKey>>,
    /// Whether there may be more that is set aside than has to be kept.
    trims: bool,
}

impl RecordBook {
    /// Begins with an empty one: what an earlier run left is set aside.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn begin(playback: Playback) -> Result<Self, PlaybackError> {
        let loaded = playback.load_waiting()?;
        let left: Vec<ChangeFile> = loaded.files.iter().filter_map(|file| playback.reopen(file).ok()).collect();
        set_aside(&playback, &left)?;
        Ok(Self { playback, open: BTreeMap::new(), places: BTreeMap::new(), kept: BTreeMap::new(), trims: true })
    }

    /// Writes down what is about to be written; `overrides` has, for each write, the override that it is about.
    ///
    /// # Errors
    /// The disk did not take it. Then nothing may be written to a store.
    pub(super) fn record<'w>(
        &mut self,
        writes: &'w [Write],
        overrides: &[Override],
    ) -> Result<Recorded<'w>, PlaybackError> {
        let subject = |override_: &Override| (override_.environment.clone(), override_.flag.clone());
        let mut new: BTreeMap<Subject, &Override> = BTreeMap::new();
        for override_ in overrides.iter().filter(|override_| !self.places.contains_key(&subject(override_))) {
            new.insert(subject(override_), override_);
        }
        let new: Vec<(Subject, &Override)> = new.into_iter().collect();
        for part in new.chunks(EDITS_MAX) {
            self.open_for(part)?;
        }
        let mut by_file: BTreeMap<ChangeId, Vec<(EditIndex, usize)>> = BTreeMap::new();
        for (place, (override_, write)) in overrides.iter().zip(writes).enumerate() {
            if let Some((file, edit)) = self.places.get(&subject(override_)) {
                by_file.entry(*file).or_default().push((*edit, place));
                if let Some(open) = self.open.get_mut(file) {
                    open.length = open.length.saturating_add(length(write));
                }
            }
        }
        let mut files: Vec<Telling<'_>> = self
            .open
            .iter_mut()
            .filter_map(|(id, open)| Some(Telling { file: &mut open.file, writes: by_file.remove(id)? }))
            .collect();
        record_writes_in(&mut files, writes, Timestamp::now())
    }

    fn open_for(&mut self, part: &[(Subject, &Override)]) -> Result<(), PlaybackError> {
        let Some((_, first)) = part.first() else { return Ok(()) };
        let edit = |((environment, flag), override_): &(Subject, &Override)| Edit {
            environment: environment.clone(),
            flag: flag.clone(),
            instructions: override_.instructions.clone(),
        };
        let change = Change {
            id: ChangeId::new(),
            kind: ChangeKind::Adopted,
            motive: first.motive.clone(),
            edits: part.iter().map(edit).collect(),
        };
        let id = change.id;
        let intent = Intent {
            format: PLAYBACK_FORMAT,
            change,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            outage: Vec::new(),
            edits: part.iter().map(|_| EditIntent { request: String::new(), targets: Vec::new() }).collect(),
        };
        let (file, _) = self.playback.record(&intent, &[])?;
        let flags = part.iter().map(|(subject, _)| subject.clone()).collect();
        self.open.insert(id, Open { file, flags, length: 0 });
        for (edit, (subject, _)) in part.iter().enumerate() {
            self.places.insert(subject.clone(), (id, edit));
        }
        Ok(())
    }

    /// The guard has nothing more to do with the flags of an environment but those that are `kept`.
    ///
    /// # Errors
    /// A file could not be moved or removed; it is tried again next time.
    pub(super) fn keep_only(
        &mut self,
        environment: &Environment,
        kept: &BTreeSet<FlagKey>,
    ) -> Result<(), PlaybackError> {
        if self.kept.get(environment) != Some(kept) {
            self.kept.insert(environment.clone(), kept.clone());
            self.trims = true;
        }
        let is_done = |(of, flag): &Subject| of == environment && !kept.contains(flag);
        let is_long = |file: &ChangeId| self.open.get(file).is_some_and(|open| open.length > LENGTH_MAX);
        let done = self.places.iter().filter(|(subject, (file, _))| is_done(subject) || is_long(file));
        let done: Vec<Subject> = done.map(|(subject, _)| subject.clone()).collect();
        for subject in done {
            if let Some((file, _)) = self.places.remove(&subject)
                && let Some(open) = self.open.get_mut(&file)
            {
                open.flags.remove(&subject);
            }
        }
        let over: Vec<ChangeId> =
            self.open.iter().filter(|(_, open)| open.flags.is_empty()).map(|(id, _)| *id).collect();
        let files: Vec<ChangeFile> = over.iter().filter_map(|id| self.open.remove(id)).map(|open| open.file).collect();
        self.trims |= !files.is_empty();
        set_aside(&self.playback, &files)?;
        if self.trims {
            self.trim(KEPT_MAX)?;
            self.trims = false;
        }
        Ok(())
    }

    /// Lets go of the oldest files that were set aside, beyond `most`. Where it is not known what is overridden in an
    /// environment, its files stay.
    fn trim(&self, most: usize) -> Result<(), PlaybackError> {
        let is_over = |edit: &Edit| self.kept.get(&edit.environment).is_some_and(|kept| !kept.contains(&edit.flag));
        if !self.playback.has_replayed(most)? {
            return Ok(());
        }
        let guard = self.playback.lock_for_replay()?;
        self.playback.trim_replayed(&guard, most, |file| file.intent.change.edits.iter().all(is_over)).map(drop)
    }
}

/// About how much room a write takes in a file.
fn length(write: &Write) -> usize {
    let records = [&write.before, &write.after].into_iter().flatten().map(|record| record.text().len());
    records.sum::<usize>() + 1_024
}

fn set_aside(playback: &Playback, files: &[ChangeFile]) -> Result<(), PlaybackError> {
    if files.is_empty() {
        return Ok(());
    }
    let guard = playback.lock_for_replay()?;
    playback.move_to_replayed(&guard, files)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::change::recorded::OverrideWrite;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of as sample;
    use crate::change::sample::target;
    use crate::flag::instruction::Instruction;
    use crate::playback::RealDisk;

    fn put(key: &str) -> Write {
        let mut override_ = sample(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
        override_.flag = key.parse().unwrap();
        Write {
            target: target("eu"),
            flag: key.parse().unwrap(),
            before: Some(flag(42, true, 1, 0)),
            after: Some(flag(43, false, 1, 0)),
            override_before: None,
            override_after: OverrideWrite::Put(Arc::new(override_)),
            change: change(1),
        }
    }

    fn about(writes: &[Write]) -> Vec<Override> {
        let of = |write: &Write| match &write.override_after {
            OverrideWrite::Put(next) => next.as_ref().clone(),
            OverrideWrite::Keep | OverrideWrite::End(_) => panic!(),
        };
        writes.iter().map(of).collect()
    }

    fn record<'w>(book: &mut RecordBook, writes: &'w [Write]) -> Recorded<'w> {
        book.record(writes, &about(writes)).unwrap()
    }

    fn files(folder: &std::path::Path) -> Vec<String> {
        let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".jsonl")).collect();
        names.sort();
        names
    }

    #[test]
    fn of_what_is_set_aside_the_newest_stay_and_whatever_is_still_overridden() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("playback");
        let mut book = RecordBook::begin(Playback::open(&path, Arc::new(RealDisk)).unwrap()).unwrap();
        let environment: Environment = "shop/production".parse().unwrap();
        let put = |key: &str, second: u8| {
            let mut write = put(key);
            if let OverrideWrite::Put(next) = &mut write.override_after {
                let mut override_ = next.as_ref().clone();
                override_.motive.at = format!("2026-10-20T02:14:{second:02}Z").parse().unwrap();
                *next = Arc::new(override_);
            }
            write
        };
        for (second, key) in (0_u8..).zip(["a", "b", "c", "d", "e"]) {
            record(&mut book, &[put(key, second)]);
        }
        // Of the two oldest one is still overridden, although its file is set aside.
        drop(book);
        let mut book = RecordBook::begin(Playback::open(&path, Arc::new(RealDisk)).unwrap()).unwrap();
        assert_eq!((files(&path).len(), files(&path.join("replayed")).len()), (0, 5));
        book.trim(2).unwrap();
        assert_eq!(files(&path.join("replayed")).len(), 5, "nothing is known yet of what is overridden");
        book.keep_only(&environment, &["a".parse().unwrap()].into()).unwrap();
        book.trim(2).unwrap();
        let subjects: Vec<String> =
            files(&path.join("replayed")).iter().map(|name| name.split('-').nth(1).unwrap().to_owned()).collect();
        assert_eq!(subjects, ["a", "d", "e"]);
        // Over, and the oldest: it goes.
        book.keep_only(&environment, &BTreeSet::new()).unwrap();
        book.trim(2).unwrap();
        assert_eq!(files(&path.join("replayed")).len(), 2);
    }

    #[test]
    fn a_file_that_gets_long_is_set_aside_and_another_one_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("playback");
        let mut book = RecordBook::begin(Playback::open(&path, Arc::new(RealDisk)).unwrap()).unwrap();
        let environment: Environment = "shop/production".parse().unwrap();
        let kept: BTreeSet<FlagKey> = ["a".parse().unwrap()].into();
        let writes = [put("a")];
        let mut times = 0;
        while files(&path.join("replayed")).is_empty() {
            record(&mut book, &writes);
            // As if the record were as large as records may be.
            book.open.values_mut().for_each(|open| open.length += LENGTH_MAX / 10);
            book.keep_only(&environment, &kept).unwrap();
            times += 1;
            assert!(times < 20);
        }
        assert!(times > 5, "{times}");
        assert_eq!(files(&path).len(), 0);
        record(&mut book, &writes);
        assert_eq!((files(&path).len(), files(&path.join("replayed")).len()), (1, 1));
    }

    #[test]
    fn what_is_written_down_is_there_and_set_aside_when_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("playback");
        let open = || Playback::open(&path, Arc::new(RealDisk)).unwrap();
        let mut book = RecordBook::begin(open()).unwrap();
        let writes = [put("a"), put("b")];
        assert_eq!(record(&mut book, &writes).all().len(), 2);
        assert_eq!(record(&mut book, &writes[..1]).all().len(), 1);
        let loaded = open().load_waiting().unwrap();
        assert_eq!((loaded.files.len(), loaded.damaged.len()), (1, 0));
        let events: Vec<usize> = loaded.files[0].events.iter().map(|event| event.edit).collect();
        assert_eq!(events, [0, 1, 0]);
        let environment = "shop/production".parse().unwrap();
        book.keep_only(&environment, &["b".parse().unwrap()].into()).unwrap();
        assert_eq!(open().load_waiting().unwrap().files.len(), 1, "b is still in it");
        book.keep_only(&environment, &BTreeSet::new()).unwrap();
        assert_eq!(open().load_waiting().unwrap().files.len(), 0);
        assert_eq!(open().load().unwrap().files.len(), 1);
        // A guard that was killed leaves its files to the next one.
        assert_eq!(record(&mut book, &writes).all().len(), 2);
        drop(book);
        let _book = RecordBook::begin(open()).unwrap();
        assert_eq!(open().load_waiting().unwrap().files.len(), 0);
    }
}
