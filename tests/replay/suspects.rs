//! Suspects.

use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::Value;
use serde_json::json;

use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use super::stage::environment;
use super::stage::flag;
use crate::support::rc::Rc;
use crate::update::stage::wait_until;

fn slow(milliseconds: u64) -> FaultKind {
    FaultKind::Slow { milliseconds }
}

#[test]
fn s01_own_earlier_revision_is_no_reason_to_forget_the_later_one() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.cut_off_after_the_patch("replay", "checkout");
    shop.rc("update -f checkout -s on").code(0);
    println!("{}", shop.rc("replay").code(0));
    assert!(shop.is_on("checkout"));
}

#[test]
fn s01b_conflict_with_own_earlier_revision() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    shop.cut_off_after_the_patch("replay", "tier");
    shop.rc("update -f tier --serve silver").code(0);
    println!("{}", shop.rc("replay").code(0));
}

#[test]
fn s02_delivered_and_changed_since() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.cut_off_after_the_patch("replay", "checkout");
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    println!("{}", shop.rc("replay"));
    println!("{}", shop.rc("replay --on-conflict override"));
    assert!(shop.is_on("checkout"));
}

const RULE: &str = "ACL SETUSER rc on >hunter2 ~ld:shop:production:features ~ld:shop:production:$inited \
                   +exists +hlen +hmget +hgetall +hscan +hset +hdel +xadd \
                   +xrevrange +evalsha +eval +watch +unwatch +multi +exec +discard +scan +info +select +acl|whoami";

#[test]
fn s03_record_only() {
    let shop = Shop::new(|seed| seed);
    for store in &shop.stores {
        store.line(RULE);
    }
    let rc = |line: &str| {
        Rc::new().home(shop.home.path()).env("RC_REDIS_USER", "rc").env("RC_REDIS_PASSWORD", "hunter2").line(line).run()
    };
    rc("update -f checkout -s off").code(0);
    println!("{}", rc("verify"));
    println!("{}", rc("replay").code(6));
    assert_eq!(shop.patches(), 0);
    println!("{}", rc("replay --yes"));
    assert_eq!(shop.version("checkout"), 43);
    println!("{}", rc("replay").code(0));
    println!("{}", rc("verify").code(0));
}

#[test]
fn s03b_record_only_two_edits() {
    let shop = Shop::new(|seed| seed);
    for store in &shop.stores {
        store.line(RULE);
    }
    let rc = |line: &str| {
        Rc::new().home(shop.home.path()).env("RC_REDIS_USER", "rc").env("RC_REDIS_PASSWORD", "hunter2").line(line).run()
    };
    rc("update -f tier --serve bronze").code(0);
    println!("{}", rc("update -f tier --serve silver").code(0));
    println!("{}", shop.record(0, "tier"));
    println!("{}", rc("replay --yes"));
    println!("{}", shop.record(0, "tier"));
    println!("{}", rc("replay").code(0));
    println!("{}", rc("verify").code(0));
}

#[test]
fn s04_undone_while_it_reads() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(slow(2_000)).on("GET", "/api/v2/flags/*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it reads", || shop.received("GET").iter().any(|path| path.contains("/flags/")));
    shop.colleague(&other, "undo checkout --yes").code(0);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    assert_eq!(shop.patches(), 0);
}

#[test]
fn s05_undone_while_it_sends() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(slow(2_000)).on("PATCH", "*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it sends", || shop.patches() > 0);
    shop.colleague(&other, "undo checkout --yes --as bob").code(0);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    assert!(out.contains("bob"), "{out}");
    assert_eq!(code, Some(5));
}

#[test]
fn s06_a_newer_edit_is_not_ended_by_an_older_replay() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f checkout -s on").code(0);
    shop.fault(Fault::new(slow(2_000)).on("GET", "/api/v2/flags/*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it reads", || shop.received("GET").iter().any(|path| path.contains("/flags/")));
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    assert_eq!(shop.record(0, "checkout")["on"], false, "bob's switch stays");
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

/// Two operators on two sides of a broken network.
#[test]
fn s07_rivals() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.settings(other.path(), TOKEN);
    shop.stores[1].freeze();
    shop.rc("update -f checkout -s off --timeout 300ms").code(5);
    shop.stores[1].thaw();
    shop.stores[0].freeze();
    shop.colleague(&other, "update -f checkout -s off --as bob --timeout 300ms").code(5);
    shop.colleague(&other, "update -f checkout -s on --as bob --timeout 300ms").code(5);
    shop.stores[0].thaw();
    println!("{}", shop.override_(0, "checkout"));
    println!("{}", shop.override_(1, "checkout"));
    let ran = shop.colleague(&other, "replay --as bob");
    println!("{ran}");
    println!("{}", shop.override_(0, "checkout"));
    println!("{}", shop.override_(1, "checkout"));
    println!("{}", shop.rc("replay"));
    assert!(!shop.is_on("checkout"), "anna's off");
}

#[test]
fn s08_unreadable_override_is_not_gone() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.run(&["HSET", &format!("{PREFIX}:relaycommander:overrides"), "checkout", r#"{"format":2}"#]);
    }
    let ran = shop.rc("replay --on-conflict launchdarkly");
    println!("{ran}");
    assert_eq!(shop.files("playback").len(), 1);
    assert!(!ran.stdout.contains("is gone"));
    let ran = shop.rc("verify");
    println!("{ran}");
}

#[test]
fn s09_yes_gives_no_override_up() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.control().delete_flag(&environment(), &flag("checkout"), "carol@example.com").unwrap();
    println!("{}", shop.rc("replay --yes").code(6));
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn s10_a_report_is_not_lost() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    std::fs::create_dir_all(shop.home.path().join("playback/replayed")).unwrap();
    std::fs::write(shop.home.path().join("playback/replayed").join(file.file_name().unwrap()), "x").unwrap();
    let ran = shop.rc("replay");
    println!("{ran}");
    ran.out("off in LaunchDarkly v43");
}

#[test]
fn s11_a_failing_launchdarkly_is_not_hammered() {
    let shop = Shop::new(|seed| (0..10).fold(seed, |seed, n| seed.boolean_flag(&format!("f{n}"), true, 1)));
    let flags: String = (0..10).map(|n| format!(" -f f{n}")).collect();
    shop.rc(&format!("update{flags} -s off")).code(0);
    shop.fault(Fault::status(503).on("PATCH", "*"));
    let begun = Instant::now();
    let ran = shop.rc("replay");
    println!("{ran} {:?} {}", begun.elapsed(), shop.patches());
    assert!(shop.patches() <= 12);
    assert!(begun.elapsed() > Duration::from_secs(1));
}

#[test]
fn s11b_retry_after_of_a_failing_patch() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Status { status: 503, retry_after: Some(2) }).on("PATCH", "*").times(1));
    let begun = Instant::now();
    println!("{}", shop.rc("replay").code(0));
    assert!(begun.elapsed() > Duration::from_secs(2));
}

#[test]
fn s12_verify_and_replay_agree_on_what_was_written_nowhere() {
    let shop = Shop::new(|seed| seed);
    for store in &shop.stores {
        store.freeze();
    }
    shop.rc("update -f checkout -s off --timeout 300ms").code(7);
    for store in &shop.stores {
        store.thaw();
    }
    println!("{}", shop.rc("replay").code(0));
    println!("{}", shop.rc("verify").code(0));
}

#[test]
fn s13_leftover_of_a_colleague() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    shop.stores[1].freeze();
    shop.colleague(&other, "undo checkout --as bob --timeout 300ms").code(5);
    shop.stores[1].thaw();
    println!("{}", shop.rc("replay").code(0));
    assert_eq!(shop.record(1, "checkout")["version"], 42);
    assert_eq!(shop.files("playback").len(), 0, "nothing waits here");
    println!("{}", shop.rc("replay").code(0).out("Nothing is owed"));
    println!("{}", shop.colleague(&other, "replay").code(0));
    println!("{}", shop.colleague(&other, "status"));
    println!("{}", shop.colleague(&other, "replay").code(0).out("Nothing is owed"));
}

#[test]
fn s14_environment_401() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::status(401).on("GET", "/api/v2/projects/*"));
    println!("{}", shop.rc("replay").code(0));
}

#[test]
fn s15_changed_and_changed_back_in_the_middle() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(slow(1_500)).on("PATCH", "*").times(1));
    shop.fault(Fault::status(409).on("PATCH", "*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it sends", || shop.patches() > 0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    assert!(shop.is_on("checkout"));
}

#[test]
fn s17_given_up_while_our_record_stands() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.run(&["DEL", &format!("{PREFIX}:relaycommander:overrides")]);
    }
    println!("{}", shop.rc("replay").code(6));
    println!("{}", shop.rc("replay --on-conflict launchdarkly"));
    println!("{} {}", shop.record(0, "checkout")["version"], shop.record(0, "checkout")["on"]);
    println!("{}", shop.rc("verify"));
    println!("{}", shop.rc("undo checkout"));
}

#[test]
fn s18_rate_limit_while_reading() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::Status { status: 429, retry_after: Some(3600) }).on("GET", "/api/v2/flags/*"));
    println!("{}", shop.rc("replay").code(7).err("Nothing was sent"));
}

#[test]
fn s22_foreign_override_on_reading_again() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(slow(1_500)).on("PATCH", "*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it sends", || shop.patches() > 0);
    let mut foreign: Value = serde_json::from_str(&shop.override_(0, "checkout")).unwrap();
    foreign["environment"] = json!("shop/staging");
    let foreign = foreign.to_string();
    shop.stores[0].run(&["HSET", &format!("{PREFIX}:relaycommander:overrides"), "checkout", &foreign]);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    assert_eq!(shop.override_(0, "checkout"), foreign);
}

#[test]
fn s24_token_revoked_in_the_middle() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -f tier -s on").code(0);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(slow(1_000)).on("PATCH", "*").times(1));
    let run = shop.started(shop.home.path(), "replay");
    wait_until("it sends", || shop.patches() > 0);
    shop.control().revoke(TOKEN);
    let (code, out) = run.finished();
    println!("{code:?} {out}");
    println!("{}", shop.rc("log"));
    println!("{}", shop.rc("status"));
}

#[test]
fn s26_more_was_edited_while_an_approval_is_open() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay --request-approval").code(6);
    shop.rc("update -f refunds -s on").code(0);
    println!("{}", shop.rc("replay"));
    println!("{:?}", shop.control().open_approvals(&environment(), &flag("refunds")));
}

#[test]
fn s29_adopted_files_of_replayed() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    shop.colleague(&other, "replay --as bob").code(0);
    println!("{}", shop.rc("replay").code(0));
    println!("{:?}", shop.files("playback/replayed"));
}

#[test]
fn s30_undo_with_dead_host_then_replay() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.stores[1].freeze();
    shop.rc("undo checkout --timeout 300ms").code(5);
    shop.stores[1].thaw();
    println!("{}", shop.rc("verify"));
    println!("{}", shop.rc("replay").code(0));
    println!("{}", shop.rc("status"));
    println!("{}", shop.rc("verify").code(0));
    println!("{:?}", shop.files("playback"));
    println!("{}", shop.rc("replay").code(0).out("Nothing is owed"));
}
