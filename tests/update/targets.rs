//! Which copies are edited, and how they are reached.

use std::fs;

use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::fill;
use super::stage::flags;
use super::stage::home;
use super::stage::record;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

fn toml(stage: &Stage, text: &str) {
    fs::write(stage.home.path().join("relaycommander.toml"), text).unwrap();
}

fn checkout(server: &RedisServer, prefix: &str) -> String {
    server.run(&["HGET", &format!("{prefix}:features"), "checkout"])
}

#[test]
fn the_only_prefix_there_is() {
    let stage = Stage::as_they_are(vec![RedisServer::start(), RedisServer::start()]);
    for server in &stage.servers {
        fill(server, "launchdarkly", &flags());
    }
    let ran = stage.run(OFF).code(0);
    ran.err("taking launchdarkly for shop/production: it is the only prefix there is");
    assert_eq!(checkout(&stage.servers[1], "launchdarkly"), record("checkout", 43, false));
}

#[test]
fn which_prefix_is_meant() {
    let stage = Stage::as_they_are(vec![RedisServer::start(), RedisServer::start()]);
    for server in &stage.servers {
        fill(server, "launchdarkly", &flags());
        fill(server, "launchdarkly-stg", &flags());
    }
    let ran = stage.run(OFF).code(2).err("which prefix is shop/production?").err("launchdarkly-stg").err("3 flags");
    ran.err("--prefix").err("relaycommander.toml").err("[environment.\"shop/production\"]");
    stage.is_untouched();
    stage.run(&format!("{OFF} --prefix launchdarkly")).code(0);
    assert_eq!(checkout(&stage.servers[0], "launchdarkly"), record("checkout", 43, false));
    assert_eq!(checkout(&stage.servers[0], "launchdarkly-stg"), record("checkout", 42, true));
    // For good.
    toml(&stage, "[environment.\"shop/production\"]\nprefix = \"launchdarkly-stg\"\n");
    stage.run(OFF).code(0);
    assert_eq!(checkout(&stage.servers[1], "launchdarkly-stg"), record("checkout", 43, false));
    // A prefix that names another project is not taken, even if it is the only one.
    let stage = Stage::as_they_are(vec![RedisServer::start()]);
    fill(&stage.servers[0], "ld:bank:production", &flags());
    stage.run(OFF).code(2).err("ld:bank:production");
    stage.is_untouched();
}

#[test]
fn another_prefix_in_each_store() {
    let stage = Stage::as_they_are(vec![RedisServer::start(), RedisServer::start()]);
    fill(&stage.servers[0], "one", &flags());
    fill(&stage.servers[1], "two", &flags());
    toml(&stage, "[environment.\"shop/production\"]\nprefixes = { eu-1 = \"one\", us-1 = \"two\" }\n");
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    assert_eq!(checkout(&stage.servers[0], "one"), record("checkout", 43, false));
    assert_eq!(checkout(&stage.servers[1], "two"), record("checkout", 43, false));
}

#[test]
fn a_critical_environment_is_asked_about() {
    let stage = Stage::with_stores(1);
    toml(&stage, "[environment.\"shop/production\"]\ncritical = true\n");
    let ran = stage.run(OFF).code(3).err("shop/production is critical").err("--yes");
    ran.err("nothing was written");
    stage.is_untouched();
    stage.run(&format!("{OFF} --dry-run")).code(0);
    stage.run(&format!("{OFF} --yes")).code(0).out("DONE");
}

/// A prefix that has nothing under it is an empty store, not one that is filled.
#[test]
fn a_prefix_that_is_not_there() {
    let stage = Stage::with_stores(1);
    stage.run(&format!("{OFF} --prefix somewhere-else")).code(3).out("no $inited there (0 flags)");
    stage.is_untouched();
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let server = RedisServer::with().tls().start();
    fill(&server, PREFIX, &flags());
    let folder = home(&format!("REDIS_HOSTS={}\n", server.url()));
    let authority = folder.path().join("authority.pem");
    fs::write(&authority, server.authority_pem()).unwrap();
    let rc = || Rc::new().home(folder.path()).line(OFF);
    // Not trusted as it is.
    rc().run().code(4).nowhere("DONE");
    assert!(!folder.path().join("playback").exists());
    rc().args(["--redis-ca", "authority.pem"]).run().code(0).out("DONE: checkout is off in 1 of 1 store");
    rc().env("SSL_CERT_FILE", authority.as_os_str()).run().code(0).out("already");
    rc().args(["--redis-ca", "nowhere.pem"]).run().code(2).err("nowhere.pem");
}

/// The way there, as `REDIS_HOSTS` may name it: host and port, URL, socket, database.
#[test]
fn addresses() {
    let server = RedisServer::with().tcp().start();
    fill(&server, PREFIX, &flags());
    let port = server.port();
    for address in [format!("127.0.0.1:{port}"), format!("redis://localhost:{port}/0")] {
        let folder = home(&format!("REDIS_HOSTS={address}\n"));
        Rc::new().home(folder.path()).line(OFF).run().code(0).out("checkout is off");
    }
    let folder = home(&format!("REDIS_HOSTS=redis://localhost:{port}/3\n"));
    Rc::new().home(folder.path()).line(OFF).run().code(3).err("holds any flags");
    let folder = home("REDIS_HOSTS=no-such-host.invalid\n");
    let ran = Rc::new().home(folder.path()).line(OFF).run().code(7);
    ran.out("no-such-host.invalid:6379 could not be found").err("no store answered");
}
