//! Stores that are dead, full of others' things, or closed to our own keys.

use serde_json::json;

use super::stage::PREFIX;
use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

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

/// What ended while a store was away gives way there to an edit that was made since, and is not taken for one of its own.
#[test]
fn what_ended_while_a_store_was_away_gives_way_to_what_came_after_it() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("update -f checkout -s on").code(0);
    shop.stores[1].freeze();
    shop.rc("replay --timeout 300ms").code(5).out("nothing to send");
    shop.rc("update -f checkout -s off --timeout 300ms").code(5);
    shop.stores[1].thaw();
    shop.rc("verify").code(6).out("OWED  checkout");
    shop.rc("replay").code(0).out("off in LaunchDarkly v43").nowhere("another edit");
    assert!(shop.override_(1, "checkout").contains(r#""is":"replayed","version":43"#));
    assert_eq!((shop.stands(1, "checkout"), shop.patches()), ((43, false), 1));
    shop.rc("verify").code(0);
}

/// A colleague edits it while it is sent, and another store is away: LaunchDarkly has something all the same.
#[test]
fn something_was_sent_though_more_is_owed_and_a_store_is_away() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.stores[1].freeze();
    let run = shop.sending("replay --timeout 300ms");
    shop.rc("update -f checkout -s on --timeout 300ms").code(5);
    let (code, told) = run.finished();
    assert_eq!(code, Some(6), "{told}");
    assert!(told.contains("another edit, which stays owed"), "{told}");
    assert!(!shop.is_on("checkout"));
    shop.stores[1].thaw();
    shop.rc("replay").code(0);
    assert!(shop.is_on("checkout"));
}

/// No store took it, and then somebody in LaunchDarkly does the same: its record is not what the edit wrote.
#[test]
fn what_no_store_took_is_not_found_in_launchdarklys_own_record() {
    let shop = Shop::new(|seed| seed);
    take_writes(&shop, false);
    let ran = shop.rc("update -f checkout -s off");
    assert_ne!(ran.code, Some(0), "{ran}");
    take_writes(&shop, true);
    shop.patched("checkout", &[json!({"kind": "turnFlagOff"})]);
    shop.fill();
    assert_eq!(shop.stands(0, "checkout"), (43, false));
    shop.rc("replay").code(0).nowhere("OWED");
    shop.rc("verify").code(0);
}

/// From now on the stores take no writes, and then they do again.
fn take_writes(shop: &Shop, they_do: bool) {
    for store in &shop.stores {
        store.line(if they_do { "ACL SETUSER default +@all" } else { "ACL SETUSER default -@write -@scripting" });
    }
}

/// No store can be told what LaunchDarkly answered: LaunchDarkly has it, and the stores learn it later.
#[test]
fn stores_that_cannot_be_told() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay");
    take_writes(&shop, false);
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("off in LaunchDarkly v43") && told.contains("does not permit"), "{told}");
    assert!(shop.override_(0, "checkout").contains("in-force"));
    take_writes(&shop, true);
    shop.rc("replay").code(0).out("already so");
    assert!(shop.override_(1, "checkout").contains(r#""is":"replayed","version":43"#));
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 0));
    shop.rc("verify").code(0);
}

/// The same, and meanwhile somebody in LaunchDarkly changed it: what had been delivered is not sent once more.
#[test]
fn stores_that_could_not_be_told_and_a_flag_that_was_changed_since() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay");
    take_writes(&shop, false);
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    take_writes(&shop, true);
    shop.patched("checkout", &[json!({"kind": "turnFlagOn"})]);
    shop.rc("replay --on-conflict override").code(0).out("LaunchDarkly has had off");
    assert_eq!((shop.is_on("checkout"), shop.patches()), (true, 1));
}

/// Frozen in the middle: what was sent to them they do when they wake up, and till then nobody knows.
#[test]
fn stores_that_hang_while_they_are_told() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay --timeout 300ms");
    shop.stores.iter().for_each(crate::support::redis::RedisServer::freeze);
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("off in LaunchDarkly v43") && told.contains("did not answer"), "{told}");
    shop.stores.iter().for_each(crate::support::redis::RedisServer::thaw);
    shop.rc("replay").code(0);
    assert!(shop.override_(1, "checkout").contains(r#""is":"replayed","version":43"#));
    assert_eq!((shop.patches(), shop.files("playback").len()), (1, 0));
}

/// A relay's reset in the middle: the override survives it, its record does not; LaunchDarkly's later version ends it.
#[test]
fn a_relays_reset_in_the_middle() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay");
    shop.fill();
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("off in LaunchDarkly v43"), "{told}");
    assert_eq!(shop.stands(0, "checkout"), (42, true), "LaunchDarkly's own record is LaunchDarkly's to replace");
    assert!(shop.override_(0, "checkout").contains(r#""is":"replayed","version":43"#));
    shop.fill();
    shop.rc("replay").code(0);
    shop.rc("verify").code(0);
}

/// Flushed in the middle: nothing is invented there.
#[test]
fn a_store_that_is_flushed_in_the_middle() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let run = shop.sending("replay");
    shop.stores[0].line("FLUSHALL");
    let (code, told) = run.finished();
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("1/2 had nothing of it left, 1/2 hold it"), "{told}");
    assert_eq!(shop.stores[0].line("KEYS *"), "");
}

/// Somebody copied another environment's override there: it is nobody's to overwrite, also where it comes in the middle.
#[test]
fn another_environments_override_is_left_alone() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    let foreign = |text: &str| text.replace("shop/production", "shop/staging");
    let run = shop.sending("replay");
    let text = foreign(&shop.override_(0, "checkout"));
    shop.stores[0].run(&["HSET", &format!("{PREFIX}:relaycommander:overrides"), "checkout", &text]);
    let (code, told) = run.finished();
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("belongs to another flag or environment"), "{told}");
    assert_eq!(shop.override_(0, "checkout"), text);
    shop.rc("replay").code(5).out("belongs to another flag or environment");
    assert_eq!(shop.override_(0, "checkout"), text);
}

/// The mark of an earlier revision ends no later one.
#[test]
fn a_mark_of_an_older_revision_ends_nothing() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f tier --serve silver").code(0);
    shop.stores[1].freeze();
    shop.rc("replay --timeout 300ms").code(5).out("\"silver\" in LaunchDarkly v31");
    shop.patched("tier", &[json!({"kind": "addTags", "values": ["x"]})]);
    let later = shop.control().sdk_flags(&environment()).unwrap()["tier"].to_string();
    shop.stores[0].run(&["HSET", &format!("{PREFIX}:features"), "tier", &later]);
    shop.rc("replay --timeout 300ms").code(5).out("settled");
    assert_eq!(shop.override_(0, "tier"), "");
    // The other store comes back, and there the override is edited: its earlier revision is over, this one is not.
    shop.stores[0].freeze();
    shop.stores[1].thaw();
    shop.rc("update -f tier --serve bronze --timeout 300ms").code(5);
    shop.stores[0].thaw();
    shop.rc("replay").code(0).out("\"bronze\" in LaunchDarkly v33");
    assert_eq!(shop.control().configuration(&environment(), &flag("tier")).unwrap()["offVariation"], 2);
    // The first store holds what LaunchDarkly last sent to it, and gets the rest from there.
    shop.rc("verify").code(1).out("\"silver\" v32 in s0");
    shop.fill();
    shop.rc("replay").code(0);
    shop.rc("verify").code(0);
}
