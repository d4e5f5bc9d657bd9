//! Payload filters: SDKs and relays may ask for a part of an environment only (`?filter=KEY`).
//!
//! How LaunchDarkly lets its users define them is not documented for its API; here a filter names flags by key (`*`: any
//! run of characters) and by tag. Segments are in every part, since LaunchDarkly speaks of flags only.

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::flag::list;
use super::flag::text;
use super::identity::glob;

/// Which flags are in the part: those with one of these keys or one of these tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayloadFilter {
    /// Keys, in which `*` stands for any run of characters.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl PayloadFilter {
    /// Whether the flag, in API shape, is in the part.
    pub(in crate::drill::launchdarkly) fn fits(&self, flag: &Value) -> bool {
        let tags = list(flag.get("tags"));
        self.flags.iter().any(|pattern| glob(pattern, text(flag, "key")))
            || self.tags.iter().any(|tag| tags.contains(&json!(tag)))
    }
}

/// A filter of a project.
#[derive(Debug, Clone)]
pub struct Filter {
    pub definition: PayloadFilter,
    /// Counted up with each change, for automatic configuration.
    pub version: u64,
}

impl Filter {
    /// As relays with automatic configuration get it. Source: `launchdarkly.md` 7.4.
    pub fn relay_representation(&self, project: &str, key: &str) -> Value {
        json!({ "projKey": project, "key": key, "version": self.version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tags() {
        let filter = PayloadFilter { flags: vec!["web-*".to_owned()], tags: vec!["till".to_owned()] };
        let fits = |key: &str, tags: Value| filter.fits(&json!({ "key": key, "tags": tags }));
        assert!(fits("web-checkout", json!([])));
        assert!(fits("refunds", json!(["eu", "till"])));
        assert!(!fits("refunds", json!(["eu"])));
        assert!(
            !PayloadFilter::default().fits(&json!({ "key": "a", "tags": ["b"] })),
            "an empty filter lets nothing in"
        );
    }
}
