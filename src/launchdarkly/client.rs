//! The calls. Thin: each says what it asks, what the token needs for it, and how the answer is read; `exchange` does one
//! exchange, `pacing` says when.
//!
//! Reads are repeated within their patience. A write is repeated only after a 429, since it was refused then; after
//! anything else the caller must read again and decide again.

use std::fmt;
use std::hash::BuildHasher as _;
use std::hash::Hasher as _;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use reqwest::Url;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::launchdarkly::address::Address;
use crate::launchdarkly::address::DEFAULT_BASE;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::api_error::Refusal;
use crate::launchdarkly::api_error::Told;
use crate::launchdarkly::api_error::meaning;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::audit::AuditEntry;
use crate::launchdarkly::audit::AuditLog;
use crate::launchdarkly::audit::PAGE_LENGTH;
use crate::launchdarkly::audit::PAGES_MAX;
use crate::launchdarkly::environment::RemoteEnvironment;
use crate::launchdarkly::exchange::Answer;
use crate::launchdarkly::exchange::Body;
use crate::launchdarkly::exchange::Exchange;
use crate::launchdarkly::exchange::Fault;
use crate::launchdarkly::flag::FlagReadError;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::identity::CallerIdentity;
use crate::launchdarkly::identity::Reach;
use crate::launchdarkly::identity::Reached;
use crate::launchdarkly::identity::TokenDescription;
use crate::launchdarkly::pacing;
use crate::launchdarkly::pacing::Moment;
use crate::launchdarkly::pacing::Pace;
use crate::launchdarkly::pacing::Patience;
use crate::launchdarkly::pacing::Route;
use crate::launchdarkly::pacing::Skew;
use crate::launchdarkly::pacing::WaitReason;
use crate::launchdarkly::patch::PatchRequest;
use crate::launchdarkly::token::Token;
use crate::launchdarkly::wire;

/// The longest answer about a flag, in bytes: a patch is answered with the flag in all environments.
pub const FLAG_LENGTH_MAX: usize = 64 * 1024 * 1024;
/// The longest other answer, in bytes.
pub const ANSWER_LENGTH_MAX: usize = 4 * 1024 * 1024;
/// The usual deadline of one exchange.
pub const DEADLINE: Duration = Duration::from_secs(10);

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

/// How to reach LaunchDarkly.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Scheme, host, port, perhaps a path. `https`, or `http` to this machine.
    pub base: String,
    /// Sent raw, to the base's origin only.
    pub token: Token,
    /// For each whole exchange: name resolution, connection, answer, body.
    pub deadline: Duration,
    /// An authority beside the system's own, as PEM.
    pub authority_pem: Option<Vec<u8>>,
    /// Such as `relay-commander/0.1.0`.
    pub user_agent: String,
    /// What is borne for one call.
    pub patience: Patience,
    /// Told of waits.
    pub observer: Option<Observer>,
}

impl ClientOptions {
    /// The usual options, for LaunchDarkly's commercial API.
    pub fn new(token: Token) -> Self {
        Self {
            base: DEFAULT_BASE.to_owned(),
            token,
            deadline: DEADLINE,
            authority_pem: None,
            user_agent: concat!("relay-commander/", env!("CARGO_PKG_VERSION")).to_owned(),
            patience: Patience::REPLAY,
            observer: None,
        }
    }
}

/// How a patch is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchOptions {
    /// LaunchDarkly only validates and shows what would be.
    pub dry_run: bool,
    /// Also where a pending scheduled change or approval request will fail because of it.
    pub ignore_conflicts: bool,
}

/// One call: what is asked and what the answer may be.
struct Call<'c> {
    what: String,
    lacks: String,
    route: Route,
    method: Method,
    url: Url,
    body: &'c Body,
    limit: usize,
    /// Whether it changes something, so that it is not repeated after an answer that did not come.
    changes: bool,
}

/// The connection to LaunchDarkly's API. One request is in flight at a time, as its limits are for the account.
pub struct Client {
    exchange: Exchange,
    started: Instant,
    pace: Mutex<Pace>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("origin", &self.origin()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is sent yet. The process must have a TLS provider installed before the first call.
    ///
    /// # Errors
    /// [`ApiError::Configuration`] where the base cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, ApiError> {
        let address = Address::parse(&options.base)?;
        let exchange = Exchange::new(address, options);
        Ok(Self { exchange, started: Instant::now(), pace: Mutex::new(Pace::default()) })
    }

    /// Scheme, host and port, as shown in messages.
    pub fn origin(&self) -> String {
        self.exchange.address().origin()
    }

    /// A flag in one environment, as it is now.
    ///
    /// # Errors
    /// See [`ApiError`]; `NotFound` where project, environment or flag is not there or not visible.
    pub async fn flag(&self, environment: &Environment, flag: &FlagKey) -> Result<RemoteFlag, ApiError> {
        let path = ["api", "v2", "flags", environment.project.as_str(), flag.as_str()];
        let url = self.exchange.address().below(&path, &[("env", environment.key.as_str())])?;
        let call = Call {
            what: format!("reading flag {flag} of {environment}"),
            lacks: format!("the right to read flags of project {} (role reader is enough)", environment.project),
            limit: FLAG_LENGTH_MAX,
            ..read("GET /flags/{}/{}", url)
        };
        let body = self.send(&call).await?;
        RemoteFlag::read(&body, &environment.key, flag).map_err(|error| unreadable_flag(call.what, error))
    }

    /// What LaunchDarkly says about an environment.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn environment(&self, environment: &Environment) -> Result<RemoteEnvironment, ApiError> {
        let path = ["api", "v2", "projects", environment.project.as_str(), "environments", environment.key.as_str()];
        let call = Call {
            what: format!("reading environment {environment}"),
            lacks: format!("the right to view project {} (role reader is enough)", environment.project),
            ..read("GET /projects/{}/environments/{}", self.exchange.address().below(&path, &[])?)
        };
        Ok(self.ask::<wire::Environment>(&call).await?.into())
    }

    /// Changes a flag by a semantic patch, as a whole or not at all, and gives the flag as LaunchDarkly then shows it.
    /// Never repeated after a failure: where [`ApiError::may_have_happened`], read the flag before sending again.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        request: &PatchRequest,
        options: PatchOptions,
    ) -> Result<RemoteFlag, ApiError> {
        let mut query = Vec::new();
        if options.dry_run {
            query.push(("dryRun", "true"));
        }
        if options.ignore_conflicts {
            query.push(("ignoreConflicts", "true"));
        }
        let path = ["api", "v2", "flags", environment.project.as_str(), flag.as_str()];
        let call = Call {
            what: format!("{} flag {flag} of {environment}", if options.dry_run { "validating" } else { "changing" }),
            lacks: format!("{} on {}", request.actions().join(", "), specifier(environment, flag)),
            method: Method::PATCH,
            body: &Body::SemanticPatch(request.body(environment)),
            limit: FLAG_LENGTH_MAX,
            changes: !options.dry_run,
            ..read("PATCH /flags/{}/{}", self.exchange.address().below(&path, &query)?)
        };
        let body = self.send(&call).await?;
        RemoteFlag::read(&body, &environment.key, flag).map_err(|error| {
            let problem = format!("the answer cannot be used: {error}");
            if call.changes {
                ApiError::Unknown { what: call.what, problem }
            } else {
                unreadable_flag(call.what, error)
            }
        })
    }

    /// Asks for an approval of what [`Client::patch`] would do. `description` is for the reviewers. Never repeated after
    /// a failure, since there would be two requests then: look with [`Client::approvals`] first.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn request_approval(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        request: &PatchRequest,
        description: &str,
    ) -> Result<Approval, ApiError> {
        let call = Call {
            what: format!("asking for approval of a change of {flag} of {environment}"),
            lacks: format!("createApprovalRequest on {}", specifier(environment, flag)),
            method: Method::POST,
            body: &Body::Json(request.approval_body(description)),
            changes: true,
            ..read("POST /approval-requests", self.approvals_url(environment, flag, None)?)
        };
        Ok(Approval::read(self.ask(&call).await?, self.exchange.address()))
    }

    /// An approval request, as it is now. `id` may come from a store: it is checked before it is used.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn approval(&self, environment: &Environment, flag: &FlagKey, id: &str) -> Result<Approval, ApiError> {
        let call = Call {
            what: format!("reading the approval request for {flag} of {environment}"),
            lacks: format!("the right to read flags of project {}", environment.project),
            ..read("GET /approval-requests/{}", self.approvals_url(environment, flag, Some(id))?)
        };
        Ok(Approval::read(self.ask(&call).await?, self.exchange.address()))
    }

    /// The approval requests for a flag that LaunchDarkly lists.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn approvals(&self, environment: &Environment, flag: &FlagKey) -> Result<Vec<Approval>, ApiError> {
        let call = Call {
            what: format!("reading the approval requests for {flag} of {environment}"),
            lacks: format!("the right to read flags of project {}", environment.project),
            ..read("GET /approval-requests", self.approvals_url(environment, flag, None)?)
        };
        let read: wire::Approvals = self.ask(&call).await?;
        Ok(read.items.into_iter().map(|item| Approval::read(item, self.exchange.address())).collect())
    }

    /// What the audit log has about a flag in one environment since `after_ms` (milliseconds since 1970, by
    /// LaunchDarkly's clock).
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn audit(&self, environment: &Environment, flag: &FlagKey, after_ms: i64) -> Result<AuditLog, ApiError> {
        let (spec, after) = (specifier(environment, flag), after_ms.max(0).to_string());
        let query = [("spec", spec.as_str()), ("after", after.as_str()), ("limit", PAGE_LENGTH)];
        let mut url = self.exchange.address().below(&["api", "v2", "auditlog"], &query)?;
        let mut log = AuditLog::default();
        for _ in 0..PAGES_MAX {
            let call = Call {
                what: format!("reading the audit log of {flag} of {environment}"),
                lacks: "the right to read the audit log (role reader is enough)".to_owned(),
                ..read("GET /auditlog", url.clone())
            };
            let page: wire::AuditPage = self.ask(&call).await?;
            let empty = page.items.is_empty();
            log.entries.extend(page.items.into_iter().map(AuditEntry::from));
            match page.links.next {
                Some(next) if !empty => match self.exchange.address().linked(&url, &next.href) {
                    Some(next) => url = next,
                    None => return Ok(log),
                },
                _ => {
                    log.complete = true;
                    return Ok(log);
                }
            }
        }
        Ok(log)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn caller_identity(&self) -> Result<CallerIdentity, ApiError> {
        let call = Call {
            what: "asking whose token it is".to_owned(),
            lacks: "any role".to_owned(),
            ..read("GET /caller-identity", self.identity_url()?)
        };
        let read: wire::CallerIdentity = self.ask(&call).await?;
        Ok(CallerIdentity {
            account_id: read.account_id,
            token_id: read.token_id,
            token_name: read.token_name,
            token_kind: read.token_kind,
            member_id: read.member_id,
            service_token: read.service_token,
        })
    }

    /// What a token may do, as far as it may say so itself.
    ///
    /// # Errors
    /// See [`ApiError`]; `Forbidden` is usual for custom roles.
    pub async fn token(&self, id: &str) -> Result<TokenDescription, ApiError> {
        let call = Call {
            what: "reading the token's role".to_owned(),
            lacks: "the right to read tokens".to_owned(),
            ..read("GET /tokens/{}", self.exchange.address().below(&["api", "v2", "tokens", id], &[])?)
        };
        let read: wire::Token = self.ask(&call).await?;
        Ok(TokenDescription {
            name: read.name,
            role: read.role,
            custom_roles: read.custom_role_ids,
            inline_role: !read.inline_role.is_empty(),
            service_token: read.service_token,
        })
    }

    /// Knocks once, without repetition and without heeding the pace: does LaunchDarkly answer, does it take the token,
    /// and is one of our clocks wrong?
    ///
    /// # Errors
    /// Only [`ApiError::Configuration`]; not being reachable is an answer.
    pub async fn reachable(&self) -> Result<Reach, ApiError> {
        let url = self.identity_url()?;
        let sent = self.now();
        let outcome = self.exchange.run(Method::GET, url, &Body::None, ANSWER_LENGTH_MAX).await;
        let received = self.now();
        let answer = match outcome {
            Ok(answer) => {
                let mut pace = self.pace.lock().await;
                let refused = answer.status == 429;
                pace.learn("GET /caller-identity", sent, received, refused, &answer.signals, chance());
                let told = Told::read(&answer.body).to_string();
                match answer.status {
                    200..300 if serde_json::from_slice::<wire::CallerIdentity>(&answer.body).is_err() => {
                        Reached::Failing { problem: "the answer is not LaunchDarkly's".to_owned() }
                    }
                    // A rate limit is an answer too.
                    200..300 | 429 => Reached::Answers,
                    status @ (401 | 403) => Reached::TokenRefused { status, told },
                    status => Reached::Failing { problem: format!("it answers {status}, {told}") },
                }
            }
            Err(Fault::Configuration(error)) => return Err(error),
            Err(Fault::Unsent(problem) | Fault::Broken(problem)) => Reached::Unreachable { problem },
            Err(Fault::Late) => {
                let seconds = self.exchange.options().deadline.as_secs_f64();
                Reached::Unreachable { problem: format!("no answer within {seconds} s") }
            }
            Err(Fault::TooLarge) => Reached::Failing { problem: "the answer is not LaunchDarkly's".to_owned() },
            Err(Fault::Redirected(to)) => Reached::Failing { problem: format!("it redirects to {to}") },
        };
        let clock_wrong_by_ms = self.pace.lock().await.skew().and_then(|skew: Skew| skew.wrong_by_ms());
        Ok(Reach { answer, clock_wrong_by_ms })
    }

    fn identity_url(&self) -> Result<Url, ApiError> {
        self.exchange.address().below(&["api", "v2", "caller-identity"], &[])
    }

    fn approvals_url(&self, environment: &Environment, flag: &FlagKey, id: Option<&str>) -> Result<Url, ApiError> {
        let (project, key) = (environment.project.as_str(), environment.key.as_str());
        let mut path = vec!["api", "v2", "projects", project, "flags", flag.as_str(), "environments", key];
        path.push("approval-requests");
        path.extend(id);
        self.exchange.address().below(&path, &[])
    }

    /// Sends a call and reads the answer as `T`.
    async fn ask<T: DeserializeOwned>(&self, call: &Call<'_>) -> Result<T, ApiError> {
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
    async fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        let (began, patience) = (Instant::now(), self.exchange.options().patience);
        let mut limited = Duration::ZERO;
        let mut attempts = 0;
        loop {
            let mut pace = self.pace.lock().await;
            let wait = pace.wait(call.route, self.now());
            if !wait.is_zero() {
                drop(pace);
                if attempts >= patience.attempts || limited + wait > patience.rate_limit {
                    return Err(ApiError::RateLimited { what: call.what.clone(), wait });
                }
                self.sleep(wait, WaitReason::RateLimit).await;
                limited += wait;
                continue;
            }
            attempts += 1;
            let sent = self.now();
            let outcome = self.exchange.run(call.method.clone(), call.url.clone(), call.body, call.limit).await;
            let mut asked = None;
            if let Ok(answer) = &outcome {
                let refused = answer.status == 429;
                pace.learn(call.route, sent, self.now(), refused, &answer.signals, chance());
                if refused {
                    continue;
                }
                asked = answer.signals.retry_after;
            }
            drop(pace);
            let (error, why) = match self.judged(call, outcome) {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let Some(why) = why.filter(|_| !call.changes) else { return Err(error) };
            let asked = match asked {
                Some(pacing::RetryAfter::Wait(wait)) => Some(wait),
                _ => None,
            };
            let elapsed = began.elapsed().saturating_sub(limited);
            let Some(wait) = pacing::back_off(patience, attempts, elapsed, asked, chance()) else { return Err(error) };
            self.sleep(wait, why).await;
        }
    }

    /// What came of an exchange: a body, or an error and, where a repetition may help, why one would wait for it.
    fn judged(
        &self,
        call: &Call<'_>,
        outcome: Result<Answer, Fault>,
    ) -> Result<Vec<u8>, (ApiError, Option<WaitReason>)> {
        let what = call.what.clone();
        let after = self.exchange.options().deadline;
        let fault = match outcome {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
            Ok(Answer { status, body, .. }) => {
                let refusal = Refusal { what: &what, lacks: &call.lacks, changes: call.changes, status, body: &body };
                return Err((meaning(&refusal), (status >= 500).then_some(WaitReason::ServerError)));
            }
            Err(fault) => fault,
        };
        let no_answer = Some(WaitReason::NoAnswer);
        Err(match fault {
            Fault::Configuration(error) => (error, None),
            Fault::Redirected(to) => (ApiError::Redirected { what, to }, None),
            Fault::Unsent(problem) => (ApiError::Unreachable { address: self.origin(), problem }, no_answer),
            Fault::Late if call.changes => {
                let problem = format!("no answer within {} s", after.as_secs_f64());
                (ApiError::Unknown { what, problem }, None)
            }
            Fault::Late => (ApiError::Timeout { what, after }, no_answer),
            Fault::Broken(problem) if call.changes => (ApiError::Unknown { what, problem }, None),
            Fault::Broken(problem) => (ApiError::Broken { what, problem }, no_answer),
            Fault::TooLarge if call.changes => {
                (ApiError::Unknown { what, problem: format!("the answer is longer than {} bytes", call.limit) }, None)
            }
            Fault::TooLarge => (ApiError::TooLarge { what, limit: call.limit }, None),
        })
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

/// A call that only reads, to be completed by the caller.
fn read(route: Route, url: Url) -> Call<'static> {
    Call {
        what: String::new(),
        lacks: String::new(),
        route,
        method: Method::GET,
        url,
        body: &Body::None,
        limit: ANSWER_LENGTH_MAX,
        changes: false,
    }
}

fn specifier(environment: &Environment, flag: &FlagKey) -> String {
    format!("proj/{}:env/{}:flag/{flag}", environment.project, environment.key)
}

fn unreadable_flag(what: String, error: FlagReadError) -> ApiError {
    match error {
        FlagReadError::NotJson => ApiError::NotJson { what },
        FlagReadError::NoEnvironment(_) => {
            let message = Some("the flag is there, without this environment".to_owned());
            ApiError::NotFound { what, told: Told { message, ..Told::default() } }
        }
        FlagReadError::Unusable(problem) => ApiError::Unusable { what, problem },
    }
}

/// A random number in 0..1. A hasher's random key will do: it only spreads out waits.
fn chance() -> f64 {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    // 53 bits, as many as a double holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let chance = (random >> 11) as f64 / (1_u64 << 53) as f64;
    chance
}
