//! Everything that can be told of one flag, put together from what was read. Pure; how it looks is `report`'s business.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::relays::RelayShown;
use crate::change::merge::Standing;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::seen;
use crate::change::state;
use crate::change::target::Target;
use crate::commands::flags::listed;
use crate::commands::flags::listed::CopyTold;
use crate::commands::flags::listed::Mark;
use crate::commands::flags::listed::State;
use crate::commands::log::outcome;
use crate::commands::overview;
use crate::commands::survey::TargetView;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Clause;
use crate::flag::configuration::Configuration;
use crate::flag::configuration::Rule;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::patch;
use crate::flag::preview;
use crate::flag::record::Record;
use crate::playback::Loaded;
use crate::playback::LoadedFile;
use crate::ui::harmless::excerpt;
use crate::ui::words::count;
use crate::ui::words::list_some;

/// The most values of a rule's condition that are named.
const VALUES_MAX: usize = 5;

/// All that was read.
pub(super) struct Looked<'l> {
    pub(super) environment: &'l Environment,
    pub(super) flag: &'l FlagKey,
    pub(super) views: &'l [TargetView],
    pub(super) standing: Option<Standing>,
    pub(super) relays: Vec<RelayShown>,
    pub(super) loaded: &'l Loaded,
}

/// The document of `rc show --json`.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    /// Its key.
    pub(super) flag: String,
    /// `project/environment`.
    pub(super) environment: String,
    /// Target by target, in the order of stores.
    pub(super) copies: Vec<CopyShown>,
    /// What the first copy that relays can read says, aspect by aspect, in words.
    pub(super) aspects: BTreeMap<Aspect, String>,
    /// The values, by index.
    pub(super) variations: Vec<serde_json::Value>,
    /// Its individual targets, in words: `2 user keys get true`.
    pub(super) targets: Vec<String>,
    /// Its rules in order, in words: `country in ["ch"]: false`.
    pub(super) rules: Vec<String>,
    /// The flags that it requires.
    pub(super) requires: Vec<Required>,
    /// The flags that require it.
    pub(super) required_by: Vec<Requiring>,
    /// The override in force.
    #[serde(rename = "override")]
    pub(super) override_: Option<OverrideShown>,
    /// The override that was in force, as its mark says it.
    pub(super) ended: Option<EndedMark>,
    /// What relays serve.
    pub(super) relays: Vec<RelayShown>,
    /// The changes in the playback that name it, oldest first.
    pub(super) playback: Vec<FileShown>,
}

/// Whose a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Author {
    /// LaunchDarkly's: no override and no change in the playback explains it.
    Launchdarkly,
    /// It is what the override in force comes to.
    Override,
    /// It is what a change in the playback wrote there, by its last digits; no override that we may see stands beside it.
    Change(String),
}

/// The flag in one target.
#[derive(Debug, Serialize)]
pub(super) struct CopyShown {
    /// Where.
    #[serde(flatten)]
    pub(super) target: Target,
    /// How it is called in a table.
    #[serde(skip)]
    pub(super) name: String,
    /// Whether it is a payload filter's copy.
    pub(super) is_filter_copy: bool,
    /// Why the target could not be read; then nothing else of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_read: Option<String>,
    /// What it comes to.
    #[serde(flatten)]
    pub(super) told: CopyTold,
    /// Whose the record is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written_by: Option<Author>,
    /// In what it differs from the first copy that relays can read, with what it says there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) differs: BTreeMap<Aspect, String>,
    /// What is wrong with the override beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged_override: Option<String>,
    /// Whether `rc update --repair` can mend it.
    pub(super) can_be_repaired: bool,
    /// What LaunchDarkly's Rust model says against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) second_opinion: Option<String>,
    /// The record itself, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<String>,
    #[serde(skip)]
    pub(super) parsed: Option<Record>,
}

/// A flag that this one requires.
#[derive(Debug, Serialize)]
pub(super) struct Required {
    /// Which.
    pub(super) flag: String,
    /// The value that it must serve, in words.
    pub(super) value: String,
    /// Whether it is on; while it is off, it never meets the requirement. Unknown where it is not in the store.
    pub(super) on: Option<bool>,
}

/// A flag that requires this one.
#[derive(Debug, Serialize)]
pub(super) struct Requiring {
    /// Which.
    pub(super) flag: String,
    /// The value that it wants, in words.
    pub(super) value: String,
    /// Whether it is on itself.
    pub(super) on: bool,
}

/// The override in force.
#[derive(Debug, Serialize)]
pub(super) struct OverrideShown {
    /// Who, when and why.
    #[serde(flatten)]
    pub(super) mark: Mark,
    /// How many edits it has had.
    pub(super) revision: u64,
    /// The changes it is made of, oldest first.
    pub(super) changes: Vec<String>,
    /// What it does.
    pub(super) instructions: Vec<Instruction>,
    /// LaunchDarkly's version when it began.
    pub(super) base_version: u64,
    /// LaunchDarkly's newest version that was seen.
    pub(super) launchdarkly_version: u64,
    /// What it touches.
    pub(super) touches: Vec<Touched>,
    /// The targets that lack it, although they answered.
    pub(super) lacking: Vec<String>,
}

/// One aspect that an override touches, in words.
#[derive(Debug, Serialize)]
pub(super) struct Touched {
    /// Which.
    pub(super) aspect: Aspect,
    /// What LaunchDarkly said when the override began.
    pub(super) base: String,
    /// What the override says.
    pub(super) wanted: String,
    /// What LaunchDarkly's newest record says that was seen.
    pub(super) launchdarkly: String,
}

/// A change in the playback that names the flag.
#[derive(Debug, Serialize)]
pub(super) struct FileShown {
    /// Its file.
    pub(super) file: PathBuf,
    /// Its id.
    pub(super) change: String,
    /// The last digits of it.
    pub(super) digits: String,
    /// Who.
    pub(super) user: String,
    /// When.
    pub(super) at: Timestamp,
    /// What it came to, in words.
    pub(super) outcome: String,
    /// The line at which the file is damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged_line: Option<usize>,
}

impl Shown {
    /// Puts it together. With `raw`, records stand in it.
    pub(super) fn of(looked: Looked<'_>, raw: bool) -> Self {
        let override_ = looked.standing.as_ref().and_then(Standing::in_force);
        let names = listed::names(looked.views);
        let mut copies: Vec<CopyShown> =
            looked.views.iter().zip(names).map(|(view, name)| copy(&looked, view, name, override_, raw)).collect();
        let first = copies.iter().find(|copy| !copy.is_filter_copy && copy.parsed.is_some());
        let first = first.or_else(|| copies.iter().find(|copy| copy.parsed.is_some()));
        let configuration = first.and_then(|copy| copy.parsed.as_ref()).map(Configuration::of_record);
        let place = first.and_then(|first| looked.views.iter().find(|view| view.chosen.target == first.target));
        if let Some(configuration) = &configuration {
            for copy in &mut copies {
                let Some(other) = copy.parsed.as_ref().map(Configuration::of_record) else { continue };
                let differing = configuration.differs(&other).into_iter();
                copy.differs = differing.map(|aspect| (aspect, other.in_words(aspect))).collect();
            }
        }
        let aspects = configuration.iter().flat_map(|known| Aspect::ALL.map(|aspect| (aspect, known.in_words(aspect))));
        let ended = match &looked.standing {
            Some(Standing::Ended(mark)) => Some(mark.clone()),
            _ => None,
        };
        let mut playback: Vec<FileShown> = looked.loaded.files.iter().flat_map(|file| filed(&looked, file)).collect();
        for damage in &looked.loaded.damaged {
            let readable = damage.readable.as_deref().into_iter().flat_map(|file| filed(&looked, file));
            playback.extend(readable.map(|file| FileShown { damaged_line: damage.line, ..file }));
        }
        Self {
            flag: looked.flag.to_string(),
            environment: looked.environment.to_string(),
            aspects: aspects.collect(),
            variations: configuration.iter().flat_map(|known| &known.variations).map(|value| value.0.clone()).collect(),
            targets: configuration.as_ref().map(targets_in_words).unwrap_or_default(),
            rules: configuration.as_ref().map(rules_in_words).unwrap_or_default(),
            requires: configuration.as_ref().map(|known| requires(known, place)).unwrap_or_default(),
            required_by: required_by(&looked, configuration.as_ref()),
            override_: override_.map(|override_| shown_override(override_, &looked)),
            ended,
            copies,
            relays: looked.relays,
            playback,
        }
    }
}

fn copy(looked: &Looked<'_>, view: &TargetView, name: String, override_: Option<&Override>, raw: bool) -> CopyShown {
    let found = view.flag(looked.flag).unwrap_or_default();
    let told = CopyTold::of(found.record.as_deref());
    let record = found.record.as_deref().and_then(|bytes| Record::parse(bytes).ok());
    let stored = found.override_.map(|stored| stored.parsed);
    let parsed = record.as_ref().filter(|_| matches!(told.state, State::On | State::Off));
    let own = stored.as_ref().and_then(|stored| stored.as_ref().ok());
    let written_by = parsed.map(|record| {
        if seen::is_ours(record, own.into_iter().chain(override_)) {
            return Author::Override;
        }
        let own_keys = view.reading.as_ref().is_ok_and(|reading| reading.own_keys);
        let change = (!own_keys).then(|| writer(looked, &view.chosen.target, record)).flatten();
        change.map_or(Author::Launchdarkly, Author::Change)
    });
    CopyShown {
        target: view.chosen.target.clone(),
        name,
        is_filter_copy: view.chosen.is_filter_copy,
        not_read: view.reading.as_ref().err().map(ToString::to_string),
        written_by,
        differs: BTreeMap::new(),
        damaged_override: stored.as_ref().and_then(|stored| stored.as_ref().err().cloned()),
        can_be_repaired: told.state == State::Damaged
            && record.as_ref().is_some_and(|record| patch::repaired(record).is_some()),
        second_opinion: parsed.and_then(preview::second_opinion),
        record: found.record.filter(|_| raw).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        parsed: parsed.cloned(),
        told,
    }
}

/// The newest change in the playback that wrote this record there.
fn writer(looked: &Looked<'_>, target: &Target, record: &Record) -> Option<String> {
    let wrote = |file: &&LoadedFile| {
        let edits = file.intent.change.edits.iter().zip(&file.intent.edits);
        let mut edits = edits.filter(|(edit, _)| edit.flag == *looked.flag && edit.environment == *looked.environment);
        edits.any(|(_, intent)| {
            let here = |told: &&crate::playback::TargetIntent| told.target == *target;
            let after = intent.targets.iter().filter(here).filter_map(|told| told.after.as_ref());
            after.into_iter().any(|after| after.same_value(record))
        })
    };
    looked.loaded.files.iter().rev().find(wrote).map(|file| file.change().short())
}

fn requires(configuration: &Configuration, place: Option<&TargetView>) -> Vec<Required> {
    let other = |key: &str| -> Option<Record> {
        let key: FlagKey = key.parse().ok()?;
        Record::parse(&place?.flag(&key)?.record?).ok().filter(|record| !record.is_tombstone())
    };
    let required = |(key, variation): (&String, &i64)| {
        let other = other(key).map(|record| Configuration::of_record(&record));
        let value = other.as_ref().and_then(|other| value_in_words(other, *variation));
        Required {
            flag: key.clone(),
            value: value.unwrap_or_else(|| format!("variation {variation}")),
            on: other.map(|other| other.on),
        }
    };
    configuration.prerequisites.iter().map(required).collect()
}

fn targets_in_words(configuration: &Configuration) -> Vec<String> {
    let told = |((kind, variation), keys): (&(String, i64), &BTreeSet<String>)| {
        let value = value_in_words(configuration, *variation).unwrap_or_else(|| format!("variation {variation}"));
        format!("{} get {value}", count(keys.len(), &format!("{} key", excerpt(kind))))
    };
    configuration.targets.iter().map(told).collect()
}

fn rules_in_words(configuration: &Configuration) -> Vec<String> {
    let clause = |clause: &Clause| {
        let kind = clause.context_kind.as_deref().filter(|kind| !kind.is_empty() && *kind != "user");
        let kind = kind.map(|kind| format!("{} ", excerpt(kind))).unwrap_or_default();
        let not = if clause.negate { "not " } else { "" };
        let values: Vec<String> = clause.values.iter().map(|value| excerpt(&value.0.to_string())).collect();
        format!("{not}{kind}{} {} {}", excerpt(&clause.attribute), excerpt(&clause.op), list_some(&values, VALUES_MAX))
    };
    let rule = |rule: &Rule| {
        let clauses: Vec<String> = rule.clauses.iter().map(clause).collect();
        let serve = Configuration { fallthrough: rule.serve.clone(), ..configuration.clone() };
        format!("{}: {}", clauses.join(" and "), excerpt(&serve.in_words(Aspect::Fallthrough)))
    };
    configuration.rules.iter().map(rule).collect()
}

fn value_in_words(configuration: &Configuration, variation: i64) -> Option<String> {
    let value = configuration.variations.get(usize::try_from(variation).ok()?)?;
    Some(excerpt(&value.0.to_string()))
}

/// The flags that require this one, by every full copy of the environment; filter copies have fewer.
fn required_by(looked: &Looked<'_>, configuration: Option<&Configuration>) -> Vec<Requiring> {
    let mut found: BTreeMap<FlagKey, Requiring> = BTreeMap::new();
    for view in looked.views.iter().filter(|view| !view.chosen.is_filter_copy) {
        let Ok(reading) = &view.reading else { continue };
        for (key, flag) in &reading.flags {
            let Some(bytes) = flag.record.as_deref().filter(|bytes| may_name(bytes, looked.flag)) else { continue };
            let Ok(record) = Record::parse(bytes) else { continue };
            for dependant in preview::dependants(looked.flag, [(key, &record)]) {
                let value = configuration.and_then(|known| value_in_words(known, dependant.variation));
                let value = value.unwrap_or_else(|| format!("variation {}", dependant.variation));
                let requiring = Requiring { flag: key.to_string(), value, on: dependant.on };
                found.entry(dependant.flag).or_insert(requiring);
            }
        }
    }
    found.into_values().collect()
}

/// Whether a record may name that flag; there may be 20,000 of them, and reading one costs a hundred times as much. A
/// key can hide in a JSON text only behind a backslash.
fn may_name(bytes: &[u8], flag: &FlagKey) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.contains(flag.as_str()) || text.contains('\\'))
}

fn shown_override(override_: &Override, looked: &Looked<'_>) -> OverrideShown {
    let mut newest = override_.upstream.clone();
    let mut lacking = Vec::new();
    for view in looked.views {
        let Some(found) = view.flag(looked.flag) else { continue };
        let stored = found.override_.map(|stored| stored.parsed);
        if stored.is_none() && found.record.is_some() {
            lacking.push(view.chosen.target.to_string());
        }
        let own = stored.and_then(Result::ok);
        let record = found.record.as_deref().and_then(|bytes| Record::parse(bytes).ok());
        let here =
            seen::upstream_here(record.as_ref().filter(|record| !record.is_tombstone()), own.as_ref(), override_);
        if seen::is_newer(&here, &newest) {
            newest = here;
        }
    }
    let base = Configuration::of_record(&override_.base);
    let wanted = override_.in_force().map(|record| Configuration::of_record(&record));
    let launchdarkly = Configuration::of_record(&newest);
    let mut aspects: Vec<Aspect> = override_.instructions.iter().map(Instruction::aspect).collect();
    aspects.sort_unstable();
    aspects.dedup();
    let touched = |aspect: Aspect| Touched {
        aspect,
        base: base.in_words(aspect),
        wanted: wanted
            .as_ref()
            .map_or_else(|error| format!("cannot be applied: {error}"), |wanted| wanted.in_words(aspect)),
        launchdarkly: launchdarkly.in_words(aspect),
    };
    OverrideShown {
        mark: Mark::of(override_),
        revision: override_.revision,
        changes: override_.changes.iter().map(ToString::to_string).collect(),
        instructions: override_.instructions.clone(),
        base_version: override_.base.version(),
        launchdarkly_version: newest.version(),
        touches: aspects.into_iter().map(touched).collect(),
        lacking,
    }
}

fn filed(looked: &Looked<'_>, file: &LoadedFile) -> Vec<FileShown> {
    let change = &file.intent.change;
    let folded = state::fold(change, &overview::targets_of(file), &file.events);
    let mine = change.edits.iter().enumerate();
    let mine = mine.filter(|(_, edit)| edit.flag == *looked.flag && edit.environment == *looked.environment);
    mine.map(|(index, _)| FileShown {
        file: file.path.clone(),
        change: change.id.to_string(),
        digits: change.id.short(),
        user: change.motive.actor.user.clone(),
        at: change.motive.at,
        outcome: folded
            .edits
            .get(index)
            .map(|edit| outcome::in_words(edit, outcome::written(file, index)))
            .unwrap_or_default(),
        damaged_line: None,
    })
    .collect()
}
