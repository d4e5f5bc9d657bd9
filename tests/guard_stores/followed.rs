//! What is written is told at once, whatever happens to the stores meanwhile.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use super::stage::Guard;
use super::stage::Home;
use super::stage::Way;
use super::stage::Wish;
use super::stage::key;
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
    fill(&server);
    server
}

fn fill(server: &RedisServer) {
    let (checkout, refunds) = (flag("checkout", 42).text(), flag("refunds", 5).text());
    server.fill(PREFIX, &[("checkout", &checkout), ("refunds", &refunds)]);
}

fn urls(servers: &[&RedisServer]) -> Vec<String> {
    servers.iter().map(|server| server.url()).collect()
}

#[test]
fn an_update_and_its_undoing_are_told_with_what_stands_in_the_stores() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    let home = Home::new(&urls);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    assert!(guard.overrides.is_empty());
    home.off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the record", |guard| guard.saw("checkout", 43, false));
    home.rc("undo checkout").code(0);
    guard.wait("its end", |guard| !guard.holds("checkout"));
    guard.wait("LaunchDarkly's record", |guard| guard.saw("checkout", 42, true));
    assert!(
        !guard.heard.iter().any(|word| word.seen.iter().any(|sight| sight.launchdarklys && sight.item.version() > 42))
    );
    assert_eq!(guard.files(), 0, "nothing was written by the guard");
}

#[test]
fn what_stood_there_before_is_told_first() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    Home::new(&urls).off("refunds").code(0);
    let guard = Guard::start(&runtime, &Wish::of(&urls));
    assert!(guard.holds("refunds"), "in the very first word");
    assert!(guard.saw("refunds", 6, false));
}

#[test]
fn a_frozen_store_holds_up_no_other() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    us.freeze();
    Home::new(&urls).off("checkout").code(5);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the alarm", |guard| guard.alarmed("store-away", "us ld:shop:production"));
    us.thaw();
    guard.wait("that it is over", |guard| guard.alarmed("over: store-away", "us"));
    guard.wait("the copy", |guard| guard.alarmed("override-kept", "copied to us"));
    assert_eq!(us.run(&["HGET", OVERRIDES, "checkout"]), eu.run(&["HGET", OVERRIDES, "checkout"]));
    assert_eq!(us.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 43).off().text());
    assert_eq!(guard.files(), 1, "it was written down before");
}

#[test]
fn a_guard_begins_while_a_store_is_away_and_none_comes_before_one_answers() {
    let (runtime, mut eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    Home::new(&urls).off("checkout").code(0);
    eu.freeze();
    us.freeze();
    let mut guard = Guard::begin(&runtime, &Wish::of(&urls));
    guard.wait("the alarm", |guard| guard.alarmed("store-away", "no store of shop/production answers"));
    assert!(guard.heard.is_empty(), "nobody has told anything");
    us.thaw();
    guard.wait("the first word", |_| true);
    assert!(guard.holds("checkout"));
    eu.kill();
}

#[test]
fn a_store_that_was_killed_and_comes_back_empty_gets_the_override_again() {
    let (runtime, mut eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    Home::new(&urls).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    eu.kill();
    guard.wait("the alarm", |guard| guard.alarmed("store-away", "eu"));
    eu.restart();
    fill(&eu);
    guard.wait("that it is written again", |guard| guard.alarmed("override-lost", "was gone from eu"));
    assert_eq!(eu.run(&["HGET", OVERRIDES, "checkout"]), us.run(&["HGET", OVERRIDES, "checkout"]));
    assert_eq!(eu.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 43).off().text());
    assert!(guard.heard.iter().skip_while(|word| word.overrides.is_empty()).all(|word| !word.overrides.is_empty()));
}

#[test]
fn a_flush_of_the_only_store_does_not_end_an_override() {
    let (runtime, eu) = (runtime(), server());
    let urls = urls(&[&eu]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    let home = Home::new(&urls);
    home.off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    let before = eu.run(&["HGET", OVERRIDES, "checkout"]);
    eu.line("FLUSHALL");
    guard.wait("that it is written again", |guard| guard.alarmed("override-lost", "was gone from eu"));
    guard.wait("that relays are sent everything", |guard| guard.heard.iter().any(|word| word.emptied));
    assert!(guard.alarmed("store-emptied", "$inited is gone"));
    assert_eq!(eu.run(&["HGET", OVERRIDES, "checkout"]), before);
    assert_eq!(eu.run(&["EXISTS", FEATURES]), "0", "an empty store is LaunchDarkly's to fill");
    guard.wait("what clients may hold", |guard| {
        guard.heard.iter().flat_map(|word| &word.seen).any(|sight| sight.item.version() == 0)
    });
    assert!(guard.holds("checkout"));
    // One that is ended stays ended, flush or not.
    fill(&eu);
    guard.wait("that it is full again", |guard| guard.alarmed("over: store-emptied", ""));
    home.rc("undo checkout").code(0);
    guard.wait("its end", |guard| !guard.holds("checkout"));
    eu.line("FLUSHALL");
    fill(&eu);
    home.off("refunds").code(0);
    guard.wait("the next one", |guard| guard.holds("refunds"));
    assert!(!guard.holds("checkout"));
    assert_eq!(eu.run(&["HLEN", OVERRIDES]), "1");
}

#[test]
fn a_failover_to_a_replica_that_was_behind_loses_nothing() {
    let (runtime, primary) = (runtime(), server());
    let replica = RedisServer::with().tcp().replica_of(primary.port()).start();
    replica.wait_for("INFO replication", "master_link_status:up");
    wait_until("the replica has it", || replica.run(&["HEXISTS", FEATURES, "checkout"]) == "1");
    let way = Way::new(&runtime, primary.port());
    let urls = vec![way.url()];
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    // What is written now never gets to the replica.
    replica.line("REPLICAOF NO ONE");
    Home::new(&urls).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    way.turn(replica.port());
    guard.wait("that it is written again", |guard| guard.alarmed("override-lost", "was gone from eu"));
    assert_eq!(replica.run(&["HGET", OVERRIDES, "checkout"]), primary.run(&["HGET", OVERRIDES, "checkout"]));
    assert_eq!(replica.run(&["HGET", FEATURES, "checkout"]), flag("checkout", 43).off().text());
    // What is written on the new primary is told as ever.
    Home::new(&urls).off("refunds").code(0);
    guard.wait("the next one", |guard| guard.holds("refunds"));
}

#[test]
fn what_the_log_does_not_tell_is_found_all_the_same() {
    let (runtime, eu, other) = (runtime(), server(), server());
    let urls = urls(&[&eu]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    // An override that no log tells of: trimmed away before anybody read it.
    Home::new(&super::followed::urls(&[&other])).off("checkout").code(0);
    let text = other.run(&["HGET", OVERRIDES, "checkout"]);
    eu.run(&["HSET", OVERRIDES, "checkout", &text]);
    eu.run(&["HSET", FEATURES, "checkout", &flag("checkout", 43).off().text()]);
    guard.wait("the override", |guard| guard.holds("checkout"));
    assert!(guard.saw("checkout", 43, false), "its record is ours");
    // The log is cut to nothing while it is followed.
    eu.run(&["XADD", LOG, "*", "flag", "refunds", "what", "override"]);
    eu.run(&["XTRIM", LOG, "MAXLEN", "=", "0"]);
    Home::new(&urls).off("refunds").code(0);
    guard.wait("the next one", |guard| guard.holds("refunds"));
    assert!(guard.holds("checkout"));
}

#[test]
fn without_the_right_to_follow_it_looks_every_second() {
    let (runtime, eu) = (runtime(), server());
    let rule = relay_commander::store::redis::acl_rule("guard", PREFIX).replace("PASSWORD", "pw");
    eu.line(&rule);
    eu.line("ACL SETUSER guard -xread");
    let urls = vec![format!("redis://guard:pw@127.0.0.1:{}", eu.port())];
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    Home::new(&super::followed::urls(&[&eu])).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    // Where our own keys are forbidden there is nothing to follow, and nothing is wrong.
    eu.line("ACL SETUSER guard resetkeys ~ld:shop:production:features ~ld:shop:production:$inited");
    let mut blind = Guard::start(&runtime, &Wish { name: "blind", ..Wish::of(&urls) });
    assert!(blind.overrides.is_empty());
    blind.wait("that it cannot announce itself", |guard| guard.alarmed("not-announced", "ACL SETUSER guard"));
}

#[test]
fn a_reset_by_a_relay_that_nobody_guards_is_seen() {
    let (runtime, eu) = (runtime(), server());
    let urls = urls(&[&eu]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    Home::new(&urls).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    // LaunchDarkly's flag as it was: its record is known.
    fill(&eu);
    guard.wait("LaunchDarkly's record", |guard| guard.saw("checkout", 42, true));
    // And as it is since: nothing explains it, so it is believed only after another look.
    eu.run(&["HSET", FEATURES, "checkout", &flag("checkout", 45).rule("FR").text()]);
    guard.wait("LaunchDarkly's newer record", |guard| guard.saw("checkout", 45, true));
    guard.wait("that it lies under the override", |guard| guard.overrides[&key("checkout")].upstream.version() == 45);
    wait_until("it is in the store", || eu.run(&["HGET", OVERRIDES, "checkout"]).contains("FR"));
    wait_until("its record is with it", || {
        eu.run(&["HGET", FEATURES, "checkout"]) == flag("checkout", 46).rule("FR").off().text()
    });
}

#[test]
fn everything_is_read_for_a_guard_that_serves_without_launchdarkly() {
    let (runtime, eu, mut us) = (runtime(), server(), server());
    eu.run(&["HSET", "ld:shop:production:segments", "testers", r#"{"key":"testers","version":1}"#]);
    let urls = urls(&[&eu, &us]);
    let mut guard = Guard::start(&runtime, &Wish::of(&urls));
    Home::new(&urls).off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    us.kill();
    let within = Duration::from_secs(5);
    let readings = runtime.block_on(guard.stores.whole(within, within));
    let [(first, Ok(whole)), (second, Err(_))] = readings.as_slice() else { panic!("{readings:?}") };
    assert_eq!((first.store.as_str(), second.store.as_str()), ("eu", "us"));
    assert!(whole.initialised && whole.segments.contains_key("testers"));
    let served = relay_commander::guard::serving::served(None, &readings).unwrap();
    let name = (relay_commander::guard::stream::item::Kind::Flag, "checkout".into());
    assert_eq!(served.state.item(&name).version(), 42, "LaunchDarkly's record under the override");
    assert!(served.from_store);
}

#[test]
fn what_one_store_holds_is_read_though_another_hangs() {
    let (runtime, eu, us) = (runtime(), server(), server());
    let urls = urls(&[&eu, &us]);
    let guard = Guard::start(&runtime, &Wish::of(&urls));
    us.freeze();
    let begun = Instant::now();
    // Less than a store's own deadlines.
    let within = Duration::from_millis(1_500);
    let readings = runtime.block_on(guard.stores.whole(within, within));
    let after = begun.elapsed();
    us.thaw();
    let [(_, Ok(whole)), (_, Err(late))] = readings.as_slice() else { panic!("{readings:?}") };
    assert!(whole.flags.contains_key("checkout"));
    assert!(late.to_string().contains("1.5 s") && after < Duration::from_millis(1_900), "{late} {after:?}");
}

#[test]
fn a_flag_file_is_followed_too() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("flags.json");
    fs::write(&path, format!("{{\"flags\": {{\"checkout\": {}}}}}\n", flag("checkout", 42).text())).unwrap();
    let urls = vec![format!("file://{}", path.display())];
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), format!("RC_STORES=eu={}\n", urls[0])).unwrap();
    let home = Home { folder: home };
    let mut guard = Guard::start(&runtime, &Wish { prefix: "", ..Wish::of(&urls) });
    home.off("checkout").code(0);
    guard.wait("the override", |guard| guard.holds("checkout"));
    guard.wait("the record", |guard| guard.saw("checkout", 43, false));
    guard.shown("checkout", &flag("checkout", 50).rule("FR").text());
    wait_until("LaunchDarkly's newest record is noted", || {
        fs::read_to_string(folder.path().join("flags.json.relaycommander.json")).unwrap().contains("FR")
    });
    wait_until("the record with it", || fs::read_to_string(&path).unwrap().contains("\"version\":51"));
}

#[test]
fn whoever_listens_no_more_ends_it() {
    let (runtime, eu) = (runtime(), server());
    let urls = urls(&[&eu]);
    let clients = || eu.line("CLIENT LIST").lines().count();
    let before = clients();
    let guard = Guard::start(&runtime, &Wish::of(&urls));
    wait_until("it is connected", || clients() > before);
    drop(guard);
    wait_until("it is gone", || clients() <= before);
    std::thread::sleep(Duration::from_millis(1));
}
