//! LaunchDarkly's stream on its way to relays: read event by event, kept as a last state, overlaid with the overrides, and
//! sent on. What to send is decided by pure code (`item`, `state`, `overlay`, `holding`, `channel`); the rest carries
//! bytes.

mod actor;
mod attending;
pub mod body;
pub mod channel;
pub mod configuration;
mod content;
pub mod downstream;
pub mod event;
pub mod feed;
pub mod flags;
pub mod followed;
pub mod holding;
pub mod hub;
pub mod item;
mod keeping;
pub mod line;
pub mod overlay;
pub mod passthrough;
pub mod relays;
pub mod request;
pub mod shadow;
pub mod side;
pub mod state;
pub mod upstream;
pub mod view;
