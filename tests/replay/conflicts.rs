//! LaunchDarkly said otherwise meanwhile: merged, a decision, or nothing to do.

use relay_commander::drill::launchdarkly::Fault;
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

/// All values of the option, and their other names, for one conflict and for one flag that was changed and changed back.
#[test]
fn every_way_to_decide() {
    for (option, wins) in [
        ("override", true),
        ("ours", true),
        ("OURS", true),
        ("launchdarkly", false),
        ("theirs", false),
        ("skip", false),
    ] {
        let shop = Shop::new(|seed| seed);
        shop.rc("update -f tier --serve bronze").code(0);
        let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
        shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
        let ran = shop.rc(&format!("replay --on-conflict {option}"));
        let code = if option == "skip" { 6 } else { 0 };
        ran.code(code);
        let now = shop.control().configuration(&environment(), &flag("tier")).unwrap()["offVariation"].clone();
        assert_eq!(now, if wins { 2 } else { 1 }, "{option}");
        assert_eq!(shop.patches(), usize::from(wins), "{option}");
    }
    let shop = Shop::new(|seed| seed);
    shop.rc("replay --on-conflict whatever").code(2);
}

/// The audit log explains a version that moved: tags and a description.
#[test]
fn what_changed_nothing_that_is_touched_is_no_conflict() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.patched("checkout", &[json!({"kind": "addTags", "values": ["money"]})]);
    shop.patched("checkout", &[json!({"kind": "updateDescription", "value": "…"})]);
    shop.rc("replay").code(0).out("off in LaunchDarkly v45");
}

/// A rule was changed, and beside it the switch turned and turned back: somebody decided about it.
#[test]
fn changed_and_changed_back_beside_another_change() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 1).unwrap();
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    let rule = json!({"kind": "updateFallthroughVariationOrRollout", "variationId": other});
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"}), rule]);
    shop.rc("replay").code(6).out("CHANGED AND CHANGED BACK");
    assert_eq!(shop.patches(), 0);
}

/// The store was behind LaunchDarkly when the override was made on its record: nobody here has seen the switch turned.
#[test]
fn changed_and_changed_back_before_the_override_and_after_its_base() {
    let shop = Shop::new(|seed| seed);
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 1).unwrap();
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("update -f checkout -s off").code(0);
    assert_eq!(shop.stands(0, "checkout"), (43, false));
    let rule = json!({"kind": "updateFallthroughVariationOrRollout", "variationId": other});
    shop.patched("checkout", &[rule]);
    shop.rc("replay").code(6).out("CHANGED AND CHANGED BACK");
    assert_eq!(shop.patches(), 0);
}

/// What was decided was decided about what was read then.
#[test]
fn changed_and_changed_back_while_it_is_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::status(409).on("PATCH", "*").times(1));
    let run = shop.sending("replay");
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    let (code, told) = run.finished();
    assert_eq!(code, Some(6), "{told}");
    assert!(told.contains("changed while this was going on"), "{told}");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (true, 1));
}

/// A 409 because of something else: read again, decided again, sent.
#[test]
fn changed_elsewhere_while_it_is_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::status(409).on("PATCH", "*").times(1));
    let run = shop.sending("replay");
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 0).unwrap();
    shop.patched("checkout", &[json!({"kind": "updateOffVariation", "variationId": other})]);
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("off in LaunchDarkly v44"), "{told}");
    let now = shop.control().configuration(&environment(), &flag("checkout")).unwrap();
    assert_eq!((&now["on"], &now["offVariation"]), (&json!(false), &json!(0)), "carol's stays");
}

/// A list of variations that was shifted, and one from which the override's own is gone.
#[test]
fn variations_are_named_by_their_values() {
    // Four of them, of which the second one goes.
    let shop = Shop::new(|seed| {
        let here = json!({"on": false, "offVariation": 0, "version": 30});
        seed.flag("level", json!(["gold", "tin", "silver", "bronze"]), here)
    });
    shop.rc("update -f level --serve bronze").code(0);
    let tin = shop.control().variation_id(&environment(), &flag("level"), 1).unwrap();
    let silver = shop.control().variation_id(&environment(), &flag("level"), 2).unwrap();
    let default = json!({"kind": "updateDefaultVariation", "onVariationValue": "gold", "offVariationValue": "silver"});
    let rule = json!({"kind": "updateFallthroughVariationOrRollout", "variationId": silver});
    shop.patched("level", &[default, rule, json!({"kind": "removeVariation", "variationId": tin})]);
    shop.rc("replay").code(0).out("\"bronze\" in LaunchDarkly");
    let now = shop.control().flag(&environment(), &flag("level")).unwrap();
    assert_eq!(now["variations"][2]["value"], "bronze");
    assert_eq!(now["environments"]["production"]["offVariation"], 2);

    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    let bronze = shop.control().variation_id(&environment(), &flag("tier"), 2).unwrap();
    let default = json!({"kind": "updateDefaultVariation", "onVariationValue": "gold", "offVariationValue": "silver"});
    shop.patched("tier", &[default, json!({"kind": "removeVariation", "variationId": bronze})]);
    shop.rc("replay --on-conflict override").code(6).out("names a variation that LaunchDarkly's flag has no more");
    assert_eq!(shop.patches(), 0);
}

/// A conflict that nobody decides is noted once, however often a timer runs `rc replay`.
#[test]
fn a_conflict_that_is_left_does_not_fill_the_disk() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    shop.rc("replay").code(6);
    let once = shop.text_of("playback");
    assert!(once.contains(r#""decision":"skip""#), "{once}");
    shop.rc("replay").code(6);
    assert_eq!(shop.text_of("playback"), once);
}

/// Nor does one that was decided and that still waits for somebody to want a review.
#[test]
fn a_decision_that_cannot_be_carried_out_is_noted_once() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.patched("refunds", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("refunds", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("replay --on-conflict override").code(6).out("needs an approval");
    let once = shop.text_of("playback");
    assert!(once.contains(r#""decision":"override""#), "{once}");
    shop.rc("replay --on-conflict override").code(6);
    assert_eq!(shop.text_of("playback"), once);
    // Another decision is another fact.
    shop.rc("replay --on-conflict skip").code(6);
    assert!(shop.text_of("playback").contains(r#""decision":"skip""#));
}
