//! `rc update`: what was asked for, what stands where, the plan, the record, the writes, what the relays show, the report.

mod asked;
mod carrying_out;
mod dependants;
mod ground;
mod outcome;
mod refusal;
mod report;
mod restarting;
mod undertaking;
pub mod wanted;
mod warnings;
mod words;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::time::Instant;

use clap::ArgGroup;
use clap::ValueEnum;
use futures_util::future::join_all;
use jiff::Timestamp;

use super::Context;
use super::lookout;
use super::lookout::Lookouts;
use super::motive::MotiveArguments;
use super::overview;
use super::place::Surroundings;
use super::relays::Relay;
use super::sighting::Sighting;
use super::signing;
use super::survey;
use crate::change::edit::ChangeKind;
use crate::change::edit::Edit;
use crate::change::edit::Motive;
use crate::change::event::Event;
use crate::change::event::Happened;
use crate::change::signing::Keys;
use crate::change::state;
use crate::change::target::Target;
use crate::change::update::Options;
use crate::change::update::Refusal;
use crate::commands::targets::Chosen;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::LoadedFile;
use crate::playback::OutageNote;
use crate::playback::Playback;
use crate::playback::Syncing;
use crate::relay::judgement;
use crate::relay::verdict::Proof;
use crate::settings::time;
use crate::ui::harmless::harmless;
use crate::ui::time as clock;
use crate::ui::words::list_some;
use carrying_out::CarriedOut;
use carrying_out::Done;
use carrying_out::Means;
use ground::Views;
use outcome::EditResult;
use outcome::Outcome;
use outcome::TargetResult;
use report::Report;
use restarting::Restarting;
use undertaking::Ground;
use undertaking::Part;
use undertaking::Undertaking;
use wanted::Wanted;

/// On or off, in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Turn it on.
    On,
    /// Turn it off: everybody gets the off variation.
    Off,
}

/// Change a flag in the stores behind the relays
///
/// The change is recorded first, then written to every store at once, then watched through the relays where their SDK
/// keys are known. The same command again, or --resume, finishes what a dead host left. Back: rc undo.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["state", "serve", "from", "resume"]))]
#[command(
    after_help = "For example:\n  rc update -p shop -e production -f checkout -s off --reason \"double charges\" --incident INC-4821"
)]
pub struct Arguments {
    /// Which flag; may be given several times: one change, of which nothing is written if one flag cannot be
    #[arg(short, long, value_name = "FLAG", required_unless_present_any = ["from", "resume"], conflicts_with_all = ["from", "resume"])]
    pub flag: Vec<FlagKey>,

    /// Turn it on or off
    #[arg(short, long, value_name = "on|off", value_enum, ignore_case = true, hide_possible_values = true)]
    pub state: Option<State>,

    /// Give everybody this variation, named by its value as JSON (or as plain text)
    #[arg(long, value_name = "VALUE")]
    pub serve: Option<String>,

    /// Take edits from a file, one JSON object a line: {"project","environment","flag"} and one of "state", "serve",
    /// "instructions"; - is standard input
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// Finish a change that did not reach every store: by its last digits, else the newest one
    #[arg(long, value_name = "CHANGE", num_args = 0..=1)]
    pub resume: Option<Option<String>>,

    /// Why.
    #[command(flatten)]
    pub motive: MotiveArguments,

    /// Be reminded of it, or have a guard undo it (rc guard --on-expiry): after 2h, at 04:14Z, or at 2026-10-20T04:14Z
    #[arg(long, value_name = "WHEN", conflicts_with = "resume")]
    pub expires: Option<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Mend a record whose "on" is a text, as the old tool wrote it, and then change it
    #[arg(long)]
    pub repair: bool,

    /// Owe it to LaunchDarkly also where the flag is so already; with --expires, have it end at another time
    #[arg(long, conflicts_with = "resume")]
    pub record: bool,

    /// Write also where what would be served differs by host
    #[arg(long)]
    pub despite_differences: bool,

    /// Where connected SDKs do not get it, restart the relays before these stores, as rc relay restart does
    #[arg(long, conflicts_with = "dry_run")]
    pub restart: bool,
}

/// What follows where nothing can be signed.
const UNSIGNED: &str = "the change is made all the same, and not signed: a guard leaves its replay to a person";

/// Runs it.
///
/// # Errors
/// What was asked cannot be meant, nothing can be written, or it could not be recorded: no store was touched. What is
/// partly done is no error; the exit code and the report tell it.
pub async fn run(arguments: Arguments, context: &Context<'_>) -> Result<ExitCode, Failure> {
    let (started, now) = (Instant::now(), Timestamp::now());
    let playback = overview::playback(context)?;
    let resumed = arguments.resume.as_ref().map(|digits| to_resume(&playback, digits.as_deref())).transpose()?;
    let motive = motive(&arguments, context, now, resumed.as_ref())?;
    let wanted = if resumed.is_some() { Vec::new() } else { asked::wanted(&arguments, context)? };
    let keys = signing::keys_or_told(context.settings, context.output, UNSIGNED);
    let options = options(&arguments, keys.as_ref());

    let flags = flags_by_environment(&wanted, resumed.as_ref());
    let (surroundings, ahead, guards) = Surroundings::look_ahead(context, &flags).await?;
    let chosen = ground::choose(context, &surroundings, &flags.keys().cloned().collect())?;
    let targets = chosen.values().flatten().map(|chosen| chosen.target.clone());
    let guards = guards.with(&surroundings.stores, targets).await;
    let flags_of = |environment: &Environment| flags.get(environment).cloned().unwrap_or_default();
    let before = lookout::relays_before(context, &surroundings, &chosen)?;
    let at = |target: &Target| chosen.iter().find(|(_, all)| all.iter().any(|chosen| chosen.target == *target));
    let restarting = Restarting::prepare(&arguments, context, &before)?;
    let lookouts = lookout::open(surroundings.fleet.client.as_ref(), &before, &guards, |target| {
        at(target).map(|(environment, _)| flags_of(environment)).unwrap_or_default()
    });
    let views = ground::read(&surroundings, &chosen, &flags, ahead).await;

    if let Some(file) = &resumed {
        refuse_what_has_ended(&surroundings, &views, file, now).await?;
    }
    let edits = match &resumed {
        Some(file) => resumable(file),
        None => asked::edits(&wanted, &views)?,
    };
    let grounds = ground::grounds(&surroundings, &views, edits).await;
    let silent = ground::silent(&grounds, &views);
    let undertakings = undertaking::plan(&grounds, &motive, &options, resumed.as_ref(), &playback)?;
    if let Some(refused) = refusal::refusal(&undertakings, &grounds, &views, &surroundings.stores, now).await {
        return Err(refused);
    }
    let report = Report::new(context, &grounds, &surroundings, now);
    report.warn_of_connected_relays(&lookout::unguarded(&surroundings.fleet, &lookouts));
    warnings::tell(&arguments, context, keys.as_ref(), &undertakings, &grounds);
    if !arguments.dry_run {
        for failure in undertakings.iter().filter_map(|undertaking| carrying_out::note_found(undertaking, &playback)) {
            context.output.warn(&failure.message);
        }
    }
    // A change of which nothing could be read is written down: --resume finishes it when the stores are back.
    let has_work = |undertaking: &Undertaking| {
        !undertaking.writes().is_empty() || undertaking.parts.iter().any(|part| nobody_answered(part, &silent))
    };
    if arguments.dry_run || !undertakings.iter().any(has_work) {
        let results = ground::results(&grounds, &undertakings, &views, Vec::new());
        return Ok(report.nothing_written(&results, arguments.dry_run));
    }
    consent(context, &grounds).await?;

    lookout::all_ready(&lookouts, started).await;
    let outage = outage_notes(&surroundings);
    let means = Means {
        stores: &surroundings.stores,
        playback: &playback,
        grounds: &grounds,
        options: &options,
        outage: &outage,
        silent: &silent,
    };
    let mut carried =
        carry_out_all(context, undertakings.iter().filter(|undertaking| has_work(undertaking)), means).await?;
    let done: Vec<Done> = carried.iter_mut().flat_map(|carried| std::mem::take(&mut carried.done)).collect();
    let answered: BTreeMap<(usize, Target), Instant> =
        done.iter().map(|done| ((done.ground, done.target.clone()), done.at)).collect();
    let mut results = ground::results(&grounds, &undertakings, &views, done);
    results.iter_mut().for_each(EditResult::carried_out);
    look_on(&surroundings, &grounds, &lookouts, &answered, &mut results).await;
    note_sightings(&mut carried, &undertakings, &results);
    let code = report.written(&results, &carried);
    drop(lookouts);
    Ok(restarting.after(code, context).await)
}

/// What the operator allows.
fn options<'k>(arguments: &Arguments, keys: Option<&'k Keys>) -> Options<'k> {
    Options {
        repair: arguments.repair,
        record_anyway: arguments.record,
        despite_differences: arguments.despite_differences,
        keys,
    }
}

/// The flags that are asked for, or that the resumed change has, in each environment.
fn flags_by_environment(wanted: &[Wanted], resumed: Option<&LoadedFile>) -> BTreeMap<Environment, Vec<FlagKey>> {
    let wanted = wanted.iter().map(|wanted| (&wanted.environment, &wanted.flag));
    let edits = resumed.into_iter().flat_map(|file| &file.intent.change.edits);
    let mut flags: BTreeMap<Environment, Vec<FlagKey>> = BTreeMap::new();
    for (environment, flag) in wanted.chain(edits.map(|edit| (&edit.environment, &edit.flag))) {
        flags.entry(environment.clone()).or_default().push(flag.clone());
    }
    flags
}

/// Carries out one undertaking after the other. What comes after one that is done is told even if it fails.
async fn carry_out_all(
    context: &Context<'_>,
    undertakings: impl Iterator<Item = &Undertaking>,
    means: Means<'_>,
) -> Result<Vec<CarriedOut>, Failure> {
    let mut carried: Vec<CarriedOut> = Vec::new();
    for undertaking in undertakings {
        match carrying_out::carry_out(undertaking, means).await {
            Ok(done) => carried.push(done),
            Err(failure) if carried.is_empty() => return Err(failure),
            Err(failure) => context.output.error(&failure.to_string()),
        }
    }
    Ok(carried)
}

/// Looks, after the writes, at what the relays show and at what depends on the flags.
async fn look_on(
    surroundings: &Surroundings,
    grounds: &[Ground],
    lookouts: &Lookouts<'_>,
    answered: &BTreeMap<(usize, Target), Instant>,
    results: &mut [EditResult],
) {
    let (dependants, sightings) = futures_util::join!(
        dependants::find(&surroundings.stores, grounds),
        sightings(results, grounds, lookouts, answered)
    );
    for ((result, found), sightings) in results.iter_mut().zip(dependants).zip(sightings) {
        result.dependants = found;
        for (target, sightings) in result.targets.iter_mut().zip(sightings) {
            target.sightings = sightings;
        }
    }
}

/// Whether no target of an edit could be used and one of them did not even answer.
fn nobody_answered(part: &Part, silent: &BTreeMap<usize, Vec<(Chosen, Outcome)>>) -> bool {
    let is_silent = |(_, outcome): &(Chosen, Outcome)| matches!(outcome, Outcome::Failed(_));
    part.plan.refusal == Some(Refusal::NobodyAnswered)
        && silent.get(&part.ground).is_some_and(|silent| silent.iter().any(is_silent))
}

/// The change to finish: by its last digits, else the newest that is not finished.
fn to_resume(playback: &Playback, digits: Option<&str>) -> Result<LoadedFile, Failure> {
    let file = match digits {
        Some(digits) => playback.find(digits)?,
        None => {
            let unfinished = |file: &LoadedFile| {
                let folded = state::fold(&file.intent.change, &overview::targets_of(file), &file.events);
                folded.edits.iter().any(|edit| edit.unfinished().next().is_some())
            };
            let files = playback.load_waiting()?.files;
            let newest = files.into_iter().filter(unfinished).max_by_key(LoadedFile::change);
            newest
                .ok_or_else(|| Failure::usage("there is nothing to resume: every recorded change reached its stores"))?
        }
    };
    let folded = state::fold(&file.intent.change, &overview::targets_of(&file), &file.events);
    let digits = file.change().short();
    if file.intent.change.kind == ChangeKind::Undo {
        return Err(
            Failure::usage(format!("change {digits} is an undo")).hint("rc undo again finishes what is left of it.")
        );
    }
    if file.replayed || folded.is_over() {
        return Err(Failure::refused(format!("change {digits} is over: it was replayed, undone or given up"))
            .hint(format!("What became of it: rc log. To do it again, type it again. ({})", file.path.display())));
    }
    Ok(file)
}

/// The edits of a resumed change that are not over.
fn resumable(file: &LoadedFile) -> Vec<Edit> {
    let folded = state::fold(&file.intent.change, &overview::targets_of(file), &file.events);
    let open = |(place, _): &(usize, &Edit)| folded.edits.get(*place).is_some_and(|edit| !edit.is_over());
    file.intent.change.edits.iter().enumerate().filter(open).map(|(_, edit)| edit.clone()).collect()
}

/// Refuses to resume what somebody has ended since, here or on another machine: the mark of it would hide what is written.
async fn refuse_what_has_ended(
    surroundings: &Surroundings,
    views: &Views,
    file: &LoadedFile,
    now: Timestamp,
) -> Result<(), Failure> {
    let targets: Vec<&Target> =
        views.values().flatten().filter(|view| view.reading.is_ok()).map(|view| &view.chosen.target).collect();
    let marks = survey::marks(&surroundings.stores, &targets, &BTreeSet::from([file.change()])).await;
    for edit in resumable(file) {
        let Some((_, mark)) = marks.iter().filter_map(|marks| marks.get(&edit.flag)?.first()).next() else { continue };
        let who = harmless(&mark.actor.user);
        return Err(Failure::refused(format!(
            "change {} has ended for {}: {} by {who} at {}",
            file.change().short(),
            edit.flag,
            mark.ending,
            clock::short(mark.at, now),
        ))
        .hint("Nothing was written. If it still has to be, type the change anew."));
    }
    Ok(())
}

fn motive(
    arguments: &Arguments,
    context: &Context<'_>,
    now: Timestamp,
    resumed: Option<&LoadedFile>,
) -> Result<Motive, Failure> {
    if let Some(file) = resumed {
        if arguments.motive.reason.is_some() || arguments.motive.incident.is_some() {
            return Err(Failure::usage(
                "--resume finishes a change as it was recorded: it takes no --reason and no --incident",
            ));
        }
        return Ok(file.intent.change.motive.clone());
    }
    let expires = arguments.expires.as_deref().map(|text| time::expiry(text, now)).transpose();
    let expires = expires.map_err(|problem| Failure::usage(format!("--expires {problem}")))?;
    Ok(arguments.motive.motive(context.settings, now, expires))
}

/// Asks where the settings say that an environment is critical.
async fn consent(context: &Context<'_>, grounds: &[Ground]) -> Result<(), Failure> {
    let critical = |environment: &Environment| {
        context.settings.environments.get(environment).is_some_and(|setting| setting.critical)
    };
    let environments: BTreeSet<&Environment> =
        grounds.iter().map(|ground| &ground.edit.environment).filter(|environment| critical(environment)).collect();
    for environment in environments {
        let flags: Vec<&str> = grounds
            .iter()
            .filter(|ground| ground.edit.environment == *environment)
            .map(|ground| ground.edit.flag.as_str())
            .collect();
        let question = format!("{environment} is critical. Change {}?", list_some(&flags, 5));
        context.prompter.consent(context.output, &question).await.map_err(|error| {
            Failure::from(error)
                .while_doing(format!("{environment} is critical (relaycommander.toml): nothing was written"))
        })?;
    }
    Ok(())
}

/// What the relays said about LaunchDarkly's absence, for the record.
fn outage_notes(surroundings: &Surroundings) -> Vec<OutageNote> {
    let told = |relay: &Relay| {
        let status = match &relay.status {
            Ok(status) => status,
            Err(error) => return error.to_string(),
        };
        let environments = status.environments.iter().map(|entry| match judgement::cut_off(entry) {
            None => format!("{}: connected to LaunchDarkly", entry.key),
            Some(cut_off) => {
                let since = cut_off.since.map(|since| format!(" since {since}")).unwrap_or_default();
                let why = cut_off.last_error.map(|error| format!(" ({})", error.kind)).unwrap_or_default();
                format!("{}: cut off from LaunchDarkly{since}{why}", entry.key)
            }
        });
        environments.collect::<Vec<_>>().join("; ")
    };
    let note = |relay: &Relay| OutageNote { relay: relay.address.label().to_owned(), told: told(relay) };
    surroundings.fleet.relays.iter().map(note).collect()
}

/// What the relays show of every target that was written, for each edit; a batch is looked at only in part.
async fn sightings(
    results: &[EditResult],
    grounds: &[Ground],
    lookouts: &Lookouts<'_>,
    answered: &BTreeMap<(usize, Target), Instant>,
) -> Vec<Vec<Vec<Sighting>>> {
    let of_target = |place: usize, flag: FlagKey, target: &TargetResult| {
        let target = target.clone();
        async move {
            let Outcome::Written { planned, .. } = &target.outcome else { return Vec::new() };
            let lookouts = lookouts.get(&target.chosen.target).filter(|_| place < lookout::FLAGS_MAX);
            let since = answered.get(&(place, target.chosen.target.clone())).copied().unwrap_or_else(Instant::now);
            join_all(lookouts.into_iter().flatten().map(|lookout| lookout.sighting(&flag, &planned.write, since))).await
        }
    };
    let of_edit = |(place, (result, ground)): (usize, (&EditResult, &Ground))| {
        let targets: Vec<_> =
            result.targets.iter().map(|target| of_target(place, ground.edit.flag.clone(), target)).collect();
        join_all(targets)
    };
    join_all(results.iter().zip(grounds).enumerate().map(of_edit)).await
}

/// Writes down what was seen live, and what was not. It is no promise to anybody, so a failure is nobody's loss.
fn note_sightings(carried: &mut [CarriedOut], undertakings: &[Undertaking], results: &[EditResult]) {
    let now = Timestamp::now();
    for carried in carried {
        let undertaking = undertakings.iter().find(|undertaking| undertaking.change.id == carried.file.change());
        let mut events = Vec::new();
        for part in undertaking.into_iter().flat_map(|undertaking| &undertaking.parts) {
            let sightings = results.get(part.ground).into_iter().flat_map(|result| &result.targets);
            for sighting in sightings.flat_map(|target| &target.sightings) {
                let relay = sighting.relay.clone();
                let seen = match sighting.proof {
                    Proof::SawIt { after } => {
                        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                        Some(Happened::SeenLive { relay, after_ms })
                    }
                    _ => sighting.not_live().map(|told| Happened::NotLive { relay, told }),
                };
                events.extend(seen.map(|what| Event { at: now, edit: part.edit, what }));
            }
        }
        if let Err(error) = carried.file.note(&events, Syncing::Later) {
            carried.trouble.get_or_insert(error.into());
        }
    }
}
