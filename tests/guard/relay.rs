//! LaunchDarkly's own relay behind the guard, on a real Redis, with SDKs on the relay. Runs where `LD_RELAY` names the
//! relay's program; otherwise it says that it did not.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use relay_commander::guard::stream::channel::StoresWord;

use super::automatic;
use super::overlay::Stage;
use super::overlay::Wishes;
use super::overlay::off;
use super::overlay::put;
use super::process::KEY;
use super::process::Plan;
use super::scripted::Scripted;
use super::wire::LONG;
use super::wire::Wire;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::redis::RedisServer;

/// How soon a relay that starts during the outage is ready.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// How often LaunchDarkly goes and comes back; and how often it says its `put` again on each return.
const ROUNDS: usize = 4;
const PUTS: usize = 10;

/// The relay's program, if there is one.
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn program(test: &str) -> Option<PathBuf> {
    let named = ld_relay::program();
    if named.is_none() {
        eprintln!("NOT RUN: {test} needs LD_RELAY to name the relay's program");
    }
    named
}

/// A relay that runs.
struct Relay(LdRelay);

impl Relay {
    fn start(program: &Path, guard: SocketAddr, redis: &str, sections: &str) -> Self {
        Self(LdRelay::start(program, |port| {
            format!(
                "[Main]\nport = {port}\nstreamUri = http://{guard}\nbaseUri = http://127.0.0.1:9\ninitTimeout = 10s\n\
                 [Events]\nsendEvents = false\n[Redis]\nurl = {redis}\nlocalTtl = 1s\n{sections}\n"
            )
        }))
    }

    fn output(&self) -> String {
        self.0.output()
    }

    /// How long ago it was started.
    fn runs_for(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// An SDK on the relay, as soon as it lets one in; its first event.
    fn sdk(&self, key: &str) -> (Wire, Value) {
        loop {
            if std::net::TcpStream::connect(self.0.address()).is_ok() {
                let mut sdk = Wire::ask(self.0.address(), "/all", key);
                if sdk.status == 200 {
                    let put = data(&sdk.event());
                    return (sdk, put);
                }
            }
            assert!(self.runs_for() < LONG, "no SDK is let in:\n{}", self.output());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The data of an event.
fn data(event: &[u8]) -> Value {
    let text = std::str::from_utf8(event).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    serde_json::from_str(data).unwrap()
}

fn environment() -> String {
    format!("[Environment \"shop production\"]\nsdkKey = {KEY}\nprefix = ld:shop:production")
}

#[test]
fn an_override_reaches_sdks_on_a_real_relay_and_survives_launchdarklys_return() {
    let Some(program) = program("an_override_reaches_sdks_on_a_real_relay") else { return };
    let stage = Stage::set(Scripted::streaming(put(42, true)), Wishes::default());
    stage.say(StoresWord::default());
    let redis = RedisServer::with().tcp().start();
    let relay = Relay::start(&program, stage.address(), &redis.url(), &environment());
    let (mut sdk, first) = relay.sdk(KEY);
    assert_eq!(first["data"]["flags"]["checkout"]["version"], 42);
    stage.upstream.go_away();
    let said = Instant::now();
    stage.say(off(42, 1));
    let patch = data(&sdk.event());
    let after = said.elapsed();
    assert_eq!((&patch["path"], &patch["data"]["version"]), (&"/flags/checkout".into(), &43.into()));
    assert_eq!(patch["data"]["on"], false);
    assert!(after < Duration::from_millis(300), "the SDK had it after {after:?}");
    let stored =
        || -> Value { serde_json::from_str(&redis.run(&["HGET", "ld:shop:production:features", "checkout"])).unwrap() };
    assert_eq!((&stored()["version"], &stored()["on"]), (&43.into(), &false.into()));
    // An SDK that comes in between.
    let (mut late, second) = relay.sdk(KEY);
    assert_eq!(second["data"]["flags"]["checkout"]["on"], false);

    stage.upstream.come_back();
    for round in 0..ROUNDS {
        let before = stage.upstream.requests().len();
        stage.upstream.cut();
        stage.upstream.wait_for_requests(before + 1);
        stage.upstream.wait_for_held(1);
        for _ in 0..PUTS {
            stage.upstream.send(put(42, true).as_bytes());
            for sdk in [&mut sdk, &mut late] {
                while let Some(event) = sdk.event_within(Duration::from_millis(20)) {
                    let event = data(&event);
                    let record =
                        if event["path"] == "/" { &event["data"]["flags"]["checkout"] } else { &event["data"] };
                    assert_eq!(record["on"], false, "round {round}: {event}");
                }
            }
        }
        assert_eq!(stored()["on"], false, "round {round}");
    }
    // Undone: everybody is back at LaunchDarkly's.
    stage.say(StoresWord::default());
    for sdk in [&mut sdk, &mut late] {
        loop {
            let Some(event) = sdk.event_within(LONG) else { panic!("no put:\n{}", relay.output()) };
            let event = data(&event);
            if event["path"] == "/" {
                assert_eq!(event["data"]["flags"]["checkout"]["version"], 42);
                break;
            }
        }
    }
    assert!(!relay.output().contains("ERROR"), "{}", relay.output());
}

#[test]
fn a_real_relay_starts_during_the_outage() {
    let Some(program) = program("a_real_relay_starts_during_the_outage") else { return };
    for black_hole in [false, true] {
        let upstream = Scripted::streaming(put(42, true));
        let plan = Plan::new(&upstream);
        let guard = plan.start();
        Relay::start(&program, guard.address, &plan.redis_url(), &environment()).sdk(KEY);
        plan.wait_for_kept(".put", 1);
        plan.wait_for_kept("keys.json", 1);
        guard.kill();
        away(&upstream, black_hole);
        let guard = plan.start();
        let relay = Relay::start(&program, guard.address, &plan.redis_url(), &environment());
        let (_sdk, first) = relay.sdk(KEY);
        assert_eq!(first["data"]["flags"]["checkout"]["version"], 42);
        assert!(relay.runs_for() < READY_WITHIN, "{:?}\n{}", relay.runs_for(), relay.output());
    }
}

#[test]
fn a_real_relay_with_automatic_configuration_starts_during_the_outage() {
    let Some(program) = program("a_real_relay_with_automatic_configuration_starts") else { return };
    for black_hole in [false, true] {
        let upstream = Scripted::start(automatic::answer(automatic::in_ms(3_600)));
        let plan = automatic::plan(&upstream);
        let sections = format!("[AutoConfig]\nkey = {}\nenvDatastorePrefix = \"ld-$CID\"", automatic::RELAY_KEY);
        let guard = plan.start();
        Relay::start(&program, guard.address, &plan.redis_url(), &sections).sdk(automatic::SDK_KEY);
        plan.wait_for_kept(".put", 2);
        plan.wait_for_kept(".sealed", 1);
        plan.wait_for_kept("keys.json", 1);
        guard.kill();
        away(&upstream, black_hole);
        let guard = plan.start();
        let relay = Relay::start(&program, guard.address, &plan.redis_url(), &sections);
        let (_sdk, first) = relay.sdk(automatic::SDK_KEY);
        assert_eq!(first["data"]["flags"]["checkout"]["version"], 42);
        assert!(relay.runs_for() < READY_WITHIN, "{:?}\n{}", relay.runs_for(), relay.output());
    }
}

fn away(upstream: &Scripted, black_hole: bool) {
    if black_hole {
        upstream.cut();
        upstream.script(|_| super::scripted::Reply::BlackHole);
    } else {
        upstream.go_away();
    }
}

/// The relay lives through whatever comes, and its SDKs are right afterwards.
#[test]
fn a_real_relay_lives_through_the_worst() {
    let Some(program) = program("a_real_relay_lives_through_the_worst") else { return };
    use super::scripted::Reply;
    let upstream = Scripted::streaming(put(42, true));
    let plan = Plan::new(&upstream);
    let mut guard = plan.start();
    let mut relay = Relay::start(&program, guard.address, &plan.redis_url(), &environment());
    let (mut sdk, _) = relay.sdk(KEY);
    let whole = put(42, true);
    let half = whole.as_bytes()[..whole.len() / 2].to_vec();
    let worst = [
        Reply::Status(401, ""),
        Reply::Status(403, ""),
        Reply::Status(404, ""),
        Reply::Status(407, "Proxy-Authenticate: Basic\r\n"),
        Reply::Status(503, ""),
        Reply::Cut(half),
        Reply::Cut(b"event: put\ndata: {\"path\":\"/\",\"data\":7}\n\n".to_vec()),
        Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>\n\n".to_vec()),
    ];
    for reply in worst {
        let before = upstream.requests().len();
        let answer = reply.clone();
        upstream.script(move |_| answer.clone());
        upstream.cut();
        upstream.wait_for_requests(before + 1);
    }
    // The guard too is killed and begun anew.
    let address = guard.address;
    guard.terminate();
    let mut guard = plan.start_at(address);
    upstream.script(|_| Reply::Stream(put(60, false).into_bytes()));
    let begun = Instant::now();
    loop {
        let event = data(&sdk.event());
        let record = &event["data"]["flags"]["checkout"];
        if record["version"] == 60 {
            assert_eq!(record["on"], false);
            break;
        }
        assert_eq!((&record["version"], &record["on"]), (&42.into(), &true.into()), "{event}");
        assert!(begun.elapsed() < LONG);
    }
    assert!(relay.0.is_running() && guard.is_running());
    assert!(!relay.output().contains("permanently"), "{}", relay.output());
}
