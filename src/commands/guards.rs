//! The guards that announced themselves beside targets, and which relays hang on one. A relay behind a guard always says
//! that it is connected, and its status does not show its stream's address: so what is known is put together from what the
//! guard says (who hangs on it, with which key), from the relay's configuration and from the address at which it answers.
//! Nothing more is said than that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures_util::future::join_all;

use crate::change::target::Target;
use crate::commands::relays::Before;
use crate::commands::survey;
use crate::commands::survey::Stores;
use crate::flag::key::FlagKey;
use crate::guard::presence::Holds;
use crate::guard::presence::OverrideWord;
use crate::guard::presence::Presence;
use crate::guard::presence::key_mark;
use crate::relay::configuration::RelayConfiguration;
use crate::relay::sdk_key::SdkKey;

/// What is announced beside one target.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The guards there, by name.
    pub guards: Vec<Presence>,
    /// Those that cannot be understood: name and why.
    pub strange: Vec<(String, String)>,
    /// Why it could not be asked.
    pub problem: Option<String>,
}

/// Whether a relay hangs on a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// There is none that holds anything.
    NoGuard,
    /// It hangs on this one, or one of several, by name.
    On(String),
    /// There is one, and this relay is not on it.
    NotOn,
    /// There is one; whether this relay is on it is not known.
    NotKnown,
}

impl Link {
    /// Whether a guard holds the relay for certain.
    pub fn is_on(&self) -> bool {
        matches!(self, Link::On(_))
    }

    /// Whether the relay's own word about its connection may be about a guard.
    pub fn may_be_on(&self) -> bool {
        matches!(self, Link::On(_) | Link::NotKnown)
    }
}

/// The guards beside targets.
#[derive(Debug, Default)]
pub struct Guards {
    beside: BTreeMap<Target, Beside>,
}

/// What is known of a relay before a target.
#[derive(Debug, Clone, Copy)]
pub struct RelayFacts<'a> {
    /// The environment's SDK key.
    pub key: Option<&'a SdkKey>,
    /// The relay's own configuration.
    pub configuration: Option<&'a RelayConfiguration>,
    /// From where it answers.
    pub address: Option<IpAddr>,
    /// How many relays stand before the target.
    pub relays: usize,
}

impl Guards {
    /// Looks beside targets, all at once.
    pub async fn look(stores: &Stores, targets: impl IntoIterator<Item = Target>) -> Self {
        Self::default().with(stores, targets).await
    }

    /// Looks beside those of `targets` that were not looked at yet.
    pub async fn with(mut self, stores: &Stores, targets: impl IntoIterator<Item = Target>) -> Self {
        let new = targets.into_iter().filter(|target| !self.beside.contains_key(target));
        let looking = new.filter_map(|target| {
            let store = survey::store_of(stores, &target)?;
            Some(async move {
                let announced = store.announced(&target.prefix).await;
                (target, announced)
            })
        });
        for (target, announced) in join_all(looking).await {
            let mut beside = Beside::default();
            match announced {
                Ok(announced) => {
                    for announcement in announced {
                        match Presence::read(&announcement) {
                            Ok(presence) => beside.guards.push(presence),
                            Err(why) => beside.strange.push((announcement.name, why)),
                        }
                    }
                }
                Err(error) => beside.problem = Some(error.to_string()),
            }
            beside.guards.sort_by(|one, other| one.name.cmp(&other.name));
            self.beside.insert(target, beside);
        }
        self
    }

    /// What is beside a target.
    pub fn beside(&self, target: &Target) -> Option<&Beside> {
        self.beside.get(target)
    }

    /// Whether a guard has the relays before a target broadcast, and store, what it makes of overrides.
    pub fn hold(&self, target: &Target) -> bool {
        self.beside.get(target).is_some_and(|beside| beside.guards.iter().any(Presence::holds_relays))
    }

    /// Every guard once, by the newest thing it said.
    pub fn all(&self) -> Vec<&Presence> {
        let mut all: BTreeMap<&str, &Presence> = BTreeMap::new();
        for presence in self.beside.values().flat_map(|beside| &beside.guards) {
            let known = all.entry(&presence.name).or_insert(presence);
            if presence.at > known.at {
                *known = presence;
            }
        }
        all.into_values().collect()
    }

    /// Whether the relay before `target` hangs on a guard.
    pub fn link(&self, target: &Target, relay: RelayFacts<'_>) -> Link {
        self.beside.get(target).map_or(Link::NoGuard, |beside| link(&beside.guards, relay))
    }

    /// [`Guards::link`] for each of the relays before a target.
    pub fn links(&self, target: &Target, before: &[Before<'_>]) -> Vec<Link> {
        let facts = |one: &Before<'_>| self.link(target, one.facts(before.len()));
        before.iter().map(facts).collect()
    }

    /// What guards say of an override that is not simply held: `in conflict, says guard eu-1: …`.
    pub fn troubles(&self, targets: impl IntoIterator<Item = Target>, flag: &FlagKey) -> Vec<String> {
        let mut told: BTreeMap<&str, String> = BTreeMap::new();
        for target in targets {
            for guard in self.beside.get(&target).into_iter().flat_map(|beside| &beside.guards) {
                for word in guard.overrides.iter().filter(|word| word.flag == *flag) {
                    if let Some(trouble) = trouble(word) {
                        told.insert(&guard.name, format!("{trouble}, says guard {}", guard.name));
                    }
                }
            }
        }
        told.into_values().collect()
    }
}

fn trouble(word: &OverrideWord) -> Option<String> {
    let why = word.told.as_deref().map(|told| format!(" ({told})")).unwrap_or_default();
    match word.holds {
        Holds::Held | Holds::Arrived => None,
        Holds::HeldInConflict => Some(format!("held IN CONFLICT{why}")),
        Holds::GivenWay => Some(format!("NOT HELD, LaunchDarkly's value goes through{why}")),
        Holds::Gone => Some("NOT HELD, LaunchDarkly deleted the flag".to_owned()),
        Holds::Failed => Some(format!("NOT HELD, it cannot be applied{why}")),
        Holds::Unknown => Some(format!("served in a way that this program does not know{why}")),
    }
}

/// Whether a relay hangs on one of these guards. Each step says no more than its evidence does:
///
/// 1. A guard that only looks on, or watches stores alone, holds no relay.
/// 2. A guard on which nobody hangs with the environment's key has not got this relay either.
/// 3. A relay that answers from the address from which one hangs on the guard is that one; not so on the loopback, where
///    all are alike.
/// 4. A relay whose configuration names LaunchDarkly, or nothing, as its stream is on no guard.
/// 5. A relay whose configuration names the guard's port is on it, if as many hang there as there are relays.
fn link(guards: &[Presence], relay: RelayFacts<'_>) -> Link {
    let mut holding = guards.iter().filter(|guard| guard.holds_relays()).peekable();
    if holding.peek().is_none() {
        return Link::NoGuard;
    }
    let has_key = |guard: &&Presence| {
        let mark = relay.key.map(|key| key_mark(&guard.name, key));
        mark.is_none_or(|mark| guard.keys.is_empty() || guard.keys.contains(&mark))
    };
    let with_relays: Vec<&Presence> = holding.filter(has_key).filter(|guard| guard.relay_count() > 0).collect();
    if with_relays.is_empty() {
        return Link::NotOn;
    }
    let is_it = |guard: &&&Presence| {
        let same = |address: IpAddr| guard.relays.iter().any(|relay| relay.address == address);
        relay.address.filter(|address| !address.is_loopback()).is_some_and(same)
    };
    if let Some(guard) = with_relays.iter().find(is_it) {
        return Link::On(guard.name.clone());
    }
    let Some(configuration) = relay.configuration else { return Link::NotKnown };
    let Some((host, port)) = configuration.stream_host() else { return Link::NotOn };
    if is_launchdarkly(&host) {
        return Link::NotOn;
    }
    let listens = |guard: &&&Presence| {
        let named = host.parse::<IpAddr>().ok();
        // A name may be that of any of the machine's addresses.
        guard.listens.is_some_and(|listens| {
            let address = listens.ip();
            listens.port() == port && (address.is_unspecified() || named.is_none_or(|named| named == address))
        })
    };
    let hanging: usize = with_relays.iter().map(|guard| guard.relay_count()).sum();
    match with_relays.iter().find(listens) {
        Some(guard) if hanging >= relay.relays => Link::On(guard.name.clone()),
        _ => Link::NotKnown,
    }
}

/// LaunchDarkly's own hosts.
fn is_launchdarkly(host: &str) -> bool {
    ["launchdarkly.com", "launchdarkly.us"].iter().any(|own| host == *own || host.ends_with(&format!(".{own}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::presence::RelayWord;
    use crate::guard::presence::StreamWord;

    const KEY: &str = "sdk-production-0001";

    fn guard(name: &str, relays: &[[u8; 4]]) -> Presence {
        let key = SdkKey::parse(KEY).unwrap();
        let relay = |address: &[u8; 4]| RelayWord { address: (*address).into(), agent: "LDRelay/8.10.1".to_owned() };
        let at = "2026-10-20T02:14:07Z".parse().unwrap();
        Presence {
            format: 1,
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            since: at,
            at,
            environment: "shop/production".to_owned(),
            listens: Some("0.0.0.0:8031".parse().unwrap()),
            shadow: false,
            stream: StreamWord { up: Some(false), since: at, told: None },
            relays: relays.iter().map(relay).collect(),
            more_relays: 0,
            keys: vec![key_mark(name, &key)],
            overrides: Vec::new(),
            more_overrides: 0,
            namesake: None,
        }
    }

    fn configuration(stream: &str) -> RelayConfiguration {
        let stream = if stream.is_empty() { String::new() } else { format!("streamUri = {stream}\n") };
        let text = format!("[Main]\n{stream}[Environment \"a\"]\nsdkKey = {KEY}\n");
        RelayConfiguration::from_file(&text, "x").unwrap()
    }

    #[track_caller]
    fn case(guards: &[Presence], address: Option<[u8; 4]>, key: &str, stream: Option<&str>, expected: &Link) {
        let configuration = stream.map(configuration);
        let key = SdkKey::parse(key).ok();
        let facts = RelayFacts {
            key: key.as_ref(),
            configuration: configuration.as_ref(),
            address: address.map(IpAddr::from),
            relays: 2,
        };
        assert_eq!(link(guards, facts), *expected);
    }

    #[test]
    fn no_more_is_said_than_is_known() {
        let on = |name: &str| Link::On(name.to_owned());
        let two = [[10, 0, 0, 1], [10, 0, 0, 2]];
        let there = || [guard("g1", &two)];
        case(&[], Some([10, 0, 0, 1]), KEY, None, &Link::NoGuard);
        case(&[Presence { shadow: true, ..guard("g1", &two) }], Some([10, 0, 0, 1]), KEY, None, &Link::NoGuard);
        // Who hangs on it says it.
        case(&there(), Some([10, 0, 0, 2]), KEY, None, &on("g1"));
        case(&[guard("g1", &[]), guard("g2", &two)], Some([10, 0, 0, 2]), KEY, None, &on("g2"));
        case(&there(), Some([10, 0, 0, 2]), "sdk-another", None, &Link::NotOn);
        case(&[guard("g1", &[])], Some([10, 0, 0, 2]), KEY, Some("http://guard:8031"), &Link::NotOn);
        // Behind a load balancer, or on one machine, addresses say nothing.
        case(&there(), Some([10, 0, 9, 9]), KEY, None, &Link::NotKnown);
        case(&[guard("g1", &[[127, 0, 0, 1]])], Some([127, 0, 0, 1]), KEY, None, &Link::NotKnown);
        case(&there(), None, "", None, &Link::NotKnown);
    }

    #[test]
    fn a_relays_configuration_says_where_it_hangs() {
        let two = [[10, 0, 0, 1], [10, 0, 0, 2]];
        let (there, on) = ([guard("g1", &two)], Link::On("g1".to_owned()));
        case(&there, None, KEY, Some("http://guard:8031"), &on);
        case(&there, None, KEY, Some("http://127.0.0.1:8031/"), &on);
        case(&there, None, KEY, Some(""), &Link::NotOn);
        case(&there, None, KEY, Some("https://stream.launchdarkly.com"), &Link::NotOn);
        case(&there, None, KEY, Some("https://stream.eu.launchdarkly.com"), &Link::NotOn);
        // Something in between, which may lead there.
        case(&there, None, KEY, Some("http://guards.example"), &Link::NotKnown);
        // One of two has not been restarted with it.
        case(&[guard("g1", &two[..1])], None, KEY, Some("http://guard:8031"), &Link::NotKnown);
        let elsewhere = Presence { listens: Some("10.0.0.9:8031".parse().unwrap()), ..guard("g1", &two) };
        case(&[elsewhere], None, KEY, Some("http://10.0.0.8:8031"), &Link::NotKnown);
    }
}
