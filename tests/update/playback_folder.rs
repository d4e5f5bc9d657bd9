//! The record comes first: without it no store is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::stage::FEATURES;
use super::stage::OFF;
use super::stage::Stage;
use crate::support::redis::RedisServer;

/// Asserts that nobody wrote to the server since its start, apart from `writes` of our own.
#[track_caller]
fn was_not_written(server: &RedisServer) {
    let statistics = server.line("INFO commandstats");
    for command in ["evalsha", "eval", "xadd", "exec", "hdel"] {
        assert!(!statistics.contains(&format!("cmdstat_{command}:")), "{statistics}");
    }
    assert_eq!(server.line("KEYS *relaycommander*"), "");
    assert!(server.run(&["HGET", FEATURES, "checkout"]).contains("\"version\":42"));
}

#[test]
fn a_folder_that_cannot_be_made() {
    let stage = Stage::with_stores(2);
    // Also the superuser cannot make a folder below a file.
    fs::write(stage.home.path().join("file"), "").unwrap();
    stage.run(&format!("{OFF} --playback file")).code(1).err("file");
    stage.run(&format!("{OFF} --playback file/below")).code(1).err("file/below");
    stage.run(&format!("{OFF} --playback nowhere/below")).code(1).err("nowhere/below");
    stage.servers.iter().for_each(was_not_written);
}

#[test]
fn a_folder_that_cannot_be_written() {
    let stage = Stage::with_stores(1);
    let folder = stage.home.path().join("playback");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        println!("NOT RUN: a_folder_that_cannot_be_written needs a user who is not root");
        return;
    }
    stage.run(OFF).code(1).err("playback");
    was_not_written(&stage.servers[0]);
}

#[test]
fn a_full_disk() {
    let stage = Stage::with_stores(1);
    let folder = stage.home.path().join("tiny");
    fs::create_dir(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"]).arg(&folder).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        println!("NOT RUN: a_full_disk needs the right to mount a tmpfs");
        return;
    }
    fs::write(folder.join("filling"), vec![b'x'; 4096]).unwrap();
    let ran = stage.run(&format!("{OFF} --playback tiny/playback"));
    let also = stage.run(&format!("{OFF} --playback tiny"));
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let unmounted = Command::new("umount").arg(&folder).status().unwrap();
    assert!(unmounted.success());
    ran.code(1).err("tiny/playback");
    also.code(1).err("tiny").nowhere("DONE");
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".jsonl")), "{left:?}");
    was_not_written(&stage.servers[0]);
}

#[test]
fn who_may_read_it() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&stage.playback_folder()), 0o700);
    assert_eq!(mode(&stage.playback_files()[0]), 0o600);
}

#[test]
fn a_damaged_file_disturbs_no_update() {
    let stage = Stage::with_stores(2);
    stage.run(OFF).code(0);
    let path = stage.playback_files().remove(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("anna", "anne", 1)).unwrap();
    let digits = stage.digits();
    // Another change does not care.
    stage.run("update -p shop -e production -f refunds -s off").code(0).out("DONE: refunds is off in 2 of 2 stores");
    // It itself is named, with the line, and not written to.
    let ran = stage.run(&format!("update --resume {digits}")).code(1);
    ran.err(path.file_name().unwrap().to_str().unwrap()).err("line 1");
    let damaged = fs::read_to_string(&path).unwrap();
    // The flag itself can still be changed: the next change is a file of its own.
    stage.run("update -p shop -e production -f checkout -s on").code(0).out("DONE");
    stage.has(0, "checkout", 44, true);
    // Also where the damaged change is not finished: the kill switch is not held up by an old file.
    stage.servers[1].run(&["HSET", FEATURES, "checkout", &super::stage::record("checkout", 42, true)]);
    stage.run(OFF).code(0);
    stage.has(1, "checkout", 45, false);
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}

#[test]
fn a_damaged_file_of_the_change_to_finish() {
    let mut stage = Stage::with_stores(2);
    stage.servers[1].kill();
    stage.run(OFF).code(5);
    stage.servers[1].restart();
    super::stage::fill(&stage.servers[1], super::stage::PREFIX, &super::stage::flags());
    let path = stage.playback_files().remove(0);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("anna", "anne", 1)).unwrap();
    // What matters is the flag: it is finished all the same, in a file of its own.
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.playback_files().len(), 2);
}

#[test]
fn damage_in_the_middle_does_not_hold_up_the_switch() {
    let mut stage = Stage::with_stores(2);
    stage.servers[1].kill();
    stage.run(OFF).code(5);
    stage.servers[1].restart();
    super::stage::fill(&stage.servers[1], super::stage::PREFIX, &super::stage::flags());
    let path = stage.playback_files().remove(0);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    fs::write(
        &path,
        format!("{}\n{}\n{}\n", lines[0], lines[1].replace("eu-1", "eu-2").replace("us-1", "us-2"), lines[2]),
    )
    .unwrap();
    let ran = stage.run(&format!("update --resume {}", stage.digits())).code(1);
    ran.err(path.file_name().unwrap().to_str().unwrap()).err("line 2");
    stage.run(OFF).code(0).out("DONE: checkout is off in 2 of 2 stores");
    stage.has(1, "checkout", 43, false);
    assert_eq!(stage.playback_files().len(), 2);
    // The readable parts are shown, and so nothing hangs on the damaged file any more.
    stage.run(OFF).code(0).out("already");
    assert_eq!(stage.playback_files().len(), 2);
}

#[test]
fn a_torn_last_line_is_no_damage() {
    let stage = Stage::with_stores(1);
    stage.run(OFF).code(0);
    let path = stage.playback_files().remove(0);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"at\":\"2026-");
    fs::write(&path, text).unwrap();
    stage.run(&format!("update --resume {}", stage.digits())).code(0).out("already");
    stage.run("update -p shop -e production -f checkout -s on").code(0);
}
