//! What is owed, sent once; what is looked at only.

use serde_json::json;

use super::stage::Shop;

#[test]
fn what_was_changed_in_the_outage_is_sent_once_and_moved() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f checkout -s off --reason charges").code(0);
    shop.rc("replay").code(7).err("Nothing was sent");
    assert_eq!(shop.files("playback").len(), 1);
    shop.back();
    shop.rc("replay").code(0).out("off in LaunchDarkly v43").out("DONE");
    assert!(!shop.is_on("checkout"));
    assert_eq!(shop.patches(), 1);
    assert_eq!(shop.files("playback").len(), 0);
    assert_eq!(shop.files("playback/replayed").len(), 1);
    for store in 0..2 {
        assert!(shop.override_(store, "checkout").contains(r#""is":"replayed","version":43"#));
        assert_eq!(shop.record(store, "checkout")["version"], 43);
    }
    shop.rc("replay").code(0);
    assert_eq!(shop.patches(), 1);
    // LaunchDarkly's stream brings a later version: the override ends.
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.fill();
    shop.rc("replay").code(0).out("settled");
    assert_eq!(shop.override_(0, "checkout").trim(), "");
    assert!(shop.is_on("checkout"));
}

#[test]
fn nothing_owed_needs_no_token_and_something_owed_does() {
    let shop = Shop::new(|seed| seed);
    shop.settings(shop.home.path(), "");
    shop.rc("replay").code(0).out("Nothing is owed");
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("replay").code(4).err("LD_API_KEY").err("checkout");
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn a_rehearsal_writes_nothing_and_lets_launchdarkly_validate() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let before = std::fs::read(&shop.files("playback")[0]).unwrap();
    shop.rc("replay --dry-run").code(0).out("send turnFlagOff").out("LaunchDarkly would take it");
    assert!(shop.is_on("checkout"));
    assert_eq!(std::fs::read(&shop.files("playback")[0]).unwrap(), before);
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn already_so_and_nothing_to_send() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("update -f refunds -s on").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.rc("replay").code(0).out("already so").out("nothing to send");
    assert_eq!(shop.patches(), 0);
    assert_eq!(shop.override_(0, "refunds").trim(), "");
    assert_eq!(shop.record(0, "refunds")["version"], 5);
    assert_eq!(shop.files("playback").len(), 0);
}
