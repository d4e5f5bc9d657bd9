//! What the tests of `rc update` begin with: stores that a relay has filled, and a home that names them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use relay_commander::playback::Loaded;
use relay_commander::playback::Playback;
use relay_commander::playback::RealDisk;
use serde_json::Value;

use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// Where the relay keeps shop/production.
pub const PREFIX: &str = "ld:shop:production";
/// Its hash of flags.
pub const FEATURES: &str = "ld:shop:production:features";
/// Ours beside it.
pub const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";
/// What the runbook types.
pub const OFF: &str = "update -p shop -e production -f checkout -s off";
/// The labels of the stores, in order.
pub const LABELS: [&str; 4] = ["eu-1", "us-1", "ap-1", "ap-2"];

const LONG: Duration = Duration::from_secs(30);

/// A flag record as a relay writes it: `true` if on, else `false`.
pub fn record(key: &str, version: u64, on: bool) -> String {
    format!(
        concat!(
            r#"{{"key":"{}","on":{},"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"#,
            r#""fallthrough":{{"variation":0}},"offVariation":1,"variations":[true,false],"#,
            r#""clientSideAvailability":{{"usingMobileKey":false,"usingEnvironmentId":false}},"clientSide":false,"#,
            r#""salt":"5","trackEvents":false,"debugEventsUntilDate":null,"version":{},"deleted":false}}"#
        ),
        key, on, version
    )
}

/// A record with one text in it replaced by another.
pub fn changed(record: &str, from: &str, to: &str) -> String {
    assert!(record.contains(from), "{from} is not in {record}");
    record.replacen(from, to, 1)
}

/// The three flags that every filled store has.
pub fn flags() -> Vec<(&'static str, String)> {
    let tier = changed(&record("pricing-tier", 30, true), "[true,false]", r#"["gold","silver",{"tier":"bronze"}]"#);
    vec![("checkout", record("checkout", 42, true)), ("pricing-tier", tier), ("refunds", record("refunds", 5, true))]
}

/// Fills a prefix as a relay does.
#[track_caller]
pub fn fill(server: &RedisServer, prefix: &str, flags: &[(&str, String)]) {
    let flags: Vec<(&str, &str)> = flags.iter().map(|(key, record)| (*key, record.as_str())).collect();
    server.fill(prefix, &flags);
}

/// Stores, and a home that names them.
pub struct Stage {
    pub home: tempfile::TempDir,
    pub servers: Vec<RedisServer>,
}

impl Stage {
    /// Filled stores on unix sockets.
    #[track_caller]
    pub fn with_stores(count: usize) -> Self {
        Self::of((0..count).map(|_| RedisServer::start()).collect())
    }

    /// These stores, filled.
    #[track_caller]
    pub fn of(servers: Vec<RedisServer>) -> Self {
        for server in &servers {
            fill(server, PREFIX, &flags());
        }
        Self::as_they_are(servers)
    }

    /// These stores as they are.
    #[track_caller]
    pub fn as_they_are(servers: Vec<RedisServer>) -> Self {
        let hosts: Vec<String> =
            servers.iter().zip(LABELS).map(|(server, label)| format!("{label}={}", server.url())).collect();
        let home = home(&format!("REDIS_HOSTS={}\n", hosts.join(",")));
        Self { home, servers }
    }

    pub fn rc(&self, line: &str) -> Rc {
        Rc::new().home(self.home.path()).line(line)
    }

    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        self.rc(line).run()
    }

    /// What a store has of a flag.
    #[track_caller]
    pub fn record(&self, store: usize, flag: &str) -> String {
        self.servers[store].run(&["HGET", FEATURES, flag])
    }

    /// The override in a store, as JSON; null if there is none.
    #[track_caller]
    pub fn override_(&self, store: usize, flag: &str) -> Value {
        let text = self.servers[store].run(&["HGET", OVERRIDES, flag]);
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// Asserts that the flag stands in the store just so.
    #[track_caller]
    pub fn has(&self, store: usize, flag: &str, version: u64, on: bool) {
        let stands = self.record(store, flag);
        let stands: Value = serde_json::from_str(&stands).unwrap_or_else(|error| panic!("{error}: {stands}"));
        assert_eq!((&stands["version"], &stands["on"]), (&version.into(), &on.into()), "{flag} in {store}");
    }

    /// Asserts that no store was touched and nothing recorded.
    #[track_caller]
    pub fn is_untouched(&self) {
        for server in &self.servers {
            assert_eq!(server.line("KEYS *relaycommander*"), "");
        }
        assert_eq!(self.playback_files(), Vec::<PathBuf>::new());
        assert!(!self.playback_folder().exists(), "an empty playback folder was made");
    }

    pub fn playback_folder(&self) -> PathBuf {
        self.home.path().join("playback")
    }

    pub fn playback_files(&self) -> Vec<PathBuf> {
        playback_files(self.home.path())
    }

    /// Asserts that every file of the playback can be read to its end.
    #[track_caller]
    pub fn playback(&self) -> Loaded {
        let playback = Playback::open(&self.playback_folder(), Arc::new(RealDisk)).unwrap();
        let loaded = playback.load().unwrap();
        assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
        loaded
    }

    /// The lines of the only playback file.
    #[track_caller]
    pub fn only_file(&self) -> String {
        let files = self.playback_files();
        assert_eq!(files.len(), 1, "{files:?}");
        fs::read_to_string(&files[0]).unwrap()
    }

    /// The last digits of the only change.
    #[track_caller]
    pub fn digits(&self) -> String {
        let files = self.playback_files();
        assert_eq!(files.len(), 1, "{files:?}");
        let stem = files[0].file_stem().unwrap().to_str().unwrap().to_owned();
        stem.rsplit('-').next().unwrap().to_owned()
    }
}

/// A folder with this `.env`.
pub fn home(dot_env: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".env"), dot_env).unwrap();
    home
}

/// The recorded changes of a home.
pub fn playback_files(home: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home.join("playback")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    files.sort();
    files
}

/// A program that was started and is still running; killed if the test fails.
pub struct Started {
    child: Option<Child>,
}

impl Started {
    pub fn rc(rc: &Rc, folder: &Path) -> Self {
        Self { child: Some(rc.command(folder).spawn().unwrap()) }
    }

    /// `redis-cli` with these lines as its input.
    pub fn cli(server: &RedisServer, lines: &str) -> Self {
        use std::io::Write as _;
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(server.socket()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        Self { child: Some(child) }
    }

    /// As a power cut would.
    pub fn kill(&mut self) {
        let child = self.child.as_mut().unwrap();
        let _ = child.kill();
        child.wait().unwrap();
    }

    /// Sends it a signal, such as `STOP`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").arg(format!("-{name}")).arg(id).status().unwrap().success());
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Waits for its end: the exit code, and all that it printed.
    #[track_caller]
    pub fn finished(mut self) -> (Option<i32>, String) {
        let begun = Instant::now();
        while !self.has_ended() {
            assert!(begun.elapsed() < LONG, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// As after the first write: else each writer is sent back for the script, and comes a second time, in any order.
#[track_caller]
pub fn load_script(server: &RedisServer) {
    server.run(&["SCRIPT", "LOAD", include_str!("../../src/store/redis/replace.lua")]);
}

/// Reads are answered and writes wait, until [`go_on`].
#[track_caller]
pub fn hold_writes(server: &RedisServer) {
    load_script(server);
    server.line("CLIENT PAUSE 60000 WRITE");
}

/// Held writes are done, in the order in which they came.
#[track_caller]
pub fn go_on(server: &RedisServer) {
    server.line("CLIENT UNPAUSE");
}

/// Waits until so many connections stand before a held write.
#[track_caller]
pub fn wait_for_held(server: &RedisServer, count: usize) {
    wait_until("a write is held", || {
        let clients = server.line("CLIENT LIST");
        let flags = |client: &str| client.split(' ').find_map(|field| field.strip_prefix("flags=").map(str::to_owned));
        clients.lines().filter_map(flags).filter(|flags| flags.contains('b')).count() == count
    });
}

#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LONG, "not so after {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
