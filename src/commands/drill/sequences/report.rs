//! What a run of sequences says: how far it is, which seeds failed and how to play them again, and the same as one JSON
//! object. Data in, text out.

use std::time::Duration;
use std::time::Instant;

use serde::Serialize;

use super::Asked;
use super::crew::Played;
use super::judge::Rule;
use super::play::Ended;
use super::steps::Story;
use crate::ui::output::BAD;
use crate::ui::output::GOOD;
use crate::ui::output::STRONG;
use crate::ui::output::paint;
use crate::ui::time::duration;
use crate::ui::words::count;

/// How often it is said how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A story that failed.
#[derive(Debug)]
pub struct Failed {
    /// The story.
    pub story: Story,
    /// Which rule was broken; `None`: the drill could not play it.
    pub rule: Option<Rule>,
    /// What shows it.
    pub evidence: String,
    /// Everything that happened.
    pub told: String,
}

/// A run of sequences.
#[derive(Debug)]
pub struct Run {
    /// How many were asked for.
    pub count: u64,
    /// Those that failed, in the order in which they ended.
    pub failed: Vec<Failed>,
    /// The first of them, made shorter.
    pub shorter: Option<Played>,
    /// How long all of it took.
    pub took: Duration,
    seed: u64,
    only: Vec<usize>,
    played: u64,
    commands: usize,
    told: Instant,
}

/// What is said at the beginning.
pub fn opening(asked: &Asked, stores: &str) -> String {
    let heading = format!("{}, seed {}", count(number(asked.count), "random sequence"), asked.seed);
    format!("{}, on {stores}.", paint(STRONG, &heading))
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Run {
    /// Nothing played yet.
    pub fn new(asked: &Asked) -> Self {
        Self {
            count: asked.count,
            failed: Vec::new(),
            shorter: None,
            took: Duration::ZERO,
            seed: asked.seed,
            only: asked.only.clone(),
            played: 0,
            commands: 0,
            told: Instant::now(),
        }
    }

    /// One more was played.
    pub fn add(&mut self, played: Played) {
        self.played += 1;
        self.commands += played.commands;
        let (rule, evidence) = match played.ended {
            None => return,
            Some(Ended::Broken(broken)) => (Some(broken.rule), broken.evidence),
            Some(Ended::Trouble(trouble)) => (None, trouble),
        };
        self.failed.push(Failed { story: played.story, rule, evidence, told: played.told });
    }

    /// How far it is, if it is time to say so.
    pub fn progress(&mut self) -> Option<String> {
        if self.count == 1 || self.told.elapsed() < PROGRESS_EVERY {
            return None;
        }
        self.told = Instant::now();
        let failed = if self.failed.is_empty() { String::new() } else { format!(", {} failed", self.failed.len()) };
        Some(format!("{} of {} played{failed}", self.played, self.count))
    }

    /// Whether all were played, and each held.
    pub fn held(&self) -> bool {
        self.failed.is_empty() && self.played == self.count
    }

    /// What is said at the end.
    pub fn verdict(&self) -> String {
        let took = duration(Duration::from_secs(self.took.as_secs().max(1)));
        if self.held() {
            let all = count(number(self.count), "sequence");
            let typed = count(self.commands, "command");
            return paint(GOOD, &format!("HELD: {all} from seed {}, {typed}, in {took}.", self.seed));
        }
        let mut text = String::new();
        for failed in &self.failed {
            text.push_str(&format!("{}\n\n", self.one(failed)));
        }
        if let (Some(shorter), Some(first)) = (&self.shorter, self.failed.first()) {
            text.push_str(&format!("SHORTER, of seed {}:\n{}\n", first.story.seed, shorter.told));
            if let Some(Ended::Broken(broken)) = &shorter.ended {
                text.push_str(&format!("BROKEN: {}\n  {}\n", broken.rule, broken.evidence));
            }
            text.push_str(&format!("  {}\n\n", only(&shorter.story)));
        }
        let verdict = format!("NOT HELD: {} of {} that were played, in {took}.", self.failed.len(), self.played);
        text + &paint(BAD, &verdict)
    }

    fn one(&self, failed: &Failed) -> String {
        let what = match failed.rule {
            Some(rule) => format!("BROKEN: {rule}"),
            None => "NOT PLAYED: the drill's own trouble".to_owned(),
        };
        let told = if self.count == 1 || self.shorter.is_some() { String::new() } else { format!("{}\n", failed.told) };
        let again = if self.only.is_empty() {
            format!("rc drill --sequences 1 --seed {}", failed.story.seed)
        } else {
            only(&failed.story)
        };
        let heading = paint(BAD, &format!("SEED {}", failed.story.seed));
        format!("{heading}\n{told}{what}\n  {}\n  Again, with every step: {again}", failed.evidence)
    }
}

/// The command that plays exactly the steps that are left of a story.
fn only(story: &Story) -> String {
    let numbers: Vec<String> = story.steps.iter().map(|step| step.number.to_string()).collect();
    let numbers = if numbers.is_empty() { "0".to_owned() } else { numbers.join(",") };
    format!("rc drill --sequences 1 --seed {} --only {numbers}", story.seed)
}

/// The object of `rc drill --sequences N --json`. New fields may come; those that are here stay.
#[derive(Debug, Serialize)]
pub struct RunJson<'r> {
    /// Whether everything held.
    held: bool,
    /// The seed of the first sequence; the others follow.
    seed: u64,
    /// How many were asked for.
    sequences: u64,
    /// How many were played.
    played: u64,
    /// How many commands were typed in them.
    commands: usize,
    /// How long it all took.
    milliseconds: u128,
    /// Those that failed.
    failed: Vec<FailedJson<'r>>,
}

/// See [`RunJson::failed`].
#[derive(Debug, Serialize)]
struct FailedJson<'r> {
    /// Its seed.
    seed: u64,
    /// The rule that was broken; `null`: the drill could not play it.
    rule: Option<String>,
    /// What shows it.
    evidence: &'r str,
    /// Everything that happened.
    told: &'r str,
    /// What plays exactly this again.
    again: String,
}

impl Run {
    /// As JSON.
    pub fn json(&self) -> RunJson<'_> {
        let failed = self.failed.iter().map(|failed| FailedJson {
            seed: failed.story.seed,
            rule: failed.rule.map(|rule| rule.to_string()),
            evidence: &failed.evidence,
            told: &failed.told,
            again: only(&failed.story),
        });
        RunJson {
            held: self.held(),
            seed: self.seed,
            sequences: self.count,
            played: self.played,
            commands: self.commands,
            milliseconds: self.took.as_millis(),
            failed: failed.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::Broken;
    use super::super::steps::generator;
    use super::*;

    fn played(seed: u64, ended: Option<Ended>) -> Played {
        Played { story: generator::story(seed, true), told: "what happened".to_owned(), ended, commands: 4 }
    }

    fn run(failed: Vec<Ended>) -> Run {
        let mut run = Run::new(&Asked { count: 3, seed: 7, only: Vec::new(), keep: false });
        let ends = failed.into_iter().map(Some).chain([const { None }; 3]).take(3);
        (7..).zip(ends).for_each(|(seed, ended)| run.add(played(seed, ended)));
        run
    }

    fn broken() -> Ended {
        Broken::new(Rule::AtRest, "eu still has an override").into()
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn all_held() {
        let run = run(Vec::new());
        assert!(run.held());
        assert_eq!(plain(&run.verdict()), "HELD: 3 sequences from seed 7, 12 commands, in 1 s.");
        let unfinished = Run { played: 2, ..run };
        assert!(!unfinished.held(), "not all were played");
    }

    #[test]
    fn what_failed_is_told_with_its_seed_and_how_to_play_it_again() {
        let mut run = run(vec![broken(), Ended::Trouble("no port".to_owned())]);
        assert!(!run.held());
        let verdict = plain(&run.verdict());
        let first = "SEED 7\nwhat happened\nBROKEN: at the end all agree, or what is owed is said (issue 4)\n  \
                     eu still has an override\n  Again, with every step: rc drill --sequences 1 --seed 7\n";
        assert!(verdict.starts_with(first), "{verdict}");
        assert!(
            verdict.contains("SEED 8\nwhat happened\nNOT PLAYED: the drill's own trouble\n  no port\n"),
            "{verdict}"
        );
        assert!(verdict.ends_with("\nNOT HELD: 2 of 3 that were played, in 1 s."), "{verdict}");
        let mut shorter = played(7, Some(broken()));
        shorter.story.steps.retain(|step| matches!(step.number, 2 | 5));
        run.shorter = Some(shorter);
        let verdict = plain(&run.verdict());
        assert!(verdict.contains("SHORTER, of seed 7:\nwhat happened\nBROKEN: "), "{verdict}");
        assert!(verdict.contains("rc drill --sequences 1 --seed 7 --only 2,5\n"), "{verdict}");
    }

    /// The object is the one that docs/drill.md shows.
    #[test]
    fn the_object_is_documented() {
        let page = include_str!("../../../../docs/drill.md");
        let (_, after) = page.split_once("```json sequences\n").unwrap();
        let shown: serde_json::Value = serde_json::from_str(after.split_once("\n```").unwrap().0).unwrap();
        let real = serde_json::to_value(run(vec![broken()]).json()).unwrap();
        let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&shown), names(&real));
        assert_eq!(names(&shown["failed"][0]), names(&real["failed"][0]));
        assert_eq!(real["failed"][0]["rule"], "at the end all agree, or what is owed is said (issue 4)");
    }
}
