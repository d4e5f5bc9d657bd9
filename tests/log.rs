//! `rc log` against real servers: what was done, by whom and why, from the playback and from the stores.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;

fn rc(home: &Path, line: &str) -> Rc {
    Rc::new().home(home).env("RC_PROJECT", "shop").env("RC_ENVIRONMENT", "production").line(line)
}

/// Two flags; the first changed by anna in this home, the second by bob in another one.
fn two_operators() -> (RedisServer, tempfile::TempDir) {
    let eu = RedisServer::start();
    eu.fill(
        shop::PREFIX,
        &[("checkout", &shop::flag("checkout", 42).text()), ("search", &shop::flag("search", 7).text())],
    );
    let (mine, theirs) = (shop::home(&[("eu", &eu.url())]), shop::home(&[("eu", &eu.url())]));
    let why = ["--reason", "=HYPERLINK(\"x\"), now", "--incident", "INC-1"];
    rc(mine.path(), "update -f checkout -s off --as anna").args(why).run().code(0);
    rc(theirs.path(), "update -f search -s off --as bob --incident INC-2").run().code(0);
    (eu, mine)
}

fn only_file(home: &Path) -> PathBuf {
    let mut entries = fs::read_dir(home.join("playback")).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|ending| ending == "jsonl")).unwrap()
}

#[test]
fn mine_and_my_colleagues() {
    let (_eu, home) = two_operators();
    let ran = rc(home.path(), "log").run().code(0).err("2 changes in shop/production; 2 owed to LaunchDarkly");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran}");
    assert!(lines[1].contains("anna@") && lines[1].contains("checkout  on -> off  written 1/1, owed"), "{ran}");
    assert!(lines[1].contains("INC-1 \"=HYPERLINK(\"x\"), now\""), "{ran}");
    assert!(lines[2].contains("bob@") && lines[2].contains("search    on -> off  in force, owed"), "{ran}");
}

#[test]
fn narrowed() {
    let (_eu, home) = two_operators();
    let case = |line: &str, present: &str, absent: &str| {
        rc(home.path(), line).run().code(0).out(present).nowhere(absent);
    };
    case("log -f search", "bob@", "anna@");
    case("log --incident inc-1", "anna@", "bob@");
    case("log -n 1", "bob@", "anna@");
    case("log -p shop -e production", "anna@", "nobody");
    let ran = rc(home.path(), "log -n 1").run().code(0).err("1 change in shop/production; 1 older one not listed (-n)");
    assert_eq!(ran.stdout.lines().count(), 2, "{ran}");
    let ran = rc(home.path(), "log --incident INC-3").run().code(0).err("0 changes of incident INC-3");
    assert_eq!(ran.stdout, "");
}

#[test]
fn csv_is_quoted_and_holds_no_formula() {
    let (_eu, home) = two_operators();
    let ran = rc(home.path(), "log --csv").run().code(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("time,user,host,project,environment,flag,what,outcome,reason,incident,"), "{ran}");
    assert!(lines[1].contains(",shop,production,checkout,on -> off,\"written 1/1, owed\","), "{ran}");
    assert!(lines[1].contains(",\"'=HYPERLINK(\"\"x\"\"), now\",INC-1,"), "{ran}");
    assert!(lines[2].ends_with(",update,log of eu"), "{ran}");
}

#[test]
fn json_is_one_object() {
    let (_eu, home) = two_operators();
    let ran = rc(home.path(), "log --json").run().code(0);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["changes"][0]["edits"][0]["flag"], "checkout");
    assert_eq!(value["changes"][0]["reason"], "=HYPERLINK(\"x\"), now");
    assert_eq!(value["changes"][1]["stores"], serde_json::json!(["eu"]));
    assert_eq!(value["changes"][1]["file"], serde_json::Value::Null);
    assert_eq!(value["changes"][1]["edits"][0]["owed"], true);
}

/// A damaged file is named with its line; what stands before the damage is told.
#[test]
fn damage_is_named() {
    let (_eu, home) = two_operators();
    let file = only_file(home.path());
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines.len() >= 2, "{text}");
    lines[1] = lines[1].replace("written", "writtem");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let ran = rc(home.path(), "log").run().code(5).err(".jsonl, line 2: ").out("FILE DAMAGED at line 2");
    ran.out("bob@");
}

#[test]
fn a_dead_store_takes_nothing_from_what_is_here() {
    let (eu, home) = two_operators();
    drop(eu);
    let ran = rc(home.path(), "log").run().code(5).out("anna@").err("what colleagues did there is not told");
    ran.nowhere("bob@");
}

/// One change of many flags is one line, however many stores tell of it.
#[test]
fn a_batch_is_one_line() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    let flags: Vec<(String, String)> =
        ["a", "b", "c", "d", "e"].map(|key| (key.to_owned(), shop::flag(key, 1).text())).to_vec();
    let flags: Vec<(&str, &str)> = flags.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    eu.fill(shop::PREFIX, &flags);
    us.fill(shop::PREFIX, &flags);
    let stores = [("eu", eu.url()), ("us", us.url())];
    let stores: Vec<(&str, &str)> = stores.iter().map(|(label, url)| (*label, url.as_str())).collect();
    let (theirs, mine) = (shop::home(&stores), shop::home(&stores));
    rc(theirs.path(), "update -f a -f b -f c -f d -f e -s off").run().code(0);
    for home in [&theirs, &mine] {
        let ran = rc(home.path(), "log").run().code(0).out("a, b, c and 2 more  on -> off");
        assert_eq!(ran.stdout.lines().count(), 2, "{ran}");
    }
}

#[test]
fn a_timeline_for_the_post_mortem() {
    let (_eu, home) = two_operators();
    rc(home.path(), "undo checkout").run().code(0);
    let ran = rc(home.path(), "log --incident INC-1 --timeline").run().code(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("## Timeline of INC-1 (UTC, as of "), "{ran}");
    assert!(
        lines[2].contains(" **anna** checkout of shop/production: on -\\> off, \"=HYPERLINK(\"x\"), now\" (change "),
        "{ran}"
    );
    assert!(lines[3].contains(" checkout: written in eu"), "{ran}");
    assert!(lines[4].contains(" checkout: taken back by change "), "{ran}");
    assert_eq!(lines.len(), 5, "bob's is of another incident\n{ran}");
    let all = rc(home.path(), "log --timeline").run().code(0);
    assert!(all.stdout.contains(" **bob** search of shop/production: on -\\> off: in force, owed"), "{all}");
    rc(home.path(), "log --timeline --json").run().code(2);
}
