//! A store in which only one prefix is there, whatever else it holds: a rehearsal on somebody's own Redis must neither see
//! nor touch anything beside its own. What asks for another prefix is refused. It adds nothing to what the store says.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::future::ready;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::Recorded;
use crate::change::target::Target;
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

/// See the head of this file.
pub struct Confined {
    store: Arc<dyn Store>,
    prefix: String,
}

impl Confined {
    /// `store`, of which only `prefix` is there.
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self { store, prefix: prefix.to_owned() }
    }

    fn refused(&self, prefix: &str) -> Option<StoreError> {
        let problem = || format!("the prefix {prefix:?} is not the rehearsal's");
        (prefix != self.prefix).then(|| StoreError::Other { address: self.store.address(), problem: problem() })
    }

    /// Asks the store, if the prefix is the one that is there.
    fn within<'a, Answer: Send + 'a>(
        &'a self,
        prefix: &str,
        question: impl FnOnce() -> BoxFuture<'a, Result<Answer, StoreError>>,
    ) -> BoxFuture<'a, Result<Answer, StoreError>> {
        match self.refused(prefix) {
            Some(error) => Box::pin(ready(Err(error))),
            None => question(),
        }
    }
}

impl Store for Confined {
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
        self.within(prefix, || self.store.read(prefix, flags))
    }

    fn read_all<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.within(prefix, || self.store.read_all(prefix))
    }

    fn each_record<'a>(
        &'a self,
        prefix: &'a str,
        visit: &'a mut (dyn FnMut(&FlagKey, &[u8]) + Send),
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.within(prefix, || self.store.each_record(prefix, visit))
    }

    fn segments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, StoreError>> {
        self.within(prefix, || self.store.segments(prefix))
    }

    fn overrides<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<FlagKey, StoredOverride>, StoreError>> {
        self.within(prefix, || self.store.overrides(prefix))
    }

    fn ended<'a>(
        &'a self,
        prefix: &'a str,
        changes: &'a [ChangeId],
    ) -> BoxFuture<'a, Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError>> {
        self.within(prefix, || self.store.ended(prefix, changes))
    }

    fn replace<'a>(&'a self, target: &'a Target, recorded: &'a Recorded<'a>) -> BoxFuture<'a, Vec<WriteOutcome>> {
        match self.refused(&target.prefix) {
            None => self.store.replace(target, recorded),
            Some(error) => {
                let writes = recorded.for_target(target);
                Box::pin(ready(writes.iter().map(|_| WriteOutcome::Failed(error.clone())).collect()))
            }
        }
    }

    fn prefixes<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Vec<PrefixFound>, StoreError>> {
        // Somebody's Redis may have millions of keys, and what they are called is of no interest.
        Box::pin(async move {
            let Reading { initialised, flag_count, .. } = self.store.read(&self.prefix, &[]).await?;
            let found = PrefixFound { prefix: self.prefix.clone(), flag_count, initialised };
            Ok(Vec::from_iter((initialised || flag_count > 0).then_some(found)))
        })
    }

    fn log<'a>(&'a self, prefix: &'a str, count: usize) -> BoxFuture<'a, Result<Vec<LogEntry>, StoreError>> {
        self.within(prefix, || self.store.log(prefix, count))
    }

    fn examine<'a>(&'a self, prefixes: &'a [String]) -> BoxFuture<'a, Vec<Finding>> {
        if prefixes.iter().all(|prefix| *prefix == self.prefix) {
            return self.store.examine(prefixes);
        }
        Box::pin(ready(Vec::new()))
    }

    fn moment<'a>(
        &'a self,
        prefix: &'a str,
        flags: &'a [FlagKey],
        marks: &'a [(ChangeId, FlagKey)],
    ) -> BoxFuture<'a, Result<Moment, StoreError>> {
        self.within(prefix, || self.store.moment(prefix, flags, marks))
    }

    fn whole<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Whole, StoreError>> {
        self.within(prefix, || self.store.whole(prefix))
    }

    fn follow<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a LogPlace>,
    ) -> BoxFuture<'a, Result<Box<dyn Following>, StoreError>> {
        self.within(prefix, || self.store.follow(prefix, from))
    }

    fn announce<'a>(
        &'a self,
        prefix: &'a str,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.within(prefix, || self.store.announce(prefix, announcement))
    }

    fn withdraw<'a>(&'a self, prefix: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.within(prefix, || self.store.withdraw(prefix, name))
    }

    fn take_lease<'a>(
        &'a self,
        prefix: &'a str,
        wish: &'a LeaseWish,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.within(prefix, || self.store.take_lease(prefix, wish))
    }

    fn lease<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.within(prefix, || self.store.lease(prefix))
    }

    fn announced<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Announcement>, StoreError>> {
        self.within(prefix, || self.store.announced(prefix))
    }
}
