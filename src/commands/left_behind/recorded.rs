//! What SDKs may have got of a flag, as the playback tells it: its edits, and the records of ours that stores confirmed. What
//! took an edit back is not among them: it puts LaunchDarkly's own record there. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::change::edit::ChangeKind;
use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::override_::Override;
use crate::change::stale::Stale;
use crate::change::stale::Stood;
use crate::change::stale::stale;
use crate::change::target::Target;
use crate::commands::left_behind::stood;
use crate::flag::configuration::Configuration;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::playback::LoadedFile;
use crate::playback::TargetIntent;

/// The edits of one flag, by the files that tell of them.
#[derive(Debug, Default)]
pub struct Edits<'f> {
    edits: Vec<(&'f LoadedFile, EditIndex)>,
}

/// The edits of all flags.
pub type ByFlag<'f> = BTreeMap<(&'f Environment, &'f FlagKey), Edits<'f>>;

/// Sorts what is in files by flag.
pub fn by_flag<'f>(files: impl IntoIterator<Item = &'f LoadedFile>) -> ByFlag<'f> {
    let mut all = ByFlag::new();
    for file in files.into_iter().filter(|file| file.intent.change.kind != ChangeKind::Undo) {
        for (place, edit) in file.intent.change.edits.iter().enumerate() {
            all.entry((&edit.environment, &edit.flag)).or_default().edits.push((file, place));
        }
    }
    all
}

impl<'f> Edits<'f> {
    /// When the flag was edited last.
    pub fn last(&self) -> Option<Timestamp> {
        self.edits.iter().map(|(file, _)| file.intent.change.motive.at).max()
    }

    /// The highest version that a store confirmed.
    pub fn highest(&self) -> Option<u64> {
        self.written().map(|(.., version)| version).max()
    }

    /// LaunchDarkly's newest version of which it is noted that it has our edits.
    pub fn accepted(&self) -> Option<u64> {
        let of = |event: &Event| match event.what {
            Happened::Replayed { version, .. } => Some(version),
            _ => None,
        };
        self.events().filter_map(|(_, event)| of(event)).max()
    }

    /// Whether LaunchDarkly's version `accepted` is what every store was given, by the same step from the same record of
    /// LaunchDarkly's, and we sent it that step: then whoever got ours has the very same. What LaunchDarkly turned out to have
    /// already somebody else made, with whatever else.
    pub fn is_the_same_step(&self, accepted: u64) -> bool {
        let is_it = |target: &TargetIntent| {
            let before = target.before.as_ref().map(|record| record.version().saturating_add(1));
            target.theirs.is_none() && before == Some(accepted)
        };
        let targets =
            |(file, place): &(&'f LoadedFile, EditIndex)| file.intent.edits.get(*place).map(|one| &one.targets);
        let told = self.edits.iter().filter_map(targets).flatten();
        let again = |event: &Event| matches!(event.what, Happened::ReRead { .. });
        let sent = |event: &Event| matches!(event.what, Happened::Attempted { .. });
        self.written().all(|(.., version)| version == accepted)
            && told.filter(|target| target.after.is_some()).all(is_it)
            && !self.events().any(|(_, event)| again(event))
            && self.events().any(|(_, event)| sent(event))
    }

    /// What may be left behind by them and by an override that is still there, now that LaunchDarkly is at version `has`,
    /// which does `now`; and when the last edit was.
    pub fn left(&self, override_: Option<&Override>, has: u64, now: &Configuration) -> Option<(Stale, Timestamp)> {
        let stood: Vec<Stood> = override_.map(stood).into_iter().chain(self.stood()).collect();
        let edited = self.last().into_iter().chain(override_.map(|own| own.motive.at)).max();
        stale(&stood, has, Some(now)).zip(edited)
    }

    /// The records that a store confirmed.
    fn stood(&self) -> impl Iterator<Item = Stood> {
        self.written().map(|(file, place, target, version)| {
            let record = record(file, place, target, version);
            Stood { version, configuration: record.map(Configuration::of_record) }
        })
    }

    fn written(&self) -> impl Iterator<Item = (&'f LoadedFile, EditIndex, &'f Target, u64)> {
        self.events().filter_map(|(file, event)| match &event.what {
            Happened::Written { target, version: Some(version), .. } => Some((file, event.edit, target, *version)),
            _ => None,
        })
    }

    fn events(&self) -> impl Iterator<Item = (&'f LoadedFile, &'f Event)> {
        self.edits.iter().flat_map(|&(file, place)| {
            file.events.iter().filter(move |event| event.edit == place).map(move |event| (file, event))
        })
    }
}

/// What an edit put into a target as this version, where its file tells.
fn record<'f>(file: &'f LoadedFile, place: EditIndex, target: &Target, version: u64) -> Option<&'f Record> {
    let intended = file.intent.edits.get(place).into_iter().flat_map(|edit| &edit.targets);
    let intended = intended.filter(|told| told.target == *target).filter_map(|told| told.after.as_ref());
    let again = file.events.iter().filter(|event| event.edit == place);
    let again = again.filter_map(|event| match &event.what {
        Happened::ReRead { target: there, after, .. } if there == target => after.as_ref(),
        _ => None,
    });
    intended.chain(again).find(|record| record.version() == version)
}
