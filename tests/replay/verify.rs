//! `rc verify`: who agrees with whom.

use serde_json::json;

use super::stage::Shop;

#[test]
fn verify_tells_agreement_from_what_is_owed() {
    let shop = Shop::new(|seed| seed);
    shop.rc("verify").code(0);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.rc("verify").code(6).out("OWED").out("NOT IN AGREEMENT: 2 of 2");
    shop.away();
    shop.rc("verify").code(7).out("2 owed");
    shop.back();
    shop.rc("replay").code(0);
    shop.rc("verify").code(0).out("same");
    shop.away();
    shop.rc("verify").code(7).out("2 stores and the record agree; LaunchDarkly did not say");
    shop.back();
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("verify").code(1).out("checkout");
}
