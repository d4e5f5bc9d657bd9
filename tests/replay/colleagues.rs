//! Several operators, and what they do while a replay is under way.

use std::path::Path;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;

use super::stage::Shop;
use super::stage::TOKEN;
use crate::support::rc::Rc;

#[test]
fn a_colleagues_override_is_replayed_from_here() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -f refunds -s off --as bob").code(0);
    shop.rc("replay").code(0).out("bob from the stores").out("off in LaunchDarkly v43");
    assert_eq!(shop.files("playback/replayed").len(), 1);
    // The colleague's own file: LaunchDarkly's word and the stores' say that it is done.
    shop.colleague(&other, "replay").code(0);
    assert_eq!(shop.patches(), 2);
    assert_eq!(std::fs::read_dir(other.path().join("playback/replayed")).unwrap().count(), 1);
}

#[test]
fn two_replays_at_once_send_everything_once() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.settings(other.path(), TOKEN);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 300 }).on("PATCH", "*"));
    let start = |home: &Path| Rc::new().line("replay").command(home).spawn().unwrap();
    let children = [start(shop.home.path()), start(shop.home.path()), start(other.path())];
    for mut child in children {
        let code = child.wait().unwrap().code();
        assert!(code.is_some(), "a signal ended it");
    }
    shop.back();
    shop.rc("replay").code(0);
    // A semantic patch that changes nothing counts no version.
    assert!(!shop.is_on("checkout"));
    assert_eq!(shop.version("checkout"), 43);
}
