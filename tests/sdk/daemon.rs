//! LaunchDarkly's SDKs in daemon mode, on the Redis that `rc update` edited: they serve the new value, for the right reason.

use std::time::Duration;
use std::time::Instant;

use libtest_mimic::Trial;
use serde_json::json;

use crate::parts::Sdk;
use crate::parts::for_each_sdk;
use crate::reach::Done;
use crate::reach::row;
use crate::stage::Stage;
use crate::stage::flags;
use crate::watcher::Watcher;

pub fn trials() -> Vec<Trial> {
    for_each_sdk(&[
        ("daemon::off_and_undone", off_and_undone),
        ("daemon::on_for_targets_rules_and_others", on_for_targets_rules_and_others),
        ("daemon::a_value_for_everybody", a_value_for_everybody),
        ("daemon::a_prerequisite_that_is_off", a_prerequisite_that_is_off),
        ("daemon::when_the_cache_runs_out", when_the_cache_runs_out),
        ("daemon::damaged_and_repaired", damaged_and_repaired),
    ])
}

fn off_and_undone(sdk: Sdk) {
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon());
    watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    stage.update("-f checkout -s off");
    watcher.evaluate("checkout").is(false, 1, "OFF");
    stage.rc("undo checkout --yes").code(0);
    watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    assert_eq!(stage.stored("checkout"), flags()[0].text(), "LaunchDarkly's own record is back, byte for byte");
}

fn on_for_targets_rules_and_others(sdk: Sdk) {
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon());
    watcher.evaluate("search").is(false, 1, "OFF");
    stage.update("-f search -s On");
    watcher.evaluate("search").is(false, 1, "TARGET_MATCH");
    let in_new_zealand = json!({ "kind": "user", "key": "bob", "country": "NZ" });
    let served = watcher.evaluate_for("search", &in_new_zealand).is(false, 1, "RULE_MATCH");
    assert_eq!((&served.reason["ruleIndex"], &served.reason["ruleId"]), (&json!(0), &json!("r1")));
    let elsewhere = json!({ "kind": "user", "key": "bob", "country": "CH" });
    watcher.evaluate_for("search", &elsewhere).is(true, 0, "FALLTHROUGH");
}

fn a_value_for_everybody(sdk: Sdk) {
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon());
    watcher.evaluate("pricing-tier").is("gold", 0, "FALLTHROUGH");
    stage.update("-f pricing-tier --serve bronze");
    watcher.evaluate("pricing-tier").is("bronze", 2, "OFF");
    // Again, on top of the first.
    stage.update("-f pricing-tier --serve silver");
    watcher.evaluate("pricing-tier").is("silver", 1, "OFF");
}

fn a_prerequisite_that_is_off(sdk: Sdk) {
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon());
    watcher.evaluate("express-pay").is(true, 0, "FALLTHROUGH");
    stage.update("-f checkout -s off").out("express-pay");
    let served = watcher.evaluate("express-pay").is(false, 1, "PREREQUISITE_FAILED");
    assert_eq!(served.reason["prerequisiteKey"], "checkout");
    stage.update("-f checkout -s on");
    watcher.evaluate("express-pay").is(true, 0, "FALLTHROUGH");
}

fn when_the_cache_runs_out(sdk: Sdk) {
    const CACHE: Duration = Duration::from_secs(3);
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon().cached(CACHE));
    let before = Instant::now();
    watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    stage.update("-f checkout -s off");
    let edited = Instant::now();
    let meanwhile = watcher.evaluate("checkout");
    if before.elapsed() < CACHE {
        meanwhile.is(true, 0, "FALLTHROUGH");
    }
    watcher.wait("checkout", false).is(false, 1, "OFF");
    let waited = edited.elapsed();
    assert!(waited < CACHE + Duration::from_secs(2), "{waited:?}");
    let seen = format!("off {} ms after the edit; its cache was set to {} ms", waited.as_millis(), CACHE.as_millis());
    row(Done::EditReadByDaemon, &watcher.who(), seen);
}

/// The old tool wrote the text "off" where true or false belongs. To an SDK without types that text is true: it goes on
/// serving the flag as on.
fn damaged_and_repaired(sdk: Sdk) {
    let stage = Stage::filled(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.daemon());
    stage.put("checkout", &stage.stored("checkout").replacen("\"on\":true", "\"on\":\"off\"", 1));
    let (all, damaged) = (watcher.all(), watcher.evaluate("checkout"));
    watcher.evaluate("refunds").is(false, 1, "OFF");
    let seen = match sdk {
        Sdk::Go | Sdk::Python => {
            assert_eq!(all, None, "one record makes the whole environment unreadable");
            assert_eq!((damaged.value, &damaged.reason["kind"]), (json!(null), &json!("ERROR")));
            "cannot load the environment; that flag gives the code's own default"
        }
        Sdk::Node => {
            assert_eq!(all.map(|all| all.len()), Some(flags().len()));
            damaged.is(true, 0, "FALLTHROUGH");
            "loads it, and serves that flag as ON"
        }
    };
    let who = watcher.who();
    row(Done::DamagedRecord, &who, seen);
    stage.update("-f checkout -s off --repair").out("(mended)");
    watcher.evaluate("checkout").is(false, 1, "OFF");
    let all = watcher.all().expect("the environment is loaded again");
    assert_eq!(all.len(), flags().len(), "{all:?}");
    row(Done::Repaired, &who, "loads the environment, and serves that flag as off");
}
