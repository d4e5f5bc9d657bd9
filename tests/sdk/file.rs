//! LaunchDarkly's SDKs with their file data source, on the flag file that `rc update` edits: the change arrives in the
//! running process.

use std::time::Instant;

use libtest_mimic::Trial;

use crate::parts::Sdk;
use crate::parts::for_each_sdk;
use crate::reach::Done;
use crate::reach::row;
use crate::stage::FlagFile;
use crate::stage::flags;
use crate::watcher::Watcher;

pub fn trials() -> Vec<Trial> {
    for_each_sdk(&[("file::arrives_without_a_restart", arrives_without_a_restart)])
}

fn arrives_without_a_restart(sdk: Sdk) {
    let stage = FlagFile::with(&flags());
    let mut watcher = Watcher::ready(sdk, &stage.source());
    watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    assert_eq!(watcher.evaluate("banner").value, "hello");

    let begun = Instant::now();
    stage.rc("update -p shop -e production -f checkout -s off").code(0);
    watcher.wait("checkout", false).is(false, 1, "OFF");
    let seen = format!("off {} ms after rc was started", begun.elapsed().as_millis());
    row(Done::EditReadByFile, &watcher.sdk, seen);
    // The rest of the file is still there.
    watcher.evaluate("pricing-tier").is("gold", 0, "FALLTHROUGH");
    assert_eq!(watcher.evaluate("banner").value, "hello");

    stage.rc("update -p shop -e production -f pricing-tier --serve bronze").code(0);
    watcher.wait("pricing-tier", "bronze").is("bronze", 2, "OFF");
    stage.rc("undo checkout --yes").code(0);
    watcher.wait("checkout", true).is(true, 0, "FALLTHROUGH");
    // An SDK that watches the file and not its name has seen the first change and no more, unless both files live on.
    stage.rc("update -p shop -e production -f checkout -s off").code(0);
    watcher.wait("checkout", false).is(false, 1, "OFF");
}
