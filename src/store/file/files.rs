//! The two files of one store: read and replaced together, under one lock. Everything here blocks.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::change::recorded::Write;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;
use crate::store::Finding;
use crate::store::Grade;
use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::entry;
use crate::store::file::beside::Beside;
use crate::store::file::content::Content;
use crate::store::file::disk;
use crate::store::file::disk::NotReplaced;
use crate::store::file::document::Document;
#[cfg(test)]
use crate::store::file::tests;

/// The files of one store. Everything on it blocks.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) path: PathBuf,
}

impl Files {
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn read(&self) -> Result<Content, StoreError> {
        let path = self.real_path()?;
        let _lock = disk::lock_shared(&disk::beside(&path, ".relaycommander.lock"))
            .map_err(|error| self.failed(&error, "to be locked for reading"))?;
        self.content(&path)
    }

    /// Through links to the file itself: a rename onto a link would put a file in the link's place.
    pub(super) fn real_path(&self) -> Result<PathBuf, StoreError> {
        self.path.canonicalize().map_err(|error| self.failed(&error, "to be found"))
    }

    pub(super) fn content(&self, path: &Path) -> Result<Content, StoreError> {
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

    pub(super) fn failed(&self, error: &io::Error, wanted: &str) -> StoreError {
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
    pub(super) fn replace(&self, writes: &[Write]) -> Vec<WriteOutcome> {
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

    pub(super) fn take<'w>(
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
    pub(super) fn put(
        &self,
        path: &Path,
        content: &Content,
        records: &BTreeMap<&FlagKey, &Record>,
    ) -> Result<(), StoreError> {
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

    pub(super) fn not_replaced(&self, error: &NotReplaced, what: &str) -> StoreError {
        match error {
            NotReplaced::Unchanged(error) => self.failed(error, what),
            NotReplaced::Perhaps(error) => self.unknown(error),
        }
    }

    pub(super) fn unknown(&self, error: &std::io::Error) -> StoreError {
        StoreError::Unknown { address: self.shown(), problem: error.to_string() }
    }

    pub(super) fn constant(&self, flag: &FlagKey) -> StoreError {
        StoreError::Damaged {
            address: self.shown(),
            problem: format!(
                "{flag} stands under \"flagValues\", which serves that value to everybody and has no on or off: move it \
                 to \"flags\""
            ),
        }
    }

    pub(super) fn examine(&self) -> Vec<Finding> {
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
    pub(super) fn try_to_write(&self) -> Result<(), StoreError> {
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

pub(super) fn finding(grade: Grade, subject: &str, told: String, way_out: Option<String>) -> Finding {
    Finding { grade, subject: subject.to_owned(), told, way_out }
}

pub(super) fn way_out(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Forbidden { way_out, .. } => Some(way_out.clone()),
        StoreError::Unreachable { .. } => Some("the path in RC_STORES".to_owned()),
        _ => None,
    }
}
