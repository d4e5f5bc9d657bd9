//! How each failure is explained, in one file: what kind it is (and so the exit code), what is said, why, and what to
//! type next. Modules have errors of their own and never import this one; `explanations` holds the conversions from theirs.
//! It must not print, and it must not decide whether to go on: that is for the commands.

mod explanations;

use std::fmt;

/// How a run ended, as the shell sees it. Public and tested: scripts depend on it (design 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// All that was asked is done.
    Done,
    /// It failed, in a way that no other code names.
    Failure,
    /// What was typed, or a setting, cannot be meant.
    Usage,
    /// Refused: policy, an unsafe record, or the operator declined.
    Refused,
    /// Something did not let us in.
    Credentials,
    /// Done in some places and not in others.
    Partly,
    /// Still owed to LaunchDarkly, and needs a decision or an approval.
    Owed,
    /// Unreachable, or did not answer in time.
    Unreachable,
    /// Written, but not seen live where relays are configured.
    NotLive,
}

impl ExitCode {
    /// All of them, by number.
    pub const ALL: [ExitCode; 9] = [
        ExitCode::Done,
        ExitCode::Failure,
        ExitCode::Usage,
        ExitCode::Refused,
        ExitCode::Credentials,
        ExitCode::Partly,
        ExitCode::Owed,
        ExitCode::Unreachable,
        ExitCode::NotLive,
    ];

    /// The number.
    pub fn number(self) -> u8 {
        match self {
            ExitCode::Done => 0,
            ExitCode::Failure => 1,
            ExitCode::Usage => 2,
            ExitCode::Refused => 3,
            ExitCode::Credentials => 4,
            ExitCode::Partly => 5,
            ExitCode::Owed => 6,
            ExitCode::Unreachable => 7,
            ExitCode::NotLive => 8,
        }
    }

    /// What it means, as `rc help exit-codes` says it.
    pub fn meaning(self) -> &'static str {
        match self {
            ExitCode::Done => "done",
            ExitCode::Failure => "failure",
            ExitCode::Usage => "usage: an argument or a setting cannot be meant",
            ExitCode::Refused => "refused: policy, an unsafe record, or declined",
            ExitCode::Credentials => "credentials: something did not let us in",
            ExitCode::Partly => "partly done",
            ExitCode::Owed => "owed, and needs a decision or an approval",
            ExitCode::Unreachable => "unreachable or timed out",
            ExitCode::NotLive => "written but not seen live where relays are configured",
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// The exit code of a run of which several apply, one per target or flag (design 5): if nothing was done 2, 3, 4 or 7;
/// else the first of 6, 5, 8. A part that failed beside one that is done makes the whole partly done. No parts: done.
pub fn merge(parts: impl IntoIterator<Item = ExitCode>) -> ExitCode {
    let parts: Vec<ExitCode> = parts.into_iter().collect();
    let first_of = |order: &[ExitCode]| order.iter().copied().find(|code| parts.contains(code));
    let done = first_of(&[ExitCode::Done, ExitCode::Partly, ExitCode::NotLive]).is_some();
    if !done {
        let order = [
            ExitCode::Usage,
            ExitCode::Refused,
            ExitCode::Credentials,
            ExitCode::Unreachable,
            ExitCode::Failure,
            ExitCode::Owed,
        ];
        return first_of(&order).unwrap_or(ExitCode::Done);
    }
    let undone = [ExitCode::Failure, ExitCode::Usage, ExitCode::Refused, ExitCode::Credentials, ExitCode::Unreachable];
    if parts.contains(&ExitCode::Owed) {
        ExitCode::Owed
    } else if parts.contains(&ExitCode::Partly) || first_of(&undone).is_some() {
        ExitCode::Partly
    } else if parts.contains(&ExitCode::NotLive) {
        ExitCode::NotLive
    } else {
        ExitCode::Done
    }
}

/// What kind of failure it is. Each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None of the others.
    Other,
    /// What was typed, or a setting, cannot be meant.
    Usage,
    /// It could be done and must not be: policy, an unsafe record, or the operator declined.
    Refused,
    /// Something did not let us in.
    Credentials,
    /// Begun, and not finished everywhere.
    Partly,
    /// It waits for a decision or an approval.
    Owed,
    /// No answer in time, or no way there.
    Unreachable,
}

impl Kind {
    /// The exit code of a run that ends with such a failure.
    pub fn exit_code(self) -> ExitCode {
        match self {
            Kind::Other => ExitCode::Failure,
            Kind::Usage => ExitCode::Usage,
            Kind::Refused => ExitCode::Refused,
            Kind::Credentials => ExitCode::Credentials,
            Kind::Partly => ExitCode::Partly,
            Kind::Owed => ExitCode::Owed,
            Kind::Unreachable => ExitCode::Unreachable,
        }
    }
}

/// Why a command could not do what it was asked, as the operator will read it: `error: …`, then why, one thing a line,
/// then what to do, each line ready to paste.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind, and so the exit code.
    pub kind: Kind,
    /// What went wrong: names the thing tried. A lowercase fragment.
    pub message: String,
    /// Why: from the nearest cause to the last.
    pub causes: Vec<String>,
    /// The way out.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without causes and hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// What was typed, or a setting, cannot be meant.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// It could be done and must not be.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Adds a cause.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds ways out.
    #[must_use]
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// The same failure as the cause of `message`: what was being done when it happened.
    #[must_use]
    pub fn while_doing(mut self, message: impl Into<String>) -> Self {
        self.causes.insert(0, std::mem::replace(&mut self.message, message.into()));
        self
    }

    /// The exit code.
    pub fn exit_code(&self) -> ExitCode {
        self.kind.exit_code()
    }
}

/// As it is printed: without colours, without a line end at the end.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", self.message)?;
        for cause in &self.causes {
            write!(formatter, "\n  {}", cause.replace('\n', "\n  "))?;
        }
        for hint in &self.hints {
            write!(formatter, "\n{hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_published_ones() {
        let numbers: Vec<u8> = ExitCode::ALL.into_iter().map(ExitCode::number).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[track_caller]
    fn merged(parts: &[u8], expected: u8) {
        let parts = parts.iter().map(|number| ExitCode::ALL[usize::from(*number)]);
        assert_eq!(merge(parts).number(), expected);
    }

    #[test]
    fn nothing_done_names_the_reason() {
        merged(&[7, 7, 7], 7);
        merged(&[3, 7], 3);
        merged(&[7, 4], 4);
        merged(&[1], 1);
        merged(&[1, 7], 7);
        merged(&[6], 6);
        merged(&[6, 7], 7);
        merged(&[2, 3, 4, 7], 2);
    }

    #[test]
    fn something_done_says_what_is_left() {
        merged(&[], 0);
        merged(&[0, 0], 0);
        merged(&[0, 8], 8);
        merged(&[0, 7], 5);
        merged(&[0, 1], 5);
        merged(&[0, 3, 8], 5);
        merged(&[8, 7], 5);
        merged(&[0, 5, 6], 6);
        merged(&[0, 7, 6], 6);
        merged(&[8], 8);
        merged(&[5], 5);
    }

    /// Whatever the parts, their order does not matter, and 0 is said only where every part is done.
    #[test]
    fn merging_is_a_matter_of_the_set() {
        for set in 0_u32..512 {
            let parts: Vec<ExitCode> =
                ExitCode::ALL.into_iter().filter(|code| set & (1 << code.number()) != 0).collect();
            let forward = merge(parts.iter().copied());
            assert_eq!(forward, merge(parts.iter().rev().copied()));
            let all_done = parts.iter().all(|code| *code == ExitCode::Done);
            assert_eq!(forward == ExitCode::Done, all_done, "{parts:?}");
        }
    }

    #[test]
    fn printed_with_causes_and_hints() {
        let failure = Failure::refused("checkout is damaged in us-1")
            .cause("\"on\" is the text \"off\"")
            .while_doing("checkout was not written")
            .hint("Write it correctly:  rc update --resume 7c1f --repair");
        assert_eq!(
            failure.to_string(),
            "error: checkout was not written\n  checkout is damaged in us-1\n  \"on\" is the text \"off\"\n\
             Write it correctly:  rc update --resume 7c1f --repair"
        );
    }
}
