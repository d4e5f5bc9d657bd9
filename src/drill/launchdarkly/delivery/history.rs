//! PURE. What changed, as far back as is remembered: for states of the past, and for changes that are held back. Must not
//! know who hears of them.

use std::collections::VecDeque;

use indexmap::IndexMap;

use crate::drill::launchdarkly::account::Flags;
use crate::drill::launchdarkly::account::news::News;
use crate::drill::launchdarkly::account::segment::Segments;

/// How many changes are remembered.
const CHANGES_MAX: usize = 10_000;

/// How many moments may have a name; the first one is forgotten for the next.
const MOMENTS_MAX: usize = 100;

/// The changes of flags and segments, oldest first. A position is a number of changes since the start.
#[derive(Debug, Default)]
pub struct History {
    changes: VecDeque<News>,
    position: u64,
    moments: IndexMap<String, u64>,
}

impl History {
    /// Adds a change.
    pub fn add(&mut self, news: News) {
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(news);
        self.position += 1;
    }

    /// Where we are.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The farthest position back whose state is known.
    pub fn oldest(&self) -> u64 {
        self.position - self.changes.len() as u64
    }

    /// Gives the present moment a name.
    pub fn name_moment(&mut self, name: &str) {
        self.moments.shift_remove(name);
        if self.moments.len() == MOMENTS_MAX {
            self.moments.shift_remove_index(0);
        }
        self.moments.insert(name.to_owned(), self.position);
    }

    /// The position of the moment with this name, if its state is still known.
    pub fn moment(&self, name: &str) -> Option<u64> {
        self.moments.get(name).copied().filter(|&position| position >= self.oldest())
    }

    /// The changes after this position, oldest first. `None`: some of them are forgotten.
    pub fn after(&self, position: u64) -> Option<impl DoubleEndedIterator<Item = &News>> {
        let skip = usize::try_from(position.checked_sub(self.oldest())?).ok()?;
        Some(self.changes.iter().skip(skip))
    }

    /// The flags of the project as of this position, from those of now. What is forgotten is as it was when it was.
    pub fn flags_as_of(&self, position: u64, project: &str, now: &Flags) -> Flags {
        let mut flags = now.clone();
        for change in self.after(position.max(self.oldest())).into_iter().flatten().rev() {
            if let News::Flag { project: changed, key, before, .. } = change
                && changed == project
            {
                match before {
                    Some(flag) => flags.insert(key.clone(), flag.clone()),
                    None => flags.swap_remove(key),
                };
            }
        }
        flags
    }

    /// The segments of the environment, likewise.
    pub fn segments_as_of(&self, position: u64, place: (&str, &str), now: &Segments) -> Segments {
        let mut segments = now.clone();
        for change in self.after(position.max(self.oldest())).into_iter().flatten().rev() {
            if let News::Segment { project, environment, key, before, .. } = change
                && (project.as_str(), environment.as_str()) == place
            {
                match before {
                    Some(segment) => segments.insert(key.clone(), segment.clone()),
                    None => segments.swap_remove(key),
                };
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn change(key: &str, before: Option<u64>, after: Option<u64>) -> News {
        let flag = |version: u64| Arc::new(json!(version));
        News::Flag { project: "shop".to_owned(), key: key.to_owned(), before: before.map(flag), after: after.map(flag) }
    }

    fn shown(flags: &Flags) -> String {
        let mut shown: Vec<String> = flags.iter().map(|(key, version)| format!("{key}{version}")).collect();
        shown.sort();
        shown.join(" ")
    }

    #[test]
    fn states_of_the_past() {
        let mut history = History::default();
        let mut now = Flags::new();
        now.insert("a".to_owned(), Arc::new(json!(3)));
        now.insert("c".to_owned(), Arc::new(json!(1)));
        history.add(change("a", Some(1), Some(2)));
        history.name_moment("lunch");
        history.add(change("b", Some(7), None));
        history.add(change("a", Some(2), Some(3)));
        history.add(change("c", None, Some(1)));
        let at = |position: u64| shown(&history.flags_as_of(position, "shop", &now));
        assert_eq!([at(4), at(3), at(2), at(1), at(0)], ["a3 c1", "a3", "a2", "a2 b7", "a1 b7"]);
        assert_eq!(history.moment("lunch"), Some(1));
        assert_eq!(history.moment("dinner"), None);
        assert_eq!(shown(&history.flags_as_of(0, "till", &now)), "a3 c1", "nothing changed in that project");
    }

    #[test]
    fn what_is_forgotten() {
        let mut history = History::default();
        history.name_moment("start");
        for version in 0..=CHANGES_MAX as u64 {
            history.add(change("a", Some(version), Some(version + 1)));
        }
        assert_eq!(history.moment("start"), None);
        assert!(history.after(0).is_none());
        assert_eq!(history.after(history.oldest()).unwrap().count(), CHANGES_MAX);
        let now = Flags::from_iter([("a".to_owned(), Arc::new(json!(10_001)))]);
        assert_eq!(shown(&history.flags_as_of(0, "shop", &now)), "a1");
    }
}
