//! What the lines of a playback file say: line 1 is the intent, each later line one event. PURE: text in, values out.
//! It knows neither files nor sums.
//!
//! Every line carries the format that a reader must know to understand it, since a newer `rc` may add a line to an
//! older file. Reading a newer format goes as far as it can; writing to such a file is refused.

use std::borrow::Cow;
use std::collections::HashMap;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::change::edit::Change;
use crate::change::event::EditIndex;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::flag::record::Record;
use crate::flag::record::RecordError;

/// The newest format of playback files that this program reads and writes.
pub const PLAYBACK_FORMAT: u32 = 1;

/// A change as it stands in line 1: what was decided, and what it was decided upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// [`PLAYBACK_FORMAT`].
    pub format: u32,
    /// What, who, when, why.
    pub change: Change,
    /// The version of the program that made it.
    pub tool_version: String,
    /// What the relays said about LaunchDarkly's absence.
    pub outage: Vec<OutageNote>,
    /// One for each edit of the change, in the same order.
    pub edits: Vec<EditIntent>,
}

/// What a relay said about LaunchDarkly's absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageNote {
    /// The relay's label.
    pub relay: String,
    /// Its words, or ours about its silence.
    pub told: String,
}

/// What an edit does in the stores, and what it would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditIntent {
    /// The request that a replay would send now: method, path, body. For people; a replay builds its own.
    pub request: String,
    /// What it does in each target.
    pub targets: Vec<TargetIntent>,
}

/// What an edit does in one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetIntent {
    /// Where.
    pub target: Target,
    /// The record that was read.
    pub before: Option<Record>,
    /// The record that takes its place; `None` leaves it alone.
    pub after: Option<Record>,
    /// LaunchDarkly's newest record, as far as it was known there, where `before` is another one: an override stood there
    /// already. Whoever takes the edit back when the stores have forgotten that override puts this one back.
    pub theirs: Option<Record>,
}

impl Intent {
    /// What is wrong with it, if anything is: it would not be understood when it is read again.
    pub(super) fn flaw(&self) -> Option<String> {
        if self.change.edits.is_empty() {
            return Some("the change has no edits".to_owned());
        }
        if self.edits.len() != self.change.edits.len() {
            let (told, edits) = (self.edits.len(), self.change.edits.len());
            return Some(format!("it tells of {told} edits, the change has {edits}"));
        }
        None
    }

    /// The flags of the edits, in their order.
    pub(super) fn flags(&self) -> Vec<FlagKey> {
        self.change.edits.iter().map(|edit| edit.flag.clone()).collect()
    }

    /// The first of `writes` that the intent does not tell of: of another change, or with another record before or
    /// after it in that target.
    pub(super) fn first_untold<'w>(&self, writes: &'w [Write]) -> Option<&'w Write> {
        let mut told: HashMap<(&FlagKey, &Target), Vec<&TargetIntent>> = HashMap::new();
        for (edit, intent) in self.change.edits.iter().zip(&self.edits) {
            for target in &intent.targets {
                told.entry((&edit.flag, &target.target)).or_default().push(target);
            }
        }
        writes.iter().find(|write| {
            let here = told.get(&(&write.flag, &write.target)).map(Vec::as_slice).unwrap_or_default();
            let same = |target: &&TargetIntent| target.before == write.before && target.after == write.after;
            write.change != self.change.id || !here.iter().any(same)
        })
    }
}

/// Line 1 as it is on disk: each distinct record stands once, under a name of its own.
#[derive(Serialize, Deserialize)]
struct IntentLine<'i, AnyRecord> {
    format: u32,
    change: Cow<'i, Change>,
    tool_version: Cow<'i, str>,
    outage: Cow<'i, [OutageNote]>,
    records: IndexMap<String, AnyRecord>,
    edits: Vec<EditLine<'i>>,
}

#[derive(Serialize, Deserialize)]
struct EditLine<'i> {
    request: Cow<'i, str>,
    targets: Vec<TargetLine<'i>>,
}

#[derive(Serialize, Deserialize)]
struct TargetLine<'i> {
    target: Cow<'i, Target>,
    before: Option<String>,
    after: Option<String>,
    /// Readers before it pass it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    theirs: Option<String>,
}

/// A later line as it is on disk.
#[derive(Serialize, Deserialize)]
struct EventLine<'e> {
    format: u32,
    at: Timestamp,
    edit: EditIndex,
    what: Cow<'e, Happened>,
}

/// The part of a line that every format has.
#[derive(Deserialize)]
struct AnyLine {
    format: u32,
}

/// Gives each distinct record a name: `r1`, `r2`, …
#[derive(Default)]
struct RecordNames<'i> {
    by_text: HashMap<&'i str, String>,
    records: IndexMap<String, Record>,
}

impl<'i> RecordNames<'i> {
    fn name(&mut self, record: Option<&'i Record>) -> Option<String> {
        let record = record?;
        let next = format!("r{}", self.records.len() + 1);
        let name = self.by_text.entry(record.text()).or_insert_with(|| {
            self.records.insert(next.clone(), record.clone());
            next
        });
        Some(name.clone())
    }
}

/// The payload of line 1.
pub(super) fn encode_intent(intent: &Intent) -> Result<String, serde_json::Error> {
    let mut names = RecordNames::default();
    let mut edits = Vec::with_capacity(intent.edits.len());
    for edit in &intent.edits {
        let mut targets = Vec::with_capacity(edit.targets.len());
        for target in &edit.targets {
            targets.push(TargetLine {
                target: Cow::Borrowed(&target.target),
                before: names.name(target.before.as_ref()),
                after: names.name(target.after.as_ref()),
                theirs: names.name(target.theirs.as_ref()),
            });
        }
        edits.push(EditLine { request: Cow::Borrowed(&edit.request), targets });
    }
    let line = IntentLine {
        format: intent.format,
        change: Cow::Borrowed(&intent.change),
        tool_version: Cow::Borrowed(&intent.tool_version),
        outage: Cow::Borrowed(&intent.outage),
        records: names.records,
        edits,
    };
    // A line of ten thousand records would be moved again and again while it grows.
    let room: usize = line.records.values().map(|record: &Record| record.text().len()).sum();
    let mut payload = Vec::with_capacity(room + room / 4 + 512 * (1 + line.edits.len()));
    serde_json::to_writer(&mut payload, &line)?;
    String::from_utf8(payload).map_err(serde::ser::Error::custom)
}

/// Reads the payload of line 1. Fields that it does not know are passed over: a line is never written again.
pub(super) fn decode_intent(payload: &str) -> Result<Intent, String> {
    let line: IntentLine<'_, Record> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    let record = |name: Option<String>| match name {
        None => Ok(None),
        Some(name) => match line.records.get(&name) {
            Some(record) => Ok(Some(record.clone())),
            None => Err(format!("there is no record {name:?}")),
        },
    };
    let mut edits = Vec::with_capacity(line.edits.len());
    for edit in line.edits {
        let mut targets = Vec::with_capacity(edit.targets.len());
        for target in edit.targets {
            let (before, after, theirs) = (record(target.before)?, record(target.after)?, record(target.theirs)?);
            targets.push(TargetIntent { target: target.target.into_owned(), before, after, theirs });
        }
        edits.push(EditIntent { request: edit.request.into_owned(), targets });
    }
    let intent = Intent {
        format: line.format,
        change: line.change.into_owned(),
        tool_version: line.tool_version.into_owned(),
        outage: line.outage.into_owned(),
        edits,
    };
    match intent.flaw() {
        Some(flaw) => Err(flaw),
        None => Ok(intent),
    }
}

/// Whether the payload of line 1, read again, says what `intent` says. Records are compared by their text and not looked
/// into once more: a change may have ten thousand, and each was read before it became a [`Record`], which can only have
/// outgrown what a reader takes.
pub(super) fn reads_back(payload: &str, intent: &Intent) -> Result<bool, String> {
    let line: IntentLine<'_, String> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    if let Some(record) = line.records.values().find(|record| record.len() > RECORD_LENGTH_MAX) {
        return Err(RecordError::TooLong(record.len()).to_string());
    }
    let same_record = |name: &Option<String>, record: &Option<Record>| match (name, record) {
        (None, None) => true,
        (Some(name), Some(record)) => line.records.get(name).is_some_and(|text| *text == record.text()),
        _ => false,
    };
    let same_target = |(line, target): (&TargetLine<'_>, &TargetIntent)| {
        *line.target == target.target
            && same_record(&line.before, &target.before)
            && same_record(&line.after, &target.after)
            && same_record(&line.theirs, &target.theirs)
    };
    let same_edit = |(line, edit): (&EditLine<'_>, &EditIntent)| {
        line.request == edit.request
            && line.targets.len() == edit.targets.len()
            && line.targets.iter().zip(&edit.targets).all(same_target)
    };
    Ok(line.format == intent.format
        && *line.change == intent.change
        && line.tool_version == intent.tool_version
        && line.outage == intent.outage
        && line.edits.len() == intent.edits.len()
        && line.edits.iter().zip(&intent.edits).all(same_edit))
}

/// The oldest format whose readers understand an event. Exhaustive on purpose: whoever adds an event decides here.
fn format_needed(what: &Happened) -> u32 {
    match what {
        Happened::ReRead { .. }
        | Happened::Writing { .. }
        | Happened::Written { .. }
        | Happened::Refused { .. }
        | Happened::Unknown { .. }
        | Happened::SeenLive { .. }
        | Happened::NotLive { .. }
        | Happened::Restarted { .. }
        | Happened::Attempted { .. }
        | Happened::Replayed { .. }
        | Happened::Asking { .. }
        | Happened::NotAsked { .. }
        | Happened::AwaitingApproval { .. }
        | Happened::Conflict { .. }
        | Happened::Abandoned { .. }
        | Happened::Undone { .. }
        | Happened::Settled { .. } => 1,
    }
}

/// The payload of an event's line.
pub(super) fn encode_event(event: &Event) -> Result<String, serde_json::Error> {
    serde_json::to_string(&EventLine {
        format: format_needed(&event.what),
        at: event.at,
        edit: event.edit,
        what: Cow::Borrowed(&event.what),
    })
}

/// Reads the payload of a later line of a change with `edit_count` edits: the format that it claims, and the event.
pub(super) fn decode_event(payload: &str, edit_count: usize) -> Result<(u32, Event), String> {
    let line: EventLine<'_> = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    if line.edit >= edit_count {
        return Err(format!("it tells of edit {}, the change has {edit_count}", line.edit));
    }
    Ok((line.format, Event { at: line.at, edit: line.edit, what: line.what.into_owned() }))
}

/// The format of a line, whatever else it says. `None` where it does not say.
pub(super) fn format_of(payload: &str) -> Option<u32> {
    serde_json::from_str::<AnyLine>(payload).ok().map(|line| line.format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::edit::ChangeKind;
    use crate::change::edit::Edit;
    use crate::change::edit::Motive;
    use crate::change::id::Actor;
    use crate::change::id::ChangeId;
    use crate::flag::instruction::Instruction;

    fn intent() -> Intent {
        let record = |text: &str| Record::parse(text.as_bytes()).ok();
        let target = Target { store: "a".to_owned(), prefix: "ld:shop:production".to_owned() };
        let edit = Edit {
            environment: crate::flag::key::Environment {
                project: "shop".parse().unwrap(),
                key: "production".parse().unwrap(),
            },
            flag: "checkout".parse().unwrap(),
            instructions: vec![Instruction::TurnFlagOff],
        };
        let actor = Actor { user: "anna".to_owned(), host: "bastion".to_owned() };
        let motive = Motive { actor, at: Timestamp::UNIX_EPOCH, reason: None, incident: None, expires: None };
        let (before, after) = (record(r#"{"on":true,"version":7}"#), record(r#"{"on":false,"version":8}"#));
        let theirs = record(r#"{"on":true,"version":6}"#);
        Intent {
            format: PLAYBACK_FORMAT,
            change: Change { id: ChangeId::new(), kind: ChangeKind::Update, motive, edits: vec![edit] },
            tool_version: "0.1.0".to_owned(),
            outage: Vec::new(),
            edits: vec![EditIntent {
                request: "PATCH".to_owned(),
                targets: vec![TargetIntent { target, before, after, theirs }],
            }],
        }
    }

    #[test]
    fn reading_back_agrees_with_reading() {
        let intent = intent();
        let payload = encode_intent(&intent).unwrap();
        assert_eq!(decode_intent(&payload).unwrap(), intent);
        assert_eq!(reads_back(&payload, &intent), Ok(true));
        for (from, to) in [
            ("\\\"version\\\":8", "\\\"version\\\":9"),
            ("PATCH", "PUT"),
            ("anna", "otto"),
            ("checkout", "check"),
            (":\"r2\"", ":\"r1\""),
            (":\"r3\"", ":\"r1\""),
        ] {
            let other = payload.replacen(from, to, 1);
            assert_ne!(other, payload, "{from}");
            assert_ne!(decode_intent(&other).unwrap(), intent, "{from}");
            assert_eq!(reads_back(&other, &intent), Ok(false), "{from}");
        }
        assert!(reads_back("{}", &intent).is_err());
    }
}
