//! `rc drill` as somebody runs it on a fresh machine: with redis-server on the path and without, to its end and stopped
//! in the middle; and that nothing stays behind.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// How long something may take to go away.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// The steps that there are.
const STEPS: usize = 22;

/// A run whose temporary folder is one of its own, so that what it leaves behind can be seen.
fn drill(temporary: &Path, path: &str) -> Rc {
    Rc::new().env("PATH", path).env("TMPDIR", temporary).line("drill").deadline(Duration::from_secs(120))
}

/// A path on which there is a redis-server. Fails where the machine has none, as every test with one does.
fn path_with_redis() -> String {
    drop(RedisServer::start());
    std::env::var("PATH").unwrap()
}

/// The processes that have something of `folder` on their command line.
fn processes_about(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(folder) {
            found.push(format!("{} {command}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

#[track_caller]
fn nothing_is_left(temporary: &Path) {
    assert_eq!(processes_about(temporary), Vec::<String>::new());
    let left: Vec<PathBuf> = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[track_caller]
fn holds(path: &str, told: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), path).run().code(0).out(told).nowhere("NOT HELD").nowhere("\u{1b}");
    for step in 1..=STEPS {
        assert!(ran.stdout.contains(&format!("\nSTEP {step}  ")), "no step {step}\n{ran}");
    }
    let table = ran.stdout.lines().filter(|line| line.ends_with("  held")).count();
    assert_eq!(table, STEPS, "\n{ran}");
    assert!(ran.stdout.trim_end().lines().last().unwrap().starts_with("HELD: 22 steps"), "\n{ran}");
    for line in ran.stdout.lines().filter(|line| !line.starts_with("  | ")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
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
    let steps = object["steps"].as_array().unwrap();
    assert_eq!(steps.len(), STEPS);
    let switch = &steps[2];
    assert_eq!(switch["title"], "The kill switch");
    assert_eq!(switch["did"][0]["who"], "anna");
    assert_eq!(switch["did"][0]["exit_code"], 0);
    assert!(switch["checks"].as_array().unwrap().iter().any(|check| check["saw"] == "off v43"));
    let kept = PathBuf::from(object["kept"].as_str().unwrap());
    assert!(kept.starts_with(temporary.path()));
    let files = fs::read_dir(kept.join("anna/playback/replayed")).unwrap().count();
    assert!(files > 0);
}

/// Whoever ends it, by a signal that can be caught or by one that cannot, no redis-server stays behind.
#[test]
fn stopped_in_the_middle() {
    let path = path_with_redis();
    for signal in ["INT", "TERM", "KILL"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut command = drill(temporary.path(), &path).command(temporary.path());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut told = Vec::new();
        let mut out = child.stdout.take().unwrap();
        while !String::from_utf8_lossy(&told).contains("STEP 3 ") {
            let mut some = [0; 1024];
            let read = out.read(&mut some).unwrap();
            assert!(read > 0, "it ended by itself: {}", String::from_utf8_lossy(&told));
            told.extend_from_slice(&some[..read]);
        }
        assert!(!processes_about(temporary.path()).is_empty());
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let ended = child.wait().unwrap();
        assert!(!ended.success());
        let until = Instant::now() + GONE_WITHIN;
        while !processes_about(temporary.path()).is_empty() {
            assert!(Instant::now() < until, "{signal}: {:?}", processes_about(temporary.path()));
            thread::sleep(Duration::from_millis(10));
        }
        if signal != "KILL" {
            assert_eq!(ended.code(), Some(1), "{signal}");
            nothing_is_left(temporary.path());
        }
    }
}
