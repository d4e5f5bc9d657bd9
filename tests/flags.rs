//! `rc flags` against real servers.

use std::io;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;

fn rc(home: &Path, line: &str) -> Rc {
    Rc::new().home(home).env("RC_PROJECT", "shop").env("RC_ENVIRONMENT", "production").line(line)
}

#[test]
fn one_line_a_flag() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    let tier = shop::flag("tier", 30).off().values(r#"["gold","silver"]"#).text();
    eu.fill(
        shop::PREFIX,
        &[("checkout", &shop::flag("checkout", 42).text()), ("tier", &tier), ("old", shop::TOMBSTONE)],
    );
    us.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 41).off().text()), ("old", shop::TOMBSTONE)]);
    let home = shop::home(&[("eu", &eu.url()), ("us", &us.url())]);
    let ran = rc(home.path(), "flags").run().code(0);
    assert_eq!(
        ran.stdout,
        "FLAG      STATE  SERVES    VERSION  NOTES\n\
         checkout  on     true      v42      us has off, false, v41\n\
         tier      off    \"silver\"  v30      not in us\n"
    );
    ran.err(
        "2 flags in shop/production: 1 on, 1 off and 2 not the same in all stores; 1 deleted flag not shown (--all)",
    );
    let ran = rc(home.path(), "flags --all TIE").run().code(0);
    assert_eq!(ran.stdout.lines().count(), 2, "{ran}");
    rc(home.path(), "flags --all").run().code(0).out("old       deleted");
}

#[test]
fn an_override_is_marked_with_who_and_why() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = shop::home(&[("eu", &eu.url())]);
    rc(home.path(), "update -f checkout -s off --incident INC-4821 --as bob").run().code(0);
    let ran = rc(home.path(), "flags").run().code(0);
    let row = ran.stdout.lines().nth(1).unwrap_or_default().to_owned();
    assert!(row.starts_with("checkout  off    false   v43      override "), "{ran}");
    assert!(row.contains("by bob ") && row.ends_with("INC-4821, owed"), "{ran}");
    ran.err("1 overridden");
}

#[test]
fn damage_is_named_with_what_to_type() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("bad", r#"{"key":"bad","version":5,"on":"off"}"#), ("worse", "\u{1b}[31m{")]);
    let home = shop::home(&[("eu", &eu.url())]);
    let ran = rc(home.path(), "flags").run().code(0).out("is the text \"off\", not true or false").err("rc show bad");
    ran.nowhere("\u{1b}");
}

#[test]
fn a_dead_store_is_named_and_the_list_is_not_whole() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = shop::home(&[("eu", &eu.url()), ("us", "unix:///nowhere/s")]);
    rc(home.path(), "flags").run().code(5).out("checkout").err("warning: us could not be read: ");
    let home = shop::home(&[("us", "unix:///nowhere/s")]);
    let ran = rc(home.path(), "flags").run().code(7).err("error: ");
    assert_eq!(ran.stdout, "");
}

#[test]
fn json_is_one_object() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = shop::home(&[("eu", &eu.url())]);
    let ran = rc(home.path(), "flags --json").run().code(0);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["environment"], "shop/production");
    assert_eq!(value["targets"][0]["store"], "eu");
    assert_eq!(value["flags"][0]["serves"], serde_json::json!({"to": "everybody", "value": true}));
}

/// `rc flags | head`, with many flags: quiet, and no failure.
#[test]
fn many_flags_into_a_pipe_that_closes() {
    let eu = RedisServer::start();
    let script = "for i = 1, 20000 do redis.call('HSET', KEYS[1], 'flag-' .. i, (string.gsub(ARGV[1], 'KEY', 'flag-' .. i))) end";
    eu.run(&["EVAL", script, "1", &format!("{}:features", shop::PREFIX), &shop::flag("KEY", 1).text()]);
    eu.run(&["SET", &format!("{}:$inited", shop::PREFIX), ""]);
    let home = shop::home(&[("eu", &eu.url())]);
    let whole = rc(home.path(), "flags").run().code(0).err("20,000 flags in shop/production: 20000 on");
    assert_eq!(whole.stdout.lines().count(), 20_001);

    let (mut reader, writer) = io::pipe().unwrap();
    let mut command = rc(home.path(), "flags").command(home.path());
    let child = command.stdout(Stdio::from(writer)).spawn().unwrap();
    drop(command);
    let mut beginning = [0; 4];
    reader.read_exact(&mut beginning).unwrap();
    drop(reader);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &beginning), (Some(0), b"FLAG"));
    let talk = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(talk.starts_with("20,000 flags in"), "{talk}");
}

#[test]
fn no_environment_is_a_usage_error() {
    let home = shop::home(&[("eu", "unix:///nowhere/s")]);
    Rc::new().home(home.path()).line("flags").run().code(2).err("which project?");
}
