//! `rc guard` as a child process, with a home and stores of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// The key of the environment in [`Plan::new`].
pub const KEY: &str = "sdk-11111111-1111-4111-8111-111111111111";

/// What a guard is started with.
pub struct Plan {
    home: tempfile::TempDir,
    relay_configuration: String,
    stream_url: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    redis: RedisServer,
}

/// A guard that runs.
pub struct Guard {
    child: Child,
    /// Where relays come.
    pub address: SocketAddr,
    /// Where status and metrics are asked for.
    pub admin: SocketAddr,
    told: Arc<Mutex<String>>,
}

impl Plan {
    /// One environment, `production` of the shop, in a Redis that nobody has filled.
    pub fn new(upstream: &Scripted) -> Self {
        Self::at(&upstream.url)
    }

    /// The same, with LaunchDarkly's stream at this address.
    pub fn at(stream_url: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let redis = RedisServer::with().tcp().start();
        fs::write(home.path().join(".env"), format!("REDIS_HOSTS=eu-1={}\n", redis.url())).unwrap();
        let relay_configuration = format!(
            "[Redis]\nlocalTtl = 1s\n[Environment \"shop production\"]\nsdkKey = {KEY}\nprefix = ld:shop:production\n\
             projKey = shop\n[Filters \"shop\"]\nkeys = web\n"
        );
        Self {
            home,
            relay_configuration,
            stream_url: stream_url.to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            redis,
        }
    }

    /// With another configuration of the relay.
    pub fn relay_configuration(mut self, text: &str) -> Self {
        text.clone_into(&mut self.relay_configuration);
        self
    }

    /// With these environments beside the first, by key.
    pub fn keys<'k>(mut self, keys: impl IntoIterator<Item = &'k str>) -> Self {
        for key in keys {
            write!(self.relay_configuration, "[Environment \"{key}\"]\nsdkKey = {key}\nprefix = {key}\n").unwrap();
        }
        self
    }

    /// With these words on the command line.
    pub fn line(mut self, line: &str) -> Self {
        self.arguments.extend(line.split_whitespace().map(str::to_owned));
        self
    }

    /// With this variable.
    pub fn env(mut self, name: &str, value: &Path) -> Self {
        self.variables.push((name.to_owned(), value.display().to_string()));
        self
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The guard's folder.
    pub fn state(&self) -> PathBuf {
        self.home.path().join("guard")
    }

    /// Its Redis.
    pub fn redis(&self) -> &RedisServer {
        &self.redis
    }

    /// Starts another one, with a folder of its own.
    #[track_caller]
    pub fn start_elsewhere(&self) -> Guard {
        self.start_with("127.0.0.1:0".parse().unwrap(), &["--state", "elsewhere"])
    }

    /// Its Redis, as a relay is told of it.
    pub fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// Starts it at any free port.
    #[track_caller]
    pub fn start(&self) -> Guard {
        self.start_at("127.0.0.1:0".parse().unwrap())
    }

    /// Starts it at an address.
    #[track_caller]
    pub fn start_at(&self, address: SocketAddr) -> Guard {
        self.start_with(address, &[])
    }

    #[track_caller]
    fn start_with(&self, address: SocketAddr, arguments: &[&str]) -> Guard {
        fs::write(self.home.path().join("ld-relay.conf"), &self.relay_configuration).unwrap();
        let mut rc = Rc::new().line("guard --admin 127.0.0.1:0 --log json --relay-config ld-relay.conf");
        rc = rc.args(["--listen", &address.to_string()]).args(self.arguments.iter().map(String::as_str));
        rc = rc.args(arguments.iter().copied());
        rc = rc.env("LD_STREAM_URL", &self.stream_url);
        for (name, value) in &self.variables {
            rc = rc.env(name, value);
        }
        let mut child = rc.command(self.home.path()).spawn().expect("rc starts");
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
        let at = |name: &str| begun[name].as_str().unwrap().parse().unwrap();
        Guard { child, address: at("address"), admin: at("admin"), told }
    }

    /// Every byte in the guard's folder, file names included.
    pub fn kept(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in fs::read_dir(self.state()).unwrap() {
            let entry = entry.unwrap();
            all.extend_from_slice(entry.file_name().as_encoded_bytes());
            all.push(b'\n');
            if entry.file_type().unwrap().is_file() {
                all.extend_from_slice(&fs::read(entry.path()).unwrap_or_default());
            }
        }
        all
    }

    /// Waits until files of this ending are in the guard's folder.
    #[track_caller]
    pub fn wait_for_kept(&self, ending: &str, number: usize) {
        let begun = Instant::now();
        loop {
            let found = fs::read_dir(self.state()).unwrap().flatten();
            let count = found.filter(|entry| entry.file_name().to_string_lossy().ends_with(ending)).count();
            if count >= number {
                return;
            }
            assert!(begun.elapsed() < LONG, "{count} files end with {ending}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Guard {
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
