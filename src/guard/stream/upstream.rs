//! LaunchDarkly's side of a stream: it is opened, read event by event, and opened again when it has ended, for as long as
//! somebody listens. NETWORK. It must not know what events mean, or who gets them. The key goes to LaunchDarkly's address
//! and nowhere else: redirects are not followed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures_util::FutureExt as _;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderMap;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::guard::backoff::Backoff;
use crate::guard::backoff::Ended;
use crate::guard::backoff::retry_after;
use crate::guard::stream::event::EVENT_LENGTH_MAX;
use crate::guard::stream::event::Piece;
use crate::guard::stream::event::Splitter;

/// How long LaunchDarkly may say nothing before its stream counts as dead: it sends a comment every three minutes
/// (launchdarkly.md 7.1).
pub const SILENCE_MAX: Duration = Duration::from_secs(300);

/// For a connection, name resolution and TLS included.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// For the header of an answer, the connection included.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// A connection of which the other side has vanished is noticed after about a minute.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;

/// Headers that belong to one connection and do not go on (RFC 9110, 7.6.1), and those that are made anew.
const OWN_HEADERS: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "expect",
];

/// LaunchDarkly's streaming service.
#[derive(Debug, Clone)]
pub struct LaunchDarkly {
    http: reqwest::Client,
    base: Url,
    silence: Duration,
}

/// Why LaunchDarkly's streaming service cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address is none.
    #[error("{0}")]
    Address(String),
    /// The system has no roots, or the like.
    #[error("the HTTPS client cannot be made: {0}")]
    Client(String),
}

/// What is asked: the same for all relays that ask for the same.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query, as the relay sent them.
    pub path: String,
    /// The relay's headers, its key among them, but for those of its connection.
    pub headers: HeaderMap,
}

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// The stream is open.
    Opened,
    /// It said something.
    Piece(Piece),
    /// It is not open, or not any more. It will be opened again after a while.
    Gone(Gone),
}

/// Why a stream is not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// In words, without secrets.
    pub told: String,
    /// Whether it was LaunchDarkly, by verified TLS, saying that it does not know the key.
    pub refused: bool,
}

impl LaunchDarkly {
    /// LaunchDarkly at `address`: `https`, or `http` to this machine. `silence`: [`SILENCE_MAX`]. `authority`: in PEM, trusted
    /// beside the system's.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn at(address: &str, silence: Duration, authority: Option<&[u8]>) -> Result<Self, AddressError> {
        let base = checked(address).map_err(AddressError::Address)?;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            // Streams are never done, and what is passed through is rare: a connection that was kept may have ended unseen.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_DEADLINE)
            // A safety net for what is passed through; streams are watched here.
            .read_timeout(silence + Duration::from_secs(60))
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .tcp_keepalive_interval(KEEPALIVE_INTERVAL)
            .tcp_keepalive_retries(KEEPALIVE_TRIES);
        if base.scheme() == "http" {
            // A proxy from the environment would see the key; and `localhost` is this machine whatever a name server says.
            builder = builder.no_proxy().resolve_to_addrs(
                "localhost",
                &[([127, 0, 0, 1], 0).into(), (std::net::Ipv6Addr::LOCALHOST, 0).into()],
            );
        }
        if let Some(pem) = authority {
            let certificates =
                reqwest::Certificate::from_pem_bundle(pem).map_err(|error| AddressError::Client(cause(&error)))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| AddressError::Client(cause(&error)))?;
        Ok(Self { http, base, silence })
    }

    /// Its address, as shown in messages.
    pub fn shown(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Whether what answers there has proven to be LaunchDarkly.
    pub fn is_verified(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Asks, and waits for the header of the answer.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn ask(&self, asked: &Asked) -> Result<reqwest::Response, String> {
        let base = self.base.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{}", asked.path)).map_err(|error| format!("no address: {error}"))?;
        let sent = self.http.get(url).headers(asked.headers.clone()).send();
        match timeout(ANSWER_DEADLINE, sent).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(cause(&error)),
            Err(_) => Err(format!("no answer within {} s", ANSWER_DEADLINE.as_secs())),
        }
    }

    /// Opens the stream and tells what it says, again and again, until nobody listens. `again` has it opened anew.
    pub async fn follow(&self, asked: Asked, heard: mpsc::Sender<Heard>, again: Arc<Notify>) {
        let mut backoff = Backoff::default();
        loop {
            let mut ended = Ended { chance: fastrand::f64(), ..Ended::default() };
            let gone = match self.open(&asked).await {
                Ok(response) => {
                    // A wish to open it anew that came too late for the one before is not about this one.
                    let _ = again.notified().now_or_never();
                    let opened = Instant::now();
                    let Some(told) = self.read(response, &heard, &again).await else { return };
                    ended.good_for = Some(opened.elapsed());
                    Gone { told, refused: false }
                }
                Err((gone, retry_after)) => {
                    ended.retry_after = retry_after;
                    gone
                }
            };
            if heard.send(Heard::Gone(gone)).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait(ended)) => {}
                () = heard.closed() => return,
            }
        }
    }

    async fn open(&self, asked: &Asked) -> Result<reqwest::Response, (Gone, Option<Duration>)> {
        let gone = |told: String| (Gone { told, refused: false }, None);
        let response = self.ask(asked).await.map_err(gone)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        match response.status() {
            StatusCode::OK => {
                let kind = header(header::CONTENT_TYPE).unwrap_or_default();
                if kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") {
                    return Ok(response);
                }
                let told = format!("it answers with {kind:?} instead of a stream: something else stands in between");
                Err(gone(told))
            }
            status => {
                let wait = header(header::RETRY_AFTER).and_then(retry_after);
                let refused = status == StatusCode::UNAUTHORIZED && self.is_verified();
                let told = if status.is_redirection() {
                    format!("it answers {status}, which is not followed: the key would go along")
                } else {
                    format!("it answers {status}")
                };
                Err((Gone { told, refused }, wait))
            }
        }
    }

    /// Reads an open stream to its end; why it ended, or `None` where nobody listens any more.
    async fn read(
        &self,
        mut response: reqwest::Response,
        heard: &mpsc::Sender<Heard>,
        again: &Notify,
    ) -> Option<String> {
        heard.send(Heard::Opened).await.ok()?;
        let mut splitter = Splitter::new(EVENT_LENGTH_MAX);
        loop {
            let chunk = tokio::select! {
                chunk = timeout(self.silence, response.chunk()) => chunk,
                () = again.notified() => return Some("it is opened anew".to_owned()),
                () = heard.closed() => return None,
            };
            let bytes = match chunk {
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) if splitter.is_within_event() => {
                    return Some("it ended in the middle of an event".to_owned());
                }
                Ok(Ok(None)) => return Some("it ended".to_owned()),
                Ok(Err(error)) => return Some(format!("it broke off: {}", cause(&error))),
                Err(_) => return Some(format!("it said nothing for {} s", self.silence.as_secs())),
            };
            let pieces = match splitter.push(&bytes) {
                Ok(pieces) => pieces,
                Err(error) => return Some(format!("it sent {error}")),
            };
            for piece in pieces {
                heard.send(Heard::Piece(piece)).await.ok()?;
            }
        }
    }
}

/// A request's headers without those that belong to its connection.
pub fn going_on(headers: &HeaderMap) -> HeaderMap {
    // What `Connection` names belongs to the connection too.
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(|name| name.trim().to_ascii_lowercase()))
        .collect();
    let mut going = HeaderMap::new();
    for (name, value) in headers {
        if OWN_HEADERS.contains(&name.as_str()) || named.iter().any(|own| own == name.as_str()) {
            continue;
        }
        let mut value = value.clone();
        value.set_sensitive(name == header::AUTHORIZATION);
        going.append(name.clone(), value);
    }
    going
}

/// The address of a stream: `https`, or `http` to this machine; without user, password, query and fragment.
fn checked(address: &str) -> Result<Url, String> {
    let base = Url::parse(address.trim()).map_err(|error| format!("the stream's address is no URL: {error}"))?;
    if !base.username().is_empty() || base.password().is_some() || base.query().is_some() || base.fragment().is_some() {
        return Err("the stream's address has a user, a password, a query or a fragment in it".to_owned());
    }
    let Some(host) = base.host_str() else { return Err(format!("{base} names no server")) };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match base.scheme() {
        "https" => Ok(base),
        "http" if is_loopback => Ok(base),
        "http" => Err(format!("{base} would send SDK keys unencrypted: plain HTTP is only for this machine")),
        other => Err(format!("{other} is no way to reach LaunchDarkly's stream")),
    }
}

/// The innermost cause, which is the one that tells; the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    // Causes form a list; its length is bounded all the same.
    for _ in 0..16 {
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in
            ["https://stream.launchdarkly.com", "http://127.0.0.1:8031/", "http://localhost:1", "http://[::1]:1"]
        {
            assert!(checked(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("stream.launchdarkly.com", "no URL"),
            ("http://stream.launchdarkly.com", "unencrypted"),
            ("http://127.0.0.1.example.com", "unencrypted"),
            ("ftp://localhost", "no way"),
            ("https://anna:hunter2@stream", "a user, a password"),
            ("https://stream?x=1", "a query"),
        ] {
            let problem = checked(bad).unwrap_err();
            assert!(problem.contains(why) && !problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn the_headers_of_a_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "sdk-1"),
            ("user-agent", "LDRelay/8.10.1"),
            ("x-launchdarkly-tags", "a/b"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("host", "guard"),
            ("te", "trailers"),
        ] {
            headers.insert(header::HeaderName::from_static(name), value.parse().unwrap());
        }
        let going = going_on(&headers);
        let names: Vec<&str> = going.keys().map(header::HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "user-agent", "x-launchdarkly-tags"]);
        assert!(!format!("{going:?}").contains("sdk-1"));
    }
}
