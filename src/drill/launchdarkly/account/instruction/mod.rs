//! Semantic patch instructions, carried out on a flag in LaunchDarkly's API shape. Variations are named by id.
//!
//! This is the simulated LaunchDarkly's own interpreter, and knows nothing of the one in `flag/`: where the two
//! disagree, one of them is wrong, and a test says so. Source of kinds and parameters: LaunchDarkly's OpenAPI
//! description, operation `patchFeatureFlag`. Refuses what LaunchDarkly would refuse, always as a whole: it works on a
//! copy that the caller throws away. Must not know who asks, versions, approvals or the audit log.

mod parameter;
mod prerequisite;
mod rule;
mod setting;
mod target;
mod variation;

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use self::parameter::Parameters;
use crate::drill::launchdarkly::answer::Problem;

/// The flags of a project, by key.
pub type Flags = IndexMap<String, Arc<Value>>;

/// Where an instruction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The flag's configuration in the environment of the request.
    Environment,
    /// The flag itself, in every environment.
    Flag,
}

/// What LaunchDarkly knows about a kind: the action that a role must allow, and where it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub name: &'static str,
    pub action: &'static str,
    pub reach: Reach,
    /// What the audit log says that somebody did.
    pub verb: &'static str,
}

macro_rules! kinds {
    ($($reach:ident $action:literal $verb:literal: $($name:literal)+;)+) => {
        &[$($(Kind { name: $name, action: $action, reach: Reach::$reach, verb: $verb },)+)+]
    };
}

/// Every documented kind. Source of the actions: LaunchDarkly's list of role actions (`launchdarkly.md` 5).
const KINDS: &[Kind] = kinds! {
    Environment "updateOn" "turned on the flag": "turnFlagOn";
    Environment "updateOn" "turned off the flag": "turnFlagOff";
    Environment "updateOffVariation" "changed the off variation of": "updateOffVariation";
    Environment "updateFallthrough" "changed the default rule of": "updateFallthroughVariationOrRollout";
    Environment "updateTargets" "changed the targets of": "addTargets" "addUserTargets" "removeTargets"
        "removeUserTargets" "clearTargets" "clearUserTargets" "replaceTargets" "replaceUserTargets";
    Environment "updateRules" "changed the rules of": "addRule" "removeRule" "replaceRules" "reorderRules" "addClauses"
        "removeClauses" "updateClause" "addValuesToClause" "removeValuesFromClause" "updateRuleDescription"
        "updateRuleTrackEvents" "updateRuleVariationOrRollout";
    Environment "updatePrerequisites" "changed the prerequisites of": "addPrerequisite" "removePrerequisite"
        "updatePrerequisite" "replacePrerequisites";
    Environment "updateTrackEvents" "changed the event tracking of": "updateTrackEvents" "updateTrackEventsFallthrough";
    Flag "updateFlagVariations" "changed the variations of": "addVariation" "removeVariation" "updateVariation";
    Flag "updateFlagDefaultVariations" "changed the default variations of": "updateDefaultVariation";
    Flag "updateFlagCustomProperties" "changed the custom properties of": "addCustomProperties"
        "removeCustomProperties" "replaceCustomProperties";
    Flag "updateTags" "changed the tags of": "addTags" "removeTags";
    Flag "updateTemporary" "changed the permanence of": "makeFlagPermanent" "makeFlagTemporary";
    Flag "updateMaintainer" "changed the maintainer of": "removeMaintainer" "updateMaintainerMember"
        "updateMaintainerTeam";
    Flag "updateClientSideFlagAvailability" "changed the client-side availability of": "turnOffClientSideAvailability"
        "turnOnClientSideAvailability";
    Flag "updateDescription" "changed the description of": "updateDescription";
    Flag "updateName" "renamed": "updateName";
    Flag "updateGlobalArchived" "archived the flag": "archiveFlag";
    Flag "updateGlobalArchived" "restored the flag": "restoreFlag";
    Flag "updateDeprecated" "changed the deprecation of": "deprecateFlag" "restoreDeprecatedFlag";
    Flag "deleteFlag" "deleted the flag": "deleteFlag";
};

/// The kind of an instruction. Refuses an unknown one, and one that is no object.
pub(super) fn kind_of(instruction: &Value) -> Result<Kind, Problem> {
    let name = instruction
        .get("kind")
        .and_then(Value::as_str)
        .ok_or_else(|| Problem::invalid("each instruction must be an object with a 'kind'"))?;
    let known = KINDS.iter().find(|kind| kind.name == name);
    known.copied().ok_or_else(|| Problem::invalid(format!("unknown instruction kind '{name}'")))
}

/// What an instruction works on.
pub(super) struct Bench<'a> {
    /// The copy of the flag that is changed.
    pub flag: &'a mut Value,
    /// The environment of the request, which the flag has a configuration for.
    pub environment: Option<&'a str>,
    /// The project's flags, for prerequisites.
    pub flags: &'a Flags,
    /// The time, in milliseconds of the epoch.
    pub now: i64,
}

impl Bench<'_> {
    /// The flag's configuration in the environment.
    fn configuration(&mut self) -> Result<&mut Map<String, Value>, Problem> {
        let environment = self.environment.ok_or_else(|| Problem::invalid("environmentKey is required"))?;
        let configuration =
            self.flag.get_mut("environments").and_then(|environments| environments.get_mut(environment));
        configuration.and_then(Value::as_object_mut).ok_or_else(Problem::not_found)
    }

    fn fields(&mut self) -> Result<&mut Map<String, Value>, Problem> {
        self.flag.as_object_mut().ok_or_else(Problem::not_found)
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), Problem> {
        self.configuration()?.insert(name.to_owned(), value);
        Ok(())
    }

    /// Carries one instruction out. `deleteFlag` changes nothing here: the caller takes the flag away.
    pub fn apply(&mut self, instruction: &Value) -> Result<(), Problem> {
        let kind = kind_of(instruction)?;
        if kind.reach == Reach::Environment && self.flag.get("archived") == Some(&json!(true)) {
            return Err(Problem::invalid("Flag is archived and can not be changed until it is restored"));
        }
        let parameters = Parameters::of(kind.name, instruction);
        match kind.name {
            "turnFlagOn" => self.set("on", json!(true)),
            "turnFlagOff" => self.set("on", json!(false)),
            "updateOffVariation" => {
                let index = parameters.variation(self.flag)?;
                self.set("offVariation", json!(index))
            }
            "updateFallthroughVariationOrRollout" => {
                let served = parameters.served(self.flag)?;
                self.set("fallthrough", Value::Object(served))
            }
            "updateTrackEvents" => {
                let value = parameters.flag("trackEvents")?;
                self.set("trackEvents", json!(value))
            }
            "updateTrackEventsFallthrough" => {
                let value = parameters.flag("trackEvents")?;
                self.set("trackEventsFallthrough", json!(value))
            }
            _ => match kind.action {
                "updateTargets" => target::apply(self, &parameters),
                "updateRules" => rule::apply(self, &parameters),
                "updatePrerequisites" => prerequisite::apply(self, &parameters),
                "updateFlagVariations" | "updateFlagDefaultVariations" => variation::apply(self, &parameters),
                _ => setting::apply(self, &parameters),
            },
        }
    }
}
