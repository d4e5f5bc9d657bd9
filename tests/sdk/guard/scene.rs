//! LaunchDarkly, a guard, what stands behind it, and an operator who knows them all.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::flag::key::Environment;
use serde_json::Value;

use super::audience::Audience;
use super::eye::Eye;
use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::SDK_KEY;
use crate::launchdarkly::WRITER;
use crate::launchdarkly::records;
use crate::parts::Sdk;
use crate::stage::Stage;
use crate::stage::flags;
use crate::support::guard::Guard;
use crate::support::ld_relay;
use crate::support::ld_relay::LdRelay;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::free_port;
use crate::support::shop;
use crate::support::shop::Flag;
use crate::watcher::SOON;
use crate::watcher::Source;
use crate::watcher::Watcher;

/// How long the relay keeps what it read from its store.
const CACHE: Duration = Duration::from_secs(1);

/// How flags get from the guard into the store and to SDKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// LaunchDarkly's Go SDK with its Redis store, which is a relay's data path; other SDKs stream from the guard itself.
    DataPath,
    /// LaunchDarkly's own relay, with all SDKs on it.
    Relay,
}

/// An environment, and where it is kept.
#[derive(Debug, Clone)]
pub struct Place {
    pub environment: Environment,
    pub sdk_key: String,
    pub prefix: String,
}

impl Place {
    /// shop/production.
    pub fn production() -> Self {
        Self::of("production", SDK_KEY)
    }

    /// Another environment of the shop.
    pub fn numbered(number: usize) -> Self {
        Self::of(&format!("e{number:02}"), &format!("sdk-{number:08}-90ab-cdef-1234-567890abcdef"))
    }

    fn of(environment: &str, sdk_key: &str) -> Self {
        Self {
            environment: format!("shop/{environment}").parse().unwrap(),
            sdk_key: sdk_key.to_owned(),
            prefix: format!("ld:shop:{environment}"),
        }
    }

    pub fn section(&self) -> String {
        let Self { environment, sdk_key, prefix } = self;
        format!("[Environment \"{}\"]\nsdkKey = {sdk_key}\nprefix = {prefix}\nprojKey = shop\n", environment.key)
    }
}

/// An account with these flags in each of these environments.
pub fn seed(places: &[Place], flags: &[Flag]) -> Seed {
    let shop = places.iter().fold(Seed::new().project("shop"), |shop, place| {
        shop.environment(place.environment.key.as_str()).sdk_key(&place.sdk_key).records(records(flags))
    });
    shop.token(WRITER, Role::Writer, "anna")
}

/// All of it, running.
pub struct Scene {
    /// Ends first: it holds connections to all others.
    guard: Option<Guard>,
    pub relay: Option<LdRelay>,
    /// What fills the store, place by place, where there is no relay.
    paths: Vec<Watcher>,
    pub places: Vec<Place>,
    guard_address: SocketAddr,
    pub launchdarkly: LaunchDarkly,
    pub stage: Stage,
}

impl Scene {
    /// shop/production alone.
    pub fn shop(way: Way) -> Self {
        let places = vec![Place::production()];
        Self::set(way, LaunchDarkly::of(seed(&places, &flags())), places)
    }

    /// Everything runs, and the stores are full.
    pub fn set(way: Way, launchdarkly: LaunchDarkly, places: Vec<Place>) -> Self {
        let sections: String = places.iter().map(Place::section).collect();
        Self::with(way, launchdarkly, places, &sections)
    }

    /// The same, with these sections at the end of the relay's configuration.
    pub fn with(way: Way, launchdarkly: LaunchDarkly, places: Vec<Place>, sections: &str) -> Self {
        let stage = Stage::empty();
        stage.knows(&launchdarkly);
        let guard_address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (port, nowhere) = (free_port(), "http://127.0.0.1:9");
        let configuration = format!(
            "[Main]\nport = {port}\nstreamUri = \"http://{guard_address}\"\nbaseUri = \"{nowhere}\"\n\
                 clientSideBaseUri = \"{nowhere}\"\n[Events]\neventsUri = \"{nowhere}\"\n\
                 [Redis]\nhost = 127.0.0.1\nport = {}\nlocalTtl = {}ms\n{sections}",
            stage.redis.port(),
            CACHE.as_millis()
        );
        fs::write(stage.home.path().join("ld-relay.conf"), &configuration).unwrap();
        stage.settings("RC_RELAY_CONFIG=ld-relay.conf\n");
        let mut scene =
            Self { guard: None, relay: None, paths: Vec::new(), places, guard_address, launchdarkly, stage };
        scene.start_guard();
        match way {
            Way::DataPath => {
                let path = |place: &Place| {
                    let source = Source::stream(&scene.guard_url(), &place.sdk_key);
                    Watcher::ready(Sdk::Go, &source.into_redis(&scene.stage.redis.url(), &place.prefix))
                };
                scene.paths = scene.places.iter().map(path).collect();
            }
            Way::Relay => {
                let program = ld_relay::program().expect("tests without their parts are not run");
                let relay = LdRelay::start_at(&program, port, &configuration);
                scene.stage.settings(&format!("RELAY_URLS=eu-1={}\n", relay.url()));
                scene.relay = Some(relay);
                scene.places.iter().for_each(|place| scene.wait_for_the_relay(place));
            }
        }
        scene
    }

    fn wait_for_the_relay(&self, place: &Place) {
        let begun = Instant::now();
        while self.stage.redis.run(&["EXISTS", &format!("{}:$inited", place.prefix)]) == "0" {
            assert!(begun.elapsed() < SOON, "{}", self.relay.as_ref().map(LdRelay::output).unwrap_or_default());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What starts the guard.
    fn guard_command(&self) -> Rc {
        let listen = format!("--listen {} --admin 127.0.0.1:0 --log json", self.guard_address);
        Rc::new().line("guard").line(&listen).env("LD_STREAM_URL", self.launchdarkly.stream_url())
    }

    /// Starts the guard, at the same address each time.
    #[track_caller]
    pub fn start_guard(&mut self) {
        self.guard = Some(Guard::start(&self.guard_command(), self.stage.home.path()));
    }

    /// Ends the guard like a power cut.
    pub fn kill_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.kill();
        }
    }

    /// Where relays find the guard.
    pub fn guard_url(&self) -> String {
        format!("http://{}", self.guard_address)
    }

    /// The guard that runs.
    #[track_caller]
    pub fn guard(&self) -> &Guard {
        self.guard.as_ref().expect("a guard runs")
    }

    /// Where SDKs connect.
    pub fn front(&self) -> SocketAddr {
        self.relay.as_ref().map_or(self.guard_address, LdRelay::address)
    }

    /// An SDK of an environment, which must become ready.
    #[track_caller]
    pub fn sdk(&self, sdk: Sdk, place: &Place) -> Watcher {
        Watcher::ready(sdk, &Source::stream(&format!("http://{}", self.front()), &place.sdk_key))
    }

    /// A connection to where SDKs connect that misses nothing.
    #[track_caller]
    pub fn eye(&self, place: &Place) -> Eye {
        let whose = if self.relay.is_some() { "a connection to the relay" } else { "a connection to the guard" };
        Eye::open(&format!("{whose}, {}", place.environment), self.front(), &place.sdk_key)
    }

    /// The same, to the guard.
    #[track_caller]
    pub fn eye_on_the_guard(&self, place: &Place) -> Eye {
        Eye::open(&format!("a connection to the guard, {}", place.environment), self.guard_address, &place.sdk_key)
    }

    /// One SDK of each language on shop/production, what fills the store, and eyes; all of them watch these flags.
    #[track_caller]
    pub fn audience(&mut self, flags: &[&str]) -> Audience {
        let place = self.places[0].clone();
        let mut audience = Audience {
            sdks: Sdk::ALL.map(|sdk| self.sdk(sdk, &place)).into(),
            paths: std::mem::take(&mut self.paths),
            eyes: vec![self.eye(&place), self.eye_on_the_guard(&place)],
        };
        audience.watch(flags);
        audience
    }

    /// What fills the stores where there is no relay, and one SDK of each environment.
    pub fn take_paths(&mut self) -> Vec<Watcher> {
        std::mem::take(&mut self.paths)
    }

    /// Neither API nor streams are there, and the guard knows it.
    pub fn everything_goes_away(&self) {
        self.launchdarkly.api_goes_away();
        self.stream_goes_away();
    }

    /// The streams are away, and the guard knows it.
    pub fn stream_goes_away(&self) {
        self.launchdarkly.stream_goes_away();
        self.guard().wait_for_status(|status| all(status, |stream| stream["launchdarkly"] == "away"));
    }

    /// The streams are there, and the guard is on them.
    pub fn stream_returns(&self) {
        self.launchdarkly.stream_returns();
        self.guard().wait_for_status(|status| all(status, |stream| stream["launchdarkly"] == "up"));
    }

    /// Waits until the guard's folder has LaunchDarkly's last state and the keys that worked.
    #[track_caller]
    pub fn wait_until_kept(&self) {
        let (begun, folder) = (Instant::now(), self.stage.home.path().join("guard"));
        let has = |ending: &str| {
            let mut names = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name());
            names.any(|name| name.to_string_lossy().ends_with(ending))
        };
        while !(has(".put") && has("keys.json")) {
            assert!(begun.elapsed() < SOON, "nothing is kept");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs `rc` for shop/production; it must come to its end.
    #[track_caller]
    pub fn update(&self, rest: &str) -> Ran {
        self.stage.update(rest)
    }

    /// What the store holds beside a flag: the override, if there is one.
    pub fn override_of(&self, flag: &str) -> Option<Value> {
        let key = format!("{}:relaycommander:overrides", shop::PREFIX);
        let text = self.stage.redis.run(&["HGET", &key, flag]);
        (!text.is_empty()).then(|| serde_json::from_str(&text).expect("an override"))
    }

    /// Waits until there is no override of the flag any more.
    #[track_caller]
    pub fn wait_until_settled(&self, flag: &str) {
        let begun = Instant::now();
        while self.override_of(flag).is_some() {
            assert!(begun.elapsed() < SOON, "it is not settled: {:?}\n{}", self.override_of(flag), self.guard().told());
            thread::sleep(Duration::from_millis(20));
        }
        let ended = self.stage.redis.run(&["HVALS", &format!("{}:relaycommander:ended", shop::PREFIX)]);
        assert!(ended.contains("settled"), "{ended}");
    }
}

fn all(status: &Value, is_so: impl Fn(&Value) -> bool) -> bool {
    status["streams"].as_array().is_some_and(|streams| !streams.is_empty() && streams.iter().all(is_so))
}
