//! The keys of projects, environments and flags, as LaunchDarkly forms them. Nothing else in the program accepts a key
//! as a bare string: whatever comes from an argument, a store, a playback file or an API passes through here first,
//! so a key can never be a path, a URL or a control sequence.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

/// The longest key that LaunchDarkly allows, in bytes.
pub const KEY_LENGTH_MAX: usize = 256;

/// A key that is not `[A-Za-z0-9._-]{1,256}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} key {shown:?} is not made of 1 to 256 letters, digits, '.', '_' or '-'")]
pub struct KeyError {
    /// What the key was for: `flag`, `project` or `environment`.
    pub kind: &'static str,
    /// The beginning of what was given.
    pub shown: String,
}

fn checked(kind: &'static str, text: &str) -> Result<(), KeyError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=KEY_LENGTH_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(KeyError { kind, shown: text.chars().take(64).collect() })
}

macro_rules! key {
    ($name:ident, $kind:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                checked($kind, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = KeyError;

            fn try_from(text: String) -> Result<Self, KeyError> {
                checked($kind, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(key: $name) -> String {
                key.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    };
}

key!(ProjectKey, "project", "The key of a LaunchDarkly project.");
key!(EnvironmentKey, "environment", "The key of an environment within its project.");
key!(
    FlagKey,
    "flag",
    "The key of a feature flag. In a store it is the name of the field, also where the record is a tombstone."
);

/// An environment of a project, shown and written down as `project/environment`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Environment {
    /// The project that the environment belongs to.
    pub project: ProjectKey,
    /// The environment's own key.
    pub key: EnvironmentKey,
}

impl TryFrom<String> for Environment {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<Environment> for String {
    fn from(environment: Environment) -> String {
        environment.to_string()
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.project, self.key)
    }
}

impl FromStr for Environment {
    type Err = KeyError;

    /// Reads `project/environment`.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (project, key) = text.split_once('/').unwrap_or((text, ""));
        Ok(Self { project: project.parse()?, key: key.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn takes_launchdarklys_alphabet_and_no_more() {
        let longest = "k".repeat(KEY_LENGTH_MAX);
        for text in ["a", "Flag.key_1-b", "..", longest.as_str()] {
            assert_eq!(text.parse::<FlagKey>().unwrap().as_str(), text);
        }
        let too_long = "k".repeat(KEY_LENGTH_MAX + 1);
        for text in ["", "a b", "a/b", "a\n", "\u{e9}", "a\0", "a:b", too_long.as_str()] {
            assert!(text.parse::<FlagKey>().unwrap_err().to_string().starts_with("flag key "), "{text}");
        }
    }

    #[test]
    fn reads_an_environment() {
        let environment: Environment = "shop/production".parse().unwrap();
        assert_eq!((environment.project.as_str(), environment.key.as_str()), ("shop", "production"));
        assert_eq!(environment.to_string(), "shop/production");
        for text in ["shop", "shop/", "/production", "a/b/c", ""] {
            assert!(text.parse::<Environment>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Environment>("\"shop\"").is_err());
    }

    proptest! {
        #[test]
        fn never_lets_a_path_or_a_control_character_through(text in any::<String>()) {
            if let Ok(key) = text.parse::<FlagKey>() {
                prop_assert!(key.as_str().chars().all(|char| char.is_ascii_graphic() && char != '/'));
            }
        }
    }
}
