//! Approval requests: what stands in the stead of a patch where an environment demands that somebody agrees.

use std::fmt;

use crate::change::id::ChangeId;
use crate::launchdarkly::address::Address;
use crate::launchdarkly::wire;

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalStatus {
    /// Not applied yet.
    Pending,
    /// To be applied at a set time.
    Scheduled,
    /// Applied.
    Completed,
    /// Applying it failed.
    Failed,
    /// A word that this program does not know.
    Other(String),
}

/// What the reviewers said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewStatus {
    /// Nothing that decides.
    Pending,
    /// Yes; it still has to be applied.
    Approved,
    /// No.
    Declined,
    /// A word that this program does not know.
    Other(String),
}

impl fmt::Display for ApprovalStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ApprovalStatus::Pending => "pending",
            ApprovalStatus::Scheduled => "scheduled",
            ApprovalStatus::Completed => "completed",
            ApprovalStatus::Failed => "failed",
            ApprovalStatus::Other(word) => word,
        })
    }
}

impl fmt::Display for ReviewStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            ReviewStatus::Pending => "pending",
            ReviewStatus::Approved => "approved",
            ReviewStatus::Declined => "declined",
            ReviewStatus::Other(word) => word,
        })
    }
}

/// An approval request. Source: schema `FlagConfigApprovalRequestResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// LaunchDarkly's id.
    pub id: String,
    /// A page for people.
    pub link: Option<String>,
    /// How far it has come.
    pub status: ApprovalStatus,
    /// What the reviewers said.
    pub review: ReviewStatus,
    /// What was asked for, as whoever asked described it.
    pub description: String,
    /// Why it could not be applied as things are, in LaunchDarkly's words.
    pub conflicts: Vec<String>,
}

impl Approval {
    /// Whether it can still come to something.
    pub fn is_open(&self) -> bool {
        matches!(self.status, ApprovalStatus::Pending | ApprovalStatus::Scheduled)
            && self.review != ReviewStatus::Declined
    }

    /// Whether it was asked for on behalf of this change: our descriptions name the ids of changes in full.
    pub fn names(&self, change: ChangeId) -> bool {
        self.description.contains(&change.to_string())
    }

    pub(super) fn read(read: wire::Approval, address: &Address) -> Self {
        // The page's address is not in the answer; this is where LaunchDarkly's interface has it.
        let link = address.page(&["approvals", &read.id]);
        Self {
            link,
            id: read.id,
            status: match read.status.as_str() {
                "pending" => ApprovalStatus::Pending,
                "scheduled" => ApprovalStatus::Scheduled,
                "completed" => ApprovalStatus::Completed,
                "failed" => ApprovalStatus::Failed,
                _ => ApprovalStatus::Other(read.status),
            },
            review: match read.review_status.as_str() {
                "pending" => ReviewStatus::Pending,
                "approved" => ReviewStatus::Approved,
                "declined" => ReviewStatus::Declined,
                _ => ReviewStatus::Other(read.review_status),
            },
            description: read.description.unwrap_or_default(),
            conflicts: read.conflicts.into_iter().filter_map(|conflict| conflict.reason).collect(),
        }
    }
}
