//! Where LaunchDarkly's API is, and the addresses below it. PURE. An address is built from checked keys only, and an
//! address that an answer hands out is used only if it stays where we already are.

use std::net::IpAddr;

use reqwest::Url;

use crate::launchdarkly::api_error::ApiError;

/// Where LaunchDarkly's commercial API is (OpenAPI description, "servers").
pub const DEFAULT_BASE: &str = "https://app.launchdarkly.com";

/// Where SDKs poll, beside each of LaunchDarkly's own APIs (launchdarkly.md 0, "Base URIs").
const DELIVERY_BESIDE: [(&str, &str); 3] = [
    ("app.launchdarkly.com", "https://sdk.launchdarkly.com"),
    ("app.eu.launchdarkly.com", "https://sdk.eu.launchdarkly.com"),
    ("app.launchdarkly.us", "https://sdk.launchdarkly.us"),
];

/// Where SDKs poll, if `api` is one of LaunchDarkly's own APIs. Nothing is guessed of any other.
pub fn delivery_beside(api: &str) -> Option<&'static str> {
    let api = Url::parse(api.trim()).ok()?;
    let own = api.scheme() == "https" && api.port().is_none() && matches!(api.path(), "" | "/");
    let host = api.host_str().filter(|_| own)?;
    DELIVERY_BESIDE.iter().find(|(app, _)| *app == host).map(|(_, delivery)| *delivery)
}

/// The base of all addresses: `https`, or `http` to this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    base: Url,
}

impl Address {
    /// Checks a base such as `https://app.eu.launchdarkly.com`. A path is kept: `https://proxy.example/launchdarkly`.
    ///
    /// # Errors
    /// [`ApiError::Configuration`] for what is no such address, for plain HTTP to anything but loopback, and for user
    /// names, passwords, queries and fragments.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let wrong = |problem: String, way_out: &str| ApiError::Configuration { problem, way_out: way_out.to_owned() };
        let way_out = "LD_API_URL is like https://app.launchdarkly.com";
        // The text is not repeated before it is known to hold no password.
        let base = Url::parse(text.trim())
            .map_err(|error| wrong(format!("LaunchDarkly's address is no URL: {error}"), way_out))?;
        if !base.username().is_empty() || base.password().is_some() {
            let problem = "LaunchDarkly's address has a user name or password in it".to_owned();
            return Err(wrong(problem, "the token belongs into LD_API_KEY"));
        }
        if base.host_str().is_none() || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong(format!("{base} is more or less than the address of a server"), way_out));
        }
        match base.scheme() {
            "https" => Ok(Self { base }),
            "http" if is_loopback(&base) => Ok(Self { base }),
            "http" => Err(wrong(
                format!("{base} would send the token unencrypted: plain HTTP is only for this machine"),
                "use https://",
            )),
            other => Err(wrong(format!("{other} is no way to reach LaunchDarkly"), way_out)),
        }
    }

    /// Scheme, host and port, as shown in messages.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Whether it is plain HTTP (and so this machine).
    pub fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// An address below the base.
    ///
    /// # Errors
    /// [`ApiError::Configuration`] for a segment that would leave its place (`..`) or is not made of harmless letters.
    pub fn below(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Url, ApiError> {
        let mut url = self.base.clone();
        for segment in segments {
            // A key may be made of dots, and a URL takes `..` for the folder above.
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            if segment.is_empty() || matches!(*segment, "." | "..") || !segment.bytes().all(harmless) {
                return Err(ApiError::Configuration {
                    problem: format!("{segment:?} cannot be part of an address of LaunchDarkly's API"),
                    way_out: "this flag can only be changed in LaunchDarkly's own interface".to_owned(),
                });
            }
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// A page for people, such as `https://app.launchdarkly.com/approvals/6712…`.
    pub fn page(&self, segments: &[&str]) -> Option<String> {
        self.below(segments, &[]).ok().map(String::from)
    }

    /// The address that an answer links to, if it has the origin and the path of `current`; only its query may differ.
    pub fn linked(&self, current: &Url, href: &str) -> Option<Url> {
        let next = current.join(href).ok()?;
        let same_place = next.origin() == current.origin() && next.path() == current.path();
        let bare = next.username().is_empty() && next.password().is_none();
        (same_place && bare && next.origin() == self.base.origin()).then_some(next)
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for base in ["http://127.0.0.1:8080", "http://127.9.9.9", "http://[::1]:80", "http://localhost:3000"] {
            assert!(Address::parse(base).unwrap().is_plain(), "{base}");
        }
        for base in [
            "http://app.launchdarkly.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.0",
        ] {
            let told = Address::parse(base).unwrap_err().to_string();
            assert!(told.contains("unencrypted"), "{base}: {told}");
        }
        assert!(!Address::parse(DEFAULT_BASE).unwrap().is_plain());
    }

    #[test]
    fn a_base_is_the_address_of_a_server_and_nothing_else() {
        for base in ["", "app.launchdarkly.com", "ftp://x", "https://x?y=1", "https://x#y", "unix:/tmp/x"] {
            assert!(Address::parse(base).is_err(), "{base}");
        }
        let told = Address::parse("https://anna:hunter2@x").unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn where_sdks_poll_is_known_of_launchdarklys_own_hosts_only() {
        assert_eq!(delivery_beside(DEFAULT_BASE), Some("https://sdk.launchdarkly.com"));
        assert_eq!(delivery_beside("https://app.eu.launchdarkly.com/"), Some("https://sdk.eu.launchdarkly.com"));
        assert_eq!(delivery_beside("https://app.launchdarkly.us"), Some("https://sdk.launchdarkly.us"));
        for api in [
            "http://app.launchdarkly.com",
            "https://app.launchdarkly.com:8443",
            "https://app.launchdarkly.com/proxy",
            "https://app.launchdarkly.com.example.com",
            "https://proxy.example/",
            "http://127.0.0.1:8080",
            "app.launchdarkly.com",
        ] {
            assert_eq!(delivery_beside(api), None, "{api}");
        }
    }

    #[test]
    fn segments_stay_where_they_are_put() {
        let address = Address::parse("https://proxy.example/ld/").unwrap();
        let url = address.below(&["api", "v2", "flags", "shop", "check.out"], &[("env", "prod")]).unwrap();
        assert_eq!(url.as_str(), "https://proxy.example/ld/api/v2/flags/shop/check.out?env=prod");
        for segment in ["..", ".", "", "a/b", "%2e%2e", "a?b", "ü"] {
            assert!(address.below(&["api", segment], &[]).is_err(), "{segment}");
        }
        assert!(address.below(&["..."], &[]).is_ok());
    }

    #[test]
    fn links_are_followed_only_on_the_same_path() {
        let address = Address::parse("https://app.launchdarkly.com").unwrap();
        let current = address.below(&["api", "v2", "auditlog"], &[("limit", "20")]).unwrap();
        let next = address.linked(&current, "/api/v2/auditlog?before=1&limit=20").unwrap();
        assert_eq!(next.as_str(), "https://app.launchdarkly.com/api/v2/auditlog?before=1&limit=20");
        for href in [
            "https://evil.example/api/v2/auditlog",
            "//evil.example/api/v2/auditlog",
            "/api/v2/tokens",
            "http://app.launchdarkly.com/api/v2/auditlog",
            "https://app.launchdarkly.com:444/api/v2/auditlog",
            "https://x@app.launchdarkly.com/api/v2/auditlog",
            "../tokens",
        ] {
            assert_eq!(address.linked(&current, href), None, "{href}");
        }
    }
}
