//! A whole playback file, read: its lines checked one after the other, up to the first that is not as it was written.
//! PURE: bytes in, values out.
//!
//! Text after the last newline that is no whole line is *torn*: a write that never ended, so nothing was claimed of it.
//! Anything else that does not check is *damage*, and what follows it is not read: its meaning may hang on what is lost.

use std::fmt;

use crate::change::event::Event;
use crate::playback::format;
use crate::playback::format::Intent;
use crate::playback::format::PLAYBACK_FORMAT;
use crate::playback::line;
use crate::playback::line::Sum;

/// How much of a text that makes no sense is kept to be shown, in characters.
const SHOWN_MAX: usize = 200;

/// A line that checks and is written in a newer format than this program knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUnderstood {
    /// Its number, counted from 1.
    pub line: usize,
    /// Its beginning.
    pub shown: String,
}

/// What could be made out of an intent that is not understood. Shown to people, used for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glimpse {
    /// The id of the change.
    pub change: Option<String>,
    /// Who made it.
    pub user: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Which flags.
    pub flags: Vec<String>,
    /// The version of the program that wrote it.
    pub tool_version: Option<String>,
}

impl fmt::Display for Glimpse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = "?";
        let flags = if self.flags.is_empty() { unknown.to_owned() } else { self.flags.join(", ") };
        let change = self.change.as_deref().unwrap_or(unknown);
        let user = self.user.as_deref().unwrap_or(unknown);
        let at = self.at.as_deref().unwrap_or(unknown);
        write!(formatter, "{flags} by {user} at {at}, change {change}")
    }
}

/// A place where a file is not, or not surely, what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub told: String,
}

/// The end of what is sound in a file: where the next line goes, and what it hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    /// The length of all sound lines, in bytes. What follows is torn.
    pub length: u64,
    /// The sum of the last sound line; `None` before the first.
    pub sum: Option<Sum>,
    /// Whether the last sound line lacks its newline (the write was cut just there, or an editor took it away).
    pub open: bool,
}

/// A whole file, read.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    /// Line 1. Without it there are no events either.
    pub intent: Option<Intent>,
    /// The later lines.
    pub events: Vec<Event>,
    /// Lines of a newer format that are not understood.
    pub not_understood: Vec<NotUnderstood>,
    /// The newest format of any line, if it is newer than [`PLAYBACK_FORMAT`].
    pub newer: Option<u32>,
    /// What can be told of an intent of a newer format that is not understood.
    pub glimpse: Option<Glimpse>,
    /// Where reading stopped, if it did.
    pub problem: Option<Problem>,
    /// The beginning of a write that never ended.
    pub torn: Option<String>,
    /// The end of what is sound.
    pub tail: Tail,
}

/// What came of one line.
enum Step {
    Sound,
    Stop(String),
}

impl Contents {
    /// Reads a whole file.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut contents = Self {
            intent: None,
            events: Vec::new(),
            not_understood: Vec::new(),
            newer: None,
            glimpse: None,
            problem: None,
            torn: None,
            tail: Tail { length: 0, sum: None, open: false },
        };
        for (index, piece) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let taken = match piece.strip_suffix(b"\n") {
                Some(line) => contents.take(number, line),
                None => match contents.take_unended(number, piece) {
                    Some(step) => step,
                    None => {
                        contents.torn = Some(beginning(piece));
                        break;
                    }
                },
            };
            if let Step::Stop(told) = taken {
                contents.problem = Some(Problem { line: number, told });
                break;
            }
            contents.tail.length += piece.len() as u64;
            contents.tail.open = !piece.ends_with(b"\n");
        }
        contents
    }

    /// Takes a line that should be whole.
    fn take(&mut self, number: usize, line: &[u8]) -> Step {
        let (payload, sum) = match line::unseal(self.tail.sum.as_ref(), line) {
            Ok(unsealed) => unsealed,
            Err(problem) => return Step::Stop(problem.to_string()),
        };
        let step = match &self.intent {
            None => self.take_intent(&payload),
            Some(intent) => self.take_event(number, &payload, intent.edits.len()),
        };
        if let Step::Sound = step {
            self.tail.sum = Some(sum);
        }
        step
    }

    /// Takes text after the last newline: a whole line but for its newline, or a line whose newline became something
    /// else (damage), or else nothing: it is torn.
    fn take_unended(&mut self, number: usize, text: &[u8]) -> Option<Step> {
        let sum = self.tail.sum.as_ref();
        if line::unseal(sum, text).is_ok() {
            return Some(self.take(number, text));
        }
        let (_, without_last) = text.split_last()?;
        let ended = line::unseal(sum, without_last).is_ok();
        ended.then(|| Step::Stop("it does not end with a newline".to_owned()))
    }

    fn take_intent(&mut self, payload: &str) -> Step {
        let newer = self.notice_newer(payload);
        match format::decode_intent(payload) {
            Ok(intent) => {
                self.intent = Some(intent);
                Step::Sound
            }
            Err(problem) => match newer {
                Some(newer) => {
                    self.glimpse = Some(glimpse(payload));
                    Step::Stop(format!("it is written in format {newer}; this rc knows up to {PLAYBACK_FORMAT}"))
                }
                None => Step::Stop(format!("it makes no sense: {problem}")),
            },
        }
    }

    fn take_event(&mut self, number: usize, payload: &str, edit_count: usize) -> Step {
        let newer = self.notice_newer(payload);
        match format::decode_event(payload, edit_count) {
            Ok(event) => self.events.push(event),
            Err(_) if newer.is_some() => {
                self.not_understood.push(NotUnderstood { line: number, shown: beginning(payload.as_bytes()) });
            }
            Err(problem) => return Step::Stop(format!("it makes no sense: {problem}")),
        }
        Step::Sound
    }

    /// The format of the line, if it is a newer one than this program knows; kept for the file as a whole.
    fn notice_newer(&mut self, payload: &str) -> Option<u32> {
        let newer = format::format_of(payload).filter(|format| *format > PLAYBACK_FORMAT)?;
        self.newer = self.newer.max(Some(newer));
        Some(newer)
    }
}

/// Whether a whole file is still what was read from it once: `tail` is the end that it had then. The sums say so, without
/// reading what the lines mean again.
pub(super) fn is_unchanged(bytes: &[u8], tail: &Tail) -> bool {
    if bytes.len() as u64 != tail.length {
        return false;
    }
    let mut sum = None;
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line::check(sum.as_ref(), piece.strip_suffix(b"\n").unwrap_or(piece)) {
            Ok((_, next)) => sum = Some(next),
            Err(_) => return false,
        }
    }
    sum == tail.sum && bytes.ends_with(b"\n") != tail.open
}

fn beginning(bytes: &[u8]) -> String {
    // Four bytes are the longest character, so this much is enough however it is cut.
    let bytes = &bytes[..bytes.len().min(SHOWN_MAX * 4)];
    String::from_utf8_lossy(bytes).chars().take(SHOWN_MAX).collect()
}

/// What can be told of line 1 of a newer format, as far as it still is where it was.
fn glimpse(payload: &str) -> Glimpse {
    let Ok(line) = serde_json::from_str::<serde_json::Value>(payload) else {
        return Glimpse::default();
    };
    let text = |pointer: &str| line.pointer(pointer)?.as_str().map(|text| beginning(text.as_bytes()));
    let edits = line.pointer("/change/edits").and_then(serde_json::Value::as_array);
    let flag = |edit: &serde_json::Value| Some(beginning(edit.get("flag")?.as_str()?.as_bytes()));
    Glimpse {
        change: text("/change/id"),
        user: text("/change/motive/actor/user"),
        at: text("/change/motive/at"),
        flags: edits.into_iter().flatten().take(SHOWN_MAX).filter_map(flag).collect(),
        tool_version: text("/tool_version"),
    }
}
