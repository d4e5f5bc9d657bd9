//! What can go wrong on the way to LaunchDarkly, switchable while it runs. Deciding only: `server`, and for what flows
//! over a stream `delivery`, make it happen. Must not know what the requests mean.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::watch;

use crate::drill::launchdarkly::account::identity::glob;
use crate::drill::launchdarkly::shared::locked;

/// The most faults that may be set at once.
const FAULTS_MAX: usize = 100;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// Nobody listens: connections are refused, those that are open break. Always for everything; the port stays ours.
    Refuse,
    /// The connection is reset instead of an answer. Streams that are open are reset.
    Reset,
    /// The connection is closed without an answer. Streams that are open are closed.
    Close,
    /// The request is taken, and no answer ever comes. Streams that are open go silent: not even a heartbeat comes. When
    /// it is taken back, all these connections are closed.
    BlackHole,
    /// This status, with LaunchDarkly's error body.
    Status {
        /// 100 to 999; 401, 403, 407, 409, 429 and 5xx have LaunchDarkly's codes.
        status: u16,
        /// Seconds for a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// The answer comes, later; on a stream, each event too.
    Slow {
        /// How much later, in milliseconds.
        milliseconds: u64,
    },
    /// Status 200 and a body that breaks off: not JSON. On a stream, an event whose data are such; its stream goes on.
    Garbage,
    /// Status 200 and a page of HTML, as a proxy or a captive portal sends it: neither JSON nor a stream.
    WebPage,
    /// Only on a stream: it ends inside an event. Where it begins, that is the `put`.
    HalfEvent,
    /// Only for what SDKs get, by stream or by polling: the state as it once was. Events on the stream go on from now.
    OldPut {
        /// As of so many changes ago. One of this and `moment` is given.
        changes_ago: Option<u64>,
        /// As of a moment that was given this name.
        moment: Option<String>,
    },
    /// The clock of the `Date` and rate limit headers is wrong.
    ClockSkew {
        /// How far ahead it is, in milliseconds; negative: behind.
        milliseconds: i64,
    },
}

/// A fault and what it is limited to. Slow answers, wrong clocks and old states come on top of others; of all the rest,
/// the one that was set first counts. On streams, each event counts as a request does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// The request is carried out first, and only its answer goes wrong.
    #[serde(default)]
    pub applied: bool,
    /// Only for this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only for paths that fit this pattern, in which `*` stands for any run of characters.
    #[serde(default)]
    pub path: Option<String>,
    /// Only this many times; then the fault is over.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Fault {
    /// The fault, for everything, until it is taken back.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, applied: false, method: None, path: None, times: None }
    }

    /// A status for everything.
    pub fn status(status: u16) -> Self {
        Self::new(FaultKind::Status { status, retry_after: None })
    }

    /// Only for this method and these paths (`*`: any run of characters).
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Only this many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The request is carried out, and its answer goes wrong.
    #[must_use]
    pub fn after_applying(mut self) -> Self {
        self.applied = true;
        self
    }

    pub(super) fn fits(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|pattern| glob(pattern, path))
    }
}

/// A fault that can not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Whether somebody listens does not depend on the request.
    #[error("connections are refused for everything and until it is taken back: it takes no method, path or count")]
    RefuseIsForEverything,
    /// The status is not one.
    #[error("{status} is not an HTTP status between 200 and 599")]
    NoStatus {
        /// What was given.
        status: u16,
    },
    /// The API has no streams.
    #[error("that can only go wrong on the stream, not on the API")]
    OnlyOnStreams,
    /// An old state is told apart by one thing.
    #[error("an old put takes either \"changesAgo\" or \"moment\"")]
    WhichPast,
    /// Nobody gave a moment this name.
    #[error("no moment has the name {name:?}, or more has changed since then than is remembered")]
    NoMoment {
        /// What was given.
        name: String,
    },
    /// Too many are set.
    #[error("{FAULTS_MAX} faults are set already: take some back first")]
    TooMany,
    /// The server did not begin or cease to listen in time.
    #[error("the simulated LaunchDarkly did not change between listening and refusing within {seconds} s")]
    NotInTime {
        /// How long was waited.
        seconds: u64,
    },
}

/// A state that SDKs get instead of the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// As of so many changes ago.
    ChangesAgo(u64),
    /// As of the moment with this name.
    Moment(String),
}

/// What a request asks for, as far as faults treat it differently.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AsksFor {
    /// A stream, whose events are decided about by themselves.
    pub stream: bool,
    /// Flags or segments, which may be those of the past.
    pub state: bool,
}

/// What happens to one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub delay_ms: u64,
    pub skew_ms: i64,
    pub past: Option<Past>,
    /// What happens instead of the answer, and whether the request is carried out first.
    pub instead: Option<(FaultKind, bool)>,
}

/// What happens to one event of a stream.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct EventVerdict {
    pub delay_ms: u64,
    pub damage: Option<Damage>,
}

/// How an event is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Its first half is sent, and the stream ends.
    Half,
    /// Its data are not JSON.
    Garbage,
}

/// The faults that are set.
#[derive(Debug)]
pub struct Faults {
    set: Mutex<VecDeque<Fault>>,
    /// Whether any is set: spares the lock.
    any: AtomicBool,
    /// Whether connections are refused.
    refusing: watch::Sender<bool>,
    /// Goes up when faults are taken back: ends black holes.
    epoch: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            set: Mutex::default(),
            any: AtomicBool::new(false),
            refusing: watch::Sender::new(false),
            epoch: watch::Sender::new(0),
        }
    }
}

impl Faults {
    /// Sets one more. `on_streams` makes it happen to streams that are open, to so many at most, and says to how many it
    /// did: they count.
    pub fn add(&self, mut fault: Fault, on_streams: impl FnOnce(&Fault, usize) -> usize) -> Result<(), FaultError> {
        match &fault.kind {
            FaultKind::Refuse if fault.method.is_some() || fault.path.is_some() || fault.times.is_some() => {
                return Err(FaultError::RefuseIsForEverything);
            }
            FaultKind::Status { status, .. } if !(200..600).contains(status) => {
                return Err(FaultError::NoStatus { status: *status });
            }
            FaultKind::OldPut { changes_ago, moment } if changes_ago.is_some() == moment.is_some() => {
                return Err(FaultError::WhichPast);
            }
            _ => {}
        }
        let mut set = locked(&self.set);
        if set.len() == FAULTS_MAX {
            return Err(FaultError::TooMany);
        }
        let most = fault.times.map_or(usize::MAX, |times| times as usize);
        let hit = on_streams(&fault, most);
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(u32::try_from(hit).unwrap_or(u32::MAX));
        }
        let refuse = fault.kind == FaultKind::Refuse;
        if fault.times != Some(0) {
            set.push_back(fault);
        }
        self.any.store(!set.is_empty(), Ordering::Release);
        if refuse {
            self.refusing.send_replace(true);
        }
        Ok(())
    }

    /// Takes all back.
    pub fn clear(&self) {
        let mut set = locked(&self.set);
        set.clear();
        self.any.store(false, Ordering::Release);
        self.refusing.send_replace(false);
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Those that are set, with what is left of their counts.
    pub fn list(&self) -> Vec<Fault> {
        locked(&self.set).iter().cloned().collect()
    }

    pub fn refusing(&self) -> watch::Receiver<bool> {
        self.refusing.subscribe()
    }

    pub fn epoch(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// Decides about a request, and counts it.
    pub fn decide(&self, method: &str, path: &str, asks_for: AsksFor) -> Verdict {
        let mut verdict = Verdict::default();
        self.each(method, path, |fault| {
            match &fault.kind {
                FaultKind::Slow { milliseconds } => verdict.delay_ms = verdict.delay_ms.saturating_add(*milliseconds),
                FaultKind::ClockSkew { milliseconds } => {
                    verdict.skew_ms = verdict.skew_ms.saturating_add(*milliseconds);
                }
                FaultKind::OldPut { changes_ago, moment } if asks_for.state && verdict.past.is_none() => {
                    let ago = || changes_ago.map(Past::ChangesAgo);
                    verdict.past = moment.clone().map(Past::Moment).or_else(ago);
                }
                FaultKind::OldPut { .. } | FaultKind::HalfEvent => return false,
                FaultKind::Garbage if asks_for.stream => return false,
                _ if verdict.instead.is_some() => return false,
                _ => verdict.instead = Some((fault.kind.clone(), fault.applied)),
            }
            true
        });
        verdict
    }

    /// Decides about an event of a stream, and counts it.
    pub fn decide_event(&self, path: &str) -> EventVerdict {
        let mut verdict = EventVerdict::default();
        self.each("GET", path, |fault| {
            let damage = match fault.kind {
                FaultKind::Slow { milliseconds } => {
                    verdict.delay_ms = verdict.delay_ms.saturating_add(milliseconds);
                    return true;
                }
                FaultKind::HalfEvent => Damage::Half,
                FaultKind::Garbage => Damage::Garbage,
                _ => return false,
            };
            let first = verdict.damage.is_none();
            verdict.damage = verdict.damage.or(Some(damage));
            first
        });
        verdict
    }

    /// Shows the faults that fit to `take`, and counts those that it takes.
    fn each(&self, method: &str, path: &str, mut take: impl FnMut(&Fault) -> bool) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut set = locked(&self.set);
        for fault in set.iter_mut().filter(|fault| fault.fits(method, path)) {
            if take(fault)
                && let Some(times) = &mut fault.times
            {
                *times = times.saturating_sub(1);
            }
        }
        set.retain(|fault| fault.times != Some(0));
        self.any.store(!set.is_empty(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(faults: &Faults, fault: Fault) -> Result<(), FaultError> {
        faults.add(fault, |_, _| 0)
    }

    #[test]
    fn streams_that_are_open_count() {
        let faults = Faults::default();
        let hit = |_: &Fault, most: usize| most.min(2);
        faults.add(Fault::new(FaultKind::Reset).on("GET", "/all").times(3), hit).unwrap();
        assert_eq!(faults.list()[0].times, Some(1));
        faults.clear();
        faults.add(Fault::new(FaultKind::Reset).times(1), hit).unwrap();
        assert!(faults.list().is_empty());
    }

    #[test]
    fn events_are_decided_about_by_themselves() {
        let faults = Faults::default();
        add(&faults, Fault::new(FaultKind::Garbage).on("GET", "/all").times(1)).unwrap();
        add(&faults, Fault::new(FaultKind::HalfEvent).times(1)).unwrap();
        add(&faults, Fault::new(FaultKind::OldPut { changes_ago: Some(2), moment: None }).times(1)).unwrap();
        let elsewhere = faults.decide("GET", "/big-segments", AsksFor { stream: true, state: false });
        assert_eq!(elsewhere, Verdict::default(), "there is no put that could be old");
        let verdict = faults.decide("GET", "/all", AsksFor { stream: true, state: true });
        assert_eq!(verdict, Verdict { past: Some(Past::ChangesAgo(2)), ..Verdict::default() });
        assert_eq!(faults.decide_event("/big-segments").damage, Some(Damage::Half));
        assert_eq!(faults.decide_event("/all").damage, Some(Damage::Garbage));
        assert_eq!(faults.decide_event("/all"), EventVerdict::default());
        assert!(faults.list().is_empty());
    }

    #[test]
    fn counted_faults_run_out_in_order() {
        let faults = Faults::default();
        add(&faults, Fault::status(503).on("PATCH", "/api/v2/flags/*").times(2)).unwrap();
        add(&faults, Fault::new(FaultKind::Slow { milliseconds: 5 })).unwrap();
        let status =
            |method: &str| match faults.decide(method, "/api/v2/flags/shop/checkout", AsksFor::default()).instead {
                Some((FaultKind::Status { status, .. }, false)) => Some(status),
                None => None,
                other => panic!("{other:?}"),
            };
        assert_eq!(
            [status("GET"), status("PATCH"), status("patch"), status("PATCH")],
            [None, Some(503), Some(503), None]
        );
        assert_eq!(faults.decide("GET", "/", AsksFor::default()).delay_ms, 5);
        faults.clear();
        assert_eq!(faults.decide("GET", "/", AsksFor::default()), Verdict::default());
    }

    #[test]
    fn what_can_not_be_set() {
        let faults = Faults::default();
        let limited = Fault::new(FaultKind::Refuse).times(1);
        assert_eq!(add(&faults, limited), Err(FaultError::RefuseIsForEverything));
        assert_eq!(add(&faults, Fault::status(99)), Err(FaultError::NoStatus { status: 99 }));
        let both = FaultKind::OldPut { changes_ago: Some(1), moment: Some("a".to_owned()) };
        assert_eq!(add(&faults, Fault::new(both)), Err(FaultError::WhichPast));
        assert!(!*faults.refusing().borrow());
    }

    #[test]
    fn the_json_form() {
        let text = r#"{"fault":"status","status":429,"retryAfter":2,"method":"PATCH","times":3}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        let kind = FaultKind::Status { status: 429, retry_after: Some(2) };
        assert_eq!(fault, Fault { method: Some("PATCH".to_owned()), ..Fault::new(kind).times(3) });
    }
}
