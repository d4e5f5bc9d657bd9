//! What happened in the account, for whoever has to hear of it: written down where a thing is changed, taken by `Shared`
//! while the account is still locked, so that nothing is forgotten and the order is that of the changes.

use std::sync::Arc;

use serde_json::Value;

/// One thing before and after a change of it.
#[derive(Debug, Clone)]
pub enum News {
    /// A flag, in API shape, with all environments. None: it is not there.
    Flag { project: String, key: String, before: Option<Arc<Value>>, after: Option<Arc<Value>> },
    /// A segment's record in an environment. None: it is not there.
    Segment { project: String, environment: String, key: String, before: Option<Arc<Value>>, after: Option<Arc<Value>> },
    /// An environment as relays with automatic configuration get it. None: it is not there.
    Environment { project: String, environment: String, before: Option<Value>, after: Option<Value> },
    /// A payload filter of a project, likewise.
    Filter { project: String, id: String, before: Option<Value>, after: Option<Value> },
}
