//! Why LaunchDarkly did not do what it was asked, and what each of its answers means (launchdarkly.md section 2;
//! OpenAPI description, "Errors"). PURE.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// The longest text that is taken over from an answer, in characters.
const TOLD_LENGTH_MAX: usize = 1_000;

/// LaunchDarkly's own words about a refusal. They may hold anything: `ui` makes them harmless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Such as `not_found`.
    pub code: Option<Box<str>>,
    /// A sentence.
    pub message: Option<Box<str>>,
    /// For LaunchDarkly's support.
    pub id: Option<Box<str>>,
}

impl Told {
    /// Reads the body of a refusal; whatever is not of LaunchDarkly's form says nothing.
    pub fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            code: Option<serde_json::Value>,
            message: Option<serde_json::Value>,
            id: Option<serde_json::Value>,
        }
        let Ok(read) = serde_json::from_slice::<Body>(body) else { return Self::default() };
        let text = |value: Option<serde_json::Value>| {
            value.as_ref().and_then(serde_json::Value::as_str).map(|text| text.chars().take(TOLD_LENGTH_MAX).collect())
        };
        Self { code: text(read.code), message: text(read.message), id: text(read.id) }
    }

    fn mentions(&self, word: &str) -> bool {
        self.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains(word))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, &self.code) {
            (Some(message), _) => write!(formatter, "{message:?}")?,
            (None, Some(code)) => write!(formatter, "{code}")?,
            (None, None) => formatter.write_str("nothing else")?,
        }
        match &self.id {
            Some(id) => write!(formatter, " (id {id})"),
            None => Ok(()),
        }
    }
}

/// Why LaunchDarkly did not do what it was asked. `what` is the thing tried, such as `reading flag checkout of
/// shop/production`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A setting that cannot work; nothing was sent.
    #[error("{problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        way_out: String,
    },
    /// Nothing was sent, since it may not be any more.
    #[error("{what}: not sent: {why}")]
    NotPermitted {
        /// What was tried.
        what: String,
        /// Why not.
        why: String,
    },
    /// No connection: nothing was sent.
    #[error("{address} cannot be reached: {problem}")]
    Unreachable {
        /// Scheme, host and port.
        address: String,
        /// Such as `refused the connection`, `has no such name`.
        problem: String,
    },
    /// Something was asked that changes nothing, and no whole answer came in time.
    #[error("{what}: no answer within {} s", after.as_secs_f64())]
    Timeout {
        /// What was tried.
        what: String,
        /// The deadline.
        after: Duration,
    },
    /// A write was sent and its answer never came, or was not LaunchDarkly's: it may have happened.
    #[error("{what}: whether LaunchDarkly has it is not known ({problem})")]
    Unknown {
        /// What was tried.
        what: String,
        /// What came instead of an answer.
        problem: String,
    },
    /// The connection broke while something was read.
    #[error("{what}: the connection broke ({problem})")]
    Broken {
        /// What was tried.
        what: String,
        /// How.
        problem: String,
    },
    /// 401: the token is not valid, or does not permit this.
    #[error("{what}: LaunchDarkly does not accept the token for this; it said {told}")]
    Unauthorized {
        /// What was tried.
        what: String,
        /// The action or role that the token needs.
        lacks: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 403: the token does not permit this.
    #[error("{what}: the token does not permit this; LaunchDarkly said {told}")]
    Forbidden {
        /// What was tried.
        what: String,
        /// The action or role that the token needs.
        lacks: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 404, or an answer without the environment that was asked for: not there, or not visible to this token.
    #[error("{what}: LaunchDarkly has no such thing, or does not show it to this token; it said {told}")]
    NotFound {
        /// What was tried.
        what: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 405 on a change: the environment demands an approval.
    #[error("{what}: LaunchDarkly requires an approval; it said {told}")]
    ApprovalRequired {
        /// What was tried.
        what: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 400: the change would make a pending scheduled change or approval request fail.
    #[error("{what}: this would break a pending scheduled change or approval request; LaunchDarkly said {told}")]
    ScheduledConflict {
        /// What was tried.
        what: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 409: somebody else changed the same thing at the same moment. Read again, decide again.
    #[error("{what}: somebody changed it at the same moment; LaunchDarkly said {told}")]
    OptimisticLock {
        /// What was tried.
        what: String,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// 429, or a pause that LaunchDarkly asked for while it was failing, after as much waiting as was to be borne. It did
    /// not happen.
    #[error("{what}: LaunchDarkly wants a pause (rate limit, or overload); the next attempt makes sense in {} s", wait.as_secs_f64().ceil())]
    RateLimited {
        /// What was tried.
        what: String,
        /// How long to wait still.
        wait: Duration,
    },
    /// 5xx. A write may have happened all the same.
    #[error("{what}: LaunchDarkly answered {status}, {told}")]
    Server {
        /// What was tried.
        what: String,
        /// The status.
        status: u16,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// Any other refusal.
    #[error("{what}: LaunchDarkly answered {status}, {told}")]
    Refused {
        /// What was tried.
        what: String,
        /// The status.
        status: u16,
        /// LaunchDarkly's words.
        told: Told,
    },
    /// The answer is not JSON: a captive portal, a proxy.
    #[error("{what}: the answer is not JSON, so it is not LaunchDarkly's")]
    NotJson {
        /// What was tried.
        what: String,
    },
    /// The answer lacks what decides, or has it in another form.
    #[error("{what}: the answer cannot be used: {problem}")]
    Unusable {
        /// What was tried.
        what: String,
        /// What is missing.
        problem: String,
    },
    /// The answer is longer than it may be.
    #[error("{what}: the answer is longer than {limit} bytes")]
    TooLarge {
        /// What was tried.
        what: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// 3xx. The token was not taken there.
    #[error("{what}: redirected to {to}; the token does not go there")]
    Redirected {
        /// What was tried.
        what: String,
        /// The origin only.
        to: String,
    },
}

impl ApiError {
    /// Whether a write that ended like this may have happened: read again before sending again.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, ApiError::Unknown { .. } | ApiError::Server { .. })
    }

    /// Whether LaunchDarkly could not be asked at all, or did not answer: the outage itself.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            ApiError::Unreachable { .. }
                | ApiError::Timeout { .. }
                | ApiError::Broken { .. }
                | ApiError::Server { .. }
                | ApiError::NotJson { .. }
        )
    }

    /// Whether the next question would fare no better: an outage, or a pause that LaunchDarkly wants.
    pub fn stops_everything(&self) -> bool {
        self.is_outage() || matches!(self, ApiError::RateLimited { .. })
    }

    /// What to do about it, where that can be said here.
    pub fn way_out(&self) -> Option<String> {
        match self {
            ApiError::Configuration { way_out, .. } => Some(way_out.clone()),
            ApiError::Unauthorized { lacks, .. } => {
                Some(format!("LD_API_KEY needs a valid API access token (not an SDK key) with {lacks}"))
            }
            ApiError::Forbidden { lacks, .. } => Some(format!("the token needs {lacks}")),
            ApiError::Redirected { .. } => Some("LD_API_URL must be the address that answers itself".to_owned()),
            _ => None,
        }
    }
}

/// A refusal as the transport saw it, before it has a meaning.
pub(super) struct Refusal<'r> {
    /// What was tried.
    pub what: &'r str,
    /// The action or role that the call needs.
    pub lacks: &'r str,
    /// Whether something was to be changed.
    pub changes: bool,
    /// The status; never 2xx, 3xx or 429.
    pub status: u16,
    /// The beginning of the body.
    pub body: &'r [u8],
}

/// What a refusal means.
pub(super) fn meaning(refusal: &Refusal<'_>) -> ApiError {
    let Refusal { what, lacks, changes, status, body } = *refusal;
    let told = Told::read(body);
    let (what, lacks) = (what.to_owned(), lacks.to_owned());
    match status {
        400 if changes && breaks_scheduled(&told) => ApiError::ScheduledConflict { what, told },
        401 => ApiError::Unauthorized { what, lacks, told },
        403 => ApiError::Forbidden { what, lacks, told },
        // A proxy's own 404 says nothing about flags, but there is no telling it from LaunchDarkly's without a code.
        404 if told.code.is_some() || told.message.is_some() => ApiError::NotFound { what, told },
        405 if changes && (told.code.as_deref() == Some("method_not_allowed") || told.mentions("approval")) => {
            ApiError::ApprovalRequired { what, told }
        }
        409 => ApiError::OptimisticLock { what, told },
        500.. => ApiError::Server { what, status, told },
        _ => ApiError::Refused { what, status, told },
    }
}

/// The words of this 400 are not documented; its reason is: "would cause a pending scheduled change or approval request
/// to fail".
fn breaks_scheduled(told: &Told) -> bool {
    let names_it = ["scheduled change", "approval request", "scheduled"].iter().any(|words| told.mentions(words));
    let breaks_it = ["pending", "conflict", "fail"].iter().any(|word| told.mentions(word));
    names_it && breaks_it
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> ApiError {
        meaning(&Refusal { what: "x", lacks: "y", changes: true, status, body: body.as_bytes() })
    }

    #[test]
    fn every_status_has_its_meaning() {
        let body = |code: &str, message: &str| format!(r#"{{"code":{code:?},"message":{message:?},"id":"30ce"}}"#);
        let cases = [
            (400, body("invalid_request", "unknown instruction"), "Refused"),
            (400, body("invalid_request", "would cause a pending scheduled change to fail"), "ScheduledConflict"),
            (400, body("invalid_request", "conflicts with an approval request"), "ScheduledConflict"),
            (401, body("unauthorized", "no"), "Unauthorized"),
            (403, body("forbidden", "no"), "Forbidden"),
            (404, body("not_found", "no"), "NotFound"),
            (404, "<html>".to_owned(), "Refused"),
            (405, body("method_not_allowed", "require approval: action 'updateOn' not allowed"), "ApprovalRequired"),
            (405, "nginx".to_owned(), "Refused"),
            (409, body("optimistic_locking_error", "Conflict"), "OptimisticLock"),
            (422, body("x", "no"), "Refused"),
            (500, String::new(), "Server"),
            (503, "busy".to_owned(), "Server"),
        ];
        for (status, body, kind) in cases {
            let error = refused(status, &body);
            assert!(format!("{error:?}").starts_with(kind), "{status} {body}: {error:?}");
        }
    }

    #[test]
    fn launchdarklys_words_are_carried_along() {
        let error = refused(409, r#"{"code":"optimistic_locking_error","message":"Try again","id":"30ce"}"#);
        assert_eq!(
            error.to_string(),
            r#"x: somebody changed it at the same moment; LaunchDarkly said "Try again" (id 30ce)"#
        );
        assert_eq!(Told::read(br#"{"code":1,"message":[]}"#), Told::default());
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(5_000));
        assert_eq!(Told::read(long.as_bytes()).message.unwrap().len(), TOLD_LENGTH_MAX);
    }

    #[test]
    fn reading_needs_no_approval() {
        let body = br#"{"code":"method_not_allowed","message":"no"}"#;
        let error = meaning(&Refusal { what: "x", lacks: "y", changes: false, status: 405, body });
        assert!(matches!(error, ApiError::Refused { status: 405, .. }));
    }
}
