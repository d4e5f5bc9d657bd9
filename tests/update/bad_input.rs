//! The table "What bad input gets" of the issue, row by row, as far as it concerns update.

use std::time::Duration;

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::changed;
use super::stage::fill;
use super::stage::flags;
use super::stage::record;
use crate::support::redis::RedisServer;

#[test]
fn no_such_flag() {
    let stage = Stage::with_stores(2);
    let ran = stage.run("update -p shop -e production -f checkuot -s off").code(1);
    ran.err("there is no flag checkuot in shop/production").err("Did you mean checkout?").err("Nothing was written");
    let ran = stage.run("update -p shop -e production -f something-else-altogether -s off").code(1);
    ran.err("3 flags there. rc flags lists them");
    stage.is_untouched();
}

#[test]
fn a_flag_missing_on_one_host_only() {
    let stage = Stage::with_stores(3);
    stage.servers[1].run(&["HDEL", FEATURES, "checkout"]);
    let ran = stage.run(OFF).code(5);
    ran.out("us-1").out("there is no such flag there").out("Not written: us-1.");
    stage.has(0, "checkout", 43, false);
    stage.has(2, "checkout", 43, false);
    assert_eq!(stage.record(1, "checkout"), "");
    assert_eq!(stage.override_(1, "checkout"), serde_json::Value::Null);
}

#[test]
fn a_flag_missing_in_a_filter_copy() {
    let stage = Stage::with_stores(1);
    let web = format!("{PREFIX}/web");
    let mobile = format!("{PREFIX}/mobile");
    fill(&stage.servers[0], &web, &flags());
    fill(&stage.servers[0], &mobile, &flags()[1..]);
    let ran = stage.run(OFF).code(0).out("ld:shop:production/mobile").out("its filter leaves the flag out");
    ran.out("DONE: checkout is off");
    stage.has(0, "checkout", 43, false);
    let copy = stage.servers[0].run(&["HGET", &format!("{web}:features"), "checkout"]);
    assert_eq!(copy, record("checkout", 43, false));
    assert_eq!(stage.servers[0].run(&["HGET", &format!("{mobile}:features"), "checkout"]), "");
}

#[test]
fn a_state_that_is_neither() {
    let stage = Stage::with_stores(1);
    stage.run("update -p shop -e production -f checkout -s maybe").code(2).err("maybe");
    stage.run("update -p shop -e production -f checkout").code(2);
    stage.run("update -p shop -e production -s off").code(2).err("--flag");
    stage.run("update -p shop -e production -f checkout -f checkout -s off").code(2).err("given twice");
    stage.run("update -p shop -e production -f ../checkout -s off").code(2);
    stage.run("update -f checkout -s off").code(2).err("RC_PROJECT");
    stage.is_untouched();
}

#[test]
fn any_case_of_the_state() {
    let stage = Stage::with_stores(1);
    stage.run("update -p shop -e production -f checkout -s Off").code(0);
    stage.has(0, "checkout", 43, false);
    stage.run("update-redis -p shop -e production -f checkout -s ON").code(0);
    stage.has(0, "checkout", 44, true);
}

#[test]
fn a_flag_that_is_so_already() {
    let stage = Stage::with_stores(2);
    let on = "update -p shop -e production -f checkout -s on";
    let ran = stage.run(on).code(0).out("checkout is on already, in every store. Nothing was written.");
    ran.out("LaunchDarkly").out("will not be told").out("--record");
    stage.is_untouched();
    // Where an override makes it so, LaunchDarkly will be told of that one.
    stage.run(OFF).code(0);
    let before = stage.record(0, "checkout");
    let ran = stage.run(OFF).code(0).out("already").out("by anna's override").nowhere("will not be told");
    ran.nowhere("--record");
    assert_eq!(stage.record(0, "checkout"), before);
    assert_eq!(stage.playback_files().len(), 1);
}

#[test]
fn a_tombstone() {
    let stage = Stage::with_stores(2);
    let tombstone = r#"{"key":"checkout","version":50,"deleted":true}"#;
    for server in &stage.servers {
        server.run(&["HSET", FEATURES, "checkout", tombstone]);
    }
    let ran = stage.run(OFF).code(3).err("is deleted").err("v50").err("Only LaunchDarkly can bring the flag back");
    ran.err("Nothing was written.");
    assert_eq!(stage.record(0, "checkout"), tombstone);
    stage.is_untouched();
}

#[test]
fn no_copy_that_decodes() {
    let stage = Stage::with_stores(2);
    let old_tools = changed(&record("checkout", 43, true), "\"on\":true", "\"on\":\"off\"");
    for server in &stage.servers {
        server.run(&["HSET", FEATURES, "checkout", &old_tools]);
        server.run(&["HSET", FEATURES, "refunds", "{"]);
    }
    let ran = stage.run(OFF).code(3).err("eu-1").err("\"on\" is the text \"off\", not true or false");
    let ran = ran.err("answer 500 for ALL flags of shop/production").err("refunds").err("--repair");
    ran.nowhere("checkout is off in");
    assert_eq!(stage.record(1, "checkout"), old_tools);
    stage.is_untouched();
    // A record that is no JSON at all cannot be mended.
    let ran = stage.run("update -p shop -e production -f refunds -s off --repair").code(3);
    ran.err("cannot be mended");
    stage.is_untouched();
}

#[test]
fn some_copies_do_not_decode_and_are_repaired() {
    let stage = Stage::with_stores(3);
    let old_tools = changed(&record("checkout", 42, true), "\"on\":true", "\"on\":\"off\"");
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &old_tools]);
    let ran = stage.run(OFF).code(5).out("\"on\" is the text \"off\", not true or false");
    let ran = ran.out("answer 500 for ALL flags").out("Not written: us-1.");
    let digits = stage.digits();
    ran.out(&format!("rc update --resume {digits} --repair"));
    stage.has(0, "checkout", 43, false);
    stage.has(2, "checkout", 43, false);
    assert_eq!(stage.record(1, "checkout"), old_tools);
    stage.run(&format!("update --resume {digits} --repair")).code(0).out("DONE: checkout is off in 3 of 3 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.record(1, "checkout"), stage.record(0, "checkout"));
    assert_eq!(stage.override_(1, "checkout")["changes"], stage.override_(0, "checkout")["changes"]);
    assert_eq!(stage.playback_files().len(), 1);
}

/// Of a black hole every wait costs its own deadline, once.
#[test]
fn one_of_three_hosts_down() {
    let mut stage = Stage::of((0..3).map(|_| RedisServer::with().tcp().start()).collect());
    stage.servers[1].freeze();
    let ran = stage.run(&format!("{OFF} --timeout 700ms")).code(5);
    assert!(ran.took < Duration::from_millis(3500), "{:?} {ran}", ran.took);
    let ran = ran.out("us-1").out("did not answer within 0.7 s").out("Not written: us-1.");
    let digits = stage.digits();
    ran.out(&format!("rc update --resume {digits}"));
    stage.has(0, "checkout", 43, false);
    stage.has(2, "checkout", 43, false);
    stage.servers[1].thaw();
    // The same command again finishes it, under the same change.
    stage.run(OFF).code(0).out("DONE: checkout is off in 3 of 3 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.override_(0, "checkout"), stage.override_(1, "checkout"));
    assert_eq!(stage.digits(), digits);
    // And when all is done, there is nothing left to do.
    stage.run(OFF).code(0).out("already");
    stage.run("update --resume").code(2).err("nothing to resume");
    // A host that refuses connections, rather than keeping silent.
    stage.servers[2].kill();
    stage.run("update -p shop -e production -f refunds -s off").code(5).out("Not written: ap-1.");
    stage.servers[2].restart();
    fill(&stage.servers[2], PREFIX, &flags());
    // --resume finishes the newest that is not finished.
    stage.run("update --resume").code(0).out("DONE: refunds is off in 3 of 3 stores");
    stage.has(2, "refunds", 6, false);
    stage.playback();
}

#[test]
fn all_hosts_down() {
    let mut stage = Stage::with_stores(2);
    for server in &mut stage.servers {
        server.kill();
    }
    let ran = stage.run(OFF).code(7).nowhere("\nDONE");
    ran.out("NOT DONE: checkout was not written in eu-1 and us-1").err("no store answered");
    let lines = stage.only_file();
    assert!(lines.contains("\"refused\""), "{lines}");
    for (place, server) in stage.servers.iter_mut().enumerate() {
        server.restart();
        if place == 0 {
            server.line("PING");
        }
    }
    for server in &stage.servers {
        fill(server, PREFIX, &flags());
    }
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
}

/// A prefix that somebody named is no question, so the change is written down although nobody answers.
#[test]
fn all_hosts_down_and_the_prefix_named() {
    let stage = Stage::with_stores(2);
    for server in &stage.servers {
        server.freeze();
    }
    let ran = stage.run(&format!("{OFF} --prefix {PREFIX} --timeout 300ms")).code(7);
    ran.out("NOT DONE: ").nowhere("\nDONE");
    let lines = stage.only_file();
    assert!(lines.contains("\"refused\"") || lines.contains("\"unknown\""), "{lines}");
    for server in &stage.servers {
        server.thaw();
    }
    stage.run("update --resume").code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(0, "checkout", 43, false);
    stage.has(1, "checkout", 43, false);
    stage.run("update --resume").code(2).err("nothing to resume");
}

#[test]
fn a_store_that_is_not_filled() {
    let stage = Stage::with_stores(1);
    stage.servers[0].line("DEL ld:shop:production:$inited");
    let ran = stage.run(OFF).code(3);
    ran.out("no $inited there").out("relays take this store for empty").out("NOT DONE");
    stage.is_untouched();
    stage.servers[0].line("FLUSHALL");
    let ran = stage.run(OFF).code(3);
    ran.err("relay").err("empty");
    stage.is_untouched();
}

#[test]
fn one_store_that_is_not_filled() {
    let stage = Stage::with_stores(2);
    stage.servers[1].line("FLUSHALL");
    let ran = stage.run(OFF).code(5).out("us-1").out("no $inited there");
    ran.out("a relay that reaches LaunchDarkly fills it");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.servers[1].line("KEYS *"), "");
    // Filled by a relay, and so with the flag on: the same command again turns it off there.
    fill(&stage.servers[1], PREFIX, &flags());
    stage.run(OFF).code(0).out("DONE");
    stage.has(1, "checkout", 43, false);
}

#[test]
fn hosts_that_hold_different_content() {
    let stage = Stage::with_stores(2);
    // Another salt and another version serve the same when off.
    let other = changed(&record("checkout", 41, true), "\"salt\":\"5\"", "\"salt\":\"6\"");
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &other]);
    let ran = stage.run(OFF).code(0).out("us-1").out("differs").out("DONE");
    ran.out("v41 -> v42");
    let written = stage.record(1, "checkout");
    assert!(written.contains("\"salt\":\"6\"") && written.contains("\"on\":false"), "{written}");
    // Our own overrides are no difference.
    stage.run(OFF).code(0).nowhere("differ in what they serve");
}

#[test]
fn hosts_that_would_serve_different_things() {
    let stage = Stage::with_stores(2);
    let other = changed(&record("checkout", 42, true), "\"offVariation\":1", "\"offVariation\":0");
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &other]);
    let ran = stage.run(OFF).code(3).err("eu-1").err("everybody gets false").err("us-1").err("everybody gets true");
    ran.err("--despite-differences").err("--serve").err("Nothing was written.");
    stage.is_untouched();
    stage.run(&format!("{OFF} --despite-differences")).code(0).out("DONE");
    stage.has(0, "checkout", 43, false);
    stage.has(1, "checkout", 43, false);
}
