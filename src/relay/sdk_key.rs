//! An SDK key: the secret with which LaunchDarkly, or a relay in its place, lets a server-side SDK in. Nothing here prints
//! it; it leaves this value only for the `Authorization` header of a request to a relay or to LaunchDarkly, and for digests.

use std::fmt;

use reqwest::header::HeaderValue;

/// How many characters of a key a relay shows in `/status` (`ObscureKey` in ld-relay's `internal/sdks/obscure_key.go`).
const TAIL_LENGTH: usize = 5;

/// Why a text cannot be an SDK key. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an SDK key is a single line of 1 to 256 visible characters, such as sdk-...")]
pub struct SdkKeyError;

/// A server-side SDK key. `Debug` shows no part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SdkKey(String);

impl SdkKey {
    /// Takes a key, without the white space around it.
    ///
    /// # Errors
    /// [`SdkKeyError`] where it could not be sent as a header: empty, too long, or with characters that are not visible
    /// ASCII.
    pub fn parse(text: &str) -> Result<Self, SdkKeyError> {
        let text = text.trim();
        if (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(SdkKeyError)
    }

    /// The last characters, as a relay's `/status` shows them: enough to tell keys apart, not enough to use one.
    pub fn tail(&self) -> &str {
        tail_of(&self.0)
    }

    /// The key itself, for the one header that carries it to LaunchDarkly.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key itself: for a digest, or for comparing it with one that a relay presents.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.0).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for SdkKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SdkKey(…)")
    }
}

/// The last five characters of a key, or of a key as `/status` shows it.
pub(super) fn tail_of(text: &str) -> &str {
    let start = text.char_indices().rev().nth(TAIL_LENGTH - 1).map_or(0, |(index, _)| index);
    text.get(start..).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = SdkKey::parse(" sdk-12345678-90ab-cdef-1234-567890abcdef\n").unwrap();
        assert_eq!(format!("{key:?}"), "SdkKey(…)");
        assert_eq!(key.tail(), "bcdef");
        let header = key.header().unwrap();
        assert!(!format!("{header:?}").contains("1234"));
    }

    #[test]
    fn what_could_not_be_a_header_is_no_key() {
        for text in ["", "  ", "two\nlines", "a b", "schlüssel", &"x".repeat(257)] {
            assert_eq!(SdkKey::parse(text), Err(SdkKeyError), "{text:?}");
        }
        assert_eq!(tail_of("abc"), "abc");
        assert_eq!(tail_of(""), "");
    }
}
