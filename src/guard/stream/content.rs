//! What a stream is about: the flags of an environment, or a relay's automatic configuration. It joins the two with the
//! guard's folder and with the stores of environments; the task of the stream need not know which it is.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;

use crate::guard::cache::KeptPlace;
use crate::guard::cache::Seen;
use crate::guard::cache::read_state;
use crate::guard::serving::Nothing;
use crate::guard::serving::Served;
use crate::guard::stream::actor::Taken;
use crate::guard::stream::channel::StoresWord;
use crate::guard::stream::configuration::Configuration;
use crate::guard::stream::event::Event;
use crate::guard::stream::feed::FeedPlan;
use crate::guard::stream::flags::Flags;
use crate::guard::stream::followed::FollowedEnvironment;
use crate::guard::stream::keeping;
use crate::guard::stream::state::NotUnderstood;
use crate::guard::stream::view::FeedView;
use crate::ui::secret::Secret;

/// What a stream of automatic configuration is called in messages.
const CONFIGURATION_NAME: &str = "the automatic configuration";

/// A key at least this long is told apart by its last characters, as a relay's own status does.
const KEY_LENGTH_MIN: usize = 20;
const TAIL_LENGTH: usize = 5;

/// What a stream is about.
pub(super) enum Content {
    /// An environment's flags.
    Flags(Box<Flags>),
    /// A relay's automatic configuration.
    Configuration(Box<Configuration>),
}

impl Content {
    /// What this stream is about; nothing is known of it yet.
    pub(super) fn of(plan: &FeedPlan) -> Self {
        let parts = plan.hub.parts();
        if plan.stream.is_of_flags() {
            let name = unknown(plan);
            let flags = Flags::new(name, parts.on_conflict, parts.shadow, parts.alarms.clone());
            return Content::Flags(Box::new(flags));
        }
        let secret = Secret::new(String::from_utf8_lossy(plan.stream.key()).into_owned());
        Content::Configuration(Box::new(Configuration::new(secret)))
    }

    /// Its name, for people.
    pub(super) fn name(&self) -> &str {
        match self {
            Content::Flags(flags) => flags.name(),
            Content::Configuration(_) => CONFIGURATION_NAME,
        }
    }

    /// Takes what was kept in the guard's folder.
    pub(super) async fn remember(&mut self, plan: &FeedPlan) {
        let Some(keeper) = &plan.hub.parts().keeper else { return };
        let folder = Arc::clone(keeper.folder());
        let id = plan.id;
        match self {
            Content::Flags(flags) => {
                let read = move || {
                    let state = folder.read(&keeping::state_file(&id)).and_then(read_state);
                    let seen = folder.read(&keeping::seen_file(&id));
                    (state, seen.and_then(|seen| serde_json::from_slice::<Seen>(&seen).ok()))
                };
                let Ok((state, seen)) = tokio::task::spawn_blocking(read).await else { return };
                flags.remember(state, seen);
            }
            Content::Configuration(configuration) => {
                let read = tokio::task::spawn_blocking(move || folder.read(&keeping::sealed_file(&id))).await;
                if let Ok(Some(sealed)) = read {
                    configuration.remember(&sealed);
                }
            }
        }
    }

    /// Finds out which environment this is of; its stores, where they are known and were not before.
    pub(super) fn settle_place(&mut self, plan: &FeedPlan) -> Option<FollowedEnvironment> {
        let Content::Flags(flags) = self else { return None };
        let hub = &plan.hub;
        let found = hub.environment(&plan.key, &plan.stream);
        let found = found.or_else(|| Some(hub.placed(flags.place()?.clone(), &plan.stream)));
        let (environment, place) = found?;
        flags.is_of(environment.name.clone(), place);
        let followed = hub.follow(&environment)?;
        let known = followed.environment();
        flags.follow(Arc::clone(followed.stores()), known.cache_time, Instant::now(), Timestamp::now());
        Some(followed)
    }

    /// Takes an event of LaunchDarkly's.
    pub(super) fn event(&mut self, event: &Event, at: Timestamp) -> Result<Taken, NotUnderstood> {
        match self {
            Content::Flags(flags) => Ok(Taken { send: flags.event(event, at)?, ..Taken::default() }),
            Content::Configuration(configuration) => {
                let outcome = configuration.event(event)?;
                Ok(Taken { send: outcome.send, learnt: outcome.changed, reconnect: outcome.reconnect })
            }
        }
    }

    /// Takes what stores told.
    pub(super) fn word(&mut self, word: StoresWord, now: Instant) -> Vec<Bytes> {
        match self {
            Content::Flags(flags) => flags.word(word, now),
            Content::Configuration(_) => Vec::new(),
        }
    }

    /// Takes what stores hold as a whole.
    pub(super) fn restore(&mut self, served: Result<Served, Nothing>) -> Vec<Bytes> {
        match self {
            Content::Flags(flags) => flags.restore(served),
            Content::Configuration(_) => Vec::new(),
        }
    }

    /// LaunchDarkly's stream has told everything.
    pub(super) fn is_live(&mut self) {
        if let Content::Flags(flags) = self {
            flags.is_live();
        }
    }

    /// What is to be sent again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Bytes> {
        match self {
            Content::Flags(flags) => flags.due(now),
            Content::Configuration(_) => Vec::new(),
        }
    }

    /// When something is to be sent again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match self {
            Content::Flags(flags) => flags.next_due(),
            Content::Configuration(_) => None,
        }
    }

    /// The first event of a new relay.
    pub(super) fn first(&mut self) -> Option<Bytes> {
        match self {
            Content::Flags(flags) => flags.first(),
            Content::Configuration(configuration) => configuration.first(),
        }
    }

    /// The part of the view that is about it.
    pub(super) fn view(&self, now: Instant) -> FeedView {
        let environment = self.name().to_owned();
        match self {
            Content::Flags(flags) => FeedView { environment, ..flags.view(now) },
            Content::Configuration(configuration) => FeedView {
                environment,
                overrides_known: true,
                environments: configuration.environments().len(),
                ..FeedView::default()
            },
        }
    }

    /// How it is to be kept where it was learnt of which environment it is.
    pub(super) fn place(&self) -> Option<&KeptPlace> {
        match self {
            Content::Flags(flags) => flags.place(),
            Content::Configuration(_) => None,
        }
    }
}

/// What stands for the environment's name where that is not known.
fn unknown(plan: &FeedPlan) -> String {
    let key = String::from_utf8_lossy(plan.stream.key());
    let tail = key.get(key.len().saturating_sub(TAIL_LENGTH)..).filter(|_| key.len() >= KEY_LENGTH_MIN);
    let filter = plan.stream.filter.as_ref().map(|filter| format!("/{filter}")).unwrap_or_default();
    match tail {
        Some(tail) => format!("the unknown key …{tail}{filter}"),
        None => format!("an unknown key{filter}"),
    }
}
