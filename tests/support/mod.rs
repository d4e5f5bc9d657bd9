//! What tests share: real servers as child processes, never mocks of them.

pub mod redis;
