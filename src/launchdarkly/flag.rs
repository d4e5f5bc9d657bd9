//! A flag as the REST API shows it, brought into the shape in which flags are compared (launchdarkly.md 13). PURE.
//! Tolerant of what is unknown, strict about what decides: an answer without `on` or `version` is no answer.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::flag::configuration::Clause;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::JsonValue;
use crate::flag::configuration::Rule;
use crate::flag::configuration::Serve;
use crate::flag::configuration::Share;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::launchdarkly::wire;

/// The context kind where none is named.
const DEFAULT_KIND: &str = "user";
/// What REST calls a guarded rollout.
const MEASURED_ROLLOUT: &str = "measuredRollout";

/// Why an answer is no flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagReadError {
    /// Not JSON at all.
    #[error("not JSON")]
    NotJson,
    /// It has not got the environment that was asked for.
    #[error("no environment {0}")]
    NoEnvironment(EnvironmentKey),
    /// What decides is missing or has another form.
    #[error("{0}")]
    Unusable(String),
}

/// A flag in one environment, as LaunchDarkly's REST API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteFlag {
    /// Its name for people.
    pub name: String,
    /// What it does in the environment.
    pub configuration: Configuration,
    /// The version in the environment: the number that SDKs and stores know (not REST's `_version`).
    pub version: u64,
    /// Archived, so gone for every SDK.
    pub archived: bool,
    /// Marked as not to be used any more; SDKs get it all the same.
    pub deprecated: bool,
    /// Marked as temporary, where LaunchDarkly says so.
    pub temporary: Option<bool>,
    /// LaunchDarkly's id of each variation, in the order of [`Configuration::variations`].
    pub variation_ids: Vec<Option<String>>,
    /// The name of each variation, in the same order.
    pub variation_names: Vec<Option<String>>,
    /// When the flag was last changed in the environment, by LaunchDarkly's clock.
    pub last_modified: Option<Timestamp>,
    /// Its tags.
    pub tags: Vec<String>,
}

impl RemoteFlag {
    /// Reads the answer to a `GET` or `PATCH` of a flag (schema `FeatureFlag`).
    ///
    /// # Errors
    /// See [`FlagReadError`]; also where the answer is about another flag than `flag`.
    pub fn read(body: &[u8], environment: &EnvironmentKey, flag: &FlagKey) -> Result<Self, FlagReadError> {
        let unusable = |error: serde_json::Error| match error.classify() {
            serde_json::error::Category::Data => FlagReadError::Unusable(error.to_string()),
            _ => FlagReadError::NotJson,
        };
        let mut read: wire::Flag = serde_json::from_slice(body).map_err(unusable)?;
        if read.key != flag.as_str() {
            return Err(FlagReadError::Unusable(format!("it is about {:?}", read.key)));
        }
        let here = read.environments.remove(environment.as_str());
        let here = here.ok_or_else(|| FlagReadError::NoEnvironment(environment.clone()))?;
        let here: wire::FlagConfiguration = serde_json::from_str(here.get())
            .map_err(|error| FlagReadError::Unusable(format!("environment {environment}: {error}")))?;
        let archived = read.archived || here.archived;
        let (version, last_modified) = (here.version, here.last_modified);
        let (mut ids, mut names, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for variation in read.variations {
            ids.push(variation.id);
            names.push(variation.name);
            values.push(JsonValue(variation.value));
        }
        Ok(Self {
            name: read.name,
            configuration: configuration(here, values),
            version,
            archived,
            deprecated: read.deprecated,
            temporary: read.temporary,
            variation_ids: ids,
            variation_names: names,
            last_modified: last_modified.and_then(|at| Timestamp::from_millisecond(at).ok()),
            tags: read.tags,
        })
    }
}

impl RemoteFlag {
    /// Whether a record is, in all that decides, the one that LaunchDarkly sends of this flag now.
    pub fn is_sent_as(&self, record: &Record) -> bool {
        !self.archived
            && self.version == record.version()
            && self.configuration.differs(&Configuration::of_record(record)).is_empty()
    }
}

fn configuration(read: wire::FlagConfiguration, variations: Vec<JsonValue>) -> Configuration {
    Configuration {
        on: read.on,
        off_variation: read.off_variation,
        fallthrough: serve(read.fallthrough.unwrap_or_default()),
        targets: targets(read.targets, read.context_targets),
        rules: read.rules.into_iter().map(rule).collect(),
        prerequisites: read.prerequisites.into_iter().map(|wanted| (wanted.key, wanted.variation)).collect(),
        variations,
    }
    .normalised()
}

/// Both lists together: `contextTargets` holds empty placeholders for what stands in `targets`.
fn targets(users: Vec<wire::Target>, contexts: Vec<wire::Target>) -> BTreeMap<(String, i64), BTreeSet<String>> {
    let mut merged = BTreeMap::<_, BTreeSet<_>>::new();
    for target in users.into_iter().chain(contexts) {
        merged.entry((kind(target.context_kind), target.variation)).or_default().extend(target.values);
    }
    merged
}

fn rule(read: wire::Rule) -> Rule {
    Rule {
        id: read.id.unwrap_or_default(),
        clauses: read.clauses.into_iter().map(clause).collect(),
        serve: serve(read.served),
        disabled: read.disabled,
    }
}

fn clause(read: wire::Clause) -> Clause {
    Clause {
        context_kind: read.context_kind.filter(|kind| !kind.is_empty()),
        attribute: read.attribute,
        op: read.op,
        values: read.values.into_iter().map(JsonValue).collect(),
        negate: read.negate,
    }
}

/// A variation wins over a rollout, as in every reader.
fn serve(read: wire::Served) -> Serve {
    if let Some(variation) = read.variation {
        return Serve::Variation(variation);
    }
    let Some(rollout) = read.rollout else { return Serve::Nothing };
    let allocation = rollout.experiment_allocation;
    if allocation.as_ref().and_then(|allocation| allocation.kind.as_deref()) == Some(MEASURED_ROLLOUT) {
        return Serve::Measured;
    }
    let share = |share: wire::Share| Share {
        variation: share.variation,
        weight: share.weight,
        untracked: share.untracked.unwrap_or(false),
    };
    Serve::Rollout {
        experiment: allocation.is_some(),
        context_kind: kind(rollout.context_kind),
        bucket_by: rollout.bucket_by.unwrap_or_default(),
        seed: rollout.seed,
        shares: rollout.variations.into_iter().map(share).collect(),
    }
}

fn kind(named: Option<String>) -> String {
    named.filter(|kind| !kind.is_empty()).unwrap_or_else(|| DEFAULT_KIND.to_owned())
}

#[cfg(test)]
mod tests;
