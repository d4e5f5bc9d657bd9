//! What the stores hold, flag by flag: the copies of all targets joined into one row each. Pure; how it is shown is not
//! its business. `rc show` tells a single flag with the same words.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::change::merge::Standing;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::target::Target;
use crate::commands::survey::TargetView;
use crate::flag::check;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::preview;
use crate::flag::preview::Serves;
use crate::flag::record::Record;

/// Which flags are wanted.
pub(super) struct Wishes<'a> {
    /// Only flags whose key holds this, in any case.
    pub(super) part: Option<&'a str>,
    /// Deleted ones too.
    pub(super) deleted: bool,
}

/// The document of `rc flags --json`.
#[derive(Debug, Serialize)]
pub(super) struct List {
    /// `project/environment`.
    pub(super) environment: String,
    /// The targets, in the order of stores.
    pub(super) targets: Vec<TargetTold>,
    /// The flags, by key.
    pub(super) flags: Vec<Listed>,
    /// How many deleted flags were left out.
    pub(super) deleted_left_out: usize,
}

/// A target, and how it answered.
#[derive(Debug, Serialize)]
pub(super) struct TargetTold {
    /// Store and prefix.
    #[serde(flatten)]
    pub(super) target: Target,
    /// How it is called in a table: by its store's label, where that has no other target.
    #[serde(skip)]
    pub(super) name: String,
    /// Whether it is a payload filter's copy.
    pub(super) is_filter_copy: bool,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// Whether relays take it for complete (`$inited`).
    pub(super) initialised: bool,
    /// Whether our own keys can be read there; if not, overrides are not seen.
    pub(super) own_keys: bool,
    /// Fields of its hash whose name is no flag key.
    pub(super) strange_fields: Vec<String>,
}

/// What a copy of a flag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::commands) enum State {
    /// Targeting is on.
    On,
    /// Targeting is off.
    Off,
    /// LaunchDarkly deleted the flag.
    Deleted,
    /// No relay can read it.
    Damaged,
    /// It is not there.
    Missing,
}

impl State {
    /// As shown.
    pub(in crate::commands) fn word(self) -> &'static str {
        match self {
            State::On => "on",
            State::Off => "off",
            State::Deleted => "deleted",
            State::Damaged => "DAMAGED",
            State::Missing => "missing",
        }
    }
}

/// What is served, for JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "to", content = "value", rename_all = "kebab-case")]
pub(in crate::commands) enum Served {
    /// Everybody gets this value.
    Everybody(Value),
    /// The code's own default.
    CodeDefault,
    /// It depends; the value of the default rule, where that is one variation.
    Depends(Option<Value>),
}

impl From<Serves> for Served {
    fn from(serves: Serves) -> Self {
        match serves {
            Serves::Everybody(value) => Served::Everybody(value),
            Serves::CodeDefault => Served::CodeDefault,
            Serves::Depends(value) => Served::Depends(value),
        }
    }
}

/// What one copy of a flag comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct CopyTold {
    /// What it is.
    pub(in crate::commands) state: State,
    /// What it serves; nothing where no relay can read it or it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) serves: Option<Served>,
    /// The same in few words.
    #[serde(skip)]
    pub(in crate::commands) serves_in_words: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) version: Option<u64>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) problem: Option<String>,
}

/// One flag.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    /// Its key.
    pub(super) flag: String,
    /// What the first full copy that can be read says; else the first copy.
    #[serde(flatten)]
    pub(super) told: CopyTold,
    /// The override in force.
    #[serde(rename = "override", skip_serializing_if = "Option::is_none")]
    pub(super) override_: Option<Mark>,
    /// An override that cannot be read, and where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) damaged_overrides: Vec<String>,
    /// The copies that say something else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) differs: Vec<Differing>,
}

/// A copy that says something else than the first.
#[derive(Debug, Serialize)]
pub(super) struct Differing {
    /// Where.
    #[serde(flatten)]
    pub(super) target: Target,
    /// How it is called in a table.
    #[serde(skip)]
    pub(super) name: String,
    /// What it says.
    #[serde(flatten)]
    pub(super) told: CopyTold,
}

/// An override, as a list names it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::commands) struct Mark {
    /// The newest change; empty where the override names none.
    pub(in crate::commands) change: String,
    /// Its last digits.
    pub(in crate::commands) digits: String,
    /// Who.
    pub(in crate::commands) user: String,
    /// On which machine.
    pub(in crate::commands) host: String,
    /// When.
    pub(in crate::commands) at: Timestamp,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) reason: Option<String>,
    /// The incident it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) incident: Option<String>,
    /// When somebody wants to be reminded of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::commands) expires: Option<Timestamp>,
    /// How far it has come.
    pub(in crate::commands) state: OverrideState,
}

impl Mark {
    /// The newest edit of an override.
    pub(in crate::commands) fn of(override_: &Override) -> Self {
        let motive = &override_.motive;
        Self {
            change: override_.change().map(|change| change.to_string()).unwrap_or_default(),
            digits: override_.change().map(|change| change.short()).unwrap_or_default(),
            user: motive.actor.user.clone(),
            host: motive.actor.host.clone(),
            at: motive.at,
            reason: motive.reason.clone(),
            incident: motive.incident.clone(),
            expires: motive.expires,
            state: override_.state.clone(),
        }
    }
}

impl CopyTold {
    /// What the bytes of a record come to; `None`: there is no such field.
    pub(in crate::commands) fn of(bytes: Option<&[u8]>) -> Self {
        let nothing =
            |state| Self { state, serves: None, serves_in_words: String::new(), version: None, problem: None };
        let Some(bytes) = bytes else { return nothing(State::Missing) };
        let damaged = |problem: String| Self { problem: Some(problem), ..nothing(State::Damaged) };
        let record = match Record::parse(bytes) {
            Ok(record) => record,
            Err(error) => return damaged(format!("the record is {error}")),
        };
        let version = Some(record.version());
        if record.is_tombstone() {
            return Self { version, ..nothing(State::Deleted) };
        }
        if let Err(unreadable) = check::readable(&record) {
            return Self { version, ..damaged(unreadable.to_string()) };
        }
        let serves = preview::serves(&record);
        let state = if record.raw("on") == Some("true") { State::On } else { State::Off };
        Self { serves_in_words: serves.in_words(), serves: Some(serves.into()), version, ..nothing(state) }
    }
}

impl List {
    /// Joins what the targets said. Reads each distinct record once: copies are mostly equal to the byte.
    pub(super) fn of(
        environment: &Environment,
        views: &[TargetView],
        standings: &BTreeMap<FlagKey, Standing>,
        wishes: &Wishes<'_>,
    ) -> Self {
        let part = wishes.part.map(str::to_lowercase);
        let wanted = |flag: &&FlagKey| match &part {
            Some(part) => flag.as_str().to_lowercase().contains(part.as_str()),
            None => true,
        };
        let keys = views.iter().filter_map(|view| view.reading.as_ref().ok()).flat_map(|reading| reading.flags.keys());
        let keys: BTreeSet<&FlagKey> = keys.filter(wanted).collect();
        let names = names(views);
        let mut flags = Vec::new();
        let mut deleted_left_out = 0;
        for flag in keys {
            let listed = listed(flag, views, &names, standings.get(flag).and_then(Standing::in_force));
            if listed.told.state == State::Deleted && listed.differs.is_empty() && !wishes.deleted {
                deleted_left_out += 1;
            } else {
                flags.push(listed);
            }
        }
        let targets = views.iter().zip(&names).map(|(view, name)| TargetTold::of(view, name)).collect();
        Self { environment: environment.to_string(), targets, flags, deleted_left_out }
    }
}

impl TargetTold {
    fn of(view: &TargetView, name: &str) -> Self {
        let reading = view.reading.as_ref();
        Self {
            target: view.chosen.target.clone(),
            name: name.to_owned(),
            is_filter_copy: view.chosen.is_filter_copy,
            problem: reading.err().map(ToString::to_string),
            initialised: reading.is_ok_and(|reading| reading.initialised),
            own_keys: reading.is_ok_and(|reading| reading.own_keys),
            strange_fields: reading.map(|reading| reading.strange_fields.clone()).unwrap_or_default(),
        }
    }
}

/// How the targets are called in tables: by their store's label, and by the prefix too where it has several.
pub(in crate::commands) fn names(views: &[TargetView]) -> Vec<String> {
    let alone = |target: &Target| views.iter().filter(|view| view.chosen.target.store == target.store).count() == 1;
    let name = |target: &Target| if alone(target) { target.store.clone() } else { target.to_string() };
    views.iter().map(|view| name(&view.chosen.target)).collect()
}

fn listed(flag: &FlagKey, views: &[TargetView], names: &[String], override_: Option<&Override>) -> Listed {
    let mut copies: Vec<(&TargetView, &String, CopyTold)> = Vec::with_capacity(views.len());
    let mut read: Vec<(Option<&[u8]>, CopyTold)> = Vec::new();
    let mut damaged_overrides = Vec::new();
    for (view, name) in views.iter().zip(names) {
        let Ok(reading) = &view.reading else { continue };
        let found = reading.flags.get(flag);
        let bytes = found.and_then(|found| found.record.as_deref());
        let stored = found.and_then(|found| found.override_.as_ref());
        if let Some(Err(problem)) = stored.map(|stored| &stored.parsed) {
            damaged_overrides.push(format!("{name}: {problem}"));
        }
        let known = read.iter().find(|(other, _)| *other == bytes).map(|(_, told)| told.clone());
        let told = known.unwrap_or_else(|| {
            let told = CopyTold::of(bytes);
            read.push((bytes, told.clone()));
            told
        });
        // A payload filter leaves flags out: that is what it is for.
        if told.state != State::Missing || !view.chosen.is_filter_copy {
            copies.push((view, name, told));
        }
    }
    let good =
        |(_, _, told): &&(&TargetView, &String, CopyTold)| !matches!(told.state, State::Missing | State::Damaged);
    let full = |(view, _, _): &&(&TargetView, &String, CopyTold)| !view.chosen.is_filter_copy;
    let there = |(_, _, told): &&(&TargetView, &String, CopyTold)| told.state != State::Missing;
    let first = copies.iter().filter(full).find(good).or_else(|| copies.iter().find(good));
    let first = first.or_else(|| copies.iter().find(there));
    let told = first.map_or_else(|| CopyTold::of(None), |(_, _, told)| told.clone());
    let differs = copies
        .into_iter()
        .filter(|(_, _, other)| *other != told)
        .map(|(view, name, told)| Differing { target: view.chosen.target.clone(), name: name.clone(), told })
        .collect();
    Listed { flag: flag.to_string(), told, override_: override_.map(Mark::of), damaged_overrides, differs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::targets::Chosen;
    use crate::store::FlagReading;
    use crate::store::Reading;
    use crate::store::StoreError;

    const OFF: &str = r#"{"key":"a","version":4,"on":false,"offVariation":1,"variations":[true,false],"fallthrough":{"variation":0}}"#;
    const ON: &str =
        r#"{"key":"a","version":3,"on":true,"offVariation":1,"variations":[true,false],"fallthrough":{"variation":0}}"#;
    const GONE: &str = r#"{"key":"a","version":9,"deleted":true}"#;

    fn view(store: &str, is_filter_copy: bool, flags: &[(&str, &str)]) -> TargetView {
        let flag = |(key, record): &(&str, &str)| {
            let reading = FlagReading { record: Some(record.as_bytes().to_vec()), ..FlagReading::default() };
            (key.parse().unwrap(), reading)
        };
        let flags = flags.iter().map(flag).collect();
        let reading = Reading { initialised: true, own_keys: true, flags, ..Reading::default() };
        let target = Target { store: store.to_owned(), prefix: "p".to_owned() };
        TargetView { chosen: Chosen { target, is_filter_copy }, reading: Ok(reading) }
    }

    fn list(views: &[TargetView], part: Option<&str>, deleted: bool) -> List {
        let environment = "shop/production".parse().unwrap();
        List::of(&environment, views, &BTreeMap::new(), &Wishes { part, deleted })
    }

    fn told(list: &List) -> Vec<String> {
        let differing = |differing: &Differing| format!(" {}={}", differing.name, differing.told.state.word());
        let row = |listed: &Listed| {
            let differs: String = listed.differs.iter().map(differing).collect();
            format!("{} {} {}{differs}", listed.flag, listed.told.state.word(), listed.told.serves_in_words)
        };
        list.flags.iter().map(row).collect()
    }

    #[test]
    fn the_copies_of_a_flag_are_one_row() {
        let views = [
            view("eu", false, &[("a", OFF), ("b", ON)]),
            view("us", false, &[("a", ON), ("b", ON)]),
            view("us/filter", true, &[("b", ON)]),
        ];
        assert_eq!(told(&list(&views, None, false)), ["a off false us=on", "b on true"]);
        assert_eq!(told(&list(&views, Some("B"), false)), ["b on true"]);
    }

    #[test]
    fn a_missing_or_damaged_copy_is_named_and_does_not_speak_for_the_others() {
        let damaged = r#"{"key":"a","version":3,"on":"off"}"#;
        let views = [view("eu", false, &[("a", damaged)]), view("us", false, &[("a", ON)]), view("ap", false, &[])];
        let list = list(&views, None, false);
        assert_eq!(told(&list), ["a on true eu=DAMAGED ap=missing"]);
        let problem = list.flags[0].differs[0].told.problem.as_deref().unwrap();
        assert!(problem.contains("the text \"off\""), "{problem}");
    }

    #[test]
    fn deleted_flags_are_counted_and_shown_only_where_wanted_or_where_stores_disagree() {
        let views = [view("eu", false, &[("a", GONE), ("b", GONE)]), view("us", false, &[("a", GONE), ("b", ON)])];
        let short = list(&views, None, false);
        assert_eq!((told(&short), short.deleted_left_out), (vec!["b deleted  us=on".to_owned()], 1));
        assert_eq!(told(&list(&views, None, true)).len(), 2);
    }

    #[test]
    fn a_silent_target_takes_nothing_away() {
        let mut views = vec![view("eu", false, &[("a", ON)]), view("us", false, &[])];
        views[1].reading = Err(StoreError::Other { address: "us:6379".to_owned(), problem: "LOADING".to_owned() });
        let list = list(&views, None, false);
        assert_eq!(told(&list), ["a on true"]);
        assert_eq!(list.targets[1].problem.as_deref(), Some("us:6379 answered: LOADING"));
    }
}
