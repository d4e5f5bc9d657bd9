//! Killed at any moment: the next replay tells the truth and finishes the work, and nothing is sent twice.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;

use super::stage::Shop;
use crate::update::stage::go_on;
use crate::update::stage::hold_writes;
use crate::update::stage::wait_for_held;
use crate::update::stage::wait_until;

/// Checks what must hold after the next replay: everything is in LaunchDarkly once, the stores know it, no file waits.
#[track_caller]
fn is_all_well(shop: &Shop, versions: [u64; 2]) {
    assert_eq!([shop.version("checkout"), shop.version("refunds")], versions);
    for store in 0..2 {
        for (key, version) in ["checkout", "refunds"].into_iter().zip(versions) {
            assert_eq!(shop.stands(store, key), (version, false), "{key} in {store}");
            let override_ = shop.override_(store, key);
            assert!(override_.contains(&format!(r#""is":"replayed","version":{version}"#)), "{override_}");
        }
    }
    assert_eq!(shop.files("playback").len(), 0);
    shop.rc("verify").code(0);
    shop.rc("replay").code(0);
}

/// The process is gone so long after LaunchDarkly was first asked. What comes before writes nothing anywhere.
fn moments() -> impl Iterator<Item = Duration> {
    (0..40).step_by(3).chain((40..100).step_by(4)).chain((100..).step_by(25)).map(Duration::from_millis)
}

#[test]
fn killed_after_k_milliseconds() {
    let shop = Shop::new(|seed| seed);
    // A slow LaunchDarkly, so that the moments fall into every part.
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 6 }));
    let (mut before, mut between, mut after) = (0, 0, 0);
    let mut versions = [42, 5];
    for moment in moments() {
        // On and off in turns would come to nothing: LaunchDarkly's stream brings it back on.
        shop.rc("update -f checkout -f refunds -s off").code(0);
        let (sent_before, asked_before) = (shop.patches(), shop.received("GET").len());
        let mut run = shop.started(shop.home.path(), "replay");
        wait_until("LaunchDarkly is asked", || shop.received("GET").len() > asked_before);
        let begun = Instant::now();
        while begun.elapsed() < moment && !run.has_ended() {
            thread::sleep(Duration::from_micros(500));
        }
        let finished = run.has_ended();
        run.kill();
        match shop.patches() - sent_before {
            0 => before += 1,
            _ if finished => after += 1,
            _ => between += 1,
        }
        versions = versions.map(|version| version + 1);
        shop.rc("replay").code(0);
        is_all_well(&shop, versions);
        assert!(shop.patches() - sent_before <= 4, "after {moment:?}");
        if finished {
            break;
        }
        for key in ["checkout", "refunds"] {
            shop.patched(key, &[serde_json::json!({"kind": "turnFlagOn"})]);
        }
        versions = versions.map(|version| version + 1);
        shop.fill();
        shop.rc("replay").code(0);
    }
    println!("killed {before} times before the first patch, {between} in between, {after} after the end");
    assert!(before > 0 && between > 0 && after > 0);
}

#[test]
fn killed_while_the_patch_is_under_way() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    let mut run = shop.sending("replay");
    run.kill();
    shop.back();
    shop.rc("replay").code(0).out("DONE");
    is_all_well(&shop, [43, 6]);
}

#[test]
fn killed_after_launchdarkly_has_the_patch() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.cut_off_after_the_patch("replay", "checkout");
    shop.rc("log").code(0).out("was to be sent");
    shop.rc("replay").code(0).out("already so").out("off in LaunchDarkly v6");
    is_all_well(&shop, [43, 6]);
    assert_eq!(shop.patches(), 2);
}

/// Between the patch and the reading that shows it.
#[test]
fn killed_before_it_is_read_again() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    let mut run = shop.sending("replay");
    shop.fault(Fault::new(FaultKind::BlackHole).on("GET", "*"));
    let asked = shop.received("GET").len();
    wait_until("it reads again", || shop.received("GET").len() > asked);
    run.kill();
    shop.back();
    shop.rc("replay").code(0).out("already so");
    is_all_well(&shop, [43, 6]);
    assert_eq!(shop.patches(), 2);
}

/// LaunchDarkly has everything, one store knows, the other does not yet.
#[test]
fn killed_between_two_stores() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    hold_writes(&shop.stores[1]);
    let mut run = shop.started(shop.home.path(), "replay --timeout 60s");
    wait_for_held(&shop.stores[1], 1);
    wait_until("the first is told", || shop.override_(0, "checkout").contains("replayed"));
    run.kill();
    wait_for_held(&shop.stores[1], 0);
    go_on(&shop.stores[1]);
    assert!(shop.override_(1, "checkout").contains("in-force"));
    shop.rc("replay").code(0).out("as v43 before");
    is_all_well(&shop, [43, 6]);
    assert_eq!(shop.patches(), 2);
}

/// LaunchDarkly has everything, no store knows, and what came of it is noted.
#[test]
fn killed_before_any_store_knows() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    // Once it sends: before that, a store keeps for it the right to replay.
    shop.slow("PATCH", "*", 1_500);
    let mut run = shop.started(shop.home.path(), "replay --timeout 60s");
    wait_until("it sends", || shop.patches() > 0);
    shop.stores.iter().for_each(hold_writes);
    wait_until("it is noted", || shop.text_of("playback").contains(r#""is":"replayed""#));
    wait_for_held(&shop.stores[1], 1);
    assert!(shop.text_of("playback").contains(r#""is":"replayed""#));
    run.kill();
    shop.stores.iter().for_each(|store| wait_for_held(store, 0));
    shop.stores.iter().for_each(go_on);
    shop.rc("replay").code(0).out("already so");
    is_all_well(&shop, [43, 6]);
    assert_eq!(shop.patches(), 2);
}

/// While an approval is asked for: there is one request, whoever asks again.
#[test]
fn killed_while_an_approval_is_asked_for() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::BlackHole).on("POST", "*").after_applying());
    let mut run = shop.started(shop.home.path(), "replay --request-approval");
    let open = || shop.control().open_approvals(&super::stage::environment(), &super::stage::flag("refunds")).len();
    wait_until("it is asked for", || open() == 1);
    run.kill();
    // Nobody here has LaunchDarkly's answer, so whoever looks or gives up is told.
    let told = "a replay asked for an approval, and its answer is not known: a request may be open in LaunchDarkly";
    shop.rc("log").code(0).out("owed, an approval was to be asked for, and no answer is noted");
    shop.back();
    shop.rc("verify").code(6).out(told);
    shop.rc("replay --request-approval").code(6).out("waits");
    assert_eq!(open(), 1);
    shop.rc("verify").code(6).out("approval pending").nowhere(told);
    shop.rc("undo refunds").code(0).out("Its approval request is still open").nowhere("its answer is not known");
}

#[test]
fn undone_after_an_approval_may_have_been_asked_for() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::BlackHole).on("POST", "*").after_applying());
    let mut run = shop.started(shop.home.path(), "replay --request-approval");
    wait_until("it is asked for", || !shop.received("POST").is_empty());
    run.kill();
    shop.rc("undo refunds")
        .code(0)
        .out("A replay asked for an approval, and its answer is not known: a request may be open");
}

/// Its answer was lost, and whether there is a request LaunchDarkly does not tell either.
#[test]
fn an_approval_of_which_nothing_can_be_found_out_stays_in_doubt() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::BlackHole).on("POST", "*").after_applying());
    let run = shop.started(shop.home.path(), "replay --request-approval --timeout 2s");
    wait_until("it is asked for", || !shop.received("POST").is_empty());
    shop.fault(Fault::status(401).on("GET", "*"));
    run.finished();
    assert!(!shop.text_of("playback").contains("\"is\":\"not-asked\""), "{}", shop.text_of("playback"));
    shop.rc("undo refunds").code(0).out("its answer is not known: a request may be open");
}

/// LaunchDarkly took no request, and said so: nobody is sent to look for one.
#[test]
fn an_approval_that_launchdarkly_did_not_take_is_in_no_doubt() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::status(400).on("POST", "*"));
    shop.rc("replay --request-approval");
    shop.back();
    assert_eq!(shop.received("POST").len(), 1);
    assert!(shop.text_of("playback").contains("\"is\":\"not-asked\""), "{}", shop.text_of("playback"));
    shop.rc("verify").code(6).nowhere("its answer is not known");
    shop.rc("undo refunds").code(0).nowhere("its answer is not known");
}

/// An update was killed after its write and before its note, and a failover lost what it had written. Found by random
/// outages: verify called that agreement. The same is so where it was never written: the file cannot tell.
#[test]
fn what_a_killed_update_leaves_in_doubt_is_named() {
    let shop = Shop::new(|seed| seed);
    let killed = |line: &str| {
        shop.stores.iter().for_each(hold_writes);
        let mut run = shop.started(shop.home.path(), &format!("{line} --timeout 60s"));
        shop.stores.iter().for_each(|store| wait_for_held(store, 1));
        run.kill();
        shop.stores.iter().for_each(|store| wait_for_held(store, 0));
        shop.stores.iter().for_each(go_on);
    };
    killed("update -f checkout -s off");
    assert_eq!(shop.files("playback").len(), 1);
    shop.rc("verify").code(6).out("OWED").out("whether it was written was not noted, and it stands in no store");
    let ran = shop.rc("replay --on-conflict override").code(6).out("OWED?").out("not sent");
    ran.out("to write it: rc update --resume").out("if it is over: rc replay");
    assert_eq!((shop.patches(), shop.files("playback").len()), (0, 1));
    // Whoever types it again has gone on.
    shop.rc("update -f checkout -s off").code(0);
    let ran = shop.rc("replay").code(0).out("over: stands in no store, and change").out("DONE");
    ran.nowhere("OWED");
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 0));
    shop.rc("verify").code(0);
    // Or it is given up.
    killed("update -f refunds -s off");
    shop.rc("verify").code(6).out("refunds");
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
    shop.rc("verify").code(0);
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 0));
}
