//! A guard that replays by itself, and `rc replay --watch`.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::Mutex;

use relay_commander::change::id::ChangeId;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::playback::Playback;
use relay_commander::playback::RealDisk;
use serde_json::json;

use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use super::stage::environment;
use super::stage::flag;
use crate::support::rc::Rc;
use crate::update::stage::wait_until;

/// A guard beside a shop, without a relay, and all that it has said.
pub struct Guard {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Guard {
    pub fn start(shop: &Shop, home: &Path, options: &str) -> Self {
        shop.settings(home, TOKEN);
        let line =
            format!("guard --listen 127.0.0.1:0 --state {}/guard --replay-every 200ms {options}", home.display());
        let rc = Rc::new().line(&line).env("LD_STREAM_URL", &shop.running.stream_url);
        let mut child = rc.command(home).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for pipe in pipes {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    said.lock().unwrap().push_str(&format!("{line}\n"));
                }
            });
        }
        let guard = Self { child, said };
        wait_until("it stands", || !guard.said().is_empty());
        guard
    }

    /// As a service manager does it.
    pub fn end(&mut self) {
        let killed = std::process::Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        let line = || self.said().lines().any(|line| words.iter().all(|word| line.contains(word)));
        wait_until(&format!("it says {words:?}"), line);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.said());
        }
    }
}

const PLAIN: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// Nine flags that two people have turned off while LaunchDarkly was away, with a conflict, an approval that is needed, and a
/// flag that is deleted meanwhile.
fn nine() -> Shop {
    let shop = Shop::new(|seed| {
        let settings = json!({"required": true, "requiredApprovalTags": ["money"], "minNumApprovals": 1});
        let seed = seed.approval_settings(settings);
        let seed = PLAIN.into_iter().fold(seed, |seed, key| seed.boolean_flag(key, true, 7));
        seed.boolean_flag("deleted", true, 7).boolean_flag("approval", true, 7).tags("approval", &["money"])
    });
    let other = tempfile::tempdir().unwrap();
    shop.away();
    shop.rc("update -f one -f two -f three -f deleted -s off").code(0);
    shop.colleague(&other, "update -f four -f five -f six -f approval -s off --as bob").code(0);
    shop.control().delete_flag(&environment(), &flag("deleted"), "carol@example.com").unwrap();
    shop.rc("update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    shop
}

/// What it replayed in earlier years does not grow without a bound; what an operator has kept is his.
#[test]
fn of_what_a_guard_has_replayed_the_newest_are_kept() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    shop.rc("update -f refunds -s off").code(0);
    let text = aged(&shop);
    let folder = home.path().join("guard").join("replays");
    let (old, kept) = (folder.join("replayed"), shop.home.path().join("playback").join("replayed"));
    for replayed in [&old, &kept] {
        std::fs::create_dir_all(replayed).unwrap();
        for number in 0..510 {
            let name = format!("20200101T{:02}{:02}00Z-refunds-off-7c1f.jsonl", number / 60, number % 60);
            std::fs::write(replayed.join(name), &text).unwrap();
        }
    }
    let count = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    let guard = Guard::start(&shop, home.path(), "--replay auto --trust-store");
    guard.says(&["override-replayed", "refunds replayed"]);
    wait_until("the oldest are gone", || count(&old) == 500);
    assert!(!old.join("20200101T000000Z-refunds-off-7c1f.jsonl").exists());
    assert!(old.join("20200101T082900Z-refunds-off-7c1f.jsonl").exists());
    shop.rc("update -f checkout -s off").code(0);
    guard.says(&["override-replayed", "checkout replayed"]);
    shop.rc("replay").code(0);
    assert!(count(&kept) >= 510, "an operator's history was trimmed");
}

/// The text of a file like the only one in the shop's playback, of a change that was made in 2020.
fn aged(shop: &Shop) -> String {
    let open = |folder: &Path| Playback::open(&folder.join("playback"), Arc::new(RealDisk)).unwrap();
    let mut intent = open(shop.home.path()).load().unwrap().files.remove(0).intent;
    intent.change.id = ChangeId::new();
    intent.change.motive.at = "2020-01-01T00:00:00Z".parse().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (file, _) = open(elsewhere.path()).record(&intent, &[]).unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

#[test]
fn a_guard_replays_what_needs_no_decision_and_names_the_rest() {
    let (shop, home) = (nine(), tempfile::tempdir().unwrap());
    let guard = Guard::start(&shop, home.path(), "--replay auto --trust-store");
    assert_eq!(shop.patches(), 0);
    shop.back();
    for key in PLAIN {
        guard.says(&["override-replayed", &format!("{key} replayed: LaunchDarkly has it as v8")]);
    }
    guard.says(&["replay-waits", "tier is owed to LaunchDarkly and was not sent"]);
    guard.says(&["replay-waits", "approval is owed to LaunchDarkly and was not sent", "--request-approval"]);
    guard.says(&["replay-waits", "deleted is owed to LaunchDarkly and was not sent"]);
    let patched: Vec<String> = shop.received("PATCH");
    assert_eq!(patched.len(), 6, "{patched:?}");
    for key in PLAIN {
        assert_eq!(patched.iter().filter(|path| path.ends_with(&format!("/{key}"))).count(), 1, "{patched:?}");
        assert_eq!((shop.is_on(key), shop.version(key)), (false, 8));
        assert!(shop.override_(1, key).contains(r#""is":"replayed","version":8"#));
    }
    for key in ["tier", "approval", "deleted"] {
        assert!(shop.override_(0, key).contains(r#""is":"in-force""#), "{key}");
    }
    // An approval that is given meanwhile is noticed.
    shop.rc("replay -f approval --request-approval");
    let open = shop.control().open_approvals(&environment(), &flag("approval"));
    shop.control().colleague_reviews(&open[0], "approve", "carol@example.com").unwrap();
    shop.control().colleague_applies(&open[0], "carol@example.com").unwrap();
    guard.says(&["replay-waits", "over: approval is owed"]);
    wait_until("the stores know", || shop.override_(0, "approval").contains("replayed"));
    assert_eq!(shop.patches(), 6);
}

/// Two guards and an operator at once, and one of them is killed in the middle.
#[test]
fn two_guards_and_an_operator_send_each_override_once() {
    let (shop, homes) = (nine(), [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let options = "--replay auto --trust-store --api-timeout 1s";
    let first = Guard::start(&shop, homes[0].path(), options);
    let second = Guard::start(&shop, homes[1].path(), options);
    shop.back();
    shop.slow("PATCH", "*", 600);
    wait_until("somebody sends", || shop.patches() > 0);
    shop.rc("replay --api-timeout 1s");
    let lease = shop.stores[0].run(&["GET", &format!("{PREFIX}:relaycommander:lease")]);
    drop(first);
    wait_until("all is sent", || PLAIN.iter().all(|key| !shop.is_on(key)));
    wait_until("the stores know", || PLAIN.iter().all(|key| shop.override_(1, key).contains("replayed")));
    for key in PLAIN {
        assert_eq!((shop.version(key), shop.is_on(key)), (8, false), "{key}, {lease}");
        let sent = shop.received("PATCH").iter().filter(|path| path.ends_with(&format!("/{key}"))).count();
        assert!((1..=2).contains(&sent), "{key} was sent {sent} times");
    }
    assert!(shop.is_on("approval"));
    second.says(&["replay-waits", "tier"]);
}

#[test]
fn a_guard_does_not_replay_unless_told_to() {
    let (shop, home) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    shop.settings(home.path(), TOKEN);
    let rc = |line: &str| Rc::new().home(home.path()).line(&format!("guard --listen 127.0.0.1:0 {line}")).run();
    rc("--replay auto").code(2).err("--trust-store").err("whoever can write the stores would write LaunchDarkly");
    rc("--replay auto --trust-store --shadow").code(2).err("--shadow never changes anything");
    shop.settings(home.path(), "");
    rc("--replay auto --trust-store").code(4).err("LD_API_KEY");
    let guard = Guard::start(&shop, home.path(), "");
    shop.rc("update -f checkout -f refunds -s off").code(0);
    drop(guard);
    let guard = Guard::start(&shop, home.path(), "--replay auto --trust-store --replay-flag refunds");
    guard.says(&["override-replayed", "refunds"]);
    assert_eq!((shop.patches(), shop.is_on("checkout"), shop.is_on("refunds")), (1, true, false));
}

#[test]
fn watching_replays_when_launchdarkly_is_back() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f checkout -f refunds -s off").code(0);
    let run = shop.started(shop.home.path(), "replay --watch");
    wait_until("it has looked", || shop.home.path().join("playback/replayed").exists());
    assert_eq!(shop.patches(), 0);
    shop.back();
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("off in LaunchDarkly v43") && told.contains("DONE"), "{told}");
    assert_eq!(shop.patches(), 2);
    shop.rc("replay --watch --dry-run").code(2);
}

#[test]
fn a_guard_that_is_ended_in_a_round_sees_one_request_through_and_gives_its_right_back() {
    let (shop, home) = (nine(), tempfile::tempdir().unwrap());
    let lease = || shop.stores[0].run(&["GET", &format!("{PREFIX}:relaycommander:lease")]);
    shop.back();
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 1_500 }).on("PATCH", "*"));
    let mut guard = Guard::start(&shop, home.path(), "--replay auto --trust-store");
    wait_until("it sends", || shop.patches() > 0);
    assert!(lease().contains("rc guard"), "{}", lease());
    guard.end();
    assert_eq!(lease(), "", "it is given back, not left to run out");
    let sent = shop.patches();
    let arrived = PLAIN.iter().filter(|key| !shop.is_on(key)).count();
    assert!((1..PLAIN.len()).contains(&sent), "{sent} were sent");
    assert_eq!(arrived, sent, "what was under way is seen through");
    for key in PLAIN.iter().filter(|key| !shop.is_on(key)) {
        assert!(shop.override_(0, key).contains(r#""is":"replayed","version":8"#), "{key} is noted");
    }
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 1 }).on("PATCH", "*"));
    shop.rc("replay").code(6);
    assert!(PLAIN.iter().all(|key| !shop.is_on(key) && shop.version(key) == 8));
}
