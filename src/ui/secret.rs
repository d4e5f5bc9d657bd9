//! Text that must not be seen: passwords, tokens, SDK keys, URLs that may hold one. It must not be printed by accident,
//! so it has no way to print but `***`.

use std::fmt;

/// A secret. `Debug` and `Display` show `***`; [`Secret::expose`] is the one way to the text, easy to search for.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes `text` out of sight.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for whoever must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad("***")
    }
}

/// A URL or host as it may be shown: without user and password, without query and fragment.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // The last @: passwords that were not percent-encoded may hold one, and a slash too.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {secret:>5} {:?}", Some(&secret)), "*** ***   *** Some(***)");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn addresses_without_credentials() {
        let shown = |url| without_credentials(url);
        assert_eq!(shown("redis://anna:hunter2@redis-a:6379/1"), "redis://redis-a:6379/1");
        assert_eq!(shown("redis://:p@ss/word@redis-a"), "redis://redis-a");
        assert_eq!(shown("redis-a:6379"), "redis-a:6379");
        assert_eq!(shown("unix:///run/redis.sock?pass=hunter2&db=1"), "unix:///run/redis.sock");
        assert_eq!(shown("hunter2@redis-a"), "redis-a");
    }
}
