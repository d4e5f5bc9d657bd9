//! Signed overrides: what a guard that replays by itself sends, what it leaves to a person, and what people are told of it.
//! The forger here can write everything into both stores, and has no key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use relay_commander::drill::launchdarkly::Fault;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use super::by_itself::Guard;
use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::TOKEN;
use crate::support::rc::Rc;
use crate::support::terminal::Terminal;
use crate::update::stage::wait_until;

const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0ff0e1d2c3b4a5968778695a4b3c2d1e0f";

/// Gives a home these keys.
fn give_keys(home: &Path, keys: &[&str]) {
    let file = home.join("key");
    std::fs::write(&file, format!("{}\n", keys.join("\n"))).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(home.join("relaycommander.toml"), "signing_key_file = \"key\"\n").unwrap();
}

fn home_with(keys: &[&str]) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    give_keys(home.path(), keys);
    home
}

fn overrides() -> String {
    format!("{PREFIX}:relaycommander:overrides")
}

fn read(shop: &Shop, flag: &str) -> Value {
    serde_json::from_str(&shop.override_(0, flag)).unwrap()
}

/// Puts an override where a flag's has its place, in every store.
fn put(shop: &Shop, flag: &str, own: &Value) {
    for store in &shop.stores {
        store.run(&["HSET", &overrides(), flag, &own.to_string()]);
    }
}

/// Changes what stands there.
fn forge(shop: &Shop, flag: &str, change: impl FnOnce(&mut Value)) {
    let mut own = read(shop, flag);
    change(&mut own);
    put(shop, flag, &own);
}

fn silver() -> Value {
    json!(["gold", "silver", "bronze"])
}

#[test]
fn a_guard_sends_what_is_signed_and_names_what_is_not() {
    let booleans = ["good", "plain", "foreign", "forged", "stripped", "copied", "moved"];
    let shop = Shop::new(|seed| {
        let seed = booleans.into_iter().fold(seed, |seed, key| seed.boolean_flag(key, true, 7));
        seed.flag("tone", silver(), json!({"on": false, "offVariation": 0, "version": 30}))
    });
    give_keys(shop.home.path(), &[KEY]);
    let (without, foreigner) = (tempfile::tempdir().unwrap(), home_with(&[OTHER]));
    shop.away();
    shop.rc("update -f good -f forged -f stripped -s off").code(0);
    shop.colleague(&without, "update -f plain -s off --as bob").code(0);
    shop.colleague(&foreigner, "update -f foreign -s off --as carol").code(0);
    // Edited by somebody without a key.
    shop.rc("update -f tier --serve bronze").code(0);
    assert!(read(&shop, "tier")["signature"].is_string());
    shop.colleague(&without, "update -f tier --serve silver --as bob").code(0).err("tier: was signed, and is no more");
    // Edited on top of what nobody with a key has seen.
    shop.colleague(&without, "update -f tone --serve bronze --as bob").code(0);
    shop.rc("update -f tone --serve silver")
        .code(0)
        .err("tone: not signed with your key, since what is in force there");
    for flag in ["tier", "tone", "plain"] {
        assert_eq!((&read(&shop, flag)["signature"], flag), (&Value::Null, flag));
    }
    // And what no rc has written.
    let good = read(&shop, "good");
    forge(&shop, "forged", |own| {
        own["instructions"] = json!([{"kind": "turnFlagOff"}, {"kind": "updateOffVariation", "variation": 0}]);
    });
    forge(&shop, "stripped", |own| drop(own.as_object_mut().unwrap().remove("signature")));
    put(&shop, "copied", &good);
    let mut moved = good.clone();
    moved["flag"] = "moved".into();
    put(&shop, "moved", &moved);
    let unsigned = ["plain", "foreign", "forged", "stripped", "moved", "tier", "tone"];

    // A person is told.
    let status = shop.rc("status").code(0);
    let words = |flag: &str| format!("{flag}: NOT SIGNED WITH YOUR KEY");
    let status = unsigned.iter().fold(status, |status, flag| status.out(&words(flag)));
    assert!(!status.stdout.contains(&words("good")), "{}", status.stdout);

    let home = home_with(&[KEY]);
    let guard = Guard::start(&shop, home.path(), "--replay auto");
    shop.back();
    guard.says(&["override-replayed", "good replayed: LaunchDarkly has it as v8"]);
    for flag in unsigned {
        guard.says(&["override-unsigned", &format!("{flag} is owed"), "this guard's keys do not vouch for it"]);
    }
    guard.says(&["override-unsigned", "plain", ": it has no signature: rc replay -p shop -e production -f plain"]);
    guard.says(&["override-unsigned", "foreign", "its signature is not of your key, or it was changed since"]);
    // Again and again it is looked at, and told once.
    let looks = || shop.received("GET").iter().filter(|path| path.contains("/flags/shop/plain")).count();
    let before = looks();
    wait_until("more rounds", || looks() > before + 3);
    let told = |flag: &str| {
        let said = guard.said();
        said.lines()
            .filter(|line| line.contains("override-unsigned") && line.contains(&format!("{flag} is owed")))
            .count()
    };
    unsigned.iter().for_each(|flag| assert_eq!((told(flag), *flag), (1, *flag)));
    assert_eq!(shop.received("PATCH"), ["/api/v2/flags/shop/good"]);

    // A person looks, and sends it.
    let plan = shop.rc("replay -f plain -f foreign -f good --yes").code(0);
    let plan = plan.out("NOT SIGNED WITH YOUR KEY (it has no signature)");
    let _ = plan.out("NOT SIGNED WITH YOUR KEY (its signature is not of your key, or it was changed since)");
    assert!(!shop.is_on("plain") && !shop.is_on("foreign"));
    for flag in ["plain", "foreign"] {
        guard.says(&["override-unsigned", "over", &format!("{flag} is owed")]);
    }
    let plan: Value = serde_json::from_str(&shop.rc("replay -f tier --dry-run --json").code(0).stdout).unwrap();
    assert_eq!(plan["flags"][0]["signed"], json!(false));
    let _ = shop.rc("replay -f copied").out("it says that it belongs to another flag or environment than copied");
    assert!(shop.is_on("copied"));
}

#[test]
fn every_key_of_the_file_verifies() {
    let (shop, home) = (Shop::new(|seed| seed), home_with(&[OTHER, KEY]));
    give_keys(shop.home.path(), &[KEY]);
    shop.rc("update -f checkout -s off").code(0);
    shop.colleague(&home, "update -f tier --serve bronze --as bob").code(0);
    shop.colleague(&home, "update -f checkout -s on --as bob").code(0);
    shop.colleague(&home, "update -f checkout -s off --as bob").code(0);
    let guard = Guard::start(&shop, home.path(), "--replay auto");
    guard.says(&["override-replayed", "checkout"]);
    guard.says(&["override-replayed", "tier"]);
    assert!(!guard.said().contains("override-unsigned"));
    assert!(!shop.is_on("checkout"));
}

/// An override that was signed, replayed and ended, which the forger has kept and puts back; its ended marks are gone.
fn put_back(shop: &Shop, meanwhile: &[Value]) {
    give_keys(shop.home.path(), &[KEY]);
    shop.rc("update -f checkout -s off").code(0);
    let kept = read(shop, "checkout");
    shop.rc("replay --yes").code(0);
    shop.patched("checkout", meanwhile);
    shop.fill();
    let _ = shop.rc("replay --yes");
    for store in &shop.stores {
        store.run(&["DEL", &format!("{PREFIX}:relaycommander:ended"), &overrides()]);
    }
    put(shop, "checkout", &kept);
    shop.rc("update -f refunds -s off").code(0);
}

#[test]
fn what_was_replayed_is_not_sent_again_though_its_mark_is_gone() {
    let (shop, home) = (Shop::new(|seed| seed), home_with(&[KEY]));
    put_back(&shop, &[json!({"kind": "turnFlagOn"})]);
    let guard = Guard::start(&shop, home.path(), "--replay auto");
    guard.says(&["override-replayed", "refunds"]);
    wait_until("it is settled by LaunchDarkly's audit log", || !shop.override_(0, "checkout").contains("in-force"));
    assert_eq!(shop.patches(), 2);
    assert!(shop.is_on("checkout"));
}

/// Only the audit log would tell that LaunchDarkly has had it: the flag is on as it was, and another part is not.
#[test]
fn where_nobody_can_tell_whether_it_was_sent_before_a_person_decides() {
    let (shop, home) = (Shop::new(|seed| seed), home_with(&[KEY]));
    let other = shop.control().variation_id(&super::stage::environment(), &super::stage::flag("checkout"), 0).unwrap();
    let off_variation = json!({"kind": "updateOffVariation", "variationId": other});
    put_back(&shop, &[json!({"kind": "turnFlagOn"}), off_variation]);
    shop.fault(Fault::status(403).on("GET", "/api/v2/auditlog*"));
    let guard = Guard::start(&shop, home.path(), "--replay auto");
    guard.says(&["override-replayed", "refunds"]);
    guard.says(&["replay-waits", "checkout is owed", "its audit log could not be read"]);
    assert_eq!(shop.patches(), 2);
    assert!(shop.is_on("checkout"));
}

#[test]
fn whoever_is_asked_is_told_in_the_question() {
    let (shop, other) = (Shop::new(|seed| seed), tempfile::tempdir().unwrap());
    give_keys(shop.home.path(), &[KEY]);
    shop.colleague(&other, "update -f checkout -s off --as bob").code(0);
    let rc = Rc::new().line("replay");
    let question = "Send 1 patch (1 NOT SIGNED WITH YOUR KEY: see above)? [y/N]";
    let (code, shown) = Terminal::start(&rc, shop.home.path()).answer(question, "n\n").end();
    assert_eq!((code, shop.patches()), (3, 0), "{shown}");
}

#[test]
fn a_key_file_that_others_can_read_is_used_for_nothing() {
    let shop = Shop::new(|seed| seed);
    give_keys(shop.home.path(), &[KEY]);
    std::fs::set_permissions(shop.home.path().join("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    shop.rc("update -f checkout -s off").code(0).err("has mode 0644").err("and not signed").err("chmod 600");
    assert_eq!(read(&shop, "checkout")["signature"], Value::Null);
    shop.rc("doctor").out("signing key").out("has mode 0644");
    shop.rc("status").code(0).err("whether overrides are signed is not known");
    shop.settings(shop.home.path(), TOKEN);
    let guard = |options: &str| {
        Rc::new().home(shop.home.path()).line(&format!("guard --listen 127.0.0.1:0 --replay auto {options}")).run()
    };
    guard("").code(2).err("has mode 0644").err("chmod 600");
    std::fs::remove_file(shop.home.path().join("key")).unwrap();
    guard("").code(2).err("cannot be read: No such file").err("openssl rand -hex 32");
    give_keys(shop.home.path(), &["too-short"]);
    guard("").code(2).err("line 1 is shorter than a key may be");
    give_keys(shop.home.path(), &[KEY]);
    let doctor = shop.rc("doctor").out("1 key: rc update signs what it overrides with it");
    assert!(!doctor.stdout.contains(KEY));
}
