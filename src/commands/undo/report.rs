//! What an undo says, in words and as JSON.

use jiff::Timestamp;
use serde::Serialize;

use crate::change::target::Target;
use crate::change::undo::PutBack;
use crate::commands::Context;
use crate::commands::overview::EnvironmentView;
use crate::commands::overview::Situation;
use crate::commands::sighting;
use crate::commands::sighting::SightingJson;
use crate::commands::undo::Wanted;
use crate::commands::undo::awaits_approval;
use crate::commands::undo::override_of;
use crate::commands::undo::putting_back::Done;
use crate::commands::undo::putting_back::Outcome;
use crate::commands::undo::putting_back::TargetResult;
use crate::commands::undo::was_perhaps_sent;
use crate::error;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::patch;
use crate::flag::record::Record;
use crate::relay::verdict::Proof;
use crate::ui::harmless::excerpt;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::time;
use crate::ui::words::count;
use crate::ui::words::list_some;

/// Of a record that is not put back.
const THEIRS: &str = "LaunchDarkly's own record stands there";

/// Tells one undo.
pub struct Report<'c> {
    /// Where it is told.
    pub context: &'c Context<'c>,
    /// When it began.
    pub now: Timestamp,
}

/// `rc undo --json`: one object.
#[derive(Debug, Serialize)]
struct Json {
    /// The undo's own change; nothing with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
    /// Where it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    flags: Vec<FlagJson>,
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct FlagJson {
    environment: String,
    flag: String,
    targets: Vec<TargetJson>,
}

#[derive(Debug, Serialize)]
struct TargetJson {
    store: String,
    prefix: String,
    /// `put-back`, `would-be-put-back`, `ended`, `nothing-there`, `not-known` (whose record stands there), `already-replayed`, `override-unreadable`, `colleague`,
    /// `unsettled`, `unknown`, `failed`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    relays: Vec<SightingJson>,
}

/// What is in force, one line each.
pub fn list(all: &[(&EnvironmentView<'_>, &Situation<'_>)], now: Timestamp) -> String {
    let mut table = Table::indented(2);
    for (view, situation) in all {
        let mut cells = vec![view.environment.to_string(), situation.flag.to_string()];
        match override_of(situation) {
            Some(own) => {
                let standing = own.stands_as().map(|record| on(&record)).unwrap_or_default();
                let incident = own.motive.incident.as_deref().map(harmless).unwrap_or_default();
                let digits = own.change().map(|change| change.short()).unwrap_or_default();
                cells.push(standing);
                cells.push(format!(
                    "{} {} {incident} {digits}",
                    harmless(&own.motive.actor.user),
                    time::short(own.motive.at, now)
                ));
            }
            None => cells.push("no store holds it any more; only the playback names it".to_owned()),
        }
        table.row(cells);
    }
    table.to_string()
}

fn unsaid(why: &str) -> String {
    let why = harmless(why);
    format!("Only the playback says that the record was ours. LaunchDarkly was not asked ({why}). Look: rc verify")
}

fn on(record: &Record) -> String {
    Configuration::of_record(record).in_words(Aspect::On)
}

impl Report<'_> {
    /// What would be done.
    pub fn would(&self, wanted: &[Wanted<'_>]) -> ExitCode {
        if self.context.output.wants_json() {
            let flags = wanted.iter().map(would_json).collect();
            self.context.output.json(&Json { change: None, file: None, flags, exit_code: 0 });
            return ExitCode::Done;
        }
        let mut lines = Vec::new();
        for wanted in wanted {
            lines.push(paint(STRONG, &headline(wanted)));
            let mut table = Table::indented(2);
            for (target, planned) in &wanted.plan {
                let is_theirs = wanted.theirs.contains(target);
                let told = if is_theirs { THEIRS.to_owned() } else { planned_words(planned) };
                table.row([target.to_string(), told]);
            }
            for (target, why) in &wanted.silent {
                table.row([target.to_string(), harmless(why).into_owned()]);
            }
            lines.push(table.to_string());
        }
        lines.push("NOTHING WAS UNDONE (--dry-run).".to_owned());
        self.context.output.report(&lines.join("\n"));
        ExitCode::Done
    }

    /// What was done.
    pub fn done(&self, wanted: &[Wanted<'_>], done: &Done) -> ExitCode {
        let not_live = done.targets.iter().flat_map(|target| &target.sightings);
        let not_live = not_live.filter(|sighting| !matches!(sighting.proof, Proof::SawIt { .. }));
        let codes = done.targets.iter().filter_map(|target| exit_code(&target.outcome));
        let codes = codes.chain(not_live.map(|_| ExitCode::NotLive));
        let left = left_as_it_was(wanted, done);
        let codes = codes.chain(left.iter().map(|_| ExitCode::Partly));
        let code = error::merge(codes.chain(done.trouble.iter().map(Failure::exit_code)));
        if self.context.output.wants_json() {
            self.context.output.json(&self.json(wanted, done, code));
        } else {
            self.context.output.report(&self.text(wanted, done));
        }
        for trouble in &done.trouble {
            self.context.output.warn(&format!("undone, but not all of it could be noted: {}", trouble.message));
        }
        code
    }

    fn text(&self, wanted: &[Wanted<'_>], done: &Done) -> String {
        let mut lines = Vec::new();
        for (place, one) in wanted.iter().enumerate() {
            lines.push(paint(STRONG, &headline(one)));
            let mut table = Table::indented(2);
            for target in done.targets.iter().filter(|target| target.wanted == place) {
                table.row(self.row(target, one));
            }
            lines.push(table.to_string());
            if override_of(one.situation).is_some_and(awaits_approval) {
                lines.push("  Its approval request is still open in LaunchDarkly: decline it there.".to_owned());
            }
            if one.situation.may_be_asked_for() {
                let told = "  A replay asked for an approval, and its answer is not known: a request may be open in LaunchDarkly. Look \
                            there, and decline it";
                lines.push(paint(NOTICE, told));
            }
            if let Some(why) = &one.unsaid {
                lines.push(paint(NOTICE, &format!("  {}", unsaid(why))));
            }
            if was_perhaps_sent(one.situation) {
                let told = "  A replay of it was cut off: LaunchDarkly may have it, and bring it back. Look: rc verify";
                lines.push(paint(NOTICE, told));
            }
        }
        lines.extend(self.verdict(wanted, done));
        lines.join("\n")
    }

    fn row(&self, target: &TargetResult, wanted: &Wanted<'_>) -> Vec<String> {
        let place = target.target.store.clone();
        match &target.outcome {
            Outcome::PutBack { write, .. } => match (&write.after, &write.before) {
                (Some(record), _) => {
                    let live = sighting::in_words(&target.sightings, write);
                    vec![place, format!("v{}", record.version()), if live.is_empty() { on(record) } else { live }]
                }
                (None, Some(record)) => {
                    let told = format!("LaunchDarkly's own record stood there already: {}", on(record));
                    vec![place, format!("v{}", record.version()), told]
                }
                (None, None) => {
                    vec![place, "-".to_owned(), "the flag itself is gone; its override has ended".to_owned()]
                }
            },
            Outcome::NothingThere if wanted.theirs.contains(&target.target) => {
                vec![place, "-".to_owned(), THEIRS.to_owned()]
            }
            Outcome::NothingThere => vec![place, "-".to_owned(), "was never written, or is undone already".to_owned()],
            Outcome::NotKnown => {
                let told = "holds a record that is neither what was written here nor what LaunchDarkly had before";
                vec![place, paint(NOTICE, "?"), told.to_owned()]
            }
            other => vec![place, paint(BAD, "NO"), self.why(other)],
        }
    }

    fn why(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Failed(error) => harmless(&error.to_string()).into_owned(),
            Outcome::Silent(why) => harmless(why).into_owned(),
            Outcome::OverrideUnreadable(why) => format!("the override there cannot be read: {}", excerpt(why)),
            Outcome::AlreadyReplayed => "LaunchDarkly has it by now".to_owned(),
            Outcome::Unsettled => "it changed 5 times while it was being written".to_owned(),
            Outcome::Colleague(other) => {
                let digits = other.change().map(|change| change.short()).unwrap_or_default();
                let who = harmless(&other.motive.actor.user);
                format!("{who} changed it in between, at {} ({digits})", time::short(other.motive.at, self.now))
            }
            Outcome::PutBack { .. } | Outcome::NothingThere | Outcome::NotKnown => String::new(),
        }
    }

    fn verdict(&self, wanted: &[Wanted<'_>], done: &Done) -> Vec<String> {
        let missing: Vec<&str> = done
            .targets
            .iter()
            .filter(|target| !matches!(target.outcome, Outcome::NotKnown))
            .filter(|target| exit_code(&target.outcome).is_some_and(|code| code != ExitCode::Done))
            .map(|target| target.target.store.as_str())
            .collect();
        let subject = match wanted {
            [one] => format!("{} is as LaunchDarkly last sent it", one.situation.flag),
            several => format!("{} are as LaunchDarkly last sent them", count(several.len(), "flag")),
        };
        let path = done.file.path();
        let path = path.strip_prefix(&self.context.settings.folder).unwrap_or(&path).display().to_string();
        let sightings: Vec<_> = done.targets.iter().flat_map(|target| &target.sightings).collect();
        let live = sightings.iter().filter(|sighting| matches!(sighting.proof, Proof::SawIt { .. })).count();
        if missing.is_empty() && live < sightings.len() {
            let told = format!(
                "UNDONE IN THE STORES, NOT LIVE EVERYWHERE: {subject}, seen live through {live} of {} relays.",
                sightings.len()
            );
            return vec![paint(NOTICE, &told), format!("Recorded: {path}")];
        }
        let is_not_known = |target: &&TargetResult| matches!(target.outcome, Outcome::NotKnown);
        let doubtful = done.targets.iter().filter(is_not_known).map(|target| target.target.store.as_str());
        let doubtful: Vec<&str> = doubtful.collect();
        if missing.is_empty() && !doubtful.is_empty() {
            let told = format!(
                "NOT SURE: nothing of it is in force, but whose record stands in {} is not known.",
                list_some(&doubtful, 8)
            );
            return look_closer(&told, "LaunchDarkly's newer one, or an edit whose override was lost as well", &path);
        }
        let left = left_as_it_was(wanted, done);
        if missing.is_empty() && !left.is_empty() {
            let told = format!(
                "UNDONE, AND STORES DIFFER: nothing of it is in force, but {} had it so before the override, by the record there.",
                list_some(&left, 8)
            );
            return look_closer(&told, "LaunchDarkly's own there, or an edit whose override was lost", &path);
        }
        if missing.is_empty() {
            let nothing = if wanted.len() == 1 { "nothing is owed for it" } else { "nothing is owed for them" };
            return vec![paint(GOOD, &format!("DONE: {subject}, {nothing}.")), format!("Recorded: {path}")];
        }
        let again = match wanted {
            [one] => format!("rc undo {}", one.situation.flag),
            _ => "the same command again".to_owned(),
        };
        vec![
            paint(BAD, &format!("NOT UNDONE in {}.", list_some(&missing, 8))),
            format!("  when it answers: {again}"),
            format!("Recorded: {path}"),
        ]
    }

    fn json(&self, wanted: &[Wanted<'_>], done: &Done, code: ExitCode) -> Json {
        let flag = |(place, wanted): (usize, &Wanted<'_>)| FlagJson {
            environment: wanted.environment.to_string(),
            flag: wanted.situation.flag.to_string(),
            targets: done
                .targets
                .iter()
                .filter(|target| target.wanted == place)
                .map(|target| self.target(target, wanted))
                .collect(),
        };
        Json {
            change: Some(done.file.change().to_string()),
            file: Some(done.file.path().display().to_string()),
            flags: wanted.iter().enumerate().map(flag).collect(),
            exit_code: code.number(),
        }
    }

    fn target(&self, target: &TargetResult, wanted: &Wanted<'_>) -> TargetJson {
        let is_theirs = wanted.theirs.contains(&target.target);
        let why = if is_theirs { THEIRS.to_owned() } else { self.why(&target.outcome) };
        let (outcome, version) = match &target.outcome {
            Outcome::PutBack { write, .. } => match &write.after {
                Some(record) => ("put-back", Some(record.version())),
                None => ("ended", write.before.as_ref().map(Record::version)),
            },
            Outcome::NothingThere => ("nothing-there", None),
            Outcome::NotKnown => ("not-known", None),
            Outcome::AlreadyReplayed => ("already-replayed", None),
            Outcome::OverrideUnreadable(_) => ("override-unreadable", None),
            Outcome::Colleague(_) => ("colleague", None),
            Outcome::Unsettled => ("unsettled", None),
            Outcome::Failed(crate::store::StoreError::Unknown { .. }) => ("unknown", None),
            Outcome::Failed(_) | Outcome::Silent(_) => ("failed", None),
        };
        TargetJson {
            store: target.target.store.clone(),
            prefix: target.target.prefix.clone(),
            outcome,
            version,
            why: Some(why).filter(|why| !why.is_empty()),
            relays: target.sightings.iter().map(SightingJson::from).collect(),
        }
    }
}

/// The verdict where nothing of it is in force and a record wants a look: `whose` it may be.
fn look_closer(told: &str, whose: &str, path: &str) -> Vec<String> {
    let next = format!("  {whose}: rc show FLAG, then rc verify when LaunchDarkly answers");
    vec![paint(NOTICE, told), next, format!("Recorded: {path}")]
}

/// One flag of a dry run: what every target would get, and why some would not.
fn would_json(wanted: &Wanted<'_>) -> FlagJson {
    let target = |target: &Target, outcome, version, why: Option<&str>| TargetJson {
        store: target.store.clone(),
        prefix: target.prefix.clone(),
        outcome,
        version,
        why: why.map(str::to_owned),
        relays: Vec::new(),
    };
    let planned = wanted.plan.iter().map(|(place, planned)| match planned {
        PutBack::Write(write) => target(place, "would-be-put-back", write.after.as_ref().map(Record::version), None),
        PutBack::NothingThere => target(place, "nothing-there", None, None),
        PutBack::AlreadyReplayed { version } => target(place, "already-replayed", *version, None),
        PutBack::OverrideUnreadable(why) => target(place, "override-unreadable", None, Some(why)),
    });
    let silent = wanted.silent.iter().map(|(place, why)| target(place, "failed", None, Some(why)));
    FlagJson {
        environment: wanted.environment.to_string(),
        flag: wanted.situation.flag.to_string(),
        targets: planned.chain(silent).collect(),
    }
}

/// The stores whose own record has what the override did, while it was taken back in others: they do not serve the same, and
/// the record of one of them may be an edit of ours of which nobody knows any more.
fn left_as_it_was<'d>(wanted: &[Wanted<'_>], done: &'d Done) -> Vec<&'d str> {
    let mut left = Vec::new();
    for (place, one) in wanted.iter().enumerate() {
        let Some(own) = override_of(one.situation) else { continue };
        let has_it = |target: &TargetResult| {
            let Outcome::PutBack { write, .. } = &target.outcome else { return None };
            let record = write.after.as_ref().or(write.before.as_ref())?;
            patch::changes_nothing(record, &own.instructions).ok()
        };
        let of_flag = done.targets.iter().filter(|target| target.wanted == place);
        let (had, taken_back): (Vec<_>, Vec<_>) =
            of_flag.filter_map(|target| Some((target, has_it(target)?))).partition(|(_, had)| *had);
        if !taken_back.is_empty() {
            left.extend(had.into_iter().map(|(target, _)| target.target.store.as_str()));
        }
    }
    left
}

fn exit_code(outcome: &Outcome) -> Option<ExitCode> {
    match outcome {
        Outcome::PutBack { .. } => Some(ExitCode::Done),
        Outcome::NothingThere => None,
        Outcome::NotKnown => Some(ExitCode::Partly),
        Outcome::AlreadyReplayed | Outcome::OverrideUnreadable(_) | Outcome::Colleague(_) | Outcome::Unsettled => {
            Some(ExitCode::Refused)
        }
        Outcome::Failed(error) => Some(Failure::from(error.clone()).exit_code()),
        Outcome::Silent(_) => Some(ExitCode::Unreachable),
    }
}

/// `checkout, shop/production: off -> on, as LaunchDarkly last sent it (v42).`
fn headline(wanted: &Wanted<'_>) -> String {
    let name = format!("{}, {}", wanted.situation.flag, wanted.environment);
    let Some(own) = override_of(wanted.situation) else {
        return format!("{name}: no store holds the override any more.");
    };
    let after = &own.upstream;
    let versions = format!("as LaunchDarkly last sent it (v{}).", after.version());
    match own.stands_as() {
        Ok(before) if on(&before) != on(after) => format!("{name}: {} -> {}, {versions}", on(&before), on(after)),
        _ => format!("{name}: {}, {versions}", on(after)),
    }
}

fn planned_words(planned: &PutBack) -> String {
    match planned {
        PutBack::Write(write) => match &write.after {
            Some(record) => format!("v{}, {}", record.version(), on(record)),
            None => "LaunchDarkly's own record stands there already; only the override ends".to_owned(),
        },
        PutBack::NothingThere => "was never written, or is undone already".to_owned(),
        PutBack::AlreadyReplayed { .. } => "LaunchDarkly has it by now".to_owned(),
        PutBack::OverrideUnreadable(why) => format!("the override there cannot be read: {}", excerpt(why)),
    }
}
