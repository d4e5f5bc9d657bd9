//! Two operators on two machines, and LaunchDarkly's relay between them: nothing anybody did is overwritten unknowingly.

use std::fs;

use serde_json::json;

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::Started;
use super::stage::fill;
use super::stage::flags;
use super::stage::go_on;
use super::stage::hold_writes;
use super::stage::home;
use super::stage::record;
use super::stage::wait_for_held;
use crate::support::rc::Rc;

/// The other machine.
fn bobs(stage: &Stage) -> tempfile::TempDir {
    home(&fs::read_to_string(stage.home.path().join(".env")).unwrap())
}

fn as_bob(folder: &tempfile::TempDir, line: &str) -> Rc {
    Rc::new().home(folder.path()).env("RC_ACTOR", "bob").line(line)
}

/// Bob has everybody get `false` in another way than by turning the flag off.
fn refused_to_everybody(bob: &tempfile::TempDir) -> Started {
    let edit = r#"{"flag":"checkout","instructions":[{"kind":"updateFallthroughVariationOrRollout","variation":1}]}"#;
    fs::write(bob.path().join("edit"), edit).unwrap();
    Started::rc(&as_bob(bob, &format!("update -p shop -e production --from edit {SLOWLY}")), bob.path())
}

const SLOWLY: &str = "--timeout 60s";

/// Both have read the same record; bob's write comes first.
#[test]
fn a_colleagues_update_in_between() {
    let stage = Stage::with_stores(2);
    let bob = bobs(&stage);
    hold_writes(&stage.servers[1]);
    let his = refused_to_everybody(&bob);
    wait_for_held(&stage.servers[1], 1);
    // The first store has his already.
    let before_hers = stage.override_(0, "checkout");
    assert_eq!(before_hers["motive"]["actor"]["user"], "bob");
    // Anna takes that back where she saw it, but in the second store she has not seen it.
    let hers = Started::rc(&stage.rc(&format!("{OFF} {SLOWLY}")), stage.home.path());
    wait_for_held(&stage.servers[1], 2);
    go_on(&stage.servers[1]);
    let (code, printed) = his.finished();
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = hers.finished();
    println!("{printed}");
    // Anna knew his change from the first store, so hers goes on top of it in both.
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(stage.override_(1, "checkout")["revision"], 2);
}

/// Neither saw the other's: the later one stops there, names the earlier, and exits with 3 where nothing was written.
#[test]
fn a_colleagues_update_that_nobody_saw() {
    let stage = Stage::with_stores(1);
    let bob = bobs(&stage);
    hold_writes(&stage.servers[0]);
    let his = refused_to_everybody(&bob);
    wait_for_held(&stage.servers[0], 1);
    let hers = Started::rc(&stage.rc(&format!("{OFF} {SLOWLY}")), stage.home.path());
    wait_for_held(&stage.servers[0], 2);
    go_on(&stage.servers[0]);
    assert_eq!(his.finished().0, Some(0));
    let (code, printed) = hers.finished();
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("bob@") && printed.contains("changed it in between"), "{printed}");
    assert!(printed.contains("NOT DONE"), "{printed}");
    assert_eq!(stage.override_(0, "checkout")["motive"]["actor"]["user"], "bob");
    // Now she has seen it, and the same command again is her decision.
    stage.run(OFF).code(0).out("DONE: checkout is off in 1 of 1 stores");
    let own = stage.override_(0, "checkout");
    assert_eq!((&own["revision"], &own["motive"]["actor"]["user"]), (&json!(2), &json!("anna")));
    stage.playback();
}

/// The same with a store where hers is in: partly done.
#[test]
fn a_colleagues_update_on_one_of_two() {
    let stage = Stage::with_stores(2);
    let bob = bobs(&stage);
    // Bob reaches only the second store.
    let hosts = format!("REDIS_HOSTS=us-1={}\n", stage.servers[1].url());
    fs::write(bob.path().join(".env"), hosts).unwrap();
    hold_writes(&stage.servers[1]);
    let his = refused_to_everybody(&bob);
    wait_for_held(&stage.servers[1], 1);
    let hers = Started::rc(&stage.rc(&format!("{OFF} {SLOWLY}")), stage.home.path());
    wait_for_held(&stage.servers[1], 2);
    go_on(&stage.servers[1]);
    assert_eq!(his.finished().0, Some(0));
    let (code, printed) = hers.finished();
    assert_eq!(code, Some(5), "{printed}");
    assert!(printed.contains("us-1") && printed.contains("bob@"), "{printed}");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.override_(1, "checkout")["motive"]["actor"]["user"], "bob");
    let file = stage.only_file();
    assert!(file.contains("refused") && file.contains("bob@"), "{file}");
    stage.run(OFF).code(0);
    stage.has(1, "checkout", 44, false);
    assert_eq!(stage.override_(0, "checkout")["changes"], stage.override_(1, "checkout")["changes"]);
}

/// LaunchDarkly's own change in between, as a relay writes it: read again, noted, decided again, written.
#[test]
fn launchdarklys_change_in_between() {
    let stage = Stage::with_stores(1);
    let server = &stage.servers[0];
    hold_writes(server);
    let newer = super::stage::changed(&record("checkout", 57, true), "\"salt\":\"5\"", "\"salt\":\"new\"");
    // One step, as the relay's MULTI is; in a script, since a held server stops a MULTI at its first command already.
    let reset = format!(
        "EVAL \"redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'checkout', ARGV[1]) redis.call('SET', KEYS[2], '')\" 2 \
         {FEATURES} {PREFIX}:$inited '{newer}'\n"
    );
    let relay = Started::cli(server, &reset);
    wait_for_held(server, 1);
    let hers = Started::rc(&stage.rc(&format!("{OFF} {SLOWLY}")), stage.home.path());
    wait_for_held(server, 2);
    go_on(server);
    relay.finished();
    let (code, printed) = hers.finished();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("v57 -> v58"), "{printed}");
    let stands = stage.record(0, "checkout");
    assert_eq!(stands, super::stage::changed(&record("checkout", 58, false), "\"salt\":\"5\"", "\"salt\":\"new\""));
    assert!(stage.only_file().contains("re-read"), "{}", stage.only_file());
    stage.playback();
}

/// LaunchDarkly deletes the flag in between.
#[test]
fn deleted_in_between() {
    let stage = Stage::with_stores(1);
    let server = &stage.servers[0];
    hold_writes(server);
    let tombstone = r#"{"key":"checkout","version":43,"deleted":true}"#;
    let relay = Started::cli(server, &format!("HSET {FEATURES} checkout '{tombstone}'\n"));
    wait_for_held(server, 1);
    let hers = Started::rc(&stage.rc(&format!("{OFF} {SLOWLY}")), stage.home.path());
    wait_for_held(server, 2);
    go_on(server);
    relay.finished();
    let (code, printed) = hers.finished();
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("deleted"), "{printed}");
    assert_eq!(stage.record(0, "checkout"), tombstone);
    assert_eq!(server.line("KEYS *relaycommander*"), "");
}

/// One operator begins, a host is dead, another one finishes from his own machine: the same change, adopted there.
#[test]
fn a_colleague_finishes() {
    let mut stage = Stage::with_stores(2);
    stage.servers[1].kill();
    stage.run(OFF).code(5);
    let digits = stage.digits();
    stage.servers[1].restart();
    fill(&stage.servers[1], PREFIX, &flags());
    let bob = bobs(&stage);
    as_bob(&bob, OFF).run().code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.override_(0, "checkout"), stage.override_(1, "checkout"));
    assert_eq!(stage.override_(1, "checkout")["motive"]["actor"]["user"], "anna");
    let his = super::stage::playback_files(bob.path());
    assert_eq!(his.len(), 1);
    assert!(his[0].display().to_string().contains(&digits), "{his:?}");
    // Bob asks for something else: his own change, on top of hers.
    as_bob(&bob, "update -p shop -e production -f checkout -s on").run().code(0);
    stage.has(0, "checkout", 44, true);
    assert_eq!(stage.override_(0, "checkout")["changes"].as_array().unwrap().len(), 2);
}

/// A relay heard from LaunchDarkly and put its own records back: our override is still there, so it is put in force.
#[test]
fn reset_by_a_relay() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    fill(&stage.servers[1], PREFIX, &flags());
    stage.has(1, "checkout", 42, true);
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.playback_files().len(), 1, "the same change");
    // With a change of LaunchDarkly's own, which stays.
    let newer = super::stage::changed(&record("checkout", 50, true), "\"salt\":\"5\"", "\"salt\":\"new\"");
    for server in &stage.servers {
        fill(server, PREFIX, &[("checkout", newer.clone())]);
    }
    stage.run(OFF).code(0).out("DONE");
    for store in 0..2 {
        let stands = stage.record(store, "checkout");
        assert!(stands.contains("\"salt\":\"new\"") && stands.contains("\"on\":false"), "{stands}");
    }
    stage.playback();
}

/// Everything is gone, ours included, and a relay fills it anew.
#[test]
fn flushed() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    stage.servers[0].line("FLUSHALL");
    fill(&stage.servers[0], PREFIX, &flags());
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.override_(0, "checkout"), stage.override_(1, "checkout"));
    assert_eq!(stage.playback_files().len(), 1);
    // All of them at once: nobody knows of the override but the playback, and the command does what it says.
    for server in &stage.servers {
        server.line("FLUSHALL");
        fill(server, PREFIX, &flags());
    }
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(1, "checkout", 43, false);
    stage.playback();
}
