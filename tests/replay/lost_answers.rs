//! LaunchDarkly took a patch, and the replay was ended before it knew: what came afterwards is found out by LaunchDarkly's
//! audit log, nothing is sent twice, and no later edit is lost.

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::Role;
use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

fn off_and_cut_off() -> Shop {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.cut_off_after_the_patch("replay", "checkout");
    assert_eq!((shop.is_on("checkout"), shop.version("checkout")), (false, 43));
    shop
}

/// The net effect of off and on is nothing; but LaunchDarkly has the off.
#[test]
fn switched_back_before_the_next_replay() {
    let shop = off_and_cut_off();
    shop.rc("update -f checkout -s on").code(0);
    shop.rc("replay").code(0).out("on in LaunchDarkly v44");
    assert!(shop.is_on("checkout"));
    assert_eq!(shop.stands(0, "checkout"), (44, true));
    shop.rc("verify").code(0);
    shop.rc("replay").code(0);
    assert_eq!(shop.patches(), 2);
}

#[test]
fn our_own_earlier_edit_is_no_conflict() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    shop.cut_off_after_the_patch("replay", "tier");
    shop.rc("update -f tier --serve silver").code(0);
    shop.rc("replay").code(0).out("\"silver\" in LaunchDarkly v32");
    assert_eq!(shop.control().configuration(&environment(), &flag("tier")).unwrap()["offVariation"], 1);
}

/// Somebody in LaunchDarkly changed it after ours: that is the later word, whichever way it went.
#[test]
fn changed_there_since() {
    let shop = off_and_cut_off();
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    let ran = shop.rc("replay --on-conflict override").code(0);
    ran.out("LaunchDarkly has had off as v43").out("carol").out("not sent again");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (true, 1));
    assert!(shop.override_(0, "checkout").contains(r#""is":"replayed","version":43"#));
    assert_eq!(shop.files("playback").len(), 0);
    // LaunchDarkly's stream comes by: the override ends.
    shop.rc("verify").code(1).out("rc replay ends it");
    shop.fill();
    shop.rc("replay").code(0).out("settled");
    shop.rc("verify").code(0);
    assert_eq!(shop.stands(0, "checkout"), (44, true));
}

/// Beside another change it would look like something to merge.
#[test]
fn changed_back_there_since_beside_another_change() {
    let shop = off_and_cut_off();
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 1).unwrap();
    let rule = json!({"kind": "updateFallthroughVariationOrRollout", "variationId": other});
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"}), rule]);
    shop.rc("replay").code(0).out("LaunchDarkly has had off");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (true, 1));
}

/// Without a right to the audit log nobody can tell whose the value is: that needs a decision.
#[test]
fn without_the_audit_log_it_is_asked() {
    let shop = off_and_cut_off();
    shop.rc("update -f checkout -s on").code(0);
    shop.fault(Fault::status(403).on("GET", "/api/v2/auditlog*"));
    shop.rc("replay").code(6).out("CONFLICT");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (false, 1));
    shop.rc("replay --on-conflict ours").code(0).out("on in LaunchDarkly v44");
    assert!(shop.is_on("checkout"));
}

/// What others did to what was changed and changed back here is theirs.
#[test]
fn anothers_word_on_what_came_to_nothing_stays() {
    let shop = Shop::new(|seed| seed.token("api-reader", Role::Reader, "x@example.com"));
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f checkout -s on").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.rc("replay").code(0).out("nothing to send");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (false, 0));
}

#[test]
fn an_undo_says_that_launchdarkly_may_have_it() {
    let shop = off_and_cut_off();
    shop.rc("undo checkout").code(0).out("LaunchDarkly may have it");
    shop.rc("verify").code(1).out("LaunchDarkly off v43");
}
