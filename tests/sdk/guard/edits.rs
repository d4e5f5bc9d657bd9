//! What an operator does in the outage reaches every SDK that is connected, and so does taking it back.

use serde_json::json;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;

pub const TESTS: &[TestOfAWay] = &[
    ("an_update_in_the_outage", an_update_in_the_outage),
    ("off_on_off_in_one_outage", off_on_off_in_one_outage),
    ("undone_in_the_outage", undone_in_the_outage),
];

fn an_update_in_the_outage(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout", "pricing-tier"]);
    scene.everything_goes_away();
    let update = scene.update("-f checkout -s off");
    if way == Way::Relay {
        update.out("held by a guard").out("DONE: checkout is off in 1 of 1 store, seen live through 1 of 1 relay.");
    }
    audience.have("checkout", false);
    scene.update("-f pricing-tier --serve bronze");
    audience.have("pricing-tier", "bronze");
    audience.have_seen("checkout", &[true, false]);
    audience.have_seen("pricing-tier", &["gold", "bronze"]);
    audience.have_stayed();
    let stored = scene.stage.record("checkout");
    assert_eq!((&stored["version"], &stored["on"]), (&json!(43), &json!(false)));
}

fn off_on_off_in_one_outage(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.everything_goes_away();
    for (number, state) in ["off", "on", "off"].into_iter().enumerate() {
        scene.update(&format!("-f checkout -s {state}"));
        audience.have("checkout", state == "on");
        audience.eyes.iter().for_each(|eye| eye.wait_for_version("checkout", 43 + number as u64));
    }
    audience.have_seen("checkout", &[true, false, true, false]);
    audience.have_stayed();
}

fn undone_in_the_outage(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);
    scene.stage.rc("undo checkout --yes").code(0);
    audience.have("checkout", true);
    audience.eyes.iter().for_each(|eye| eye.wait_for_version("checkout", 42));
    scene.stage.wait_for_record("checkout", 42, true);
    assert_eq!(scene.override_of("checkout"), None);
    // LaunchDarkly returns with the same, and its next change is taken.
    scene.stream_returns();
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", false), 43);
    audience.have("checkout", false);
    audience.have_seen("checkout", &[true, false, true, false]);
    audience.have_stayed();
    scene.stage.wait_for_record("checkout", 43, false);
}
