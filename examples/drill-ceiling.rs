//! Measures the simulated LaunchDarkly itself for `scripts/bench`, so that it can be told that it was not what limited
//! another figure: how many streams it holds, how fast changes come out of them, how many requests it answers.
//!
//! `drill-ceiling RC STREAMS` prints the rows of the table as JSON. RC is the program, whose `drill --serve` is measured: a
//! process of its own, on the same cores as this one.

#![allow(clippy::print_stdout, reason = "a program for scripts/bench, which reads what it prints")]

use std::error::Error;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Flags of the environment.
const FLAGS: usize = 100;

/// Changes that are sent to every stream.
const PATCHES: usize = 50;

/// Clients that ask at the same time, and how often each asks.
const CLIENTS: usize = 8;
const REQUESTS: usize = 1_000;

/// Streams that are opened at the same time.
const OPENING: usize = 100;

/// The longest that anything may take.
const LONG: Duration = Duration::from_secs(300);

const SDK_KEY: &str = "sdk-00000000-0000-4000-8000-000000000001";
const TOKEN: &str = "api-00000000-0000-4000-8000-000000000001";

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One row of the table: what, figure, against, reference, ratio, and the most that it may be (null: only told).
type Row = (String, String, String, String, Option<f64>, Option<f64>);

/// Where the simulated LaunchDarkly is.
#[derive(Debug, Clone, Deserialize)]
struct Urls {
    api: String,
    stream: String,
}

/// The process. It is ended with the value.
struct Server {
    child: Child,
    urls: Urls,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already, or it will be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(program: &Path) -> Outcome<Self> {
        let flags: serde_json::Map<String, serde_json::Value> = (0..FLAGS)
            .map(|index| {
                let configuration = json!({ "on": true, "version": 42 });
                (name(index), json!({ "variations": [true, false], "environments": { "production": configuration } }))
            })
            .collect();
        let seed = json!({
            "projects": { "shop": { "environments": { "production": { "sdkKey": SDK_KEY } }, "flags": flags } },
            "tokens": { TOKEN: { "role": "writer", "member": "bench" } },
        });
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("seed.json");
        std::fs::write(&file, seed.to_string())?;
        let mut child = Command::new(program)
            .args(["drill", "--serve", "--json", "--until-input-ends", "--from"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        Ok(Self { child, urls: serde_json::from_str(&line)?, _folder: folder })
    }

    /// The memory that it has, in KiB.
    fn memory(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

fn name(index: usize) -> String {
    format!("flag-{index:05}")
}

fn client() -> Outcome<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, streams] = arguments.as_slice() else { return Err("usage: drill-ceiling RC STREAMS".into()) };
    let mut rows = streams_rows(&Server::start(Path::new(program))?, streams.parse()?).await?;
    rows.extend(requests_rows(&Server::start(Path::new(program))?).await?);
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

/// A stream that counts its events, and says so when it has had its `put`.
async fn read(address: String, opening: Arc<Semaphore>, begun: mpsc::Sender<()>, events: usize) -> Outcome<()> {
    let place = opening.acquire().await?;
    let mut socket = TcpStream::connect(&address).await?;
    let request = format!("GET /all HTTP/1.1\r\nHost: {address}\r\nAuthorization: {SDK_KEY}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let (mut buffer, mut last, mut seen) = (vec![0; 16 * 1_024], 0, 0);
    let mut place = Some(place);
    while seen < events {
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Err("a stream ended".into());
        }
        for &byte in buffer.get(..length).unwrap_or_default() {
            // An event ends with an empty line; what HTTP adds has its line ends with a carriage return.
            seen += usize::from(byte == b'\n' && last == b'\n');
            last = byte;
        }
        if seen > 0 && place.take().is_some() {
            begun.send(()).await?;
        }
    }
    Ok(())
}

async fn streams_rows(server: &Server, streams: usize) -> Outcome<Vec<Row>> {
    let address = server.urls.stream.trim_start_matches("http://").to_owned();
    let before = server.memory()?;
    let (begun, mut begins) = mpsc::channel(streams);
    let opening = Arc::new(Semaphore::new(OPENING));
    let started = Instant::now();
    let readers: Vec<_> = (0..streams)
        .map(|_| tokio::spawn(read(address.clone(), Arc::clone(&opening), begun.clone(), 1 + PATCHES)))
        .collect();
    drop(begun);
    let all = async {
        for _ in 0..streams {
            begins.recv().await.ok_or("a stream could not be opened: is the limit of open files high enough?")?;
        }
        Ok::<(), &str>(())
    };
    timeout(LONG, all).await??;
    let opened = started.elapsed();
    let memory = (server.memory()? - before) / streams as f64;

    let http = client()?;
    let started = Instant::now();
    for change in 0..PATCHES {
        patch(&http, &server.urls.api, change % FLAGS, change / FLAGS % 2 == 1).await?;
    }
    for reader in timeout(LONG, try_join_all(readers)).await?? {
        reader?;
    }
    let delivered = started.elapsed();
    let told = |what: &str, figure: String, against: &str, reference: String| {
        (what.to_owned(), figure, against.to_owned(), reference, None, None)
    };
    Ok(vec![
        told(
            "the simulated LaunchDarkly, streams held",
            format!("{streams}"),
            "opened, each with a put",
            format!("{:.0} streams/s", streams as f64 / opened.as_secs_f64()),
        ),
        told("... its memory for each", format!("{memory:.1} KiB"), "flags in the put", format!("{FLAGS}")),
        told(
            "... patches delivered",
            format!("{:.0} patches/s", (PATCHES * streams) as f64 / delivered.as_secs_f64()),
            "one change on all streams",
            format!("{:.1} ms", delivered.as_secs_f64() * 1_000.0 / PATCHES as f64),
        ),
    ])
}

/// Turns a flag on or off through the API.
async fn patch(http: &reqwest::Client, api: &str, flag: usize, on: bool) -> Outcome<()> {
    let kind = if on { "turnFlagOn" } else { "turnFlagOff" };
    let body = json!({ "environmentKey": "production", "instructions": [{ "kind": kind }] });
    let sent = http.patch(format!("{api}/api/v2/flags/shop/{}", name(flag))).header("authorization", TOKEN);
    let sent = sent.header("content-type", "application/json; domain-model=launchdarkly.semanticpatch");
    sent.body(body.to_string()).send().await?.error_for_status()?.bytes().await?;
    Ok(())
}

/// How long all clients take for all their requests.
async fn all_clients<F>(ask: impl Fn(reqwest::Client, usize) -> F) -> Outcome<Duration>
where
    F: Future<Output = Outcome<()>> + Send + 'static,
{
    let started = Instant::now();
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| Ok(tokio::spawn(ask(client()?, number)))).collect::<Outcome<_>>()?;
    for client in timeout(LONG, try_join_all(clients)).await?? {
        client?;
    }
    Ok(started.elapsed())
}

async fn requests_rows(server: &Server) -> Outcome<Vec<Row>> {
    let urls = server.urls.clone();
    let gets = all_clients(|http, number| {
        let urls = urls.clone();
        async move {
            for index in 0..REQUESTS {
                let flag = name((number * REQUESTS + index) % FLAGS);
                let url = format!("{}/api/v2/flags/shop/{flag}?env=production", urls.api);
                http.get(url).header("authorization", TOKEN).send().await?.error_for_status()?.bytes().await?;
            }
            Ok(())
        }
    });
    let gets = gets.await?;
    let patches = all_clients(|http, number| {
        let urls = urls.clone();
        async move {
            for index in 0..REQUESTS {
                patch(&http, &urls.api, (number + CLIENTS * index) % FLAGS, index % 2 == 1).await?;
            }
            Ok(())
        }
    });
    let patches = patches.await?;
    let rate = |took: Duration| format!("{:.0} requests/s", (CLIENTS * REQUESTS) as f64 / took.as_secs_f64());
    Ok(vec![(
        "... GET of a flag".to_owned(),
        rate(gets),
        format!("PATCH of a flag; {CLIENTS} clients at once"),
        rate(patches),
        None,
        None,
    )])
}
