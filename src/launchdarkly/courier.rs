//! A thread of its own for requests, and rows of requests that go on there one after the other while whoever asked decides
//! about the answers that came. There is never more than one request under way: the client sees to that. It decides nothing;
//! a row ends by itself at an answer that concerns more than the one flag.

use std::sync::Arc;
use std::thread;
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

/// The most answers that wait to be looked at; then no more is asked.
const WAITING_MAX: usize = 256;

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
        let (tell, answers) = mpsc::channel(WAITING_MAX);
        let client = Arc::clone(client);
        self.handle.spawn(async move {
            for (environment, flag) in flags {
                let answer = client.flag_unread(&environment, &flag).await;
                let ends = answer.as_ref().is_err_and(ApiError::stops_everything);
                if tell.send(answer).await.is_err() || ends {
                    return;
                }
            }
        });
        Readings(answers)
    }

    /// Begins a row of patches. No patch is sent after `until`: what it was decided upon is too old by then.
    pub fn patch(&self, client: &Arc<Client>, options: PatchOptions, until: Instant) -> Patches {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Outgoing>();
        let (tell, answers) = mpsc::channel(WAITING_MAX);
        let client = Arc::clone(client);
        self.handle.spawn(async move {
            while let Some(Outgoing { environment, flag, request }) = waiting.recv().await {
                if Instant::now() >= until {
                    return;
                }
                let patched = client.patch_and_look(&environment, &flag, &request, options).await;
                let ends = concerns_others(&patched);
                if tell.send(patched).await.is_err() || ends {
                    return;
                }
            }
        });
        Patches { jobs, answers, due: 0 }
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
pub struct Readings(mpsc::Receiver<Result<Unread, ApiError>>);

impl Readings {
    /// The next answer, in order; `None` where the row has ended.
    pub async fn next(&mut self) -> Option<Result<Unread, ApiError>> {
        self.0.recv().await
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
    answers: mpsc::Receiver<Patched>,
    /// How many were added and not answered yet.
    due: usize,
}

impl Patches {
    /// Adds one to the row. Where the row has ended, it is not sent.
    pub fn add(&mut self, patch: Outgoing) {
        self.due += 1;
        let _ = self.jobs.send(patch);
    }

    /// What came of the next one that was added, in order. `None` where the row has ended before it, so that it was not
    /// sent; or where none is left.
    pub async fn next(&mut self) -> Option<Patched> {
        self.due = self.due.checked_sub(1)?;
        self.answers.recv().await
    }
}
