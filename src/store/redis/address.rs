//! One element of `REDIS_HOSTS`: where a Redis is, under which label, with which login. Pure. It must not know how a
//! connection is made. No message, `Display` or `Debug` of it shows a password.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use redis::ConnectionAddr;
use redis::IntoConnectionInfo;

use crate::change::target::Label;

/// Redis' own port.
pub const PORT_DEFAULT: u16 = 6379;

/// The longest label, in bytes: it stands in every table.
const LABEL_LENGTH_MAX: usize = 64;

/// The address of one Redis, as the operator gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    label: Label,
    label_given: bool,
    place: Place,
    username: Option<String>,
    password: Option<String>,
    database: Option<i64>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16, tls: bool },
    Socket(PathBuf),
}

/// Why text is not the address of a Redis. The text itself is not part of it: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing between two commas.
    #[error("an address of a Redis is empty")]
    Empty,
    /// The part before `=`.
    #[error("{0:?} is no label: 1 to 64 letters, digits, '.', '_' or '-'")]
    Label(String),
    /// Not a name, not an IP address.
    #[error("{0:?} is not the name of a host (write host, host:port, [::1]:port, redis://…, rediss://… or unix:///…)")]
    Host(String),
    /// Not a number from 1 to 65535.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// A URL that does not say what it should.
    #[error("the URL of {host} {problem}")]
    Url {
        /// What could be read of where it leads.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// One label for two addresses.
    #[error("the label {0:?} is given to two stores")]
    LabelTwice(String),
    /// One server twice: its flags would be written twice, and the second write would meet the first.
    #[error("{0} is named twice")]
    Twice(String),
}

impl RedisAddress {
    /// Reads one element of `REDIS_HOSTS`: `[label=]` and then `host`, `host:port`, `[::1]:port`,
    /// `redis://[user[:password]@]host[:port][/database]`, the same with `rediss://` (TLS), or
    /// `unix:///path[?db=N&user=…&pass=…]` (also `redis+unix://`). `valkey` stands for `redis` in all of them.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (label, rest) = split_label(text)?;
        if rest.is_empty() {
            return Err(AddressError::Empty);
        }
        let mut address = if rest.contains("://") { from_url(rest)? } else { from_host(rest)? };
        match label {
            Some(label) => {
                address.label = label;
                address.label_given = true;
            }
            None => address.label = address.place.own_label(),
        }
        Ok(address)
    }

    /// Several addresses, with labels that differ: where names clash, the port, then the whole host, then the database
    /// is added to those that the operator did not label himself.
    ///
    /// # Errors
    /// [`AddressError::LabelTwice`] for two labels that were given, [`AddressError::Twice`] for one server twice.
    pub fn labelled(addresses: Vec<Self>) -> Result<Vec<Self>, AddressError> {
        let mut seen = BTreeSet::new();
        let mut given = BTreeSet::new();
        for address in &addresses {
            if !seen.insert(address.to_string()) {
                return Err(AddressError::Twice(address.to_string()));
            }
            if address.label_given && !given.insert(address.label.clone()) {
                return Err(AddressError::LabelTwice(address.label.clone()));
            }
        }
        let mut labelled = addresses;
        for lengthen in [Self::label_with_port, Self::label_with_host, Self::label_in_full] {
            let labels: Vec<Label> = labelled.iter().map(|address| address.label.clone()).collect();
            for address in &mut labelled {
                let clashes = labels.iter().filter(|label| **label == address.label).count() > 1;
                if clashes && !address.label_given {
                    address.label = lengthen(address);
                }
            }
        }
        Ok(labelled)
    }

    /// The short name of this store.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The user that the address names.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The number of the database that the address names.
    pub fn database(&self) -> Option<i64> {
        self.database
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    fn label_with_port(&self) -> Label {
        match &self.place {
            Place::Tcp { port, .. } => format!("{}:{port}", self.label),
            Place::Socket(path) => path.display().to_string(),
        }
    }

    fn label_with_host(&self) -> Label {
        self.place.to_string()
    }

    fn label_in_full(&self) -> Label {
        self.to_string()
    }
}

/// Where it is, with the database if it is not 0; never the login.
impl fmt::Display for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.database {
            None | Some(0) => self.place.fmt(formatter),
            Some(database) => write!(formatter, "{}/{database}", self.place),
        }
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisAddress")
            .field("label", &self.label)
            .field("place", &self.place)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "(not shown)"))
            .field("database", &self.database)
            .finish()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port, .. } if host.contains(':') => write!(formatter, "[{host}]:{port}"),
            Place::Tcp { host, port, .. } => write!(formatter, "{host}:{port}"),
            Place::Socket(path) => write!(formatter, "{}", path.display()),
        }
    }
}

impl Place {
    /// The first part of a host's name (`redis-a` of `redis-a.example.com`), an IP address as it is, the name of a
    /// socket's file without its ending.
    fn own_label(&self) -> Label {
        match self {
            Place::Tcp { host, .. } if host.parse::<IpAddr>().is_ok() => host.clone(),
            Place::Tcp { host, .. } => host.split('.').next().unwrap_or(host).to_owned(),
            Place::Socket(path) => {
                path.file_stem().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
            }
        }
    }
}

/// Splits `label=` off, if it stands before anything that could hold a `=` of its own.
fn split_label(text: &str) -> Result<(Option<Label>, &str), AddressError> {
    let Some((label, rest)) = text.split_once('=') else { return Ok((None, text)) };
    if label.contains("://") {
        return Ok((None, text));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if label.is_empty() || label.len() > LABEL_LENGTH_MAX || !label.bytes().all(allowed) {
        // What stands there may be half a password with `=` in it: only a beginning that can be none is shown.
        let shown: String = label.split(['@', ':']).next().unwrap_or_default().chars().take(16).collect();
        return Err(AddressError::Label(shown));
    }
    Ok((Some(label.to_owned()), rest.trim()))
}

fn from_host(text: &str) -> Result<RedisAddress, AddressError> {
    let (host, port) = split_port(text)?;
    checked_host(host, text)?;
    let place = Place::Tcp { host: host.to_owned(), port, tls: false };
    Ok(RedisAddress { label: Label::new(), label_given: false, place, username: None, password: None, database: None })
}

fn split_port(text: &str) -> Result<(&str, u16), AddressError> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, PORT_DEFAULT));
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => return Ok((host, PORT_DEFAULT)),
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => match text.rsplit_once(':') {
            Some(parts) => parts,
            None => return Ok((text, PORT_DEFAULT)),
        },
    };
    match port.parse() {
        Ok(0) | Err(_) if text.contains('@') => Err(AddressError::Host(without_login(text))),
        Ok(0) | Err(_) => Err(AddressError::Port(port.to_owned())),
        Ok(port) => Ok((host, port)),
    }
}

fn checked_host(host: &str, whole: &str) -> Result<(), AddressError> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = !host.is_empty() && !host.starts_with('.') && host.len() <= 253 && host.bytes().all(named);
    if is_name || host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(AddressError::Host(without_login(whole)))
}

/// What may be shown of an address that could not be read: nothing before an `@`.
fn without_login(text: &str) -> String {
    let place = text.rsplit_once('@').map_or(text, |(_, place)| place);
    place.chars().take(80).collect()
}

fn from_url(text: &str) -> Result<RedisAddress, AddressError> {
    let (scheme, after) = text.split_once("://").unwrap_or((text, ""));
    let host = after.rsplit_once('@').map_or(after, |(_, place)| place);
    let host: String = host.chars().take_while(|character| !matches!(character, '/' | '?' | '#')).collect();
    let wrong = |problem: &str| AddressError::Url { host: format!("{scheme}://{host}"), problem: problem.to_owned() };

    let socket = matches!(scheme, "unix" | "redis+unix" | "valkey+unix");
    if !socket && !matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys") {
        return Err(wrong("has another scheme than redis, rediss or unix"));
    }
    // Both would silently turn a password into another host or an option.
    if after.contains('#') || (!socket && after.contains('?')) {
        return Err(wrong("holds a '#' or '?': write them as %23 and %3F in a password"));
    }
    let information = text.into_connection_info().map_err(|_| wrong("cannot be read"))?;
    let login = information.redis_settings();
    let place = match information.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp { host: host.clone(), port: *port, tls: false },
        ConnectionAddr::TcpTls { host, port, .. } => Place::Tcp { host: host.clone(), port: *port, tls: true },
        ConnectionAddr::Unix(path) => Place::Socket(path.clone()),
        _ => return Err(wrong("leads to something other than a host or a socket")),
    };
    if let Place::Tcp { host, .. } = &place {
        checked_host(host, host)?;
    }
    if login.db() < 0 {
        return Err(wrong("names a database below 0"));
    }
    let database_given = login.db() != 0;
    Ok(RedisAddress {
        label: Label::new(),
        label_given: false,
        place,
        username: login.username().map(str::to_owned),
        password: login.password().map(str::to_owned),
        database: database_given.then(|| login.db()),
    })
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
