//! What clients may hold, and what must be sent so that they hold what they should. PURE: a function of the two. It must
//! not know why something should be held, or who is connected.
//!
//! A client is a relay with everybody behind it. It takes a `patch` or a `delete` only if the version is higher than what it
//! holds, and drops one that is equal, whatever it says; a `put` it always takes (launchdarkly.md 15). So what goes back to
//! a lower version, or changes under the same one, needs a `put`.
//!
//! A client may hold more than what was sent: a relay hands the records of its store to whoever connects to it, and stores
//! are written by others. So what is seen in a store counts as held too.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::guard::stream::item::Item;
use crate::guard::stream::state::Name;
use crate::guard::stream::state::State;

/// What has to be sent for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sending {
    /// Everybody holds it.
    Nothing,
    /// Its `patch` or `delete`: the version is above all else that may be held.
    One,
    /// A `put`.
    Everything,
}

/// What may be held of one item.
#[derive(Debug, Clone)]
struct May {
    /// The highest version that may be held.
    highest: u64,
    /// What is held under it; `None` where that is not known, or several things may be.
    content: Option<Item>,
    /// Whether something below that may be held, by somebody.
    lower: bool,
}

/// What may be held of everything, since the last `put` that all were sent.
#[derive(Debug, Clone)]
pub struct Holding {
    /// What that `put` was made of: LaunchDarkly's state, and what stood in the place of some items.
    put: Arc<State>,
    instead: IndexMap<Name, Item>,
    /// What has been held since of items that were sent or seen.
    since: IndexMap<Name, May>,
}

impl Holding {
    /// All were sent a `put` of this state, with other items in place of some.
    pub fn after_put(put: Arc<State>, instead: IndexMap<Name, Item>) -> Self {
        Self { put, instead, since: IndexMap::new() }
    }

    /// What has to be sent so that all hold this. Versions are read only where it depends on them: of a large environment
    /// nearly everything is held to the byte.
    pub fn sending(&self, name: &Name, should: &Item) -> Sending {
        let (content, lower) = match self.since.get(name) {
            Some(may) => (may.content.as_ref(), may.lower),
            None => (Some(self.of_put(name)), false),
        };
        let is_it = content.is_some_and(|held| held.same(should, name.0));
        if is_it && !lower {
            return Sending::Nothing;
        }
        // Those who hold something lower take it, and those who hold it already drop it. Nothing can be sent that says that
        // there is no such item.
        if is_it && !matches!(should, Item::Absent) {
            return Sending::One;
        }
        let highest = self.since.get(name).map_or_else(|| self.of_put(name).version(), |may| may.highest);
        if should.version() > highest { Sending::One } else { Sending::Everything }
    }

    /// All were sent the item, when [`Holding::sending`] said that that is enough.
    pub fn sent(&mut self, name: &Name, item: &Item) {
        self.since.insert(name.clone(), May { highest: item.version(), content: Some(item.clone()), lower: false });
    }

    /// A store that a relay may read holds this item, so a client may hold it.
    pub fn seen(&mut self, name: &Name, item: &Item) {
        let mut may = self.may(name);
        match item.version().cmp(&may.highest) {
            std::cmp::Ordering::Greater => {
                may = May { highest: item.version(), content: Some(item.clone()), lower: true };
            }
            std::cmp::Ordering::Equal => {
                may.content = may.content.filter(|held| held.same(item, name.0));
            }
            std::cmp::Ordering::Less => may.lower = true,
        }
        self.since.insert(name.clone(), may);
    }

    /// A store may have held some version up to this one, unseen.
    pub fn may_have_held(&mut self, name: &Name, version: u64) {
        let mut may = self.may(name);
        if version >= may.highest {
            may = May { highest: version, content: None, lower: true };
        } else {
            may.lower = true;
        }
        self.since.insert(name.clone(), may);
    }

    /// The items that the last `put` had, and those that were held since. Some may come twice.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.put.items().map(|(name, _)| name).chain(self.instead.keys()).chain(self.since.keys())
    }

    /// The items that were sent or seen since the last `put`.
    pub fn since(&self) -> usize {
        self.since.len()
    }

    /// What the last `put` had of an item. It has no deletions in it: who takes it knows nothing of the item.
    fn of_put(&self, name: &Name) -> &Item {
        let put = self.instead.get(name).unwrap_or_else(|| self.put.item(name));
        if put.text().is_some() { put } else { &Item::Absent }
    }

    fn may(&self, name: &Name) -> May {
        self.since.get(name).cloned().unwrap_or_else(|| {
            let held = self.of_put(name);
            May { highest: held.version(), content: Some(held.clone()), lower: false }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::stream::item::Kind;
    use crate::guard::stream::item::Text;

    fn item(version: u64, on: bool) -> Item {
        Item::of(Text::from(format!("{{\"on\":{on},\"version\":{version}}}").as_str()))
    }

    fn held(first: Item) -> (Holding, Name) {
        let name: Name = (Kind::Flag, "a".into());
        let mut state = State::default();
        state.set(name.clone(), first);
        (Holding::after_put(Arc::new(state), IndexMap::new()), name)
    }

    #[test]
    fn what_is_above_all_is_sent_alone_and_what_is_not_needs_everything() {
        let (mut holding, name) = held(item(42, true));
        assert_eq!(holding.sending(&name, &item(42, true)), Sending::Nothing);
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::One);
        assert_eq!(holding.sending(&name, &item(42, false)), Sending::Everything);
        assert_eq!(holding.sending(&name, &item(41, true)), Sending::Everything);
        assert_eq!(holding.sending(&name, &Item::Absent), Sending::Everything);
        assert_eq!(holding.sending(&name, &Item::Deleted { version: 43 }), Sending::One);
        holding.sent(&name, &item(43, false));
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::Nothing);
        assert_eq!(holding.sending(&name, &item(42, true)), Sending::Everything);
    }

    #[test]
    fn what_a_store_hands_out_counts() {
        let (mut holding, name) = held(item(42, true));
        // The edit, as it was written: the same patch is enough.
        holding.seen(&name, &item(43, false));
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::One);
        // Undone before anything was sent: somebody may have had it.
        assert_eq!(holding.sending(&name, &item(42, true)), Sending::Everything);
        holding.sent(&name, &item(43, false));
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::Nothing);
        // A reset by others put the old one there again.
        holding.seen(&name, &item(42, true));
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::One);
        // Something else under the same version.
        holding.seen(&name, &item(43, true));
        assert_eq!(holding.sending(&name, &item(43, false)), Sending::Everything);
        assert_eq!(holding.sending(&name, &item(44, false)), Sending::One);
    }

    #[test]
    fn what_was_not_seen_counts_by_its_version() {
        let (mut holding, name) = held(item(42, true));
        holding.may_have_held(&name, 44);
        assert_eq!(holding.sending(&name, &item(42, true)), Sending::Everything);
        assert_eq!(holding.sending(&name, &item(44, true)), Sending::Everything);
        assert_eq!(holding.sending(&name, &item(45, true)), Sending::One);
        holding.sent(&name, &item(45, true));
        holding.may_have_held(&name, 44);
        assert_eq!(holding.sending(&name, &item(45, true)), Sending::One);
    }

    #[test]
    fn new_items() {
        let (holding, _) = held(item(42, true));
        let other: Name = (Kind::Flag, "b".into());
        assert_eq!(holding.sending(&other, &item(1, true)), Sending::One);
        assert_eq!(holding.sending(&other, &Item::Absent), Sending::Nothing);
        assert_eq!(holding.sending(&other, &Item::Deleted { version: 3 }), Sending::One);
    }
}
