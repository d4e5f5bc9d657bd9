//! The right to replay, as it stands in a store: who has it, since when, and until when if he says nothing more. Pure; it
//! must not know clocks, nor how a store keeps it.
//!
//! The text begins with the token, so that a store can tell a holder's own lease from another by its first bytes, whatever
//! else has changed in it.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::change::id::Actor;

/// The newest format that is written. Whoever reads another one knows no more than that somebody holds it.
pub const LEASE_FORMAT: u32 = 1;

/// The longest text that is read, in bytes.
pub const LEASE_LENGTH_MAX: usize = 4 * 1024;

/// The right to replay one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What nobody else has. First, see above.
    pub token: String,
    /// See [`LEASE_FORMAT`].
    pub format: u32,
    /// Who holds it.
    pub actor: Actor,
    /// With what, such as `rc replay`.
    pub by: String,
    /// Since when, by his clock.
    pub since: Timestamp,
    /// Until when, by his clock, if he does not renew it. For people: what counts is the store's own time.
    pub until: Timestamp,
    /// Which playback on which running machine it was taken for. Whoever has the playback's own lock there knows that an
    /// earlier holder of the same is dead.
    pub home: Option<String>,
}

impl Lease {
    /// As a store keeps it.
    pub fn text(&self) -> String {
        // Strings, numbers and times: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The first bytes of the text of every lease with this token.
    pub fn beginning(&self) -> String {
        format!(r#"{{"token":{}"#, serde_json::Value::from(self.token.as_str()))
    }

    /// Reads what stands in a store; `None` where it is no lease that this program understands.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|lease| lease.format <= LEASE_FORMAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(token: &str) -> Lease {
        Lease {
            token: token.to_owned(),
            format: LEASE_FORMAT,
            actor: Actor { user: "anna".to_owned(), host: "bastion".to_owned() },
            by: "rc replay".to_owned(),
            since: "2026-11-23T02:14:07Z".parse().unwrap(),
            until: "2026-11-23T02:14:37Z".parse().unwrap(),
            home: Some("x".to_owned()),
        }
    }

    #[test]
    fn a_lease_is_known_by_its_beginning() {
        let first = lease("a");
        assert_eq!(Lease::parse(&first.text()), Some(first.clone()));
        let renewed = Lease { until: "2026-11-23T02:15:07Z".parse().unwrap(), ..first.clone() };
        assert!(renewed.text().starts_with(&first.beginning()));
        assert!(!lease("ab").text().starts_with(&first.beginning()));
        assert!(!lease("a\"").text().starts_with(&first.beginning()));
    }

    #[test]
    fn what_is_not_understood_is_no_lease_of_ours() {
        assert_eq!(Lease::parse("[]"), None);
        assert_eq!(Lease::parse(&lease("a").text().replace("\"format\":1", "\"format\":2")), None);
    }
}
