//! `rc undo` as an operator meets it, on real Redis servers.

use serde_json::Value;

use crate::update::stage::FEATURES;
use crate::update::stage::OFF;
use crate::update::stage::OVERRIDES;
use crate::update::stage::PREFIX;
use crate::update::stage::Stage;
use crate::update::stage::fill;
use crate::update::stage::flags;
use crate::update::stage::record;

const ENDED: &str = "ld:shop:production:relaycommander:ended";

#[test]
fn it_puts_back_what_launchdarkly_last_sent() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    stage.run("update -p shop -e production -f checkout -s on").code(0);
    stage.has(0, "checkout", 44, true);
    stage.run("undo checkout --dry-run").code(0).out("NOTHING WAS UNDONE");
    stage.has(0, "checkout", 44, true);
    let ran = stage.run("undo checkout").code(0);
    ran.out("as LaunchDarkly last sent it (v42)")
        .out("DONE: checkout is as LaunchDarkly last sent it, nothing is owed");
    for store in 0..2 {
        assert_eq!(stage.record(store, "checkout"), record("checkout", 42, true), "to the byte");
        assert_eq!(stage.override_(store, "checkout"), Value::Null);
        assert_eq!(stage.servers[store].run(&["HLEN", ENDED]), "2", "a mark under each change");
    }
    stage.run("undo checkout").code(1).err("there is no override of checkout to undo");
    stage.run("update --resume").code(2).err("nothing to resume");
    // The flag can be overridden again, from the beginning.
    stage.run(OFF).code(0).out("v42 -> v43");
}

#[test]
fn a_change_is_named_by_its_last_digits() {
    let stage = Stage::with_stores(1);
    let ran = stage.run("update -p shop -e production -f checkout -f refunds -s off --json").code(0);
    let id = serde_json::from_str::<Value>(&ran.stdout).unwrap()["changes"][0]["id"].as_str().unwrap().to_owned();
    stage.run(&format!("undo {}", &id[id.len() - 1..])).code(1).err("there is no override");
    stage.run(&format!("undo {}", &id[id.len() - 4..])).code(0).out("2 flags are as LaunchDarkly last sent them");
    stage.has(0, "checkout", 42, true);
    stage.has(0, "refunds", 5, true);
}

#[test]
fn a_colleagues_change_needs_consent() {
    let stage = Stage::with_stores(1);
    stage.rc(OFF).env("RC_ACTOR", "anna").args(["--incident", "INC-4821"]).run().code(0);
    let ran = stage.rc("undo checkout").env("RC_ACTOR", "bob").run().code(3);
    ran.err("this is anna's change").err("INC-4821").err("Nothing was undone");
    stage.has(0, "checkout", 43, false);
    stage.rc("undo checkout --yes").env("RC_ACTOR", "bob").run().code(0);
    stage.has(0, "checkout", 42, true);
}

#[test]
fn alone_it_lists_and_does_nothing_unasked() {
    let stage = Stage::with_stores(1);
    stage.run("undo").code(1).err("there is no override to undo");
    stage.run(OFF).code(0);
    stage.run("undo").code(3).err("shop/production").err("checkout").err("rc undo FLAG");
    stage.has(0, "checkout", 43, false);
}

#[test]
fn after_a_wipe_only_the_override_ends() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    fill(&stage.servers[0], PREFIX, &flags());
    stage.run("undo checkout").code(0).out("LaunchDarkly's own record stood there already: on");
    stage.has(0, "checkout", 42, true);
    assert_eq!(stage.override_(0, "checkout"), Value::Null);
}

/// What LaunchDarkly has is undone in LaunchDarkly, also where only the mark of it is left.
#[test]
fn after_a_replay_it_is_refused() {
    let stage = Stage::with_stores(1);
    let ran = stage.run(&format!("{OFF} --json")).code(0);
    let id = serde_json::from_str::<Value>(&ran.stdout).unwrap()["changes"][0]["id"].as_str().unwrap().to_owned();
    let mut own = stage.override_(0, "checkout");
    own["state"] = serde_json::json!({"is": "replayed", "version": 43});
    stage.servers[0].run(&["HSET", OVERRIDES, "checkout", &own.to_string()]);
    stage.run("undo checkout").code(3).err("LaunchDarkly has it (v43)");
    let mark = serde_json::json!({"format": 1, "flag": "checkout", "ending": "settled", "version": 43,
        "actor": {"user": "bob", "host": "b"}, "at": "2026-11-23T00:00:00Z", "revision": 1});
    stage.servers[0].run(&["HDEL", OVERRIDES, "checkout"]);
    stage.servers[0].run(&["HSET", ENDED, &format!("{id}/checkout"), &mark.to_string()]);
    stage.run("undo checkout").code(3).err("LaunchDarkly has it (v43)");
    stage.has(0, "checkout", 43, false);
    // Nor is it resumed: the mark would hide what is written.
    stage.run(&format!("update --resume {id}")).code(3).err("has ended for checkout: settled by bob");
}

#[test]
fn a_dead_host_is_undone_later() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    stage.servers[1].freeze();
    stage.run("undo checkout --timeout 300ms").code(5).out("NOT UNDONE in us-1");
    stage.has(0, "checkout", 42, true);
    stage.servers[1].thaw();
    stage.has(1, "checkout", 43, false);
    stage.run("undo checkout").code(0);
    stage.has(1, "checkout", 42, true);
}

/// Without rights to our own keys no override is known; the playback tells what stood there before.
/// The file of an undo that a dead host has kept open tells of the way back. It is not to be walked again: that would lead
/// to what was undone.
#[test]
fn an_undo_is_never_undone_by_another_one() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    stage.servers[1].freeze();
    for code in [5, 7] {
        stage.run("undo checkout --timeout 300ms").code(code);
        assert_eq!(stage.record(0, "checkout"), record("checkout", 42, true), "as LaunchDarkly sent it");
    }
    stage.servers[1].thaw();
    stage.run("undo checkout").code(0);
    assert_eq!(stage.record(0, "checkout"), record("checkout", 42, true), "as LaunchDarkly sent it");
    stage.has(1, "checkout", 42, true);
}

#[test]
fn without_our_own_keys_the_playback_tells() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    stage.run("update -p shop -e production -f checkout -s on").code(0);
    stage.servers[0].run(&["DEL", OVERRIDES]);
    stage.run("undo checkout").code(0).out("DONE");
    assert_eq!(stage.record(0, "checkout"), record("checkout", 42, true));
    // What is not ours is left alone; whose it is, LaunchDarkly's or a colleague's, nothing tells.
    stage.run("update -p shop -e production -f refunds -s off").code(0);
    stage.servers[0].run(&["DEL", OVERRIDES]);
    stage.servers[0].run(&["HSET", FEATURES, "refunds", &record("refunds", 9, true)]);
    stage.run("undo refunds").code(5).out("NOT SURE");
    stage.has(0, "refunds", 9, true);
}

/// A prefix that two environments were given: the other one's override is nobody's to overwrite.
#[test]
fn another_environments_override_is_left_alone() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    let ran = stage.run(&format!("update -p shop -e staging -f checkout -s on --prefix {PREFIX}")).code(3);
    ran.err("belongs to another flag or environment");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.override_(0, "checkout")["environment"], "shop/production");
}

/// Found by random outages: the overrides of a store were evicted, and a colleague's edit stood there that only his own
/// playback knows. It was said to be LaunchDarkly's record.
#[test]
fn where_nothing_tells_whose_record_stands_there_it_is_not_called_done() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    let others = tempfile::tempdir().unwrap();
    std::fs::copy(stage.home.path().join(".env"), others.path().join(".env")).unwrap();
    crate::support::rc::Rc::new()
        .home(others.path())
        .line("update -p shop -e production -f checkout -s on")
        .run()
        .code(0);
    stage.servers[0].run(&["HDEL", OVERRIDES, "checkout"]);
    let ran = stage.run("undo checkout --json").code(5);
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["flags"][0]["targets"][0]["outcome"], "not-known");
    stage.has(0, "checkout", 44, true);
}

/// Found by random outages: an edit was made on a colleague's override, and both were evicted. His record was put back, and
/// called LaunchDarkly's.
#[test]
fn what_stood_under_a_colleagues_override_is_put_back() {
    let stage = Stage::with_stores(1);
    let others = tempfile::tempdir().unwrap();
    std::fs::copy(stage.home.path().join(".env"), others.path().join(".env")).unwrap();
    let colleague = |line: &str| crate::support::rc::Rc::new().home(others.path()).line(line).run();
    colleague("update -p shop -e production -f checkout -s off").code(0);
    stage.run("update -p shop -e production -f checkout -s on").code(0);
    stage.run(OFF).code(0);
    stage.has(0, "checkout", 45, false);
    stage.servers[0].run(&["HDEL", OVERRIDES, "checkout"]);
    stage.run("undo checkout").code(0).out("DONE: checkout is as LaunchDarkly last sent it");
    stage.has(0, "checkout", 42, true);
    // The colleague's own record is nobody's, where it stands without its override.
    colleague("undo checkout").code(0);
    colleague("update -p shop -e production -f checkout -s off").code(0);
    let his = stage.servers[0].run(&["HGET", "ld:shop:production:features", "checkout"]);
    stage.run("update -p shop -e production -f checkout -s on").code(0);
    stage.servers[0].run(&["HDEL", OVERRIDES, "checkout"]);
    stage.servers[0].run(&["HSET", "ld:shop:production:features", "checkout", his.trim_end()]);
    stage.run("undo checkout").code(5).out("NOT SURE");
}

/// Found by random outages: a store had lost an override and missed its undoing, and a colleague's next edit was made there
/// on what it had left behind. Taking that back left the flag off in this store alone, and was called done.
#[test]
fn where_a_store_stays_as_the_override_had_it_that_is_said() {
    let stage = Stage::with_stores(2);
    for state in ["off", "on", "off"] {
        stage.run(&format!("update -p shop -e production -f checkout -s {state}")).code(0);
    }
    stage.servers[1].run(&["HDEL", OVERRIDES, "checkout"]);
    stage.servers[1].freeze();
    stage.run("undo checkout --timeout 300ms").code(5);
    stage.servers[1].thaw();
    let others = tempfile::tempdir().unwrap();
    std::fs::copy(stage.home.path().join(".env"), others.path().join(".env")).unwrap();
    let colleague = |line: &str| crate::support::rc::Rc::new().home(others.path()).line(line).run();
    colleague("update -p shop -e production -f checkout -s off").code(0);
    stage.has(1, "checkout", 46, false);
    let ran = colleague("undo checkout --yes").code(5);
    ran.out("UNDONE, AND STORES DIFFER").out("us-1 had it so before the override").nowhere("DONE:");
    stage.has(0, "checkout", 42, true);
    stage.has(1, "checkout", 45, false);
    assert_eq!(stage.servers[1].run(&["HLEN", OVERRIDES]), "0", "nothing of it is in force");
}
