//! What was seen of an edit through a relay, in words and for programs. It must not ask a relay anything.

use std::time::Duration;

use serde::Serialize;

use crate::change::recorded::Write;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::record::Record;
use crate::relay::judgement::OnReturn;
use crate::relay::verdict::Proof;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::paint;
use crate::ui::time;

/// What can be said of a relay before a target.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The relay's label.
    pub relay: String,
    /// Who has the edit.
    pub proof: Proof,
    /// What LaunchDarkly's return does to it; `None` where the relay's status is not known.
    pub on_return: Option<OnReturn>,
    /// Whether a guard holds it there.
    pub guarded: Guarded,
}

/// Whether a guard holds an edit behind a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarded {
    /// There is none.
    NoGuard,
    /// One does.
    Held,
    /// There is one, and the relay is not on it.
    NotOn,
    /// There is one; whether the relay is on it is not known.
    NotKnown,
}

impl Guarded {
    /// In words, in one cell; nothing where there is no guard.
    pub fn in_words(self) -> &'static str {
        match self {
            Guarded::NoGuard => "",
            Guarded::Held => "held by a guard",
            Guarded::NotOn => "a guard is there, but this relay is not on it",
            Guarded::NotKnown => "a guard is there; whether this relay is on it is not known",
        }
    }
}

impl Sighting {
    /// Who gets the edit, where SDKs that stay connected do not have it by what was seen; `None` where they have it, or were
    /// not looked at, and where a guard holds it: then it is on its way, whatever was seen in that second.
    pub fn not_live(&self) -> Option<String> {
        if self.guarded == Guarded::Held {
            return None;
        }
        let told = match &self.proof {
            Proof::SawIt { .. } | Proof::NewConnectionsOnly { watched: false } | Proof::Unknown { .. } => return None,
            Proof::NewConnectionsOnly { watched: true } => "whoever connects anew gets it".to_owned(),
            Proof::WithinCacheTime { at_most, assumed } => {
                let assumed = if *assumed { " (default cache time)" } else { "" };
                format!("whoever connects anew gets it within {}{assumed}", time::duration(*at_most))
            }
            Proof::NotAtAll { why } => format!("nobody gets it there: {why}"),
        };
        let guard = match self.guarded {
            Guarded::NotKnown => "; a guard is there, and may bring it yet",
            Guarded::Held | Guarded::NoGuard | Guarded::NotOn => "",
        };
        Some(format!("{told}{guard}"))
    }
}

/// How a sighting is told to programs.
#[derive(Debug, Clone, Serialize)]
pub struct SightingJson {
    /// The relay's label.
    pub relay: String,
    /// `saw-it`, `new-connections-only`, `within-cache-time`, `not-at-all`, `unknown`.
    pub proof: &'static str,
    /// How long it took, or may take, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
    /// Why, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `no-guard`, `held`, `not-on`, `not-known`.
    pub guard: Guarded,
}

impl From<&Sighting> for SightingJson {
    fn from(sighting: &Sighting) -> Self {
        let milliseconds = |length: &Duration| u64::try_from(length.as_millis()).ok();
        let (proof, milliseconds, why) = match &sighting.proof {
            Proof::SawIt { after } => ("saw-it", milliseconds(after), None),
            Proof::NewConnectionsOnly { .. } => ("new-connections-only", None, None),
            Proof::WithinCacheTime { at_most, .. } => ("within-cache-time", milliseconds(at_most), None),
            Proof::NotAtAll { why } => ("not-at-all", None, Some(why.to_string())),
            Proof::Unknown { why } => ("unknown", None, Some(why.clone())),
        };
        Self { relay: sighting.relay.clone(), proof, milliseconds, why, guard: sighting.guarded }
    }
}

/// What the relays before a target show, in one cell.
pub fn in_words(sightings: &[Sighting], write: &Write) -> String {
    if sightings.is_empty() {
        return String::new();
    }
    let (before, after) = (state(write.before.as_ref()), state(write.after.as_ref()));
    let several = sightings.len() > 1;
    let tell = |sighting: &Sighting| {
        let told = match &sighting.proof {
            Proof::SawIt { after: length } => {
                paint(GOOD, &format!("{after}; our connected SDK saw it after {}", time::duration(*length)))
            }
            Proof::NewConnectionsOnly { watched: true } => {
                paint(BAD, &format!("STILL {} for connected SDKs; new ones {after}", before.to_uppercase()))
            }
            Proof::NewConnectionsOnly { watched: false } => {
                paint(BAD, &format!("new connections get {after}; connected SDKs were not looked at"))
            }
            Proof::WithinCacheTime { at_most, assumed } => {
                let assumed = if *assumed { " (default cache time)" } else { "" };
                let within = time::duration(*at_most);
                paint(
                    BAD,
                    &format!(
                        "STILL {} for connected SDKs; new ones {after} within {within}{assumed}",
                        before.to_uppercase()
                    ),
                )
            }
            Proof::NotAtAll { why } => paint(BAD, &format!("STILL {} for all SDKs: {why}", before.to_uppercase())),
            Proof::Unknown { why } => paint(BAD, &format!("not known: {}", harmless(why))),
        };
        if several { format!("{}: {told}", sighting.relay) } else { told }
    };
    sightings.iter().map(tell).collect::<Vec<_>>().join("; ")
}

/// What guards do behind the relays before a target, in one cell.
pub fn guarded_in_words(sightings: &[Sighting]) -> String {
    let told = |sighting: &Sighting| {
        let words = sighting.guarded.in_words();
        let style = if sighting.guarded == Guarded::Held { GOOD } else { NOTICE };
        (!words.is_empty()).then(|| paint(style, words))
    };
    let first = sightings.first().map(|sighting| sighting.guarded);
    if sightings.iter().all(|sighting| Some(sighting.guarded) == first) {
        return sightings.first().and_then(told).unwrap_or_default();
    }
    let one = |sighting: &Sighting| Some(format!("{}: {}", sighting.relay, told(sighting)?));
    sightings.iter().filter_map(one).collect::<Vec<_>>().join("; ")
}

/// `on`, `off`, or the value that everybody gets.
fn state(record: Option<&Record>) -> String {
    let Some(record) = record else { return "unknown".to_owned() };
    Configuration::of_record(record).in_words(Aspect::On)
}
