//! The events of a relay's `/all` stream, out of bytes as they come (server-sent events; launchdarkly.md 7.1). The data of a
//! `put` goes through a [`PutScanner`] and is not kept; other events are small. Pure.
//!
//! A library such as sse-stream gives whole events only: the data of a `put` would be kept for each relay at once.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::flag::key::FlagKey;
use crate::flag::record::RECORD_LENGTH_MAX;
use crate::relay::put_scanner::PutScanner;
use crate::relay::served::Served;

/// The longest `put` that is followed, in bytes.
pub(super) const PUT_LENGTH_MAX: usize = 256 * 1024 * 1024;

/// The longest other event: a record with its envelope.
const EVENT_LENGTH_MAX: usize = RECORD_LENGTH_MAX + 4096;

/// The longest name of an event or field that is told from others.
const NAME_LENGTH_MAX: usize = 32;

/// An event that says something of the wanted flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FlagEvent {
    /// Everything anew: the wanted flags that are there.
    Put(BTreeMap<FlagKey, Served>),
    /// One flag.
    Patch(FlagKey, Served),
}

/// Where in a line the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    /// Just behind the colon, where one space does not count.
    ValueStart,
    Value,
    /// In a comment or a field that does not count.
    Ignored,
}

/// The field that the line's value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Event,
    Data,
}

/// Where an event's data goes.
#[derive(Debug)]
enum Data {
    None,
    Scanned(PutScanner),
    Kept(Vec<u8>),
    Dropped,
}

/// Reads a stream. After an error it must not be used again.
#[derive(Debug)]
pub(super) struct EventReader {
    wanted: Vec<FlagKey>,
    place: Place,
    name: Vec<u8>,
    field: Field,
    /// The last byte was a CR: an LF behind it belongs to the same line end.
    after_return: bool,
    event: Vec<u8>,
    data: Data,
    /// Bytes of this event's data.
    length: usize,
}

impl EventReader {
    pub(super) fn new(wanted: &[FlagKey]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            place: Place::Name,
            name: Vec::new(),
            field: Field::Data,
            after_return: false,
            event: Vec::new(),
            data: Data::None,
            length: 0,
        }
    }

    /// Takes the next bytes and gives the events that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<FlagEvent>, String> {
        let mut events = Vec::new();
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.take_in_line(line)?;
            let Some(ending) = rest.first() else { break };
            self.after_return = *ending == b'\r';
            events.extend(self.end_line()?);
            bytes = rest.get(1..).unwrap_or_default();
        }
        Ok(events)
    }

    fn take_in_line(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(first) = bytes.first() {
            match self.place {
                Place::Ignored => return Ok(()),
                Place::Value => return self.take_value(bytes),
                Place::ValueStart => {
                    self.place = Place::Value;
                    if *first == b' ' {
                        bytes = bytes.get(1..).unwrap_or_default();
                    }
                }
                Place::Name => {
                    if *first == b':' {
                        self.start_value()?;
                    } else if self.name.len() < NAME_LENGTH_MAX {
                        self.name.push(*first);
                    } else {
                        self.place = Place::Ignored;
                    }
                    bytes = bytes.get(1..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    fn start_value(&mut self) -> Result<(), String> {
        self.place = Place::ValueStart;
        match self.name.as_slice() {
            b"event" => {
                self.field = Field::Event;
                self.event.clear();
            }
            b"data" => {
                self.field = Field::Data;
                self.start_data()?;
            }
            _ => self.place = Place::Ignored,
        }
        Ok(())
    }

    /// A `data` line begins: the first chooses where the data goes, a later one is another line of it.
    fn start_data(&mut self) -> Result<(), String> {
        if !matches!(self.data, Data::None) {
            return self.take_data(b"\n");
        }
        self.data = match self.event.as_slice() {
            b"put" => Data::Scanned(PutScanner::new(&self.wanted)),
            // The name may follow the data.
            b"" | b"patch" | b"delete" => Data::Kept(Vec::new()),
            _ => Data::Dropped,
        };
        Ok(())
    }

    fn take_value(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.field {
            Field::Data => self.take_data(bytes),
            Field::Event => {
                let room = NAME_LENGTH_MAX.saturating_sub(self.event.len());
                self.event.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn take_data(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.length = self.length.saturating_add(bytes.len());
        let limit = if matches!(self.data, Data::Kept(_)) { EVENT_LENGTH_MAX } else { PUT_LENGTH_MAX };
        if self.length > limit {
            return Err(format!("an event of more than {limit} bytes"));
        }
        match &mut self.data {
            Data::Scanned(scanner) => scanner.push(bytes).map_err(|problem| format!("a put event, but {problem}")),
            Data::Kept(kept) => {
                kept.extend_from_slice(bytes);
                Ok(())
            }
            Data::None | Data::Dropped => Ok(()),
        }
    }

    fn end_line(&mut self) -> Result<Option<FlagEvent>, String> {
        let empty = self.place == Place::Name && self.name.is_empty();
        if !empty {
            self.place = Place::Name;
            self.name.clear();
            return Ok(None);
        }
        let event = std::mem::take(&mut self.event);
        self.length = 0;
        match std::mem::replace(&mut self.data, Data::None) {
            Data::None | Data::Dropped => Ok(None),
            Data::Scanned(scanner) => {
                let found = scanner.finish().map_err(|problem| format!("a put event, but {problem}"))?;
                Ok(Some(FlagEvent::Put(found)))
            }
            Data::Kept(data) => self.read_kept(&event, &data),
        }
    }

    fn read_kept(&self, event: &[u8], data: &[u8]) -> Result<Option<FlagEvent>, String> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            path: String,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            version: Option<u64>,
        }
        if event == b"put" {
            let mut scanner = PutScanner::new(&self.wanted);
            let found = scanner.push(data).and_then(|()| scanner.finish());
            return Ok(Some(FlagEvent::Put(found.map_err(|problem| format!("a put event, but {problem}"))?)));
        }
        if event != b"patch" && event != b"delete" {
            return Ok(None);
        }
        let unreadable = |problem: String| format!("a {} event, but {problem}", String::from_utf8_lossy(event));
        let envelope: Envelope<'_> = serde_json::from_slice(data).map_err(|error| unreadable(error.to_string()))?;
        let wanted = envelope.path.strip_prefix("/flags/");
        let Some(key) = wanted.and_then(|name| self.wanted.iter().find(|key| key.as_str() == name)) else {
            return Ok(None);
        };
        let served = match envelope.data {
            Some(record) if event == b"patch" => Served::parse(record.get().as_bytes()).map_err(unreadable)?,
            _ => Served::deletion(envelope.version.unwrap_or_default()),
        };
        Ok(Some(FlagEvent::Patch(key.clone(), served)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ":\nevent: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"a\":{\"version\":1},\"b\":{\"version\":9}},\"segments\":{}}}\n\n\
        : heartbeat\n\n\
        event:patch\ndata:{\"path\":\"/flags/a\",\ndata: \"data\":{\"version\":2}}\n\n\
        event: patch\ndata: {\"path\":\"/flags/b\",\"data\":{\"version\":10}}\n\n\
        event: patch\ndata: {\"path\":\"/segments/a\",\"data\":{\"version\":10}}\n\n\
        event: hello\ndata: anything\nretry: 3\nnonsense\n\n\
        data: {\"path\":\"/flags/a\",\"version\":3}\nid: 7\nevent: delete\n\n\
        event: patch\ndata: {\"path\":\"/flags/a\",\"data\":{\"version\":4}}\n";

    fn read(stream: &[u8], piece: usize) -> Result<Vec<FlagEvent>, String> {
        let mut reader = EventReader::new(&["a".parse().unwrap()]);
        let mut events = Vec::new();
        for bytes in stream.chunks(piece.max(1)) {
            events.extend(reader.push(bytes)?);
        }
        Ok(events)
    }

    #[test]
    fn events_are_read_whatever_the_pieces_and_line_ends() {
        let key: FlagKey = "a".parse().unwrap();
        let first = Served { version: 1, deleted: false, text: "{\"version\":1}".to_owned() };
        let second = Served { version: 2, deleted: false, text: "{\"version\":2}".to_owned() };
        let expected = [
            FlagEvent::Put(BTreeMap::from([(key.clone(), first)])),
            FlagEvent::Patch(key.clone(), second),
            FlagEvent::Patch(key, Served::deletion(3)),
        ];
        // The last event has no empty line behind it: it is not complete.
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = STREAM.replace('\n', line_end);
            for piece in 1..stream.len() {
                assert_eq!(read(stream.as_bytes(), piece).unwrap(), expected, "{line_end:?} {piece}");
            }
        }
    }

    #[test]
    fn what_is_damaged_is_said() {
        for stream in [
            "event: put\ndata: {\"data\":{\"flags\":{\"a\":\n\n",
            "event: put\ndata: nonsense\n\n",
            "event: patch\ndata: nonsense\n\n",
            "event: patch\ndata: {\"path\":\"/flags/a\",\"data\":7}\n\n",
        ] {
            assert!(read(stream.as_bytes(), 5).is_err(), "{stream}");
        }
    }

    #[test]
    fn an_event_without_end_is_cut_off() {
        let mut reader = EventReader::new(&["a".parse().unwrap()]);
        reader.push(b"event: patch\ndata: ").unwrap();
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..32).find_map(|_| reader.push(&piece).err());
        assert!(refused.unwrap().contains("more than"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall(bytes in "((event|data|id|x)?:? ?(put|patch)?[{}\":,a ]{0,5}[\r\n]{0,2}){0,30}", piece in 1_usize..20) {
            let _ = read(bytes.as_bytes(), piece);
        }
    }
}
