//! Killed at any moment: the next replay tells the truth and finishes the work.

use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;

use super::stage::Shop;
use crate::support::rc::Rc;

#[test]
fn killed_while_the_patch_is_under_way_the_next_replay_finds_out() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 5_000 }).on("PATCH", "*").after_applying());
    let mut child = Rc::new().line("replay").command(shop.home.path()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop.patches() == 0 {
        assert!(Instant::now() < deadline, "no patch was sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    shop.back();
    shop.rc("replay").code(0).out("DONE");
    assert_eq!((shop.version("checkout"), shop.version("refunds")), (43, 6));
    assert_eq!(shop.files("playback").len(), 0);
    shop.rc("verify").code(0);
}
