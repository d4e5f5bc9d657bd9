//! `rc replay` as an operator meets it: real Redis servers, and a simulated LaunchDarkly that can be away.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Control;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::flag::key::Environment;
use relay_commander::flag::key::FlagKey;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

const PREFIX: &str = "ld:shop:production";
const TOKEN: &str = "api-writer-0001";

/// A LaunchDarkly with a shop, two Redis servers that a relay has filled from it, and an operator's home.
struct Shop {
    runtime: Runtime,
    running: Running,
    stores: Vec<RedisServer>,
    home: TempDir,
}

fn environment() -> Environment {
    "shop/production".parse().unwrap()
}

fn flag(key: &str) -> FlagKey {
    key.parse().unwrap()
}

impl Shop {
    fn new(seed: impl FnOnce(Seed) -> Seed) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seed = seed(Seed::new().project("shop").environment("production"))
            .boolean_flag("checkout", true, 42)
            .boolean_flag("refunds", true, 5)
            .flag("tier", json!(["gold", "silver", "bronze"]), json!({"on": false, "offVariation": 0, "version": 30}))
            .token(TOKEN, Role::Writer, "anna@example.com");
        let running = runtime.block_on(SimulatedLaunchDarkly::start(Options { seed, listener: None })).unwrap();
        let stores = vec![RedisServer::start(), RedisServer::start()];
        let home = tempfile::tempdir().unwrap();
        let shop = Self { runtime, running, stores, home };
        shop.fill();
        shop.settings(shop.home.path(), TOKEN);
        shop
    }

    fn control(&self) -> &Control {
        &self.running.control
    }

    /// As a relay's reset does, from LaunchDarkly's own records.
    fn fill(&self) {
        let flags = self.control().sdk_flags(&environment()).unwrap();
        let flags: Vec<(String, String)> = flags.into_iter().map(|(key, record)| (key, record.to_string())).collect();
        let flags: Vec<(&str, &str)> = flags.iter().map(|(key, record)| (key.as_str(), record.as_str())).collect();
        for store in &self.stores {
            store.fill(PREFIX, &flags);
        }
    }

    fn settings(&self, home: &Path, token: &str) {
        let hosts: Vec<String> =
            self.stores.iter().enumerate().map(|(number, store)| format!("s{number}={}", store.url())).collect();
        let key = if token.is_empty() { String::new() } else { format!("LD_API_KEY={token}\n") };
        let text = format!(
            "REDIS_HOSTS={}\n{key}LD_API_URL={}\nRC_PROJECT=shop\nRC_ENVIRONMENT=production\nRC_TIMEOUT=2s\n",
            hosts.join(","),
            self.running.base_url
        );
        std::fs::write(home.join(".env"), text).unwrap();
    }

    fn rc(&self, line: &str) -> Ran {
        Rc::new().home(self.home.path()).line(line).run()
    }

    /// As a colleague on another machine.
    fn colleague(&self, home: &TempDir, line: &str) -> Ran {
        self.settings(home.path(), TOKEN);
        Rc::new().home(home.path()).line(line).run()
    }

    fn away(&self) {
        self.runtime.block_on(self.control().fault(Fault::new(FaultKind::Refuse))).unwrap();
    }

    fn fault(&self, fault: Fault) {
        self.runtime.block_on(self.control().fault(fault)).unwrap();
    }

    fn back(&self) {
        self.runtime.block_on(self.control().clear_faults()).unwrap();
    }

    fn patched(&self, key: &str, instructions: &[Value]) {
        self.control()
            .colleague_patches(&environment(), &flag(key), instructions, "carol@example.com", "margin fix")
            .unwrap();
    }

    fn is_on(&self, key: &str) -> bool {
        self.control().configuration(&environment(), &flag(key)).unwrap()["on"].as_bool().unwrap()
    }

    fn version(&self, key: &str) -> u64 {
        self.control().configuration(&environment(), &flag(key)).unwrap()["version"].as_u64().unwrap()
    }

    fn patches(&self) -> usize {
        self.control().received().iter().filter(|received| received.method == "PATCH").count()
    }

    fn record(&self, store: usize, key: &str) -> Value {
        serde_json::from_str(&self.stores[store].run(&["HGET", &format!("{PREFIX}:features"), key])).unwrap()
    }

    fn override_(&self, store: usize, key: &str) -> String {
        self.stores[store].run(&["HGET", &format!("{PREFIX}:relaycommander:overrides"), key])
    }

    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(listed) = std::fs::read_dir(self.home.path().join(folder)) else { return Vec::new() };
        let files = listed.map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect()
    }
}

#[test]
fn what_was_changed_in_the_outage_is_sent_once_and_moved() {
    let shop = Shop::new(|seed| seed);
    shop.away();
    shop.rc("update -f checkout -s off --reason charges").code(0);
    shop.rc("replay").code(7).err("Nothing was sent");
    assert_eq!(shop.files("playback").len(), 1);
    shop.back();
    shop.rc("replay").code(0).out("off in LaunchDarkly v43").out("DONE");
    assert!(!shop.is_on("checkout"));
    assert_eq!(shop.patches(), 1);
    assert_eq!(shop.files("playback").len(), 0);
    assert_eq!(shop.files("playback/replayed").len(), 1);
    for store in 0..2 {
        assert!(shop.override_(store, "checkout").contains(r#""is":"replayed","version":43"#));
        assert_eq!(shop.record(store, "checkout")["version"], 43);
    }
    shop.rc("replay").code(0);
    assert_eq!(shop.patches(), 1);
    // LaunchDarkly's stream brings a later version: the override ends.
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.fill();
    shop.rc("replay").code(0).out("settled");
    assert_eq!(shop.override_(0, "checkout").trim(), "");
    assert!(shop.is_on("checkout"));
}

#[test]
fn nothing_owed_needs_no_token_and_something_owed_does() {
    let shop = Shop::new(|seed| seed);
    shop.settings(shop.home.path(), "");
    shop.rc("replay").code(0).out("Nothing is owed");
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("replay").code(4).err("LD_API_KEY").err("checkout");
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn a_rehearsal_writes_nothing_and_lets_launchdarkly_validate() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let before = std::fs::read(&shop.files("playback")[0]).unwrap();
    shop.rc("replay --dry-run").code(0).out("send turnFlagOff").out("LaunchDarkly would take it");
    assert!(shop.is_on("checkout"));
    assert_eq!(std::fs::read(&shop.files("playback")[0]).unwrap(), before);
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn what_launchdarkly_changed_elsewhere_stays() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let other = shop.control().variation_id(&environment(), &flag("checkout"), 0).unwrap();
    shop.patched("checkout", &[json!({"kind": "updateOffVariation", "variationId": other})]);
    shop.rc("replay").code(0).out("off variation stay").out("off in LaunchDarkly v44");
}

#[test]
fn a_conflict_needs_a_decision_and_has_one() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    shop.rc("update -f checkout -s off").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    let ran = shop.rc("replay").code(6).out("CONFLICT").out("off in LaunchDarkly v43").out("1 OWED");
    ran.out("rc replay -p shop -e production -f tier --on-conflict override|launchdarkly");
    assert_eq!(shop.version("tier"), 31);
    shop.rc("replay --on-conflict override").code(0).out("\"bronze\" in LaunchDarkly v32");
    assert_eq!(shop.control().configuration(&environment(), &flag("tier")).unwrap()["offVariation"], 2);
    let text = std::fs::read_dir(shop.home.path().join("playback/replayed")).unwrap();
    let text: String = text.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(text.contains(r#""decision":"override""#), "{text}");
}

#[test]
fn launchdarklys_word_can_be_chosen() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    shop.rc("replay --on-conflict theirs").code(0).out("given up");
    assert_eq!(shop.version("tier"), 31);
    assert_eq!(shop.override_(1, "tier").trim(), "");
    assert_eq!(shop.record(1, "tier")["version"], 30);
    shop.rc("replay").code(0).out("Nothing is owed");
}

#[test]
fn changed_and_changed_back_needs_a_decision() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("replay").code(6).out("CHANGED AND CHANGED BACK");
    assert_eq!(shop.patches(), 0);
    shop.rc("replay --on-conflict ours").code(0).out("off in LaunchDarkly v45");
}

#[test]
fn already_so_and_nothing_to_send() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("update -f refunds -s on").code(0);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.rc("replay").code(0).out("already so").out("nothing to send");
    assert_eq!(shop.patches(), 0);
    assert_eq!(shop.override_(0, "refunds").trim(), "");
    assert_eq!(shop.record(0, "refunds")["version"], 5);
    assert_eq!(shop.files("playback").len(), 0);
}

#[test]
fn an_answer_that_never_came_is_found_out_by_reading() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Close).on("PATCH", "*").times(1).after_applying());
    shop.rc("replay").code(0).out("off in LaunchDarkly v43");
    assert_eq!(shop.version("checkout"), 43);
    shop.rc("update -f refunds -s off").code(0);
    shop.fault(Fault::status(503).on("PATCH", "*").times(1));
    shop.rc("replay").code(0).out("off in LaunchDarkly v6");
    shop.rc("update -f checkout -s on").code(0);
    shop.fault(Fault::status(409).on("PATCH", "*").times(1));
    shop.rc("replay").code(0).out("on in LaunchDarkly v44");
}

#[test]
fn approvals_are_asked_for_and_looked_at_again() {
    let shop = Shop::new(|seed| seed.approvals(1));
    shop.rc("update -f refunds -s off").code(0);
    shop.rc("replay").code(6).out("NEEDS APPROVAL").out("--request-approval");
    shop.rc("replay --request-approval").code(6).out("waits").out("/approvals/");
    shop.rc("replay --request-approval").code(6).out("waits for a reviewer");
    let open = shop.control().open_approvals(&environment(), &flag("refunds"));
    assert_eq!(open.len(), 1);
    assert!(shop.override_(0, "refunds").contains("awaiting-approval"));
    shop.control().colleague_reviews(&open[0], "approve", "carol@example.com").unwrap();
    shop.rc("replay").code(6).out("approved, and not applied yet");
    shop.control().colleague_applies(&open[0], "carol@example.com").unwrap();
    shop.rc("replay").code(0).out("off in LaunchDarkly v6");
    assert_eq!(shop.patches(), 0);
}

#[test]
fn a_token_that_may_not_says_what_it_lacks() {
    let shop = Shop::new(|seed| seed.token("api-reader-0002", Role::Reader, "anna@example.com"));
    shop.rc("update -f checkout -s off").code(0);
    shop.settings(shop.home.path(), "api-reader-0002");
    shop.rc("replay").code(4).out("updateOn").nowhere("api-reader-0002");
    shop.settings(shop.home.path(), "api-nobody-0003");
    shop.rc("replay").code(4);
    assert!(shop.override_(0, "checkout").contains("in-force"));
}

#[test]
fn a_scheduled_change_is_only_broken_when_told_to() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.control().schedule(&environment(), &flag("checkout"), &[json!({"kind": "turnFlagOff"})]).unwrap();
    shop.rc("replay").code(6).out("--break-scheduled");
    shop.rc("replay --break-scheduled").code(0);
}

#[test]
fn a_flag_that_is_gone_can_be_given_up_and_the_rest_goes_on() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.control().archive_flag(&environment(), &flag("refunds"), "carol@example.com").unwrap();
    shop.rc("replay").code(6).out("ARCHIVED").out("off in LaunchDarkly v43");
    assert_eq!(shop.files("playback").len(), 1);
    shop.rc("replay --on-conflict launchdarkly").code(0).out("given up");
    assert_eq!(shop.files("playback").len(), 0);
}

#[test]
fn a_colleagues_override_is_replayed_from_here() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.colleague(&other, "update -f checkout -f refunds -s off --as bob").code(0);
    shop.rc("replay").code(0).out("bob from the stores").out("off in LaunchDarkly v43");
    assert_eq!(shop.files("playback/replayed").len(), 1);
    // The colleague's own file: LaunchDarkly's word and the stores' say that it is done.
    shop.colleague(&other, "replay").code(0);
    assert_eq!(shop.patches(), 2);
    assert_eq!(std::fs::read_dir(other.path().join("playback/replayed")).unwrap().count(), 1);
}

#[test]
fn an_override_that_is_gone_is_never_sent() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.rc("replay").code(6).out("its override is gone").out("not sent");
    shop.rc("replay --yes").code(6);
    assert_eq!(shop.patches(), 0);
    shop.rc("replay --on-conflict launchdarkly").code(0);
    assert_eq!(shop.files("playback").len(), 0);
}

#[test]
fn an_override_that_is_gone_is_done_if_the_audit_log_names_it() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.files("playback").remove(0);
    let text = std::fs::read(&file).unwrap();
    shop.rc("replay").code(0);
    // The file comes back from a backup, and the stores have forgotten.
    std::fs::remove_dir_all(shop.home.path().join("playback/replayed")).unwrap();
    std::fs::write(&file, text).unwrap();
    for store in &shop.stores {
        store.line("FLUSHALL");
    }
    shop.fill();
    shop.rc("replay").code(0).out("says its audit log");
    assert_eq!(shop.patches(), 1);
}

#[test]
fn a_dead_store_is_brought_up_to_date_later() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.stores[1].freeze();
    shop.rc("replay").code(5).out("off in LaunchDarkly v43").out("s1");
    shop.stores[1].thaw();
    shop.rc("replay").code(0);
    assert!(shop.override_(1, "checkout").contains(r#""is":"replayed","version":43"#));
    assert_eq!(shop.patches(), 1);
}

#[test]
fn what_ended_while_a_store_was_away_ends_there_later() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    shop.stores[1].freeze();
    shop.rc("replay --on-conflict launchdarkly").code(5).out("given up");
    shop.stores[1].thaw();
    assert_eq!(shop.record(1, "tier")["offVariation"], 2);
    shop.rc("replay").code(0).out("abandoned by anna");
    assert_eq!(shop.override_(1, "tier").trim(), "");
    assert_eq!(shop.record(1, "tier")["offVariation"], 0);
    assert_eq!(shop.record(1, "tier")["version"], 30);
    shop.rc("replay").code(0).out("Nothing is owed");
}

#[test]
fn killed_while_the_patch_is_under_way_the_next_replay_finds_out() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 5_000 }).on("PATCH", "*").after_applying());
    let mut child = Rc::new().line("replay").command(shop.home.path()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while shop.patches() == 0 {
        assert!(Instant::now() < deadline, "no patch was sent");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    shop.back();
    shop.rc("replay").code(0).out("DONE");
    assert_eq!((shop.version("checkout"), shop.version("refunds")), (43, 6));
    assert_eq!(shop.files("playback").len(), 0);
    shop.rc("verify").code(0);
}

#[test]
fn two_replays_at_once_send_everything_once() {
    let shop = Shop::new(|seed| seed);
    let other = tempfile::tempdir().unwrap();
    shop.settings(other.path(), TOKEN);
    shop.rc("update -f checkout -s off").code(0);
    shop.fault(Fault::new(FaultKind::Slow { milliseconds: 300 }).on("PATCH", "*"));
    let start = |home: &Path| Rc::new().line("replay").command(home).spawn().unwrap();
    let children = [start(shop.home.path()), start(shop.home.path()), start(other.path())];
    for mut child in children {
        let code = child.wait().unwrap().code();
        assert!(code.is_some(), "a signal ended it");
    }
    shop.back();
    shop.rc("replay").code(0);
    // A semantic patch that changes nothing counts no version.
    assert!(!shop.is_on("checkout"));
    assert_eq!(shop.version("checkout"), 43);
}

#[test]
fn verify_tells_agreement_from_what_is_owed() {
    let shop = Shop::new(|seed| seed);
    shop.rc("verify").code(0);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.rc("verify").code(6).out("OWED").out("NOT IN AGREEMENT: 2 of 2");
    shop.away();
    shop.rc("verify").code(7).out("2 owed");
    shop.back();
    shop.rc("replay").code(0);
    shop.rc("verify").code(0).out("same");
    shop.away();
    shop.rc("verify").code(7).out("2 stores and the record agree; LaunchDarkly did not say");
    shop.back();
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("verify").code(1).out("checkout");
}
