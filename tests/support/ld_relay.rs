//! LaunchDarkly's own relay as a child process, with its configuration in a folder of its own. The program is the one that
//! `LD_RELAY` names.

// Both test programs use this file, each another part of it.
#![allow(dead_code)]

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use super::redis::free_port;

/// The relay's program, if there is one.
pub fn program() -> Option<PathBuf> {
    env::var_os("LD_RELAY").map(|name| PathBuf::from(&name).canonicalize().expect("LD_RELAY names a file"))
}

/// A relay that runs, or has run; it ends with the value, before its folder goes.
pub struct LdRelay {
    child: Option<Child>,
    program: PathBuf,
    /// Its configuration as variables; none: it has a file.
    variables: Vec<(String, String)>,
    port: u16,
    /// When it was started last.
    pub begun: Instant,
    folder: tempfile::TempDir,
}

impl LdRelay {
    /// Starts it at a free port, which `configuration` puts into its `ld-relay.conf`.
    #[track_caller]
    pub fn start(program: &Path, configuration: impl FnOnce(u16) -> String) -> Self {
        let port = free_port();
        Self::start_at(program, port, &configuration(port))
    }

    /// Starts it with this `ld-relay.conf`, which names the port.
    #[track_caller]
    pub fn start_at(program: &Path, port: u16, configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ld-relay.conf"), configuration).unwrap();
        Self::begin(program, port, Vec::new(), folder)
    }

    /// Starts it with these variables, which name the port, and no file.
    #[track_caller]
    pub fn start_from_env(program: &Path, port: u16, variables: Vec<(String, String)>) -> Self {
        Self::begin(program, port, variables, tempfile::tempdir().unwrap())
    }

    fn begin(program: &Path, port: u16, variables: Vec<(String, String)>, folder: tempfile::TempDir) -> Self {
        let begun = Instant::now();
        let mut relay = Self { child: None, program: program.to_owned(), variables, port, begun, folder };
        relay.start_again();
        relay
    }

    /// Starts it once more, with the same configuration; what runs is ended first.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.stop();
        let output = fs::File::options().create(true).append(true).open(self.folder.path().join("output")).unwrap();
        let mut command = Command::new(&self.program);
        let arguments = if self.variables.is_empty() { &["--config", "ld-relay.conf"][..] } else { &["--from-env"] };
        command.args(arguments).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        self.begun = Instant::now();
        self.child = Some(command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap());
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Ended already, or about to be.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.path().join("ld-relay.conf")
    }

    /// All that it printed.
    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for LdRelay {
    fn drop(&mut self) {
        self.stop();
    }
}
