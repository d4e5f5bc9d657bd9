//! The body of an answer, taken out of its chunks, and the events in it counted.

/// Where the reader of chunks stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// In the head of the answer.
    Head,
    /// In the line with the size of a chunk; the size so far.
    Size(usize),
    /// In a chunk of which so many bytes are to come.
    Data(usize),
}

/// Reads an answer, whatever the pieces in which it comes.
#[derive(Debug)]
pub struct Chunks {
    at: At,
    head: Vec<u8>,
    /// The last byte of the body was a line feed.
    line_end: bool,
    /// Nothing of the block of lines has come yet.
    begins: bool,
    /// The block of lines is a comment.
    comment: bool,
    /// Events that are complete.
    pub events: usize,
}

impl Chunks {
    /// Nothing has come.
    pub fn new() -> Self {
        let head = Vec::new();
        Self { at: At::Head, head, line_end: false, begins: true, comment: false, events: 0 }
    }

    /// Whether the head is there, and grants a stream.
    pub fn is_open(&self) -> bool {
        !matches!(self.at, At::Head)
    }

    /// Takes the next bytes; what of them is of the body is handed on.
    ///
    /// # Errors
    /// What came is no stream in chunks.
    pub fn push(&mut self, mut bytes: &[u8], mut body: impl FnMut(&[u8])) -> Result<(), String> {
        while let Some(first) = bytes.first() {
            let taken = match self.at {
                At::Head => self.head(*first)?,
                At::Size(size) => {
                    self.at = match first {
                        b'\n' if size == 0 => return Err("the stream ended".to_owned()),
                        // What ends a chunk has its line feed too, without a size.
                        b'\n' if size == usize::MAX => At::Size(usize::MAX),
                        b'\n' => At::Data(size),
                        b'\r' => At::Size(size),
                        digit => {
                            let digit = (*digit as char).to_digit(16).ok_or("no size of a chunk")? as usize;
                            let size = if size == usize::MAX { 0 } else { size };
                            At::Size(size * 16 + digit)
                        }
                    };
                    1
                }
                At::Data(left) => {
                    let part = bytes.get(..left.min(bytes.len())).unwrap_or_default();
                    self.count(part);
                    body(part);
                    let left = left - part.len();
                    self.at = if left == 0 { At::Size(usize::MAX) } else { At::Data(left) };
                    part.len()
                }
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn head(&mut self, byte: u8) -> Result<usize, String> {
        self.head.push(byte);
        if self.head.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.head).to_lowercase();
            if !head.starts_with("http/1.1 200") || !head.contains("transfer-encoding: chunked") {
                return Err(format!("no stream was granted:\n{head}"));
            }
            self.head = Vec::new();
            self.at = At::Size(usize::MAX);
        }
        Ok(1)
    }

    fn count(&mut self, mut part: &[u8]) {
        while let Some(first) = part.first() {
            if std::mem::take(&mut self.begins) {
                self.comment = *first == b':';
            }
            let length = match memchr::memchr(b'\n', part) {
                Some(0) if self.line_end => {
                    self.events += usize::from(!self.comment);
                    (self.begins, self.line_end) = (true, false);
                    1
                }
                Some(at) => {
                    self.line_end = true;
                    at + 1
                }
                None => {
                    self.line_end = false;
                    part.len()
                }
            };
            part = part.get(length..).unwrap_or_default();
        }
    }
}
