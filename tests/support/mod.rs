//! What the tests of the whole program stand on.

pub mod rc;
