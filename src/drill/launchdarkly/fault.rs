//! What can go wrong on the way to LaunchDarkly, switchable while it runs. Deciding only: `server` makes it happen.
//! Must not know what the requests mean.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde::Serialize;
use tokio::sync::watch;

use super::identity::glob;
use super::shared::locked;

/// The most faults that may be set at once.
const FAULTS_MAX: usize = 100;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// Nobody listens: connections are refused, those that are open break. Always for everything; the port stays ours.
    Refuse,
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is closed without an answer.
    Close,
    /// The request is taken, and no answer ever comes.
    BlackHole,
    /// This status, with LaunchDarkly's error body.
    Status {
        /// 100 to 999; 401, 403, 407, 409, 429 and 5xx have LaunchDarkly's codes.
        status: u16,
        /// Seconds for a `Retry-After` header.
        retry_after: Option<u64>,
    },
    /// The answer comes, later.
    Slow {
        /// How much later, in milliseconds.
        milliseconds: u64,
    },
    /// Status 200 and a body that breaks off: not JSON.
    Garbage,
    /// The clock of the `Date` and rate limit headers is wrong.
    ClockSkew {
        /// How far ahead it is, in milliseconds; negative: behind.
        milliseconds: i64,
    },
}

/// A fault and what it is limited to. Slow answers and wrong clocks come on top of others; of all the rest, the one that
/// was set first counts.
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

    fn fits(&self, method: &str, path: &str) -> bool {
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

/// What happens to one request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub delay_ms: u64,
    pub skew_ms: i64,
    /// What happens instead of the answer, and whether the request is carried out first.
    pub instead: Option<(FaultKind, bool)>,
}

/// The faults that are set.
#[derive(Debug)]
pub(super) struct Faults {
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
    /// Sets one more.
    pub fn add(&self, fault: Fault) -> Result<(), FaultError> {
        match fault.kind {
            FaultKind::Refuse if fault.method.is_some() || fault.path.is_some() || fault.times.is_some() => {
                return Err(FaultError::RefuseIsForEverything);
            }
            FaultKind::Status { status, .. } if !(200..600).contains(&status) => {
                return Err(FaultError::NoStatus { status });
            }
            _ => {}
        }
        let mut set = locked(&self.set);
        if set.len() == FAULTS_MAX {
            return Err(FaultError::TooMany);
        }
        let refuse = fault.kind == FaultKind::Refuse;
        set.push_back(fault);
        self.any.store(true, Ordering::Release);
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
    pub fn decide(&self, method: &str, path: &str) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.any.load(Ordering::Acquire) {
            return verdict;
        }
        let mut set = locked(&self.set);
        for fault in set.iter_mut().filter(|fault| fault.fits(method, path)) {
            match fault.kind {
                FaultKind::Slow { milliseconds } => verdict.delay_ms = verdict.delay_ms.saturating_add(milliseconds),
                FaultKind::ClockSkew { milliseconds } => verdict.skew_ms = verdict.skew_ms.saturating_add(milliseconds),
                _ if verdict.instead.is_some() => continue,
                _ => verdict.instead = Some((fault.kind.clone(), fault.applied)),
            }
            if let Some(times) = &mut fault.times {
                *times = times.saturating_sub(1);
            }
        }
        set.retain(|fault| fault.times != Some(0));
        self.any.store(!set.is_empty(), Ordering::Release);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_faults_run_out_in_order() {
        let faults = Faults::default();
        faults.add(Fault::status(503).on("PATCH", "/api/v2/flags/*").times(2)).unwrap();
        faults.add(Fault::new(FaultKind::Slow { milliseconds: 5 })).unwrap();
        let status = |method: &str| match faults.decide(method, "/api/v2/flags/shop/checkout").instead {
            Some((FaultKind::Status { status, .. }, false)) => Some(status),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [status("GET"), status("PATCH"), status("patch"), status("PATCH")],
            [None, Some(503), Some(503), None]
        );
        assert_eq!(faults.decide("GET", "/").delay_ms, 5);
        faults.clear();
        assert_eq!(faults.decide("GET", "/"), Verdict::default());
    }

    #[test]
    fn what_can_not_be_set() {
        let faults = Faults::default();
        let limited = Fault::new(FaultKind::Refuse).times(1);
        assert_eq!(faults.add(limited), Err(FaultError::RefuseIsForEverything));
        assert_eq!(faults.add(Fault::status(99)), Err(FaultError::NoStatus { status: 99 }));
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
