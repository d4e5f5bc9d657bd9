//! What stands between LaunchDarkly and SDKs in the rehearsal: the stand-in, or the operator's own relay. Scenes see no
//! difference but for how long things take, and whether `rc` is told of it: a rehearsal with the stand-in would wait a
//! second in each update for a broadcast that cannot come.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use super::account;
use super::ground::Ground;
use super::not_set;
use crate::commands::drill::raw::Trouble;
use crate::commands::drill::relay_program;
use crate::commands::drill::relay_program::RelayProgram;
use crate::commands::drill::stand_in;
use crate::commands::drill::stand_in::Place;
use crate::commands::drill::stand_in::StandIn;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::relay::client::RelayClient;
use crate::ui::time::duration;

/// How long the stand-in may take for anything.
const STAND_IN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a real relay may take: its own waits before it connects again go up to 30 s, and then there is chance in them.
const PROGRAM_PATIENCE: Duration = Duration::from_secs(90);

/// The label of store and relay, by which `rc` pairs them.
const LABEL: &str = "drill";

/// See the head of this file.
#[derive(Debug)]
pub enum Relay {
    /// The drill's own, and the file that tells `rc` of its SDK key.
    StandIn(StandIn, PathBuf),
    /// The operator's.
    Program(Box<RelayProgram>),
}

/// What a relay is started in.
#[derive(Debug)]
pub struct Setting<'s> {
    /// The store.
    pub ground: &'s Ground,
    /// The folder of the rehearsal.
    pub folder: &'s Path,
    /// Where LaunchDarkly's streams are.
    pub stream_url: &'s str,
}

impl Relay {
    /// Starts the stand-in, and waits until it has filled the store.
    ///
    /// # Errors
    /// Where there is no port, or the store cannot be filled.
    pub async fn stand_in(setting: &Setting<'_>, environment: &Environment) -> Result<Self, Failure> {
        let place = Place {
            environment: Place::name_of(environment),
            server: setting.ground.server_url(),
            prefix: setting.ground.prefix().to_owned(),
        };
        let file = setting.folder.join("ld-relay.conf");
        let mut section = format!(
            "# What rc is told of the stand-in.\n[Redis]\nhost = localhost\nlocalTtl = {}ms\n\n\
             [Environment \"{}\"]\nsdkKey = {}\nprojKey = {}\n",
            stand_in::CACHE_TIME.as_millis(),
            place.environment,
            account::SDK_KEY,
            account::PROJECT,
        );
        if !place.prefix.is_empty() {
            section.push_str(&format!("prefix = {}\n", relay_program::quoted(&place.prefix)));
        }
        fs::write(&file, section).map_err(|error| not_set("there is no room for a file", error))?;
        let setup = stand_in::Setup {
            stream_url: setting.stream_url.to_owned(),
            sdk_key: account::SDK_KEY.to_owned(),
            store: setting.ground.raw().await?,
            place,
        };
        let started = StandIn::start(setup).await.map_err(|error| not_set("the stand-in for a relay", error))?;
        let filled = started.filled(STAND_IN_PATIENCE).await;
        filled.map_err(|error| not_set("the store could not be filled", error))?;
        Ok(Relay::StandIn(started, file))
    }

    /// Starts the operator's relay, and waits until it has filled the store.
    ///
    /// # Errors
    /// Where it does not run, or does not connect to the simulated LaunchDarkly.
    pub async fn program(
        setting: &Setting<'_>,
        program: &Path,
        client: &RelayClient,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let folder = setting.folder.join("relay");
        fs::create_dir(&folder).map_err(|error| not_set("there is no room for a folder", error))?;
        let setup = relay_program::Setup {
            program: program.to_owned(),
            folder,
            stream_url: setting.stream_url.to_owned(),
            sdk_key: account::SDK_KEY.to_owned(),
            environment: Place::name_of(environment),
            project: environment.project.to_string(),
            prefix: setting.ground.prefix().to_owned(),
            redis: setting.ground.for_relay()?,
        };
        let failed = |trouble: Trouble| not_set(&format!("your relay {} does not run", program.display()), trouble);
        let started = RelayProgram::start(setup, client).await.map_err(failed)?;
        started.connected(client).await.map_err(failed)?;
        Ok(Relay::Program(Box::new(started)))
    }

    /// Where SDKs connect to it.
    pub fn url(&self) -> String {
        match self {
            Relay::StandIn(stand_in, _) => stand_in.url().to_owned(),
            Relay::Program(program) => program.url(),
        }
    }

    /// Whether the operators' `.env` names it.
    pub fn is_named(&self) -> bool {
        matches!(self, Relay::Program(_))
    }

    /// The variables by which `rc` knows it.
    pub fn variables(&self) -> Vec<(String, OsString)> {
        let file = match self {
            Relay::StandIn(_, file) => file.clone(),
            Relay::Program(program) => program.configuration(),
        };
        vec![
            ("RELAY_URLS".to_owned(), format!("{LABEL}={}", self.url()).into()),
            ("RC_RELAY_CONFIG".to_owned(), file.into()),
        ]
    }

    /// In words.
    pub fn told(&self) -> String {
        match self {
            Relay::StandIn(..) => format!(
                "a stand-in of the drill's own, with a relay's rules; cache time {}",
                duration(stand_in::CACHE_TIME)
            ),
            Relay::Program(program) => format!(
                "yours, version {}, at {}; cache time {} here",
                program.version(),
                program.url(),
                duration(relay_program::CACHE_TIME)
            ),
        }
    }

    /// `stand-in` or `program`.
    pub fn kind(&self) -> &'static str {
        if self.is_named() { "program" } else { "stand-in" }
    }

    /// The version of the operator's own.
    pub fn version(&self) -> Option<&str> {
        match self {
            Relay::StandIn(..) => None,
            Relay::Program(program) => Some(program.version()),
        }
    }

    /// How long its cache keeps what it read.
    pub fn cache_time(&self) -> Duration {
        if self.is_named() { relay_program::CACHE_TIME } else { stand_in::CACHE_TIME }
    }

    /// How long it may take for what it does by itself.
    pub fn patience(&self) -> Duration {
        if self.is_named() { PROGRAM_PATIENCE } else { STAND_IN_PATIENCE }
    }

    /// What went wrong with it, if it says so.
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Relay::StandIn(stand_in, _) => stand_in.trouble(),
            Relay::Program(_) => None,
        }
    }

    /// Ends it. Returns when nothing of it writes any more.
    ///
    /// # Errors
    /// Where it does not go.
    pub async fn stop(self) -> io::Result<()> {
        match self {
            Relay::StandIn(stand_in, _) => {
                stand_in.stop().await;
                Ok(())
            }
            Relay::Program(program) => program.stop().await,
        }
    }
}
