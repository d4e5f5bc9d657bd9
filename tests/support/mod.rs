//! What tests share: the program as a child process in an environment of its own, and real servers, never mocks of them.

pub mod guard;
pub mod ld_relay;
pub mod rc;
pub mod receiver;
pub mod redis;
pub mod shop;
pub mod terminal;
pub mod wire;
