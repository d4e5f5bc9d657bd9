//! The overrides of one environment: what each comes to, where it is in force, and where it is not though it should be.
//! Pure. A target counts as "in force" only where its record was read and says so, whoever wrote it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::merge;
use crate::change::override_::EndedMark;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::seen::Copy;
use crate::change::seen::Seen;
use crate::change::state;
use crate::change::state::Outcome;
use crate::change::target::Target;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Situation;
use crate::commands::overview::targets_of;
use crate::commands::status::report::ApprovalReport;
use crate::commands::status::report::OverrideReport;
use crate::commands::targets::Chosen;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::flag::patch;
use crate::flag::preview;
use crate::flag::preview::Serves;
use crate::flag::record::Record;
use crate::launchdarkly::approval::Approval;
use crate::ui::time::full;

/// The most characters of a value that are shown.
const VALUE_LENGTH_MAX: usize = 40;

/// Where one override stands.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The record says what the override wants.
    pub in_force: BTreeSet<Target>,
    /// The record was read and says otherwise, or the playback tells that it was never written.
    pub not_in_force: BTreeSet<Target>,
    /// It could not be read.
    pub not_known: BTreeSet<Target>,
}

/// An override that stands in a target although it is over: the store did not answer when it ended, or failed over since.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftOver<'s> {
    /// Where.
    pub target: &'s Target,
    /// How it ended.
    pub mark: &'s EndedMark,
}

impl LeftOver<'_> {
    /// In words.
    pub fn told(&self, flag: &FlagKey) -> String {
        let Self { target, mark } = self;
        let (ending, who, at) = (mark.ending, &mark.actor.user, full(mark.at));
        format!("{flag}: {ending} by {who} {at}, and still in {}. To finish that: rc replay", target.store)
    }
}

/// The overrides of a flag that stand somewhere although they are over.
pub(super) fn left_over<'s>(situation: &'s Situation<'_>) -> impl Iterator<Item = LeftOver<'s>> {
    let marks = || situation.said.iter().flat_map(|(_, _, marks)| marks);
    situation.seen.iter().filter_map(move |(chosen, seen)| {
        let mark = merge::ended_by(seen.own()?, marks())?;
        Some(LeftOver { target: &chosen.target, mark })
    })
}

/// Where the override of a situation stands, over all targets of its environment.
pub(super) fn places(view: &EnvironmentView<'_>, situation: &Situation<'_>, override_: &Override) -> Places {
    let mut places = Places::default();
    for (chosen, seen) in &situation.seen {
        let target = chosen.target.clone();
        match does_what_is_wanted(chosen, seen, override_) {
            Some(true) => places.in_force.insert(target),
            Some(false) => places.not_in_force.insert(target),
            // A filter copy that has no such flag has nothing to say.
            None => false,
        };
    }
    let noted = noted(situation);
    for (chosen, _) in view.silent() {
        let target = chosen.target.clone();
        match noted.get(&target) {
            Some(Outcome::Refused { .. }) => places.not_in_force.insert(target),
            _ => places.not_known.insert(target),
        };
    }
    places
}

fn does_what_is_wanted(chosen: &Chosen, seen: &Seen, override_: &Override) -> Option<bool> {
    match &seen.copy {
        Copy::Missing if chosen.is_filter_copy => None,
        Copy::Readable(record) => {
            Some(patch::apply(record, &override_.instructions).is_ok_and(|wanted| wanted.same_value(record)))
        }
        // LaunchDarkly deleted the flag: its word goes through, and nothing is missing.
        Copy::Tombstone { .. } => None,
        Copy::Missing | Copy::Damaged { .. } => Some(false),
    }
}

/// What the playback here has noted last, target by target, of the newest change that is in it.
fn noted(situation: &Situation<'_>) -> BTreeMap<Target, Outcome> {
    let mut noted = BTreeMap::new();
    for filed in &situation.filed {
        let file = filed.file;
        let folded = state::fold(&file.intent.change, &targets_of(file), &file.events);
        if let Some(edit) = folded.edits.get(filed.edit) {
            noted.extend(edit.targets.clone());
        }
    }
    noted
}

/// One override as it is reported.
pub(super) fn report(
    situation: &Situation<'_>,
    override_: &Override,
    places: &Places,
    approvals: &BTreeMap<(Environment, FlagKey), Approval>,
    now: Timestamp,
) -> OverrideReport {
    let motive = &override_.motive;
    let (state, replayed_as) = match override_.state {
        OverrideState::InForce => ("in-force", None),
        OverrideState::AwaitingApproval { .. } => ("awaiting-approval", None),
        OverrideState::Replayed { version } => ("replayed", Some(version)),
    };
    let shown = |targets: &BTreeSet<Target>| targets.iter().map(|target| place_name(situation, target)).collect();
    let put_aside = merge::put_aside(&situation.said);
    OverrideReport {
        flag: override_.flag.to_string(),
        state,
        comes_to: comes_to(override_),
        in_force: shown(&places.in_force),
        not_in_force: shown(&places.not_in_force),
        not_known: shown(&places.not_known),
        by: motive.actor.user.clone(),
        host: motive.actor.host.clone(),
        when: Some(motive.at),
        reason: motive.reason.clone(),
        incident: motive.incident.clone(),
        change: override_.change().map(|change| change.short()).unwrap_or_default(),
        changes: override_.changes.iter().map(ToString::to_string).collect(),
        expires: motive.expires,
        expired: motive.expires.is_some_and(|expires| expires <= now),
        replayed_as,
        approval: approval(override_, approvals),
        put_aside: put_aside.into_iter().map(|(target, lost)| aside(target, lost)).collect(),
        signed: None,
        guards_say: Vec::new(),
        left_behind: Vec::new(),
    }
}

fn aside(target: &Target, lost: &Override) -> String {
    let change = lost.change().map(|change| change.short()).unwrap_or_default();
    format!("{}'s {} in {} ({change})", lost.motive.actor, comes_to(lost), target.store)
}

/// A filter's copy is named in full, everything else by its store.
fn place_name(situation: &Situation<'_>, target: &Target) -> String {
    let is_copy = situation.seen.iter().any(|(chosen, _)| chosen.target == *target && chosen.is_filter_copy);
    if is_copy { target.to_string() } else { target.store.clone() }
}

fn approval(override_: &Override, approvals: &BTreeMap<(Environment, FlagKey), Approval>) -> Option<ApprovalReport> {
    let OverrideState::AwaitingApproval { request } = &override_.state else { return None };
    let found = approvals.get(&(override_.environment.clone(), override_.flag.clone()));
    Some(ApprovalReport {
        request: request.clone(),
        link: found.and_then(|approval| approval.link.clone()),
        told: found.map(|approval| format!("{}, review: {}", approval.status, approval.review)),
    })
}

/// What an override comes to: `off`, `on`, or the value that everybody gets.
pub(super) fn comes_to(override_: &Override) -> String {
    let Ok(record) = override_.in_force() else { return "cannot be applied".to_owned() };
    let only_state = override_
        .instructions
        .iter()
        .all(|instruction| matches!(instruction, Instruction::TurnFlagOn | Instruction::TurnFlagOff));
    if only_state { state_of(&record).to_owned() } else { value_of(&record) }
}

fn state_of(record: &Record) -> &'static str {
    if Configuration::of_record(record).on { "on" } else { "off" }
}

fn value_of(record: &Record) -> String {
    match preview::serves(record) {
        Serves::Everybody(value) => {
            let text = value.to_string();
            if text.chars().nth(VALUE_LENGTH_MAX).is_some() {
                return format!("{}…", text.chars().take(VALUE_LENGTH_MAX).collect::<String>());
            }
            text
        }
        Serves::CodeDefault => "the code's own default".to_owned(),
        Serves::Depends(_) => format!("{}, changed", state_of(record)),
    }
}
