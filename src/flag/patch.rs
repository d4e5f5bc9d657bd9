//! The interpreter of instructions: a record in, a record out, by splicing. (stub)

use crate::flag::instruction::Instruction;
use crate::flag::record::Record;

/// Why instructions cannot be applied to a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The record marks a deleted flag.
    #[error("the flag is deleted (a tombstone, version {version})")]
    Tombstone {
        /// Of the deletion.
        version: u64,
    },
    /// The relay's reader would not read the record as it is, or as it would be.
    #[error(transparent)]
    Unreadable(#[from] crate::flag::check::Unreadable),
    /// An instruction names a variation that the flag has not got.
    #[error("there is no variation {variation}; the flag has {count}")]
    NoSuchVariation {
        /// The index named.
        variation: usize,
        /// How many there are.
        count: usize,
    },
}

/// Applies instructions in order, all or none. The version is not changed; a value that is already so keeps its bytes.
///
/// # Errors
/// See [`PatchError`]; the result is always readable.
pub fn apply(record: &Record, instructions: &[Instruction]) -> Result<Record, PatchError> {
    let _ = (record, instructions);
    todo!()
}

/// What is in force: `instructions` applied to LaunchDarkly's newest record, with its version plus `revision`.
///
/// # Errors
/// See [`apply`].
pub fn in_force(upstream: &Record, instructions: &[Instruction], revision: u64) -> Result<Record, PatchError> {
    let _ = (upstream, instructions, revision);
    todo!()
}

/// Mends what the old Python tool wrote: `"on"` as the text `"on"` or `"off"` becomes `true` or `false`. `None` where
/// that is not what is wrong with the record, or where the mended record would still not be readable.
pub fn repaired(record: &Record) -> Option<Record> {
    let _ = record;
    todo!()
}
