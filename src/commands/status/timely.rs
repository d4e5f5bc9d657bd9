//! A store that answers by a certain moment or not at all: every call ends there, and a store that was silent once is
//! not waited for again. It adds nothing to what the store says and never writes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::Recorded;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
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
use crate::ui::time::duration;

/// See the head of this file.
pub(super) struct Timely {
    store: Arc<dyn Store>,
    until: Instant,
    /// How long that is from the beginning, for messages.
    within: Duration,
    silent: Mutex<Option<StoreError>>,
}

impl Timely {
    /// `store`, until `until`, which is `within` from the beginning of the run.
    pub(super) fn new(store: Arc<dyn Store>, until: Instant, within: Duration) -> Self {
        Self { store, until, within, silent: Mutex::new(None) }
    }

    async fn bounded<Value>(
        &self,
        question: BoxFuture<'_, Result<Value, StoreError>>,
        is_short: bool,
    ) -> Result<Value, StoreError> {
        let silent = || self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = silent().clone() {
            return Err(error);
        }
        let answer = tokio::time::timeout_at(self.until, question).await.unwrap_or_else(|_| {
            let problem = format!("did not answer within {}", duration(self.within));
            Err(StoreError::Unreachable { address: self.store.address(), problem })
        });
        if let Err(error @ StoreError::Unreachable { .. }) = &answer
            && is_short
        {
            *silent() = Some(error.clone());
        }
        answer
    }
}

impl Store for Timely {
    fn label(&self) -> &str {
        self.store.label()
    }

    fn address(&self) -> String {
        self.store.address()
    }

    fn has_prefixes(&self) -> bool {
        self.store.has_prefixes()
    }

    fn read<'a>(&'a self, prefix: &'a str, flags: &'a [FlagKey]) -> BoxFuture<'a, Result<Reading, StoreError>> {
        Box::pin(self.bounded(self.store.read(prefix, flags), true))
    }

    fn read_all<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Reading, StoreError>> {
        // A big answer that does not come in time says nothing about small ones.
        Box::pin(self.bounded(self.store.read_all(prefix), false))
    }

    fn segments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, StoreError>> {
        Box::pin(self.bounded(self.store.segments(prefix), false))
    }

    fn overrides<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<FlagKey, StoredOverride>, StoreError>> {
        Box::pin(self.bounded(self.store.overrides(prefix), true))
    }

    fn overridden<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<FlagKey>, StoreError>> {
        Box::pin(self.bounded(self.store.overridden(prefix), true))
    }

    fn environments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeSet<Environment>, StoreError>> {
        Box::pin(self.bounded(self.store.environments(prefix), true))
    }

    fn ended<'a>(
        &'a self,
        prefix: &'a str,
        changes: &'a [ChangeId],
    ) -> BoxFuture<'a, Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError>> {
        Box::pin(self.bounded(self.store.ended(prefix, changes), true))
    }

    fn replace<'a>(&'a self, target: &'a Target, recorded: &'a Recorded<'a>) -> BoxFuture<'a, Vec<WriteOutcome>> {
        // A write must not be cut off by somebody else's clock.
        self.store.replace(target, recorded)
    }

    fn prefixes<'a>(&'a self, expected: &'a [String]) -> BoxFuture<'a, Result<Vec<PrefixFound>, StoreError>> {
        // Walking over millions of keys takes longer than any single answer; the rest can be asked all the same.
        Box::pin(async move {
            let half = self.until - self.within / 3;
            tokio::time::timeout_at(half, self.bounded(self.store.prefixes(expected), true)).await.unwrap_or_else(
                |_| {
                    let problem = format!("did not name its prefixes within {}", duration(self.within / 3 * 2));
                    Err(StoreError::Unreachable { address: self.store.address(), problem })
                },
            )
        })
    }

    fn log<'a>(&'a self, prefix: &'a str, count: usize) -> BoxFuture<'a, Result<Vec<LogEntry>, StoreError>> {
        Box::pin(self.bounded(self.store.log(prefix, count), true))
    }

    fn examine<'a>(&'a self, prefixes: &'a [String]) -> BoxFuture<'a, Vec<Finding>> {
        self.store.examine(prefixes)
    }

    fn moment<'a>(
        &'a self,
        prefix: &'a str,
        flags: &'a [FlagKey],
        marks: &'a [(ChangeId, FlagKey)],
    ) -> BoxFuture<'a, Result<Moment, StoreError>> {
        Box::pin(self.bounded(self.store.moment(prefix, flags, marks), true))
    }

    fn whole<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Whole, StoreError>> {
        Box::pin(self.bounded(self.store.whole(prefix), false))
    }

    fn follow<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a LogPlace>,
    ) -> BoxFuture<'a, Result<Box<dyn Following>, StoreError>> {
        Box::pin(self.bounded(self.store.follow(prefix, from), true))
    }

    fn announce<'a>(
        &'a self,
        prefix: &'a str,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.announce(prefix, announcement)
    }

    fn withdraw<'a>(&'a self, prefix: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.withdraw(prefix, name)
    }

    fn take_lease<'a>(
        &'a self,
        prefix: &'a str,
        wish: &'a LeaseWish,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.store.take_lease(prefix, wish)
    }

    fn lease<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.bounded(self.store.lease(prefix), true))
    }

    fn announced<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Announcement>, StoreError>> {
        Box::pin(self.bounded(self.store.announced(prefix), true))
    }
}
