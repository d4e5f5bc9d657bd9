//! One look at every target of an environment: which there are, what they hold of some flags, and what that comes to
//! when the overrides of all of them are merged. Every command that tells or changes anything begins here. It reads and
//! never writes, and it must not print.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use crate::change::id::ChangeId;
use crate::change::merge;
use crate::change::merge::Said;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::target::Label;
use crate::change::target::Target;
use crate::commands::place::Ahead;
use crate::commands::targets::Chosen;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::store::FlagReading;
use crate::store::PrefixFound;
use crate::store::Reading;
use crate::store::Store;
use crate::store::StoreError;

/// The stores of this run, in the order in which they were named.
pub type Stores = [Arc<dyn Store>];

/// What one target holds, or why that is not known.
#[derive(Debug)]
pub struct TargetView {
    /// Which target, and what is special about it.
    pub chosen: Chosen,
    /// What it holds.
    pub reading: Result<Reading, StoreError>,
}

impl TargetView {
    /// What it holds of one flag; `None` where the target could not be read.
    pub fn flag(&self, flag: &FlagKey) -> Option<FlagReading> {
        let reading = self.reading.as_ref().ok()?;
        Some(reading.flags.get(flag).cloned().unwrap_or_default())
    }
}

/// How much of a target is read.
#[derive(Debug, Clone, Copy)]
pub enum Extent<'a> {
    /// These flags, in one round trip.
    Flags(&'a [FlagKey]),
    /// The flags that any of the targets overrides, and these: in every target, since one that lacks the override has a
    /// record all the same.
    Overridden(&'a [FlagKey]),
    /// Everything. Cost grows with the number of flags.
    All,
}

/// The prefixes of every store, or why they are not known. It is quicker where they are the `expected` ones.
pub async fn prefixes(stores: &Stores, expected: &[String]) -> BTreeMap<Label, Result<Vec<PrefixFound>, StoreError>> {
    let found = join_all(stores.iter().map(|store| store.prefixes(expected))).await;
    stores.iter().map(|store| store.label().to_owned()).zip(found).collect()
}

/// As [`look`] at some flags; what was read ahead is not read again.
pub async fn look_beyond(stores: &Stores, chosen: &[Chosen], flags: &[FlagKey], mut ahead: Ahead) -> Vec<TargetView> {
    let known = chosen.iter().filter_map(|chosen| {
        let reading = ahead.remove(&chosen.target)?;
        Some(TargetView { chosen: chosen.clone(), reading })
    });
    let mut views: Vec<TargetView> = known.collect();
    let is_known = |chosen: &&Chosen| views.iter().any(|view| view.chosen == **chosen);
    let unknown: Vec<Chosen> = chosen.iter().filter(|chosen| !is_known(chosen)).cloned().collect();
    if unknown.is_empty() {
        return views;
    }
    views.extend(look(stores, &unknown, Extent::Flags(flags)).await);
    let place = |view: &TargetView| chosen.iter().position(|chosen| *chosen == view.chosen);
    views.sort_by_key(place);
    views
}

/// Reads every chosen target, all at once; a dead store costs its own deadline and nothing more.
pub async fn look(stores: &Stores, chosen: &[Chosen], extent: Extent<'_>) -> Vec<TargetView> {
    let chosen = chosen.iter().filter_map(|chosen| Some((chosen, store_of(stores, &chosen.target)?)));
    let readings: Vec<(&Chosen, Result<Reading, StoreError>)> = match extent {
        Extent::Flags(flags) => join_all(chosen.map(|(chosen, store)| read(chosen, store, flags))).await,
        Extent::All => {
            let all =
                chosen.map(|(chosen, store)| async move { (chosen, store.read_all(&chosen.target.prefix).await) });
            join_all(all).await
        }
        Extent::Overridden(more) => overridden(chosen, more).await,
    };
    readings.into_iter().map(|(chosen, reading)| TargetView { chosen: chosen.clone(), reading }).collect()
}

async fn read<'c>(
    chosen: &'c Chosen,
    store: &dyn Store,
    flags: &[FlagKey],
) -> (&'c Chosen, Result<Reading, StoreError>) {
    (chosen, store.read(&chosen.target.prefix, flags).await)
}

/// First which flags are overridden anywhere, then what every target that answered holds of them.
async fn overridden<'c, 's>(
    chosen: impl Iterator<Item = (&'c Chosen, &'s dyn Store)>,
    more: &[FlagKey],
) -> Vec<(&'c Chosen, Result<Reading, StoreError>)> {
    let asked =
        chosen.map(|(chosen, store)| async move { (chosen, store, store.overridden(&chosen.target.prefix).await) });
    let mut flags: BTreeSet<FlagKey> = more.iter().cloned().collect();
    let mut answered = Vec::new();
    for (chosen, store, found) in join_all(asked).await {
        let found = found.map(|found| flags.extend(found));
        answered.push((chosen, store, found));
    }
    let flags: Vec<FlagKey> = flags.into_iter().collect();
    let reading = answered.into_iter().map(|(chosen, store, found)| {
        let flags = &flags;
        async move {
            match found {
                Ok(()) => read(chosen, store, flags).await,
                Err(error) => (chosen, Err(error)),
            }
        }
    });
    join_all(reading).await
}

/// The store of a target.
pub fn store_of<'a>(stores: &'a Stores, target: &Target) -> Option<&'a dyn Store> {
    stores.iter().find(|store| store.label() == target.store).map(AsRef::as_ref)
}

/// The flags that any of the targets told of.
pub fn flags(views: &[TargetView]) -> BTreeSet<FlagKey> {
    views
        .iter()
        .filter_map(|view| view.reading.as_ref().ok())
        .flat_map(|reading| reading.flags.keys().cloned())
        .collect()
}

/// What holds for every flag that any target overrides, with one question to each target for all of them. An override that
/// says it belongs to another flag or environment counts for nothing; a target whose marks cannot be read counts with what
/// it had told before.
pub async fn standings(
    stores: &Stores,
    views: &[TargetView],
    environment: &Environment,
) -> BTreeMap<FlagKey, Standing> {
    let overrides = |view: &'_ TargetView| -> BTreeMap<FlagKey, Override> {
        let read = view.reading.as_ref().map(|reading| &reading.flags).ok();
        let own = |(flag, found): (&FlagKey, &FlagReading)| {
            let parsed = found.override_.as_ref()?.parsed.as_ref().ok()?;
            (parsed.environment == *environment && parsed.flag == *flag).then(|| (flag.clone(), parsed.clone()))
        };
        read.into_iter().flatten().filter_map(own).collect()
    };
    let found: Vec<(&Target, BTreeMap<FlagKey, Override>)> =
        views.iter().filter(|view| view.reading.is_ok()).map(|view| (&view.chosen.target, overrides(view))).collect();
    let of_all = found.iter().flat_map(|(_, overrides)| overrides.values());
    let changes: BTreeSet<ChangeId> = of_all.flat_map(|override_| override_.changes.iter().copied()).collect();
    let targets: Vec<&Target> = found.iter().map(|(target, _)| *target).collect();
    let marks = match marks_along(views, &changes) {
        Some(known) => known,
        None => marks(stores, &targets, &changes).await,
    };
    let flags: BTreeSet<&FlagKey> = found.iter().flat_map(|(_, overrides)| overrides.keys()).collect();
    let said = |flag: &FlagKey| -> Vec<Said> {
        let of = |((target, overrides), marks): (&(&Target, BTreeMap<FlagKey, Override>), &Marks)| {
            ((*target).clone(), overrides.get(flag).cloned(), marks.get(flag).cloned().unwrap_or_default())
        };
        found.iter().zip(&marks).map(of).collect()
    };
    flags.into_iter().map(|flag| (flag.clone(), merge::merged(&said(flag)))).collect()
}

/// The ended marks of `changes` in each view that could be read, in the same order, if all of them came along with it.
fn marks_along(views: &[TargetView], changes: &BTreeSet<ChangeId>) -> Option<Vec<Marks>> {
    let of_view = |reading: &Reading| -> Option<Marks> {
        let of_flag = |(flag, found): (&FlagKey, &FlagReading)| {
            let known = found.marks.as_ref()?.iter();
            Some((flag.clone(), known.filter(|(change, _)| changes.contains(change)).cloned().collect()))
        };
        reading.flags.iter().map(of_flag).collect()
    };
    views.iter().filter_map(|view| view.reading.as_ref().ok()).map(of_view).collect()
}

/// Ended marks by flag, each with the change that it stands under.
pub type Marks = BTreeMap<FlagKey, Vec<(ChangeId, EndedMark)>>;

/// The ended marks of `changes` in each of `targets`, in the same order, with one question to each. A target that does
/// not answer has none.
pub async fn marks(stores: &Stores, targets: &[&Target], changes: &BTreeSet<ChangeId>) -> Vec<Marks> {
    let marks = marks_or_why_not(stores, targets, changes).await;
    marks.into_iter().map(Result::unwrap_or_default).collect()
}

/// As [`marks`], with why a target did not answer: then nobody knows whether an override of another target has ended
/// there. One that answers and cannot tell (a mark is damaged, a right is missing) has none: that must not stop the rest.
pub async fn marks_or_why_not(
    stores: &Stores,
    targets: &[&Target],
    changes: &BTreeSet<ChangeId>,
) -> Vec<Result<Marks, StoreError>> {
    if changes.is_empty() {
        return targets.iter().map(|_| Ok(Marks::new())).collect();
    }
    let changes: Vec<ChangeId> = changes.iter().copied().collect();
    join_all(targets.iter().map(|target| async {
        let ended = match store_of(stores, target) {
            Some(store) => match store.ended(&target.prefix, &changes).await {
                Err(error @ StoreError::Unreachable { .. }) => return Err(error),
                told => told.unwrap_or_default(),
            },
            None => BTreeMap::new(),
        };
        let mut by_flag = Marks::new();
        for (change, mark) in
            ended.into_iter().flat_map(|(change, marks)| marks.into_iter().map(move |mark| (change, mark)))
        {
            by_flag.entry(mark.flag.clone()).or_default().push((change, mark));
        }
        Ok(by_flag)
    }))
    .await
}

/// What a target holds of one flag, as `change/` takes it; `None` where it could not be read. An override that says it
/// belongs to another flag or environment counts as one that cannot be read: two environments were given one prefix, or
/// somebody copied keys, and what stands there is nobody's to overwrite.
pub fn seen(view: &TargetView, environment: &Environment, flag: &FlagKey) -> Option<Seen> {
    view.reading.as_ref().ok().map(|reading| seen_like(None, reading, environment, flag))
}

/// What every target that could be read holds of one flag.
pub fn seen_in<'v>(
    views: impl IntoIterator<Item = &'v TargetView>,
    environment: &Environment,
    flag: &FlagKey,
) -> Vec<(Chosen, Seen)> {
    let mut all: Vec<(Chosen, Seen)> = Vec::new();
    for view in views {
        let Ok(reading) = &view.reading else { continue };
        let first = all.first().map(|(_, seen)| &seen.copy);
        all.push((view.chosen.clone(), seen_like(first, reading, environment, flag)));
    }
    all
}

/// `other` is what another target holds of the flag.
fn seen_like(other: Option<&Copy>, reading: &Reading, environment: &Environment, flag: &FlagKey) -> Seen {
    let found = reading.flags.get(flag).cloned().unwrap_or_default();
    let (override_text, override_) = match found.override_ {
        Some(stored) => (Some(stored.text), Some(stored.parsed)),
        None => (None, None),
    };
    let foreign = |read: &Result<Override, String>| {
        read.as_ref().is_ok_and(|own| own.environment != *environment || own.flag != *flag)
    };
    let override_ = match override_ {
        Some(read) if foreign(&read) => {
            Some(Err(format!("it says that it belongs to another flag or environment than {flag} of {environment}")))
        }
        other => other,
    };
    let copy = Copy::like(other, found.record.as_deref());
    Seen { copy, own_keys: reading.own_keys, override_text, override_ }
}

/// One target, and what it holds of one flag now.
///
/// # Errors
/// It could not be read.
pub async fn look_now(
    stores: &Stores,
    target: &Target,
    environment: &Environment,
    flag: &FlagKey,
) -> Result<Seen, StoreError> {
    let not_configured =
        || StoreError::Unreachable { address: target.store.clone(), problem: "is no store of this run".to_owned() };
    let store = store_of(stores, target).ok_or_else(not_configured)?;
    let reading = store.read(&target.prefix, std::slice::from_ref(flag)).await?;
    Ok(seen_like(None, &reading, environment, flag))
}

/// Whether a record's text can hold a prerequisite: false for nearly all flags, and told without parsing them.
pub fn may_have_prerequisites(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"\"prerequisites\"";
    let Some(at) = memchr::memmem::find(bytes, NAME) else { return false };
    let rest = bytes.get(at + NAME.len()..).unwrap_or_default();
    let mut significant = rest.iter().filter(|byte| !byte.is_ascii_whitespace());
    significant.next() != Some(&b':') || significant.next() != Some(&b'[') || significant.next() != Some(&b']')
}
