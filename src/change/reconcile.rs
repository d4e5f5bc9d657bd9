//! What a replay would do for one flag: LaunchDarkly's record when the override began (base), what the override asks
//! for, and LaunchDarkly's flag now, compared aspect by aspect (launchdarkly.md 13). Nothing that anybody did in
//! LaunchDarkly meanwhile is overwritten unknowingly. It must not know how LaunchDarkly was asked.
//!
//! Only aspects in which the override differs from its base count: an aspect that was not touched, or was changed and
//! changed back, is never sent and never blocks. For each that counts:
//!
//! | LaunchDarkly now       | then |
//! |------------------------|------|
//! | is what is asked for   | nothing to do |
//! | is what it was in base | send it |
//! | is something else      | conflict |
//! | is something else, and an earlier revision of this very override put it there | send it |
//!
//! The last row is for a replay that was cut off after LaunchDarkly had taken its patch, and an edit that came before
//! the next one. Then even an aspect that was changed and changed back counts: LaunchDarkly has the change and not yet
//! the way back. Whether that is so its audit log tells ([`History`]).
//!
//! All of this is compared in terms of the values that variations have now: an index in a list that was changed means
//! the one variation with the same value, or nothing.

use std::collections::BTreeSet;

use crate::change::override_::Override;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::Serve;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::flag::patch::PatchError;

mod variations;

use variations::Renumbering;

/// LaunchDarkly's flag as it is now, from its REST API.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchDarklyNow {
    /// What it does in the environment.
    pub configuration: Configuration,
    /// Its version in the environment.
    pub version: u64,
    /// Whether it is archived: it is served no longer.
    pub archived: bool,
}

/// One aspect in which LaunchDarkly and the override disagree, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// In what.
    pub aspect: Aspect,
    /// LaunchDarkly's when the override began.
    pub base: String,
    /// The override's.
    pub override_: String,
    /// LaunchDarkly's now.
    pub now: String,
}

/// What is known of what was done to the flag in LaunchDarkly, beside what it shows now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Whether nothing that moved its version since the base touched what the override touches. `None`: not known.
    pub explained: Option<bool>,
    /// Whether others touched it after the override began, or after its base. They may have taken it back since, knowing
    /// more than we do.
    pub touched: bool,
    /// The aspects whose value of now was put there by this override, in an earlier revision. `None`: not known.
    pub ours: Option<BTreeSet<Aspect>>,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// The edits come to nothing against the base: LaunchDarkly is not told, whatever it did meanwhile. The stores get
    /// LaunchDarkly's record back (`undo::put_back`).
    NothingToSend,
    /// LaunchDarkly has it already. The stores go the way of a replay that LaunchDarkly answered with `version`
    /// (`settle::after_patch`): LaunchDarkly's own record in them may be from before, and putting it back would flip.
    AlreadySo {
        /// LaunchDarkly's version now.
        version: u64,
    },
    /// To be sent.
    Send {
        /// As one patch, with variations by their index in LaunchDarkly's list of now.
        instructions: Vec<Instruction>,
        /// What LaunchDarkly changed meanwhile and what stays as it is there.
        elsewhere: BTreeSet<Aspect>,
    },
    /// A decision is needed.
    Conflict {
        /// In what.
        aspects: Vec<Disagreement>,
        /// What to send if the override is to win; `None` where it names a variation that is no longer there.
        instructions: Option<Vec<Instruction>>,
    },
    /// LaunchDarkly equals the base, but its version moved after our first edit: somebody changed it and changed it
    /// back, knowing more than we do; or changed what decides nothing (a description). The audit log may say which. Also
    /// where it shows a change elsewhere, and the audit log that what the override touches was changed and changed back.
    ChangedAndChangedBack {
        /// LaunchDarkly's version when the override began.
        base_version: u64,
        /// LaunchDarkly's version now.
        version_now: u64,
        /// What to send if that is decided.
        instructions: Vec<Instruction>,
    },
    /// The flag is gone; there is nobody to tell.
    Gone {
        /// Archived, not deleted.
        archived: bool,
    },
}

/// Compares. `now` is `None` where LaunchDarkly has no such flag. `history` is empty while nobody has looked.
///
/// # Errors
/// The override cannot be applied to its own base: it was not made by this program, or is damaged.
pub fn reconcile(
    override_: &Override,
    now: Option<&LaunchDarklyNow>,
    history: &History,
) -> Result<Reconciled, PatchError> {
    let Some(now) = now.filter(|now| !now.archived) else {
        return Ok(Reconciled::Gone { archived: now.is_some() });
    };
    let base = Configuration::of_record(&override_.base);
    let wish = Configuration::of_record(&patch::apply(&override_.base, &override_.instructions)?);
    let mut counted = base.differs(&wish);
    let touched: BTreeSet<Aspect> = override_.instructions.iter().map(Instruction::aspect).collect();
    counted.extend(override_.insisted.intersection(&touched));
    let three = Three::new(override_, base, wish, now, history);
    let taken_back: Vec<Aspect> = touched.difference(&counted).copied().collect();
    counted.extend(taken_back.into_iter().filter(|aspect| three.is_not_back(*aspect)));
    if counted.is_empty() {
        return Ok(Reconciled::NothingToSend);
    }
    // What was asked for together belongs together: off, with a certain off variation, is something else where that
    // variation is another one by now.
    counted.extend(touched.into_iter().filter(|aspect| decides(&three.wish, *aspect) && three.differs_now(*aspect)));
    let verdicts: Vec<(Aspect, Verdict)> = counted.iter().map(|aspect| (*aspect, three.verdict(*aspect))).collect();
    Ok(three.decide(&verdicts))
}

/// Whether what LaunchDarkly has, `now`, is something else than the override asks for, in what decides about what everybody
/// gets. After a replay of it LaunchDarkly has not: what it was not told (an off variation of a flag that is on) may be
/// anything, and so may be a variation that its list has no more.
pub fn says_otherwise(override_: &Override, now: &Configuration) -> bool {
    let Ok(wish) = patch::apply(&override_.base, &override_.instructions) else { return false };
    let (base, wish) = (Configuration::of_record(&override_.base), Configuration::of_record(&wish));
    let renumbering = Renumbering::between(&base.variations, &now.variations);
    let differing = now.differs(&renumbering.configuration(&wish));
    override_.instructions.iter().any(|instruction| {
        let aspect = instruction.aspect();
        let is_there = renumbering.instruction(instruction).is_some();
        is_there && decides(&wish, aspect) && differing.contains(&aspect)
    })
}

/// Whether an aspect has a part in what everybody gets by `wish`.
fn decides(wish: &Configuration, aspect: Aspect) -> bool {
    match aspect {
        Aspect::OffVariation => !wish.on,
        Aspect::Fallthrough => wish.on,
        _ => true,
    }
}

/// How one aspect stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Already,
    Send,
    Conflict,
    /// The override names a variation that is not, or not uniquely, in LaunchDarkly's list any more.
    NoSuchVariation,
}

struct Three<'a> {
    override_: &'a Override,
    now: &'a LaunchDarklyNow,
    history: &'a History,
    base: Configuration,
    wish: Configuration,
    renumbering: Renumbering,
    /// Base and wish with the variations of now.
    base_renumbered: Configuration,
    wish_renumbered: Configuration,
}

impl<'a> Three<'a> {
    fn new(
        override_: &'a Override,
        base: Configuration,
        wish: Configuration,
        now: &'a LaunchDarklyNow,
        history: &'a History,
    ) -> Self {
        let renumbering = Renumbering::between(&base.variations, &now.configuration.variations);
        let (base_renumbered, wish_renumbered) = (renumbering.configuration(&base), renumbering.configuration(&wish));
        Self { override_, now, history, base, wish, renumbering, base_renumbered, wish_renumbered }
    }

    /// Whether LaunchDarkly has, or may have, an aspect from us that was changed and changed back here: then it has to have
    /// the way back too. Where somebody else set it, his word stands.
    fn is_not_back(&self, aspect: Aspect) -> bool {
        let moved = self.now.version > self.override_.base.version();
        moved && self.history.ours.as_ref().map_or_else(|| self.differs_now(aspect), |ours| ours.contains(&aspect))
    }

    /// Whether LaunchDarkly says something else than the override.
    fn differs_now(&self, aspect: Aspect) -> bool {
        self.now.configuration.differs(&self.wish_renumbered).contains(&aspect)
    }

    fn is_from_us(&self, aspect: Aspect) -> bool {
        self.history.ours.as_ref().is_some_and(|ours| ours.contains(&aspect))
    }

    fn verdict(&self, aspect: Aspect) -> Verdict {
        let now = &self.now.configuration;
        if self.asks_for(aspect).any(|instruction| self.renumbered(instruction).is_none()) {
            return Verdict::NoSuchVariation;
        }
        if aspect == Aspect::Fallthrough && now.fallthrough == Serve::Measured {
            return Verdict::Conflict;
        }
        if !self.differs_now(aspect) {
            return Verdict::Already;
        }
        if self.is_from_us(aspect) {
            return Verdict::Send;
        }
        if self.base_differs_from_wish(aspect) {
            let unchanged = !now.differs(&self.base_renumbered).contains(&aspect);
            return if unchanged { Verdict::Send } else { Verdict::Conflict };
        }
        // Insisted: the store had it so and LaunchDarkly has not. The store's value says nothing about what LaunchDarkly
        // had; only its version does. Or it was so, or was taken back, and now is not so: then the version moved.
        if self.now.version <= self.override_.base.version() { Verdict::Send } else { Verdict::Conflict }
    }

    fn decide(&self, verdicts: &[(Aspect, Verdict)]) -> Reconciled {
        let with =
            |wanted: Verdict| verdicts.iter().filter(move |(_, found)| *found == wanted).map(|(aspect, _)| *aspect);
        let is_already = |aspect: Aspect| verdicts.contains(&(aspect, Verdict::Already));
        let counted = |aspect: Aspect| verdicts.iter().any(|(known, _)| *known == aspect);
        let to_send =
            || self.override_.instructions.iter().filter(|one| counted(one.aspect()) && !is_already(one.aspect()));
        let instructions: Option<Vec<Instruction>> = to_send().map(|one| self.renumbered(one)).collect();

        let variations_lost = with(Verdict::NoSuchVariation).next().map(|aspect| Disagreement {
            aspect: Aspect::Variations,
            base: self.base.in_words(Aspect::Variations),
            override_: self.wish.in_words(aspect),
            now: self.now.configuration.in_words(Aspect::Variations),
        });
        let aspects: Vec<Disagreement> =
            with(Verdict::Conflict).map(|aspect| self.disagreement(aspect)).chain(variations_lost).collect();
        let Some(instructions) = instructions.filter(|_| aspects.is_empty()) else {
            let instructions = to_send().map(|one| self.renumbered(one)).collect();
            return Reconciled::Conflict { aspects, instructions };
        };
        if instructions.is_empty() {
            return Reconciled::AlreadySo { version: self.now.version };
        }
        let changed = self.now.configuration.differs(&self.base_renumbered);
        let base_version = self.override_.base.version();
        let is_explained = !changed.is_empty()
            || verdicts.iter().any(|(aspect, _)| is_already(*aspect))
            || self.history.explained == Some(true);
        let stands_as_before = verdicts.iter().all(|(aspect, _)| is_already(*aspect) || !changed.contains(aspect));
        let elsewhere: BTreeSet<Aspect> = changed.into_iter().filter(|aspect| !counted(*aspect)).collect();
        if self.now.version > base_version && (!is_explained || (self.history.touched && stands_as_before)) {
            return Reconciled::ChangedAndChangedBack { base_version, version_now: self.now.version, instructions };
        }
        Reconciled::Send { instructions, elsewhere }
    }

    fn asks_for(&self, aspect: Aspect) -> impl Iterator<Item = &Instruction> {
        self.override_.instructions.iter().filter(move |instruction| instruction.aspect() == aspect)
    }

    fn renumbered(&self, instruction: &Instruction) -> Option<Instruction> {
        self.renumbering.instruction(instruction)
    }

    fn base_differs_from_wish(&self, aspect: Aspect) -> bool {
        self.base.differs(&self.wish).contains(&aspect)
    }

    fn disagreement(&self, aspect: Aspect) -> Disagreement {
        Disagreement {
            aspect,
            base: self.base.in_words(aspect),
            override_: self.wish.in_words(aspect),
            now: self.now.configuration.in_words(aspect),
        }
    }
}

#[cfg(test)]
mod tests;
