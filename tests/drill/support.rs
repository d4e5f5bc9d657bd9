//! A simulated LaunchDarkly with a shop in it, and a client that checks every answer against LaunchDarkly's description.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::Once;
use std::time::Duration;

use jsonschema::Validator;
use relay_commander::drill::launchdarkly::Control;
use relay_commander::drill::launchdarkly::Options;
use relay_commander::drill::launchdarkly::Role;
use relay_commander::drill::launchdarkly::Running;
use relay_commander::drill::launchdarkly::Seed;
use relay_commander::drill::launchdarkly::SimulatedLaunchDarkly;
use relay_commander::flag::key::Environment;
use relay_commander::flag::key::FlagKey;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use serde_json::json;

pub const WRITER: &str = "api-writer-0001";
pub const READER: &str = "api-reader-0002";
pub const ADMIN: &str = "api-admin-0003";
pub const OTHER: &str = "api-other-0004";
pub const ON_OFF_ONLY: &str = "api-onoff-0005";

const DESCRIPTION: &str = include_str!("../data/launchdarkly-openapi-parts.json");

/// LaunchDarkly's description of each operation's answers, by method, pattern and status.
static ANSWERS: LazyLock<HashMap<(String, String, u16), Option<Validator>>> = LazyLock::new(|| {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut answers = HashMap::new();
    for (operation, by_status) in description["operations"].as_object().unwrap() {
        let (method, pattern) = operation.split_once(' ').unwrap();
        for (status, name) in by_status.as_object().unwrap() {
            let validator = name.as_str().map(|name| {
                let reference = format!("#/components/schemas/{name}");
                let schema = json!({ "$ref": reference, "components": description["components"] });
                jsonschema::draft4::new(&schema).unwrap()
            });
            answers.insert((method.to_owned(), pattern.to_owned(), status.parse().unwrap()), validator);
        }
    }
    answers
});

/// An answer that has been checked.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The server with its client.
pub struct Shop {
    pub running: Running,
    pub client: reqwest::Client,
}

pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another test of this binary may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

pub fn seed() -> Seed {
    let tiers = json!({ "on": true, "version": 30, "fallthrough": { "variation": 0 }, "offVariation": 2 });
    Seed::new()
        .project("shop")
        .environment("staging")
        .environment("production")
        .critical()
        .boolean_flag("checkout", true, 42)
        .flag("pricing-tier", json!(["gold", "silver", "bronze"]), tiers)
        .environment("guarded")
        .approvals(1)
        .boolean_flag("refunds", true, 5)
        .token(WRITER, Role::Writer, "anna")
        .token(READER, Role::Reader, "rita")
        .token(ADMIN, Role::Admin, "ada")
        .token(OTHER, Role::Writer, "bob")
        .token(ON_OFF_ONLY, Role::with_actions(&["updateOn"]), "olaf")
}

pub fn environment(key: &str) -> Environment {
    format!("shop/{key}").parse().unwrap()
}

pub fn flag_key(key: &str) -> FlagKey {
    key.parse().unwrap()
}

/// A semantic patch that turns the flag on or off.
pub fn turn(environment: &str, on: bool) -> Value {
    let kind = if on { "turnFlagOn" } else { "turnFlagOff" };
    json!({ "environmentKey": environment, "comment": "a test", "instructions": [{ "kind": kind }] })
}

impl Shop {
    pub async fn open() -> Self {
        Self::with(seed()).await
    }

    pub async fn with(seed: Seed) -> Self {
        let running = SimulatedLaunchDarkly::start(Options { seed, listener: None }).await.unwrap();
        Self { running, client: client() }
    }

    pub fn control(&self) -> &Control {
        &self.running.control
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.base_url)
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path)).header("Authorization", WRITER).header("LD-API-Version", "20240415")
    }

    /// Sends the request and checks the answer against LaunchDarkly's description.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let response = self.client.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        check(&method, &path, status, &body);
        Answer { status, headers, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        let request = self.client.get(self.url(path)).header("Authorization", token);
        self.send(request).await
    }

    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = self.client.post(self.url(path)).header("Authorization", token).json(body);
        self.send(request).await
    }

    /// A semantic patch.
    pub async fn patch_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        let request = self.client.patch(self.url(path)).header("Authorization", token);
        let request = request.header("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch");
        self.send(request.body(body.to_string())).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.patch_as(WRITER, path, body).await
    }

    pub async fn json_patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(body)).await
    }

    /// The flag's configuration in an environment, as the API shows it.
    pub async fn configuration(&self, flag: &str, environment: &str) -> Value {
        let shown = self.get(&format!("/api/v2/flags/shop/{flag}?env={environment}")).await.expect(200);
        shown["environments"][environment].clone()
    }

    /// The number of entries in the audit log.
    pub async fn audit_count(&self) -> usize {
        self.get("/api/v2/auditlog?limit=20").await.expect(200)["items"].as_array().unwrap().len()
    }
}

/// Whether the path fits the pattern of an operation.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(&path).all(|(pattern, part)| pattern.starts_with('{') || pattern == part)
}

#[track_caller]
fn check(method: &str, path: &str, status: u16, body: &Value) {
    if status >= 400 {
        for field in ["code", "message", "id"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}: {body}");
        }
    }
    let described =
        ANSWERS.iter().find(|((known, pattern, code), _)| known == method && *code == status && fits(pattern, path));
    match described {
        Some((_, Some(validator))) => {
            let errors: Vec<String> =
                validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(errors.is_empty(), "{method} {path} {status}: {errors:#?}\n{body:#}");
        }
        Some((_, None)) => assert_eq!(*body, Value::Null, "{method} {path} {status}"),
        None => assert!(status >= 400, "{method} {path} {status} is not in LaunchDarkly's description"),
    }
}

/// A check that can not fail would prove nothing.
#[test]
#[should_panic(expected = "/temporary")]
fn a_wrong_answer_is_noticed() {
    let flag = json!({
        "name": "a", "kind": "boolean", "key": "a", "_version": 1, "creationDate": 1, "variations": [],
        "temporary": "no", "tags": [], "_links": {}, "experiments": { "baselineIdx": 0, "items": [] },
        "customProperties": {}, "archived": false,
    });
    check("GET", "/api/v2/flags/shop/a", 200, &flag);
}
