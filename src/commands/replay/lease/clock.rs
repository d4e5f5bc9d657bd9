//! A clock that goes on while this process is stopped and while the machine sleeps: what was good for half a minute is
//! over after a night with the lid closed.

use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// The time since some beginning that stays the same while the machine runs.
pub fn now() -> Duration {
    // `std::time::Instant` stands still on Linux while the machine sleeps; elsewhere this one goes on.
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
