//! The real relay on a real Redis, behind a LaunchDarkly that comes and goes. Runs where `LD_RELAY` names the relay's
//! program; otherwise it says that it did not.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::body::Bytes;
use axum::response::IntoResponse;
use axum::routing::get;
use relay_commander::change::target::Target;
use relay_commander::relay::address::RelayAddress;
use relay_commander::relay::cache_time::CacheTime;
use relay_commander::relay::client::Deadlines;
use relay_commander::relay::client::RelayClient;
use relay_commander::relay::configuration::RelayConfiguration;
use relay_commander::relay::judgement::OnReturn;
use relay_commander::relay::judgement::RestartDanger;
use relay_commander::relay::judgement::StoreState;
use relay_commander::relay::judgement::cut_off;
use relay_commander::relay::judgement::mode;
use relay_commander::relay::judgement::on_return;
use relay_commander::relay::judgement::restart_is_safe;
use relay_commander::relay::pairing::RelayPlace;
use relay_commander::relay::pairing::StorePlace;
use relay_commander::relay::pairing::pair;
use relay_commander::relay::probe::Readiness;
use relay_commander::relay::probe::Sight;
use relay_commander::relay::probe::Watch;
use relay_commander::relay::sdk_key::SdkKey;
use relay_commander::relay::served::Served;
use relay_commander::relay::status::EnvironmentStatus;
use relay_commander::relay::status::RelayStatus;
use relay_commander::relay::verdict::Observations;
use relay_commander::relay::verdict::Proof;
use relay_commander::relay::verdict::RelayFacts;
use relay_commander::relay::verdict::verdict;
use tokio::sync::broadcast;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::client;
use super::flag;
use super::simulated::put;

const LONG: Duration = Duration::from_secs(60);
const SDK_KEY: &str = "sdk-12345678-90ab-cdef-1234-567890abcdef";

/// A child that ends with the test.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &Path, arguments: &[&str], folder: &Path) -> Process {
    let output = std::fs::File::create(folder.join("output")).unwrap();
    let child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    Process(child)
}

/// The relay's program, if there is one.
pub(crate) fn program() -> Option<PathBuf> {
    std::env::var_os("LD_RELAY").map(|name| Path::new(&name).canonicalize().unwrap())
}

async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// LaunchDarkly's stream, as far as a relay needs it. Aborting it breaks its connections off.
pub(crate) struct LaunchDarkly {
    events: broadcast::Sender<Bytes>,
    /// Dropped, it stops the server.
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl LaunchDarkly {
    async fn start(port: u16, flags: String) -> Self {
        let (events, _) = broadcast::channel::<Bytes>(16);
        let sender = events.clone();
        let stream = move || {
            let first = Bytes::from(put(&flags));
            let receiver = sender.subscribe();
            async move {
                let pieces = futures_util::stream::unfold((Some(first), receiver), |(first, mut receiver)| async {
                    let piece = match first {
                        Some(first) => first,
                        None => receiver.recv().await.ok()?,
                    };
                    Some((Ok::<_, std::convert::Infallible>(piece), (None, receiver)))
                });
                ([("content-type", "text/event-stream")], Body::from_stream(pieces)).into_response()
            }
        };
        let router = Router::new().route("/all", get(stream));
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        // Connections live in tasks of their own, which end with the runtime that they run on: so it has its own.
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let listener = listener.into_std().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { events, stop, server }
    }

    pub(crate) async fn go_away(self) {
        drop(self.stop);
        self.server.await.unwrap();
    }
}

/// Asks until the status is as wanted.
pub(crate) async fn status_when(
    client: &RelayClient,
    relay: &RelayAddress,
    what: &str,
    wanted: impl Fn(&RelayStatus) -> bool,
) -> RelayStatus {
    let started = Instant::now();
    loop {
        let answer = client.status(relay).await;
        match answer {
            Ok(status) if wanted(&status) => return status,
            other => assert!(started.elapsed() < LONG, "not {what}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn record(version: u64, on: bool) -> String {
    format!(
        r#"{{"key":"checkout","on":{on},"prerequisites":[],"targets":[],"contextTargets":[],"rules":[],"fallthrough":{{"variation":0}},"offVariation":1,"variations":[true,false],"clientSide":false,"salt":"s","trackEvents":false,"trackEventsFallthrough":false,"debugEventsUntilDate":null,"version":{version},"deleted":false}}"#
    )
}

fn is_version(version: u64) -> impl Fn(&Served) -> bool {
    move |served| served.version == version
}

/// A relay on a Redis, filled by LaunchDarkly with `checkout` on, version 42.
pub(crate) struct Stage {
    redis: redis::aio::MultiplexedConnection,
    pub(crate) redis_port: u16,
    pub(crate) launchdarkly: LaunchDarkly,
    launchdarkly_port: u16,
    pub(crate) relay: RelayAddress,
    configuration: RelayConfiguration,
    // In this order: what runs ends before its folder goes.
    _processes: [Process; 2],
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn set(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (redis_port, relay_port, launchdarkly_port) = (free_port().await, free_port().await, free_port().await);
        let redis_folder = folder.path().join("redis");
        std::fs::create_dir(&redis_folder).unwrap();
        let port = redis_port.to_string();
        let arguments = ["--port", &port, "--save", "", "--bind", "127.0.0.1"];
        let server = start(Path::new("redis-server"), &arguments, &redis_folder);
        let redis = redis_when_up(redis_port).await;
        let launchdarkly = LaunchDarkly::start(launchdarkly_port, flags_at_launchdarkly()).await;
        let text = format!(
            "# written by a test\n[Main]\nport = {relay_port}\nstreamUri = \"http://127.0.0.1:{launchdarkly_port}\"\n\
             baseUri = http://127.0.0.1:{launchdarkly_port} ; and behind it a comment\ninitTimeout = 2s\n\n\
             [redis]\nHOST = 127.0.0.1\nPort = {redis_port}\nlocalTtl = 1500ms\n\n\
             [Environment \"Shop Production\"]\nsdkKey = {SDK_KEY}\nprefix = ld:shop:\\\nproduction\n"
        );
        let file = folder.path().join("ld-relay.conf");
        std::fs::write(&file, &text).unwrap();
        let relay = start(program, &["--config", "ld-relay.conf"], folder.path());
        Self {
            redis,
            redis_port,
            launchdarkly,
            launchdarkly_port,
            relay: RelayAddress::parse(&format!("http://127.0.0.1:{relay_port}")).unwrap(),
            configuration: RelayConfiguration::load(&file).await.unwrap(),
            _processes: [relay, server],
            folder,
        }
    }
}

fn flags_at_launchdarkly() -> String {
    format!(r#"{{"checkout":{}}}"#, record(42, true))
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
async fn an_outage_at_a_real_relay() {
    let Some(program) = program() else {
        eprintln!("NOT RUN: an_outage_at_a_real_relay needs LD_RELAY to name the relay's program");
        return;
    };
    let Stage {
        mut redis,
        redis_port,
        launchdarkly,
        launchdarkly_port,
        relay,
        configuration,
        _processes,
        folder: _folder,
    } = Stage::set(&program).await;
    let environment = configuration.matches(&"shop/production".parse().unwrap())[0];
    let key = environment.sdk_key.clone().unwrap();
    assert_eq!(configuration.cache_time, CacheTime::For(Duration::from_millis(1500)));
    let prefix = configuration.copies(environment).remove(0).prefix;
    assert_eq!(prefix, "ld:shop:production");

    // Connected: the relay has filled the store, and says where that is.
    let client = client(Deadlines::default());
    let status = status_when(&client, &relay, "healthy", |status| status.healthy).await;
    assert_eq!(status.major_version(), Some(8));
    let seen = &status.environments[0];
    assert_eq!(cut_off(seen), None);
    assert!(seen.may_have(&key));
    assert_eq!(configuration.behind(&seen.key).unwrap().0, environment);
    assert_eq!(restart_is_safe(&status, None, false, |_| StoreState::Complete), Err(RestartDanger::Connected));
    let kind = mode(&status, Some(&configuration));
    assert_eq!((kind, mode(&status, None)), (kind, kind), "the status alone tells the same");
    let target = Target { store: "r".to_owned(), prefix: prefix.clone() };
    let store = StorePlace { label: "r".to_owned(), addresses: vec![format!("localhost:{redis_port}")] };
    let places = [RelayPlace { label: relay.label(), status: Some(&status) }];
    assert_eq!(pair(&[target], &[store], &places)[0][0].environment, Some(seen));

    let watch = Watch::open(&client, &relay, &key, None, &[flag()]);
    assert_eq!(watch.ready(LONG).await, Readiness::Ready);
    assert_eq!(watch.has(&flag()).unwrap().unwrap().version, 42);

    // LaunchDarkly goes away, and the store is edited.
    launchdarkly.go_away().await;
    let status = status_when(&client, &relay, "cut off", |status| cut_off(&status.environments[0]).is_some()).await;
    assert_eq!(restart_is_safe(&status, Some(&configuration), false, |_| StoreState::Complete), Ok(()));
    let seen = &status.environments[0];
    assert_eq!(on_return(seen, status.major_version(), kind, false), OnReturn::Lost);
    let since = tokio::time::Instant::now();
    let features = format!("{prefix}:features");
    let _: () =
        redis::cmd("HSET").arg(&features).arg("checkout").arg(record(43, false)).query_async(&mut redis).await.unwrap();
    let facts = RelayFacts::of(Some(seen), status.major_version(), Some(configuration.cache_time));
    let proof = proof_when_the_cache_is_over(&client, &relay, &key, &watch, since, &facts).await;
    assert_eq!(proof, Proof::NewConnectionsOnly { watched: true }, "the relay does not broadcast edits of its store");

    // LaunchDarkly returns: what it says replaces the edit, in the store and for the connected.
    let launchdarkly = LaunchDarkly::start(launchdarkly_port, flags_at_launchdarkly()).await;
    let started = Instant::now();
    loop {
        let stored: String = redis::cmd("HGET").arg(&features).arg("checkout").query_async(&mut redis).await.unwrap();
        if stored.contains("\"version\":42,") {
            break;
        }
        assert!(started.elapsed() < LONG, "the relay does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let event = format!("event: patch\ndata: {{\"path\":\"/flags/checkout\",\"data\":{}}}\n\n", record(43, false));
    launchdarkly.events.send(Bytes::from(event)).unwrap();
    let sight = watch.saw(&flag(), since, LONG, is_version(43)).await;
    assert!(matches!(sight, Sight::Saw { .. }), "{sight:?}");
    launchdarkly.go_away().await;
}

/// Asks until the verdict is no longer that the cache has to run out.
async fn proof_when_the_cache_is_over(
    client: &RelayClient,
    relay: &RelayAddress,
    key: &SdkKey,
    watch: &Watch,
    since: tokio::time::Instant,
    facts: &RelayFacts,
) -> Proof {
    let started = Instant::now();
    loop {
        let sight = watch.saw(&flag(), since, Duration::from_millis(100), is_version(43)).await;
        assert!(matches!(&sight, Sight::NotYet { still: Some(served) } if served.version == 42), "{sight:?}");
        let fresh = client.fresh(relay, key, None, &flag(), Some(42), LONG).await;
        let proof = verdict(&Observations::of(sight, Some(&fresh), is_version(43)), facts);
        if !matches!(proof, Proof::WithinCacheTime { .. }) {
            return proof;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "longer than the cache time: {proof:?}");
    }
}

async fn redis_when_up(port: u16) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    let started = Instant::now();
    loop {
        match client.get_multiplexed_async_connection().await {
            Ok(connection) => return connection,
            Err(error) => assert!(started.elapsed() < LONG, "redis-server does not come up: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a relay makes of a configuration: its environments with their prefixes, or that it refuses it.
type Reading = Option<Vec<(String, String)>>;

async fn as_the_relay_reads_it(program: &Path, folder: &Path, text: &str, port: u16) -> Reading {
    std::fs::write(folder.join("ld-relay.conf"), text).unwrap();
    let mut relay = start(program, &["--config", "ld-relay.conf"], folder);
    let client = client(Deadlines::default());
    let address = RelayAddress::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let started = Instant::now();
    loop {
        if relay.0.try_wait().unwrap().is_some() {
            return None;
        }
        if let Ok(status) = client.status(&address).await {
            let of = |environment: &EnvironmentStatus| {
                (environment.key.clone(), environment.store.prefix.clone().unwrap_or_default())
            };
            return Some(sorted(status.environments.iter().map(of).collect()));
        }
        assert!(started.elapsed() < LONG, "the relay neither runs nor ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn as_we_read_it(text: &str) -> Reading {
    let configuration = RelayConfiguration::from_file(text, "ld-relay.conf").ok()?;
    let mut all = Vec::new();
    for environment in &configuration.environments {
        for copy in configuration.copies(environment) {
            let filter = copy.filter.map(|filter| format!("/{filter}")).unwrap_or_default();
            all.push((format!("{}{filter}", environment.name), copy.prefix));
        }
    }
    Some(sorted(all))
}

fn sorted(mut all: Vec<(String, String)>) -> Vec<(String, String)> {
    all.sort();
    all
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
async fn a_real_relay_reads_its_configuration_as_we_do() {
    let Some(program) = program() else {
        eprintln!("NOT RUN: a_real_relay_reads_its_configuration_as_we_do needs LD_RELAY to name the relay's program");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let one = |lines: &str| format!("[Environment \"a\"]\nsdkKey = sdk-1\n{lines}\n");
    let cases = [
        (true, one("")),
        (true, one("prefix =")),
        (true, one("prefix = ld:shop:production")),
        (true, one("prefix = a  b\tc   ; behind it")),
        (true, one("prefix=a#b")),
        (true, one("PREFIX = \"a;b#c\\\\d\\\"e\" ")),
        (true, one("prefix = a\" b \"c")),
        (true, one("prefix = a\\\nb\nprojKey = p")),
        (true, one("prefix = first\n[environment \"a\"]\nprefix = second")),
        (true, one("prefix = p").replace('\n', "\r\n")),
        (true, one("prefix = p\nprojKey = q\n[Filters \"q\"]\nkeys = web , app\nkeys = till")),
        (true, one("prefix = p").replace("\"a\"", "\"Shop \\\"EU\\\" \\\\ A\"")),
        (true, one("prefix = p\n[Environment \"A\"]\nsdkKey = sdk-2\nprefix = q")),
        (false, one("prefix = a\\qb")),
        (false, one("sdk_key = x")),
        (false, one("prefix")),
        (false, one("prefix = \"a")),
        (false, one("[Environment.b]\nsdkKey = sdk-2")),
        (false, one("[Redis]\nlocalTtl = 30")),
        (false, one("[Redis]\nurl = redis://b")),
        (false, one("[Consul]\nhost = b")),
        (false, one("[AutoConfig]\nkey = rel-1\nenvDatastorePrefix = x-$CID")),
        (false, one("[Main] logLevel = debug")),
        (false, one("[Filters \"q\"]\nkeys = a,,b")),
    ];
    for (accepted, case) in cases {
        let port = free_port().await;
        let main = format!("[Main]\nport = {port}\nstreamUri = http://127.0.0.1:1\ninitTimeout = 1s\n");
        let text = format!("{main}[Redis]\nhost = 127.0.0.1\nport = 1\n{case}");
        let (theirs, ours) = (as_the_relay_reads_it(&program, folder.path(), &text, port).await, as_we_read_it(&text));
        assert_eq!(theirs, ours, "{case}");
        assert_eq!(theirs.is_some(), accepted, "{case}");
    }
}
