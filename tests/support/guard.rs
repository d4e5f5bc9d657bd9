//! `rc guard` as a child process: what it tells, its status and its metrics, and its end.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Child;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::rc::Rc;
use super::wire::LONG;
use super::wire::Wire;

/// A guard that runs; it ends with the value.
pub struct Guard {
    child: Child,
    /// Where relays come.
    pub address: SocketAddr,
    /// Where status and metrics are asked for.
    pub admin: SocketAddr,
    told: Arc<Mutex<String>>,
}

impl Guard {
    /// Starts `rc guard --log json` as `rc` says, and waits until it listens.
    #[track_caller]
    pub fn start(rc: &Rc, home: &Path) -> Self {
        let guard = Self::watching(rc, home);
        assert_ne!(guard.address.port(), 0, "it does not listen");
        guard
    }

    /// The same for one that listens nowhere: its address has no port.
    #[track_caller]
    pub fn watching(rc: &Rc, home: &Path) -> Self {
        let mut child = rc.command(home).spawn().expect("rc starts");
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let told = Arc::new(Mutex::new(String::new()));
        let mut line = String::new();
        let begun = loop {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it did not begin: {}", told.lock().unwrap());
            told.lock().unwrap().push_str(&line);
            match serde_json::from_str::<Value>(&line) {
                Ok(told) if told["what"] == "listens" => break told,
                _ => {}
            }
        };
        let own = Arc::clone(&told);
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut told = own.lock().unwrap_or_else(PoisonError::into_inner);
                told.push_str(&line);
                told.push('\n');
            }
        });
        let at = |name: &str| begun[name].as_str().unwrap_or("127.0.0.1:0").parse().unwrap();
        Self { child, address: at("address"), admin: at("admin"), told }
    }

    /// What it told so far.
    pub fn told(&self) -> String {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it told something that holds `wanted`.
    #[track_caller]
    pub fn wait_for_told(&self, wanted: &str) {
        let begun = Instant::now();
        while !self.told().contains(wanted) {
            assert!(begun.elapsed() < LONG, "{wanted:?} was never told:\n{}", self.told());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its status.
    #[track_caller]
    pub fn status(&self) -> Value {
        let mut wire = Wire::ask(self.admin, "/status", "none");
        serde_json::from_str(&wire.rest()).unwrap()
    }

    /// Waits for a status.
    #[track_caller]
    pub fn wait_for_status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < LONG, "{status:#}\n{}", self.told());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its metrics.
    #[track_caller]
    pub fn metrics(&self) -> String {
        Wire::ask(self.admin, "/metrics", "none").rest()
    }

    /// Its memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let status = std::process::Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Ends it at once, like a power cut.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it as a service manager does.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LONG, "it does not end:\n{}", self.told());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
