//! What the rehearsal plays on: a simulated LaunchDarkly, a store, a relay before it (a stand-in, or the operator's own
//! program), SDKs that are connected, and two operators with homes of their own. Everything is in one temporary folder and
//! ends with it.

pub mod account;
mod ground;
mod looking;
mod relay;
mod words;

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

pub use self::ground::Ground;
pub use self::looking::flag_key;
pub use self::relay::Relay;
pub use self::words::all_of;
pub use self::words::listed;
pub use self::words::shape;
use super::judgement::Deed;
use super::judgement::Step;
use super::operator::Operator;
use super::operator::Ran;
use super::raw::Content;
use super::raw::RawStore;
use super::raw::Trouble;
use super::scratch::Scratch;
use super::sdks;
use super::sdks::Sdks;
use crate::drill::launchdarkly::Control;
use crate::drill::launchdarkly::Options;
use crate::drill::launchdarkly::Running;
use crate::drill::launchdarkly::SimulatedLaunchDarkly;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::settings::home::FILE_NAME;

/// The stage.
#[derive(Debug)]
pub struct Stage {
    /// The store, without anything in between.
    pub store: RawStore,
    /// Who meets the incident.
    pub anna: Operator,
    /// Her colleague, on another machine.
    pub bob: Operator,
    /// The environment that everything happens in.
    pub environment: Environment,
    /// The store as it was before anything happened.
    pub before: Content,
    /// What stands between LaunchDarkly and SDKs.
    pub relay: Relay,
    /// The SDKs.
    pub sdks: Sdks,
    /// When the kill switch was typed.
    pub switched: Instant,
    /// What was measured of the operator's own relay.
    pub measured: Vec<Measured>,
    launchdarkly: Running,
    ground: Ground,
    folder: TempDir,
}

/// How long something of a relay took, that nobody can say beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// What.
    pub what: String,
    /// How long.
    pub took: Duration,
}

/// What the stage is made of.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// A prefix of the operator's Redis; none: a store of the drill's own.
    pub scratch: Option<Arc<Scratch>>,
    /// The operator's relay; none: a stand-in.
    pub relay: Option<PathBuf>,
}

impl Stage {
    /// Sets everything up.
    ///
    /// # Errors
    /// Where this machine does not let us: no temporary folder, no port. Where the operator's relay does not run.
    pub async fn set(parts: &Parts) -> Result<Self, Failure> {
        let environment: Environment = format!("{}/{}", account::PROJECT, account::ENVIRONMENT)
            .parse()
            .map_err(|error: crate::flag::key::KeyError| not_set("no environment", error))?;
        let seed = account::seed().map_err(|error| not_set("its account is not one", error))?;
        let started = SimulatedLaunchDarkly::start(Options { seed, listener: None }).await;
        let launchdarkly = started.map_err(|error| not_set("the simulated LaunchDarkly did not start", error))?;
        let folder = tempfile::Builder::new().prefix("rc-drill-").tempdir();
        let folder = folder.map_err(|error| not_set("there is no temporary folder", error))?;
        let ground = match &parts.scratch {
            Some(scratch) => Ground::Scratch(Arc::clone(scratch)),
            None => Ground::own(folder.path(), parts.relay.is_some()).await?,
        };
        let client = sdks::client().map_err(|error| not_set("no requests can be made", error))?;
        let setting = relay::Setting { ground: &ground, folder: folder.path(), stream_url: &launchdarkly.stream_url };
        let relay = match &parts.relay {
            Some(program) => Relay::program(&setting, program, &client, &environment).await?,
            None => Relay::stand_in(&setting, &environment).await?,
        };
        let mut store = ground.raw().await?;
        let before = store.content().await.map_err(|error| not_set("the store cannot be read", error))?;
        let flags = account::FLAGS.iter().map(|flag| flag_key(flag)).collect::<Result<Vec<_>, _>>();
        let flags = flags.map_err(|error| not_set("no flags", error))?;
        let connected = Sdks::connect(client, &relay.url(), account::SDK_KEY, flags).await;
        let sdks = connected.map_err(|error| not_set("no SDK is served", error))?;
        let homes = Homes { ground: &ground, relay: &relay, environment: &environment, folder: folder.path() };
        let homes = |name| {
            homes.settle(name, &launchdarkly.base_url).map_err(|error| not_set("a home could not be made", error))
        };
        let (anna, bob) = (homes("anna")?, homes("bob")?);
        let (switched, measured) = (Instant::now(), Vec::new());
        Ok(Self {
            store,
            anna,
            bob,
            environment,
            before,
            relay,
            sdks,
            switched,
            measured,
            launchdarkly,
            ground,
            folder,
        })
    }

    /// The store.
    pub fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Where the simulated LaunchDarkly's API is.
    pub fn launchdarkly_url(&self) -> &str {
        &self.launchdarkly.base_url
    }

    /// Where its streams are.
    pub fn stream_url(&self) -> &str {
        &self.launchdarkly.stream_url
    }

    /// The folder with both homes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The hand on LaunchDarkly.
    pub fn control(&self) -> &Control {
        &self.launchdarkly.control
    }

    /// How a command ends that wrote everything: done, or, where `rc` knows a relay that cannot have broadcast it, written
    /// and not live.
    pub fn written(&self) -> ExitCode {
        if self.relay.is_named() { ExitCode::NotLive } else { ExitCode::Done }
    }

    /// Notes how long something of the operator's own relay took; a stand-in tells nobody anything.
    pub fn measure(&mut self, what: &str, took: Duration) {
        if self.relay.is_named() {
            self.measured.push(Measured { what: what.to_owned(), took });
        }
    }

    /// Ends the operator's own relay and starts it again; a stand-in has nothing to show by that.
    ///
    /// # Errors
    /// Where it does not end, or does not start.
    pub async fn restart_relay(&mut self) -> Result<(), Trouble> {
        match &mut self.relay {
            Relay::Program(program) => program.restart(self.sdks.client()).await,
            Relay::StandIn(..) => Ok(()),
        }
    }

    /// Ends everything but the operator's Redis. With `keep` the folder stays, and is returned.
    ///
    /// # Errors
    /// Where something does not end, or the folder cannot be removed.
    pub async fn strike(self, keep: bool) -> io::Result<Option<PathBuf>> {
        let Self { launchdarkly, ground, folder, store, relay, sdks, .. } = self;
        drop(sdks);
        let relay = relay.stop().await;
        drop(store);
        launchdarkly.stop().await;
        if let Ground::Server(server) = ground {
            server.stop().await?;
        }
        relay?;
        if keep {
            return Ok(Some(folder.keep()));
        }
        folder.close().map(|()| None)
    }

    /// Runs a command in Anna's home, and notes it.
    pub async fn anna(&self, step: &mut Step, words: &[&str]) -> Ran {
        noted(self.anna.run(words).await, step)
    }

    /// Runs a command in Anna's home that knows the relay, whether or not her `.env` names it, and notes it.
    pub async fn anna_at_the_relay(&self, step: &mut Step, words: &[&str]) -> Ran {
        noted(self.anna.run_with(words, &self.relay.variables()).await, step)
    }

    /// Runs a command in Bob's home, and notes it.
    pub async fn bob(&self, step: &mut Step, words: &[&str]) -> Ran {
        noted(self.bob.run(words).await, step)
    }
}

fn noted(ran: Ran, step: &mut Step) -> Ran {
    step.deeds.push(Deed::Command(ran.clone()));
    ran
}

/// What the homes of the operators are made of.
struct Homes<'s> {
    ground: &'s Ground,
    relay: &'s Relay,
    environment: &'s Environment,
    folder: &'s Path,
}

impl Homes<'_> {
    fn settle(&self, name: &'static str, api_url: &str) -> io::Result<Operator> {
        let told = self.ground.for_rc();
        let mut lines = vec![told.line, format!("LD_API_URL={api_url}"), format!("LD_API_KEY={}", account::TOKEN)];
        if self.relay.is_named() {
            let named = self.relay.variables();
            lines.extend(named.iter().map(|(name, value)| format!("{name}={}", value.to_string_lossy())));
        }
        let operator = Operator::settle(name, self.folder, &format!("{}\n", lines.join("\n")))?;
        if let Some(prefix) = &told.prefix {
            let text = toml::Value::String(prefix.clone());
            let section = format!("[environment.\"{}\"]\nprefix = {text}\n", self.environment);
            fs::write(operator.home().join(FILE_NAME), section)?;
        }
        Ok(operator.with(told.variables).confined_to(told.prefix))
    }
}

/// This machine does not let us begin.
pub fn not_set(what: &str, why: impl ToString) -> Failure {
    Failure::new(Kind::Other, format!("the rehearsal cannot begin: {what}")).cause(why.to_string())
}
