//! Writes to stores, and the proof that they are on disk.
//!
//! No store is written before the change is on disk. A store takes only [`Recorded`] writes, and the one way to make
//! them is to hand their exact text to a function that makes it durable; only `playback/` calls it (checked by
//! `tests/architecture.rs`).

use std::sync::Arc;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;

/// What becomes of the override beside the record.
#[derive(Debug, Clone, PartialEq)]
pub enum OverrideWrite {
    /// It stays as it is.
    Keep,
    /// This one takes its place.
    Put(Arc<Override>),
    /// It ends: it is removed, and these marks are left under its changes.
    End(Vec<(ChangeId, EndedMark)>),
}

/// One compare-and-set in one target. It happens only if both the record and the override are, byte for byte, still
/// what was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Where.
    pub target: Target,
    /// Which flag.
    pub flag: FlagKey,
    /// The record that was read.
    pub before: Option<Record>,
    /// The record that takes its place; `None` leaves it alone.
    pub after: Option<Record>,
    /// The exact text of the override that was read.
    pub override_before: Option<String>,
    /// What becomes of the override.
    pub override_after: OverrideWrite,
    /// The change that this write belongs to: the store's log says so.
    pub change: ChangeId,
}

/// Writes whose exact text is on disk, synced, folder included.
#[derive(Debug)]
pub struct Recorded<'w> {
    writes: &'w [Write],
}

impl<'w> Recorded<'w> {
    /// Lets `persist` make the writes durable, and is the proof that it did. `persist` gets the very writes and must
    /// return only when they would survive a power cut.
    ///
    /// # Errors
    /// What `persist` says; then nothing may be written to any store.
    pub(crate) fn once<Error>(
        writes: &'w [Write],
        persist: impl FnOnce(&'w [Write]) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        persist(writes)?;
        Ok(Self { writes })
    }

    /// The writes for one target, in order.
    pub fn for_target(&self, target: &Target) -> Vec<&'w Write> {
        self.writes.iter().filter(|write| write.target == *target).collect()
    }

    /// All of them.
    pub fn all(&self) -> &'w [Write] {
        self.writes
    }
}
