//! What happened in a sequence, line by line, as a person can read it. PURE.

use crate::commands::drill::operator::Ran;
use crate::ui::harmless::harmless;

/// The most lines of a command's words that are kept.
const LINES_MAX: usize = 60;

/// The telling of a sequence.
#[derive(Debug, Clone, Default)]
pub struct Told {
    lines: Vec<String>,
    step: String,
}

impl Told {
    /// A step begins.
    pub fn step(&mut self, number: usize) {
        self.step = format!("{number:>3}  ");
    }

    /// The last part begins, in which everything is brought to rest.
    pub fn part(&mut self, title: &str) {
        self.lines.push(format!("     -- {title}"));
        self.step = String::new();
    }

    /// Something happened.
    pub fn say(&mut self, what: impl AsRef<str>) {
        let step = std::mem::take(&mut self.step);
        let before = if step.is_empty() { "     " } else { &step };
        self.lines.push(format!("{before}{}", harmless(what.as_ref())));
    }

    /// A command has ended.
    pub fn ran(&mut self, ran: &Ran) {
        let words = ran.out.lines().chain(ran.talk.lines());
        for line in words.filter(|line| !line.trim().is_empty()).take(LINES_MAX) {
            self.say(format!("  | {line}"));
        }
        self.say(format!("  exit code {}", ran.code.number()));
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}
