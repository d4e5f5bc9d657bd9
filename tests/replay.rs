//! `rc replay` and `rc verify` as an operator meets them: real Redis servers, and a simulated LaunchDarkly that can be away.

mod answers;
mod approvals;
mod by_itself;
mod colleagues;
mod conflicts;
mod evidence;
mod expiry;
mod gone;
mod killed;
mod lease;
mod left_behind;
mod lost_answers;
mod playback_folder;
mod rights;
mod sending;
mod signed;
mod stage;
mod stores;
mod verify;
