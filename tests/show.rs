//! `rc show` against real servers.

use std::path::Path;

use crate::relay::simulated::Answer;
use crate::relay::simulated::SimulatedRelay;
use crate::relay::simulated::put;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;
use crate::support::shop;

fn rc(home: &Path, line: &str) -> Rc {
    Rc::new().home(home).env("RC_PROJECT", "shop").env("RC_ENVIRONMENT", "production").line(line)
}

#[test]
fn a_flag_in_words() {
    let eu = RedisServer::start();
    let search = shop::flag("search", 89).rule("CH").requires("checkout").text();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text()), ("search", &search)]);
    let home = shop::home(&[("eu", &eu.url())]);
    let ran = rc(home.path(), "show search").run().code(0);
    assert_eq!(
        ran.stdout,
        "search, shop/production: on. Who gets what depends; whom nothing matches gets true.\n\n\
         \x20 on/off         on\n\
         \x20 off variation  false\n\
         \x20 default rule   true\n\
         \x20 targets        no targets\n\
         \x20 rules          1 rule\n\
         \x20                1. if country in \"CH\": false\n\
         \x20 prerequisites  checkout to be true\n\
         \x20 variations     0 = true and 1 = false\n\n\
         \x20 STORE  VERSION  STATE  WHOSE RECORD    NOTES\n\
         \x20 eu     v89      on     LaunchDarkly's\n\n\
         search is not overridden.\n"
    );
    rc(home.path(), "show checkout").run().code(0).out("REQUIRED BY  search (to be true)");
}

#[test]
fn an_override_that_one_store_lost() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    let before = shop::flag("checkout", 42).text();
    let search = shop::flag("search", 1).requires("checkout").text();
    for server in [&eu, &us] {
        server.fill(shop::PREFIX, &[("checkout", &before), ("search", &search)]);
    }
    let home = shop::home(&[("eu", &eu.url()), ("us", &us.url())]);
    let why = ["--reason", "double charges", "--incident", "INC-4821", "--as", "anna"];
    rc(home.path(), "update -f checkout -s off --expires 2h").args(why).run().code(0);
    // A relay that LaunchDarkly's stream fills anew.
    us.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 44).text()), ("search", &search)]);
    let ran = rc(home.path(), "show checkout").run().code(0);
    let ran = ran.out("not the same in all stores").out("ours, override ").out("\"double charges\"").out("INC-4821");
    let ran = ran.out("BEFORE v42  OVERRIDE  LAUNCHDARKLY v44 (newest seen)").out("written 2/2, owed");
    let ran = ran.out("search (to be true; NOT met where this flag is off)");
    ran.out("checkout is overridden in eu, NOT in us; owed to LaunchDarkly.").out("rc update --resume ");

    let ran = rc(home.path(), "show checkout --json").run().code(0);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["copies"][0]["written_by"], "override");
    assert_eq!(value["copies"][1]["written_by"], "launchdarkly");
    assert_eq!(value["copies"][1]["differs"], serde_json::json!({"on": "on"}));
    assert_eq!(value["override"]["touches"][0]["launchdarkly"], "on");
    assert_eq!(value["required_by"][0]["flag"], "search");
}

/// A colleague's change cannot be resumed here, since its file is not here: nothing is told to type that would not work.
#[test]
fn a_colleagues_override() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    let before = shop::flag("checkout", 42).text();
    eu.fill(shop::PREFIX, &[("checkout", &before)]);
    us.fill(shop::PREFIX, &[("checkout", &before)]);
    let theirs = shop::home(&[("eu", &eu.url())]);
    rc(theirs.path(), "update -f checkout -s off --as bob").run().code(0);
    let mine = shop::home(&[("eu", &eu.url()), ("us", &us.url())]);
    let ran = rc(mine.path(), "show checkout").run().code(0).out("by bob ").out("NOT IN").out("NOT in us");
    ran.nowhere("--resume").nowhere("CHANGES in this playback");
}

#[test]
fn a_damaged_record_is_explained_and_can_be_mended() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    eu.fill(shop::PREFIX, &[("bad", r#"{"key":"bad","version":5,"on":"off"}"#)]);
    us.fill(shop::PREFIX, &[("bad", &shop::flag("bad", 5).text())]);
    let home = shop::home(&[("eu", &eu.url()), ("us", &us.url())]);
    let ran = rc(home.path(), "show bad").run().code(0);
    let ran = ran.out("bad is DAMAGED in eu: \"on\" is the text \"off\", not true or false.");
    let ran = ran.out("Relays on such a store answer 500 for ALL flags of shop/production");
    ran.out("rc update -p shop -e production -f bad -s off --repair");
    eu.fill(shop::PREFIX, &[("bad", r#"{"key":"bad","version":5,"rules":7}"#)]);
    rc(home.path(), "show bad").run().code(0).out("rc does not write over that").nowhere("--repair");
}

#[test]
fn no_such_flag() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = shop::home(&[("eu", &eu.url()), ("us", "unix:///nowhere/s")]);
    let ran = rc(home.path(), "show chekcout").run().code(1);
    let ran = ran.err("error: there is no flag chekcout in shop/production; did you mean checkout?");
    let ran = ran.err("us was not looked at: ").err("rc flags -p shop -e production");
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_store_that_is_away_is_named() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 42).text())]);
    let home = shop::home(&[("eu", &eu.url()), ("us", "unix:///nowhere/s")]);
    rc(home.path(), "show checkout").run().code(5).out("NOT READ").out("checkout is not overridden. Not read: us.");
    let home = shop::home(&[("us", "unix:///nowhere/s")]);
    rc(home.path(), "show checkout").run().code(7);
}

/// To the byte, so that it can be kept and put back.
#[test]
fn the_raw_record() {
    let (eu, us) = (RedisServer::start(), RedisServer::start());
    let record = format!("{{ \"x\": 1.0, {}", &shop::flag("checkout", 42).text()[1..]);
    eu.fill(shop::PREFIX, &[("checkout", &record)]);
    us.fill(shop::PREFIX, &[("checkout", &record)]);
    let home = shop::home(&[("eu", &eu.url()), ("us", &us.url())]);
    let ran = rc(home.path(), "show checkout --raw").run().code(0).err("eu, us:");
    assert_eq!(ran.stdout, format!("{record}\n"));
    let ran = rc(home.path(), "show checkout --raw --json").run().code(0);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["copies"][1]["record"], record.as_str());
}

#[test]
fn a_deleted_flag() {
    let eu = RedisServer::start();
    eu.fill(shop::PREFIX, &[("old", shop::TOMBSTONE)]);
    let home = shop::home(&[("eu", &eu.url())]);
    rc(home.path(), "show old").run().code(0).out("old is deleted in LaunchDarkly");
}

#[test]
fn what_a_store_holds_does_nothing_to_the_terminal() {
    let eu = RedisServer::start();
    let record = shop::flag("evil", 1).values("[\"\u{202e}\u{9b}31m\",false]").rule("\u{202e}x").text();
    eu.fill(shop::PREFIX, &[("evil", &record)]);
    let home = shop::home(&[("eu", &eu.url())]);
    for line in ["show evil", "show evil --raw", "flags"] {
        rc(home.path(), line).run().code(0).nowhere("\u{202e}").nowhere("\u{9b}");
    }
}

/// What a relay serves is asked of the relay: here it still has what the store had before.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_serves_something_else() {
    let eu = RedisServer::start();
    let old = shop::flag("checkout", 42).text();
    eu.fill(shop::PREFIX, &[("checkout", &shop::flag("checkout", 43).off().text())]);
    let relay = SimulatedRelay::start().await;
    relay.on_status(Answer::ok(format!(
        r#"{{"environments":{{"production":{{"sdkKey":"sdk-***","status":"disconnected","connectionStatus":{{"state":"INTERRUPTED","stateSince":1700000000000}},"dataStoreStatus":{{"state":"VALID","database":"redis","dbServer":"redis://r","dbPrefix":"{}"}}}}}},"status":"degraded","version":"8.10.1"}}"#,
        shop::PREFIX
    )));
    let stream = relay.expect_stream();
    stream.send(put(&format!("{{\"checkout\":{old}}}")));
    relay.on_flag(42, &old);
    let home = shop::home(&[("eu", &eu.url())]);
    let url = format!("eu=http://{}", relay.address.authority());
    let ran = rc(home.path(), "show checkout").env("RELAY_URLS", &url).run().code(0);
    assert!(ran.stdout.contains("eu  not asked: its SDK key is not known here"), "{ran}");

    let toml = "[environment.\"shop/production\"]\nsdk_key_file = \"sdk-key\"\n";
    std::fs::write(home.path().join("relaycommander.toml"), toml).unwrap();
    std::fs::write(home.path().join("sdk-key"), "sdk-hunter2\n").unwrap();
    let ran = rc(home.path(), "show checkout").env("RELAY_URLS", &url).run().code(0);
    let ran = ran.out("new connection: on v42, NOT as in eu").out("poll: on v42, NOT as in eu");
    ran.out("checkout is not overridden. NOT what its store holds is served by eu.").nowhere("hunter2");
}
