//! A flag file: LaunchDarkly's file format as SDKs read it (design 1 "store", launchdarkly.md 6.7 and 6.9). It has no
//! prefixes: every prefix but the empty one is empty. Our own data lies in a second file beside it, and is written
//! first, so that a crash leaves an override without its record, which the next command puts right, and never a record
//! that nobody can explain.

mod announcing;
mod beside;
mod content;
mod disk;
mod document;
mod files;
mod following;
mod lease;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::content::Content;
use self::files::Files;
use self::files::finding;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::target::Label;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::store::Finding;
use crate::store::Grade;
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

/// How long reading or writing the files may take beyond the wait for the lock: network drives hang too.
const DISK_WITHIN: Duration = Duration::from_secs(5);

/// A flag file and what we keep beside it.
#[derive(Debug, Clone)]
pub struct FileStore {
    label: Label,
    files: Files,
}

impl FileStore {
    /// The store in the file at `path`, which is looked for when it is first asked.
    pub fn new(label: impl Into<Label>, path: impl Into<PathBuf>) -> Self {
        Self { label: label.into(), files: Files { path: path.into() } }
    }

    /// Does blocking `work` elsewhere, and waits for it as long as `late` is not due.
    async fn off_the_runtime<T: Send + 'static>(
        &self,
        late: impl FnOnce(String, String) -> T,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> T {
        let files = self.files.clone();
        let limit = disk::LOCK_WITHIN + DISK_WITHIN;
        let working = tokio::task::spawn_blocking(move || work(&files));
        match tokio::time::timeout(limit, working).await {
            Ok(Ok(done)) => done,
            Ok(Err(stopped)) => late(self.address(), format!("could not be worked on ({stopped})")),
            Err(_) => late(self.address(), format!("did not answer within {} s", limit.as_secs())),
        }
    }

    /// Does something with other files in the flag file's folder.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let late = |address, problem| Err(StoreError::Unreachable { address, problem });
        let work = move |files: &Files| {
            work(&files.real_path()?).map_err(|error| files.failed(&error, "to have a file beside it"))
        };
        self.off_the_runtime(late, work).await
    }

    /// The marks of both files now; where they are not `known`, also the number of the log's newest entry and the entries
    /// after `last`.
    async fn since(
        &self,
        known: following::Marks,
        last: u64,
    ) -> Result<(following::Marks, u64, Vec<LogEntry>), StoreError> {
        let late = |address, problem| Err(StoreError::Unreachable { address, problem });
        let work = move |files: &Files| {
            let path = files.real_path()?;
            // Before the content: what comes in between is found next time.
            let marks = following::marks(&path);
            if marks == known {
                return Ok((marks, last, Vec::new()));
            }
            let (newest, entries) = files.read()?.beside.since(last);
            Ok((marks, newest, entries))
        };
        self.off_the_runtime(late, work).await
    }

    async fn reading<T: Send + 'static>(
        &self,
        prefix: &str,
        work: impl FnOnce(&Content) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        if !prefix.is_empty() {
            return Ok(None);
        }
        let late = |address, problem| Err(StoreError::Unreachable { address, problem });
        self.off_the_runtime(late, move |files| files.read().and_then(|content| work(&content))).await.map(Some)
    }
}

impl Store for FileStore {
    fn label(&self) -> &str {
        &self.label
    }

    fn address(&self) -> String {
        self.files.shown()
    }

    fn has_prefixes(&self) -> bool {
        false
    }

    fn read<'a>(&'a self, prefix: &'a str, flags: &'a [FlagKey]) -> BoxFuture<'a, Result<Reading, StoreError>> {
        let (wanted, files) = (flags.to_vec(), self.files.clone());
        let work = move |content: &Content| {
            let mut reading = content.head();
            for flag in wanted {
                let found = content.flag(&flag);
                if found.record.is_none() && content.document.is_constant(&flag) {
                    return Err(files.constant(&flag));
                }
                reading.flags.insert(flag, found);
            }
            Ok(reading)
        };
        async move { Ok(self.reading(prefix, work).await?.unwrap_or_default()) }.boxed()
    }

    fn read_all<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async move { Ok(self.reading(prefix, |content| Ok(content.everything())).await?.unwrap_or_default()) }.boxed()
    }

    fn segments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, StoreError>> {
        let found = |content: &Content| {
            let segments = content.document.segments().into_iter();
            Ok(segments.map(|(name, text)| (name, text.as_bytes().to_vec())).collect())
        };
        async move { Ok(self.reading(prefix, found).await?.unwrap_or_default()) }.boxed()
    }

    fn overrides<'a>(
        &'a self,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<FlagKey, StoredOverride>, StoreError>> {
        async move { Ok(self.reading(prefix, |content| Ok(content.overrides())).await?.unwrap_or_default()) }.boxed()
    }

    fn ended<'a>(
        &'a self,
        prefix: &'a str,
        changes: &'a [ChangeId],
    ) -> BoxFuture<'a, Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError>> {
        let changes = changes.to_vec();
        let work = move |content: &Content| {
            let marks = |change: ChangeId| Some((change, content.beside.ended(change)?.clone()));
            Ok(changes.into_iter().filter_map(marks).collect())
        };
        async move { Ok(self.reading(prefix, work).await?.unwrap_or_default()) }.boxed()
    }

    fn replace<'a>(&'a self, target: &'a Target, recorded: &'a Recorded<'a>) -> BoxFuture<'a, Vec<WriteOutcome>> {
        let writes: Vec<Write> = recorded.for_target(target).into_iter().cloned().collect();
        let count = writes.len();
        async move {
            if !target.prefix.is_empty() {
                let problem = format!("a flag file has no prefixes, so no {}", target.prefix);
                let error = StoreError::Other { address: self.address(), problem };
                return vec![WriteOutcome::Failed(error); count];
            }
            let late = |address, problem| vec![WriteOutcome::Failed(StoreError::Unknown { address, problem }); count];
            self.off_the_runtime(late, move |files| files.replace(&writes)).await
        }
        .boxed()
    }

    fn prefixes<'a>(&'a self, _expected: &'a [String]) -> BoxFuture<'a, Result<Vec<PrefixFound>, StoreError>> {
        let found = |content: &Content| {
            let head = content.head();
            Ok(PrefixFound { prefix: String::new(), flag_count: head.flag_count, initialised: true })
        };
        async move { Ok(self.reading("", found).await?.into_iter().collect()) }.boxed()
    }

    fn log<'a>(&'a self, prefix: &'a str, count: usize) -> BoxFuture<'a, Result<Vec<LogEntry>, StoreError>> {
        async move { Ok(self.reading(prefix, move |content| Ok(content.beside.log(count))).await?.unwrap_or_default()) }
            .boxed()
    }

    fn examine<'a>(&'a self, _prefixes: &'a [String]) -> BoxFuture<'a, Vec<Finding>> {
        let late = |_, told| vec![finding(Grade::Bad, "reach", told, None)];
        async move { self.off_the_runtime(late, Files::examine).await }.boxed()
    }

    fn moment<'a>(
        &'a self,
        prefix: &'a str,
        flags: &'a [FlagKey],
        marks: &'a [(ChangeId, FlagKey)],
    ) -> BoxFuture<'a, Result<Moment, StoreError>> {
        let (flags, marks) = (flags.to_vec(), marks.to_vec());
        let work = move |content: &Content| Ok(content.moment(&flags, &marks));
        async move { Ok(self.reading(prefix, work).await?.unwrap_or_default()) }.boxed()
    }

    fn whole<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Whole, StoreError>> {
        async move { Ok(self.reading(prefix, |content| Ok(content.whole())).await?.unwrap_or_default()) }.boxed()
    }

    fn follow<'a>(
        &'a self,
        _prefix: &'a str,
        from: Option<&'a LogPlace>,
    ) -> BoxFuture<'a, Result<Box<dyn Following>, StoreError>> {
        let from = from.and_then(|LogPlace(place)| place.parse().ok());
        async move {
            let (marks, newest, _) = self.since([None, None], 0).await?;
            // From a place of before the first look finds whatever has changed since, if only the marks are others.
            let marks = if from.is_some() { [None, None] } else { marks };
            Ok(Box::new(following::Follower::new(self.clone(), marks, from.unwrap_or(newest))) as Box<dyn Following>)
        }
        .boxed()
    }

    fn announce<'a>(
        &'a self,
        _prefix: &'a str,
        announcement: &'a Announcement,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let announcement = announcement.clone();
        self.beside(move |path| announcing::announce(path, &announcement)).boxed()
    }

    fn withdraw<'a>(&'a self, _prefix: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let name = name.to_owned();
        self.beside(move |path| announcing::withdraw(path, &name)).boxed()
    }

    fn announced<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Announcement>, StoreError>> {
        if !prefix.is_empty() {
            return async { Ok(Vec::new()) }.boxed();
        }
        self.beside(announcing::announced).boxed()
    }

    fn take_lease<'a>(
        &'a self,
        _prefix: &'a str,
        wish: &'a LeaseWish,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let wish = wish.clone();
        self.beside(move |path| lease::take(path, &wish)).boxed()
    }

    fn lease<'a>(&'a self, _prefix: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        self.beside(lease::standing).boxed()
    }
}
