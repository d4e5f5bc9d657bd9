//! Asking LaunchDarkly about everything that is owed, before anything is decided. It reads and never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::commands::Context;
use crate::commands::replay::history;
use crate::commands::replay::history::Told;
use crate::commands::replay::owed::Matter;
use crate::commands::replay::plan;
use crate::commands::replay::plan::Course;
use crate::commands::replay::plan::Item;
use crate::commands::replay::plan::Read;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::launchdarkly::ApiError;
use crate::launchdarkly::Client;
use crate::launchdarkly::ClientOptions;
use crate::launchdarkly::Courier;
use crate::launchdarkly::Observer;
use crate::launchdarkly::Permit;
use crate::launchdarkly::Token;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::audit::AuditLog;
use crate::launchdarkly::client::Unread;
use crate::launchdarkly::environment::RemoteEnvironment;
use crate::launchdarkly::flag::RemoteFlag;
use crate::launchdarkly::identity::Reached;
use crate::launchdarkly::pacing::Patience;
use crate::ui::output::Output;

/// How far before an override's first change the audit log is looked at: the store may have been behind LaunchDarkly for
/// as long when the override began.
const AUDIT_BEFORE_MS: i64 = 24 * 60 * 60 * 1000;

/// The most approval requests of earlier edits of one flag that are looked at.
const EARLIER_REQUESTS_MAX: usize = 3;

/// After so many flags of which the token may read none, it is not asked about more.
const REFUSED_MAX: usize = 3;

const NOTHING_SENT: &str = "Nothing was sent, and nothing is lost: rc replay";

/// The connection to LaunchDarkly's API, as the settings say.
///
/// # Errors
/// Where there is no token, or the address cannot be meant.
pub fn client(
    context: &Context<'_>,
    patience: Patience,
    observer: Option<Observer>,
    permit: Option<Permit>,
) -> Result<Client, Failure> {
    let settings = &context.settings.launchdarkly;
    let token = Token::new(context.settings.required_api_key()?.expose());
    let options = ClientOptions {
        base: settings.api_url.clone(),
        deadline: settings.timeout,
        patience,
        observer,
        permit,
        ..ClientOptions::new(token)
    };
    Ok(Client::new(options)?)
}

/// Asks once whether LaunchDarkly answers, and takes the token.
///
/// # Errors
/// Where it does not.
pub async fn knock(context: &Context<'_>) -> Result<(), Failure> {
    let reach = client(context, Patience::ONCE, None, None)?.reachable().await?;
    match reach.answer {
        Reached::Answers => Ok(()),
        Reached::TokenRefused { status, told } => Err(Failure::new(
            Kind::Credentials,
            format!("LaunchDarkly does not accept the token: it answered {status}, {told}"),
        )),
        Reached::Unreachable { problem } => {
            Err(Failure::new(Kind::Unreachable, format!("LaunchDarkly's API cannot be reached: {problem}")))
        }
        Reached::Failing { problem } => {
            Err(Failure::new(Kind::Unreachable, format!("LaunchDarkly's API is not well: {problem}")))
        }
    }
}

/// Says each wait on standard error.
pub fn observer(output: &Arc<Waits>) -> Observer {
    let waits = Arc::clone(output);
    Observer::new(move |waiting| waits.tell(&format!("waits {} s: {}", waiting.seconds, waiting.why)))
}

/// The waits that LaunchDarkly asked for, until somebody prints them. The output is only borrowed by a command, and the
/// client wants something that lasts as long as itself.
#[derive(Debug, Default)]
pub struct Waits(std::sync::Mutex<Vec<String>>);

impl Waits {
    fn tell(&self, text: &str) {
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nobody reads more.
        if held.len() < 100 {
            held.push(text.to_owned());
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Runs `work`, and meanwhile says each wait as it begins.
    pub async fn shown<T>(&self, output: &Output, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(std::time::Duration::from_millis(200), &mut work).await {
                Ok(done) => {
                    self.say(output);
                    return done;
                }
                Err(_) => self.say(output),
            }
        }
    }

    fn say(&self, output: &Output) {
        for text in self.take() {
            output.say(&format!("LaunchDarkly: {text}"));
        }
    }
}

/// Reads LaunchDarkly's flag, and what else is needed, for each of `matters`. While one answer is looked at, the next
/// question is under way. What cannot be read for one flag is told in its item.
///
/// # Errors
/// Where LaunchDarkly cannot be reached, or takes no token: then nothing can be said about any flag.
pub async fn read(client: &Arc<Client>, courier: &Courier, matters: Vec<Matter>) -> Result<Vec<Item>, Failure> {
    let environments = environments(client, courier, &matters).await?;
    let asks = |matter: &&Matter| environments.get(&matter.subject.0).is_some_and(Result::is_ok);
    let flags = matters.iter().filter(asks).map(|matter| matter.subject.clone()).collect();
    let mut readings = courier.read(client, flags);
    let mut items = Vec::with_capacity(matters.len());
    for matter in matters {
        match environments.get(&matter.subject.0) {
            Some(Ok(settings)) => {
                let answer = readings.next().await.unwrap_or_else(|| Err(gone(&matter)));
                items.push(read_one(client, matter, answer, settings).await?);
            }
            Some(Err(error)) => items.push(Item::failed(matter, Failure::from(error.clone()))),
            None => {}
        }
        if items.len() == REFUSED_MAX {
            none_refused(&items)?;
        }
    }
    none_refused(&items)?;
    Ok(items)
}

/// Where the token may read none of the flags, the token is the matter and not the flags.
fn none_refused(items: &[Item]) -> Result<(), Failure> {
    let refused = |item: &Item| match &item.course {
        Course::Failed(failure) if failure.kind == Kind::Credentials => Some(failure.clone()),
        _ => None,
    };
    match items.iter().map(refused).collect::<Option<Vec<Failure>>>() {
        Some(mut all) if !all.is_empty() => Err(all.swap_remove(0).hint(NOTHING_SENT)),
        _ => Ok(()),
    }
}

/// What LaunchDarkly says about each environment, or why it says nothing.
///
/// # Errors
/// Where the flags would fare no better.
async fn environments(
    client: &Arc<Client>,
    courier: &Courier,
    matters: &[Matter],
) -> Result<BTreeMap<Environment, Result<RemoteEnvironment, ApiError>>, Failure> {
    let mut environments = BTreeMap::new();
    for matter in matters {
        let (environment, _) = &matter.subject;
        if environments.contains_key(environment) {
            continue;
        }
        let (asked, client) = (environment.clone(), Arc::clone(client));
        let answer = courier.ask(async move { client.environment(&asked).await }).await;
        let answer = match answer.unwrap_or_else(|| Err(gone(matter))) {
            Err(error) if error.stops_everything() => return Err(nothing_sent(error)),
            // Reading an environment takes another right than reading its flags: without it, approvals show when they
            // are refused. LaunchDarkly says either of the two for a missing right.
            Err(ApiError::Forbidden { .. } | ApiError::Unauthorized { .. }) => Ok(unknown()),
            answer => answer,
        };
        environments.insert(environment.clone(), answer);
    }
    Ok(environments)
}

/// The thread that asks is gone, which happens only where the process ends.
fn gone(matter: &Matter) -> ApiError {
    let (environment, flag) = &matter.subject;
    ApiError::Broken {
        what: format!("reading flag {flag} of {environment}"),
        problem: "nobody asks any more".to_owned(),
    }
}

fn nothing_sent(error: ApiError) -> Failure {
    Failure::from(error).hint(NOTHING_SENT)
}

fn unknown() -> RemoteEnvironment {
    RemoteEnvironment { name: String::new(), critical: false, confirm_changes: false, approval: None }
}

async fn read_one(
    client: &Client,
    matter: Matter,
    answer: Result<Unread, ApiError>,
    settings: &RemoteEnvironment,
) -> Result<Item, Failure> {
    let now = match there(answer.and_then(|answer| answer.read())) {
        Ok(now) => now,
        Err(error) if error.stops_everything() => return Err(nothing_sent(error)),
        Err(error) => return Ok(Item::failed(matter, Failure::from(error))),
    };
    let approval = match Item::request(&matter.override_) {
        Some(request) => match approval(client, &matter, request).await {
            Ok(approval) => approval,
            Err(error) if error.stops_everything() => return Err(nothing_sent(error)),
            Err(error) => return Ok(Item::failed(matter, Failure::from(error))),
        },
        None => None,
    };
    let (audit, told, course) = course(client, &matter, now.as_ref()).await;
    let still_open = still_open(client, &matter).await;
    let read = Read { now, audit, told, approval, still_open };
    Ok(Item::new(matter, read, course, settings.approval.as_ref()))
}

/// What LaunchDarkly's flag comes to, with the help of its audit log where that decides; what the log says is `None` where
/// it was not asked or did not answer.
pub async fn course(client: &Client, matter: &Matter, now: Option<&RemoteFlag>) -> (Option<AuditLog>, Told, Course) {
    let override_ = &matter.override_;
    let at_first = plan::course(override_, now, &Told::default());
    let Some(now) = now.filter(|now| plan::needs_the_audit_log(override_, Some(now), &at_first)) else {
        return (None, Told::default(), at_first);
    };
    let Ok(audit) = audit(client, matter).await else { return (None, Told::default(), at_first) };
    let told = history::told(&audit, override_, plan::moved(override_, now));
    let course = plan::course(override_, Some(now), &told);
    (Some(audit), told, course)
}

/// An approval request; `None` where LaunchDarkly has it no more, or `id`, which comes from a store, can be none.
async fn approval(client: &Client, matter: &Matter, id: &str) -> Result<Option<Approval>, ApiError> {
    match client.approval(&matter.subject.0, &matter.subject.1, id).await {
        Ok(approval) => Ok(Some(approval)),
        Err(ApiError::NotFound { .. } | ApiError::Configuration { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The approval requests of earlier edits that somebody may still agree to, though the override is another one by now.
/// What cannot be read is none: it is only told.
async fn still_open(client: &Client, matter: &Matter) -> Vec<Approval> {
    let mut open = Vec::new();
    let stands = Item::request(&matter.override_);
    let earlier = matter.requests.iter().filter(|id| Some(id.as_str()) != stands);
    for id in earlier.take(EARLIER_REQUESTS_MAX) {
        if let Ok(Some(approval)) = approval(client, matter, id).await
            && approval.is_open()
        {
            open.push(approval);
        }
    }
    open
}

/// LaunchDarkly's flag; `None` where it has none.
///
/// # Errors
/// Where it could not be read.
pub async fn flag(client: &Client, matter: &Matter) -> Result<Option<RemoteFlag>, ApiError> {
    there(client.flag(&matter.subject.0, &matter.subject.1).await)
}

/// `None` for a flag that LaunchDarkly has not got.
///
/// # Errors
/// Where it could not be read.
pub fn there(answer: Result<RemoteFlag, ApiError>) -> Result<Option<RemoteFlag>, ApiError> {
    match answer {
        Ok(flag) => Ok(Some(flag)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What LaunchDarkly's audit log has since the override began, and a day before.
///
/// # Errors
/// Where it could not be read.
pub async fn audit(client: &Client, matter: &Matter) -> Result<AuditLog, ApiError> {
    let began = matter.override_.changes.iter().filter_map(|change| change.made_at_ms()).min();
    let began = began.and_then(|began| i64::try_from(began).ok()).unwrap_or_default();
    client.audit(&matter.subject.0, &matter.subject.1, began.saturating_sub(AUDIT_BEFORE_MS)).await
}

/// An open approval request that asks for this very override.
///
/// # Errors
/// Where it could not be found out.
pub async fn open_approval(client: &Client, matter: &Matter) -> Result<Option<Approval>, ApiError> {
    let Some(change) = matter.override_.change() else { return Ok(None) };
    let approvals = client.approvals(&matter.subject.0, &matter.subject.1).await?;
    Ok(approvals.into_iter().find(|approval| approval.is_open() && approval.names(change)))
}
