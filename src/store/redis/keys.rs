//! The names of keys in Redis (design 4.2): the relay's three, and ours beside them, which survive the relay's reset
//! because it deletes only its own. It knows names and nothing of what stands under them.

use crate::change::id::ChangeId;
use crate::flag::key::FlagKey;

/// The end of the name of every hash of flags, as relays and SDKs write it.
pub(super) const FEATURES: &str = ":features";

/// The names of the keys under one prefix.
pub(super) struct Keys {
    /// The relay's hash of flag records.
    pub(super) features: String,
    /// The relay's hash of segment records.
    pub(super) segments: String,
    /// The relay's mark of a filled store.
    pub(super) initialised: String,
    /// Ours: flag key to override.
    pub(super) overrides: String,
    /// Ours: change and flag to ended mark.
    pub(super) ended: String,
    /// Ours: a stream of what was written.
    pub(super) log: String,
    /// Ours: who has the right to replay; it expires.
    pub(super) lease: String,
    /// Ours: the names of guards that announced themselves.
    pub(super) guards: String,
    /// Ours: the beginning of the names of what guards announce.
    guard: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            features: format!("{prefix}{FEATURES}"),
            segments: format!("{prefix}:segments"),
            initialised: format!("{prefix}:$inited"),
            overrides: format!("{prefix}:relaycommander:overrides"),
            ended: format!("{prefix}:relaycommander:ended"),
            log: format!("{prefix}:relaycommander:log"),
            lease: format!("{prefix}:relaycommander:lease"),
            guards: format!("{prefix}:relaycommander:guards"),
            guard: format!("{prefix}:relaycommander:guard:"),
        }
    }

    /// Ours: what one guard announces; it expires.
    pub(super) fn guard(&self, name: &str) -> String {
        format!("{}{name}", self.guard)
    }
}

/// The field of an ended mark.
pub(super) fn ended_field(change: ChangeId, flag: &FlagKey) -> String {
    format!("{change}/{flag}")
}

/// The change that the field of an ended mark names.
pub(super) fn change_of(field: &str) -> Option<ChangeId> {
    field.split_once('/')?.0.parse().ok()
}
