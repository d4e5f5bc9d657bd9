//! Stores in which our own keys are forbidden: the playback is all there is.

use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;
use crate::support::rc::Ran;
use crate::support::rc::Rc;

/// Everything that the README asks for, but for our own keys.
const RULE: &str = "ACL SETUSER rc on >hunter2 ~ld:shop:production:features ~ld:shop:production:$inited +exists +hlen \
                    +hmget +hgetall +hscan +hset +hdel +xadd +xrevrange +evalsha +eval +watch +unwatch +multi +exec \
                    +discard +scan +info +select +acl|whoami";

pub fn forbidding(stores: &[usize]) -> Shop {
    let shop = Shop::new(|seed| seed);
    for store in stores {
        shop.stores[*store].line(RULE);
    }
    for store in shop.stores.iter().enumerate().filter(|(number, _)| !stores.contains(number)).map(|(_, store)| store) {
        store.line(&format!("{RULE} ~ld:shop:production:relaycommander:*"));
    }
    shop
}

pub fn rc(shop: &Shop, line: &str) -> Ran {
    let rc = Rc::new().home(shop.home.path()).env("RC_REDIS_USER", "rc").env("RC_REDIS_PASSWORD", "hunter2");
    rc.line(line).run().nowhere("hunter2")
}

#[test]
fn it_is_sent_when_somebody_says_so() {
    let shop = forbidding(&[0, 1]);
    rc(&shop, "update -f checkout -s off").code(0);
    rc(&shop, "verify").code(6).out("LaunchDarkly on v42; off v43 in s0 s1").nowhere("is gone");
    // It is meant to be ahead.
    rc(&shop, "status").nowhere("SDKS LEFT BEHIND");
    let ran = rc(&shop, "replay").code(6).out("only the playback knows of it");
    ran.out("rc replay -p shop -e production -f checkout --yes");
    assert_eq!(shop.patches(), 0);
    rc(&shop, "replay --yes").code(0).out("off in LaunchDarkly v43").out("DONE");
    assert_eq!((shop.patches(), shop.stands(0, "checkout")), (1, (43, false)));
    assert_eq!((shop.files("playback").len(), shop.files("playback/replayed").len()), (0, 1));
    assert_eq!(shop.stores[0].line("KEYS *relaycommander*"), "");
    rc(&shop, "replay --yes").code(0).out("Nothing is owed");
    rc(&shop, "verify").code(0);
}

/// Two edits are one patch: the store's version goes back to LaunchDarkly's, else its next patch would be refused.
#[test]
fn the_record_gets_launchdarklys_version() {
    let shop = forbidding(&[0, 1]);
    rc(&shop, "update -f tier --serve bronze").code(0);
    rc(&shop, "update -f tier --serve silver").code(0);
    assert_eq!(shop.record(1, "tier")["version"], 32);
    rc(&shop, "replay --yes").code(0).out("\"silver\" in LaunchDarkly v31").out("stores 2/2 settled");
    assert_eq!(shop.record(1, "tier")["version"], 31);
    rc(&shop, "verify").code(0);
}

/// Hosts may hold different versions, and each was edited in place.
#[test]
fn each_host_by_its_own_version() {
    let shop = forbidding(&[0, 1]);
    let features = "ld:shop:production:features";
    let older = shop.record(1, "tier").to_string().replace(r#""version":30"#, r#""version":29"#);
    shop.stores[1].run(&["HSET", features, "tier", &older]);
    rc(&shop, "update -f tier --serve bronze").code(0);
    rc(&shop, "update -f tier --serve silver").code(0);
    assert_eq!(
        (shop.record(0, "tier")["version"].clone(), shop.record(1, "tier")["version"].clone()),
        (json!(32), json!(31))
    );
    rc(&shop, "replay --yes").code(0);
    assert_eq!(
        (shop.record(0, "tier")["version"].clone(), shop.record(1, "tier")["version"].clone()),
        (json!(31), json!(31))
    );
}

#[test]
fn a_conflict_is_one_here_too() {
    let shop = forbidding(&[0, 1]);
    rc(&shop, "update -f tier --serve bronze").code(0);
    let silver = shop.control().variation_id(&environment(), &flag("tier"), 1).unwrap();
    shop.patched("tier", &[json!({"kind": "updateOffVariation", "variationId": silver})]);
    rc(&shop, "replay --yes").code(6).out("CONFLICT");
    rc(&shop, "replay --yes --on-conflict launchdarkly").code(0).out("given up");
    assert_eq!(
        (shop.patches(), shop.record(0, "tier")["offVariation"].clone()),
        (0, json!(0)),
        "LaunchDarkly's is back"
    );
    assert_eq!(shop.record(0, "tier")["version"], 30);
}

/// One store lets us, the other does not: the one tells for both.
#[test]
fn where_one_store_knows_it_is_known() {
    let shop = forbidding(&[1]);
    rc(&shop, "update -f checkout -s off").code(0);
    rc(&shop, "replay").code(0).out("off in LaunchDarkly v43");
    assert!(shop.override_(0, "checkout").contains(r#""is":"replayed""#));
    // It ends there: nobody takes the record in the other for owed.
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.fill();
    rc(&shop, "replay").code(0).out("settled");
    rc(&shop, "replay --yes").code(0).out("Nothing is owed");
    assert_eq!(shop.patches(), 1);
    assert!(shop.is_on("checkout"));
}
