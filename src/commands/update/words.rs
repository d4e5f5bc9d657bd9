//! The words in which an update is told. Pure: facts in, text out.

use jiff::Timestamp;

use crate::change::update::Difference;
use crate::commands::targets::Chosen;
use crate::commands::update::outcome::EditResult;
use crate::commands::update::outcome::Outcome;
use crate::commands::update::outcome::TargetResult;
use crate::commands::update::undertaking::Ground;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::key::FlagKey;
use crate::flag::preview;
use crate::flag::preview::Serves;
use crate::flag::record::Record;
use crate::store::StoreError;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// An outcome in words.
pub struct Told {
    /// For programs.
    pub name: &'static str,
    /// For the second column: `v42 -> v43`, `NO`.
    pub short: String,
    /// For the third column: why not; empty where there is nothing to say.
    pub why: String,
}

/// `checkout, shop/production: on -> off. Everybody gets false.`
pub fn headline(ground: &Ground, result: &EditResult) -> String {
    let edit = &ground.edit;
    let mut headline = format!("{}, {}", edit.flag, edit.environment);
    let planned = result.plan.writes().find(|planned| planned.write.before.is_some());
    let Some((before, after)) =
        planned.and_then(|planned| Some((planned.write.before.as_ref()?, planned.write.after.as_ref()?)))
    else {
        let stands = ground.seen.iter().find_map(|(_, seen)| seen.copy.exact_record());
        return match stands.filter(|_| result.plan.is_already_so()) {
            Some(record) => {
                format!("{headline}: {}.{}", Configuration::of_record(record).in_words(Aspect::On), serves(record))
            }
            None => headline,
        };
    };
    let on = |record: &Record| Configuration::of_record(record).in_words(Aspect::On);
    headline.push_str(&match (on(before), on(after)) {
        (before, after) if before == after => format!(": {after}."),
        (before, after) => format!(": {before} -> {after}."),
    });
    headline.push_str(&serves(after));
    headline
}

/// ` Everybody gets false.`
fn serves(record: &Record) -> String {
    match preview::serves(record) {
        Serves::Everybody(value) => format!(" Everybody gets {}.", excerpt(&value.to_string())),
        Serves::CodeDefault => {
            " It has no off variation (null): everybody gets the default that the code itself passes.".to_owned()
        }
        Serves::Depends(Some(value)) => format!(" By default: {}.", excerpt(&value.to_string())),
        Serves::Depends(None) => String::new(),
    }
}

/// `checkout is off`, `3 flags are as asked for`.
pub fn subject(grounds: &[Ground]) -> String {
    match grounds {
        [ground] => format!("{} {}", ground.edit.flag, wish(ground)),
        _ => format!("{} are as asked for", count(grounds.len(), "flag")),
    }
}

/// `is off`, `serves its variation 1 to everybody`.
fn wish(ground: &Ground) -> String {
    let instructions = &ground.edit.instructions;
    if let Some(variation) = instructions.iter().find_map(Instruction::variation) {
        let record = ground.seen.iter().find_map(|(_, seen)| seen.copy.exact_record());
        let values = record.map(|record| Configuration::of_record(record).variations).unwrap_or_default();
        let value = values
            .get(variation)
            .map_or_else(|| format!("variation {variation}"), |value| excerpt(&value.0.to_string()));
        return format!("serves {value}");
    }
    match instructions.as_slice() {
        [Instruction::TurnFlagOff] => "is off".to_owned(),
        [Instruction::TurnFlagOn] => "is on".to_owned(),
        _ => "is as asked for".to_owned(),
    }
}

/// `us-1 has other content (v41): rules`.
pub fn difference(difference: &Difference) -> String {
    let aspects: Vec<String> = difference.aspects.iter().map(ToString::to_string).collect();
    let what = if aspects.is_empty() {
        "in nothing that decides who gets what".to_owned()
    } else {
        format!("in {}", list(&aspects))
    };
    format!(
        "{} differs from the first store {what} (LaunchDarkly's v{} there); each is edited in place",
        difference.target, difference.version
    )
}

/// `2 flags that are on have checkout as a prerequisite and change with it: a and b`.
pub fn dependants(flag: &FlagKey, dependants: &[FlagKey]) -> String {
    let names: Vec<&str> = dependants.iter().map(FlagKey::as_str).collect();
    let names_told = list_some(&names, 10);
    match names.len() {
        1 => format!("1 flag that is on has {flag} as a prerequisite and changes with it: {names_told}"),
        several => {
            format!("{several} flags that are on have {flag} as a prerequisite and change with it: {names_told}")
        }
    }
}

/// The store's label, and the prefix where that is needed to tell targets apart.
pub fn place(chosen: &Chosen, with_prefix: &[String]) -> String {
    let target = &chosen.target;
    if chosen.is_filter_copy || with_prefix.contains(&target.store) {
        harmless(&target.to_string()).into_owned()
    } else {
        target.store.clone()
    }
}

/// An outcome in words.
pub fn outcome(outcome: &Outcome, now: Timestamp) -> Told {
    let told = |name, short: &str, why: String| Told { name, short: short.to_owned(), why };
    match outcome {
        Outcome::Written { planned, .. } => {
            let mended = if planned.repaired { " (mended)" } else { "" };
            let versions = format!("v{} -> v{}{mended}", planned.version_before, planned.version_after);
            Told { name: "written", short: versions, why: String::new() }
        }
        Outcome::Would(planned) => {
            let versions = format!("v{} -> v{}", planned.version_before, planned.version_after);
            told("would-be-written", &versions, String::new())
        }
        Outcome::AlreadySo { version, explained_by } => {
            let by = explained_by.as_ref().map(|own| {
                let digits = own.change().map(|change| change.short()).unwrap_or_default();
                format!(
                    "by {}'s override of {} ({digits})",
                    harmless(&own.motive.actor.user),
                    time::short(own.motive.at, now)
                )
            });
            told("already-so", &format!("v{version}"), by.unwrap_or_else(|| "already so".to_owned()))
        }
        Outcome::Missing => told("missing", "NO", "there is no such flag there".to_owned()),
        Outcome::Tombstone { version } => {
            told("tombstone", "NO", format!("LaunchDarkly deleted the flag (v{version})"))
        }
        Outcome::Damaged { unreadable, .. } => told("damaged", "NO", harmless(&unreadable.to_string()).into_owned()),
        Outcome::OverrideUnreadable(why) => {
            told("override-unreadable", "NO", format!("the override there cannot be read: {}", excerpt(why)))
        }
        Outcome::Unpatchable(error) => told("unpatchable", "NO", harmless(&error.to_string()).into_owned()),
        Outcome::Colleague(other) => {
            let digits = other.change().map(|change| change.short()).unwrap_or_default();
            let kinds: Vec<String> = other.instructions.iter().map(ToString::to_string).collect();
            let who = format!("{}@{}", harmless(&other.motive.actor.user), harmless(&other.motive.actor.host));
            let why = format!(
                "{who} changed it in between: {} at {} ({digits})",
                list(&kinds),
                time::short(other.motive.at, now)
            );
            told("colleague", "NO", why)
        }
        Outcome::NotInitialised { flag_count } => {
            let flags = usize::try_from(*flag_count).unwrap_or(usize::MAX);
            let why = format!(
                "no $inited there ({}): relays take this store for empty and serve nothing from it",
                count(flags, "flag")
            );
            told("not-initialised", "NO", why)
        }
        Outcome::NotRecorded => told("not-recorded", "NO", "nothing was sent: it could not be recorded".to_owned()),
        Outcome::Unsettled => {
            told("unsettled", "NO", "the record changed 5 times while it was being written".to_owned())
        }
        Outcome::Failed(error @ StoreError::Unknown { .. }) => {
            told("unknown", "UNKNOWN", harmless(&error.to_string()).into_owned())
        }
        Outcome::Failed(error) => told("failed", "NO", harmless(&error.to_string()).into_owned()),
    }
}

/// Whether the flag is so without any override: LaunchDarkly will not be told.
pub fn is_unexplained(result: &EditResult) -> bool {
    result.targets.iter().any(|target| matches!(target.outcome, Outcome::AlreadySo { explained_by: None, .. }))
}

/// `checkout is off in 2 of 3 stores. Not written: ap-2.` Of a store that did not answer nothing is said but that.
pub fn undone(grounds: &[Ground], results: &[EditResult]) -> String {
    let [ground] = grounds else {
        let whole = results.iter().filter(|result| result.undone().next().is_none()).count();
        return format!("{whole} of {} are as asked for in every store.", count(grounds.len(), "flag"));
    };
    let targets = || results.iter().flat_map(|result| &result.targets);
    let (mut not_written, mut not_known): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for target in results.iter().flat_map(EditResult::undone) {
        let places = match &target.outcome {
            Outcome::Failed(StoreError::Unknown { .. }) => &mut not_known,
            _ => &mut not_written,
        };
        if !places.contains(&target.chosen.target.store) {
            places.push(target.chosen.target.store.clone());
        }
    }
    let so = targets().filter(|target| target.outcome.is_as_asked()).count();
    let all = targets().filter(|target| !is_left_out_by_filter(target)).count();
    if so == 0 && not_known.is_empty() {
        return format!("{} was not written in {}.", ground.edit.flag, list_some(&not_written, 8));
    }
    let mut told = match so {
        0 => format!("{} is not known to be written in any store.", ground.edit.flag),
        _ => format!("{} {} in {so} of {}.", ground.edit.flag, wish(ground), count(all, "store")),
    };
    for (words, places) in [("Not written", not_written), ("Not known", not_known)] {
        if !places.is_empty() {
            told.push_str(&format!(" {words}: {}.", list_some(&places, 8)));
        }
    }
    told
}

/// A filter copy that has not got the flag: it need not have it.
pub fn is_left_out_by_filter(target: &TargetResult) -> bool {
    matches!(target.outcome, Outcome::Missing) && target.chosen.is_filter_copy
}

/// What to type, or do, about a target that was not written.
pub fn next_step(outcome: &Outcome, ground: &Ground, again: &str) -> String {
    match outcome {
        Outcome::Damaged { repairable: true, .. } => {
            format!("relays there answer 500 for ALL flags. Mend it: {again} --repair")
        }
        Outcome::Damaged { .. } => format!(
            "relays there answer 500 for ALL flags of {}. Look: rc show {} --raw",
            ground.edit.environment, ground.edit.flag
        ),
        Outcome::Colleague(_) => {
            format!("look first: rc show {}   then, if it still has to be: the same command again", ground.edit.flag)
        }
        Outcome::OverrideUnreadable(_) => "rc doctor tells more; a newer rc may be able to read it".to_owned(),
        Outcome::Tombstone { .. } => "nothing to do: no SDK serves a deleted flag".to_owned(),
        Outcome::Missing => format!("a relay that reaches LaunchDarkly brings it; then: {again}"),
        Outcome::NotInitialised { .. } => format!("a relay that reaches LaunchDarkly fills it; then: {again}"),
        Outcome::Failed(StoreError::Forbidden { way_out, .. }) => format!("{}; then: {again}", harmless(way_out)),
        Outcome::Failed(StoreError::ReadOnly { primary: Some(primary), .. }) => {
            format!("name its primary instead, {}, in REDIS_HOSTS", harmless(primary))
        }
        Outcome::Failed(StoreError::Credentials { .. }) => {
            "set RC_REDIS_USER and RC_REDIS_PASSWORD, or RC_REDIS_CA".to_owned()
        }
        _ => again.to_owned(),
    }
}
