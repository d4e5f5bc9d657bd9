//! Everything that LaunchDarkly ever said of each flag, version by version, and who made it say so. PURE.

use std::collections::BTreeMap;

use serde_json::Value;

use super::edition::served;

/// The parts of a flag that the commands can change, by their names in a record.
pub const ASPECTS: [&str; 3] = ["on", "offVariation", "fallthrough"];

/// Who made LaunchDarkly say something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Nobody: it was so at the beginning.
    Beginning,
    /// Somebody in LaunchDarkly itself.
    Colleague,
    /// A reviewer who applied what a replay had asked for.
    Approval {
        /// The changes that its comment names, oldest first.
        changes: Vec<String>,
    },
    /// A patch of `rc`.
    Replay {
        /// The changes that its comment names, oldest first.
        changes: Vec<String>,
    },
}

impl By {
    /// The changes that were named.
    pub fn changes(&self) -> &[String] {
        match self {
            By::Beginning | By::Colleague => &[],
            By::Approval { changes } | By::Replay { changes } => changes,
        }
    }
}

/// One version of a flag.
#[derive(Debug, Clone)]
pub struct Said {
    /// LaunchDarkly's version.
    pub version: u64,
    /// As it is sent to SDKs; `None`: it was archived or deleted.
    pub record: Option<Value>,
    /// Who.
    pub by: By,
    /// While this command was running; 0: none.
    pub command: u64,
    /// In this step.
    pub step: usize,
}

/// All versions of all flags, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    flags: BTreeMap<String, Vec<Said>>,
}

impl Ledger {
    /// Adds a version.
    pub fn add(&mut self, flag: &str, said: Said) {
        self.flags.entry(flag.to_owned()).or_default().push(said);
    }

    /// All versions of a flag, oldest first.
    pub fn of(&self, flag: &str) -> &[Said] {
        self.flags.get(flag).map(Vec::as_slice).unwrap_or_default()
    }

    /// The newest version of a flag.
    pub fn newest(&self, flag: &str) -> Option<&Said> {
        self.of(flag).last()
    }

    /// All flags with all their versions.
    pub fn all(&self) -> impl Iterator<Item = (&str, &[Said])> {
        self.flags.iter().map(|(flag, said)| (flag.as_str(), said.as_slice()))
    }

    /// Whether LaunchDarkly ever sent this very record of the flag.
    pub fn has_sent(&self, flag: &str, record: &Value) -> bool {
        self.of(flag).iter().any(|said| said.record.as_ref() == Some(record))
    }

    /// Who wrote an aspect last before the version at this place: his version. Whoever takes a variation away only moves the
    /// numbers of the others.
    pub fn last_writer(&self, flag: &str, aspect: &str, before: usize) -> Option<&Said> {
        let said = self.of(flag).get(..before)?;
        let value = |said: &Said| said.record.as_ref().map(|record| served(record, aspect));
        let wrote = |place: &usize| match place.checked_sub(1).and_then(|earlier| said.get(earlier)) {
            None => true,
            Some(earlier) => said.get(*place).map(value) != Some(value(earlier)),
        };
        (0..said.len()).rev().find(wrote).and_then(|place| said.get(place))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_wrote_last() {
        let mut ledger = Ledger::default();
        let mut version = 41;
        for (on, off, by) in [
            (true, 1, By::Beginning),
            (false, 1, By::Colleague),
            (true, 1, By::Colleague),
            (true, 0, By::Replay { changes: Vec::new() }),
        ] {
            version += 1;
            let record = Some(json!({ "on": on, "offVariation": off, "version": version }));
            ledger.add("checkout", Said { version, record, by, command: 0, step: 0 });
        }
        let wrote = |aspect, before| ledger.last_writer("checkout", aspect, before).map(|said| said.version);
        assert_eq!(wrote("on", 4), Some(44), "changed, and changed back");
        assert_eq!(wrote("on", 2), Some(43));
        assert_eq!(wrote("offVariation", 4), Some(45));
        assert_eq!(wrote("offVariation", 3), Some(42));
        assert_eq!(wrote("fallthrough", 4), Some(42));
        assert!(ledger.has_sent("checkout", &json!({ "on": false, "offVariation": 1, "version": 43 })));
    }

    #[test]
    fn a_variation_that_goes_moves_the_numbers_of_others_and_writes_nothing() {
        let mut ledger = Ledger::default();
        let lists = [(31, 2, json!(["gold", "silver", "bronze"])), (32, 1, json!(["gold", "bronze"]))];
        for (version, off, variations) in lists {
            let record = Some(json!({ "offVariation": off, "variations": variations, "version": version }));
            ledger.add("tier", Said { version, record, by: By::Colleague, command: 0, step: 0 });
        }
        assert_eq!(ledger.last_writer("tier", "offVariation", 2).map(|said| said.version), Some(31));
        assert_eq!(ledger.last_writer("tier", "variations", 2).map(|said| said.version), Some(32));
    }
}
