//! What a Redis does not let us do.

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

const ALL: &str = "ACL SETUSER rc on >hunter2 ~ld:shop:production:features ~ld:shop:production:$inited \
                   ~ld:shop:production:relaycommander:* +exists +hlen +hmget +hgetall +hscan +hset +hdel +xadd \
                   +xrevrange +evalsha +eval +watch +unwatch +multi +exec +discard +scan +info +select +acl|whoami";

fn as_user(stage: &Stage, line: &str) -> Rc {
    stage.rc(line).env("RC_REDIS_USER", "rc").env("RC_REDIS_PASSWORD", "hunter2")
}

#[track_caller]
fn stage_with(rule: &str) -> Stage {
    let stage = Stage::with_stores(2);
    for server in &stage.servers {
        server.line(rule);
    }
    stage
}

#[track_caller]
fn off(stage: &Stage) -> Ran {
    as_user(stage, OFF).run().nowhere("hunter2")
}

/// The rule that the README names is enough.
#[test]
fn the_rights_that_are_enough() {
    let stage = stage_with(ALL);
    off(&stage).code(0).out("DONE: checkout is off in 2 of 2 stores").nowhere("forbidden");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.override_(1, "checkout")["revision"], 1);
}

#[test]
fn without_our_own_keys_the_record_alone_is_written() {
    let stage = stage_with(&ALL.replace("~ld:shop:production:relaycommander:*", ""));
    off(&stage).code(0).out("DONE: checkout is off in 2 of 2 stores").out("colleagues and guards will not see it");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.servers[0].line("KEYS *relaycommander*"), "");
    off(&stage).code(0).out("already");
    assert_eq!(stage.playback_files().len(), 1);
}

#[test]
fn without_scripts_it_watches() {
    let stage = stage_with(&ALL.replace("+evalsha +eval ", ""));
    off(&stage).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(0, "checkout", 43, false);
    assert_eq!(stage.override_(0, "checkout")["revision"], 1);
}

#[test]
fn without_the_hash_the_rule_is_named() {
    let stage = stage_with(&ALL.replace("~ld:shop:production:features", "~elsewhere"));
    let ran = as_user(&stage, &format!("{OFF} --prefix {PREFIX}")).run().code(4).nowhere("hunter2");
    println!("{ran}");
    assert!(format!("{ran}").contains("ACL SETUSER rc"), "{ran}");
    stage.has(0, "checkout", 42, true);
    // Reading is allowed, writing is not.
    let stage = stage_with(&ALL.replace(" ~ld:shop:production:features", " %R~ld:shop:production:features"));
    let ran = off(&stage).code(4);
    assert!(format!("{ran}").contains("ACL SETUSER rc"), "{ran}");
    stage.has(0, "checkout", 42, true);
}

#[test]
fn a_user_who_may_not_look_around() {
    let stage = stage_with(&ALL.replace("+scan ", ""));
    let ran = off(&stage).code(4);
    println!("{ran}");
    as_user(&stage, &format!("{OFF} --prefix {PREFIX}")).run().code(0).out("DONE");
}

#[test]
fn a_wrong_password() {
    let stage = stage_with(ALL);
    let ran = stage.rc(OFF).env("RC_REDIS_USER", "rc").env("RC_REDIS_PASSWORD", "hunter3").run().code(4);
    ran.nowhere("hunter3").err("RC_REDIS_PASSWORD");
    stage.is_untouched();
    // On one host only.
    stage.servers[1].line("ACL SETUSER rc resetpass >other");
    off(&stage).code(5).out("Not written: us-1.").out("RC_REDIS_PASSWORD");
    stage.has(0, "checkout", 43, false);
}

#[test]
fn a_replica_names_its_primary() {
    let primary = RedisServer::with().tcp().start();
    super::stage::fill(&primary, PREFIX, &super::stage::flags());
    let replica = RedisServer::with().replica_of(primary.port()).start();
    replica.wait_for(&format!("HGET {FEATURES} checkout"), "42");
    let stage = Stage::as_they_are(vec![replica]);
    let ran = stage.run(OFF).code(3);
    let address = format!("127.0.0.1:{}", primary.port());
    assert!(format!("{ran}").contains(&address), "{ran}");
    println!("{ran}");
    assert!(primary.run(&["HGET", FEATURES, "checkout"]).contains("\"version\":42"));
}

#[test]
fn a_store_without_memory() {
    let stage = Stage::with_stores(2);
    stage.servers[1].line("CONFIG SET maxmemory 1");
    let ran = stage.run(OFF).code(5).out("Not written: us-1.");
    ran.out("us-1");
    stage.has(0, "checkout", 43, false);
    stage.has(1, "checkout", 42, true);
    assert_eq!(stage.servers[1].line("KEYS *relaycommander*"), "");
    stage.servers[1].line("CONFIG SET maxmemory 0");
    stage.run("update --resume").code(0).out("DONE: checkout is off in 2 of 2 stores");
}
