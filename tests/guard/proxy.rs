//! A proxy between the guard and LaunchDarkly, as companies have them: what it refuses, no relay hears of.

use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::bytes::PUT;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Reply;
use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;

/// A proxy for TLS connections.
struct Proxy {
    url: String,
    /// What it answers instead of making a way; nothing: it makes one.
    refusal: Arc<Mutex<Option<&'static str>>>,
    refused: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (refusal, refused) = (Arc::new(Mutex::new(None)), Arc::new(AtomicUsize::new(0)));
        let (own, counted) = (Arc::clone(&refusal), Arc::clone(&refused));
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let refusal: Option<&'static str> = *own.lock().unwrap();
                counted.fetch_add(usize::from(refusal.is_some()), Ordering::AcqRel);
                // How it ends is the other side's doing.
                thread::spawn(move || drop(serve(stream, refusal)));
            }
        });
        Self { url, refusal, refused }
    }

    fn refuses(&self, answer: Option<&'static str>) {
        *self.refusal.lock().unwrap() = answer;
    }

    fn wait_for_refusals(&self, number: usize) {
        let begun = Instant::now();
        while self.refused.load(Ordering::Acquire) < number {
            assert!(begun.elapsed() < LONG, "the guard does not come through the proxy");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve(mut here: TcpStream, refusal: Option<&str>) -> std::io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        here.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if let Some(answer) = refusal {
        return here.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let address = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let mut there = TcpStream::connect(address.unwrap_or_else(|| panic!("no CONNECT: {head}")))?;
    here.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (here.try_clone()?, there.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut there, &mut here);
    here.shutdown(std::net::Shutdown::Both)
}

#[test]
fn what_a_proxy_refuses_no_relay_hears_of() {
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    let upstream = Scripted::with_tls(&authority, |_| Reply::Stream(PUT.into()));
    let proxy = Proxy::start();
    let plan = Plan::new(&upstream).env("SSL_CERT_FILE", &authority).env("HTTPS_PROXY", proxy.url.as_ref());
    let mut guard = plan.start();
    let mut relay = Wire::stream(guard.address, "/all", KEY);
    assert_eq!(relay.text(), PUT);
    let mut last = PUT.to_owned();
    let refusals = ["407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"", "403 Forbidden"];
    for (number, refusal) in refusals.into_iter().enumerate() {
        proxy.refuses(Some(refusal));
        upstream.cut();
        proxy.wait_for_refusals(number + 1);
        guard.wait_for_status(|status| status["streams"][0]["launchdarkly"] == "away");
        // Relays stay, those that come are served, and a stranger hears "not now".
        assert_eq!(Wire::stream(guard.address, "/all", KEY).text(), last, "{refusal}");
        for (path, key) in [("/all", "sdk-of-nobody-known"), ("/relay_auto_config", "rel-of-nobody-known")] {
            // A new one each time: this LaunchDarkly takes every key, once it is asked.
            let stranger = Wire::ask(guard.address, path, &format!("{key}-{number}"));
            assert_eq!(stranger.status, 503, "{path}: {refusal}");
        }
        proxy.refuses(None);
        let before = upstream.requests().len();
        last = PUT.replace("\"version\":42", &format!("\"version\":{}", 50 + number));
        let put = last.clone();
        upstream.script(move |_| Reply::Stream(put.clone().into()));
        upstream.wait_for_requests(before + 1);
        assert_eq!(relay.text(), last, "it was not even cut off");
    }
    assert!(guard.is_running());
    assert!(!guard.told().contains(KEY));
}
