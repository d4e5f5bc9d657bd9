//! The mark by which a rehearsal finds its own leavings on somebody's Redis, and what follows from what lies below a
//! prefix. PURE.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use uuid::Uuid;

use crate::commands::drill::raw::Keys;

/// The version of what the mark says.
const FORMAT: u32 = 1;

/// Says that everything that a rehearsal writes below a prefix is a rehearsal's, and whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    format: u32,
    /// Which rehearsal.
    pub id: Uuid,
    /// Who runs it.
    pub user: String,
    /// On which machine.
    pub host: String,
    /// Since when.
    pub at: Timestamp,
}

impl Mark {
    /// One for a new rehearsal.
    pub fn new(user: &str, host: &str, at: Timestamp) -> Self {
        Self { format: FORMAT, id: Uuid::now_v7(), user: user.to_owned(), host: host.to_owned(), at }
    }

    /// Whose it is, for people: `anna on bastion-1, 02:14Z`.
    pub fn told(&self, now: Timestamp) -> String {
        format!("{} on {}, {}", self.user, self.host, crate::ui::time::short(self.at, now))
    }
}

/// The keys that a rehearsal writes below a prefix; no other one is ever touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchKeys {
    /// The mark.
    pub mark: String,
    /// There as long as the rehearsal lives: it expires.
    pub alive: String,
    /// Everything else: what a relay and `rc` write.
    pub rest: Vec<String>,
}

impl ScratchKeys {
    /// Those below `prefix`.
    pub fn of(prefix: &str) -> Self {
        let Keys { features, segments, inited, overrides, ended, log, .. } = Keys::of(prefix);
        Self {
            mark: format!("{prefix}:relaycommander:drill"),
            alive: format!("{prefix}:relaycommander:drill:alive"),
            rest: vec![features, segments, inited, overrides, ended, log],
        }
    }

    fn has(&self, key: &str) -> bool {
        key == self.mark || key == self.alive || self.rest.iter().any(|known| known == key)
    }
}

/// What lies below a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What a rehearsal left that is not there any more.
    Leavings(Mark),
    /// A rehearsal that runs.
    Running(Mark),
    /// Data that no rehearsal wrote: some of its keys.
    Foreign(Vec<String>),
}

/// Judges what lies below a prefix. `names`: all keys there; `mark`: the text of the mark, if there is one; `alive`:
/// whether the sign of life is there.
pub fn judge(keys: &ScratchKeys, names: &[String], mark: Option<&str>, alive: bool) -> Found {
    let Some(mark) = mark.and_then(|text| serde_json::from_str::<Mark>(text).ok()) else {
        return if names.is_empty() { Found::Nothing } else { Found::Foreign(names.to_vec()) };
    };
    let foreign: Vec<String> = names.iter().filter(|name| !keys.has(name)).cloned().collect();
    match (foreign.is_empty(), alive) {
        (_, true) => Found::Running(mark),
        (false, false) => Found::Foreign(foreign),
        (true, false) => Found::Leavings(mark),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(names: &[&str], mark: Option<&str>, alive: bool, expected: Found) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(judge(&ScratchKeys::of("p"), &names, mark, alive), expected);
    }

    #[test]
    fn what_lies_below_a_prefix() {
        let mark = Mark::new("anna", "bastion-1", Timestamp::UNIX_EPOCH);
        let text = serde_json::to_string(&mark).unwrap();
        let foreign = |names: &[&str]| Found::Foreign(names.iter().map(|name| (*name).to_owned()).collect());
        let ours = ["p:relaycommander:drill", "p:features", "p:$inited", "p:relaycommander:overrides"];
        case(&[], None, false, Found::Nothing);
        case(&["p:features", "p:$inited"], None, false, foreign(&["p:features", "p:$inited"]));
        case(&ours, Some(&text), false, Found::Leavings(mark.clone()));
        case(&ours, Some(&text), true, Found::Running(mark));
        case(&["p:relaycommander:drill", "p:invoices"], Some(&text), false, foreign(&["p:invoices"]));
        case(&["p:relaycommander:drill"], Some("whatever"), false, foreign(&["p:relaycommander:drill"]));
    }

    #[test]
    fn whose_it_is() {
        let mark = Mark::new("anna", "bastion-1", Timestamp::UNIX_EPOCH);
        assert_eq!(mark.told(Timestamp::UNIX_EPOCH), "anna on bastion-1, 00:00Z");
    }
}
