//! Whose word an override is: it is signed with a key that operators and guards share and stores do not have. A guard that
//! replays by itself sends only what is signed, since else whoever can write a store would write LaunchDarkly through it.
//! It must not know where keys are kept, or what is done about an override that is not signed (docs/decisions/0016).
//!
//! Signed is everything from which the patch for LaunchDarkly and its comment follow, and for which flag of which environment
//! they are. Not signed is what others keep up to date without asking anybody, and what decides nothing about the patch: how
//! far the override has come (`state`) and LaunchDarkly's newest record (`upstream`).
//!
//! The bytes that are signed are made from what was read, not from how it was written: spaces, the order of keys and escapes
//! in the store's text make no difference. The text of `base` is a value, and counts to the byte.
//!
//! Nobody signs what he has not verified. An edit on top of an override that is not signed leaves it unsigned: its
//! instructions would be signed along.

use std::collections::BTreeSet;
use std::fmt;

use ring::hmac;
use serde::Deserialize;
use serde::Serialize;

use crate::change::edit::Motive;
use crate::change::id::ChangeId;
use crate::change::override_::Override;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::record::Record;

/// The shortest key, in bytes: what HMAC-SHA256 is as strong as (RFC 2104, section 3).
pub const KEY_LENGTH_MIN: usize = 32;

/// The most keys in one file.
pub const KEYS_MAX: usize = 16;

/// What stands before everything that is signed, so that no signature made for something else, with the same key, fits.
const DOMAIN: &str = "relaycommander override";

/// A signature as it stands in an override: the hex digits of an HMAC-SHA256. From a store it may be any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(String);

/// Why a text holds no keys. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is none.
    #[error("holds no key")]
    Empty,
    /// One is too short.
    #[error("line {line} is shorter than a key may be ({KEY_LENGTH_MIN} characters)")]
    TooShort {
        /// Counted from 1.
        line: usize,
    },
    /// A key is one word.
    #[error("line {line} has spaces in it, and a key has none")]
    Spaces {
        /// Counted from 1.
        line: usize,
    },
    /// There are too many.
    #[error("holds more than {KEYS_MAX} keys")]
    TooMany,
}

/// How an override stands to the keys that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// One of the keys signed it, as it is.
    Yes,
    /// It has no signature.
    No,
    /// It has one that none of the keys made for it: it was signed with another key, or changed since.
    Otherwise,
}

/// The keys, of which the first signs and every one verifies. `Debug` shows none.
#[derive(Clone)]
pub struct Keys {
    first: hmac::Key,
    others: Vec<hmac::Key>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys(1 + {})", self.others.len())
    }
}

impl Keys {
    /// Reads keys, one a line; blank lines and those that begin with `#` count for nothing. Of a key every character counts,
    /// but for spaces around it.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let (line, key) = (index + 1, line.trim());
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.contains(char::is_whitespace) {
                return Err(KeyError::Spaces { line });
            }
            if key.len() < KEY_LENGTH_MIN {
                return Err(KeyError::TooShort { line });
            }
            if keys.len() == KEYS_MAX {
                return Err(KeyError::TooMany);
            }
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()));
        }
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        let first = keys.remove(0);
        Ok(Self { first, others: keys })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The override, signed with the first key.
    #[must_use]
    pub fn sign(&self, override_: Override) -> Override {
        let signature = signed_bytes(&override_).map(|bytes| {
            let tag = hmac::sign(&self.first, &bytes);
            Signature(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
        });
        Override { signature, ..override_ }
    }

    /// Whether one of the keys signed the override, as one of this flag of this environment. The time it takes does not tell
    /// how much of a signature is right.
    pub fn verify(&self, override_: &Override, environment: &Environment, flag: &FlagKey) -> Signed {
        let Some(Signature(digits)) = &override_.signature else { return Signed::No };
        if override_.environment != *environment || override_.flag != *flag {
            return Signed::Otherwise;
        }
        let Some((tag, bytes)) = tag_of(digits).zip(signed_bytes(override_)) else { return Signed::Otherwise };
        let made_it = |key: &hmac::Key| hmac::verify(key, &bytes, &tag).is_ok();
        if [&self.first].into_iter().chain(&self.others).any(made_it) { Signed::Yes } else { Signed::Otherwise }
    }
}

/// Whether the places by which `instructions` name variations mean the same values in both lists. In a store's record
/// anybody who writes there may have put another list.
pub fn name_the_same(instructions: &[Instruction], one: &Record, other: &Record) -> bool {
    let variations = |record: &Record| Configuration::of_record(record).variations;
    instructions.iter().all(|instruction| instruction.variation().is_none()) || variations(one) == variations(other)
}

/// What is signed, in this order.
#[derive(Serialize)]
struct Content<'o> {
    of: &'static str,
    format: u32,
    revision: u64,
    environment: &'o Environment,
    flag: &'o FlagKey,
    instructions: &'o [Instruction],
    changes: &'o [ChangeId],
    motive: &'o Motive,
    base: &'o Record,
    insisted: &'o BTreeSet<Aspect>,
}

/// The bytes that are signed: `None` only were an override something that cannot be written.
fn signed_bytes(override_: &Override) -> Option<Vec<u8>> {
    // In full, so that nobody adds a field without deciding whether it is signed.
    let Override {
        format,
        revision,
        environment,
        flag,
        instructions,
        state: _,
        changes,
        motive,
        base,
        upstream: _,
        insisted,
        signature: _,
    } = override_;
    let (format, revision) = (*format, *revision);
    let content =
        Content { of: DOMAIN, format, revision, environment, flag, instructions, changes, motive, base, insisted };
    serde_json::to_vec(&content).ok()
}

/// The bytes of hex digits.
fn tag_of(digits: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    if digits.len() != 2 * tag.len() || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (byte, place) in tag.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(place..place + 2)?, 16).ok()?;
    }
    Some(tag)
}

#[cfg(test)]
mod tests;
