//! Changes and overrides: what an operator decided, what is in force because of it, what is still owed to LaunchDarkly.
//! PURE: everything here takes values and gives values. It must not know how stores, files or APIs are reached, and it
//! knows no clock: times come in as arguments and are only ever shown, never used to order anything.

pub mod edit;
pub mod event;
pub mod expiry;
pub mod id;
pub mod lease;
pub mod merge;
pub mod net;
pub mod override_;
pub mod reconcile;
pub mod recorded;
#[cfg(test)]
pub(crate) mod sample;
pub mod seen;
pub mod settle;
pub mod signing;
pub mod stale;
pub mod state;
pub mod target;
pub mod undo;
pub mod update;
