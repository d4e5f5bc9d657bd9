//! A guard's view of its stores: real Redis servers that are written by `rc`, killed, frozen, flushed, failed over, trimmed,
//! evicted from or closed to it by rights. What it tells and what it writes must be true after each.

mod announced;
mod copied;
mod expired;
mod followed;
mod reasserted;
mod replayed;
mod stage;
