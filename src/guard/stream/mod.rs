//! LaunchDarkly's stream on its way to relays: read event by event, kept as a last state, overlaid with the overrides, and
//! sent on. What to send is decided by pure code (`item`, `state`, `overlay`, `holding`, `channel`); the rest carries
//! bytes.

pub mod channel;
pub mod event;
pub mod holding;
pub mod item;
pub mod overlay;
pub mod state;
