//! What `rc guard` is started with: a home and stores of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::scripted::Scripted;
use super::wire::LONG;
pub use crate::support::guard::Guard;
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
        let rc = self.rc(&format!("--admin 127.0.0.1:0 --listen {address}")).args(arguments.iter().copied());
        Guard::start(&rc, self.home.path())
    }

    /// What starts it, with these words more, for a test that has an eye on the process itself.
    pub fn command(&self, line: &str) -> Command {
        self.rc(line).command(self.home.path())
    }

    /// What starts one on nobody's stream, which knows no relay's configuration: the environment is named.
    pub fn only_stores(&self) -> Rc {
        let rc = Rc::new().line("guard --log json --no-stream --admin 127.0.0.1:0 -p shop -e production");
        self.variables.iter().fold(rc, |rc, (name, value)| rc.env(name, value))
    }

    fn rc(&self, line: &str) -> Rc {
        fs::write(self.home.path().join("ld-relay.conf"), &self.relay_configuration).unwrap();
        let mut rc = Rc::new().line("guard --log json --relay-config ld-relay.conf").line(line);
        rc = rc.args(self.arguments.iter().map(String::as_str));
        rc = rc.env("LD_STREAM_URL", &self.stream_url);
        for (name, value) in &self.variables {
            rc = rc.env(name, value);
        }
        rc
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
