//! `rc undo`: puts back what LaunchDarkly last sent, and ends the override that stood in its place.

mod by_the_playback;
mod putting_back;
mod report;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Context;
use super::guards::Guards;
use super::lookout;
use super::motive::MotiveArguments;
use super::overview;
use super::overview::EnvironmentView;
use super::overview::FiledEdit;
use super::overview::Scope;
use super::overview::Situation;
use super::place::Surroundings;
use crate::change::edit::Change;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::id::ChangeId;
use crate::change::merge::Standing;
use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::state::EditStanding;
use crate::change::target::Target;
use crate::change::undo;
use crate::change::undo::By;
use crate::change::undo::PutBack;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::error::Kind;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::settings::readable;
use crate::ui::harmless::harmless;
use crate::ui::time;
use crate::ui::words::list_some;
use putting_back::Means;
use putting_back::Outcome;
use report::Report;

/// Put back what LaunchDarkly last sent, for a flag or for all flags of a change
///
/// Alone it lists what is in force and asks. A colleague's change is never undone without asking. What LaunchDarkly has
/// by now is undone in LaunchDarkly, not here.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A flag, or the last digits of a change
    #[arg(value_name = "FLAG|CHANGE")]
    pub what: Option<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Why: stands in the record
    #[arg(long, value_name = "TEXT", value_parser = readable)]
    pub reason: Option<String>,

    /// The incident that it belongs to: stands in the record
    #[arg(long, value_name = "NAME", value_parser = readable)]
    pub incident: Option<String>,
}

/// One flag whose override is to end.
#[derive(Debug)]
pub struct Wanted<'o> {
    /// Where.
    pub environment: &'o Environment,
    /// The flag and all that is known of it.
    pub situation: &'o Situation<'o>,
    /// The targets that did not answer.
    pub silent: Vec<(Target, String)>,
    /// What each target that answered gets.
    pub plan: Vec<(Target, PutBack)>,
    /// Where only the playback explains the record, and LaunchDarkly says that it is its own.
    pub theirs: Vec<Target>,
    /// Why LaunchDarkly could not say whose it is.
    pub unsaid: Option<String>,
}

/// Runs it.
///
/// # Errors
/// Nothing that is in force was meant, it is a colleague's and nobody agreed, LaunchDarkly has it by now, or it could not
/// be recorded: no store was touched.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let now = Timestamp::now();
    let playback = overview::playback(context)?;
    let loaded = playback.load_waiting()?;
    let surroundings = Surroundings::look(context).await?;
    let scope = Scope::typed(context, &[])?;
    let views = overview::look(context, &surroundings, &loaded, &scope).await;
    let by = By { change: ChangeId::new(), actor: context.settings.actor.clone(), at: now };
    let mut wanted = select(&arguments, context, &views, now).await?;
    for wanted in &mut wanted {
        let plan = |(chosen, seen): &(super::targets::Chosen, crate::change::seen::Seen)| {
            let planned = match undo::undo(&by, &chosen.target, seen, &wanted.situation.standing) {
                PutBack::NothingThere => by_the_playback::put_back(&by, wanted.situation, &chosen.target, seen),
                planned => planned,
            };
            (chosen.target.clone(), planned)
        };
        wanted.plan = wanted.situation.seen.iter().map(plan).collect();
    }
    by_the_playback::leave_theirs(context, &mut wanted).await;
    refuse_what_launchdarkly_has(&wanted)?;
    refuse_where_nobody_answered(&wanted)?;
    if !arguments.dry_run {
        agree(context, &wanted, now).await?;
    }
    let report = Report { context, now };
    if arguments.dry_run {
        return Ok(report.would(&wanted));
    }

    let mut chosen = BTreeMap::new();
    for view in &views {
        let targets = view.targets.iter().flatten().map(|view| view.chosen.clone()).collect();
        chosen.insert(view.environment.clone(), targets);
    }
    let before = lookout::relays_before(context, &surroundings, &chosen)?;
    let flags: Vec<FlagKey> = wanted.iter().map(|wanted| wanted.situation.flag.clone()).collect();
    let guards = Guards::look(&surroundings.stores, before.keys().cloned()).await;
    let lookouts = lookout::open(surroundings.fleet.client.as_ref(), &before, &guards, |_| flags.clone());
    lookout::all_ready(&lookouts, Instant::now()).await;

    let edit = |wanted: &Wanted<'_>| Edit {
        environment: wanted.environment.clone(),
        flag: wanted.situation.flag.clone(),
        instructions: Vec::new(),
    };
    let why = MotiveArguments { reason: arguments.reason.clone(), incident: arguments.incident.clone() };
    let motive = why.motive(context.settings, now, None);
    let change = Change { id: by.change, kind: ChangeKind::Undo, motive, edits: wanted.iter().map(edit).collect() };
    let means = Means { stores: &surroundings.stores, playback: &playback, by: &by };
    let mut done = putting_back::put_back(&change, &wanted, means).await?;
    let sightings = join_all(done.targets.iter().map(|target| {
        let lookouts = &lookouts;
        async move {
            let Outcome::PutBack { write, at } = &target.outcome else { return Vec::new() };
            let before = lookouts.get(&target.target).filter(|_| write.after.is_some());
            join_all(before.into_iter().flatten().map(|lookout| lookout.sighting(&write.flag, write, *at))).await
        }
    }))
    .await;
    for (target, sightings) in done.targets.iter_mut().zip(sightings) {
        target.sightings = sightings;
    }
    Ok(report.done(&wanted, &done))
}

/// The flags that were meant.
async fn select<'o>(
    arguments: &Arguments,
    context: &Context<'_>,
    views: &'o [EnvironmentView<'o>],
    now: Timestamp,
) -> Result<Vec<Wanted<'o>>, Failure> {
    let all: Vec<(&EnvironmentView<'_>, &Situation<'_>)> = views
        .iter()
        .flat_map(|view| view.situations.iter().map(move |situation| (view, situation)))
        .filter(|(_, situation)| has_something(situation))
        .collect();
    let meant: Vec<(&EnvironmentView<'_>, &Situation<'_>)> = match &arguments.what {
        Some(what) => {
            let by_flag: Vec<_> =
                all.iter().copied().filter(|(_, situation)| situation.flag.as_str() == what).collect();
            if by_flag.is_empty() {
                by_change(&all, what)?
            } else {
                one_environment(&by_flag, what)?;
                by_flag
            }
        }
        None => {
            if !arguments.dry_run {
                offer(context, &all, now).await?;
            }
            all.clone()
        }
    };
    if meant.is_empty() {
        return Err(nothing_meant(arguments.what.as_deref(), &all, views));
    }
    let wanted = |(view, situation): (&'o EnvironmentView<'o>, &'o Situation<'o>)| Wanted {
        environment: &view.environment,
        situation,
        silent: view.silent().map(|(chosen, error)| (chosen.target.clone(), error.to_string())).collect(),
        plan: Vec::new(),
        theirs: Vec::new(),
        unsaid: None,
    };
    Ok(meant.into_iter().map(wanted).collect())
}

/// An override, here or in a target that was forgotten; or a change in the playback that no store knows of any more.
fn has_something(situation: &Situation<'_>) -> bool {
    situation.standing.in_force().is_some()
        || situation.seen.iter().any(|(_, seen)| seen.own().is_some())
        || !situation.filed.is_empty()
}

/// The flags of the one change whose id ends so. Fewer digits than are shown anywhere name nothing.
fn by_change<'a, 'o>(
    all: &[(&'a EnvironmentView<'o>, &'a Situation<'o>)],
    digits: &str,
) -> Result<Vec<(&'a EnvironmentView<'o>, &'a Situation<'o>)>, Failure> {
    let named = |situation: &Situation<'_>| -> BTreeSet<ChangeId> {
        changes(situation).into_iter().filter(|change| change.ends_with(digits)).collect()
    };
    if digits.len() < ChangeId::new().short().len() {
        return Ok(Vec::new());
    }
    let meant: BTreeSet<ChangeId> = all.iter().flat_map(|(_, situation)| named(situation)).collect();
    if meant.len() > 1 {
        let candidates: Vec<String> = meant.iter().map(ToString::to_string).collect();
        return Err(Failure::usage(format!("{} changes end with {}", candidates.len(), harmless(digits)))
            .hint(format!("One of: {}", list_some(&candidates, 5))));
    }
    Ok(all.iter().copied().filter(|(_, situation)| !named(situation).is_empty()).collect())
}

/// Every change that a flag's overrides, or its open files, name.
fn changes(situation: &Situation<'_>) -> BTreeSet<ChangeId> {
    let overrides = situation.seen.iter().filter_map(|(_, seen)| seen.own()).chain(situation.standing.in_force());
    let filed = situation.filed.iter().map(|filed| filed.file.change());
    overrides.flat_map(|override_| override_.changes.iter().copied()).chain(filed).collect()
}

fn one_environment(found: &[(&EnvironmentView<'_>, &Situation<'_>)], what: &str) -> Result<(), Failure> {
    let environments: Vec<String> = found.iter().map(|(view, _)| view.environment.to_string()).collect();
    if environments.len() < 2 {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is overridden in {}", harmless(what), list_some(&environments, 5)))
        .hint(format!("Say which: rc undo {} -p PROJECT -e ENVIRONMENT", harmless(what))))
}

/// Lists what is in force, and asks.
async fn offer(
    context: &Context<'_>,
    all: &[(&EnvironmentView<'_>, &Situation<'_>)],
    now: Timestamp,
) -> Result<(), Failure> {
    if all.is_empty() {
        return Ok(());
    }
    context.output.say(&report::list(all, now));
    let question = if all.len() == 1 { "Undo it?".to_owned() } else { format!("Undo all {}?", all.len()) };
    context.prompter.consent(context.output, &question).await.map_err(|error| {
        Failure::from(error)
            .while_doing("which one? Nothing was undone")
            .hint("Name it: rc undo FLAG, or the digits of its change")
    })?;
    Ok(())
}

fn nothing_meant(
    what: Option<&str>,
    all: &[(&EnvironmentView<'_>, &Situation<'_>)],
    views: &[EnvironmentView<'_>],
) -> Failure {
    let message = match what {
        Some(what) => format!("there is no override of {} to undo", harmless(what)),
        None => "there is no override to undo".to_owned(),
    };
    let mut failure = Failure::new(Kind::Other, message);
    for (chosen, error) in views.iter().flat_map(EnvironmentView::silent) {
        failure = failure.cause(format!("{} did not say what it holds: {error}", chosen.target));
    }
    for view in views {
        if let Err(unclear) = &view.targets {
            failure = failure.cause(unclear.message.clone());
        }
    }
    let flags: Vec<&str> = all.iter().map(|(_, situation)| situation.flag.as_str()).collect();
    if flags.is_empty() {
        failure.hint("What was done and what became of it: rc log")
    } else {
        failure.hint(format!("In force: {}", list_some(&flags, 10)))
    }
}

/// What LaunchDarkly has is not undone here: its stream would bring it back.
fn refuse_what_launchdarkly_has(wanted: &[Wanted<'_>]) -> Result<(), Failure> {
    for wanted in wanted {
        let replayed = wanted.plan.iter().find_map(|(_, planned)| match planned {
            PutBack::AlreadyReplayed { version } => Some(*version),
            _ => None,
        });
        let Some(version) = replayed else { continue };
        let version = version.map(|version| format!(" (v{version})")).unwrap_or_default();
        let flag = &wanted.situation.flag;
        return Err(Failure::refused(format!(
            "{flag} of {} was replayed: LaunchDarkly has it{version}",
            wanted.environment
        ))
        .hint("Nothing was written. Change it in LaunchDarkly: what is undone here its stream would bring back.")
        .hint(format!(
            "If LaunchDarkly is away again: rc update -p {} -e {} -f {flag} -s on|off",
            wanted.environment.project, wanted.environment.key
        )));
    }
    Ok(())
}

fn refuse_where_nobody_answered(wanted: &[Wanted<'_>]) -> Result<(), Failure> {
    let Some(first) = wanted.iter().find(|wanted| wanted.situation.seen.is_empty()) else { return Ok(()) };
    let flag = &first.situation.flag;
    let failure = Failure::new(Kind::Unreachable, format!("no store of {flag}, {}, answered", first.environment));
    let failure = first.silent.iter().fold(failure, |failure, (_, why)| failure.cause(why.clone()));
    Err(failure.hint("Nothing was undone. Run the same command again when one answers."))
}

/// Asks where a change is somebody else's.
async fn agree(context: &Context<'_>, wanted: &[Wanted<'_>], now: Timestamp) -> Result<(), Failure> {
    let me = &context.settings.actor.user;
    for wanted in wanted {
        let Some(other) = override_of(wanted.situation).filter(|other| other.motive.actor.user != *me) else {
            continue;
        };
        let incident =
            other.motive.incident.as_ref().map(|incident| format!(", {}", harmless(incident))).unwrap_or_default();
        let told = format!(
            "{}, {}: this is {}'s change of {}{incident}.",
            wanted.situation.flag,
            wanted.environment,
            harmless(&other.motive.actor.user),
            time::short(other.motive.at, now),
        );
        context
            .prompter
            .consent(context.output, &format!("{told} Undo it?"))
            .await
            .map_err(|error| Failure::from(error).while_doing(format!("{told} Nothing was undone")))?;
    }
    Ok(())
}

/// The override that is to end: the merged one, else one that was left over in some target.
pub fn override_of<'o>(situation: &'o Situation<'_>) -> Option<&'o Override> {
    let left_over = || situation.seen.iter().find_map(|(_, seen)| seen.own());
    match &situation.standing {
        Standing::InForce(merged) => Some(merged),
        Standing::Ended(_) | Standing::None => left_over(),
    }
}

/// Whether a replay of one of the changes was cut off between its patch and LaunchDarkly's answer: LaunchDarkly may have it.
pub fn was_perhaps_sent(situation: &Situation<'_>) -> bool {
    let mut edits = situation.filed.iter().filter_map(FiledEdit::state);
    edits.any(|edit| matches!(edit.standing, EditStanding::Attempted { .. }))
}

/// Whether an approval was asked for: it stays open in LaunchDarkly, and people are told.
pub fn awaits_approval(override_: &Override) -> bool {
    matches!(override_.state, OverrideState::AwaitingApproval { .. })
}
