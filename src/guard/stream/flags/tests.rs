//! Tests of `flags`.
