//! What is gone: the flag in LaunchDarkly, or the override of a playback file.

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

#[test]
fn a_flag_that_is_gone_can_be_given_up_and_the_rest_goes_on() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.control().archive_flag(&environment(), &flag("refunds"), "carol@example.com").unwrap();
    shop.rc("replay").code(6).out("ARCHIVED").out("off in LaunchDarkly v43");
    assert_eq!(shop.files("playback").len(), 1);
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
    assert_eq!(shop.files("playback").len(), 0);
}

#[test]
fn an_override_that_is_gone_is_never_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.rc("replay").code(6).out("its override is gone").out("not sent");
    shop.rc("replay --yes").code(6);
    assert_eq!(shop.patches(), 0);
    shop.rc("replay --on-conflict launchdarkly").code(0);
    assert_eq!(shop.files("playback").len(), 0);
}

#[test]
fn an_override_that_is_gone_is_done_if_the_audit_log_names_it() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    let text = std::fs::read(&file).unwrap();
    shop.rc("replay").code(0);
    // The file comes back from a backup, and the stores have forgotten.
    std::fs::remove_dir_all(shop.home.path().join("playback/replayed")).unwrap();
    std::fs::write(&file, text).unwrap();
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.rc("replay").code(0).out("says its audit log");
    assert_eq!(shop.patches(), 1);
}
