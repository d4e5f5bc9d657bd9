//! Doing recorded writes in every target at once. What is written was decided and recorded before; what came of it is
//! told, target by target, and a dead store costs the others nothing.

use std::collections::BTreeMap;

use futures_util::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::change::recorded::Recorded;
use crate::change::target::Target;
use crate::commands::survey;
use crate::commands::survey::Stores;
use crate::flag::key::FlagKey;
use crate::store::StoreError;
use crate::store::WriteOutcome;

/// What came of one write.
#[derive(Debug, Clone)]
pub struct Wrote {
    /// Where.
    pub target: Target,
    /// Which flag.
    pub flag: FlagKey,
    /// What came of it.
    pub outcome: WriteOutcome,
}

/// How often a write is decided again because the record had changed in between. LaunchDarkly does not change one flag
/// so often within a second; whoever does is not to be raced with.
pub const ATTEMPTS_MAX: usize = 5;

/// Does all writes, each target for itself, and gives what came of them as soon as it is known: what several targets
/// answered meanwhile is one item, so that whoever notes it notes it at once.
pub fn write<'a>(stores: &'a Stores, recorded: &'a Recorded<'_>) -> impl Stream<Item = Vec<Wrote>> + 'a {
    let mut by_target: BTreeMap<&Target, Vec<&FlagKey>> = BTreeMap::new();
    for write in recorded.all() {
        by_target.entry(&write.target).or_default().push(&write.flag);
    }
    let targets = by_target.len().max(1);
    let running: FuturesUnordered<_> = by_target
        .into_iter()
        .map(|(target, flags)| async move {
            let outcomes = match survey::store_of(stores, target) {
                Some(store) => store.replace(target, recorded).await,
                None => vec![WriteOutcome::Failed(not_configured(target)); flags.len()],
            };
            let wrote = |(flag, outcome): (&FlagKey, WriteOutcome)| Wrote {
                target: target.clone(),
                flag: flag.clone(),
                outcome,
            };
            flags.into_iter().zip(outcomes).map(wrote).collect::<Vec<_>>()
        })
        .collect();
    running.ready_chunks(targets).map(|together| together.concat())
}

fn not_configured(target: &Target) -> StoreError {
    StoreError::Unreachable { address: target.store.clone(), problem: "is no store of this run".to_owned() }
}
