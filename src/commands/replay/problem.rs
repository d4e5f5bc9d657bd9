//! Something that a replay could not look at, and its part in the exit code.

use serde::Serialize;

use crate::error::ExitCode;
use crate::error::Failure;

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which environment, store or file.
    pub what: String,
    /// What is wrong.
    pub why: String,
    /// Its part in the exit code.
    #[serde(skip)]
    pub code: Option<ExitCode>,
}

impl Problem {
    /// A failure about `what`.
    pub fn of(what: impl Into<String>, failure: Failure) -> Self {
        let code = Some(failure.exit_code());
        let why = std::iter::once(failure.message).chain(failure.causes).chain(failure.hints).collect::<Vec<_>>();
        Self { what: what.into(), why: why.join(": "), code }
    }
}
