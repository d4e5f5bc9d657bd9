//! What an update says: the same facts in words and as JSON. The verdict comes last, next to the cursor, and under it what
//! to type next.

use jiff::Timestamp;
use serde::Serialize;

use crate::commands::Context;
use crate::commands::lookout::Unguarded;
use crate::commands::place::Surroundings;
use crate::commands::sighting;
use crate::commands::sighting::SightingJson;
use crate::commands::update::carrying_out::CarriedOut;
use crate::commands::update::outcome::EditResult;
use crate::commands::update::outcome::Outcome;
use crate::commands::update::outcome::TargetResult;
use crate::commands::update::undertaking::Ground;
use crate::commands::update::words;
use crate::error;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::relay::judgement::OnReturn;
use crate::relay::verdict::Proof;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::words::count;
use crate::ui::words::list;
use crate::ui::words::list_some;

/// More edits than this are summed up by store instead of told one by one.
const EDITS_TOLD_MAX: usize = 5;

/// Tells one update.
pub struct Report<'c> {
    context: &'c Context<'c>,
    grounds: &'c [Ground],
    relays_known: bool,
    now: Timestamp,
}

/// `rc update --json`: one object.
#[derive(Debug, Serialize)]
struct Json<'r> {
    /// The changes that were recorded, each with its file; empty where nothing was written.
    changes: Vec<ChangeJson>,
    /// The edits, in the order asked for.
    edits: Vec<EditJson<'r>>,
    /// Whether this was only a look (`--dry-run`).
    dry_run: bool,
    /// The exit code.
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct ChangeJson {
    id: String,
    file: String,
}

#[derive(Debug, Serialize)]
struct EditJson<'r> {
    environment: String,
    flag: &'r str,
    instructions: &'r [crate::flag::instruction::Instruction],
    dependants: Vec<&'r str>,
    targets: Vec<TargetJson>,
}

#[derive(Debug, Serialize)]
struct TargetJson {
    store: String,
    prefix: String,
    /// `written`, `would-be-written`, `already-so`, `missing`, `tombstone`, `damaged`, `override-unreadable`,
    /// `unpatchable`, `colleague`, `not-initialised`, `unsettled`, `unknown`, `failed`.
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    relays: Vec<SightingJson>,
}

impl<'c> Report<'c> {
    /// A report of an update that began at `now`.
    pub fn new(context: &'c Context<'c>, grounds: &'c [Ground], surroundings: &Surroundings, now: Timestamp) -> Self {
        Self { context, grounds, relays_known: !surroundings.fleet.relays.is_empty(), now }
    }

    /// A relay that is connected is no reason to refuse: LaunchDarkly's API may be away all the same.
    pub fn warn_of_connected_relays(&self, unguarded: &Unguarded<'_>) {
        let Unguarded { connected, not_known } = unguarded;
        let verb = |relays: &[&str]| if relays.len() == 1 { "is" } else { "are" };
        if !connected.is_empty() {
            self.context.output.warn(&format!(
                "{} {} connected to LaunchDarkly: its next event there undoes this. If you can, change the flag in LaunchDarkly.",
                list_some(connected, 5),
                verb(connected),
            ));
        }
        if !not_known.is_empty() {
            self.context.output.warn(&format!(
                "{} {} connected, to LaunchDarkly or to the guard that is there: which of the two is not known. LaunchDarkly's next event undoes this; a guard's does not.",
                list_some(not_known, 5),
                verb(not_known),
            ));
        }
    }

    /// Nothing was written, since nothing had to be or nothing was to be (`--dry-run`).
    pub fn nothing_written(&self, results: &[EditResult], dry_run: bool) -> ExitCode {
        self.tell(results, &[], dry_run)
    }

    /// What was written.
    pub fn written(&self, results: &[EditResult], carried: &[CarriedOut]) -> ExitCode {
        self.tell(results, carried, false)
    }

    fn tell(&self, results: &[EditResult], carried: &[CarriedOut], dry_run: bool) -> ExitCode {
        let trouble = carried.iter().filter_map(|carried| carried.trouble.as_ref());
        let codes = results.iter().flat_map(EditResult::exit_codes).chain(trouble.map(Failure::exit_code));
        let code = error::merge(codes);
        if self.context.output.wants_json() {
            self.context.output.json(&self.json(results, carried, dry_run, code));
        } else {
            self.context.output.report(&self.text(results, carried, dry_run));
        }
        for trouble in carried.iter().filter_map(|carried| carried.trouble.as_ref()) {
            self.context.output.warn(&format!("written, but not all of it could be noted: {}", trouble.message));
        }
        code
    }

    fn text(&self, results: &[EditResult], carried: &[CarriedOut], dry_run: bool) -> String {
        let mut lines: Vec<String> = Vec::new();
        if results.len() <= EDITS_TOLD_MAX {
            for (result, ground) in results.iter().zip(self.grounds) {
                lines.extend(self.edit(result, ground));
                lines.push(String::new());
            }
        } else {
            lines.extend(self.summary(results));
            lines.push(String::new());
        }
        lines.extend(self.on_return(results));
        lines.extend(self.verdict(results, carried, dry_run));
        lines.join("\n")
    }

    fn edit(&self, result: &EditResult, ground: &Ground) -> Vec<String> {
        let mut lines = vec![paint(STRONG, &words::headline(ground, result))];
        for difference in &result.plan.differing {
            lines.push(format!("  {}", words::difference(difference)));
        }
        lines.push(String::new());
        let with_relays = result.targets.iter().any(|target| !target.sightings.is_empty());
        let mut table = Table::indented(2);
        let would = result.targets.iter().any(|target| matches!(target.outcome, Outcome::Would(_)));
        let header =
            ["store", if would { "would be" } else { "written" }, if with_relays { "through its relay" } else { "" }];
        table.row(header.into_iter().filter(|cell| !cell.is_empty()));
        let labels_with_prefix = self.labels_with_prefix();
        for target in &result.targets {
            table.row(self.row(target, &labels_with_prefix));
        }
        lines.push(table.to_string());
        if !result.dependants.on.is_empty() {
            lines.push(paint(NOTICE, &format!("  {}", words::dependants(&ground.edit.flag, &result.dependants.on))));
        }
        if let Some(why) = &result.dependants.incomplete {
            lines.push(format!("  Which flags depend on {} was not looked up: {}", ground.edit.flag, harmless(why)));
        }
        lines
    }

    fn row(&self, target: &TargetResult, labels_with_prefix: &[String]) -> Vec<String> {
        let mut cells = vec![words::place(&target.chosen, labels_with_prefix)];
        let outcome = words::outcome(&target.outcome, self.now);
        match &target.outcome {
            Outcome::Written { planned, colleagues_see } => {
                let unseen = if *colleagues_see {
                    ""
                } else {
                    "   colleagues and guards will not see it: our keys are forbidden there"
                };
                let first = sighting::in_words(&target.sightings, &planned.write);
                cells.push(outcome.short);
                cells.push(format!("{first}{unseen}"));
                cells.extend(Some(sighting::guarded_in_words(&target.sightings)).filter(|cell| !cell.is_empty()));
            }
            other if other.is_as_asked() => cells.extend([outcome.short, outcome.why]),
            Outcome::Missing if target.chosen.is_filter_copy => {
                cells.extend(["-".to_owned(), "its filter leaves the flag out".to_owned()])
            }
            _ => cells.extend([paint(BAD, &outcome.short), outcome.why]),
        }
        cells
    }

    /// The stores in which more than one target is edited: their rows need the prefix.
    fn labels_with_prefix(&self) -> Vec<String> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        let mut several = Vec::new();
        for (chosen, _) in self.grounds.iter().flat_map(|ground| &ground.seen) {
            let pair = (chosen.target.store.as_str(), chosen.target.prefix.as_str());
            if seen.iter().any(|(store, prefix)| *store == pair.0 && *prefix != pair.1) {
                several.push(pair.0.to_owned());
            }
            if !seen.contains(&pair) {
                seen.push(pair);
            }
        }
        several
    }

    fn summary(&self, results: &[EditResult]) -> Vec<String> {
        let mut stores: Vec<(String, usize, usize)> = Vec::new();
        let mut troubles = Vec::new();
        for (result, ground) in results.iter().zip(self.grounds) {
            for target in &result.targets {
                let place = target.chosen.target.to_string();
                let at = stores.iter().position(|(known, _, _)| *known == place).unwrap_or_else(|| {
                    stores.push((place, 0, 0));
                    stores.len() - 1
                });
                if let Some((_, done, all)) = stores.get_mut(at) {
                    *all += 1;
                    *done += usize::from(target.outcome.is_as_asked());
                }
            }
            for target in result.undone().take(1) {
                let outcome = words::outcome(&target.outcome, self.now);
                troubles.push(format!("  {}  {}  {}", ground.edit.flag, target.chosen.target.store, outcome.why));
            }
        }
        let mut lines = vec![paint(STRONG, &count(results.len(), "flag")), String::new()];
        let mut table = Table::indented(2);
        for (place, done, all) in stores {
            table.row([place, format!("{done} of {all} as asked for")]);
        }
        lines.push(table.to_string());
        if !troubles.is_empty() {
            lines.push(String::new());
        }
        let more = troubles.len().saturating_sub(10);
        lines.extend(troubles.into_iter().take(10));
        if more > 0 {
            lines.push(format!("  and {more} more; rc show FLAG tells each"));
        }
        lines
    }

    /// What will be lost is said before it is lost.
    fn on_return(&self, results: &[EditResult]) -> Vec<String> {
        let mut lost: Vec<&str> = Vec::new();
        let mut next: Vec<&str> = Vec::new();
        for sighting in results.iter().flat_map(|result| &result.targets).flat_map(|target| &target.sightings) {
            let list = match sighting.on_return {
                Some(OnReturn::Lost) => &mut lost,
                Some(OnReturn::LostAtNextEvent) => &mut next,
                _ => continue,
            };
            if !list.contains(&sighting.relay.as_str()) {
                list.push(&sighting.relay);
            }
        }
        let mut lines = Vec::new();
        if !lost.is_empty() {
            let told = format!(
                "When LaunchDarkly's stream returns to {}, this is LOST there within about 30 s, unless it is replayed first.",
                list(&lost)
            );
            lines.push(paint(NOTICE, &told));
        }
        if !next.is_empty() {
            let told = format!("{} hears from LaunchDarkly now: this is LOST there at its next event.", list(&next));
            lines.push(paint(NOTICE, &told));
        }
        lines
    }

    fn verdict(&self, results: &[EditResult], carried: &[CarriedOut], dry_run: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let all_so = results.iter().all(|result| result.plan.is_already_so());
        let undone: Vec<(&Ground, &TargetResult)> = results
            .iter()
            .zip(self.grounds)
            .flat_map(|(result, ground)| result.undone().map(move |target| (ground, target)))
            .collect();
        let subject = words::subject(self.grounds);
        if dry_run {
            lines.push("NOTHING WAS WRITTEN (--dry-run).".to_owned());
            return lines;
        }
        if undone.is_empty() {
            lines.push(if carried.is_empty() && all_so {
                paint(GOOD, &format!("{subject} already, in every store. Nothing was written."))
            } else {
                self.done(results, &subject)
            });
            lines.extend(self.not_looked_at(results).filter(|_| !carried.is_empty()));
            if carried.is_empty() && results.iter().any(words::is_unexplained) {
                lines.push("That is what LaunchDarkly last said there, so it will not be told. To send it all the same: the same command with --record".to_owned());
            }
        } else {
            lines.push(paint(BAD, &format!("NOT DONE: {}", words::undone(self.grounds, results))));
        }
        lines.extend(self.next_steps(&undone, carried));
        let any_written = results.iter().flat_map(|result| &result.targets);
        let any_written = any_written.into_iter().any(|target| matches!(target.outcome, Outcome::Written { .. }));
        lines.extend(self.footer(carried, any_written));
        lines
    }

    fn done(&self, results: &[EditResult], subject: &str) -> String {
        let written: Vec<&TargetResult> = results.iter().flat_map(|result| &result.targets).collect();
        let stores = written.iter().filter(|target| target.outcome.is_as_asked()).count();
        let of = written.iter().filter(|target| !words::is_left_out_by_filter(target)).count();
        let per_flag = results.len().max(1);
        let mut verdict = format!("DONE: {subject} in {} of {}", stores / per_flag, count(of / per_flag, "store"));
        let sightings: Vec<_> = written.iter().flat_map(|target| &target.sightings).collect();
        let live = sightings.iter().filter(|sighting| matches!(sighting.proof, Proof::SawIt { .. })).count();
        if sightings.is_empty() {
            verdict.push('.');
            return paint(GOOD, &verdict);
        }
        verdict.push_str(&format!(", seen live through {live} of {}.", count(sightings.len(), "relay")));
        let style = if live == sightings.len() { GOOD } else { NOTICE };
        paint(
            style,
            &if live == sightings.len() {
                verdict
            } else {
                verdict.replacen("DONE", "WRITTEN, NOT LIVE EVERYWHERE", 1)
            },
        )
    }

    /// What cannot be said without looking through a relay.
    fn not_looked_at(&self, results: &[EditResult]) -> Option<String> {
        let targets = || results.iter().flat_map(|result| &result.targets);
        if targets().any(|target| !target.sightings.is_empty()) {
            return None;
        }
        let why = if self.relays_known {
            "no relay is known to stand before these stores"
        } else {
            "RELAY_URLS names no relay"
        };
        Some(format!(
            "What SDKs get was not looked at: {why}. Without a guard, connected SDKs keep what they had until they reconnect."
        ))
    }

    fn next_steps(&self, undone: &[(&Ground, &TargetResult)], carried: &[CarriedOut]) -> Vec<String> {
        let digits = carried.first().map(|carried| carried.file.change().short());
        let again =
            digits.map_or_else(|| "the same command again".to_owned(), |digits| format!("rc update --resume {digits}"));
        let mut table = Table::indented(2);
        // Stores with the same way out share a line.
        let mut told: Vec<(String, Vec<&str>)> = Vec::new();
        for (ground, target) in undone {
            let next = words::next_step(&target.outcome, ground, &again);
            let store = target.chosen.target.store.as_str();
            match told.iter_mut().find(|(known, _)| *known == next) {
                Some((_, stores)) if stores.contains(&store) => {}
                Some((_, stores)) => stores.push(store),
                None => told.push((next, vec![store])),
            }
        }
        for (next, stores) in told.into_iter().take(20) {
            table.row([list_some(&stores, 8), next]);
        }
        if table.is_empty() { Vec::new() } else { vec![table.to_string()] }
    }

    fn footer(&self, carried: &[CarriedOut], any_written: bool) -> Vec<String> {
        carried
            .iter()
            .map(|carried| {
                let change = carried.file.change();
                let back = match self.grounds {
                    [ground] => ground.edit.flag.to_string(),
                    _ => change.short(),
                };
                let path = carried.file.path();
                let path = path.strip_prefix(&self.context.settings.folder).unwrap_or(&path);
                let back = if any_written { format!("   Back: rc undo {back}") } else { String::new() };
                format!("Recorded: {}{back}", path.display())
            })
            .collect()
    }

    fn json<'r>(
        &'r self,
        results: &'r [EditResult],
        carried: &[CarriedOut],
        dry_run: bool,
        code: ExitCode,
    ) -> Json<'r> {
        let change = |carried: &CarriedOut| ChangeJson {
            id: carried.file.change().to_string(),
            file: carried.file.path().display().to_string(),
        };
        let edit = |(result, ground): (&'r EditResult, &'r Ground)| EditJson {
            environment: ground.edit.environment.to_string(),
            flag: ground.edit.flag.as_str(),
            instructions: &ground.edit.instructions,
            dependants: result.dependants.on.iter().map(crate::flag::key::FlagKey::as_str).collect(),
            targets: result.targets.iter().map(|target| self.target_json(target)).collect(),
        };
        Json {
            changes: carried.iter().map(change).collect(),
            edits: results.iter().zip(self.grounds).map(edit).collect(),
            dry_run,
            exit_code: code.number(),
        }
    }

    fn target_json(&self, target: &TargetResult) -> TargetJson {
        let (version_before, version_after) = match &target.outcome {
            Outcome::Written { planned, .. } | Outcome::Would(planned) => {
                (Some(planned.version_before), Some(planned.version_after))
            }
            Outcome::AlreadySo { version, .. } => (Some(*version), Some(*version)),
            _ => (None, None),
        };
        let outcome = words::outcome(&target.outcome, self.now);
        let why = Some(anstream::adapter::strip_str(&outcome.why).to_string()).filter(|why| !why.is_empty());
        TargetJson {
            store: target.chosen.target.store.clone(),
            prefix: target.chosen.target.prefix.clone(),
            outcome: outcome.name,
            version_before,
            version_after,
            why,
            relays: target.sightings.iter().map(SightingJson::from).collect(),
        }
    }
}
