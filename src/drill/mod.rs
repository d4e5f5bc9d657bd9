//! Rehearsing an outage without LaunchDarkly: a simulated LaunchDarkly, and the rehearsal that runs against it.
//!
//! It must not know the interpreter in `flag/`: the simulated LaunchDarkly works on LaunchDarkly's own API shape with
//! code of its own, so that an error in one of the two shows instead of cancelling out.

pub mod launchdarkly;
