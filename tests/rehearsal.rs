//! `rc drill` as somebody runs it: with a Redis of its own and without, on a scratch prefix of somebody's Redis, through a
//! real relay, as random outages, left running; to its end and stopped in the middle; and that nothing stays behind.

mod dumped;
mod orders;
mod papers;
mod relay;
mod sequences;
mod serve;
mod stopped;
mod store;
mod whole;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// How long something may take to happen, or to go away.
const WITHIN: Duration = Duration::from_secs(30);

/// The steps that there are.
const STEPS: usize = 23;

/// A run whose temporary folder is one of its own, so that what it leaves behind can be seen.
fn drill(temporary: &Path, path: &str) -> Rc {
    Rc::new().env("PATH", path).env("TMPDIR", temporary).line("drill").deadline(Duration::from_secs(180))
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

/// Waits until it holds.
#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A rehearsal that runs, and what it has printed so far.
struct Started {
    child: Child,
    told: String,
}

impl Started {
    fn start(rc: &Rc, folder: &Path) -> Self {
        let child = rc.command(folder).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, told: String::new() }
    }

    /// Reads until this was printed.
    #[track_caller]
    fn until(mut self, wanted: &str) -> Self {
        let out = self.child.stdout.as_mut().unwrap();
        while !self.told.contains(wanted) {
            let mut some = [0; 4096];
            let read = out.read(&mut some).unwrap();
            assert!(read > 0, "it ended by itself before {wanted:?}: {}", self.told);
            self.told.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        self
    }

    /// Sends a signal and waits for the end. What it still said is returned too.
    #[track_caller]
    fn ended_by(mut self, signal: &str) -> (ExitStatus, String) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let mut talk = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
        (self.child.wait().unwrap(), talk)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Ended already, or about to be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
