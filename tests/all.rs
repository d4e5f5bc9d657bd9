//! The tests of the whole program: one binary, a file per subject.

// A test that cannot go on stops at once, in what it stands on as well.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod architecture;
mod help;
mod settings;
mod support;
