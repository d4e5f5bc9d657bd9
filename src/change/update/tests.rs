use proptest::prelude::*;

use super::*;
use crate::change::override_::EndedMark;
use crate::change::override_::Ending;
use crate::change::override_::OverrideState;
use crate::change::sample;
use crate::change::sample::change;
use crate::change::sample::flag;
use crate::change::sample::override_of;
use crate::change::sample::seen;
use crate::flag::instruction::Instruction;

const OFF: Instruction = Instruction::TurnFlagOff;
const ON: Instruction = Instruction::TurnFlagOn;

fn edit(instructions: &[Instruction]) -> Edit {
    Edit {
        environment: "shop/production".parse().unwrap(),
        flag: "checkout".parse().unwrap(),
        instructions: instructions.to_vec(),
    }
}

/// Plans one edit by change 9 over stores `a`, `b`, …
fn planned_with(options: Options, instructions: &[Instruction], standing: &Standing, stores: &[Seen]) -> EditPlan {
    let targets: Vec<Target> =
        (b'a'..).take(stores.len()).map(|name| sample::target(&char::from(name).to_string())).collect();
    let edit = edit(instructions);
    let here = |(target, seen)| Here { target, is_filter_copy: false, seen };
    let edit_seen = EditSeen { edit: &edit, standing, targets: targets.iter().zip(stores).map(here).collect() };
    plan(change(9), &sample::motive("anna"), &options, &[edit_seen]).edits.remove(0)
}

fn planned(instructions: &[Instruction], standing: &Standing, stores: &[Seen]) -> EditPlan {
    planned_with(Options::default(), instructions, standing, stores)
}

fn in_force(override_: &Override) -> Standing {
    Standing::InForce(Box::new(override_.clone()))
}

fn put(planned: &Planned) -> &Override {
    match planned {
        Planned::Write(write) => match &write.write.override_after {
            OverrideWrite::Put(next) => next,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn after(planned: &Planned) -> &Record {
    let Planned::Write(write) = planned else { panic!("{planned:?}") };
    write.write.after.as_ref().unwrap()
}

#[test]
fn the_first_update() {
    let record = flag(42, true, 1, 0);
    let plan = planned(&[OFF], &Standing::None, &[seen(Some(&record), None)]);
    let (_, planned) = &plan.targets[0];
    assert_eq!(after(planned).text(), flag(43, false, 1, 0).text());
    let next = put(planned);
    assert_eq!((next.revision, &next.base, &next.upstream), (1, &record, &record));
    assert_eq!((&next.changes[..], &next.instructions[..]), (&[change(9)][..], &[OFF][..]));
    assert_eq!(plan.refusal, None);
    let write = plan.writes().next().unwrap();
    assert_eq!((write.version_before, write.version_after), (42, 43));
    assert_eq!((&write.write.before, &write.write.override_before), (&Some(record), &None));
}

/// A store was away while an override ended in the other one: what is left of it there is not LaunchDarkly's record.
#[test]
fn what_an_ended_override_left_is_no_base() {
    let (before, mut left) = (flag(42, true, 1, 0), override_of(&flag(42, true, 1, 0), &[OFF], change(1)));
    left.revision = 3;
    let stores = [seen(Some(&before), None), seen(Some(&flag(45, false, 1, 0)), Some(&left))];
    let undone = Standing::Ended(sample::mark(Ending::Undone, 3));
    let plan = planned(&[OFF], &undone, &stores);
    for (_, planned) in &plan.targets {
        let next = put(planned);
        assert_eq!((next.revision, &next.base, &next.changes[..]), (4, &before, &[change(9)][..]));
        assert_eq!(after(planned).text(), flag(46, false, 1, 0).text());
    }
    let settled = Standing::Ended(EndedMark { version: Some(43), ..sample::mark(Ending::Settled, 3) });
    let plan = planned(&[ON], &settled, &stores[1..]);
    assert_eq!(put(&plan.targets[0].1).base.text(), flag(43, false, 1, 0).text(), "LaunchDarkly has had it");
}

#[test]
fn the_next_update_takes_the_base_from_the_override() {
    let mut known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    known.state = OverrideState::AwaitingApproval { request: "r".to_owned() };
    let stores = [seen(Some(&flag(43, false, 1, 0)), Some(&known)), seen(Some(&flag(42, true, 1, 0)), None)];
    let serve = Instruction::UpdateOffVariation { variation: 2 };
    let plan = planned(std::slice::from_ref(&serve), &in_force(&known), &stores);
    for (_, planned) in &plan.targets {
        let next = put(planned);
        assert_eq!((next.revision, next.base.version(), next.upstream.version()), (2, 42, 42));
        assert_eq!((&next.changes, &next.state), (&vec![change(1), change(9)], &OverrideState::InForce));
        assert_eq!(next.instructions, [OFF, serve.clone()]);
        assert_eq!(after(planned).text(), flag(44, false, 2, 0).text());
    }
}

#[test]
fn launchdarklys_newer_record_becomes_upstream_and_never_base() {
    let known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let plan = planned(&[ON], &in_force(&known), &[seen(Some(&flag(50, true, 1, 2)), Some(&known))]);
    let (_, planned) = &plan.targets[0];
    assert_eq!((put(planned).base.version(), put(planned).upstream.version()), (42, 50));
    assert_eq!(after(planned).text(), flag(52, true, 1, 2).text());
}

#[test]
fn already_so() {
    let record = flag(42, false, 1, 0);
    let plan = planned(&[OFF], &Standing::None, &[seen(Some(&record), None), seen(Some(&record), None)]);
    assert!(plan.is_already_so());
    assert!(plan.targets.iter().all(|(_, one)| *one == Planned::AlreadySo { version: 42, explained_by: None }));

    let known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let plan = planned(&[OFF], &in_force(&known), &[seen(Some(&flag(43, false, 1, 0)), Some(&known))]);
    assert_eq!(plan.targets[0].1, Planned::AlreadySo { version: 43, explained_by: Some(Box::new(known)) });
}

#[test]
fn record_owes_what_is_already_so() {
    let options = Options { record_anyway: true, ..Options::default() };
    let plan = planned_with(options, &[OFF], &Standing::None, &[seen(Some(&flag(42, false, 1, 0)), None)]);
    let (_, planned) = &plan.targets[0];
    assert_eq!(after(planned).text(), flag(43, false, 1, 0).text());
    assert_eq!(put(planned).insisted, [Aspect::On].into());
}

#[test]
fn a_host_that_is_already_so_gets_the_override_that_another_needs() {
    let stores = [seen(Some(&flag(42, true, 1, 0)), None), seen(Some(&flag(43, false, 1, 0)), None)];
    let plan = planned(&[OFF], &Standing::None, &stores);
    assert_eq!(after(&plan.targets[1].1).text(), flag(44, false, 1, 0).text());
    assert!(put(&plan.targets[1].1).insisted.is_empty());
    assert_eq!(plan.refusal, None);
}

#[test]
fn the_same_command_again_finishes_what_is_left() {
    let known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let stores = [seen(Some(&flag(43, false, 1, 0)), Some(&known)), seen(Some(&flag(42, true, 1, 0)), None)];
    let plan = planned(&[OFF], &in_force(&known), &stores);
    assert!(matches!(plan.targets[0].1, Planned::AlreadySo { .. }));
    assert_eq!(put(&plan.targets[1].1), &known, "as it is, with its own revision and change");
    assert_eq!(after(&plan.targets[1].1).text(), flag(43, false, 1, 0).text());
    assert!(plan.writes().all(|write| write.catches_up));
}

#[test]
fn resuming_converges_on_what_was_decided_since() {
    let mut since = override_of(&flag(42, true, 1, 0), &[ON], change(9));
    since.changes.push(change(10));
    since.revision = 2;
    let stores = [seen(Some(&flag(44, true, 1, 0)), Some(&since)), seen(Some(&flag(42, true, 1, 0)), None)];
    let plan = planned(&[OFF], &in_force(&since), &stores);
    assert!(matches!(plan.targets[0].1, Planned::AlreadySo { .. }));
    assert_eq!(after(&plan.targets[1].1).text(), flag(44, true, 1, 0).text());
}

#[test]
fn a_wiped_override_is_put_back_and_a_wiped_opposite_is_overruled() {
    let known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let wiped = [seen(Some(&flag(42, true, 1, 0)), Some(&known))];
    let plan = planned(&[OFF], &in_force(&known), &wiped);
    assert_eq!(after(&plan.targets[0].1).text(), flag(43, false, 1, 0).text());
    // It looks as if it were on already, but a replay would still turn it off.
    let plan = planned(&[ON], &in_force(&known), &wiped);
    assert_eq!((put(&plan.targets[0].1).revision, &put(&plan.targets[0].1).instructions[..]), (2, &[ON][..]));
}

#[test]
fn after_a_replay_it_begins_again_from_launchdarklys_answer() {
    let mut replayed = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    replayed.state = OverrideState::Replayed { version: 43 };
    let standing = in_force(&replayed);
    let plan = planned(&[ON], &standing, &[seen(Some(&flag(43, false, 1, 0)), Some(&replayed))]);
    let next = put(&plan.targets[0].1);
    assert_eq!((next.base.text(), next.revision), (flag(43, false, 1, 0).text(), 2));
    assert_eq!((&next.changes[..], &next.state), (&[change(9)][..], &OverrideState::InForce));
    assert_eq!(after(&plan.targets[0].1).text(), flag(45, true, 1, 0).text());
    // Before LaunchDarkly's stream has shown it, the same again is nothing new ...
    let plan = planned(&[OFF], &standing, &[seen(Some(&flag(43, false, 1, 0)), Some(&replayed))]);
    assert!(plan.is_already_so());
    // ... but once somebody has turned it on again in LaunchDarkly, it is.
    let plan = planned(&[OFF], &standing, &[seen(Some(&flag(44, true, 1, 0)), Some(&replayed))]);
    let next = put(&plan.targets[0].1);
    assert_eq!((next.base.version(), next.revision, next.changes[0]), (44, 2, change(9)));
    assert_eq!(after(&plan.targets[0].1).text(), flag(46, false, 1, 0).text());
}

#[test]
fn what_cannot_be_written() {
    let good = seen(Some(&flag(42, true, 1, 0)), None);
    let mut tombstone = good.clone();
    tombstone.copy = Copy::of(Some(br#"{"version":7,"key":"$deleted","deleted":true}"#));
    let mut damaged = good.clone();
    damaged.copy = Copy::of(Some(flag(42, true, 1, 0).text().replace("true", r#""On""#).as_bytes()));
    let mut newer = good.clone();
    newer.override_ = Some(Err("format 2".to_owned()));
    let missing = Seen::default();

    let stores = [good, tombstone.clone(), damaged.clone(), newer.clone(), missing.clone()];
    let plan = planned(&[OFF], &Standing::None, &stores);
    assert_eq!(plan.refusal, None);
    assert_eq!(plan.writes().count(), 1);
    assert_eq!(plan.targets[1].1, Planned::Tombstone { version: 7 });
    assert!(matches!(plan.targets[2].1, Planned::Damaged { repairable: true, .. }));
    assert_eq!(plan.targets[3].1, Planned::OverrideUnreadable("format 2".to_owned()));
    assert_eq!(plan.targets[4].1, Planned::Missing);

    let refusal = |stores: &[Seen]| planned(&[OFF], &Standing::None, stores).refusal;
    assert_eq!(refusal(&[tombstone, damaged.clone(), newer, missing.clone()]), Some(Refusal::NoUsableCopy));
    assert_eq!(refusal(&[missing.clone(), missing]), Some(Refusal::NoSuchFlag));
    assert_eq!(refusal(&[]), Some(Refusal::NobodyAnswered));

    let repair = Options { repair: true, ..Options::default() };
    let plan = planned_with(repair, &[OFF], &Standing::None, &[damaged]);
    assert_eq!(after(&plan.targets[0].1).text(), flag(43, false, 1, 0).text());
    assert!(plan.writes().all(|write| write.repaired));
}

#[test]
fn a_variation_that_is_not_there() {
    let beyond = Instruction::UpdateOffVariation { variation: 7 };
    let plan = planned(&[beyond], &Standing::None, &[seen(Some(&flag(42, true, 1, 0)), None)]);
    assert!(matches!(plan.refusal, Some(Refusal::Unpatchable(PatchError::NoSuchVariation { .. }))));
}

#[test]
fn a_filter_copy_may_lack_the_flag() {
    let (whole, filtered) = (sample::target("a"), sample::target("b"));
    let (has, has_not) = (seen(Some(&flag(42, true, 1, 0)), None), Seen::default());
    let edit = edit(&[OFF]);
    let refusal = |whole_seen: Option<&Seen>, filtered_seen: &Seen| {
        let mut targets = vec![Here { target: &filtered, is_filter_copy: true, seen: filtered_seen }];
        targets.extend(whole_seen.map(|seen| Here { target: &whole, is_filter_copy: false, seen }));
        let edit_seen = EditSeen { edit: &edit, standing: &Standing::None, targets };
        plan(change(9), &sample::motive("anna"), &Options::default(), &[edit_seen]).edits.remove(0).refusal
    };
    assert_eq!(refusal(Some(&has), &has_not), None);
    assert_eq!(refusal(Some(&has_not), &has_not), Some(Refusal::NoSuchFlag));
    assert_eq!(refusal(None, &has_not), Some(Refusal::NobodyAnswered));
    assert_eq!(refusal(None, &has), None);
}

#[test]
fn different_content() {
    let stores = [seen(Some(&flag(42, true, 1, 0)), None), seen(Some(&flag(41, true, 1, 2)), None)];
    let plan = planned(&[OFF], &Standing::None, &stores);
    assert_eq!(plan.refusal, None, "everybody gets the off variation on both");
    assert_eq!(plan.differing.len(), 1);
    assert_eq!((plan.differing[0].version, &plan.differing[0].aspects), (41, &[Aspect::Fallthrough].into()));
    assert_eq!(after(&plan.targets[1].1).text(), flag(42, false, 1, 2).text(), "each in place");

    let stores = [seen(Some(&flag(42, true, 1, 0)), None), seen(Some(&flag(42, true, 2, 0)), None)];
    let Some(Refusal::Differs { by }) = planned(&[OFF], &Standing::None, &stores).refusal else { panic!() };
    assert_eq!(by[1].1, Serves::Everybody("c".into()));
    let despite = Options { despite_differences: true, ..Options::default() };
    assert_eq!(planned_with(despite, &[OFF], &Standing::None, &stores).refusal, None);

    let known = override_of(&flag(42, true, 1, 0), &[OFF], change(1));
    let stores = [seen(Some(&flag(43, false, 1, 0)), Some(&known)), seen(Some(&flag(42, true, 1, 0)), None)];
    let serve = Instruction::UpdateFallthroughVariationOrRollout { variation: 2 };
    let plan = planned(&[serve], &in_force(&known), &stores);
    assert_eq!((plan.refusal, plan.differing), (None, Vec::new()), "our own overrides are no difference");
}

#[test]
fn one_refused_edit_stops_the_change() {
    let (store, target) = (seen(Some(&flag(42, true, 1, 0)), None), sample::target("a"));
    let (good, absent) = (edit(&[OFF]), edit(&[OFF]));
    let missing = Seen::default();
    let with = |edit, seen| EditSeen {
        edit,
        standing: &Standing::None,
        targets: vec![Here { target: &target, is_filter_copy: false, seen }],
    };
    let motive = sample::motive("anna");
    let whole = plan(change(9), &motive, &Options::default(), &[with(&good, &store), with(&absent, &missing)]);
    assert_eq!(whole.refusals().collect::<Vec<_>>(), [(1, &Refusal::NoSuchFlag)]);
    assert!(whole.writes().is_empty());
    assert_eq!(plan(change(9), &motive, &Options::default(), &[with(&good, &store)]).writes().len(), 1);
}

#[test]
fn a_colleague_in_between_stops_the_update_there() {
    let theirs = override_of(&flag(42, true, 1, 0), &[OFF], change(5));
    let (edit, motive, target) = (edit(&[OFF]), sample::motive("anna"), sample::target("a"));
    let asked = Asked { change: change(9), motive: &motive, edit: &edit };
    let again = |seen: &Seen, known: &[ChangeId]| {
        let here = Here { target: &target, is_filter_copy: false, seen };
        replan(&asked, &Options::default(), &Standing::None, &here, known)
    };
    let met = seen(Some(&flag(43, false, 1, 0)), Some(&theirs));
    assert_eq!(again(&met, &[change(1)]), Planned::Colleague(Box::new(theirs)));
    assert!(matches!(again(&met, &[change(5)]), Planned::AlreadySo { explained_by: Some(_), .. }));
    let mine = override_of(&flag(42, true, 1, 0), &[OFF], change(9));
    let lost_answer = seen(Some(&flag(43, false, 1, 0)), Some(&mine));
    assert!(matches!(again(&lost_answer, &[]), Planned::AlreadySo { explained_by: Some(_), .. }));
    let by_launchdarkly = seen(Some(&flag(50, false, 1, 0)), None);
    assert_eq!(after(&again(&by_launchdarkly, &[])).version(), 51, "written although it has become so by itself");
}

proptest! {
    /// Whatever edits follow each other on whatever hosts, all of which answer: every host serves what the edits come
    /// to on its own record, under one revision, with LaunchDarkly's version plus that revision.
    #[test]
    fn edits_in_a_row_come_to_what_the_naive_model_says(
        records in prop::collection::vec(sample::record(), 1..4),
        edits in prop::collection::vec(sample::instruction(), 1..5),
    ) {
        let options = Options { record_anyway: true, despite_differences: true, ..Options::default() };
        let mut stores: Vec<Seen> = records.iter().map(|record| seen(Some(record), None)).collect();
        for (number, instruction) in (1_u8..).zip(&edits) {
            let said: Vec<_> = stores.iter().map(|store| (sample::target("a"), store.own().cloned(), Vec::new())).collect();
            let standing = crate::change::merge::merged(&said);
            let targets: Vec<Target> = records.iter().map(|_| sample::target("a")).collect();
            let here = |(target, seen)| Here { target, is_filter_copy: false, seen };
            let edit = edit(std::slice::from_ref(instruction));
            let edit_seen = EditSeen { edit: &edit, standing: &standing, targets: targets.iter().zip(&stores).map(here).collect() };
            let plan = plan(change(number), &sample::motive("anna"), &options, &[edit_seen]).edits.remove(0);
            for (store, (_, planned)) in stores.iter_mut().zip(&plan.targets) {
                if let Planned::Write(_) = planned {
                    *store = seen(Some(after(planned)), Some(put(planned)));
                }
            }
        }
        let revision = stores[0].own().unwrap().revision;
        for (store, record) in stores.iter().zip(&records) {
            let naive = edits.iter().fold(record.clone(), |record, edit| patch::apply(&record, std::slice::from_ref(edit)).unwrap());
            let naive = naive.with(&[("version", (record.version() + revision).to_string())]);
            let Copy::Readable(held) = store.copy.clone() else { panic!() };
            prop_assert!(held.same_value(&naive), "{} is not {}", held.text(), naive.text());
            prop_assert_eq!(store.own().unwrap().revision, revision);
            prop_assert!(store.own().unwrap().upstream.same_value(record));
        }
    }
}

fn keys() -> Keys {
    Keys::parse(&"k".repeat(32)).unwrap()
}

/// How the override that is written stands to the keys.
fn signed_as(instructions: &[Instruction], standing: &Standing, stores: &[Seen]) -> Vec<Signed> {
    let keys = keys();
    let options = Options { keys: Some(&keys), record_anyway: true, despite_differences: true, ..Options::default() };
    let plan = planned_with(options, instructions, standing, stores);
    let edit = edit(instructions);
    plan.targets.iter().map(|(_, planned)| keys.verify(put(planned), &edit.environment, &edit.flag)).collect()
}

#[test]
fn what_is_typed_is_signed() {
    let record = flag(42, true, 1, 0);
    assert_eq!(signed_as(&[OFF], &Standing::None, &[seen(Some(&record), None)]), [Signed::Yes]);
    let unsigned = planned(&[OFF], &Standing::None, &[seen(Some(&record), None)]);
    assert_eq!(put(&unsigned.targets[0].1).signature, None, "without a key");
}

/// Else what a forger has put there would be signed along.
#[test]
fn on_top_of_what_is_not_signed_nothing_is() {
    let mut forged = override_of(&flag(42, true, 1, 0), &[Instruction::UpdateOffVariation { variation: 2 }], change(1));
    let on =
        |known: &Override| signed_as(&[OFF], &in_force(known), &[seen(Some(&known.in_force().unwrap()), Some(known))]);
    assert_eq!(on(&forged), [Signed::No]);
    let own = keys().sign(forged.clone());
    assert_eq!(on(&own), [Signed::Yes]);
    forged.signature = own.signature.clone();
    forged.instructions = vec![Instruction::UpdateOffVariation { variation: 0 }];
    assert_eq!(on(&forged), [Signed::No], "a signature that was kept is dropped");
    assert_eq!(on(&Keys::parse(&"x".repeat(32)).unwrap().sign(own.clone())), [Signed::No], "another key's");
    let without_a_key = planned(&[OFF], &in_force(&own), &[seen(Some(&own.in_force().unwrap()), Some(&own))]);
    assert_eq!(put(&without_a_key.targets[0].1).signature, None);
    // Once LaunchDarkly has it, what is new begins by itself.
    let replayed = Override { state: OverrideState::Replayed { version: 43 }, ..forged };
    assert_eq!(on(&replayed), [Signed::Yes]);
}

#[test]
fn what_targets_catch_up_with_keeps_its_signature() {
    let own = keys().sign(override_of(&flag(42, true, 1, 0), &[OFF], change(1)));
    let stores = [seen(Some(&own.in_force().unwrap()), Some(&own)), seen(Some(&flag(42, true, 1, 0)), None)];
    for key in [None, Some(keys())] {
        let options = Options { keys: key.as_ref(), ..Options::default() };
        let plan = planned_with(options, &[OFF], &in_force(&own), &stores);
        assert_eq!(put(&plan.targets[1].1), &own);
    }
    let unsigned = Override { signature: None, ..own };
    let stores = [seen(Some(&unsigned.in_force().unwrap()), Some(&unsigned)), seen(Some(&flag(42, true, 1, 0)), None)];
    let plan =
        planned_with(Options { keys: Some(&keys()), ..Options::default() }, &[OFF], &in_force(&unsigned), &stores);
    assert_eq!(put(&plan.targets[1].1).signature, None);
}

/// The value was found in the store's record, where anybody who writes there may have shifted the list.
#[test]
fn a_variation_is_signed_only_where_its_place_means_what_was_typed() {
    let own = keys().sign(override_of(&flag(42, true, 1, 0), &[OFF], change(1)));
    let shifted = own.in_force().unwrap().with(&[("variations", r#"["a","c","b"]"#.to_owned())]);
    let serve = [Instruction::UpdateOffVariation { variation: 2 }];
    let on = |record: &Record, instructions: &[Instruction]| {
        signed_as(instructions, &in_force(&own), &[seen(Some(record), Some(&own))])
    };
    assert_eq!(on(&own.in_force().unwrap(), &serve), [Signed::Yes]);
    assert_eq!(on(&shifted, &serve), [Signed::No]);
    assert_eq!(on(&shifted, &[ON]), [Signed::Yes], "it names none");
}
