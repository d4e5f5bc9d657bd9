//! The interpreter of instructions: a record in, a record out, by splicing. It knows what LaunchDarkly's instructions
//! do to a stored record, and nothing of overrides beyond the sum of two numbers.

use crate::flag::check;
use crate::flag::check::Unreadable;
use crate::flag::instruction::Instruction;
use crate::flag::instruction::VariationIndex;
use crate::flag::json::Json;
use crate::flag::model;
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
    Unreadable(#[from] Unreadable),
    /// An instruction names a variation that the flag has not got.
    #[error("there is no variation {variation}; the flag has {count}")]
    NoSuchVariation {
        /// The index named.
        variation: usize,
        /// How many there are.
        count: usize,
    },
}

/// The highest version that every reader counts exactly: readers take numbers as doubles.
const VERSION_MAX: u64 = (1 << 53) - 1;

/// Applies instructions in order, all or none. The version is not changed; a value that is already so keeps its bytes.
/// Where a variation becomes the default rule, the whole content of `fallthrough` is replaced.
///
/// # Errors
/// See [`PatchError`]; the result is always readable.
pub fn apply(record: &Record, instructions: &[Instruction]) -> Result<Record, PatchError> {
    spliced(record, &values(record, instructions)?)
}

/// What is in force: `instructions` applied to LaunchDarkly's newest record, with its version plus `revision`.
///
/// # Errors
/// See [`apply`]; also where the version would be beyond 2^53 - 1, since readers would then not tell it from others.
pub fn in_force(upstream: &Record, instructions: &[Instruction], revision: u64) -> Result<Record, PatchError> {
    let mut values = values(upstream, instructions)?;
    if revision > 0 {
        let version = upstream.version().saturating_add(revision);
        if version > VERSION_MAX {
            let problem = format!("would be {version}, more than readers can count");
            return Err(Unreadable { path: "version".to_owned(), problem }.into());
        }
        values.push(("version", version.to_string()));
    }
    spliced(upstream, &values)
}

/// Mends what the old Python tool wrote: `"on"` as the text `"on"` or `"off"` (in any case) becomes `true` or `false`.
/// `None` where that is not what is wrong with the record, or where the mended record would still not be readable.
pub fn repaired(record: &Record) -> Option<Record> {
    let written: String = serde_json::from_str(record.raw("on")?).ok()?;
    let on = match written.to_ascii_lowercase().as_str() {
        "on" => true,
        "off" => false,
        _ => return None,
    };
    let mended = record.with(&[("on", on.to_string())]);
    (!mended.is_tombstone() && check::readable(&mended).is_ok()).then_some(mended)
}

fn spliced(record: &Record, values: &[(&str, String)]) -> Result<Record, PatchError> {
    if values.is_empty() {
        return Ok(record.clone());
    }
    let edited = record.with(values);
    check::readable(&edited)?;
    Ok(edited)
}

/// What the instructions come to: the top-level values that are not so yet.
fn values(record: &Record, instructions: &[Instruction]) -> Result<Vec<(&'static str, String)>, PatchError> {
    if record.is_tombstone() {
        return Err(PatchError::Tombstone { version: record.version() });
    }
    let tree = record.tree()?;
    check::readable_tree(&tree)?;
    let (mut on, mut off_variation, mut fallthrough) = (None, None, None);
    for instruction in instructions {
        if let Some(variation) = instruction.variation() {
            exists(&tree, variation)?;
        }
        match instruction {
            Instruction::TurnFlagOn => on = Some(true),
            Instruction::TurnFlagOff => on = Some(false),
            Instruction::UpdateOffVariation { variation } => off_variation = Some(*variation),
            Instruction::UpdateFallthroughVariationOrRollout { variation } => fallthrough = Some(*variation),
        }
    }
    let is_on = member(&tree, "on").and_then(Json::bool).unwrap_or(false);
    let on = on.filter(|on| *on != is_on).map(|on| ("on", on.to_string()));
    let is_off_variation = |index: &VariationIndex| names(member(&tree, "offVariation"), *index);
    let off_variation =
        off_variation.filter(|index| !is_off_variation(index)).map(|index| ("offVariation", index.to_string()));
    let fallthrough = fallthrough
        .filter(|index| !is_fallthrough(&tree, *index))
        .map(|index| ("fallthrough", format!("{{\"variation\":{index}}}")));
    Ok([on, off_variation, fallthrough].into_iter().flatten().collect())
}

fn member<'tree, 'text>(tree: &'tree Json<'text>, name: &str) -> Option<&'tree Json<'text>> {
    tree.object()?.get(name)
}

fn exists(tree: &Json<'_>, variation: VariationIndex) -> Result<(), PatchError> {
    let count = member(tree, "variations").and_then(Json::list).unwrap_or_default().len();
    if variation < count { Ok(()) } else { Err(PatchError::NoSuchVariation { variation, count }) }
}

/// Whether the value is that index, written as a whole number: one with a fraction is mended, not kept.
fn names(value: Option<&Json<'_>>, index: VariationIndex) -> bool {
    value.and_then(Json::number) == Some(index as f64)
}

/// A rollout beside the variation is without effect but not what LaunchDarkly would leave there.
fn is_fallthrough(tree: &Json<'_>, index: VariationIndex) -> bool {
    let Some(fallthrough) = member(tree, "fallthrough").and_then(Json::object) else { return false };
    names(fallthrough.get("variation"), index) && !model::has_shares(fallthrough.get("rollout"))
}
