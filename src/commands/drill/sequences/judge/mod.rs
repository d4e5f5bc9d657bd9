//! What must hold in every sequence, and the judge who holds what happened against it. PURE, and written without `flag/`
//! and `change/`: an error there must not be made here, too. Everything is JSON as it stands in stores, in LaunchDarkly
//! and on disk. It must not know how any of it was brought about.

pub mod accounts;
pub mod claims;
pub mod edition;
pub mod ledger;
pub mod outlook;
pub mod patches;
pub mod records;

use std::fmt;

/// What must hold, each with the section of the design that it comes from. This is the whole list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Design 3.10.
    Ends,
    /// Design 5.
    ExitCodes,
    /// Design 5, "Exit codes": 2, 3, 4 and 7 are for when nothing was done.
    NothingDone,
    /// Design 5: `--dry-run`, `verify` and `status` only look.
    OnlyLooks,
    /// Design 3.4, `rc update`.
    UpdateTruth,
    /// Design 4.3, "Undo puts LaunchDarkly's own record back".
    UndoTruth,
    /// Design 4.4 and 5: what is owed is said.
    ReplayTruth,
    /// Design 5: `verify` is 0 only in full agreement, and does not cry wolf.
    VerifyTruth,
    /// Design 5: `status` is 0 whenever it could report, and names every override.
    StatusTruth,
    /// Design 3.2: bytes that were not asked to change do not change.
    NothingElse,
    /// Design 3.2: `$inited` and tombstones are never touched.
    NotOurs,
    /// Design 3.2: every record can be read by every SDK.
    Readable,
    /// Design 3.2 and 4.3: a record is LaunchDarkly's own, or its newest one with the override applied and the revision
    /// added to its version.
    Explained,
    /// Design 4.3: `base` is LaunchDarkly's record when the override began, and never rewritten.
    Base,
    /// Design 3.6: LaunchDarkly sees the net effect, as one patch, with a comment that names the changes.
    NetEffect,
    /// Design 3.7: what LaunchDarkly changed is overwritten only by a decision.
    NotUnknowingly,
    /// Design 4.3: only what is owed is sent, and once.
    NotTwice,
    /// Design 4.4: what ended elsewhere is never sent.
    EndedElsewhere,
    /// Design 4.3: an approval is asked for once.
    OneRequest,
    /// Issue 4: nothing that anyone did is lost silently.
    NothingLost,
    /// Issue 4: at the end LaunchDarkly, stores and playback agree, or the tool says what is owed and why.
    AtRest,
    /// Issue 4, by a naive model: who had the last word has it in LaunchDarkly.
    LastWord,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Rule::Ends => "every command ends (design 3.10)",
            Rule::ExitCodes => "exit codes are those that are documented (design 5)",
            Rule::NothingDone => "where the exit code says that nothing was done, nothing was done (design 5)",
            Rule::OnlyLooks => "what only looks changes nothing (design 5)",
            Rule::UpdateTruth => "update says what is so (design 3.4)",
            Rule::UndoTruth => "undo puts LaunchDarkly's own record back (design 4.3)",
            Rule::ReplayTruth => "replay is 0 only if nothing is owed (design 4.4, 5)",
            Rule::VerifyTruth => "verify is 0 in full agreement, and only then (design 5)",
            Rule::StatusTruth => "status names every override (design 5)",
            Rule::NothingElse => "nothing else changes in a store (design 3.2)",
            Rule::NotOurs => "$inited and tombstones are never touched (design 3.2)",
            Rule::Readable => "records and overrides can be read (design 3.2)",
            Rule::Explained => {
                "a record is LaunchDarkly's own, or it with the override and the revision (design 3.2, 4.3)"
            }
            Rule::Base => "the base is LaunchDarkly's record when the override began (design 4.3)",
            Rule::NetEffect => "LaunchDarkly sees the net effect, as one patch that names its changes (design 3.6)",
            Rule::NotUnknowingly => "what LaunchDarkly changed is overwritten only by a decision (design 3.7)",
            Rule::NotTwice => "only what is owed is sent, and once (design 4.3)",
            Rule::EndedElsewhere => "what ended elsewhere is never sent (design 4.4)",
            Rule::OneRequest => "an approval is asked for once (design 4.3)",
            Rule::NothingLost => "nothing that anyone did is lost silently (issue 4)",
            Rule::AtRest => "at the end all agree, or what is owed is said (issue 4)",
            Rule::LastWord => "who had the last word has it in LaunchDarkly (issue 4)",
        })
    }
}

/// A rule that was broken, with what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub rule: Rule,
    /// What shows it.
    pub evidence: String,
}

impl Broken {
    /// Puts it together.
    pub fn new(rule: Rule, evidence: impl Into<String>) -> Self {
        Self { rule, evidence: evidence.into() }
    }
}
