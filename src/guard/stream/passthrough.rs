//! Whatever else is asked of LaunchDarkly's streaming service, big segments included: passed through as it comes, and
//! unbuffered. NETWORK. What is passed through is never kept, so while LaunchDarkly is away there is nothing to give. No
//! refusal is passed on that a relay would take for final.

use hyper::Response;
use hyper::StatusCode;
use hyper::header::HeaderMap;

use crate::guard::keys::Vouch;
use crate::guard::stream::body::GuardBody;
use crate::guard::stream::upstream::Asked;
use crate::guard::stream::upstream::LaunchDarkly;
use crate::guard::stream::upstream::going_on;

/// What a status of LaunchDarkly's becomes for the relay (launchdarkly.md 7.1, 9.1, 15): every refusal but "this key is not
/// known", where LaunchDarkly itself said it of a key that never worked, is "not now".
pub fn passed_on(status: StatusCode, is_verified: bool, vouch: Vouch) -> StatusCode {
    match status.as_u16() {
        200..=299 | 304 => status,
        401 if is_verified && vouch < Vouch::Worked => status,
        500..=599 => status,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Asks LaunchDarkly, and passes its answer on.
pub async fn pass_through(launchdarkly: &LaunchDarkly, asked: &Asked, vouch: Vouch) -> Response<GuardBody> {
    let answer = match launchdarkly.ask(asked).await {
        Ok(answer) => answer,
        Err(told) => return GuardBody::later(&format!("LaunchDarkly does not answer: {told}")),
    };
    let status = passed_on(answer.status(), launchdarkly.is_verified(), vouch);
    if status != answer.status() {
        return GuardBody::later(&format!("LaunchDarkly answers {}", answer.status()));
    }
    let headers: HeaderMap = going_on(answer.headers());
    let mut response = Response::new(GuardBody::Through(answer.into()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refusal_goes_on_that_would_be_final() {
        let on =
            |status: u16, verified, vouch| passed_on(StatusCode::from_u16(status).unwrap(), verified, vouch).as_u16();
        for status in [301, 302, 307, 400, 403, 404, 405, 407, 410, 418, 429, 499] {
            assert_eq!(on(status, true, Vouch::Nobody), 503, "{status}");
        }
        for status in [200, 204, 304, 500, 502, 503] {
            assert_eq!(on(status, true, Vouch::Nobody), status);
        }
        assert_eq!(on(401, true, Vouch::Nobody), 401);
        assert_eq!(on(401, true, Vouch::Named), 401);
        assert_eq!(on(401, true, Vouch::Worked), 503);
        assert_eq!(on(401, false, Vouch::Nobody), 503, "anybody could have said that");
    }
}
