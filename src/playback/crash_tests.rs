//! The disk stops at every single step of everything that the playback does, and is reopened: after a kill, which loses
//! nothing that was done, and after a power cut, which loses whatever was not synced.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::id::ChangeId;
use crate::playback::Loaded;
use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::Syncing;
use crate::playback::format::Intent;
use crate::playback::frozen_disk::FrozenDisk;
use crate::playback::frozen_disk::Stop;
use crate::playback::samples;

const FOLDER: &str = "/home/playback";

fn playback(disk: &FrozenDisk) -> Playback {
    Playback::open(Path::new(FOLDER), Arc::new(disk.clone())).unwrap()
}

/// What the playback was asked for one change, and what it promised.
#[derive(Debug, Clone, Default)]
struct Told {
    intent: Option<Intent>,
    /// Whether there was a `Recorded` for it.
    claimed: bool,
    /// All events that were handed over, in order.
    events: Vec<Event>,
    /// How many of them were promised to be durable.
    durable: usize,
    /// Whether it was promised to be in `replayed/`.
    moved: bool,
}

type Story = BTreeMap<ChangeId, Told>;

/// One change from its recording to its replay, as the commands do it. What is promised stands in `story` at once.
fn live_through(disk: &FrozenDisk, digits: &str, story: &mut Story) -> Result<(), PlaybackError> {
    let playback = playback_of(disk)?;
    let intent = samples::intent(digits, &["checkout"]);
    let writes = samples::writes(&intent);
    let told = story.entry(intent.change.id).or_default();
    told.intent = Some(intent.clone());
    let (mut file, recorded) = playback.record(&intent, &writes)?;
    assert_eq!(recorded.all(), writes);
    told.claimed = true;

    let outcomes = [samples::written("eu-1"), samples::written("us-1")];
    told.events.extend(outcomes.clone());
    file.note(&outcomes, Syncing::Later)?;

    let again = [samples::later_write(&intent)];
    told.events.push(samples::event(Happened::ReRead {
        target: again[0].target.clone(),
        before: again[0].before.clone(),
        after: again[0].after.clone(),
    }));
    file.rerecord(0, &again, samples::now())?;
    told.durable = told.events.len();

    told.events.push(samples::written("eu-1"));
    file.note(&[samples::written("eu-1")], Syncing::Later)?;

    told.events.push(samples::attempted());
    file.note(&[samples::attempted()], Syncing::Now)?;
    told.durable = told.events.len();

    told.events.push(samples::replayed());
    file.note(&[samples::replayed()], Syncing::Later)?;

    let settling = [samples::later_write(&intent)];
    told.events.push(samples::event(Happened::Writing {
        target: settling[0].target.clone(),
        before: settling[0].before.clone(),
        after: settling[0].after.clone(),
    }));
    file.record_writes(0, &settling, samples::now())?;
    told.durable = told.events.len();

    // The place says that the story is complete, so the move makes the outcomes durable too.
    told.events.push(samples::written("eu-1"));
    file.note(&[samples::written("eu-1")], Syncing::Later)?;
    let guard = playback.lock_for_replay()?;
    file.move_to_replayed(&guard)?;
    told.durable = told.events.len();
    told.moved = true;
    Ok(())
}

fn playback_of(disk: &FrozenDisk) -> Result<Playback, PlaybackError> {
    Playback::open(Path::new(FOLDER), Arc::new(disk.clone()))
}

/// Everything promised is there; nothing is there that was never asked for; nothing is damaged.
fn check(disk: &FrozenDisk, story: &Story) -> Loaded {
    let loaded = playback(disk).load().unwrap();
    assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
    for (change, told) in story {
        let file = loaded.files.iter().find(|file| file.change() == *change);
        assert!(file.is_some() || !told.claimed, "a change that was promised is gone");
        let Some(file) = file else { continue };
        assert_eq!(Some(&file.intent), told.intent.as_ref(), "the intent is whole");
        assert!(file.events.len() >= told.durable, "an event that was promised is gone");
        assert!(told.events.starts_with(&file.events), "an event that was never handed over");
        assert!(file.replayed || !told.moved, "a move that was promised did not happen");
        assert!(file.writable);
    }
    assert!(loaded.files.iter().all(|file| story.contains_key(&file.change())), "a change out of nowhere");
    loaded
}

/// Whatever a crash left, work goes on: each change takes another event, a new one is recorded, all can be moved.
fn go_on(disk: &FrozenDisk, story: &mut Story) {
    let before = check(disk, story);
    let playback = playback(disk);
    let guard = playback.lock_for_replay().unwrap();
    for file in &before.files {
        let mut open = playback.reopen(file).unwrap();
        open.note(&[samples::attempted()], Syncing::Now).unwrap();
        let told = story.get_mut(&file.change()).unwrap();
        told.events = file.events.clone();
        told.events.push(samples::attempted());
        told.durable = told.events.len();
        open.move_to_replayed(&guard).unwrap();
        told.moved = true;
    }
    drop(guard);
    live_through(disk, "cafe", story).unwrap();
    let after = check(disk, story);
    assert!(after.files.iter().all(|file| file.torn.is_none()), "what was torn is cut off");
    // And what was promised now is durable too.
    for left in disk.after_power_cut() {
        check(&left, story);
    }
}

/// How many steps the story takes on a fresh disk.
fn step_count() -> usize {
    let disk = FrozenDisk::new();
    live_through(&disk, "7c1f", &mut Story::new()).unwrap();
    disk.steps()
}

/// Runs the story up to each step, before it and after it.
fn at_every_step(mut and_then: impl FnMut(&FrozenDisk, Story)) {
    let steps = step_count();
    assert!(steps > 15, "the story is longer than {steps} steps");
    for step in 1..=steps {
        for step_done in [false, true] {
            let disk = FrozenDisk::new();
            disk.stop_at(step, Stop::Freeze { step_done });
            let mut story = Story::new();
            live_through(&disk, "7c1f", &mut story).unwrap_err();
            assert!(disk.was_stopped());
            and_then(&disk, story);
        }
    }
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_promised() {
    let mut cuts = 0;
    at_every_step(|disk, story| {
        for left in disk.after_power_cut() {
            cuts += 1;
            go_on(&left, &mut story.clone());
        }
    });
    assert!(cuts > 500, "only {cuts} power cuts were tried");
}

#[test]
fn a_kill_at_any_step_loses_nothing_even_if_the_power_fails_later() {
    at_every_step(|disk, mut story| {
        disk.thaw();
        go_on(disk, &mut story);
    });
}

#[test]
fn the_same_command_again_after_a_power_cut_writes_a_whole_change() {
    at_every_step(|disk, story| {
        for left in disk.after_power_cut() {
            let mut story = story.clone();
            live_through(&left, "e90a", &mut story).unwrap();
            check(&left, &story);
        }
    });
}

#[test]
fn an_error_at_any_step_promises_nothing_and_leaves_nothing_damaged() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
        for step in 1..=step_count() {
            let disk = FrozenDisk::new();
            disk.stop_at(step, Stop::Fail(kind));
            let mut story = Story::new();
            let outcome = live_through(&disk, "7c1f", &mut story);
            assert!(disk.was_stopped());
            let told = story.values().next().unwrap();
            if let Err(error) = outcome {
                assert!(error.to_string().contains("/home"), "{error}");
                assert!(error.way_out().is_some(), "{error}");
            }
            let loaded = check(&disk, &story);
            if !told.claimed {
                assert!(loaded.files.is_empty(), "a change that was refused is not there to be taken for owed");
                assert!(loaded.unfinished.is_empty());
            }
            go_on(&disk, &mut story);
        }
    }
}

#[test]
fn after_a_failed_sync_the_same_file_is_not_written_to_again() {
    let disk = FrozenDisk::new();
    let intent = samples::intent("7c1f", &["checkout"]);
    let (mut file, _) = playback(&disk).record(&intent, &[]).unwrap();
    // Step 1 appends, step 2 syncs.
    disk.stop_at(2, Stop::Fail(io::ErrorKind::Other));
    file.note(&[samples::attempted()], Syncing::Now).unwrap_err();
    let error = file.note(&[samples::attempted()], Syncing::Now).unwrap_err();
    assert!(matches!(error, PlaybackError::SyncLost { .. }), "{error}");
    assert!(playback(&disk).load().unwrap().files[0].events.is_empty());
}

#[test]
fn recording_costs_one_file_one_write_and_two_syncs() {
    let disk = FrozenDisk::new();
    playback(&disk).record(&samples::intent("0001", &["checkout"]), &[]).unwrap();
    let before = disk.steps();
    playback(&disk).record(&samples::intent("0002", &["checkout"]), &[]).unwrap();
    assert_eq!(disk.steps() - before, 4);
}
