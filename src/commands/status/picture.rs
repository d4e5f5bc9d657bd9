//! From what was looked at to what is reported. Pure: it asks nobody, and says of nothing more than was seen.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::change::edit::ChangeKind;
use crate::change::state;
use crate::change::target::Target;
use crate::commands::guards::Guards;
use crate::commands::guards::Link;
use crate::commands::left_behind::Fronts;
use crate::commands::left_behind::recorded::ByFlag;
use crate::commands::left_behind::recorded::by_flag;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Situation;
use crate::commands::overview::targets_of;
use crate::commands::place::Surroundings;
use crate::commands::replay::lease::holders::Holder;
use crate::commands::signing::Vouched;
use crate::commands::status::guarded;
use crate::commands::status::left_behind;
use crate::commands::status::look::ApiWord;
use crate::commands::status::look::Facts;
use crate::commands::status::look::Ground;
use crate::commands::status::look::WITHIN;
use crate::commands::status::look::one_line;
use crate::commands::status::overrides;
use crate::commands::status::overrides::Places;
use crate::commands::status::report::Api;
use crate::commands::status::report::ApiState;
use crate::commands::status::report::DamagedFile;
use crate::commands::status::report::DamagedRecord;
use crate::commands::status::report::EnvironmentReport;
use crate::commands::status::report::LaunchDarkly;
use crate::commands::status::report::OverrideReport;
use crate::commands::status::report::Owed;
use crate::commands::status::report::PlaybackReport;
use crate::commands::status::report::ReplayingReport;
use crate::commands::status::report::Report;
use crate::commands::status::report::TargetReport;
use crate::commands::status::report::UnfinishedChange;
use crate::commands::status::stream;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::launchdarkly::identity::Reached;
use crate::playback::Loaded;
use crate::settings::Settings;
use crate::ui::time::duration;
use crate::ui::words::count;

/// A clock that is wrong by more than this is mentioned, in milliseconds.
const CLOCK_WRONG_MIN_MS: i64 = 5_000;

/// The flags of an environment, as keys of tables.
type Key = (Environment, FlagKey);

/// Everything, put together.
pub(super) fn of(settings: &Settings, ground: &Ground, loaded: &Loaded, facts: &Facts<'_>, now: Timestamp) -> Report {
    let mut report = Report {
        at: Some(now),
        home: settings.home.as_ref().map(crate::settings::Home::shown),
        notes: ground.notes.clone(),
        ..Report::default()
    };
    let surroundings = &ground.surroundings;
    let placed = placed(&facts.views);
    let (targets, behind) = targets(surroundings, &facts.views, &placed, &facts.guards);
    report.targets = targets;
    report.launchdarkly = LaunchDarkly {
        api: api(&facts.api, &mut report.notes),
        stream: stream::stream(&facts.guards.all(), &surroundings.fleet.relays, &behind, now),
    };
    let edits = by_flag(loaded.files.iter().chain(&facts.replayed.files));
    report.environments = facts.views.iter().map(|view| environment(view, facts, &placed, &edits, now)).collect();
    for found in &facts.records {
        let target = &found.target;
        report.damaged_records.extend(found.named.iter().map(|(flag, problem)| DamagedRecord {
            store: target.store.clone(),
            prefix: target.prefix.clone(),
            flag: flag.clone(),
            problem: problem.clone(),
        }));
        if found.damaged > found.named.len() {
            report.notes.push(format!("{} damaged records in {target}: rc doctor names them all", found.damaged));
        }
        if let Some(why) = &found.incomplete {
            report.notes.push(format!("not all records of {target} were checked: {why}"));
        }
    }
    report.notes.extend(facts.views.iter().flat_map(notes));
    if !facts.in_time {
        report.notes.push(format!("overrides could not all be looked at within {}", duration(WITHIN)));
    }
    report.playback = playback(settings, ground, loaded, facts, &placed);
    report.owed = owed(facts, loaded, report.launchdarkly.api.state);
    report
}

fn api(word: &ApiWord, notes: &mut Vec<String>) -> Api {
    let (state, told) = match word {
        ApiWord::NotAsked => (ApiState::NotAsked, "not asked: no LD_API_KEY".to_owned()),
        ApiWord::Unusable(problem) => (ApiState::NotAsked, format!("not asked: {problem}")),
        ApiWord::Said(reach) => {
            if let Some(wrong) = reach.clock_wrong_by_ms.filter(|wrong| wrong.abs() >= CLOCK_WRONG_MIN_MS) {
                let side = if wrong > 0 { "ahead of" } else { "behind" };
                let by = duration(std::time::Duration::from_millis(wrong.unsigned_abs()));
                notes.push(format!("LaunchDarkly's clock is {by} {side} this machine's: one of the two is wrong"));
            }
            match &reach.answer {
                Reached::Answers => (ApiState::Answers, "answers, and takes the token".to_owned()),
                Reached::TokenRefused { status, told } => {
                    (ApiState::TokenRefused, format!("answers, and REFUSES the token in LD_API_KEY ({status}: {told})"))
                }
                Reached::Failing { problem } => (ApiState::Failing, format!("FAILING: {problem}")),
                Reached::Unreachable { problem } => (ApiState::NoAnswer, format!("NO ANSWER from here: {problem}")),
            }
        }
    };
    Api { state, told }
}

/// Where each override stands.
fn placed(views: &[EnvironmentView<'_>]) -> BTreeMap<Key, Places> {
    let mut placed = BTreeMap::new();
    for view in views {
        for situation in &view.situations {
            if let Some(override_) = situation.standing.in_force() {
                let key = (view.environment.clone(), situation.flag.clone());
                placed.insert(key, overrides::places(view, situation, override_));
            }
        }
    }
    placed
}

fn environment(
    view: &EnvironmentView<'_>,
    facts: &Facts<'_>,
    placed: &BTreeMap<Key, Places>,
    edits: &ByFlag<'_>,
    now: Timestamp,
) -> EnvironmentReport {
    let none = Fronts::default();
    let fronts = facts.fronts.get(&view.environment).unwrap_or(&none);
    let report = |situation: &Situation<'_>| {
        let override_ = situation.standing.in_force()?;
        let key = (view.environment.clone(), situation.flag.clone());
        let places = placed.get(&key)?;
        let targets = view.targets.iter().flatten().map(|target| target.chosen.target.clone());
        let guards_say = facts.guards.troubles(targets, &situation.flag);
        let report = overrides::report(situation, override_, places, &facts.approvals, now);
        let vouched = Vouched::by(facts.keys.as_ref(), override_, &view.environment, &situation.flag);
        let (edits, said) = (edits.get(&(&key.0, &key.1)), facts.said.get(&key));
        let left_behind = left_behind::of_override(override_, places, fronts, edits, said, now);
        Some(OverrideReport { guards_say, signed: vouched.is_signed(), left_behind, ..report })
    };
    let in_force = |situation: &&Situation<'_>| situation.standing.in_force().is_some();
    let overridden = view.situations.iter().filter(in_force).map(|situation| &situation.flag).collect();
    EnvironmentReport {
        environment: view.environment.to_string(),
        problem: view.targets.as_ref().err().map(one_line),
        told: view.told.clone(),
        replaying: facts.holders.get(&view.environment).map(|holder| replaying(holder, now)),
        overrides: view.situations.iter().filter_map(report).collect(),
        left_behind: left_behind::after(&view.environment, &overridden, fronts, edits, &facts.said),
    }
}

fn replaying(holder: &Holder, now: Timestamp) -> ReplayingReport {
    let lease = holder.lease.as_ref();
    ReplayingReport {
        user: lease.map(|lease| lease.actor.user.clone()),
        host: lease.map(|lease| lease.actor.host.clone()),
        by: lease.map(|lease| lease.by.clone()),
        store: holder.target.store.clone(),
        since: lease.map(|lease| lease.since),
        until: lease.map(|lease| lease.until),
        told: holder.in_words(now),
    }
}

/// Overrides that cannot be understood, and those that are over and still stand somewhere.
fn notes(view: &EnvironmentView<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    for situation in &view.situations {
        notes.extend(overrides::left_over(situation).map(|left| left.told(&situation.flag)));
        for (chosen, seen) in &situation.seen {
            if let Some(Err(problem)) = &seen.override_ {
                let flag = &situation.flag;
                notes.push(format!("the override of {flag} in {} is not understood: {problem}", chosen.target));
            }
        }
    }
    notes
}

fn targets(
    surroundings: &Surroundings,
    views: &[EnvironmentView<'_>],
    placed: &BTreeMap<Key, Places>,
    guards: &Guards,
) -> (Vec<TargetReport>, BTreeSet<String>) {
    let mut rows: Vec<(Target, TargetReport)> = Vec::new();
    for view in views {
        for target_view in view.targets.iter().flatten() {
            let target = target_view.chosen.target.clone();
            let reading = target_view.reading.as_ref();
            let report = TargetReport {
                environment: Some(view.environment.to_string()),
                filter_copy: target_view.chosen.is_filter_copy,
                flags: reading.ok().map(|reading| reading.flag_count),
                filled: reading.ok().map(|reading| reading.initialised),
                problem: reading.err().map(ToString::to_string),
                overrides: owed_in(view, placed, &target),
                ..row(&target)
            };
            rows.push((target, report));
        }
    }
    rows.extend(unclaimed(surroundings, &rows));
    let all: Vec<Target> = rows.iter().map(|(target, _)| target.clone()).collect();
    let fleet = &surroundings.fleet.relays;
    let before = stream::before(&all, &surroundings.addresses(), fleet, &surroundings.configurations, guards);
    let may_be_on = |one: &&stream::Before| one.link.may_be_on();
    let behind = before.iter().flatten().filter(may_be_on).map(|one| one.report.relay.clone()).collect();
    let missing: BTreeSet<&Target> = placed.values().flat_map(|places| &places.not_in_force).collect();
    let left = views.iter().flat_map(|view| &view.situations).flat_map(overrides::left_over);
    let left: BTreeSet<&Target> = left.map(|left| left.target).collect();
    let complete = |((target, mut report), before): ((Target, TargetReport), Vec<stream::Before>)| {
        let knows_all = before.iter().all(|one| one.return_.is_some());
        report.on_return = before.iter().filter_map(|one| one.return_).min().filter(|_| knows_all);
        let links: Vec<&Link> = before.iter().map(|one| &one.link).collect();
        report.guards = guards.beside(&target).map(guarded::reports).unwrap_or_default();
        report.guard = guarded::state(&report.guards, &links);
        report.relays = before.into_iter().map(|one| one.report).collect();
        report.on_return_told = guarded::on_return(&report, fleet.is_empty(), missing.contains(&target));
        if report.overrides == 0 && left.contains(&target) {
            report.on_return_told = "an override that is over still stands here".to_owned();
        }
        report
    };
    let order = |label: &str| surroundings.stores.iter().position(|store| store.label() == label);
    let mut reports: Vec<TargetReport> = rows.into_iter().zip(before).map(complete).collect();
    reports.sort_by_key(|report| (report.environment.is_none(), report.environment.clone(), order(&report.store)));
    (reports, behind)
}

fn row(target: &Target) -> TargetReport {
    TargetReport { store: target.store.clone(), prefix: Some(target.prefix.clone()), ..TargetReport::default() }
}

/// How many overrides that LaunchDarkly does not have are in force in a target.
fn owed_in(view: &EnvironmentView<'_>, placed: &BTreeMap<Key, Places>, target: &Target) -> usize {
    let is_there = |situation: &&Situation<'_>| {
        let owed = situation.standing.in_force().is_some_and(|override_| override_.replayed_as().is_none());
        let places = placed.get(&(view.environment.clone(), situation.flag.clone()));
        owed && places.is_some_and(|places| places.in_force.contains(target))
    };
    view.situations.iter().filter(is_there).count()
}

/// What is in stores and belongs to no environment that anything names, and the stores that told of nothing at all.
fn unclaimed(surroundings: &Surroundings, rows: &[(Target, TargetReport)]) -> Vec<(Target, TargetReport)> {
    let mut more = Vec::new();
    for store in &surroundings.stores {
        let label = store.label().to_owned();
        match surroundings.prefixes.get(&label) {
            Some(Ok(found)) => {
                for found in found {
                    let target = Target { store: label.clone(), prefix: found.prefix.clone() };
                    if !rows.iter().any(|(known, _)| *known == target) {
                        let (flags, filled) = (Some(found.flag_count), Some(found.initialised));
                        more.push((target.clone(), TargetReport { flags, filled, ..row(&target) }));
                    }
                }
            }
            Some(Err(error)) if !rows.iter().any(|(known, _)| known.store == label) => {
                let target = Target { store: label.clone(), prefix: String::new() };
                let problem = Some(error.to_string());
                more.push((target.clone(), TargetReport { prefix: None, problem, ..row(&target) }));
            }
            _ => {}
        }
        let told = rows.iter().chain(&more).any(|(known, _)| known.store == label);
        if !told && store.has_prefixes() {
            let target = Target { store: label, prefix: String::new() };
            more.push((target.clone(), TargetReport { prefix: None, flags: Some(0), ..row(&target) }));
        }
    }
    more
}

fn playback(
    settings: &Settings,
    ground: &Ground,
    loaded: &Loaded,
    facts: &Facts<'_>,
    placed: &BTreeMap<Key, Places>,
) -> PlaybackReport {
    let name = |path: &std::path::Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let damaged = loaded.damaged.iter().map(|damage| DamagedFile {
        file: name(&damage.file),
        line: damage.line,
        problem: damage.problem.clone(),
    });
    let newer = loaded.files.iter().filter_map(|file| {
        let format = file.newer?;
        let problem = format!("it is of format {format}, newer than this program; it is shown and not written to");
        Some(DamagedFile { file: name(&file.path), line: None, problem })
    });
    PlaybackReport {
        folder: settings.playback.display().to_string(),
        problem: ground.loaded.as_ref().err().map(one_line),
        damaged: damaged.chain(newer).collect(),
        unfinished: unfinished(loaded, placed),
        without_override: sorted(facts, loaded).1.into_iter().map(|(_, flag)| flag.to_string()).collect(),
    }
}

/// The changes that did not get everywhere, as far as the stores do not show that they did.
fn unfinished_in(loaded: &Loaded, is_there: impl Fn(&Key, &Target) -> bool) -> Vec<UnfinishedChange> {
    let mut found = Vec::new();
    for file in loaded.files.iter().filter(|file| !file.replayed) {
        let change = &file.intent.change;
        let folded = state::fold(change, &targets_of(file), &file.events);
        let (mut flags, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for (edit, state) in change.edits.iter().zip(&folded.edits) {
            let key = (edit.environment.clone(), edit.flag.clone());
            let missing: Vec<&Target> = state.unfinished().filter(|target| !is_there(&key, target)).collect();
            if !missing.is_empty() {
                flags.insert(edit.flag.to_string());
                targets.extend(missing.into_iter().map(|target| target.store.clone()));
            }
        }
        if flags.is_empty() {
            continue;
        }
        let digits = change.id.short();
        let next = match change.kind {
            ChangeKind::Undo => format!("rc undo {}", flags.iter().cloned().collect::<Vec<_>>().join(" ")),
            ChangeKind::Update | ChangeKind::Adopted => format!("rc update --resume {digits}"),
        };
        let (flags, targets) = (flags.into_iter().collect(), targets.into_iter().collect());
        found.push(UnfinishedChange { change: digits, flags, targets, next });
    }
    found
}

/// The same, for others who have looked at everything.
pub(crate) fn unfinished_changes(loaded: &Loaded, views: &[EnvironmentView<'_>]) -> Vec<UnfinishedChange> {
    unfinished(loaded, &placed(views))
}

fn unfinished(loaded: &Loaded, placed: &BTreeMap<Key, Places>) -> Vec<UnfinishedChange> {
    unfinished_in(loaded, |key, target| placed.get(key).is_some_and(|places| places.in_force.contains(target)))
}

/// The flags that the playback here has a change for which LaunchDarkly was not told of, and that have no override: those
/// for which no store could be asked (or lets us look), and those whose override is really gone.
fn sorted(facts: &Facts<'_>, loaded: &Loaded) -> (BTreeSet<Key>, BTreeSet<Key>) {
    let (mut not_asked, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for file in loaded.files.iter().filter(|file| !file.replayed) {
        let folded = state::fold(&file.intent.change, &targets_of(file), &file.events);
        for (edit, state) in file.intent.change.edits.iter().zip(&folded.edits) {
            if !state.is_owed() {
                continue;
            }
            let view = facts.views.iter().find(|view| view.environment == edit.environment);
            let situation = view.and_then(|view| view.situations.iter().find(|situation| situation.flag == edit.flag));
            let key = (edit.environment.clone(), edit.flag.clone());
            match (view, situation) {
                (_, Some(situation)) if situation.standing.in_force().is_some() => {}
                (Some(view), Some(situation)) => {
                    let blind = view.silent().next().is_some() || situation.seen.iter().any(|(_, seen)| !seen.own_keys);
                    if blind {
                        not_asked.insert(key)
                    } else {
                        gone.insert(key)
                    };
                }
                _ => {
                    not_asked.insert(key);
                }
            }
        }
    }
    (not_asked, gone)
}

fn owed(facts: &Facts<'_>, loaded: &Loaded, api: ApiState) -> Owed {
    let in_stores: BTreeSet<Key> = facts
        .views
        .iter()
        .flat_map(|view| view.situations.iter().map(move |situation| (view, situation)))
        .filter(|(_, situation)| {
            let standing = situation.standing.in_force();
            standing.is_some_and(|override_| override_.replayed_as().is_none())
        })
        .map(|(view, situation)| (view.environment.clone(), situation.flag.clone()))
        .collect();
    let (not_asked, gone) = sorted(facts, loaded);
    let flags = in_stores.union(&not_asked).count();
    let blind = !facts.in_time
        || facts.views.is_empty()
        || facts.views.iter().any(|view| view.targets.is_err() || view.silent().next().is_some());
    let told = match (flags, not_asked.len()) {
        (0, _) if blind => "nothing that could be seen".to_owned(),
        (0, _) => "nothing".to_owned(),
        (_, 0) => count(flags, "flag"),
        (_, alone) => format!("{}, {alone} of them by the playback alone", count(flags, "flag")),
    };
    let next = (flags > 0 || !gone.is_empty()).then(|| {
        let next = match api {
            ApiState::Answers => "rc replay",
            ApiState::NoAnswer | ApiState::Failing => "when the API answers: rc replay",
            ApiState::TokenRefused => "with a token that LaunchDarkly takes in LD_API_KEY: rc replay",
            ApiState::NotAsked => "with LD_API_KEY set: rc replay",
        };
        next.to_owned()
    });
    Owed { flags, by_playback_alone: not_asked.len(), told, next }
}
