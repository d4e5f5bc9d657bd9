//! The operator's own relay (ld-relay, version 8) as a child, configured for the rehearsal: its own folder and port, the
//! rehearsal's Redis, LaunchDarkly's addresses all the simulated one's, so that nothing of it goes anywhere else. It must
//! not know what is rehearsed.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio::time::sleep;

use super::child::Child;
use super::child::Program;
use super::raw::Trouble;
use crate::relay::address::RelayAddress;
use crate::relay::client::RelayClient;
use crate::relay::status::RelayStatus;
use crate::ui::secret::Secret;

/// How long its cache keeps what it read. A relay's own default is 30 s, which nobody wants to wait for here.
pub const CACHE_TIME: Duration = Duration::from_secs(2);

/// How long it may take until it answers at all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take until it has filled its store.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

/// How often it is asked meanwhile.
const STEP: Duration = Duration::from_millis(20);

/// How often another port is tried, where somebody else was quicker.
const PORTS_MAX: u32 = 3;

/// The lines of its log that are shown where it does not run.
const LOG_LINES_SHOWN: usize = 5;

/// The Redis that it is given.
#[derive(Debug, Clone, Default)]
pub struct RelayRedis {
    /// `redis://host:port/database` or `rediss://…`, without a login.
    pub url: String,
    /// The user.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the authority of a `rediss://` server.
    pub authority: Option<PathBuf>,
}

/// What it is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// A folder for its configuration and its log. It must be there.
    pub folder: PathBuf,
    /// Where LaunchDarkly's streams are: `http://127.0.0.1:PORT`.
    pub stream_url: String,
    /// The SDK key of the environment.
    pub sdk_key: String,
    /// The name of the environment's section, `project environment`.
    pub environment: String,
    /// The project's key.
    pub project: String,
    /// The prefix of the environment's keys.
    pub prefix: String,
    /// The store.
    pub redis: RelayRedis,
}

/// A relay that runs.
#[derive(Debug)]
pub struct RelayProgram {
    setup: Setup,
    port: u16,
    version: String,
    /// None where it was ended and could not be started again.
    child: Option<Child>,
}

impl RelayProgram {
    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// Where it does not run, with what it said last; where it is of another version than 8.
    pub async fn start(setup: Setup, client: &RelayClient) -> Result<Self, Trouble> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let port = free_port().await.map_err(|error| error.to_string())?;
            write_configuration(&setup, port).map_err(|error| format!("its configuration: {error}"))?;
            let mut child = launch(&setup)?;
            match answered(&mut child, &setup, client, port).await {
                Ok(status) => {
                    let version = status.version.clone().unwrap_or_default();
                    if status.major_version() != Some(8) {
                        let it = if version.is_empty() { "an unknown version" } else { version.as_str() };
                        return Err(format!("it is of {it}: relays of version 8 can be rehearsed"));
                    }
                    return Ok(Self { setup, port, version, child: Some(child) });
                }
                Err(trouble) if attempts < PORTS_MAX && trouble.contains("address already in use") => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Waits until it is connected to LaunchDarkly, and so has filled its store.
    ///
    /// # Errors
    /// Where that does not happen in time, with what it said last.
    pub async fn connected(&self, client: &RelayClient) -> Result<(), Trouble> {
        let relay = address(self.port)?;
        let until = Instant::now() + CONNECTED_WITHIN;
        loop {
            let told = match client.status(&relay).await {
                Ok(status) if status.healthy => return Ok(()),
                Ok(_) => "it says that it is not connected".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                let words = last_words(&self.setup.folder);
                let within = CONNECTED_WITHIN.as_secs();
                return Err(format!(
                    "it did not connect to the simulated LaunchDarkly within {within} s ({told}){words}"
                ));
            }
            sleep(STEP).await;
        }
    }

    /// Ends it and starts it again, on the same port. Returns as soon as it answers at all, which is long before it serves.
    ///
    /// # Errors
    /// Where it does not end, or does not start.
    pub async fn restart(&mut self, client: &RelayClient) -> Result<(), Trouble> {
        if let Some(child) = self.child.take() {
            child.stop().await.map_err(|error| format!("the relay: {error}"))?;
        }
        let mut child = launch(&self.setup)?;
        answered(&mut child, &self.setup, client, self.port).await?;
        self.child = Some(child);
        Ok(())
    }

    /// Where SDKs connect to it: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its configuration file, which holds no secret but the simulated environment's SDK key.
    pub fn configuration(&self) -> PathBuf {
        configuration_file(&self.setup.folder)
    }

    /// Ends it. Returns when it is gone.
    ///
    /// # Errors
    /// Where it does not go.
    pub async fn stop(self) -> io::Result<()> {
        match self.child {
            Some(child) => child.stop().await,
            None => Ok(()),
        }
    }
}

async fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn address(port: u16) -> Result<RelayAddress, Trouble> {
    RelayAddress::labelled("drill", &url(port)).map_err(|error| error.to_string())
}

fn configuration_file(folder: &Path) -> PathBuf {
    folder.join("ld-relay.conf")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("relay.log")
}

fn write_configuration(setup: &Setup, port: u16) -> io::Result<()> {
    fs::write(configuration_file(&setup.folder), configuration(setup, port))
}

/// What it is told. Nothing secret: the login to Redis goes by its environment.
fn configuration(setup: &Setup, port: u16) -> String {
    let launchdarkly = quoted(&setup.stream_url);
    format!(
        "# Written by rc drill, for one rehearsal.\n\
         [Main]\n\
         port = {port}\n\
         streamUri = {launchdarkly}\n\
         baseUri = {launchdarkly}\n\
         clientSideBaseUri = {launchdarkly}\n\n\
         [Events]\n\
         eventsUri = {launchdarkly}\n\n\
         [Redis]\n\
         url = {redis}\n\
         localTtl = {cache_time}ms\n\n\
         [Environment {environment}]\n\
         sdkKey = {sdk_key}\n\
         projKey = {project}\n\
         prefix = {prefix}\n",
        redis = quoted(&setup.redis.url),
        cache_time = CACHE_TIME.as_millis(),
        environment = quoted(&setup.environment),
        sdk_key = quoted(&setup.sdk_key),
        project = quoted(&setup.project),
        prefix = quoted(&setup.prefix),
    )
}

/// A value or name of git-config in quotes.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn launch(setup: &Setup) -> Result<Child, Trouble> {
    let failed = |error: io::Error| format!("{}: {error}", setup.program.display());
    let log = File::options().create(true).append(true).mode(0o600).open(log_file(&setup.folder)).map_err(failed)?;
    let arguments = ["--config".into(), configuration_file(&setup.folder).into(), "--from-env".into()];
    let redis = &setup.redis;
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    variables.extend(redis.user.as_ref().map(|user| ("REDIS_USERNAME", user.into())));
    variables.extend(redis.password.as_ref().map(|password| ("REDIS_PASSWORD", password.expose().into())));
    // Go's TLS takes its roots from there.
    variables.extend(redis.authority.as_ref().map(|file| ("SSL_CERT_FILE", file.into())));
    let program = Program {
        path: &setup.program,
        arguments: &arguments,
        variables: &variables,
        folder: &setup.folder,
        log: Some(log),
    };
    Child::start(program).map_err(failed)
}

/// Waits until it answers.
async fn answered(child: &mut Child, setup: &Setup, client: &RelayClient, port: u16) -> Result<RelayStatus, Trouble> {
    let relay = address(port)?;
    let until = Instant::now() + ANSWERS_WITHIN;
    loop {
        let problem = match client.status(&relay).await {
            Ok(status) => return Ok(status),
            Err(problem) => problem,
        };
        if child.ended().is_some() {
            return Err(format!("it ended at once{}", last_words(&setup.folder)));
        }
        if Instant::now() > until {
            let words = last_words(&setup.folder);
            return Err(format!("it did not answer within {} s ({problem}){words}", ANSWERS_WITHIN.as_secs()));
        }
        sleep(STEP).await;
    }
}

/// The last lines of its log, as the end of a sentence.
fn last_words(folder: &Path) -> String {
    let log = fs::read_to_string(log_file(folder)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
    match lines.get(shown..) {
        Some(last) if !last.is_empty() => format!(", and said last:\n{}", last.join("\n")),
        _ => ", and said nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::cache_time::CacheTime;
    use crate::relay::configuration::RelayConfiguration;

    fn setup() -> Setup {
        Setup {
            program: "/nonexistent/ld-relay".into(),
            folder: "/tmp".into(),
            stream_url: "http://127.0.0.1:4000".to_owned(),
            sdk_key: "sdk-1".to_owned(),
            environment: "shop production".to_owned(),
            project: "shop".to_owned(),
            prefix: "a\\b \"c\" ; #d".to_owned(),
            redis: RelayRedis {
                url: "redis://127.0.0.1:6379/3".to_owned(),
                user: Some("anna".to_owned()),
                password: Some(Secret::new("hunter2")),
                authority: None,
            },
        }
    }

    #[test]
    fn what_it_is_told() {
        let text = configuration(&setup(), 8030);
        assert!(!text.contains("hunter2") && !text.contains("anna"), "{text}");
        let read = RelayConfiguration::from_file(&text, "ld-relay.conf").unwrap();
        assert_eq!(read.cache_time, CacheTime::For(CACHE_TIME));
        let environment = read.matches(&"shop/production".parse().unwrap())[0];
        assert_eq!(read.copies(environment)[0].prefix, setup().prefix);
        assert!(environment.sdk_key.is_some());
        for address in text.lines().filter(|line| line.contains("Uri")) {
            assert!(address.contains("127.0.0.1"), "{address}");
        }
    }

    #[tokio::test]
    async fn one_that_does_not_run() {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let client = RelayClient::new(crate::relay::client::Deadlines::default()).unwrap();
        let program = folder.path().join("no-relay");
        fs::write(&program, "#!/bin/sh\necho that is no relay\nexit 3\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(&program, mode).unwrap();
        let setup = Setup { program, folder: folder.path().to_owned(), ..setup() };
        let trouble = RelayProgram::start(setup, &client).await.unwrap_err();
        assert_eq!(trouble, "it ended at once, and said last:\nthat is no relay");
    }
}
