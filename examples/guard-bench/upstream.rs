//! LaunchDarkly's stream, as little as there can be of it: it grants every request, and then says what it is told to say on
//! all connections that there are. Threads that write and do nothing else, so that it is not what is measured.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::LONG;
use crate::Outcome;

const GRANTED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// So much of a long event is one chunk.
const CHUNK: usize = 64 * 1024;

/// LaunchDarkly's stream.
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

/// Events as they are sent: each in chunks of its own.
pub struct Script {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl Script {
    /// These events.
    pub fn of(events: impl IntoIterator<Item = String>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for event in events {
            for part in event.as_bytes().chunks(CHUNK) {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of the events from one number to another.
    fn part(&self, from: usize, to: usize) -> &[u8] {
        let end = |number: usize| number.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        self.bytes.get(end(from)..end(to)).unwrap_or_default()
    }
}

impl Upstream {
    /// Begins to grant requests. Each stream begins with `first`.
    pub fn start(first: Option<Script>) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (own, first) = (Arc::clone(&streams), Arc::new(first));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (streams, first) = (Arc::clone(&own), Arc::clone(&first));
                std::thread::spawn(move || {
                    // One that does not ask is none.
                    if let Ok(stream) = granted(stream, first.as_ref().as_ref()) {
                        streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                    }
                });
            }
        });
        Ok(Self { address, streams })
    }

    /// Its address as `LD_STREAM_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until there are so many streams.
    pub fn wait_for(&self, count: usize) -> Outcome<()> {
        let begun = Instant::now();
        while self.streams.lock().unwrap_or_else(PoisonError::into_inner).len() < count {
            if begun.elapsed() > LONG {
                return Err(format!("there are no {count} streams").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn taken(&self) -> Outcome<Vec<TcpStream>> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(streams.iter().map(TcpStream::try_clone).collect::<Result<_, _>>()?)
    }

    /// Says everything on all streams at once; when it began, and when the last byte was handed over.
    pub fn say(&self, script: &Script) -> Outcome<(SystemTime, SystemTime)> {
        let streams = self.taken()?;
        let begun = SystemTime::now();
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                streams.iter().map(|mut stream| scope.spawn(move || stream.write_all(&script.bytes))).collect();
            writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a thread ended")?.map_err(Into::into))
        })
        .map_err(|error: Box<dyn std::error::Error + Send + Sync>| error)?;
        Ok((begun, SystemTime::now()))
    }

    /// The same on the only stream, without any other thread.
    pub fn say_alone(&self, script: &Script) -> Outcome<(SystemTime, SystemTime)> {
        let streams = self.taken()?;
        let [stream] = streams.as_slice() else { return Err(format!("{} streams", streams.len()).into()) };
        let mut stream = stream;
        let begun = SystemTime::now();
        stream.write_all(&script.bytes)?;
        Ok((begun, SystemTime::now()))
    }

    /// Says an event each `every`, on all streams in turn; when it is late, those that are due go together. When it began,
    /// and when the last one was handed over.
    pub fn say_by_and_by(&self, script: &Script, every: Duration) -> Outcome<(SystemTime, SystemTime)> {
        let streams = self.taken()?;
        let (begun, started) = (SystemTime::now(), Instant::now());
        let mut said = 0;
        while said < script.len() {
            let due = started.elapsed().as_nanos() / every.as_nanos().max(1) + 1;
            let due = usize::try_from(due)?.min(script.len());
            if due == said {
                std::thread::sleep((started + every * u32::try_from(said)?).saturating_duration_since(Instant::now()));
                continue;
            }
            for mut stream in &streams {
                stream.write_all(script.part(said, due))?;
            }
            said = due;
        }
        Ok((begun, SystemTime::now()))
    }
}

/// Reads a request, and grants it.
fn granted(mut stream: TcpStream, first: Option<&Script>) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONG))?;
    let (mut head, mut buffer) = (Vec::new(), [0; 4_096]);
    while !head.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
    stream.write_all(GRANTED)?;
    if let Some(first) = first {
        stream.write_all(&first.bytes)?;
    }
    Ok(stream)
}
