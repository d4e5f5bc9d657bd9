//! The conformance suite against real servers, each way that a write can take, and what is said where it cannot.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use futures_util::FutureExt;

use super::RedisAddress;
use super::RedisOptions;
use super::RedisStore;
use super::acl_rule;
use crate::change::id::ChangeId;
use crate::change::override_::Ending;
use crate::change::recorded::OverrideWrite;
use crate::change::recorded::Write;
use crate::change::target::Target;
use crate::flag::record::Record;
use crate::store::Deadlines;
use crate::store::Finding;
use crate::store::Grade;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::WriteOutcome;
use crate::store::conformance::Fixture;
use crate::store::conformance::conform;
use crate::store::conformance::failed;
use crate::store::conformance::flag;
use crate::store::conformance::mark;
use crate::store::conformance::override_of;
use crate::store::conformance::read_one;
use crate::store::conformance::record;
use crate::store::conformance::replace;
use crate::store::conformance::turn_off;

#[path = "../../../tests/support/redis.rs"]
mod server;

use server::RedisServer;

const PREFIX: &str = "ld:shop:production";
const OTHER: &str = "launchdarkly";

/// Long enough for a machine that is busy with other tests.
const PATIENT: Deadlines = Deadlines { connect: Duration::from_secs(20), answer: Duration::from_secs(20) };
const SHORT: Deadlines = Deadlines { connect: Duration::from_millis(300), answer: Duration::from_millis(300) };

fn options() -> RedisOptions {
    RedisOptions::new(PATIENT)
}

fn as_user(user: &str) -> RedisOptions {
    RedisOptions { username: Some(user.to_owned()), password: Some("pw".to_owned()), ..options() }
}

fn open(server: &RedisServer, options: RedisOptions) -> RedisStore {
    RedisStore::new(RedisAddress::parse(&format!("r={}", server.url())).unwrap(), options)
}

/// A user with exactly the documented rights, and then `changes` to them.
fn let_in(server: &RedisServer, user: &str, changes: &[&str]) {
    for prefix in [PREFIX, OTHER] {
        server.line(&acl_rule(user, prefix).replace("PASSWORD", "pw"));
    }
    let mut line = vec!["ACL", "SETUSER", user];
    line.extend(changes);
    server.run(&line);
}

fn target() -> Target {
    Target { store: "r".to_owned(), prefix: PREFIX.to_owned() }
}

struct Redis {
    server: RedisServer,
    store: RedisStore,
    own_keys: bool,
}

impl Redis {
    fn new(server: RedisServer, options: RedisOptions) -> Self {
        for prefix in [PREFIX, OTHER] {
            server.fill(prefix, &[]);
        }
        let store = open(&server, options);
        Self { server, store, own_keys: true }
    }
}

impl Fixture for Redis {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn prefixes(&self) -> (&str, Option<&str>) {
        (PREFIX, Some(OTHER))
    }

    fn put_record(&self, prefix: &str, flag: &str, record: &str) {
        self.server.run(&["HSET", &format!("{prefix}:features"), flag, record]);
    }

    fn put_override(&self, prefix: &str, flag: &str, text: &str) {
        self.server.run(&["HSET", &format!("{prefix}:relaycommander:overrides"), flag, text]);
    }

    fn record(&self, prefix: &str, flag: &str) -> Option<String> {
        let text = self.server.run(&["HGET", &format!("{prefix}:features"), flag]);
        (!text.is_empty()).then_some(text)
    }

    fn own_keys(&self) -> bool {
        self.own_keys
    }
}

#[tokio::test]
async fn conforms_by_script_on_a_socket() {
    conform(&Redis::new(RedisServer::start(), options())).await;
}

#[tokio::test]
async fn segments_are_read_as_they_are() {
    let server = RedisServer::start();
    let segments = format!("{PREFIX}:segments");
    server.run(&["HSET", &segments, "testers", "{ \"key\":\"testers\" }", "gone", "{\"deleted\":true}"]);
    let read = open(&server, options()).segments(PREFIX).await.unwrap();
    let shown: Vec<(&str, &[u8])> = read.iter().map(|(key, record)| (key.as_str(), record.as_slice())).collect();
    assert_eq!(shown, [("gone", &b"{\"deleted\":true}"[..]), ("testers", &b"{ \"key\":\"testers\" }"[..])]);
    assert!(open(&server, options()).segments(OTHER).await.unwrap().is_empty());
    server.run(&["SET", &format!("{OTHER}:segments"), "a text"]);
    assert!(matches!(open(&server, options()).segments(OTHER).await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn conforms_with_exactly_the_documented_rights() {
    let server = RedisServer::with().tcp().start();
    let_in(&server, "rc", &[]);
    conform(&Redis::new(server, as_user("rc"))).await;
}

#[tokio::test]
async fn conforms_by_watch_where_scripts_are_forbidden() {
    let server = RedisServer::start();
    let_in(&server, "rc", &["-eval", "-evalsha"]);
    conform(&Redis::new(server, as_user("rc"))).await;
}

#[tokio::test]
async fn conforms_by_watch_where_scripts_are_switched_off() {
    let server =
        RedisServer::with().arguments(&["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""]).start();
    conform(&Redis::new(server, options())).await;
}

/// Only the record, because of a user who may use the relay's keys and no other.
async fn conforms_record_only(changes: &[&str]) {
    let server = RedisServer::start();
    let mut line = vec!["resetkeys", "~ld:shop:production:features", "~launchdarkly:features", "~*:$inited"];
    line.extend(changes);
    let_in(&server, "rc", &line);
    let redis = Redis { own_keys: false, ..Redis::new(server, as_user("rc")) };
    conform(&redis).await;
    // What concerns nothing but our own keys cannot be done, and is not said to be.
    redis.put_record(PREFIX, "only-ours", record(true, 42).text());
    let write = Write {
        after: None,
        ..turn_off(&target(), "only-ours", ChangeId::new(), &read_one(&redis.store, PREFIX, "only-ours").await)
    };
    let outcomes = replace(&redis.store, &target(), &[write]).await;
    let StoreError::Forbidden { what, way_out, .. } = failed(&outcomes) else { panic!("{outcomes:?}") };
    assert_eq!(what, "HSET on ld:shop:production:relaycommander:overrides");
    assert_eq!(way_out, "ACL SETUSER rc ~ld:shop:production:relaycommander:overrides");
}

#[tokio::test]
async fn conforms_record_only_by_script() {
    conforms_record_only(&[]).await;
}

#[tokio::test]
async fn conforms_record_only_by_watch() {
    conforms_record_only(&["-eval", "-evalsha"]).await;
}

#[tokio::test]
async fn conforms_over_tls_with_a_given_authority() {
    let server = RedisServer::with().tls().password("s3cr3t").start();
    let authority_pem = Some(server.authority_pem().as_bytes().to_vec());
    let options = RedisOptions { authority_pem, password: Some("s3cr3t".to_owned()), ..options() };
    conform(&Redis::new(server, options)).await;
}

#[tokio::test]
async fn an_unknown_authority_is_a_matter_of_credentials() {
    let server = RedisServer::with().tls().start();
    let another = RedisServer::with().tls().start();
    let authority_pem = Some(another.authority_pem().as_bytes().to_vec());
    let error = open(&server, RedisOptions { authority_pem, ..options() }).read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Credentials { problem, .. } if problem.contains("certificate")), "{error}");
    let not_pem = Some(b"no certificate".to_vec());
    let error =
        open(&server, RedisOptions { authority_pem: not_pem, ..options() }).read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(error, StoreError::Credentials { .. }), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_text_are_returned_as_they_are() {
    let server = RedisServer::start();
    server.fill(PREFIX, &[("good", "{}")]);
    server.run(&[
        "EVAL",
        r"redis.call('HSET', KEYS[1], 'bad', '\255\0{', 'no key!', '1')",
        "1",
        "ld:shop:production:features",
    ]);
    let store = open(&server, options());
    assert_eq!(read_one(&store, PREFIX, "bad").await.record.unwrap(), b"\xff\0{");
    let all = store.read_all(PREFIX).await.unwrap();
    assert_eq!(all.flags[&flag("bad")].record.as_deref(), Some(&b"\xff\0{"[..]));
    assert_eq!(all.strange_fields, ["no key!"]);
    assert_eq!(all.flag_count, 3);
}

#[tokio::test]
async fn a_large_hash_is_read_whole() {
    let server = RedisServer::start();
    server.fill(PREFIX, &[]);
    let script = "for i = 1, 6000 do redis.call('HSET', KEYS[1], 'f' .. i, i) end";
    server.run(&["EVAL", script, "1", "ld:shop:production:features"]);
    let all = open(&server, options()).read_all(PREFIX).await.unwrap();
    assert_eq!((all.flag_count, all.flags.len()), (6000, 6000));
    assert_eq!(all.flags[&flag("f6000")].record.as_deref(), Some(&b"6000"[..]));
}

#[tokio::test]
async fn our_keys_survive_the_relays_reset() {
    let redis = Redis::new(RedisServer::start(), options());
    redis.put_record(PREFIX, "a", record(true, 42).text());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&redis.store, PREFIX, "a").await);
    replace(&redis.store, &target(), &[write]).await;
    redis.server.fill(PREFIX, &[("a", record(true, 42).text())]);
    let found = read_one(&redis.store, PREFIX, "a").await;
    assert_eq!(found.record.as_deref(), Some(record(true, 42).text().as_bytes()));
    assert_eq!(found.override_.unwrap().parsed.unwrap().revision, 1);
    assert_eq!(redis.store.log(PREFIX, 10).await.unwrap().len(), 1);
}

/// What `sneak` does between WATCH and EXEC, and what then comes of the write.
async fn sneaked_in(
    times: usize,
    sneak: impl Fn(&RedisServer, usize) + Send + Sync + 'static,
) -> (WriteOutcome, usize) {
    let server = RedisServer::start();
    let_in(&server, "rc", &["-eval", "-evalsha"]);
    let redis = Arc::new(Redis::new(server, as_user("rc")));
    redis.put_record(PREFIX, "a", record(true, 42).text());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&redis.store, PREFIX, "a").await);
    let (calls, called, sneak) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&redis), Arc::new(sneak));
    let counted = Arc::clone(&calls);
    redis.store.set_hook(Box::new(move || {
        let (redis, calls, sneak) = (Arc::clone(&called), Arc::clone(&counted), Arc::clone(&sneak));
        async move {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            if call < times {
                sneak(&redis.server, call);
            }
        }
        .boxed()
    }));
    let outcome = replace(&redis.store, &target(), &[write]).await.pop().unwrap();
    redis.store.set_hook(Box::new(|| async {}.boxed()));
    if !matches!(outcome, WriteOutcome::Written { .. }) {
        assert!(redis.store.log(PREFIX, 10).await.unwrap().is_empty(), "a write that was not done is in the log");
    }
    (outcome, calls.load(Ordering::SeqCst))
}

const FEATURES: &str = "ld:shop:production:features";
const OVERRIDES: &str = "ld:shop:production:relaycommander:overrides";

#[tokio::test]
async fn a_record_sneaked_in_between_watch_and_exec_is_kept() {
    let (outcome, attempts) = sneaked_in(1, |server, _| {
        server.run(&["HSET", FEATURES, "a", record(false, 50).text()]);
    })
    .await;
    assert!(matches!(outcome, WriteOutcome::RecordChanged), "{outcome:?}");
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn an_override_sneaked_in_between_watch_and_exec_is_kept() {
    let (outcome, attempts) = sneaked_in(1, |server, _| {
        let text = serde_json::to_string(&override_of("a", 1, ChangeId::new(), "bob")).unwrap();
        server.run(&["HSET", OVERRIDES, "a", &text]);
    })
    .await;
    assert!(matches!(outcome, WriteOutcome::OverrideChanged), "{outcome:?}");
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn another_flags_write_in_between_is_no_reason_to_give_up() {
    let (outcome, attempts) = sneaked_in(3, |server, call| {
        server.run(&["HSET", FEATURES, "other", &call.to_string()]);
    })
    .await;
    assert!(matches!(outcome, WriteOutcome::Written { colleagues_see: true }), "{outcome:?}");
    assert_eq!(attempts, 4);
}

#[tokio::test]
async fn attempts_are_bounded() {
    let (outcome, attempts) = sneaked_in(usize::MAX, |server, call| {
        server.run(&["HSET", FEATURES, "other", &call.to_string()]);
    })
    .await;
    assert!(
        matches!(failed(std::slice::from_ref(&outcome)), StoreError::Other { problem, .. } if problem.contains("nothing was written"))
    );
    assert_eq!(attempts, super::transaction::ATTEMPTS_MAX);
}

/// The error of a write as a user with the documented rights after `changes`.
async fn refused_without(changes: &[&str]) -> StoreError {
    let server = RedisServer::start();
    let_in(&server, "rc", changes);
    let redis = Redis::new(server, as_user("rc"));
    redis.put_record(PREFIX, "a", record(true, 42).text());
    let reading = read_one(&open(&redis.server, options()), PREFIX, "a").await;
    let write = turn_off(&target(), "a", ChangeId::new(), &reading);
    let outcomes = replace(&redis.store, &target(), &[write]).await;
    assert_eq!(redis.record(PREFIX, "a").as_deref(), Some(record(true, 42).text()), "{outcomes:?}");
    assert_eq!(redis.server.run(&["EXISTS", OVERRIDES]), "0", "{outcomes:?}");
    failed(&outcomes).clone()
}

#[track_caller]
fn assert_forbidden(error: &StoreError, expected_what: &str, expected_way_out: &str) {
    let StoreError::Forbidden { what, way_out, .. } = error else { panic!("{error:?}") };
    assert_eq!((what.as_str(), way_out.as_str()), (expected_what, expected_way_out));
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_rule_that_gives_it() {
    let error = refused_without(&["-hset"]).await;
    assert_forbidden(
        &error,
        "HSET on ld:shop:production:features",
        "ACL SETUSER rc +hset ~ld:shop:production:features",
    );
    let error = refused_without(&["-xadd"]).await;
    let log = "ld:shop:production:relaycommander:log";
    assert_forbidden(&error, &format!("XADD on {log}"), &format!("ACL SETUSER rc +xadd ~{log}"));
    let error = refused_without(&["-eval", "-evalsha", "-hset"]).await;
    assert_forbidden(
        &error,
        "HSET on ld:shop:production:features",
        "ACL SETUSER rc +hset ~ld:shop:production:features",
    );
    let error = refused_without(&["-eval", "-evalsha", "-watch"]).await;
    assert!(matches!(&error, StoreError::Forbidden { way_out, .. } if way_out.contains("+watch")), "{error:?}");
    let error = refused_without(&["resetkeys", "~*:$inited"]).await;
    assert!(
        matches!(&error, StoreError::Forbidden { way_out, .. } if way_out.contains("~ld:shop:production:features")),
        "{error:?}"
    );
}

#[tokio::test]
async fn reading_without_rights_names_the_rule() {
    let server = RedisServer::start();
    server.fill(PREFIX, &[("a", "{}")]);
    let_in(&server, "rc", &["resetkeys", "~*:$inited"]);
    let store = open(&server, as_user("rc"));
    let error = store.read(PREFIX, &[flag("a")]).await.unwrap_err();
    assert_forbidden(&error, "HLEN on ld:shop:production:features", "ACL SETUSER rc ~ld:shop:production:features");
    let_in(&server, "rc", &["-scan", "-hmget"]);
    let error = store.read(PREFIX, &[flag("a")]).await.unwrap_err();
    assert_forbidden(
        &error,
        "HMGET on ld:shop:production:features",
        "ACL SETUSER rc +hmget ~ld:shop:production:features",
    );
    assert_forbidden(&store.prefixes(&[]).await.unwrap_err(), "SCAN", "ACL SETUSER rc +scan");
}

#[tokio::test]
async fn a_wrong_login_is_told_from_a_missing_one() {
    let server = RedisServer::with().password("right").start();
    let error = open(&server, options()).read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Credentials { problem, .. } if problem.contains("NOAUTH")), "{error}");
    let wrong = RedisOptions { password: Some("wr0ng-s3cr3t".to_owned()), ..options() };
    let error = open(&server, wrong).read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Credentials { problem, .. } if problem.contains("WRONGPASS")), "{error}");
    assert!(!format!("{error:?}").contains("s3cr3t"));
    let right = RedisOptions { password: Some("right".to_owned()), database: Some(3), ..options() };
    assert!(!open(&server, right.clone()).read(PREFIX, &[]).await.unwrap().initialised);
    let error = open(&server, RedisOptions { database: Some(99), ..right }).read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Other { problem, .. } if problem.contains("database 99")), "{error}");
}

#[tokio::test]
async fn a_replica_names_its_primary_and_takes_nothing() {
    let primary = RedisServer::with().tcp().start();
    primary.fill(PREFIX, &[("a", record(true, 42).text())]);
    let replica = RedisServer::with().replica_of(primary.port()).start();
    replica.wait_for("HLEN ld:shop:production:features", "1");
    let store = open(&replica, options());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&store, PREFIX, "a").await);
    let outcomes = replace(&store, &target(), &[write]).await;
    let StoreError::ReadOnly { primary: named, .. } = failed(&outcomes) else { panic!("{outcomes:?}") };
    assert_eq!(named.as_deref(), Some(format!("127.0.0.1:{}", primary.port()).as_str()));
    let findings = store.examine(&[PREFIX.to_owned()]).await;
    assert_eq!(graded(&findings, "replica").grade, Grade::Bad);
    assert_eq!(graded(&findings, "rights").grade, Grade::Good, "{findings:?}");
}

#[tokio::test]
async fn a_full_store_takes_nothing_and_says_why() {
    let redis = Redis::new(RedisServer::start(), options());
    redis.put_record(PREFIX, "a", record(true, 42).text());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&redis.store, PREFIX, "a").await);
    redis.server.line("CONFIG SET maxmemory 1");
    let outcomes = replace(&redis.store, &target(), &[write]).await;
    assert!(
        matches!(failed(&outcomes), StoreError::Other { problem, .. } if problem.contains("out of memory")),
        "{outcomes:?}"
    );
    redis.server.line("CONFIG SET maxmemory 0");
    assert_eq!(redis.record(PREFIX, "a").as_deref(), Some(record(true, 42).text()));
    assert!(read_one(&redis.store, PREFIX, "a").await.override_.is_none());
}

#[tokio::test]
async fn a_key_of_another_type_is_damage_and_nothing_is_half_written() {
    for changes in [&[][..], &["-eval", "-evalsha"]] {
        for key in ["overrides", "log"] {
            let server = RedisServer::start();
            let_in(&server, "rc", changes);
            let redis = Redis::new(server, as_user("rc"));
            redis.put_record(PREFIX, "a", record(true, 42).text());
            let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&redis.store, PREFIX, "a").await);
            redis.server.run(&["SET", &format!("{PREFIX}:relaycommander:{key}"), "text"]);
            let outcomes = replace(&redis.store, &target(), &[write]).await;
            assert!(matches!(failed(&outcomes), StoreError::Damaged { .. }), "{key}: {outcomes:?}");
            assert_eq!(redis.record(PREFIX, "a").as_deref(), Some(record(true, 42).text()));
        }
    }
    let server = RedisServer::start();
    server.run(&["SET", "ld:shop:production:features", "text"]);
    let error = open(&server, options()).read(PREFIX, &[flag("a")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_that_never_comes_is_unknown_and_only_after_sending() {
    let server = RedisServer::with().tcp().start();
    server.fill(PREFIX, &[("a", record(true, 42).text())]);
    let store = open(&server, RedisOptions { deadlines: SHORT, ..options() });
    let patient = open(&server, options());
    // The script is loaded: a first `EVALSHA` would only have answered that it does not know it.
    server.run(&["HSET", FEATURES, "b", record(true, 42).text()]);
    let first = turn_off(&target(), "b", ChangeId::new(), &read_one(&patient, PREFIX, "b").await);
    replace(&patient, &target(), &[first]).await;
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&patient, PREFIX, "a").await);
    // A kept connection: the write is sent.
    read_one(&store, PREFIX, "a").await;
    server.freeze();
    let begun = Instant::now();
    let outcomes = replace(&store, &target(), std::slice::from_ref(&write)).await;
    assert!(
        matches!(failed(&outcomes), StoreError::Unknown { problem, .. } if problem.contains("0.3 s")),
        "{outcomes:?}"
    );
    let error = store.read(PREFIX, &[]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "the deadlines were not kept");
    server.thaw();
    // It had been sent, and was done when the host came back: exactly what "unknown" allows for.
    server.wait_for("HGET ld:shop:production:features a", "\"version\":43");
    let outcomes = replace(&patient, &target(), &[write]).await;
    assert!(matches!(outcomes[..], [WriteOutcome::RecordChanged]), "{outcomes:?}");
}

#[tokio::test]
async fn nobody_there_is_said_in_words() {
    let port = server::free_port();
    let say = async |text: &str| {
        let store = RedisStore::new(RedisAddress::parse(text).unwrap(), RedisOptions::new(PATIENT));
        store.read(PREFIX, &[]).await.unwrap_err().to_string()
    };
    assert_eq!(say(&format!("127.0.0.1:{port}")).await, format!("127.0.0.1:{port} refused the connection"));
    assert!(say("unix:///nowhere/redis.sock").await.contains("no such socket"));
    assert!(say("no-such-host.invalid").await.contains("does not resolve"));
    let server = RedisServer::with().tcp().start();
    let url = format!("rediss://localhost:{}", server.port());
    let store = RedisStore::new(RedisAddress::parse(&url).unwrap(), RedisOptions::new(SHORT));
    let words = store.read(PREFIX, &[]).await.unwrap_err().to_string();
    assert!(words.contains("TLS"), "{words}");
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again() {
    let mut server = RedisServer::start();
    let store = open(&server, options());
    assert!(!store.read(PREFIX, &[]).await.unwrap().initialised);
    server.restart();
    server.fill(PREFIX, &[]);
    assert!(store.read(PREFIX, &[]).await.unwrap().initialised);
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() {
    let redis = Redis::new(RedisServer::start(), options());
    for key in ["a", "b"] {
        redis.put_record(PREFIX, key, record(true, 42).text());
        redis.server.line("SCRIPT FLUSH");
        let write = turn_off(&target(), key, ChangeId::new(), &read_one(&redis.store, PREFIX, key).await);
        let outcomes = replace(&redis.store, &target(), &[write]).await;
        assert!(matches!(outcomes[..], [WriteOutcome::Written { .. }]), "{outcomes:?}");
    }
}

#[tokio::test]
async fn the_log_is_bounded() {
    let redis = Redis::new(RedisServer::start(), options());
    let script = "for i = 1, 20000 do redis.call('XADD', KEYS[1], '*', 'n', i) end";
    redis.server.run(&["EVAL", script, "1", "ld:shop:production:relaycommander:log"]);
    redis.put_record(PREFIX, "a", record(true, 42).text());
    let write = turn_off(&target(), "a", ChangeId::new(), &read_one(&redis.store, PREFIX, "a").await);
    replace(&redis.store, &target(), &[write]).await;
    let length: usize = redis.server.line("XLEN ld:shop:production:relaycommander:log").parse().unwrap();
    assert!((10_000..10_500).contains(&length), "{length}");
}

#[tokio::test]
async fn damaged_overrides_and_newer_formats_are_shown_as_such() {
    let redis = Redis::new(RedisServer::start(), options());
    let newer = r#"{"format":2,"whatever":true}"#;
    redis.put_override(PREFIX, "newer", newer);
    redis.put_override(PREFIX, "damaged", "{");
    let overrides = redis.store.overrides(PREFIX).await.unwrap();
    assert_eq!(overrides[&flag("newer")].text, newer);
    assert!(overrides[&flag("newer")].parsed.as_ref().unwrap_err().contains("format 2"));
    assert!(overrides[&flag("damaged")].parsed.is_err());
    // An override without its flag is part of a full read.
    let all = redis.store.read_all(PREFIX).await.unwrap();
    assert!(all.flags[&flag("newer")].record.is_none() && all.flags[&flag("newer")].override_.is_some());
    // A damaged ended mark names itself.
    let change = ChangeId::new();
    redis.server.run(&["HSET", "ld:shop:production:relaycommander:ended", &format!("{change}/a"), "{"]);
    let error = redis.store.ended(PREFIX, &[change]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { problem, .. } if problem.contains(&change.to_string())), "{error}");
}

#[tokio::test]
async fn prefixes_are_found_with_what_they_hold() {
    let server = RedisServer::start();
    server.fill("ld:shop:production", &[("a", "{}"), ("b", "{}")]);
    server.fill("launchdarkly/filter", &[("a", "{}")]);
    server.run(&["HSET", "cold:features", "a", "{}"]);
    server.run(&["SET", "not-a-hash:features", "x"]);
    server.run(&["SET", "elsewhere", "x"]);
    let found = open(&server, options()).prefixes(&[]).await.unwrap();
    let found: Vec<_> =
        found.iter().map(|found| (found.prefix.as_str(), found.flag_count, found.initialised)).collect();
    assert_eq!(found, [("cold", 1, false), ("launchdarkly/filter", 1, true), ("ld:shop:production", 2, true)]);
}

#[track_caller]
fn graded<'f>(findings: &'f [Finding], subject: &str) -> &'f Finding {
    findings.iter().find(|finding| finding.subject == subject).unwrap_or_else(|| panic!("no {subject}: {findings:#?}"))
}

#[tokio::test]
async fn examining_finds_what_would_fail_and_changes_nothing() {
    let server = RedisServer::start();
    server.fill(PREFIX, &[("a", "{}")]);
    let_in(&server, "rc", &[]);
    let prefixes = [PREFIX.to_owned()];
    let before = server.line("INFO persistence");
    let changes = |info: &str| info.lines().find(|line| line.starts_with("rdb_changes")).map(str::to_owned);
    let store = open(&server, as_user("rc"));
    let findings = store.examine(&prefixes).await;
    for subject in ["reach", "login", "replica", "eviction", "rights"] {
        assert_eq!(graded(&findings, subject).grade, Grade::Good, "{findings:#?}");
    }
    assert!(graded(&findings, "login").told.contains("rc"));
    assert_eq!(graded(&findings, "persistence").grade, Grade::Notice);
    assert_eq!(changes(&server.line("INFO persistence")), changes(&before), "examining wrote something");

    server.line("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
    server.line("CONFIG SET appendonly yes");
    let findings = store.examine(&prefixes).await;
    assert_eq!(graded(&findings, "eviction").grade, Grade::Bad);
    assert_eq!(graded(&findings, "persistence").grade, Grade::Good);
    for (changes, grade, told) in [
        (&["-eval"][..], Grade::Notice, "EVAL"),
        (&["-scan", "+eval"], Grade::Notice, "SCAN"),
        (&["-xadd", "+scan"], Grade::Bad, "XADD"),
        (&["-hset", "+xadd"], Grade::Bad, "HSET"),
        (&["-multi", "+hset"], Grade::Notice, "not known"),
    ] {
        let_in(&server, "rc", &[]);
        server.run(&[&["ACL", "SETUSER", "rc"], changes].concat());
        let findings = store.examine(&prefixes).await;
        let rights = graded(&findings, "rights");
        assert_eq!(rights.grade, grade, "{rights:?}");
        assert!(rights.told.contains(told) && rights.way_out.is_some(), "{rights:?}");
    }
    let wrong = RedisOptions { password: Some("wrong".to_owned()), ..as_user("rc") };
    let findings = open(&server, wrong).examine(&prefixes).await;
    assert_eq!((graded(&findings, "login").grade, findings.len()), (Grade::Bad, 1));
}

#[tokio::test]
async fn five_thousand_writes_are_done_in_groups() {
    const COUNT: u64 = 5_000;
    let redis = Redis::new(RedisServer::start(), options());
    let change = ChangeId::new();
    let script = "for i = 0, 4999 do redis.call('HSET', KEYS[1], 'f' .. i, ARGV[1]) end";
    redis.server.run(&["EVAL", script, "1", FEATURES, record(true, 42).text()]);
    let writes: Vec<Write> = (0..COUNT)
        .map(|number| {
            let key = format!("f{number}");
            Write {
                target: target(),
                flag: flag(&key),
                before: Some(record(true, 42)),
                after: Some(record(false, 43)),
                override_before: None,
                override_after: OverrideWrite::Put(Arc::new(override_of(&key, 1, change, "anna"))),
                change,
            }
        })
        .collect();
    let outcomes = replace(&redis.store, &target(), &writes).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, WriteOutcome::Written { colleagues_see: true })));
    assert_eq!(redis.server.line("HLEN ld:shop:production:relaycommander:overrides"), COUNT.to_string());
    // Flags of one change share entries, and each is read as one.
    let length: usize = redis.server.line("XLEN ld:shop:production:relaycommander:log").parse().unwrap();
    assert!(length < 100, "{length}");
    let log = redis.store.log(PREFIX, 2).await.unwrap();
    assert_eq!(log.iter().map(|entry| entry.fields["flag"].as_str()).collect::<Vec<_>>(), ["f4998", "f4999"]);
    assert_eq!(redis.record(PREFIX, "f4999").as_deref(), Some(record(false, 43).text()));
}

#[tokio::test]
async fn a_mark_is_left_for_every_flag_of_a_change() {
    let redis = Redis::new(RedisServer::start(), options());
    let change = ChangeId::new();
    let end = |key: &str| Write {
        target: target(),
        flag: flag(key),
        before: None,
        after: None::<Record>,
        override_before: None,
        override_after: OverrideWrite::End(vec![(change, mark(key, Ending::Abandoned, "2026-11-23T03:00:00Z"))]),
        change,
    };
    replace(&redis.store, &target(), &[end("a"), end("b")]).await;
    let ended = redis.store.ended(PREFIX, &[change]).await.unwrap();
    assert_eq!(ended[&change].iter().map(|mark| mark.flag.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}
