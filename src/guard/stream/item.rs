//! One flag or segment as LaunchDarkly's stream or a store has it: its exact text, its version, or that it is deleted.
//! PURE. Texts share the memory of the event that they came in. It must not know overrides.

use std::sync::OnceLock;

use bytes::Bytes;
use serde::Deserialize;

use crate::flag::json;
use crate::flag::record::Record;
use crate::flag::record::RecordError;

/// What an item is of. The order is that of LaunchDarkly's `put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A feature flag.
    Flag,
    /// A segment.
    Segment,
}

impl Kind {
    /// Its section in a `put`, and the first step of the path in a `patch` and a `delete`.
    pub fn section(self) -> &'static str {
        match self {
            Kind::Flag => "flags",
            Kind::Segment => "segments",
        }
    }
}

/// JSON text.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// `part` must be a part of `whole`, whose memory it goes on sharing.
    pub(super) fn within(whole: &Bytes, part: &str) -> Self {
        Self(whole.slice_ref(part.as_bytes()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Made of a `str`, and cut nowhere since.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The same as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A flag or a segment.
#[derive(Debug, Clone)]
pub enum Item {
    /// Nothing is known of it: LaunchDarkly's `put` does not have it.
    Absent,
    /// LaunchDarkly deleted it.
    Deleted {
        /// The version of the deletion.
        version: u64,
    },
    /// It is there.
    Present(Present),
}

/// An item that is there.
#[derive(Debug, Clone)]
pub struct Present {
    text: Text,
    head: OnceLock<Head>,
}

/// The little that must be known of any item.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    version: u64,
    deleted: bool,
}

impl Present {
    /// The exact text.
    pub fn text(&self) -> &Text {
        &self.text
    }

    fn head(&self) -> Head {
        /// Of any type: judging items is not the business of this module.
        #[derive(Deserialize)]
        struct Loose {
            version: Option<serde_json::Value>,
            deleted: Option<serde_json::Value>,
        }
        *self.head.get_or_init(|| {
            let Ok(loose) = serde_json::from_slice::<Loose>(self.text.as_bytes()) else { return Head::default() };
            // As LaunchDarkly's Go reader takes it: any number, cut off after the point.
            let version = loose.version.and_then(|value| value.as_f64()).map_or(0, |version| version as u64);
            Head { version, deleted: loose.deleted.and_then(|value| value.as_bool()).unwrap_or_default() }
        })
    }
}

impl Item {
    /// An item from the text of its record; one that marks a deletion is [`Item::Deleted`].
    pub fn of(text: Text) -> Self {
        let present = Present { text, head: OnceLock::new() };
        // Nearly all say `false`, and are not looked into for it.
        let may_be_deleted = memchr::memmem::find(present.text.as_bytes(), b"\"deleted\":true").is_some()
            || memchr::memmem::find(present.text.as_bytes(), b"\"deleted\": true").is_some();
        if may_be_deleted && present.head().deleted {
            return Item::Deleted { version: present.head().version };
        }
        Item::Present(present)
    }

    /// An item from a record.
    pub fn of_record(record: &Record) -> Self {
        Self::of(Text::from(record.text()))
    }

    /// Its version; 0 where it is absent, so that any other is higher.
    pub fn version(&self) -> u64 {
        match self {
            Item::Absent => 0,
            Item::Deleted { version } => *version,
            Item::Present(present) => present.head().version,
        }
    }

    /// The text, where it is there.
    pub fn text(&self) -> Option<&Text> {
        match self {
            Item::Present(present) => Some(&present.text),
            Item::Absent | Item::Deleted { .. } => None,
        }
    }

    /// The flag's record, where it is there.
    ///
    /// # Errors
    /// [`RecordError`]: it is none.
    pub fn record(&self) -> Result<Option<Record>, RecordError> {
        self.text().map(|text| Record::parse(text.as_bytes())).transpose()
    }

    /// Whether both say the same: the same version, and the same by value (design 3.3). A deletion and absence are not
    /// the same: a deletion has a version, which keeps older records out.
    pub fn same(&self, other: &Self, kind: Kind) -> bool {
        match (self, other) {
            (Item::Absent, Item::Absent) => true,
            (Item::Deleted { version: one }, Item::Deleted { version: other }) => one == other,
            (Item::Present(one), Item::Present(other)) => {
                one.text == other.text || (one.head().version == other.head().version && same_value(one, other, kind))
            }
            _ => false,
        }
    }
}

fn same_value(one: &Present, other: &Present, kind: Kind) -> bool {
    let flags = || Some((Record::parse(one.text.as_bytes()).ok()?, Record::parse(other.text.as_bytes()).ok()?));
    match kind {
        Kind::Flag => flags().is_some_and(|(one, other)| one.same_value(&other)),
        Kind::Segment => {
            let read = |present: &Present| serde_json::from_slice::<serde_json::Value>(present.text.as_bytes());
            matches!((read(one), read(other)), (Ok(one), Ok(other)) if json::same_value(&one, &other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        Item::of(Text::from(text))
    }

    #[test]
    fn versions_and_deletions() {
        assert_eq!(item(r#"{"key":"a","version":42}"#).version(), 42);
        assert_eq!(item(r#"{"key":"a","version":42.9}"#).version(), 42);
        assert_eq!(item(r#"{"key":"a","version":"x"}"#).version(), 0);
        assert_eq!(item("{}").version(), 0);
        assert!(matches!(item(r#"{"version":7,"deleted":true}"#), Item::Deleted { version: 7 }));
        assert!(matches!(item(r#"{"version":7,"deleted": true}"#), Item::Deleted { version: 7 }));
        assert!(matches!(item(r#"{"version":7,"deleted":false,"variations":["\"deleted\":true"]}"#), Item::Present(_)));
    }

    #[test]
    fn sameness_is_of_value_and_version() {
        let same = |one: &str, other: &str| item(one).same(&item(other), Kind::Flag);
        assert!(same(r#"{"on":true,"version":1}"#, r#"{"version":1.0, "on":true,"rules":[]}"#));
        assert!(!same(r#"{"on":true,"version":1}"#, r#"{"on":true,"version":2}"#));
        assert!(!same(r#"{"on":true,"version":1}"#, r#"{"on":false,"version":1}"#));
        assert!(item(r#"{"a":[1,{"x":1,"y":2}]}"#).same(&item(r#"{"a":[1.0,{"y":2,"x":1}]}"#), Kind::Segment));
        assert!(!item(r#"{"a":[1]}"#).same(&item(r#"{"a":[2]}"#), Kind::Segment));
        assert!(Item::Absent.same(&Item::Absent, Kind::Flag));
        assert!(!Item::Absent.same(&Item::Deleted { version: 0 }, Kind::Flag));
    }
}
