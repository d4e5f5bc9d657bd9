//! What LaunchDarkly delivers to SDKs, asked right after a replay: with it overrides end at once; without it, or where it
//! says something else, they are held as they were, and nothing fails.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use relay_commander::drill::launchdarkly::Fault;
use relay_commander::drill::launchdarkly::FaultKind;
use relay_commander::drill::launchdarkly::Seed;
use serde_json::Value;
use serde_json::json;

use super::answers::redirecting_to;
use super::stage::Shop;
use super::stage::environment;
use super::stage::flag;
use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::update::stage::wait_until;

const KEY: &str = "sdk-production-0001";
const HELD: &str = "stores 2/2 hold it until LaunchDarkly's stream shows it";
const SETTLED: &str = "off in LaunchDarkly v43  stores 2/2 settled";
const SDK_FLAGS: &str = "/sdk/flags/*";

/// A shop whose environment has the SDK key, and another with a flag of the same name that is off, and far ahead.
fn seed(seed: Seed) -> Seed {
    let seed = seed.environment("staging").sdk_key("sdk-staging-0001").boolean_flag("checkout", false, 99);
    seed.environment("production").sdk_key(KEY)
}

/// A shop that was turned off and knows this SDK key.
fn shop_with(key: &str) -> Shop {
    let shop = Shop::new(seed);
    name_key(shop.home.path(), key);
    shop.rc("update -f checkout -s off").code(0);
    shop
}

fn name_key(home: &Path, key: &str) {
    std::fs::write(home.join("relaycommander.toml"), "[environment.\"shop/production\"]\nsdk_key_file = \"sdk-key\"\n")
        .unwrap();
    std::fs::write(home.join("sdk-key"), key).unwrap();
}

fn replay(shop: &Shop, sdk_url: &str) -> Ran {
    Rc::new().home(shop.home.path()).env("LD_SDK_URL", sdk_url).line("replay").run().nowhere(KEY)
}

/// LaunchDarkly has it once, the stores hold it, the file is among the replayed.
#[track_caller]
fn is_held(shop: &Shop) {
    for store in 0..2 {
        assert!(shop.override_(store, "checkout").contains(r#""is":"replayed","version":43"#));
        assert_eq!(shop.stands(store, "checkout"), (43, false));
    }
    assert_eq!((shop.patches(), shop.is_on("checkout")), (1, false));
    assert_eq!((shop.files("playback").len(), shop.files("playback/replayed").len()), (0, 1));
}

#[track_caller]
fn is_settled(shop: &Shop) {
    let delivered = shop.control().sdk_flags(&environment()).unwrap();
    let delivered: Value = delivered.into_iter().find(|(key, _)| key.as_str() == "checkout").unwrap().1;
    for store in 0..2 {
        assert_eq!(shop.override_(store, "checkout").trim(), "");
        assert_eq!(shop.record(store, "checkout"), delivered);
    }
    assert_eq!((shop.patches(), shop.is_on("checkout")), (1, false));
    assert!(shop.text_of("playback/replayed").contains("settled"));
}

/// How often LaunchDarkly was asked as an SDK asks, with the key and without the API's token.
#[track_caller]
fn polls(shop: &Shop) -> usize {
    let received = shop.control().stream().received();
    for request in &received {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/sdk/flags/checkout"));
        let sent: Vec<&str> = request
            .headers
            .iter()
            .filter(|(name, _)| name == "authorization")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(sent.len(), 1);
        assert!(!sent[0].contains(super::stage::TOKEN));
        assert!(!request.headers.iter().any(|(name, _)| name == "ld-api-version"));
    }
    received.len()
}

#[test]
fn what_launchdarkly_delivers_ends_it_at_once() {
    let shop = shop_with(KEY);
    replay(&shop, &shop.running.stream_url).code(0).out(SETTLED);
    is_settled(&shop);
    assert_eq!(polls(&shop), 1);
    shop.rc("verify").code(0);
    replay(&shop, &shop.running.stream_url).code(0).out("Nothing is owed");
}

/// Two edits made our record v44, and carol changed something else: LaunchDarkly's own record takes its place as it is.
#[test]
fn launchdarklys_own_record_takes_the_place_of_ours() {
    let shop = shop_with(KEY);
    shop.rc("update -f checkout -s on").code(0);
    shop.rc("update -f checkout -s off").code(0);
    assert_eq!(shop.stands(0, "checkout"), (45, false));
    let no = shop.control().variation_id(&environment(), &flag("checkout"), 1).unwrap();
    let to_no = json!({"kind": "updateFallthroughVariationOrRollout", "variationId": no});
    shop.patched("checkout", &[to_no]);
    replay(&shop, &shop.running.stream_url).code(0).out("off in LaunchDarkly v44").out("stores 2/2 settled");
    is_settled(&shop);
    assert_eq!(shop.record(0, "checkout")["fallthrough"]["variation"], 1);
}

/// The key may also stand in the relay's configuration, in the section of the project.
#[test]
fn the_key_of_the_relays_configuration() {
    let shop = Shop::new(seed);
    let section = |name: &str, project: &str, key: &str| {
        format!("[environment \"{name}\"]\nsdkKey = {key}\nprojKey = {project}\nprefix = ld:{project}:{name}\n")
    };
    let text = [
        section("staging", "shop", "sdk-staging-0001"),
        section("production", "other", "sdk-other-0001"),
        section("production", "shop", KEY).replace("[environment \"production\"]", "[environment \"Production\"]"),
    ];
    std::fs::write(shop.home.path().join("ld-relay.conf"), text.concat()).unwrap();
    shop.rc("update -f checkout -s off").code(0);
    let file = shop.home.path().join("ld-relay.conf");
    let rc = Rc::new().home(shop.home.path()).env("LD_SDK_URL", &shop.running.stream_url).env("RC_RELAY_CONFIG", file);
    rc.line("replay").run().code(0).out(SETTLED);
    is_settled(&shop);
}

/// What LaunchDarkly delivers is behind its API for a moment.
#[test]
fn a_delivery_that_lags_is_waited_for() {
    let shop = shop_with(KEY);
    shop.control().freeze();
    let line = Rc::new().env("LD_SDK_URL", &shop.running.stream_url).line("replay");
    let run = crate::update::stage::Started::rc(&line, shop.home.path());
    wait_until("it was asked in vain", || polls(&shop) > 0);
    shop.control().thaw();
    let (code, told) = run.finished();
    assert!(code == Some(0) && told.contains(SETTLED), "{told}");
    is_settled(&shop);
}

/// And for longer: it is held, owed no more, and a later replay finds out without sending anything.
#[test]
fn a_delivery_that_stays_behind() {
    let shop = shop_with(KEY);
    shop.control().freeze();
    replay(&shop, &shop.running.stream_url).code(0).out(HELD);
    is_held(&shop);
    replay(&shop, &shop.running.stream_url).code(0).out("2/2 hold it");
    is_held(&shop);
    shop.control().thaw();
    replay(&shop, &shop.running.stream_url).code(0).out("stores 2/2 settled");
    is_settled(&shop);
}

/// A cache hands out what was there before the outage.
#[test]
fn an_old_delivery_is_no_proof() {
    let shop = shop_with(KEY);
    let old = Fault::new(FaultKind::OldPut { changes_ago: Some(1), moment: None });
    shop.stream_fault(old);
    replay(&shop, &shop.running.stream_url).code(0).out(HELD);
    is_held(&shop);
    assert!(polls(&shop) > 1);
}

#[test]
fn a_key_that_is_refused() {
    let shop = shop_with("sdk-nobody-0001");
    let ran = replay(&shop, &shop.running.stream_url).code(0).out(HELD);
    ran.err("refuses the SDK key (401), about shop/production").err("Nothing is lost").nowhere("sdk-nobody");
    is_held(&shop);
    assert_eq!(polls(&shop), 1);
}

/// By its version and by what it serves it might be the flag: it is that of another environment.
#[test]
fn the_key_of_another_environment() {
    let shop = shop_with("sdk-staging-0001");
    replay(&shop, &shop.running.stream_url).code(0).out(HELD).nowhere("sdk-staging");
    is_held(&shop);
    assert!(polls(&shop) > 0);
}

#[test]
fn a_host_that_is_away_or_says_nonsense() {
    for (fault, told) in [
        (Fault::new(FaultKind::Refuse), "no answer from http://127.0.0.1"),
        (Fault::new(FaultKind::Close).on("GET", SDK_FLAGS), "no answer from http://127.0.0.1"),
        (Fault::status(503).on("GET", SDK_FLAGS), "answers 503"),
        (Fault::status(429).on("GET", SDK_FLAGS), "answers 429"),
        (Fault::new(FaultKind::WebPage).on("GET", SDK_FLAGS), "answers with no flag"),
    ] {
        let shop = shop_with(KEY);
        shop.stream_fault(fault);
        replay(&shop, &shop.running.stream_url).code(0).out(HELD).err(told);
        is_held(&shop);
    }
}

#[test]
fn a_host_that_never_answers_costs_a_moment() {
    let shop = shop_with(KEY);
    shop.stream_fault(Fault::new(FaultKind::BlackHole));
    let began = Instant::now();
    replay(&shop, &shop.running.stream_url).code(0).out(HELD).err("nothing within 2000 ms");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    is_held(&shop);
}

#[test]
fn the_key_follows_no_redirect_and_goes_nowhere_in_plain() {
    let shop = shop_with(KEY);
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let redirecting = redirecting_to(format!("http://{}/", elsewhere.local_addr().unwrap()));
    replay(&shop, "http://sdk.launchdarkly.com").code(2).err("only for this machine").nowhere(KEY);
    assert_eq!(shop.patches(), 0);
    replay(&shop, &redirecting).code(0).out(HELD).err("sends elsewhere");
    assert!(elsewhere.accept().is_err(), "somebody came there");
    is_held(&shop);
}

/// Of another address than LaunchDarkly's own nothing is guessed, and without a key there is nothing to ask with.
#[test]
fn nobody_is_asked_unless_address_and_key_are_known() {
    let shop = shop_with(KEY);
    shop.rc("replay").code(0).out(HELD);
    is_held(&shop);
    let shop = Shop::new(seed);
    shop.rc("update -f checkout -s off").code(0);
    replay(&shop, &shop.running.stream_url).code(0).out(HELD);
    is_held(&shop);
    assert_eq!(polls(&shop), 0);
}

#[test]
fn the_doctor_looks_whether_it_will_work() {
    let with = |key: &str| {
        let shop = Shop::new(seed);
        if !key.is_empty() {
            name_key(shop.home.path(), key);
        }
        Rc::new().home(shop.home.path()).env("LD_SDK_URL", &shop.running.stream_url).line("doctor").run()
    };
    with(KEY).out("takes the SDK key and delivers checkout").nowhere(KEY);
    with("sdk-staging-0001").out("note shop/production, what SDKs get").out("the SDK key is another environment's");
    with("sdk-nobody-0001").out("note shop/production, what SDKs get").out("refuses the SDK key (401)");
    with("").out("no SDK key is certain to be this environment's");
    Shop::new(seed).rc("doctor").nowhere("what SDKs get");
}

/// A rehearsal asks nobody, and an edit that came in between stays owed.
#[test]
fn what_was_not_sent_is_not_settled() {
    let shop = shop_with(KEY);
    let rehearsal = Rc::new().home(shop.home.path()).env("LD_SDK_URL", &shop.running.stream_url);
    rehearsal.line("replay --dry-run").run().code(0);
    assert_eq!((polls(&shop), shop.patches()), (0, 1));
    assert!(shop.override_(0, "checkout").contains("in-force"));
    shop.control().forget_received();
    shop.control().freeze();
    replay(&shop, &shop.running.stream_url).code(0).out(HELD);
    shop.rc("update -f checkout -s on").code(0);
    shop.control().thaw();
    assert!(shop.stands(0, "checkout").1);
    replay(&shop, &shop.running.stream_url).code(0).out("on in LaunchDarkly v44").out("stores 2/2 settled");
    assert!(shop.is_on("checkout"));
    assert_eq!((shop.override_(0, "checkout").trim(), shop.stands(1, "checkout")), ("", (44, true)));
}
