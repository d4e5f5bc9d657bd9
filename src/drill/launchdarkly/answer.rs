//! What the simulated API answers when it refuses: LaunchDarkly's error body `{"code", "message", "id"}` with the
//! status that belongs to it. Must not know which endpoint refuses.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use serde_json::json;
use uuid::Uuid;

/// A refusal, in LaunchDarkly's words. Source of codes and messages: the examples in LaunchDarkly's OpenAPI description
/// (schemas `*ErrorRep`); of the 405, a body that LaunchDarkly really sent (ldcli issue 581).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// LaunchDarkly's short name of the error, such as `not_found`.
    pub code: &'static str,
    /// What a person reads.
    pub message: String,
}

impl Problem {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request", message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(401, "unauthorized", "Invalid access token")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(403, "forbidden", "Forbidden. Access to the requested resource was denied.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "not_found", "Invalid resource identifier")
    }

    pub(super) fn approval_required(action: &str) -> Self {
        let message = format!("Flag configuration updates require approval: action '{action}' not allowed");
        Self::new(405, "method_not_allowed", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "method_not_allowed", "Method not allowed")
    }

    pub(super) fn conflict() -> Self {
        Self::new(409, "optimistic_locking_error", "Conflict. Optimistic lock error. Try again later.")
    }

    pub(super) fn not_in_time(message: impl Into<String>) -> Self {
        Self::new(408, "not_in_time", message)
    }

    pub(super) fn rate_limited() -> Self {
        Self::new(429, "rate_limited", "You've exceeded the API rate limit. Try again later.")
    }

    /// The refusal that an injected fault of this status looks like.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            400 => Self::invalid("Invalid request body"),
            401 => Self::unauthorized(),
            403 => Self::forbidden(),
            404 => Self::not_found(),
            405 => Self::method_not_allowed(),
            407 => Self::new(407, "proxy_authentication_required", "Proxy authentication required"),
            409 => Self::conflict(),
            429 => Self::rate_limited(),
            503 => Self::new(503, "service_unavailable", "Service unavailable"),
            _ => Self::new(status, "internal_service_error", "Internal service error. Try again later."),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let id = Uuid::now_v7();
        json_answer(self.status, &json!({ "code": self.code, "message": self.message, "id": id }))
    }
}

/// An answer with a JSON body.
pub(super) fn json_answer(status: u16, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A link as LaunchDarkly writes it into `_links`.
pub(super) fn link(href: impl Into<String>) -> Value {
    json!({ "href": href.into(), "type": "application/json" })
}
