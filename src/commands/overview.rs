//! Everything that is known at one moment: the environments, their targets, the overrides in them, and the changes in the
//! playback, joined flag by flag. What is owed, what is in force and what disagrees is read off here by `replay`,
//! `status`, `verify`, `show`, `log` and `undo`. It reads and never writes, and it must not print.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use crate::change::event::EditIndex;
use crate::change::id::ChangeId;
use crate::change::merge;
use crate::change::merge::Said;
use crate::change::merge::Standing;
use crate::change::seen::Seen;
use crate::change::state;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::place::Surroundings;
use crate::commands::relays::Before;
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::survey::TargetView;
use crate::commands::targets::Chosen;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::EditIntent;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::playback::Playback;

/// How far back a change that is over is looked at.
pub const RECENT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An edit of a change in the playback.
#[derive(Debug, Clone, Copy)]
pub struct FiledEdit<'o> {
    /// The change's file.
    pub file: &'o LoadedFile,
    /// Which of its edits.
    pub edit: EditIndex,
}

/// One flag of an environment, with all that is known about it.
#[derive(Debug)]
pub struct Situation<'o> {
    /// Which flag.
    pub flag: FlagKey,
    /// What every target that answered says of it.
    pub seen: Vec<(Chosen, Seen)>,
    /// Overrides and ended marks, target by target, as they were merged.
    pub said: Vec<Said>,
    /// What holds.
    pub standing: Standing,
    /// The edits of this flag in the playback that are not over, oldest change first.
    pub filed: Vec<FiledEdit<'o>>,
}

/// One environment, as far as it could be looked at.
#[derive(Debug)]
pub struct EnvironmentView<'o> {
    /// Which one.
    pub environment: Environment,
    /// Its targets and what was read of them, or why they are not known.
    pub targets: Result<Vec<TargetView>, Failure>,
    /// How the targets were found, where that is worth saying.
    pub told: Option<String>,
    /// The flags that are overridden, have been until lately, or have a change in the playback that is not over.
    pub situations: Vec<Situation<'o>>,
}

impl EnvironmentView<'_> {
    /// The targets that did not answer, with why.
    pub fn silent(&self) -> impl Iterator<Item = (&Chosen, &crate::store::StoreError)> {
        let views = self.targets.as_ref().map(Vec::as_slice).unwrap_or_default();
        views.iter().filter_map(|view| Some((&view.chosen, view.reading.as_ref().err()?)))
    }

    /// The targets; none where they are not known.
    pub fn chosen(&self) -> Vec<Chosen> {
        self.targets.iter().flatten().map(|target| target.chosen.clone()).collect()
    }

    /// The targets, each with the relays before it. A named SDK key that cannot be read counts as none: `rc doctor` says what
    /// is wrong with it.
    pub fn relays_before<'f>(
        &self,
        context: &Context<'_>,
        surroundings: &'f Surroundings,
    ) -> Vec<(Chosen, Vec<Before<'f>>)> {
        let (chosen, key) = (self.chosen(), surroundings.given_key(context, &self.environment).ok().flatten());
        let before = surroundings.relays_before(&self.environment, &chosen, key.as_ref());
        chosen.into_iter().zip(before).collect()
    }
}

/// The targets of all environments that are known.
pub fn targets(views: &[EnvironmentView<'_>]) -> impl Iterator<Item = Target> {
    views.iter().flat_map(EnvironmentView::chosen).map(|chosen| chosen.target)
}

/// Which environments and flags are looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only this one; `None`: all that anything names.
    pub environment: Option<Environment>,
    /// Only these flags; empty: all.
    pub flags: Vec<FlagKey>,
}

impl Scope {
    /// What was typed with `-p`, `-e` and `-f`; a project and environment that are only set as defaults do not narrow.
    ///
    /// # Errors
    /// Where only one of `-p` and `-e` was typed and the settings do not give the other.
    pub fn typed(context: &Context<'_>, flags: &[FlagKey]) -> Result<Self, Failure> {
        let narrowed = context.typed.project.is_some() || context.typed.environment.is_some();
        let environment = if narrowed { Some(context.settings.required_environment()?) } else { None };
        Ok(Self { environment, flags: flags.to_vec() })
    }

    fn takes(&self, flag: &FlagKey) -> bool {
        self.flags.is_empty() || self.flags.contains(flag)
    }
}

/// Opens the playback that the settings name.
///
/// # Errors
/// Where the folder cannot be used.
pub fn playback(context: &Context<'_>) -> Result<Playback, Failure> {
    Ok(Playback::open(&context.settings.playback, std::sync::Arc::new(crate::playback::RealDisk))?)
}

/// Looks at every environment in `scope`, all at the same time. `loaded` is the playback, read beforehand.
///
/// An override's own word about its environment is not enough (a store may be shared, or written by a stranger): it
/// counts only where the settings, relays or conventions say that its target belongs to that environment.
pub async fn look<'o>(
    context: &Context<'_>,
    surroundings: &Surroundings,
    loaded: &'o Loaded,
    scope: &Scope,
) -> Vec<EnvironmentView<'o>> {
    let environments = match &scope.environment {
        Some(environment) => BTreeSet::from([environment.clone()]),
        None => environments(context, surroundings, loaded).await,
    };
    let views = environments.into_iter().map(|environment| view(context, surroundings, loaded, scope, environment));
    join_all(views).await
}

/// The stores that told nothing and that no view counts among its targets, with why: whatever only they hold is not seen.
/// So it is with all of them where nothing but a store would have named an environment.
pub fn unseen<'s>(
    surroundings: &'s Surroundings,
    views: &[EnvironmentView<'_>],
) -> Vec<(&'s str, &'s crate::store::StoreError)> {
    let counted = |label: &str| targets(views).any(|target| target.store == label);
    let silent =
        surroundings.prefixes.iter().filter_map(|(label, found)| Some((label.as_str(), found.as_ref().err()?)));
    silent.filter(|(label, _)| !counted(label)).collect()
}

/// Every environment that anything names.
async fn environments(context: &Context<'_>, surroundings: &Surroundings, loaded: &Loaded) -> BTreeSet<Environment> {
    let mut environments: BTreeSet<Environment> = context.settings.environments.keys().cloned().collect();
    environments.extend(context.settings.required_environment().ok());
    let filed = loaded.files.iter().flat_map(|file| &file.intent.change.edits);
    environments.extend(filed.map(|edit| edit.environment.clone()));
    let mut overridden = Vec::new();
    for store in &surroundings.stores {
        if !store.has_prefixes() {
            overridden.push((store, String::new()));
        }
        let Some(Ok(found)) = surroundings.prefixes.get(store.label()) else { continue };
        for found in found {
            environments.extend(conventional_environment(&found.prefix));
            overridden.push((store, found.prefix.clone()));
        }
    }
    let named = join_all(overridden.iter().map(|(store, prefix)| store.environments(prefix))).await;
    environments.extend(named.into_iter().flatten().flatten());
    environments
}

/// The environment that a prefix names by convention: `ld:project:environment`.
fn conventional_environment(prefix: &str) -> Option<Environment> {
    let (project, key) = prefix.strip_prefix("ld:")?.split_once(':')?;
    Some(Environment { project: project.parse().ok()?, key: key.parse().ok()? })
}

async fn view<'o>(
    context: &Context<'_>,
    surroundings: &Surroundings,
    loaded: &'o Loaded,
    scope: &Scope,
    environment: Environment,
) -> EnvironmentView<'o> {
    let choice = match surroundings.targets(context, &environment) {
        Ok(choice) => choice,
        Err(failure) => {
            return EnvironmentView { environment, targets: Err(failure), told: None, situations: Vec::new() };
        }
    };
    let filed = filed(loaded, &environment, scope);
    let mut wanted: BTreeSet<FlagKey> = filed.keys().cloned().collect();
    wanted.extend(scope.flags.iter().cloned());
    let wanted: Vec<FlagKey> = wanted.into_iter().collect();
    let mut views = survey::look(&surroundings.stores, &choice.targets, Extent::Overridden(&wanted)).await;
    let flags: Vec<FlagKey> = survey::flags(&views).into_iter().filter(|flag| scope.takes(flag)).collect();
    let flags: Vec<(FlagKey, Vec<(Chosen, Seen)>)> =
        flags.into_iter().map(|flag| (flag.clone(), survey::seen_in(&views, &environment, &flag))).collect();
    let own = flags.iter().flat_map(|(_, seen)| seen).filter_map(|(_, seen)| seen.own());
    let mut changes: BTreeSet<ChangeId> = own.flat_map(|own| own.changes.iter().copied()).collect();
    changes.extend(filed.values().flatten().map(|filed| filed.file.change()));
    let targets: Vec<&Target> =
        views.iter().filter(|view| view.reading.is_ok()).map(|view| &view.chosen.target).collect();
    let found = survey::marks_or_why_not(&surroundings.stores, &targets, &changes).await;
    let mut marks: BTreeMap<Target, survey::Marks> = BTreeMap::new();
    let mut failed = BTreeMap::new();
    for (target, found) in targets.into_iter().cloned().zip(found) {
        match found {
            Ok(found) => drop(marks.insert(target, found)),
            Err(error) => drop(failed.insert(target, error)),
        }
    }
    // A target that fails between two questions is silent as a whole: half of what it knows would mislead.
    for view in &mut views {
        if let Some(error) = failed.remove(&view.chosen.target) {
            view.reading = Err(error);
        }
    }
    let situations = flags.into_iter().map(|(flag, mut seen)| {
        let filed = filed.get(&flag).cloned().unwrap_or_default();
        seen.retain(|(chosen, _)| marks.contains_key(&chosen.target));
        situation(flag, seen, filed, &marks)
    });
    let situations = situations.collect();
    EnvironmentView { environment, targets: Ok(views), told: choice.told, situations }
}

/// The edits in the playback that are not over, by flag.
fn filed<'o>(loaded: &'o Loaded, environment: &Environment, scope: &Scope) -> BTreeMap<FlagKey, Vec<FiledEdit<'o>>> {
    let mut filed: BTreeMap<FlagKey, Vec<FiledEdit<'o>>> = BTreeMap::new();
    for file in loaded.files.iter().filter(|file| !file.replayed) {
        let folded = state::fold(&file.intent.change, &targets_of(file), &file.events);
        for (index, edit) in file.intent.change.edits.iter().enumerate() {
            let is_over = folded.edits.get(index).is_some_and(state::EditState::is_over);
            if edit.environment == *environment && scope.takes(&edit.flag) && !is_over {
                filed.entry(edit.flag.clone()).or_default().push(FiledEdit { file, edit: index });
            }
        }
    }
    filed
}

impl FiledEdit<'_> {
    /// What it has come to, by its file.
    pub fn state(&self) -> Option<state::EditState> {
        let folded = state::fold(&self.file.intent.change, &targets_of(self.file), &self.file.events);
        folded.edits.into_iter().nth(self.edit)
    }
}

impl Situation<'_> {
    /// Whether a replay asked for an approval and nobody knows the answer: a request for it may be open in LaunchDarkly.
    pub fn may_be_asked_for(&self) -> bool {
        self.filed.iter().filter_map(FiledEdit::state).any(|edit| edit.asking)
    }
}

/// The targets of each edit, as its file's first line tells them.
pub fn targets_of(file: &LoadedFile) -> Vec<BTreeSet<Target>> {
    let targets = |edit: &EditIntent| edit.targets.iter().map(|told| told.target.clone()).collect();
    file.intent.edits.iter().map(targets).collect()
}

fn situation<'o>(
    flag: FlagKey,
    seen: Vec<(Chosen, Seen)>,
    filed: Vec<FiledEdit<'o>>,
    marks: &BTreeMap<Target, survey::Marks>,
) -> Situation<'o> {
    let said: Vec<Said> = seen
        .iter()
        .map(|(chosen, seen)| {
            let here = marks.get(&chosen.target).and_then(|marks| marks.get(&flag)).cloned().unwrap_or_default();
            (chosen.target.clone(), seen.own().cloned(), here)
        })
        .collect();
    let standing = merge::merged(&said);
    Situation { flag, seen, said, standing, filed }
}
