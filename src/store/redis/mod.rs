//! A Redis (or Valkey) that relays fill: flag records in the relay's hash, overrides and their history beside it
//! (design 4.2). It joins the parts of this folder into a [`Store`] and decides only which way a write takes: by
//! script, by transaction where scripts are forbidden, and the record alone where our own keys are.

mod acl;
mod address;
mod announcing;
mod batch;
mod connection;
mod examine;
mod following;
mod keys;
mod lease;
mod marks;
mod moment;
mod reading;
mod refusal;
mod scan;
mod script;
mod transaction;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use self::acl::acl_rule;
pub use self::address::AddressError;
pub use self::address::PORT_DEFAULT;
pub use self::address::RedisAddress;

use self::connection::Connections;
use self::refusal::Asked;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::Recorded;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::store::Deadlines;
use crate::store::Finding;
use crate::store::LeaseWish;
use crate::store::LogEntry;
use crate::store::PrefixFound;
use crate::store::Reading;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::StoredOverride;
use crate::store::WriteOutcome;
use crate::store::following::Announcement;
use crate::store::following::Following;
use crate::store::following::LogPlace;
use crate::store::following::Moment;
use crate::store::following::Whole;

/// What holds for every Redis that does not say otherwise in its address, and how long to wait.
#[derive(Clone)]
pub struct RedisOptions {
    /// The user to log in as, where the address names none.
    pub username: Option<String>,
    /// The password, where the address has none.
    pub password: Option<String>,
    /// The number of the database, where the address names none.
    pub database: Option<i64>,
    /// The authority that signs the servers' certificates, in PEM, in place of the system's (which `SSL_CERT_FILE`
    /// replaces too).
    pub authority_pem: Option<Vec<u8>>,
    /// How long to wait.
    pub deadlines: Deadlines,
}

impl RedisOptions {
    /// No login, database 0, the system's authorities.
    pub fn new(deadlines: Deadlines) -> Self {
        Self { username: None, password: None, database: None, authority_pem: None, deadlines }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisOptions")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "(not shown)"))
            .field("database", &self.database)
            .field("authority_pem", &self.authority_pem.as_ref().map(Vec::len))
            .field("deadlines", &self.deadlines)
            .finish()
    }
}

/// One Redis.
pub struct RedisStore {
    connections: Connections,
    #[cfg(test)]
    hook: std::sync::Mutex<Option<Hook>>,
}

/// What a test does between reading and writing.
#[cfg(test)]
pub(super) type Hook = Box<dyn FnMut() -> BoxFuture<'static, ()> + Send>;

impl RedisStore {
    /// Connects when it is first asked.
    pub fn new(address: RedisAddress, options: RedisOptions) -> Self {
        Self {
            connections: Connections::new(address, options),
            #[cfg(test)]
            hook: std::sync::Mutex::new(None),
        }
    }

    /// Has a test's hook called by the transaction's way between its reading and its writing.
    #[cfg(test)]
    pub(super) fn set_hook(&self, hook: Hook) {
        *self.hook.lock().unwrap() = Some(hook);
    }

    #[cfg(test)]
    async fn between_read_and_write(&self) {
        let waiting = self.hook.lock().unwrap().as_mut().map(|hook| hook());
        if let Some(waiting) = waiting {
            waiting.await;
        }
    }

    fn shown_address(&self) -> String {
        self.connections.address().to_string()
    }

    /// What an error answer to `command` on `key` means. A replica is asked for its primary, and a script that does not
    /// say which right it lacks is looked into.
    async fn refused(&self, error: &redis::ServerError, command: &str, key: Option<&str>) -> StoreError {
        let address = self.shown_address();
        let asked = Asked { address: &address, user: self.connections.username(), command, key };
        let refused = asked.refused(error);
        match refused {
            StoreError::ReadOnly { address, .. } => {
                let primary = examine::primary_of(&self.connections).await;
                StoreError::ReadOnly { address, primary }
            }
            other => other,
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("RedisStore").field(self.connections.address()).finish()
    }
}

impl Store for RedisStore {
    fn label(&self) -> &str {
        self.connections.address().label()
    }

    fn address(&self) -> String {
        self.shown_address()
    }

    fn read<'a>(&'a self, prefix: &'a str, flags: &'a [FlagKey]) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.read_flags(prefix, flags).boxed()
    }

    fn read_all<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.read_everything(prefix).boxed()
    }

    fn each_record<'a>(
        &'a self,
        prefix: &'a str,
        visit: &'a mut (dyn FnMut(&FlagKey, &[u8]) + Send),
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.visit_records(prefix, visit).boxed()
    }

    fn segments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, StoreError>> {
        self.read_segments(prefix).boxed()
    }

    fn overrides<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<FlagKey, StoredOverride>, StoreError>> {
        self.read_overrides(prefix).boxed()
    }

    fn overridden<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<FlagKey>, StoreError>> {
        self.read_overridden(prefix).boxed()
    }

    fn environments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeSet<Environment>, StoreError>> {
        self.read_environments(prefix).boxed()
    }

    fn ended<'a>(
        &'a self,
        prefix: &'a str,
        changes: &'a [ChangeId],
    ) -> BoxFuture<'a, Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError>> {
        self.read_ended(prefix, changes).boxed()
    }

    fn replace<'a>(&'a self, target: &'a Target, recorded: &'a Recorded<'a>) -> BoxFuture<'a, Vec<WriteOutcome>> {
        self.write(target, recorded).boxed()
    }

    fn prefixes<'a>(&'a self, expected: &'a [String]) -> BoxFuture<'a, Result<Vec<PrefixFound>, StoreError>> {
        self.find_prefixes(expected).boxed()
    }

    fn log<'a>(&'a self, prefix: &'a str, count: usize) -> BoxFuture<'a, Result<Vec<LogEntry>, StoreError>> {
        self.read_log(prefix, count).boxed()
    }

    fn examine<'a>(&'a self, prefixes: &'a [String]) -> BoxFuture<'a, Vec<Finding>> {
        examine::examine(self, prefixes).boxed()
    }

    fn moment<'a>(
        &'a self,
        prefix: &'a str,
        flags: &'a [FlagKey],
        marks: &'a [(ChangeId, FlagKey)],
    ) -> BoxFuture<'a, Result<Moment, StoreError>> {
        self.read_moment(prefix, flags, marks).boxed()
    }

    fn whole<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Whole, StoreError>> {
        self.read_whole(prefix).boxed()
    }

    fn follow<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a LogPlace>,
    ) -> BoxFuture<'a, Result<Box<dyn Following>, StoreError>> {
        self.open_follower(prefix, from).boxed()
    }

    fn announce<'a>(
        &'a self,
        prefix: &'a str,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write_announcement(prefix, announcement).boxed()
    }

    fn withdraw<'a>(&'a self, prefix: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.remove_announcement(prefix, name).boxed()
    }

    fn announced<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Announcement>, StoreError>> {
        self.read_announcements(prefix).boxed()
    }

    fn take_lease<'a>(
        &'a self,
        prefix: &'a str,
        wish: &'a LeaseWish,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.write_lease(prefix, wish).boxed()
    }

    fn lease<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.read_lease(prefix).boxed()
    }
}
