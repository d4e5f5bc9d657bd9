//! What the rehearsal says: each step as soon as it is over, a table at the end, and the same as one JSON object.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::judgement::Check;
use super::judgement::Deed;
use super::judgement::Step;
use super::operator::Ran;
use super::stage::Ground;
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

/// The object of `rc drill --json`. New fields may come; those that are here stay. docs/drill.md has them too.
#[derive(Debug, Serialize)]
pub struct Report<'s> {
    /// Whether everything held.
    pub held: bool,
    /// The store that was used.
    pub store: &'s StoreReport,
    /// The relay that was used.
    pub relay: &'s RelayReport,
    /// How long it all took.
    pub milliseconds: u128,
    /// The steps, in order.
    pub steps: Vec<StepReport<'s>>,
    /// The folder that was kept; `null` without `--keep`.
    pub kept: Option<String>,
}

impl<'s> Report<'s> {
    /// The object.
    pub fn of(held: bool, took: Duration, setting: &'s Setting, steps: &'s [Step], kept: Option<String>) -> Self {
        let (store, relay) = (&setting.store, &setting.relay);
        Self {
            held,
            store,
            relay,
            milliseconds: took.as_millis(),
            steps: steps.iter().map(StepReport::of).collect(),
            kept,
        }
    }
}

/// What is told of the stage, once it is gone.
#[derive(Debug)]
pub struct Setting {
    store: StoreReport,
    relay: RelayReport,
}

impl Setting {
    /// Looks at the stage for the last time.
    pub fn of(stage: &Stage) -> Self {
        let (ground, relay) = (stage.ground(), &stage.relay);
        let measured = stage
            .measured
            .iter()
            .map(|measured| MeasuredReport { what: measured.what.clone(), milliseconds: measured.took.as_millis() });
        Self {
            store: StoreReport {
                kind: ground.kind(),
                version: ground.version().map(ToOwned::to_owned),
                told: ground.told(),
            },
            relay: RelayReport {
                kind: relay.kind(),
                version: relay.version().map(ToOwned::to_owned),
                cache_milliseconds: relay.cache_time().as_millis(),
                measured: measured.collect(),
                told: relay.told(),
            },
        }
    }
}

/// See [`Report::store`].
#[derive(Debug, Serialize)]
pub struct StoreReport {
    /// `redis` or `file`.
    pub kind: &'static str,
    /// The version of a redis-server of the drill's own; else `null`.
    pub version: Option<String>,
    /// In words.
    pub told: String,
}

/// See [`Report::relay`].
#[derive(Debug, Serialize)]
pub struct RelayReport {
    /// `stand-in`, or `program` for the operator's own.
    pub kind: &'static str,
    /// The version of the operator's own; else `null`.
    pub version: Option<String>,
    /// How long its cache keeps what it read from the store.
    pub cache_milliseconds: u128,
    /// What was measured of the operator's own; empty for the stand-in.
    pub measured: Vec<MeasuredReport>,
    /// In words.
    pub told: String,
}

/// See [`RelayReport::measured`].
#[derive(Debug, Serialize)]
pub struct MeasuredReport {
    /// What, in words that read on to the time.
    pub what: String,
    /// How long it took.
    pub milliseconds: u128,
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
    /// When it was seen, counted from what the step says; `null` where time does not matter.
    pub milliseconds: Option<u128>,
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
            milliseconds: check.after.map(|after| after.as_millis()),
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
            Deed::Other(told) => {
                lines.extend(wrapped(told, WIDTH_MAX - 2).iter().map(|part| format!("  {}", part.trim_start())));
            }
        }
    }
    if !step.checks.is_empty() {
        lines.push(checks(&step.checks).to_string());
    }
    if let Some(broken) = &step.broken {
        lines.push(format!("  {}  the drill itself could not go on: {}", mark(false), harmless(broken)));
    }
    lines.join("\n")
}

fn checks(checks: &[Check]) -> Table {
    let timed = checks.iter().any(|check| check.after.is_some());
    let mut table = Table::indented(2);
    table.row(["", "looked at", "expected", "saw", if timed { "after" } else { "" }]);
    for check in checks {
        table.row([
            mark(check.held()),
            check.what.clone(),
            harmless(&check.expected).into_owned(),
            harmless(&check.saw).into_owned(),
            check.after.map(time::duration).unwrap_or_default(),
        ]);
    }
    table
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
pub fn verdict(steps: &[Step], planned: usize, held: bool, took: Duration, setting: &Setting) -> String {
    let mut table = Table::new();
    for step in steps {
        table.row([format!("{:>2}", step.number), step.title.to_owned(), time::duration(step.took), mark(step.held())]);
    }
    let not_held: Vec<&Step> = steps.iter().filter(|step| !step.held()).collect();
    let mut lines = vec![String::new(), table.to_string(), String::new()];
    lines.extend(measured(&setting.relay));
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

/// What the operator's own relay did in its own time.
fn measured(relay: &RelayReport) -> Option<String> {
    let version = relay.version.as_ref()?;
    let mut table = Table::indented(2);
    for measured in &relay.measured {
        let took = u64::try_from(measured.milliseconds).unwrap_or(u64::MAX);
        table.row([measured.what.clone(), time::duration(Duration::from_millis(took))]);
    }
    let cache = time::duration(Duration::from_millis(u64::try_from(relay.cache_milliseconds).unwrap_or(u64::MAX)));
    Some(format!(
        "{}\n{table}\n  The cache time here is {cache}. With your own localTtl (30 s where none is set), SDKs that connect\n  have the kill switch that much later.\n",
        paint(STRONG, &format!("MEASURED of your relay {version}"))
    ))
}

/// What is said before the first step.
pub fn opening(stage: &Stage) -> String {
    let (ground, relay) = (stage.ground(), &stage.relay);
    let mut table = Table::indented(2);
    table
        .row(["LaunchDarkly", &format!("simulated; api {}, streams {}", stage.launchdarkly_url(), stage.stream_url())]);
    table.row(["relay", &relay.told()]);
    table.row(["store", &ground.told()]);
    table.row(["homes", &format!("anna and bob, in {}", stage.folder().display())]);
    let yours = match ground {
        Ground::Scratch(_) => "Of yours only one prefix is written, and then cleared.",
        Ground::Server(_) | Ground::File(..) => "Nothing of yours is read or changed.",
    };
    let mut lines = vec![format!("A rehearsal of an outage, in {}. {yours}", stage.environment), table.to_string()];
    if matches!(ground, Ground::File(..)) {
        lines.push(
            "With a flag file nothing has prefixes, nothing says that the store was filled, and SDKs that watch\n\
             the file see a change at once. To rehearse with Redis, install redis-server."
                .to_owned(),
        );
    }
    lines.push(if relay.is_named() {
        format!(
            "Your relay starts with nothing of its own configuration: its cache time here is {}, all else is\n\
             its default. A real outage lasts longer, and relays connect again after up to 30 s.",
            time::duration(relay.cache_time())
        )
    } else {
        "The stand-in keeps a relay's rules, but is quicker: a relay's own cache time is 30 s, it serves\n\
         nobody for some 10 s after a start in an outage, and takes up to 30 s to connect again. Yours:\n\
         rc drill --relay PATH"
            .to_owned()
    });
    lines.push("Not rehearsed: a guard, and the SDKs of your programs.".to_owned());
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
        let second = Duration::from_secs(1);
        let relay = RelayReport {
            kind: "program",
            version: Some("8.10.1".to_owned()),
            cache_milliseconds: 2_000,
            measured: vec![MeasuredReport { what: "it served nobody for".to_owned(), milliseconds: 10_200 }],
            told: String::new(),
        };
        let store = StoreReport { kind: "redis", version: None, told: String::new() };
        let setting = Setting { store, relay };
        let good = plain(&verdict(&[played("off v43", "off v43")], 1, true, second, &setting));
        assert!(good.contains("\nMEASURED of your relay 8.10.1\n  it served nobody for  10 s\n"), "{good}");
        assert!(good.ends_with("\nHELD: 1 step went as they should, in 1 s."), "{good}");
        let bad = plain(&verdict(&[played("off v43", "on v42")], 2, false, second, &setting));
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
