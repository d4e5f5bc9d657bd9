//! Environments in which somebody else has to agree.

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

#[test]
fn approvals_are_asked_for_and_looked_at_again() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay").code(6).out("NEEDS APPROVAL").out("--request-approval");
    shop.rc("replay --request-approval").code(6).out("waits").out("/approvals/");
    shop.rc("replay --request-approval").code(6).out("waits for a reviewer");
    let open = shop.control().open_approvals(&environment(), &flag("refunds"));
    assert_eq!(open.len(), 1);
    assert!(shop.override_(0, "refunds").contains("awaiting-approval"));
    shop.control().colleague_reviews(&open[0], "approve", "carol@example.com").unwrap();
    shop.rc("replay").code(6).out("approved, and not applied yet");
    shop.control().colleague_applies(&open[0], "carol@example.com").unwrap();
    shop.rc("replay").code(0).out("off in LaunchDarkly v6");
    assert_eq!(shop.patches(), 0);
}

fn requested() -> (Shop, String) {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay --request-approval").code(6);
    let open = shop.control().open_approvals(&environment(), &flag("refunds"));
    assert_eq!(open.len(), 1);
    let id = open[0].clone();
    (shop, id)
}

/// Declined: it stays in force and owed, it is said, and asking once more takes being told to.
#[test]
fn a_declined_approval_is_told() {
    let (shop, id) = requested();
    shop.control().colleague_reviews(&id, "decline", "carol@example.com").unwrap();
    shop.rc("replay").code(6).out("the approval was declined").out("--request-approval");
    assert_eq!(shop.received("POST").len(), 1);
    assert_eq!(shop.stands(0, "refunds"), (6, false));
    shop.rc("replay --request-approval").code(6).out("waits");
    assert_eq!(shop.received("POST").len(), 2);
    shop.rc("replay --on-conflict launchdarkly").code(6).out("waits for a reviewer");
}

/// Asking is something that was done, also where a store is away: 7 would say that nothing was.
#[test]
fn an_approval_is_asked_for_while_a_store_is_away() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.stores[1].freeze();
    shop.rc("replay --request-approval --timeout 300ms").code(6).out("did not answer");
    shop.stores[1].thaw();
    assert_eq!(shop.received("POST").len(), 1);
}

/// Applied, and changed again in LaunchDarkly since: not to be asked for a second time.
#[test]
fn applied_and_changed_since() {
    let (shop, id) = requested();
    shop.control().colleague_reviews(&id, "approve", "carol@example.com").unwrap();
    shop.control().colleague_applies(&id, "carol@example.com").unwrap();
    shop.patched("refunds", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("replay").code(0).out("LaunchDarkly has had off");
    assert_eq!((shop.is_on("refunds"), shop.received("POST").len()), (true, 1));
}

/// Switched back while a request to switch off waits: nothing is owed, but somebody could still agree to it.
#[test]
fn a_request_that_stays_behind_is_told() {
    let (shop, id) = requested();
    shop.rc("update -f refunds -s on").code(0);
    shop.rc("replay").code(0).out("nothing to send").out("still open: decline").out(&id);
}

#[test]
fn an_edit_after_the_request_names_the_old_one() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f tier --serve bronze").code(0);
    shop.rc("replay --request-approval").code(6);
    shop.rc("update -f tier --serve silver").code(0);
    shop.rc("replay --request-approval").code(6).out("still open: decline");
    assert_eq!(shop.control().open_approvals(&environment(), &flag("tier")).len(), 2);
    // The answer to a request may be lost as well: it is found by the change that it names.
    shop.rc("update -f tier --serve bronze").code(0);
    shop.fault(Fault::new(FaultKind::Close).on("POST", "*").times(1).after_applying());
    shop.rc("replay --request-approval").code(6).out("waits");
    assert_eq!(shop.control().open_approvals(&environment(), &flag("tier")).len(), 3);
}

/// LaunchDarkly's settings could not be read beforehand; the patch is refused with 405.
#[test]
fn an_approval_that_nobody_foresaw() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::status(403).on("GET", "*/environments/production"));
    shop.rc("replay").code(6).out("send turnFlagOff").out("needs an approval").out("--request-approval");
    assert_eq!((shop.patches(), shop.received("POST").len()), (1, 0));
    shop.rc("replay --request-approval").code(6).out("waits: http");
    assert_eq!(shop.control().open_approvals(&environment(), &flag("refunds")).len(), 1);
    shop.rc("replay").code(6).out("waits for a reviewer");
    assert_eq!(shop.received("POST").len(), 1);
}

#[test]
fn a_rehearsal_asks_for_no_approval() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay --dry-run --request-approval")
        .code(0)
        .out("an approval would be asked for")
        .nowhere("would take it");
    assert_eq!((shop.received("POST").len(), shop.patches()), (0, 0));
}
