//! The hand on the simulated LaunchDarkly while it runs: faults and limits, what arrived, the delivery of flags, and
//! everything that colleagues do there. Used by the rehearsal and by tests; `switchboard` offers the same over HTTP.

mod colleague;
mod delivery;
mod listener;
mod reading;

use std::sync::Arc;

use tokio::sync::broadcast;

pub use self::listener::ListenerControl;
pub use self::listener::NotInTime;
pub use self::listener::Wanted;
pub use self::reading::EnvironmentKeys;
pub use self::reading::SdkFlag;
use super::account::identity::Member;
use super::account::identity::Role;
use super::account::identity::Token;
use super::listener::fault::Fault;
use super::listener::fault::FaultError;
use super::listener::received::Received;
use super::rest::limit::Limits;
use super::shared::FlagChange;
use super::shared::Shared;
use super::shared::now_ms;

/// A hand on the server; as many as wanted.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The listener of the REST API.
    pub fn api(&self) -> ListenerControl {
        ListenerControl::new(Arc::clone(&self.shared), Arc::clone(&self.shared.api))
    }

    /// The listener of the streams, and of all else that SDKs and relays ask for.
    pub fn stream(&self) -> ListenerControl {
        ListenerControl::new(Arc::clone(&self.shared), Arc::clone(&self.shared.stream))
    }

    /// Sets a fault on the API, on top of those that are set. Returns when it is in force.
    ///
    /// # Errors
    /// [`FaultError`]: it can not be set.
    pub async fn fault(&self, fault: Fault) -> Result<(), FaultError> {
        self.api().fault(fault).await
    }

    /// Takes all faults of the API back. Returns when connections are accepted again.
    ///
    /// # Errors
    /// [`FaultError::NotInTime`].
    pub async fn clear_faults(&self) -> Result<(), FaultError> {
        self.api().clear_faults().await
    }

    /// The faults that are set on the API, with what is left of their counts.
    pub fn faults(&self) -> Vec<Fault> {
        self.api().faults()
    }

    /// The requests of the API that arrived, oldest first; the last 10,000.
    pub fn received(&self) -> Vec<Received> {
        self.api().received()
    }

    /// Forgets what arrived at the API.
    pub fn forget_received(&self) {
        self.api().forget_received();
    }

    /// Sets the rate limits of the API; a new window begins.
    pub fn limit(&self, limits: Limits) {
        self.shared.limiter.set(limits);
    }

    /// The rate limits.
    pub fn limits(&self) -> Limits {
        self.shared.limiter.limits()
    }

    /// The changes of flags from now on, in order. A subscriber that is 4,096 behind misses some, and is told.
    pub fn changes(&self) -> broadcast::Receiver<FlagChange> {
        self.shared.changes.subscribe()
    }

    /// Adds an access token, or gives it another role.
    pub fn token(&self, secret: &str, role: Role, member: &str) {
        let name = format!("token of {member}");
        let token = Token::new(secret, &name, role, false, Member::named(member), now_ms());
        self.shared.edit(|account| account.tokens.insert(secret.to_owned(), token));
    }

    /// Takes an access token away.
    pub fn revoke(&self, secret: &str) {
        self.shared.edit(|account| account.tokens.remove(secret));
    }
}
