//! From what was observed at a relay to what can be said: who has the edit, who will have it and when, who never will.
//! Pure. Nothing is claimed that was not seen: a rule only says why something was not seen, and what a relay of that
//! kind does next (launchdarkly.md 9.2 to 9.4).

use std::time::Duration;

use crate::relay::cache_time::CacheTime;
use crate::relay::probe::Fresh;
use crate::relay::probe::Polled;
use crate::relay::probe::Sight;
use crate::relay::served::Served;
use crate::relay::status::ConnectionState;
use crate::relay::status::EnvironmentStatus;

/// What somebody who asks anew gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The edit.
    New,
    /// Something else: the record before, or nothing.
    Old,
    /// It could not be asked.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Shown {
    fn of<E: std::fmt::Display>(answer: &Result<Option<&Served>, E>, is_it: impl Fn(&Served) -> bool) -> Self {
        match answer {
            Ok(served) if served.is_some_and(is_it) => Self::New,
            Ok(_) => Self::Old,
            Err(error) => Self::Unknown { why: error.to_string() },
        }
    }
}

/// All that was observed of one edit at one relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observations {
    /// What the connection saw that was opened before the edit.
    pub watched: Sight,
    /// What a new connection begins with.
    pub connected: Shown,
    /// What one who polls gets.
    pub polled: Shown,
    /// Whether one who polls and holds the version from before is told that nothing changed.
    pub unchanged: Option<bool>,
}

impl Observations {
    /// Puts together what was seen; `is_it` recognises the edit's record. Without `fresh` the watch must have seen it.
    pub fn of(watched: Sight, fresh: Option<&Fresh>, is_it: impl Fn(&Served) -> bool) -> Self {
        let not_asked = Shown::Unknown { why: "it was not asked".to_owned() };
        let connected = fresh.map(|fresh| Shown::of(&fresh.connected.as_ref().map(Option::as_ref), &is_it));
        let polled = fresh.map(|fresh| {
            let record = fresh.polled.as_ref().map(|polled: &Polled| polled.served.as_ref());
            Shown::of(&record, &is_it)
        });
        Self {
            watched,
            connected: connected.unwrap_or_else(|| not_asked.clone()),
            polled: polled.unwrap_or(not_asked),
            unchanged: fresh.and_then(|fresh| fresh.polled.as_ref().ok()?.unchanged),
        }
    }
}

/// What is known of a relay and decides who sees an edit of its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayFacts {
    /// The first number of its version.
    pub major_version: Option<u64>,
    /// Whether it has had data from LaunchDarkly since it started. `None`: its status is not known.
    pub warm: Option<bool>,
    /// Whether it has a database at all. `None`: not known.
    pub has_database: Option<bool>,
    /// Its cache time; `None` where its configuration is not known.
    pub cache_time: Option<CacheTime>,
}

impl RelayFacts {
    /// Gathers the facts. A relay that is connected, or was before it was cut off, is warm.
    pub fn of(
        environment: Option<&EnvironmentStatus>,
        major_version: Option<u64>,
        cache_time: Option<CacheTime>,
    ) -> Self {
        let warm = environment.and_then(|environment| match environment.state {
            ConnectionState::Valid | ConnectionState::Interrupted => Some(true),
            ConnectionState::Initializing => Some(false),
            ConnectionState::Off | ConnectionState::Other(_) => None,
        });
        let has_database = environment.map(|environment| environment.store.database.is_some());
        Self { major_version, warm, has_database, cache_time }
    }
}

/// Who has an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Our connected SDK saw it. Others are on the same broadcast, but we did not look at them.
    SawIt {
        /// From the store's answer.
        after: Duration,
    },
    /// Whoever connects now gets it. Connected SDKs will not before they reconnect.
    NewConnectionsOnly {
        /// Whether our connection stood before the edit and still has the old record; if not, connected SDKs were not looked at.
        watched: bool,
    },
    /// Nobody has it yet. New connections get it once the relay's cache has run out; connected SDKs not before they reconnect.
    WithinCacheTime {
        /// From the store's answer.
        at_most: Duration,
        /// Whether this is the relay's default, its configuration not being known.
        assumed: bool,
    },
    /// Nobody gets it from this relay as it runs.
    NotAtAll {
        /// Why.
        why: NotAtAll,
    },
    /// Not to be said.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Why nobody gets an edit from a relay before it is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAtAll {
    /// Version 9 and later, once filled by LaunchDarkly, never read their store again.
    #[error("a relay of version 9 that LaunchDarkly has filled does not read its store any more")]
    WarmNine,
    /// `localTtl` below 0.
    #[error("its cache never runs out (localTtl below 0)")]
    EndlessCache,
    /// It has no store.
    #[error("it keeps flags only in its memory")]
    NoDatabase,
}

/// What can be said of one edit at one relay.
pub fn verdict(observations: &Observations, relay: &RelayFacts) -> Proof {
    if let Sight::Saw { after } = observations.watched {
        return Proof::SawIt { after };
    }
    if observations.connected == Shown::New || matches!(observations.watched, Sight::OnConnecting { .. }) {
        return Proof::NewConnectionsOnly { watched: matches!(observations.watched, Sight::NotYet { .. }) };
    }
    if relay.has_database == Some(false) {
        return Proof::NotAtAll { why: NotAtAll::NoDatabase };
    }
    if let Shown::Unknown { why } = &observations.connected {
        return Proof::Unknown { why: why.clone() };
    }
    // What is left: a new connection began with the old record.
    if relay.major_version.is_some_and(|major| major >= 9) {
        return match relay.warm {
            Some(true) => Proof::NotAtAll { why: NotAtAll::WarmNine },
            Some(false) => by_cache_time(relay.cache_time),
            None => unknown("a relay of version 9 reads its store only until LaunchDarkly has filled it"),
        };
    }
    by_cache_time(relay.cache_time)
}

fn by_cache_time(cache_time: Option<CacheTime>) -> Proof {
    match (cache_time, CacheTime::default()) {
        (Some(CacheTime::For(at_most)), _) => Proof::WithinCacheTime { at_most, assumed: false },
        (None, CacheTime::For(at_most)) => Proof::WithinCacheTime { at_most, assumed: true },
        (Some(CacheTime::Endless), _) => Proof::NotAtAll { why: NotAtAll::EndlessCache },
        (Some(CacheTime::Zero) | None, _) => {
            unknown("it has no cache and served the old record all the same: does it read this store and prefix?")
        }
    }
}

fn unknown(why: &str) -> Proof {
    Proof::Unknown { why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::client::RelayError;

    const EIGHT: RelayFacts =
        RelayFacts { major_version: Some(8), warm: Some(true), has_database: Some(true), cache_time: None };

    fn seen(watched: Sight, connected: Shown) -> Observations {
        Observations { watched, connected, polled: Shown::Old, unchanged: None }
    }

    fn not_yet() -> Sight {
        Sight::NotYet { still: None }
    }

    fn broken() -> Sight {
        Sight::Broken { why: RelayError::Unable { problem: "x" } }
    }

    #[test]
    fn only_a_broadcast_is_proof_for_connected_sdks() {
        let after = Duration::from_millis(11);
        let proof = verdict(&seen(Sight::Saw { after }, Shown::Old), &EIGHT);
        assert_eq!(proof, Proof::SawIt { after });
        let late = verdict(&seen(Sight::OnConnecting { after }, Shown::New), &EIGHT);
        assert_eq!(late, Proof::NewConnectionsOnly { watched: false });
        assert_eq!(verdict(&seen(not_yet(), Shown::New), &EIGHT), Proof::NewConnectionsOnly { watched: true });
        assert_eq!(verdict(&seen(broken(), Shown::New), &EIGHT), Proof::NewConnectionsOnly { watched: false });
    }

    #[test]
    fn the_cache_decides_for_new_connections() {
        let proof = |cache_time| verdict(&seen(not_yet(), Shown::Old), &RelayFacts { cache_time, ..EIGHT });
        let at_most = Duration::from_secs(5);
        assert_eq!(proof(Some(CacheTime::For(at_most))), Proof::WithinCacheTime { at_most, assumed: false });
        assert_eq!(proof(None), Proof::WithinCacheTime { at_most: Duration::from_secs(30), assumed: true });
        assert_eq!(proof(Some(CacheTime::Endless)), Proof::NotAtAll { why: NotAtAll::EndlessCache });
        assert!(matches!(proof(Some(CacheTime::Zero)), Proof::Unknown { .. }));
    }

    #[test]
    fn a_warm_relay_of_version_nine_never_sees_it() {
        let nine = RelayFacts { major_version: Some(9), ..EIGHT };
        let old = || seen(not_yet(), Shown::Old);
        assert_eq!(verdict(&old(), &nine), Proof::NotAtAll { why: NotAtAll::WarmNine });
        let cold = RelayFacts { warm: Some(false), ..nine };
        assert!(matches!(verdict(&old(), &cold), Proof::WithinCacheTime { .. }));
        assert!(matches!(verdict(&old(), &RelayFacts { warm: None, ..nine }), Proof::Unknown { .. }));
        // What was seen stands above every rule.
        assert_eq!(verdict(&seen(not_yet(), Shown::New), &nine), Proof::NewConnectionsOnly { watched: true });
    }

    #[test]
    fn what_could_not_be_asked_is_not_claimed() {
        let silent = || Shown::Unknown { why: "503".to_owned() };
        assert_eq!(verdict(&seen(broken(), silent()), &EIGHT), Proof::Unknown { why: "503".to_owned() });
        let memory = RelayFacts { has_database: Some(false), ..EIGHT };
        assert_eq!(verdict(&seen(not_yet(), silent()), &memory), Proof::NotAtAll { why: NotAtAll::NoDatabase });
    }

    #[test]
    fn observations_are_put_together() {
        let record = |version| Served { version, deleted: false, text: String::new() };
        let fresh = Fresh {
            connected: Ok(Some(record(43))),
            polled: Ok(Polled { served: Some(record(42)), unchanged: Some(true) }),
        };
        let observations = Observations::of(not_yet(), Some(&fresh), |served| served.version == 43);
        assert_eq!((&observations.connected, &observations.polled), (&Shown::New, &Shown::Old));
        assert_eq!(observations.unchanged, Some(true));
        let none = Fresh { connected: Ok(None), polled: Err(RelayError::Unable { problem: "x" }) };
        let observations = Observations::of(broken(), Some(&none), |_| true);
        assert_eq!(observations.connected, Shown::Old);
        assert!(matches!(observations.polled, Shown::Unknown { .. }));
        assert!(matches!(Observations::of(broken(), None, |_| true).connected, Shown::Unknown { .. }));
    }
}
