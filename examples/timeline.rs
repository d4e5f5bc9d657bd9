//! Measures `rc replay` for `scripts/bench`: 1,000 overrides against the simulated LaunchDarkly, and then the same
//! requests once more, in the same order, from a client that does nothing else. Both are processes of their own.
//!
//! `bare-requests RC ROUNDS` prints the rows of the table as JSON; `bare-requests send URL FILE` is the bare client.

#![allow(dead_code, unused)]
#![allow(clippy::print_stdout, reason = "a program for scripts/bench, which reads what it prints")]

use std::error::Error;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use futures_util::future::join_all;
use relay_commander::drill::launchdarkly::Limits;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Received;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::flag::key::Environment;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;

/// How many flags are overridden.
const OVERRIDES: usize = 1_000;

/// Requests a window, where there is a limit: a replay takes four windows.
const LIMIT: u64 = 1_000;

/// The length of a window, as LaunchDarkly has it.
const WINDOW: Duration = Duration::from_secs(10);

/// Clients that ask at the same time, for the simulated LaunchDarkly's own ceiling.
const CLIENTS: usize = 8;

const TOKEN: &str = "api-00000000-0000-4000-8000-000000000001";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One row of the table: what, figure, against, reference, ratio, and the most that it may be (null: only told).
type Row = (String, String, String, String, Option<f64>, Option<f64>);

/// A request as the bare client sends it.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["single", url, file] => {
            let _ = rustls::crypto::ring::default_provider().install_default();
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(send(url, Path::new(file)))
        }
        ["tell", burn, batch, url, file] => {
            let _ = rustls::crypto::ring::default_provider().install_default();
            tell(burn.parse()?, batch.parse()?, url, file)
        }
        _ => amain(),
    }
}

fn tell(burn: u64, batch: usize, url: &str, file: &str) -> Outcome<()> {
    let (tx, mut rx) = tokio::sync::mpsc::channel::<Vec<Vec<u8>>>(256);
    let (url, file) = (url.to_owned(), file.to_owned());
    let thread = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async move {
            let requests: Vec<Request> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut held = Vec::new();
            for request in requests {
                let mut sent = client.request(request.method.parse().unwrap(), format!("{url}{}", request.path));
                for (name, value) in &request.headers {
                    sent = sent.header(name, value);
                }
                let answer = sent.header("authorization", TOKEN).body(request.body).send().await.unwrap();
                held.push(answer.bytes().await.unwrap().to_vec());
                if held.len() >= batch {
                    tx.send(std::mem::take(&mut held)).await.unwrap();
                }
            }
        });
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        while let Some(batch) = rx.recv().await {
            for one in batch {
                let until = Instant::now() + Duration::from_micros(burn);
                while Instant::now() < until {}
            }
        }
    });
    Ok(())
}

#[tokio::main]
async fn amain() -> Outcome<()> {
    // An error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["send", url, file] => send(url, Path::new(file)).await,
        ["bares", rc] => bares(&std::fs::canonicalize(rc)?).await,
        [rc, rounds] => {
            println!("{}", serde_json::to_string(&measure(&std::fs::canonicalize(rc)?, rounds.parse()?).await?)?);
            Ok(())
        }
        _ => Err("usage: bare-requests RC ROUNDS".into()),
    }
}

/// Sends what the file holds, one after the other.
async fn send(url: &str, file: &Path) -> Outcome<()> {
    let requests: Vec<Request> = serde_json::from_slice(&std::fs::read(file)?)?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    for request in requests {
        let mut sent = client.request(request.method.parse()?, format!("{url}{}", request.path));
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        let answer = sent.header("authorization", TOKEN).body(request.body).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        if !status.is_success() {
            return Err(format!("{} {} was answered with {status}", request.method, request.path).into());
        }
    }
    Ok(())
}

/// A simulated LaunchDarkly, a Redis that a relay filled from it, and a home of `rc` whose overrides are in force.
struct Scene {
    launchdarkly: Running,
    redis: Redis,
    home: tempfile::TempDir,
    rc: PathBuf,
}

/// A redis-server that ends with the value.
struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It is gone already, or it will be.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn simulated() -> Outcome<Running> {
    let mut seed = Seed::new().project("shop").environment("production").token(TOKEN, Role::Writer, "bench");
    for index in 0..OVERRIDES {
        seed = seed.boolean_flag(&name(index), true, 42);
    }
    Ok(SimulatedLaunchDarkly::start(Options { seed, listener: None }).await?)
}

impl Scene {
    async fn new(rc: &Path) -> Outcome<Self> {
        let launchdarkly = simulated().await?;
        let redis = filled_redis(&launchdarkly).await?;
        let home = tempfile::tempdir()?;
        let settings = format!(
            "REDIS_HOSTS=127.0.0.1:{}\nLD_API_URL={}\nLD_API_KEY={TOKEN}\nRC_PROJECT=shop\nRC_ENVIRONMENT=production\n",
            redis.port, launchdarkly.base_url
        );
        let dot_env = home.path().join(".env");
        std::fs::write(&dot_env, settings)?;
        // It holds a token: rc wants it to be its owner's alone.
        std::fs::set_permissions(&dot_env, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let edits: String =
            (0..OVERRIDES).map(|index| format!("{}\n", json!({ "flag": name(index), "state": "off" }))).collect();
        std::fs::write(home.path().join("edits.jsonl"), edits)?;
        let scene = Self { launchdarkly, redis, home, rc: rc.to_owned() };
        scene.rc(&["update", "--from", "edits.jsonl", "--reason", "bench"])?;
        scene.launchdarkly.control.forget_received();
        Ok(scene)
    }

    /// Runs rc in the home; how long it took.
    fn rc(&self, arguments: &[&str]) -> Outcome<Duration> {
        let mut command = Command::new(&self.rc);
        command.args(arguments).current_dir(self.home.path()).env_clear().env("USER", "bench");
        timed(&mut command)
    }

    /// What LaunchDarkly received since the overrides were made.
    fn received(&self) -> Vec<Received> {
        self.launchdarkly.control.received()
    }

    /// Replays; how long it took. All overrides must have arrived.
    fn replay(&self) -> Outcome<Duration> {
        let took = self.rc(&["replay", "--yes"])?;
        let environment: Environment = Environment { project: "shop".parse()?, key: "production".parse()? };
        for index in 0..OVERRIDES {
            let configuration = self.launchdarkly.control.configuration(&environment, &name(index).parse()?);
            let configuration = configuration.map_err(|problem| format!("{problem:?}"))?;
            if configuration.get("on") != Some(&json!(false)) {
                return Err(format!("{} did not reach LaunchDarkly", name(index)).into());
            }
        }
        Ok(took)
    }

    async fn end(self) {
        self.launchdarkly.stop().await;
        drop(self.redis);
    }
}

fn name(index: usize) -> String {
    format!("flag-{index:05}")
}

/// Runs a process to its end; how long that took. What it says is shown where it fails.
fn timed(command: &mut Command) -> Outcome<Duration> {
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = started.elapsed();
    if !output.status.success() {
        let told = [output.stdout, output.stderr].concat();
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&told)).into());
    }
    Ok(took)
}

/// A Redis as a relay leaves it.
async fn filled_redis(launchdarkly: &Running) -> Outcome<Redis> {
    let folder = tempfile::tempdir()?;
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()?;
    let redis = Redis { process, port, _folder: folder };
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut connection = loop {
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => break connection,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let environment: Environment = Environment { project: "shop".parse()?, key: "production".parse()? };
    let records = launchdarkly.control.sdk_flags(&environment).map_err(|problem| format!("{problem:?}"))?;
    let mut pipeline = redis::pipe();
    pipeline.cmd("SET").arg("ld:shop:production:$inited").arg("");
    for (flag, record) in records {
        pipeline.cmd("HSET").arg("ld:shop:production:features").arg(flag).arg(record.to_string());
    }
    let _: redis::Value = pipeline.query_async(&mut connection).await?;
    Ok(redis)
}

async fn measure(rc: &Path, rounds: usize) -> Outcome<Vec<Row>> {
    let mut all = Vec::new();
    let mut bares = Vec::new();
    for _ in 0..rounds {
        let scene = Scene::new(rc).await?;
        let began = jiff::Timestamp::now().as_millisecond();
        let took = scene.replay()?;
        let received = scene.received();
        let first = received.first().unwrap().at - began;
        let patch = received.iter().find(|r| r.method == "PATCH").unwrap().at - began;
        let read = received.iter().take_while(|r| r.method != "PATCH").last().unwrap().at - began;
        let last = received.last().unwrap().at - began;
        let gaps: Vec<i64> = received.windows(2).map(|p| p[1].at - p[0].at).filter(|g| *g > 1).collect();
        println!(
            "first {first} read {read} patch {patch} last {last} end {} n {} gaps>1ms {} sum {} {:?}",
            took.as_millis(),
            received.len(),
            gaps.len(),
            gaps.iter().sum::<i64>(),
            gaps
        );
        all.push(took);
        scene.end().await;
        bares.push(bare_sequence(&received).await?);
    }
    println!(
        "median {:?} bare {:?} ratio {:.2}",
        median(all.clone()),
        median(bares.clone()),
        median(all).as_secs_f64() / median(bares).as_secs_f64()
    );
    std::process::exit(0);
}

async fn bares(rc: &Path) -> Outcome<()> {
    let scene = Scene::new(rc).await?;
    scene.replay()?;
    let received = scene.received();
    scene.end().await;
    for round in 0..3 {
        for arguments in [
            vec!["send"],
            vec!["single"],
            vec!["tell", "0", "1"],
            vec!["tell", "50", "1"],
            vec!["tell", "50", "16"],
            vec!["tell", "50", "64"],
            vec!["tell", "20", "1"],
            vec!["tell", "20", "64"],
        ] {
            let took = bare_with(&received, &arguments).await?;
            print!("{arguments:?} {} ", took.as_millis());
        }
        println!();
    }
    std::process::exit(0);
}

async fn bare_with(received: &[Received], arguments: &[&str]) -> Outcome<Duration> {
    let launchdarkly = simulated().await?;
    let sent_by_themselves = ["host", "content-length", "authorization"];
    let requests: Vec<Request> = received
        .iter()
        .map(|request| Request {
            method: request.method.clone(),
            path: request.path.clone(),
            headers: (request.headers.iter())
                .filter(|(name, _)| !sent_by_themselves.contains(&name.as_str()))
                .cloned()
                .collect(),
            body: request.body.clone(),
        })
        .collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("requests.json");
    std::fs::write(&file, serde_json::to_vec(&requests)?)?;
    let took = timed(Command::new(std::env::current_exe()?).args(arguments).arg(&launchdarkly.base_url).arg(&file));
    launchdarkly.stop().await;
    took
}

/// Sends the same requests to a LaunchDarkly that is as the first one was before them.
async fn bare_sequence(received: &[Received]) -> Outcome<Duration> {
    let launchdarkly = simulated().await?;
    let sent_by_themselves = ["host", "content-length", "authorization"];
    let requests: Vec<Request> = received
        .iter()
        .map(|request| Request {
            method: request.method.clone(),
            path: request.path.clone(),
            headers: (request.headers.iter())
                .filter(|(name, _)| !sent_by_themselves.contains(&name.as_str()))
                .cloned()
                .collect(),
            body: request.body.clone(),
        })
        .collect();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("requests.json");
    std::fs::write(&file, serde_json::to_vec(&requests)?)?;
    let took = timed(Command::new(std::env::current_exe()?).arg("send").arg(&launchdarkly.base_url).arg(&file));
    launchdarkly.stop().await;
    took
}

/// How many requests a second the simulated LaunchDarkly answers at most.
async fn ceiling() -> Outcome<f64> {
    let launchdarkly = simulated().await?;
    let each = 1_000;
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let base_url = launchdarkly.base_url.clone();
        tokio::spawn(async move {
            let http = reqwest::Client::builder().no_proxy().build()?;
            for index in 0..each {
                let flag = name((client * each + index) % OVERRIDES);
                let url = format!("{base_url}/api/v2/flags/shop/{flag}?env=production");
                let sent = http.get(url).header("authorization", TOKEN).header("ld-api-version", "20240415");
                sent.send().await?.error_for_status()?.bytes().await?;
            }
            Ok::<(), reqwest::Error>(())
        })
    });
    for client in join_all(clients).await {
        client??;
    }
    let took = started.elapsed();
    launchdarkly.stop().await;
    Ok((CLIENTS * each) as f64 / took.as_secs_f64())
}

/// A replay where LaunchDarkly limits the rate.
async fn limited(rc: &Path) -> Outcome<Vec<Row>> {
    let scene = Scene::new(rc).await?;
    let window_milliseconds = u64::try_from(WINDOW.as_millis())?;
    scene.launchdarkly.control.limit(Limits { account: Some(LIMIT), window_milliseconds, ..Limits::default() });
    let took = scene.replay()?;
    let received = scene.received();
    scene.end().await;
    let refused = received.iter().filter(|request| request.status == Some(429)).count();
    let twice = received.windows(2).filter(|pair| pair.iter().all(|request| request.status == Some(429))).count();
    let answered = u64::try_from(received.len() - refused)?;
    // The last window's requests need not wait for its end.
    let least = WINDOW * u32::try_from(answered.div_ceil(LIMIT).saturating_sub(1))?;
    let ratio = took.as_secs_f64() / least.as_secs_f64();
    Ok(vec![
        (
            format!("rc replay, {OVERRIDES} overrides, {LIMIT} requests in {} s allowed", WINDOW.as_secs()),
            format!("{:.2} s", took.as_secs_f64()),
            format!("the least that the limit allows for {answered} requests"),
            format!("{:.2} s", least.as_secs_f64()),
            Some(ratio),
            Some(1.1),
        ),
        (
            "... requests refused twice in a row".to_owned(),
            twice.to_string(),
            "refused at all".to_owned(),
            refused.to_string(),
            Some(twice as f64),
            Some(0.0),
        ),
    ])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
