//! Rehearsals on a scratch prefix of somebody's own Redis: nothing else is touched, nothing stays, no data is taken for
//! theirs.

use std::fs;
use std::path::Path;

use super::STEPS;
use super::Started;
use super::drill;
use super::dumped::dump;
use super::dumped::fill;
use super::nothing_is_left;
use super::wait_until;
use super::whole::all_held;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;

/// A rehearsal on this Redis, on a machine that has none of its own.
fn on(server: &RedisServer, temporary: &Path) -> Rc {
    drill(temporary, "/nonexistent").args(["--store", &server.url()])
}

/// A Redis in which somebody has this and that, and an environment with an override that he owes to the real LaunchDarkly.
fn somebodys() -> (RedisServer, tempfile::TempDir) {
    let server = RedisServer::with().tcp().start();
    fill(&server);
    let invoices = shop::flag("real-invoices", 42).text();
    server.fill(shop::PREFIX, &[("real-invoices", &invoices)]);
    let home = shop::home(&[("redis-a", &server.url())]);
    let update = "update -p shop -e production -f real-invoices -s off";
    Rc::new().home(home.path()).line(update).run().code(0).out("DONE");
    (server, home)
}

#[test]
fn nothing_else_is_touched_and_nothing_stays() {
    let (server, home) = somebodys();
    let before = dump(&server);
    assert!(before.keys().any(|key| key.contains("relaycommander:overrides")));
    let temporary = tempfile::tempdir().unwrap();
    let ran = on(&server, temporary.path()).run().code(0).out("the prefix rc-drill and nothing else");
    // What is owed for real, in the very same project and environment, is not even seen.
    let ran = ran.nowhere("real-invoices");
    all_held(&ran, STEPS);
    assert_eq!(dump(&server), before);
    nothing_is_left(temporary.path());
    // What is owed for real is owed as before.
    Rc::new().home(home.path()).line("status").run().code(0).out("OWED: 1 flag");
}

#[test]
fn ended_in_the_middle_it_clears_up() {
    let (server, _home) = somebodys();
    let before = dump(&server);
    for (signal, step) in [("INT", "STEP 3 "), ("TERM", "STEP 12 "), ("HUP", "STEP 1 ")] {
        let temporary = tempfile::tempdir().unwrap();
        let started = Started::start(&on(&server, temporary.path()), temporary.path()).until(step);
        assert_ne!(dump(&server), before, "{signal}");
        let (ended, talk) = started.ended_by(signal);
        assert_eq!(ended.code(), Some(1), "{signal}: {talk}");
        assert_eq!(dump(&server), before, "{signal}: {talk}");
        nothing_is_left(temporary.path());
    }
}

#[test]
fn a_later_one_clears_what_a_killed_one_left() {
    let (server, _home) = somebodys();
    let before = dump(&server);
    let temporary = tempfile::tempdir().unwrap();
    let (ended, _) = Started::start(&on(&server, temporary.path()), temporary.path()).until("STEP 4 ").ended_by("KILL");
    assert_eq!(ended.code(), None);
    let left = dump(&server);
    let ours: Vec<&String> = left.keys().filter(|key| !before.contains_key(*key)).collect();
    assert!(ours.iter().all(|key| key.starts_with("rc-drill:")) && ours.len() > 3, "{ours:?}");
    // For a while nobody can know that it is dead.
    on(&server, temporary.path()).run().code(3).err("another rehearsal runs there").err("of anna on");
    assert_eq!(dump(&server).len(), left.len());
    wait_until("its sign of life has expired", || server.line("EXISTS rc-drill:relaycommander:drill:alive") == "0");
    // What somebody else has put there meanwhile is not ours, mark or not.
    server.line("SET rc-drill:relaycommander:drill-notes mine");
    on(&server, temporary.path()).run().code(3).err("holds data that no rehearsal wrote").err("drill-notes");
    server.line("DEL rc-drill:relaycommander:drill-notes");
    let own = tempfile::tempdir().unwrap();
    let (_, talk) = Started::start(&on(&server, own.path()), own.path()).until("STEP 2 ").ended_by("INT");
    assert!(talk.contains("Cleared what a rehearsal had left there (anna on "), "{talk}");
    assert_eq!(dump(&server), before);
}

#[test]
fn a_prefix_with_data_is_refused() {
    let (server, _home) = somebodys();
    server.line("SET near:features x");
    server.line("SET a*b:x 1");
    let before = dump(&server);
    let temporary = tempfile::tempdir().unwrap();
    for prefix in ["ld:shop:production", "near", "a*b"] {
        let ran = on(&server, temporary.path()).args(["--prefix", prefix]).run().code(3);
        ran.err("this prefix holds data that no rehearsal wrote").err("Nothing was written.");
        assert_eq!(dump(&server), before);
    }
    // What only looks like it is no hindrance: the pattern is taken literally.
    let started = Started::start(&on(&server, temporary.path()).args(["--prefix", "ne?r"]), temporary.path());
    started.until("STEP 1 ").ended_by("INT");
    assert_eq!(dump(&server), before);
}

#[test]
fn two_at_once_keep_apart() {
    let (server, _home) = somebodys();
    let before = dump(&server);
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Started::start(&on(&server, one.path()), one.path()).until("STEP 1 ");
    on(&server, other.path()).run().code(3).err("another rehearsal runs there");
    let second = on(&server, other.path()).args(["--prefix", "rc-drill-2"]);
    let second = Started::start(&second, other.path()).until("STEP 2 ");
    second.ended_by("INT");
    first.ended_by("INT");
    assert_eq!(dump(&server), before);
}

/// The user that docs/drill.md tells people to make, TLS with an authority of one's own, and no secret anywhere.
#[test]
fn with_a_user_of_its_own_and_tls() {
    let server = RedisServer::with().tls().start();
    fill(&server);
    let page = include_str!("../../docs/drill.md");
    let rule = page.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER ")).unwrap();
    let rule = rule.replace("PASSWORD", "hunter2hunter2");
    let words: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rule.split_whitespace()).collect();
    server.run(&words);
    let user = words[2];
    let before = dump(&server);
    let temporary = tempfile::tempdir().unwrap();
    let authority = temporary.path().join("authority.pem");
    fs::write(&authority, server.authority_pem()).unwrap();
    let homes = tempfile::tempdir().unwrap();
    let rc = drill(homes.path(), "/nonexistent")
        .args(["--store", &server.url(), "--keep", "--redis-ca"])
        .args([authority.as_os_str()])
        .env("RC_REDIS_USER", user)
        .env("RC_REDIS_PASSWORD", "hunter2hunter2");
    let ran = rc.run().code(0).nowhere("hunter2");
    all_held(&ran, STEPS);
    assert_eq!(dump(&server), before);
    let kept = ran.stderr.trim().strip_prefix("Kept: ").unwrap().to_owned();
    let found = std::process::Command::new("grep").args(["-r", "hunter2", &kept]).output().unwrap();
    assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
    // Without what it needs it says so, and leaves nothing.
    let wrong = drill(homes.path(), "/nonexistent")
        .args(["--store", &server.url(), "--redis-ca"])
        .args([authority.as_os_str()]);
    wrong.clone().env("RC_REDIS_USER", user).env("RC_REDIS_PASSWORD", "wrong").run().code(4).nowhere("hunter2");
    // Refused before its mark is there, and behind it.
    for missing in ["-exists", "-psetex"] {
        server.run(&["ACL", "SETUSER", user, "+exists", missing]);
        let rc = wrong.clone().env("RC_REDIS_USER", user).env("RC_REDIS_PASSWORD", "hunter2hunter2");
        rc.run().code(4).err("no permissions").nowhere("hunter2");
        assert_eq!(dump(&server), before, "{missing}");
    }
}
