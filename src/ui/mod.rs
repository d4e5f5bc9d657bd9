//! What people see and are asked: the only place that prints. Everything here takes finished words; it must not know
//! what a flag, a store or LaunchDarkly is, and decides nothing.

pub mod harmless;
pub mod nearest;
pub mod output;
pub mod progress;
pub mod prompt;
pub mod secret;
pub mod table;
pub mod teller;
pub mod time;
pub mod words;
