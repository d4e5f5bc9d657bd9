//! A target: one copy of an environment in one store.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// The short name of a store, given by the operator or taken from its address. Shown in every table.
pub type Label = String;

/// One copy of an environment: a store and the prefix of its keys there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The store's label.
    pub store: Label,
    /// The prefix, without the colon: `ld:shop:production`, `launchdarkly`, `prefix/filter`. For a flag file: empty.
    pub prefix: String,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix.is_empty() {
            return formatter.pad(&self.store);
        }
        formatter.pad(&format!("{} {}", self.store, self.prefix))
    }
}
