//! Several operators, and what they do while a replay is under way.

use std::path::Path;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::json;

use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use super::stage::environment;
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

/// A replay has begun a file here for one flag of a colleague's change. An update that then finishes more of the same change
/// must not begin a second file for it: the two would tell of one change, and otherwise.
#[test]
fn a_colleagues_change_has_one_file_here() {
    let shop = Shop::new(|seed| seed.approvals(1));
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -f refunds -s off --as bob").code(0);
    shop.rc("replay -f refunds --request-approval").code(6);
    assert_eq!(shop.files("playback").len(), 1);
    let filled = shop.control().sdk_flags(&environment()).unwrap();
    let filled: Vec<(String, String)> = filled.into_iter().map(|(key, record)| (key, record.to_string())).collect();
    let filled: Vec<(&str, &str)> = filled.iter().map(|(key, record)| (key.as_str(), record.as_str())).collect();
    shop.stores[1].line("FLUSHALL");
    shop.stores[1].fill(PREFIX, &filled);
    shop.rc("update -f checkout -f refunds -s off").code(0).out("DONE: 2 flags are as asked for in 2 of 2 stores");
    assert_eq!((shop.stands(1, "checkout"), shop.stands(1, "refunds")), ((43, false), (6, false)));
    assert_eq!(shop.override_(0, "checkout"), shop.override_(1, "checkout"), "the same change");
    shop.rc("verify").nowhere("tells of the same change");
    shop.rc("status").nowhere("tells of the same change");
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

/// A shop in which anna has turned checkout off, and a home of bob's.
fn off_by_anna() -> (Shop, tempfile::TempDir) {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let other = tempfile::tempdir().unwrap();
    shop.settings(other.path(), TOKEN);
    (shop, other)
}

#[test]
fn what_is_undone_while_it_reads_is_not_sent() {
    let (shop, other) = off_by_anna();
    let run = shop.reading("replay");
    shop.colleague(&other, "undo checkout --yes --as bob").code(0);
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("undone by bob") && told.contains("not sent"), "{told}");
    assert_eq!((shop.patches(), shop.stands(0, "checkout")), (0, (42, true)));
    assert_eq!(shop.files("playback").len(), 0);
    shop.rc("verify").code(0);
}

/// Too late to hold it back: but it is said, and who sees it knows what to do.
#[test]
fn what_is_undone_while_it_is_sent_is_told() {
    let (shop, other) = off_by_anna();
    let run = shop.sending("replay");
    shop.colleague(&other, "undo checkout --yes --as bob").code(0);
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("undone by bob meanwhile") && told.contains("change it in LaunchDarkly"), "{told}");
    shop.rc("verify").code(1).out("LaunchDarkly off v43; on v42 in s0 s1");
}

#[test]
fn what_is_edited_while_it_reads_is_left_for_the_next_replay() {
    let (shop, other) = off_by_anna();
    let run = shop.reading("replay");
    shop.colleague(&other, "update -f checkout -s on --as bob").code(0);
    let (code, told) = run.finished();
    assert_eq!(code, Some(6), "{told}");
    assert!(told.contains("edited while this was going on: bob"), "{told}");
    assert_eq!(shop.patches(), 0);
    shop.rc("replay").code(0).out("nothing to send");
    assert_eq!((shop.patches(), shop.stands(1, "checkout")), (0, (42, true)));
}

/// What was sent is settled, and no more than that.
#[test]
fn what_is_edited_while_it_is_sent_stays_owed() {
    let (shop, other) = off_by_anna();
    let run = shop.sending("replay");
    shop.colleague(&other, "update -f checkout -s on --as bob").code(0);
    let (code, told) = run.finished();
    assert_eq!(code, Some(6), "{told}");
    assert!(told.contains("another edit") && !told.contains("DONE"), "{told}");
    assert_eq!((shop.version("checkout"), shop.is_on("checkout")), (43, false));
    assert!(shop.record(0, "checkout")["on"].as_bool().unwrap(), "bob's switch stays");
    shop.rc("verify").code(6);
    shop.rc("replay").code(0).out("on in LaunchDarkly v44");
    assert_eq!(shop.stands(0, "checkout"), (44, true));
    shop.rc("verify").code(0);
}

/// An override that comes to nothing ends; what came after it does not.
#[test]
fn a_newer_edit_is_not_ended_by_an_older_replay() {
    for line in ["replay", "replay --on-conflict launchdarkly"] {
        let (shop, other) = off_by_anna();
        if line == "replay" {
            shop.rc("update -f checkout -s on").code(0);
        } else {
            shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
            shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
        }
        let run = shop.reading(line);
        // Before the second look of the replay: it is left. After it: compare-and-set tells.
        shop.colleague(&other, "update -f checkout --serve true --as bob").code(0);
        let (code, told) = run.finished();
        assert_eq!(code, Some(6), "{told}");
        assert!(!shop.record(0, "checkout")["on"].as_bool().unwrap(), "bob's switch stays: {told}");
        assert!(shop.override_(0, "checkout").contains("in-force"));
        assert_eq!(shop.patches(), 0);
    }
}

/// Two operators on two sides of a broken network. The one who lost is told, and what he did is neither ended nor said
/// to be settled.
#[test]
fn what_lost_on_the_other_side_of_a_broken_network_is_not_lost() {
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
    // By revisions bob's wins, and comes to nothing.
    shop.rc("verify").code(6).out("lost to another override, and is still in s0");
    let ran = shop.colleague(&other, "replay --as bob").code(6);
    ran.out("anna").out("lost to another edit").out("another edit of it is owed");
    assert_eq!(shop.stands(0, "checkout"), (43, false), "anna's switch");
    shop.rc("replay").code(0).out("off in LaunchDarkly v43");
    assert!(!shop.is_on("checkout"));
}

/// The winner is sent, and takes the place of the other one. Its operator is not told that it was settled.
#[test]
fn what_gave_way_is_not_said_to_be_settled() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.settings(other.path(), TOKEN);
    shop.stores[1].freeze();
    shop.rc("update -f tier --serve bronze --timeout 300ms").code(5);
    shop.stores[1].thaw();
    shop.stores[0].freeze();
    shop.colleague(&other, "update -f tier --serve silver --as bob --timeout 300ms").code(5);
    shop.stores[0].thaw();
    shop.colleague(&other, "replay --as bob").code(0).out("\"silver\" in LaunchDarkly v31").out("lost to another edit");
    shop.rc("replay").code(6).out("its override is gone").out("not sent");
    assert_eq!(shop.patches(), 1);
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
}

/// What a colleague's undo could not reach, and a replay of anybody else's puts right.
#[test]
fn what_an_undo_could_not_reach_is_finished_by_any_replay() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    shop.stores[1].freeze();
    shop.colleague(&other, "undo checkout --as bob --timeout 300ms").code(5);
    shop.stores[1].thaw();
    shop.rc("replay").code(0).out("it was undone by bob");
    assert_eq!(shop.stands(1, "checkout"), (42, true));
    assert_eq!(shop.files("playback").len(), 0, "nothing waits here");
    shop.rc("replay").code(0).out("Nothing is owed");
    // His own files know by now.
    shop.colleague(&other, "replay").code(0).out("the undo is finished: nothing of it is left in s1");
    shop.colleague(&other, "replay").code(0).out("Nothing is owed");
    shop.colleague(&other, "status").code(0).nowhere("UNFINISHED");
    shop.colleague(&other, "verify").code(0);
}

/// Looking at what others replayed leaves no files here.
#[test]
fn what_others_replayed_leaves_no_trace_here() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    shop.colleague(&other, "replay --as bob").code(0);
    shop.rc("replay").code(0).out("before");
    assert_eq!((shop.files("playback").len(), shop.files("playback/replayed").len()), (0, 0));
}
