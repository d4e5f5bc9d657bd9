//! Findings: how they are collected, shown to people, and printed as JSON. It must not know what is looked at.

use serde::Serialize;

use crate::error::Failure;
use crate::store::Grade;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::FAINT;
use crate::ui::output::GOOD;
use crate::ui::output::NOTICE;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::words::count;

/// The parts that are looked at, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    /// The home and the settings.
    Home,
    /// The stores themselves.
    Stores,
    /// Which prefix is which environment.
    Environments,
    /// The records.
    Records,
    /// The guards on the relays' stream.
    Guards,
    /// The relays.
    Relays,
    /// Their configuration files.
    RelayConfiguration,
    /// LaunchDarkly's API.
    LaunchDarkly,
    /// The folder of changes.
    Playback,
    /// What is owed, unfinished or expired.
    Pending,
}

impl Part {
    fn heading(self) -> &'static str {
        match self {
            Part::Home => "HOME",
            Part::Stores => "STORES",
            Part::Environments => "ENVIRONMENTS",
            Part::Records => "RECORDS",
            Part::Guards => "GUARDS",
            Part::Relays => "RELAYS",
            Part::RelayConfiguration => "RELAY CONFIGURATION",
            Part::LaunchDarkly => "LAUNCHDARKLY",
            Part::Playback => "PLAYBACK",
            Part::Pending => "PENDING",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// The part it belongs to.
    pub part: Part,
    /// What it is about: a store, a relay, an environment, a file.
    pub about: String,
    /// What was looked at.
    pub subject: String,
    /// `ok`, `note` or `BAD`.
    pub grade: &'static str,
    /// What was found.
    pub told: String,
    /// The way out.
    pub way_out: Option<String>,
}

/// All of it, in the order in which it was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    entries: Vec<(Grade, Entry)>,
}

/// The object that `--json` prints. New fields may come; those that are here stay.
#[derive(Debug, Serialize)]
pub(super) struct Report<'f> {
    findings: Vec<&'f Entry>,
    bad: usize,
    notes: usize,
    good: usize,
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Good => "ok",
        Grade::Notice => "note",
        Grade::Bad => "BAD",
    }
}

impl Findings {
    /// As it should be.
    pub(super) fn good(&mut self, part: Part, about: &str, subject: &str, told: impl Into<String>) {
        self.add(Grade::Good, part, about, subject, told, None);
    }

    /// Worth knowing.
    pub(super) fn note(
        &mut self,
        part: Part,
        about: &str,
        subject: &str,
        told: impl Into<String>,
        way_out: Option<String>,
    ) {
        self.add(Grade::Notice, part, about, subject, told, way_out);
    }

    /// Will fail on the day.
    pub(super) fn bad(
        &mut self,
        part: Part,
        about: &str,
        subject: &str,
        told: impl Into<String>,
        way_out: Option<String>,
    ) {
        self.add(Grade::Bad, part, about, subject, told, way_out);
    }

    /// A failure: its causes are told with it, its hints are the way out.
    pub(super) fn failure(&mut self, grade: Grade, part: Part, about: &str, subject: &str, failure: &Failure) {
        let told = std::iter::once(failure.message.as_str()).chain(failure.causes.iter().map(String::as_str));
        let told = told.collect::<Vec<_>>().join("\n");
        let way_out = (!failure.hints.is_empty()).then(|| failure.hints.join("\n"));
        self.add(grade, part, about, subject, told, way_out);
    }

    /// Whatever it is.
    pub(super) fn add(
        &mut self,
        grade: Grade,
        part: Part,
        about: &str,
        subject: &str,
        told: impl Into<String>,
        way_out: Option<String>,
    ) {
        let entry = Entry {
            part,
            about: about.to_owned(),
            subject: subject.to_owned(),
            grade: word(grade),
            told: told.into(),
            way_out,
        };
        self.entries.push((grade, entry));
    }

    /// How many there are of a grade.
    pub(super) fn count(&self, grade: Grade) -> usize {
        self.entries.iter().filter(|(its, _)| *its == grade).count()
    }

    /// For `--json`.
    pub(super) fn report(&self) -> Report<'_> {
        Report {
            findings: self.entries.iter().map(|(_, entry)| entry).collect(),
            bad: self.count(Grade::Bad),
            notes: self.count(Grade::Notice),
            good: self.count(Grade::Good),
        }
    }

    /// For people: part by part, the verdict last.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut part = None;
        for (grade, entry) in &self.entries {
            if part != Some(entry.part) {
                lines.push(paint(STRONG, entry.part.heading()));
                part = Some(entry.part);
            }
            let style = match grade {
                Grade::Good => GOOD,
                Grade::Notice => NOTICE,
                Grade::Bad => BAD,
            };
            let place: Vec<_> = [&entry.about, &entry.subject].into_iter().filter(|text| !text.is_empty()).collect();
            let place = place.into_iter().map(|text| harmless(text)).collect::<Vec<_>>().join(", ");
            let mut told = entry.told.lines().map(harmless);
            let first = told.next().unwrap_or_default();
            // Padded before it is coloured: widths count without colours.
            lines.push(format!("  {} {place}: {first}", paint(style, &format!("{:<4}", entry.grade))));
            lines.extend(told.map(|line| format!("         {line}")));
            let ways = entry.way_out.iter().flat_map(|text| text.lines());
            lines.extend(ways.map(|line| format!("       > {}", harmless(line))));
        }
        lines.push(String::new());
        lines.push(self.verdict());
        lines.join("\n")
    }

    fn verdict(&self) -> String {
        let (bad, notes) = (self.count(Grade::Bad), self.count(Grade::Notice));
        let checks = count(self.entries.len(), "check");
        let notes = count(notes, "note");
        if bad == 0 {
            return format!("{} nothing is bad in {checks}, {notes}.", paint(GOOD, "READY:"));
        }
        let told = paint(BAD, &format!("NOT READY: {bad} of {checks} BAD"));
        format!("{told}, {notes}. {}", paint(FAINT, "The ways out stand behind each >."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_part_by_part_with_the_verdict_last() {
        let mut findings = Findings::default();
        findings.good(Part::Stores, "eu-1", "reach", "answers; Redis 7.0");
        let failure = Failure::usage("which prefix?").cause("a\u{1b}[2J  3 flags").hint("Once: --prefix a");
        findings.failure(Grade::Bad, Part::Environments, "shop/production", "prefix", &failure);
        findings.note(Part::Environments, "b", "", "odd", None);
        assert_eq!(
            anstream::adapter::strip_str(&findings.text()).to_string(),
            "STORES\n  ok   eu-1, reach: answers; Redis 7.0\nENVIRONMENTS\n  BAD  shop/production, prefix: which prefix?\n         \
             a\\u{1b}[2J  3 flags\n       > Once: --prefix a\n  note b: odd\n\n\
             NOT READY: 1 of 3 checks BAD, 1 note. The ways out stand behind each >."
        );
        assert_eq!(serde_json::to_value(findings.report()).unwrap()["findings"][1]["grade"], "BAD");
    }

    #[test]
    fn nothing_bad_is_ready() {
        let mut findings = Findings::default();
        findings.good(Part::Home, "x", "owner", "yours");
        assert!(
            anstream::adapter::strip_str(&findings.text())
                .to_string()
                .ends_with("READY: nothing is bad in 1 check, 0 notes.")
        );
    }
}
