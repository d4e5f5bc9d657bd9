//! A relay that is started during the outage, with each kind of configuration that it takes: ready at once, and never again
//! unable to answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use super::scene::Place;
use super::scene::Scene;
use super::scene::Way;
use super::scene::seed;
use crate::launchdarkly::LaunchDarkly;
use crate::parts::Sdk;
use crate::reach::note;
use crate::relay::ID;
use crate::relay::RELAY_KEY;
use crate::stage::flags;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::redis::free_port;
use crate::support::wire::Wire;
use crate::watcher::SOON;
use crate::watcher::Source;
use crate::watcher::Watcher;

/// With the Go SDK as a relay's data path.
pub const TESTS_OF_THE_DATA_PATH: &[(&str, fn())] = &[("a_data_path_started_in_the_outage", a_data_path)];

/// With a real relay.
pub const TESTS: &[(&str, fn())] = &[
    ("a_relay_started_in_the_outage_from_a_file", from_a_file),
    ("a_relay_started_in_the_outage_from_its_environment", from_its_environment),
    ("a_relay_started_in_the_outage_with_automatic_configuration", with_automatic_configuration),
];

/// How soon it is to be ready.
const READY_WITHIN: Duration = Duration::from_secs(3);

/// How long it is asked, again and again, before LaunchDarkly returns and after that.
const ASKED_FOR: Duration = Duration::from_secs(3);

/// Asks for all flags, as an SDK for PHP does, again and again; how often each status came, once it was ready.
struct Asking {
    answers: Arc<Mutex<BTreeMap<u16, usize>>>,
    ends: Arc<AtomicBool>,
    asking: thread::JoinHandle<()>,
}

fn status(address: SocketAddr, sdk_key: &str) -> Option<u16> {
    // It listens a moment after it was started.
    TcpStream::connect(address).ok()?;
    Some(Wire::ask(address, "/sdk/flags", sdk_key).status)
}

impl Asking {
    /// Waits until the relay is ready; how long that took since it was started.
    #[track_caller]
    fn begin(relay: &LdRelay, sdk_key: &str) -> (Self, Duration) {
        while status(relay.address(), sdk_key) != Some(200) {
            assert!(relay.begun.elapsed() < SOON, "{}", relay.output());
            thread::sleep(Duration::from_millis(5));
        }
        let ready = relay.begun.elapsed();
        let (answers, ends) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (own, own_end, address, key) =
            (Arc::clone(&answers), Arc::clone(&ends), relay.address(), sdk_key.to_owned());
        let asking = thread::spawn(move || {
            while !own_end.load(Ordering::Acquire) {
                let answer = status(address, &key).unwrap_or_default();
                let mut answers: std::sync::MutexGuard<'_, BTreeMap<u16, usize>> = own.lock().unwrap();
                *answers.entry(answer).or_default() += 1;
                drop(answers);
                thread::sleep(Duration::from_millis(20));
            }
        });
        (Self { answers, ends, asking }, ready)
    }

    /// All answers have been 200.
    #[track_caller]
    fn end(self, relay: &LdRelay) {
        self.ends.store(true, Ordering::Release);
        self.asking.join().unwrap();
        let answers = self.answers.lock().unwrap().clone();
        assert!(answers.get(&200).is_some_and(|number| *number > 50), "{answers:?}");
        assert_eq!(answers.len(), 1, "{answers:?}\n{}", relay.output());
    }
}

/// What a relay does inside: it is there within seconds, out of the guard's last state, with the edit; and stays so when
/// LaunchDarkly returns.
fn a_data_path() {
    let mut scene = Scene::shop(Way::DataPath);
    let place = scene.places[0].clone();
    scene.take_paths()[0].wait("checkout", true);
    scene.wait_until_kept();
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    scene.kill_guard();
    scene.start_guard();
    let source = Source::stream(&scene.guard_url(), &place.sdk_key);
    let begun = Instant::now();
    let mut path = Watcher::ready(Sdk::Go, &source.into_redis(&scene.stage.redis.url(), &place.prefix));
    let ready = begun.elapsed();
    note(format!("{} as a relay's data path, started in the outage: ready after {} ms\n", path.sdk, ready.as_millis()));
    assert!(ready < READY_WITHIN, "{ready:?}");
    path.evaluate("checkout").is(false, 1, "OFF");
    path.watch("checkout");
    scene.launchdarkly.api_returns();
    scene.stream_returns();
    // LaunchDarkly's next word is there, and nothing else has changed.
    scene.launchdarkly.colleague_turns("refunds", false);
    path.wait("refunds", false);
    path.has_seen("checkout", &[false.into()]);
}

fn from_a_file() {
    let mut scene = Scene::shop(Way::Relay);
    let mut relay = outage(&mut scene);
    relay.start_again();
    is_ready(&scene, relay, "a file");
}

fn from_its_environment() {
    let mut scene = Scene::shop(Way::Relay);
    let file = outage(&mut scene);
    let place = &scene.places[0];
    let port = free_port();
    let variables = [
        ("PORT", port.to_string()),
        ("STREAM_URI", scene.guard_url()),
        ("USE_REDIS", "1".to_owned()),
        ("REDIS_HOST", "127.0.0.1".to_owned()),
        ("REDIS_PORT", scene.stage.redis.port().to_string()),
        ("CACHE_TTL", "1s".to_owned()),
        ("LD_ENV_Production", place.sdk_key.clone()),
        ("LD_PREFIX_Production", place.prefix.clone()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let program = ld_relay::program().expect("tests without their parts are not run");
    drop(file);
    let relay = LdRelay::start_from_env(&program, port, variables);
    is_ready(&scene, relay, "its environment");
}

fn with_automatic_configuration() {
    let place = Place { prefix: format!("ld-{ID}"), ..Place::production() };
    let places = vec![place];
    let seed = seed(&places, &flags()).client_side_id(ID).relay_key(RELAY_KEY, &["proj/shop:env/production"]);
    let sections = format!("[AutoConfig]\nkey = {RELAY_KEY}\nenvDatastorePrefix = \"ld-$CID\"\n");
    let mut scene = Scene::with(Way::Relay, LaunchDarkly::of(seed), places, &sections);
    let mut relay = outage(&mut scene);
    relay.start_again();
    is_ready(&scene, relay, "automatic configuration");
}

/// LaunchDarkly goes, a flag is turned off, and both relay and guard end and the guard is begun anew.
fn outage(scene: &mut Scene) -> LdRelay {
    let place = scene.places[0].clone();
    scene.sdk(Sdk::Go, &place).wait("checkout", true);
    scene.wait_until_kept();
    scene.everything_goes_away();
    scene.stage.rc(&format!("update -p shop -e production -f checkout -s off --prefix {}", place.prefix));
    let key = format!("{}:features", place.prefix);
    let stored: serde_json::Value = serde_json::from_str(&scene.stage.redis.run(&["HGET", &key, "checkout"])).unwrap();
    assert_eq!((&stored["version"], &stored["on"]), (&json!(43), &json!(false)));
    let mut relay = scene.relay.take().expect("a relay runs");
    relay.stop();
    scene.kill_guard();
    scene.start_guard();
    relay
}

fn is_ready(scene: &Scene, mut relay: LdRelay, configuration: &str) {
    let place = &scene.places[0];
    let (asking, ready) = Asking::begin(&relay, &place.sdk_key);
    assert!(ready < READY_WITHIN, "{ready:?}\n{}", relay.output());
    let mut sdks = Sdk::ALL.map(|sdk| Watcher::ready(sdk, &Source::stream(&relay.url(), &place.sdk_key)));
    for sdk in &mut sdks {
        sdk.logs();
        sdk.watch("checkout");
        sdk.wait("checkout", false);
    }
    thread::sleep(ASKED_FOR);
    scene.launchdarkly.stream_returns();
    scene.guard().wait_for_status(|status| status["streams"][0]["launchdarkly"] == "up");
    scene.launchdarkly.colleague_turns("refunds", true);
    for sdk in &mut sdks {
        sdk.wait_after_a_return("refunds", true);
    }
    thread::sleep(ASKED_FOR);
    for sdk in &mut sdks {
        sdk.has_seen("checkout", &[json!(false)]);
        assert_eq!(sdk.lost_streams(), [""; 0], "{}", sdk.sdk);
    }
    asking.end(&relay);
    assert!(relay.is_running());
    note(format!(
        "A relay started during the outage behind a guard, configured by {configuration}: ready {} ms after its start, and \
         never without an answer after that\n",
        ready.as_millis()
    ));
}
