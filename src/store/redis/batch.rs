//! Writes on their way to Redis: their texts made ready once, and grouped so that each group is one step for the server
//! and none of them waits long. It must not know how a group is sent (`script`, `transaction`).

use std::collections::BTreeSet;

use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::store::entry;
use crate::store::redis::keys::ended_field;

/// The most writes in one group: the server does nothing else while it works on one.
const GROUP_WRITES_MAX: usize = 128;

/// The most bytes in one group, unless one write alone is longer.
const GROUP_BYTES_MAX: usize = 512 * 1024;

/// One write with its texts as they will stand in the store.
pub(super) struct Prepared<'w> {
    pub(super) write: &'w Write,
    /// The place of the write among those that were asked for.
    pub(super) position: usize,
    /// The override's text, if one is put.
    pub(super) override_text: Option<String>,
    /// Fields and values for the ended marks, in turn.
    pub(super) ended: Vec<String>,
    /// Names and values for the log's entry, in turn, but for the flag; empty if nothing is written.
    pub(super) entry: Vec<String>,
}

impl<'w> Prepared<'w> {
    /// # Errors
    /// A text that cannot be made, in words.
    pub(super) fn new(position: usize, write: &'w Write) -> Result<Self, String> {
        let mut prepared = Self { write, position, override_text: None, ended: Vec::new(), entry: Vec::new() };
        let in_words = |error: serde_json::Error| error.to_string();
        match &write.override_after {
            OverrideWrite::Keep => {}
            OverrideWrite::Put(override_) => {
                prepared.override_text = Some(serde_json::to_string(override_.as_ref()).map_err(in_words)?);
            }
            OverrideWrite::End(marks) => {
                for (change, mark) in marks {
                    prepared.ended.push(ended_field(*change, &mark.flag));
                    prepared.ended.push(serde_json::to_string(mark).map_err(in_words)?);
                }
            }
        }
        for (name, value) in entry::fields(write) {
            prepared.entry.extend([name.to_owned(), value]);
        }
        Ok(prepared)
    }

    pub(super) fn before(&self) -> Option<&[u8]> {
        self.write.before.as_ref().map(|record| record.text().as_bytes())
    }

    pub(super) fn after(&self) -> Option<&[u8]> {
        self.write.after.as_ref().map(|record| record.text().as_bytes())
    }

    pub(super) fn override_before(&self) -> Option<&[u8]> {
        self.write.override_before.as_deref().map(str::as_bytes)
    }

    /// Whether the override ends.
    pub(super) fn ends(&self) -> bool {
        matches!(self.write.override_after, OverrideWrite::End(_))
    }

    /// Whether nothing of it can be written where our own keys are forbidden.
    pub(super) fn is_only_ours(&self) -> bool {
        self.write.after.is_none() && self.write.override_after != OverrideWrite::Keep
    }

    fn length(&self) -> usize {
        let texts =
            [self.before(), self.after(), self.override_before(), self.override_text.as_deref().map(str::as_bytes)];
        let lists = self.ended.iter().chain(&self.entry).map(String::len).sum::<usize>();
        texts.into_iter().flatten().map(<[u8]>::len).sum::<usize>() + lists
    }
}

/// Groups in order, with no flag twice in one: a second write to a flag must meet what the first left.
pub(super) fn groups<'p, 'w>(prepared: &'p [Prepared<'w>]) -> Vec<&'p [Prepared<'w>]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes, mut flags) = (0, 0, BTreeSet::new());
    for (position, one) in prepared.iter().enumerate() {
        let full = position - start >= GROUP_WRITES_MAX || bytes + one.length() > GROUP_BYTES_MAX;
        if position > start && (full || flags.contains(&one.write.flag)) {
            groups.push(&prepared[start..position]);
            (start, bytes) = (position, 0);
            flags.clear();
        }
        bytes += one.length();
        flags.insert(&one.write.flag);
    }
    if start < prepared.len() {
        groups.push(&prepared[start..]);
    }
    groups
}

/// The different entries for the log that a group makes, and which of them (counted from 1) each write belongs to; 0 for
/// none. A change of thousands of flags would otherwise push everything else out of the log.
pub(super) fn entries<'p>(group: &'p [Prepared<'_>]) -> (Vec<&'p [String]>, Vec<usize>) {
    let mut entries: Vec<&[String]> = Vec::new();
    let mut belongs = Vec::with_capacity(group.len());
    for one in group {
        if one.entry.is_empty() {
            belongs.push(0);
            continue;
        }
        if entries.last() != Some(&one.entry.as_slice()) {
            entries.push(&one.entry);
        }
        belongs.push(entries.len());
    }
    (entries, belongs)
}
