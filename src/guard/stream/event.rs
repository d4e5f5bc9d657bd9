//! Server-sent events out of bytes as they come, each with its exact bytes, so that what the guard does not change goes on
//! as it came. PURE. An event is handed out when it is complete, and never in part (launchdarkly.md 7.1). It must not know
//! what events mean.
//!
//! A library such as sse-stream gives an event's fields and not its bytes, and swallows comments, which are heartbeats
//! here.

use bytes::Buf;
use bytes::Bytes;
use bytes::BytesMut;

/// The longest event, in bytes, that is taken if nothing else is said: a `put` of the largest environments known is about
/// a tenth of it.
pub const EVENT_LENGTH_MAX: usize = 256 * 1024 * 1024;

/// The room that is kept for the next event after a large one, in bytes.
const KEPT_CAPACITY_MAX: usize = 64 * 1024;

/// One whole event, or what stood between two: a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An event.
    Event(Event),
    /// Lines that make no event: comments, which LaunchDarkly sends as heartbeats. With the empty line behind them.
    Comment(Bytes),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its exact bytes, with the empty line that ends it.
    pub bytes: Bytes,
    /// Its name; `message` where it has none.
    pub name: String,
    /// Its data: the lines joined by line feeds. It shares the memory of `bytes` where it is one line, as LaunchDarkly
    /// sends it.
    pub data: Bytes,
}

/// The stream cannot be followed any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// An event that does not end.
    #[error("an event of more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// Bytes that are no text.
    #[error("an event that is not UTF-8")]
    NotText,
}

/// Takes a stream apart. After an error it must not be used again.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// What came since the last whole event.
    kept: BytesMut,
    /// How much of `kept` has been looked through for its end.
    looked: usize,
    /// Where the line begins that is being looked through.
    line: usize,
}

impl Splitter {
    /// Events of up to `limit` bytes are taken.
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: BytesMut::new(), looked: 0, line: 0 }
    }

    /// Takes the next bytes, and gives what they complete. A carriage return at the very end waits for what follows.
    ///
    /// # Errors
    /// [`EventError`]: the connection is of no further use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, EventError> {
        self.kept.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        while let Some(end) = self.next_end() {
            // A copy of just its size: what is kept of an event for long must not keep the memory of others, or room for
            // more, alive with it.
            let whole = Bytes::copy_from_slice(self.kept.get(..end).unwrap_or_default());
            self.kept.advance(end);
            if self.kept.capacity() > KEPT_CAPACITY_MAX && self.kept.len() <= KEPT_CAPACITY_MAX {
                self.kept = BytesMut::from(self.kept.as_ref());
            }
            (self.looked, self.line) = (0, 0);
            pieces.extend(piece(whole)?);
        }
        if self.kept.len() > self.limit {
            return Err(EventError::TooLong { limit: self.limit });
        }
        Ok(pieces)
    }

    /// Whether an event has begun and is not complete: if the connection ends now, it is lost.
    pub fn is_within_event(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The end of the first block of lines that an empty line closes. An empty line at the beginning closes nothing.
    fn next_end(&mut self) -> Option<usize> {
        loop {
            let rest = self.kept.get(self.looked..)?;
            let Some(at) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.looked = self.kept.len();
                return None;
            };
            let end = self.looked + at;
            let next = match (self.kept.get(end), self.kept.get(end + 1)) {
                // What follows may belong to the same line end.
                (Some(b'\r'), None) => {
                    self.looked = end;
                    return None;
                }
                (Some(b'\r'), Some(b'\n')) => end + 2,
                _ => end + 1,
            };
            let is_empty = end == self.line;
            (self.looked, self.line) = (next, next);
            if is_empty {
                return Some(next);
            }
        }
    }
}

/// Reads a block of lines that an empty line closes.
fn piece(whole: Bytes) -> Result<Option<Piece>, EventError> {
    if std::str::from_utf8(&whole).is_err() {
        return Err(EventError::NotText);
    }
    let mut name = None;
    let mut data: Vec<std::ops::Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(rest) = whole.get(at..).filter(|rest| !rest.is_empty()) {
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..length).unwrap_or_default();
        let colon = memchr::memchr(b':', line);
        let value_at = match colon {
            Some(colon) if line.get(colon + 1) == Some(&b' ') => colon + 2,
            Some(colon) => colon + 1,
            None => length,
        };
        match line.get(..colon.unwrap_or(length)) {
            Some(b"event") => {
                name = Some(String::from_utf8_lossy(line.get(value_at..).unwrap_or_default()).into_owned())
            }
            Some(b"data") => data.push(at + value_at..at + length),
            _ => {}
        }
        let crlf = rest.get(length..length + 2) == Some(b"\r\n");
        at += length + if crlf { 2 } else { 1 };
    }
    if data.is_empty() {
        // By the rule of server-sent events what has no data is no event, whatever its name.
        let empty = whole.iter().all(|byte| matches!(byte, b'\n' | b'\r'));
        return Ok((!empty).then_some(Piece::Comment(whole)));
    }
    let joined = match data.as_slice() {
        [one] => whole.slice(one.clone()),
        lines => {
            let lines: Vec<&[u8]> = lines.iter().map(|line| whole.get(line.clone()).unwrap_or_default()).collect();
            Bytes::from(lines.join(&b'\n'))
        }
    };
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| "message".to_owned());
    Ok(Some(Piece::Event(Event { bytes: whole, name, data: joined })))
}

/// The bytes of an event with this name and this data. Line ends in the data, which in JSON are white space, become
/// spaces, so that it is one line.
pub fn written(name: &str, data: &[&[u8]]) -> Bytes {
    let length: usize = data.iter().map(|part| part.len()).sum();
    let mut bytes = BytesMut::with_capacity(length + name.len() + 24);
    bytes.extend_from_slice(b"event: ");
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(b"\ndata: ");
    for part in data {
        let mut rest = *part;
        while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            bytes.extend_from_slice(rest.get(..at).unwrap_or_default());
            bytes.extend_from_slice(b" ");
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        bytes.extend_from_slice(rest);
    }
    bytes.extend_from_slice(b"\n\n");
    bytes.freeze()
}

/// The comment that keeps a connection alive while there is nothing to say.
pub const HEARTBEAT: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ":\n\nevent: put\ndata: {\"a\":1}\n\n:hello\n\nevent:patch\ndata:x\ndata: y\nid: 7\n\nevent: nothing\n\ndata: no name\n\n";

    fn read(stream: &[u8], piece: usize) -> Result<Vec<Piece>, EventError> {
        let mut splitter = Splitter::new(1_000);
        let mut pieces = Vec::new();
        for bytes in stream.chunks(piece.max(1)) {
            pieces.extend(splitter.push(bytes)?);
        }
        Ok(pieces)
    }

    fn told(piece: &Piece) -> String {
        match piece {
            Piece::Event(event) => format!("{}={}", event.name, String::from_utf8_lossy(&event.data)),
            Piece::Comment(comment) => format!("#{}", String::from_utf8_lossy(comment).trim()),
        }
    }

    #[test]
    fn events_come_out_whole_whatever_the_pieces_and_line_ends() {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = STREAM.replace('\n', line_end);
            for size in 1..=stream.len() {
                // After the last carriage return of all a line feed could follow.
                let stream = format!("{stream}:");
                let pieces = read(stream.as_bytes(), size).unwrap();
                let told: Vec<String> = pieces.iter().map(told).collect();
                assert_eq!(
                    told,
                    ["#:", "put={\"a\":1}", "#:hello", "patch=x\ny", "#event: nothing", "message=no name"],
                    "{line_end:?} {size}"
                );
            }
        }
    }

    #[test]
    fn a_large_event_leaves_no_room_behind() {
        let mut splitter = Splitter::new(EVENT_LENGTH_MAX);
        let large = [b"data: ".as_slice(), &vec![b'x'; 3_000_000], b"\n\ndata: y"].concat();
        let pieces: Vec<Piece> = large.chunks(10_000).flat_map(|piece| splitter.push(piece).unwrap()).collect();
        assert_eq!(pieces.len(), 1);
        assert!(splitter.kept.capacity() <= KEPT_CAPACITY_MAX, "{}", splitter.kept.capacity());
        assert_eq!(splitter.push(b"\n\n").unwrap().iter().map(told).collect::<Vec<_>>(), ["message=y"]);
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut splitter = Splitter::new(100);
        assert!(splitter.push(&[b'x'; 100]).unwrap().is_empty());
        assert!(splitter.is_within_event());
        assert_eq!(splitter.push(b"x"), Err(EventError::TooLong { limit: 100 }));
        assert_eq!(Splitter::new(100).push(b"data: \xff\n\n"), Err(EventError::NotText));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = written("patch", &[b"{\"a\":\r\n 1,", b"\"b\":2\n}"]);
        let pieces = read(&bytes, 3).unwrap();
        let [Piece::Event(event)] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert_eq!((event.name.as_str(), event.data.as_ref()), ("patch", &b"{\"a\":   1,\"b\":2 }"[..]));
        assert_eq!(event.bytes, bytes);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(stream in "((event|data|id)?:? ?[a-z]{0,3}[\r\n]{0,2}){0,20}", size in 1_usize..9) {
            let pieces = read(stream.as_bytes(), size).unwrap();
            let whole: Vec<u8> = pieces.iter().flat_map(|piece| match piece {
                Piece::Event(event) => event.bytes.to_vec(),
                Piece::Comment(comment) => comment.to_vec(),
            }).collect();
            // But for empty lines and for what is not complete, the bytes are those that came.
            let mut rest = stream.as_bytes();
            for byte in &whole {
                let at = rest.iter().position(|other| other == byte).unwrap();
                prop_assert!(rest[..at].iter().all(|byte| matches!(byte, b'\n' | b'\r')));
                rest = &rest[at + 1..];
            }
            prop_assert_eq!(read(stream.as_bytes(), 1_000).unwrap(), pieces);
        }
    }
}
