//! The parts of a flag's configuration that instructions touch and that reconcile compares one by one.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

/// One part of a flag's configuration in one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Aspect {
    /// Whether targeting is on.
    On,
    /// The variation that everybody gets while targeting is off.
    OffVariation,
    /// What those get whom no target and no rule matches (LaunchDarkly's "default rule").
    Fallthrough,
    /// Individual targets of every context kind.
    Targets,
    /// Targeting rules, in order.
    Rules,
    /// The flags, and their variations, that must be met first.
    Prerequisites,
    /// The list of values. Touched by every instruction that names a variation by its index.
    Variations,
}

impl Aspect {
    /// Every aspect, in the order in which they are shown.
    pub const ALL: [Aspect; 7] = [
        Aspect::On,
        Aspect::OffVariation,
        Aspect::Fallthrough,
        Aspect::Targets,
        Aspect::Rules,
        Aspect::Prerequisites,
        Aspect::Variations,
    ];
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Aspect::On => "on/off",
            Aspect::OffVariation => "off variation",
            Aspect::Fallthrough => "default rule",
            Aspect::Targets => "targets",
            Aspect::Rules => "rules",
            Aspect::Prerequisites => "prerequisites",
            Aspect::Variations => "variations",
        })
    }
}
