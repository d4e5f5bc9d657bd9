//! LaunchDarkly said otherwise meanwhile: merged, a decision, or nothing to do.

use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

#[test]
fn what_launchdarkly_changed_elsewhere_stays() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 0).unwrap();
    shop.patched("checkout", &[json!({"kind": "updateOffVariation", "variationId": other})]);
    shop.rc("replay").code(0).out("off variation stay").out("off in LaunchDarkly v44");
}

#[test]
fn a_conflict_needs_a_decision_and_has_one() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    shop.rc("update -f checkout -s off").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    let ran = shop.rc("replay").code(6).out("CONFLICT").out("off in LaunchDarkly v43").out("1 OWED");
    ran.out("rc replay -p shop -e production -f tier --on-conflict override|launchdarkly");
    assert_eq!(shop.version("tier"), 31);
    shop.rc("replay --on-conflict override").code(0).out("\"bronze\" in LaunchDarkly v32");
    assert_eq!(shop.control().configuration(&environment(), &flag("tier")).unwrap()["offVariation"], 2);
    let text = std::fs::read_dir(shop.home.path().join("playback/replayed")).unwrap();
    let text: String = text.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(text.contains(r#""decision":"override""#), "{text}");
}

#[test]
fn launchdarklys_word_can_be_chosen() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    shop.rc("replay --on-conflict theirs").code(0).out("given up");
    assert_eq!(shop.version("tier"), 31);
    assert_eq!(shop.override_(1, "tier").trim(), "");
    assert_eq!(shop.record(1, "tier")["version"], 30);
    shop.rc("replay").code(0).out("Nothing is owed");
}

#[test]
fn changed_and_changed_back_needs_a_decision() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("replay").code(6).out("CHANGED AND CHANGED BACK");
    assert_eq!(shop.patches(), 0);
    shop.rc("replay --on-conflict ours").code(0).out("off in LaunchDarkly v45");
}

#[test]
fn a_scheduled_change_is_only_broken_when_told_to() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.control().schedule(&environment(), &flag("checkout"), &[json!({"kind": "turnFlagOff"})]).unwrap();
    shop.rc("replay").code(6).out("--break-scheduled");
    shop.rc("replay --break-scheduled").code(0);
}
