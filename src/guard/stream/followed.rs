//! The stores of one environment, followed once for all streams of it: a stream that begins later hears the last word
//! first. And the other way round: what its streams see of LaunchDarkly, as one view for the announcement in the stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::sync::watch;

use crate::change::override_::Override;
use crate::flag::key::FlagKey;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::environment::StreamView;
use crate::guard::overrides::EnvironmentStores;
use crate::guard::overrides::Follow;
use crate::guard::overrides::Followed;
use crate::guard::stream::channel::StoresWord;
use crate::guard::stream::view::FeedView;

/// Words that wait for a stream.
const WORDS_MAX: usize = 64;

/// Streams that wait to be told.
const LISTENERS_MAX: usize = 16;

/// How often the view is looked at.
const VIEW_EVERY: Duration = Duration::from_millis(500);

/// The most relays that a view names.
const RELAYS_MAX: usize = 200;

/// How long to wait where following has ended although somebody listens.
const PAUSE: Duration = Duration::from_secs(1);

/// A stream that wants to hear.
struct Listener {
    words: mpsc::Sender<StoresWord>,
    view: watch::Receiver<FeedView>,
}

/// The stores of an environment. Clones are the same.
#[derive(Clone)]
pub struct FollowedEnvironment {
    environment: Arc<GuardedEnvironment>,
    listeners: mpsc::Sender<Listener>,
    stores: Arc<dyn EnvironmentStores>,
}

impl FollowedEnvironment {
    /// Begins to follow.
    pub fn start(environment: Arc<GuardedEnvironment>, follow: Follow, shadow: bool) -> Self {
        let (seen, view) = watch::channel(together(&[], shadow));
        let followed = follow(&environment, view.clone());
        let stores = Arc::clone(&followed.stores);
        let (listeners, waiting) = mpsc::channel(LISTENERS_MAX);
        let task = Task { environment: Arc::clone(&environment), follow, view, seen, shadow, waiting };
        tokio::spawn(task.run(followed));
        Self { environment, listeners, stores }
    }

    /// Whether it goes on: what follows may have failed, and then it has to be begun anew.
    pub fn is_alive(&self) -> bool {
        !self.listeners.is_closed()
    }

    /// Which environment.
    pub fn environment(&self) -> &Arc<GuardedEnvironment> {
        &self.environment
    }

    /// Its stores.
    pub fn stores(&self) -> &Arc<dyn EnvironmentStores> {
        &self.stores
    }

    /// A stream hears the words from now on, the last one first.
    pub async fn listen(&self, view: watch::Receiver<FeedView>) -> mpsc::Receiver<StoresWord> {
        let (words, heard) = mpsc::channel(WORDS_MAX);
        // An error means that the program ends.
        let _ = self.listeners.send(Listener { words, view }).await;
        heard
    }
}

struct Task {
    environment: Arc<GuardedEnvironment>,
    follow: Follow,
    view: watch::Receiver<StreamView>,
    seen: watch::Sender<StreamView>,
    shadow: bool,
    waiting: mpsc::Receiver<Listener>,
}

impl Task {
    async fn run(mut self, mut followed: Followed) {
        let mut listeners: Vec<Listener> = Vec::new();
        let mut last: Option<BTreeMap<FlagKey, Override>> = None;
        let mut tick = tokio::time::interval(VIEW_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                listener = self.waiting.recv() => {
                    let Some(listener) = listener else { return };
                    if let Some(overrides) = &last {
                        let word = StoresWord { overrides: overrides.clone(), ..StoresWord::default() };
                        // It has just begun to listen, so there is room.
                        let _ = listener.words.try_send(word);
                    }
                    listeners.push(listener);
                }
                word = followed.words.recv() => match word {
                    Some(word) => {
                        last = Some(word.overrides.clone());
                        for listener in &listeners {
                            // A stream takes words at once; an error means that it has ended.
                            let _ = listener.words.send(word.clone()).await;
                        }
                    }
                    // Whoever followed has ended. Nothing that is known is forgotten meanwhile.
                    None => {
                        tokio::time::sleep(PAUSE).await;
                        followed = (self.follow)(&self.environment, self.view.clone());
                    }
                },
                _ = tick.tick() => {
                    listeners.retain(|listener| !listener.words.is_closed());
                    let views: Vec<FeedView> = listeners.iter().map(|listener| listener.view.borrow().clone()).collect();
                    let now = together(&views, self.shadow);
                    self.seen.send_if_modified(|view| {
                        let is_new = view.up != now.up || view.told != now.told || view.relays != now.relays;
                        if is_new {
                            *view = now;
                        }
                        is_new
                    });
                }
            }
        }
    }
}

/// What all streams of an environment see, as one: it is up where one of them is up that relays hang on, or any if none do.
fn together(views: &[FeedView], shadow: bool) -> StreamView {
    let in_use: Vec<&FeedView> = views.iter().filter(|view| !view.relays.is_empty()).collect();
    let counted: Vec<&FeedView> = if in_use.is_empty() { views.iter().collect() } else { in_use };
    let up = counted.iter().find(|view| view.up == Some(true));
    let deciding = up.or_else(|| counted.iter().find(|view| view.up == Some(false))).or_else(|| counted.first());
    let mut relays: Vec<_> = views.iter().flat_map(|view| &view.relays).map(|(relay, _)| relay.clone()).collect();
    relays.sort();
    relays.dedup();
    relays.truncate(RELAYS_MAX);
    StreamView {
        up: deciding.and_then(|view| view.up),
        since: deciding.map_or_else(Timestamp::now, |view| view.since),
        told: deciding.and_then(|view| view.told.clone()),
        relays,
        shadow,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::guard::environment::AttachedRelay;

    fn view(up: Option<bool>, relays: usize) -> FeedView {
        let relay =
            |number: usize| AttachedRelay { address: Ipv4Addr::LOCALHOST.into(), agent: format!("LDRelay/8.{number}") };
        FeedView {
            up,
            relays: (0..relays).map(|number| (relay(number), Timestamp::UNIX_EPOCH)).collect(),
            ..FeedView::default()
        }
    }

    #[test]
    fn several_streams_are_one_view() {
        assert_eq!(together(&[], false).up, None);
        assert_eq!(together(&[view(None, 0), view(Some(false), 0)], false).up, Some(false));
        assert_eq!(together(&[view(Some(false), 1), view(Some(true), 1)], false).up, Some(true));
        let old_key = together(&[view(Some(false), 0), view(Some(true), 2), view(None, 1)], true);
        assert_eq!((old_key.up, old_key.relays.len(), old_key.shadow), (Some(true), 2, true));
        assert_eq!(together(&[view(Some(true), 0), view(Some(false), 1)], false).up, Some(false), "that one is in use");
    }
}
