//! Seeds from a store that a relay has filled: LaunchDarkly as it was when the relay heard of it last.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::json;

use super::Seed;
use super::SeedError;
use crate::flag::key::FlagKey;
use crate::store::Store;

impl Seed {
    /// Flags and segments for the environment, as a relay has put them into the store under `prefix`. Of tombstones only
    /// the version is remembered. What the store holds of ours (overrides) is left alone, and so the records are taken as
    /// they are: rehearse on a store in which nothing is overridden.
    ///
    /// # Errors
    /// [`SeedError::Store`]: the store does not answer. [`SeedError::Wrong`]: it is empty, or a record in it is not JSON.
    pub async fn store(self, store: &dyn Store, prefix: &str) -> Result<Self, SeedError> {
        let place = |what: &str| format!("{what} of {} under {prefix:?}", store.address());
        // A store names its flags in any order, and each time in another one.
        let (mut flags, mut damaged) = (BTreeMap::new(), None);
        let mut take = |flag: &FlagKey, record: &[u8]| match serde_json::from_slice::<Value>(record) {
            Ok(record) => drop(flags.insert(flag.to_string(), record)),
            Err(error) => drop(damaged.get_or_insert((flag.to_string(), error.to_string()))),
        };
        store.each_record(prefix, &mut take).await?;
        if let Some((flag, problem)) = damaged {
            return Err(SeedError::Wrong { place: place(&format!("flag {flag}")), problem });
        }
        let mut segments = BTreeMap::new();
        for (key, record) in store.segments(prefix).await? {
            let record: Value = serde_json::from_slice(&record).map_err(|error| SeedError::Wrong {
                place: place(&format!("segment {key}")),
                problem: error.to_string(),
            })?;
            segments.insert(key, record);
        }
        if flags.is_empty() && segments.is_empty() {
            let problem = "there is nothing: no relay has filled it".to_owned();
            return Err(SeedError::Wrong { place: place("the contents"), problem });
        }
        Ok(self.records(json!({ "flags": flags, "segments": segments })))
    }
}
