//! LaunchDarkly's own data path, as relays show it: connections to their streams, opened before anything is sent, see the
//! broadcast that follows. What a relay had before proves nothing, since it reads the very record that we put into its
//! store; only what comes as a broadcast afterwards counts. And only of relays that are on no guard: a guard overlays even
//! LaunchDarkly's answer, as long as no store tells it that the override was sent, and ends the override by itself.

use std::time::Duration;

use tokio::time::Instant;

use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::owed::Subject;
use crate::commands::targets::Chosen;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::relay::probe::Watch;

/// The most connections that are opened.
const WATCHES_MAX: usize = 16;
/// How long the connections may take to stand before it goes on without them.
const READY_MAX: Duration = Duration::from_secs(1);
/// How long a broadcast is waited for once LaunchDarkly has the patch, altogether.
const BROADCAST_MAX: Duration = Duration::from_secs(2);

/// What is watched.
#[derive(Debug, Default)]
pub struct Evidence {
    watches: Vec<(Environment, Watch)>,
    opened: Option<Instant>,
}

impl Evidence {
    /// Opens a connection to a relay before each target of the environments of `subjects`, as far as relays and SDK
    /// keys are known.
    pub async fn open(
        context: &Context<'_>,
        surroundings: &Surroundings,
        views: &[EnvironmentView<'_>],
        subjects: &[Subject],
    ) -> Self {
        let Some(client) = &surroundings.fleet.client else { return Self::default() };
        let targets = views.iter().filter_map(|view| view.targets.as_ref().ok()).flatten();
        let targets: Vec<Target> = targets.map(|target| target.chosen.target.clone()).collect();
        let guards = Guards::look(&surroundings.stores, targets).await;
        let mut watches = Vec::new();
        for view in views {
            let environment = &view.environment;
            let flags: Vec<FlagKey> =
                subjects.iter().filter(|(of, _)| of == environment).map(|(_, flag)| flag.clone()).collect();
            let Ok(targets) = &view.targets else { continue };
            if flags.is_empty() {
                continue;
            }
            let chosen: Vec<Chosen> = targets.iter().map(|target| target.chosen.clone()).collect();
            let key = surroundings.given_key(context, environment).ok().flatten();
            let before = surroundings.fleet.before(
                environment,
                &chosen,
                &surroundings.addresses(),
                &surroundings.configurations,
                key.as_ref(),
            );
            let unguarded = chosen.iter().zip(&before).flat_map(|(chosen, before)| {
                let links = guards.links(&chosen.target, before);
                before.iter().zip(links).filter(|(_, link)| !link.may_be_on()).map(|(before, _)| before)
            });
            for before in unguarded.take(WATCHES_MAX.saturating_sub(watches.len())) {
                if let Some(key) = &before.key {
                    let watch = Watch::open(client, &before.relay.address, key, before.filter.as_deref(), &flags);
                    watches.push((environment.clone(), watch));
                }
            }
        }
        let ready = watches.iter().map(|(_, watch)| watch.ready(READY_MAX));
        futures_util::future::join_all(ready).await;
        Self { watches, opened: Some(Instant::now()) }
    }

    /// Whether anything is watched at all.
    pub fn is_none(&self) -> bool {
        self.watches.is_empty()
    }

    /// LaunchDarkly's own record of `version` or a later one, if a relay has broadcast it since.
    pub fn shown(&self, subject: &Subject, version: u64) -> Option<Record> {
        let of = self.watches.iter().filter(|(environment, _)| *environment == subject.0);
        of.filter_map(|(_, watch)| {
            // What stood there when we connected came from the store.
            let served = watch.broadcast(&subject.1)?;
            Record::parse(served.text.as_bytes()).ok().filter(|record| record.version() >= version)
        })
        .max_by_key(Record::version)
    }

    /// Waits until relays have broadcast all of these, at most for a moment.
    pub async fn wait(&self, wanted: &[(Subject, u64)]) {
        let Some(opened) = self.opened.filter(|_| !self.watches.is_empty()) else { return };
        let all = wanted.iter().flat_map(|(subject, version)| {
            let watches = self.watches.iter().filter(move |(environment, _)| *environment == subject.0);
            watches.map(move |(_, watch)| async move {
                let is_it = |served: &crate::relay::served::Served| served.version >= *version;
                watch.saw(&subject.1, opened, BROADCAST_MAX, is_it).await;
            })
        });
        let all = futures_util::future::join_all(all);
        let _ = tokio::time::timeout(BROADCAST_MAX, all).await;
    }
}
