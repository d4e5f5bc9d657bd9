//! Settings and secrets: what is wrong ends before any store is asked, and nothing secret is ever printed.

use std::fs;

use super::stage::OFF;
use super::stage::Stage;
use super::stage::home;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

#[test]
fn no_store_configured() {
    let ran = Rc::new().line(OFF).run().code(2).err("REDIS_HOSTS");
    ran.nowhere("panicked");
    let home = home("LD_API_KEY=api-hunter2\n");
    Rc::new().home(home.path()).line(OFF).run().code(2).err("REDIS_HOSTS").nowhere("hunter2");
    assert!(!home.path().join("playback").exists());
}

#[test]
fn unknown_settings() {
    let stage = Stage::with_stores(1);
    let dot_env = stage.home.path().join(".env");
    let text = fs::read_to_string(&dot_env).unwrap();
    fs::write(&dot_env, format!("{text}RC_PLAYBAK=here\n")).unwrap();
    stage.run(OFF).code(2).err("RC_PLAYBAK; did you mean RC_PLAYBACK?");
    stage.is_untouched();
}

/// Whatever happens to it, a password is not printed, and not written down.
#[test]
fn passwords_are_never_shown() {
    let mut server = RedisServer::with().tcp().password("hunter2").start();
    super::stage::fill(&server, super::stage::PREFIX, &super::stage::flags());
    let port = server.port();
    let dot_env = format!("REDIS_HOSTS=eu-1=redis://:hunter2@127.0.0.1:{port}\nLD_API_KEY=api-hunter2\n");
    let folder = home(&dot_env);
    let rc = |line: &str| Rc::new().home(folder.path()).line(line);
    rc(&format!("-v {OFF}")).run().code(0).nowhere("hunter2");
    rc(&format!("-v {OFF} --json --record")).run().code(0).nowhere("hunter2");
    for file in super::stage::playback_files(folder.path()) {
        assert!(!fs::read_to_string(file).unwrap().contains("hunter2"));
    }
    let store = server.line("HGETALL ld:shop:production:relaycommander:overrides");
    assert!(!store.contains("hunter2"), "{store}");
    server.kill();
    rc(&format!("-v {OFF}")).run().code(7).nowhere("hunter2");
    let wrong = home(&format!("REDIS_HOSTS=eu-1=redis://:hunter3@127.0.0.1:{port}\n"));
    server.restart();
    let ran = Rc::new().home(wrong.path()).line(&format!("-v {OFF}")).run().code(4).nowhere("hunter");
    ran.err("eu-1").err("RC_REDIS_PASSWORD");
}

/// Names and reasons in a store are anybody's.
#[test]
fn control_characters_are_made_harmless() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    let evil = r#"an\u001b[2J\u202ena"#;
    for server in &stage.servers {
        let own = server.run(&["HGET", super::stage::OVERRIDES, "checkout"]);
        assert!(own.contains("\"anna\""), "{own}");
        let own = own.replace("\"anna\"", &format!("\"{evil}\""));
        server.run(&["HSET", super::stage::OVERRIDES, "checkout", &own]);
    }
    fs::remove_dir_all(stage.playback_folder()).unwrap();
    let ran = stage.run(OFF).code(0).nowhere("\u{1b}").nowhere("\u{202e}");
    ran.out("an\\u{1b}[2J");
    // A record that is no JSON: its text is not shown as it is, either.
    for server in &stage.servers {
        server.run(&["HSET", super::stage::FEATURES, "refunds", "{\"on\":\"\u{1b}[31m\"}"]);
    }
    stage.run("update -p shop -e production -f refunds -s off").code(3).nowhere("\u{1b}");
}

#[test]
fn an_override_that_cannot_be_read() {
    let stage = Stage::with_stores(2);
    stage.servers[1].run(&["HSET", super::stage::OVERRIDES, "checkout", "{\"format\":99,\"magic\":true}"]);
    let ran = stage.run(OFF).code(5).out("us-1").out("the override there cannot be read").out("newer");
    ran.out("Not written: us-1.");
    stage.has(0, "checkout", 43, false);
    stage.has(1, "checkout", 42, true);
}
