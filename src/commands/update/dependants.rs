//! The flags that have an edited flag as a prerequisite: an edit that turns it off flips them too. Looked for after the
//! write, since it means reading every flag: the switch is not kept waiting, and neither is the operator for long.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use crate::commands::survey;
use crate::commands::survey::Stores;
use crate::commands::update::undertaking::Ground;
use crate::flag::instruction::Instruction;
use crate::flag::key::FlagKey;
use crate::flag::preview;
use crate::flag::record::Record;

/// How long is looked.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Dependants {
    /// The flags that depend on this one and are on: they change with it.
    pub on: Vec<FlagKey>,
    /// Why not all of them could be looked for.
    pub incomplete: Option<String>,
}

/// For each ground, the flags that depend on it; empty for edits after which prerequisites are met as before.
pub async fn find(stores: &Stores, grounds: &[Ground]) -> Vec<Dependants> {
    let mut wanted: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (place, ground) in grounds.iter().enumerate().filter(|(_, ground)| turns_off(ground)) {
        // One full copy of the environment tells it; the others hold the same flags.
        if let Some((chosen, _)) = ground.seen.iter().find(|(chosen, _)| !chosen.is_filter_copy) {
            wanted.entry((&chosen.target.store, &chosen.target.prefix)).or_default().push(place);
        }
    }
    let mut found = vec![Dependants::default(); grounds.len()];
    let looked = wanted.into_iter().map(|((store, prefix), places)| async move {
        let flags: Vec<&FlagKey> = places.iter().filter_map(|place| Some(&grounds.get(*place)?.edit.flag)).collect();
        let within = tokio::time::timeout(LOOK_WITHIN, look(stores, store, prefix, &flags)).await;
        let all = within.unwrap_or_else(|_| Err("there are too many flags to look through in 2 s".to_owned()));
        (places, all)
    });
    for (places, all) in join_all(looked).await {
        for (index, place) in places.into_iter().enumerate() {
            let Some(found) = found.get_mut(place) else { continue };
            *found = match &all {
                Ok(all) => Dependants { on: all.get(index).cloned().unwrap_or_default(), incomplete: None },
                Err(why) => Dependants { on: Vec::new(), incomplete: Some(why.clone()) },
            };
        }
    }
    found
}

fn turns_off(ground: &Ground) -> bool {
    ground.edit.instructions.iter().any(|instruction| matches!(instruction, Instruction::TurnFlagOff))
}

/// The dependants of each of `flags`, in the same order. Records pass by one at a time, so memory stays small.
async fn look(stores: &Stores, store: &str, prefix: &str, flags: &[&FlagKey]) -> Result<Vec<Vec<FlagKey>>, String> {
    let Some(store) = stores.iter().find(|candidate| candidate.label() == store) else {
        return Err("its store is no store of this run".to_owned());
    };
    let mut all: Vec<Vec<FlagKey>> = vec![Vec::new(); flags.len()];
    let mut pass = |key: &FlagKey, bytes: &[u8]| {
        // Most flags have no prerequisites; those are not even parsed.
        if !survey::may_have_prerequisites(bytes) {
            return;
        }
        let Ok(record) = Record::parse(bytes) else { return };
        for (flag, dependants) in flags.iter().zip(&mut all) {
            let one = preview::dependants(flag, [(key, &record)]);
            dependants.extend(one.into_iter().filter(|dependant| dependant.on).map(|dependant| dependant.flag));
        }
    };
    store.each_record(prefix, &mut pass).await.map_err(|error| error.to_string())?;
    for dependants in &mut all {
        dependants.sort();
        dependants.dedup();
    }
    Ok(all)
}
