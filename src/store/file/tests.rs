//! The conformance suite on a flag file, and what a flag file alone can do.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;

use super::FileStore;
use super::disk;
use crate::change::id::ChangeId;
use crate::change::target::Target;
use crate::flag::record::Record;
use crate::store::Grade;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::conformance::Fixture;
use crate::store::conformance::conform;
use crate::store::conformance::failed;
use crate::store::conformance::flag;
use crate::store::conformance::read_one;
use crate::store::conformance::record;
use crate::store::conformance::replace;
use crate::store::conformance::turn_off;

/// The file whose writing stops between our own data and the record.
static CRASHES: Mutex<RefCell<Option<PathBuf>>> = Mutex::new(RefCell::new(None));

pub(super) fn crashes_here(path: &Path) -> bool {
    CRASHES.lock().unwrap().borrow().as_deref() == Some(path)
}

struct Flags {
    folder: tempfile::TempDir,
    store: FileStore,
}

impl Flags {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap().join("flags.json");
        fs::write(&path, text).unwrap();
        Self { folder, store: FileStore::new("file", path) }
    }

    fn path(&self) -> PathBuf {
        self.store.files.path.clone()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn edit(&self, path: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut value = fs::read(path).map_or_else(
            |_| serde_json::json!({"format": 1, "entries": 0, "overrides": {}, "ended": {}, "log": []}),
            |bytes| serde_json::from_slice(&bytes).unwrap(),
        );
        edit(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }
}

impl Fixture for Flags {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn prefixes(&self) -> (&str, Option<&str>) {
        ("", None)
    }

    fn put_record(&self, _prefix: &str, flag: &str, record: &str) {
        // By hand, with other spacing than ours, and to the byte.
        let text = self.text();
        let document = super::Document::parse(text.as_bytes()).unwrap();
        let mut members: Vec<(String, String)> =
            document.flags().into_iter().map(|(name, text)| (name, text.to_owned())).collect();
        members.retain(|(name, _)| name != flag);
        members.push((flag.to_owned(), record.to_owned()));
        let members: Vec<String> = members.iter().map(|(name, text)| format!("  \"{name}\" : {text}")).collect();
        fs::write(self.path(), format!("{{ \"flags\": {{\n{}\n}} }}\n", members.join(",\n"))).unwrap();
    }

    fn put_override(&self, _prefix: &str, flag: &str, text: &str) {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        self.edit(&disk::beside(&self.path(), ".relaycommander.json"), |beside| beside["overrides"][flag] = value);
    }

    fn record(&self, _prefix: &str, key: &str) -> Option<String> {
        let text = self.text();
        super::Document::parse(text.as_bytes()).unwrap().flag(&flag(key)).map(str::to_owned)
    }
}

fn target() -> Target {
    Target { store: "file".to_owned(), prefix: String::new() }
}

#[tokio::test]
async fn conforms() {
    conform(&Flags::new("{\"flags\":{}}")).await;
}

#[tokio::test]
async fn every_other_byte_stays_and_so_does_the_mode() {
    let on = record(true, 42);
    let text = format!(
        "{{\n\t\"segments\" : {{ }},\n\"flags\":{{\"x\":{{ \"n\": 1.10 }}, \"a\" :{}  }} ,\"more\":[1e2]\n}}\r\n",
        on.text()
    );
    let flags = Flags::new(&text);
    fs::set_permissions(flags.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    let outcomes = replace(&flags.store, &target(), &[write]).await;
    assert!(matches!(outcomes[..], [WriteOutcome::Written { .. }]), "{outcomes:?}");
    assert_eq!(flags.text(), text.replace(on.text(), record(false, 43).text()));
    for ending in ["", ".relaycommander.json", ".relaycommander.previous"] {
        let file = disk::beside(&flags.path(), ending);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o640);
    }
    let names: Vec<_> = fs::read_dir(flags.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "something is left behind: {names:?}");
}

/// Who watches a file (and not its name) goes on seeing changes: no file is ever gone.
#[tokio::test]
async fn two_files_take_turns() {
    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let number = |path: &Path| fs::metadata(path).unwrap().ino();
    let previous = disk::beside(&flags.path(), ".relaycommander.previous");
    let (first, before) = (number(&flags.path()), flags.text());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    replace(&flags.store, &target(), &[write]).await;
    let second = number(&flags.path());
    assert_eq!((number(&previous), fs::read_to_string(&previous).unwrap()), (first, before.clone()));
    // Again, from the same beginning; the file is longer than what takes its place.
    fs::write(flags.path(), format!("{before}{}", " ".repeat(100))).unwrap();
    fs::remove_file(disk::beside(&flags.path(), ".relaycommander.json")).unwrap();
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    replace(&flags.store, &target(), &[write]).await;
    assert_eq!((number(&flags.path()), number(&previous)), (first, second));
    assert!(flags.text().contains("\"version\":43"), "{}", flags.text());
}

/// What stands where the previous file belongs, and is none of ours, is not written through.
#[tokio::test]
async fn nothing_foreign_is_written_through() {
    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let (foreign, previous) =
        (flags.folder.path().join("foreign"), disk::beside(&flags.path(), ".relaycommander.previous"));
    fs::write(&foreign, "mine").unwrap();
    for plant in [
        |from: &Path, to: &Path| std::os::unix::fs::symlink(from, to),
        |from: &Path, to: &Path| fs::hard_link(from, to),
    ] {
        plant(&foreign, &previous).unwrap();
        let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
        let outcomes = replace(&flags.store, &target(), &[write]).await;
        assert!(matches!(outcomes[..], [WriteOutcome::Written { .. }]), "{outcomes:?}");
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "mine");
        fs::remove_file(&previous).unwrap();
    }
}

#[tokio::test]
async fn a_link_stays_a_link() {
    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let link = flags.folder.path().join("link.json");
    std::os::unix::fs::symlink(flags.path(), &link).unwrap();
    let store = FileStore::new("file", &link);
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&store, "", "a").await);
    let outcomes = replace(&store, &target(), &[write]).await;
    assert!(matches!(outcomes[..], [WriteOutcome::Written { .. }]), "{outcomes:?}");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(flags.record("", "a").as_deref(), Some(record(false, 43).text()));
}

#[tokio::test]
async fn a_crash_leaves_the_override_and_not_the_record_alone() {
    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    CRASHES.lock().unwrap().replace(Some(flags.path()));
    let outcomes = replace(&flags.store, &target(), &[write]).await;
    CRASHES.lock().unwrap().replace(None);
    assert!(matches!(outcomes[..], [WriteOutcome::Failed(_)]), "{outcomes:?}");
    let found = read_one(&flags.store, "", "a").await;
    assert_eq!(found.record.as_deref(), Some(record(true, 42).text().as_bytes()));
    assert_eq!(found.override_.unwrap().parsed.unwrap().revision, 1);
}

#[tokio::test]
async fn a_constant_is_named_with_the_way_out() {
    let flags = Flags::new("{\"flagValues\":{\"fixed\":true},\"flags\":{\"a\":{\"on\":true}}}");
    let error = flags.store.read("", &[flag("fixed")]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { problem, .. } if problem.contains("flagValues")), "{error}");
    // Without a version or arrays, as the format allows.
    assert_eq!(Record::parse(&read_one(&flags.store, "", "a").await.record.unwrap()).unwrap().version(), 0);
    let all = flags.store.read_all("").await.unwrap();
    assert_eq!((all.flag_count, all.strange_fields), (2, vec!["flagValues/fixed".to_owned()]));
    let findings = flags.store.examine(&[]).await;
    assert!(findings.iter().any(|finding| finding.grade == Grade::Notice && finding.told.contains("fixed")));
    assert!(findings.iter().all(|finding| finding.grade != Grade::Bad), "{findings:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_not_written_over() {
    let yaml = Flags::new("flags:\n  a: {}\n");
    let error = yaml.store.read("", &[]).await.unwrap_err();
    assert!(error.to_string().contains("YAML"), "{error}");
    assert_eq!(yaml.store.examine(&[]).await[0].grade, Grade::Bad);

    let missing = FileStore::new("file", "/nowhere/flags.json");
    let error = missing.read("", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/flags.json does not exist");

    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    let beside = disk::beside(&flags.path(), ".relaycommander.json");
    for text in ["{\"format\":2}", "{"] {
        fs::write(&beside, text).unwrap();
        let outcomes = replace(&flags.store, &target(), std::slice::from_ref(&write)).await;
        assert!(matches!(failed(&outcomes), StoreError::Damaged { .. }), "{outcomes:?}");
        assert_eq!(fs::read_to_string(&beside).unwrap(), text);
        assert_eq!(flags.record("", "a").as_deref(), Some(record(true, 42).text()));
    }
}

#[tokio::test]
async fn writers_wait_for_each_other() {
    const WRITERS: u64 = 8;
    let flags = Flags::new("{\"flags\":{}}");
    let waiting = (0..WRITERS).map(|number| {
        let (store, key) = (flags.store.clone(), format!("f{number}"));
        async move {
            let write = crate::change::recorded::Write {
                before: None,
                ..turn_off(
                    &target(),
                    &key,
                    ChangeId::new(),
                    &crate::store::FlagReading {
                        record: Some(record(true, 42).text().as_bytes().to_vec()),
                        ..Default::default()
                    },
                )
            };
            replace(&store, &target(), &[write]).await
        }
    });
    for outcomes in futures_util::future::join_all(waiting).await {
        assert!(matches!(outcomes[..], [WriteOutcome::Written { .. }]), "{outcomes:?}");
    }
    let all = flags.store.read_all("").await.unwrap();
    assert_eq!(all.flag_count, WRITERS);
    assert!(all.flags.values().all(|found| found.record.is_some() && found.override_.is_some()));
    assert_eq!(flags.store.log("", 100).await.unwrap().len() as u64, WRITERS);
}

#[tokio::test]
async fn a_lock_that_is_held_is_said_and_nothing_is_written() {
    let flags = Flags::new(&format!("{{\"flags\":{{\"a\":{}}}}}", record(true, 42).text()));
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&flags.store, "", "a").await);
    let held = disk::lock(&disk::beside(&flags.path(), ".relaycommander.lock")).unwrap();
    let outcomes = replace(&flags.store, &target(), &[write]).await;
    assert!(matches!(failed(&outcomes), StoreError::Unreachable { problem, .. } if problem.contains("in use")));
    drop(held);
    assert_eq!(flags.record("", "a").as_deref(), Some(record(true, 42).text()));
}
