//! What is owed, sent once; what is looked at only.

use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use crate::support::redis::RedisServer;

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

/// One file, two flags: only the one that was named is sent, and the file stays for the other.
#[test]
fn only_what_was_named() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.rc("replay -f refunds").code(0).out("off in LaunchDarkly v6").nowhere("checkout");
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 1));
    shop.rc("replay -p shop -e staging").code(2);
    shop.rc("replay -f nosuch").code(0).out("Nothing is owed");
    shop.rc("replay -p shop -e production -f checkout").code(0).out("off in LaunchDarkly v43");
    assert_eq!((shop.patches(), shop.files("playback").len()), (2, 0));
}

#[test]
fn the_document() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.patched("refunds", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("refunds", &[json!({"kind": "turnFlagOn"})]);
    let document = |line: &str, code: i32| -> Value { serde_json::from_str(&shop.rc(line).code(code).stdout).unwrap() };
    let rehearsed = document("replay --dry-run --json", 6);
    assert_eq!((&rehearsed["command"], &rehearsed["dry_run"]), (&json!("replay"), &json!(true)));
    assert_eq!(rehearsed["flags"][0]["outcome"], "valid");
    let done = document("replay --json", 6);
    let flags = done["flags"].as_array().unwrap();
    assert_eq!((&flags[0]["outcome"], &flags[0]["version"]), (&json!("replayed"), &json!(43)));
    assert_eq!((&flags[0]["override"], &flags[0]["launchdarkly"]), (&json!("off"), &json!("on")));
    let held = json!([{"store": "s0", "prefix": PREFIX, "outcome": "held", "why": null},
                      {"store": "s1", "prefix": PREFIX, "outcome": "held", "why": null}]);
    assert_eq!(flags[0]["stores"], held);
    assert_eq!((&flags[1]["outcome"], &flags[1]["version"]), (&json!("owed"), &json!(null)));
    assert_eq!(flags[1]["next"], "rc replay -p shop -e production -f refunds --on-conflict override|launchdarkly");
    assert_eq!((&done["exit_code"], &done["moved"]), (&json!(6), &json!(0)));
    let verified = document("verify --json", 6);
    assert_eq!((&verified["agreement"], &verified["flags"][0]["judgement"]), (&json!(false), &json!("same")));
    assert_eq!(verified["flags"][1]["judgement"], "owed");
}

/// Owed before partly done, partly done before done.
#[test]
fn one_code_for_many_flags() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.patched("refunds", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("refunds", &[json!({"kind": "turnFlagOn"})]);
    shop.stores[1].freeze();
    shop.rc("replay --timeout 300ms").code(6).out("off in LaunchDarkly v43").out("s1");
    shop.rc("replay --timeout 300ms --on-conflict override").code(5).out("off in LaunchDarkly v8");
    shop.stores[1].thaw();
    shop.rc("replay").code(0);
    shop.rc("verify").code(0);
}

/// More flags than are noted, sent and settled together.
#[test]
fn many_flags() {
    let shop =
        Shop::new(|seed| (0..150).fold(seed, |seed, number| seed.boolean_flag(&format!("f{number:03}"), true, 1)));
    let lines: String = (0..150).map(|number| format!("{{\"flag\":\"f{number:03}\",\"state\":\"off\"}}\n")).collect();
    std::fs::write(shop.home.path().join("edits"), lines).unwrap();
    shop.rc("update --from edits").code(0);
    shop.rc("replay").code(0).out("DONE");
    assert_eq!(shop.patches(), 150);
    let order: Vec<String> = shop.received("PATCH");
    assert!(order.is_sorted(), "in the order of the plan: {order:?}");
    assert_eq!(shop.files("playback").len(), 0);
    shop.rc("verify").code(0);
}

/// A way to a Redis on which questions about what has ended, of which each look at a store has one, take longer than a
/// look may be old: as many of them as `slow` says.
fn slow_way_to(server: &RedisServer, slow: Arc<AtomicI32>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (here, there) = (listener.local_addr().unwrap().port(), server.port());
    std::thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut far = TcpStream::connect(("127.0.0.1", there)).unwrap();
            let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            let slow = Arc::clone(&slow);
            std::thread::spawn(move || {
                let mut message = [0; 65_536];
                while let Ok(length @ 1..) = near.read(&mut message) {
                    let asks = message[..length].windows(20).any(|window| window == b"relaycommander:ended");
                    if asks && slow.fetch_sub(1, Ordering::SeqCst) > 0 {
                        std::thread::sleep(Duration::from_millis(1_100));
                    }
                    if far.write_all(&message[..length]).is_err() {
                        return;
                    }
                }
                let _ = far.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    here
}

/// Looking at the stores takes longer than the look may be old, again and again: what was made ready is not sent, and made
/// ready anew. However often, each answer of LaunchDarkly is taken for that of its own flag and no other.
#[test]
fn no_answer_is_taken_for_that_of_another_flag() {
    // The first look of the replay, and the one before it sends, are among them.
    for looks in 2..=6 {
        let shop = Shop::new(|seed| seed);
        let server = RedisServer::with().tcp().start();
        let flags = shop.control().sdk_flags(&super::stage::environment()).unwrap();
        let flags: Vec<(String, String)> = flags.into_iter().map(|(key, record)| (key, record.to_string())).collect();
        let flags: Vec<(&str, &str)> = flags.iter().map(|(key, record)| (key.as_str(), record.as_str())).collect();
        server.fill(PREFIX, &flags);
        let slow = Arc::new(AtomicI32::new(0));
        let port = slow_way_to(&server, Arc::clone(&slow));
        shop.settings(shop.home.path(), TOKEN);
        let file = shop.home.path().join(".env");
        let mut settings = std::fs::read_to_string(&file).unwrap();
        let hosts = settings.lines().next().unwrap().to_owned();
        settings = settings.replace(&hosts, &format!("REDIS_HOSTS=far=redis://127.0.0.1:{port}"));
        std::fs::write(&file, settings.replace("RC_TIMEOUT=2s", "RC_TIMEOUT=20s")).unwrap();
        shop.rc("update -f checkout -f refunds -s off").code(0);
        slow.store(looks, Ordering::SeqCst);
        shop.rc("replay").code(0).out("checkout  off in LaunchDarkly v43").out("refunds   off in LaunchDarkly v6");
        assert_eq!((shop.version("checkout"), shop.version("refunds")), (43, 6), "{looks} slow looks");
        assert!(!shop.is_on("checkout") && !shop.is_on("refunds"), "{looks} slow looks");
        assert_eq!(shop.patches(), 2, "{looks} slow looks");
    }
}
