//! Everything that is known at one moment: the environments, their targets, the overrides in them, and the changes in the
//! playback, joined flag by flag. What is owed, what is in force and what disagrees is read off here by `replay`,
//! `status`, `verify`, `show`, `log` and `undo`. It reads and never writes, and it must not print.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
use crate::commands::survey;
use crate::commands::survey::Extent;
use crate::commands::survey::TargetView;
use crate::commands::targets::Chosen;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::EditIntent;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::playback::Playback;
use crate::store::Reading;

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

/// Reads the changes that may still be owed. A disk can hang as a network can, and a long file takes its time to be read, so
/// that goes on beside whatever else is waited for.
///
/// # Errors
/// Where the folder cannot be read.
pub async fn load(playback: &Playback) -> Result<Loaded, Failure> {
    let aside = playback.clone();
    let loaded = tokio::task::spawn_blocking(move || aside.load_waiting()).await;
    loaded.map_err(|error| Failure::new(Kind::Other, error.to_string()))?.map_err(Failure::from)
}

/// What the stores hold of the environments that are known without the playback, so that one need not wait for the other.
#[derive(Debug)]
pub struct Ahead(BTreeMap<Environment, Result<Targets, Failure>>);

/// The targets of an environment, and what they hold of the flags that any of them overrides.
#[derive(Debug)]
struct Targets {
    views: Vec<TargetView>,
    told: Option<String>,
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
    let mut environments = environments(context, surroundings, scope).await;
    environments.extend(filed_environments(loaded, scope).cloned());
    let ahead = Ahead(targets(context, surroundings, environments).await);
    look_on(ahead, context, surroundings, loaded, scope).await
}

/// The part of [`look`] that does not need the playback.
pub async fn look_ahead(context: &Context<'_>, surroundings: &Surroundings, scope: &Scope) -> Ahead {
    let environments = environments(context, surroundings, scope).await;
    Ahead(targets(context, surroundings, environments).await)
}

/// The rest of [`look`].
pub async fn look_on<'o>(
    Ahead(mut ahead): Ahead,
    context: &Context<'_>,
    surroundings: &Surroundings,
    loaded: &'o Loaded,
    scope: &Scope,
) -> Vec<EnvironmentView<'o>> {
    let more = filed_environments(loaded, scope).filter(|environment| !ahead.contains_key(environment));
    let more = targets(context, surroundings, more.cloned().collect()).await;
    ahead.extend(more);
    let views = ahead.into_iter().map(|(environment, targets)| view(surroundings, loaded, scope, environment, targets));
    join_all(views).await
}

/// The environments in `scope` that the playback names.
fn filed_environments<'o>(loaded: &'o Loaded, scope: &Scope) -> impl Iterator<Item = &'o Environment> {
    let files = loaded.files.iter().filter(|file| scope.environment.is_none() && !file.replayed);
    files.flat_map(|file| &file.intent.change.edits).map(|edit| &edit.environment)
}

/// The environments in `scope` that anything but the playback names.
async fn environments(context: &Context<'_>, surroundings: &Surroundings, scope: &Scope) -> BTreeSet<Environment> {
    if let Some(environment) = &scope.environment {
        return BTreeSet::from([environment.clone()]);
    }
    let mut environments: BTreeSet<Environment> = context.settings.environments.keys().cloned().collect();
    environments.extend(context.settings.required_environment().ok());
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

/// The targets of these environments, all looked at at the same time.
async fn targets(
    context: &Context<'_>,
    surroundings: &Surroundings,
    environments: BTreeSet<Environment>,
) -> BTreeMap<Environment, Result<Targets, Failure>> {
    let looked = environments.into_iter().map(|environment| async move {
        let targets = match surroundings.targets(context, &environment) {
            Ok(choice) => {
                let views = survey::look(&surroundings.stores, &choice.targets, Extent::Overridden).await;
                Ok(Targets { views, told: choice.told })
            }
            Err(failure) => Err(failure),
        };
        (environment, targets)
    });
    join_all(looked).await.into_iter().collect()
}

/// The environment that a prefix names by convention: `ld:project:environment`.
fn conventional_environment(prefix: &str) -> Option<Environment> {
    let (project, key) = prefix.strip_prefix("ld:")?.split_once(':')?;
    Some(Environment { project: project.parse().ok()?, key: key.parse().ok()? })
}

async fn view<'o>(
    surroundings: &Surroundings,
    loaded: &'o Loaded,
    scope: &Scope,
    environment: Environment,
    targets: Result<Targets, Failure>,
) -> EnvironmentView<'o> {
    let Targets { mut views, told } = match targets {
        Ok(targets) => targets,
        Err(failure) => {
            return EnvironmentView { environment, targets: Err(failure), told: None, situations: Vec::new() };
        }
    };
    let filed = filed(loaded, &environment, scope);
    let known = survey::flags(&views);
    let unread = scope.flags.iter().filter(|flag| !known.contains(flag));
    // What the playback tells and the stores did not may have been written after they were read.
    let untold =
        filed.iter().filter(|(flag, filed)| filed.iter().any(|filed| !is_told(&views, flag, filed.file.change())));
    let again: BTreeSet<FlagKey> = unread.chain(untold.map(|(flag, _)| flag)).cloned().collect();
    survey::look_again(&surroundings.stores, &mut views, again).await;
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
    EnvironmentView { environment, targets: Ok(views), told, situations }
}

/// Whether every target that answered has an override of the flag that the change is part of.
fn is_told(views: &[TargetView], flag: &FlagKey, change: ChangeId) -> bool {
    let names = |reading: &Reading| {
        let stored = reading.flags.get(flag).and_then(|found| found.override_.as_ref());
        stored.and_then(|stored| stored.parsed.as_ref().ok()).is_some_and(|own| own.changes.contains(&change))
    };
    views.iter().filter_map(|view| view.reading.as_ref().ok()).all(names)
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
