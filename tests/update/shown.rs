//! The important outputs as they are printed, to be read as somebody tired and frightened would.

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::changed;
use super::stage::fill;
use super::stage::flags;
use super::stage::record;
use crate::support::rc::Ran;
use crate::support::redis::RedisServer;

/// Each with its command line, one under the other.
fn page(runs: impl IntoIterator<Item = (&'static str, Ran)>) -> String {
    let told = |(line, ran): (&str, Ran)| format!("$ rc {line}\n{}\n", sockets_redacted(&ran.redacted()));
    digits_redacted(&runs.into_iter().map(told).collect::<String>())
}

/// Changes are named by the last digits of their ids: `(7c1f)`, `rc undo 7c1f`.
fn digits_redacted(text: &str) -> String {
    let is_id = |word: &str| word.len() == 4 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let word = |word: &str| {
        let bare = word.trim_matches(['(', ')', '\n']);
        if is_id(bare) { word.replace(bare, "[id]") } else { word.to_owned() }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Servers are in folders whose names are different each time, and so are hosts.
fn sockets_redacted(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/tmp/rc-redis-") {
        result.push_str(&rest[..at]);
        result.push_str("[socket]");
        rest = &rest[at..];
        rest = &rest[rest.find("/s").unwrap() + 2..];
    }
    result + rest
}

#[test]
fn done() {
    let stage = Stage::with_stores(3);
    let many = "update -p shop -e production -f checkout -f refunds -s on";
    insta::assert_snapshot!(page([
        ("update … --dry-run", stage.run(&format!("{OFF} --dry-run"))),
        (OFF, stage.run(OFF)),
        (OFF, stage.run(OFF)),
        (many, stage.run(many)),
        ("update … --serve silver", stage.run("update -p shop -e production -f pricing-tier --serve silver")),
    ]));
}

#[test]
fn one_away() {
    let mut stage = Stage::with_stores(3);
    stage.servers[2].kill();
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &changed(&record("checkout", 42, true), "true", "\"off\"")]);
    let first = stage.run(OFF);
    let second = stage.run("update --resume --repair");
    insta::assert_snapshot!(page([(OFF, first), ("update --resume --repair", second)]));
}

#[test]
fn nobody_there() {
    let mut stage = Stage::with_stores(2);
    stage.servers.iter_mut().for_each(RedisServer::kill);
    let prefix = format!("{OFF} --prefix {PREFIX}");
    insta::assert_snapshot!(page([
        (OFF, stage.run(OFF)),
        ("update … --prefix ld:shop:production", stage.run(&prefix))
    ]));
}

#[test]
fn refused() {
    let stage = Stage::with_stores(2);
    let other = changed(&record("differs", 7, true), "\"offVariation\":1", "\"offVariation\":0");
    stage.servers[0].run(&["HSET", FEATURES, "differs", &record("differs", 7, true)]);
    stage.servers[1].run(&["HSET", FEATURES, "differs", &other]);
    for server in &stage.servers {
        server.run(&[
            "HSET",
            FEATURES,
            "broken",
            &changed(&record("broken", 3, true), "\"on\":true", "\"on\":\"off\""),
        ]);
        server.run(&["HSET", FEATURES, "gone", r#"{"key":"gone","version":9,"deleted":true}"#]);
    }
    let off = |flag: &str| stage.run(&format!("update -p shop -e production {flag} -s off"));
    insta::assert_snapshot!(page([
        ("update … -f checkuot -s off", off("-f checkuot")),
        ("update … -f differs -s off", off("-f differs")),
        ("update … -f broken -s off", off("-f broken")),
        ("update … -f gone -s off", off("-f gone")),
        ("update … -f checkout -f gone -f broken -s off", off("-f checkout -f gone -f broken")),
        ("update … -f checkout -s on", stage.run("update -p shop -e production -f checkout -s on")),
        ("update … --serve purple", stage.run("update -p shop -e production -f pricing-tier --serve purple")),
    ]));
}

#[test]
fn which_prefix() {
    let stage = Stage::as_they_are(vec![RedisServer::start(), RedisServer::start()]);
    let nothing = stage.run(OFF);
    fill(&stage.servers[0], "launchdarkly", &flags());
    let only = stage.run(OFF);
    fill(&stage.servers[1], "launchdarkly-stg", &flags());
    insta::assert_snapshot!(page([(OFF, nothing), (OFF, only), (OFF, stage.run(OFF))]));
}

#[test]
fn a_large_batch() {
    let stage = Stage::with_stores(2);
    let mut lines = String::new();
    for number in 0..30 {
        let key = format!("flag-{number:02}");
        for server in &stage.servers {
            server.run(&["HSET", FEATURES, &key, &record(&key, 1, true)]);
        }
        lines.push_str(&format!("{{\"flag\":\"{key}\",\"state\":\"off\"}}\n"));
    }
    stage.servers[1].run(&["HDEL", FEATURES, "flag-03"]);
    let batch = || stage.rc("update -p shop -e production --from -").stdin(lines.clone()).run();
    insta::assert_snapshot!(page([("update … --from -", batch()), ("update … --from -", batch())]));
}
