//! The HTTP client with which relays are asked. Every request has a deadline that covers name resolution, every answer a
//! limit; no redirect is followed, so an SDK key goes to the address that was configured and nowhere else; proxies of
//! the process' environment are not used, since relays are inside the network.
//!
//! An SDK key is sent over plain HTTP too: relays commonly run without TLS, and every SDK sends its key that way there.

use std::error::Error as _;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Response;
use reqwest::StatusCode;
use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;
use reqwest::header::LOCATION;

use crate::relay::address::RelayAddress;
use crate::relay::sdk_key::SdkKey;

/// Why a relay did not say what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// No connection.
    #[error("relay {relay} {problem}")]
    Unreachable {
        /// The relay's label.
        relay: String,
        /// Such as `refused the connection`.
        problem: String,
    },
    /// No answer in time.
    #[error("relay {relay} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// The relay's label.
        relay: String,
        /// The deadline.
        after: Duration,
    },
    /// An answer other than success.
    #[error("relay {relay} answered {status}: {meaning}")]
    Refused {
        /// The relay's label.
        relay: String,
        /// The HTTP status.
        status: u16,
        /// What that means on a relay.
        meaning: &'static str,
    },
    /// The answer was a redirect, which is not followed.
    #[error("relay {relay} answered with a redirect to {to}, which is not followed")]
    Redirected {
        /// The relay's label.
        relay: String,
        /// Where to; its beginning.
        to: String,
    },
    /// More than is taken.
    #[error("relay {relay} sent more than {limit} bytes")]
    TooLong {
        /// The relay's label.
        relay: String,
        /// The limit.
        limit: usize,
    },
    /// Not what a relay sends there.
    #[error("relay {relay} sent something that is not {expected}: {problem}")]
    NotUnderstood {
        /// The relay's label.
        relay: String,
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The connection ended in the middle.
    #[error("relay {relay} broke the connection off: {problem}")]
    BrokenOff {
        /// The relay's label.
        relay: String,
        /// How.
        problem: String,
    },
    /// The program has not chosen its TLS provider, or the SDK key cannot be sent.
    #[error("no request can be made: {problem}")]
    Unable {
        /// What is missing.
        problem: &'static str,
    },
}

/// How long a relay is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the connection, name resolution and TLS included.
    pub connect: Duration,
    /// For a whole answer, connection included; of a stream, until its header.
    pub answer: Duration,
    /// How long a stream may be silent. Relays send a comment every 3 minutes (`heartbeatInterval`).
    pub silence: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(3),
            // LaunchDarkly's SDKs take a stream for dead after 5 minutes.
            silence: Duration::from_secs(300),
        }
    }
}

/// Asks relays. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RelayClient {
    http: reqwest::Client,
    pub(super) deadlines: Deadlines,
}

impl RelayClient {
    /// A client. Takes some milliseconds where TLS roots must be read, so it is made when it is needed.
    ///
    /// # Errors
    /// [`RelayError::Unable`] where no TLS provider was installed by the program, or the system's roots cannot be read.
    pub fn new(deadlines: Deadlines) -> Result<Self, RelayError> {
        // Without this check reqwest panics, also for plain HTTP.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(RelayError::Unable { problem: "no TLS provider is installed" });
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(deadlines.connect)
            .user_agent(concat!("relay-commander/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| RelayError::Unable { problem: "TLS cannot be set up" })?;
        Ok(Self { http, deadlines })
    }

    /// Sends a request and waits for the header of its answer.
    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Response, RelayError> {
        let relay = request.relay;
        let mut builder = self.http.get(request.url).headers(request.headers);
        if let Some(key) = request.key {
            let header = key.header().ok_or(RelayError::Unable { problem: "the SDK key cannot be sent" })?;
            builder = builder.header(AUTHORIZATION, header);
        }
        let response = tokio::time::timeout(self.deadlines.answer, builder.send())
            .await
            .map_err(|_| RelayError::TimedOut { relay: relay.label().to_owned(), after: self.deadlines.answer })?
            .map_err(|error| self.unreachable(relay, &error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::NOT_FOUND {
            return Ok(response);
        }
        if status.is_redirection() {
            let to = response.headers().get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
            let to = String::from_utf8_lossy(to).chars().take(200).collect();
            return Err(RelayError::Redirected { relay: relay.label().to_owned(), to });
        }
        Err(refused(relay, status))
    }

    /// The body of an answer, at most `limit` bytes.
    pub(super) async fn body(
        &self,
        relay: &RelayAddress,
        response: Response,
        limit: usize,
    ) -> Result<Vec<u8>, RelayError> {
        let too_long = || RelayError::TooLong { relay: relay.label().to_owned(), limit };
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_long());
        }
        let read = async {
            let mut bytes = Vec::new();
            let mut stream = response.bytes_stream();
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|error| self.broken_off(relay, &error))?;
                if bytes.len() + piece.len() > limit {
                    return Err(too_long());
                }
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes)
        };
        tokio::time::timeout(self.deadlines.answer, read)
            .await
            .map_err(|_| RelayError::TimedOut { relay: relay.label().to_owned(), after: self.deadlines.answer })?
    }

    fn unreachable(&self, relay: &RelayAddress, error: &reqwest::Error) -> RelayError {
        let relay = relay.label().to_owned();
        if error.is_timeout() {
            let after = if error.is_connect() { self.deadlines.connect } else { self.deadlines.answer };
            return RelayError::TimedOut { relay, after };
        }
        if error.is_connect() {
            return RelayError::Unreachable { relay, problem: why_no_connection(error) };
        }
        RelayError::BrokenOff { relay, problem: innermost(error) }
    }

    pub(super) fn broken_off(&self, relay: &RelayAddress, error: &reqwest::Error) -> RelayError {
        RelayError::BrokenOff { relay: relay.label().to_owned(), problem: innermost(error) }
    }
}

/// One request to a relay.
pub(super) struct Request<'a> {
    pub(super) relay: &'a RelayAddress,
    pub(super) url: Url,
    pub(super) key: Option<&'a SdkKey>,
    pub(super) headers: HeaderMap,
}

/// What a relay means by a status (`internal/middleware/middleware.go`).
pub(super) fn refused(relay: &RelayAddress, status: StatusCode) -> RelayError {
    let meaning = match status.as_u16() {
        401 | 403 => "it does not know this SDK key, or LaunchDarkly refused the key when the relay started",
        404 => "it does not know this address, or not this payload filter",
        500 => "it cannot read its store, or a record in it is damaged; then all flags of the environment fail",
        503 => "it is not ready: its client has not started, or it waits for its automatic configuration",
        _ => "not what a relay answers here",
    };
    RelayError::Refused { relay: relay.label().to_owned(), status: status.as_u16(), meaning }
}

fn why_no_connection(error: &reqwest::Error) -> String {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return "refused the connection".to_owned();
        }
        if cause.to_string().contains("dns error") {
            return "has a name that cannot be resolved".to_owned();
        }
        source = cause.source();
    }
    format!("cannot be reached: {}", innermost(error))
}

/// The innermost cause: reqwest's outer ones repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().chars().take(200).collect()
}
