//! The net effect of instructions. LaunchDarkly never sees the history of an override, only what it comes to, so that
//! a replay flips no live client (design 3.6). It must not know what the flag looks like: whether the net effect still
//! changes anything is for `reconcile` to say, against the base.

use crate::flag::instruction::Instruction;

/// What `earlier` followed by `later` comes to: for each aspect only the last instruction, in the order in which the
/// aspects were first needed.
///
/// Sound only because every instruction of this program sets one aspect as a whole, whatever stood there before. An
/// instruction that adds to an aspect (targets, rules) must be joined with those before it instead of replacing them.
/// Nothing is dropped for being what the base says anyway: the base may not be what LaunchDarkly says by then.
pub fn net(earlier: &[Instruction], later: &[Instruction]) -> Vec<Instruction> {
    let mut result: Vec<Instruction> = Vec::with_capacity(earlier.len() + later.len());
    for instruction in earlier.iter().chain(later) {
        match result.iter_mut().find(|known| known.aspect() == instruction.aspect()) {
            Some(known) => *known = instruction.clone(),
            None => result.push(instruction.clone()),
        }
    }
    result
}

/// Whether `instructions` already come to everything that `asked` asks for.
pub fn covers(instructions: &[Instruction], asked: &[Instruction]) -> bool {
    let known = net(instructions, &[]);
    net(&known, asked) == known
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::change::sample;
    use crate::flag::patch;

    fn any() -> impl Strategy<Value = Vec<Instruction>> {
        prop::collection::vec(sample::instruction(), 0..8)
    }

    /// The naive model: a flag is three values, and each instruction sets one.
    fn played(instructions: &[Instruction]) -> BTreeMap<&'static str, String> {
        let mut values = BTreeMap::new();
        for instruction in instructions {
            let (name, value) = match instruction {
                Instruction::TurnFlagOn => ("on", "true".to_owned()),
                Instruction::TurnFlagOff => ("on", "false".to_owned()),
                Instruction::UpdateOffVariation { variation } => ("off variation", variation.to_string()),
                Instruction::UpdateFallthroughVariationOrRollout { variation } => ("default", variation.to_string()),
            };
            values.insert(name, value);
        }
        values
    }

    #[test]
    fn the_last_wins_and_the_first_need_gives_the_order() {
        let off_variation = |variation| Instruction::UpdateOffVariation { variation };
        let result = net(
            &[Instruction::TurnFlagOff, off_variation(1)],
            &[off_variation(0), Instruction::TurnFlagOn, off_variation(2)],
        );
        assert_eq!(result, [Instruction::TurnFlagOn, off_variation(2)]);
    }

    #[test]
    fn what_is_covered() {
        let both = [Instruction::TurnFlagOff, Instruction::UpdateOffVariation { variation: 1 }];
        assert!(covers(&both, &[Instruction::TurnFlagOff]));
        assert!(covers(&both, &[]));
        assert!(!covers(&both, &[Instruction::TurnFlagOn]));
        assert!(!covers(&[], &both));
    }

    proptest! {
        #[test]
        fn does_what_the_sequence_does(earlier in any(), later in any()) {
            let sequence: Vec<Instruction> = earlier.iter().chain(&later).cloned().collect();
            prop_assert_eq!(played(&net(&earlier, &later)), played(&sequence));
        }

        #[test]
        fn does_to_a_record_what_the_sequence_does(
            record in sample::record(),
            earlier in any(),
            later in any(),
        ) {
            let sequence: Vec<Instruction> = earlier.iter().chain(&later).cloned().collect();
            let at_once = patch::apply(&record, &net(&earlier, &later)).unwrap();
            let one_by_one = patch::apply(&record, &sequence).unwrap();
            prop_assert!(at_once.same_value(&one_by_one), "{} / {}", at_once.text(), one_by_one.text());
        }

        #[test]
        fn one_instruction_for_an_aspect(earlier in any(), later in any()) {
            let result = net(&earlier, &later);
            let aspects: std::collections::BTreeSet<_> = result.iter().map(Instruction::aspect).collect();
            prop_assert_eq!(aspects.len(), result.len());
        }

        #[test]
        fn again_changes_nothing(earlier in any(), later in any()) {
            let once = net(&earlier, &later);
            prop_assert_eq!(net(&once, &once), once.clone());
            prop_assert_eq!(net(&once, &[]), once.clone());
            prop_assert_eq!(net(&[], &once), once);
        }

        #[test]
        fn grouping_does_not_matter(one in any(), two in any(), three in any()) {
            prop_assert_eq!(net(&net(&one, &two), &three), net(&one, &net(&two, &three)));
        }
    }
}
