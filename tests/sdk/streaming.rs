//! LaunchDarkly's SDKs on the streams of the simulated LaunchDarkly: they take its events for LaunchDarkly's, and come back
//! from everything that they come back from.

use libtest_mimic::Trial;
use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::PayloadFilter;
use serde_json::json;

use crate::launchdarkly::LaunchDarkly;
use crate::launchdarkly::environment;
use crate::launchdarkly::seed;
use crate::parts::Sdk;
use crate::parts::for_each_sdk;
use crate::stage::flags;
use crate::watcher::Watcher;
use crate::watcher::anna;

pub fn trials() -> Vec<Trial> {
    for_each_sdk(&[
        ("streaming::every_kind_of_event", every_kind_of_event),
        ("streaming::after_every_kind_of_fault", after_every_kind_of_fault),
        ("streaming::an_event_that_is_no_json", an_event_that_is_no_json),
        ("streaming::an_old_state_is_taken_and_left", an_old_state_is_taken_and_left),
        ("streaming::a_part_of_the_environment", a_part_of_the_environment),
        ("streaming::a_key_that_is_not_taken", a_key_that_is_not_taken),
    ])
}

fn every_kind_of_event(sdk: Sdk) {
    let launchdarkly = LaunchDarkly::with(&flags());
    let mut watcher = Watcher::ready(sdk, &launchdarkly.source());
    // The put.
    watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
    watcher.evaluate("search").is(false, 1, "OFF");
    assert_eq!(watcher.all().unwrap().len(), flags().len());
    // Patches.
    launchdarkly.colleague_turns("checkout", false);
    watcher.wait("checkout", false).is(false, 1, "OFF");
    watcher.evaluate("express-pay").is(false, 1, "PREREQUISITE_FAILED");
    launchdarkly.colleague_turns("search", true);
    let in_new_zealand = json!({ "kind": "user", "key": "bob", "country": "NZ" });
    watcher.wait_for("search", &json!({ "kind": "user", "key": "carol" }), true).is(true, 0, "FALLTHROUGH");
    watcher.evaluate_for("search", &in_new_zealand).is(false, 1, "RULE_MATCH");
    watcher.evaluate_for("search", &anna()).is(false, 1, "TARGET_MATCH");
    // A segment, and a rule that names it.
    let testers = json!({ "key": "testers", "included": ["bob"] });
    launchdarkly.control().put_segment(&environment(), &"testers".parse().unwrap(), &testers).unwrap();
    let tier = "pricing-tier".parse().unwrap();
    let bronze = launchdarkly.control().variation_id(&environment(), &tier, 2).unwrap();
    let clause = json!({ "contextKind": "user", "attribute": "", "op": "segmentMatch", "values": ["testers"] });
    launchdarkly.colleague("pricing-tier", &json!({ "kind": "addRule", "clauses": [clause], "variationId": bronze }));
    let bob = json!({ "kind": "user", "key": "bob" });
    watcher.wait_for("pricing-tier", &bob, "bronze").is("bronze", 2, "RULE_MATCH");
    watcher.evaluate("pricing-tier").is("gold", 0, "FALLTHROUGH");
    // Deleted, and archived: gone for SDKs.
    launchdarkly.control().delete_flag(&environment(), &"refunds".parse().unwrap(), "carol").unwrap();
    launchdarkly.control().archive_flag(&environment(), &"express-pay".parse().unwrap(), "carol").unwrap();
    let gone = watcher.wait("express-pay", json!(null));
    assert_eq!((gone.variation, &gone.reason["errorKind"]), (None, &json!("FLAG_NOT_FOUND")));
    assert_eq!(watcher.evaluate("refunds").reason["errorKind"], "FLAG_NOT_FOUND");
}

fn after_every_kind_of_fault(sdk: Sdk) {
    let launchdarkly = LaunchDarkly::with(&flags());
    let mut watcher = Watcher::ready(sdk, &launchdarkly.source());
    let refusal = FaultKind::Status { status: 503, retry_after: None };
    // What breaks the stream, and what keeps it from coming back at once.
    let faults =
        [vec![FaultKind::Refuse], vec![FaultKind::Reset], vec![FaultKind::Close], vec![refusal, FaultKind::Close]];
    let mut on = true;
    for kinds in faults {
        assert_eq!(watcher.lost_streams(), [""; 0], "before {kinds:?}");
        for kind in &kinds {
            launchdarkly.stream_fault(Fault::new(kind.clone()));
        }
        on = !on;
        launchdarkly.colleague_turns("checkout", on);
        launchdarkly.stream_returns();
        let served = watcher.wait_after_a_return("checkout", on);
        assert_eq!(served.variation, Some(u64::from(!on)), "{kinds:?}");
        assert!(!watcher.lost_streams().is_empty(), "{} does not say that its stream was lost: {kinds:?}", watcher.sdk);
        // And the stream goes on.
        launchdarkly.colleague_turns("refunds", on);
        watcher.wait_after_a_return("refunds", on);
    }
    // What happens to one event.
    for kind in [FaultKind::HalfEvent, FaultKind::Slow { milliseconds: 300 }] {
        launchdarkly.stream_fault(Fault::new(kind).times(1));
        on = !on;
        launchdarkly.colleague_turns("checkout", on);
        watcher.wait_after_a_return("checkout", on);
    }
}

/// An event that is no JSON is over for the Go and the Node SDK: the change in it is lost until the stream breaks. (Of the
/// Go SDK that is true only where the path of the event is damaged; a relay has the same reader.) The Python SDK opens the
/// stream anew.
fn an_event_that_is_no_json(sdk: Sdk) {
    let launchdarkly = LaunchDarkly::with(&flags());
    let mut watcher = Watcher::ready(sdk, &launchdarkly.source());
    launchdarkly.stream_fault(Fault::new(FaultKind::Garbage).times(1));
    launchdarkly.colleague_turns("checkout", false);
    if sdk != Sdk::Python {
        // The next event is taken, so the stream is open still.
        launchdarkly.colleague_turns("refunds", true);
        watcher.wait("refunds", true);
        watcher.evaluate("checkout").is(true, 0, "FALLTHROUGH");
        launchdarkly.stream_breaks();
    }
    watcher.wait_after_a_return("checkout", false).is(false, 1, "OFF");
}

/// LaunchDarkly may come back with what it knew a while ago: a put is taken whatever its versions.
fn an_old_state_is_taken_and_left(sdk: Sdk) {
    let launchdarkly = LaunchDarkly::with(&flags());
    launchdarkly.control().name_moment("before");
    launchdarkly.colleague_turns("checkout", false);
    let mut watcher = Watcher::ready(sdk, &launchdarkly.source());
    watcher.evaluate("checkout").is(false, 1, "OFF");
    let old = FaultKind::OldPut { changes_ago: None, moment: Some("before".to_owned()) };
    launchdarkly.stream_fault(Fault::new(old));
    launchdarkly.stream_breaks();
    watcher.wait_after_a_return("checkout", true).is(true, 0, "FALLTHROUGH");
    launchdarkly.stream_returns();
    launchdarkly.stream_breaks();
    watcher.wait_after_a_return("checkout", false).is(false, 1, "OFF");
}

fn a_part_of_the_environment(sdk: Sdk) {
    let web = PayloadFilter { flags: vec!["checkout".to_owned(), "se*".to_owned()], tags: Vec::new() };
    let launchdarkly = LaunchDarkly::of(seed(&flags()).payload_filter("web", web));
    let mut watcher = Watcher::ready(sdk, &launchdarkly.source().filtered("web"));
    let all: Vec<String> = watcher.all().unwrap().keys().cloned().collect();
    assert_eq!((all.len(), all.contains(&"checkout".to_owned()), all.contains(&"search".to_owned())), (2, true, true));
    launchdarkly.colleague_turns("refunds", true);
    launchdarkly.colleague_turns("checkout", false);
    watcher.wait("checkout", false).is(false, 1, "OFF");
    assert_eq!(watcher.evaluate("refunds").reason["errorKind"], "FLAG_NOT_FOUND");
}

fn a_key_that_is_not_taken(sdk: Sdk) {
    let launchdarkly = LaunchDarkly::with(&flags());
    let source = crate::watcher::Source::stream(launchdarkly.stream_url(), "sdk-00000000-0000-0000-0000-000000000000");
    let (_watcher, initialized) = Watcher::open(sdk, &source);
    assert!(!initialized);
}
