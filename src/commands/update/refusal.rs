//! Why nothing of a change is written, explained: what is wrong where, what relays make of it, and the way out. Only here
//! an update reads whole stores, for nearest names and for other damaged records.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::update::EditPlan;
use crate::change::update::Planned;
use crate::change::update::Refusal;
use crate::commands::survey::Stores;
use crate::commands::update::ground::Views;
use crate::commands::update::outcome::Outcome;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::undertaking::Undertaking;
use crate::commands::update::words;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::check;
use crate::flag::preview::Serves;
use crate::flag::record::Record;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::nearest::nearest;
use crate::ui::words::choice;
use crate::ui::words::count;
use crate::ui::words::list;

/// How many other damaged records are named.
const DAMAGED_NAMED_MAX: usize = 10;

/// The refusal of a whole change, if one of its edits cannot be written; the first one is explained in full.
pub async fn refusal(
    undertakings: &[Undertaking],
    grounds: &[Ground],
    views: &Views,
    stores: &Stores,
    now: Timestamp,
) -> Option<Failure> {
    let parts = undertakings.iter().flat_map(|undertaking| &undertaking.parts);
    let refused: Vec<(&Ground, &EditPlan, &Refusal)> = parts
        .filter_map(|part| Some((grounds.get(part.ground)?, &part.plan, part.plan.refusal.as_ref()?)))
        // Of these the report tells, store by store: nobody answered, so there is nothing to explain about the flag.
        .filter(|(_, _, refusal)| **refusal != Refusal::NobodyAnswered)
        .collect();
    let (ground, plan, refusal) = refused.first()?;
    let mut failure = explained(ground, plan, refusal, views, stores, now).await;
    let others: Vec<&str> = refused.iter().skip(1).map(|(ground, _, _)| ground.edit.flag.as_str()).collect();
    if !others.is_empty() {
        failure = failure.cause(format!("{} cannot be written either", list(&others)));
    }
    let flags = grounds.len();
    let nothing = if flags > 1 {
        format!("Nothing was written, for none of the {flags} flags.")
    } else {
        "Nothing was written.".to_owned()
    };
    failure.hints.insert(0, nothing);
    Some(failure)
}

async fn explained(
    ground: &Ground,
    plan: &EditPlan,
    refusal: &Refusal,
    views: &Views,
    stores: &Stores,
    now: Timestamp,
) -> Failure {
    let edit = &ground.edit;
    match refusal {
        Refusal::NoSuchFlag => no_such_flag(ground, views, stores).await,
        Refusal::Unpatchable(error) => Failure::usage(format!("{} cannot be changed so: {error}", edit.flag)),
        Refusal::Differs { by } => {
            let failure = Failure::refused(format!("{} would be served differently from store to store", edit.flag));
            let told = by.iter().map(|(target, serves)| format!("{target}  {}", serves_in_words(serves)));
            told.fold(failure, Failure::cause)
                .hint("The stores hold different content for it. If it has to be all the same: --despite-differences")
                .hint("To give everybody one value whatever the rest says: --serve VALUE")
        }
        Refusal::NoUsableCopy => unusable(ground, plan, stores, now).await,
        Refusal::NobodyAnswered => Failure::new(Kind::Unreachable, "no store answered"),
    }
}

fn serves_in_words(serves: &Serves) -> String {
    match serves {
        Serves::Everybody(value) => format!("everybody gets {}", excerpt(&value.to_string())),
        Serves::CodeDefault => "everybody gets the code's own default".to_owned(),
        Serves::Depends(Some(value)) => {
            format!("by default {}, others by targets and rules", excerpt(&value.to_string()))
        }
        Serves::Depends(None) => "it depends on targets and rules".to_owned(),
    }
}

async fn no_such_flag(ground: &Ground, views: &Views, stores: &Stores) -> Failure {
    let edit = &ground.edit;
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (chosen, _) in ground.seen.iter().take(1) {
        let Some(store) = stores.iter().find(|store| store.label() == chosen.target.store) else { continue };
        let mut visit = |key: &crate::flag::key::FlagKey, _: &[u8]| {
            names.insert(key.to_string());
        };
        // Without the names the message is still true; it only helps less.
        let _ = store.each_record(&chosen.target.prefix, &mut visit).await;
    }
    let near = nearest(edit.flag.as_str(), names.iter().map(String::as_str));
    let silent = views.get(&edit.environment).map(Vec::as_slice).unwrap_or_default();
    let mut failure = Failure::new(Kind::Other, format!("there is no flag {} in {}", edit.flag, edit.environment));
    for view in silent {
        if let Err(error) = &view.reading {
            failure = failure.cause(format!("{} could not be asked: {error}", view.chosen.target.store));
        }
    }
    if near.is_empty() {
        failure.hint(format!("{} there. rc flags lists them.", count(names.len(), "flag")))
    } else {
        failure.hint(format!("Did you mean {}?", choice(&near)))
    }
}

/// Every copy is deleted, damaged, or has an override that cannot be read.
async fn unusable(ground: &Ground, plan: &EditPlan, stores: &Stores, now: Timestamp) -> Failure {
    let edit = &ground.edit;
    let deleted = plan.targets.iter().any(|(_, planned)| matches!(planned, Planned::Tombstone { .. }));
    let damaged = plan.targets.iter().any(|(_, planned)| matches!(planned, Planned::Damaged { .. }));
    let repairable =
        plan.targets.iter().any(|(_, planned)| matches!(planned, Planned::Damaged { repairable: true, .. }));
    let message = match (damaged, deleted) {
        (true, _) => format!("{} is damaged in every store that has it", edit.flag),
        (false, true) => format!("{} is deleted in LaunchDarkly: only a tombstone is left of it", edit.flag),
        (false, false) => format!("{} has an override that cannot be read, in every store", edit.flag),
    };
    let mut failure = Failure::refused(message);
    for (target, planned) in &plan.targets {
        let told = words::outcome(&Outcome::of_plan(planned.clone()), now);
        failure = failure.cause(format!("{target}  {}", told.why));
    }
    if damaged {
        failure = failure.cause(format!(
            "relays on those stores answer 500 for ALL flags of {}; new SDKs get nothing",
            edit.environment
        ));
        failure = others_damaged(failure, ground, stores).await;
    }
    if repairable {
        failure = failure.hint("To mend it and have it as asked for: the same command with --repair");
    } else if damaged {
        failure = failure.hint(format!("It cannot be mended by itself. Look: rc show {} --raw", edit.flag));
    }
    if deleted {
        failure =
            failure.hint("SDKs give the default that the code passes. Only LaunchDarkly can bring the flag back.");
    }
    failure
}

/// Other damaged records under the same prefix: mending one flag does not help while they are there.
async fn others_damaged(failure: Failure, ground: &Ground, stores: &Stores) -> Failure {
    let Some((chosen, _)) = ground.seen.first() else { return failure };
    let Some(store) = stores.iter().find(|store| store.label() == chosen.target.store) else { return failure };
    let mut bad: Vec<String> = Vec::new();
    let mut all = 0_usize;
    let mut visit = |key: &crate::flag::key::FlagKey, bytes: &[u8]| {
        all += 1;
        let readable =
            Record::parse(bytes).is_ok_and(|record| record.is_tombstone() || check::readable(&record).is_ok());
        if !readable && *key != ground.edit.flag {
            bad.push(key.to_string());
        }
    };
    match store.each_record(&chosen.target.prefix, &mut visit).await {
        Ok(()) if bad.is_empty() => {
            failure.cause(format!("other damaged records in {}: none of {}", chosen.target, all.saturating_sub(1)))
        }
        Ok(()) => {
            bad.sort();
            let more = bad.len().saturating_sub(DAMAGED_NAMED_MAX);
            bad.truncate(DAMAGED_NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            failure.cause(format!("other damaged records in {}: {}{more}", chosen.target, list(&bad)))
        }
        Err(error) => {
            failure.cause(format!("whether other records are damaged is not known: {}", harmless(&error.to_string())))
        }
    }
}
