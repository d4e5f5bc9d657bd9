//! Variations that were renumbered: LaunchDarkly's list of values is not what it was, so an index into the old list
//! means another variation in the new one, or none.

use crate::flag::configuration::Configuration;
use crate::flag::configuration::JsonValue;
use crate::flag::configuration::Serve;
use crate::flag::instruction::Instruction;

/// An index that no list has: it stands for a variation that is gone, so that it equals none that is there.
const GONE: i64 = i64::MIN;

/// Where each variation of the old list stands in the new one.
pub(super) struct Renumbering {
    /// For each index of the old list the new one; `None` where the value is not there, or there more than once.
    new: Vec<Option<usize>>,
}

impl Renumbering {
    /// Follows every value of `old` into `now`. The same value under the same index is the same variation, also where
    /// another variation has that value too.
    pub(super) fn between(old: &[JsonValue], now: &[JsonValue]) -> Self {
        let find = |(index, value): (usize, &JsonValue)| {
            if now.get(index) == Some(value) {
                return Some(index);
            }
            let mut equal = now.iter().enumerate().filter(|(_, other)| *other == value).map(|(index, _)| index);
            let found = equal.next();
            found.filter(|_| equal.next().is_none())
        };
        Self { new: old.iter().enumerate().map(find).collect() }
    }

    /// The instruction in terms of the new list; `None` if it names a variation that is gone.
    pub(super) fn instruction(&self, instruction: &Instruction) -> Option<Instruction> {
        let new = |variation: usize| self.new.get(variation).copied().flatten();
        Some(match instruction {
            Instruction::TurnFlagOn => Instruction::TurnFlagOn,
            Instruction::TurnFlagOff => Instruction::TurnFlagOff,
            Instruction::UpdateOffVariation { variation } => {
                Instruction::UpdateOffVariation { variation: new(*variation)? }
            }
            Instruction::UpdateFallthroughVariationOrRollout { variation } => {
                Instruction::UpdateFallthroughVariationOrRollout { variation: new(*variation)? }
            }
        })
    }

    /// The configuration in terms of the new list. Its own list of values stays, and prerequisites as well: they name
    /// other flags' variations.
    pub(super) fn configuration(&self, old: &Configuration) -> Configuration {
        let mut renumbered = old.clone();
        renumbered.off_variation = old.off_variation.map(|variation| self.index(variation));
        renumbered.fallthrough = self.serve(&old.fallthrough);
        for rule in &mut renumbered.rules {
            rule.serve = self.serve(&rule.serve);
        }
        renumbered.targets.clear();
        for ((kind, variation), keys) in &old.targets {
            renumbered.targets.entry((kind.clone(), self.index(*variation))).or_default().extend(keys.iter().cloned());
        }
        renumbered
    }

    fn index(&self, variation: i64) -> i64 {
        let old = usize::try_from(variation).ok();
        let new = old.and_then(|old| self.new.get(old).copied().flatten());
        new.and_then(|new| i64::try_from(new).ok()).unwrap_or(GONE)
    }

    fn serve(&self, serve: &Serve) -> Serve {
        let mut renumbered = serve.clone();
        match &mut renumbered {
            Serve::Variation(variation) => *variation = self.index(*variation),
            Serve::Rollout { shares, .. } => {
                for share in shares {
                    share.variation = self.index(share.variation);
                }
            }
            Serve::Measured | Serve::Nothing => {}
        }
        renumbered
    }
}
