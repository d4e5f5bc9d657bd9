//! How long an edit takes from the store to SDKs, beside LaunchDarkly's own patch through the same guard in the same run. It
//! measures and tells; what is fast enough depends on the machine, and is for `scripts/bench`.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use super::TestOfAWay;
use super::scene::Scene;
use super::scene::Way;
use crate::reach::note;
use crate::support::shop;
use crate::watcher::Watcher;

pub const TESTS: &[TestOfAWay] = &[("how_long_an_edit_takes", how_long_an_edit_takes)];

/// How often each is measured.
const TIMES: usize = 11;

fn how_long_an_edit_takes(way: Way) {
    let mut scene = Scene::shop(way);
    let mut audience = scene.audience(&["checkout", "refunds"]);
    // What fills the store serves out of it, and has the edit before any guard.
    audience.paths.clear();
    let number = audience.sdks.len();
    let (mut edits, mut patches) = (vec![Vec::new(); number], vec![Vec::new(); number]);
    for round in 0..TIMES {
        let off = round % 2 == 0;
        scene.update(&format!("-f checkout -s {}", if off { "off" } else { "on" }));
        let written = written(&scene);
        for (sdk, times) in audience.sdks.iter_mut().zip(&mut edits) {
            sdk.wait("checkout", !off);
            times.push(last(sdk, "checkout").saturating_sub(written));
        }
        scene.launchdarkly.colleague_turns("refunds", off);
        // The change is made, as the store's is when it stands in its log; and as coarse as that.
        let said = now() / 1_000 * 1_000;
        for (sdk, times) in audience.sdks.iter_mut().zip(&mut patches) {
            sdk.wait("refunds", off);
            times.push(last(sdk, "refunds").saturating_sub(said));
        }
    }
    audience.have_stayed();
    let through = if way == Way::Relay { "guard and relay" } else { "guard" };
    for ((sdk, edits), patches) in audience.sdks.iter().zip(&mut edits).zip(&mut patches) {
        let (edit, patch) = (median(edits), median(patches));
        note(format!(
            "ratio: {:.2} ({}; {edit:.1} ms from the store's write, {patch:.1} ms for LaunchDarkly's own patch, both through \
             {through}; medians of {TIMES})\n",
            edit / patch,
            sdk.sdk
        ));
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

/// When the newest change of a watched flag came, in microseconds of the epoch.
fn last(sdk: &mut Watcher, flag: &str) -> u64 {
    sdk.seen(flag).last().expect("it is watched").1
}

/// When the store took the newest edit, by its own log.
fn written(scene: &Scene) -> u64 {
    let log = format!("{}:relaycommander:log", shop::PREFIX);
    let newest = scene.stage.redis.run(&["XREVRANGE", &log, "+", "-", "COUNT", "1"]);
    let id = newest.lines().next().and_then(|line| line.split('-').next()).expect("an entry");
    id.parse::<u64>().expect("a time") * 1_000
}

/// In milliseconds, of microseconds.
fn median(times: &mut [u64]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2] as f64 / 1_000.0
}
