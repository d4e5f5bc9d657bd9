//! Relays asked over real connections: simulated ones that misbehave as no real one can be made to, and the real one
//! where `LD_RELAY` names its program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at once")]

mod real;
pub mod simulated;

use std::time::Duration;
use std::time::Instant;

use relay_commander::flag::key::FlagKey;
use relay_commander::relay::address::RelayAddress;
use relay_commander::relay::client::Deadlines;
use relay_commander::relay::client::RelayClient;
use relay_commander::relay::client::RelayError;
use relay_commander::relay::judgement::Mode;
use relay_commander::relay::judgement::mode;
use relay_commander::relay::probe::Readiness;
use relay_commander::relay::probe::Sight;
use relay_commander::relay::probe::Watch;
use relay_commander::relay::sdk_key::SdkKey;
use simulated::Answer;
use simulated::SimulatedRelay;
use simulated::put;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn client(deadlines: Deadlines) -> RelayClient {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RelayClient::new(deadlines).unwrap()
}

fn key() -> SdkKey {
    SdkKey::parse("sdk-12345678-90ab-cdef-1234-567890abcdef").unwrap()
}

fn flag() -> FlagKey {
    "checkout".parse().unwrap()
}

fn watch(relay: &SimulatedRelay, deadlines: Deadlines) -> Watch {
    Watch::open(&client(deadlines), &relay.address, &key(), None, &[flag()])
}

#[tokio::test]
async fn a_status_is_read() {
    let relay = SimulatedRelay::start().await;
    relay.on_status(Answer::ok(
        r#"{"environments":{"Prod":{"status":"connected","connectionStatus":{"state":"VALID"}}},"status":"healthy","version":"8.10.1"}"#,
    ));
    let status = client(Deadlines::default()).status(&relay.address).await.unwrap();
    assert!(status.healthy);
    assert_eq!((status.major_version(), mode(&status, None)), (Some(8), Mode::Manual));
    assert_eq!(relay.requests()[0].authorization, None, "the status asks for no key");
}

#[tokio::test]
async fn what_is_no_status_is_said() {
    let relay = SimulatedRelay::start().await;
    let client = client(Deadlines { answer: Duration::from_millis(500), ..Deadlines::default() });
    let cases = [
        (Answer::ok("<html>a login page</html>"), "not a relay's status"),
        (Answer::ok(" ".repeat(5 * 1024 * 1024)), "more than 4194304 bytes"),
        (Answer::ok("{}"), "neither environments nor a version"),
        (Answer::status(404), "answered 404"),
        (Answer::status(502), "answered 502"),
        (Answer::redirect("http://evil.example/status"), "redirect to http://evil.example/status"),
        (Answer::Never, "did not answer within 500 ms"),
    ];
    for (answer, message) in cases {
        relay.on_status(answer);
        let started = Instant::now();
        let error = client.status(&relay.address).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{message}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_said() {
    let client = client(Deadlines::default());
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = RelayAddress::parse(&format!("eu=http://{free}")).unwrap();
    assert_eq!(client.status(&nobody).await.unwrap_err().to_string(), "relay eu refused the connection");
    let nameless = RelayAddress::parse("eu=http://no-such-host.invalid:8030").unwrap();
    let error = client.status(&nameless).await.unwrap_err();
    assert!(
        matches!(&error, RelayError::Unreachable { problem, .. } if problem.contains("name"))
            || matches!(error, RelayError::TimedOut { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_broadcast_is_seen() {
    let relay = SimulatedRelay::start().await;
    let stream = relay.expect_stream();
    let watch = Watch::open(&client(Deadlines::default()), &relay.address, &key(), Some("web"), &[flag()]);
    assert_eq!(watch.ready(SHORT).await, Readiness::NotYet, "connected, but the relay has said nothing");
    stream.send(put(r#"{"checkout":{"version":42,"on":true},"other":{"version":1}}"#));
    assert_eq!(watch.ready(LONG).await, Readiness::Ready);
    assert_eq!(watch.has(&flag()).unwrap().unwrap().version, 42);
    let since = tokio::time::Instant::now();
    let still = watch.saw(&flag(), since, SHORT, |served| served.version == 43).await;
    assert!(matches!(&still, Sight::NotYet { still: Some(served) } if served.version == 42), "{still:?}");
    // One on the heels of the other: both are found.
    stream.send(":\n\nevent: patch\ndata: {\"path\":\"/flags/checkout\",\"data\":{\"version\":43,\"on\":false}}\n\n");
    stream.send("event: patch\ndata: {\"path\":\"/flags/checkout\",\"data\":{\"version\":44,\"on\":true}}\n\n");
    let sight = watch.saw(&flag(), since, LONG, |served| served.text == r#"{"version":43,"on":false}"#).await;
    assert!(matches!(sight, Sight::Saw { after } if after >= SHORT && after < LONG), "{sight:?}");
    let later = watch.saw(&flag(), since, LONG, |served| served.version == 44).await;
    assert!(matches!(later, Sight::Saw { .. }), "{later:?}");
    let request = &relay.requests()[0];
    assert_eq!((request.path.as_str(), request.query.as_str()), ("/all", "filter=web"));
    assert_eq!(request.authorization.as_deref(), Some("sdk-12345678-90ab-cdef-1234-567890abcdef"));
}

#[tokio::test]
async fn a_connection_that_came_too_late_is_no_proof() {
    let relay = SimulatedRelay::start().await;
    let stream = relay.expect_stream();
    let watch = watch(&relay, Deadlines::default());
    let since = tokio::time::Instant::now();
    stream.send(put(r#"{"checkout":{"version":43}}"#));
    let sight = watch.saw(&flag(), since, SHORT, |served| served.version == 43).await;
    assert!(matches!(sight, Sight::OnConnecting { .. }), "{sight:?}");
    let at_once = watch.saw(&flag(), tokio::time::Instant::now(), SHORT, |served| served.version == 43).await;
    assert_eq!(
        at_once,
        Sight::OnConnecting { after: Duration::ZERO },
        "it had it before that moment, from who knows when"
    );
}

#[tokio::test]
async fn an_sdk_drops_a_patch_that_is_not_newer_and_so_do_we() {
    let relay = SimulatedRelay::start().await;
    let stream = relay.expect_stream();
    let watch = watch(&relay, Deadlines::default());
    stream.send(put(r#"{"checkout":{"version":42,"on":true}}"#));
    stream.send("event: patch\ndata: {\"path\":\"/flags/checkout\",\"data\":{\"version\":42,\"on\":false}}\n\n");
    stream.send("event: delete\ndata: {\"path\":\"/flags/checkout\",\"version\":45}\n\n");
    let since = tokio::time::Instant::now();
    let gone = watch.saw(&flag(), since, LONG, |served| served.deleted && served.version == 45).await;
    assert!(matches!(gone, Sight::Saw { .. }), "{gone:?}");
    let dropped = watch.saw(&flag(), since, SHORT, |served| served.text.contains("false")).await;
    assert_eq!(dropped, Sight::NotYet { still: None });
}

#[tokio::test]
async fn a_stream_that_breaks_is_said() {
    let quick = Deadlines { silence: Duration::from_millis(300), ..Deadlines::default() };
    let cases: [(&str, bool, &str); 4] = [
        (
            "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"checkout\":{\"ver",
            true,
            "broke the connection off",
        ),
        ("event: put\ndata: nonsense\n\n", false, "not a stream of flags"),
        ("event: put\ndata: {\"data\":{\"flags\":{\"checkout\":1}}}\n\n", false, "record of checkout is not readable"),
        ("", false, "silent for"),
    ];
    for (sent, ends, message) in cases {
        let relay = SimulatedRelay::start().await;
        let stream = relay.expect_stream();
        let watch = watch(&relay, quick);
        stream.send(sent);
        let kept = (!ends).then_some(stream);
        let Readiness::Broken(why) = watch.ready(LONG).await else { panic!("{message}: not broken") };
        assert!(why.to_string().contains(message), "{why}");
        let sight = watch.saw(&flag(), tokio::time::Instant::now(), LONG, |_| true).await;
        assert_eq!(sight, Sight::Broken { why });
        drop(kept);
    }
}

#[tokio::test]
async fn a_refusal_is_explained_and_a_redirect_gets_no_key() {
    let elsewhere = SimulatedRelay::start().await;
    let cases = [
        (Answer::status(401), "does not know this SDK key"),
        (Answer::status(404), "payload filter"),
        (Answer::status(500), "a record in it is damaged"),
        (Answer::status(503), "not ready"),
        (Answer::redirect(&elsewhere.address.to_string()), "is not followed"),
    ];
    for (answer, message) in cases {
        let relay = SimulatedRelay::start().await;
        relay.on_all(answer);
        let watch = watch(&relay, Deadlines::default());
        let Readiness::Broken(why) = watch.ready(LONG).await else { panic!("{message}: not broken") };
        assert!(why.to_string().contains(message), "{why}");
        assert!(!format!("{why:?} {watch:?}").contains("90ab"), "the key is not shown");
    }
    assert!(elsewhere.requests().is_empty(), "the key went elsewhere");
}

#[tokio::test]
async fn a_put_of_twenty_megabytes_is_read_through() {
    let relay = SimulatedRelay::start().await;
    let stream = relay.expect_stream();
    let watch = watch(&relay, Deadlines::default());
    stream.send("event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{");
    let filling = "x".repeat(16 * 1024);
    for number in 0..1280 {
        stream.send(format!("\"flag-{number}\":{{\"version\":1,\"salt\":\"{filling}\"}},"));
    }
    stream.send("\"checkout\":{\"version\":42}},\"segments\":{}}}\n\n");
    assert_eq!(watch.ready(LONG * 3).await, Readiness::Ready);
    assert_eq!(watch.has(&flag()).unwrap().unwrap().text, r#"{"version":42}"#);
}

#[tokio::test]
async fn nobody_is_held_up_by_a_relay_that_does_not_answer() {
    let relay = SimulatedRelay::start().await;
    relay.on_all(Answer::Never);
    let started = Instant::now();
    let watch = watch(&relay, Deadlines { answer: Duration::from_millis(300), ..Deadlines::default() });
    assert_eq!(watch.ready(SHORT).await, Readiness::NotYet);
    assert!(started.elapsed() < Duration::from_secs(5));
    let sight = watch.saw(&flag(), tokio::time::Instant::now(), LONG, |_| true).await;
    assert!(matches!(sight, Sight::Broken { why: RelayError::TimedOut { .. } }), "{sight:?}");
}

#[tokio::test]
async fn who_asks_anew_gets_the_edit_or_not() {
    let relay = SimulatedRelay::start().await;
    let stream = relay.expect_stream();
    stream.send(put(r#"{"checkout":{"version":43}}"#));
    relay.on_flag(42, r#"{"key":"checkout","version":42}"#);
    let client = client(Deadlines::default());
    let fresh = client.fresh(&relay.address, &key(), None, &flag(), Some(42), LONG).await;
    assert_eq!(fresh.connected.unwrap().unwrap().version, 43);
    let polled = fresh.polled.unwrap();
    assert_eq!((polled.served.unwrap().version, polled.unchanged), (42, Some(true)));
    relay.on_flag(43, r#"{"key":"checkout","version":43}"#);
    let polled = client.poll(&relay.address, &key(), Some("web"), &flag(), Some(42)).await.unwrap();
    assert_eq!((polled.served.unwrap().version, polled.unchanged), (43, Some(false)));
    let unknown = client.poll(&relay.address, &key(), None, &"other".parse().unwrap(), None).await.unwrap();
    assert_eq!((unknown.served, unknown.unchanged), (None, None));
}
