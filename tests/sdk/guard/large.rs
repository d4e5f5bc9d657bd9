//! An environment of 20 MB: every `put` is as large, and everything holds all the same.

use super::TestOfAWay;
use super::scene::Place;
use super::scene::Scene;
use super::scene::Way;
use super::scene::seed;
use crate::launchdarkly::LaunchDarkly;
use crate::stage::flags;
use crate::support::ld_relay::LdRelay;
use crate::support::shop::Flag;
use crate::support::shop::flag;

pub const TESTS: &[TestOfAWay] = &[("an_environment_of_20_megabytes", an_environment_of_20_megabytes)];

/// So many flags, each with a value of so many characters.
const FLAGS: usize = 2_000;
const VALUE: usize = 10_000;

const MEGABYTE: usize = 1024 * 1024;

/// The most memory that the guard may need: the state as LaunchDarkly sent it last and the one before it, the `put` of each,
/// and one on its way.
const MEMORY_MAX: usize = 300 * MEGABYTE;

fn an_environment_of_20_megabytes(way: Way) {
    let places = vec![Place::production()];
    let value = "x".repeat(VALUE);
    let large = |number: usize| flag(&format!("large-{number}"), 1).values(&format!("[\"{value}\",\"\"]"));
    let all: Vec<Flag> = flags().into_iter().chain((0..FLAGS).map(large)).collect();
    let mut scene = Scene::set(way, LaunchDarkly::of(seed(&places, &all)), places);
    let mut audience = scene.audience(&["checkout"]);
    scene.everything_goes_away();
    // Its own connection to the relay may be late on a machine that does much else; what SDKs have is looked at here.
    let _ = scene.stage.rc("update -p shop -e production -f checkout -s off").out("v42 -> v43");
    audience.have("checkout", false);
    // The whole of it again, and again for whoever comes.
    scene.stream_returns();
    scene.launchdarkly.colleague_turns("refunds", true);
    audience.have("refunds", true);
    scene.sdk(crate::parts::Sdk::Go, &scene.places[0]).wait("checkout", false);
    let _ = scene.stage.rc("undo checkout --yes");
    audience.have("checkout", true);
    audience.have_seen("checkout", &[true, false, true]);
    audience.have_stayed();
    let memory = scene.guard().memory();
    assert!(memory < MEMORY_MAX, "{} MB", memory / MEGABYTE);
    assert!(scene.relay.as_mut().is_none_or(LdRelay::is_running));
}
