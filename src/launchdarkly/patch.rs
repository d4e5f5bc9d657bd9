//! A semantic patch as it is sent: instructions whose variations are named by LaunchDarkly's ids. PURE.
//!
//! A store knows variations only by their place in the list, LaunchDarkly's API only by their ids, and the list may
//! have been shifted in between. So a place is turned into an id through the flag's own list as LaunchDarkly shows it
//! now, and only if the value there is the one that was meant.

use serde::Serialize;
use serde_json::Value;

use crate::flag::configuration::JsonValue;
use crate::flag::instruction::Instruction;
use crate::flag::instruction::VariationIndex;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::launchdarkly::flag::RemoteFlag;

/// Why an instruction cannot be said in LaunchDarkly's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariationError {
    /// The list that the index was meant for is shorter.
    #[error("there is no variation {index} in the record; it has {count}")]
    NoSuchVariation {
        /// The index.
        index: VariationIndex,
        /// The length of our list.
        count: usize,
    },
    /// LaunchDarkly's flag has no variation of that value any more.
    #[error("LaunchDarkly's flag has no variation {value} any more")]
    Gone {
        /// The value, as JSON.
        value: String,
    },
    /// The list was shifted, and the value stands in it more than once.
    #[error("LaunchDarkly's flag has {count} variations {value}, none of them where it was")]
    Ambiguous {
        /// The value, as JSON.
        value: String,
        /// How many.
        count: usize,
    },
    /// LaunchDarkly's answer names no id for the variation.
    #[error("LaunchDarkly names no id for variation {value}")]
    NoId {
        /// The value, as JSON.
        value: String,
    },
}

/// One instruction in LaunchDarkly's words. Source: operation `patchFeatureFlag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SemanticInstruction {
    /// Targeting on.
    TurnFlagOn,
    /// Targeting off.
    TurnFlagOff,
    /// The variation while targeting is off.
    UpdateOffVariation {
        /// LaunchDarkly's id of it.
        variation_id: String,
    },
    /// The variation of the default rule.
    UpdateFallthroughVariationOrRollout {
        /// LaunchDarkly's id of it.
        variation_id: String,
    },
}

impl SemanticInstruction {
    /// The action that a role must allow for it (launchdarkly.md section 5).
    pub fn action(&self) -> &'static str {
        match self {
            SemanticInstruction::TurnFlagOn | SemanticInstruction::TurnFlagOff => "updateOn",
            SemanticInstruction::UpdateOffVariation { .. } => "updateOffVariation",
            SemanticInstruction::UpdateFallthroughVariationOrRollout { .. } => "updateFallthrough",
        }
    }

    fn of(
        instruction: &Instruction,
        variation_id: impl Fn(VariationIndex) -> Result<String, VariationError>,
    ) -> Result<Self, VariationError> {
        Ok(match instruction {
            Instruction::TurnFlagOn => SemanticInstruction::TurnFlagOn,
            Instruction::TurnFlagOff => SemanticInstruction::TurnFlagOff,
            Instruction::UpdateOffVariation { variation } => {
                SemanticInstruction::UpdateOffVariation { variation_id: variation_id(*variation)? }
            }
            Instruction::UpdateFallthroughVariationOrRollout { variation } => {
                SemanticInstruction::UpdateFallthroughVariationOrRollout { variation_id: variation_id(*variation)? }
            }
        })
    }
}

/// What is to be done to a flag, and why. Applied by LaunchDarkly as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchRequest {
    /// In order.
    pub instructions: Vec<SemanticInstruction>,
    /// Shown in LaunchDarkly's audit log: see [`crate::launchdarkly::comment::comment`].
    pub comment: String,
}

impl PatchRequest {
    /// The actions that a role must allow for it, each once.
    pub fn actions(&self) -> Vec<&'static str> {
        let mut actions = Vec::new();
        for action in self.instructions.iter().map(SemanticInstruction::action) {
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
        actions
    }

    /// The request for people, in one line: method, path, body.
    pub fn described(&self, environment: &Environment, flag: &FlagKey) -> String {
        let body = self.body(environment);
        format!("PATCH /api/v2/flags/{}/{flag} {body}", environment.project)
    }

    /// The body, as JSON.
    pub(super) fn body(&self, environment: &Environment) -> String {
        serde_json::json!({
            "comment": self.comment,
            "environmentKey": environment.key.as_str(),
            "instructions": self.instructions,
        })
        .to_string()
    }

    /// The body of an approval request for the same, as JSON.
    pub(super) fn approval_body(&self, description: &str) -> String {
        serde_json::json!({
            "description": description,
            "comment": self.comment,
            "instructions": self.instructions,
        })
        .to_string()
    }
}

/// Puts instructions into LaunchDarkly's words. `variations` is the list that their indices mean (that of the
/// override's base); `remote` is the flag as LaunchDarkly shows it now.
///
/// # Errors
/// See [`VariationError`]: an index that no longer means one certain value is a conflict for people to decide.
pub fn request(
    instructions: &[Instruction],
    variations: &[JsonValue],
    remote: &RemoteFlag,
    comment: String,
) -> Result<PatchRequest, VariationError> {
    let spoken = instructions
        .iter()
        .map(|instruction| SemanticInstruction::of(instruction, |index| variation_id(index, variations, remote)))
        .collect::<Result<_, _>>()?;
    Ok(PatchRequest { instructions: spoken, comment })
}

/// The request that a replay would send, as far as that is known while LaunchDarkly is away: ids of variations are not,
/// so their values stand in their place. For people; never sent.
pub fn foreseen(instructions: &[Instruction], variations: &[JsonValue], comment: String) -> PatchRequest {
    let named = |index: VariationIndex| match variations.get(index) {
        Some(JsonValue(value)) => Ok(format!("<id of variation {index}: {value}>")),
        None => Ok(format!("<id of variation {index}>")),
    };
    let spoken = instructions.iter().filter_map(|instruction| SemanticInstruction::of(instruction, named).ok());
    PatchRequest { instructions: spoken.collect(), comment }
}

fn variation_id(
    index: VariationIndex,
    variations: &[JsonValue],
    remote: &RemoteFlag,
) -> Result<String, VariationError> {
    let meant = variations.get(index).ok_or(VariationError::NoSuchVariation { index, count: variations.len() })?;
    let there = &remote.configuration.variations;
    let place = if there.get(index) == Some(meant) {
        index
    } else {
        let mut places = there.iter().enumerate().filter(|(_, value)| *value == meant).map(|(place, _)| place);
        match (places.next(), places.count()) {
            (Some(place), 0) => place,
            (Some(_), more) => return Err(VariationError::Ambiguous { value: shown(&meant.0), count: more + 1 }),
            (None, _) => return Err(VariationError::Gone { value: shown(&meant.0) }),
        }
    };
    let id = remote.variation_ids.get(place).cloned().flatten();
    id.ok_or_else(|| VariationError::NoId { value: shown(&meant.0) })
}

/// A value as JSON, cut where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(79).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flag::key::EnvironmentKey;

    fn remote(variations: &Value) -> RemoteFlag {
        let body = json!({
            "key": "checkout", "variations": variations,
            "environments": {"production": {"on": true, "version": 42}},
        });
        let environment: EnvironmentKey = "production".parse().unwrap();
        RemoteFlag::read(body.to_string().as_bytes(), &environment, &"checkout".parse().unwrap()).unwrap()
    }

    fn off_variation(index: usize, ours: &[Value], theirs: &Value) -> Result<String, VariationError> {
        let ours: Vec<JsonValue> = ours.iter().cloned().map(JsonValue).collect();
        let instructions = [Instruction::UpdateOffVariation { variation: index }];
        let request = request(&instructions, &ours, &remote(theirs), String::new())?;
        match &request.instructions[..] {
            [SemanticInstruction::UpdateOffVariation { variation_id }] => Ok(variation_id.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_index_becomes_the_id_of_the_same_value() {
        let ours = [json!(true), json!({"a": 1, "b": 2})];
        let theirs = json!([{"_id": "t", "value": true}, {"_id": "o", "value": {"b": 2.0, "a": 1}}]);
        assert_eq!(off_variation(1, &ours, &theirs), Ok("o".to_owned()));
        let shifted =
            json!([{"_id": "n", "value": 0}, {"_id": "t", "value": true}, {"_id": "o", "value": {"a": 1, "b": 2}}]);
        assert_eq!(off_variation(1, &ours, &shifted), Ok("o".to_owned()));
        assert_eq!(off_variation(0, &ours, &shifted), Ok("t".to_owned()));
    }

    #[test]
    fn an_index_that_means_no_certain_value_is_an_error() {
        let ours = [json!("a"), json!("b")];
        let gone = json!([{"_id": "1", "value": "a"}, {"_id": "2", "value": "c"}]);
        assert_eq!(off_variation(1, &ours, &gone), Err(VariationError::Gone { value: "\"b\"".to_owned() }));
        let twice = json!([{"_id": "1", "value": "b"}, {"_id": "2", "value": "c"}, {"_id": "3", "value": "b"}]);
        assert_eq!(
            off_variation(1, &ours, &twice),
            Err(VariationError::Ambiguous { value: "\"b\"".to_owned(), count: 2 })
        );
        let nameless = json!([{"_id": "1", "value": "a"}, {"value": "b"}]);
        assert_eq!(off_variation(1, &ours, &nameless), Err(VariationError::NoId { value: "\"b\"".to_owned() }));
        assert_eq!(off_variation(2, &ours, &gone), Err(VariationError::NoSuchVariation { index: 2, count: 2 }));
    }

    #[test]
    fn the_body_is_what_launchdarkly_documents() {
        let instructions =
            [Instruction::TurnFlagOff, Instruction::UpdateFallthroughVariationOrRollout { variation: 0 }];
        let theirs = json!([{"_id": "2f43", "value": "a"}]);
        let request = request(&instructions, &[JsonValue(json!("a"))], &remote(&theirs), "why".to_owned()).unwrap();
        let body: Value = serde_json::from_str(&request.body(&"shop/production".parse().unwrap())).unwrap();
        assert_eq!(
            body,
            json!({
                "comment": "why", "environmentKey": "production",
                "instructions": [
                    {"kind": "turnFlagOff"},
                    {"kind": "updateFallthroughVariationOrRollout", "variationId": "2f43"},
                ],
            })
        );
        assert_eq!(request.actions(), ["updateOn", "updateFallthrough"]);
    }

    #[test]
    fn what_is_foreseen_names_values_where_ids_are_not_known() {
        let foreseen = foreseen(
            &[Instruction::UpdateOffVariation { variation: 0 }, Instruction::TurnFlagOff],
            &[JsonValue(json!("bronze"))],
            "why".to_owned(),
        );
        let told = foreseen.described(&"shop/production".parse().unwrap(), &"tier".parse().unwrap());
        assert!(told.starts_with("PATCH /api/v2/flags/shop/tier {"), "{told}");
        assert!(told.contains(r#"<id of variation 0: \"bronze\">"#), "{told}");
        assert_eq!(foreseen.instructions.len(), 2);
    }
}
