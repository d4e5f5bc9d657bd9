//! One environment as relays get it through the guard: what comes in (LaunchDarkly's events, overrides, what stores hold)
//! and what goes out because of it. PURE: values in, values out, no clock. It must not know connections; whoever has them
//! sends what comes out to all of them, in order, and gives a new one [`Channel::put_for_new`] first.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;

use crate::change::override_::Override;
use crate::flag::key::FlagKey;
use crate::guard::stream::event::Event;
use crate::guard::stream::holding::Holding;
use crate::guard::stream::holding::Sending;
use crate::guard::stream::item::Item;
use crate::guard::stream::item::Kind;
use crate::guard::stream::overlay::OnConflict;
use crate::guard::stream::overlay::Reason;
use crate::guard::stream::overlay::overlay;
use crate::guard::stream::state::Name;
use crate::guard::stream::state::NotUnderstood;
use crate::guard::stream::state::State;
use crate::guard::stream::state::Told;
use crate::guard::stream::state::to_event;
use crate::guard::stream::state::told;

/// More single items than this are sent as one `put`.
const SINGLE_MAX: usize = 200;

/// What the stores of an environment told at one time.
#[derive(Debug, Clone, Default)]
pub struct StoresWord {
    /// The overrides that hold now, merged from all of them.
    pub overrides: BTreeMap<FlagKey, Override>,
    /// What stands in one of them and did not stand there when it was looked at last.
    pub seen: Vec<Sight>,
    /// Flags of which one of them may have held a version, up to this one, that was not seen.
    pub perhaps_held: Vec<(FlagKey, u64)>,
    /// One of them was emptied: whoever fills it needs everything again.
    pub emptied: bool,
}

/// A flag's record as it stands in a store that a relay may read.
#[derive(Debug, Clone)]
pub struct Sight {
    /// Which flag.
    pub flag: FlagKey,
    /// What stands there.
    pub item: Item,
    /// Whether LaunchDarkly wrote it, and not an override.
    pub launchdarklys: bool,
}

/// One environment.
#[derive(Debug, Default)]
pub struct Channel {
    on_conflict: OnConflict,
    /// LaunchDarkly's last word on everything; `None` until there is one.
    last: Option<State>,
    /// Whether its stream told that, and not disk or stores.
    live: bool,
    overrides: BTreeMap<FlagKey, Override>,
    /// LaunchDarkly's newest word on overridden flags that was seen anywhere.
    newest: BTreeMap<FlagKey, Item>,
    /// What overridden flags should be instead of LaunchDarkly's.
    instead: IndexMap<Name, Item>,
    reasons: BTreeMap<FlagKey, Reason>,
    /// What clients may hold; `None` while nobody was sent anything.
    holding: Option<Holding>,
    /// The `put` of now, made when it is wanted.
    put: Option<Bytes>,
}

impl Channel {
    /// Nothing is known yet, and nobody has anything.
    pub fn new(on_conflict: OnConflict) -> Self {
        Self { on_conflict, ..Self::default() }
    }

    /// LaunchDarkly's last word on everything.
    pub fn last(&self) -> Option<&State> {
        self.last.as_ref()
    }

    /// What everybody should have of one item.
    pub fn should(&self, name: &Name) -> Item {
        let last = || self.last.as_ref().map_or(&Item::Absent, |last| last.item(name));
        self.instead.get(name).unwrap_or_else(last).clone()
    }

    /// Why each overridden flag is as it is.
    pub fn reasons(&self) -> &BTreeMap<FlagKey, Reason> {
        &self.reasons
    }

    /// LaunchDarkly's newest word on an overridden flag.
    pub fn newest(&self, flag: &FlagKey) -> Option<&Item> {
        self.newest.get(flag)
    }

    /// The first event of a new connection; `None` while there is nothing to give.
    pub fn put_for_new(&mut self) -> Option<Bytes> {
        let last = self.last.as_ref()?;
        if self.holding.is_none() {
            self.holding = Some(Holding::after_put(Arc::new(last.clone()), self.instead.clone()));
        }
        let put = self.put.get_or_insert_with(|| last.to_put(&self.instead));
        Some(put.clone())
    }

    /// Takes an event of LaunchDarkly's stream, and gives what all connections get because of it. Where no override has a
    /// hand in it, that is the event to the byte.
    ///
    /// # Errors
    /// [`NotUnderstood`]: it is none of LaunchDarkly's. Nothing was taken of it, and it must not go on.
    pub fn event(&mut self, event: &Event) -> Result<Vec<Bytes>, NotUnderstood> {
        match told(event)? {
            Told::Put(state) => Ok(self.take_put(state, &event.bytes)),
            Told::Item(name, item) => Ok(self.take_item(&name, item, &event.bytes)),
            Told::Other => Ok(vec![event.bytes.clone()]),
        }
    }

    /// Takes a whole state that did not come over the stream: from disk, or from stores while LaunchDarkly is away.
    pub fn restore(&mut self, state: State) -> Vec<Bytes> {
        (self.last, self.live) = (Some(state), false);
        self.overlay_all();
        self.differences()
    }

    /// Takes what stores told, all of it before anything is decided, and gives what all get because of it.
    pub fn stores(&mut self, word: StoresWord) -> Vec<Bytes> {
        let mut names: indexmap::IndexSet<Name> = self.change_overrides(word.overrides).iter().map(name_of).collect();
        for Sight { flag, item, launchdarklys } in word.seen {
            let name = name_of(&flag);
            if let Some(holding) = &mut self.holding {
                holding.seen(&name, &item);
            }
            if launchdarklys && !self.is_gone(&name) {
                self.learn(&flag, &item);
                if let Some(last) = &mut self.last
                    && last.take(&name, &item)
                {
                    self.put = None;
                }
                self.overlay_one(&flag);
            }
            names.insert(name);
        }
        for (flag, version) in word.perhaps_held {
            let name = name_of(&flag);
            if let Some(holding) = &mut self.holding {
                holding.may_have_held(&name, version);
            }
            names.insert(name);
        }
        if word.emptied && self.holding.is_some() {
            return self.everything(None);
        }
        self.send(names)
    }

    /// Whether LaunchDarkly's stream has told that there is no such item. A record of it in a store is what nobody has taken
    /// away there; if it is there again, the stream will say so.
    fn is_gone(&self, name: &Name) -> bool {
        self.live && self.last.as_ref().is_some_and(|last| matches!(last.item(name), Item::Absent))
    }

    /// Takes the overrides that hold now; the flags for which that is a change.
    fn change_overrides(&mut self, overrides: BTreeMap<FlagKey, Override>) -> Vec<FlagKey> {
        let changed: Vec<FlagKey> = overrides
            .iter()
            .filter(|(flag, override_)| self.overrides.get(*flag) != Some(*override_))
            .map(|(flag, _)| flag.clone())
            .chain(self.overrides.keys().filter(|flag| !overrides.contains_key(*flag)).cloned())
            .collect();
        self.overrides = overrides;
        self.newest.retain(|flag, _| self.overrides.contains_key(flag));
        changed.iter().for_each(|flag| self.overlay_one(flag));
        changed
    }

    /// The event that says again what an overridden flag should be, for those who came in between: a relay's cache may
    /// have handed out what was there before (launchdarkly.md 15). Who holds it drops it.
    pub fn again(&self, flag: &FlagKey) -> Option<Bytes> {
        let name = name_of(flag);
        self.holding.as_ref()?;
        to_event(&name, &self.should(&name))
    }

    fn take_put(&mut self, state: State, bytes: &Bytes) -> Vec<Bytes> {
        let overridden: Vec<FlagKey> = self.overrides.keys().cloned().collect();
        for flag in &overridden {
            match state.item(&name_of(flag)) {
                // The flag is gone, whatever was seen before.
                Item::Absent => {
                    self.newest.insert(flag.clone(), Item::Absent);
                }
                item => self.learn(flag, item),
            }
        }
        (self.last, self.live) = (Some(state), true);
        self.overlay_all();
        if self.instead.is_empty() {
            return self.everything(Some(bytes));
        }
        self.differences()
    }

    fn take_item(&mut self, name: &Name, item: Item, bytes: &Bytes) -> Vec<Bytes> {
        let flag = overridable(name).filter(|flag| self.overrides.contains_key(flag));
        let Some(last) = &mut self.last else {
            // Before the first `put` an SDK takes nothing either.
            return vec![bytes.clone()];
        };
        let taken = last.take(name, &item);
        if taken {
            self.put = None;
        }
        let is_deleted = matches!(last.item(name), Item::Deleted { .. });
        match flag {
            Some(flag) => {
                self.learn(&flag, &item);
                self.overlay_one(&flag);
                self.send([name.clone()])
            }
            // It comes late, and was deleted since. Who had a `put` of ours since then does not know that, and would take it.
            None if !taken && is_deleted && item.text().is_some() => Vec::new(),
            // A version that nobody takes goes on as it came, as it would without us.
            None if !taken => vec![bytes.clone()],
            None => self.send_as(name, &item, bytes),
        }
    }

    /// Sends LaunchDarkly's own event, if it is enough.
    fn send_as(&mut self, name: &Name, item: &Item, bytes: &Bytes) -> Vec<Bytes> {
        let Some(holding) = &mut self.holding else { return Vec::new() };
        match holding.sending(name, item) {
            Sending::Everything => self.everything(None),
            Sending::One | Sending::Nothing => {
                holding.sent(name, item);
                vec![bytes.clone()]
            }
        }
    }

    /// Keeps LaunchDarkly's newest word on an overridden flag.
    fn learn(&mut self, flag: &FlagKey, item: &Item) {
        if !self.overrides.contains_key(flag) {
            return;
        }
        let known = self.newest.entry(flag.clone()).or_insert(Item::Absent);
        if item.version() >= known.version() {
            *known = item.clone();
        }
    }

    fn overlay_all(&mut self) {
        self.put = None;
        self.instead.clear();
        self.reasons.clear();
        let flags: Vec<FlagKey> = self.overrides.keys().cloned().collect();
        flags.iter().for_each(|flag| self.overlay_one(flag));
    }

    fn overlay_one(&mut self, flag: &FlagKey) {
        self.put = None;
        let name = name_of(flag);
        let Some(override_) = self.overrides.get(flag) else {
            self.instead.shift_remove(&name);
            self.reasons.remove(flag);
            return;
        };
        let Some(last) = &self.last else { return };
        let newest = self.newest.get(flag).unwrap_or_else(|| last.item(&name));
        let overlaid = overlay(newest, override_, self.on_conflict);
        self.instead.insert(name, overlaid.item);
        self.reasons.insert(flag.clone(), overlaid.reason);
    }

    /// What is needed so that all hold what they should of everything.
    fn differences(&mut self) -> Vec<Bytes> {
        let (Some(holding), Some(last)) = (&self.holding, &self.last) else { return Vec::new() };
        let of_last = last.items().map(|(name, item)| (name, self.instead.get(name).unwrap_or(item)));
        // What LaunchDarkly does not have, or not any more.
        let is_more = |name: &&Name| matches!(last.item(name), Item::Absent);
        let more = holding.names().chain(self.instead.keys()).filter(is_more);
        let more: indexmap::IndexSet<&Name> = more.collect();
        let more = more.into_iter().map(|name| (name, self.instead.get(name).unwrap_or(&Item::Absent)));
        match needed(holding, of_last.chain(more)) {
            Some(single) => self.send_single(single),
            None => self.everything(None),
        }
    }

    fn send(&mut self, names: impl IntoIterator<Item = Name>) -> Vec<Bytes> {
        let (Some(holding), Some(_)) = (&self.holding, &self.last) else { return Vec::new() };
        let should: Vec<(Name, Item)> = names
            .into_iter()
            .map(|name| {
                let should = self.should(&name);
                (name, should)
            })
            .collect();
        match needed(holding, should.iter().map(|(name, should)| (name, should))) {
            Some(single) => self.send_single(single),
            None => self.everything(None),
        }
    }

    fn send_single(&mut self, single: Vec<(Name, Item)>) -> Vec<Bytes> {
        let Some(holding) = &mut self.holding else { return Vec::new() };
        let event = |(name, should): (Name, Item)| {
            let event = to_event(&name, &should)?;
            holding.sent(&name, &should);
            Some(event)
        };
        single.into_iter().filter_map(event).collect()
    }

    /// A `put` for all. `bytes` is LaunchDarkly's own, where it says just that.
    fn everything(&mut self, bytes: Option<&Bytes>) -> Vec<Bytes> {
        let Some(last) = &self.last else { return Vec::new() };
        let put = bytes.cloned().or_else(|| self.put.clone()).unwrap_or_else(|| last.to_put(&self.instead));
        self.holding = Some(Holding::after_put(Arc::new(last.clone()), self.instead.clone()));
        self.put = Some(put.clone());
        vec![put]
    }
}

/// The items that have to be sent so that all hold what they should; `None` where a `put` is needed.
fn needed<'i>(holding: &Holding, should: impl Iterator<Item = (&'i Name, &'i Item)>) -> Option<Vec<(Name, Item)>> {
    let mut single = Vec::new();
    for (name, should) in should {
        match holding.sending(name, should) {
            Sending::Nothing => {}
            Sending::One => single.push((name.clone(), should.clone())),
            Sending::Everything => return None,
        }
        if single.len() > SINGLE_MAX {
            return None;
        }
    }
    Some(single)
}

fn name_of(flag: &FlagKey) -> Name {
    (Kind::Flag, Arc::from(flag.as_str()))
}

/// The flag that an override could be of.
fn overridable(name: &Name) -> Option<FlagKey> {
    if name.0 == Kind::Flag { name.1.parse().ok() } else { None }
}

#[cfg(test)]
mod audience;
#[cfg(test)]
mod tests;
