//! What LaunchDarkly may answer, and what becomes of it: losses, refusals, limits of the token.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Role;

use super::stage::FLAGS;
use super::stage::Shop;
use super::stage::TOKEN;
use crate::support::rc::Rc;
use crate::update::stage::wait_until;

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

/// The token loses its right between two flags: what was sent is told, the rest stays owed, nothing is sent any more.
#[test]
fn a_right_that_is_lost_in_the_middle() {
    for status in [401, 403] {
        let shop = Shop::new(|seed| seed);
        shop.rc("update -f checkout -f refunds -s off").code(0);
        shop.rc("update -f tier -s on").code(0);
        shop.fault(Fault::status(status).on("PATCH", "/api/v2/flags/shop/refunds"));
        let ran = shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("2 OWED");
        ran.out("tier      OWED: not sent any more").out("updateOn on proj/shop:env/production:flag/refunds");
        assert_eq!(shop.patches(), 2, "{status}");
        assert!(shop.override_(0, "refunds").contains("in-force") && shop.override_(0, "tier").contains("in-force"));
        assert_eq!(shop.files("playback").len(), 2, "{status}: both files have something owed");
        shop.rc("log").code(0).out("was to be sent");
        shop.back();
        shop.rc("replay").code(0).out("off in LaunchDarkly v6").out("on in LaunchDarkly v31");
        assert_eq!((shop.patches(), shop.version("checkout")), (4, 43));
        assert_eq!(shop.files("playback").len(), 0);
    }
}

/// 401 may mean a missing right as well: reading an environment takes another one than its flags.
#[test]
fn an_environment_that_may_not_be_read() {
    for status in [401, 403] {
        let shop = Shop::new(|seed| seed);
        shop.rc("update -f checkout -s off").code(0);
        shop.fault(Fault::status(status).on("GET", "/api/v2/projects/*"));
        shop.rc("replay").code(0).out("off in LaunchDarkly v43");
    }
}

#[test]
fn a_failing_launchdarkly_is_not_hammered() {
    let shop = Shop::new(|seed| (0..6).fold(seed, |seed, number| seed.boolean_flag(&format!("f{number}"), true, 1)));
    let flags: String = (0..6).map(|number| format!(" -f f{number}")).collect();
    shop.rc(&format!("update{flags} -s off")).code(0);
    shop.fault(Fault::status(503).on("PATCH", "*"));
    let ran = shop.rc("replay").code(7).out("6 OWED").out("not sent any more").err("waits");
    assert_eq!(shop.patches(), 12, "four times each of three flags, then no more");
    assert!(ran.took > Duration::from_secs(3), "with a pause before each: {:?}", ran.took);
    shop.back();
    shop.rc("replay").code(0);
    assert_eq!(shop.version("f5"), 2);
}

/// One flag that LaunchDarkly stumbles over keeps none of the others from being sent.
#[test]
fn a_flag_that_launchdarkly_stumbles_over() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::status(500).on("PATCH", "*/checkout"));
    shop.rc("replay").code(5).out("off in LaunchDarkly v6").out("1 OWED");
}

/// A 503 says how long it wants to be left alone.
#[test]
fn a_pause_that_is_asked_for_is_made() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Status { status: 503, retry_after: Some(2) }).on("PATCH", "*").times(1));
    let ran = shop.rc("replay").code(0).err("waits 2 s: LaunchDarkly answered with an error");
    assert!(ran.took >= Duration::from_secs(2));
    assert_eq!(shop.version("checkout"), 43);
}

#[test]
fn a_limit_that_is_not_to_be_borne_sends_nothing() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    let limited = FaultKind::Status { status: 429, retry_after: Some(3_600) };
    shop.fault(Fault::new(limited.clone()).on("GET", FLAGS));
    shop.rc("replay").code(7).err("wants a pause").err("Nothing was sent");
    assert_eq!(shop.received("GET").iter().filter(|path| path.contains("/flags/")).count(), 1);
    shop.back();
    shop.fault(Fault::new(limited).on("PATCH", "*/refunds"));
    shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("1 OWED");
    assert_eq!(shop.patches(), 2);
}

#[test]
fn answers_that_are_not_launchdarklys() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    // A portal that answers everything.
    shop.fault(Fault::new(FaultKind::Garbage));
    shop.rc("replay").code(7).err("Nothing was sent");
    shop.back();
    // The patch was taken, and its answer spoilt on the way.
    shop.fault(Fault::new(FaultKind::Garbage).on("PATCH", "*").after_applying());
    shop.rc("replay").code(0).out("off in LaunchDarkly v43");
    assert_eq!((shop.patches(), shop.version("checkout")), (1, 43));
}

#[test]
fn an_answer_that_is_lost_every_time_is_sent_once() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::Reset).on("PATCH", "*").after_applying());
    shop.rc("replay").code(0).out("off in LaunchDarkly v43").out("off in LaunchDarkly v6");
    assert_eq!(shop.patches(), 2);
}

/// The answer to the very last attempt is lost like any other: it is found out by reading.
#[test]
fn the_last_attempt_is_looked_at_as_well() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let lost = || Fault::new(FaultKind::Reset).on("PATCH", "*").times(1);
    shop.fault(Fault::status(409).on("PATCH", "*").times(3));
    shop.fault(lost().after_applying());
    shop.rc("replay").code(0).out("off in LaunchDarkly v43").out("DONE");
    assert_eq!((shop.patches(), shop.version("checkout")), (4, 43));
    shop.rc("verify").code(0);

    let shop = Shop::new(|seed| seed);
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::status(409).on("PATCH", "*").times(3));
    shop.fault(lost());
    shop.rc("replay").code(7).out("refunds").out("read once more, LaunchDarkly does not show it");
    assert_eq!((shop.patches(), shop.version("refunds")), (4, 5));
}

/// The answer is lost, and LaunchDarkly cannot be read any more: that it may have the patch is said.
#[test]
fn what_may_have_been_taken_is_said() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 1_500 }).on("PATCH", "*").times(1));
    shop.fault(Fault::new(FaultKind::Reset).on("PATCH", "*").times(1).after_applying());
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it sends", || shop.patches() > 0);
    shop.fault(Fault::status(403).on("GET", FLAGS));
    let (code, told) = run.finished();
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("whether LaunchDarkly has taken the patch is not known"), "{told}");
    assert_eq!((shop.patches(), shop.version("checkout")), (1, 43));
    shop.back();
    shop.rc("replay").code(0).out("already so");
    assert_eq!(shop.patches(), 1);
}

/// LaunchDarkly has the patch, and then cannot be read: nothing is claimed, and the next replay knows.
#[test]
fn what_cannot_be_read_after_the_patch_is_not_claimed() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay");
    shop.fault(Fault::status(403).on("GET", FLAGS));
    let (code, told) = run.finished();
    assert_eq!(code, Some(4), "{told}");
    assert!(told.contains("accepted the patch, and what it shows now could not be read"), "{told}");
    assert!(shop.override_(0, "checkout").contains("in-force"));
    shop.back();
    shop.rc("replay").code(0).out("already so");
    assert_eq!(shop.patches(), 1);
}

/// The token goes to the one address that was configured.
#[test]
fn the_token_follows_no_redirect_and_goes_nowhere_in_plain() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("http://{}/", elsewhere.local_addr().unwrap());
    let redirecting = redirecting_to(location.clone());
    let with = |url: &str| Rc::new().home(shop.home.path()).env("LD_API_URL", url).line("replay").run();
    let ran = with(&redirecting).code(1).out("redirected to").out("LD_API_URL must be the address that answers itself");
    ran.nowhere(TOKEN);
    assert!(elsewhere.accept().is_err(), "somebody came there");
    with("http://app.launchdarkly.com").code(2).err("only for this machine, since keys go there").nowhere(TOKEN);
    with("http://192.0.2.1:80").code(2).err("only for this machine");
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

/// A server that sends everybody elsewhere, as long as the test runs.
pub fn redirecting_to(location: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let answer =
                format!("HTTP/1.1 307 x\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}
