//! `rc update` as an operator meets it: the real program, real servers, several at once.

mod answers;
mod asked;
mod bad_input;
mod killed;
mod lost_answer;
mod playback_folder;
mod relays;
mod restarts;
mod rights;
mod shown;
pub(crate) mod stage;
mod targets;
mod two_operators;
