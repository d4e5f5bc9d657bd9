//! What follows from a relay's status: cut off or not, how it is configured, whether a restart would be safe, what
//! LaunchDarkly's return will do. Pure; each rule names where it comes from.

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::relay::configuration::RelayConfiguration;
use crate::relay::status::ConnectionState;
use crate::relay::status::EnvironmentStatus;
use crate::relay::status::LastError;
use crate::relay::status::RelayStatus;

/// An environment whose relay does not hear from LaunchDarkly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutOff {
    /// Since when, if the relay says it.
    pub since: Option<Timestamp>,
    /// The relay's last failure, if it says one.
    pub last_error: Option<LastError>,
    /// Whether the relay has given up, and will not come back without a restart.
    pub for_good: bool,
}

/// Whether a relay is cut off from LaunchDarkly for this environment. `None` means that the relay believes to be
/// connected; a connection that died without a word is believed in for up to 5 minutes.
pub fn cut_off(environment: &EnvironmentStatus) -> Option<CutOff> {
    let for_good = match environment.state {
        ConnectionState::Valid => return None,
        ConnectionState::Other(_) if environment.connected => return None,
        ConnectionState::Off => true,
        ConnectionState::Initializing | ConnectionState::Interrupted | ConnectionState::Other(_) => false,
    };
    Some(CutOff { since: environment.since, last_error: environment.last_error.clone(), for_good })
}

/// How far clocks may be apart, when a relay's word is held against the time of an edit.
const CLOCKS_APART_MAX: SignedDuration = SignedDuration::from_secs(60);

/// Whether SDKs that stay connected to a relay cannot have an edit of its store: the relay broadcasts only what LaunchDarkly's
/// stream brings. It has been as it is (`cut_off`, or connected) since `since`, so it runs since before the edit; and nothing
/// has come since, or LaunchDarkly has nothing of the edit (`is_owed`). Only for a relay that hangs on no guard.
pub fn misses(cut_off: bool, since: Timestamp, edited: Timestamp, is_owed: bool) -> bool {
    let is_before = since < edited.saturating_sub(CLOCKS_APART_MAX).unwrap_or(Timestamp::MIN);
    is_before && (cut_off || is_owed)
}

/// How a relay knows its environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From its own configuration.
    Manual,
    /// From LaunchDarkly.
    AutoConfig,
    /// From an archive file.
    Offline,
    /// Its status does not tell (no environment, or automatic configuration and offline mode, which look alike), and
    /// its configuration is not known.
    Unknown,
}

/// How a relay is configured: by its configuration where that is known, else by its status, which names LaunchDarkly's
/// keys only in automatic configuration and offline mode (`relay/endpoints_status.go`).
pub fn mode(status: &RelayStatus, configuration: Option<&RelayConfiguration>) -> Mode {
    if let Some(configuration) = configuration {
        return match configuration {
            known if known.auto_config.is_some() => Mode::AutoConfig,
            known if known.offline.is_some() => Mode::Offline,
            known if known.environments.is_empty() => Mode::Unknown,
            _ => Mode::Manual,
        };
    }
    if status.auto_config.is_some() {
        return Mode::AutoConfig;
    }
    if status.environments.is_empty() {
        return Mode::Unknown;
    }
    let names_keys = status.environments.iter().any(|environment| environment.env_key.is_some());
    if !names_keys {
        return Mode::Manual;
    }
    // An offline relay never fails to connect, so a failure tells the two apart.
    let has_failed = status.environments.iter().any(|environment| environment.last_error.is_some());
    if has_failed { Mode::AutoConfig } else { Mode::Unknown }
}

/// Why a relay should not be restarted now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartDanger {
    /// LaunchDarkly's stream is up: the relay would fill its store from there.
    #[error("it is connected to LaunchDarkly, which fills its store anew: overrides would be lost")]
    Connected,
    /// Environments come from LaunchDarkly, which is away.
    #[error("its environments come from LaunchDarkly: started now it answers 503 to everybody")]
    AutoConfigWithoutCache,
    /// The relay forgets all flags.
    #[error("it keeps flags only in its memory: started now it has none")]
    NoStore,
    /// The store of this environment is not complete.
    #[error("the store of {environment} is not complete: started now it serves nothing there")]
    StoreNotInitialised {
        /// The entry's name in the status.
        environment: String,
    },
    /// The store of this environment lost flags.
    #[error(
        "the store of {environment} has {has} flags, and another one of the same environment has {elsewhere}: started now it \
         serves what is left"
    )]
    StoreSmaller {
        /// The entry's name in the status.
        environment: String,
        /// The flags that it has.
        has: u64,
        /// The most that another store has.
        elsewhere: u64,
    },
    /// The store of this environment lost flags since it was looked at first.
    #[error(
        "the store of {environment} has {has} flags, and had {had} a moment ago: started now it serves what is left"
    )]
    StoreShrunk {
        /// The entry's name in the status.
        environment: String,
        /// The flags that it has.
        has: u64,
        /// The most that it had.
        had: u64,
    },
    /// A record that the relay cannot read.
    #[error("the store of {environment} has damaged records: started now it answers 500 to everybody there")]
    StoreDamaged {
        /// The entry's name in the status.
        environment: String,
    },
    /// The relay does not reach its store.
    #[error("it does not reach the store of {environment}: started now it serves nothing there")]
    StoreAway {
        /// The entry's name in the status.
        environment: String,
    },
    /// LaunchDarkly has refused the key: a new start would be refused too, and then every SDK.
    #[error(
        "{environment} was refused for good (its SDK key, or a proxy on the way): if it is again, it answers 401 to every \
         SDK there"
    )]
    KeyRefused {
        /// The entry's name in the status.
        environment: String,
    },
    /// How it is configured is not known.
    #[error("how it is configured is not known; with automatic configuration it would answer 503 to everybody")]
    ModeUnknown,
}

/// What was read of the store behind one environment of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// A relay that starts would serve all of it.
    Complete,
    /// Without `$inited`, without flags, or not read.
    NotComplete,
    /// Another store of the same environment has more flags.
    Smaller {
        /// The flags that it has.
        has: u64,
        /// The most that another store has.
        elsewhere: u64,
    },
    /// It has fewer flags than it had.
    Shrunk {
        /// The flags that it has.
        has: u64,
        /// The most that it had.
        had: u64,
    },
    /// There are records that relays cannot read.
    Damaged,
}

/// Whether a relay can be restarted and come back with what it serves: while LaunchDarkly is away from its store
/// (launchdarkly.md 9.1), or at any time `behind_guard`, since a guard gives it flags, environments and overrides. `store`
/// answers for an environment by what was read from its store; what was not read is not safe.
///
/// # Errors
/// The first danger, the worst first.
pub fn restart_is_safe(
    status: &RelayStatus,
    configuration: Option<&RelayConfiguration>,
    behind_guard: bool,
    store: impl Fn(&EnvironmentStatus) -> StoreState,
) -> Result<(), RestartDanger> {
    let kind = mode(status, configuration);
    if kind == Mode::Offline {
        return Ok(());
    }
    if behind_guard {
        return status.environments.iter().try_for_each(not_served_by_a_guard);
    }
    if kind == Mode::AutoConfig {
        let has_cache = configuration.and_then(|known| known.auto_config.as_ref()).is_some_and(|auto| auto.has_cache);
        if !has_cache {
            return Err(RestartDanger::AutoConfigWithoutCache);
        }
    }
    if kind == Mode::Unknown {
        return Err(RestartDanger::ModeUnknown);
    }
    for environment in &status.environments {
        let name = || environment.key.clone();
        match cut_off(environment) {
            None => return Err(RestartDanger::Connected),
            Some(cut_off) if cut_off.for_good => return Err(RestartDanger::KeyRefused { environment: name() }),
            Some(_) => {}
        }
        if environment.store.database.is_none() {
            return Err(RestartDanger::NoStore);
        }
        if environment.store.state.as_deref() == Some("INTERRUPTED") {
            return Err(RestartDanger::StoreAway { environment: name() });
        }
        match store(environment) {
            StoreState::Complete => {}
            StoreState::NotComplete => return Err(RestartDanger::StoreNotInitialised { environment: name() }),
            StoreState::Damaged => return Err(RestartDanger::StoreDamaged { environment: name() }),
            StoreState::Smaller { has, elsewhere } => {
                return Err(RestartDanger::StoreSmaller { environment: name(), has, elsewhere });
            }
            StoreState::Shrunk { has, had } => {
                return Err(RestartDanger::StoreShrunk { environment: name(), has, had });
            }
        }
    }
    Ok(())
}

/// What a guard on its stream cannot help with.
fn not_served_by_a_guard(environment: &EnvironmentStatus) -> Result<(), RestartDanger> {
    let environment_name = || environment.key.clone();
    if cut_off(environment).is_some_and(|cut_off| cut_off.for_good) {
        return Err(RestartDanger::KeyRefused { environment: environment_name() });
    }
    if environment.store.state.as_deref() == Some("INTERRUPTED") {
        return Err(RestartDanger::StoreAway { environment: environment_name() });
    }
    Ok(())
}

/// What LaunchDarkly's return does to an override behind this relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReturn {
    /// A guard on the relay's stream keeps it in force.
    Held,
    /// The relay's first event replaces the whole store: lost within about 30 s (launchdarkly.md 9.3).
    Lost,
    /// The relay is connected already: lost as soon as LaunchDarkly changes the flag or the stream connects anew.
    LostAtNextEvent,
    /// A relay of version 9 may be told that nothing changed: stays in the store until LaunchDarkly changes this flag,
    /// or sends everything (launchdarkly.md 9.4).
    MayStay,
    /// The relay never hears from LaunchDarkly.
    Stays,
}

/// What LaunchDarkly's return does, for one environment of a relay. `guarded`: a guard holds this relay's stream.
pub fn on_return(environment: &EnvironmentStatus, major_version: Option<u64>, mode: Mode, guarded: bool) -> OnReturn {
    if mode == Mode::Offline {
        return OnReturn::Stays;
    }
    if guarded {
        return OnReturn::Held;
    }
    if major_version.is_some_and(|major| major >= 9) {
        return OnReturn::MayStay;
    }
    if cut_off(environment).is_some() { OnReturn::Lost } else { OnReturn::LostAtNextEvent }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn status(value: Value) -> RelayStatus {
        RelayStatus::parse(value.to_string().as_bytes()).unwrap()
    }

    fn one(state: &str) -> RelayStatus {
        status(json!({"version": "8.10.1", "environments": {"Prod": {
            "status": if state == "VALID" { "connected" } else { "disconnected" },
            "connectionStatus": {"state": state, "stateSince": 1_700_000_000_000_i64,
                "lastError": {"kind": "NETWORK_ERROR", "time": 1_700_000_000_000_i64}},
            "dataStoreStatus": {"state": "VALID", "database": "redis", "dbServer": "redis://r", "dbPrefix": "p"}}}}))
    }

    fn configuration(text: &str) -> RelayConfiguration {
        RelayConfiguration::from_file(text, "x").unwrap()
    }

    #[test]
    fn who_was_connected_before_an_edit_does_not_have_it() {
        let at = |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert!(misses(true, at(0), at(61), true) && misses(false, at(0), at(61), true));
        assert!(misses(true, at(0), at(61), false), "what LaunchDarkly has, it cannot hear of");
        assert!(!misses(false, at(0), at(61), false), "LaunchDarkly's stream brings it");
        assert!(!misses(true, at(0), at(60), true), "clocks differ");
        assert!(!misses(true, at(100), at(61), true), "it was started anew since, or its guard died");
    }

    #[test]
    fn cut_off_or_not() {
        assert_eq!(cut_off(&one("VALID").environments[0]), None);
        let away = cut_off(&one("INTERRUPTED").environments[0]).unwrap();
        assert_eq!(away.since.unwrap().as_millisecond(), 1_700_000_000_000);
        assert_eq!((away.last_error.unwrap().kind.as_str(), away.for_good), ("NETWORK_ERROR", false));
        assert!(cut_off(&one("INITIALIZING").environments[0]).is_some());
        assert!(cut_off(&one("OFF").environments[0]).unwrap().for_good);
        let bare = |word| status(json!({"environments": {"a": {"status": word}}}));
        assert_eq!(cut_off(&bare("connected").environments[0]), None);
        assert!(cut_off(&bare("disconnected").environments[0]).is_some());
    }

    #[test]
    fn modes_are_told_by_configuration_else_by_status() {
        let auto = status(json!({"environments": {"5f": {"envKey": "production", "projKey": "shop",
            "connectionStatus": {"state": "INTERRUPTED", "lastError": {"kind": "NETWORK_ERROR"}}}}}));
        let quiet = status(json!({"environments": {"5f": {"envKey": "production"}}}));
        let newer = status(json!({"environments": {}, "autoConfigStatus": {"state": "VALID"}}));
        let nothing = status(json!({"environments": {}}));
        assert_eq!(mode(&one("VALID"), None), Mode::Manual);
        assert_eq!(mode(&auto, None), Mode::AutoConfig);
        assert_eq!(mode(&newer, None), Mode::AutoConfig);
        assert_eq!(mode(&quiet, None), Mode::Unknown);
        assert_eq!(mode(&nothing, None), Mode::Unknown);
        assert_eq!(mode(&quiet, Some(&configuration("[OfflineMode]\nfileDataSource=a"))), Mode::Offline);
        assert_eq!(mode(&nothing, Some(&configuration("[AutoConfig]\nkey=a"))), Mode::AutoConfig);
        assert_eq!(mode(&nothing, Some(&configuration("[Environment \"a\"]"))), Mode::Manual);
    }

    #[test]
    fn when_a_restart_is_safe() {
        let complete = |_: &EnvironmentStatus| StoreState::Complete;
        let restart_is_safe = |status: &RelayStatus,
                               configuration: Option<&RelayConfiguration>,
                               store: fn(&EnvironmentStatus) -> StoreState| {
            restart_is_safe(status, configuration, false, store)
        };
        assert_eq!(restart_is_safe(&one("INTERRUPTED"), None, complete), Ok(()));
        assert_eq!(restart_is_safe(&one("INITIALIZING"), None, complete), Ok(()));
        assert_eq!(restart_is_safe(&one("VALID"), None, complete), Err(RestartDanger::Connected));
        let name = || "Prod".to_owned();
        assert_eq!(
            restart_is_safe(&one("INTERRUPTED"), None, |_| StoreState::NotComplete),
            Err(RestartDanger::StoreNotInitialised { environment: name() })
        );
        assert_eq!(
            restart_is_safe(&one("OFF"), None, complete),
            Err(RestartDanger::KeyRefused { environment: name() })
        );
        let auto = configuration("[AutoConfig]\nkey=a");
        assert_eq!(
            restart_is_safe(&one("INTERRUPTED"), Some(&auto), complete),
            Err(RestartDanger::AutoConfigWithoutCache)
        );
        let cached = configuration("[AutoConfig]\nkey=a\ncacheKey=b");
        assert_eq!(restart_is_safe(&one("INTERRUPTED"), Some(&cached), complete), Ok(()));
        let nothing = status(json!({"environments": {}}));
        assert_eq!(restart_is_safe(&nothing, None, complete), Err(RestartDanger::ModeUnknown));
        let memory = status(json!({"environments": {"a": {"connectionStatus": {"state": "INTERRUPTED"}}}}));
        assert_eq!(restart_is_safe(&memory, None, complete), Err(RestartDanger::NoStore));
        let away = status(json!({"environments": {"a": {"connectionStatus": {"state": "INTERRUPTED"},
            "dataStoreStatus": {"state": "INTERRUPTED", "database": "redis"}}}}));
        let smaller = restart_is_safe(&one("INTERRUPTED"), None, |_| StoreState::Smaller { has: 1, elsewhere: 2 });
        assert_eq!(smaller, Err(RestartDanger::StoreSmaller { environment: name(), has: 1, elsewhere: 2 }));
        let damaged = restart_is_safe(&one("INTERRUPTED"), None, |_| StoreState::Damaged);
        assert_eq!(damaged, Err(RestartDanger::StoreDamaged { environment: name() }));
        // A guard gives a relay what it lacks; a refused key and a store that is away are beyond it.
        let guarded =
            |status: &RelayStatus| super::restart_is_safe(status, Some(&auto), true, |_| StoreState::NotComplete);
        assert_eq!(guarded(&one("VALID")), Ok(()));
        assert_eq!(guarded(&memory), Ok(()));
        assert_eq!(guarded(&one("OFF")), Err(RestartDanger::KeyRefused { environment: name() }));
        assert_eq!(guarded(&away), Err(RestartDanger::StoreAway { environment: "a".to_owned() }));
        assert_eq!(
            restart_is_safe(&away, None, complete),
            Err(RestartDanger::StoreAway { environment: "a".to_owned() })
        );
    }

    #[test]
    fn what_launchdarklys_return_does() {
        let environment = |state| one(state).environments.remove(0);
        let cut = environment("INTERRUPTED");
        assert_eq!(on_return(&cut, Some(8), Mode::Manual, false), OnReturn::Lost);
        assert_eq!(on_return(&cut, None, Mode::Unknown, false), OnReturn::Lost);
        assert_eq!(on_return(&cut, Some(8), Mode::Manual, true), OnReturn::Held);
        assert_eq!(on_return(&cut, Some(9), Mode::Manual, false), OnReturn::MayStay);
        assert_eq!(on_return(&environment("VALID"), Some(8), Mode::Manual, false), OnReturn::LostAtNextEvent);
        assert_eq!(on_return(&cut, Some(8), Mode::Offline, false), OnReturn::Stays);
    }
}
