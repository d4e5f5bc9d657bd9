//! LaunchDarkly's own data path, as far as it can be seen: as relays show it, and as LaunchDarkly tells it to SDKs that poll
//! (`delivered`). Connections to the relays' streams, opened before anything is sent, see the broadcast that follows. What a
//! relay had before proves nothing, since it reads the very record that we put into its store; only what comes as a
//! broadcast afterwards counts. A relay on a guard's stream broadcasts what the guard makes of LaunchDarkly's
//! record, and proves nothing: none before a target that a guard holds is listened to.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::Either;
use futures_util::future::select;
use tokio::time::Instant;

use crate::change::override_::Override;
use crate::change::settle;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::delivered::Delivered;
use crate::commands::replay::delivered::Wanted;
use crate::commands::replay::owed::Subject;
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
    delivered: Delivered,
}

impl Evidence {
    /// Opens a connection to a relay before each target of the environments of `subjects`, as far as relays and SDK
    /// keys are known.
    pub async fn open(
        context: &Context<'_>,
        surroundings: &Surroundings,
        views: &[EnvironmentView<'_>],
        subjects: &[Subject],
        guards: &Guards,
    ) -> Self {
        let delivered = Delivered::new(context, surroundings, views);
        let Some(client) = &surroundings.fleet.client else { return Self { delivered, ..Self::default() } };
        let mut watches = Vec::new();
        for view in views {
            let environment = &view.environment;
            let flags: Vec<FlagKey> =
                subjects.iter().filter(|(of, _)| of == environment).map(|(_, flag)| flag.clone()).collect();
            if flags.is_empty() {
                continue;
            }
            let before = view.relays_before(context, surroundings).into_iter();
            let own = before.filter(|(chosen, _)| !guards.hold(&chosen.target));
            for before in own.flat_map(|(_, before)| before).take(WATCHES_MAX.saturating_sub(watches.len())) {
                if let Some(key) = &before.key {
                    let watch = Watch::open(client, &before.relay.address, key, before.filter.as_deref(), &flags);
                    watches.push((environment.clone(), watch));
                }
            }
        }
        let ready = watches.iter().map(|(_, watch)| watch.ready(READY_MAX));
        futures_util::future::join_all(ready).await;
        Self { watches, opened: Some(Instant::now()), delivered }
    }

    /// Where nothing is sent, there is no broadcast to wait for.
    pub fn without_relays(context: &Context<'_>, surroundings: &Surroundings, views: &[EnvironmentView<'_>]) -> Self {
        Self { delivered: Delivered::new(context, surroundings, views), ..Self::default() }
    }

    /// LaunchDarkly's own record of `version` or a later one, if a relay has broadcast it since, or LaunchDarkly has told it
    /// to us as to an SDK.
    pub fn shown(&self, subject: &Subject, override_: &Override, version: u64) -> Option<Record> {
        let delivered = self.delivered.shown(subject, version);
        // A guard that was begun a moment ago may not be known yet.
        let is_certain = |shown: &Record| !settle::may_be_overlaid(shown, override_, version);
        self.broadcast(subject, version).filter(is_certain).into_iter().chain(delivered).max_by_key(Record::version)
    }

    fn broadcast(&self, subject: &Subject, version: u64) -> Option<Record> {
        let of = self.watches.iter().filter(|(environment, _)| *environment == subject.0);
        of.filter_map(|(_, watch)| {
            // What stood there when we connected came from the store.
            let served = watch.broadcast(&subject.1)?;
            Record::parse(served.text.as_bytes()).ok().filter(|record| record.version() >= version)
        })
        .max_by_key(Record::version)
    }

    /// Waits until LaunchDarkly's data path shows all of these; at most for a moment.
    pub async fn wait(&self, wanted: &[Wanted<'_>]) {
        let is_shown = |one: &Wanted<'_>| self.shown(one.subject, one.override_, one.version).is_some();
        let relays = pin!(self.wait_for_broadcasts(wanted));
        let asked = pin!(self.delivered.ask(wanted, true, is_shown));
        match select(relays, asked).await {
            _ if wanted.iter().all(is_shown) => {}
            Either::Left(((), asked)) => asked.await,
            Either::Right(((), relays)) => relays.await,
        }
    }

    /// Asks LaunchDarkly once whether its data path shows these, which were sent some time ago.
    pub async fn ask(&self, wanted: &[Wanted<'_>]) {
        self.delivered.ask(wanted, false, |one| self.shown(one.subject, one.override_, one.version).is_some()).await;
    }

    /// Why LaunchDarkly could not be asked for evidence.
    pub fn problems(&self) -> Vec<String> {
        self.delivered.problems()
    }

    async fn wait_for_broadcasts(&self, wanted: &[Wanted<'_>]) {
        let Some(opened) = self.opened.filter(|_| !self.watches.is_empty()) else { return };
        let sent = wanted.iter().filter(|one| one.just_sent);
        let all = sent.flat_map(|Wanted { subject, version, .. }| {
            let watches = self.watches.iter().filter(|(environment, _)| *environment == subject.0);
            watches.map(move |(_, watch)| async move {
                let is_it = |served: &crate::relay::served::Served| served.version >= *version;
                watch.saw(&subject.1, opened, BROADCAST_MAX, is_it).await;
            })
        });
        let all = futures_util::future::join_all(all);
        let _ = tokio::time::timeout(BROADCAST_MAX, all).await;
    }
}
