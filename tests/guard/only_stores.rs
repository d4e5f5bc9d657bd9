//! A guard on nobody's stream (`--no-stream`): it watches stores, puts right what is lost there, tells people, and says of
//! itself what it is not.

use std::path::Path;
use std::time::Duration;

use super::process::Guard;
use super::process::Plan;
use super::scripted::Scripted;
use super::update::plan;
use super::update::put;
use super::wire::LONG;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::receiver::Manner;
use crate::support::receiver::Receiver;
use crate::support::shop::PREFIX;
use crate::support::shop::flag;

/// How often the store is reset.
const RESETS: usize = 100;

fn run(plan: &Plan, line: &str) -> Ran {
    Rc::new().home(plan.home()).line(line).args(["-p", "shop", "-e", "production"]).run()
}

fn stands(plan: &Plan) -> String {
    plan.redis().run(&["HGET", &format!("{PREFIX}:features"), "checkout"])
}

#[track_caller]
fn wait_until(what: &str, wanted: impl Fn() -> bool) -> Duration {
    let begun = std::time::Instant::now();
    while !wanted() {
        assert!(begun.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

/// A guard that watches the shop's production alone, by its name alone.
fn watching(plan: &Plan) -> Guard {
    Guard::watching(&plan.only_stores(), plan.home())
}

#[test]
fn a_hundred_resets_are_put_right_each_told_with_its_length() {
    let receiver = Receiver::start(Manner::Takes);
    let url = receiver.url("/own");
    let plan =
        plan(&Scripted::streaming(String::from_utf8(put(42)).unwrap())).env("RC_NOTIFY_WEBHOOK", Path::new(&url));
    let mut guard = watching(&plan);
    run(&plan, "update -f checkout -s off").code(0);
    receiver.wait_for("that it was made", |received| received.json()["kind"] == "override-made");
    let launchdarklys = flag("checkout", 42).text();
    let mut lengths = Vec::new();
    for round in 1..=RESETS {
        // As a relay does it when LaunchDarkly returns.
        plan.redis().run(&["HSET", &format!("{PREFIX}:features"), "checkout", &launchdarklys]);
        lengths.push(wait_until("it is back", || stands(&plan).contains("\"on\":false")));
        let told = || guard.told().matches("had taken the place of the override of checkout").count();
        wait_until("it is told", || told() == round);
    }
    lengths.sort();
    // Half of them must be as the issue wants; the slowest may have met a machine that is busy with other tests.
    assert!(lengths[RESETS / 2] < Duration::from_millis(1_500), "{lengths:?}");
    assert!(guard.told().matches(" s at most").count() >= RESETS);
    assert!(guard.terminate().success());
}

#[test]
fn it_says_what_it_is_not() {
    let plan = plan(&Scripted::streaming(String::from_utf8(put(42)).unwrap()));
    let mut guard = watching(&plan);
    guard.wait_for_told("\"address\":null");
    run(&plan, "update -f checkout -s off").code(0);
    wait_until("it is announced", || run(&plan, "status --json").stdout.contains("\"only_stores\":true"));
    let status = run(&plan, "status");
    assert!(status.stdout.contains("store only"), "{status}");
    let doctor = run(&plan, "doctor");
    assert!(doctor.stdout.contains("watches stores alone (--no-stream)"), "{doctor}");
    assert!(guard.terminate().success());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let plan = plan(&Scripted::streaming(String::from_utf8(put(42)).unwrap()));
    let rc = |line: &str| Rc::new().home(plan.home()).line(line).run();
    rc("guard").code(2).err("rc guard --no-stream");
    rc("guard --no-stream").code(2).err("which environment is to be watched?");
    rc("guard --no-stream --listen 127.0.0.1:0").code(2).err("cannot be used with");
    rc("guard --no-stream --shadow").code(2).err("cannot be used with");
}
