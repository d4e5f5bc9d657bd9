//! What every endpoint needs of a request, read and checked in one place: who calls, for which API version, with which
//! query and body. Refusals have LaunchDarkly's form.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::FromRequest;
use axum::extract::Query;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header;
use serde_json::Value;

use crate::drill::launchdarkly::account::identity::API_VERSIONS;
use crate::drill::launchdarkly::account::identity::Caller;
use crate::drill::launchdarkly::account::identity::Token;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::shared::Shared;

/// The header that chooses one.
const VERSION_HEADER: &str = "ld-api-version";

/// The media type parameter that makes a patch a semantic patch.
const SEMANTIC_PATCH: &str = "launchdarkly.semanticpatch";

/// A request that may go on to its endpoint.
pub struct Call {
    pub token: Token,
    pub query: Vec<(String, String)>,
    pub semantic: bool,
    body: Bytes,
}

impl Call {
    pub fn caller(&self) -> Caller {
        Caller::Token(Box::new(self.token.clone()))
    }

    /// The parameter's last value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter that may stand there several times.
    pub fn parameters(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Problem> {
        let value = self.parameter(name).map(str::parse);
        value.transpose().map_err(|_| Problem::invalid(format!("'{name}' must be a number")))
    }

    pub fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Problem::invalid(format!("'{name}' must be true or false"))),
        }
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body).map_err(|_| Problem::invalid("Invalid request body"))
    }

    /// The body, which may be missing.
    pub fn json_or_null(&self) -> Result<Value, Problem> {
        if self.body.is_empty() { Ok(Value::Null) } else { self.json() }
    }
}

impl FromRequest<Arc<Shared>> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let secret = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = secret.and_then(|secret| shared.account().tokens.get(secret).cloned());
        let token = token.ok_or_else(Problem::unauthorized)?;
        check_version(request.headers())?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
        let Query(query) = query.map_err(|_| Problem::invalid("Invalid query"))?;
        let semantic = is_semantic(request.headers());
        let body = Bytes::from_request(request, shared).await.map_err(|_| Problem::invalid("Invalid request body"))?;
        Ok(Self { token, query, semantic, body })
    }
}

/// No header means the token's default version, which is the newest here.
fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get(VERSION_HEADER) else { return Ok(()) };
    let value = value.to_str().unwrap_or_default();
    let known = value == "beta" || value.parse().is_ok_and(|version: u32| API_VERSIONS.contains(&version));
    if known { Ok(()) } else { Err(Problem::invalid(format!("Invalid API version '{value}'"))) }
}

fn is_semantic(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parameters = media_type.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    parameters.any(|(name, value)| {
        name.eq_ignore_ascii_case("domain-model") && value.trim_matches('"').eq_ignore_ascii_case(SEMANTIC_PATCH)
    })
}
