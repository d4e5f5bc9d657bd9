//! Stores: where relays keep flag records. NETWORK and files. A store reads, and replaces by compare-and-set; it decides
//! nothing. It must not know about LaunchDarkly's API, relays or the playback; what it may write comes in as
//! [`Recorded`], the proof that it is on disk.
//!
//! Every call has a deadline that includes connecting and name resolution. An answer that never came is
//! [`StoreError::Unknown`] for a write, never "failed".

#[cfg(test)]
mod conformance;
mod entry;
pub mod file;
pub mod following;
pub mod redis;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::override_::OVERRIDE_FORMAT;
use crate::change::override_::Override;
use crate::change::recorded::Recorded;
use crate::change::target::Target;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::store::following::Announcement;
use crate::store::following::Following;
use crate::store::following::LogPlace;
use crate::store::following::Moment;
use crate::store::following::Whole;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No connection, no answer in time, the name does not resolve. Nothing was written.
    #[error("{address} {problem}")]
    Unreachable {
        /// Where, without secrets.
        address: String,
        /// Such as `did not answer within 2 s`, `refused the connection`, `has no such name`.
        problem: String,
    },
    /// A write was sent and its answer never came.
    #[error("{address} did not answer: whether it is written is not known ({problem})")]
    Unknown {
        /// Where.
        address: String,
        /// What was waited for.
        problem: String,
    },
    /// Wrong password, unknown user, no TLS trust.
    #[error("{address} did not let us in: {problem}")]
    Credentials {
        /// Where.
        address: String,
        /// What the store said.
        problem: String,
    },
    /// A rule forbids what is needed (Redis ACL, file mode).
    #[error("{address} does not permit {what}")]
    Forbidden {
        /// Where.
        address: String,
        /// Which command on which key.
        what: String,
        /// What would permit it: the ACL rule, the file mode.
        way_out: String,
    },
    /// A replica, which takes no writes.
    #[error("{address} is a replica{}", primary.as_ref().map(|at| format!(" of {at}")).unwrap_or_default())]
    ReadOnly {
        /// Where.
        address: String,
        /// Its primary, if it says so.
        primary: Option<String>,
    },
    /// The store holds something that is not what relays keep there (wrong type of key, a file that does not parse).
    #[error("{address}: {problem}")]
    Damaged {
        /// Where.
        address: String,
        /// What and where.
        problem: String,
    },
    /// Anything else that the store said.
    #[error("{address} answered: {problem}")]
    Other {
        /// Where.
        address: String,
        /// Its words.
        problem: String,
    },
}

/// An override as it stands in a store: its exact text, needed for compare-and-set, and what it says.
#[derive(Debug, Clone)]
pub struct StoredOverride {
    /// The exact text.
    pub text: String,
    /// What it says, or what is wrong with it (damaged, newer format).
    pub parsed: Result<Override, String>,
}

impl StoredOverride {
    /// Reads the text of an override. One of a newer format is not understood, and so never written over.
    pub fn read(text: String) -> Self {
        #[derive(serde::Deserialize)]
        struct Format {
            format: u32,
        }
        let newer =
            |format: u32| format!("it is of format {format}, and this program knows formats up to {OVERRIDE_FORMAT}");
        let parsed = match serde_json::from_str::<Override>(&text) {
            Ok(read) if read.format > OVERRIDE_FORMAT => Err(newer(read.format)),
            Ok(read) => Ok(read),
            Err(error) => Err(match serde_json::from_str::<Format>(&text) {
                Ok(Format { format }) if format > OVERRIDE_FORMAT => newer(format),
                _ => error.to_string(),
            }),
        };
        Self { text, parsed }
    }
}

/// What a store holds of one flag.
#[derive(Debug, Clone, Default)]
pub struct FlagReading {
    /// The record's exact bytes. They may be anything: see `flag::check`.
    pub record: Option<Vec<u8>>,
    /// The override beside it.
    pub override_: Option<StoredOverride>,
    /// All ended marks of the flag, where they came along; `None`: ask for them ([`Store::ended`]).
    pub marks: Option<Vec<(ChangeId, EndedMark)>>,
}

/// What a store holds of some flags, or of all, under one prefix.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Whether `$inited` is there: without it relays take the store for empty.
    pub initialised: bool,
    /// How many flags the hash has.
    pub flag_count: u64,
    /// Whether our own keys can be read and written. If not, the record alone can be changed.
    pub own_keys: bool,
    /// The flags that were asked for; on a full read all flags, and all overrides even where the flag is gone.
    pub flags: BTreeMap<FlagKey, FlagReading>,
    /// Fields of the hash whose name is no flag key (on a full read).
    pub strange_fields: Vec<String>,
}

/// What came of one write.
#[derive(Debug, Clone)]
pub enum WriteOutcome {
    /// The store has it, and said so.
    Written {
        /// False where our own keys are forbidden: only the record was written.
        colleagues_see: bool,
    },
    /// The record is not what was read; nothing was written.
    RecordChanged,
    /// The override is not what was read; nothing was written.
    OverrideChanged,
    /// Not written, for this reason ([`StoreError::Unknown`]: perhaps written).
    Failed(StoreError),
}

/// A prefix found in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixFound {
    /// The prefix, without the colon.
    pub prefix: String,
    /// How many flags it has.
    pub flag_count: u64,
    /// Whether `$inited` is there.
    pub initialised: bool,
}

/// One entry of the store's log: a hint, and history for `rc log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The store's own id of the entry, which orders.
    pub id: String,
    /// What was written: `change`, `flag`, `what`, `user`, `at`, and so on.
    pub fields: BTreeMap<String, String>,
}

/// One line of `rc doctor` about a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Good, worth knowing, or to be mended before the day.
    pub grade: Grade,
    /// What was looked at: `login`, `rights`, `replica`, `eviction`, `persistence`, …
    pub subject: String,
    /// What was found.
    pub told: String,
    /// The way out, where one is needed.
    pub way_out: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth knowing.
    Notice,
    /// Will fail on the day.
    Bad,
}

/// Somebody who wants the right to replay, or to keep it, or to give it back.
#[derive(Debug, Clone)]
pub struct LeaseWish {
    /// What is to stand there (`change::lease`); empty gives it back.
    pub text: String,
    /// For how long, if nobody says more, by the store's own clock.
    pub lasts: Duration,
    /// The beginnings of the texts that it may take the place of.
    pub over: Vec<String>,
}

/// The waits that a store may make.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For the connection, name resolution, TLS and login included.
    pub connect: Duration,
    /// For each answer.
    pub answer: Duration,
}

/// A store. Each call stands alone; a connection is made when it is needed and kept while the value lives.
pub trait Store: Send + Sync {
    /// Its short name.
    fn label(&self) -> &str;

    /// Where it is, without secrets, as shown in messages.
    fn address(&self) -> String;

    /// Whether it holds environments under prefixes. A flag file holds one environment, and its prefix is empty.
    fn has_prefixes(&self) -> bool {
        true
    }

    /// What it holds of `flags` under `prefix`: one round trip.
    fn read<'a>(&'a self, prefix: &'a str, flags: &'a [FlagKey]) -> BoxFuture<'a, Result<Reading, StoreError>>;

    /// Everything it holds under `prefix`. Costs grow with the number of flags: only for refusals, dependants, `status`,
    /// `show`, `doctor`.
    fn read_all<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Reading, StoreError>>;

    /// Shows every record under `prefix` to `visit`, one after another, without keeping them: memory stays small however
    /// many flags there are. A record may be shown twice where the store changes meanwhile.
    fn each_record<'a>(
        &'a self,
        prefix: &'a str,
        visit: &'a mut (dyn FnMut(&FlagKey, &[u8]) + Send),
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for (flag, reading) in self.read_all(prefix).await?.flags {
                if let Some(record) = reading.record {
                    visit(&flag, &record);
                }
            }
            Ok(())
        })
    }

    /// All segments under `prefix`, by key: the records' exact bytes. Nothing of ours changes segments; a rehearsal begins
    /// with those that are there.
    fn segments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, StoreError>>;

    /// Only the overrides under `prefix`: cost grows with overrides, not with flags.
    fn overrides<'a>(&'a self, prefix: &'a str)
    -> BoxFuture<'a, Result<BTreeMap<FlagKey, StoredOverride>, StoreError>>;

    /// Only which flags are overridden under `prefix`: what the overrides say is neither read nor looked at.
    fn overridden<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<FlagKey>, StoreError>> {
        Box::pin(async move { Ok(self.overrides(prefix).await?.into_keys().collect()) })
    }

    /// The environments to which the overrides under `prefix` say they belong; nothing else of them is looked at.
    fn environments<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<BTreeSet<Environment>, StoreError>> {
        Box::pin(async move {
            let overrides = self.overrides(prefix).await?.into_values();
            Ok(overrides.filter_map(|stored| stored.parsed.ok()).map(|override_| override_.environment).collect())
        })
    }

    /// The ended marks of these changes, one per flag of each.
    fn ended<'a>(
        &'a self,
        prefix: &'a str,
        changes: &'a [ChangeId],
    ) -> BoxFuture<'a, Result<BTreeMap<ChangeId, Vec<EndedMark>>, StoreError>>;

    /// Does the writes that `recorded` holds for `target`, each by compare-and-set for itself, in order; one outcome each.
    fn replace<'a>(&'a self, target: &'a Target, recorded: &'a Recorded<'a>) -> BoxFuture<'a, Vec<WriteOutcome>>;

    /// The prefixes there are. What is `expected` to be there changes nothing on the answer and brings it sooner.
    fn prefixes<'a>(&'a self, expected: &'a [String]) -> BoxFuture<'a, Result<Vec<PrefixFound>, StoreError>>;

    /// The newest entries of the log under `prefix`, newest last.
    fn log<'a>(&'a self, prefix: &'a str, count: usize) -> BoxFuture<'a, Result<Vec<LogEntry>, StoreError>>;

    /// What could fail on the day, without changing anything.
    fn examine<'a>(&'a self, prefixes: &'a [String]) -> BoxFuture<'a, Vec<Finding>>;

    /// What it holds of `flags` under `prefix`, and which of these ended marks (by change and flag; of other flags than
    /// those that are read they are not looked for). What is said of a flag was all there at the same moment.
    fn moment<'a>(
        &'a self,
        prefix: &'a str,
        flags: &'a [FlagKey],
        marks: &'a [(ChangeId, FlagKey)],
    ) -> BoxFuture<'a, Result<Moment, StoreError>>;

    /// Everything that a relay would read under `prefix`, and the overrides, at one moment. Cost grows with the number of
    /// flags, and the server does nothing else meanwhile: only while LaunchDarkly is away.
    fn whole<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Whole, StoreError>>;

    /// Follows the log under `prefix`, from a place in it or from its end. Who follows from the end looks at what the
    /// store holds after this has returned, so that nothing falls in between.
    fn follow<'a>(
        &'a self,
        prefix: &'a str,
        from: Option<&'a LogPlace>,
    ) -> BoxFuture<'a, Result<Box<dyn Following>, StoreError>>;

    /// Announces a guard under `prefix`, for [`following::ANNOUNCED_FOR`].
    fn announce<'a>(&'a self, prefix: &'a str, announcement: &'a Announcement)
    -> BoxFuture<'a, Result<(), StoreError>>;

    /// Takes a guard's announcement back.
    fn withdraw<'a>(&'a self, prefix: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The guards that have announced themselves under `prefix` and have not fallen silent since.
    fn announced<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Announcement>, StoreError>>;

    /// Takes or renews the right to replay under `prefix`, by compare-and-set. `None`: it is taken; else what stands there
    /// and is none of those that the wish may take the place of.
    fn take_lease<'a>(
        &'a self,
        prefix: &'a str,
        wish: &'a LeaseWish,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// Who has the right to replay under `prefix`, as it stands there.
    fn lease<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Option<String>, StoreError>>;
}
