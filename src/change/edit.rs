//! A change: one run of `rc update` (or `undo`), with all that people will ask about it later.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;

/// Instructions for one flag in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// What to do. Empty in an undo.
    pub instructions: Vec<Instruction>,
}

/// Who, when, why: what a change, an override and a comment to LaunchDarkly all carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Motive {
    /// Who.
    pub actor: Actor,
    /// When it was typed, by the operator's clock. Shown, never used to order.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The incident it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// When somebody wants to be reminded that it is still in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// `rc update`.
    Update,
    /// `rc undo`: puts LaunchDarkly's own record back.
    Undo,
    /// A colleague's override, met in a store and replayed from here: its record begins with what the store said.
    Adopted,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// What it is.
    pub kind: ChangeKind,
    /// Who, when, why.
    pub motive: Motive,
    /// What it does; at most one edit per flag of an environment.
    pub edits: Vec<Edit>,
}
