//! (to be written)
pub mod targets;
