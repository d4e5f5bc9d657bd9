//! Stores that are dead, full of others' things, or closed to our own keys.

use serde_json::json;

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
