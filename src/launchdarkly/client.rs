//! The calls. Thin: each says what it asks, what the token needs for it, and how the answer is read. `sender` sends them
//! as often as is right, `exchange` once, `pacing` says when.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::Url;

use crate::flag::key::Environment;
use crate::flag::key::EnvironmentKey;
use crate::flag::key::FlagKey;
use crate::launchdarkly::address::Address;
use crate::launchdarkly::address::DEFAULT_BASE;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::api_error::Told;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::audit::AuditEntry;
use crate::launchdarkly::audit::AuditLog;
use crate::launchdarkly::audit::PAGE_LENGTH;
use crate::launchdarkly::audit::PAGES_MAX;
use crate::launchdarkly::environment::RemoteEnvironment;
use crate::launchdarkly::exchange::Body;
use crate::launchdarkly::exchange::Exchange;
use crate::launchdarkly::flag::FlagReadError;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::identity::CallerIdentity;
use crate::launchdarkly::identity::Reach;
use crate::launchdarkly::identity::TokenDescription;
use crate::launchdarkly::pacing::Patience;
use crate::launchdarkly::patch::PatchRequest;
use crate::launchdarkly::permit::Permit;
use crate::launchdarkly::sender::Call;
use crate::launchdarkly::sender::Observer;
use crate::launchdarkly::sender::Sender;
use crate::launchdarkly::token::Token;
use crate::launchdarkly::wire;

/// The longest answer about a flag, in bytes: a patch is answered with the flag in all environments.
pub const FLAG_LENGTH_MAX: usize = 64 * 1024 * 1024;
/// The usual deadline of one exchange.
pub const DEADLINE: Duration = Duration::from_secs(10);

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
    /// Asked before each request that changes something.
    pub permit: Option<Permit>,
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
            permit: None,
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

/// An answer about a flag that nobody has read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    what: String,
    environment: EnvironmentKey,
    flag: FlagKey,
    body: Vec<u8>,
}

impl Unread {
    /// Reads it.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] where the flag has no such environment; [`ApiError::NotJson`], [`ApiError::Unusable`].
    pub fn read(&self) -> Result<RemoteFlag, ApiError> {
        RemoteFlag::read(&self.body, &self.environment, &self.flag)
            .map_err(|error| unreadable_flag(self.what.clone(), error))
    }
}

/// The connection to LaunchDarkly's API. One request is in flight at a time, as its limits are for the account.
pub struct Client {
    sender: Sender,
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
        Ok(Self { sender: Sender::new(Exchange::new(address, options)) })
    }

    /// Scheme, host and port, as shown in messages.
    pub fn origin(&self) -> String {
        self.sender.address().origin()
    }

    /// A flag in one environment, as it is now.
    ///
    /// # Errors
    /// See [`ApiError`]; `NotFound` where project, environment or flag is not there or not visible.
    pub async fn flag(&self, environment: &Environment, flag: &FlagKey) -> Result<RemoteFlag, ApiError> {
        self.flag_unread(environment, flag).await?.read()
    }

    /// As [`Client::flag`], for whoever reads the answer later.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn flag_unread(&self, environment: &Environment, flag: &FlagKey) -> Result<Unread, ApiError> {
        let path = ["api", "v2", "flags", environment.project.as_str(), flag.as_str()];
        let url = self.sender.address().below(&path, &[("env", environment.key.as_str())])?;
        let call = Call {
            what: format!("reading flag {flag} of {environment}"),
            lacks: format!("the right to read flags of project {} (role reader is enough)", environment.project),
            limit: FLAG_LENGTH_MAX,
            ..Call::read("GET /flags/{}/{}", url)
        };
        let body = self.sender.send(&call).await?;
        Ok(Unread { what: call.what, environment: environment.key.clone(), flag: flag.clone(), body })
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
            ..Call::read("GET /projects/{}/environments/{}", self.sender.address().below(&path, &[])?)
        };
        Ok(self.sender.ask::<wire::Environment>(&call).await?.into())
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
        let (what, body) = self.patch_unread(environment, flag, request, options).await?;
        RemoteFlag::read(&body, &environment.key, flag).map_err(|error| {
            let problem = format!("the answer cannot be used: {error}");
            if options.dry_run { unreadable_flag(what, error) } else { ApiError::Unknown { what, problem } }
        })
    }

    /// Changes a flag as [`Client::patch`] does, and then reads it: only what LaunchDarkly shows counts, so the answer to
    /// the patch itself is not looked at. The outer error is about the patch, the inner one about the reading.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn patch_and_look(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        request: &PatchRequest,
        options: PatchOptions,
    ) -> Result<Result<Unread, ApiError>, ApiError> {
        self.patch_unread(environment, flag, request, options).await?;
        Ok(self.flag_unread(environment, flag).await)
    }

    async fn patch_unread(
        &self,
        environment: &Environment,
        flag: &FlagKey,
        request: &PatchRequest,
        options: PatchOptions,
    ) -> Result<(String, Vec<u8>), ApiError> {
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
            environment: Some(environment),
            ..Call::read("PATCH /flags/{}/{}", self.sender.address().below(&path, &query)?)
        };
        let body = self.sender.send(&call).await?;
        Ok((call.what, body))
    }

    /// Waits a little, longer each time and in part by chance, before a patch that failed with `error` is decided again.
    /// `attempts_made` counts from 1.
    pub async fn back_off(&self, attempts_made: u32, error: &ApiError) {
        self.sender.back_off(attempts_made, error).await;
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
            environment: Some(environment),
            ..Call::read("POST /approval-requests", self.approvals_url(environment, flag, None)?)
        };
        Ok(Approval::read(self.sender.ask(&call).await?, self.sender.address()))
    }

    /// An approval request, as it is now. `id` may come from a store: it is checked before it is used.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn approval(&self, environment: &Environment, flag: &FlagKey, id: &str) -> Result<Approval, ApiError> {
        let call = Call {
            what: format!("reading the approval request for {flag} of {environment}"),
            lacks: format!("the right to read flags of project {}", environment.project),
            ..Call::read("GET /approval-requests/{}", self.approvals_url(environment, flag, Some(id))?)
        };
        Ok(Approval::read(self.sender.ask(&call).await?, self.sender.address()))
    }

    /// The approval requests for a flag that LaunchDarkly lists.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn approvals(&self, environment: &Environment, flag: &FlagKey) -> Result<Vec<Approval>, ApiError> {
        let call = Call {
            what: format!("reading the approval requests for {flag} of {environment}"),
            lacks: format!("the right to read flags of project {}", environment.project),
            ..Call::read("GET /approval-requests", self.approvals_url(environment, flag, None)?)
        };
        let read: wire::Approvals = self.sender.ask(&call).await?;
        Ok(read.items.into_iter().map(|item| Approval::read(item, self.sender.address())).collect())
    }

    /// What the audit log has about a flag in one environment since `after_ms` (milliseconds since 1970, by
    /// LaunchDarkly's clock).
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn audit(&self, environment: &Environment, flag: &FlagKey, after_ms: i64) -> Result<AuditLog, ApiError> {
        let (spec, after) = (specifier(environment, flag), after_ms.max(0).to_string());
        let query = [("spec", spec.as_str()), ("after", after.as_str()), ("limit", PAGE_LENGTH)];
        let mut url = self.sender.address().below(&["api", "v2", "auditlog"], &query)?;
        let mut log = AuditLog::default();
        for _ in 0..PAGES_MAX {
            let call = Call {
                what: format!("reading the audit log of {flag} of {environment}"),
                lacks: "the right to read the audit log (role reader is enough)".to_owned(),
                ..Call::read("GET /auditlog", url.clone())
            };
            let page: wire::AuditPage = self.sender.ask(&call).await?;
            let empty = page.items.is_empty();
            log.entries.extend(page.items.into_iter().map(AuditEntry::from));
            match page.links.next {
                Some(next) if !empty => match self.sender.address().linked(&url, &next.href) {
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
            ..Call::read("GET /caller-identity", self.identity_url()?)
        };
        let read: wire::CallerIdentity = self.sender.ask(&call).await?;
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
            ..Call::read("GET /tokens/{}", self.sender.address().below(&["api", "v2", "tokens", id], &[])?)
        };
        let read: wire::Token = self.sender.ask(&call).await?;
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
        self.sender.knock(self.identity_url()?).await
    }

    fn identity_url(&self) -> Result<Url, ApiError> {
        self.sender.address().below(&["api", "v2", "caller-identity"], &[])
    }

    fn approvals_url(&self, environment: &Environment, flag: &FlagKey, id: Option<&str>) -> Result<Url, ApiError> {
        let (project, key) = (environment.project.as_str(), environment.key.as_str());
        let mut path = vec!["api", "v2", "projects", project, "flags", flag.as_str(), "environments", key];
        path.push("approval-requests");
        path.extend(id);
        self.sender.address().below(&path, &[])
    }
}

fn specifier(environment: &Environment, flag: &FlagKey) -> String {
    format!("proj/{}:env/{}:flag/{flag}", environment.project, environment.key)
}

fn unreadable_flag(what: String, error: FlagReadError) -> ApiError {
    match error {
        FlagReadError::NotJson => ApiError::NotJson { what },
        FlagReadError::NoEnvironment(_) => {
            let message = Some("the flag is there, without this environment".into());
            ApiError::NotFound { what, told: Told { message, ..Told::default() } }
        }
        FlagReadError::Unusable(problem) => ApiError::Unusable { what, problem },
    }
}
