//! The operator's own Redis, for rehearsals on a scratch prefix there: how it is connected to without the code that is
//! rehearsed, and what `rc` and a relay are told so that they reach it. Its login stays out of files and command lines.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ConnectionAddr;
use redis::ConnectionInfo;
use redis::ErrorKind;
use redis::IntoConnectionInfo;
use redis::RedisError;
use redis::TlsCertificates;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::relay_program::RelayRedis;
use crate::error::Failure;
use crate::error::Kind;
use crate::settings::Settings;
use crate::store::redis::RedisAddress;
use crate::ui::secret::Secret;

/// A Redis of the operator's.
#[derive(Debug, Clone)]
pub struct YourRedis {
    client: Client,
    /// Where it is, as shown.
    shown: String,
    /// As a URL, without a login.
    url: String,
    user: Option<String>,
    password: Option<Secret>,
    authority: Option<PathBuf>,
    within: Duration,
}

impl YourRedis {
    /// Reads what was typed, and completes it by the settings: user, password, database, authority, time. Connects to
    /// nothing yet.
    ///
    /// # Errors
    /// Where it is no address of a Redis, or the authority's file cannot be used.
    pub fn new(typed: &str, settings: &Settings) -> Result<Self, Failure> {
        let typed = typed.trim();
        let not_one = |problem: String| {
            Failure::usage("--store is not the address of a Redis")
                .cause(problem)
                .hint("redis://HOST:PORT/DB, rediss://… (TLS), unix:///PATH, or HOST:PORT; a flag file of yours is not rehearsed on")
        };
        if typed.split_once('=').is_some_and(|(label, _)| !label.contains("://")) {
            return Err(not_one("it takes one store, without a label".to_owned()));
        }
        RedisAddress::parse(typed).map_err(|error| not_one(error.to_string()))?;
        let with_scheme = if typed.contains("://") { typed.to_owned() } else { format!("redis://{typed}") };
        // What it says may hold the password; it was read a moment ago by the same library.
        let information = with_scheme.into_connection_info().map_err(|_| not_one("it cannot be read".to_owned()))?;
        Self::of(information, settings)
    }

    fn of(information: ConnectionInfo, settings: &Settings) -> Result<Self, Failure> {
        let login = information.redis_settings();
        let user = login.username().map(ToOwned::to_owned).or_else(|| settings.redis.user.clone());
        let password = login.password().map(Secret::new).or_else(|| settings.redis.password.clone());
        let database = Some(login.db()).filter(|number| *number != 0);
        let database = database.or_else(|| settings.redis.database.map(i64::from)).unwrap_or(0);
        let mut settled = login.clone().set_db(database).set_skip_set_lib_name();
        if let Some(user) = &user {
            settled = settled.set_username(user);
        }
        if let Some(password) = &password {
            settled = settled.set_password(password.expose());
        }
        let (scheme, place) = match information.addr() {
            ConnectionAddr::Tcp(host, port) => ("redis", host_and_port(host, *port)),
            ConnectionAddr::TcpTls { host, port, .. } => ("rediss", host_and_port(host, *port)),
            ConnectionAddr::Unix(path) => ("unix", path.display().to_string()),
            _ => return Err(Failure::usage("--store leads to something other than a host or a socket")),
        };
        let tls = scheme == "rediss";
        let url = match scheme {
            "unix" => format!("unix://{place}?db={database}"),
            _ => format!("{scheme}://{place}/{database}"),
        };
        let information = information.set_redis_settings(settled);
        let authority = settings.redis.authority.clone().filter(|_| tls);
        let opened = match &authority {
            Some(path) => {
                let pem = crate::commands::stores::authority(path)?;
                Client::build_with_tls(information, TlsCertificates { client_tls: None, root_cert: Some(pem) })
            }
            None => Client::open(information),
        };
        let client = opened
            .map_err(|error| Failure::usage(format!("--store {place} cannot be used")).cause(error.to_string()))?;
        let shown = if database == 0 { place } else { format!("{place}/{database}") };
        Ok(Self { client, shown, url, user, password, authority, within: settings.timeout })
    }

    /// Where it is, as shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// Where it does not answer in time, or does not let us in.
    pub async fn connect(&self) -> Result<MultiplexedConnection, Failure> {
        // Each answer has the same deadline as the connection; the library's own ones are shorter than a busy machine needs.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(self.within));
        match timeout(self.within, self.client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(connected) => connected.map_err(|error| self.failed(&error)),
            Err(_) => {
                let told = format!("{} did not answer within {} s", self.shown, self.within.as_secs_f64());
                Err(Failure::new(Kind::Unreachable, told).hint("To wait longer: --timeout 10s"))
            }
        }
    }

    /// What an error of it means.
    pub fn failed(&self, error: &RedisError) -> Failure {
        let words = error.to_string();
        let kind = match error.kind() {
            ErrorKind::AuthenticationFailed => Kind::Credentials,
            _ if ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&error.code().unwrap_or_default()) => Kind::Credentials,
            _ if words.contains("certificate") => Kind::Credentials,
            _ if error.is_io_error() => Kind::Unreachable,
            _ => Kind::Other,
        };
        let told = match kind {
            Kind::Credentials => format!("{} does not let the rehearsal do what it needs", self.shown),
            Kind::Unreachable => format!("{} cannot be reached", self.shown),
            _ => format!("{} refused", self.shown),
        };
        let failure = Failure::new(kind, told).cause(words);
        if kind == Kind::Credentials {
            failure.hint("User and password: in the URL, or RC_REDIS_USER and RC_REDIS_PASSWORD; rights: docs/drill.md")
        } else {
            failure
        }
    }

    /// Its place in `REDIS_HOSTS`, without a login.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The variables by which `rc` reaches it: what must not stand in a file.
    pub fn variables(&self) -> Vec<(String, OsString)> {
        let mut variables = vec![("RC_TIMEOUT".to_owned(), format!("{}ms", self.within.as_millis()).into())];
        variables.extend(self.user.as_ref().map(|user| ("RC_REDIS_USER".to_owned(), user.into())));
        let password = self.password.as_ref().map(Secret::expose);
        variables.extend(password.map(|password| ("RC_REDIS_PASSWORD".to_owned(), password.into())));
        variables.extend(self.authority.as_ref().map(|path| ("RC_REDIS_CA".to_owned(), path.into())));
        variables
    }

    /// How a relay reaches it.
    ///
    /// # Errors
    /// Where it cannot: relays know no unix sockets.
    pub fn for_relay(&self) -> Result<RelayRedis, Failure> {
        if self.url.starts_with("unix:") {
            return Err(Failure::usage("a relay reaches no Redis by a unix socket")
                .hint("Name its host and port: --store redis://HOST:PORT"));
        }
        Ok(RelayRedis {
            url: self.url.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            authority: self.authority.clone(),
        })
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
