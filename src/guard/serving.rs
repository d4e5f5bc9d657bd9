//! What a `put` is made of that is served while LaunchDarkly is away: never older than what the stores hold. PURE. It must
//! not know overlays; what it gives is LaunchDarkly's word, on which the overrides go.
//!
//! A store counts if it is filled and relays could read every record in it. The keys of the stores that count rule: what is
//! in none of them is gone. Of each key the highest version that is known counts, remembered or in a store. A record of ours
//! stands for LaunchDarkly's record under it. Only where no store counts serves what is remembered alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::change::override_::Override;
use crate::change::seen::is_ours;
use crate::change::target::Target;
use crate::flag::check;
use crate::flag::record::Record;
use crate::guard::overrides::WholeReading;
use crate::guard::stream::item::Item;
use crate::guard::stream::item::Kind;
use crate::guard::stream::item::Text;
use crate::guard::stream::state::Name;
use crate::guard::stream::state::State;
use crate::store::StoreError;

/// What may be served, and on whose word.
#[derive(Debug, Clone)]
pub struct Served {
    /// LaunchDarkly's last state as far as it is known, without overrides.
    pub state: State,
    /// Whether a store had a say. If not, memory or disk alone serve, and their age is to be alarmed.
    pub from_store: bool,
    /// The stores that had none, each with why in words.
    pub left_out: Vec<(Target, String)>,
}

/// Nothing may be served: nothing is remembered, and no store has a say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nothing {
    /// The stores, each with why in words.
    pub left_out: Vec<(Target, String)>,
}

/// What may be served, from what is remembered of LaunchDarkly's stream and from what stores hold.
///
/// # Errors
/// [`Nothing`].
pub fn served(
    remembered: Option<&State>,
    readings: &[(Target, Result<WholeReading, StoreError>)],
) -> Result<Served, Nothing> {
    let mut counting: Vec<BTreeMap<Name, Item>> = Vec::new();
    let mut left_out: Vec<(Target, String)> = Vec::new();
    for (target, reading) in readings {
        match reading.as_ref().map_err(ToString::to_string).and_then(items) {
            Ok(items) => counting.push(items),
            Err(why) => left_out.push((target.clone(), why)),
        }
    }
    if counting.is_empty() {
        return match remembered {
            Some(remembered) => Ok(Served { state: remembered.clone(), from_store: false, left_out }),
            None => Err(Nothing { left_out }),
        };
    }
    let mut state = State::default();
    let is_there = |name: &Name| counting.iter().any(|items| items.contains_key(name));
    // In LaunchDarkly's own order as far as that is known.
    for (name, item) in remembered.iter().flat_map(|state| state.items()).filter(|(name, _)| is_there(name)) {
        state.set(name.clone(), item.clone());
    }
    for (name, item) in counting.into_iter().flatten() {
        if matches!(state.item(&name), Item::Absent) {
            state.set(name, item);
        } else {
            state.take(&name, &item);
        }
    }
    if let Some(remembered) = remembered {
        state.set_others(remembered.others());
    }
    Ok(Served { state, from_store: true, left_out })
}

/// All that a store holds, as LaunchDarkly's word.
///
/// # Errors
/// Why it has no say, in words.
fn items(reading: &WholeReading) -> Result<BTreeMap<Name, Item>, String> {
    if !reading.initialised {
        return Err("it is not filled: relays take it for empty".to_owned());
    }
    if let Some(strange) = reading.strange.first() {
        return Err(format!("{strange} is served from it and is no record"));
    }
    let mut items = BTreeMap::new();
    for (key, bytes) in &reading.flags {
        let record = decoded(bytes, check::readable).map_err(|why| format!("its flag {key} {why}"))?;
        let ours = key.parse().ok().and_then(|flag| reading.ours.get(&flag)).map(Vec::as_slice).unwrap_or_default();
        items.insert((Kind::Flag, Arc::from(key.as_str())), launchdarklys(&record, ours));
    }
    for (key, bytes) in &reading.segments {
        let record = decoded(bytes, check::readable_segment).map_err(|why| format!("its segment {key} {why}"))?;
        items.insert((Kind::Segment, Arc::from(key.as_str())), Item::of_record(&record));
    }
    Ok(items)
}

fn decoded(bytes: &[u8], check: fn(&Record) -> Result<(), check::Unreadable>) -> Result<Record, String> {
    let record = Record::parse(bytes).map_err(|error| format!("is {error}"))?;
    // A deletion may lack everything that a flag needs.
    if record.is_tombstone() {
        return Ok(record);
    }
    check(&record).map_err(|unreadable| format!("would not be read: {unreadable}"))?;
    Ok(record)
}

/// LaunchDarkly's record: the one that stands there, or the one under ours.
fn launchdarklys(record: &Record, ours: &[Override]) -> Item {
    let under = ours.iter().find(|override_| is_ours(record, [*override_])).map(|override_| &override_.upstream);
    // The text is the record's own: what it was read from is larger than it, and would be kept alive by it.
    under.map_or_else(|| Item::of(Text::from(record.text())), Item::of_record)
}

#[cfg(test)]
mod tests;
