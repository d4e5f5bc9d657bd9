//! The hand on the delivery of flags: holding it back, moments to come back to, and the streams that are open.

use std::time::Duration;

use tokio::time::timeout;

use super::Control;
use super::NotInTime;
use super::Wanted;
use crate::drill::launchdarkly::delivery::subscribers::OpenStreams;

impl Control {
    /// Delivery stands still: streams stay open and polls are answered, but what is changed from now on reaches nobody.
    pub fn freeze(&self) {
        self.shared.delivery.hold();
    }

    /// Delivery goes on: what was held back comes, in order.
    pub fn thaw(&self) {
        self.shared.delivery.release(&self.shared.account());
    }

    /// Whether delivery stands still.
    pub fn is_frozen(&self) -> bool {
        self.shared.delivery.is_held()
    }

    /// Gives the present moment a name, for [`FaultKind::OldPut`](super::super::FaultKind::OldPut). Of 100 names, the
    /// first is forgotten; so is what is more than 10,000 changes ago.
    pub fn name_moment(&self, name: &str) {
        self.shared.delivery.name_moment(name);
    }

    /// The streams that are open.
    pub fn streams(&self) -> Vec<OpenStreams> {
        self.shared.delivery.streams()
    }

    /// How many streams were dropped since the start, because they were read too slowly.
    pub fn dropped_streams(&self) -> u64 {
        self.shared.delivery.dropped()
    }

    /// How many streams are open, at this path or (none) at all.
    pub fn stream_count(&self, path: Option<&str>) -> usize {
        let streams = self.streams().into_iter().filter(|one| path.is_none_or(|path| one.path == path));
        streams.map(|one| one.streams).sum()
    }

    /// Waits until so many streams are open, at this path or (none) at all.
    ///
    /// # Errors
    /// [`NotInTime`] after `deadline`.
    pub async fn wait_for_streams(
        &self,
        path: Option<&str>,
        wanted: Wanted,
        deadline: Duration,
    ) -> Result<(), NotInTime> {
        let mut turns = self.shared.delivery.turns();
        let there = async {
            while !wanted.holds(self.stream_count(path)) {
                if turns.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let waited = timeout(deadline, there).await;
        waited.map_err(|_| NotInTime {
            seconds: deadline.as_secs(),
            number: self.stream_count(path),
            what: path.map_or("streams".to_owned(), |path| format!("streams at {path}")),
        })
    }

    /// How often a stream on which there is nothing to send gets a comment. LaunchDarkly's and the default: 3 minutes.
    pub fn set_heartbeat(&self, interval: Duration) {
        self.shared.delivery.set_heartbeat(interval);
    }

    /// Tells all relays with automatic configuration to drop that stream and to open it again.
    pub fn reconnect_relays(&self) {
        self.shared.delivery.reconnect_relays();
    }
}
