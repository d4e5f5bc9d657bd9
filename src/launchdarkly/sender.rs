//! Sends a call as often as is right. Reads are repeated within their patience. A write is repeated only after a 429,
//! since it was refused then; after anything else the caller must read again and decide again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::Url;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::flag::key::Environment;
use crate::launchdarkly::address::Address;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::api_error::Refusal;
use crate::launchdarkly::api_error::Told;
use crate::launchdarkly::api_error::meaning;
use crate::launchdarkly::exchange::Answer;
use crate::launchdarkly::exchange::Body;
use crate::launchdarkly::exchange::Exchange;
use crate::launchdarkly::exchange::Fault;
use crate::launchdarkly::identity::Reach;
use crate::launchdarkly::identity::Reached;
use crate::launchdarkly::pacing;
use crate::launchdarkly::pacing::Moment;
use crate::launchdarkly::pacing::Pace;
use crate::launchdarkly::pacing::RetryAfter;
use crate::launchdarkly::pacing::Route;
use crate::launchdarkly::pacing::WaitReason;
use crate::launchdarkly::wire;

/// The longest answer to most calls, in bytes.
pub(super) const ANSWER_LENGTH_MAX: usize = 4 * 1024 * 1024;

/// A wait that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// How long, in seconds, rounded up.
    pub seconds: u64,
    /// Why.
    pub why: WaitReason,
}

/// Told of each wait, so that the terminal can say `waits 7 s: rate limit`.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(Waiting) + Send + Sync>);

impl Observer {
    /// Calls `tell` at the beginning of each wait; it must not block.
    pub fn new(tell: impl Fn(Waiting) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Observer")
    }
}

/// One call: what is asked and what the answer may be.
pub(super) struct Call<'c> {
    /// What is tried, for messages.
    pub what: String,
    /// The action or role that the token needs.
    pub lacks: String,
    /// What LaunchDarkly counts it with.
    pub route: Route,
    /// The verb.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// What is sent along.
    pub body: &'c Body,
    /// The longest answer, in bytes.
    pub limit: usize,
    /// Whether it changes something, so that it is not repeated after an answer that did not come.
    pub changes: bool,
    /// In which environment it changes something, if it does.
    pub environment: Option<&'c Environment>,
}

impl Call<'_> {
    /// A call that only reads, to be completed by the caller.
    pub fn read(route: Route, url: Url) -> Self {
        Self {
            what: String::new(),
            lacks: String::new(),
            route,
            method: Method::GET,
            url,
            body: &Body::None,
            limit: ANSWER_LENGTH_MAX,
            changes: false,
            environment: None,
        }
    }
}

/// What came of an exchange.
enum Judged {
    /// The body of a 2xx.
    Body(Vec<u8>),
    /// An error and, where a repetition may help, why one would wait for it.
    Failed(ApiError, Option<WaitReason>),
}

/// The exchange and what is known of LaunchDarkly's limits. One request is in flight at a time.
pub(super) struct Sender {
    exchange: Exchange,
    started: Instant,
    pace: Mutex<Pace>,
}

impl Sender {
    pub fn new(exchange: Exchange) -> Self {
        Self { exchange, started: Instant::now(), pace: Mutex::new(Pace::default()) }
    }

    pub fn address(&self) -> &Address {
        self.exchange.address()
    }

    /// Asks once whose token it is, whatever the pace: see [`crate::launchdarkly::Client::reachable`].
    pub async fn knock(&self, url: Url) -> Result<Reach, ApiError> {
        let sent = self.now();
        let outcome = self.exchange.run(Method::GET, url, &Body::None, ANSWER_LENGTH_MAX).await;
        let received = self.now();
        let mut clock_wrong_by_ms = None;
        // Not waited for: somebody else's request may be under way, and this is to answer at once.
        if let (Ok(answer), Ok(mut pace)) = (&outcome, self.pace.try_lock()) {
            let refused = answer.status == 429;
            pace.learn("GET /caller-identity", sent, received, refused, &answer.signals, fastrand::f64());
            clock_wrong_by_ms = pace.skew().and_then(|skew| skew.wrong_by_ms());
        }
        let failing = |problem: &str| Reached::Failing { problem: problem.to_owned() };
        let answer = match outcome {
            Ok(Answer { status: 200..300, body, .. }) => match serde_json::from_slice::<wire::CallerIdentity>(&body) {
                Ok(_) => Reached::Answers,
                Err(_) => failing("the answer is not LaunchDarkly's"),
            },
            // A rate limit is an answer too.
            Ok(Answer { status: 429, .. }) => Reached::Answers,
            Ok(Answer { status, body, .. }) => match (status, Told::read(&body).to_string()) {
                (401 | 403, told) => Reached::TokenRefused { status, told },
                (_, told) => failing(&format!("it answers {status}, {told}")),
            },
            Err(Fault::Configuration(error)) => return Err(error),
            Err(Fault::Unsent(problem) | Fault::Broken(problem)) => Reached::Unreachable { problem },
            Err(Fault::Late) => Reached::Unreachable { problem: self.no_answer() },
            Err(Fault::TooLarge) => failing("the answer is not LaunchDarkly's"),
            Err(Fault::Redirected(to)) => failing(&format!("it redirects to {to}")),
        };
        Ok(Reach { answer, clock_wrong_by_ms })
    }

    /// Sends a call and reads the answer as `T`.
    pub async fn ask<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ApiError> {
        let body = self.send(call).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let what = call.what.clone();
            match error.classify() {
                _ if call.changes => ApiError::Unknown { what, problem: format!("the answer cannot be used: {error}") },
                serde_json::error::Category::Data => ApiError::Unusable { what, problem: error.to_string() },
                _ => ApiError::NotJson { what },
            }
        })
    }

    /// Sends a call as often as its kind, the patience and LaunchDarkly's limits allow, and gives the body of a 2xx.
    pub async fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let (began, patience) = (Instant::now(), self.exchange.options().patience);
        let mut limited = Duration::ZERO;
        let mut attempts = 0;
        loop {
            let mut pace = self.pace.lock().await;
            let wait = pace.wait(call.route, self.now());
            if !wait.is_zero() {
                let reason = pace.reason();
                drop(pace);
                if limited + wait > patience.rate_limit {
                    return Err(ApiError::RateLimited { what: call.what.clone(), wait });
                }
                self.sleep(wait, reason).await;
                limited += wait;
                continue;
            }
            attempts += 1;
            if let (Some(permit), Some(environment), true) =
                (&self.exchange.options().permit, call.environment, call.changes)
            {
                let what = || call.what.clone();
                permit.ask(environment).map_err(|why| ApiError::NotPermitted { what: what(), why })?;
            }
            let sent = self.now();
            let outcome = self.exchange.run(call.method.clone(), call.url.clone(), call.body, call.limit).await;
            let mut asked = None;
            if let Ok(answer) = &outcome {
                let refused = answer.status == 429;
                pace.learn(call.route, sent, self.now(), refused, &answer.signals, fastrand::f64());
                if refused && attempts >= patience.attempts {
                    let wait = pace.wait(call.route, self.now());
                    return Err(ApiError::RateLimited { what: call.what.clone(), wait });
                }
                if refused {
                    // It did not happen, so it may be sent again: when, the pace knows.
                    continue;
                }
                if let (Some(retry_after), 500..) = (answer.signals.retry_after, answer.status) {
                    // Whoever repeats a read asks for himself when; a write is repeated by nobody here, so whatever comes
                    // next has to wait.
                    match retry_after {
                        RetryAfter::Wait(wait) if !call.changes => asked = Some(wait),
                        retry_after => pace.pause(self.now(), retry_after),
                    }
                }
            }
            drop(pace);
            let (error, why) = match self.judged(call, outcome) {
                Judged::Body(body) => return Ok(body),
                Judged::Failed(error, why) => (error, why),
            };
            let Some(why) = why.filter(|_| !call.changes) else { return Err(error) };
            let elapsed = began.elapsed().saturating_sub(limited);
            let Some(wait) = pacing::back_off(patience, attempts, elapsed, asked, fastrand::f64()) else {
                return Err(error);
            };
            self.sleep(wait, why).await;
        }
    }

    fn judged(&self, call: &Call<'_>, outcome: Result<Answer, Fault>) -> Judged {
        let what = call.what.clone();
        let fault = match outcome {
            Ok(answer) if (200..300).contains(&answer.status) => return Judged::Body(answer.body),
            Ok(Answer { status, body, .. }) => {
                let refusal = Refusal { what: &what, lacks: &call.lacks, changes: call.changes, status, body: &body };
                return Judged::Failed(meaning(&refusal), (status >= 500).then_some(WaitReason::ServerError));
            }
            Err(fault) => fault,
        };
        // A write whose answer did not come, or cannot be used, may have happened.
        let unknown = |problem: String| ApiError::Unknown { what: what.clone(), problem };
        let no_answer = Some(WaitReason::NoAnswer);
        let (error, why) = match fault {
            Fault::Configuration(error) => (error, None),
            Fault::Redirected(to) => (ApiError::Redirected { what, to }, None),
            Fault::Unsent(problem) => (ApiError::Unreachable { address: self.address().origin(), problem }, no_answer),
            Fault::Late if call.changes => (unknown(self.no_answer()), None),
            Fault::Late => (ApiError::Timeout { what, after: self.exchange.options().deadline }, no_answer),
            Fault::Broken(problem) if call.changes => (unknown(problem), None),
            Fault::Broken(problem) => (ApiError::Broken { what, problem }, no_answer),
            Fault::TooLarge if call.changes => {
                (unknown(format!("the answer is longer than {} bytes", call.limit)), None)
            }
            Fault::TooLarge => (ApiError::TooLarge { what, limit: call.limit }, None),
        };
        Judged::Failed(error, why)
    }

    fn no_answer(&self) -> String {
        format!("no answer within {} s", self.exchange.options().deadline.as_secs_f64())
    }

    /// Waits before a write is decided again and sent once more: the `attempts_made` before failed with `error`.
    pub async fn back_off(&self, attempts_made: u32, error: &ApiError) {
        let patience = self.exchange.options().patience;
        let why = match error {
            ApiError::OptimisticLock { .. } => WaitReason::Locked,
            ApiError::Server { .. } => WaitReason::ServerError,
            _ => WaitReason::NoAnswer,
        };
        if let Some(wait) = pacing::back_off(patience, attempts_made, Duration::ZERO, None, fastrand::f64()) {
            self.sleep(wait, why).await;
        }
    }

    async fn sleep(&self, wait: Duration, why: WaitReason) {
        if let Some(Observer(tell)) = &self.exchange.options().observer {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            tell(Waiting { seconds, why });
        }
        tokio::time::sleep(wait).await;
    }

    fn now(&self) -> Moment {
        Moment { steady: self.started.elapsed(), wall_ms: jiff::Timestamp::now().as_millisecond() }
    }
}
