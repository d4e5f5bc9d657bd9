//! What is gone: the flag in LaunchDarkly, or the override of a playback file.

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::json;

use super::stage::PREFIX;
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
fn a_flag_that_is_deleted_can_be_given_up() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.control().delete_flag(&environment(), &flag("refunds"), "carol@example.com").unwrap();
    let ran =
        shop.rc("replay").code(6).out("GONE").out("does not show it to this token").out("off in LaunchDarkly v43");
    ran.out("rc replay -p shop -e production -f refunds --on-conflict launchdarkly");
    // A token that may not see a flag gets the same answer: a yes to everything is none to that.
    shop.rc("replay --yes").code(6);
    assert_eq!(shop.stands(0, "refunds"), (6, false), "the switch stays");
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
    assert_eq!((shop.files("playback").len(), shop.patches()), (0, 1));
}

#[test]
fn a_flag_that_is_deleted_while_it_is_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    let run = shop.sending("replay");
    shop.control().delete_flag(&environment(), &flag("checkout"), "carol@example.com").unwrap();
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("has no such thing") && told.contains("off in LaunchDarkly v6"), "{told}");
    shop.rc("replay").code(6).out("GONE");
}

#[test]
fn a_project_that_is_not_there() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::status(404).on("GET", "/api/v2/projects/*"));
    shop.rc("replay").code(1).out("reading environment shop/production").out("no such thing");
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

/// A shop whose stores have forgotten the override of the one change in the playback.
fn forgotten() -> Shop {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop
}

/// The whole life of a file whose override is gone, and of which nobody knows more.
#[test]
fn an_override_that_is_gone_is_never_sent() {
    let shop = forgotten();
    let file = shop.text_of("playback");
    shop.rc("status").code(0);
    shop.rc("verify").code(6).out("its override is gone");
    let ran = shop.rc("replay").code(6).out("its override is gone").out("not sent");
    ran.out("if it is over: rc replay -p shop -e production -f checkout --on-conflict launchdarkly");
    // Neither a yes, nor a wish to have it, nor a rehearsal sends it or ends it.
    for line in
        ["replay --yes", "replay --on-conflict override", "replay --on-conflict skip", "replay --break-scheduled"]
    {
        shop.rc(line).code(6).out("not sent");
    }
    shop.rc("replay --dry-run --on-conflict launchdarkly").code(0).out("would be given up");
    assert_eq!((shop.patches(), shop.text_of("playback")), (0, file));
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
    assert_eq!(shop.files("playback").len(), 0);
    assert!(shop.text_of("playback/replayed").contains(r#""is":"abandoned""#));
    shop.rc("replay").code(0).out("Nothing is owed");
    shop.rc("verify").code(0);
    assert_eq!((shop.patches(), shop.stands(0, "checkout")), (0, (42, true)));
}

/// Or it is written once more.
#[test]
fn an_override_that_is_gone_can_be_made_again() {
    let shop = forgotten();
    shop.rc("update -f checkout -s off").code(0);
    // The first change is part of no override; the second one is sent.
    shop.rc("replay").code(6).out("its override is gone").out("off in LaunchDarkly v43");
    assert_eq!(shop.patches(), 1);
    shop.rc("replay --on-conflict theirs").code(0).out("given up");
    assert_eq!(shop.version("checkout"), 43);
}

/// Only the override is gone (evicted, deleted by hand): what it wrote still stands, and is not given up by the way.
#[test]
fn an_override_that_is_gone_while_its_record_stands() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.run(&["DEL", &format!("{PREFIX}:relaycommander:overrides")]);
    }
    shop.rc("verify").code(6).out("its override is gone, what it wrote stands in s0 and s1");
    for line in ["replay", "replay --on-conflict launchdarkly"] {
        shop.rc(line).code(6).out("but not what it wrote to s0 and s1").out("rc undo checkout -p shop -e production");
    }
    assert_eq!((shop.patches(), shop.stands(0, "checkout"), shop.files("playback").len()), (0, (43, false), 1));
    shop.rc("undo checkout -p shop -e production").code(0);
    assert_eq!(shop.stands(1, "checkout"), (42, true));
    shop.rc("replay").code(0);
    shop.rc("verify").code(0);
    assert_eq!(shop.files("playback").len(), 0);
}

/// It cannot be read: damaged, or made by a newer program. That is not gone.
#[test]
fn an_override_that_cannot_be_read_is_not_gone() {
    for text in [r#"{"format":2,"news":true}"#, "nonsense"] {
        let shop = Shop::new(|seed| seed);
        shop.rc("update -f checkout -s off").code(0);
        for store in &shop.stores {
            store.run(&["HSET", &format!("{PREFIX}:relaycommander:overrides"), "checkout", text]);
        }
        let ran = shop.rc("replay --on-conflict launchdarkly").code(3).out("cannot be read, and may be this one");
        ran.out("rc show checkout").nowhere("is gone");
        assert_eq!((shop.patches(), shop.files("playback").len()), (0, 1));
        assert_eq!(shop.override_(0, "checkout"), text, "left as it is");
        shop.rc("verify").code(6).out("cannot be read").nowhere("is gone");
    }
}

/// A store that does not answer may have it.
#[test]
fn an_override_may_be_where_nobody_answers() {
    let shop = forgotten();
    shop.stores[1].freeze();
    shop.rc("replay --on-conflict launchdarkly --timeout 300ms").code(7).out("its override may be in s1");
    shop.stores[1].thaw();
    assert_eq!(shop.files("playback").len(), 1);
}

#[test]
fn an_override_that_is_gone_is_done_if_a_mark_says_so() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.colleague(&other, "undo checkout --yes --as bob").code(0);
    shop.colleague(&other, "replay --as bob").code(0).out("off in LaunchDarkly v6");
    shop.patched("refunds", &[json!({"kind": "turnFlagOn"})]);
    shop.fill();
    shop.colleague(&other, "replay --as bob").code(0).out("settled");
    let ran = shop.rc("replay").code(0).out("over: undone by bob").out("over: settled by bob");
    ran.out("1 change moved");
    assert_eq!(shop.patches(), 1);
    shop.rc("replay").code(0).out("Nothing is owed");
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
    // What stands there now is not what was written: that alone would tell that LaunchDarkly has it.
    shop.patched("checkout", &[json!({"kind": "updateDescription", "value": "…"})]);
    shop.fill();
    // Where the log cannot be read, it stays a question.
    shop.fault(Fault::status(403).on("GET", "/api/v2/auditlog*"));
    shop.rc("replay").code(6).out("audit log could not be read").out("not sent");
    shop.back();
    shop.rc("replay").code(0).out("says its audit log");
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 0));
}

/// That an approval was asked for is in the log too, and does not mean that LaunchDarkly has it.
#[test]
fn an_approval_request_is_no_proof() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay --request-approval").code(6);
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.rc("replay").code(6).out("its override is gone");
}

/// LaunchDarkly is away, and only it could tell.
#[test]
fn nobody_is_asked_once_for_each_edit() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -f tier -s on").code(0);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.fault(Fault::new(FaultKind::Status { status: 429, retry_after: Some(3_600) }));
    shop.rc("replay").code(6).out("audit log could not be read");
    assert_eq!(shop.received("GET").len(), 1);
}

/// The override was lost, and LaunchDarkly made the same change itself: its record is, to the version, the one that the
/// edit wrote. Putting "LaunchDarkly's record" back would undo what LaunchDarkly says.
fn done_there_as_well() -> Shop {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    for store in &shop.stores {
        store.run(&["FLUSHALL"]);
    }
    shop.fill();
    assert_eq!((shop.version("checkout"), shop.stands(0, "checkout")), (43, (43, false)));
    shop
}

#[test]
fn launchdarklys_own_record_is_not_taken_for_ours() {
    let shop = done_there_as_well();
    shop.rc("verify").code(0);
    shop.rc("replay").code(0).out("LaunchDarkly has it so by itself, as v43");
    assert_eq!((shop.patches(), shop.files("playback").len(), shop.stands(1, "checkout")), (0, 0, (43, false)));
    shop.rc("verify").code(0);
}

#[test]
fn an_undo_leaves_launchdarklys_own_record_alone() {
    let shop = done_there_as_well();
    shop.rc("undo checkout --dry-run").code(0).out("LaunchDarkly's own record stands there");
    shop.rc("undo checkout").code(0).out("LaunchDarkly's own record stands there");
    assert_eq!((shop.stands(0, "checkout"), shop.stands(1, "checkout")), ((43, false), (43, false)));
    shop.rc("verify").code(0);
    shop.rc("replay").code(0);
    assert_eq!(shop.patches(), 0);
}

/// In an outage nobody can tell: what the playback knows is put back, and that LaunchDarkly was not asked is said.
#[test]
fn an_undo_by_the_playback_alone_says_so() {
    let shop = done_there_as_well();
    shop.away();
    shop.rc("undo checkout").code(0).out("LaunchDarkly was not asked").out("rc verify");
    assert_eq!(shop.stands(0, "checkout"), (42, true));
    shop.back();
    shop.rc("verify").code(1).out("the stores are behind");
}
