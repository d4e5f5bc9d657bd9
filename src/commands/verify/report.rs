//! What a verification comes to, for people and as JSON. Data in, text out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::commands::overview;
use crate::commands::overview::EnvironmentView;
use crate::commands::place::Surroundings;
use crate::commands::replay::lease::holders::Holder;
use crate::commands::verify::facts::Facts;
use crate::commands::verify::judgement;
use crate::commands::verify::judgement::Judged;
use crate::commands::verify::judgement::Judgement;
use crate::error::ExitCode;
use crate::error::Failure;
use crate::flag::key::Environment;
use crate::flag::key::FlagKey;
use crate::playback::Loaded;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::words::count;
use crate::ui::words::list;

/// One flag.
#[derive(Debug)]
struct Row {
    environment: String,
    flag: String,
    judged: Judged,
}

/// All of it.
#[derive(Debug)]
pub struct Report {
    rows: Vec<Row>,
    /// How many stores and relays were asked.
    stores: usize,
    relays: usize,
    /// Why LaunchDarkly did not say anything.
    silence: Option<Failure>,
    /// What could not be looked at.
    problems: Vec<String>,
    /// Whether an environment or store is among them.
    unanswered: bool,
    /// Whether the playback itself is not sound.
    damaged: bool,
    /// What is said besides of flags: of SDKs that may not have what everybody should.
    notes: Vec<(Environment, FlagKey, String)>,
    /// Who is replaying what is owed: `shop/production: anna on bastion …`.
    replaying: Vec<String>,
}

impl Report {
    /// Puts it together.
    pub fn new(
        facts: &[Facts],
        surroundings: &Surroundings,
        views: &[EnvironmentView<'_>],
        loaded: &Loaded,
        silence: Option<Failure>,
    ) -> Self {
        let rows = facts.iter().map(|facts| Row {
            environment: facts.environment.to_string(),
            flag: facts.flag.to_string(),
            judged: judgement::judge(facts),
        });
        let unseen = overview::unseen(surroundings, views).into_iter();
        let mut problems: Vec<String> = unseen.map(|(store, error)| format!("{store}: {error}")).collect();
        for view in views {
            if let Err(failure) = &view.targets {
                problems.push(format!("{}: {}", view.environment, failure.message));
            }
            let silent = view
                .silent()
                .map(|(chosen, error)| format!("{} of {}: {error}", chosen.target.store, view.environment));
            problems.extend(silent);
        }
        let unanswered = !problems.is_empty();
        for damage in &loaded.damaged {
            problems.push(format!("{}: {}", damage.file.display(), damage.problem));
        }
        let most = |number: fn(&Facts) -> usize| facts.iter().map(number).max().unwrap_or_default();
        Self {
            rows: rows.collect(),
            stores: most(|facts| facts.stores.len()),
            relays: most(|facts| facts.relays.len()),
            silence,
            unanswered,
            damaged: !loaded.damaged.is_empty(),
            replaying: Vec::new(),
            notes: Vec::new(),
            problems,
        }
    }

    /// With those who have the right to replay the environments in which something is owed.
    pub fn replayed_by(self, holders: &BTreeMap<Environment, Holder>) -> Self {
        let now = Timestamp::now();
        let is_owed = |environment: &str| {
            let owed = self.rows.iter().filter(|row| row.judged.judgement == Judgement::Owed);
            owed.into_iter().any(|row| row.environment == environment)
        };
        let told = |(environment, holder): (&Environment, &Holder)| {
            let environment = environment.to_string();
            is_owed(&environment).then(|| format!("{environment}: {}", holder.in_words(now)))
        };
        let replaying = holders.iter().filter_map(told).collect();
        Self { replaying, ..self }
    }

    /// With what is said besides of flags.
    pub fn with(self, notes: Vec<(Environment, FlagKey, String)>) -> Self {
        Self { notes, ..self }
    }

    fn number(&self, wanted: Judgement) -> usize {
        self.rows.iter().filter(|row| row.judged.judgement == wanted).count()
    }

    /// 0 in full agreement, 7 where somebody did not answer, 6 where something is owed, 1 where they differ otherwise.
    pub fn code(&self) -> ExitCode {
        if self.silence.is_some()
            || self.unanswered
            || self.number(Judgement::NotKnown) + self.number(Judgement::Unasked) > 0
        {
            ExitCode::Unreachable
        } else if self.number(Judgement::Owed) > 0 {
            ExitCode::Owed
        } else if self.number(Judgement::Differs) > 0 || self.damaged {
            ExitCode::Failure
        } else {
            ExitCode::Done
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        if self.rows.is_empty() {
            lines.push("No flag is overridden, and none was changed in the last 7 days.".to_owned());
        } else {
            lines.push(self.heading());
            lines.push(self.table());
        }
        for (environment, flag, told) in &self.notes {
            let name = if self.several() { format!("{environment} {flag}") } else { flag.to_string() };
            lines.push(paint(NOTICE, &format!("  {name}: {}", harmless(told))));
        }
        lines.extend(self.problems.iter().map(|problem| format!("  {}", harmless(problem))));
        if let Some(silence) = &self.silence {
            lines.push(format!("  LaunchDarkly was not asked, or did not answer: {}", harmless(&silence.message)));
            lines.extend(silence.hints.iter().map(|hint| format!("  {hint}")));
        }
        lines.extend(self.replaying.iter().map(|told| format!("  being replayed, {told}")));
        lines.push(self.verdict());
        lines.join("\n")
    }

    fn several(&self) -> bool {
        self.rows.iter().any(|row| Some(&row.environment) != self.rows.first().map(|first| &first.environment))
    }

    fn heading(&self) -> String {
        let place = self.rows.first().filter(|_| !self.several()).map(|row| row.environment.as_str());
        format!("{}, {} changed", place.unwrap_or("all environments"), count(self.rows.len(), "flag"))
    }

    fn table(&self) -> String {
        let mut table = Table::indented(2);
        let mut who = vec![count(self.stores, "store")];
        if self.relays > 0 {
            who.push(count(self.relays, "relay"));
        }
        who.push("the record".to_owned());
        let unasked = self.number(Judgement::Unasked);
        if unasked > 0 {
            let told = format!("{} agree; LaunchDarkly did not say", list(&who));
            table.row(["same".to_owned(), count(unasked, "flag"), told]);
        }
        who.insert(0, "LaunchDarkly".to_owned());
        let same = self.number(Judgement::Same);
        if same > 0 {
            table.row(["same".to_owned(), count(same, "flag"), format!("{} agree", list(&who))]);
        }
        for row in &self.rows {
            let word = match row.judged.judgement {
                Judgement::Owed => paint(NOTICE, "OWED"),
                Judgement::Differs => paint(BAD, "DIFFERS"),
                Judgement::NotKnown => paint(NOTICE, "NOT KNOWN"),
                Judgement::Same | Judgement::Unasked => continue,
            };
            let name = if self.several() { format!("{} {}", row.environment, row.flag) } else { row.flag.clone() };
            table.row([word, name, row.judged.told.clone()]);
        }
        table.to_string()
    }

    fn verdict(&self) -> String {
        let total = self.rows.len();
        let apart = self.number(Judgement::Owed) + self.number(Judgement::Differs);
        match self.code() {
            ExitCode::Done if total == 0 => paint(GOOD, "IN AGREEMENT: nothing to compare."),
            ExitCode::Done => paint(GOOD, &format!("IN AGREEMENT: {}.", count(total, "flag"))),
            ExitCode::Unreachable if total == 0 => paint(BAD, "NOT KNOWN: not everybody answered. Again: rc verify"),
            ExitCode::Unreachable => {
                let owed = self.number(Judgement::Owed);
                let owed = if owed > 0 { format!(", {owed} owed") } else { String::new() };
                paint(BAD, &format!("NOT KNOWN: not everybody answered{owed}. Again: rc verify"))
            }
            _ if self.number(Judgement::Owed) > 0 => {
                paint(BAD, &format!("NOT IN AGREEMENT: {apart} of {total}. Next: rc replay"))
            }
            _ => paint(BAD, &format!("NOT IN AGREEMENT: {apart} of {total}. Look closer: rc show FLAG, rc doctor")),
        }
    }
}

/// The report as JSON: `rc verify --json` prints one such object on a line.
#[derive(Debug, Serialize)]
pub struct ReportJson<'r> {
    /// `verify`.
    command: &'static str,
    flags: Vec<RowJson<'r>>,
    /// Why LaunchDarkly was not asked, or did not answer.
    launchdarkly: Option<&'r str>,
    /// Of SDKs that may not have what everybody should: why, and what heals it.
    notes: Vec<NoteJson<'r>>,
    /// Who is replaying what is owed at the moment.
    replaying: &'r [String],
    /// Stores, environments and files that could not be looked at.
    problems: &'r [String],
    /// Whether everybody says the same of every flag.
    agreement: bool,
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct NoteJson<'r> {
    environment: &'r Environment,
    flag: &'r FlagKey,
    told: &'r str,
}

#[derive(Debug, Serialize)]
struct RowJson<'r> {
    environment: &'r str,
    flag: &'r str,
    /// `same`, `owed`, `differs`, `unasked` (all but LaunchDarkly agree), `not-known`.
    judgement: Judgement,
    /// Who says what.
    told: &'r str,
}

impl Report {
    /// As JSON.
    pub fn json<'r>(&'r self) -> ReportJson<'r> {
        fn row(row: &Row) -> RowJson<'_> {
            let Row { environment, flag, judged } = row;
            RowJson { environment, flag, judgement: judged.judgement, told: &judged.told }
        }
        let note = |(environment, flag, told): &'r (Environment, FlagKey, String)| NoteJson { environment, flag, told };
        ReportJson {
            command: "verify",
            flags: self.rows.iter().map(row).collect(),
            launchdarkly: self.silence.as_ref().map(|failure| failure.message.as_str()),
            notes: self.notes.iter().map(note).collect(),
            replaying: &self.replaying,
            problems: &self.problems,
            agreement: self.code() == ExitCode::Done,
            exit_code: self.code().number(),
        }
    }
}
