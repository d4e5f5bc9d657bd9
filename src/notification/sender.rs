//! Sending notices: a queue and a task for each place, so that one that hangs holds up no other, and whoever has something
//! to tell never waits. What cannot be delivered within a few attempts, or does not fit into the queue, is given up and said
//! so to whoever watches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::notification::Notice;
use crate::notification::Place;
use crate::notification::message::Message;
use crate::notification::message::message;
use crate::ui::secret::Secret;

/// How many notices wait for one place; what comes on top is given up.
pub const WAITING_MAX: usize = 100;

/// How often one notice is tried.
pub const ATTEMPTS: u32 = 4;

/// How long an attempt may take, name resolution included.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait after the first attempt; after each further one twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest that a `Retry-After` is obeyed.
const ASKED_MAX: Duration = Duration::from_secs(30);

/// How much of an answer is read: enough for what Slack and PagerDuty say.
const ANSWER_LENGTH_MAX: usize = 200;

/// What came of a notice in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It was taken.
    Taken,
    /// It was given up.
    GivenUp(String),
    /// The queue was full.
    NoRoom,
}

/// Called with a place's name and what came of a notice there.
type Tell = dyn Fn(&str, &Came) + Send + Sync;

/// Who watches what becomes of notices. It must not block.
#[derive(Clone)]
pub struct Watcher(Arc<Tell>);

impl Watcher {
    /// Calls `tell` for every notice and place.
    pub fn new(tell: impl Fn(&str, &Came) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn tell(&self, place: &str, came: &Came) {
        (self.0)(place, came);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watcher")
    }
}

/// The sender. Dropped, what waits is given up without a word; see [`Sender::end`].
#[derive(Debug)]
pub struct Sender {
    queues: Vec<(String, mpsc::Sender<Notice>)>,
    tasks: Vec<JoinHandle<()>>,
    watcher: Watcher,
}

impl Sender {
    /// Begins. Must be called inside a runtime, in a process that has a TLS provider.
    ///
    /// # Errors
    /// The HTTP client cannot be made: what is missing on this machine.
    pub fn start(places: Vec<Place>, watcher: Watcher) -> Result<Self, String> {
        let (mut queues, mut tasks) = (Vec::new(), Vec::new());
        for place in places {
            let (queue, waiting) = mpsc::channel(WAITING_MAX);
            queues.push((place.name(), queue));
            let http = client(&place)?;
            tasks.push(tokio::spawn(work(place, http, waiting, watcher.clone())));
        }
        Ok(Self { queues, tasks, watcher })
    }

    /// Has the notice sent to every place. Never waits.
    pub fn offer(&self, notice: &Notice) {
        for (name, queue) in &self.queues {
            if queue.try_send(notice.clone()).is_err() {
                self.watcher.tell(name, &Came::NoRoom);
            }
        }
    }

    /// Sends what waits, for at most `patience`, and ends.
    pub async fn end(self, patience: Duration) {
        drop(self.queues);
        let until = Instant::now() + patience;
        for mut task in self.tasks {
            if timeout_at(until, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// Sends one notice to one place, and says what came of it: `Ok` where it was taken, or is not for that place.
///
/// # Errors
/// Why it was given up.
pub async fn send(place: &Place, notice: &Notice) -> Result<(), String> {
    let http = client(place)?;
    deliver(place, &http, notice).await
}

async fn work(place: Place, http: reqwest::Client, mut waiting: mpsc::Receiver<Notice>, watcher: Watcher) {
    let name = place.name();
    while let Some(notice) = waiting.recv().await {
        let came = match deliver(&place, &http, &notice).await {
            Ok(()) => Came::Taken,
            Err(problem) => Came::GivenUp(problem),
        };
        watcher.tell(&name, &came);
    }
}

fn client(place: &Place) -> Result<reqwest::Client, String> {
    // The addresses are secrets: they go to nobody else.
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .user_agent(concat!("relay-commander/", env!("CARGO_PKG_VERSION")));
    // Plain HTTP goes to this machine alone: no proxy may hear it, and no authorities are needed.
    let is_plain = place.address().expose().starts_with("http:");
    let builder = if is_plain { builder.no_proxy().tls_certs_only([]) } else { builder };
    builder.build().map_err(|error| format!("the HTTPS client cannot be made: {error}"))
}

/// What an attempt came to, where it was not taken.
enum Refused {
    /// Another attempt may fare better, not before so long.
    Again(String, Option<Duration>),
    /// It will not.
    ForGood(String),
}

async fn deliver(place: &Place, http: &reqwest::Client, notice: &Notice) -> Result<(), String> {
    let mut pause = PAUSE;
    for attempt in 1..=ATTEMPTS {
        // Signed anew each time: who takes it looks at the clock.
        let Some(message) = message(place, notice, Timestamp::now().as_second()) else { return Ok(()) };
        let refused = match timeout(DEADLINE, once(http, place.address(), message)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(refused)) => refused,
            Err(_) => Refused::Again(format!("no answer within {} s", DEADLINE.as_secs()), None),
        };
        let (problem, asked) = match refused {
            Refused::ForGood(problem) => return Err(problem),
            Refused::Again(problem, asked) => (problem, asked),
        };
        if attempt == ATTEMPTS {
            return Err(format!("{problem}, {ATTEMPTS} times"));
        }
        let own = pause.mul_f64(1.0 + fastrand::f64() / 2.0);
        tokio::time::sleep(own.max(asked.unwrap_or_default().min(ASKED_MAX))).await;
        pause *= 2;
    }
    Ok(())
}

async fn once(http: &reqwest::Client, address: &Secret, message: Message) -> Result<(), Refused> {
    let mut request = http.post(address.expose()).header(header::CONTENT_TYPE, "application/json").body(message.body);
    for (name, value) in message.headers {
        request = request.header(name, value);
    }
    // The error of reqwest names the address, which is a secret.
    let mut response = request.send().await.map_err(|error| Refused::Again(innermost(&error.without_url()), None))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(Refused::ForGood(format!("it answers {status}, which is not followed: the address is a secret")));
    }
    let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut told = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        told.extend_from_slice(&piece);
        if told.len() >= ANSWER_LENGTH_MAX {
            break;
        }
    }
    told.truncate(ANSWER_LENGTH_MAX);
    let told = String::from_utf8_lossy(&told).trim().to_owned();
    let problem = if told.is_empty() { format!("it answers {status}") } else { format!("it answers {status}, {told}") };
    let may_pass =
        status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    Err(if may_pass { Refused::Again(problem, asked.map(Duration::from_secs)) } else { Refused::ForGood(problem) })
}

/// The innermost cause, which is the one that tells.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    // Causes form a list; its length is bounded all the same.
    for _ in 0..16 {
        match innermost.source() {
            Some(source) => innermost = source,
            None => break,
        }
    }
    innermost.to_string()
}
