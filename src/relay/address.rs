//! Where relays are: `RELAY_URLS` and the labels by which people know them. Pure.

use std::fmt;

use reqwest::Url;

/// The most relays that one setting may name.
const RELAYS_MAX: usize = 1_000;

/// What is wrong with a relay's address. Shows no user or password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shown}: {problem}")]
pub struct AddressError {
    /// The entry, without what might be secret.
    pub shown: String,
    /// What is wrong with it.
    pub problem: &'static str,
    /// What to write instead.
    pub way_out: &'static str,
}

/// A relay: its label and the URL below which its endpoints are.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    label: String,
    base: Url,
}

impl RelayAddress {
    /// Reads one entry of `RELAY_URLS`: `https://relay.example:8030`, `eu-1=https://…`, or `relay:8030` (plain HTTP).
    /// Without a label the host's name is the label.
    ///
    /// # Errors
    /// [`AddressError`] where it is no HTTP URL, or carries a user, a query or a fragment.
    pub fn parse(entry: &str) -> Result<Self, AddressError> {
        let entry = entry.trim();
        let (label, url) = match entry.split_once('=') {
            Some((label, url)) if is_label(label.trim()) => (Some(label.trim()), url.trim()),
            _ => (None, entry),
        };
        match label {
            Some(label) => Self::labelled(label, url),
            None => {
                let base = base_url(url)?;
                Ok(Self { label: base.host_str().unwrap_or_default().to_owned(), base })
            }
        }
    }

    /// A relay with a label of its own.
    ///
    /// # Errors
    /// As [`RelayAddress::parse`].
    pub fn labelled(label: &str, url: &str) -> Result<Self, AddressError> {
        if !is_label(label) {
            return Err(AddressError {
                shown: label.chars().take(64).collect(),
                problem: "a label is made of letters, digits, '.', '_' and '-'",
                way_out: "write RELAY_URLS=eu-1=https://relay.example:8030",
            });
        }
        Ok(Self { label: label.to_owned(), base: base_url(url)? })
    }

    /// Reads `RELAY_URLS`: entries between commas. Relays on one host are told apart by their port.
    ///
    /// # Errors
    /// [`AddressError`] for the first entry that cannot be read, and where a label stands twice.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, AddressError> {
        let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
        if entries.len() > RELAYS_MAX {
            return Err(AddressError {
                shown: format!("{} relays", entries.len()),
                problem: "are more than 1,000",
                way_out: "name fewer",
            });
        }
        let mut relays = entries.iter().map(|entry| Self::parse(entry)).collect::<Result<Vec<_>, _>>()?;
        let labels: Vec<String> = relays.iter().map(|relay| relay.label.clone()).collect();
        for (index, relay) in relays.iter_mut().enumerate() {
            let again = labels.iter().filter(|label| **label == relay.label).count() > 1;
            let chosen_by_operator = labels.get(index).map(String::as_str) != relay.base.host_str();
            if again && !chosen_by_operator {
                relay.label = relay.authority();
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for relay in &relays {
            if !seen.insert(relay.label.clone()) {
                return Err(AddressError {
                    shown: relay.label.clone(),
                    problem: "two relays have this label",
                    way_out: "give each its own: RELAY_URLS=eu-1=https://…,eu-2=https://…",
                });
            }
        }
        Ok(relays)
    }

    /// The label, as shown in tables.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Host and port, as `relay.example:8030`.
    pub fn authority(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        format!("{host}:{}", self.base.port_or_known_default().unwrap_or_default())
    }

    pub(super) fn endpoint(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RelayAddress({}={self})", self.label)
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn base_url(text: &str) -> Result<Url, AddressError> {
    let text = text.trim();
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |shown: &str, problem| AddressError {
        shown: shown.chars().take(200).collect(),
        problem,
        way_out: "write http://relay.example:8030 or https://relay.example",
    };
    // What stands before an @ may be a password: the entry is not shown then.
    let shown = if text.contains('@') { "a relay's URL" } else { text };
    let url = Url::parse(&with_scheme).map_err(|_| wrong(shown, "is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(shown, "is neither http:// nor https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(shown, "has a user or a password in it, which relays do not know"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(shown, "has more than an address and a path"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_and_without_labels() {
        let relays =
            RelayAddress::parse_list(" eu-1=https://relay.example/ld/ , http://us:8030, ap, [::1]:8030,").unwrap();
        let shown: Vec<_> = relays.iter().map(|relay| format!("{}={relay}", relay.label())).collect();
        assert_eq!(
            shown,
            ["eu-1=https://relay.example/ld", "us=http://us:8030", "ap=http://ap", "[::1]=http://[::1]:8030"]
        );
        assert_eq!(
            relays[0].endpoint(&["sdk", "flags", "a/b c"]).as_str(),
            "https://relay.example/ld/sdk/flags/a%2Fb%20c"
        );
        assert_eq!(relays[1].endpoint(&["status"]).as_str(), "http://us:8030/status");
        assert_eq!(relays[0].authority(), "relay.example:443");
    }

    #[test]
    fn relays_on_one_host_are_told_apart() {
        let relays = RelayAddress::parse_list("http://relay:8030,http://relay:8031,eu=http://relay:8032").unwrap();
        let labels: Vec<_> = relays.iter().map(RelayAddress::label).collect();
        assert_eq!(labels, ["relay:8030", "relay:8031", "eu"]);
        let twice = RelayAddress::parse_list("a=http://x,a=http://y").unwrap_err();
        assert_eq!(twice.to_string(), "a: two relays have this label");
        assert!(RelayAddress::parse_list("http://relay:8030,http://relay:8030").is_err());
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_secrets() {
        for entry in ["ftp://x", "http://", "http://x/?a=b", "http://x/#y", "a b", "", "x=", "unix:///run/x"] {
            assert!(RelayAddress::parse(entry).is_err(), "{entry:?}");
        }
        let error = RelayAddress::parse("https://anna:hunter2@relay.example").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
