//! What LaunchDarkly may answer, and what becomes of it: losses, refusals, limits of the token.

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Role;

use super::stage::Shop;

#[test]
fn an_answer_that_never_came_is_found_out_by_reading() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Close).on("PATCH", "*").times(1).after_applying());
    shop.rc("replay").code(0).out("off in LaunchDarkly v43");
    assert_eq!(shop.version("checkout"), 43);
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::status(503).on("PATCH", "*").times(1));
    shop.rc("replay").code(0).out("off in LaunchDarkly v6");
    shop.rc("update -f checkout -s on").code(0);
    shop.fault(Fault::status(409).on("PATCH", "*").times(1));
    shop.rc("replay").code(0).out("on in LaunchDarkly v44");
}

#[test]
fn a_token_that_may_not_says_what_it_lacks() {
    let shop = Shop::new(|seed| seed.token("api-reader-0002", Role::Reader, "anna@example.com"));
    shop.rc("update -f checkout -s off").code(0);
    shop.settings(shop.home.path(), "api-reader-0002");
    shop.rc("replay").code(4).out("updateOn").nowhere("api-reader-0002");
    shop.settings(shop.home.path(), "api-nobody-0003");
    shop.rc("replay").code(4);
    assert!(shop.override_(0, "checkout").contains("in-force"));
}
