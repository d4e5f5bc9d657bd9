//! The store that is rehearsed on: a redis-server of the drill's own, a flag file where there is none, or a scratch prefix of
//! the operator's Redis. It says how the store is reached by `rc`, by a relay, and raw.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use super::not_set;
use crate::commands::drill::raw::Keys;
use crate::commands::drill::raw::RawStore;
use crate::commands::drill::raw::redis_keys;
use crate::commands::drill::redis_server::RedisServer;
use crate::commands::drill::relay_program::RelayRedis;
use crate::commands::drill::scratch::Scratch;
use crate::error::Failure;

/// The prefix of the environment's keys in a Redis of the drill's own.
const OWN_PREFIX: &str = "ld:shop:production";

/// The store.
#[derive(Debug)]
pub enum Ground {
    /// A server of the drill's own.
    Server(RedisServer),
    /// A flag file, and why there is no server.
    File(PathBuf, String),
    /// Part of the operator's Redis.
    Scratch(Arc<Scratch>),
}

/// How `rc` is told of the store.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The line of `.env` that names it.
    pub line: String,
    /// The prefix of the environment, where it is not the conventional one.
    pub prefix: Option<String>,
    /// Variables: what must not stand in a file.
    pub variables: Vec<(String, OsString)>,
}

impl Ground {
    /// A store of the drill's own. `for_relay`: one that a relay can reach, which has no use for a flag file.
    ///
    /// # Errors
    /// Where a relay has to reach it and there is no server.
    pub async fn own(folder: &Path, for_relay: bool) -> Result<Self, Failure> {
        let started =
            if for_relay { RedisServer::start_with_port(folder).await } else { RedisServer::start(folder).await };
        match started {
            Ok(server) => Ok(Ground::Server(server)),
            Err(why) if for_relay => Err(not_set("a relay needs a Redis", why)
                .hint("Install redis-server, or name a Redis of yours: --store redis://HOST:PORT")),
            Err(why) => Ok(Ground::File(folder.join("flags.json"), why.to_string())),
        }
    }

    /// In words: what it is, and what is different with it.
    pub fn told(&self) -> String {
        match self {
            Ground::Server(server) => {
                let place = if server.port().is_some() { "a port of the loopback" } else { "a unix socket" };
                format!("redis-server {} on {place}, started for this and ended with it", server.version())
            }
            Ground::File(_, why) => format!("a flag file ({why})"),
            Ground::Scratch(scratch) => {
                format!("your Redis at {}, the prefix {} and nothing else", scratch.redis().shown(), scratch.prefix())
            }
        }
    }

    /// `redis` or `file`.
    pub fn kind(&self) -> &'static str {
        if matches!(self, Ground::File(..)) { "file" } else { "redis" }
    }

    /// The version of a server of the drill's own.
    pub fn version(&self) -> Option<&str> {
        match self {
            Ground::Server(server) => Some(server.version()),
            Ground::File(..) | Ground::Scratch(_) => None,
        }
    }

    /// The prefix of the environment's keys; empty for a flag file.
    pub fn prefix(&self) -> &str {
        match self {
            Ground::Server(_) => OWN_PREFIX,
            Ground::File(..) => "",
            Ground::Scratch(scratch) => scratch.prefix(),
        }
    }

    /// The store raw, by a connection of one's own.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn raw(&self) -> Result<RawStore, Failure> {
        match self {
            Ground::File(path, _) => Ok(RawStore::File(path.clone())),
            Ground::Scratch(scratch) => scratch.raw().await,
            Ground::Server(server) => {
                let connection = redis_keys::connect(&server.socket_url()).await;
                let connection = connection.map_err(|error| not_set("redis-server does not answer", error))?;
                Ok(RawStore::Redis(connection, Box::new(Keys::of(OWN_PREFIX))))
            }
        }
    }

    /// How `rc` is told of it.
    pub fn for_rc(&self) -> Told {
        match self {
            Ground::Server(server) => Told { line: format!("REDIS_HOSTS=drill={}", server.url()), ..Told::default() },
            Ground::File(path, _) => {
                Told { line: format!("RC_STORES=drill=file://{}", path.display()), ..Told::default() }
            }
            Ground::Scratch(scratch) => Told {
                line: format!("REDIS_HOSTS=drill={}", scratch.redis().url()),
                prefix: Some(scratch.prefix().to_owned()),
                variables: scratch.redis().variables(),
            },
        }
    }

    /// How a relay reaches it.
    ///
    /// # Errors
    /// Where it cannot.
    pub fn for_relay(&self) -> Result<RelayRedis, Failure> {
        match self {
            Ground::Scratch(scratch) => scratch.redis().for_relay(),
            Ground::Server(server) => Ok(RelayRedis { url: server.url(), ..RelayRedis::default() }),
            Ground::File(..) => Err(not_set("a relay needs a Redis", "there is only a flag file")),
        }
    }

    /// Where it is, as a relay says it in its status; `None`: it has no database.
    pub fn server_url(&self) -> Option<String> {
        match self {
            Ground::Server(server) => Some(server.url()),
            Ground::Scratch(scratch) => Some(scratch.redis().url().to_owned()),
            Ground::File(..) => None,
        }
    }
}
