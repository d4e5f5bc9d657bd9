//! The shapes of LaunchDarkly's answers, as far as they are used. Unknown fields are ignored; a field without which
//! nothing could be decided has no default. Lists may be `null`, as Go writes an empty one.
//! Source: LaunchDarkly's OpenAPI description; the schema is named at each type.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Deserializer;
use serde_json::Value;
use serde_json::value::RawValue;

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Keeps `null` apart from nothing: the value of a variation may be `null`.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Value::deserialize(from)
}

/// `FeatureFlag`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flag {
    pub key: String,
    #[serde(default)]
    pub name: String,
    pub variations: Vec<Variation>,
    #[serde(default)]
    pub temporary: Option<bool>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    #[serde(default)]
    pub archived: bool,
    #[serde(default)]
    pub deprecated: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    pub environments: BTreeMap<String, Box<RawValue>>,
}

/// `Variation`.
#[derive(Debug, Deserialize)]
pub struct Variation {
    #[serde(rename = "_id", default)]
    pub id: Option<String>,
    #[serde(deserialize_with = "present")]
    pub value: Value,
    #[serde(default)]
    pub name: Option<String>,
}

/// `FeatureFlagConfig`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlagConfiguration {
    pub on: bool,
    pub version: u64,
    #[serde(default)]
    pub archived: bool,
    #[serde(default)]
    pub last_modified: Option<i64>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub targets: Vec<Target>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub context_targets: Vec<Target>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub rules: Vec<Rule>,
    #[serde(default)]
    pub fallthrough: Option<Served>,
    #[serde(default)]
    pub off_variation: Option<i64>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub prerequisites: Vec<Prerequisite>,
}

/// `Target`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    #[serde(default, deserialize_with = "null_is_default")]
    pub values: Vec<String>,
    pub variation: i64,
    #[serde(default)]
    pub context_kind: Option<String>,
}

/// `Prerequisite`.
#[derive(Debug, Deserialize)]
pub struct Prerequisite {
    pub key: String,
    pub variation: i64,
}

/// `Rule`.
#[derive(Debug, Deserialize)]
pub struct Rule {
    #[serde(rename = "_id", default)]
    pub id: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub disabled: bool,
    #[serde(flatten)]
    pub served: Served,
    #[serde(default, deserialize_with = "null_is_default")]
    pub clauses: Vec<Clause>,
}

/// `VariationOrRolloutRep`.
#[derive(Debug, Default, Deserialize)]
pub struct Served {
    #[serde(default)]
    pub variation: Option<i64>,
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

/// `Rollout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    #[serde(default, deserialize_with = "null_is_default")]
    pub variations: Vec<Share>,
    #[serde(default)]
    pub experiment_allocation: Option<Allocation>,
    #[serde(default)]
    pub seed: Option<i64>,
    #[serde(default)]
    pub bucket_by: Option<String>,
    #[serde(default)]
    pub context_kind: Option<String>,
}

/// `ExperimentAllocationRep`; `type` is not described and names guarded rollouts.
#[derive(Debug, Deserialize)]
pub struct Allocation {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
}

/// `WeightedVariation`.
#[derive(Debug, Deserialize)]
pub struct Share {
    pub variation: i64,
    pub weight: i64,
    #[serde(rename = "_untracked", alias = "untracked", default)]
    pub untracked: Option<bool>,
}

/// `Clause`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clause {
    #[serde(default, deserialize_with = "null_is_default")]
    pub attribute: String,
    pub op: String,
    #[serde(default, deserialize_with = "null_is_default")]
    pub values: Vec<Value>,
    #[serde(default)]
    pub context_kind: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub negate: bool,
}

/// `Environment`. The SDK keys are not read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    pub name: String,
    #[serde(default)]
    pub critical: bool,
    #[serde(default)]
    pub confirm_changes: bool,
    #[serde(default)]
    pub approval_settings: Option<ApprovalSettings>,
}

/// `ApprovalSettings`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSettings {
    pub required: bool,
    #[serde(default, deserialize_with = "null_is_default")]
    pub required_approval_tags: Vec<String>,
    #[serde(default)]
    pub min_num_approvals: u32,
    #[serde(default)]
    pub can_review_own_request: bool,
    #[serde(default)]
    pub can_apply_declined_changes: bool,
    #[serde(default)]
    pub auto_apply_approved_changes: bool,
    #[serde(default)]
    pub service_kind: String,
}

/// `FlagConfigApprovalRequestResponse`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    #[serde(rename = "_id")]
    pub id: String,
    pub status: String,
    pub review_status: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub conflicts: Vec<Conflict>,
}

/// `Conflict`.
#[derive(Debug, Deserialize)]
pub struct Conflict {
    #[serde(default)]
    pub reason: Option<String>,
}

/// `FlagConfigApprovalRequestsResponse`.
#[derive(Debug, Deserialize)]
pub struct Approvals {
    #[serde(deserialize_with = "null_is_default")]
    pub items: Vec<Approval>,
}

/// `AuditLogEntryListingRepCollection`.
#[derive(Debug, Deserialize)]
pub struct AuditPage {
    #[serde(deserialize_with = "null_is_default")]
    pub items: Vec<AuditEntry>,
    #[serde(rename = "_links", default)]
    pub links: Links,
}

/// The links of a page.
#[derive(Debug, Default, Deserialize)]
pub struct Links {
    #[serde(default)]
    pub next: Option<Link>,
}

/// `Link`.
#[derive(Debug, Deserialize)]
pub struct Link {
    pub href: String,
}

/// `AuditLogEntryListingRep`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub date: i64,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub title_verb: Option<String>,
    #[serde(default)]
    pub short_description: String,
    #[serde(default)]
    pub comment: Option<String>,
    #[serde(default)]
    pub member: Option<Member>,
    #[serde(default)]
    pub token: Option<Named>,
    #[serde(default)]
    pub subject: Option<Named>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub accesses: Vec<Access>,
}

/// `MemberDataRep`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    #[serde(default)]
    pub email: Option<String>,
    #[serde(default)]
    pub first_name: Option<String>,
    #[serde(default)]
    pub last_name: Option<String>,
}

/// `TokenSummary`, `SubjectDataRep`.
#[derive(Debug, Deserialize)]
pub struct Named {
    #[serde(default)]
    pub name: Option<String>,
}

/// `ResourceAccess`.
#[derive(Debug, Deserialize)]
pub struct Access {
    #[serde(default)]
    pub action: Option<String>,
}

/// `CallerIdentityRep`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallerIdentity {
    #[serde(default)]
    pub account_id: Option<String>,
    #[serde(default)]
    pub token_id: Option<String>,
    #[serde(default)]
    pub token_name: Option<String>,
    #[serde(default)]
    pub token_kind: Option<String>,
    #[serde(default)]
    pub member_id: Option<String>,
    #[serde(default)]
    pub service_token: bool,
}

/// `Token`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub custom_role_ids: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub inline_role: Vec<Value>,
    #[serde(default)]
    pub service_token: bool,
}
