//! A flag file: LaunchDarkly's file format as SDKs read it (design 1 "store", launchdarkly.md 6.7 and 6.9). It has no
//! prefixes: every prefix but the empty one is empty. Our own data lies in a second file beside it, and is written
//! first, so that a crash leaves an override without its record, which the next command puts right, and never a record
//! that nobody can explain.

mod beside;
mod disk;
mod document;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::beside::Beside;
use self::disk::NotReplaced;
use self::document::Document;
use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::Recorded;
use crate::change::recorded::Write;
use crate::change::target::Label;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::store::Finding;
use crate::store::FlagReading;
use crate::store::Grade;
use crate::store::LogEntry;
use crate::store::PrefixFound;
use crate::store::Reading;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::StoredOverride;
use crate::store::WriteOutcome;
use crate::store::entry;

/// How long reading or writing the files may take beyond the wait for the lock: network drives hang too.
const DISK_WITHIN: Duration = Duration::from_secs(5);

/// A flag file and what we keep beside it.
#[derive(Debug, Clone)]
pub struct FileStore {
    label: Label,
    files: Files,
}

/// The files of one store. Everything on it blocks.
#[derive(Debug, Clone)]
struct Files {
    path: PathBuf,
}

/// What the two files hold.
struct Content {
    document: Document,
    beside: Beside,
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

impl Files {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self) -> Result<Content, StoreError> {
        let path = self.real_path()?;
        let _lock = disk::lock_shared(&disk::beside(&path, ".relaycommander.lock"))
            .map_err(|error| self.failed(&error, "to be locked for reading"))?;
        self.content(&path)
    }

    /// Through links to the file itself: a rename onto a link would put a file in the link's place.
    fn real_path(&self) -> Result<PathBuf, StoreError> {
        self.path.canonicalize().map_err(|error| self.failed(&error, "to be found"))
    }

    fn content(&self, path: &Path) -> Result<Content, StoreError> {
        let damaged =
            |path: &Path, problem: String| StoreError::Damaged { address: path.display().to_string(), problem };
        let bytes = disk::read(path).map_err(|error| self.failed(&error, "to be read"))?.unwrap_or_default();
        let document = Document::parse(&bytes).map_err(|problem| damaged(&self.path, problem))?;
        let path = disk::beside(path, ".relaycommander.json");
        let beside = match disk::read(&path).map_err(|error| self.failed(&error, "to have its second file read"))? {
            None => Beside::default(),
            Some(bytes) => Beside::parse(&bytes).map_err(|problem| damaged(&path, problem))?,
        };
        Ok(Content { document, beside })
    }

    fn failed(&self, error: &io::Error, wanted: &str) -> StoreError {
        let address = self.shown();
        match error.kind() {
            io::ErrorKind::NotFound => StoreError::Unreachable { address, problem: "does not exist".to_owned() },
            io::ErrorKind::TimedOut => {
                StoreError::Unreachable { address, problem: format!("is in use: {error} ({wanted})") }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Forbidden {
                address,
                what: format!("{wanted} ({error})"),
                way_out: "the right to write the file and its folder, for the user that runs this".to_owned(),
            },
            io::ErrorKind::FileTooLarge => StoreError::Damaged { address, problem: format!("it is too long: {error}") },
            _ => StoreError::Other { address, problem: format!("not possible {wanted}: {error}") },
        }
    }

    /// Does the writes, each by compare-and-set for itself, under one lock and with one replacement of each file.
    fn replace(&self, writes: &[Write]) -> Vec<WriteOutcome> {
        let all = |error: StoreError| vec![WriteOutcome::Failed(error); writes.len()];
        let path = match self.real_path() {
            Ok(path) => path,
            Err(error) => return all(error),
        };
        let _lock = match disk::lock(&disk::beside(&path, ".relaycommander.lock")) {
            Ok(lock) => lock,
            Err(error) => return all(self.failed(&error, "to be locked")),
        };
        let mut content = match self.content(&path) {
            Ok(content) => content,
            Err(error) => return all(error),
        };
        let mut records: BTreeMap<&FlagKey, &Record> = BTreeMap::new();
        let outcomes: Vec<WriteOutcome> =
            writes.iter().map(|write| self.take(write, &mut content, &mut records)).collect();
        if !outcomes.iter().any(|outcome| matches!(outcome, WriteOutcome::Written { .. })) {
            return outcomes;
        }
        match self.put(&path, &content, &records) {
            Ok(()) => outcomes,
            Err(error) => {
                let failed = |outcome| match outcome {
                    WriteOutcome::Written { .. } => WriteOutcome::Failed(error.clone()),
                    other => other,
                };
                outcomes.into_iter().map(failed).collect()
            }
        }
    }

    fn take<'w>(
        &self,
        write: &'w Write,
        content: &mut Content,
        records: &mut BTreeMap<&'w FlagKey, &'w Record>,
    ) -> WriteOutcome {
        let now = match records.get(&write.flag) {
            Some(record) => Some(record.text()),
            None => content.document.flag(&write.flag),
        };
        if now != write.before.as_ref().map(Record::text) {
            return WriteOutcome::RecordChanged;
        }
        if content.document.is_constant(&write.flag) {
            return WriteOutcome::Failed(self.constant(&write.flag));
        }
        if content.beside.override_of(&write.flag) != write.override_before.as_deref() {
            return WriteOutcome::OverrideChanged;
        }
        let mut fields: BTreeMap<String, String> =
            entry::fields(write).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if !fields.is_empty() {
            fields.insert("flag".to_owned(), write.flag.to_string());
        }
        if let Err(problem) = content.beside.take(write, fields) {
            return WriteOutcome::Failed(StoreError::Other { address: self.shown(), problem });
        }
        if let Some(after) = &write.after {
            records.insert(&write.flag, after);
        }
        WriteOutcome::Written { colleagues_see: true }
    }

    /// Our own data first, the record last. If the record cannot be written, ours is put back as it was.
    fn put(&self, path: &Path, content: &Content, records: &BTreeMap<&FlagKey, &Record>) -> Result<(), StoreError> {
        let other = |problem| StoreError::Other { address: self.shown(), problem };
        let second = disk::beside(path, ".relaycommander.json");
        let ours = content.beside.text().map_err(other)?;
        let ours_before = disk::read(&second).map_err(|error| self.failed(&error, "to have its second file read"))?;
        disk::replace(&second, ours.as_bytes(), path)
            .map_err(|error| self.not_replaced(&error, "to have its second file written"))?;
        #[cfg(test)]
        if tests::crashes_here(path) {
            return Err(other("a test stopped it here".to_owned()));
        }
        if records.is_empty() {
            return Ok(());
        }
        let records: Vec<(&FlagKey, &Record)> = records.iter().map(|(flag, record)| (*flag, *record)).collect();
        let text = content.document.with(&records);
        let previous = disk::beside(path, ".relaycommander.previous");
        disk::exchange(path, text.as_bytes(), &previous).map_err(|error| {
            let NotReplaced::Unchanged(why) = &error else { return self.not_replaced(&error, "to be written") };
            let back = match ours_before {
                Some(bytes) => disk::replace(&second, &bytes, path).is_ok(),
                None => std::fs::remove_file(&second).is_ok(),
            };
            if back { self.failed(why, "to be written") } else { self.unknown(why) }
        })
    }

    fn not_replaced(&self, error: &NotReplaced, what: &str) -> StoreError {
        match error {
            NotReplaced::Unchanged(error) => self.failed(error, what),
            NotReplaced::Perhaps(error) => self.unknown(error),
        }
    }

    fn unknown(&self, error: &std::io::Error) -> StoreError {
        StoreError::Unknown { address: self.shown(), problem: error.to_string() }
    }

    fn constant(&self, flag: &FlagKey) -> StoreError {
        StoreError::Damaged {
            address: self.shown(),
            problem: format!(
                "{flag} stands under \"flagValues\", which serves that value to everybody and has no on or off: move it \
                 to \"flags\""
            ),
        }
    }

    fn examine(&self) -> Vec<Finding> {
        let content = match self.read() {
            Ok(content) => content,
            Err(error) => return vec![finding(Grade::Bad, "reach", error.to_string(), way_out(&error))],
        };
        let count = content.document.flags().len();
        let mut findings = vec![finding(Grade::Good, "reach", format!("a flag file with {count} flags"), None)];
        let constants = content.document.constants();
        if !constants.is_empty() {
            let told =
                format!("{} under \"flagValues\" cannot be changed here: {}", constants.len(), constants.join(", "));
            let way_out = "move them to \"flags\"".to_owned();
            findings.push(finding(Grade::Notice, "flag values", told, Some(way_out)));
        }
        findings.push(match self.try_to_write() {
            Ok(()) => finding(Grade::Good, "rights", "the file and its folder can be written".to_owned(), None),
            Err(error) => finding(Grade::Bad, "rights", error.to_string(), way_out(&error)),
        });
        findings
    }

    /// Whether the file and its folder can be written, without writing: a nameless file leaves nothing behind.
    fn try_to_write(&self) -> Result<(), StoreError> {
        let path = self.real_path()?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|_| tempfile::tempfile_in(folder))
            .map(|_| ())
            .map_err(|error| self.failed(&error, "to be written"))
    }
}

fn finding(grade: Grade, subject: &str, told: String, way_out: Option<String>) -> Finding {
    Finding { grade, subject: subject.to_owned(), told, way_out }
}

fn way_out(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Forbidden { way_out, .. } => Some(way_out.clone()),
        StoreError::Unreachable { .. } => Some("the path in RC_STORES".to_owned()),
        _ => None,
    }
}

impl Content {
    fn head(&self) -> Reading {
        let count = self.document.flags().len() + self.document.constants().len();
        Reading { initialised: true, flag_count: count as u64, own_keys: true, ..Reading::default() }
    }

    fn flag(&self, flag: &FlagKey) -> FlagReading {
        FlagReading {
            record: self.document.flag(flag).map(|text| text.as_bytes().to_vec()),
            override_: self.beside.override_of(flag).map(|text| StoredOverride::read(text.to_owned())),
            marks: None,
        }
    }

    fn overrides(&self) -> BTreeMap<FlagKey, StoredOverride> {
        let read = |(flag, text): (&FlagKey, &str)| (flag.clone(), StoredOverride::read(text.to_owned()));
        self.beside.overrides().map(read).collect()
    }

    fn everything(&self) -> Reading {
        let mut reading = self.head();
        for (name, _) in self.document.flags() {
            match name.parse::<FlagKey>() {
                Ok(flag) => {
                    let found = self.flag(&flag);
                    reading.flags.insert(flag, found);
                }
                Err(_) => reading.strange_fields.push(name),
            }
        }
        let constants = self.document.constants().into_iter().map(|name| format!("flagValues/{name}"));
        reading.strange_fields.extend(constants);
        for (flag, override_) in self.overrides() {
            reading.flags.entry(flag).or_default().override_ = Some(override_);
        }
        reading
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
}
