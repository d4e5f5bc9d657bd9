//! The right to replay: one replay of an environment at a time, whatever home it comes from, and what becomes of it when
//! its holder is killed or stands still.

use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;

use super::rights::forbidding;
use super::rights::rc;
use super::stage::FLAGS;
use super::stage::PREFIX;
use super::stage::Shop;
use crate::update::stage::Started;
use crate::update::stage::wait_until;

/// Leases last three times as long as one request may take.
const BRIEF: &str = "replay --as anna --api-timeout 1s";
const ASKED: &str = "replay --as bob --api-timeout 1s";

fn lease(shop: &Shop, store: usize) -> String {
    shop.stores[store].run(&["GET", &format!("{PREFIX}:relaycommander:lease")])
}

/// A replay of two flags whose first patch is under way.
fn sending(shop: &Shop) -> Started {
    sending_slowly(shop, BRIEF, 700)
}

/// The same, by what was typed, each patch for so many milliseconds.
fn sending_slowly(shop: &Shop, line: &str, milliseconds: u64) -> Started {
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.slow("PATCH", FLAGS, milliseconds);
    let run = shop.started(shop.home.path(), line);
    wait_until("it sends", || shop.patches() > 0);
    run
}

#[test]
fn a_second_replay_says_who_is_at_it_and_sends_nothing() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let run = sending_slowly(&shop, "replay --as anna", 4_000);
    assert!(lease(&shop, 0).contains(r#""user":"anna""#), "{}", lease(&shop, 0));
    let ran = shop.colleague(&other, "replay --as bob").code(3).out("anna on ").out("2 OWED");
    ran.out("has the right to replay shop/production since ").out("nothing was sent").out("After that: rc replay");
    assert_eq!(shop.patches(), 1);
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    wait_until("it is given back", || lease(&shop, 0).is_empty());
    shop.colleague(&other, "replay --as bob").code(0);
    assert_eq!(shop.patches(), 2);
}

#[test]
fn two_at_once_send_each_override_once() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 200 }).on("PATCH", FLAGS));
    let runs = [shop.started(shop.home.path(), "replay"), shop.started(other.path(), "replay")];
    let codes: Vec<Option<i32>> = runs.map(|run| run.finished().0).to_vec();
    assert!(codes.contains(&Some(0)), "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 3))), "{codes:?}");
    assert_eq!((shop.patches(), shop.version("checkout"), shop.version("refunds")), (2, 43, 6));
    shop.rc("replay").code(0);
    assert_eq!(shop.patches(), 2);
}

#[test]
fn whoever_was_stopped_past_his_lease_sends_nothing_more() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let run = sending(&shop);
    run.signal("STOP");
    wait_until("his lease is over", || lease(&shop, 0).is_empty());
    run.signal("CONT");
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("this replay stood still"), "{told}");
    assert!(told.contains("its right to replay ended"), "{told}");
    assert_eq!((shop.patches(), shop.is_on("checkout"), shop.is_on("refunds")), (1, false, true), "{told}");
    shop.colleague(&other, ASKED).code(0);
    assert_eq!((shop.patches(), shop.version("refunds")), (2, 6));
}

/// The same, and somebody else has gone on meanwhile.
#[test]
fn whoever_was_stopped_leaves_to_others_what_they_took() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let run = sending(&shop);
    run.signal("STOP");
    wait_until("his lease is over", || lease(&shop, 0).is_empty());
    shop.colleague(&other, ASKED).code(0);
    let sent = shop.patches();
    assert_eq!((sent, shop.version("checkout"), shop.version("refunds")), (2, 43, 6));
    run.signal("CONT");
    let (_, told) = run.finished();
    assert_eq!(shop.patches(), sent, "{told}");
    // The stores tell it before it comes to sending.
    assert!(told.contains("off in LaunchDarkly as v6 before"), "{told}");
    shop.rc("replay").code(0);
    assert_eq!((shop.patches(), shop.version("checkout"), shop.version("refunds")), (2, 43, 6));
}

#[test]
fn what_a_killed_one_held_is_free_after_a_while() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let mut run = sending(&shop);
    run.kill();
    let killed = Instant::now();
    shop.colleague(&other, ASKED).code(3).out("anna on ");
    wait_until("his lease is over", || lease(&shop, 0).is_empty());
    assert!(killed.elapsed() < Duration::from_secs(10));
    shop.colleague(&other, ASKED).code(0);
    assert_eq!((shop.version("checkout"), shop.version("refunds")), (43, 6));
}

/// The playback's own lock says that the one who held it there is dead: nobody has to wait.
#[test]
fn in_the_same_home_nobody_waits_for_a_dead_one() {
    let shop = Shop::new(|seed| seed);
    let mut run = sending(&shop);
    run.kill();
    assert!(!lease(&shop, 0).is_empty());
    shop.rc(ASKED).code(0);
    assert_eq!((shop.version("checkout"), shop.version("refunds")), (43, 6));
    // A copy of the playback is not the same home.
    let mut run = sending_again(&shop);
    run.kill();
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(shop.home.path().join(".")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    shop.colleague(&copy, ASKED).code(3).out("anna on ");
}

fn sending_again(shop: &Shop) -> Started {
    for key in ["checkout", "refunds"] {
        shop.patched(key, &[serde_json::json!({"kind": "turnFlagOn"})]);
    }
    shop.fill();
    shop.rc("replay").code(0);
    let sent = shop.patches();
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.slow("PATCH", FLAGS, 700);
    let run = shop.started(shop.home.path(), BRIEF);
    wait_until("it sends", || shop.patches() > sent);
    run
}

/// One lease, in the first target that answers; and whoever cannot reach that one still sees it in another.
#[test]
fn a_dead_store_blocks_nobody() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.stores[0].freeze();
    shop.slow("PATCH", FLAGS, 6_000);
    let run = shop.started(shop.home.path(), "replay --as anna --timeout 500ms");
    wait_until("it sends", || shop.patches() > 0);
    assert!(lease(&shop, 1).contains("anna"));
    shop.stores[0].thaw();
    shop.colleague(&other, "replay --as bob").code(3).out("anna on ").nowhere("OWED.\n\n");
    assert_eq!((shop.patches(), lease(&shop, 0)), (1, String::new()));
    let (_, told) = run.finished();
    assert!(told.contains("off in LaunchDarkly v43"), "{told}");
}

#[test]
fn where_no_store_keeps_it_that_is_said() {
    let shop = forbidding(&[0, 1]);
    rc(&shop, "update -f checkout -s off").code(0);
    let ran = rc(&shop, "replay --yes").code(0).out("off in LaunchDarkly v43");
    ran.err("shop/production: no store keeps the right to replay (s0: ").err("does not permit EVAL on ");
}

#[test]
fn status_and_verify_name_whoever_is_replaying() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let run = sending_slowly(&shop, "replay --as anna", 4_000);
    shop.colleague(&other, "status").code(0).out("BEING REPLAYED shop/production: anna on ").out("(rc replay), since ");
    let status: serde_json::Value = serde_json::from_str(&shop.colleague(&other, "status --json").stdout).unwrap();
    let replaying = &status["environments"][0]["replaying"];
    assert_eq!(
        (&replaying["user"], &replaying["by"], &replaying["store"]),
        (&"anna".into(), &"rc replay".into(), &"s0".into())
    );
    assert!(replaying["since"].is_string() && replaying["until"].is_string(), "{replaying}");
    shop.colleague(&other, "verify").code(6).out("being replayed, shop/production: anna on ");
    assert_eq!(run.finished().0, Some(0));
    wait_until("it is given back", || lease(&shop, 0).is_empty());
    shop.rc("status").code(0).nowhere("BEING REPLAYED");
    shop.rc("verify").nowhere("being replayed");
}

#[test]
fn a_right_that_never_ends_is_named_with_the_way_out() {
    let shop = Shop::new(|seed| seed);
    let key = format!("{PREFIX}:relaycommander:lease");
    shop.rc("doctor").nowhere("has no expiry");
    let text = r#"{"token":"x","format":1,"actor":{"user":"bob","host":"old"},"by":"rc replay","since":"2026-01-01T00:00:00Z","until":"2026-01-01T00:01:30Z","home":null}"#;
    shop.stores[0].run(&["SET", &key, text]);
    shop.rc("doctor").code(1).out(&format!("{key} has no expiry")).out(&format!("redis-cli DEL '{key}'"));
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("replay").code(3).out("bob on old");
    shop.rc("status").out("bob on old (rc replay)").out("if it stays, rc doctor says how it ends");
    shop.stores[0].run(&["DEL", &key]);
    shop.rc("replay").code(0);
}
