//! Whole rehearsals, with redis-server on the path and without.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::STEPS;
use super::drill;
use super::nothing_is_left;
use super::path_with_redis;
use crate::support::rc::Ran;

/// Asserts that all `steps` were told, and held.
#[track_caller]
pub fn all_held(ran: &Ran, steps: usize) {
    for step in 1..=steps {
        assert!(ran.stdout.contains(&format!("\nSTEP {step}  ")), "no step {step}\n{ran}");
    }
    let table = ran.stdout.lines().filter(|line| line.ends_with("  held")).count();
    assert_eq!(table, steps, "\n{ran}");
    let last = ran.stdout.trim_end().lines().last().unwrap();
    assert!(last.starts_with(&format!("HELD: {steps} steps")), "\n{ran}");
    for line in ran.stdout.lines().filter(|line| !line.starts_with("  | ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[track_caller]
fn holds(path: &str, told: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), path).run().code(0).out(told).nowhere("NOT HELD").nowhere("\u{1b}");
    all_held(&ran, STEPS);
    nothing_is_left(temporary.path());
}

#[test]
fn all_holds_with_redis() {
    holds(&path_with_redis(), "redis-server ");
}

#[test]
fn all_holds_with_a_flag_file() {
    holds("/nonexistent", "a flag file (no redis-server is on the path)");
}

#[test]
fn as_one_object_and_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), "/nonexistent").line("--json --keep").run().code(0);
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(object["held"], true);
    assert_eq!(object["store"]["kind"], "file");
    assert_eq!(object["relay"]["kind"], "stand-in");
    let steps = object["steps"].as_array().unwrap();
    assert_eq!(steps.len(), STEPS);
    let switch = &steps[2];
    assert_eq!(switch["title"], "The kill switch");
    assert_eq!(switch["did"][0]["who"], "anna");
    assert_eq!(switch["did"][0]["exit_code"], 0);
    assert!(switch["checks"].as_array().unwrap().iter().any(|check| check["saw"] == "off v43"));
    super::papers::documented(&object);
    let kept = PathBuf::from(object["kept"].as_str().unwrap());
    assert!(kept.starts_with(temporary.path()));
    let files = fs::read_dir(kept.join("anna/playback/replayed")).unwrap().count();
    assert!(files > 0);
}

/// The kill switch reaches who reads the store or connects, and not who is connected; LaunchDarkly's return takes it from
/// those who have it; LaunchDarkly's own change reaches all.
#[test]
fn what_each_kind_of_sdk_sees() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), "/nonexistent").line("--json").run().code(0);
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    let sights = |title: &str| -> Vec<(String, String)> {
        let step = object["steps"].as_array().unwrap().iter().find(|step| step["title"] == title).unwrap();
        let checks = step["checks"].as_array().unwrap().iter().filter_map(|check| {
            let what = check["what"].as_str()?.strip_suffix(": checkout")?.strip_prefix("an SDK ")?.to_owned();
            assert!(check["milliseconds"].is_u64() || title == "Normal running", "{check}");
            Some((what, check["saw"].as_str()?.to_owned()))
        });
        checks.collect()
    };
    let expected = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(what, saw)| ((*what).to_owned(), (*saw).to_owned())).collect()
    };
    let in_the_outage = [
        ("in daemon mode", "off v43"),
        ("that connects now", "off v43"),
        ("that polls, as PHP does", "off v43"),
        ("that stays connected", "on v42"),
    ];
    assert_eq!(sights("What each kind of SDK sees"), expected(&in_the_outage));
    let wiped = [
        ("that connected in the outage", "on v42"),
        ("that stays connected", "on v42"),
        ("that connects now", "on v42"),
        ("that polls, as PHP does", "on v42"),
    ];
    assert_eq!(sights("LaunchDarkly is back first"), expected(&wiped));
    let sent = [
        ("that stays connected", "off v43"),
        ("that connected in the outage", "off v43"),
        ("that connects now", "off v43"),
        ("that polls, as PHP does", "off v43"),
    ];
    assert_eq!(sights("LaunchDarkly sends it out"), expected(&sent));
}

#[test]
fn what_cannot_be_meant() {
    let temporary = tempfile::tempdir().unwrap();
    let drill = |line: &str| drill(temporary.path(), "/nonexistent").line(line).run();
    drill("--relay /nonexistent/ld-relay").code(2).err("there is no relay program at /nonexistent/ld-relay");
    drill("--prefix mine").code(2).err("--store names none");
    drill("--stores redis://127.0.0.1:1").code(2).err("rc drill --store redis://HOST:PORT");
    drill("--store file:///srv/flags.json").code(2).err("is not the address of a Redis");
    drill("--store unix:///run/redis.sock --relay /bin/sh").code(2).err("a relay reaches no Redis by a unix socket");
    drill("--store redis://127.0.0.1:1").code(7).err("127.0.0.1:1 cannot be reached");
    drill("-p shop -e production").code(2).err("--project is not taken");
    drill("--from x").code(2).err("--serve");
    drill("--serve --keep").code(2).err("cannot be used with");
    nothing_is_left(temporary.path());
}
