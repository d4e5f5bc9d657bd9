//! What LaunchDarkly says about an environment: whether it is critical, and whether changes need an approval.

use crate::launchdarkly::wire;

/// Who must agree before a change is applied. Source: schema `ApprovalSettings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// For every flag of the environment, unless there are [`ApprovalSettings::required_tags`].
    pub required: bool,
    /// For flags with one of these tags only.
    pub required_tags: Vec<String>,
    /// How many reviewers must agree, 1 to 5.
    pub min_approvals: u32,
    /// Whether the one who asks may agree.
    pub can_review_own: bool,
    /// Whether one agreement is enough against a refusal.
    pub can_apply_declined: bool,
    /// Whether an approved change is applied without further ado (not by LaunchDarkly's own approvals).
    pub auto_apply: bool,
    /// `launchdarkly`, or the outside service that approves.
    pub service: String,
}

impl ApprovalSettings {
    /// Whether a change of a flag with these tags needs an approval. With tags set, only flags that carry one of them
    /// do; LaunchDarkly's Terraform provider allows tags only where `required` is false, so tags count by themselves.
    pub fn needed_for(&self, tags: &[String]) -> bool {
        if self.required_tags.is_empty() {
            return self.required;
        }
        self.required_tags.iter().any(|tag| tags.contains(tag))
    }
}

/// An environment as LaunchDarkly describes it. Its SDK keys are in the answer too and are left there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEnvironment {
    /// Its name for people.
    pub name: String,
    /// Whether it is marked as critical.
    pub critical: bool,
    /// Whether LaunchDarkly's own interface asks before a change is saved there.
    pub confirm_changes: bool,
    /// `None` where the account has no approvals.
    pub approval: Option<ApprovalSettings>,
}

impl From<wire::Environment> for RemoteEnvironment {
    fn from(read: wire::Environment) -> Self {
        Self {
            name: read.name,
            critical: read.critical,
            confirm_changes: read.confirm_changes,
            approval: read.approval_settings.map(|settings| ApprovalSettings {
                required: settings.required,
                required_tags: settings.required_approval_tags,
                min_approvals: settings.min_num_approvals,
                can_review_own: settings.can_review_own_request,
                can_apply_declined: settings.can_apply_declined_changes,
                auto_apply: settings.auto_apply_approved_changes,
                service: settings.service_kind,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(required: bool, tags: &[&str]) -> ApprovalSettings {
        ApprovalSettings {
            required,
            required_tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            min_approvals: 1,
            can_review_own: false,
            can_apply_declined: false,
            auto_apply: false,
            service: "launchdarkly".to_owned(),
        }
    }

    #[test]
    fn tags_narrow_what_needs_an_approval() {
        let tagged = ["money".to_owned()];
        assert!(settings(true, &[]).needed_for(&[]));
        assert!(!settings(false, &[]).needed_for(&tagged));
        assert!(settings(true, &["money"]).needed_for(&tagged));
        assert!(settings(false, &["money"]).needed_for(&tagged));
        assert!(!settings(true, &["money"]).needed_for(&[]));
    }
}
