//! `rc guard` with LaunchDarkly's own SDKs behind it, each test twice: with the Go SDK as a relay's data path and all SDKs on
//! the guard itself, and (where `LD_RELAY` names one) with a real relay and all SDKs on that. Issue 5's table of what a guard
//! must show, row by row; docs/guard.md names these tests.

mod audience;
mod edits;
mod eye;
mod large;
mod losing;
mod partial;
mod restarted;
mod returns;
mod scene;
mod speed;
mod started;
mod wiped;

use libtest_mimic::Trial;

use self::scene::Way;
use crate::parts::Part;
use crate::parts::Sdk;
use crate::parts::trial;

/// A test of a guard, with its name.
type TestOfAWay = (&'static str, fn(Way));

pub fn trials() -> Vec<Trial> {
    let tests: Vec<TestOfAWay> = [
        edits::TESTS,
        returns::TESTS,
        partial::TESTS,
        wiped::TESTS,
        losing::TESTS,
        restarted::TESTS,
        speed::TESTS,
        large::TESTS,
    ]
    .concat();
    let sdks = Sdk::ALL.map(Part::Sdk);
    let with_relay = [sdks.as_slice(), &[Part::Relay]].concat();
    let both = tests.into_iter().flat_map(|(name, test)| {
        [
            trial(&format!("guard::{name}::data_path"), &sdks, move || test(Way::DataPath)),
            trial(&format!("guard::{name}::relay"), &with_relay, move || test(Way::Relay)),
        ]
    });
    let paths = started::TESTS_OF_THE_DATA_PATH.iter();
    let paths = paths.map(|&(name, test)| trial(&format!("guard::{name}::data_path"), &sdks, test));
    let relays = started::TESTS.iter();
    let relays = relays.map(|&(name, test)| trial(&format!("guard::{name}::relay"), &with_relay, test));
    both.chain(paths).chain(relays).collect()
}
