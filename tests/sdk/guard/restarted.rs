//! The guard is killed and begun anew, with what it had in its folder or with what it had there long ago.

use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::json;

use super::TestOfAWay;
use super::audience::Audience;
use super::scene::Scene;
use super::scene::Way;

pub const TESTS: &[TestOfAWay] =
    &[("killed_fifty_times", killed_fifty_times), ("a_folder_of_three_weeks_ago", a_folder_of_three_weeks_ago)];

/// Half of them during the outage, half of them while LaunchDarkly returns.
const KILLS: usize = 50;

fn killed_fifty_times(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout"]);
    let place = scene.places[0].clone();
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);
    // Their connections end with the guard's process.
    audience.eyes.clear();
    let mut newest = 5;
    for number in 0..KILLS {
        let during_the_return = number % 2 == 1;
        if during_the_return {
            scene.launchdarkly.stream_returns();
            if number % 4 == 1 {
                // Its put is on the way.
                scene.launchdarkly.wait_for_a_stream("/all");
            }
        }
        scene.kill_guard();
        if during_the_return {
            newest = scene.launchdarkly.colleague_turns("refunds", newest % 2 == 1);
        }
        scene.start_guard();
        let eye = scene.eye_on_the_guard(&place);
        eye.wait("checkout", &json!(false));
        if during_the_return {
            eye.wait_for_version("refunds", newest);
            scene.stream_goes_away();
        }
        eye.has_seen("checkout", &[json!(false)]);
        let (edited, other) = (scene.stage.record("checkout"), scene.stage.record("refunds"));
        assert_eq!((&edited["version"], &edited["on"]), (&json!(43), &json!(false)), "{number}");
        assert!(other["version"].as_u64().is_some_and(|version| version <= newest), "{number}: {other}");
    }
    come_back(&scene, &mut audience);
    audience.have_seen("checkout", &[true, false]);
    is_owed_and_replayed(&scene, &mut audience);
}

/// LaunchDarkly's stream returns, and all SDKs are on it again.
fn come_back(scene: &Scene, audience: &mut Audience) {
    scene.stream_returns();
    // Whichever it was before, this is new to all of them.
    scene.launchdarkly.colleague_turns("refunds", false);
    let version = scene.launchdarkly.colleague_turns("refunds", true);
    for watcher in audience.sdks.iter_mut().chain(&mut audience.paths) {
        watcher.wait_after_a_return("refunds", true);
    }
    scene.stage.wait_for_record("refunds", version, true);
}

/// Nothing owed was lost: it is replayed, settled, and LaunchDarkly's next change is taken.
fn is_owed_and_replayed(scene: &Scene, audience: &mut Audience) {
    assert!(scene.override_of("checkout").is_some());
    scene.launchdarkly.api_returns();
    scene.stage.rc("status").code(0).out("OWED: 1 flag");
    let eye = scene.eye_on_the_guard(&scene.places[0]);
    scene.stage.rc("replay --yes").code(0);
    scene.wait_until_settled("checkout");
    scene.stage.wait_for_record("checkout", 43, false);
    eye.wait_for_version("checkout", 43);
    assert_eq!(scene.launchdarkly.colleague_turns("checkout", true), 44);
    eye.wait_for_version("checkout", 44);
    for watcher in audience.sdks.iter_mut().chain(&mut audience.paths) {
        watcher.wait("checkout", true);
        watcher.has_seen("checkout", &[json!(true), json!(false), json!(true)]);
    }
    scene.stage.wait_for_record("checkout", 44, true);
}

fn a_folder_of_three_weeks_ago(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout", "refunds"]);
    let place = scene.places[0].clone();
    let home = scene.stage.home.path().to_owned();
    let (folder, old) = (home.join("guard"), home.join("guard-old"));
    scene.wait_until_kept();
    copy(&folder, &old);
    assert_eq!(scene.launchdarkly.colleague_turns("refunds", true), 6);
    audience.have("refunds", true);
    scene.everything_goes_away();
    scene.update("-f checkout -s off");
    audience.have("checkout", false);
    audience.eyes.clear();
    scene.kill_guard();
    fs::remove_dir_all(&folder).unwrap();
    copy(&old, &folder);
    age(&folder);
    scene.start_guard();
    let eye = scene.eye_on_the_guard(&place);
    eye.wait("checkout", &json!(false));
    eye.has_seen("checkout", &[json!(false)]);
    eye.has_seen("refunds", &[json!(true)]);
    drop(eye);
    for watcher in audience.sdks.iter_mut().chain(&mut audience.paths) {
        watcher.wait_after_a_return("refunds", true);
    }
    let (edited, other) = (scene.stage.record("checkout"), scene.stage.record("refunds"));
    assert_eq!((&edited["version"], &edited["on"]), (&json!(43), &json!(false)));
    assert_eq!((&other["version"], &other["on"]), (&json!(6), &json!(true)));
    scene.stream_returns();
    audience.have_seen("refunds", &[false, true]);
    audience.have_seen("checkout", &[true, false]);
    is_owed_and_replayed(&scene, &mut audience);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &there);
        } else {
            fs::copy(entry.path(), there).unwrap();
        }
    }
}

/// What is kept says that it was so three weeks ago.
fn age(folder: &Path) {
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3 * 7 * 24);
    let kept = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut aged = 0;
    for path in kept.filter(|path| path.extension().is_some_and(|ending| ending == "put")) {
        let text = fs::read_to_string(&path).unwrap();
        let (header, put) = text.split_once('\n').unwrap();
        let mut header: Value = serde_json::from_str(header).unwrap();
        assert!(header["asOf"].is_string(), "{header}");
        header["asOf"] = json!(then.to_string());
        fs::write(&path, format!("{header}\n{put}")).unwrap();
        aged += 1;
    }
    assert!(aged > 0);
}
