//! Our own connections to the relays, opened before an edit is written, so that what connected SDKs get can be seen. They
//! never hold the write back for more than a second.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

use futures_util::future::join_all;

use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::commands::Context;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::place::Surroundings;
use crate::commands::relays::Before;
use crate::commands::relays::Fleet;
use crate::commands::sighting::Guarded;
use crate::commands::sighting::Sighting;
use crate::commands::targets::Chosen;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::relay::client::RelayClient;
use crate::relay::judgement;
use crate::relay::probe::Watch;
use crate::relay::served::Served;
use crate::relay::verdict::Observations;
use crate::relay::verdict::Proof;
use crate::relay::verdict::RelayFacts;
use crate::relay::verdict::verdict;

/// How long the write waits for connections to stand.
pub const READY_WITHIN: Duration = Duration::from_secs(1);

/// How long a broadcast is waited for. One that comes at all comes within milliseconds.
const BROADCAST_WITHIN: Duration = Duration::from_secs(1);

/// How many flags of a change are looked at through each relay; each costs two requests.
pub const FLAGS_MAX: usize = 20;

/// A relay before a target, and our connection to it.
pub struct Lookout<'f> {
    before: &'f Before<'f>,
    client: &'f RelayClient,
    watch: Option<Watch>,
    /// Whether it hangs on a guard.
    link: Link,
}

impl<'f> Lookout<'f> {
    /// Opens a connection where the SDK key is known, and returns at once.
    pub fn open(client: &'f RelayClient, before: &'f Before<'f>, link: Link, flags: &[FlagKey]) -> Self {
        let watch = before.key.as_ref().filter(|_| before.relay.status.is_ok()).map(|key| {
            let flags = &flags[..flags.len().min(FLAGS_MAX)];
            Watch::open(client, &before.relay.address, key, before.filter.as_deref(), flags)
        });
        Self { before, client, watch, link }
    }

    /// Waits until `until` for the connection to stand.
    pub async fn ready(&self, until: Instant) {
        if let Some(watch) = &self.watch {
            watch.ready(until.saturating_duration_since(Instant::now())).await;
        }
    }

    /// What the relay shows of a write that its store answered at `since`.
    pub async fn sighting(&self, flag: &FlagKey, write: &Write, since: Instant) -> Sighting {
        let status = self.before.relay.status.as_ref().ok();
        let major_version = status.and_then(crate::relay::status::RelayStatus::major_version);
        let proof = self.proof(flag, write, since, major_version).await;
        // Relays do not watch stores: where one broadcast the edit, it got it from a guard.
        let is_broadcast = matches!(proof, Proof::SawIt { .. });
        let guarded = match &self.link {
            Link::NoGuard => Guarded::NoGuard,
            Link::On(_) => Guarded::Held,
            Link::NotOn | Link::NotKnown if is_broadcast => Guarded::Held,
            Link::NotOn => Guarded::NotOn,
            Link::NotKnown => Guarded::NotKnown,
        };
        let on_return = status.zip(self.before.environment).map(|(status, environment)| {
            let mode = judgement::mode(status, self.before.configuration);
            judgement::on_return(environment, major_version, mode, guarded == Guarded::Held)
        });
        Sighting { relay: self.before.relay.address.label().to_owned(), proof, on_return, guarded }
    }

    async fn proof(&self, flag: &FlagKey, write: &Write, since: Instant, major_version: Option<u64>) -> Proof {
        if let Err(error) = &self.before.relay.status {
            return Proof::Unknown { why: error.to_string() };
        }
        let (Some(key), Some(watch), Some(after)) = (&self.before.key, &self.watch, &write.after) else {
            let why = "its SDK key is not known (RC_RELAY_CONFIG, LD_ENV_* or sdk_key_file would tell it)";
            return Proof::Unknown { why: why.to_owned() };
        };
        let is_it = |served: &Served| {
            let same = |text: &str| Record::parse(text.as_bytes()).is_ok_and(|record| record.same_value(after));
            !served.deleted && same(&served.text)
        };
        let watched = watch.saw(flag, since, BROADCAST_WITHIN, is_it).await;
        let facts = RelayFacts::of(
            self.before.environment,
            major_version,
            self.before.configuration.map(|configuration| configuration.cache_time),
        );
        let seen = Observations::of(watched.clone(), None, is_it);
        if let proof @ Proof::SawIt { .. } = verdict(&seen, &facts) {
            return proof;
        }
        let relay = &self.before.relay.address;
        let filter = self.before.filter.as_deref();
        let fresh = self
            .client
            .fresh(relay, key, filter, flag, write.before.as_ref().map(Record::version), BROADCAST_WITHIN)
            .await;
        verdict(&Observations::of(watched, Some(&fresh), is_it), &facts)
    }
}

/// The connections before each target of each environment.
pub type Lookouts<'f> = BTreeMap<&'f Target, Vec<Lookout<'f>>>;

/// The relays before each target of `chosen`.
///
/// # Errors
/// Where an SDK key that the settings name cannot be read.
pub fn relays_before<'f>(
    context: &Context<'_>,
    surroundings: &'f Surroundings,
    chosen: &BTreeMap<Environment, Vec<Chosen>>,
) -> Result<BTreeMap<Target, Vec<Before<'f>>>, Failure> {
    let mut all = BTreeMap::new();
    if surroundings.fleet.client.is_none() {
        return Ok(all);
    }
    for (environment, chosen) in chosen {
        let key = surroundings.given_key(context, environment)?;
        let before = surroundings.relays_before(environment, chosen, key.as_ref());
        all.extend(chosen.iter().map(|chosen| chosen.target.clone()).zip(before));
    }
    Ok(all)
}

/// Opens a connection to every relay whose SDK key is known, and returns at once.
pub fn open<'f>(
    client: Option<&'f RelayClient>,
    before: &'f BTreeMap<Target, Vec<Before<'f>>>,
    guards: &Guards,
    flags_of: impl Fn(&Target) -> Vec<FlagKey>,
) -> Lookouts<'f> {
    let Some(client) = client else { return BTreeMap::new() };
    let open = |(target, before): (&'f Target, &'f Vec<Before<'f>>)| {
        let flags = flags_of(target);
        let links = guards.links(target, before);
        let open = |(before, link): (&'f Before<'f>, Link)| Lookout::open(client, before, link, &flags);
        (target, before.iter().zip(links).map(open).collect())
    };
    before.iter().map(open).collect()
}

/// The relays that say they are connected to LaunchDarkly, and are not known to mean a guard by that: those that hang on
/// none, and those of which that is not known.
pub fn unguarded<'f>(fleet: &'f Fleet, lookouts: &Lookouts<'_>) -> Unguarded<'f> {
    let mut unguarded = Unguarded::default();
    for relay in &fleet.relays {
        let environments = relay.status.as_ref().map(|status| status.environments.as_slice()).unwrap_or_default();
        if environments.iter().all(|entry| judgement::cut_off(entry).is_some()) {
            continue;
        }
        let label = relay.address.label();
        let of_it = lookouts.values().flatten().filter(|lookout| lookout.before.relay.address.label() == label);
        let links: Vec<&Link> = of_it.map(|lookout| &lookout.link).collect();
        if links.is_empty() || links.iter().any(|link| !link.may_be_on()) {
            unguarded.connected.push(label);
        } else if links.iter().any(|link| !link.is_on()) {
            unguarded.not_known.push(label);
        }
    }
    unguarded
}

/// Relays by label, by what their being connected means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unguarded<'f> {
    /// They hear from LaunchDarkly.
    pub connected: Vec<&'f str>,
    /// They hear from LaunchDarkly, or from a guard.
    pub not_known: Vec<&'f str>,
}

/// Waits for all connections at once, at most [`READY_WITHIN`] from `started`.
pub async fn all_ready(lookouts: &Lookouts<'_>, started: Instant) {
    let until = started + READY_WITHIN;
    join_all(lookouts.values().flatten().map(|lookout| lookout.ready(until))).await;
}
