//! The playback: the folder of changes, one file per change, each written down before any store is touched. DISK.
//!
//! It keeps what was decided and what came of it, durably and in order, and gives it back after any crash. It must not
//! know how stores, relays or LaunchDarkly are reached, nor what an event means: what is owed is the fold of the events
//! (`change::state`). `README.md` beside this file is the guide for whoever changes the format or the sync rules.
//!
//! All of it blocks: commands call it directly (a record is one file, one sync of it and one of the folder). Whoever
//! serves others on the same thread puts a call into `tokio::task::spawn_blocking`.

mod change_file;
mod contents;
mod disk;
mod error;
mod folder;
mod format;
mod line;
mod loaded;
mod lock;
mod name;
mod writing;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod frozen_disk;
#[cfg(test)]
mod samples;

pub use change_file::ChangeFile;
pub use change_file::Syncing;
pub use change_file::Telling;
pub use change_file::record_writes_in;
pub use contents::Glimpse;
pub use contents::NotUnderstood;
pub use disk::Disk;
pub use disk::DiskFile;
pub use disk::Listed;
pub use disk::RealDisk;
pub use error::PlaybackError;
pub use folder::Playback;
pub use format::EditIntent;
pub use format::Intent;
pub use format::OutageNote;
pub use format::PLAYBACK_FORMAT;
pub use format::TargetIntent;
pub use loaded::Damage;
pub use loaded::End;
pub use loaded::Loaded;
pub use loaded::LoadedFile;
pub use loaded::Unfinished;
pub use lock::ReplayGuard;
