//! What SDKs may go on holding after an override is over, because of versions (launchdarkly.md 15). It must not know which
//! SDKs there are, nor who serves them.
//!
//! An SDK takes a patch only if its version is higher than that of what it holds, whatever the content; a relay's store
//! does the same. PHP asks a relay "anything other than v44?" (an ETag of versions alone), and takes "no" for an answer. Our
//! records count on from LaunchDarkly's version, one for each edit, while LaunchDarkly makes one version of all of them. So
//! whoever got ours may be ahead of LaunchDarkly, or hold another content under the same version.

use crate::flag::configuration::Configuration;

/// A record of ours that stood in a store, where SDKs could get it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stood {
    /// Its version.
    pub version: u64,
    /// What it did, where that is known.
    pub configuration: Option<Configuration>,
}

/// What may have been left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Whoever holds version `held` takes nothing from LaunchDarkly up to and with that version.
    Ahead {
        /// The highest version of ours that stood there.
        held: u64,
        /// LaunchDarkly's version.
        has: u64,
    },
    /// The version that LaunchDarkly has now was also one of ours, and did something else.
    Twice {
        /// The version.
        version: u64,
    },
}

impl Stale {
    /// LaunchDarkly's first version that everybody takes again.
    pub fn heals_at(self) -> u64 {
        match self {
            Stale::Ahead { held, .. } => held.saturating_add(1),
            Stale::Twice { version } => version.saturating_add(1),
        }
    }
}

/// What may have been left behind, now that LaunchDarkly is at version `has`, which does `now` (where that is known).
pub fn stale(stood: &[Stood], has: u64, now: Option<&Configuration>) -> Option<Stale> {
    let held = stood.iter().map(|stood| stood.version).max()?;
    if held > has {
        return Some(Stale::Ahead { held, has });
    }
    let differs = |stood: &&Stood| match (&stood.configuration, now) {
        (Some(ours), Some(theirs)) => stood.version == has && !ours.differs(theirs).is_empty(),
        _ => false,
    };
    stood.iter().find(differs).map(|_| Stale::Twice { version: has })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::sample::flag;
    use crate::flag::record::Record;

    fn stood(record: &Record) -> Stood {
        Stood { version: record.version(), configuration: Some(Configuration::of_record(record)) }
    }

    #[test]
    fn three_edits_and_one_patch() {
        let ours = [43, 44, 45].map(|version| stood(&flag(version, false, 1, 0)));
        let theirs = Configuration::of_record(&flag(43, false, 1, 0));
        let left = stale(&ours, 43, Some(&theirs)).unwrap();
        assert_eq!((left, left.heals_at()), (Stale::Ahead { held: 45, has: 43 }, 46));
        assert_eq!(stale(&ours[..1], 43, Some(&theirs)), None, "one edit, and the very same");
        assert_eq!(stale(&ours, 45, Some(&theirs)), None, "the very same by now");
        let other = Configuration::of_record(&flag(45, true, 1, 0));
        assert_eq!(stale(&ours, 45, Some(&other)), Some(Stale::Twice { version: 45 }));
        assert_eq!((stale(&ours, 45, None), stale(&ours, 46, Some(&other)), stale(&[], 1, None)), (None, None, None));
    }

    /// An SDK's memory.
    fn takes(held: &mut Record, patch: &Record) -> bool {
        let takes = patch.version() > held.version();
        if takes {
            *held = patch.clone();
        }
        takes
    }

    proptest! {
        /// Whoever got one of our records, and hears LaunchDarkly's patches one after the other from the one that it has
        /// now: with nothing left behind he has what LaunchDarkly has at once; else at the version that is named, not
        /// earlier if he holds our highest.
        #[test]
        fn an_sdk_agrees_when_it_is_said_and_not_before(
            from in 1..20_u64, edits in 1..5_u64, which in 0..5_u64, has in 1..30_u64, ours_on: bool, theirs_on: bool,
        ) {
            let ours: Vec<Record> = (1..=edits).map(|edit| flag(from + edit, ours_on, 1, 0)).collect();
            let theirs = |version: u64| flag(version, if version == has { theirs_on } else { version.is_multiple_of(2) }, 1, 0);
            let all: Vec<Stood> = ours.iter().map(stood).collect();
            let left = stale(&all, has, Some(&Configuration::of_record(&theirs(has))));
            let mut held = ours[(which % edits) as usize].clone();
            let heals_at = left.map_or(has, Stale::heals_at);
            for version in has..=heals_at {
                let patch = theirs(version);
                let took = takes(&mut held, &patch);
                if which % edits == edits - 1 && left.is_some() && version < heals_at {
                    prop_assert!(!took, "v{version}");
                }
            }
            let agrees = Configuration::of_record(&held).differs(&Configuration::of_record(&theirs(heals_at))).is_empty();
            prop_assert!(agrees, "{left:?}");
        }
    }
}
