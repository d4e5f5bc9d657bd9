//! Following a flag file and what lies beside it: both are looked at a few times a second, by size and time of change, and
//! read when they are others. It must not know what entries mean.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::store::StoreError;
use crate::store::file::FileStore;
use crate::store::file::disk;
use crate::store::following::Following;
use crate::store::following::LogPlace;
use crate::store::following::News;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long one question waits.
const WAIT: Duration = Duration::from_secs(1);

/// By what a file is known to be the same: which one it is, its length, and when it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    length: u64,
    changed_s: i64,
    changed_ns: i64,
}

/// The marks of the flag file and of the second one; `None` where there is none.
pub(super) type Marks = [Option<Mark>; 2];

pub(super) struct Follower {
    store: FileStore,
    marks: Marks,
    /// The number of the newest entry that was seen.
    last: u64,
}

/// The marks of a flag file at `path` and of the file beside it.
pub(super) fn marks(path: &Path) -> Marks {
    let mark = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let (changed_s, changed_ns) = (found.mtime(), found.mtime_nsec());
        Some(Mark { inode: found.ino(), length: found.len(), changed_s, changed_ns })
    };
    [mark(path), mark(&disk::beside(path, ".relaycommander.json"))]
}

impl Follower {
    /// Follows `store`, whose files had these marks, after the entry of this number.
    pub(super) fn new(store: FileStore, marks: Marks, last: u64) -> Self {
        Self { store, marks, last }
    }

    async fn wait(&mut self) -> Result<News, StoreError> {
        let until = Instant::now() + WAIT;
        while Instant::now() < until {
            let (marks, newest, entries) = self.store.since(self.marks, self.last).await?;
            if marks == self.marks {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            let missing = newest.saturating_sub(self.last) > entries.len() as u64;
            // A flag file is edited by others, who leave no entry.
            let others = marks[0] != self.marks[0];
            let broken = others || missing || newest < self.last;
            (self.marks, self.last) = (marks, newest);
            return Ok(News { entries, broken });
        }
        Ok(News::default())
    }
}

impl Following for Follower {
    fn next(&mut self) -> BoxFuture<'_, Result<News, StoreError>> {
        self.wait().boxed()
    }

    fn place(&self) -> LogPlace {
        LogPlace(self.last.to_string())
    }
}
