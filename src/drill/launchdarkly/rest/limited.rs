//! Counting each request against the rate limits before its endpoint sees it, and LaunchDarkly's headers on the answer.

use std::sync::Arc;

use axum::extract::MatchedPath;
use axum::extract::Request;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::response::Response;

use super::limit::Allowance;
use super::limit::LimitAnswer;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::listener::connection::Skew;
use crate::drill::launchdarkly::shared::Shared;
use crate::drill::launchdarkly::shared::now_ms;

pub async fn limited(State(ld): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
    let route = format!("{} {path}", request.method());
    let skew = request.extensions().get::<Skew>().map_or(0, |skew| skew.0);
    let now = now_ms();
    let Some(allowance) = ld.limiter.count(&route, now) else { return next.run(request).await };
    let mut response =
        if allowance.refused { Problem::rate_limited().into_response() } else { next.run(request).await };
    tell(&mut response, &allowance, now, skew);
    response
}

fn tell(response: &mut Response, allowance: &Allowance, now: i64, skew: i64) {
    let headers = response.headers_mut();
    match allowance.answer {
        LimitAnswer::Reset => {
            if let Some(left) = allowance.account_remaining {
                headers.insert("x-ratelimit-global-remaining", HeaderValue::from(left));
            }
            if let Some(left) = allowance.route_remaining {
                headers.insert("x-ratelimit-route-remaining", HeaderValue::from(left));
            }
            headers.insert("x-ratelimit-reset", HeaderValue::from(allowance.reset_ms.saturating_add(skew)));
        }
        LimitAnswer::RetryAfter if allowance.refused => {
            let seconds = allowance.reset_ms.saturating_sub(now).max(0).saturating_add(999) / 1_000;
            headers.insert("retry-after", HeaderValue::from(seconds));
        }
        LimitAnswer::RetryAfter | LimitAnswer::Silent => {}
    }
}
