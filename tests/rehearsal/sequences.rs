//! `rc drill --sequences` as somebody runs it. That the sequences show nothing is shown by many more of them
//! (`scripts/test`).

use serde_json::Value;

use super::Started;
use super::drill;
use super::nothing_is_left;
use super::path_with_redis;
use super::processes_about;
use super::wait_until;

#[test]
fn they_hold_with_redis() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), &path_with_redis()).line("--sequences 12 --seed 1").run().code(0);
    let first = ran.stdout.lines().next().unwrap();
    assert!(first.starts_with("12 random sequences, seed 1, on redis-server "), "{ran}");
    assert!(ran.stdout.lines().last().unwrap().starts_with("HELD: 12 sequences from seed 1, "), "{ran}");
    nothing_is_left(temporary.path());
}

#[test]
fn they_hold_on_flag_files_and_are_one_object() {
    let temporary = tempfile::tempdir().unwrap();
    let ran = drill(temporary.path(), "/nonexistent").line("--sequences 5 --seed 7 --json").run().code(0);
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&object["held"], &object["seed"], &object["failed"]), (&true.into(), &7.into(), &Value::Array(vec![])));
    assert_eq!((&object["sequences"], &object["played"]), (&5.into(), &5.into()));
    assert!(object["commands"].as_u64().unwrap() > 10, "{ran}");
    nothing_is_left(temporary.path());
}

/// The steps of what was told, each with its number and its first line.
fn steps(told: &str) -> Vec<(usize, String)> {
    let step = |line: &str| Some((line.get(..3)?.trim().parse().ok()?, line.get(5..)?.to_owned()));
    told.lines().filter_map(step).collect()
}

#[test]
fn one_is_told_step_by_step_and_is_the_same_again() {
    let temporary = tempfile::tempdir().unwrap();
    let path = path_with_redis();
    let run = |line: &str| drill(temporary.path(), &path).line(line).run().code(0);
    let first = run("--sequences 1 --seed 499");
    let told = steps(&first.stdout);
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=told.len()).collect::<Vec<_>>());
    assert!(told.iter().any(|(_, what)| what.contains("$ rc update -p shop")), "{first}");
    assert!(first.stdout.contains("-- everybody replays until nothing moves"), "{first}");
    assert_eq!(steps(&run("--sequences 1 --seed 499").stdout), told);
    let some = steps(&run("--sequences 1 --seed 499 --only 2,5").stdout);
    assert_eq!(some, [told[1].clone(), told[4].clone()]);
    nothing_is_left(temporary.path());
}

#[test]
fn a_seed_is_made_up_and_told() {
    let temporary = tempfile::tempdir().unwrap();
    let seed_of = || -> u64 {
        // Whether it holds is for the fixed seeds to say: what a change is told must depend on the change alone.
        let ran = drill(temporary.path(), "/nonexistent").line("--sequences 1 --json").run();
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["seed"].as_u64().unwrap()
    };
    assert_ne!(seed_of(), seed_of());
}

#[test]
fn they_are_stopped_in_the_middle() {
    let path = path_with_redis();
    for signal in ["INT", "TERM"] {
        let temporary = tempfile::tempdir().unwrap();
        let started = Started::start(&drill(temporary.path(), &path).line("--sequences 1000000"), temporary.path());
        let (ended, talk) = started.until("random sequences, seed ").ended_by(signal);
        assert_eq!(ended.code(), Some(1), "{talk}");
        assert!(talk.contains("the sequences were ended by"), "{talk}");
        wait_until("its processes are gone", || processes_about(temporary.path()).is_empty());
        nothing_is_left(temporary.path());
    }
}

#[test]
fn what_cannot_be_meant() {
    let temporary = tempfile::tempdir().unwrap();
    let drill = |line: &str| drill(temporary.path(), "/nonexistent").line(line).run();
    drill("--seed 1").code(2).err("--sequences");
    drill("--sequences 0").code(2).err("'0'");
    drill("--sequences 1 --serve").code(2).err("cannot be used with");
    drill("--sequences 1 --relay /bin/sh").code(2).err("cannot be used with");
    drill("--sequences 1 --only 1").code(2).err("--seed");
    drill("--sequences 2 --seed 1 --only 1").code(2).err("--only is for one sequence");
    drill("--sequences 1 --seed 1 --only 1,99").code(2).err("the sequence of seed 1 has no step 99");
    drill("--sequences 1 -p shop").code(2).err("--project is not taken");
    nothing_is_left(temporary.path());
}
