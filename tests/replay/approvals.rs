//! Environments in which somebody else has to agree.

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
