//! A thread of its own for requests, and rows of requests that go on there one after the other while whoever asked decides
//! about the answers that came. There is never more than one request under way: the client sees to that. It decides nothing;
//! a row ends by itself at an answer that concerns more than the one flag.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::launchdarkly::api_error::ApiError;
use crate::launchdarkly::client::Client;
use crate::launchdarkly::client::PatchOptions;
use crate::launchdarkly::client::Unread;
use crate::launchdarkly::patch::PatchRequest;

/// How long an answer is kept back, so that several are handed over at once: waking another thread for each would cost more
/// than a quick LaunchDarkly takes to answer.
const KEPT_BACK: Duration = Duration::from_millis(4);

/// The most answers that are kept back.
const KEPT_BACK_MAX: usize = 64;

/// The most times that answers are handed over before anybody looks at them; then no more is asked.
const WAITING_MAX: usize = 8;

/// The thread. It ends with the value.
#[derive(Debug)]
pub struct Courier {
    handle: Handle,
    _end: oneshot::Sender<()>,
}

impl Courier {
    /// Starts it. Where the system gives no thread, requests go on beside everything else on the one that is there.
    /// Must be called on a runtime.
    pub fn start() -> Self {
        let (end, ended) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let run = move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            let _ = tell.send(runtime.handle().clone());
            // Its end is an error: nobody ever sends anything.
            let _ = runtime.block_on(ended);
            // A name that is still being resolved must hold nobody up.
            runtime.shutdown_background();
        };
        let started = thread::Builder::new().name("launchdarkly".to_owned()).spawn(run);
        let handle = started.ok().and_then(|_| told.recv().ok()).unwrap_or_else(Handle::current);
        Self { handle, _end: end }
    }

    /// Asks something there, and waits for the answer. `None`: the thread is gone.
    pub async fn ask<T: Send + 'static>(&self, question: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.handle.spawn(question).await.ok()
    }

    /// Reads flags, in order. The row ends after an error after which the next question would fare no better.
    pub fn read(&self, client: &Arc<Client>, flags: Vec<(Environment, FlagKey)>) -> Readings {
        let (mut outbox, answers) = mailbox();
        let client = Arc::clone(client);
        self.handle.spawn(async move {
            for (environment, flag) in flags {
                let Some(answer) = outbox.wait_for(client.flag_unread(&environment, &flag)).await else { return };
                let ends = answer.as_ref().is_err_and(ApiError::stops_everything);
                if !outbox.hand_over(answer).await || ends {
                    break;
                }
            }
            outbox.clear().await;
        });
        Readings(answers)
    }

    /// Begins a row of patches. No patch is sent after `until`: what it was decided upon is too old by then.
    pub fn patch(&self, client: &Arc<Client>, options: PatchOptions, until: Instant) -> Patches {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Outgoing>();
        let (mut outbox, answers) = mailbox();
        let client = Arc::clone(client);
        self.handle.spawn(async move {
            loop {
                let job = match waiting.try_recv() {
                    Ok(job) => Some(job),
                    // Whoever adds to the row may be waiting for these very answers.
                    Err(_) if !outbox.clear().await => return,
                    Err(_) => waiting.recv().await,
                };
                let Some(Outgoing { environment, flag, request }) = job.filter(|_| Instant::now() < until) else {
                    break;
                };
                let patched = client.patch_and_look(&environment, &flag, &request, options);
                let Some(patched) = outbox.wait_for(patched).await else { return };
                let ends = concerns_others(&patched);
                if !outbox.hand_over(patched).await || ends {
                    break;
                }
            }
            outbox.clear().await;
        });
        Patches { jobs, answers, due: VecDeque::new() }
    }
}

/// Where answers are handed over, several at once.
struct Outbox<T> {
    tell: mpsc::Sender<VecDeque<T>>,
    kept_back: VecDeque<T>,
    since: Instant,
}

fn mailbox<T>() -> (Outbox<T>, Inbox<T>) {
    let (tell, told) = mpsc::channel(WAITING_MAX);
    let outbox = Outbox { tell, kept_back: VecDeque::new(), since: Instant::now() };
    (outbox, Inbox { told, at_hand: VecDeque::new() })
}

impl<T> Outbox<T> {
    /// Waits for the next answer. Where that takes long, those that are kept back are handed over meanwhile. `None` where
    /// nobody takes them any more.
    async fn wait_for<A>(&mut self, answer: impl Future<Output = A>) -> Option<A> {
        let mut answer = pin!(answer);
        if !self.kept_back.is_empty() {
            let left = KEPT_BACK.saturating_sub(self.since.elapsed());
            if let Ok(answer) = tokio::time::timeout(left, &mut answer).await {
                return Some(answer);
            }
            if !self.clear().await {
                // What is under way is under way.
                answer.await;
                return None;
            }
        }
        Some(answer.await)
    }

    /// Takes an answer, and says whether anybody still takes them.
    async fn hand_over(&mut self, answer: T) -> bool {
        if self.kept_back.is_empty() {
            self.since = Instant::now();
        }
        self.kept_back.push_back(answer);
        let is_due = self.kept_back.len() >= KEPT_BACK_MAX || self.since.elapsed() >= KEPT_BACK;
        !is_due || self.clear().await
    }

    /// Hands over what is kept back.
    async fn clear(&mut self) -> bool {
        let kept_back = std::mem::take(&mut self.kept_back);
        kept_back.is_empty() || self.tell.send(kept_back).await.is_ok()
    }
}

/// Where answers are taken, one by one.
#[derive(Debug)]
struct Inbox<T> {
    told: mpsc::Receiver<VecDeque<T>>,
    at_hand: VecDeque<T>,
}

impl<T> Inbox<T> {
    async fn next(&mut self) -> Option<T> {
        loop {
            match self.at_hand.pop_front() {
                Some(answer) => return Some(answer),
                None => self.at_hand = self.told.recv().await?,
            }
        }
    }
}

/// Whether more than the one flag is concerned, or somebody has to decide before anything else is sent.
fn concerns_others(patched: &Patched) -> bool {
    match patched {
        Ok(Ok(_))
        | Err(
            ApiError::NotFound { .. }
            | ApiError::Refused { .. }
            | ApiError::ScheduledConflict { .. }
            | ApiError::ApprovalRequired { .. },
        ) => false,
        Ok(Err(ApiError::NotFound { .. } | ApiError::Unusable { .. } | ApiError::TooLarge { .. })) => false,
        Ok(Err(_)) | Err(_) => true,
    }
}

/// A row of flags that are read.
#[derive(Debug)]
pub struct Readings(Inbox<Result<Unread, ApiError>>);

impl Readings {
    /// The next answer, in order; `None` where the row has ended.
    pub async fn next(&mut self) -> Option<Result<Unread, ApiError>> {
        self.0.next().await
    }
}

/// A patch that is to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// Where.
    pub environment: Environment,
    /// Which flag.
    pub flag: FlagKey,
    /// What.
    pub request: PatchRequest,
}

/// What came of a patch: why LaunchDarkly did not take it; else the flag as it shows it afterwards, or why that could not
/// be read.
pub type Patched = Result<Result<Unread, ApiError>, ApiError>;

/// A row of patches.
#[derive(Debug)]
pub struct Patches {
    jobs: mpsc::UnboundedSender<Outgoing>,
    answers: Inbox<Patched>,
    /// What was added and not answered yet, in order.
    due: VecDeque<(Environment, FlagKey)>,
}

impl Patches {
    /// Adds one to the row. Where the row has ended, it is not sent.
    pub fn add(&mut self, patch: Outgoing) {
        self.due.push_back((patch.environment.clone(), patch.flag.clone()));
        let _ = self.jobs.send(patch);
    }

    /// What came of the next one that was added, in order, which must be that of `flag`. `None` where the row has ended
    /// before it, so that it was not sent; where none is left; or where it is another flag's turn, whose answer must never
    /// be taken for this one's.
    pub async fn next(&mut self, environment: &Environment, flag: &FlagKey) -> Option<Patched> {
        let (of, due) = self.due.pop_front()?;
        if of != *environment || due != *flag {
            return None;
        }
        self.answers.next().await
    }
}
