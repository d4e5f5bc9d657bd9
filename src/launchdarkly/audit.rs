//! LaunchDarkly's audit log: who changed a flag since when, and whether a change of ours is in it already.

use jiff::Timestamp;

use crate::change::id::ChangeId;
use crate::flag::aspect::Aspect;
use crate::launchdarkly::wire;

/// The most entries that one page may have (operation `getAuditLogEntries`).
pub(super) const PAGE_LENGTH: &str = "20";
/// The most pages that are read.
pub(super) const PAGES_MAX: usize = 10;

/// One entry. Everything but the time is text that people wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by LaunchDarkly's clock.
    pub at: Timestamp,
    /// What was done: `turned on the flag`.
    pub title: String,
    /// Why, as the author wrote.
    pub comment: String,
    /// Who: a member's name or address, or the name of a token.
    pub author: String,
    /// The actions taken, such as `updateOn`.
    pub actions: Vec<String>,
}

/// Whether an entry wrote a certain part of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// It did.
    Yes,
    /// It names an action that this program does not know, or none at all.
    Perhaps,
    /// It did not.
    No,
}

/// What asks for a change, or speaks about one, and changes no flag.
const APPROVAL_ACTIONS: [&str; 4] =
    ["createApprovalRequest", "updateApprovalRequest", "reviewApprovalRequest", "deleteApprovalRequest"];

/// The parts of a flag that an action writes; `None` for an action that is not known. Source: LaunchDarkly's list of
/// role actions.
fn written_by(action: &str) -> Option<&'static [Aspect]> {
    Some(match action {
        "updateOn" => &[Aspect::On],
        "updateOffVariation" => &[Aspect::OffVariation],
        "updateFallthrough" | "updateFallthroughWithMeasuredRollout" | "stopMeasuredRolloutOnFlagFallthrough" => {
            &[Aspect::Fallthrough]
        }
        "updateTargets" | "updateExpiringTargets" => &[Aspect::Targets],
        "updateRules" | "stopMeasuredRolloutOnFlagRule" => &[Aspect::Rules],
        "updatePrerequisites" => &[Aspect::Prerequisites],
        // A variation that is served cannot be removed, and one that stays keeps its id: what is served stays the same.
        "updateFlagVariations" => &[Aspect::Variations],
        // Those are for environments that are yet to be made.
        "updateFlagDefaultVariations" => &[],
        "updateName"
        | "updateDescription"
        | "updateTags"
        | "updateTemporary"
        | "updateMaintainer"
        | "updateFlagCustomProperties"
        | "updateClientSideFlagAvailability"
        | "updateDeprecated"
        | "updateTrackEvents"
        | "createFlagLink"
        | "updateFlagLink"
        | "deleteFlagLink" => &[],
        other if APPROVAL_ACTIONS.contains(&other) => &[],
        _ => return None,
    })
}

impl AuditEntry {
    /// Whether the entry is the replay of this change: our comments name the ids of changes in full. An approval request
    /// has the same comment and is none.
    pub fn is_replay_of(&self, change: ChangeId) -> bool {
        let only_asks = self.actions.iter().all(|action| APPROVAL_ACTIONS.contains(&action.as_str()));
        let only_asks = only_asks && !self.actions.is_empty();
        !only_asks && self.comment.contains(&change.to_string())
    }

    /// The newest of the changes that the entry is the replay of: the last one that our comment names in its brackets
    /// ([`super::comment::comment`]). `None` for an entry that is no replay.
    pub fn newest_change(&self) -> Option<ChangeId> {
        let (_, named) = self.comment.rsplit_once("(change")?;
        let ids = named.split(|character: char| !character.is_ascii_hexdigit() && character != '-');
        ids.filter_map(|id| id.parse().ok()).rfind(|change| self.is_replay_of(*change))
    }

    /// Whether the entry wrote `aspect`.
    pub fn wrote(&self, aspect: Aspect) -> Wrote {
        let written: Vec<Option<&[Aspect]>> = self.actions.iter().map(|action| written_by(action)).collect();
        if written.iter().flatten().any(|aspects| aspects.contains(&aspect)) {
            return Wrote::Yes;
        }
        let unknown = written.is_empty() || written.iter().any(Option::is_none);
        if unknown { Wrote::Perhaps } else { Wrote::No }
    }
}

/// What was found in the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditLog {
    /// Newest first, as LaunchDarkly gives them.
    pub entries: Vec<AuditEntry>,
    /// Whether that is all. Where it is not, an entry that is missing proves nothing.
    pub complete: bool,
}

impl AuditLog {
    /// The entry that is the replay of this change.
    pub fn of_change(&self, change: ChangeId) -> Option<&AuditEntry> {
        self.entries.iter().find(|entry| entry.is_replay_of(change))
    }
}

impl From<wire::AuditEntry> for AuditEntry {
    fn from(read: wire::AuditEntry) -> Self {
        let author = author(&read);
        let title = read.title_verb.or(read.title).unwrap_or(read.short_description);
        Self {
            at: Timestamp::from_millisecond(read.date).unwrap_or(Timestamp::UNIX_EPOCH),
            title,
            comment: read.comment.unwrap_or_default(),
            author,
            actions: read.accesses.into_iter().filter_map(|access| access.action).collect(),
        }
    }
}

fn author(read: &wire::AuditEntry) -> String {
    if let Some(member) = &read.member {
        let name = [member.first_name.as_deref(), member.last_name.as_deref()];
        let name = name.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if !name.is_empty() {
            return name;
        }
        if let Some(email) = &member.email {
            return email.clone();
        }
    }
    let token = read.token.as_ref().and_then(|token| token.name.as_ref()).map(|name| format!("token {name}"));
    let subject = read.subject.as_ref().and_then(|subject| subject.name.clone());
    token.or(subject).unwrap_or_else(|| "somebody".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(actions: &[&str], comment: &str) -> AuditEntry {
        AuditEntry {
            at: Timestamp::UNIX_EPOCH,
            title: String::new(),
            comment: comment.to_owned(),
            author: String::new(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        }
    }

    #[test]
    fn what_an_entry_wrote() {
        let wrote = |actions: &[&str]| entry(actions, "").wrote(Aspect::On);
        assert_eq!(wrote(&["updateTags", "updateOn"]), Wrote::Yes);
        assert_eq!(wrote(&["updateTags", "updateRules"]), Wrote::No);
        assert_eq!(wrote(&["updateTags", "applyApprovalRequest"]), Wrote::Perhaps);
        assert_eq!(wrote(&["copyFlagConfigTo"]), Wrote::Perhaps);
        assert_eq!(wrote(&[]), Wrote::Perhaps);
    }

    #[test]
    fn asking_for_an_approval_is_no_replay() {
        let change = ChangeId::new();
        let comment = format!("rc: off by anna (change {change})");
        assert!(entry(&["updateOn"], &comment).is_replay_of(change));
        assert!(entry(&["applyApprovalRequest"], &comment).is_replay_of(change));
        assert!(!entry(&["createApprovalRequest"], &comment).is_replay_of(change));
        assert!(!entry(&["updateOn"], "rc: off by anna").is_replay_of(change));
    }
}
