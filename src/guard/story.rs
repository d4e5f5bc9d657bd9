//! How overrides fare, told once each: made, accepted by LaunchDarkly, over. PURE. What was there before anybody looked is
//! no news: a guard that is started again does not tell everything again.

use std::collections::BTreeMap;

use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::flag::key::FlagKey;

/// What was told last of one override.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    change: Option<ChangeId>,
    revision: u64,
    replayed: Option<u64>,
}

impl Known {
    fn of(override_: &Override) -> Self {
        let replayed = match override_.state {
            OverrideState::Replayed { version } => Some(version),
            OverrideState::InForce | OverrideState::AwaitingApproval { .. } => None,
        };
        Self { change: override_.change(), revision: override_.revision, replayed }
    }
}

/// What is new.
#[derive(Debug, Clone, PartialEq)]
pub enum News<'o> {
    /// It was made, or edited.
    Made(&'o Override),
    /// LaunchDarkly accepted it, as this version.
    Replayed(&'o Override, u64),
    /// It holds no more.
    Over(FlagKey),
}

impl<'o> News<'o> {
    /// The override, if it was made or edited.
    pub fn made(&self) -> Option<&'o Override> {
        match self {
            News::Made(override_) => Some(override_),
            News::Replayed(..) | News::Over(_) => None,
        }
    }
}

/// What was told.
#[derive(Debug, Default)]
pub struct Story {
    known: Option<BTreeMap<FlagKey, Known>>,
}

impl Story {
    /// What is new in the overrides that hold now. All of them must be given each time.
    pub fn news<'o>(&mut self, standing: impl Iterator<Item = &'o Override>) -> Vec<News<'o>> {
        let now: BTreeMap<&FlagKey, &Override> = standing.map(|override_| (&override_.flag, override_)).collect();
        let next = now.iter().map(|(flag, override_)| ((*flag).clone(), Known::of(override_))).collect();
        let Some(before) = self.known.replace(next) else { return Vec::new() };
        let mut news: Vec<News<'o>> = Vec::new();
        for (flag, override_) in &now {
            let (before, now) = (before.get(*flag), Known::of(override_));
            let is_same_edit = |known: &Known| (known.change, known.revision) == (now.change, now.revision);
            if !before.is_some_and(is_same_edit) {
                news.push(News::Made(override_));
            }
            if let Some(version) = now.replayed.filter(|_| before.is_none_or(|before| before.replayed != now.replayed))
            {
                news.push(News::Replayed(override_, version));
            }
        }
        news.extend(before.into_keys().filter(|flag| !now.contains_key(flag)).map(News::Over));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::sample::change;
    use crate::change::sample::flag;
    use crate::change::sample::override_of;
    use crate::flag::instruction::Instruction;

    #[test]
    fn each_turn_is_told_once() {
        let off = override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(1));
        let mut story = Story::default();
        assert_eq!(story.news([&off].into_iter()), [], "it was there before");
        assert_eq!(story.news([&off].into_iter()), []);
        let edited = Override { revision: 2, changes: vec![change(1), change(2)], ..off.clone() };
        assert_eq!(story.news([&edited].into_iter()), [News::Made(&edited)]);
        let replayed = Override { state: OverrideState::Replayed { version: 43 }, ..edited };
        assert_eq!(story.news([&replayed].into_iter()), [News::Replayed(&replayed, 43)]);
        assert_eq!(story.news([&replayed].into_iter()), []);
        assert_eq!(story.news(std::iter::empty()), [News::Over(off.flag.clone())]);
        assert_eq!(story.news(std::iter::empty()), []);
        assert_eq!(story.news([&replayed].into_iter()), [News::Made(&replayed), News::Replayed(&replayed, 43)]);
    }

    #[test]
    fn a_new_override_of_the_same_flag_is_another() {
        let of = |number| override_of(&flag(42, true, 1, 0), &[Instruction::TurnFlagOff], change(number));
        let (first, second) = (of(1), of(2));
        let mut story = Story::default();
        story.news([&first].into_iter());
        assert_eq!(story.news([&second].into_iter()), [News::Made(&second)]);
    }
}
