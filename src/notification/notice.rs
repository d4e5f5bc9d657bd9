//! What is told: one thing that happened, in words, with what machines need to sort it. PURE.

use jiff::Timestamp;
use uuid::Uuid;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody has to act now.
    Critical,
}

impl Severity {
    /// Its name, which is PagerDuty's as well.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its own id, the same in every place and in every attempt: who receives it twice can tell.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who tells: the guard's name.
    pub source: String,
    /// What it is about, such as `conflict`.
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Whether what was told before under the same kind, environment and flag is over.
    pub over: bool,
    /// The environment's name, where it is about one.
    pub environment: Option<String>,
    /// The flag, where it is about one.
    pub flag: Option<String>,
    /// For people.
    pub told: String,
}

impl Notice {
    /// What all notices about the same thing have in common.
    pub fn subject(&self) -> String {
        let parts = [Some(self.source.as_str()), Some(self.kind), self.environment.as_deref(), self.flag.as_deref()];
        parts.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")
    }

    /// One line for people: who says what, of what.
    pub fn line(&self) -> String {
        let over = if self.over { "over: " } else { "" };
        let environment = self.environment.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{} [{}]{environment}: {over}{}", self.source, self.kind, self.told)
    }
}
