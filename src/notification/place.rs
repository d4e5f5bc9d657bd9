//! Where notices go: addresses that are secrets themselves, since whoever has one can write there. PURE.

use std::net::IpAddr;

use reqwest::Url;

use crate::ui::secret::Secret;

/// Where PagerDuty takes events (its Events API v2); in Europe it is another one.
pub const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// The shortest key that a body is signed with, in bytes.
pub const SIGNING_KEY_LENGTH_MIN: usize = 16;

/// What is written there, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceKind {
    /// A program of the operator's own: JSON, signed where there is a key.
    Webhook {
        /// What bodies are signed with.
        key: Option<Secret>,
    },
    /// A channel of Slack, by an incoming webhook.
    Slack,
    /// A channel of Microsoft Teams, by a workflow that takes an adaptive card.
    Teams,
    /// A service of PagerDuty.
    PagerDuty {
        /// The integration's key.
        routing_key: Secret,
    },
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What is written there.
    pub kind: PlaceKind,
    address: Secret,
    shown: String,
}

impl Place {
    /// A place at a checked address.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment that follows the name of the setting; the address itself is not repeated.
    pub fn new(kind: PlaceKind, address: &str) -> Result<Self, String> {
        let shown = shown_address(address)?;
        if let PlaceKind::Webhook { key: Some(key) } = &kind
            && key.expose().len() < SIGNING_KEY_LENGTH_MIN
        {
            return Err(format!(
                "has a signing key of less than {SIGNING_KEY_LENGTH_MIN} characters, which can be guessed"
            ));
        }
        Ok(Self { kind, address: Secret::new(address.trim()), shown })
    }

    /// As people may see it: what it is, and its server.
    pub fn name(&self) -> String {
        let what = match self.kind {
            PlaceKind::Webhook { .. } => "the webhook",
            PlaceKind::Slack => "Slack",
            PlaceKind::Teams => "Teams",
            PlaceKind::PagerDuty { .. } => "PagerDuty",
        };
        format!("{what} at {}", self.shown)
    }

    /// Whether what is told there stands until it is told to be over.
    pub fn has_incidents(&self) -> bool {
        matches!(self.kind, PlaceKind::PagerDuty { .. })
    }

    /// Where to send.
    pub(super) fn address(&self) -> &Secret {
        &self.address
    }
}

/// The server of an address, if notices may go there.
fn shown_address(address: &str) -> Result<String, String> {
    let url = Url::parse(address.trim()).map_err(|_| "is not a URL such as https://host/path".to_owned())?;
    let Some(host) = url.host_str() else { return Err("names no server".to_owned()) };
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        "http" => return Err(format!("goes to {host} by plain http, which is only for this machine")),
        other => return Err(format!("begins with {other}:, not with https:")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password before its server, which is not sent".to_owned());
    }
    Ok(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_nobody_else_hears() {
        for good in ["https://hooks.slack.com/services/T0/B0/x", "http://127.0.0.1:8080/hook?a=b", "http://[::1]:1/"] {
            assert!(Place::new(PlaceKind::Slack, good).is_ok(), "{good}");
        }
        for (bad, said) in [
            ("hooks.slack.com/x", "not a URL"),
            ("http://hooks.slack.com/services/s3cret", "plain http"),
            ("ftp://a/s3cret", "ftp:"),
            ("https://anna:s3cret@a/", "a user or a password"),
        ] {
            let error = Place::new(PlaceKind::Slack, bad).unwrap_err();
            assert!(error.contains(said) && !error.contains("s3cret"), "{error}");
        }
        let place = Place::new(PlaceKind::Slack, "https://hooks.slack.com/services/s3cret?token=s3cret").unwrap();
        assert_eq!(place.name(), "Slack at hooks.slack.com");
        assert!(!format!("{place:?}").contains("s3cret"));
        let key = Some(Secret::new("short"));
        assert!(Place::new(PlaceKind::Webhook { key }, "https://a/").unwrap_err().contains("can be guessed"));
    }
}
