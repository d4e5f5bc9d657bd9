//! `rc status` on real stores, with relays and a LaunchDarkly that say what a test wants, or nothing at all.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::Uri;
use serde_json::Value;
use serde_json::json;

use crate::support::rc::Ran;
use crate::support::rc::Rc;
use crate::support::redis::RedisServer;

/// The prefix of shop/production.
pub const PREFIX: &str = "ld:shop:production";

/// The longest that an answer may take.
const AT_MOST: Duration = Duration::from_secs(3);

/// A server that answers each path as a test says, and 404 elsewhere. It ends with the value.
pub struct Saying {
    /// Where it is.
    pub url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Saying {
    /// Paths, each with a status and a body.
    pub fn new(answers: impl IntoIterator<Item = (&'static str, u16, Value)>) -> Self {
        let answers: BTreeMap<String, (u16, String)> =
            answers.into_iter().map(|(path, status, body)| (path.to_owned(), (status, body.to_string()))).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            let router = Router::new().fallback(answer).with_state(answers);
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await
        });
        Self { url, _runtime: runtime }
    }

    /// A relay with one environment.
    pub fn relay(version: &str, environment: Value) -> Self {
        let status = json!({"version": version, "status": "degraded", "environments": {"production": environment}});
        Self::new([("/status", 200, status)])
    }
}

async fn answer(State(answers): State<BTreeMap<String, (u16, String)>>, uri: Uri) -> (StatusCode, String) {
    match answers.get(uri.path()) {
        Some((status, body)) => (StatusCode::from_u16(*status).unwrap(), body.clone()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

/// What a relay says of an environment in `state`, before `prefix`.
pub fn environment(state: &str, prefix: &str) -> Value {
    json!({
        "status": if state == "VALID" { "connected" } else { "disconnected" },
        "sdkKey": "sdk-********-****-****-****-*******bcdef",
        "connectionStatus": {"state": state, "stateSince": 1_700_000_000_000_i64},
        "dataStoreStatus": {"state": "VALID", "database": "redis", "dbServer": "redis://elsewhere:6379", "dbPrefix": prefix},
    })
}

/// A flag as a relay writes it.
pub fn flag(key: &str, version: u64, on: &str) -> String {
    format!(
        r#"{{"key":"{key}","version":{version},"on":{on},"prerequisites":[],"targets":[],"rules":[],"variations":[true,false],"offVariation":1,"fallthrough":{{"variation":0}},"salt":"s"}}"#
    )
}

/// Fills shop/production with three flags.
pub fn fill(redis: &RedisServer) {
    let flags = ["checkout", "refunds", "search"].map(|key| (key, flag(key, 42, "true")));
    let flags: Vec<(&str, &str)> = flags.iter().map(|(key, record)| (*key, record.as_str())).collect();
    redis.fill(PREFIX, &flags);
}

/// A server with three flags.
pub fn filled() -> RedisServer {
    let redis = RedisServer::start();
    fill(&redis);
    redis
}

/// A home whose `.env` has these lines.
pub fn home(lines: &[String]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".env"), lines.join("\n")).unwrap();
    home
}

fn status(home: &Path) -> Ran {
    let ran = Rc::new().home(home).line("status").run().code(0);
    assert!(ran.took < AT_MOST, "it took {:?}\n{ran}", ran.took);
    ran
}

fn object(home: &Path) -> Value {
    let ran = Rc::new().home(home).line("status --json").run().code(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn update(home: &Path, flag: &str, more: &str) -> Ran {
    Rc::new().home(home).line(&format!("update -p shop -e production -f {flag} -s off --timeout 300ms {more}")).run()
}

/// Rewrites an override where it stands, as if something had happened since.
fn rewrite(redis: &RedisServer, flag: &str, change: impl Fn(&mut Value)) {
    let key = format!("{PREFIX}:relaycommander:overrides");
    let mut document: Value = serde_json::from_str(&redis.run(&["HGET", &key, flag])).unwrap();
    change(&mut document);
    redis.run(&["HSET", &key, flag, &document.to_string()]);
}

#[test]
fn in_the_outage() {
    let (eu, us) = (filled(), filled());
    let relay = Saying::relay("8.10.1", environment("INTERRUPTED", PREFIX));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={},us-1={}", eu.url(), us.url()),
        format!("RELAY_URLS=eu-1={},us-1=http://{gone}", relay.url),
        format!("LD_API_URL=http://{gone}"),
        "LD_API_KEY=api-secret-of-the-test".to_owned(),
    ]);
    update(home.path(), "checkout", "--incident INC-4821 --expires 2h").code(8);
    us.freeze();
    update(home.path(), "refunds", "--as bob").code(5);
    let ran = status(home.path())
        .out("api     NO ANSWER from here: ")
        .out("stream  away since 2023-11-14 22:13Z (")
        .out("says 1 relay (eu-1); us-1 says nothing")
        .out("eu-1   3 flags    8.10.1 cut off  overrides LOST within about 30 s")
        .out("us-1   NO ANSWER  NO ANSWER       not written yet; do not restart this relay")
        .out("OVERRIDES shop/production\ncheckout  off  eu-1, not known: us-1  anna ")
        .out("refunds   off  eu-1, NOT us-1         bob ")
        .out("no expiry")
        .out("checkout: DIVERGED: SDKs that have been connected to eu-1 since before ")
        .out("OWED: 2 flags; when the API answers: rc replay")
        .nowhere("api-secret-of-the-test");
    let change = ran.stdout.split("UNFINISHED ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let ran = ran.out(&format!("rc update --resume {change}"));
    assert!(ran.stdout.trim_end().ends_with("(.env)"), "{ran}");
    us.thaw();
    us.wait_for("PING", "PONG");
    status(home.path()).out("checkout  off  eu-1 us-1       anna ").out("refunds   off  eu-1, NOT us-1  bob ");
}

/// What was undone while a store was away still stands there when it is back, and that is said.
#[test]
fn what_is_over_and_still_stands_somewhere() {
    let (eu, us) = (filled(), filled());
    let home = home(&[format!("REDIS_HOSTS=eu-1={},us-1={}", eu.url(), us.url())]);
    update(home.path(), "checkout", "").code(0);
    us.freeze();
    Rc::new().home(home.path()).line("undo checkout --timeout 300ms --as bob").args(["--yes"]).run().code(5);
    us.thaw();
    us.wait_for("PING", "PONG");
    status(home.path())
        .out("checkout: undone by bob ")
        .out(", and still in us-1. To finish that: rc replay")
        .out("an override that is over still stands here");
}

/// A relay and an API that take connections and never answer, a store that hangs, and names that do not resolve.
#[test]
fn whatever_is_dead_it_answers_in_time() {
    let (living, frozen) = (filled(), filled());
    frozen.freeze();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={},us-1={},ap-1={at},no-1=no-such-host.invalid", living.url(), frozen.url()),
        format!("RELAY_URLS=eu-1=http://{at},us-1=http://no-such-host.invalid:8030"),
        format!("LD_API_URL=http://{at}"),
        "LD_API_KEY=api-1".to_owned(),
        "RC_TIMEOUT=30s".to_owned(),
        "RC_API_TIMEOUT=30s".to_owned(),
    ]);
    status(home.path())
        .out("NO ANSWER from here: did not answer within 2.5 s")
        .out("stream  not known; eu-1 and us-1 say nothing")
        .out("eu-1   3 flags")
        .out("us-1   NO ANSWER")
        .out("ap-1   NO ANSWER")
        .out("no-1   NO ANSWER")
        .out("OWED: nothing that could be seen");
}

#[test]
fn nothing_to_tell() {
    let redis = filled();
    let relay = Saying::relay("8.10.1", environment("VALID", PREFIX));
    let api = Saying::new([("/api/v2/caller-identity", 200, json!({"tokenId": "1"}))]);
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={}", redis.url()),
        format!("RELAY_URLS=eu-1={}", relay.url),
        format!("LD_API_URL={}", api.url),
        "LD_API_KEY=api-1".to_owned(),
    ]);
    insta::assert_snapshot!(status(home.path()).redacted());
    redis.run(&["DEL", &format!("{PREFIX}:$inited")]);
    status(home.path()).out("3 flags, NOT FILLED: relays take it for empty");
    redis.run(&["FLUSHALL"]);
    status(home.path()).out("eu-1   no flags");
}

#[test]
fn a_token_that_is_refused_is_an_answer() {
    let redis = filled();
    let api =
        Saying::new([("/api/v2/caller-identity", 401, json!({"code": "unauthorized", "message": "Invalid key"}))]);
    let lines =
        [format!("REDIS_HOSTS={}", redis.url()), format!("LD_API_URL={}", api.url), "LD_API_KEY=api-1".to_owned()];
    let with_token = home(&lines);
    status(with_token.path()).out("api     answers, and REFUSES the token in LD_API_KEY (401: ");
    let without_token = home(&lines[..2]);
    status(without_token.path()).out("api     not asked: no LD_API_KEY").out("RELAY_URLS names no relay to ask");
}

/// Expired, replayed and held, awaiting approval, put aside, not understood: as stores tell it.
#[test]
fn the_states_of_an_override() {
    let redis = filled();
    let approval =
        "/api/v2/projects/shop/flags/search/environments/production/approval-requests/6712abcd6712abcd6712abcd";
    let answered = json!({"_id": "6712abcd6712abcd6712abcd", "status": "pending", "reviewStatus": "approved"});
    let api = Saying::new([("/api/v2/caller-identity", 200, json!({"tokenId": "1"})), (approval, 200, answered)]);
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={}", redis.url()),
        format!("LD_API_URL={}", api.url),
        "LD_API_KEY=api-1".to_owned(),
    ]);
    for flag in ["checkout", "refunds", "search"] {
        update(home.path(), flag, "").code(0);
    }
    rewrite(&redis, "checkout", |document| document["motive"]["expires"] = json!("2020-01-02T04:14:00Z"));
    rewrite(&redis, "refunds", |document| document["state"] = json!({"is": "replayed", "version": 43}));
    rewrite(&redis, "search", |document| {
        document["state"] = json!({"is": "awaiting-approval", "request": "6712abcd6712abcd6712abcd"});
    });
    status(home.path())
        .out("EXPIRED 2020-01-02 04:14Z")
        .out("refunds: in LaunchDarkly as v43; held until its stream shows it. Nothing is owed.")
        .out("search: awaiting approval (pending, review: approved): ")
        .out("OWED: 2 flags; rc replay");
    let report = object(home.path());
    let overrides = report["environments"][0]["overrides"].as_array().unwrap();
    assert_eq!(overrides[0]["expired"], true);
    assert_eq!(overrides[1]["replayed_as"], 43);
    assert_eq!(overrides[2]["approval"]["told"], "pending, review: approved");
    assert_eq!(report["owed"]["flags"], 2);
    rewrite(&redis, "search", |document| document["format"] = json!(99));
    status(home.path()).out("the override of search in eu-1 ld:shop:production is not understood: it is of format 99");
}

#[test]
fn an_override_that_launchdarkly_wiped_is_not_in_force() {
    let redis = filled();
    let home = home(&[format!("REDIS_HOSTS=eu-1={}", redis.url())]);
    update(home.path(), "checkout", "").code(0);
    fill(&redis);
    status(home.path())
        .out("checkout  off  NOT eu-1")
        .out("no override here")
        .out("OWED: 1 flag; with LD_API_KEY set: rc replay");
    redis.run(&["DEL", &format!("{PREFIX}:relaycommander:overrides")]);
    status(home.path()).out("RECORDED HERE, and no override any more: checkout. rc replay finds out");
}

#[test]
fn damaged_records_and_files_are_named() {
    let redis = filled();
    let home = home(&[format!("REDIS_HOSTS=eu-1={}", redis.url())]);
    update(home.path(), "checkout", "").code(0);
    redis.run(&["HSET", &format!("{PREFIX}:features"), "search", &flag("search", 42, "\"off\"")]);
    for number in 0..7 {
        redis.run(&["HSET", &format!("{PREFIX}:features"), &format!("x{number}"), "nonsense"]);
    }
    let folder = home.path().join("playback");
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file() && path.extension().is_some())
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("checkout", "checkouT", 1)).unwrap();
    status(home.path())
        .out("DAMAGED eu-1 ld:shop:production search: \"on\" is the text \"off\", not true or false")
        .out("8 damaged records in eu-1 ld:shop:production: rc doctor names them all")
        .out("Relays there answer 500 for ALL flags of that environment.")
        .out(&format!("PLAYBACK {}, line 1: ", file.file_name().unwrap().to_string_lossy()));
    assert_eq!(object(home.path())["damaged_records"].as_array().unwrap().len(), 5);
}

/// Nobody names an environment: what there is, is shown all the same.
#[test]
fn a_prefix_of_nobody() {
    let redis = RedisServer::start();
    redis.fill("launchdarkly", &[("checkout", &flag("checkout", 7, "true"))]);
    let home = home(&[format!("REDIS_HOSTS=eu-1={}", redis.url())]);
    status(home.path()).out("eu-1   1 flag");
    let report = object(home.path());
    assert_eq!(report["targets"][0]["prefix"], "launchdarkly");
    assert_eq!(report["targets"][0]["environment"], Value::Null);
    redis.fill("other", &[("checkout", &flag("checkout", 7, "true"))]);
    Rc::new()
        .home(home.path())
        .line("status -p shop -e production")
        .run()
        .code(0)
        .out("shop/production NOT LOOKED AT: which prefix is shop/production?");
}

#[test]
fn without_a_store_it_says_what_to_set() {
    Rc::new().line("status").run().code(2).err("no store is configured");
}

#[test]
fn a_relay_configuration_that_cannot_be_read_is_a_note() {
    let redis = filled();
    let home = home(&[format!("REDIS_HOSTS=eu-1={}", redis.url()), "RC_RELAY_CONFIG=missing.conf".to_owned()]);
    status(home.path()).out("note: the relay's configuration cannot be read: ").out("eu-1   3 flags");
}

/// A relay that ends with the test.
struct Relay(std::process::Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real relay, cut off from LaunchDarkly since its start, by both commands' words. Runs where `LD_RELAY` names its
/// program.
#[test]
fn a_real_relay_in_the_outage() {
    let Some(program) = std::env::var_os("LD_RELAY") else {
        println!("not run: LD_RELAY names no relay");
        return;
    };
    let redis = RedisServer::with().tcp().start();
    fill(&redis);
    let folder = tempfile::tempdir().unwrap();
    let port = crate::support::redis::free_port();
    let gone = crate::support::redis::free_port();
    let configuration = format!(
        "[Main]\nport = {port}\nstreamUri = \"http://127.0.0.1:{gone}\"\nbaseUri = \"http://127.0.0.1:{gone}\"\n\
         initTimeout = 1s\nignoreConnectionErrors = true\n[Events]\nsendEvents = false\n[Redis]\nurl = \"{}\"\n\
         [Environment \"production\"]\nsdkKey = \"sdk-12345678-90ab-cdef-1234-567890abcdef\"\nprefix = \"{PREFIX}\"\n",
        redis.url()
    );
    std::fs::write(folder.path().join("ld-relay.conf"), configuration).unwrap();
    let output = std::fs::File::create(folder.path().join("output")).unwrap();
    let child = std::process::Command::new(Path::new(&program).canonicalize().unwrap())
        .args(["--config", "ld-relay.conf"])
        .current_dir(folder.path())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let _relay = Relay(child);
    let home = home(&[
        format!("REDIS_HOSTS=eu-1={}", redis.url()),
        format!("RELAY_URLS=http://127.0.0.1:{port}"),
        format!("RC_RELAY_CONFIG={}", folder.path().join("ld-relay.conf").display()),
    ]);
    let begun = std::time::Instant::now();
    while !status(home.path()).stdout.contains("cut off") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", status(home.path()));
    }
    let updated = update(home.path(), "checkout", "");
    assert!(matches!(updated.code, Some(0 | 8)), "{updated}");
    status(home.path()).out("8.10.1 cut off").out("overrides LOST within about 30 s").out("stream  away since ");
    let ran = Rc::new().home(home.path()).line("doctor").run().code(0);
    ran.out("restart: safe now")
        .out(": known")
        .out("mode: its own configuration, 1 environment")
        .nowhere("sdk-12345678-90ab");
}
