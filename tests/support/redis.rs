//! A real `redis-server` as a child process, in a folder of its own, on a unix socket and (if asked) on a free port with
//! or without TLS. It is ended when the value is dropped. Tests of the crate include this file too (`src/store/redis`).

// Both the crate's tests and `tests/` use this file, each another part of it.
#![allow(dead_code)]

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long a server may take to start, to load, or to follow its primary.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// What a server is started with.
#[derive(Default)]
pub struct Options {
    tcp: bool,
    tls: bool,
    password: Option<String>,
    replica_of: Option<u16>,
    arguments: Vec<String>,
}

/// A running server.
pub struct RedisServer {
    child: Child,
    folder: tempfile::TempDir,
    password: Option<String>,
    port: Option<u16>,
    options: Options,
    authority_pem: Option<String>,
}

impl Options {
    /// Listens on a free port of the loopback, too.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.tcp = true;
        self
    }

    /// Listens with TLS only, with a certificate for `localhost` of an authority made for it.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The password of the user `default`.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Follows the server on that port of the loopback.
    #[must_use]
    pub fn replica_of(mut self, port: u16) -> Self {
        self.replica_of = Some(port);
        self
    }

    /// More arguments, as on the command line: `--maxmemory`, `1mb`.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> RedisServer {
        let folder = tempfile::Builder::new().prefix("rc-redis-").tempdir().expect("a folder for a redis-server");
        let authority_pem = self.tls.then(|| write_certificates(folder.path()));
        // Another process may take the free port before the server does: then it ends at once, and another is tried.
        for _ in 0..10 {
            let port = (self.tcp || self.tls).then(free_port);
            let mut child = spawn(&self, folder.path(), port);
            if wait_until_ready(&mut child, folder.path(), self.password.as_deref()) {
                let password = self.password.clone();
                return RedisServer { child, folder, password, port, options: self, authority_pem };
            }
        }
        let mut log = String::new();
        let _ = File::open(folder.path().join("log")).and_then(|mut file| file.read_to_string(&mut log));
        panic!("redis-server did not start:\n{log}");
    }
}

impl RedisServer {
    /// A server on a unix socket alone, without a password.
    #[track_caller]
    pub fn start() -> Self {
        Options::default().start()
    }

    /// What to start one with.
    pub fn with() -> Options {
        Options::default()
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The port on the loopback.
    #[track_caller]
    pub fn port(&self) -> u16 {
        self.port.expect("this redis-server was started without a port")
    }

    /// Where it is, as in `REDIS_HOSTS`: the port if it has one, else the socket. Without a login.
    pub fn url(&self) -> String {
        match self.port {
            Some(port) if self.options.tls => format!("rediss://localhost:{port}"),
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => format!("unix://{}", self.socket().display()),
        }
    }

    /// The certificate of the authority that signed the server's, in PEM.
    #[track_caller]
    pub fn authority_pem(&self) -> &str {
        self.authority_pem.as_deref().expect("this redis-server was started without TLS")
    }

    /// One command as user `default`; the answer as `redis-cli` prints it. Panics on an error answer.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = cli(&self.socket(), self.password.as_deref(), arguments);
        let answer = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
        let failed = !output.status.success() || !output.stderr.is_empty();
        assert!(!failed, "{arguments:?}: {answer}{}", String::from_utf8_lossy(&output.stderr));
        answer
    }

    /// One command line, split at spaces.
    #[track_caller]
    pub fn line(&self, line: &str) -> String {
        self.run(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    /// Fills a prefix as a relay's reset does.
    #[track_caller]
    pub fn fill(&self, prefix: &str, flags: &[(&str, &str)]) {
        let features = format!("{prefix}:features");
        self.run(&["DEL", &features]);
        for (flag, record) in flags {
            self.run(&["HSET", &features, flag, record]);
        }
        self.run(&["SET", &format!("{prefix}:$inited"), ""]);
    }

    /// Stops the process where it stands: it takes connections and answers nothing, like a host that hangs.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen server go on.
    #[track_caller]
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    #[track_caller]
    fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(signal).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill").success(), "kill {signal}");
    }

    /// Ends the process at once, like a power cut. [`RedisServer::restart`] starts it again in the same folder.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was, with what it had saved.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        self.child = spawn(&self.options, self.folder.path(), self.port);
        assert!(wait_until_ready(&mut self.child, self.folder.path(), self.password.as_deref()), "it did not restart");
    }

    /// Waits until `line` answers something that holds `wanted`.
    #[track_caller]
    pub fn wait_for(&self, line: &str, wanted: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.line(line);
            if answer.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < READY_WITHIN, "{line} never answered {wanted}, last: {answer}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("the address of a free port").port()
}

#[track_caller]
fn spawn(options: &Options, folder: &Path, port: Option<u16>) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("a log for redis-server");
    let mut command = Command::new("redis-server");
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().expect("the log twice")).stderr(log);
    let port = port.unwrap_or(0).to_string();
    let (plain, tls) = if options.tls { ("0", port.as_str()) } else { (port.as_str(), "0") };
    command.args(["--unixsocket", "s", "--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", plain]);
    if options.tls {
        command.args(["--tls-port", tls, "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]);
        command.args(["--tls-ca-cert-file", "authority.pem", "--tls-auth-clients", "no"]);
    }
    if let Some(password) = &options.password {
        command.args(["--requirepass", password]);
    }
    if let Some(primary) = options.replica_of {
        command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
    }
    command.args(&options.arguments);
    command.spawn().unwrap_or_else(|error| {
        panic!("these tests need redis-server, and it could not be started ({error}): apt-get install redis-server")
    })
}

/// Whether the server answers; `false` if it has ended.
#[track_caller]
fn wait_until_ready(child: &mut Child, folder: &Path, password: Option<&str>) -> bool {
    let begun = Instant::now();
    let socket = folder.join("s");
    loop {
        if child.try_wait().expect("the state of redis-server").is_some() {
            return false;
        }
        if UnixStream::connect(&socket).is_ok() {
            let answer = cli(&socket, password, &["PING"]);
            if answer.stdout.starts_with(b"PONG") {
                return true;
            }
        }
        assert!(begun.elapsed() < READY_WITHIN, "redis-server is not ready after {READY_WITHIN:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn cli(socket: &Path, password: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new("redis-cli");
    // -e: an error answer ends the process with a failure.
    command.arg("-e").arg("-s").arg(socket).env_remove("REDISCLI_AUTH");
    if let Some(password) = password {
        command.env("REDISCLI_AUTH", password);
    }
    command.args(arguments).output().unwrap_or_else(|error| {
        panic!("these tests need redis-cli, and it could not be started ({error}): apt-get install redis-tools")
    })
}

/// Writes `authority.pem`, `cert.pem` and `key.pem`; gives the first back.
fn write_certificates(folder: &Path) -> String {
    use rcgen::BasicConstraints;
    use rcgen::CertificateParams;
    use rcgen::IsCa;
    use rcgen::Issuer;
    use rcgen::KeyPair;

    let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority_pem = authority.self_signed(&authority_key).expect("a certificate").pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).and_then(|server| server.signed_by(&key, &issuer));
    let certificate = certificate.expect("a certificate").pem();
    for (name, text) in
        [("authority.pem", &authority_pem), ("cert.pem", &certificate), ("key.pem", &key.serialize_pem())]
    {
        std::fs::write(folder.join(name), text).expect("a certificate on disk");
    }
    authority_pem
}
