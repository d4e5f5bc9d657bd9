//! Semantic patch instructions, in LaunchDarkly's own words, with one difference: a variation is named by its index in
//! the flag's list, because a store has no variation ids. `launchdarkly/` turns indices into ids when it sends them.
//!
//! The enum is closed and tagged by `kind`: an unknown kind is an error that names it, never something to pass on.
//! Source of kinds and parameters: LaunchDarkly's OpenAPI description, operation `patchFeatureFlag`.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::flag::aspect::Aspect;

/// The place of a variation in the flag's list, counted from 0.
pub type VariationIndex = usize;

/// One thing to do to a flag in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", deny_unknown_fields)]
pub enum Instruction {
    /// Targeting on.
    #[serde(deserialize_with = "without_parameters")]
    TurnFlagOn,
    /// Targeting off: everybody gets the off variation.
    #[serde(deserialize_with = "without_parameters")]
    TurnFlagOff,
    /// Which variation everybody gets while targeting is off.
    UpdateOffVariation {
        /// The variation to serve.
        variation: VariationIndex,
    },
    /// Which variation the default rule serves; a rollout that was there is replaced.
    UpdateFallthroughVariationOrRollout {
        /// The variation to serve.
        variation: VariationIndex,
    },
}

/// `deny_unknown_fields` alone lets a variant without fields take any (serde reads it as a unit).
fn without_parameters<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

impl Instruction {
    /// LaunchDarkly's name of the instruction, as it stands in `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Instruction::TurnFlagOn => "turnFlagOn",
            Instruction::TurnFlagOff => "turnFlagOff",
            Instruction::UpdateOffVariation { .. } => "updateOffVariation",
            Instruction::UpdateFallthroughVariationOrRollout { .. } => "updateFallthroughVariationOrRollout",
        }
    }

    /// The aspect that the instruction writes. That it also stands on the list of variations is told by
    /// [`Instruction::variation`].
    pub fn aspect(&self) -> Aspect {
        match self {
            Instruction::TurnFlagOn | Instruction::TurnFlagOff => Aspect::On,
            Instruction::UpdateOffVariation { .. } => Aspect::OffVariation,
            Instruction::UpdateFallthroughVariationOrRollout { .. } => Aspect::Fallthrough,
        }
    }

    /// The variation that the instruction names, if it names one.
    pub fn variation(&self) -> Option<VariationIndex> {
        match self {
            Instruction::TurnFlagOn | Instruction::TurnFlagOff => None,
            Instruction::UpdateOffVariation { variation }
            | Instruction::UpdateFallthroughVariationOrRollout { variation } => Some(*variation),
        }
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variation() {
            Some(variation) => write!(formatter, "{} (variation {variation})", self.kind()),
            None => formatter.write_str(self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Instruction, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn is_written_in_launchdarklys_words() {
        for instruction in [
            Instruction::TurnFlagOn,
            Instruction::TurnFlagOff,
            Instruction::UpdateOffVariation { variation: 2 },
            Instruction::UpdateFallthroughVariationOrRollout { variation: 0 },
        ] {
            let text = serde_json::to_string(&instruction).unwrap();
            assert!(text.starts_with(&format!("{{\"kind\":\"{}\"", instruction.kind())), "{text}");
            assert_eq!(read(&text).unwrap(), instruction);
        }
    }

    #[test]
    fn names_what_it_does_not_know() {
        assert!(read(r#"{"kind":"deleteFlag"}"#).unwrap_err().contains("`deleteFlag`"));
        assert!(read(r#"{"kind":"updateOffVariation","variation":1,"path":"/x"}"#).unwrap_err().contains("`path`"));
        assert!(read(r#"{"kind":"updateOffVariation","variation":-1}"#).is_err());
        assert!(read(r#"{"kind":"turnFlagOff","variation":1}"#).unwrap_err().contains("`variation`"));
    }
}
