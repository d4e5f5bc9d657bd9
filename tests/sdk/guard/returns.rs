//! LaunchDarkly's stream returns, and what was changed meanwhile holds.

use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::TestOfAWay;
use super::eye::Eye;
use super::scene::Place;
use super::scene::Scene;
use super::scene::Way;
use super::scene::seed;
use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::turn;
use crate::parts::Sdk;
use crate::reach::note;
use crate::stage::flags;
use crate::support::rc::Rc;
use crate::watcher::Watcher;

pub const TESTS: &[TestOfAWay] = &[
    ("a_hundred_returns_and_nothing_replayed", a_hundred_returns_and_nothing_replayed),
    ("the_api_returns_before_the_stream", the_api_returns_before_the_stream),
];

/// A guard waits longer from one return to the next, as LaunchDarkly's SDKs do; but for each key by itself.
const PLACES: usize = 25;
const RETURNS: usize = 4;

/// How many environments have the other SDKs too.
const WITH_ALL_SDKS: usize = 2;

fn a_hundred_returns_and_nothing_replayed(way: Way) {
    let places: Vec<Place> = (1..=PLACES).map(Place::numbered).collect();
    let mut scene = Scene::set(way, LaunchDarkly::of(seed(&places, &flags())), places.clone());
    let go = match way {
        Way::DataPath => scene.take_paths(),
        Way::Relay => places.iter().map(|place| scene.sdk(Sdk::Go, place)).collect(),
    };
    let others = places.iter().take(WITH_ALL_SDKS).flat_map(|place| Sdk::ALL.map(|sdk| (sdk, place)));
    let others = others.filter(|(sdk, _)| way == Way::DataPath || *sdk != Sdk::Go);
    let mut sdks: Vec<Watcher> = go;
    sdks.extend(others.map(|(sdk, place)| scene.sdk(sdk, place)));
    let eyes: Vec<Eye> = places.iter().map(|place| scene.eye(place)).collect();
    for sdk in &mut sdks {
        sdk.logs();
        sdk.watch("checkout");
    }
    scene.everything_goes_away();
    let home = scene.stage.home.path();
    thread::scope(|scope| {
        for some in places.chunks(PLACES.div_ceil(4)) {
            scope.spawn(move || some.iter().for_each(|place| turn_off(home, place)));
        }
    });
    eyes.iter().for_each(|eye| eye.wait("checkout", &json!(false)));
    sdks.iter_mut().for_each(|sdk| drop(sdk.wait("checkout", false)));
    for number in 0..RETURNS {
        if number > 0 {
            scene.stream_goes_away();
        }
        scene.launchdarkly.stream_returns();
        scene.launchdarkly.wait_for_streams("/all", PLACES);
        // What came before this on a stream has come when this has.
        let other = turn(number % 2 == 0);
        for (place, eye) in places.iter().zip(&eyes) {
            let version = scene.launchdarkly.colleague_in(&place.environment, "refunds", &other);
            eye.wait_for_version("refunds", version);
        }
    }
    for sdk in &mut sdks {
        sdk.wait("refunds", RETURNS % 2 == 1);
        sdk.has_seen("checkout", &[json!(true), json!(false)]);
        assert_eq!(sdk.lost_streams(), [""; 0], "{}", sdk.sdk);
    }
    for eye in &eyes {
        eye.has_seen("checkout", &[json!(true), json!(false)]);
        eye.is_open();
    }
    let features = |place: &Place| -> Value {
        let text = scene.stage.redis.run(&["HGET", &format!("{}:features", place.prefix), "checkout"]);
        serde_json::from_str(&text).unwrap()
    };
    for place in &places {
        let stored = features(place);
        assert_eq!((&stored["version"], &stored["on"]), (&json!(43), &json!(false)), "{}", place.environment);
    }
    note(format!(
        "LaunchDarkly returned {} times and nothing was replayed ({PLACES} environments, {RETURNS} times each; {}): the Go \
         SDK and a connection that misses nothing on each, {} on {WITH_ALL_SDKS} of them; nobody ever had the old value\n",
        PLACES * RETURNS,
        if way == Way::Relay { "through a relay" } else { "the Go SDK as data path" },
        if way == Way::Relay { "Node and Python SDKs" } else { "all SDKs in memory" },
    ));
}

fn turn_off(home: &Path, place: &Place) {
    let line = format!("update -p shop -e {} -f checkout -s off", place.environment.key);
    let _ = Rc::new().home(home).line(&line).run().code(0);
}

/// How many seconds the stream stays away after the replay, where somebody has the time to wait.
const GAP: &str = "RC_STREAM_RETURNS_AFTER";

/// What relays and guards have cached until the stream shows the replay is old, and so is what LaunchDarkly's stream may say
/// at first.
fn the_api_returns_before_the_stream(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);
    scene.launchdarkly.control().freeze();
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(0).out("LaunchDarkly v43");
    assert_eq!(scene.launchdarkly.version("checkout"), 43);
    assert!(scene.override_of("checkout").is_some(), "the API's word alone does not end it");
    let gap = std::env::var(GAP).map_or(0, |seconds| seconds.parse().expect("seconds"));
    for _ in 0..gap {
        thread::sleep(Duration::from_secs(1));
        assert!(scene.override_of("checkout").is_some(), "nothing but its stream ends it");
        audience.have_seen("checkout", &[true, false]);
    }
    if gap > 0 {
        let way = if way == Way::Relay { "through a relay" } else { "the Go SDK as data path" };
        note(format!(
            "LaunchDarkly's stream returned {gap} s after the replay ({way}): nobody had another value meanwhile\n"
        ));
    }
    // The stream's first event says still what was before the replay.
    scene.stream_returns();
    scene.guard().wait_for_status(|status| status["streams"][0]["told"].is_null());
    assert!(scene.override_of("checkout").is_some(), "it has not shown it yet");
    scene.launchdarkly.control().thaw();
    scene.wait_until_settled("checkout");
    scene.stage.wait_for_record("checkout", 43, false);
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", true), 44);
    audience.have("checkout", true);
    audience.have_seen("checkout", &[true, false, true]);
    audience.have_stayed();
    scene.stage.wait_for_record("checkout", 44, true);
}
