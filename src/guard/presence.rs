//! What a guard announces of itself in every store that it follows, so that `rc` can tell who holds what: a relay behind a
//! guard always says that it is connected, and only the guard knows LaunchDarkly's stream. Plain data and its text; who
//! writes it where, and who concludes what from it, is not known here.

use std::net::IpAddr;
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest;
use sha2::Sha256;

use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::flag::key::FlagKey;
use crate::guard::environment::AttachedRelay;
use crate::guard::environment::GuardedEnvironment;
use crate::guard::environment::StreamView;
use crate::guard::stream::item::Item;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::overlay::Reason;
use crate::guard::stream::overlay::overlay;
use crate::relay::sdk_key::SdkKey;
use crate::store::following::Announcement;

/// The newest format that this program writes and reads.
pub const PRESENCE_FORMAT: u32 = 1;

/// The most relays, and the most overrides, that are named.
const NAMED_MAX: usize = 500;

/// The digits of the mark of a key: enough to tell keys apart, and nothing that opens anything.
const KEY_MARK_LENGTH: usize = 16;

/// A guard, as it announces itself beside one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// [`PRESENCE_FORMAT`].
    pub format: u32,
    /// Its name.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// Since when it runs, by its clock.
    pub since: Timestamp,
    /// When this was written, by its clock.
    pub at: Timestamp,
    /// The environment, by its name for people.
    pub environment: String,
    /// Where relays come: an address of its own machine. `None`: it stands on no stream, and watches stores alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<SocketAddr>,
    /// Whether it only looks on, and holds nothing.
    pub shadow: bool,
    /// LaunchDarkly's stream, as the guard sees it.
    pub stream: StreamWord,
    /// The relays that hang on it for this environment.
    pub relays: Vec<RelayWord>,
    /// How many more there are.
    #[serde(default)]
    pub more_relays: usize,
    /// The marks of the environment's SDK keys, where they are known (see [`key_mark`]).
    #[serde(default)]
    pub keys: Vec<String>,
    /// The overrides of this environment, and how each is served.
    pub overrides: Vec<OverrideWord>,
    /// How many more there are.
    #[serde(default)]
    pub more_overrides: usize,
    /// Another guard of the same name, as this one saw it last: of the two, each overwrites what the other announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namesake: Option<Namesake>,
}

/// A guard that calls itself as another one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namesake {
    /// Where relays come: an address of its own machine. `None`: it stands on no stream, and watches stores alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<SocketAddr>,
    /// Since when it runs, by its clock.
    pub since: Timestamp,
}

impl Namesake {
    /// Where it is, as far as that is known.
    pub fn place(&self) -> String {
        place_in_words(self.listens)
    }
}

/// `listens at 127.0.0.1:8031`.
pub fn place_in_words(listens: Option<SocketAddr>) -> String {
    match listens {
        Some(address) => format!("listens at {address}"),
        None => "watches stores alone".to_owned(),
    }
}

/// LaunchDarkly's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamWord {
    /// Whether it is up; nothing while no relay has asked for it.
    pub up: Option<bool>,
    /// Since when that is so.
    pub since: Timestamp,
    /// What was said last when it went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
}

/// A relay that hangs on a guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayWord {
    /// From where it comes, as the guard sees it.
    pub address: IpAddr,
    /// What it calls itself.
    pub agent: String,
}

/// An override, as a guard serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideWord {
    /// Which flag.
    pub flag: FlagKey,
    /// How many edits it has had.
    pub revision: u64,
    /// Its newest change.
    pub change: Option<ChangeId>,
    /// How it is served.
    pub holds: Holds,
    /// More about that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<String>,
}

/// How an override is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// It is in force.
    Held,
    /// It is in force although LaunchDarkly has another value since.
    HeldInConflict,
    /// LaunchDarkly's value goes through.
    GivenWay,
    /// LaunchDarkly has it by itself.
    Arrived,
    /// LaunchDarkly deleted the flag.
    Gone,
    /// It cannot be applied; LaunchDarkly's value goes through.
    Failed,
    /// Something that this program does not know.
    #[serde(other)]
    Unknown,
}

/// Which guard this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Itself {
    /// Its name.
    pub name: String,
    /// Since when it runs.
    pub since: Timestamp,
    /// Where relays come; `None` where it watches stores alone.
    pub listens: Option<SocketAddr>,
    /// What holds in a conflict.
    pub on_conflict: OnConflict,
}

impl Presence {
    /// What a guard announces beside `environment`, now.
    pub fn of<'o>(
        itself: &Itself,
        environment: &GuardedEnvironment,
        view: &StreamView,
        overrides: impl IntoIterator<Item = &'o Override>,
        at: Timestamp,
    ) -> Self {
        let relay = |relay: &AttachedRelay| RelayWord { address: relay.address, agent: relay.agent.clone() };
        let mut overrides: Vec<&Override> = overrides.into_iter().collect();
        let more_overrides = overrides.len().saturating_sub(NAMED_MAX);
        overrides.truncate(NAMED_MAX);
        Self {
            format: PRESENCE_FORMAT,
            name: itself.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: itself.since,
            at,
            environment: environment.name.clone(),
            listens: itself.listens,
            shadow: view.shadow,
            stream: StreamWord { up: view.up, since: view.since, told: view.told.clone() },
            relays: view.relays.iter().take(NAMED_MAX).map(relay).collect(),
            more_relays: view.relays.len().saturating_sub(NAMED_MAX),
            keys: environment.sdk_keys.iter().map(|key| key_mark(&itself.name, key)).collect(),
            overrides: overrides.into_iter().map(|override_| word(override_, itself.on_conflict)).collect(),
            more_overrides,
            namesake: None,
        }
    }

    /// Whether it is this guard's own, of this run of it.
    pub fn is_of(&self, itself: &Itself) -> bool {
        self.name == itself.name && self.since == itself.since && self.listens == itself.listens
    }

    /// What is put into a store.
    ///
    /// # Errors
    /// In words; it can always be written.
    pub fn announcement(&self) -> Result<Announcement, String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        Ok(Announcement { name: self.name.clone(), text })
    }

    /// Reads what a guard announced.
    ///
    /// # Errors
    /// In words: of a newer format, or not what a guard writes.
    pub fn read(announcement: &Announcement) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        match serde_json::from_str::<Format>(&announcement.text) {
            Ok(Format { format }) if format > PRESENCE_FORMAT => {
                Err(format!("it is of format {format}, and this program knows formats up to {PRESENCE_FORMAT}"))
            }
            _ => serde_json::from_str(&announcement.text).map_err(|error| error.to_string()),
        }
    }

    /// Whether relays that hang on it get what it makes of overrides: not from one that only looks on, and nobody hangs on
    /// one that watches stores alone.
    pub fn holds_relays(&self) -> bool {
        !self.shadow && self.listens.is_some()
    }

    /// How many relays hang on it.
    pub fn relay_count(&self) -> usize {
        self.relays.len() + self.more_relays
    }
}

/// A mark by which two who know an SDK key find out that they mean the same. Of no use to anybody else: SDK keys are random,
/// and another guard's mark of the same key is another.
pub fn key_mark(guard: &str, key: &SdkKey) -> String {
    let mut digest = Sha256::new();
    for part in [b"relaycommander presence".as_slice(), guard.as_bytes(), key.bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.get(..KEY_MARK_LENGTH).unwrap_or_default().to_owned()
}

fn word(override_: &Override, on_conflict: OnConflict) -> OverrideWord {
    let reason = overlay(&Item::of_record(&override_.upstream), override_, on_conflict).reason;
    let aspects = |aspects: &std::collections::BTreeSet<crate::flag::aspect::Aspect>| {
        let names: Vec<String> = aspects.iter().map(ToString::to_string).collect();
        format!("LaunchDarkly changed meanwhile: {}", names.join(", "))
    };
    let (holds, told) = match reason {
        Reason::Held => (Holds::Held, None),
        Reason::HeldInConflict(in_conflict) => (Holds::HeldInConflict, Some(aspects(&in_conflict))),
        Reason::GivenWay(given) => (Holds::GivenWay, Some(aspects(&given))),
        Reason::Arrived => (Holds::Arrived, None),
        Reason::Gone => (Holds::Gone, None),
        Reason::Failed(why) => (Holds::Failed, Some(why)),
    };
    let (flag, revision, change) = (override_.flag.clone(), override_.revision, override_.change());
    OverrideWord { flag, revision, change, holds, told }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    fn presence() -> Presence {
        let at: Timestamp = "2026-10-20T02:14:07Z".parse().unwrap();
        let itself = Itself {
            name: "eu-1-8031".to_owned(),
            since: at,
            listens: Some("127.0.0.1:8031".parse().unwrap()),
            on_conflict: OnConflict::Hold,
        };
        let environment = GuardedEnvironment {
            name: "shop/production".to_owned(),
            environment: Some("shop/production".parse().unwrap()),
            sdk_keys: vec![SdkKey::parse("sdk-0001").unwrap()],
            filter: None,
            targets: Vec::new(),
            cache_time: std::time::Duration::from_secs(30),
        };
        let relay = |number: u8| AttachedRelay { address: [10, 0, 0, number].into(), agent: "LDRelay/8".to_owned() };
        let view = StreamView {
            up: Some(false),
            since: at,
            told: Some("503".to_owned()),
            relays: vec![relay(1), relay(2)],
            shadow: false,
        };
        let mut override_ = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOn], change(1));
        override_.upstream = flag(43, false, 1, 0);
        Presence::of(&itself, &environment, &view, [&override_], at)
    }

    #[test]
    fn what_is_announced_is_read_again() {
        let presence = presence();
        let announcement = presence.announcement().unwrap();
        assert_eq!(announcement.name, "eu-1-8031");
        assert!(!announcement.text.contains("sdk-0001"), "a key is in it");
        assert_eq!(Presence::read(&announcement).unwrap(), presence);
        assert_eq!(presence.relay_count(), 2);
        let [word] = presence.overrides.as_slice() else { panic!() };
        assert_eq!((word.holds, word.revision), (Holds::GivenWay, 1), "LaunchDarkly turned it off");
    }

    #[test]
    fn newer_and_damaged_ones_are_told_apart() {
        let announcement = presence().announcement().unwrap();
        let read = |text: String| Presence::read(&Announcement { text, ..announcement.clone() });
        let newer = announcement.text.replace("\"format\":1", "\"format\":2");
        assert!(read(newer).unwrap_err().contains("format 2"));
        assert!(read("{".to_owned()).is_err());
        let other =
            announcement.text.replace("given-way", "something-new").replace("\"shadow\"", "\"more\":1,\"shadow\"");
        assert_eq!(read(other).unwrap().overrides[0].holds, Holds::Unknown);
    }

    #[test]
    fn marks_tell_keys_and_guards_apart() {
        let key = |text: &str| SdkKey::parse(text).unwrap();
        let mark = key_mark("eu", &key("sdk-1"));
        assert_eq!(mark.len(), KEY_MARK_LENGTH);
        assert_eq!(mark, key_mark("eu", &key("sdk-1")));
        assert_ne!(mark, key_mark("us", &key("sdk-1")));
        assert_ne!(mark, key_mark("eu", &key("sdk-2")));
    }
}
