//! `rc guard`.

mod environments;
mod notifying;
mod replaying;
mod telling;
mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

use super::Context;
use crate::change::id::Actor;
use crate::change::signing::Keys;
use crate::commands::relays::Configurations;
use crate::commands::signing;
use crate::commands::stores;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::FlagKey;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::guard::answer::REFUSED_FOR;
use crate::guard::folder::Folder;
use crate::guard::folder::FolderError;
use crate::guard::folder::Keeper;
use crate::guard::overrides;
use crate::guard::overrides::Follow;
use crate::guard::overrides::Following;
use crate::guard::overrides::OnExpiry;
use crate::guard::presence::Itself;
use crate::guard::running::Guard;
use crate::guard::stream::hub::HubParts;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::upstream::LaunchDarkly;
use crate::guard::stream::upstream::SILENCE_MAX;
use crate::settings::GuardSettings;
use crate::settings::LogForm;
use crate::settings::Settings;
use crate::settings::guard::address;
use crate::settings::guard::name;
use crate::settings::time::wait;
use environments::Environments;
use notifying::Notifying;
use replaying::Replaying;
use telling::Telling;

/// How long the end waits for what is being sent to LaunchDarkly.
const ROUND_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Stand on the relays' stream: what is changed reaches everyone at once, and stays
///
/// Relays are pointed at it with streamUri, and need nothing else. What rc update writes into the stores is broadcast
/// through them at once, and holds when LaunchDarkly's stream returns. While LaunchDarkly is away, relays stay connected
/// and new ones start. Runs until SIGTERM or Ctrl-C; another one may be started at once.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where relays come, such as 127.0.0.1:8031
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,

    /// Stand on no relay's stream: watch the stores, write overrides again that are lost there, and tell people
    #[arg(long, conflicts_with_all = ["listen", "shadow", "tls_cert", "tls_key"])]
    pub no_stream: bool,

    /// Where /status and /metrics are answered, such as 127.0.0.1:8032
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,

    /// Folder of the guard's own: last states, and what it writes down
    #[arg(long, value_name = "FOLDER")]
    pub state: Option<PathBuf>,

    /// Forward and compare, and never change anything
    #[arg(long)]
    pub shadow: bool,

    /// What holds where LaunchDarkly changed the same too; its turning a flag off always wins
    #[arg(long, value_name = "WHO", default_value = "hold")]
    pub on_conflict: Conflict,

    /// What is done about an override whose time has come (rc update --expires): people are told, or it is undone
    #[arg(long, value_name = "WHAT", default_value = "alarm")]
    pub on_expiry: Expiry,

    /// Who replays what is owed: a person, or the guard as soon as LaunchDarkly's API answers
    #[arg(long, value_name = "WHO", default_value = "manual")]
    pub replay: Replay,

    /// Let --replay auto send whatever stands in the stores, signed (RC_SIGNING_KEY_FILE) or not: whoever can write them writes
    /// LaunchDarkly through it
    #[arg(long)]
    pub trust_store: bool,

    /// Only these flags are replayed by --replay auto; may be given several times
    #[arg(long, value_name = "FLAG")]
    pub replay_flag: Vec<FlagKey>,

    /// How often --replay auto looks for what is owed
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = wait)]
    pub replay_every: Duration,

    /// Certificate (PEM), where relays speak TLS to the guard
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// What the guard is called where it announces itself
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub guard_name: Option<String>,

    /// How it tells what happens
    #[arg(long, value_name = "FORM")]
    pub log: Option<LogForm>,
}

/// What follows where the keys cannot be read.
const UNSIGNED: &str = "the guard signs nothing";

/// Who replays what is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Replay {
    /// A person, with rc replay.
    Manual,
    /// The guard, where nothing has to be decided.
    Auto,
}

/// What is done about an override whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Expiry {
    /// People are told, when it comes and every hour after.
    Alarm,
    /// It is undone, as by rc undo.
    Undo,
}

/// What holds where LaunchDarkly changed the same too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Conflict {
    /// The override.
    Hold,
    /// LaunchDarkly.
    Launchdarkly,
}

impl From<Conflict> for OnConflict {
    fn from(asked: Conflict) -> Self {
        match asked {
            Conflict::Hold => OnConflict::Hold,
            Conflict::Launchdarkly => OnConflict::LaunchDarkly,
        }
    }
}

impl From<Expiry> for OnExpiry {
    fn from(asked: Expiry) -> Self {
        match asked {
            Expiry::Alarm => OnExpiry::Alarm,
            Expiry::Undo => OnExpiry::Undo,
        }
    }
}

impl Arguments {
    /// Whether a guard may undo and replay by itself as it was told to.
    ///
    /// Gives the keys that have signed what may be sent; `None` where it replays nothing, or whatever stands in the stores.
    fn may_do_so(&self, settings: &Settings) -> Result<Option<Keys>, Failure> {
        if self.shadow && self.on_expiry == Expiry::Undo {
            return Err(Failure::usage("--shadow never changes anything, and --on-expiry undo changes stores"));
        }
        if self.replay == Replay::Manual {
            return Ok(None);
        }
        if self.shadow {
            return Err(Failure::usage("--shadow never changes anything, and --replay auto changes LaunchDarkly"));
        }
        let keys = if self.trust_store { None } else { signing::keys(settings)? };
        if !self.trust_store && keys.is_none() {
            return Err(Failure::usage(
                "--replay auto sends what stands in the stores, and nothing proves who wrote it",
            )
            .cause("whoever can write the stores would write LaunchDarkly through this guard")
            .hint("Have overrides signed, here and wherever rc update is typed: RC_SIGNING_KEY_FILE=FILE in .env")
            .hint("A key for that, the same everywhere:   (umask 077; openssl rand -hex 32 > FILE)")
            .hint("If only your operators can write them: rc guard --replay auto --trust-store")
            .hint("Else leave it to people:               --replay manual"));
        }
        settings.required_api_key()?;
        Ok(keys)
    }

    /// The settings, with what was typed over them.
    fn over(&self, settings: &GuardSettings) -> GuardSettings {
        GuardSettings {
            stream_url: settings.stream_url.clone(),
            listen: self.listen.or(settings.listen).filter(|_| !self.no_stream),
            admin: self.admin.or(settings.admin),
            state: self.state.clone().unwrap_or_else(|| settings.state.clone()),
            name: self.guard_name.clone().or_else(|| settings.name.clone()),
            tls_cert: self.tls_cert.clone().or_else(|| settings.tls_cert.clone()),
            tls_key: self.tls_key.clone().or_else(|| settings.tls_key.clone()),
            log: self.log.unwrap_or(settings.log),
        }
    }
}

/// Runs it, until it is told to end.
///
/// # Errors
/// Where it cannot begin: an address that is taken, a folder that cannot be used, settings that cannot be meant.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let settings = arguments.over(&context.settings.guard);
    if settings.listen.is_none() && !arguments.no_stream {
        return Err(Failure::usage("where is the guard to listen? Neither --listen nor RC_LISTEN says so")
            .hint("On the relay's own machine:          rc guard --listen 127.0.0.1:8031")
            .hint("To watch stores alone, for no relay: rc guard --no-stream"));
    }
    let only_signed = arguments.may_do_so(context.settings)?;
    let keys = only_signed.clone().or_else(|| signing::keys_or_told(context.settings, context.output, UNSIGNED));
    let stores = stores::open(context.settings)?;
    let configurations = Configurations::read(context.settings).await?;
    let environments = Environments::of(context.settings, configurations, &stores, arguments.no_stream);
    if arguments.no_stream && environments.configured.iter().all(|environment| environment.targets.is_empty()) {
        return Err(Failure::usage("which environment is to be watched? Nothing says in which store one is kept")
            .hint("With the relays' configuration:   rc guard --no-stream --relay-config ld-relay.conf")
            .hint("Or name it:                        rc guard --no-stream -p PROJECT -e ENVIRONMENT"));
    }
    let launchdarkly = LaunchDarkly::at(&settings.stream_url, SILENCE_MAX, None)
        .map_err(|error| Failure::usage("LaunchDarkly's stream cannot be asked").cause(error.to_string()))?;
    let tls = tls::acceptor(settings.tls_cert.as_deref(), settings.tls_key.as_deref())?;
    // Before the folder: nobody is locked out by a guard that cannot listen.
    let listener = listening(settings.listen).await?;
    let admin = listening(settings.admin).await?;
    let folder = open_folder(settings.state.clone()).await?;
    let salt = folder.salt().map_err(unusable)?;
    let (alarms, told) = Alarms::new();
    if let Some(told) = environments.prefixes_differ {
        alarms.raise(AlarmName { kind: AlarmKind::PrefixesDiffer, environment: None, flag: None }, told);
    }
    let keeper = Keeper::start(folder, alarms.clone());
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let name = settings.name.clone().unwrap_or_else(|| named(&context.settings.actor.host, address));
    let (on_conflict, on_expiry) = (arguments.on_conflict.into(), arguments.on_expiry.into());
    let itself = Itself { name: name.clone(), since: Timestamp::now(), listens: address, on_conflict };
    let actor = Actor { user: format!("guard {name}"), host: context.settings.actor.host.clone() };
    let replaying = (arguments.replay == Replay::Auto)
        .then(|| Replaying::new(&arguments, context, &settings.state, actor.clone(), alarms.clone(), only_signed));
    let parts = overrides::Parts { stores, actor, itself, on_expiry, alarms: alarms.clone(), keys };
    let (follow, following) = following(parts, &settings.state).await?;
    let notifying = Notifying::start(&context.settings.notify, &name, alarms.clone())?;
    let telling = Telling::start(context.output, settings.log, alarms.clone());
    telling.beginning(&telling::Beginning {
        name: &name,
        address,
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        launchdarkly: launchdarkly.shown(),
        environments: &environments.configured,
        shadow: arguments.shadow,
        is_plain: tls.is_none(),
    });
    let parts = HubParts {
        launchdarkly,
        on_conflict,
        shadow: arguments.shadow,
        refused_for: REFUSED_FOR,
        environments: environments.configured,
        place: environments.place,
        follow,
        alarms,
        keeper: Some(keeper),
        salt,
    };
    let guard = Guard { parts, listener, tls, admin, name };
    let running =
        guard.start().map_err(|error| Failure::new(Kind::Other, "it did not begin").cause(error.to_string()))?;
    let (ending, ends) = watch::channel(false);
    let mut rounds = std::pin::pin!(replaying::rounds(replaying.as_ref(), ends));
    tokio::select! {
        told = telling.until(ended(), told, &notifying) => told?,
        () = &mut rounds => {}
    }
    telling.say(if arguments.no_stream { "ends" } else { "ends: relays are let go, and come back to the next one" });
    ending.send_replace(true);
    // A right to replay that is not given back in time ends by itself.
    let _ = tokio::time::timeout(ROUND_ENDS_WITHIN, rounds).await;
    running.stop().await;
    following.end().await;
    notifying.end().await;
    Ok(ExitCode::Done)
}

/// Begins to follow stores, writing down below the guard's folder what it writes to them.
async fn following(parts: overrides::Parts, state: &Path) -> Result<(Follow, Following), Failure> {
    let folder = state.join("playback");
    let begun = tokio::task::spawn_blocking(move || overrides::following(parts, &folder)).await;
    let begun = begun.map_err(|error| Failure::new(Kind::Other, "stores are not followed").cause(error.to_string()))?;
    begun.map_err(|error| Failure::from(error).while_doing("the guard's folder cannot be used"))
}

/// Comes back when the process is told to end.
async fn ended() -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Kind::Other, "signals cannot be heard").cause(error.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

async fn listening(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else { return Ok(None) };
    // With SO_REUSEADDR, so that the next guard can listen as soon as this one has ended.
    TcpListener::bind(address).await.map(Some).map_err(|error| {
        let failure = Failure::new(Kind::Other, format!("{address} cannot be listened at")).cause(error.to_string());
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return failure.hint("Another program, or another guard, listens there.");
        }
        failure
    })
}

async fn open_folder(path: PathBuf) -> Result<Folder, Failure> {
    let opened = tokio::task::spawn_blocking(move || Folder::open(&path)).await;
    let opened = opened.map_err(|error| Failure::new(Kind::Other, "the guard's folder").cause(error.to_string()))?;
    opened.map_err(unusable)
}

fn unusable(error: FolderError) -> Failure {
    let failure = Failure::new(Kind::Other, "the guard's folder cannot be used").cause(error.to_string());
    match error {
        FolderError::InUse { .. } => failure.hint("Each guard has a folder of its own: --state FOLDER"),
        FolderError::Unusable { .. } | FolderError::Foreign { .. } => failure.hint("Name another one: --state FOLDER"),
    }
}

/// A name for a guard that was not given one: there may be several on a host.
fn named(host: &str, address: Option<SocketAddr>) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let host: String = host.chars().map(allowed).take(50).collect();
    address.map_or_else(|| format!("{host}-stores"), |address| format!("{host}-{}", address.port()))
}
