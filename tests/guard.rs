//! `rc guard` as relays meet it: the real program between a scripted LaunchDarkly that does the worst and relays that are
//! read byte by byte; with the simulated LaunchDarkly and a real relay where that tells more.

mod asked;
mod automatic;
mod bytes;
mod conflict;
mod memory;
mod notified;
mod only_stores;
mod outage;
mod overlay;
mod process;
mod proxy;
mod refusals;
mod relay;
mod scripted;
mod silent;
mod slow;
mod through;
mod told;
mod unread;
mod update;

use crate::support::wire;
