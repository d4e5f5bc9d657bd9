//! The API is away and the stream is there: LaunchDarkly and colleagues go on while overrides hold.

use serde_json::Value;
use serde_json::json;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;
use crate::launchdarkly::environment;
use crate::parts::Sdk;

pub const TESTS: &[TestOfAWay] = &[
    ("three_edits_and_one_replay", three_edits_and_one_replay),
    ("another_aspect_is_merged", another_aspect_is_merged),
    ("the_same_aspect_is_held_and_alarmed", the_same_aspect_is_held_and_alarmed),
    ("launchdarklys_off_wins", launchdarklys_off_wins),
];

/// Three edits are one patch to LaunchDarkly, whose version is then behind what stores and SDKs have.
fn three_edits_and_one_replay(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.launchdarkly.api_goes_away();
    for state in ["off", "on", "off"] {
        scene.update(&format!("-f checkout -s {state}"));
        audience.have("checkout", state == "on");
    }
    scene.stage.wait_for_record("checkout", 45, false);
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(0);
    assert_eq!(scene.launchdarkly.version("checkout"), 43);
    scene.wait_until_settled("checkout");
    scene.stage.wait_for_record("checkout", 43, false);
    audience.eyes.iter().for_each(|eye| eye.wait_for_version("checkout", 43));
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", true), 44);
    audience.have("checkout", true);
    scene.stage.wait_for_record("checkout", 44, true);
    audience.have_seen("checkout", &[true, false, true, false, true]);
    audience.have_stayed();
}

fn variation(scene: &Scene, flag: &str, index: usize) -> String {
    scene.launchdarkly.control().variation_id(&environment(), &flag.parse().unwrap(), index).unwrap()
}

fn another_aspect_is_merged(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["pricing-tier"]);
    scene.launchdarkly.api_goes_away();
    scene.update("-f pricing-tier -s off");
    audience.have("pricing-tier", "silver");
    let bronze = variation(&scene, "pricing-tier", 2);
    scene.launchdarkly.colleague("pricing-tier", &json!({ "kind": "updateOffVariation", "variationId": bronze }));
    audience.have("pricing-tier", "bronze");
    scene.stage.wait_for_record("pricing-tier", 32, false);
    assert_eq!(alarms(&scene, "conflict"), 0);
    // Undone, what the colleague did stays.
    scene.stage.rc("undo pricing-tier --yes").code(0);
    audience.have("pricing-tier", "gold");
    let stored = scene.stage.record("pricing-tier");
    assert_eq!((&stored["version"], &stored["offVariation"]), (&json!(31), &json!(2)));
    audience.have_seen("pricing-tier", &["gold", "silver", "bronze", "gold"]);
    audience.have_stayed();
}

/// `--serve` sets the off variation; so does the colleague.
fn the_same_aspect_is_held_and_alarmed(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["pricing-tier"]);
    scene.launchdarkly.api_goes_away();
    scene.update("-f pricing-tier --serve bronze");
    audience.have("pricing-tier", "bronze");
    let gold = variation(&scene, "pricing-tier", 0);
    let instruction = json!({ "kind": "updateOffVariation", "variationId": gold });
    assert_eq!(scene.launchdarkly.colleague("pricing-tier", &instruction), 31);
    audience.eyes.iter().for_each(|eye| eye.wait_for_version("pricing-tier", 32));
    let is_alarmed = |alarm: &Value| alarm["kind"] == "conflict" && alarm["flag"] == "pricing-tier";
    scene.guard().wait_for_status(|status| status["alarms"].as_array().unwrap().iter().any(is_alarmed));
    assert_eq!(alarms(&scene, "conflict"), 1);
    scene.guard().wait_for_told("\"conflict\"");
    audience.have_seen("pricing-tier", &["gold", "bronze"]);
    // Whoever replays has to decide, and the alarm is over once it was decided.
    scene.launchdarkly.api_returns();
    scene.stage.rc("replay --yes").code(6).out("CONFLICT");
    audience.have_seen("pricing-tier", &["gold", "bronze"]);
    scene.stage.rc("replay --yes --on-conflict launchdarkly").code(0);
    audience.have("pricing-tier", "gold");
    audience.eyes.iter().for_each(|eye| eye.wait_for_version("pricing-tier", 31));
    audience.have_seen("pricing-tier", &["gold", "bronze", "gold"]);
    audience.have_stayed();
    scene.guard().wait_for_status(|status| status["alarms"].as_array().unwrap().is_empty());
    assert_eq!(alarms(&scene, "conflict"), 0);
}

/// The flag is on and was turned off and on again by an operator: his last word was on, and LaunchDarkly's is off.
fn launchdarklys_off_wins(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    scene.launchdarkly.api_goes_away();
    for state in ["off", "on"] {
        scene.update(&format!("-f checkout -s {state}"));
        audience.have("checkout", state == "on");
    }
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", false), 43);
    audience.have("checkout", false);
    // It goes on doing so when the stream comes back, and for whoever comes later.
    scene.stream_goes_away();
    scene.stream_returns();
    scene.sdk(Sdk::Go, &scene.places[0]).wait("checkout", false);
    audience.have_seen("checkout", &[true, false, true, false]);
    audience.have_stayed();
}

/// How many alarms of this kind stand, by the metrics.
fn alarms(scene: &Scene, kind: &str) -> u64 {
    let metrics = scene.guard().metrics();
    let start = format!("rc_guard_alarms_standing{{kind=\"{kind}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}
