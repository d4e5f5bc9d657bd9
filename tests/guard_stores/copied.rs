//! Stores that know what others know: copies, LaunchDarkly's newest record, and what a guard does not touch.

use super::stage::Guard;
use super::stage::Home;
use super::stage::Wish;
use super::stage::runtime;
use super::stage::wait_until;
use crate::support::redis::RedisServer;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

const LOG: &str = "ld:shop:production:relaycommander:log";
const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";
const FEATURES: &str = "ld:shop:production:features";

fn server() -> RedisServer {
    let server = RedisServer::with().tcp().start();
    server.fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    server
}

fn urls(servers: &[&RedisServer]) -> Vec<String> {
    servers.iter().map(|server| server.url()).collect()
}

#[test]
fn a_store_that_was_down_gets_the_override_with_its_record_from_one_of_several_guards() {
    let (runtime, eu, mut us, ap) = (runtime(), server(), server(), server());
    let all = urls(&[&eu, &us, &ap]);
    us.kill();
    Home::new(&all).off("checkout").code(5);
    let mut guards: Vec<Guard<'_>> =
        ["g1", "g2", "g3"].map(|name| Guard::start(&runtime, &Wish { name, ..Wish::of(&all) })).into();
    assert!(guards.iter().all(|guard| guard.holds("checkout")));
    us.restart();
    us.fill(PREFIX, &[("checkout", &flag("checkout", 42).text())]);
    wait_until("the copy", || us.run(&["HEXISTS", OVERRIDES, "checkout"]) == "1");
    assert_eq!(us.run(&["HGET", OVERRIDES, "checkout"]), eu.run(&["HGET", OVERRIDES, "checkout"]));
    assert_eq!(us.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 43).off().text());
    for guard in &mut guards {
        guard.wait("that it stands there", |guard| guard.saw("checkout", 43, false));
    }
    assert_eq!(us.line(&format!("XLEN {LOG}")), "1", "one of them did it");
    assert!(guards.iter().map(Guard::files).sum::<usize>() >= 1);
    // The operator who finishes his change finds that it is done.
    Home::new(&all).off("checkout").code(0).out("already");
}

#[test]
fn what_launchdarkly_says_meanwhile_is_noted_once_in_every_store() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let all = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&all));
    let mut other = Guard::start(&runtime, &Wish { name: "g2", ..Wish::of(&all) });
    let home = Home::new(&all);
    home.off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    other.wait("the override", |guard| guard.holds("checkout"));
    for guard in [&guard, &other] {
        guard.shown("checkout", &flag("checkout", 50).rule("FR").text());
        guard.shown("checkout", &flag("checkout", 50).rule("FR").text());
    }
    for store in [&eu, &us] {
        wait_until("it is noted", || store.run(&["HGET", OVERRIDES, "checkout"]).contains("FR"));
        wait_until("its record is with it", || {
            store.run(&["HGET", FEATURES, "checkout"]) == flag("checkout", 51).rule("FR").off().text()
        });
    }
    guard.wait("nobody takes it for LaunchDarkly's", |guard| guard.saw("checkout", 51, false));
    other.wait("nobody takes it for LaunchDarkly's", |guard| guard.saw("checkout", 51, false));
    for store in [&eu, &us] {
        assert_eq!(store.line(&format!("XLEN {LOG}")), "2", "the update, and one note");
    }
    // Back to what LaunchDarkly has now.
    home.rc("undo checkout").code(0);
    assert_eq!(eu.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 50).rule("FR").text());
    home.rc("log").code(0).nowhere("upstream");
}

#[test]
fn a_guard_that_only_looks_on_writes_nothing() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish { shadow: true, ..Wish::of(&both) });
    Home::new(&urls(&[&eu])).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.shown("checkout", &flag("checkout", 50).text());
    // Another guard, which does what the first one leaves.
    let _other = Guard::start(&runtime, &Wish { name: "g2", ..Wish::of(&both) });
    wait_until("the copy", || us.run(&["HEXISTS", OVERRIDES, "checkout"]) == "1");
    assert_eq!(guard.files(), 0);
    assert_eq!(eu.line(&format!("XLEN {LOG}")), "1");
}

#[test]
fn what_cannot_be_read_is_told_and_not_overwritten() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = urls(&[&eu, &us]);
    us.run(&["HSET", OVERRIDES, "checkout", "{\"format\":99}"]);
    let mut guard = Guard::start(&runtime, &Wish::of(&both));
    Home::new(&urls(&[&eu])).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the alarm", |guard| guard.alarmed("override-unreadable", "format 99"));
    us.run(&["HDEL", OVERRIDES, "checkout"]);
    guard.wait("that it is over", |guard| guard.alarmed("over: override-unreadable", "checkout"));
    wait_until("the copy", || us.run(&["HEXISTS", OVERRIDES, "checkout"]) == "1");
}

#[test]
fn a_store_that_answers_with_something_else_is_told() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&both));
    us.run(&["SET", OVERRIDES, "something else"]);
    guard.wait("the alarm", |guard| guard.alarmed("store-away", "another type of data"));
    us.run(&["DEL", OVERRIDES]);
    guard.wait("that it is over", |guard| guard.alarmed("over: store-away", "us"));
}

#[test]
fn what_cannot_be_written_is_told_and_tried_again() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&both));
    us.line("CONFIG SET maxmemory 1");
    us.line("CONFIG SET maxmemory-policy noeviction");
    Home::new(&both).off("checkout").code(5);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the alarm", |guard| guard.alarmed("override-not-kept", "out of memory"));
    us.line("CONFIG SET maxmemory 0");
    guard.wait("that it is over", |guard| guard.alarmed("over: override-not-kept", "checkout"));
    assert_eq!(us.run(&["HEXISTS", OVERRIDES, "checkout"]), "1");
}

#[test]
fn a_leftover_of_what_was_undone_elsewhere_ends() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let both = urls(&[&eu, &us]);
    let home = Home::new(&both);
    home.off("checkout").code(0);
    us.freeze();
    home.rc("undo checkout --yes --timeout 2s").code(5);
    us.thaw();
    let mut guard = Guard::start(&runtime, &Wish::of(&both));
    assert!(guard.heard.iter().all(|word| word.overrides.is_empty()), "it never holds");
    guard.wait("that it ends", |guard| guard.alarmed("override-kept", "has ended elsewhere, and now in us"));
    assert_eq!(us.run(&["HLEN", OVERRIDES]), "0");
    assert_eq!(us.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 42).text());
}
