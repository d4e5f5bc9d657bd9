//! SDKs that may go on holding what stood in the stores: said where versions say so, with what heals it, and not otherwise.

use std::time::Duration;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;
use crate::status::Saying;
use crate::status::environment as relay_environment;

const AHEAD: &str = "may hold v45, and LaunchDarkly is at v43: they ignore what it sends up to v45";

/// Three edits, of which LaunchDarkly makes one version.
fn three_edits(shop: &Shop) {
    shop.away();
    for state in ["off", "on", "off"] {
        shop.rc(&format!("update -f checkout -s {state}")).code(0);
    }
    shop.rc("update -f refunds -s off").code(0);
    shop.back();
}

#[test]
fn who_is_ahead_of_launchdarkly_is_told_until_it_has_come_so_far() {
    let shop = Shop::new(|seed| seed);
    three_edits(&shop);
    shop.rc("status").code(0).nowhere("may hold");
    shop.rc("verify").nowhere("may hold");
    let ran = shop.rc("replay").code(0).out(AHEAD).out("or with LaunchDarkly's v46");
    assert!(ran.stdout.contains("checkout: SDKs") && !ran.stdout.contains("refunds: SDKs"), "{ran}");
    shop.rc("status").code(0).out(AHEAD);
    let status: serde_json::Value = serde_json::from_str(&shop.rc("status --json").stdout).unwrap();
    let told = |flag: &str| {
        let all = status["environments"][0]["overrides"].as_array().unwrap();
        all.iter().find(|one| one["flag"] == flag).unwrap()["left_behind"].as_array().unwrap().len()
    };
    assert_eq!((told("checkout"), told("refunds")), (1, 0));
    shop.rc("verify").code(0).out(AHEAD).out("IN AGREEMENT");
    // LaunchDarkly's next changes, as a relay brings them; its v45 is the same as ours.
    for (version, on, is_told) in [(44, true, true), (45, false, false)] {
        shop.patched("checkout", &[json!({"kind": if on { "turnFlagOn" } else { "turnFlagOff" }})]);
        assert_eq!(shop.version("checkout"), version);
        shop.fill();
        shop.rc("replay");
        assert_eq!(shop.rc("verify").stdout.contains("they ignore what it sends up to v45"), is_told, "v{version}");
    }
}

#[test]
fn one_version_with_two_contents_is_told_until_the_next() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f tier --serve bronze").code(0);
    shop.rc("update -f tier -s on").code(0);
    assert_eq!(shop.record(0, "tier")["version"], 32);
    // Something else of the flag, which LaunchDarkly's version 32 has and ours had not.
    let gold = shop.control().variation_id(&environment(), &flag("tier"), 0).unwrap();
    shop.patched(
        "tier",
        &[json!({"kind": "addTargets", "contextKind": "user", "values": ["u1"], "variationId": gold})],
    );
    shop.back();
    shop.rc("replay").code(0).nowhere("may hold");
    assert_eq!(shop.version("tier"), 32);
    let told = "tier: v32 stood in s0 and s1 with another content than LaunchDarkly's v32";
    shop.rc("verify").out(told).out("PHP");
    shop.rc("status").code(0).out(told).out("PHP").nowhere("SDKS LEFT BEHIND");
    // A relay has everything anew, and the override ends: whoever got ours holds it all the same.
    shop.fill();
    shop.rc("replay").code(0);
    assert_eq!(shop.override_(0, "tier"), "");
    shop.rc("status").code(0).out("SDKS LEFT BEHIND shop/production\n  tier: v32 stood in ").nowhere("OVERRIDES");
    let status: serde_json::Value = serde_json::from_str(&shop.rc("status --json").stdout).unwrap();
    assert_eq!(status["environments"][0]["left_behind"][0]["flag"], "tier");
    // Whether it is still so only LaunchDarkly can say, and nobody waits for that.
    shop.fault(Fault::new(FaultKind::BlackHole));
    let ran = shop.rc("status").code(0).nowhere("SDKS LEFT BEHIND");
    assert!(ran.took < Duration::from_secs(3), "it took {:?}\n{ran}", ran.took);
    shop.back();
    shop.patched("tier", &[json!({"kind": "turnFlagOff"})]);
    for command in ["status", "verify"] {
        shop.rc(command).nowhere("another content");
    }
}

/// The everyday case: one edit, which LaunchDarkly made its next version of. It is not asked about that.
#[test]
fn where_launchdarkly_took_the_very_same_step_it_is_not_asked() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f refunds -s off").code(0);
    shop.back();
    shop.rc("replay").code(0);
    let asked = || shop.received("GET").iter().filter(|path| path.contains("/flags/")).count();
    let before = asked();
    shop.rc("status").code(0).nowhere("LEFT BEHIND");
    assert_eq!(asked(), before);
}

/// Taken back, LaunchDarkly is where it was, and whoever got the edit is ahead of it.
#[test]
fn an_undo_leaves_those_ahead_who_got_the_edit() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("undo checkout").code(0);
    shop.back();
    let told =
        "checkout: SDKs that connected to a relay on s0 and s1 meanwhile may hold v43, and LaunchDarkly is at v42";
    shop.rc("status").code(0).out(&format!("SDKS LEFT BEHIND shop/production\n  {told}"));
    shop.rc("verify").out(told);
}

#[test]
fn behind_a_relay_that_is_cut_off_nobody_is_ahead_for_long() {
    let shop = Shop::new(|seed| seed);
    three_edits(&shop);
    let relay = || Saying::relay("8.10.1", relay_environment("INTERRUPTED", super::stage::PREFIX));
    let relays = [relay(), relay()];
    let settings = shop.home.path().join(".env");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("{text}RELAY_URLS=s0={},s1={}\n", relays[0].url, relays[1].url)).unwrap();
    let ran = shop.rc("replay");
    assert!(!ran.stdout.contains("may hold"), "LaunchDarkly's return sends everything anew: {ran}");
    // It cannot have told its SDKs of anything since 2023.
    shop.rc("verify").out("checkout: DIVERGED: SDKs that have been connected to s0 and s1 since before ");
}
