//! A relay's side of a connection, byte by byte: a plain socket, one request, and what comes back taken out of its chunks.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

/// Longer than anything takes here.
pub const LONG: Duration = Duration::from_secs(40);

/// What the relay of LaunchDarkly calls itself.
pub const AGENT: &str = "GoClient/7.6.0 LDRelay/8.10.1";

/// A header in the head of a request or an answer; empty where it is not there.
pub fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let found = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    });
    found.unwrap_or_default()
}

/// An open connection after the head of the answer.
pub struct Wire {
    stream: TcpStream,
    /// The answer's status.
    pub status: u16,
    /// The head of the answer.
    pub head: String,
    chunked: bool,
    /// What came and is not yet taken out of its chunks.
    raw: Vec<u8>,
    /// How much of the chunk is still to come.
    chunk_left: usize,
    /// The body that was not handed out yet.
    body: Vec<u8>,
    /// How much of it was looked through for the end of an event.
    looked: usize,
    ended: bool,
    /// How long it took until the head was there.
    pub answered_after: Duration,
}

/// How a body goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// These bytes: a whole event, or a comment, with the empty line.
    Event(Vec<u8>),
    /// It ended as it should.
    End,
    /// It broke off.
    Broken,
    /// Nothing came in time.
    Nothing,
}

impl Wire {
    /// Asks for a path with a key.
    #[track_caller]
    pub fn ask(guard: SocketAddr, path: &str, key: &str) -> Self {
        Self::ask_as(guard, path, key, AGENT)
    }

    /// The same by another name.
    #[track_caller]
    pub fn ask_as(guard: SocketAddr, path: &str, key: &str, agent: &str) -> Self {
        Self::send(
            guard,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: guard\r\nAuthorization: {key}\r\nUser-Agent: {agent}\r\n\
             Accept: text/event-stream\r\nX-LaunchDarkly-Tags: a/b\r\nAccept-Encoding: gzip\r\n\r\n"
            ),
        )
    }

    /// Sends a request as it stands.
    #[track_caller]
    pub fn send(guard: SocketAddr, request: &str) -> Self {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(guard).expect("the guard takes connections");
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                other => panic!("no head but {:?}: {other:?}", String::from_utf8_lossy(&head)),
            }
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Self {
            stream,
            status,
            head,
            chunked,
            raw: Vec::new(),
            chunk_left: 0,
            body: Vec::new(),
            looked: 0,
            ended: false,
            answered_after: begun.elapsed(),
        }
    }

    /// A stream, which must be granted.
    #[track_caller]
    pub fn stream(guard: SocketAddr, path: &str, key: &str) -> Self {
        let wire = Self::ask(guard, path, key);
        assert_eq!(wire.status, 200, "{}", wire.head);
        wire
    }

    /// What comes next, within `patience`.
    pub fn next(&mut self, patience: Duration) -> Next {
        let begun = Instant::now();
        loop {
            if let Some(end) = memchr::memmem::find(&self.body[self.looked..], b"\n\n") {
                let rest = self.body.split_off(self.looked + end + 2);
                self.looked = 0;
                return Next::Event(std::mem::replace(&mut self.body, rest));
            }
            self.looked = self.body.len().saturating_sub(1);
            if self.ended {
                return if self.body.is_empty() { Next::End } else { Next::Broken };
            }
            let Some(left) = patience.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                return Next::Nothing;
            };
            match self.more(left, 256 * 1024) {
                Some(true) => {}
                Some(false) => return Next::Broken,
                None => return Next::Nothing,
            }
        }
    }

    /// The next event, which must come; comments are passed over.
    #[track_caller]
    pub fn event(&mut self) -> Vec<u8> {
        let begun = Instant::now();
        loop {
            match self.next(LONG.saturating_sub(begun.elapsed())) {
                Next::Event(bytes) => {
                    if let Some(event) = without_comments(bytes) {
                        return event;
                    }
                }
                other => panic!("{other:?} instead of an event"),
            }
        }
    }

    /// The next event, if one comes in time; comments are passed over.
    #[track_caller]
    pub fn event_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let begun = Instant::now();
        loop {
            match self.next(patience.checked_sub(begun.elapsed())?) {
                Next::Event(bytes) => {
                    if let Some(event) = without_comments(bytes) {
                        return Some(event);
                    }
                }
                Next::Nothing => return None,
                other => panic!("{other:?} instead of an event"),
            }
        }
    }

    /// The next event as text.
    #[track_caller]
    pub fn text(&mut self) -> String {
        String::from_utf8(self.event()).unwrap()
    }

    /// That no event comes for so long.
    #[track_caller]
    pub fn nothing_for(&mut self, patience: Duration) {
        let begun = Instant::now();
        while let Some(left) = patience.checked_sub(begun.elapsed()) {
            match self.next(left) {
                Next::Event(bytes) if without_comments(bytes.clone()).is_none() => {}
                Next::Nothing => return,
                other => panic!("{other:?} instead of nothing"),
            }
        }
    }

    /// Reads some bytes of the connection, up to `most`, and takes them out of their chunks. `None`: nothing came in time.
    /// `false`: it broke off.
    pub fn more(&mut self, patience: Duration, most: usize) -> Option<bool> {
        self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1)))).unwrap();
        let mut buffer = vec![0; most];
        match self.stream.read(&mut buffer) {
            Ok(0) => {
                let whole = !self.chunked;
                self.ended |= whole;
                Some(whole)
            }
            Ok(length) => {
                self.raw.extend_from_slice(&buffer[..length]);
                self.unchunk();
                Some(true)
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => None,
            Err(_) => Some(false),
        }
    }

    /// The body that came and was not handed out yet.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The whole body, to its end.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let length = self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        while !self.ended && length.is_none_or(|length| self.body.len() < length) {
            match self.more(LONG, 64 * 1024) {
                Some(true) => {}
                other => panic!("{other:?} in the middle of a body"),
            }
        }
        String::from_utf8(std::mem::take(&mut self.body)).unwrap()
    }

    fn unchunk(&mut self) {
        if !self.chunked {
            self.body.append(&mut self.raw);
            return;
        }
        let mut at = 0;
        loop {
            if self.chunk_left > 0 {
                let take = self.chunk_left.min(self.raw.len() - at);
                self.body.extend_from_slice(&self.raw[at..at + take]);
                at += take;
                self.chunk_left -= take;
                if self.chunk_left > 0 {
                    break;
                }
                // What ends the chunk is taken with the next size.
                continue;
            }
            let rest = &self.raw[at..];
            let begin = if rest.starts_with(b"\r\n") { 2 } else { 0 };
            if rest == b"\r" {
                break;
            }
            let Some(end) = memchr::memmem::find(&rest[begin..], b"\r\n") else { break };
            let size = std::str::from_utf8(&rest[begin..begin + end]).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("a chunk of {size:?}"));
            at += begin + end + 2;
            if size == 0 {
                self.ended = true;
                break;
            }
            self.chunk_left = size;
        }
        self.raw.drain(..at);
    }
}

/// The event without the comments before it: LaunchDarkly's servers put no empty line behind a comment.
fn without_comments(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    while bytes.starts_with(b":") {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        bytes.drain(..=end);
    }
    (bytes != b"\n").then_some(bytes)
}
