//! One exchange with LaunchDarkly: a request out, a whole answer in, within one deadline and one limit of length. It
//! repeats nothing and knows nothing about what is asked.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Method;
use reqwest::Url;
use reqwest::header;
use reqwest::header::HeaderMap;
use reqwest::header::HeaderValue;

use crate::launchdarkly::address::Address;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::client::ClientOptions;
use crate::launchdarkly::pacing::Signals;

/// The API version that this program is written for; without it the token's own default would apply.
const API_VERSION: &str = "20240415";
/// Without it LaunchDarkly takes the body for a JSON patch.
const SEMANTIC_PATCH: &str = "application/json; domain-model=launchdarkly.semanticpatch";
/// How much of a refusal is read.
const REFUSAL_LENGTH_MAX: usize = 64 * 1024;

/// What is sent along.
pub(super) enum Body {
    /// Nothing.
    None,
    /// A semantic patch.
    SemanticPatch(String),
    /// Plain JSON.
    Json(String),
}

/// An answer, of any status but a redirect.
pub(super) struct Answer {
    /// The status.
    pub status: u16,
    /// What its headers say about going on.
    pub signals: Signals,
    /// The body: whole where the status is 2xx, else its beginning.
    pub body: Vec<u8>,
}

/// Why there is no answer.
pub(super) enum Fault {
    /// No connection came about: nothing was sent.
    Unsent(String),
    /// The deadline passed after the connection was begun.
    Late,
    /// The connection broke, or what came was no HTTP.
    Broken(String),
    /// A 2xx answer longer than its limit.
    TooLarge,
    /// A redirect, to this origin.
    Redirected(String),
    /// The client cannot be made.
    Configuration(ApiError),
}

/// The transport: reqwest, made when it is first needed, since that takes 3 to 13 ms.
pub(super) struct Exchange {
    address: Address,
    /// Sent with everything beside the token.
    headers: &'static [(&'static str, &'static str)],
    options: ClientOptions,
    http: OnceLock<Result<reqwest::Client, ApiError>>,
}

impl Exchange {
    pub(super) fn new(address: Address, options: ClientOptions) -> Self {
        Self { address, headers: &[("ld-api-version", API_VERSION)], options, http: OnceLock::new() }
    }

    /// With what LaunchDarkly has for SDKs, which is no API with versions.
    pub(super) fn with_delivery(address: Address, options: ClientOptions) -> Self {
        Self { address, headers: &[], options, http: OnceLock::new() }
    }

    pub(super) fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a request and reads the answer, of up to `limit` bytes, within the deadline.
    pub(super) async fn run(&self, method: Method, url: Url, body: &Body, limit: usize) -> Result<Answer, Fault> {
        let http =
            self.http.get_or_init(|| self.build()).as_ref().map_err(|error| Fault::Configuration(error.clone()))?;
        let mut request = http.request(method, url);
        request = match body {
            Body::None => request,
            Body::SemanticPatch(text) => request.header(header::CONTENT_TYPE, SEMANTIC_PATCH).body(text.clone()),
            Body::Json(text) => request.header(header::CONTENT_TYPE, "application/json").body(text.clone()),
        };
        // One deadline around everything: reqwest's own leaves name resolution to the system's patience.
        match tokio::time::timeout(self.options.deadline, whole(request, limit)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::Late),
        }
    }

    fn build(&self) -> Result<reqwest::Client, ApiError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .default_headers(self.headers()?)
            .connect_timeout(connect_deadline(self.options.deadline));
        if self.address.is_plain() {
            // A proxy from the environment would see the token; and `localhost` is this machine whatever a name
            // server says. No TLS is spoken, so the system's authorities, which take a while to read, are not read.
            builder = builder.no_proxy().tls_certs_only([]).resolve_to_addrs(
                "localhost",
                &[([127, 0, 0, 1], 0).into(), (std::net::Ipv6Addr::LOCALHOST, 0).into()],
            );
        }
        if let Some(pem) = &self.options.authority_pem {
            let wrong = |problem: String| ApiError::Configuration {
                problem,
                way_out: "the file of the authority holds certificates in PEM form".to_owned(),
            };
            let authorities = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| wrong(format!("the authority's certificate cannot be read: {}", cause(&error))))?;
            if authorities.is_empty() {
                return Err(wrong("the authority's file has no certificate in it".to_owned()));
            }
            // Wrong is wrong, also where it is not needed.
            if !self.address.is_plain() {
                builder = builder.tls_certs_merge(authorities);
            }
        }
        builder.build().map_err(|error| ApiError::Configuration {
            problem: format!("the HTTPS client cannot be made: {}", cause(&error)),
            way_out: "rc doctor shows what is missing on this machine".to_owned(),
        })
    }

    fn headers(&self) -> Result<HeaderMap, ApiError> {
        let value = |text: &str, setting: &str| {
            HeaderValue::from_str(text).ok().filter(|_| !text.is_empty()).ok_or_else(|| ApiError::Configuration {
                problem: format!("{setting} is empty or has characters that no token and no header has"),
                way_out: format!("set {setting}"),
            })
        };
        let mut authorization = value(self.options.token.secret(), "LD_API_KEY")?;
        authorization.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization);
        for (name, value) in self.headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        headers.insert(header::USER_AGENT, value(&self.options.user_agent, "the user agent")?);
        Ok(headers)
    }
}

/// Less than the deadline, so that a host that takes no connection is told apart from one that got a request and never
/// answered: after the first, a write has certainly not happened.
fn connect_deadline(deadline: Duration) -> Duration {
    deadline.mul_f64(0.6)
}

async fn whole(request: reqwest::RequestBuilder, limit: usize) -> Result<Answer, Fault> {
    let mut response = request.send().await.map_err(|error| fault(&error))?;
    let status = response.status();
    if status.is_redirection() {
        return Err(Fault::Redirected(redirect_origin(&response)));
    }
    let headers = response.headers();
    let signals = Signals::read(|name| headers.get(name).and_then(|value| value.to_str().ok()));
    let limit = if status.is_success() { limit } else { limit.min(REFUSAL_LENGTH_MAX) };
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() <= limit => body.extend_from_slice(&piece),
            // What a refusal says beyond the limit says nothing more.
            Ok(Some(_)) if !status.is_success() => break,
            Ok(Some(_)) => return Err(Fault::TooLarge),
            Ok(None) => break,
            // The status of a refusal decides, not its words.
            Err(_) if !status.is_success() => break,
            Err(error) => return Err(fault(&error)),
        }
    }
    Ok(Answer { status: status.as_u16(), signals, body })
}

fn redirect_origin(response: &reqwest::Response) -> String {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|text| response.url().join(text).ok()) {
        Some(url) => url.origin().ascii_serialization(),
        None => "nowhere".to_owned(),
    }
}

fn fault(error: &reqwest::Error) -> Fault {
    if error.is_connect() {
        let problem = match error {
            error if error.is_dns() => format!("the name does not resolve ({})", cause(error)),
            error if error.is_timeout() => "no connection in time".to_owned(),
            error => cause(error),
        };
        return Fault::Unsent(problem);
    }
    Fault::Broken(cause(error))
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
