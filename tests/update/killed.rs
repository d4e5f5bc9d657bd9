//! Killed at any moment: the next command tells the truth and finishes the work, and the playback can be read.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use super::stage::OFF;
use super::stage::PREFIX;
use super::stage::Stage;
use super::stage::Started;
use super::stage::fill;
use super::stage::flags;
use super::stage::go_on;
use super::stage::hold_writes;
use super::stage::wait_for_held;

/// After each of these moments the process is gone. Finer in the beginning, where all the steps are close together.
fn moments() -> impl Iterator<Item = Duration> {
    (0..40).chain((40..).step_by(10)).map(Duration::from_millis)
}

#[test]
fn killed_after_k_milliseconds() {
    let stage = Stage::with_stores(2);
    let (mut before_the_record, mut in_between, mut after) = (0, 0, 0);
    for (number, moment) in moments().enumerate() {
        for server in &stage.servers {
            server.line("FLUSHALL");
            fill(server, PREFIX, &flags());
        }
        let _ = std::fs::remove_dir_all(stage.playback_folder());
        let mut run = Started::rc(&stage.rc(OFF), stage.home.path());
        let begun = Instant::now();
        while begun.elapsed() < moment && !run.has_ended() {
            thread::sleep(Duration::from_micros(500));
        }
        let finished = run.has_ended();
        run.kill();
        let recorded = stage.playback().files.len();
        let written = (0..2).filter(|store| stage.record(*store, "checkout").contains("\"version\":43")).count();
        assert!(recorded == 1 || written == 0, "written before it was recorded, after {moment:?}");
        match (recorded, written) {
            (0, _) => before_the_record += 1,
            (_, 2) => after += 1,
            _ => in_between += 1,
        }
        // The two ways to go on, in turns.
        if recorded == 1 && number % 2 == 0 {
            let ran = stage.run("update --resume");
            // Where everything was noted, there is nothing to resume, and that is the truth.
            assert!(ran.code == Some(0) || (written == 2 && ran.code == Some(2)), "after {moment:?}: {ran}");
        } else {
            stage.run(OFF).code(0);
        }
        for store in 0..2 {
            stage.has(store, "checkout", 43, false);
            assert_eq!(stage.override_(store, "checkout"), stage.override_(0, "checkout"));
        }
        let loaded = stage.playback();
        assert!(loaded.files.len() <= 2, "after {moment:?}");
        if finished {
            break;
        }
    }
    println!("killed {before_the_record} times before the record, {in_between} before all was written, {after} after");
    assert!(before_the_record > 0 && after > 0);
}

/// Recorded, and every store still to be written.
#[test]
fn killed_before_the_write() {
    for go_on_by in ["update --resume", OFF] {
        let stage = Stage::with_stores(2);
        stage.servers.iter().for_each(hold_writes);
        let mut run = Started::rc(&stage.rc(&format!("{OFF} --timeout 60s")), stage.home.path());
        stage.servers.iter().for_each(|server| wait_for_held(server, 1));
        assert_eq!(stage.playback().files.len(), 1, "recorded before it is written");
        run.kill();
        stage.servers.iter().for_each(|server| wait_for_held(server, 0));
        stage.servers.iter().for_each(go_on);
        stage.has(0, "checkout", 42, true);
        stage.run(go_on_by).code(0).out("DONE: checkout is off in 2 of 2 stores");
        for store in 0..2 {
            stage.has(store, "checkout", 43, false);
        }
        stage.playback();
    }
}

/// One store is written, and that is noted although the other has not answered yet.
#[test]
fn killed_between_two_stores() {
    for go_on_by in ["update --resume", OFF] {
        let stage = Stage::with_stores(2);
        hold_writes(&stage.servers[1]);
        let mut run = Started::rc(&stage.rc(&format!("{OFF} --timeout 60s")), stage.home.path());
        wait_for_held(&stage.servers[1], 1);
        super::stage::wait_until("the first is written", || stage.record(0, "checkout").contains("\"version\":43"));
        super::stage::wait_until("it is noted", || stage.playback().files[0].events.len() == 1);
        run.kill();
        wait_for_held(&stage.servers[1], 0);
        go_on(&stage.servers[1]);
        stage.has(1, "checkout", 42, true);
        let ran = stage.run(go_on_by).code(0).out("DONE: checkout is off in 2 of 2 stores");
        ran.out("v42 -> v43");
        stage.has(1, "checkout", 43, false);
        assert_eq!(stage.override_(0, "checkout"), stage.override_(1, "checkout"));
        assert_eq!(stage.playback().files.len(), 1);
    }
}

/// Hung in the reading: nothing is recorded yet, and nothing is written.
#[test]
fn killed_while_it_reads() {
    let stage = Stage::with_stores(2);
    stage.servers[1].freeze();
    let mut run = Started::rc(&stage.rc(&format!("{OFF} --timeout 60s")), stage.home.path());
    thread::sleep(Duration::from_millis(300));
    assert!(!run.has_ended());
    run.kill();
    stage.servers[1].thaw();
    stage.is_untouched();
    stage.run(OFF).code(0);
}
