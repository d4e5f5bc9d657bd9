//! The playback folder is not as it should be: nothing is sent that could not be noted before, and what was sent is told.

use std::fs;

use super::stage::Shop;

/// A file of that name is there already: the report is not lost, and the others are moved.
#[test]
fn a_file_that_cannot_be_moved() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    shop.rc("update -f refunds -s off").code(0);
    let replayed = shop.home.path().join("playback/replayed");
    fs::create_dir_all(&replayed).unwrap();
    fs::write(replayed.join(file.file_name().unwrap()), "another").unwrap();
    let ran = shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("off in LaunchDarkly v6");
    ran.out("is there already").out("rename it");
    assert_eq!((shop.files("playback").len(), shop.files("playback/replayed").len()), (1, 2));
    fs::remove_file(replayed.join(file.file_name().unwrap())).unwrap();
    shop.rc("replay").code(0);
    assert_eq!((shop.files("playback").len(), shop.patches()), (0, 2));
}

/// A folder that cannot take what is replayed.
#[test]
fn no_place_for_what_is_replayed() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    fs::write(shop.home.path().join("playback/replayed"), "a file").unwrap();
    shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("replayed");
    fs::remove_file(shop.home.path().join("playback/replayed")).unwrap();
    shop.rc("replay").code(0);
    assert_eq!((shop.files("playback/replayed").len(), shop.patches()), (1, 1));
}

/// Damaged while LaunchDarkly was read: what is about to be sent cannot be noted, so it is not sent.
#[test]
fn what_cannot_be_noted_is_not_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    let run = shop.reading("replay");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("turnFlagOff", "turnFlagOn_", 1)).unwrap();
    let (code, told) = run.finished();
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("not sent any more"), "{told}");
    assert_eq!(shop.patches(), 0);
    // It is damaged for good: the override is replayed all the same, with a file of its own.
    let ran = shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("line 1");
    drop(ran);
    assert_eq!((shop.patches(), shop.files("playback").len(), shop.files("playback/replayed").len()), (1, 1, 1));
}

/// Moved by somebody while it was open: what happens to it is noted where it is now.
#[test]
fn a_file_that_is_moved_while_it_is_open() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    let run = shop.sending("replay");
    fs::rename(&file, shop.home.path().join("playback/replayed").join(file.file_name().unwrap())).unwrap();
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(shop.text_of("playback/replayed").contains(r#""is":"replayed""#));
}

#[test]
fn a_second_replay_waits_and_says_so() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.slow("PATCH", "*", 7_000);
    let run = shop.started(shop.home.path(), "replay");
    crate::update::stage::wait_until("it sends", || shop.patches() > 0);
    shop.rc("replay").code(1).err("in use by another rc");
    // A rehearsal may look on.
    shop.rc("replay --dry-run").code(0);
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
}
