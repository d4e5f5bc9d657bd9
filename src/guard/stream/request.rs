//! What a request asks for. PURE.

use hyper::Method;
use hyper::header;
use hyper::header::HeaderMap;
use hyper::header::HeaderValue;

use crate::guard::stream::upstream::Asked;
use crate::guard::stream::upstream::going_on;

/// The stream of an environment's flags.
pub const FLAGS_PATH: &str = "/all";

/// The stream of a relay's automatic configuration.
pub const CONFIGURATION_PATH: &str = "/relay_auto_config";

/// The paths of the protocol that relays of version 9 speak (launchdarkly.md 7.2, 7.3).
const NEWER_PATHS: [&str; 2] = ["/sdk/stream", "/sdk/poll"];

/// The first version of the relay that is not supported.
const UNSUPPORTED_FROM: u32 = 9;

/// The longest path and query that is taken, in bytes.
const PATH_LENGTH_MAX: usize = 2_000;

/// The longest name that a relay may give itself, in characters, as it is kept.
const AGENT_LENGTH_MAX: usize = 100;

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// One of the streams that are shared.
    Stream(Stream),
    /// Anything else of LaunchDarkly's, passed through.
    Through(Asked),
    /// It comes from a relay whose protocol is another.
    Unsupported,
    /// Nothing that a relay would ask of a stream.
    Nothing,
}

/// A stream that is asked for.
#[derive(Debug, Clone)]
pub struct Stream {
    /// As LaunchDarkly is asked.
    pub asked: Asked,
    /// Its path.
    pub path: &'static str,
    /// The payload filter, where one is asked for.
    pub filter: Option<String>,
}

impl Stream {
    /// The key that the relay presents; empty where it presents none.
    pub fn key(&self) -> &[u8] {
        self.asked.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default()
    }

    /// Whether it is of flags, not of the automatic configuration.
    pub fn is_of_flags(&self) -> bool {
        self.path == FLAGS_PATH
    }
}

/// Reads a request.
pub fn wanted(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Wanted {
    if NEWER_PATHS.contains(&path) || relay_version(&agent(headers)).is_some_and(|major| major >= UNSUPPORTED_FROM) {
        return Wanted::Unsupported;
    }
    let whole = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    if *method != Method::GET || !path.starts_with('/') || whole.len() > PATH_LENGTH_MAX {
        return Wanted::Nothing;
    }
    let mut asked = Asked { path: whole, headers: going_on(headers) };
    let Some(path) = [FLAGS_PATH, CONFIGURATION_PATH].into_iter().find(|known| *known == path) else {
        return Wanted::Through(asked);
    };
    // A stream is read here, so it must come as it is; and it begins anew each time.
    asked.headers.remove(header::ACCEPT_ENCODING);
    asked.headers.remove("last-event-id");
    Wanted::Stream(Stream { asked, path, filter: filter(query) })
}

/// What a relay calls itself.
pub fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    agent.chars().take(AGENT_LENGTH_MAX).collect()
}

/// The major version of a relay that says so: `LDRelay/8.10.1` (`relay/relay.go`), perhaps behind other names.
fn relay_version(agent: &str) -> Option<u32> {
    let (_, version) = agent.split_once("LDRelay/")?;
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    major.parse().ok()
}

/// The payload filter of a query. An empty one is none.
fn filter(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|part| part.strip_prefix("filter="))?;
    (!value.is_empty()).then(|| percent_decoded(value))
}

/// Keys of filters have nothing in them that would be escaped; a client may escape it all the same.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(agent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("sdk-1"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::USER_AGENT, agent.parse().unwrap());
        headers
    }

    fn read(path: &str, query: Option<&str>) -> Wanted {
        wanted(&Method::GET, path, query, &headers("GoClient/7.6.0 LDRelay/8.10.1"))
    }

    #[test]
    fn streams_and_all_the_rest() {
        let Wanted::Stream(stream) = read("/all", Some("filter=we%62&x=1")) else { panic!() };
        assert_eq!((stream.path, stream.filter.as_deref(), stream.key()), ("/all", Some("web"), b"sdk-1".as_slice()));
        assert_eq!(stream.asked.path, "/all?filter=we%62&x=1");
        assert!(!stream.asked.headers.contains_key(header::ACCEPT_ENCODING) && stream.is_of_flags());
        let Wanted::Stream(stream) = read("/relay_auto_config", Some("rpacProtocolVersion=2")) else { panic!() };
        assert!(stream.filter.is_none() && !stream.is_of_flags());
        let Wanted::Stream(stream) = read("/all", Some("filter=")) else { panic!() };
        assert_eq!(stream.filter, None);
        let Wanted::Through(asked) = read("/big-segments", None) else { panic!() };
        assert!(asked.headers.contains_key(header::ACCEPT_ENCODING));
        assert!(matches!(read("/allother", None), Wanted::Through(_)));
    }

    #[test]
    fn what_is_not_served() {
        for path in ["/sdk/stream", "/sdk/poll"] {
            assert!(matches!(read(path, Some("basis=x")), Wanted::Unsupported), "{path}");
        }
        let newer = |agent: &str| matches!(wanted(&Method::GET, "/all", None, &headers(agent)), Wanted::Unsupported);
        assert!(
            newer("LDRelay/9.0.0") && newer("GoClient/8.0.0 LDRelay/10.1") && !newer("LDRelay/8.99") && !newer("x")
        );
        assert!(matches!(wanted(&Method::POST, "/all", None, &headers("x")), Wanted::Nothing));
        assert!(matches!(read("/all", Some(&"x".repeat(3_000))), Wanted::Nothing));
    }

    #[test]
    fn odd_escapes_are_left_as_they_are() {
        assert_eq!(percent_decoded("a%2"), "a%2");
        assert_eq!(percent_decoded("%zz+%41"), "%zz A");
    }
}
