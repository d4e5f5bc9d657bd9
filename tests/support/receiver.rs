//! Somebody who is told things over HTTP: a webhook as a test wants it, real or bad. Every request is kept, whole.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use super::wire::LONG;
use super::wire::header;

/// What came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub path: String,
    head: String,
    /// The body, as it came.
    pub body: String,
}

impl Received {
    /// A header, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes what comes.
    Takes,
    /// It answers with this status, and sends whoever follows to `/elsewhere`.
    Says(u16),
    /// It never answers.
    Hangs,
}

/// Listens until the test ends.
pub struct Receiver {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    manner: Arc<Mutex<Manner>>,
}

impl Receiver {
    /// Begins, on a free port.
    pub fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let own = Self { address, received: Arc::default(), manner: Arc::new(Mutex::new(manner)) };
        let (received, manner) = (Arc::clone(&own.received), Arc::clone(&own.manner));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (received, manner) = (Arc::clone(&received), Arc::clone(&manner));
                thread::spawn(move || serve(stream, &received, &manner));
            }
        });
        own
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// From now on it answers otherwise.
    pub fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// All that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for something that came, or will.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Received) -> bool) -> Received {
        let begun = Instant::now();
        loop {
            let received = self.received();
            if let Some(found) = received.iter().find(|received| wanted(received)) {
                return found.clone();
            }
            assert!(begun.elapsed() < LONG, "{what} never came: {received:#?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One request: head, body, answer, end.
fn serve(mut stream: TcpStream, received: &Mutex<Vec<Received>>, manner: &Mutex<Manner>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let (head, length) = loop {
        let Ok(read @ 1..) = stream.read(&mut piece) else { return };
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = match header(head, "content-length") {
            "" => 0,
            length => length.parse::<usize>().unwrap(),
        };
        break (head.to_owned(), length);
    };
    let begin = head.len() + 4;
    while bytes.len() < begin + length {
        let Ok(read @ 1..) = stream.read(&mut piece) else { return };
        bytes.extend_from_slice(&piece[..read]);
    }
    let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let body = String::from_utf8(bytes[begin..begin + length].to_vec()).unwrap();
    received.lock().unwrap_or_else(PoisonError::into_inner).push(Received { path, head, body });
    let manner = *manner.lock().unwrap_or_else(PoisonError::into_inner);
    let status = match manner {
        Manner::Takes => 202,
        Manner::Says(status) => status,
        Manner::Hangs => {
            // Until the other side gives up.
            let _ = stream.read(&mut piece);
            return;
        }
    };
    let answer =
        format!("HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 4\r\nconnection: close\r\n\r\ntold");
    let _ = stream.write_all(answer.as_bytes());
}
