//! The plan of a replay: what LaunchDarkly's answer means for each override, and what becomes of it once everything is
//! decided that has to be. Pure.

use std::collections::BTreeSet;

use crate::change::override_::Override;
use crate::change::override_::OverrideState;
use crate::change::reconcile;
use crate::change::reconcile::Disagreement;
use crate::change::reconcile::LaunchDarklyNow;
use crate::change::reconcile::Reconciled;
use crate::commands::replay::OnConflict;
use crate::commands::replay::history::Told;
use crate::commands::replay::owed::Matter;
use crate::commands::signing::Vouched;
use crate::error::Failure;
use crate::flag::aspect::Aspect;
use crate::flag::configuration::Configuration;
use crate::flag::instruction::Instruction;
use crate::flag::patch;
use crate::launchdarkly::approval::Approval;
use crate::launchdarkly::audit::AuditEntry;
use crate::launchdarkly::audit::AuditLog;
use crate::launchdarkly::environment::ApprovalSettings;
use crate::launchdarkly::flag::RemoteFlag;

/// One override, and LaunchDarkly's flag beside it.
#[derive(Debug)]
pub struct Item {
    /// The override.
    pub matter: Matter,
    /// What it asks for, in words: said three times, so made once, and while LaunchDarkly is asked about the next flag.
    pub wish: String,
    /// LaunchDarkly's flag; `None` where it has none, or was not asked.
    pub now: Option<RemoteFlag>,
    /// What LaunchDarkly's audit log says, where it was asked and answered.
    pub audit: Option<AuditLog>,
    /// What that comes to.
    pub told: Told,
    /// The approval request that stands for it.
    pub approval: Option<Approval>,
    /// Approval requests of earlier edits that somebody may still agree to.
    pub still_open: Vec<Approval>,
    /// How many reviewers have to agree, where an approval is needed.
    pub reviewers: Option<u32>,
    /// What it comes to.
    pub course: Course,
    /// Whether the keys here vouch for it.
    pub vouched: Vouched,
}

/// What was read of LaunchDarkly for one override.
#[derive(Debug, Default)]
pub struct Read {
    /// See [`Item::now`].
    pub now: Option<RemoteFlag>,
    /// See [`Item::audit`].
    pub audit: Option<AuditLog>,
    /// See [`Item::told`].
    pub told: Told,
    /// See [`Item::approval`].
    pub approval: Option<Approval>,
    /// See [`Item::still_open`].
    pub still_open: Vec<Approval>,
}

/// What an override comes to, against LaunchDarkly's flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Course {
    /// To be sent.
    Send {
        /// With variations by LaunchDarkly's list of now.
        instructions: Vec<Instruction>,
        /// What LaunchDarkly changed meanwhile, and what stays.
        elsewhere: BTreeSet<Aspect>,
    },
    /// LaunchDarkly has it.
    Already {
        /// Its version.
        version: u64,
    },
    /// LaunchDarkly has had it, by its audit log, and somebody changed it there since: his word is the later one.
    Had {
        /// Its version when it had it, as far as the log tells.
        version: u64,
        /// Its version now.
        version_now: u64,
        /// What was done since.
        since: Box<AuditEntry>,
    },
    /// The edits came to nothing.
    Nothing,
    /// LaunchDarkly says otherwise in what the override touches.
    Conflict {
        /// In what.
        aspects: Vec<Disagreement>,
        /// What to send if the override is to win.
        instructions: Option<Vec<Instruction>>,
    },
    /// Changed in LaunchDarkly and changed back.
    ChangedBack {
        /// The version when the override began.
        base_version: u64,
        /// The version now.
        version_now: u64,
        /// What to send if that is decided.
        instructions: Vec<Instruction>,
    },
    /// The flag is not there any more.
    Gone {
        /// Archived, not deleted.
        archived: bool,
    },
    /// An approval request stands for it.
    Waits,
    /// It could not be found out.
    Failed(Failure),
}

/// What is done about an override.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send these.
    Send(Vec<Instruction>),
    /// Ask for an approval of these.
    Request(Vec<Instruction>),
    /// LaunchDarkly has it, or has had it: the stores are told.
    Settle {
        /// LaunchDarkly's version.
        version: u64,
        /// What was done there since, in words.
        since: Option<String>,
    },
    /// The edits came to nothing: LaunchDarkly's record goes back.
    PutBack,
    /// It is given up, for this reason; LaunchDarkly's record goes back.
    Abandon(String),
    /// Nothing: it stays owed.
    Leave(Left),
}

/// Why an override stays owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is said.
    pub why: String,
    /// What to type, or where to look.
    pub next: Option<String>,
    /// A failure, where it is one and not a matter of decision.
    pub failure: Option<Box<Failure>>,
    /// Whether a reviewer is waited for.
    pub waits: bool,
    /// Whether it is since no key vouches for it.
    pub doubtful: bool,
}

impl Left {
    /// For somebody to decide.
    pub fn undecided(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { why: why.into(), next: Some(next.into()), failure: None, waits: false, doubtful: false }
    }

    /// Since something failed.
    pub fn failed(failure: Failure) -> Self {
        let (why, next) = (failure.message.clone(), failure.hints.first().cloned());
        Self { why, next, failure: Some(Box::new(failure)), waits: false, doubtful: false }
    }
}

/// What was decided about an override of which LaunchDarkly says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The override is sent.
    Override,
    /// It is given up.
    LaunchDarkly,
    /// It stays owed.
    Skip,
}

impl Decision {
    /// The decision that was typed beforehand.
    pub fn of(on_conflict: OnConflict) -> Option<Self> {
        match on_conflict {
            OnConflict::Ask => None,
            OnConflict::Override => Some(Decision::Override),
            OnConflict::Launchdarkly => Some(Decision::LaunchDarkly),
            OnConflict::Skip => Some(Decision::Skip),
        }
    }

    /// As it is recorded.
    pub fn word(self) -> &'static str {
        match self {
            Decision::Override => "override",
            Decision::LaunchDarkly => "launchdarkly",
            Decision::Skip => "skip",
        }
    }
}

/// What LaunchDarkly's answer comes to. `remote` is `None` where it has no such flag; `told` is empty while its audit log
/// was not looked at.
pub fn course(override_: &Override, remote: Option<&RemoteFlag>, told: &Told) -> Course {
    let now = remote.map(|remote| LaunchDarklyNow {
        configuration: remote.configuration.clone(),
        version: remote.version,
        archived: remote.archived,
    });
    let version_now = now.as_ref().map_or(0, |now| now.version);
    let had = || {
        let (entries, since) = (told.delivered?, told.since.clone()?);
        // One version for each entry, as far as can be told; and ours was at least the first one after the base. What came
        // since may be a later edition of ours that had it as well, in one patch: LaunchDarkly's newest is not ours in any case.
        let version = version_now.saturating_sub(entries).max(override_.base.version().saturating_add(1));
        let version = version.min(version_now.saturating_sub(1));
        Some(Course::Had { version, version_now, since: Box::new(since) })
    };
    match reconcile::reconcile(override_, now.as_ref(), &told.history) {
        Ok(Reconciled::NothingToSend) => Course::Nothing,
        Ok(Reconciled::AlreadySo { version }) => Course::Already { version },
        Ok(Reconciled::Send { instructions, elsewhere }) => had().unwrap_or(Course::Send { instructions, elsewhere }),
        Ok(Reconciled::Conflict { aspects, instructions }) => {
            had().unwrap_or(Course::Conflict { aspects, instructions })
        }
        Ok(Reconciled::ChangedAndChangedBack { base_version, version_now, instructions }) => {
            had().unwrap_or(Course::ChangedBack { base_version, version_now, instructions })
        }
        Ok(Reconciled::Gone { archived }) => Course::Gone { archived },
        Err(error) => Course::Failed(
            Failure::from(error).while_doing(format!("the override of {} cannot be understood", override_.flag)),
        ),
    }
}

/// By how much LaunchDarkly's version has gone up since the override's base.
pub fn moved(override_: &Override, remote: &RemoteFlag) -> u64 {
    remote.version.saturating_sub(override_.base.version())
}

/// Whether LaunchDarkly's audit log has to be asked before this is taken for what there is to do: the flag was changed
/// there since the override began, and it matters by whom.
pub fn needs_the_audit_log(override_: &Override, remote: Option<&RemoteFlag>, course: &Course) -> bool {
    remote.is_some_and(|remote| moved(override_, remote) > 0)
        && matches!(course, Course::Send { .. } | Course::Conflict { .. } | Course::ChangedBack { .. })
}

impl Item {
    /// What LaunchDarkly's answers come to: `found`, unless somebody still has to agree to it. `settings` are the
    /// environment's.
    pub fn new(matter: Matter, read: Read, found: Course, settings: Option<&ApprovalSettings>) -> Self {
        let Read { now, audit, told, approval, still_open } = read;
        let tags = now.as_ref().map(|now| now.tags.as_slice()).unwrap_or_default();
        let reviewers = settings.filter(|settings| settings.needed_for(tags)).map(|settings| settings.min_approvals);
        let waits = approval.as_ref().is_some_and(Approval::is_open)
            && !matches!(found, Course::Already { .. } | Course::Had { .. } | Course::Gone { .. });
        let course = if waits { Course::Waits } else { found };
        let wish = wish_in_words(&matter.override_);
        Self { matter, wish, now, audit, told, approval, still_open, reviewers, course, vouched: Vouched::Unasked }
    }

    /// One that could not be looked at.
    pub fn failed(matter: Matter, failure: Failure) -> Self {
        Self::new(matter, Read::default(), Course::Failed(failure), None)
    }

    /// Whether somebody has to decide before anything can be sent.
    pub fn needs_decision(&self) -> bool {
        matches!(self.course, Course::Conflict { .. } | Course::ChangedBack { .. })
    }

    /// What would be sent, if anything is.
    pub fn instructions(&self) -> Option<&[Instruction]> {
        match &self.course {
            Course::Send { instructions, .. } | Course::ChangedBack { instructions, .. } => Some(instructions),
            Course::Conflict { instructions, .. } => instructions.as_deref(),
            _ => None,
        }
    }

    /// The id of the approval request that the override says it waits for.
    pub fn request(override_: &Override) -> Option<&str> {
        match &override_.state {
            OverrideState::AwaitingApproval { request } => Some(request),
            _ => None,
        }
    }
}

/// The aspects that an override touches, in few words, each with what `configuration` has: what everybody gets where
/// that is decided, else aspect by aspect.
pub fn in_few_words(configuration: &Configuration, override_: &Override) -> String {
    let touched: BTreeSet<Aspect> = override_.instructions.iter().map(Instruction::aspect).collect();
    let only_off = [Aspect::On, Aspect::OffVariation];
    if touched.contains(&Aspect::OffVariation) && touched.iter().all(|aspect| only_off.contains(aspect)) {
        let aspect = if configuration.on && touched.contains(&Aspect::On) { Aspect::On } else { Aspect::OffVariation };
        return configuration.in_words(aspect);
    }
    let words: Vec<String> = touched.iter().map(|aspect| configuration.in_words(*aspect)).collect();
    words.join(", ")
}

/// What an override asks for, in few words.
pub fn wish_in_words(override_: &Override) -> String {
    match wish(override_) {
        Some(wish) => in_few_words(&wish, override_),
        None => override_.instructions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// What an override asks for; `None` where it does not fit its own base.
pub fn wish(override_: &Override) -> Option<Configuration> {
    let record = patch::apply(&override_.base, &override_.instructions).ok()?;
    Some(Configuration::of_record(&record))
}

#[cfg(test)]
mod tests;
