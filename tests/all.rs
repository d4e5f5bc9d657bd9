//! The tests of the whole program: one binary, a file per subject.

mod drill;
