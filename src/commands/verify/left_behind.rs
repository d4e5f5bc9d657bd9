//! What is said of SDKs that may not have what everybody should, flag by flag: by the records that the playback says were
//! written, by the override, and by LaunchDarkly's version. Pure.

use jiff::Timestamp;

use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::event::Happened;
use crate::change::override_::Override;
use crate::change::stale::Stood;
use crate::change::stale::stale;
use crate::change::target::Target;
use crate::commands::left_behind;
use crate::commands::left_behind::Fronts;
use crate::commands::verify::facts::Facts;
use crate::commands::verify::facts::Voice;
use crate::flag::configuration::Configuration;
use crate::flag::record::Record;
use crate::playback::Loaded;
use crate::playback::LoadedFile;

/// What is to be said of one flag.
pub fn of(facts: &Facts, loaded: &Loaded, fronts: &Fronts, now: Timestamp) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(override_) = &facts.override_ {
        let missing = fronts.missing(override_, |target| is_in_force(facts, override_, target));
        told.extend(left_behind::diverged(&missing, override_, now));
    }
    // As long as it is owed, it is meant to be ahead.
    let is_owed = facts.override_.as_ref().is_some_and(|own| own.replayed_as().is_none());
    if let (Voice::Says { configuration, version }, false) = (&facts.launchdarkly, is_owed) {
        let written = loaded.files.iter().flat_map(|file| written(file, facts));
        let stood: Vec<Stood> = facts.override_.iter().map(left_behind::stood).chain(written).collect();
        let left = stale(&stood, *version, Some(configuration));
        let edited = edited(loaded, facts).chain(facts.override_.iter().map(|own| own.motive.at)).max();
        told.extend(left.zip(edited).and_then(|(left, edited)| left_behind::in_words(left, fronts, edited)));
    }
    told
}

/// Whether the record in a store does what the override wants.
fn is_in_force(facts: &Facts, override_: &Override, target: &Target) -> bool {
    let wish = super::judgement::wish(override_);
    let touched = super::judgement::touched(override_);
    let is_there = |(label, voice, _): &(String, Voice, bool)| match (voice, &wish) {
        (Voice::Says { configuration, .. }, Some(wish)) => {
            *label == target.store && configuration.differs(wish).is_disjoint(&touched)
        }
        _ => false,
    };
    facts.stores.iter().any(is_there)
}

/// When the flag was edited, by the playback.
fn edited<'f>(loaded: &'f Loaded, facts: &'f Facts) -> impl Iterator<Item = Timestamp> + 'f {
    let is_of = |edit: &Edit| edit.environment == facts.environment && edit.flag == facts.flag;
    let changes = loaded.files.iter().map(|file| &file.intent.change);
    let changes = changes.filter(|change| change.kind != ChangeKind::Undo);
    changes.filter(move |change| change.edits.iter().any(is_of)).map(|change| change.motive.at)
}

/// What a change put into stores for the flag, as its file says: the versions that a store confirmed.
fn written<'f>(file: &'f LoadedFile, facts: &'f Facts) -> impl Iterator<Item = Stood> + 'f {
    let edits = file.intent.change.edits.iter().enumerate();
    let edits = edits.filter(|(_, edit)| edit.environment == facts.environment && edit.flag == facts.flag);
    let edits = edits.filter(|_| file.intent.change.kind != ChangeKind::Undo);
    edits.flat_map(move |(place, _)| {
        let records = move |target: &Target, version: u64| {
            let intended = file.intent.edits.get(place).into_iter().flat_map(|edit| &edit.targets);
            let intended = intended.filter(|told| told.target == *target).filter_map(|told| told.after.as_ref());
            let again = file.events.iter().filter(move |event| event.edit == place);
            let again = again.filter_map(|event| match &event.what {
                Happened::ReRead { target: there, after, .. } if there == target => after.as_ref(),
                _ => None,
            });
            intended.chain(again).find(|record: &&Record| record.version() == version).cloned()
        };
        file.events.iter().filter(move |event| event.edit == place).filter_map(move |event| match &event.what {
            Happened::Written { target, version: Some(version), .. } => {
                let record = records(target, *version);
                let configuration = record.map(|record| Configuration::of_record(&record));
                Some(Stood { version: *version, configuration })
            }
            _ => None,
        })
    })
}
