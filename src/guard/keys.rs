//! Who vouches for the keys that relays present: the configuration, LaunchDarkly's automatic configuration, or an answer
//! that LaunchDarkly once gave to the key. A key for which nobody vouches gets nothing that was kept. PURE. Keys are known
//! by salted digests only; what is kept here could be read by anybody and opens nothing.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

/// The length of a salt, in bytes.
pub const SALT_LENGTH: usize = 32;

/// The most keys that are remembered because they once worked.
const KEYS_MAX: usize = 10_000;

/// What stands for a secret: its salted digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// In 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads what [`Digest::hex`] wrote.
    pub fn of_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(place * 2..place * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.hex().get(..8).unwrap_or_default())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::of_hex(&text).ok_or_else(|| serde::de::Error::custom("not a digest"))
    }
}

/// Makes digests that mean nothing to whoever does not have it.
#[derive(Clone)]
pub struct Salt(ring::hmac::Key);

impl Salt {
    /// Of random bytes.
    pub fn new(bytes: &[u8; SALT_LENGTH]) -> Self {
        Self(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, bytes))
    }

    /// The digest of several parts, told apart.
    pub fn digest(&self, parts: &[&[u8]]) -> Digest {
        let mut context = ring::hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Digest(bytes)
    }

    /// The digest of a key, whatever it is used for.
    pub fn of_key(&self, key: &[u8]) -> Digest {
        self.digest(&[b"key", key])
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Salt(…)")
    }
}

/// Who vouches for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vouch {
    /// Nobody: it gets nothing that was kept.
    Nobody,
    /// The configuration, or LaunchDarkly's automatic configuration. LaunchDarkly has not taken it yet, as far as is known.
    Named,
    /// LaunchDarkly took it.
    Worked,
}

/// What is known of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    configured: bool,
    /// The automatic configurations that name it, by the digest of their key.
    named: BTreeMap<Digest, Naming>,
    worked: Option<Timestamp>,
}

/// How an automatic configuration names a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Naming {
    /// Until when, where it expires.
    until: Option<Timestamp>,
    /// The digest of the environment that the key is of; it was not kept once.
    environment: Option<Digest>,
}

/// A key that an automatic configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedKey {
    /// Its digest.
    pub key: Digest,
    /// Until when, where it expires.
    pub until: Option<Timestamp>,
    /// The digest of its environment.
    pub environment: Digest,
}

/// Where an automatic configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// LaunchDarkly's stream, now.
    Live,
    /// Disk: LaunchDarkly's stream, some time.
    Kept,
}

/// A key as it is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptKey {
    /// Its digest.
    pub digest: Digest,
    /// When LaunchDarkly took it last, as far as that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked: Option<Timestamp>,
    /// The automatic configurations that name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<KeptNaming>,
}

/// How an automatic configuration names a key, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyNaming")]
pub struct KeptNaming {
    /// The digest of the configuration's key.
    pub by: Digest,
    /// Until when, where it expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The digest of the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Digest>,
}

/// As it is written now, and as it was written before the environment was.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyNaming {
    Whole {
        by: Digest,
        #[serde(default)]
        until: Option<Timestamp>,
        #[serde(default)]
        environment: Option<Digest>,
    },
    Pair(Digest, Option<Timestamp>),
}

impl From<AnyNaming> for KeptNaming {
    fn from(any: AnyNaming) -> Self {
        match any {
            AnyNaming::Whole { by, until, environment } => Self { by, until, environment },
            AnyNaming::Pair(by, until) => Self { by, until, environment: None },
        }
    }
}

/// All keys that somebody vouches for.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    known: HashMap<Digest, Known>,
}

impl Roster {
    /// The configuration names the key.
    pub fn configured(&mut self, key: Digest) {
        self.known.entry(key).or_default().configured = true;
    }

    /// An automatic configuration names these keys and no others.
    ///
    /// What LaunchDarkly's stream says of an environment now takes the place of everything that was said of it before, also
    /// by another configuration: the key of one may have been rotated since, and nobody will ever take back what was said
    /// under it. What is not named any more is not vouched for by an old answer either. What was only kept may be older than
    /// all that is known: it counts for environments of which nothing is.
    pub fn named(&mut self, by: Digest, keys: &[NamedKey], word: Word) {
        match word {
            Word::Live => self.replace(by, keys),
            Word::Kept => {
                let is_known = |environment: Digest| {
                    let mut namings = self.known.values().flat_map(|known| known.named.values());
                    namings.any(|naming| naming.environment == Some(environment))
                };
                let new: Vec<NamedKey> = keys.iter().filter(|named| !is_known(named.environment)).copied().collect();
                self.add(by, &new);
            }
        }
        self.forget_the_unknown();
    }

    fn replace(&mut self, by: Digest, keys: &[NamedKey]) {
        let environments: HashSet<Digest> = keys.iter().map(|named| named.environment).collect();
        let still: HashSet<Digest> = keys.iter().map(|named| named.key).collect();
        for (digest, known) in &mut self.known {
            let before = known.named.len();
            let is_of = |naming: &Naming| naming.environment.is_some_and(|of| environments.contains(&of));
            known.named.retain(|named_by, naming| *named_by != by && !is_of(naming));
            if known.named.len() < before && !still.contains(digest) {
                known.worked = None;
            }
        }
        self.add(by, keys);
    }

    fn add(&mut self, by: Digest, keys: &[NamedKey]) {
        for NamedKey { key, until, environment } in keys {
            let named = &mut self.known.entry(*key).or_default().named;
            // Named twice, it holds as long as the longer word says.
            let longer =
                named.get(&by).map_or(*until, |known| known.until.zip(*until).map(|(one, other)| one.max(other)));
            named.insert(by, Naming { until: longer, environment: Some(*environment) });
        }
    }

    /// LaunchDarkly took the key. Says whether that is new.
    pub fn worked(&mut self, key: Digest, now: Timestamp) -> bool {
        let known = self.known.entry(key).or_default();
        let is_new = known.worked.is_none();
        known.worked = Some(now);
        if self.known.len() > KEYS_MAX {
            let mut only_worked: Vec<(Timestamp, Digest)> = self
                .known
                .iter()
                .filter(|(digest, known)| **digest != key && !known.configured && known.named.is_empty())
                .filter_map(|(digest, known)| Some((known.worked?, *digest)))
                .collect();
            only_worked.sort_unstable();
            if let Some((_, oldest)) = only_worked.first() {
                self.known.remove(oldest);
            }
        }
        is_new
    }

    /// LaunchDarkly does not take the key any more. If it was that of an automatic configuration, what that named is not
    /// vouched for by it any longer, but for what ends by itself.
    pub fn refused(&mut self, key: Digest) {
        if let Some(known) = self.known.get_mut(&key) {
            known.worked = None;
        }
        for known in self.known.values_mut() {
            known.named.retain(|by, naming| *by != key || naming.until.is_some());
        }
        self.forget_the_unknown();
    }

    /// Who vouches for the key now. One that expired is vouched for by nobody, even if it worked once.
    pub fn vouch(&self, key: &Digest, now: Timestamp) -> Vouch {
        let Some(known) = self.known.get(key) else { return Vouch::Nobody };
        let holds = |naming: &Naming| naming.until.is_none_or(|until| now < until);
        let is_named = known.named.values().any(holds);
        let has_expired = !known.named.is_empty() && !is_named && !known.configured;
        match known.worked {
            _ if has_expired => Vouch::Nobody,
            Some(_) => Vouch::Worked,
            None if known.configured || is_named => Vouch::Named,
            None => Vouch::Nobody,
        }
    }

    /// What is kept on disk: all but what the configuration says anyway.
    pub fn kept(&self) -> Vec<KeptKey> {
        let naming = |(by, naming): (&Digest, &Naming)| KeptNaming {
            by: *by,
            until: naming.until,
            environment: naming.environment,
        };
        let kept = |(digest, known): (&Digest, &Known)| KeptKey {
            digest: *digest,
            worked: known.worked,
            named: known.named.iter().map(naming).collect(),
        };
        let mut all: Vec<KeptKey> = self.known.iter().map(kept).collect();
        all.retain(|key| key.worked.is_some() || !key.named.is_empty());
        all.sort_by_key(|key| key.digest);
        all
    }

    /// Takes what was kept.
    pub fn restore(&mut self, kept: Vec<KeptKey>) {
        for key in kept {
            let known = self.known.entry(key.digest).or_default();
            known.worked = known.worked.max(key.worked);
            let naming = |kept: KeptNaming| (kept.by, Naming { until: kept.until, environment: kept.environment });
            known.named.extend(key.named.into_iter().map(naming));
        }
    }

    fn forget_the_unknown(&mut self) {
        self.known.retain(|_, known| known.configured || known.worked.is_some() || !known.named.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salt() -> Salt {
        Salt::new(&[7; SALT_LENGTH])
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn digests_are_salted_and_tell_parts_apart() {
        let digest = salt().of_key(b"sdk-1");
        assert_eq!(digest, salt().of_key(b"sdk-1"));
        assert_ne!(digest, Salt::new(&[8; SALT_LENGTH]).of_key(b"sdk-1"));
        assert_ne!(salt().digest(&[b"ab", b"c"]), salt().digest(&[b"a", b"bc"]));
        assert_eq!(Digest::of_hex(&digest.hex()), Some(digest));
        assert_eq!(Digest::of_hex("xyz"), None);
        assert_eq!(Digest::of_hex(&"zz".repeat(32)), None);
        assert_eq!(format!("{digest:?}").len(), 8);
    }

    #[test]
    fn nobody_vouches_for_a_key_that_was_never_heard_of() {
        let mut roster = Roster::default();
        let key = salt().of_key(b"sdk-1");
        assert_eq!(roster.vouch(&key, at(0)), Vouch::Nobody);
        assert!(roster.worked(key, at(1)));
        assert!(!roster.worked(key, at(2)));
        assert_eq!(roster.vouch(&key, at(3)), Vouch::Worked);
        roster.refused(key);
        assert_eq!(roster.vouch(&key, at(3)), Vouch::Nobody);
        roster.configured(key);
        assert_eq!(roster.vouch(&key, at(3)), Vouch::Named);
    }

    fn of(environment: &[u8], key: Digest, until: Option<i64>) -> NamedKey {
        NamedKey { key, until: until.map(at), environment: salt().digest(&[b"environment", environment]) }
    }

    #[test]
    fn an_expired_key_is_vouched_for_by_nobody() {
        let mut roster = Roster::default();
        let (old, new, by) = (salt().of_key(b"old"), salt().of_key(b"new"), salt().of_key(b"rel"));
        roster.worked(old, at(1));
        roster.named(by, &[of(b"e", new, None), of(b"e", old, Some(100))], Word::Live);
        assert_eq!((roster.vouch(&old, at(99)), roster.vouch(&new, at(99))), (Vouch::Worked, Vouch::Named));
        assert_eq!((roster.vouch(&old, at(100)), roster.vouch(&new, at(100))), (Vouch::Nobody, Vouch::Named));
        let twice = [(new, Some(5)), (new, None), (old, Some(100)), (old, Some(7))];
        roster.named(by, &twice.map(|(key, until)| of(b"e", key, until)), Word::Live);
        assert_eq!((roster.vouch(&old, at(99)), roster.vouch(&new, at(99))), (Vouch::Worked, Vouch::Named));
        // It is named no more: neither its time nor that it worked counts any longer.
        roster.named(by, &[of(b"e", new, None)], Word::Live);
        assert_eq!(roster.vouch(&old, at(50)), Vouch::Nobody);
        roster.named(by, &[], Word::Live);
        assert_eq!(roster.vouch(&new, at(50)), Vouch::Nobody);
    }

    #[test]
    fn what_is_kept_vouches_again_and_shows_no_key() {
        let mut roster = Roster::default();
        let (one, two, by) = (salt().of_key(b"sdk-one"), salt().of_key(b"sdk-two"), salt().of_key(b"rel"));
        roster.worked(one, at(1));
        roster.named(by, &[of(b"e", two, Some(100))], Word::Live);
        let text = serde_json::to_string(&roster.kept()).unwrap();
        assert!(!text.contains("sdk-"), "{text}");
        let mut again = Roster::default();
        again.restore(serde_json::from_str(&text).unwrap());
        assert_eq!((again.vouch(&one, at(5)), again.vouch(&two, at(5))), (Vouch::Worked, Vouch::Named));
        assert_eq!(again.vouch(&two, at(100)), Vouch::Nobody);
        assert_eq!(again.kept(), roster.kept());
    }

    #[test]
    fn what_a_rotated_configuration_named_ends_with_the_next_word_about_the_environment() {
        let mut roster = Roster::default();
        let key = |text: &str| salt().of_key(text.as_bytes());
        let (before, after) = (key("rel-before"), key("rel-after"));
        let (old, new, elsewhere) = (key("sdk-old"), key("sdk-new"), key("sdk-elsewhere"));
        let first = [of(b"e1", old, None), of(b"e2", elsewhere, None)];
        roster.named(before, &first, Word::Live);
        roster.worked(old, at(1));
        // The configuration's own key is rotated, and the SDK key of one environment too.
        roster.named(after, &[of(b"e1", new, None)], Word::Live);
        let vouched = |roster: &Roster| [old, new, elsewhere].map(|key| roster.vouch(&key, at(9)));
        assert_eq!(vouched(&roster), [Vouch::Nobody, Vouch::Named, Vouch::Named], "of the other nothing newer is said");
        // What a relay that still presents the key from before gets back from disk changes nothing.
        roster.named(before, &first, Word::Kept);
        assert_eq!(vouched(&roster), [Vouch::Nobody, Vouch::Named, Vouch::Named]);
        // LaunchDarkly refuses that key: what only it named is over, but for what ends by itself.
        let ends = key("sdk-ends");
        roster.named(before, &[of(b"e2", elsewhere, None), of(b"e2", ends, Some(20))], Word::Live);
        roster.refused(before);
        assert_eq!(vouched(&roster), [Vouch::Nobody, Vouch::Named, Vouch::Nobody]);
        assert_eq!((roster.vouch(&ends, at(9)), roster.vouch(&ends, at(20))), (Vouch::Named, Vouch::Nobody));
        // Where nothing is known of an environment, what was kept is better than nothing.
        let mut empty = Roster::default();
        empty.named(before, &first, Word::Kept);
        assert_eq!(vouched(&empty), [Vouch::Named, Vouch::Nobody, Vouch::Named]);
    }

    #[test]
    fn what_was_kept_before_environments_were_is_read_too() {
        let (key, by) = (salt().of_key(b"sdk-one"), salt().of_key(b"rel"));
        let pair = serde_json::json!([{ "digest": key, "named": [[by, null]] }]);
        let mut roster = Roster::default();
        roster.restore(serde_json::from_value(pair).unwrap());
        assert_eq!(roster.vouch(&key, at(5)), Vouch::Named);
        roster.named(by, &[], Word::Live);
        assert_eq!(roster.vouch(&key, at(5)), Vouch::Nobody);
    }

    #[test]
    fn the_keys_that_worked_are_bounded() {
        let mut roster = Roster::default();
        let named = salt().of_key(b"named");
        roster.configured(named);
        for number in 0..=KEYS_MAX {
            roster.worked(salt().of_key(&number.to_be_bytes()), at(i64::try_from(number).unwrap()));
        }
        assert_eq!(roster.known.len(), KEYS_MAX);
        assert_eq!(roster.vouch(&salt().of_key(&0_usize.to_be_bytes()), at(0)), Vouch::Nobody);
        assert_eq!(roster.vouch(&named, at(0)), Vouch::Named);
    }
}
