//! `rc guard --on-expiry undo`: what was to be over by now is undone, wherever it stands, and nobody sends it any more.

use std::path::Path;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::json;

use super::stage::FLAGS;
use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use super::stage::environment;
use super::stage::flag;
use crate::support::guard::Guard;
use crate::support::rc::Rc;
use crate::update::stage::wait_until;

/// A guard that watches the shop's stores.
fn guard(shop: &Shop, home: &Path) -> Guard {
    shop.settings(home, TOKEN);
    let line = format!(
        "guard --log json --no-stream --admin 127.0.0.1:0 --on-expiry undo --guard-name g-{} --state {}/guard",
        home.file_name().unwrap().display().to_string().trim_start_matches('.'),
        home.display()
    );
    Guard::watching(&Rc::new().line(&line), home)
}

fn marks(shop: &Shop, store: usize) -> String {
    shop.stores[store].run(&["HVALS", &format!("{PREFIX}:relaycommander:ended")])
}

fn is_over(shop: &Shop, store: usize, key: &str) -> bool {
    shop.override_(store, key).is_empty()
}

#[test]
fn what_expires_is_undone_in_every_store_and_not_sent_any_more() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let mut guard = guard(&shop, home.path());
    shop.away();
    shop.rc("update -f checkout -s off --expires 2s").code(0);
    shop.rc("update -f refunds -s off").code(0);
    assert_eq!((shop.stands(0, "checkout"), shop.stands(1, "checkout")), ((43, false), (43, false)));
    for store in 0..2 {
        wait_until("it is undone", || is_over(&shop, store, "checkout"));
        assert_eq!(shop.stands(store, "checkout"), (42, true));
        assert!(marks(&shop, store).contains(r#""ending":"undone""#), "{}", marks(&shop, store));
    }
    guard.wait_for_told("the override of checkout, which expired at ");
    // Whichever store is looked at first; in the other it may have ended elsewhere by then.
    wait_until("both are told", || {
        ["s0", "s1"].iter().all(|store| {
            let here = |what: &str| guard.told().contains(&format!("{what} {store}"));
            here("and is undone in") || here("has ended elsewhere, and now in")
        })
    });
    assert!(!guard.told().contains("override-expired"), "nobody is called for what was done: {}", guard.told());
    let written = std::fs::read_dir(home.path().join("guard/playback")).unwrap().count();
    assert!(written > 0, "it is written down before it is done");
    shop.rc("log").code(0).out("the stores say expired, and undone by guard g-");
    shop.back();
    let ran = shop.rc("replay").code(0).out("checkout").out("over: expired ").out("not sent");
    ran.out("and undone by guard g-").out("refunds");
    assert_eq!((shop.patches(), shop.is_on("checkout"), shop.is_on("refunds")), (1, true, false));
    shop.rc("replay").code(0).nowhere("checkout");
    assert!(guard.terminate().success());
}

#[test]
fn a_store_that_was_away_gets_it_later_and_brings_nothing_back() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let _guard = guard(&shop, home.path());
    shop.rc("update -f checkout -s off --expires 3s").code(0);
    shop.stores[1].freeze();
    wait_until("it is undone", || is_over(&shop, 0, "checkout"));
    shop.stores[1].thaw();
    wait_until("it is undone there too", || is_over(&shop, 1, "checkout"));
    assert_eq!((shop.stands(0, "checkout"), shop.stands(1, "checkout")), ((42, true), (42, true)));
    // Longer than it takes to copy what a store lacks.
    shop.rc("update -f refunds -s off --expires 8s").code(0);
    wait_until("time has passed", || is_over(&shop, 0, "refunds") && is_over(&shop, 1, "refunds"));
    assert!(is_over(&shop, 0, "checkout") && is_over(&shop, 1, "checkout"));
    assert_eq!((shop.stands(0, "checkout"), shop.stands(1, "checkout")), ((42, true), (42, true)));
}

#[test]
fn two_guards_that_were_down_when_the_time_came_undo_it_once() {
    let (shop, homes) = (Shop::new(|seed| seed), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    shop.rc("update -f checkout -f refunds -s off --expires 1s").code(0);
    wait_until("its time has come", || shop.rc("status").stdout.contains("EXPIRED"));
    let guards = homes.each_ref().map(|home| guard(&shop, home.path()));
    for (store, key) in [(0, "checkout"), (1, "checkout"), (0, "refunds"), (1, "refunds")] {
        wait_until("it is undone", || is_over(&shop, store, key));
    }
    assert_eq!((shop.stands(0, "checkout"), shop.stands(1, "refunds")), ((42, true), (5, true)));
    for store in &shop.stores {
        assert_eq!(store.run(&["HLEN", &format!("{PREFIX}:relaycommander:ended")]), "2");
    }
    shop.rc("status").code(0).nowhere("EXPIRED");
    let told: String = guards.iter().map(Guard::told).collect();
    assert!(!told.contains("override-not-kept") && !told.contains("override-lost"), "{told}");
}

#[test]
fn a_newer_edit_extends_it_or_lets_it_stay() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let _guard = guard(&shop, home.path());
    shop.rc("update -f checkout -f refunds -s off --expires 3s").code(0);
    shop.rc("update -f checkout -s off --expires 1h --record").code(0);
    shop.rc("update -f refunds -s on").code(0);
    shop.rc("update -f tier --serve bronze --expires 4s").code(0);
    wait_until("both times have passed", || is_over(&shop, 0, "tier") && is_over(&shop, 1, "tier"));
    assert!(!is_over(&shop, 0, "checkout") && !is_over(&shop, 1, "refunds"));
    assert!(!shop.stands(0, "checkout").1);
}

#[test]
fn what_is_being_replayed_is_left_to_launchdarkly_and_told() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let guard = guard(&shop, home.path());
    shop.rc("update -f checkout -s off --expires 3s").code(0);
    shop.slow("PATCH", FLAGS, 6_000);
    let run = shop.started(shop.home.path(), "replay");
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    guard.wait_for_told("was replayed before: LaunchDarkly has it as version 43");
    assert!(!shop.stands(0, "checkout").1 && !shop.is_on("checkout"));
    assert!(shop.override_(0, "checkout").contains(r#""is":"replayed","version":43"#));
}

#[test]
fn what_waits_for_an_approval_is_undone_and_its_request_is_named() {
    let settings = json!({"required": true, "requiredApprovalTags": ["money"], "minNumApprovals": 1});
    let shop = Shop::new(|seed| {
        seed.approval_settings(settings).boolean_flag("approval", true, 7).tags("approval", &["money"])
    });
    let home = tempfile::tempdir().unwrap();
    let guard = guard(&shop, home.path());
    shop.rc("update -f approval -s off --expires 5s").code(0);
    shop.rc("replay -f approval --request-approval").code(6);
    assert!(shop.override_(0, "approval").contains("awaiting-approval"), "{}", shop.override_(0, "approval"));
    wait_until("it is undone", || is_over(&shop, 0, "approval") && is_over(&shop, 1, "approval"));
    guard.wait_for_told("Its approval request in LaunchDarkly stays open: decline it there");
    assert_eq!(shop.stands(0, "approval"), (7, true));
    shop.rc("replay").code(0).out("over: expired ");
    assert_eq!(shop.patches(), 0);
}

#[test]
fn what_is_in_conflict_goes_back_to_launchdarklys_newest() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    let _guard = guard(&shop, home.path());
    shop.stream_fault(Fault::new(FaultKind::Refuse));
    shop.rc("update -f tier --serve bronze --expires 4s").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    // A relay that no guard stands before hears of it.
    let theirs = shop.control().sdk_flags(&environment()).unwrap()["tier"].to_string();
    shop.stores[0].run(&["HSET", &format!("{PREFIX}:features"), "tier", &theirs]);
    for store in 0..2 {
        wait_until("it is undone", || is_over(&shop, store, "tier"));
        wait_until("LaunchDarkly's newest is there", || shop.record(store, "tier")["version"] == 31);
        assert_eq!(shop.record(store, "tier")["offVariation"], 1);
    }
    shop.rc("replay").code(0).out("over: expired ");
}

#[test]
fn a_guard_that_only_looks_on_undoes_nothing() {
    let shop = Shop::new(|seed| seed);
    shop.rc("guard --listen 127.0.0.1:0 --shadow --on-expiry undo").code(2).err("--shadow never changes anything");
}
