//! What LaunchDarkly's record has taken out of a store, with no stream that shows it: a relay that no guard stands before was
//! reset, or heard LaunchDarkly's next word.

use std::time::Duration;
use std::time::Instant;

use super::stage::Guard;
use super::stage::Home;
use super::stage::Wish;
use super::stage::runtime;
use super::stage::wait_until;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

const LOG: &str = "ld:shop:production:relaycommander:log";
const FEATURES: &str = "ld:shop:production:features";

/// How often a store is reset.
const ROUNDS: usize = 10;

/// As long as it may be gone, by the issue; on a machine that is busy with other tests, a little more.
const BACK_WITHIN: Duration = Duration::from_millis(1_500);
const BUSY: Duration = Duration::from_millis(1_500);

fn server() -> RedisServer {
    let server = RedisServer::with().tcp().start();
    server.fill(PREFIX, &[("checkout", &flag("checkout", 42).text()), ("refunds", &flag("refunds", 7).text())]);
    server
}

fn stands(server: &RedisServer) -> String {
    server.run(&["HGET", FEATURES, "checkout"])
}

#[test]
fn a_reset_without_any_stream_is_put_right_each_time_and_told_with_its_length() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = [eu.url(), us.url()];
    let mut guard = Guard::start(&runtime, &Wish::of(&both));
    Home::new(&both).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    let (launchdarklys, ours) = (flag("checkout", 42).text(), flag("checkout", 43).off().text());
    for round in 0..ROUNDS {
        // As a relay does it: everything anew, and no word of it in our log.
        us.run(&["HSET", FEATURES, "checkout", &launchdarklys, "refunds", &flag("refunds", 7).text()]);
        let begun = Instant::now();
        wait_until("it is back", || stands(&us) == ours);
        let gone = begun.elapsed();
        assert!(gone < BACK_WITHIN + BUSY, "round {round}: {gone:?}");
        guard.wait("it is told", |guard| {
            let told = guard.alarms.iter().filter(|told| told.starts_with("override-reasserted"));
            told.filter(|told| told.contains("checkout in us") && told.contains(" s at most")).count() == round + 1
        });
    }
    assert_eq!(stands(&eu), ours, "each store for itself");
    assert_eq!(eu.line(&format!("XLEN {LOG}")), "1", "nothing was written where nothing was reset");
}

#[test]
fn launchdarklys_next_word_in_a_store_and_the_override_are_both_there() {
    let (runtime, eu) = (runtime(), server());
    let all = [eu.url()];
    let mut guard = Guard::start(&runtime, &Wish::of(&all));
    let home = Home::new(&all);
    home.off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    // A version above the override's, or a relay would not have written it.
    eu.run(&["HSET", FEATURES, "checkout", &flag("checkout", 44).rule("FR").text()]);
    wait_until("both", || stands(&eu) == flag("checkout", 45).rule("FR").off().text());
    guard.wait("it is told", |guard| guard.alarmed("override-reasserted", "checkout"));
    home.rc("undo checkout").code(0);
    assert_eq!(stands(&eu), flag("checkout", 44).rule("FR").text());
}

#[test]
fn a_guard_that_only_looks_on_puts_nothing_right() {
    let (runtime, eu) = (runtime(), server());
    let all = [eu.url()];
    let mut guard = Guard::start(&runtime, &Wish { shadow: true, ..Wish::of(&all) });
    Home::new(&all).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    let launchdarklys = flag("checkout", 42).text();
    eu.run(&["HSET", FEATURES, "checkout", &launchdarklys]);
    guard.wait("it saw it", |guard| guard.saw("checkout", 42, true));
    // It would have been back by now.
    let begun = Instant::now();
    guard.wait("a look or two", |_| begun.elapsed() > BACK_WITHIN);
    assert_eq!(stands(&eu), launchdarklys);
}
