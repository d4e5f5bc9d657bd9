//! The hand on one listener: its faults, and what it received.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::drill::launchdarkly::listener::Board;
use crate::drill::launchdarkly::listener::fault::Fault;
use crate::drill::launchdarkly::listener::fault::FaultError;
use crate::drill::launchdarkly::listener::fault::FaultKind;
use crate::drill::launchdarkly::listener::received::Received;
use crate::drill::launchdarkly::shared::Shared;

/// A hand on one of the two listeners.
#[derive(Debug, Clone)]
pub struct ListenerControl {
    shared: Arc<Shared>,
    board: Arc<Board>,
}

/// How many are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    at_least: usize,
    at_most: usize,
}

impl Wanted {
    /// So many, no more and no less.
    pub fn exactly(number: usize) -> Self {
        Self { at_least: number, at_most: number }
    }

    /// So many or more.
    pub fn at_least(number: usize) -> Self {
        Self { at_least: number, at_most: usize::MAX }
    }

    pub(super) fn holds(self, number: usize) -> bool {
        (self.at_least..=self.at_most).contains(&number)
    }
}

/// What was waited for did not come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("after {seconds} s there are {number} {what}, which is not what was waited for")]
pub struct NotInTime {
    /// How long was waited.
    pub seconds: u64,
    /// How many there are.
    pub number: usize,
    /// Of what.
    pub what: String,
}

impl ListenerControl {
    pub(super) fn new(shared: Arc<Shared>, board: Arc<Board>) -> Self {
        Self { shared, board }
    }

    /// Sets a fault on top of those that are set. Returns when it is in force, for streams that are open too.
    ///
    /// # Errors
    /// [`FaultError`]: it can not be set.
    pub async fn fault(&self, fault: Fault) -> Result<(), FaultError> {
        if let FaultKind::OldPut { moment: Some(name), .. } = &fault.kind
            && !self.shared.delivery.knows_moment(name)
        {
            return Err(FaultError::NoMoment { name: name.clone() });
        }
        self.board.set(fault).await
    }

    /// Takes all faults back. Returns when connections are accepted again.
    ///
    /// # Errors
    /// [`FaultError::NotInTime`].
    pub async fn clear_faults(&self) -> Result<(), FaultError> {
        self.board.clear().await
    }

    /// The faults that are set, with what is left of their counts.
    pub fn faults(&self) -> Vec<Fault> {
        self.board.faults.list()
    }

    /// The requests that arrived, oldest first; the last 10,000, or as many as 64 MiB hold.
    pub fn received(&self) -> Vec<Received> {
        self.board.received.list()
    }

    /// How many requests arrived that are not forgotten.
    pub fn received_count(&self) -> usize {
        self.board.received.len()
    }

    /// Forgets what arrived.
    pub fn forget_received(&self) {
        self.board.received.clear();
    }

    /// Waits until so many of the requests that are remembered have this path (the query does not count).
    ///
    /// # Errors
    /// [`NotInTime`] after `deadline`.
    pub async fn wait_for_requests(&self, path: &str, wanted: Wanted, deadline: Duration) -> Result<(), NotInTime> {
        let mut arrivals = self.board.received.arrivals();
        let there = async {
            while !wanted.holds(self.board.received.count(path)) {
                if arrivals.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let waited = timeout(deadline, there).await;
        waited.map_err(|_| NotInTime {
            seconds: deadline.as_secs(),
            number: self.board.received.count(path),
            what: format!("requests for {path}"),
        })
    }
}
