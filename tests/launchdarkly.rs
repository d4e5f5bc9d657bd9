//! The client of LaunchDarkly's API against small servers of its own: what each answer means, what is repeated, and
//! that the token goes nowhere else.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::Response;
use relay_commander::change::id::ChangeId;
use relay_commander::flag::instruction::Instruction;
use relay_commander::flag::key::Environment;
use relay_commander::flag::key::FlagKey;
use relay_commander::launchdarkly::ApiError;
use relay_commander::launchdarkly::Client;
use relay_commander::launchdarkly::ClientOptions;
use relay_commander::launchdarkly::Observer;
use relay_commander::launchdarkly::Token;
use relay_commander::launchdarkly::Waiting;
use relay_commander::launchdarkly::approval::ApprovalStatus;
use relay_commander::launchdarkly::approval::ReviewStatus;
use relay_commander::launchdarkly::client::PatchOptions;
use relay_commander::launchdarkly::identity::Reached;
use relay_commander::launchdarkly::pacing::Patience;
use relay_commander::launchdarkly::pacing::WaitReason;
use relay_commander::launchdarkly::patch::PatchRequest;
use relay_commander::launchdarkly::patch::SemanticInstruction;
use relay_commander::launchdarkly::patch::foreseen;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// A request as a server saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each request by `answer`, which gets the request and how many there were before it.
    async fn start(answer: impl Fn(&Seen, usize) -> Response<Body> + Clone + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (noted, answer) = (noted.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let one = Seen {
                    method: parts.method.to_string(),
                    target: parts.uri.to_string(),
                    headers: parts.headers,
                    body: axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec(),
                };
                let mut noted = noted.lock().unwrap();
                let answer = answer(&one, noted.len());
                noted.push(one);
                answer
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn refusal(status: u16, code: &str, message: &str) -> Response<Body> {
    answer(status, &[], json!({"code": code, "message": message, "id": "30ce6058"}).to_string())
}

fn flag_body(on: bool) -> String {
    json!({
        "key": "checkout", "name": "Checkout", "tags": [], "archived": false, "temporary": true,
        "variations": [{"_id": "t", "value": true}, {"_id": "f", "value": false}],
        "environments": {"production": {"on": on, "version": 43, "offVariation": 1, "fallthrough": {"variation": 0}}},
    })
    .to_string()
}

fn options(address: SocketAddr) -> ClientOptions {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions {
        base: format!("http://{address}"),
        deadline: Duration::from_secs(5),
        patience: Patience { attempts: 3, rate_limit: Duration::from_secs(5), failures: Duration::from_secs(5) },
        ..ClientOptions::new(Token::new("api-secret-token\n"))
    }
}

fn client(address: SocketAddr) -> Client {
    Client::new(options(address)).unwrap()
}

fn environment() -> Environment {
    "shop/production".parse().unwrap()
}

fn flag() -> FlagKey {
    "checkout".parse().unwrap()
}

fn turn_off() -> PatchRequest {
    PatchRequest { instructions: vec![SemanticInstruction::TurnFlagOff], comment: "rc: off".to_owned() }
}

async fn patch(client: &Client) -> Result<(), ApiError> {
    client.patch(&environment(), &flag(), &turn_off(), PatchOptions::default()).await.map(|_| ())
}

fn kind(error: &ApiError) -> String {
    let debug = format!("{error:?}");
    debug.split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_patch_is_sent_as_launchdarkly_documents_it() {
    let server = Server::start(|_, _| answer(200, &[], flag_body(false))).await;
    let client = client(server.address);
    let options = PatchOptions { dry_run: true, ignore_conflicts: true };
    let after = client.patch(&environment(), &flag(), &turn_off(), options).await.unwrap();
    assert!(!after.configuration.on);
    assert_eq!((after.version, after.name.as_str()), (43, "Checkout"));
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("PATCH", "/api/v2/flags/shop/checkout?dryRun=true&ignoreConflicts=true")
    );
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("authorization"), "api-secret-token");
    assert_eq!(header("ld-api-version"), "20240415");
    assert_eq!(header("content-type"), "application/json; domain-model=launchdarkly.semanticpatch");
    assert!(header("user-agent").starts_with("relay-commander/"));
    assert_eq!(
        serde_json::from_slice::<Value>(&seen.body).unwrap(),
        json!({"comment": "rc: off", "environmentKey": "production", "instructions": [{"kind": "turnFlagOff"}]})
    );
}

#[tokio::test]
async fn a_flag_is_asked_for_in_one_environment() {
    let server = Server::start(|_, _| answer(200, &[], flag_body(true))).await;
    let flag = client(server.address).flag(&environment(), &flag()).await.unwrap();
    assert!(flag.configuration.on);
    assert_eq!(server.seen()[0].target, "/api/v2/flags/shop/checkout?env=production");
}

#[tokio::test]
async fn every_status_becomes_its_error() {
    let cases = [
        (400, "invalid_request", "unknown kind", "Refused", "Refused"),
        (400, "invalid_request", "would cause a pending scheduled change to fail", "ScheduledConflict", "Refused"),
        (401, "unauthorized", "no", "Unauthorized", "Unauthorized"),
        (403, "forbidden", "no", "Forbidden", "Forbidden"),
        (404, "not_found", "no", "NotFound", "NotFound"),
        (405, "method_not_allowed", "updates require approval", "ApprovalRequired", "Refused"),
        (409, "optimistic_locking_error", "Try again later", "OptimisticLock", "OptimisticLock"),
        (422, "x", "no", "Refused", "Refused"),
        (500, "internal", "no", "Server", "Server"),
        (503, "", "", "Server", "Server"),
    ];
    for (status, code, message, to_patch, to_read) in cases {
        let server = Server::start(move |_, _| refusal(status, code, message)).await;
        let client = Client::new(ClientOptions { patience: Patience::ONCE, ..options(server.address) }).unwrap();
        let error = patch(&client).await.unwrap_err();
        assert_eq!(kind(&error), to_patch, "{status} {error}");
        assert_eq!(error.may_have_happened(), status >= 500, "{status}");
        assert!(error.to_string().contains("30ce6058"), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
        if matches!(status, 401 | 403) {
            let way_out = error.way_out().unwrap();
            assert!(way_out.contains("updateOn on proj/shop:env/production:flag/checkout"), "{way_out}");
        }
        assert_eq!(server.seen().len(), 1, "{status}: a write is not repeated");
        let error = client.flag(&environment(), &flag()).await.unwrap_err();
        assert_eq!(kind(&error), to_read, "{status} {error}");
    }
}

#[tokio::test]
async fn reads_are_repeated_after_failures_and_writes_are_not() {
    let server = Server::start(|_, before| match before {
        0 => answer(502, &[], "bad gateway"),
        _ => answer(200, &[], flag_body(true)),
    })
    .await;
    let waits = Arc::new(Mutex::new(Vec::<Waiting>::new()));
    let noted = waits.clone();
    let observer = Some(Observer::new(move |waiting| noted.lock().unwrap().push(waiting)));
    let client = Client::new(ClientOptions { observer, ..options(server.address) }).unwrap();
    client.flag(&environment(), &flag()).await.unwrap();
    assert_eq!(server.seen().len(), 2);
    assert_eq!(waits.lock().unwrap()[..], [Waiting { seconds: 1, why: WaitReason::ServerError }]);

    let failing = Server::start(|_, _| answer(500, &[], "")).await;
    let error = patch(&self::client(failing.address)).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert_eq!(failing.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_patch_is_sent_again_after_the_wait_that_was_asked_for() {
    let server = Server::start(|_, before| match before {
        0 => answer(429, &[("retry-after", "1")], ""),
        _ => answer(200, &[], flag_body(false)),
    })
    .await;
    let client = client(server.address);
    let began = Instant::now();
    patch(&client).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_wait_that_is_too_long_is_told_and_not_waited() {
    let server = Server::start(|_, _| answer(429, &[("retry-after", "3600")], "")).await;
    let client = client(server.address);
    let began = Instant::now();
    let error = patch(&client).await.unwrap_err();
    assert!(matches!(&error, ApiError::RateLimited { wait, .. } if wait.as_secs() >= 3_599), "{error}");
    assert!(!error.may_have_happened());
    assert!(began.elapsed() < Duration::from_secs(2));
    // The limit is known now: nobody is asked again.
    assert!(matches!(patch(&client).await, Err(ApiError::RateLimited { .. })));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn refusals_end_after_so_many_attempts() {
    let server = Server::start(|_, _| answer(429, &[("retry-after", "1")], "")).await;
    let patience = Patience { attempts: 2, rate_limit: Duration::from_secs(60), failures: Duration::ZERO };
    let client = Client::new(ClientOptions { patience, ..options(server.address) }).unwrap();
    assert!(matches!(patch(&client).await, Err(ApiError::RateLimited { .. })));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_window_that_is_used_up_is_waited_out_without_being_refused() {
    const WINDOW: i64 = 400;
    const LIMIT: i64 = 5;
    let used = Arc::new(Mutex::new((0_i64, 0_i64)));
    let server = Server::start(move |_, _| {
        let now = jiff::Timestamp::now().as_millisecond();
        let mut used = used.lock().unwrap();
        if used.0 != now / WINDOW {
            *used = (now / WINDOW, 0);
        }
        used.1 += 1;
        let left = (LIMIT - used.1).max(0).to_string();
        let reset = ((now / WINDOW + 1) * WINDOW).to_string();
        let headers = [("x-ratelimit-route-remaining", left.as_str()), ("x-ratelimit-reset", reset.as_str())];
        let status = if used.1 > LIMIT { 429 } else { 200 };
        answer(status, &headers, flag_body(false))
    })
    .await;
    let client = client(server.address);
    for _ in 0..18 {
        patch(&client).await.unwrap();
    }
    assert_eq!(server.seen().len(), 18, "none was refused");
}

#[tokio::test]
async fn a_redirect_does_not_take_the_token_along() {
    let elsewhere = Server::start(|_, _| answer(200, &[], flag_body(true))).await;
    let location = format!("http://{}/api/v2/flags/shop/checkout?secret=1", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let location = location.clone();
        let server = Server::start(move |_, _| answer(status, &[("location", &location)], "")).await;
        let client = client(server.address);
        for error in [patch(&client).await.unwrap_err(), client.flag(&environment(), &flag()).await.unwrap_err()] {
            let to = format!("http://{}", elsewhere.address);
            assert!(matches!(&error, ApiError::Redirected { to: told, .. } if *told == to), "{error}");
        }
        assert_eq!(server.seen().len(), 2, "{status}: nothing is repeated");
    }
    assert!(elsewhere.seen().is_empty());
}

/// A server that takes connections, reads, and then does nothing or hangs up.
async fn silent(hang_up: bool) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1_024];
            let _ = stream.read(&mut buffer).await;
            if !hang_up {
                kept.push(stream);
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_black_hole_costs_the_deadline_and_a_write_into_it_is_unknown() {
    let (address, task) = silent(false).await;
    let options = ClientOptions { deadline: Duration::from_millis(300), patience: Patience::ONCE, ..options(address) };
    let client = Client::new(options).unwrap();
    let began = Instant::now();
    let error = client.flag(&environment(), &flag()).await.unwrap_err();
    assert!(matches!(error, ApiError::Timeout { .. }), "{error}");
    let error = patch(&client).await.unwrap_err();
    assert!(matches!(error, ApiError::Unknown { .. }) && error.may_have_happened(), "{error}");
    let reach = client.reachable().await.unwrap();
    assert!(matches!(reach.answer, Reached::Unreachable { .. }), "{reach:?}");
    assert!(began.elapsed() >= Duration::from_millis(900), "each waits for its deadline");
    assert!(began.elapsed() < Duration::from_secs(3), "and no longer: {:?}", began.elapsed());
    task.abort();
}

#[tokio::test]
async fn a_body_that_never_ends_is_within_the_deadline_too() {
    let server = Server::start(|_, _| {
        let first = futures_util::stream::iter([Ok::<_, std::io::Error>("{")]);
        let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        answer(200, &[], Body::from_stream(endless))
    })
    .await;
    let options =
        ClientOptions { deadline: Duration::from_millis(300), patience: Patience::ONCE, ..options(server.address) };
    let error = patch(&Client::new(options).unwrap()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_apart_from_none() {
    let (address, task) = silent(true).await;
    let client = Client::new(ClientOptions { patience: Patience::ONCE, ..options(address) }).unwrap();
    let error = patch(&client).await.unwrap_err();
    assert!(matches!(error, ApiError::Unknown { .. }), "{error}");
    let error = client.flag(&environment(), &flag()).await.unwrap_err();
    assert!(matches!(error, ApiError::Broken { .. }), "{error}");
    task.abort();

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(ClientOptions { patience: Patience::ONCE, ..options(free) }).unwrap();
    let error = patch(&client).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { .. }) && !error.may_have_happened(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn localhost_is_this_machine_and_tls_is_not_given_up() {
    let server = Server::start(|_, _| answer(200, &[], flag_body(true))).await;
    let with_base = |base: String| {
        let patience = Patience::ONCE;
        Client::new(ClientOptions { base, patience, ..options(server.address) }).unwrap()
    };
    let port = server.address.port();
    with_base(format!("http://localhost:{port}")).flag(&environment(), &flag()).await.unwrap();
    // Plain HTTP where TLS was asked for: no connection, so a write has not happened.
    let error = patch(&with_base(format!("https://localhost:{port}"))).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn answers_that_are_not_launchdarklys_are_errors() {
    let portal = Server::start(|_, _| answer(200, &[], "<html>Please log in</html>")).await;
    let client = self::client(portal.address);
    let error = client.flag(&environment(), &flag()).await.unwrap_err();
    assert!(matches!(error, ApiError::NotJson { .. }), "{error}");
    assert!(matches!(client.environment(&environment()).await, Err(ApiError::NotJson { .. })));
    assert!(matches!(patch(&client).await, Err(ApiError::Unknown { .. })), "a portal may have passed it on");
    assert!(matches!(client.reachable().await.unwrap().answer, Reached::Failing { .. }));

    let long = Server::start(|_, _| answer(200, &[], vec![b' '; 5 << 20])).await;
    let error = self::client(long.address).caller_identity().await.unwrap_err();
    assert!(matches!(error, ApiError::TooLarge { .. }), "{error}");

    let long = Server::start(|_, _| answer(403, &[], vec![b' '; 5 << 20])).await;
    let error = self::client(long.address).caller_identity().await.unwrap_err();
    assert!(matches!(error, ApiError::Forbidden { .. }), "the status of a refusal decides: {error}");

    let wrong =
        Server::start(|_, _| answer(200, &[], flag_body(true).replace("true,\"version\"", "\"off\",\"version\"")))
            .await;
    let error = self::client(wrong.address).flag(&environment(), &flag()).await.unwrap_err();
    assert!(matches!(error, ApiError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_anything_is_sent() {
    let with_base = |base: &str| {
        let base = base.to_owned();
        Client::new(ClientOptions { base, ..options(([127, 0, 0, 1], 9).into()) })
    };
    for base in ["http://app.launchdarkly.com", "http://192.0.2.1:8080", "ftp://x", "x"] {
        assert!(matches!(with_base(base), Err(ApiError::Configuration { .. })), "{base}");
    }
    let server = Server::start(|_, _| answer(200, &[], flag_body(true))).await;
    for token in ["", "  ", "api-\u{1}x", "api-é\n\u{7f}"] {
        let client = Client::new(ClientOptions { token: Token::new(token), ..options(server.address) }).unwrap();
        let error = client.flag(&environment(), &flag()).await.unwrap_err();
        assert!(matches!(&error, ApiError::Configuration { .. }), "{token:?}: {error}");
        assert!(error.to_string().contains("LD_API_KEY") && !error.to_string().contains("api-"), "{error}");
    }
    let pem = Some(b"no certificate".to_vec());
    let client = Client::new(ClientOptions { authority_pem: pem, ..options(server.address) }).unwrap();
    assert!(matches!(client.flag(&environment(), &flag()).await, Err(ApiError::Configuration { .. })));
    // Keys that a URL takes for folders.
    let dots: FlagKey = "..".parse().unwrap();
    let error = self::client(server.address).flag(&environment(), &dots).await.unwrap_err();
    assert!(matches!(error, ApiError::Configuration { .. }), "{error}");
    assert!(server.seen().is_empty());
    let debug = format!("{:?} {:?}", options(server.address), self::client(server.address));
    assert!(!debug.contains("secret"), "{debug}");
}

#[tokio::test]
async fn an_environment_says_what_needs_an_approval() {
    let server = Server::start(|_, _| {
        let settings = json!({
            "required": true, "bypassApprovalsForPendingChanges": false, "minNumApprovals": 2, "canReviewOwnRequest": true,
            "canApplyDeclinedChanges": false, "serviceKind": "launchdarkly", "serviceConfig": {}, "requiredApprovalTags": ["money"],
        });
        let body = json!({"name": "Production", "critical": true, "apiKey": "sdk-secret", "approvalSettings": settings});
        answer(200, &[], body.to_string())
    })
    .await;
    let told = client(server.address).environment(&environment()).await.unwrap();
    assert_eq!(server.seen()[0].target, "/api/v2/projects/shop/environments/production");
    assert!(told.critical && !format!("{told:?}").contains("sdk-secret"));
    let approval = told.approval.unwrap();
    assert_eq!(approval.min_approvals, 2);
    assert!(approval.needed_for(&["money".to_owned()]) && !approval.needed_for(&[]));
}

#[tokio::test]
async fn an_approval_is_asked_for_and_looked_at_again() {
    let server = Server::start(|seen, _| {
        let approved = seen.method == "GET";
        let body = json!({
            "_id": "6712ab", "status": "pending", "reviewStatus": if approved { "approved" } else { "pending" },
            "description": "rc", "conflicts": null, "_links": {},
        });
        answer(if approved { 200 } else { 201 }, &[], body.to_string())
    })
    .await;
    let client = client(server.address);
    let asked = client.request_approval(&environment(), &flag(), &turn_off(), "please").await.unwrap();
    assert_eq!((asked.status, asked.review), (ApprovalStatus::Pending, ReviewStatus::Pending));
    assert_eq!(asked.link.unwrap(), format!("http://{}/approvals/6712ab", server.address));
    let again = client.approval(&environment(), &flag(), &asked.id).await.unwrap();
    assert_eq!(again.review, ReviewStatus::Approved);
    assert!(again.is_open());
    // Such an id may stand in a store: it must not lead anywhere else.
    for id in ["..", "a/../../tokens", "", "x?y"] {
        let error = client.approval(&environment(), &flag(), id).await.unwrap_err();
        assert!(matches!(error, ApiError::Configuration { .. }), "{error}");
    }
    let seen = server.seen();
    let path = "/api/v2/projects/shop/flags/checkout/environments/production/approval-requests";
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("POST", path));
    assert_eq!(seen[0].headers["content-type"], "application/json");
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(body, json!({"description": "please", "comment": "rc: off", "instructions": [{"kind": "turnFlagOff"}]}));
    assert_eq!(seen[1].target, format!("{path}/6712ab"));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page_and_only_where_it_is() {
    let change = ChangeId::new();
    let comment = format!("rc: off by anna@bastion (change {change})");
    let server = Server::start(move |seen, before| {
        let member = json!({"email": "carol@example.com", "firstName": "Carol", "lastName": "Jones"});
        let item = json!({"date": 1_792_462_447_000_i64 - 1_000 * i64::try_from(before).unwrap(), "titleVerb": "turned off the flag",
            "comment": if before == 1 { comment.as_str() } else { "margin fix" }, "member": member,
            "accesses": [{"action": "updateOn", "resource": "x"}]});
        let next = match (before, seen.target.contains("astray")) {
            (_, true) => json!({"next": {"href": "https://evil.example/api/v2/auditlog"}}),
            (0, _) => json!({"next": {"href": "/api/v2/auditlog?before=1&limit=20"}}),
            _ => json!({}),
        };
        answer(200, &[], json!({"items": [item], "_links": next}).to_string())
    })
    .await;
    let client = client(server.address);
    let log = client.audit(&environment(), &flag(), 1_792_462_000_000).await.unwrap();
    assert!(log.complete);
    assert_eq!(log.entries.len(), 2);
    assert_eq!((log.entries[0].author.as_str(), log.entries[0].title.as_str()), ("Carol Jones", "turned off the flag"));
    assert_eq!(log.of_change(change), Some(&log.entries[1]));
    assert_eq!(log.of_change(ChangeId::new()), None);
    let first = &server.seen()[0].target;
    assert!(first.contains("spec=proj%2Fshop%3Aenv%2Fproduction%3Aflag%2Fcheckout"), "{first}");
    assert!(first.contains("after=1792462000000") && first.contains("limit=20"), "{first}");

    let astray = client.audit(&environment(), &"astray".parse().unwrap(), 0).await.unwrap();
    assert!(!astray.complete, "a log that was not read to its end proves nothing");
}

#[tokio::test]
async fn an_endless_audit_log_ends() {
    let server = Server::start(|_, _| {
        let next = json!({"next": {"href": "?again=1"}});
        answer(200, &[], json!({"items": [{"date": 1}], "_links": next}).to_string())
    })
    .await;
    let log = client(server.address).audit(&environment(), &flag(), 0).await.unwrap();
    assert!(!log.complete);
    assert_eq!(log.entries.len(), server.seen().len());
    assert!(log.entries.len() <= 10);
}

#[tokio::test]
async fn doctor_learns_who_the_token_is_and_whether_a_clock_is_wrong() {
    let server = Server::start(|seen, _| match seen.target.as_str() {
        "/api/v2/caller-identity" => {
            let body = json!({"accountId": "a", "tokenId": "61095542", "tokenName": "rc", "serviceToken": true});
            answer(200, &[("date", "Sun, 06 Nov 1994 08:49:37 GMT")], body.to_string())
        }
        "/api/v2/tokens/61095542" => {
            answer(200, &[], json!({"name": "rc", "role": "writer", "customRoleIds": null}).to_string())
        }
        _ => refusal(404, "not_found", "no"),
    })
    .await;
    let client = client(server.address);
    let identity = client.caller_identity().await.unwrap();
    assert!(identity.service_token);
    assert_eq!(client.token(&identity.token_id.unwrap()).await.unwrap().in_words(), "writer");
    let reach = client.reachable().await.unwrap();
    assert_eq!(reach.answer, Reached::Answers);
    assert!(reach.clock_wrong_by_ms.unwrap() < -900_000_000_000, "{reach:?}");

    let refusing = Server::start(|_, _| refusal(401, "unauthorized", "Invalid account ID header")).await;
    let reach = self::client(refusing.address).reachable().await.unwrap();
    assert!(
        matches!(&reach.answer, Reached::TokenRefused { status: 401, told } if told.contains("Invalid account")),
        "{reach:?}"
    );
    assert_eq!(reach.clock_wrong_by_ms, None, "this machine's own clock is right by itself");
}

#[test]
fn what_a_replay_would_send_can_be_told_without_launchdarkly() {
    let request = foreseen(&[Instruction::TurnFlagOff], &[], "why".to_owned());
    assert_eq!(
        request.described(&environment(), &flag()),
        r#"PATCH /api/v2/flags/shop/checkout {"comment":"why","environmentKey":"production","instructions":[{"kind":"turnFlagOff"}]}"#
    );
}
