//! Rehearsals that are ended in the middle.

use super::Started;
use super::drill;
use super::nothing_is_left;
use super::path_with_redis;
use super::processes_about;
use super::wait_until;

/// Whoever ends it, by a signal that can be caught or by one that cannot, no redis-server stays behind.
#[test]
fn stopped_in_the_middle() {
    let path = path_with_redis();
    for signal in ["INT", "TERM", "HUP", "KILL"] {
        let temporary = tempfile::tempdir().unwrap();
        let started = Started::start(&drill(temporary.path(), &path), temporary.path()).until("STEP 3 ");
        assert!(!processes_about(temporary.path()).is_empty());
        let (ended, talk) = started.ended_by(signal);
        assert!(!ended.success());
        wait_until("its processes are gone", || processes_about(temporary.path()).is_empty());
        if signal != "KILL" {
            assert_eq!(ended.code(), Some(1), "{signal}");
            assert!(talk.contains("the rehearsal was ended by"), "{talk}");
            nothing_is_left(temporary.path());
        }
    }
}
