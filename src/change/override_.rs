//! An override: what is in force for one flag beyond what LaunchDarkly says, as it is kept in every target beside the
//! relay's keys (design 4.2, 4.3); and the mark that is left when it has ended.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

use crate::change::edit::Motive;
use crate::change::id::Actor;
use crate::change::id::ChangeId;
use crate::change::signing::Signature;
use crate::flag::aspect::Aspect;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;

/// The newest format of overrides and ended marks that this program reads and writes.
pub const OVERRIDE_FORMAT: u32 = 1;

/// The most changes that an override names; older ones drop out (the playback and the log still have them).
pub const OVERRIDE_CHANGES_MAX: usize = 64;

/// How far an override has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OverrideState {
    /// In force and owed to LaunchDarkly.
    InForce,
    /// LaunchDarkly accepted it; kept in force until LaunchDarkly's own data path shows that version.
    Replayed {
        /// LaunchDarkly's version of the flag after the patch.
        version: u64,
    },
    /// In force, owed, and waiting for a reviewer.
    AwaitingApproval {
        /// LaunchDarkly's id of the approval request.
        request: String,
    },
}

/// What is in force for one flag beyond what LaunchDarkly says.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// [`OVERRIDE_FORMAT`]. A reader that meets a newer one shows it and does not write.
    pub format: u32,
    /// How many edits it has had; counted up by each.
    pub revision: u64,
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// The net effect of all edits.
    pub instructions: Vec<Instruction>,
    /// How far it has come.
    pub state: OverrideState,
    /// The changes it is made of, oldest first.
    pub changes: Vec<ChangeId>,
    /// Who, when and why, of the newest edit.
    pub motive: Motive,
    /// LaunchDarkly's record when the override began. For conflicts; never rewritten while LaunchDarkly has not
    /// answered.
    pub base: Record,
    /// LaunchDarkly's newest record that was seen anywhere and was not written by us. For overlay and undo.
    pub upstream: Record,
    /// The aspects that were asked for with `--record` although the store's record was so already. They are owed even
    /// though they do not differ from `base`; all else that does not differ from it has come to nothing.
    pub insisted: BTreeSet<Aspect>,
    /// Who vouches for it: see [`crate::change::signing`]. It fits what it was made for and nothing else, so whoever makes
    /// an override of another one drops it, or signs anew what he has verified.
    pub signature: Option<Signature>,
}

/// An override as it is written. `upstream` is left out while it is, to the byte, the base, as it is in every new override.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'o> {
    format: u32,
    revision: u64,
    environment: Cow<'o, Environment>,
    flag: Cow<'o, FlagKey>,
    instructions: Cow<'o, [Instruction]>,
    state: Cow<'o, OverrideState>,
    changes: Cow<'o, [ChangeId]>,
    motive: Cow<'o, Motive>,
    base: Cow<'o, Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upstream: Option<Cow<'o, Record>>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    insisted: BTreeSet<Aspect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'o, Signature>>,
}

impl Serialize for Override {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            format: self.format,
            revision: self.revision,
            environment: Cow::Borrowed(&self.environment),
            flag: Cow::Borrowed(&self.flag),
            instructions: Cow::Borrowed(&self.instructions),
            state: Cow::Borrowed(&self.state),
            changes: Cow::Borrowed(&self.changes),
            motive: Cow::Borrowed(&self.motive),
            base: Cow::Borrowed(&self.base),
            upstream: (self.upstream != self.base).then_some(Cow::Borrowed(&self.upstream)),
            insisted: self.insisted.clone(),
            signature: self.signature.as_ref().map(Cow::Borrowed),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Override {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let base = written.base.into_owned();
        Ok(Self {
            format: written.format,
            revision: written.revision,
            environment: written.environment.into_owned(),
            flag: written.flag.into_owned(),
            instructions: written.instructions.into_owned(),
            state: written.state.into_owned(),
            changes: written.changes.into_owned(),
            motive: written.motive.into_owned(),
            upstream: written.upstream.map_or_else(|| base.clone(), Cow::into_owned),
            base,
            insisted: written.insisted,
            signature: written.signature.map(Cow::into_owned),
        })
    }
}

impl Override {
    /// The newest change.
    pub fn change(&self) -> Option<ChangeId> {
        self.changes.last().copied()
    }

    /// LaunchDarkly's version, once LaunchDarkly has it; `None` while it is owed.
    pub fn replayed_as(&self) -> Option<u64> {
        match self.state {
            OverrideState::Replayed { version } => Some(version),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => None,
        }
    }

    /// What must stand in a store while this override is in force.
    ///
    /// # Errors
    /// See [`crate::flag::patch::apply`].
    pub fn in_force(&self) -> Result<Record, crate::flag::patch::PatchError> {
        crate::flag::patch::in_force(&self.upstream, &self.instructions, self.revision)
    }

    /// What this override comes to, under a version that LaunchDarkly gave: what a store holds once LaunchDarkly has
    /// accepted `version`, and what stands for LaunchDarkly's answer where its own record has not been seen yet.
    ///
    /// LaunchDarkly may have changed other aspects between `upstream` and `version`; those are not in it. Whoever sees
    /// LaunchDarkly's own record of that version puts it in place of this one (a record that differs at the same
    /// version counts as newer).
    ///
    /// # Errors
    /// See [`crate::flag::patch::apply`].
    pub fn answered(&self, version: u64) -> Result<Record, crate::flag::patch::PatchError> {
        let record = crate::flag::patch::apply(&self.upstream, &self.instructions)?;
        Ok(record.with(&[("version", version.to_string())]))
    }

    /// What must stand in a store in the state that the override has: [`Override::in_force`] while it is owed,
    /// [`Override::answered`] once LaunchDarkly accepted it.
    ///
    /// # Errors
    /// See [`crate::flag::patch::apply`].
    pub fn stands_as(&self) -> Result<Record, crate::flag::patch::PatchError> {
        match self.state {
            OverrideState::Replayed { version } => self.answered(version),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => self.in_force(),
        }
    }
}

/// How an override ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// LaunchDarkly has it, or it came to nothing.
    Settled,
    /// Taken back.
    Undone,
    /// Given up in favour of what LaunchDarkly says.
    Abandoned,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Ending::Settled => "settled",
            Ending::Undone => "undone",
            Ending::Abandoned => "abandoned",
        })
    }
}

/// What stays behind when an override is over, kept for 90 days under each of its changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndedMark {
    /// [`OVERRIDE_FORMAT`].
    pub format: u32,
    /// Which flag of the change.
    pub flag: FlagKey,
    /// How it ended.
    pub ending: Ending,
    /// LaunchDarkly's version at the end, where it is known.
    pub version: Option<u64>,
    /// Who ended it.
    pub actor: Actor,
    /// When, by his clock.
    pub at: Timestamp,
    /// The override's revision. A mark of equal or higher revision wins over an override.
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;

    #[test]
    fn upstream_is_written_only_where_it_is_not_the_base() {
        let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
        let fresh = serde_json::to_string(&override_).unwrap();
        assert!(!fresh.contains("upstream"), "{fresh}");
        assert_eq!(serde_json::from_str::<Override>(&fresh).unwrap(), override_);
        override_.upstream = flag(43, true, 1, 0);
        let moved = serde_json::to_string(&override_).unwrap();
        assert!(moved.contains("upstream"), "{moved}");
        assert_eq!(serde_json::from_str::<Override>(&moved).unwrap(), override_);
        assert!(serde_json::from_str::<Override>(&fresh.replacen("base", "bass", 1)).is_err());
    }
}
