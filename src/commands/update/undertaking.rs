//! What an update undertakes: its edits, grouped by the change that they belong to, each with a plan. As a rule that is one
//! new change. An edit that is in force already in some targets and not in others is finished under the change that
//! began it, on this machine or on a colleague's.

use std::collections::BTreeMap;
use std::collections::HashMap;

use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::edit::Motive;
use crate::change::event::EditIndex;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::override_::Override;
use crate::change::recorded::Write;
use crate::change::seen::Seen;
use crate::change::update;
use crate::change::update::Asked;
use crate::change::update::EditPlan;
use crate::change::update::EditSeen;
use crate::change::update::Here;
use crate::change::update::Options;
use crate::change::update::course::Course;
use crate::commands::targets::Chosen;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::LoadedFile;
use crate::playback::Playback;
use crate::playback::PlaybackError;

/// All that was read for one edit.
#[derive(Debug)]
pub struct Ground {
    /// Where and what.
    pub edit: Edit,
    /// What holds for the flag.
    pub standing: Standing,
    /// The targets that answered and can be used.
    pub seen: Vec<(Chosen, Seen)>,
}

/// Edits that belong to one change.
#[derive(Debug)]
pub struct Undertaking {
    /// The change: a new one, or the one that is finished.
    pub change: Change,
    /// Its file, where there is one already; `None`: the change is to be recorded.
    pub file: Option<Box<LoadedFile>>,
    /// For each edit of this undertaking, in the change's order: which ground it stands on, its place in the change, and
    /// its plan.
    pub parts: Vec<Part>,
}

/// One edit of an undertaking.
#[derive(Debug)]
pub struct Part {
    /// Its ground, by place.
    pub ground: usize,
    /// Its place in the change.
    pub edit: EditIndex,
    /// What every target gets.
    pub plan: EditPlan,
}

impl Undertaking {
    /// What the operator allows for it.
    pub fn rules<'k>(&self, options: &Options<'k>) -> Options<'k> {
        rules(&self.change, self.file.as_deref(), options)
    }

    /// All writes, edit by edit.
    pub fn writes(&self) -> Vec<(EditIndex, Vec<Write>)> {
        let of = |part: &Part| (part.edit, part.plan.writes().map(|planned| planned.write.clone()).collect());
        self.parts.iter().map(of).filter(|(_, writes): &(_, Vec<Write>)| !writes.is_empty()).collect()
    }
}

/// Groups and plans. `resumed` is the change that the operator named, with its file: then all edits are its own.
///
/// # Errors
/// Where the playback has to be searched for a change and cannot be read.
pub fn plan(
    grounds: &[Ground],
    motive: &Motive,
    options: &Options<'_>,
    resumed: Option<&LoadedFile>,
    playback: &Playback,
) -> Result<Vec<Undertaking>, PlaybackError> {
    if let Some(file) = resumed {
        let all: Vec<usize> = (0..grounds.len()).collect();
        let change = file.intent.change.clone();
        return Ok(vec![undertake(grounds, &all, change, Some(Box::new(file.clone())), options)]);
    }
    let new = ChangeId::new();
    let mut begun: BTreeMap<ChangeId, Vec<usize>> = BTreeMap::new();
    let mut fresh: Vec<usize> = Vec::new();
    for (place, ground) in grounds.iter().enumerate() {
        match to_finish(ground, new, motive, options).and_then(Override::change) {
            Some(change) => begun.entry(change).or_default().push(place),
            None => fresh.push(place),
        }
    }
    let mut undertakings = Vec::new();
    undertakings.extend(begin(grounds, &fresh, new, motive, options));
    for (id, places) in begun {
        undertakings.extend(finish(grounds, &places, id, options, playback)?);
    }
    Ok(undertakings)
}

/// A new change. Edits that are so already are no part of it: nothing is written for them and LaunchDarkly is not told,
/// so they stand in an undertaking of their own, which is never recorded.
fn begin(
    grounds: &[Ground],
    places: &[usize],
    id: ChangeId,
    motive: &Motive,
    options: &Options<'_>,
) -> Vec<Undertaking> {
    let undertake_all = |places: &[usize]| {
        let change = change(grounds, places, id, ChangeKind::Update, motive.clone());
        undertake(grounds, places, change, None, options)
    };
    if places.is_empty() {
        return Vec::new();
    }
    let together = undertake_all(places);
    let (idle, busy): (Vec<&Part>, Vec<&Part>) = together.parts.iter().partition(|part| part.plan.is_already_so());
    if idle.is_empty() || busy.is_empty() {
        return vec![together];
    }
    let of = |parts: Vec<&Part>| -> Vec<usize> { parts.into_iter().map(|part| part.ground).collect() };
    vec![undertake_all(&of(busy)), undertake_all(&of(idle))]
}

/// The override that the edit only has to catch up with, if that is so.
fn to_finish<'g>(ground: &'g Ground, new: ChangeId, motive: &Motive, options: &Options) -> Option<&'g Override> {
    let asked = Asked { change: new, motive, edit: &ground.edit };
    match Course::of(&asked, options, &ground.standing, ground.seen.iter().map(|(_, seen)| seen)) {
        Course::CatchUp(merged) => Some(merged),
        Course::First { .. } | Course::Next(_) | Course::AfterReplay { .. } => None,
    }
}

/// Finishes the change `id`: in its own file, as far as that is here and names these edits; else as adopted from the stores.
/// A replay may have begun a file of a colleague's change here that names only some of them.
fn finish(
    grounds: &[Ground],
    places: &[usize],
    id: ChangeId,
    options: &Options<'_>,
    playback: &Playback,
) -> Result<Vec<Undertaking>, PlaybackError> {
    // Two files here must not tell of the same change: where the id is taken, what is adopted gets one of its own, and is
    // known by its motive.
    let (file, id) = match playback.find(&id.to_string()) {
        Ok(file) => (Some(Box::new(file)).filter(|file| file.writable), ChangeId::new()),
        Err(PlaybackError::NoSuchChange { .. }) => (None, id),
        // A file that is damaged is not written to, and it does not hold up the switch either: the stores know the change.
        Err(PlaybackError::Damaged { .. } | PlaybackError::Newer { .. } | PlaybackError::Ambiguous { .. }) => {
            (None, ChangeId::new())
        }
        Err(error) => return Err(error),
    };
    let known = file.as_ref().map(|file| positions(&file.intent.change)).unwrap_or_default();
    let is_named =
        |place: &usize| grounds.get(*place).is_some_and(|ground| known.contains_key(&place_of(&ground.edit)));
    let (named, adopted): (Vec<usize>, Vec<usize>) = places.iter().partition(|place| is_named(place));
    let mut undertakings = Vec::new();
    if let Some(file) = file.filter(|_| !named.is_empty()) {
        let change = file.intent.change.clone();
        undertakings.push(undertake(grounds, &named, change, Some(file), options));
    }
    if !adopted.is_empty() {
        let in_force = adopted.iter().filter_map(|place| grounds.get(*place)?.standing.in_force());
        let Some(motive) = in_force.map(|merged| merged.motive.clone()).next_back() else {
            // Unreachable in practice: an edit catches up only with an override in force.
            return Err(PlaybackError::Unwritable { problem: format!("change {id} has no override") });
        };
        let change = change(grounds, &adopted, id, ChangeKind::Adopted, motive);
        undertakings.push(undertake(grounds, &adopted, change, None, options));
    }
    Ok(undertakings)
}

/// The places of a change's edits: looked up for each of them, and there may be thousands.
fn positions(change: &Change) -> HashMap<(&Environment, &FlagKey), EditIndex> {
    change.edits.iter().enumerate().map(|(place, edit)| (place_of(edit), place)).collect()
}

fn place_of(edit: &Edit) -> (&Environment, &FlagKey) {
    (&edit.environment, &edit.flag)
}

fn change(grounds: &[Ground], places: &[usize], id: ChangeId, kind: ChangeKind, motive: Motive) -> Change {
    let edits = places.iter().filter_map(|place| grounds.get(*place)).map(|ground| ground.edit.clone()).collect();
    Change { id, kind, motive, edits }
}

fn undertake(
    grounds: &[Ground],
    places: &[usize],
    change: Change,
    file: Option<Box<LoadedFile>>,
    options: &Options<'_>,
) -> Undertaking {
    let used: Vec<(usize, &Ground)> = places.iter().filter_map(|place| Some((*place, grounds.get(*place)?))).collect();
    let seen: Vec<EditSeen<'_>> = used.iter().map(|(_, ground)| edit_seen(ground)).collect();
    let options = rules(&change, file.as_deref(), options);
    let plan = update::plan(change.id, &change.motive, &options, &seen);
    let positions = positions(&change);
    let parts = used.iter().zip(plan.edits).map(|((place, ground), plan)| Part {
        ground: *place,
        edit: positions.get(&place_of(&ground.edit)).copied().unwrap_or(*place),
        plan,
    });
    let parts = parts.collect();
    Undertaking { change, file, parts }
}

/// What the operator allows for a change. Nothing is signed that he did not type: not what was adopted from the stores, and
/// not a variation that was named by its place in an earlier run, since the stores may have another list by now.
fn rules<'k>(change: &Change, file: Option<&LoadedFile>, options: &Options<'k>) -> Options<'k> {
    let mut instructions = change.edits.iter().flat_map(|edit| &edit.instructions);
    let is_typed = change.kind != ChangeKind::Adopted
        && (file.is_none() || instructions.all(|instruction| instruction.variation().is_none()));
    Options { keys: options.keys.filter(|_| is_typed), ..*options }
}

fn edit_seen(ground: &Ground) -> EditSeen<'_> {
    EditSeen {
        edit: &ground.edit,
        standing: &ground.standing,
        targets: ground
            .seen
            .iter()
            .map(|(chosen, seen)| Here { target: &chosen.target, is_filter_copy: chosen.is_filter_copy, seen })
            .collect(),
    }
}
