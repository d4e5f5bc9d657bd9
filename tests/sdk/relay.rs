//! LaunchDarkly's own relay (the program that `LD_RELAY` names) on a real Redis, between the simulated LaunchDarkly and
//! LaunchDarkly's SDKs: who sees an edit of the store, when, and how long it lasts.

use std::fs;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use libtest_mimic::Trial;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::PayloadFilter;
use serde_json::Value;
use serde_json::json;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::RETURN_WITHIN;
use crate::launchdarkly::SDK_KEY;
use crate::launchdarkly::seed;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;
use crate::reach::Done;
use crate::reach::row;
use crate::stage::Stage;
use crate::stage::flags;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::shop;
use crate::watcher::Source;
use crate::watcher::Watcher;

/// How long the relay keeps what it read from its store. Its default is 30 s.
const CACHE: Duration = Duration::from_millis(1500);

/// How long is looked for what must not happen.
const NEVER: Duration = Duration::from_secs(5);

/// The key of relays with automatic configuration.
pub const RELAY_KEY: &str = "rel-12345678-90ab-cdef-1234-567890abcdef";

/// The client-side id of shop/production.
pub const ID: &str = "5f3c8f1d2a4b6c7d8e9f0a1b";

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 8] = [
        ("relay::an_edit_in_the_outage", an_edit_in_the_outage),
        ("relay::started_in_the_outage", started_in_the_outage),
        ("relay::the_return_after_a_replay", the_return_after_a_replay),
        ("relay::the_api_alone_was_away", the_api_alone_was_away),
        ("relay::one_record_that_does_not_decode", one_record_that_does_not_decode),
        ("relay::payload_filters", payload_filters),
        ("relay::automatic_configuration", automatic_configuration),
        ("relay::one_that_was_refused_stays_away", one_that_was_refused_stays_away),
    ];
    let needs = [Part::Relay, Part::Sdk(Sdk::Go), Part::Sdk(Sdk::Node), Part::Sdk(Sdk::Python)];
    tests.into_iter().map(|(name, test)| trial(name, &needs, test)).collect()
}

/// LaunchDarkly, a relay with its Redis, and an operator who knows both.
struct Scene {
    relay: LdRelay,
    launchdarkly: LaunchDarkly,
    stage: Stage,
}

impl Scene {
    /// A relay with the environment in its configuration.
    fn set(launchdarkly: LaunchDarkly, filters: &str) -> Self {
        let environment =
            format!("[Environment \"Production\"]\nsdkKey = {SDK_KEY}\nprefix = {}\nprojKey = shop\n", shop::PREFIX);
        Self::with(launchdarkly, &format!("{environment}{filters}"))
    }

    /// A relay with this at the end of its configuration, running.
    fn with(launchdarkly: LaunchDarkly, configuration: &str) -> Self {
        let stage = Stage::empty();
        let url = launchdarkly.stream_url();
        let program = ld_relay::program().expect("tests without their parts are not run");
        let relay = LdRelay::start(&program, |port| {
            format!(
                "[Main]\nport = {port}\nstreamUri = \"{url}\"\nbaseUri = \"{url}\"\nclientSideBaseUri = \"{url}\"\n\
                 initTimeout = 2s\n\n[Events]\neventsUri = \"{url}\"\n\n[Redis]\nhost = 127.0.0.1\nport = {}\nlocalTtl = {}ms\n\n{configuration}",
                stage.redis.port(),
                CACHE.as_millis()
            )
        });
        stage.knows(&launchdarkly);
        let file = relay.configuration();
        stage.settings(&format!("RELAY_URLS=eu-1={}\nRC_RELAY_CONFIG={}\n", relay.url(), file.display()));
        Self { relay, launchdarkly, stage }
    }

    fn start(&mut self) {
        self.relay.start_again();
    }

    fn stop(&mut self) {
        self.relay.stop();
    }

    fn url(&self) -> String {
        self.relay.url()
    }

    /// The relay for an SDK.
    fn source(&self) -> Source {
        Source::stream(&self.url(), SDK_KEY)
    }

    /// Waits until the operator is told this of the relay.
    fn wait_for_status(&self, wanted: &str) {
        let begun = Instant::now();
        loop {
            let status = self.stage.rc("status").code(0);
            if status.stdout.contains(wanted) {
                return;
            }
            assert!(begun.elapsed() < RETURN_WITHIN, "it never said {wanted:?}\n{status}\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// LaunchDarkly is gone, and the relay knows it.
    fn everything_goes_away(&self) {
        self.launchdarkly.api_goes_away();
        self.launchdarkly.stream_goes_away();
        self.wait_for_status("cut off");
    }

    fn log(&self) -> String {
        self.relay.output()
    }

    /// Connects SDKs anew until one gets this value; how long after `since` that was, and the SDK.
    fn connect_until(&self, sdk: Sdk, flag: &str, value: impl Into<Value>, since: Instant) -> (Duration, Watcher) {
        let value = value.into();
        loop {
            let (mut watcher, initialized) = Watcher::open(sdk, &self.source());
            let elapsed = since.elapsed();
            if initialized && watcher.evaluate(flag).value == value {
                return (elapsed, watcher);
            }
            assert!(elapsed < RETURN_WITHIN, "{} does not get {value} for {flag}\n{}", watcher.sdk, self.log());
        }
    }

    /// What the relay answers to somebody who shows the SDK key: status and body.
    fn answer(&self, path: &str) -> (u16, String) {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("{}{path}", self.url());
        runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().timeout(RETURN_WITHIN).build().unwrap();
            let answer = client.get(url).header("Authorization", SDK_KEY).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    }

    /// The status that the relay answers to somebody who polls all flags.
    fn polled(&self) -> u16 {
        self.answer("/sdk/flags").0
    }

    /// Who saw something: the SDK, and through which relay.
    fn who(&self, sdk: &Watcher) -> String {
        let status: Value = serde_json::from_str(&self.answer("/status").1).unwrap();
        format!("{} through relay {}", sdk.sdk, status["version"].as_str().unwrap())
    }

    fn stored(&self, prefix: &str, flag: &str) -> Value {
        serde_json::from_str(&self.stage.redis.run(&["HGET", &format!("{prefix}:features"), flag])).unwrap()
    }
}

fn shop_alone() -> Scene {
    Scene::set(LaunchDarkly::with(&flags()), "")
}

fn an_edit_in_the_outage() {
    let mut scene = shop_alone();
    let mut connected = Sdk::ALL.map(|sdk| Watcher::ready(sdk, &scene.source()));
    for watcher in &mut connected {
        watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    }
    scene.everything_goes_away();
    let edited = Instant::now();
    let update = scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);
    update.out("STILL ON for connected SDKs; new ones off").out("LOST");
    // Who connects gets it, at most the relay's cache time later.
    for sdk in Sdk::ALL {
        let (after, mut new) = scene.connect_until(sdk, "checkout", false, edited);
        new.evaluate("checkout").is(false, 1, "OFF");
        let seen = format!(
            "off; the first that got it connected {} ms after the edit; the relay's cache was set to {} ms",
            after.as_millis(),
            CACHE.as_millis()
        );
        row(Done::EditBeforeConnecting, &scene.who(&new), seen);
    }
    // Who was connected does not, however long it stays.
    connected[0].never("checkout", false, NEVER);
    for watcher in &mut connected {
        watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
        let seen = format!("still on after {} s", edited.elapsed().as_secs());
        row(Done::EditWhileConnected, &scene.who(watcher), seen);
    }
    // A restarted relay drops its connections, and reads its store.
    scene.stop();
    scene.start();
    let restarted = Instant::now();
    for watcher in &mut connected {
        watcher.wait_after_a_return("checkout", false).is(false, 1, "OFF");
        let seen = format!("off {} ms after the restart", restarted.elapsed().as_millis());
        row(Done::RelayRestarted, &scene.who(watcher), seen);
    }
    // And LaunchDarkly's return takes it away from everybody.
    scene.launchdarkly.stream_returns();
    let returned = Instant::now();
    for watcher in &mut connected {
        watcher.wait_after_a_return("checkout", true).is(true, 0, "FALLTHROUGH");
        let seen = format!("on again {} ms after the return", returned.elapsed().as_millis());
        row(Done::ReturnWithoutReplay, &scene.who(watcher), seen);
    }
    assert_eq!(scene.stored(shop::PREFIX, "checkout")["version"], 42);
}

fn started_in_the_outage() {
    let mut scene = shop_alone();
    Watcher::ready(Sdk::Go, &scene.source()).evaluate("checkout").is(true, 0, "FALLTHROUGH");
    scene.stop();
    scene.launchdarkly.api_goes_away();
    scene.launchdarkly.stream_goes_away();
    // No relay answers: the store is written, and nothing is claimed of it.
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8).out("v42 -> v43");
    scene.start();
    let started = Instant::now();
    let (after, mut new) = scene.connect_until(Sdk::Go, "checkout", false, started);
    let seen = format!("off {} ms after a relay was started that had no LaunchDarkly", after.as_millis());
    row(Done::RelayRestarted, &scene.who(&new), seen);
    scene.wait_for_status("cut off");
    // Now with a relay that serves out of its store: the same as with any other.
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s on").code(8).out("STILL OFF for connected SDKs");
    scene.connect_until(Sdk::Go, "checkout", true, edited);
    new.evaluate("checkout").is(false, 1, "OFF");
}

fn the_return_after_a_replay() {
    let scene = shop_alone();
    Watcher::ready(Sdk::Go, &scene.source()).evaluate("checkout").is(true, 0, "FALLTHROUGH");
    scene.everything_goes_away();
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);
    let (_, mut new) = scene.connect_until(Sdk::Go, "checkout", false, edited);
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(0).out("LaunchDarkly v43");
    thread::scope(|scope| {
        scope.spawn(|| {
            scene.launchdarkly.stream_returns();
            scene.launchdarkly.wait_for_a_stream("/all");
            scene.launchdarkly.colleague_turns("refunds", true);
        });
        // From before the return until after it.
        new.never("checkout", true, NEVER);
    });
    new.wait_after_a_return("refunds", true);
    new.evaluate("checkout").is(false, 1, "OFF");
    scene.wait_for_status("stream  connected");
    scene.stage.rc("verify -p shop -e production").code(0);
}

/// The stream is there all the time: the relay broadcasts the replay's patch although its store, which has that version
/// already, does not take it.
fn the_api_alone_was_away() {
    let scene = shop_alone();
    let mut connected = Watcher::ready(Sdk::Go, &scene.source());
    connected.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    scene.launchdarkly.api_goes_away();
    let update = scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);
    update.err("eu-1 is connected to LaunchDarkly").out("STILL ON for connected SDKs");
    let bytes = scene.stage.stored("checkout");
    scene.launchdarkly.api_returns();
    let replayed = Instant::now();
    scene.stage.rc("replay --yes").code(0);
    connected.wait("checkout", false).is(false, 1, "OFF");
    let seen =
        format!("off {} ms after rc replay was started; its store kept the edit", replayed.elapsed().as_millis());
    row(Done::SamePatchAfterTheEdit, &scene.who(&connected), seen);
    assert_eq!(scene.stage.stored("checkout"), bytes, "the store has its own record still");
}

fn one_record_that_does_not_decode() {
    let scene = shop_alone();
    Watcher::ready(Sdk::Go, &scene.source());
    scene.everything_goes_away();
    assert_eq!(scene.polled(), 200);
    let damaged = scene.stage.stored("checkout").replacen("\"on\":true", "\"on\":\"off\"", 1);
    scene.stage.put("checkout", &damaged);
    let begun = Instant::now();
    while scene.polled() != 500 {
        assert!(begun.elapsed() < RETURN_WITHIN, "{}", scene.log());
        thread::sleep(Duration::from_millis(50));
    }
    let (new, initialized) = Watcher::open(Sdk::Go, &scene.source());
    assert!(!initialized, "a new connection gets nothing");
    row(Done::DamagedRecord, &scene.who(&new), "one that connects gets nothing; who polls gets status 500");
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(3).err("answer 500 for ALL flags");
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s off --repair").code(8).out("(mended)");
    let (after, mut new) = scene.connect_until(Sdk::Go, "checkout", false, edited);
    assert_eq!((new.all().map(|all| all.len()), scene.polled()), (Some(flags().len()), 200));
    row(Done::Repaired, &scene.who(&new), format!("all flags again {} ms after the repair", after.as_millis()));
}

fn payload_filters() {
    let web = PayloadFilter { flags: vec!["checkout".to_owned()], tags: Vec::new() };
    let launchdarkly = LaunchDarkly::of(seed(&flags()).payload_filter("web", web));
    let scene = Scene::set(launchdarkly, "[Filters \"shop\"]\nkeys = web\n");
    let filtered = scene.source().filtered("web");
    for source in [scene.source(), filtered.clone()] {
        Watcher::ready(Sdk::Go, &source).evaluate("checkout").is(true, 0, "FALLTHROUGH");
    }
    scene.everything_goes_away();
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);
    let copy = format!("{}/web", shop::PREFIX);
    for prefix in [shop::PREFIX, &copy] {
        let stored = scene.stored(prefix, "checkout");
        assert_eq!((&stored["on"], &stored["version"]), (&json!(false), &json!(43)), "{prefix}");
    }
    scene.connect_until(Sdk::Go, "checkout", false, edited);
    let mut part = Watcher::ready(Sdk::Node, &filtered);
    part.evaluate("checkout").is(false, 1, "OFF");
    assert_eq!(part.all().map(|all| all.len()), Some(1));
    scene.stage.rc("undo checkout --yes");
    for prefix in [shop::PREFIX, &copy] {
        assert_eq!(scene.stored(prefix, "checkout")["version"], 42, "{prefix}");
    }
}

/// The prefix is made of the environment's id, which only the relay's own status tells.
fn automatic_configuration() {
    let seed = seed(&flags()).client_side_id(ID).relay_key(RELAY_KEY, &["proj/shop:env/production"]);
    let configuration = format!("[AutoConfig]\nkey = {RELAY_KEY}\nenvDatastorePrefix = \"ld-$CID\"\n");
    let mut scene = Scene::with(LaunchDarkly::of(seed), &configuration);
    let key = scene.stage.home.path().join("sdk-key");
    fs::write(&key, SDK_KEY).unwrap();
    let section = format!("[environment.\"shop/production\"]\nsdk_key_file = \"{}\"\n", key.display());
    fs::write(scene.stage.home.path().join("relaycommander.toml"), section).unwrap();
    // Before it knows its environments, it takes nobody's key.
    scene.wait_for_status("stream  connected");
    let mut connected = Watcher::ready(Sdk::Go, &scene.source());
    connected.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    scene.everything_goes_away();
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8).out("STILL ON for connected SDKs");
    assert_eq!(scene.stored(&format!("ld-{ID}"), "checkout")["version"], 43);
    scene.connect_until(Sdk::Go, "checkout", false, edited);
    connected.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    // Restarted now, it would not know its environments. The operator is told before he does it.
    let doctor = scene.stage.rc("doctor").to_string();
    assert!(doctor.contains("restart"), "{doctor}");
    scene.stop();
    scene.start();
    let (new, initialized) = Watcher::open(Sdk::Go, &scene.source());
    assert!(!initialized, "a relay with automatic configuration serves nothing without LaunchDarkly");
    row(
        Done::RelayRestarted,
        &format!("{}, automatic configuration", scene.who(&new)),
        "nothing at all, its store is full",
    );
}

/// A proxy on the way that answers 407 once is enough: the relay does not try again.
fn one_that_was_refused_stays_away() {
    let mut scene = shop_alone();
    Watcher::ready(Sdk::Go, &scene.source());
    let stream = scene.launchdarkly.control().stream();
    scene.launchdarkly.stream_fault(Fault::status(407));
    stream.forget_received();
    scene.launchdarkly.stream_fault(Fault::new(FaultKind::Close));
    assert!(scene.launchdarkly.is_asked("/all", 1, RETURN_WITHIN));
    scene.wait_for_status("GIVEN UP (refused for good: its SDK key, or a proxy)");
    scene.launchdarkly.stream_returns();
    assert!(!scene.launchdarkly.is_asked("/all", 2, NEVER), "it tried again: {:?}", stream.received());
    scene.stage.rc("doctor").code(1).out("refused for good").out("nothing else makes it try again");
    // What it serves comes out of its store, and edits reach whoever connects.
    let edited = Instant::now();
    scene.stage.rc("update -p shop -e production -f checkout -s off").code(8);
    scene.connect_until(Sdk::Go, "checkout", false, edited);
    // Refused again at its start, it has nothing for anybody.
    scene.launchdarkly.stream_fault(Fault::status(407));
    scene.stop();
    scene.start();
    scene.wait_for_status("GIVEN UP");
    let (_new, initialized) = Watcher::open(Sdk::Go, &scene.source());
    assert!(!initialized, "it answers 401, although its store is full");
}
