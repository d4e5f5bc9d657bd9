//! A listener of the simulated LaunchDarkly: its socket and connections, the faults that are set on it, and what it
//! received. There are two, since LaunchDarkly's API and its stream fail and come back apart. Must not know what is
//! served.

pub mod connection;
pub mod fault;
pub mod line;
pub mod received;
pub mod server;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use self::fault::AsksFor;
use self::fault::Fault;
use self::fault::FaultError;
use self::fault::FaultKind;
use self::fault::Faults;
use self::line::Fate;
use self::line::Lines;
use self::received::ReceivedLog;

/// How long it may take until connections are refused, or accepted again.
const SWITCH_MAX: Duration = Duration::from_secs(10);

/// What a listener's connections and the hand on it have in common.
#[derive(Debug)]
pub struct Board {
    /// What is asked for at a path.
    asks_for: fn(&str) -> AsksFor,
    has_streams: bool,
    pub faults: Faults,
    pub received: ReceivedLog,
    pub lines: Arc<Lines>,
    /// Whether somebody listens: set by the server once it is so.
    listening: watch::Sender<bool>,
}

impl Board {
    /// A listener on which there are streams, or other things that faults treat in their own way.
    pub fn with_streams(asks_for: fn(&str) -> AsksFor) -> Arc<Self> {
        Self::new(asks_for, true)
    }

    /// A listener on which there are only requests and their answers.
    pub fn without_streams() -> Arc<Self> {
        Self::new(|_| AsksFor::default(), false)
    }

    fn new(asks_for: fn(&str) -> AsksFor, has_streams: bool) -> Arc<Self> {
        Arc::new(Self {
            asks_for,
            has_streams,
            faults: Faults::default(),
            received: ReceivedLog::default(),
            lines: Arc::default(),
            listening: watch::Sender::new(true),
        })
    }

    /// Sets a fault on top of those that are set. Returns when it is in force, on streams that are open too.
    pub async fn set(&self, fault: Fault) -> Result<(), FaultError> {
        let streams_only = matches!(fault.kind, FaultKind::HalfEvent | FaultKind::OldPut { .. });
        if streams_only && !self.has_streams {
            return Err(FaultError::OnlyOnStreams);
        }
        self.faults.add(fault, |fault, most| {
            let fate = match fault.kind {
                FaultKind::Reset => Fate::Reset,
                FaultKind::Close => Fate::Closed,
                FaultKind::BlackHole => Fate::Silent,
                _ => return 0,
            };
            self.lines.seal_streams(fate, most, |path| fault.fits("GET", path))
        })?;
        self.switched().await
    }

    /// Takes all faults back. Returns when connections are accepted again.
    pub async fn clear(&self) -> Result<(), FaultError> {
        self.faults.clear();
        self.lines.end_silence();
        self.switched().await
    }

    async fn switched(&self) -> Result<(), FaultError> {
        let wanted = !*self.faults.refusing().borrow();
        let mut listening = self.listening.subscribe();
        let waited = timeout(SWITCH_MAX, listening.wait_for(|&now| now == wanted)).await;
        match waited {
            Ok(Ok(_)) => Ok(()),
            _ => Err(FaultError::NotInTime { seconds: SWITCH_MAX.as_secs() }),
        }
    }
}
