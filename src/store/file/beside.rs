//! What we keep beside a flag file, in `<file>.relaycommander.json`: overrides, ended marks and a log, as in Redis. Pure.
//! Overrides are kept as they were written, to the byte: compare-and-set needs their exact text.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::change::id::ChangeId;
use crate::change::override_::EndedMark;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::flag::key::FlagKey;
use crate::store::LogEntry;

/// The newest format that this program reads and writes.
const FORMAT: u32 = 1;

/// How many entries the log keeps.
const LOG_LENGTH: usize = 1_000;

/// How long ended marks are kept.
const ENDED_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Our data of one flag file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Beside {
    format: u32,
    /// The number of the newest entry of the log.
    entries: u64,
    overrides: BTreeMap<FlagKey, Box<RawValue>>,
    ended: BTreeMap<ChangeId, Vec<EndedMark>>,
    log: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    number: u64,
    fields: BTreeMap<String, String>,
}

impl Default for Beside {
    fn default() -> Self {
        Self { format: FORMAT, entries: 0, overrides: BTreeMap::new(), ended: BTreeMap::new(), log: Vec::new() }
    }
}

impl Beside {
    /// # Errors
    /// In words: damaged, or of a newer format, which must not be written over.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        match serde_json::from_slice::<Format>(bytes) {
            Ok(Format { format }) if format > FORMAT => {
                Err(format!("it is of format {format}, and this program knows formats up to {FORMAT}"))
            }
            _ => serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}")),
        }
    }

    /// # Errors
    /// A text that cannot be made, in words.
    pub(super) fn text(&self) -> Result<String, String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        text.push('\n');
        Ok(text)
    }

    pub(super) fn override_of(&self, flag: &FlagKey) -> Option<&str> {
        self.overrides.get(flag).map(|text| text.get())
    }

    pub(super) fn overrides(&self) -> impl Iterator<Item = (&FlagKey, &str)> {
        self.overrides.iter().map(|(flag, text)| (flag, text.get()))
    }

    pub(super) fn ended(&self, change: ChangeId) -> Option<&Vec<EndedMark>> {
        self.ended.get(&change)
    }

    /// The number of the newest entry, and the entries after this one, oldest first, as far as they are kept.
    pub(super) fn since(&self, last: u64) -> (u64, Vec<LogEntry>) {
        let is_newer = |entry: &&Entry| entry.number > last;
        let entry = |entry: &Entry| LogEntry { id: entry.number.to_string(), fields: entry.fields.clone() };
        (self.entries, self.log.iter().filter(is_newer).map(entry).collect())
    }

    /// The newest `count` entries, newest last.
    pub(super) fn log(&self, count: usize) -> Vec<LogEntry> {
        let newest = self.log.len().saturating_sub(count);
        let entry = |entry: &Entry| LogEntry { id: entry.number.to_string(), fields: entry.fields.clone() };
        self.log.get(newest..).unwrap_or_default().iter().map(entry).collect()
    }

    /// Does to the overrides what `write` says, and notes it.
    ///
    /// # Errors
    /// A text that cannot be made, in words.
    pub(super) fn take(&mut self, write: &Write, fields: BTreeMap<String, String>) -> Result<(), String> {
        match &write.override_after {
            OverrideWrite::Keep => {}
            OverrideWrite::Put(override_) => {
                let text = serde_json::to_string(override_.as_ref()).map_err(|error| error.to_string())?;
                let text = RawValue::from_string(text).map_err(|error| error.to_string())?;
                self.overrides.insert(write.flag.clone(), text);
            }
            OverrideWrite::End(marks) => {
                self.overrides.remove(&write.flag);
                for (change, mark) in marks {
                    let ended = self.ended.entry(*change).or_default();
                    ended.retain(|known| known.flag != mark.flag);
                    ended.push(mark.clone());
                }
                if let Some(newest) = marks.iter().map(|(_, mark)| mark.at).max() {
                    self.sweep(newest);
                }
            }
        }
        if !fields.is_empty() {
            self.entries += 1;
            self.log.push(Entry { number: self.entries, fields });
            let surplus = self.log.len().saturating_sub(LOG_LENGTH);
            self.log.drain(..surplus);
        }
        Ok(())
    }

    fn sweep(&mut self, newest: Timestamp) {
        for marks in self.ended.values_mut() {
            marks.retain(|mark| newest.duration_since(mark.at) <= ENDED_KEPT);
        }
        self.ended.retain(|_, marks| !marks.is_empty());
    }
}
