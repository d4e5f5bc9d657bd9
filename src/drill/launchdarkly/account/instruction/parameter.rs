//! Reading the parameters of one instruction, with errors that name the kind and the parameter.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::super::flag::WEIGHT_TOTAL;
use super::super::flag::list;
use super::super::flag::text;
use crate::drill::launchdarkly::answer::Problem;

/// The parameters of one instruction.
pub(super) struct Parameters<'a> {
    /// The instruction's kind.
    pub kind: &'static str,
    object: &'a Value,
}

impl<'a> Parameters<'a> {
    pub fn of(kind: &'static str, object: &'a Value) -> Self {
        Self { kind, object }
    }

    pub fn problem(&self, what: impl std::fmt::Display) -> Problem {
        Problem::invalid(format!("invalid instruction '{}': {what}", self.kind))
    }

    /// The parameter, if it is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Result<&'a str, Problem> {
        let value = self.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| self.problem(format_args!("'{name}' must be a text")))
    }

    pub fn flag(&self, name: &str) -> Result<bool, Problem> {
        let value = self.get(name).and_then(Value::as_bool);
        value.ok_or_else(|| self.problem(format_args!("'{name}' must be true or false")))
    }

    pub fn list(&self, name: &str) -> Result<&'a [Value], Problem> {
        let value = self.get(name).and_then(Value::as_array);
        value.map(Vec::as_slice).ok_or_else(|| self.problem(format_args!("'{name}' must be a list")))
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Result<&'a [Value], Problem> {
        let values = self.list(name)?;
        if values.iter().all(Value::is_string) {
            return Ok(values);
        }
        Err(self.problem(format_args!("'{name}' must be a list of texts")))
    }

    /// A list of objects that are read like instructions.
    pub fn objects(&self, name: &str) -> Result<Vec<Parameters<'a>>, Problem> {
        let values = self.list(name)?;
        if values.iter().all(Value::is_object) {
            return Ok(values.iter().map(|object| Parameters { kind: self.kind, object }).collect());
        }
        Err(self.problem(format_args!("'{name}' must be a list of objects")))
    }

    /// The index of the variation that `variationId` names.
    pub fn variation(&self, flag: &Value) -> Result<usize, Problem> {
        self.index_of(flag, self.text("variationId")?)
    }

    /// The index of the variation with this id.
    pub fn index_of(&self, flag: &Value, id: &str) -> Result<usize, Problem> {
        let place = list(flag.get("variations")).iter().position(|variation| text(variation, "_id") == id);
        place.ok_or_else(|| self.problem(format_args!("variation '{id}' is not a variation of this flag")))
    }

    /// What a rule or the default rule serves: `{"variation": index}` or `{"rollout": {…}}`.
    pub fn served(&self, flag: &Value) -> Result<Map<String, Value>, Problem> {
        let mut served = Map::new();
        match (self.get("variationId"), self.get("rolloutWeights")) {
            (Some(_), None) => served.insert("variation".to_owned(), json!(self.variation(flag)?)),
            (None, Some(weights)) => served.insert("rollout".to_owned(), self.rollout(flag, weights)?),
            _ => return Err(self.problem("exactly one of 'variationId' and 'rolloutWeights' must be given")),
        };
        Ok(served)
    }

    fn rollout(&self, flag: &Value, weights: &Value) -> Result<Value, Problem> {
        let weights = weights.as_object().ok_or_else(|| self.problem("'rolloutWeights' must be an object"))?;
        let mut weighted: Vec<(usize, u64)> = Vec::new();
        for (id, weight) in weights {
            let weight = weight.as_u64().ok_or_else(|| self.problem("a weight must be a whole number"))?;
            weighted.push((self.index_of(flag, id)?, weight));
        }
        let total: u64 = weighted.iter().map(|&(_, weight)| weight.min(WEIGHT_TOTAL + 1)).sum();
        if total != WEIGHT_TOTAL {
            return Err(self.problem(format_args!("weights must add up to {WEIGHT_TOTAL}")));
        }
        weighted.sort_unstable();
        let variations: Vec<Value> =
            weighted.iter().map(|(index, weight)| json!({ "variation": index, "weight": weight })).collect();
        let kind = self.get("rolloutContextKind").cloned().unwrap_or(json!("user"));
        let mut rollout = json!({ "variations": variations, "contextKind": kind });
        if let Some(attribute) = self.get("rolloutBucketBy") {
            rollout["bucketBy"] = attribute.clone();
        }
        Ok(rollout)
    }
}
