//! `rc verify`: who agrees with whom.

use relay_commander::drill::launchdarkly::Fault;
use serde_json::Value;
use serde_json::json;

use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;

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

/// No store ever took it: nothing is owed, and everybody agrees.
#[test]
fn what_was_written_nowhere_is_not_owed() {
    let shop = Shop::new(|seed| seed);
    shop.stores.iter().for_each(crate::support::redis::RedisServer::freeze);
    shop.rc("update -f checkout -s off --timeout 300ms").code(7);
    shop.stores.iter().for_each(crate::support::redis::RedisServer::thaw);
    shop.rc("replay").code(0).out("stands in no store").out("rc update --resume");
    shop.rc("verify").code(0);
}

/// Nothing but the stores would name an environment, and none of them answers: that is no agreement, and not "nothing owed".
#[test]
fn nobody_answers_and_nothing_names_an_environment() {
    let shop = Shop::new(|seed| seed);
    let env = shop.home.path().join(".env");
    let text = std::fs::read_to_string(&env).unwrap();
    std::fs::write(&env, text.replace("RC_PROJECT=shop\nRC_ENVIRONMENT=production\n", "")).unwrap();
    shop.stores.iter().for_each(crate::support::redis::RedisServer::freeze);
    shop.rc("replay --timeout 300ms").code(7).out("s0: ").out("s1: ").nowhere("Nothing is owed");
    shop.rc("verify --timeout 300ms").code(7).out("NOT KNOWN");
    shop.stores.iter().for_each(crate::support::redis::RedisServer::thaw);
    shop.rc("replay").code(0).out("Nothing is owed");
    shop.rc("verify").code(0);
    // Emptied, they name none either; what was changed lately does.
    shop.rc("update -p shop -e production -f checkout -s off").code(0);
    shop.rc("replay").code(0);
    shop.stores.iter().for_each(|store| drop(store.run(&["FLUSHALL"])));
    shop.rc("verify").code(7).out("no store holds any flags").nowhere("IN AGREEMENT");
}

/// An undo that did not reach one store.
#[test]
fn what_is_taken_back_in_one_store_only() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.stores[1].freeze();
    shop.rc("undo checkout --timeout 300ms").code(5);
    shop.rc("verify --timeout 300ms").code(7);
    shop.stores[1].thaw();
    shop.rc("verify").code(6).out("on v42 in s0, off v43 in s1; undone by anna, and not yet in s1");
    shop.rc("replay").code(0);
    shop.rc("verify").code(0).out("same");
    assert_eq!(shop.files("playback").len(), 0);
}

/// One flag that LaunchDarkly does not show is not known; the others are.
#[test]
fn one_flag_that_cannot_be_read() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -f refunds -s off").code(0);
    shop.rc("update -f tier -s on").code(0);
    shop.rc("replay").code(0);
    shop.fault(Fault::status(403).on("GET", "/api/v2/flags/shop/checkout"));
    let ran = shop.rc("verify --json").code(7);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let judged: Vec<&str> =
        document["flags"].as_array().unwrap().iter().map(|flag| flag["judgement"].as_str().unwrap()).collect();
    assert_eq!(judged, ["unasked", "same", "same"]);
    shop.rc("verify").code(7).out("same  2 flags").out("the token does not permit this");
}

#[test]
fn a_flag_that_is_gone_in_launchdarkly() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.control().archive_flag(&environment(), &flag("checkout"), "carol@example.com").unwrap();
    shop.rc("verify").code(6).out("LaunchDarkly no such flag");
    shop.rc("replay --on-conflict launchdarkly").code(0);
    shop.rc("verify").code(1).out("LaunchDarkly no such flag").out("LaunchDarkly's stream brings it");
}

#[test]
fn without_a_token_launchdarkly_is_not_asked() {
    let shop = Shop::new(|seed| seed);
    shop.rc("update -f checkout -s off").code(0);
    shop.rc("replay").code(0);
    shop.settings(shop.home.path(), "");
    shop.rc("verify").code(7).out("LD_API_KEY");
    shop.settings(shop.home.path(), "api-nobody-0003");
    shop.rc("verify").code(7).nowhere("api-nobody-0003");
}
