//! LaunchDarkly's audit log: who changed a flag since when, and whether a change of ours is in it already.

use jiff::Timestamp;

use crate::change::id::ChangeId;
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

impl AuditEntry {
    /// Whether the entry is the replay of this change: our comments name the ids of changes in full.
    pub fn names(&self, change: ChangeId) -> bool {
        self.comment.contains(&change.to_string())
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
        self.entries.iter().find(|entry| entry.names(change))
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
