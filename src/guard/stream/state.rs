//! LaunchDarkly's last state of one environment: every flag and segment as its stream told it, and how that is read and
//! written. PURE. It must not know overrides or who is connected.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

use crate::guard::stream::event::Event;
use crate::guard::stream::event::written;
use crate::guard::stream::item::Item;
use crate::guard::stream::item::Kind;
use crate::guard::stream::item::Text;

/// Which item: what it is of, and its key as LaunchDarkly wrote it.
pub type Name = (Kind, Arc<str>);

/// Every flag and segment, in the order in which LaunchDarkly sent them.
#[derive(Debug, Clone, Default)]
pub struct State {
    items: IndexMap<Name, Item>,
    /// Sections of a `put` that this program does not know: they go on as they came.
    others: Vec<(Arc<str>, Text)>,
}

/// What an event of the stream says.
#[derive(Debug, Clone)]
pub enum Told {
    /// Everything anew.
    Put(State),
    /// One item.
    Item(Name, Item),
    /// Nothing that this program knows: it goes on as it came.
    Other,
}

/// An event that cannot be what LaunchDarkly sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {event} event that is not understood: {problem}")]
pub struct NotUnderstood {
    /// The name of the event.
    pub event: String,
    /// What is wrong with it.
    pub problem: String,
}

impl State {
    /// One item; [`Item::Absent`] where it is not there.
    pub fn item(&self, name: &Name) -> &Item {
        self.items.get(name).unwrap_or(&Item::Absent)
    }

    /// All items, in order.
    pub fn items(&self) -> impl Iterator<Item = (&Name, &Item)> {
        self.items.iter()
    }

    /// How many flags there are that are not deleted.
    pub fn flag_count(&self) -> usize {
        let is_flag = |(name, item): &(&Name, &Item)| name.0 == Kind::Flag && matches!(item, Item::Present(_));
        self.items.iter().filter(is_flag).count()
    }

    /// How many items there are, deleted ones too.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Sets one item, whatever its version.
    pub fn set(&mut self, name: Name, item: Item) {
        match item {
            Item::Absent => {
                self.items.shift_remove(&name);
            }
            item => {
                self.items.insert(name, item);
            }
        }
    }

    /// Takes one item as an SDK would: only if its version is higher than what is there. Says whether it was taken.
    pub fn take(&mut self, name: &Name, item: &Item) -> bool {
        let newer = item.version() > self.item(name).version();
        if newer {
            self.set(name.clone(), item.clone());
        }
        newer
    }

    /// Sections of a `put` that are neither flags nor segments.
    pub fn others(&self) -> &[(Arc<str>, Text)] {
        &self.others
    }

    /// As [`State::others`] of another state.
    pub fn set_others(&mut self, others: &[(Arc<str>, Text)]) {
        self.others = others.to_vec();
    }

    /// A `put` event of this state, with other items in place of some. Deleted and absent items are not in it.
    pub fn to_put(&self, instead: &IndexMap<Name, Item>) -> Bytes {
        let mut parts: Vec<&[u8]> = vec![b"{\"path\":\"/\",\"data\":{"];
        let mut owned: Vec<(usize, String)> = Vec::new();
        for (place, kind) in [Kind::Flag, Kind::Segment].into_iter().enumerate() {
            parts.push(if place == 0 { b"\"flags\":{" } else { b"},\"segments\":{" });
            let here = self.items.iter().filter(|(name, _)| name.0 == kind);
            let replaced = here.map(|(name, item)| (name, instead.get(name).unwrap_or(item)));
            let added = instead.iter().filter(|(name, _)| name.0 == kind && !self.items.contains_key(*name));
            let mut first = true;
            for (name, item) in replaced.chain(added) {
                let Some(text) = item.text() else { continue };
                if !first {
                    parts.push(b",");
                }
                first = false;
                owned.push((parts.len(), quoted(&name.1)));
                parts.extend([b"".as_slice(), b":", text.as_bytes()]);
            }
        }
        parts.push(b"}");
        for (section, text) in &self.others {
            parts.push(b",");
            owned.push((parts.len(), quoted(section)));
            parts.extend([b"".as_slice(), b":", text.as_bytes()]);
        }
        parts.push(b"}}");
        for (place, key) in &owned {
            if let Some(part) = parts.get_mut(*place) {
                *part = key.as_bytes();
            }
        }
        written("put", &parts)
    }
}

/// Reads what an event says.
///
/// # Errors
/// [`NotUnderstood`]: it is none that LaunchDarkly sends, and must not reach a relay.
pub fn told(event: &Event) -> Result<Told, NotUnderstood> {
    let not_understood = |problem: String| NotUnderstood { event: event.name.clone(), problem };
    match event.name.as_str() {
        "put" => {
            let put: Put<'_> =
                serde_json::from_slice(&event.data).map_err(|error| not_understood(error.to_string()))?;
            if !matches!(put.path.as_deref(), None | Some("" | "/")) {
                return Ok(Told::Other);
            }
            Ok(Told::Put(put.data.state(&event.data)))
        }
        "patch" | "delete" => {
            let change: Change<'_> =
                serde_json::from_slice(&event.data).map_err(|error| not_understood(error.to_string()))?;
            let Some(name) = name_of(&change.path) else { return Ok(Told::Other) };
            let item = match (event.name.as_str(), change.data, change.version) {
                ("patch", Some(data), _) if data.get().starts_with('{') => {
                    Item::of(Text::within(&event.data, data.get()))
                }
                ("delete", _, Some(version)) => Item::Deleted { version },
                _ => return Err(not_understood("what it should say is missing".to_owned())),
            };
            Ok(Told::Item(name, item))
        }
        _ => Ok(Told::Other),
    }
}

/// The event that tells of one item.
pub fn to_event(name: &Name, item: &Item) -> Option<Bytes> {
    let path = quoted(&format!("/{}/{}", name.0.section(), name.1));
    match item {
        Item::Absent => None,
        Item::Deleted { version } => {
            Some(written("delete", &[b"{\"path\":", path.as_bytes(), format!(",\"version\":{version}}}").as_bytes()]))
        }
        Item::Present(present) => {
            Some(written("patch", &[b"{\"path\":", path.as_bytes(), b",\"data\":", present.text().as_bytes(), b"}"]))
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn name_of(path: &str) -> Option<Name> {
    let (section, key) = path.strip_prefix('/')?.split_once('/')?;
    let kind = [Kind::Flag, Kind::Segment].into_iter().find(|kind| kind.section() == section)?;
    (!key.is_empty()).then(|| (kind, Arc::from(key)))
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    version: Option<u64>,
}

#[derive(Deserialize)]
struct Put<'a> {
    #[serde(borrow, default)]
    path: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Sections<'a>,
}

/// The sections of a `put`, read in one pass.
struct Sections<'a> {
    items: Vec<(Kind, Cow<'a, str>, &'a RawValue)>,
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl Sections<'_> {
    fn state(self, data: &Bytes) -> State {
        let item = |(kind, key, raw): (Kind, Cow<'_, str>, &RawValue)| {
            ((kind, Arc::from(key.as_ref())), Item::of(Text::within(data, raw.get())))
        };
        let other =
            |(section, raw): (Cow<'_, str>, &RawValue)| (Arc::from(section.as_ref()), Text::within(data, raw.get()));
        State {
            items: self.items.into_iter().map(item).collect(),
            others: self.others.into_iter().map(other).collect(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Sections<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SectionsVisitor)
    }
}

struct SectionsVisitor;

impl<'de> Visitor<'de> for SectionsVisitor {
    type Value = Sections<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of sections")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sections<'de>, A::Error> {
        let mut sections = Sections { items: Vec::new(), others: Vec::new() };
        let mut has_flags = false;
        while let Some(Key(section)) = map.next_key()? {
            match [Kind::Flag, Kind::Segment].into_iter().find(|kind| kind.section() == section) {
                Some(kind) => {
                    has_flags |= kind == Kind::Flag;
                    let Members(members) = map.next_value()?;
                    sections.items.extend(members.into_iter().map(|(key, raw)| (kind, key, raw)));
                }
                None => sections.others.push((section, map.next_value()?)),
            }
        }
        // LaunchDarkly sends it also where it is empty; without it a client would drop all that it has.
        if has_flags { Ok(sections) } else { Err(serde::de::Error::missing_field(Kind::Flag.section())) }
    }
}

/// A key that borrows where it can.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|Borrowed(text)| Key(text))
    }
}

/// The members of an object, their values as they stand. Null counts as none: LaunchDarkly's Go reader takes it so.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of items")
    }

    fn visit_none<E>(self) -> Result<Members<'de>, E> {
        Ok(Members(Vec::new()))
    }

    fn visit_unit<E>(self) -> Result<Members<'de>, E> {
        Ok(Members(Vec::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Members<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value()?));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::event::Piece;
    use crate::guard::stream::event::Splitter;

    fn event(stream: &[u8]) -> Event {
        let mut pieces = Splitter::new(1 << 20).push(stream).unwrap();
        match pieces.pop() {
            Some(Piece::Event(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    fn put(stream: &[u8]) -> State {
        match told(&event(stream)) {
            Ok(Told::Put(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    fn flag(key: &str) -> Name {
        (Kind::Flag, key.into())
    }

    const PUT: &[u8] = b"event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"a\":{\"version\":1, \"x\":1.10},\"b\\u0062\":{\"version\":2},\"gone\":{\"version\":3,\"deleted\":true}},\"segments\":{\"s\":{\"version\":4}},\"new\":{\"n\":[1]}}}\n\n";

    #[test]
    fn a_put_is_read_and_written_again() {
        let state = put(PUT);
        assert_eq!(state.item(&flag("a")).text().unwrap().as_str(), "{\"version\":1, \"x\":1.10}");
        assert_eq!(state.item(&flag("bb")).version(), 2);
        assert_eq!(state.flag_count(), 2);
        assert_eq!(state.item(&(Kind::Segment, "s".into())).version(), 4);
        let again = String::from_utf8(state.to_put(&IndexMap::new()).to_vec()).unwrap();
        assert_eq!(
            again,
            "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":{\"a\":{\"version\":1, \"x\":1.10},\"bb\":{\"version\":2}},\"segments\":{\"s\":{\"version\":4}},\"new\":{\"n\":[1]}}}\n\n"
        );
        let instead = IndexMap::from([
            (flag("a"), Item::of(Text::from("{\"version\":9}"))),
            (flag("bb"), Item::Deleted { version: 9 }),
            (flag("c\""), Item::of(Text::from("{\"version\":1}"))),
        ]);
        let other = put(&state.to_put(&instead));
        assert_eq!([flag("a"), flag("bb"), flag("c\"")].map(|name| other.item(&name).version()), [9, 0, 1]);
    }

    #[test]
    fn empty_and_null_sections_are_read_and_flags_are_never_missing() {
        let of = |data: &str| event(format!("event: put\ndata: {{\"path\":\"/\",\"data\":{data}}}\n\n").as_bytes());
        for data in ["{\"flags\":null,\"segments\":{}}", "{\"flags\":{}}"] {
            assert!(matches!(told(&of(data)), Ok(Told::Put(state)) if state.is_empty()), "{data}");
        }
        for data in ["{}", "{\"segments\":{}}"] {
            let problem = told(&of(data)).unwrap_err().problem;
            assert!(problem.contains("flags"), "a client would drop all that it has: {problem}");
        }
    }

    #[test]
    fn changes_of_one_item() {
        let one = |stream: &str| match told(&event(stream.as_bytes())) {
            Ok(Told::Item(name, item)) => format!("{:?} {} {:?} {}", name.0, name.1, item.text(), item.version()),
            Ok(Told::Other) => "other".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            one("event: patch\ndata: {\"path\":\"/flags/a\",\"data\":{\"version\":7}}\n\n"),
            "Flag a Some({\"version\":7}) 7"
        );
        assert_eq!(one("event: delete\ndata: {\"path\":\"/segments/a/b\",\"version\":8}\n\n"), "Segment a/b None 8");
        assert_eq!(one("event: patch\ndata: {\"path\":\"/other/a\",\"data\":{}}\n\n"), "other");
        assert_eq!(one("event: reconnect\ndata: x\n\n"), "other");
        for broken in [
            "event: patch\ndata: {\"path\":\"/flags/a\"}\n\n",
            "event: patch\ndata: {\"path\":\"/flags/a\",\"data\":7}\n\n",
            "event: patch\ndata: {\"path\":\"/flags/a\n\n",
            "event: delete\ndata: {\"path\":\"/flags/a\"}\n\n",
            "event: put\ndata: {\"path\":\"/\",\"data\":{\"flags\":7}}\n\n",
            "event: put\ndata: {\"path\":\"/\"}\n\n",
        ] {
            assert!(told(&event(broken.as_bytes())).is_err(), "{broken}");
        }
    }

    #[test]
    fn what_is_written_of_one_item_is_read_again() {
        let name = flag("a\"b");
        for item in [Item::of(Text::from("{\"version\":\n7}")), Item::Deleted { version: 8 }] {
            let bytes = to_event(&name, &item).unwrap();
            let Ok(Told::Item(read, again)) = told(&event(&bytes)) else { panic!() };
            assert_eq!((read, again.version()), (name.clone(), item.version()));
        }
        assert!(to_event(&name, &Item::Absent).is_none());
    }

    #[test]
    fn only_higher_versions_are_taken() {
        let mut state = put(PUT);
        let name = flag("a");
        assert!(!state.take(&name, &Item::of(Text::from("{\"version\":1,\"y\":2}"))));
        assert!(state.take(&name, &Item::Deleted { version: 2 }));
        assert!(!state.take(&name, &Item::of(Text::from("{\"version\":2}"))));
        assert!(state.take(&name, &Item::of(Text::from("{\"version\":3}"))));
    }
}
