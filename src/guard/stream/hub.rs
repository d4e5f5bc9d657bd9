//! All streams of a guard: each is LaunchDarkly's once, by path, query and key, however many relays hang on it. It knows
//! which keys are vouched for, which environment a key is of, and whose stores are followed; what a stream does is its own
//! business.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::guard::alarm::Alarms;
use crate::guard::answer::NAMED_PATIENCE;
use crate::guard::auto_configuration::Learnt;
use crate::guard::auto_configuration::LearntKeys;
use crate::guard::cache::KeptPlace;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::folder::Keeper;
use crate::guard::keys::Digest;
use crate::guard::keys::NamedKey;
use crate::guard::keys::Roster;
use crate::guard::keys::Salt;
use crate::guard::keys::Vouch;
use crate::guard::keys::Word;
use crate::guard::overrides::Follow;
use crate::guard::stream::feed::Feed;
use crate::guard::stream::feed::FeedPlan;
use crate::guard::stream::followed::FollowedEnvironment;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::request::Stream;
use crate::guard::stream::upstream::LaunchDarkly;
use crate::guard::stream::view::FeedView;
use crate::relay::sdk_key::SdkKey;

/// The most streams at one time.
const FEEDS_MAX: usize = 5_000;

/// The most streams with keys for which nobody vouches: each costs LaunchDarkly a connection.
const STRANGERS_MAX: usize = 100;

/// For so long it counts that a relay asked with a key.
const ASKED_LATELY: Duration = Duration::from_secs(600);

/// For so long what all streams came to is good enough.
const NOBODY_FOR: Duration = Duration::from_millis(100);

/// The most keys of which that is remembered.
const ASKED_MAX: usize = 10_000;

/// The file of the keys that are vouched for.
const KEYS_FILE: &str = "keys.json";

/// Says where an environment that was learnt from an automatic configuration is kept; by the second, a payload filter's
/// copy of it.
pub type Place = Arc<dyn Fn(&Learnt, Option<&str>) -> GuardedEnvironment + Send + Sync>;

/// What a hub is made of.
pub struct HubParts {
    /// LaunchDarkly.
    pub launchdarkly: LaunchDarkly,
    /// What holds where LaunchDarkly changed the same aspect.
    pub on_conflict: OnConflict,
    /// Only forward, and say what would have been done.
    pub shadow: bool,
    /// How long a refusal of a key that worked must have stood: [`crate::guard::answer::REFUSED_FOR`].
    pub refused_for: Duration,
    /// The environments that are configured.
    pub environments: Vec<GuardedEnvironment>,
    /// Where those are kept that are learnt.
    pub place: Place,
    /// Follows their stores.
    pub follow: Follow,
    /// Where alarms go.
    pub alarms: Alarms,
    /// The guard's folder, if it has one.
    pub keeper: Option<Keeper>,
    /// What makes digests of keys.
    pub salt: Salt,
}

/// All streams of a guard.
pub struct Hub {
    parts: HubParts,
    configured: HashMap<(Digest, Option<String>), Arc<GuardedEnvironment>>,
    roster: Mutex<Roster>,
    /// Whether what the roster knows is not on its way to disk.
    keys_unkept: AtomicBool,
    learnt: Mutex<HashMap<Digest, Learnt>>,
    followed: Mutex<HashMap<String, FollowedEnvironment>>,
    feeds: Mutex<HashMap<Digest, Feed>>,
    /// Who asked for flags with which key, and when.
    asked: Mutex<HashMap<(IpAddr, Digest), Instant>>,
    /// Whether LaunchDarkly answers nobody, and when that was found out.
    nobody: Mutex<Option<(Instant, bool)>>,
}

/// Why there is no stream for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Of all streams.
    #[error("this guard has as many streams as it can have, {FEEDS_MAX}")]
    Streams,
    /// Of those with keys for which nobody vouches.
    #[error(
        "this guard asks LaunchDarkly for {STRANGERS_MAX} keys at a time for which nobody vouches, and no more: name the \
         relays' configuration with --relay-config"
    )]
    Strangers,
}

/// An environment, and how it is to be kept on disk where it was learnt.
pub type Found = (Arc<GuardedEnvironment>, Option<KeptPlace>);

fn held<Value>(mutex: &Mutex<Value>) -> MutexGuard<'_, Value> {
    // What is kept here is as good after a panic as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub without streams.
    pub fn new(parts: HubParts) -> Arc<Self> {
        let mut roster = Roster::default();
        let mut configured = HashMap::new();
        for environment in &parts.environments {
            let environment = Arc::new(environment.clone());
            for key in &environment.sdk_keys {
                let key = parts.salt.of_key(key.bytes());
                roster.configured(key);
                configured.insert((key, environment.filter.clone()), Arc::clone(&environment));
            }
        }
        if let Some(keeper) = &parts.keeper
            && let Some(kept) = keeper.folder().read(KEYS_FILE)
        {
            // A file that cannot be read vouches for nobody.
            roster.restore(serde_json::from_slice(&kept).unwrap_or_default());
        }
        Arc::new(Self {
            parts,
            configured,
            roster: Mutex::new(roster),
            keys_unkept: AtomicBool::new(false),
            learnt: Mutex::default(),
            followed: Mutex::default(),
            feeds: Mutex::default(),
            asked: Mutex::default(),
            nobody: Mutex::default(),
        })
    }

    /// What it is made of.
    pub fn parts(&self) -> &HubParts {
        &self.parts
    }

    /// The stream that is asked for; it is begun if nobody has asked for it yet.
    ///
    /// # Errors
    /// [`Full`].
    pub fn feed(self: &Arc<Self>, stream: Stream, relay: IpAddr) -> Result<Feed, Full> {
        let key = self.parts.salt.of_key(stream.key());
        let id = self.parts.salt.digest(&[b"feed", stream.asked.path.as_bytes(), stream.key()]);
        if stream.is_of_flags() {
            self.note_asked(relay, key);
        }
        let vouch = self.vouch(&key);
        let mut feeds = held(&self.feeds);
        if let Some(feed) = feeds.get(&id).filter(|feed| feed.is_open()) {
            return Ok(feed.clone());
        }
        let strangers = feeds.values().filter(|feed| feed.is_stranger()).count();
        if feeds.len() >= FEEDS_MAX {
            return Err(Full::Streams);
        }
        if vouch == Vouch::Nobody && strangers >= STRANGERS_MAX {
            return Err(Full::Strangers);
        }
        let feed = Feed::start(FeedPlan { hub: Arc::clone(self), id, key, stream, stranger: vouch == Vouch::Nobody });
        feeds.insert(id, feed.clone());
        Ok(feed)
    }

    /// A stream has ended.
    pub fn ended(&self, id: &Digest) {
        let mut feeds = held(&self.feeds);
        // Another one may have begun in its place.
        if feeds.get(id).is_some_and(|feed| !feed.is_open()) {
            feeds.remove(id);
        }
    }

    /// Who vouches for a key.
    pub fn vouch(&self, key: &Digest) -> Vouch {
        held(&self.roster).vouch(key, Timestamp::now())
    }

    /// LaunchDarkly took a key.
    pub fn worked(&self, key: Digest) {
        if held(&self.roster).worked(key, Timestamp::now()) || self.keys_unkept.load(Ordering::Acquire) {
            self.keep_keys();
        }
    }

    /// LaunchDarkly does not take a key any more, and has said so for long enough.
    pub fn refused(&self, key: Digest) {
        held(&self.roster).refused(key);
        self.keep_keys();
    }

    /// An automatic configuration names these environments and keys.
    pub fn learn(&self, by: Digest, environments: &[LearntKeys], word: Word) {
        let mut keys = Vec::new();
        {
            let mut learnt = held(&self.learnt);
            for one in environments {
                let environment = self.parts.salt.digest(&[b"environment", one.environment.id.as_bytes()]);
                let expiring = one.expiring.as_ref().map(|(key, until)| (key.as_str(), Some(*until)));
                for (key, until) in std::iter::once((one.key.as_str(), None)).chain(expiring) {
                    let key = self.parts.salt.of_key(key.as_bytes());
                    keys.push(NamedKey { key, until, environment });
                    learnt.insert(key, one.environment.clone());
                }
            }
        }
        held(&self.roster).named(by, &keys, word);
        self.keep_keys();
        let feeds: Vec<Feed> = held(&self.feeds).values().cloned().collect();
        feeds.iter().for_each(Feed::learnt);
    }

    /// The environment that a stream is of, whose key has this digest.
    pub fn environment(&self, key: &Digest, stream: &Stream) -> Option<Found> {
        let filter = stream.filter.as_deref();
        if let Some(environment) = self.configured.get(&(*key, filter.map(str::to_owned))) {
            return Some((Arc::clone(environment), None));
        }
        let environment = held(&self.learnt).get(key).cloned()?;
        Some(self.placed(KeptPlace { environment, filter: filter.map(str::to_owned) }, stream))
    }

    /// An environment that was learnt, now or before.
    pub fn placed(&self, place: KeptPlace, stream: &Stream) -> Found {
        let mut environment = (self.parts.place)(&place.environment, place.filter.as_deref());
        if let Ok(key) = SdkKey::parse(&String::from_utf8_lossy(stream.key()))
            && !environment.sdk_keys.contains(&key)
        {
            environment.sdk_keys.push(key);
        }
        (Arc::new(environment), Some(place))
    }

    /// Follows the stores of an environment; `None` where it is not known where it is kept.
    pub fn follow(&self, environment: &Arc<GuardedEnvironment>) -> Option<FollowedEnvironment> {
        if environment.targets.is_empty() {
            return None;
        }
        let mut followed = held(&self.followed);
        if let Some(known) = followed.get(&environment.name).filter(|known| known.is_alive()) {
            return Some(known.clone());
        }
        let new =
            FollowedEnvironment::start(Arc::clone(environment), Arc::clone(&self.parts.follow), self.parts.shadow);
        followed.insert(environment.name.clone(), new.clone());
        Some(new)
    }

    /// Follows the stores of every configured environment: they hear of this guard before the first relay comes to it, and
    /// overrides are kept in them.
    pub fn follow_configured(&self) {
        for environment in self.configured.values() {
            self.follow(environment);
        }
        // Nobody comes for those of which no key is known; what is lost in their stores is put right all the same.
        let keyless = self.parts.environments.iter().filter(|environment| environment.sdk_keys.is_empty());
        for environment in keyless {
            self.follow(&Arc::new(environment.clone()));
        }
    }

    /// The machines whose relays asked lately with keys that neither these environments have nor anybody vouches for:
    /// relays there may have been given more environments by another guard, and would drop them if they got these.
    pub fn with_more_than(&self, environments: &[LearntKeys]) -> Vec<IpAddr> {
        let known: Vec<Digest> = environments
            .iter()
            .flat_map(|one| std::iter::once(&one.key).chain(one.expiring.as_ref().map(|(key, _)| key)))
            .map(|key| self.parts.salt.of_key(key.as_bytes()))
            .collect();
        let now = Instant::now();
        let asked: Vec<(IpAddr, Digest)> = held(&self.asked)
            .iter()
            .filter(|(_, asked)| now.saturating_duration_since(**asked) < ASKED_LATELY)
            .map(|(who, _)| *who)
            .collect();
        let is_more = |key: &Digest| !known.contains(key) && self.vouch(key) == Vouch::Nobody;
        asked.into_iter().filter(|(_, key)| is_more(key)).map(|(relay, _)| relay).collect()
    }

    /// Whether LaunchDarkly answers nobody: no stream is up, and one has waited for a while, or was broken off.
    pub fn nobody_is_answered(&self) -> bool {
        let now = Instant::now();
        let mut nobody = held(&self.nobody);
        // Every stream with a relay that waits asks, many times a second.
        match *nobody {
            Some((at, is_so)) if now.saturating_duration_since(at) < NOBODY_FOR => is_so,
            _ => nobody.insert((now, self.is_any_away_and_none_up())).1,
        }
    }

    fn is_any_away_and_none_up(&self) -> bool {
        let now = Timestamp::now();
        let patience = jiff::SignedDuration::try_from(NAMED_PATIENCE).unwrap_or_default();
        let mut is_any_away = false;
        for feed in held(&self.feeds).values() {
            let (up, since) = {
                let view = feed.view();
                (view.up, view.since)
            };
            match up {
                Some(true) => return false,
                Some(false) => is_any_away = true,
                None => is_any_away |= now.duration_since(since) >= patience,
            }
        }
        is_any_away
    }

    /// All streams as they are seen from outside, by environment.
    pub fn views(&self) -> Vec<FeedView> {
        let mut views: Vec<FeedView> = held(&self.feeds).values().map(|feed| feed.view().clone()).collect();
        views.sort_by(|one, other| (&one.environment, one.path).cmp(&(&other.environment, other.path)));
        views
    }

    /// Ends all connections to relays, each when it has what was sent to it, and keeps what is known.
    pub async fn stop(&self) {
        let feeds: Vec<Feed> = held(&self.feeds).values().cloned().collect();
        futures_util::future::join_all(feeds.iter().map(Feed::stop)).await;
        if let Some(keeper) = &self.parts.keeper {
            keeper.flush(Duration::from_secs(3)).await;
        }
    }

    fn note_asked(&self, relay: IpAddr, key: Digest) {
        let mut asked = held(&self.asked);
        let now = Instant::now();
        if asked.len() >= ASKED_MAX {
            asked.retain(|_, asked| now.saturating_duration_since(*asked) < ASKED_LATELY);
        }
        if asked.len() < ASKED_MAX {
            asked.insert((relay, key), now);
        }
    }

    fn keep_keys(&self) {
        let Some(keeper) = &self.parts.keeper else { return };
        let kept = held(&self.roster).kept();
        // If too much waits now, the next `put` of any stream has it written.
        let is_kept = keeper.keep(KEYS_FILE.to_owned(), move || serde_json::to_vec(&kept).unwrap_or_default());
        self.keys_unkept.store(!is_kept, Ordering::Release);
    }
}

/// For [`FeedPlan`]: the two ends of a view.
pub(super) fn view(environment: String, path: &'static str) -> (watch::Sender<FeedView>, watch::Receiver<FeedView>) {
    watch::channel(FeedView { environment, path, since: Timestamp::now(), ..FeedView::default() })
}
