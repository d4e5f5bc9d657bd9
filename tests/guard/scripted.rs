//! A LaunchDarkly that does what a test tells it, byte for byte: plain sockets, with or without TLS, a thread for each
//! connection.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::wire::LONG;
use super::wire::header;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Path and query.
    pub path: String,
    /// The whole head.
    pub head: String,
    /// How often the same path was asked for with the same key before.
    pub before: usize,
}

impl Request {
    /// A header, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        header(&self.head, name)
    }
}

/// What a request is answered with.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200, and a stream that begins with these bytes and is then held open.
    Stream(Vec<u8>),
    /// The same, and the connection is closed after these bytes.
    Cut(Vec<u8>),
    /// These bytes, whatever they are, and the connection is closed.
    Raw(Vec<u8>),
    /// A status without a body; more header lines, each with its end.
    Status(u16, &'static str),
    /// No answer, and the connection is held.
    BlackHole,
}

type Script = Box<dyn Fn(&Request) -> Reply + Send>;

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

struct State {
    script: Script,
    requests: Vec<Request>,
    /// Connections that are held open, with the path that was asked for.
    held: Vec<(String, Box<dyn Both>)>,
    accepting: bool,
}

/// The server.
pub struct Scripted {
    /// Its address as LD_STREAM_URL.
    pub url: String,
    port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Scripted {
    /// Answers by this script.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        Self::with(None, script)
    }

    /// Every stream begins with these bytes.
    pub fn streaming(first: impl Into<Vec<u8>>) -> Self {
        let first = first.into();
        Self::start(move |_| Reply::Stream(first.clone()))
    }

    /// With TLS; the authority's certificate is written to this file.
    pub fn with_tls(authority: &Path, script: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        Self::with(Some(certificates(authority)), script)
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, script: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = State { script: Box::new(script), requests: Vec::new(), held: Vec::new(), accepting: true };
        let own = Self {
            url: format!("{scheme}://localhost:{port}"),
            port,
            state: Arc::new((Mutex::new(state), Condvar::new())),
            tls,
        };
        own.accept(listener);
        own
    }

    fn accept(&self, listener: TcpListener) {
        let (state, tls) = (Arc::clone(&self.state), self.tls.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if !held(&state).accepting {
                    return;
                }
                let (state, tls) = (Arc::clone(&state), tls.clone());
                thread::spawn(move || serve(&state, stream, tls));
            }
        });
    }

    fn held(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }

    /// Answers by another script from now on.
    pub fn script(&self, script: impl Fn(&Request) -> Reply + Send + 'static) {
        self.held().script = Box::new(script);
    }

    /// Sends bytes on every connection that is held open.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.held();
        for (_, stream) in &mut state.held {
            // One that is gone is gone.
            let _ = stream.write_all(bytes).and_then(|()| stream.flush());
        }
    }

    /// Closes every connection that is held open.
    pub fn cut(&self) {
        self.held().held.clear();
    }

    /// Takes no more connections, and closes those there are: connections are refused.
    pub fn go_away(&self) {
        let mut state = self.held();
        state.accepting = false;
        state.held.clear();
        drop(state);
        // The listener ends with the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            assert!(begun.elapsed() < LONG, "the listener does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Comes back at the same address.
    pub fn come_back(&self) {
        self.held().accepting = true;
        let begun = Instant::now();
        loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => return self.accept(listener),
                Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the script says to a request.
    pub fn reply_to(&self, request: &Request) -> Reply {
        let state = self.held();
        (state.script)(request)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.held().requests.clone()
    }

    /// Waits until there were so many requests.
    #[track_caller]
    pub fn wait_for_requests(&self, number: usize) -> Vec<Request> {
        let begun = Instant::now();
        let mut state = self.held();
        while state.requests.len() < number {
            let left = LONG.checked_sub(begun.elapsed()).expect("so many requests never came");
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.requests.clone()
    }

    /// Waits until so many connections are held open.
    #[track_caller]
    pub fn wait_for_held(&self, number: usize) {
        let begun = Instant::now();
        let mut state = self.held();
        while state.held.len() < number {
            let left = LONG.checked_sub(begun.elapsed()).expect("so many connections never came");
            state = self.state.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.held().accepting = false;
        // The listener ends with the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn held(state: &Arc<(Mutex<State>, Condvar)>) -> MutexGuard<'_, State> {
    state.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads one request and does what the script says. Failing sockets are the other side's doing.
fn serve(state: &Arc<(Mutex<State>, Condvar)>, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) {
    let _ = stream.set_nodelay(true);
    let mut stream: Box<dyn Both> = match tls {
        None => Box::new(stream),
        Some(tls) => Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(tls).unwrap(), stream)),
    };
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, head, before: 0 };
    let reply = {
        let mut state = held(state);
        let same = |known: &&Request| {
            known.path == request.path && known.header("authorization") == request.header("authorization")
        };
        request.before = state.requests.iter().filter(same).count();
        state.requests.push(request.clone());
        (state.script)(&request)
    };
    state.1.notify_all();
    let stream_head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let bytes = match &reply {
        Reply::Stream(first) | Reply::Cut(first) => [stream_head.as_slice(), first].concat(),
        Reply::Raw(bytes) => bytes.clone(),
        Reply::Status(status, lines) => {
            format!("HTTP/1.1 {status} Because\r\n{lines}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
        }
        Reply::BlackHole => Vec::new(),
    };
    if matches!(reply, Reply::Stream(_) | Reply::BlackHole) {
        // It is among those that are held before anybody has read what it begins with.
        let mut held = held(state);
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_ok() {
            held.held.push((request.path, stream));
        }
        drop(held);
        state.1.notify_all();
    } else {
        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
    }
}

fn certificates(authority_file: &Path) -> Arc<rustls::ServerConfig> {
    use rcgen::BasicConstraints;
    use rcgen::CertificateParams;
    use rcgen::IsCa;
    use rcgen::Issuer;
    use rcgen::KeyPair;

    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    std::fs::write(authority_file, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &issuer).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}
