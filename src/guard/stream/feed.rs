//! One stream: LaunchDarkly on one side, once, and relays on the other. A task of its own, which nobody waits for: it takes
//! what LaunchDarkly says, what stores say and who comes, one after another, and never waits for a relay. What is decided
//! is decided elsewhere: what is sent in `flags` and `configuration`, who gets what when in `answer`.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::oneshot;
use tokio::sync::watch;

use crate::guard::answer::Answer;
use crate::guard::environment::AttachedRelay;
use crate::guard::keys::Digest;
use crate::guard::stream::actor::Actor;
use crate::guard::stream::hub::Hub;
use crate::guard::stream::line::Line;
use crate::guard::stream::request::Stream;
use crate::guard::stream::view::FeedView;

/// Relays that wait to be taken notice of.
const MESSAGES_MAX: usize = 1_024;

/// How long a stream may take to say goodbye.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What a stream is begun with.
pub struct FeedPlan {
    /// All streams.
    pub hub: Arc<Hub>,
    /// Which it is.
    pub id: Digest,
    /// The digest of its key.
    pub key: Digest,
    /// What is asked for.
    pub stream: Stream,
    /// Whether nobody vouches for the key.
    pub stranger: bool,
}

/// What a stream is told.
pub(super) enum Message {
    /// A relay comes.
    Attach(Attach),
    /// Environments were learnt: perhaps this stream's too.
    Learnt,
    /// The guard ends.
    Stop(oneshot::Sender<()>),
}

/// A relay that comes.
pub(super) struct Attach {
    /// Which.
    pub relay: AttachedRelay,
    /// Its connection.
    pub line: Line,
    /// What its request is answered with.
    pub answer: oneshot::Sender<Answer>,
    /// When it came.
    pub since: Instant,
}

/// A stream, to be talked to. Clones are the same.
#[derive(Clone)]
pub struct Feed {
    messages: mpsc::Sender<Message>,
    view: watch::Receiver<FeedView>,
    stranger: bool,
}

impl Feed {
    /// Begins a stream. It ends when nobody is left on it and nobody vouches for its key.
    pub fn start(plan: FeedPlan) -> Self {
        let (messages, heard) = mpsc::channel(MESSAGES_MAX);
        let (seen, view) = super::hub::view(String::new(), plan.stream.path);
        let stranger = plan.stranger;
        let own = view.clone();
        tokio::spawn(async move {
            let (hub, id) = (Arc::clone(&plan.hub), plan.id);
            // A task of its own, so that also a defect in it ends this stream and nothing else: its relays come again, and
            // it is begun anew.
            let run = tokio::spawn(async move { Actor::begin(plan, heard, seen, own).await.run().await });
            let _ = run.await;
            hub.ended(&id);
        });
        Self { messages, view, stranger }
    }

    /// A relay comes; gives what its request is answered with.
    pub async fn attach(&self, relay: AttachedRelay, line: Line) -> Answer {
        let (answer, answered) = oneshot::channel();
        let attach = Attach { relay, line, answer, since: Instant::now() };
        if self.messages.send(Message::Attach(attach)).await.is_err() {
            return Answer::Later;
        }
        // An error means that the stream has just ended.
        answered.await.unwrap_or(Answer::Later)
    }

    /// Environments were learnt.
    pub fn learnt(&self) {
        // One that has no room has more urgent things to do, and looks for itself from time to time.
        let _ = self.messages.try_send(Message::Learnt);
    }

    /// The guard ends: its relays are let go.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let stop = async {
            if self.messages.send(Message::Stop(done)).await.is_ok() {
                // An error means that it has ended already.
                let _ = stopped.await;
            }
        };
        // The process ends anyway.
        let _ = tokio::time::timeout(STOP_PATIENCE, stop).await;
    }

    /// Whether it goes on.
    pub fn is_open(&self) -> bool {
        !self.messages.is_closed()
    }

    /// Whether nobody vouched for its key when it began, and LaunchDarkly has not taken it since.
    pub fn is_stranger(&self) -> bool {
        self.stranger && self.view.borrow().up != Some(true)
    }

    /// As it is seen from outside.
    pub fn view(&self) -> watch::Ref<'_, FeedView> {
        self.view.borrow()
    }
}

/// What the side of LaunchDarkly is told: to open the stream anew.
pub(super) type Again = Arc<Notify>;

/// Now, twice: for reckoning, and for people.
pub(super) fn now() -> (Instant, Timestamp) {
    (Instant::now(), Timestamp::now())
}
