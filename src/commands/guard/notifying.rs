//! What a guard's alarms are as notices: how much each matters, and what is said where notices do not arrive. Alarms about
//! notices are told in the log and in metrics alone, or they would make more of themselves.

use std::time::Duration;
use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

use crate::commands::notify::places;
use crate::error::Failure;
use crate::error::Kind;
use crate::guard::alarm::AlarmKind;
use crate::guard::alarm::AlarmName;
use crate::guard::alarm::Alarms;
use crate::guard::alarm::Told;
use crate::notification::Notice;
use crate::notification::Sender;
use crate::notification::Severity;
use crate::notification::sender::Came;
use crate::notification::sender::Watcher;
use crate::settings::NotifySettings;

/// How long it is alarmed that a notice did not arrive.
const ALARMED_FOR: Duration = Duration::from_secs(600);

/// How long the end waits for notices that are on their way.
const END_PATIENCE: Duration = Duration::from_secs(3);

/// Sends alarms to people.
pub(super) struct Notifying {
    sender: Sender,
    source: String,
}

impl Notifying {
    /// Begins, under the guard's name.
    ///
    /// # Errors
    /// A place that cannot be meant, or that this machine cannot send to.
    pub(super) fn start(settings: &NotifySettings, source: &str, alarms: Alarms) -> Result<Self, Failure> {
        let watcher = Watcher::new(move |place, came| {
            let told = match came {
                Came::Taken => return,
                Came::GivenUp(problem) => {
                    format!("a notice did not reach {place}: {problem}. Try it: rc notify --test")
                }
                Came::NoRoom => format!("a notice to {place} was given up: too many wait for it already"),
            };
            let name = AlarmName { kind: AlarmKind::NotNotified, environment: None, flag: None };
            alarms.raise_for(name, told, ALARMED_FOR, Instant::now());
        });
        let failed = |problem| Failure::new(Kind::Other, "people cannot be told").cause(problem);
        let sender = Sender::start(places(settings)?, watcher).map_err(failed)?;
        Ok(Self { sender, source: source.to_owned() })
    }

    /// Has an alarm, or its end, sent.
    pub(super) fn tell(&self, told: &Told) {
        let (alarm, over) = match told {
            Told::Raised(alarm) => (alarm, false),
            Told::Over(alarm) => (alarm, true),
        };
        let Some(severity) = severity(alarm.name.kind) else { return };
        self.sender.offer(&Notice {
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            source: self.source.clone(),
            kind: alarm.name.kind.name(),
            severity,
            over,
            environment: alarm.name.environment.clone(),
            flag: alarm.name.flag.as_ref().map(ToString::to_string),
            told: alarm.told.clone(),
        });
    }

    /// Sends what waits, for a moment.
    pub(super) async fn end(self) {
        self.sender.end(END_PATIENCE).await;
    }
}

/// How much an alarm matters to people; `None` where it is not for them.
fn severity(kind: AlarmKind) -> Option<Severity> {
    Some(match kind {
        AlarmKind::NothingToServe | AlarmKind::StoresAway => Severity::Critical,
        AlarmKind::OverrideMade
        | AlarmKind::OverrideReached
        | AlarmKind::OverrideArrived
        | AlarmKind::OverrideReplayed
        | AlarmKind::OverrideEnded
        | AlarmKind::OverrideKept
        | AlarmKind::Shadow => Severity::Info,
        AlarmKind::NotNotified => return None,
        AlarmKind::UpstreamAway
        | AlarmKind::KeyRefused
        | AlarmKind::KeyUnknown
        | AlarmKind::NotUnderstood
        | AlarmKind::Conflict
        | AlarmKind::GivenWay
        | AlarmKind::NotApplied
        | AlarmKind::FlagGone
        | AlarmKind::StoreAway
        | AlarmKind::StoreEmptied
        | AlarmKind::OverrideLost
        | AlarmKind::OverrideReasserted
        | AlarmKind::OverrideNotKept
        | AlarmKind::OverrideUnreadable
        | AlarmKind::OverrideExpired
        | AlarmKind::OverrideUnsigned
        | AlarmKind::ReplayWaits
        | AlarmKind::ReplayFailed
        | AlarmKind::NotAnnounced
        | AlarmKind::NameTaken
        | AlarmKind::PrefixesDiffer
        | AlarmKind::OldState
        | AlarmKind::RelaySlow
        | AlarmKind::RelayUnsupported
        | AlarmKind::Limit
        | AlarmKind::StateFolder => Severity::Warning,
    })
}
