//! Segments: kept as the records that SDKs get, one set for each environment, since nothing in a rehearsal changes them
//! through the API. Must not know HTTP.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use serde_json::json;

use super::Account;
use super::news::News;
use super::record::record_version;
use crate::drill::launchdarkly::answer::Problem;

/// The segments of an environment, by key.
pub type Segments = IndexMap<String, Arc<Value>>;

/// A segment's record with all that SDKs expect of one. Source of the fields: `launchdarkly.md` 6.2.
pub fn complete_segment(record: &Value, key: &str, salt: &str) -> Result<Value, Problem> {
    let Some(given) = record.as_object() else { return Err(Problem::invalid("a segment must be an object")) };
    let mut segment = json!({ "key": key });
    for list in ["included", "excluded", "includedContexts", "excludedContexts", "rules"] {
        match given.get(list) {
            None => segment[list] = json!([]),
            Some(value) if value.is_array() => segment[list] = value.clone(),
            Some(_) => return Err(Problem::invalid(format!("'{list}' of a segment must be a list"))),
        }
    }
    let defaults = [("salt", json!(salt)), ("version", json!(1)), ("generation", Value::Null)];
    for (name, value) in defaults {
        segment[name] = given.get(name).cloned().unwrap_or(value);
    }
    for (name, value) in given {
        if segment.get(name).is_none() {
            segment[name] = value.clone();
        }
    }
    segment["deleted"] = json!(false);
    Ok(segment)
}

impl Account {
    /// Puts a segment in place of the one that is there, if one is. Its version is one more than it was.
    pub fn put_segment(&mut self, project: &str, environment: &str, key: &str, record: &Value) -> Result<u64, Problem> {
        let found = self.project_mut(project)?.environments.get_mut(environment).ok_or_else(Problem::not_found)?;
        let before = found.segments.get(key).cloned();
        let mut segment = complete_segment(record, key, key)?;
        let last = before.as_deref().map(record_version).or(found.removed_segments.get(key).copied()).unwrap_or(0);
        segment["version"] = json!(last + 1);
        let after = Arc::new(segment);
        found.segments.insert(key.to_owned(), Arc::clone(&after));
        let (project, environment, key) = (project.to_owned(), environment.to_owned(), key.to_owned());
        self.news.push(News::Segment { project, environment, key, before, after: Some(after) });
        Ok(last + 1)
    }

    /// Deletes a segment.
    pub fn delete_segment(&mut self, project: &str, environment: &str, key: &str) -> Result<(), Problem> {
        let found = self.project_mut(project)?.environments.get_mut(environment).ok_or_else(Problem::not_found)?;
        let before = found.segments.shift_remove(key).ok_or_else(Problem::not_found)?;
        found.removed_segments.insert(key.to_owned(), record_version(&before) + 1);
        let (project, environment, key) = (project.to_owned(), environment.to_owned(), key.to_owned());
        self.news.push(News::Segment { project, environment, key, before: Some(before), after: None });
        Ok(())
    }
}
