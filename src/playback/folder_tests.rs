//! The folder on a real disk: names, modes, locks, limits, and what is said where something is wrong.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::playback::Playback;
use crate::playback::PlaybackError;
use crate::playback::RealDisk;
use crate::playback::Syncing;
use crate::playback::folder::FILES_MAX;
use crate::playback::frozen_disk::FrozenDisk;
use crate::playback::frozen_disk::Stop;
use crate::playback::samples;

struct Home {
    home: TempDir,
    playback: Playback,
}

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let playback = Playback::open(&home.path().join("playback"), Arc::new(RealDisk)).unwrap();
        Self { home, playback: playback.with_lock_wait(Duration::from_millis(150)) }
    }

    /// Records a change of these flags and gives its path.
    fn record(&self, digits: &str, flags: &[&str]) -> std::path::PathBuf {
        self.playback.record(&samples::intent(digits, flags), &[]).unwrap().0.path()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_missing_folder_is_empty_until_something_is_recorded() {
    let home = Home::new();
    let loaded = home.playback.load().unwrap();
    assert!(loaded.files.is_empty() && loaded.damaged.is_empty());
    assert!(!home.playback.folder().exists(), "reading makes nothing");

    let intent = samples::intent("7c1f", &["checkout"]);
    let writes = samples::writes(&intent);
    let (file, recorded) = home.playback.record(&intent, &writes).unwrap();
    assert_eq!(recorded.all(), writes);
    assert_eq!(file.file_name(), "20261020T021407Z-checkout-off-7c1f.jsonl");
    assert_eq!(mode(home.playback.folder()), 0o700);
    assert_eq!(mode(&file.path()), 0o600);
    let loaded = home.playback.load().unwrap();
    assert_eq!(loaded.files[0].intent, intent);
    assert!(loaded.files[0].writable && !loaded.files[0].replayed);
}

#[test]
fn what_the_intent_does_not_tell_is_not_recorded() {
    let home = Home::new();
    let intent = samples::intent("7c1f", &["checkout"]);
    let told = samples::writes(&intent).remove(0);
    let mut others = vec![samples::later_write(&intent)];
    others.push(crate::change::recorded::Write { target: samples::target("ap-1"), ..told.clone() });
    others.push(crate::change::recorded::Write { flag: "refunds".parse().unwrap(), ..told.clone() });
    others.push(crate::change::recorded::Write { change: samples::id("e90a"), ..told.clone() });
    others.push(crate::change::recorded::Write { after: None, ..told });
    for write in others {
        let writes = [write];
        let error = home.playback.record(&intent, &writes).unwrap_err();
        assert!(matches!(error, PlaybackError::Untold { .. }), "{error}");
    }
    let mut newer = intent.clone();
    newer.format = 2;
    home.playback.record(&newer, &[]).unwrap_err();
    let mut empty = intent.clone();
    empty.change.edits.clear();
    empty.edits.clear();
    home.playback.record(&empty, &[]).unwrap_err();
    assert!(!home.playback.folder().exists(), "nothing was written");

    let (mut file, _) = home.playback.record(&intent, &[]).unwrap();
    let mut foreign = samples::later_write(&intent);
    foreign.flag = "refunds".parse().unwrap();
    file.rerecord(0, &[foreign.clone()], samples::now()).unwrap_err();
    file.record_writes(0, &[foreign], samples::now()).unwrap_err();
    file.rerecord(1, &[samples::later_write(&intent)], samples::now()).unwrap_err();
    assert!(home.playback.load().unwrap().files[0].events.is_empty());
}

#[test]
fn names_that_are_taken_get_more_digits() {
    let home = Home::new();
    let first = home.record("aaaaaaaa7c1f", &["checkout"]);
    let second = home.record("bbbbbbbb7c1f", &["checkout"]);
    assert!(first.ends_with("20261020T021407Z-checkout-off-7c1f.jsonl"));
    assert!(second.ends_with("20261020T021407Z-checkout-off-bbbbbbbb7c1f.jsonl"));

    let error = home.playback.find("7c1f").unwrap_err();
    assert!(error.to_string().starts_with("2 changes in "), "{error}");
    let way_out = error.way_out().unwrap();
    assert!(way_out.contains("019a0000-0000-7000-8000-bbbbbbbb7c1f (checkout, anna "), "{way_out}");
    assert_eq!(home.playback.find("bbbb7c1f").unwrap().path, second);
    assert_eq!(home.playback.find("019a0000-0000-7000-8000-aaaaaaaa7c1f").unwrap().path, first);
    assert!(matches!(home.playback.find("0000").unwrap_err(), PlaybackError::NoSuchChange { .. }));
    assert!(matches!(home.playback.find("").unwrap_err(), PlaybackError::NoSuchChange { .. }));
}

#[test]
fn a_damaged_file_is_named_and_the_others_still_work() {
    let home = Home::new();
    let damaged = home.record("7c1f", &["checkout"]);
    let healthy = home.record("e90a", &["refunds"]);
    let file = home.playback.find("7c1f").unwrap();
    home.playback
        .reopen(&file)
        .unwrap()
        .note(&[samples::written("eu-1"), samples::replayed()], Syncing::Later)
        .unwrap();
    let text = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, text.replacen("\"store\":\"eu-1\",\"prefix\"", "\"store\":\"ap-1\",\"prefix\"", 3)).unwrap();

    let loaded = home.playback.load().unwrap();
    assert_eq!(loaded.files.len(), 1);
    assert_eq!(loaded.files[0].path, healthy);
    assert_eq!(loaded.damaged[0].file, damaged);
    assert_eq!(loaded.damaged[0].line, Some(1));
    assert_eq!(loaded.damaged[0].problem, "it does not match its sum");

    // Further down, what stands before the damage is shown. It is not written to, even by who opened it before.
    fs::write(&damaged, text.replacen("\"version\":44", "\"version\":45", 1)).unwrap();
    let loaded = home.playback.load().unwrap();
    let readable = loaded.damaged[0].readable.as_ref().unwrap();
    assert_eq!((loaded.damaged[0].line, readable.events.len(), readable.writable), (Some(3), 1, false));
    assert!(matches!(home.playback.reopen(readable).unwrap_err(), PlaybackError::Damaged { line: 3, .. }));
    let error = home.playback.reopen(&file).unwrap().note(&[samples::replayed()], Syncing::Now).unwrap_err();
    assert!(matches!(error, PlaybackError::Damaged { line: 3, .. }), "{error}");
    let error = home.playback.find("7c1f").unwrap_err();
    assert!(error.to_string().contains("7c1f.jsonl, line 3: it does not match its sum"), "{error}");
}

#[test]
fn a_newer_file_is_read_and_not_written_to() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let text = fs::read_to_string(&path).unwrap();
    let payload =
        format!("{{{}", text.trim_end().split_once(',').unwrap().1).replacen("\"format\":1", "\"format\":2", 1);
    let newer = format!("{}half a line", crate::playback::line::seal(None, &payload).0);
    let before = home.playback.find("7c1f").unwrap();
    fs::write(&path, &newer).unwrap();

    let loaded = home.playback.load().unwrap();
    assert_eq!((loaded.files[0].newer, loaded.files[0].writable), (Some(2), false));
    assert_eq!(loaded.files[0].torn.as_deref(), Some("half a line"));
    assert!(matches!(home.playback.reopen(&loaded.files[0]).unwrap_err(), PlaybackError::Newer { format: 2, .. }));
    let error = home.playback.reopen(&before).unwrap().note(&[samples::replayed()], Syncing::Now).unwrap_err();
    assert!(matches!(error, PlaybackError::Newer { format: 2, .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), newer, "nothing is cut off either");
}

#[test]
fn a_torn_line_is_shown_and_cut_off_by_the_next() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let whole = fs::read_to_string(&path).unwrap();
    for torn in ["{\"sum\":\"12", "x"] {
        fs::write(&path, format!("{whole}{torn}")).unwrap();
        let file = home.playback.find("7c1f").unwrap();
        assert_eq!(file.torn.as_deref(), Some(torn));
        home.playback.reopen(&file).unwrap().note(&[samples::written("eu-1")], Syncing::Later).unwrap();
        let file = home.playback.find("7c1f").unwrap();
        assert_eq!((file.torn, file.events), (None, vec![samples::written("eu-1")]));
    }
    // An editor that takes away the last newline takes nothing else.
    fs::write(&path, whole.trim_end()).unwrap();
    let file = home.playback.find("7c1f").unwrap();
    let mut open = home.playback.reopen(&file).unwrap();
    open.note(&[samples::written("eu-1")], Syncing::Later).unwrap();
    open.note(&[samples::written("us-1")], Syncing::Now).unwrap();
    assert_eq!(home.playback.find("7c1f").unwrap().events, [samples::written("eu-1"), samples::written("us-1")]);
}

#[test]
fn a_first_line_that_never_ended_is_no_change() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let whole = fs::read(&path).unwrap();
    for length in [0, 30] {
        fs::write(&path, &whole[..length]).unwrap();
        let loaded = home.playback.load().unwrap();
        assert!(loaded.files.is_empty() && loaded.damaged.is_empty());
        assert_eq!(loaded.unfinished[0].file, path);
        assert_eq!(loaded.unfinished[0].torn.len(), length);
    }
}

#[test]
fn two_processes_add_to_one_file_in_turns() {
    let home = Home::new();
    home.record("7c1f", &["checkout"]);
    let file = home.playback.find("7c1f").unwrap();
    let events_each = 40;
    thread::scope(|scope| {
        for store in ["eu-1", "us-1", "ap-1"] {
            // What it believes of the file's end is outdated by the others again and again. Patience: the machine is busy.
            let playback = home.playback.clone().with_lock_wait(Duration::from_secs(60));
            let mut open = playback.reopen(&file).unwrap();
            scope.spawn(move || {
                for _ in 0..events_each {
                    open.note(&[samples::written(store)], Syncing::Later).unwrap();
                }
            });
        }
    });
    let file = home.playback.find("7c1f").unwrap();
    for store in ["eu-1", "us-1", "ap-1"] {
        assert_eq!(file.events.iter().filter(|event| **event == samples::written(store)).count(), events_each);
    }
}

#[test]
fn a_file_that_another_holds_is_busy() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    let file = home.playback.find("7c1f").unwrap();
    let mut open = home.playback.reopen(&file).unwrap();
    let error = open.note(&[samples::replayed()], Syncing::Now).unwrap_err();
    assert!(error.to_string().contains("in use by another rc"), "{error}");
    assert!(error.way_out().unwrap().contains("fuser"));
    held.unlock().unwrap();
    open.note(&[samples::replayed()], Syncing::Now).unwrap();
}

#[test]
fn one_replay_at_a_time() {
    let home = Home::new();
    let guard = home.playback.lock_for_replay().unwrap();
    assert!(matches!(home.playback.lock_for_replay().unwrap_err(), PlaybackError::Busy { .. }));
    drop(guard);
    home.playback.lock_for_replay().unwrap();
    assert_eq!(mode(&home.playback.folder().join("replayed")), 0o700);
}

#[test]
fn what_is_replayed_moves_and_can_still_be_found_and_added_to() {
    let home = Home::new();
    let names = ["7c1f", "e90a"].map(|digits| home.record(digits, &["checkout"]));
    let waiting = home.playback.load_waiting().unwrap();
    let mut open: Vec<_> = waiting.files.iter().map(|file| home.playback.reopen(file).unwrap()).collect();
    let guard = home.playback.lock_for_replay().unwrap();
    home.playback.move_to_replayed(&guard, &open).unwrap();
    home.playback.move_to_replayed(&guard, &open).unwrap();
    assert!(names.iter().all(|name| !name.exists()));
    assert!(home.playback.load_waiting().unwrap().files.is_empty());
    assert!(home.playback.load().unwrap().files.iter().all(|file| file.replayed));

    // Whoever had it open does not notice that it moved.
    open[0].note(&[samples::written("eu-1")], Syncing::Now).unwrap();
    assert_eq!(home.playback.find("7c1f").unwrap().events, [samples::written("eu-1")]);

    let elsewhere = Home::new();
    let other = elsewhere.playback.lock_for_replay().unwrap();
    home.playback.move_to_replayed(&other, &open).unwrap_err();

    fs::write(&names[0], "another").unwrap();
    let error = open[0].move_to_replayed(&guard).unwrap_err();
    assert!(matches!(error, PlaybackError::AlreadyThere { .. }), "{error}");
    fs::remove_file(&names[0]).unwrap();
    fs::remove_file(home.playback.find("7c1f").unwrap().path).unwrap();
    let error = open[0].move_to_replayed(&guard).unwrap_err();
    assert!(error.to_string().contains("it is not there"), "{error}");
    let error = open[0].note(&[samples::written("eu-1")], Syncing::Now).unwrap_err();
    assert!(error.to_string().contains("it is not there"), "{error}");
}

#[test]
fn copies_of_a_change_count_once_unless_they_contradict() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let copy = path.with_file_name("copy.jsonl");
    fs::copy(&path, &copy).unwrap();
    let file = home.playback.find("7c1f").unwrap();
    let mut open = home.playback.reopen(&file).unwrap();
    open.note(&[samples::written("eu-1")], Syncing::Now).unwrap();
    let fuller = open.path();
    let loaded = home.playback.load().unwrap();
    assert_eq!((loaded.files.len(), loaded.damaged.len()), (1, 0));
    assert_eq!(loaded.files[0].path, fuller);

    let shorter = if fuller == path { &copy } else { &path };
    let whole = fs::read(&fuller).unwrap();
    let mut other = samples::intent("7c1f", &["checkout"]);
    other.change.motive.reason = None;
    fs::remove_file(&fuller).unwrap();
    fs::remove_file(shorter).unwrap();
    home.playback.record(&other, &[]).unwrap();
    fs::write(&copy, whole).unwrap();
    let loaded = home.playback.load().unwrap();
    assert_eq!((loaded.files.len(), loaded.damaged.len()), (1, 1));
    assert!(loaded.damaged[0].problem.contains("it tells of the same change as"));
}

#[test]
fn what_is_no_playback_file_is_left_alone_or_told() {
    let home = Home::new();
    home.record("7c1f", &["checkout"]);
    let folder = home.playback.folder();
    fs::write(folder.join("notes.txt"), "remember the milk").unwrap();
    fs::create_dir(folder.join("odd.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.join("trap.jsonl")).unwrap();
    let loaded = home.playback.load().unwrap();
    assert_eq!(loaded.files.len(), 1);
    let told: Vec<&str> = loaded.damaged.iter().map(|damage| damage.problem.as_str()).collect();
    assert_eq!(told, ["it is not a regular file"; 2]);
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    // A hole: it takes no room on the disk.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(crate::playback::writing::FILE_LENGTH_MAX + 1)
        .unwrap();
    let loaded = home.playback.load().unwrap();
    assert!(loaded.damaged[0].problem.contains("it has more than"), "{:?}", loaded.damaged);
}

#[test]
fn too_many_files_are_an_error_unless_they_are_replayed() {
    let disk = FrozenDisk::new();
    let playback = Playback::open(Path::new("/home/playback"), Arc::new(disk.clone())).unwrap();
    playback.record(&samples::intent("7c1f", &["checkout"]), &[]).unwrap();
    drop(playback.lock_for_replay().unwrap());
    for number in 0..FILES_MAX {
        disk.put(Path::new(&format!("/home/playback/replayed/{number}.jsonl")), b"");
    }
    let loaded = playback.load().unwrap();
    assert_eq!((loaded.files.len(), loaded.left_out), (1, 1));
    for number in 0..FILES_MAX {
        disk.put(Path::new(&format!("/home/playback/{number}.jsonl")), b"");
    }
    assert!(matches!(playback.load().unwrap_err(), PlaybackError::TooManyFiles { .. }));
    assert!(matches!(playback.load_waiting().unwrap_err(), PlaybackError::TooManyFiles { .. }));
}

#[test]
fn errors_name_the_path_and_the_way_out() {
    let home = Home::new();
    let nowhere = home.home.path().join("a").join("b");
    let playback = Playback::open(&nowhere, Arc::new(RealDisk)).unwrap();
    let error = playback.record(&samples::intent("7c1f", &["checkout"]), &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot create the folder {}: it is not there", nowhere.display()));
    assert!(error.way_out().unwrap().contains("RC_PLAYBACK"));

    let file = home.home.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Playback::open(&file, Arc::new(RealDisk)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open {}: it is not a folder", file.display()));

    for (kind, words) in [
        (io::ErrorKind::StorageFull, "the disk is full"),
        (io::ErrorKind::QuotaExceeded, "the disk quota is used up"),
        (io::ErrorKind::PermissionDenied, "no permission"),
        (io::ErrorKind::ReadOnlyFilesystem, "the disk is mounted read-only"),
    ] {
        let disk = FrozenDisk::new();
        let playback = Playback::open(Path::new("/home/playback"), Arc::new(disk.clone())).unwrap();
        disk.stop_at(1, Stop::Fail(kind));
        let error = playback.record(&samples::intent("7c1f", &["checkout"]), &[]).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot create the folder /home/playback: {words}"));
        assert!(error.way_out().unwrap().contains("--playback"));
    }
}

/// The very line of `README.md`, run by a shell on a real file, whole and damaged.
#[test]
fn a_shell_can_check_a_file() {
    let readme = include_str!("README.md");
    let (_, rest) = readme.split_once("```sh\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    let home = Home::new();
    let path = home.record("7c1f", &["checkout"]);
    let file = home.playback.find("7c1f").unwrap();
    home.playback.reopen(&file).unwrap().note(&samples::one_of_each(), Syncing::Later).unwrap();
    let run = || {
        let output =
            Command::new("sh").args(["-c", &script.replace("FILE", "\"$1\""), "sh"]).arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(run(), format!("{} lines are as they were written\n", text.lines().count()));
    fs::write(&path, text.replacen("\"version\":44", "\"version\":45", 1)).unwrap();
    assert_eq!(run(), "line 9 is not as it was written\n");
}

#[test]
fn what_is_trimmed_is_replayed_whole_and_asked_about() {
    let home = Home::new();
    let guard = home.playback.lock_for_replay().unwrap();
    let files: Vec<_> = ["0001", "0002", "0003", "0004"]
        .map(|digits| home.playback.record(&samples::intent(digits, &["checkout"]), &[]).unwrap().0)
        .into();
    home.playback.move_to_replayed(&guard, &files[..3]).unwrap();
    let there = || home.playback.load().unwrap().files.len() + home.playback.load().unwrap().damaged.len();
    assert!(home.playback.has_replayed(2).unwrap() && !home.playback.has_replayed(3).unwrap());
    assert_eq!(home.playback.trim_replayed(&guard, 3, |_| true).unwrap(), 0, "it is not more than that");
    assert_eq!(home.playback.trim_replayed(&guard, 0, |_| false).unwrap(), 0);
    // What cannot be read may be anything.
    let damaged = home.playback.folder().join("replayed").join(files[0].file_name());
    let text = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, text.replace("checkout", "checkin")).unwrap();
    assert_eq!(home.playback.trim_replayed(&guard, 1, |_| true).unwrap(), 1);
    assert_eq!(home.playback.trim_replayed(&guard, 0, |_| true).unwrap(), 1);
    assert_eq!(there(), 2, "the damaged one, and the one that is not replayed");
    let other = Home::new();
    let theirs = other.playback.lock_for_replay().unwrap();
    home.playback.trim_replayed(&theirs, 0, |_| true).unwrap_err();
}

/// By the times in the names: none is read that is too old, and the newest where there are too many.
#[test]
fn what_was_replayed_lately_is_read_without_the_rest() {
    let home = Home::new();
    let guard = home.playback.lock_for_replay().unwrap();
    let files =
        ["0001", "0002"].map(|digits| home.playback.record(&samples::intent(digits, &["checkout"]), &[]).unwrap().0);
    home.record("0003", &["refunds"]);
    home.playback.move_to_replayed(&guard, &files).unwrap();
    let folder = home.playback.folder().join("replayed");
    fs::rename(folder.join(files[0].file_name()), folder.join("20251020T021407Z-checkout-off-0001.jsonl")).unwrap();
    let lately = |since: &str, at_most: usize| {
        let loaded = home.playback.load_replayed(since.parse().unwrap(), at_most).unwrap();
        (loaded.files.iter().map(|file| file.change().short()).collect::<Vec<_>>(), loaded.left_out)
    };
    let short = |digits: &str| digits.to_owned();
    assert_eq!(lately("2026-10-20T02:14:07Z", 10), (vec![short("0002")], 0), "and not the one that waits");
    assert_eq!(lately("2026-10-20T02:14:08Z", 10), (Vec::new(), 0));
    assert_eq!(lately("2025-10-20T02:14:07Z", 10), (vec![short("0001"), short("0002")], 0));
    assert_eq!(lately("2025-10-20T02:14:07Z", 1), (vec![short("0002")], 1));
    assert_eq!(Home::new().playback.load_replayed("2025-10-20T02:14:07Z".parse().unwrap(), 1).unwrap().files.len(), 0);
}
