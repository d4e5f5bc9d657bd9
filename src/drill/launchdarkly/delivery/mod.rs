//! How flags reach SDKs and relays: by streams and by polling. LaunchDarkly's other half, which fails and comes back by
//! itself, and may be behind what its API says.
//!
//! What an event says is decided in `event` and `payload`, which are pure; here is who gets it. A stream is entered among
//! the subscribers at the moment at which its `put` is read, both under the account's lock, so that nothing is lost in
//! between and nothing comes twice.

mod event;
mod expiry;
mod flow;
mod history;
mod intake;
mod payload;
mod poll;
mod stream;
pub mod subscribers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;

pub use self::expiry::end_expired;
use self::history::History;
use self::payload::Contents;
use self::payload::Payload;
use self::subscribers::Feed;
use self::subscribers::OpenStreams;
use self::subscribers::Queue;
use self::subscribers::Subscribers;
use super::account::Account;
use super::account::Project;
use super::account::news::News;
use super::answer::Problem;
use super::listener::fault::AsksFor;
use super::listener::fault::Past;
use super::listener::line::Line;
use super::shared::Shared;
use super::shared::locked;

/// What is asked for at a path.
pub fn asks_for(path: &str) -> AsksFor {
    let state = path == "/sdk/latest-all" || path.starts_with("/sdk/flags") || path.starts_with("/sdk/segments/");
    match path {
        "/all" => AsksFor { stream: true, state: true },
        "/relay_auto_config" | "/big-segments" => AsksFor { stream: true, state: false },
        _ => AsksFor { stream: false, state },
    }
}

/// How often LaunchDarkly sends a comment where there is nothing else to send.
const HEARTBEAT: Duration = Duration::from_secs(180);

/// More often than that, nothing else would be sent any more.
const HEARTBEAT_MIN: Duration = Duration::from_millis(1);

/// Everything that is served on the stream's listener.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .merge(stream::routes())
        .merge(poll::routes())
        .merge(intake::routes())
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .fallback(|| async { Problem::not_found() })
        .with_state(shared)
}

/// Who gets what.
#[derive(Debug)]
pub struct Delivery {
    state: Mutex<State>,
    heartbeat: watch::Sender<Duration>,
    /// Goes up when a stream is opened or ends.
    turns: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    /// Delivery stands still at this position.
    held_at: Option<u64>,
    subscribers: Subscribers,
    /// What was last sent of each feed as a whole, and what of.
    payloads: HashMap<Feed, (Stand, Payload)>,
    /// How often environments or payload filters changed.
    edition: u64,
}

/// Of what a payload was made: another one has other contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    position: u64,
    edition: u64,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { state: Mutex::default(), heartbeat: watch::Sender::new(HEARTBEAT), turns: watch::Sender::new(0) }
    }
}

/// What was read of an environment: as it was last sent, or what it has to be made of.
#[derive(Debug)]
pub enum Reading {
    Ready(Payload),
    Fresh { contents: Contents, stand: Stand },
}

impl Delivery {
    /// Delivers what happened. The caller holds the account.
    pub fn deliver(&self, account: &Account, news: News) {
        let mut state = locked(&self.state);
        match &news {
            News::Flag { .. } | News::Segment { .. } => {
                if state.held_at.is_none() {
                    state.send(account, &news);
                }
                state.history.add(news);
            }
            News::Environment { .. } | News::Filter { .. } => {
                state.payloads.clear();
                state.edition += 1;
                state.send_configuration(account, &news);
                state.end_refused(account, &news);
                drop(state);
                self.turn();
            }
        }
    }

    fn turn(&self) {
        self.turns.send_modify(|turns| *turns = turns.wrapping_add(1));
    }

    /// Opens a stream. The caller holds the account.
    fn subscribe(&self, feed: &Feed, credential: &str, line: &Arc<Line>) -> Queue {
        let queue = locked(&self.state).subscribers.add(feed, credential, Arc::clone(line));
        self.turn();
        queue
    }

    fn unsubscribe(&self, feed: &Feed, number: u64) {
        locked(&self.state).subscribers.remove(feed, number);
        self.turn();
    }

    /// What the environment holds for its SDKs, as of now or of a moment of the past. The caller holds the account.
    fn read(&self, project: &Project, environment: &str, filter: Option<&str>, past: Option<&Past>) -> Reading {
        let state = locked(&self.state);
        let stand = Stand { position: state.position(past), edition: state.edition };
        let feed = feed_of(&project.key, environment, filter);
        if let Some((known, payload)) = state.payloads.get(&feed)
            && *known == stand
        {
            return Reading::Ready(payload.clone());
        }
        let contents = state.contents(project, environment, filter, stand.position);
        Reading::Fresh { contents, stand }
    }

    /// As [`Delivery::read`], where it is not wanted as a whole.
    fn contents(&self, project: &Project, environment: &str, filter: Option<&str>, past: Option<&Past>) -> Contents {
        let state = locked(&self.state);
        state.contents(project, environment, filter, state.position(past))
    }

    /// Keeps what was made of a reading for the next who asks.
    fn keep(&self, feed: &Feed, stand: Stand, payload: &Payload) {
        locked(&self.state).payloads.insert(feed.clone(), (stand, payload.clone()));
    }

    /// Delivery stands still: what is changed from now on reaches nobody, by stream or by polling.
    pub fn hold(&self) {
        let mut state = locked(&self.state);
        let position = state.history.position();
        state.held_at.get_or_insert(position);
    }

    /// Delivery goes on: what was held back is sent, in order. Streams end where more was held back than is remembered:
    /// their clients come again, and get everything. The caller holds the account.
    pub fn release(&self, account: &Account) {
        let mut state = locked(&self.state);
        let Some(position) = state.held_at.take() else { return };
        let held: Option<Vec<News>> = state.history.after(position).map(|news| news.cloned().collect());
        match held {
            Some(held) => held.iter().for_each(|news| state.send(account, news)),
            None => state.subscribers.end(|feed, _| !matches!(feed, Feed::Environment { .. })),
        }
        drop(state);
        self.turn();
    }

    /// Whether delivery stands still.
    pub fn is_held(&self) -> bool {
        locked(&self.state).held_at.is_some()
    }

    /// Gives the present moment a name.
    pub fn name_moment(&self, name: &str) {
        locked(&self.state).history.name_moment(name);
    }

    /// Whether the state of this moment is known.
    pub fn knows_moment(&self, name: &str) -> bool {
        locked(&self.state).history.moment(name).is_some()
    }

    /// The streams that are open.
    pub fn streams(&self) -> Vec<OpenStreams> {
        locked(&self.state).subscribers.list()
    }

    /// How many streams were dropped, since they were read too slowly.
    pub fn dropped(&self) -> u64 {
        locked(&self.state).subscribers.dropped
    }

    /// Changes when a stream is opened or ends.
    pub fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    /// How often a comment is sent where there is nothing else to send.
    pub fn set_heartbeat(&self, interval: Duration) {
        self.heartbeat.send_replace(interval.max(HEARTBEAT_MIN));
    }

    /// Tells all relays with automatic configuration to drop that stream and to open it again.
    pub fn reconnect_relays(&self) {
        let mut state = locked(&self.state);
        for feed in state.subscribers.feeds().iter().filter(|feed| matches!(feed, Feed::Configuration { .. })) {
            state.subscribers.send(feed, &event::RECONNECT);
        }
    }

    /// Ends the streams whose key is not taken any more. The caller holds the account.
    fn end_expired(&self, account: &Account, now: i64) {
        locked(&self.state).subscribers.end(|feed, credential| is_taken(account, feed, credential, now));
        self.turn();
    }
}

fn feed_of(project: &str, environment: &str, filter: Option<&str>) -> Feed {
    Feed::Environment {
        project: project.to_owned(),
        environment: environment.to_owned(),
        filter: filter.map(str::to_owned),
    }
}

/// Whether the key by which a stream was opened would still open it.
fn is_taken(account: &Account, feed: &Feed, credential: &str, now: i64) -> bool {
    match feed {
        Feed::Environment { project, environment, .. } | Feed::BigSegments { project, environment } => {
            let found = account.projects.get(project).and_then(|project| project.environments.get(environment));
            found.is_some_and(|environment| environment.takes(credential, now))
        }
        Feed::Configuration { key } => account.relay_keys.contains_key(key),
    }
}

impl State {
    fn position(&self, past: Option<&Past>) -> u64 {
        let now = self.held_at.unwrap_or(self.history.position());
        let wanted = match past {
            None => now,
            Some(Past::ChangesAgo(changes)) => self.history.position().saturating_sub(*changes),
            Some(Past::Moment(name)) => self.history.moment(name).unwrap_or(0),
        };
        wanted.min(now).max(self.history.oldest())
    }

    fn contents(&self, project: &Project, environment: &str, filter: Option<&str>, position: u64) -> Contents {
        let segments = project.environments.get(environment).map(|one| &one.segments);
        let (flags, segments) = if position == self.history.position() {
            (
                project.flags.values().cloned().collect(),
                segments.into_iter().flat_map(|segments| segments.values()).cloned().collect(),
            )
        } else {
            let flags = self.history.flags_as_of(position, &project.key, &project.flags);
            let place = (project.key.as_str(), environment);
            let segments = segments.map(|segments| self.history.segments_as_of(position, place, segments));
            (flags.into_values().collect(), segments.into_iter().flat_map(|segments| segments.into_values()).collect())
        };
        let filter = filter.and_then(|key| project.filters.get(key)).map(|filter| filter.definition.clone());
        Contents { environment: environment.to_owned(), filter, flags, segments }
    }

    /// Sends a change of a flag or a segment to those whom it concerns.
    fn send(&mut self, account: &Account, news: &News) {
        for feed in self.subscribers.feeds() {
            let Feed::Environment { project, environment, filter } = &feed else { continue };
            let filter = filter.as_ref().and_then(|key| account.projects.get(project)?.filters.get(key));
            let filter = filter.map(|filter| &filter.definition);
            let event = match news {
                News::Flag { project: changed, key, before, after } if changed == project => {
                    event::of_flag(key, environment, filter, before.as_deref(), after.as_deref())
                }
                News::Segment { project: changed, environment: place, key, before, after }
                    if changed == project && place == environment =>
                {
                    event::of_segment(key, before.as_deref(), after.as_deref())
                }
                _ => None,
            };
            if let Some(event) = event {
                self.subscribers.send(&feed, &event.text());
            }
        }
    }

    /// Sends a change of an environment or a payload filter to the relays that may know of it.
    fn send_configuration(&mut self, account: &Account, news: &News) {
        for feed in self.subscribers.feeds() {
            let Feed::Configuration { key } = &feed else { continue };
            let policy = account.relay_keys.get(key).map(Vec::as_slice).unwrap_or_default();
            if let Some(event) = event::of_configuration(news, policy) {
                self.subscribers.send(&feed, &event.text());
            }
        }
    }

    /// Ends the streams that could not be opened any more: of environments and payload filters that are gone or another
    /// thing now.
    fn end_refused(&mut self, account: &Account, news: &News) {
        let now = super::shared::now_ms();
        self.subscribers.end(|feed, credential| {
            let filtered = match (news, feed) {
                (News::Filter { project, id, .. }, Feed::Environment { project: place, filter: Some(key), .. }) => {
                    project == place && *id == super::account::environment::filter_id(project, key)
                }
                _ => false,
            };
            !filtered && is_taken(account, feed, credential, now)
        });
    }
}
