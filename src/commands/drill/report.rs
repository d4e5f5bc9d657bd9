//! What the rehearsal says: each step as soon as it is over, a table at the end, and the same as one JSON object.

use jiff::Timestamp;
use serde::Serialize;

use super::judgement::Check;
use super::judgement::Deed;
use super::judgement::Step;
use super::operator::Ran;
use super::stage::Stage;
use crate::ui::harmless::harmless;
use crate::ui::output::BAD;
use crate::ui::output::FAINT;
use crate::ui::output::GOOD;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::table::Table;
use crate::ui::table::visible_width;
use crate::ui::time;
use crate::ui::words::count;

/// The most columns that a line takes, where its words let it.
const WIDTH_MAX: usize = 100;

/// The object of `rc drill --json`. New fields may come; those that are here stay.
#[derive(Debug, Serialize)]
pub struct Report<'s> {
    /// Whether everything held.
    pub held: bool,
    /// The store that was used.
    pub store: StoreReport<'s>,
    /// How long it all took.
    pub milliseconds: u128,
    /// The steps, in order.
    pub steps: Vec<StepReport<'s>>,
    /// The folder that was kept; `null` without `--keep`.
    pub kept: Option<String>,
}

/// See [`Report::store`].
#[derive(Debug, Serialize)]
pub struct StoreReport<'s> {
    /// `redis` or `file`.
    pub kind: &'static str,
    /// The version of redis-server; `null` with a file.
    pub version: Option<&'s str>,
    /// In words.
    pub told: String,
}

/// See [`Report::steps`].
#[derive(Debug, Serialize)]
pub struct StepReport<'s> {
    /// Counted from 1.
    pub number: usize,
    /// Its title.
    pub title: &'static str,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: u128,
    /// What was done, in order.
    pub did: Vec<DeedReport<'s>>,
    /// What was looked at, in order.
    pub checks: Vec<CheckReport<'s>>,
    /// Why it could not be played to its end; `null` where it was.
    pub broken: Option<&'s str>,
    /// Whether it held.
    pub held: bool,
}

/// See [`StepReport::did`].
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum DeedReport<'s> {
    /// A command of `rc`.
    Command {
        /// Who ran it.
        who: &'static str,
        /// As it would be typed.
        command: &'s str,
        /// Its exit code.
        exit_code: u8,
        /// How long it took.
        milliseconds: u128,
        /// Its standard output.
        stdout: &'s str,
        /// Its standard error.
        stderr: &'s str,
    },
    /// What the drill did in somebody else's place.
    Other {
        /// In words.
        told: &'s str,
    },
}

/// See [`StepReport::checks`].
#[derive(Debug, Serialize)]
pub struct CheckReport<'s> {
    /// What was looked at.
    pub what: &'s str,
    /// What should have been seen.
    pub expected: &'s str,
    /// What was seen.
    pub saw: &'s str,
    /// Whether they are the same.
    pub held: bool,
}

impl<'s> StepReport<'s> {
    /// The step as an object.
    pub fn of(step: &'s Step) -> Self {
        let check = |check: &'s Check| CheckReport {
            what: &check.what,
            expected: &check.expected,
            saw: &check.saw,
            held: check.held(),
        };
        Self {
            number: step.number,
            title: step.title,
            at: step.at,
            milliseconds: step.took.as_millis(),
            did: step.deeds.iter().map(DeedReport::of).collect(),
            checks: step.checks.iter().map(check).collect(),
            broken: step.broken.as_deref(),
            held: step.held(),
        }
    }
}

impl<'s> DeedReport<'s> {
    fn of(deed: &'s Deed) -> Self {
        match deed {
            Deed::Command(ran) => DeedReport::Command {
                who: ran.who,
                command: &ran.line,
                exit_code: ran.code.number(),
                milliseconds: ran.took.as_millis(),
                stdout: &ran.out,
                stderr: &ran.talk,
            },
            Deed::Other(told) => DeedReport::Other { told },
        }
    }
}

/// The title of a step, said before it is played: some take a while.
pub fn title(step: &Step) -> String {
    let title = paint(STRONG, &format!("STEP {}  {}", step.number, step.title));
    format!("\n{title}  {}", paint(FAINT, &time::clock(step.at)))
}

/// A step for people, behind its title: what was done, then what was looked at, expected and seen.
pub fn step(step: &Step) -> String {
    let mut lines = Vec::new();
    for deed in &step.deeds {
        match deed {
            Deed::Command(ran) => command(ran, &mut lines),
            Deed::Other(told) => lines.push(format!("  {told}")),
        }
    }
    let mut table = Table::indented(2);
    table.row(["", "looked at", "expected", "saw"]);
    for check in &step.checks {
        let what = check.what.clone();
        table.row([
            mark(check.held()),
            what,
            harmless(&check.expected).into_owned(),
            harmless(&check.saw).into_owned(),
        ]);
    }
    if !step.checks.is_empty() {
        lines.push(table.to_string());
    }
    if let Some(broken) = &step.broken {
        lines.push(format!("  {}  the drill itself could not go on: {}", mark(false), harmless(broken)));
    }
    lines.join("\n")
}

/// The command as it would be typed, what it printed, and how it ended.
fn command(ran: &Ran, lines: &mut Vec<String>) {
    lines.push(format!("  {}$ {}", ran.who, ran.line));
    let printed = [&ran.talk, &ran.out];
    for line in printed.into_iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty()) {
        for part in wrapped(&harmless(line), WIDTH_MAX - 4) {
            lines.push(paint(FAINT, &format!("  | {part}")));
        }
    }
    lines.push(paint(FAINT, &format!("  exit code {} after {}", ran.code.number(), time::duration(ran.took))));
}

/// `line` in parts that fit `width`, broken between words; the parts behind the first are indented a little more than it.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent = " ".repeat(line.len() - line.trim_start().len());
    let mut parts = Vec::new();
    let mut part = indent.clone();
    for word in line.trim_start().split_inclusive(' ') {
        if visible_width(&part) + visible_width(word.trim_end()) > width && !part.trim().is_empty() {
            parts.push(part.trim_end().to_owned());
            part = format!("{indent}    ");
        }
        part.push_str(word);
    }
    parts.push(part.trim_end().to_owned());
    parts
}

fn mark(held: bool) -> String {
    if held { paint(GOOD, "held") } else { paint(BAD, "NOT HELD") }
}

/// The table at the end, and the verdict.
pub fn verdict(steps: &[Step], planned: usize, held: bool, took: std::time::Duration) -> String {
    let mut table = Table::new();
    for step in steps {
        table.row([format!("{:>2}", step.number), step.title.to_owned(), time::duration(step.took), mark(step.held())]);
    }
    let not_held: Vec<&Step> = steps.iter().filter(|step| !step.held()).collect();
    let mut lines = vec![String::new(), table.to_string(), String::new()];
    for step in &not_held {
        lines.push(format!("  step {}: {}", step.number, harmless(&step.why_not().unwrap_or_default())));
    }
    let took = time::duration(took);
    lines.push(if held {
        format!("{}: {} went as they should, in {took}.", paint(GOOD, "HELD"), count(planned, "step"))
    } else {
        let missing = planned.saturating_sub(steps.len());
        let missing = if missing > 0 { format!(", {} not played", count(missing, "step")) } else { String::new() };
        format!("{}: {} of {planned}{missing}, after {took}.", paint(BAD, "NOT HELD"), count(not_held.len(), "step"))
    });
    lines.join("\n")
}

/// What is said before the first step.
pub fn opening(stage: &Stage) -> String {
    let mut table = Table::indented(2);
    table.row(["LaunchDarkly", &format!("simulated, at {}; environment shop/production", stage.launchdarkly_url())]);
    table.row(["store", &stage.store_told()]);
    table.row(["homes", &format!("anna and bob, in {}", stage.folder().display())]);
    let mut lines =
        vec!["A rehearsal of an outage. Nothing of yours is read or changed.".to_owned(), table.to_string()];
    if stage.redis_version().is_none() {
        lines.push(
            "With a flag file nothing has prefixes, nothing says that the store was filled, and SDKs that watch\n\
             the file see a change at once. To rehearse with Redis, install redis-server."
                .to_owned(),
        );
    }
    lines.push("Not rehearsed: streams, relays and SDKs. No relay is started.".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(expected: &str, saw: &str) -> Step {
        let mut step = Step::begun(1, "The kill switch", Timestamp::UNIX_EPOCH);
        step.tell("LaunchDarkly is away.");
        step.check("store: checkout", expected, saw);
        step
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn what_held_and_what_did_not() {
        assert_eq!(plain(&title(&played("", ""))), "\nSTEP 1  The kill switch  00:00:00Z");
        assert_eq!(
            plain(&step(&played("off v43", "on v42"))),
            "  LaunchDarkly is away.\n            looked at        expected  saw\n  NOT HELD  store: checkout  off v43   on v42"
        );
        let second = std::time::Duration::from_secs(1);
        let good = plain(&verdict(&[played("off v43", "off v43")], 1, true, second));
        assert!(good.ends_with("\nHELD: 1 step went as they should, in 1 s."), "{good}");
        let bad = plain(&verdict(&[played("off v43", "on v42")], 2, false, second));
        assert!(bad.contains("\n  step 1: store: checkout: expected off v43, saw on v42\n"), "{bad}");
        assert!(bad.ends_with("\nNOT HELD: 1 step of 2, 1 step not played, after 1 s."), "{bad}");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("  one two three", 11), ["  one two", "      three"]);
        assert_eq!(wrapped("short", 11), ["short"]);
        assert_eq!(wrapped("unbreakable-and-long", 11), ["unbreakable-and-long"]);
        assert_eq!(wrapped("a  b", 11), ["a  b"]);
    }
}
