//! Lists of stores and relays, as operators write them: comma separated, each with `LABEL=` in front where they want to
//! name it. It must not connect, resolve or look anything up.

use crate::ui::secret::Secret;
use crate::ui::secret::without_credentials;

/// The longest label, in bytes.
const LABEL_LENGTH_MAX: usize = 32;

/// A store, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSetting {
    /// Its short name, unique among the stores: as given, else the host's name, else as much of the address as tells
    /// it apart.
    pub label: String,
    /// Whether the operator gave the label, so that a relay of the same label belongs to it.
    pub labelled: bool,
    /// Its URL, with its scheme: `redis://`, `rediss://`, `unix://` or `file://`. It may hold a password.
    pub url: Secret,
}

impl StoreSetting {
    /// Its URL as it may be shown.
    pub fn address(&self) -> String {
        without_credentials(self.url.expose())
    }
}

/// A relay, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySetting {
    /// Its short name, unique among the relays.
    pub label: String,
    /// Whether the operator gave the label.
    pub labelled: bool,
    /// `http://` or `https://`, host, port; no slash at the end.
    pub url: String,
}

/// One entry of a list: its label, if it has one, and the rest.
struct Entry<'t> {
    label: Option<&'t str>,
    address: &'t str,
}

fn entries(text: &str) -> Result<Vec<Entry<'_>>, String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(entry).collect()
}

fn entry(text: &str) -> Result<Entry<'_>, String> {
    // A label is what stands before the first =, unless that = belongs to a URL.
    let (label, address) = match text.split_once('=') {
        Some((label, address)) if !label.contains([':', '/', '@', '?']) => (Some(label.trim()), address.trim()),
        _ => (None, text),
    };
    if let Some(label) = label {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if label.is_empty() || label.len() > LABEL_LENGTH_MAX || !label.bytes().all(allowed) {
            return Err(format!("the label {label:?} is not made of 1 to 32 letters, digits, '.', '_' or '-'"));
        }
    }
    if address.is_empty() {
        return Err(format!("{text:?} names no address"));
    }
    Ok(Entry { label, address })
}

/// What an entry comes to: its label, if it has one, and its URL.
type Read<'t> = Result<(Option<&'t str>, String), String>;

/// Reads `REDIS_HOSTS`.
///
/// # Errors
/// What is wrong, without secrets.
pub(super) fn redis_hosts(text: &str) -> Result<Vec<StoreSetting>, String> {
    fn read(entry: Entry<'_>) -> Read<'_> {
        match entry.address.split_once("://") {
            Some(("redis" | "rediss" | "unix" | "redis+unix", _)) => Ok((entry.label, entry.address.to_owned())),
            Some((scheme, _)) => {
                Err(format!("{scheme}:// is not Redis: it takes redis://, rediss://, unix:// or a host"))
            }
            None => Ok((entry.label, format!("redis://{}", entry.address))),
        }
    }
    stores(entries(text)?.into_iter().map(read))
}

/// Reads `RC_STORES`.
///
/// # Errors
/// What is wrong, without secrets.
pub(super) fn any_stores(text: &str) -> Result<Vec<StoreSetting>, String> {
    fn read(entry: Entry<'_>) -> Read<'_> {
        match entry.address.split_once("://") {
            Some(("redis" | "rediss" | "unix" | "redis+unix", _)) => Ok((entry.label, entry.address.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok((entry.label, entry.address.to_owned())),
            Some(("file", _)) => Err("a flag file is named by its whole path: file:///path/to/flags.json".to_owned()),
            Some((scheme, _)) => Err(format!("there is no store of the kind {scheme}://: {STORE_KINDS}")),
            None => Err(format!("a store is named by its URL: {STORE_KINDS}")),
        }
    }
    stores(entries(text)?.into_iter().map(read))
}

const STORE_KINDS: &str = "redis://host:port, rediss://host:port, unix:///path/to/socket or file:///path/to/flags.json";

fn stores<'t>(read: impl Iterator<Item = Read<'t>>) -> Result<Vec<StoreSetting>, String> {
    read.map(|store| {
        let (label, url) = store?;
        check_url(&url)?;
        let label_shown = label.map_or_else(|| host_of(&url), ToOwned::to_owned);
        Ok(StoreSetting { label: label_shown, labelled: label.is_some(), url: Secret::new(url) })
    })
    .collect()
}

/// What no URL of a store may look like. The port is checked here, since a typing error in it should not be a name that
/// does not resolve.
fn check_url(url: &str) -> Result<(), String> {
    let shown = without_credentials(url);
    if url.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(format!("{shown:?} has a space or a control character in it"));
    }
    let Some((scheme, rest)) = shown.split_once("://") else { return Ok(()) };
    if matches!(scheme, "unix" | "redis+unix" | "file") {
        return if rest.starts_with('/') {
            Ok(())
        } else {
            Err(format!("{shown} needs a whole path: {scheme}:///…"))
        };
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = host_and_port(authority);
    if host.is_empty() {
        return Err(format!("{shown} names no host"));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("{shown}: an IPv6 address stands in brackets, such as redis://[::1]:6379"));
    }
    match port.map(str::parse::<u16>) {
        Some(Err(_) | Ok(0)) => Err(format!("{shown}: the port is not a number from 1 to 65535")),
        _ => Ok(()),
    }
}

/// Host and port of `host:port`; an IPv6 host keeps its brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.ends_with(']')) => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The name of the host, or of the file: what a store or relay is called where nobody gave it a label.
fn host_of(url: &str) -> String {
    let shown = without_credentials(url);
    let (scheme, rest) = shown.split_once("://").unwrap_or(("", &shown));
    if matches!(scheme, "unix" | "redis+unix" | "file") {
        return rest.rsplit('/').find(|part| !part.is_empty()).unwrap_or(rest).to_owned();
    }
    host_and_port(rest.split('/').next().unwrap_or_default()).0.to_owned()
}

/// Reads `RELAY_URLS`.
///
/// # Errors
/// What is wrong.
pub(super) fn relays(text: &str) -> Result<Vec<RelaySetting>, String> {
    let read = |entry: Entry<'_>| {
        let shown = without_credentials(entry.address);
        match entry.address.split_once("://") {
            Some(("http" | "https", _)) => {}
            _ => return Err(format!("{shown:?} is not http://host:port or https://host:port")),
        }
        check_url(entry.address)?;
        if shown != entry.address {
            return Err(format!("{shown}: a relay is named without user, password, query or fragment"));
        }
        let label = entry.label.map_or_else(|| host_of(entry.address), ToOwned::to_owned);
        Ok(RelaySetting { label, labelled: entry.label.is_some(), url: entry.address.trim_end_matches('/').to_owned() })
    };
    let mut relays = entries(text)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let named = relays.iter_mut().map(|relay| (&mut relay.label, relay.labelled, relay.url.clone())).collect();
    tell_apart(named)?;
    Ok(relays)
}

/// Makes the labels of all stores unique.
///
/// # Errors
/// Where a label or an address was given twice.
pub(super) fn tell_stores_apart(stores: &mut [StoreSetting]) -> Result<(), String> {
    // By the whole URL: two databases of one server are two stores.
    let named = stores.iter_mut().map(|store| (&mut store.label, store.labelled, store.url.expose().to_owned()));
    tell_apart(named.collect())
}

fn tell_apart(mut named: Vec<(&mut String, bool, String)>) -> Result<(), String> {
    for place in 0..named.len() {
        for other in 0..place {
            let (label, address) = (named[place].0.clone(), &named[place].2);
            if *address == named[other].2 {
                return Err(format!("{} stands twice", without_credentials(address)));
            }
            if named[place].1 && named[other].1 && label == *named[other].0 {
                return Err(format!("the label {label} stands twice"));
            }
        }
    }
    let before: Vec<String> = named.iter().map(|(label, ..)| (*label).clone()).collect();
    for (place, (label, given, address)) in named.iter_mut().enumerate() {
        let shared = before.iter().enumerate().any(|(other, name)| other != place && name == *label);
        if shared && !*given {
            let shown = without_credentials(address);
            let longer = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
            let still_shared = before.iter().any(|name| name == longer);
            **label = if still_shared { format!("{longer}#{}", place + 1) } else { longer.to_owned() };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(stores: Result<Vec<StoreSetting>, String>) -> String {
        match stores.and_then(|mut stores| tell_stores_apart(&mut stores).map(|()| stores)) {
            Ok(stores) => {
                let one = |store: &StoreSetting| {
                    format!("{}{} {}", store.label, if store.labelled { "!" } else { "" }, store.url.expose())
                };
                stores.iter().map(one).collect::<Vec<_>>().join(" | ")
            }
            Err(problem) => format!("error: {problem}"),
        }
    }

    #[track_caller]
    fn hosts(text: &str, expected: &str) {
        assert_eq!(shown(redis_hosts(text)), expected);
    }

    #[test]
    fn redis_hosts_of_all_kinds() {
        hosts("redis-a,redis-b", "redis-a redis://redis-a | redis-b redis://redis-b");
        hosts(" redis-a:6380 , ", "redis-a redis://redis-a:6380");
        hosts("eu-1=redis://redis-a,us-1=redis-b", "eu-1! redis://redis-a | us-1! redis://redis-b");
        hosts("rediss://anna:hunter2=@redis-a:6379/2", "redis-a rediss://anna:hunter2=@redis-a:6379/2");
        hosts("unix:///run/redis.sock?db=1", "redis.sock unix:///run/redis.sock?db=1");
        hosts("a=unix:///run/redis.sock?db=1", "a! unix:///run/redis.sock?db=1");
        hosts("[::1]:6379", "[::1] redis://[::1]:6379");
        hosts("localhost:1,localhost:2", "localhost:1 redis://localhost:1 | localhost:2 redis://localhost:2");
        hosts("", "");
    }

    #[test]
    fn what_is_no_redis_host() {
        hosts("http://a", "error: http:// is not Redis: it takes redis://, rediss://, unix:// or a host");
        hosts("a,a", "error: redis://a stands twice");
        hosts("x=a,x=b", "error: the label x stands twice");
        hosts("redis-a:port", "error: redis://redis-a:port: the port is not a number from 1 to 65535");
        hosts("redis-a:0", "error: redis://redis-a:0: the port is not a number from 1 to 65535");
        hosts("redis-a:65536", "error: redis://redis-a:65536: the port is not a number from 1 to 65535");
        hosts("::1", "error: redis://::1: an IPv6 address stands in brackets, such as redis://[::1]:6379");
        hosts("redis a", "error: \"redis://redis a\" has a space or a control character in it");
        hosts("x=", "error: \"x=\" names no address");
        hosts("ü=a", "error: the label \"ü\" is not made of 1 to 32 letters, digits, '.', '_' or '-'");
        hosts("redis://:hunter2@", "error: redis:// names no host");
        hosts("unix://redis.sock", "error: unix://redis.sock needs a whole path: unix:///…");
    }

    #[test]
    fn stores_of_any_kind() {
        let read = |text| shown(any_stores(text));
        assert_eq!(read("f=file:///srv/flags.json,redis://a"), "f! file:///srv/flags.json | a redis://a");
        assert_eq!(read("file:///srv/flags.json"), "flags.json file:///srv/flags.json");
        assert_eq!(
            read("file://flags.json"),
            "error: a flag file is named by its whole path: file:///path/to/flags.json"
        );
        assert!(read("redis-a").starts_with("error: a store is named by its URL: redis://host:port"));
        assert!(read("mysql://a").starts_with("error: there is no store of the kind mysql://"));
    }

    #[test]
    fn relays_by_url() {
        let read = relays("eu-1=https://relay-a:8030/,http://relay-b").unwrap();
        assert_eq!((read[0].label.as_str(), read[0].url.as_str()), ("eu-1", "https://relay-a:8030"));
        assert_eq!((read[1].label.as_str(), read[1].labelled), ("relay-b", false));
        assert!(relays("relay-a:8030").unwrap_err().contains("is not http://host:port"));
        assert!(relays("https://a:b@relay-a").unwrap_err().contains("without user, password"));
        assert!(relays("http://a,http://a").unwrap_err().contains("stands twice"));
    }

    #[test]
    fn no_password_in_an_error() {
        for text in ["redis://:hunter2@a:x", "redis://:hunter2@a,redis://:hunter2@a", "redis://u:hunter2@a b"] {
            let problem = shown(redis_hosts(text));
            assert!(problem.starts_with("error") && !problem.contains("hunter2"), "{problem}");
        }
    }
}
