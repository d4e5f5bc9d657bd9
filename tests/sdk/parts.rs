//! Which of the parts that we did not write are on this machine, and how each is started. `scripts/sdk` installs them and
//! names their folder in `RC_SDK`. What they are used for is not this module's business.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;

use crate::support::ld_relay;

/// Something that a test cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// One of LaunchDarkly's server SDKs.
    Sdk(Sdk),
    /// LaunchDarkly's own relay.
    Relay,
}

/// LaunchDarkly's server SDK for a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Go,
    Node,
    Python,
}

impl Sdk {
    pub const ALL: [Self; 3] = [Self::Go, Self::Node, Self::Python];

    /// As tests are named after it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// What starts its watcher, if it was installed.
    pub fn command(self) -> Option<Command> {
        let folder = folder()?;
        let (program, script) = match self {
            Self::Go => (folder.join("go-watcher"), None),
            Self::Node => (PathBuf::from("node"), Some("tests/sdk/node/watcher.js")),
            Self::Python => (folder.join("python/bin/python"), Some("tests/sdk/python/watcher.py")),
        };
        let installed = if self == Self::Node { folder.join("node/installed") } else { program.clone() };
        installed.exists().then(|| {
            let mut command = Command::new(program);
            command.env("NODE_PATH", folder.join("node/node_modules")).current_dir(env!("CARGO_MANIFEST_DIR"));
            command.args(script);
            command
        })
    }
}

/// What starts LaunchDarkly's API client for Python, if it was installed.
pub fn api_client() -> Option<Command> {
    let mut command = Sdk::Python.command()?;
    let program = command.get_program().to_owned();
    command = Command::new(program);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("tests/sdk/python/api.py");
    Some(command)
}

fn folder() -> Option<PathBuf> {
    env::var_os("RC_SDK").map(PathBuf::from)
}

impl Part {
    fn is_there(self) -> bool {
        match self {
            Self::Sdk(sdk) => sdk.command().is_some(),
            Self::Relay => ld_relay::program().is_some(),
        }
    }

    fn absence(self) -> String {
        match self {
            Self::Sdk(sdk) => format!("LaunchDarkly's {} SDK is not installed: run scripts/sdk", sdk.name()),
            Self::Relay => "a real relay: LD_RELAY is not set (the path of an ld-relay program)".to_owned(),
        }
    }
}

/// A test that each SDK has to pass, with its name.
pub type TestOfEach = (&'static str, fn(Sdk));

/// A line for each part without which tests are not run.
pub fn say_what_is_not_there() {
    if folder().is_none() {
        println!("NOT RUN  LaunchDarkly's own SDKs: run scripts/sdk");
        return;
    }
    let sdks = Sdk::ALL.into_iter().map(Part::Sdk);
    for part in sdks.chain([Part::Relay]).filter(|part| !part.is_there()) {
        println!("NOT RUN  {}", part.absence());
    }
}

/// A test, shown as ignored where something that it needs is not there.
pub fn trial(name: &str, needs: &[Part], test: impl FnOnce() + Send + 'static) -> Trial {
    let is_there = needs.iter().all(|part| part.is_there());
    let run = move || {
        test();
        Ok(())
    };
    Trial::test(name, run).with_ignored_flag(!is_there)
}

/// The same tests for each SDK, named `name::sdk`.
pub fn for_each_sdk(tests: &[TestOfEach]) -> Vec<Trial> {
    let one = |&(name, test): &TestOfEach, sdk: Sdk| {
        trial(&format!("{name}::{}", sdk.name()), &[Part::Sdk(sdk)], move || test(sdk))
    };
    tests.iter().flat_map(|of_each| Sdk::ALL.map(|sdk| one(of_each, sdk))).collect()
}
