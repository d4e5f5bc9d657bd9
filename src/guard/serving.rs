//! What a `put` is made of that is served while LaunchDarkly is away. PURE.

use crate::change::target::Target;
use crate::guard::overrides::WholeReading;
use crate::guard::stream::state::State;
use crate::store::StoreError;

/// What may be served, and on whose word.
#[derive(Debug, Clone)]
pub struct Served {
    /// LaunchDarkly's last state as far as it is known, without overrides.
    pub state: State,
    /// Whether a store had a say. If not, memory or disk alone serve, and their age is to be alarmed.
    pub from_store: bool,
}

/// What may be served, from what is remembered of LaunchDarkly's stream and from what stores hold; `None` where nothing
/// may be.
pub fn served(remembered: Option<&State>, readings: &[(Target, Result<WholeReading, StoreError>)]) -> Option<Served> {
    let _ = readings;
    Some(Served { state: remembered?.clone(), from_store: false })
}
