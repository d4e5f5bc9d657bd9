//! Who the token is, and whether LaunchDarkly answers at all: for `status` and `doctor`.

/// Whose token it is. Source: schema `CallerIdentityRep`; it names no role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account.
    pub account_id: Option<String>,
    /// The token's id, for [`crate::launchdarkly::Client::token`].
    pub token_id: Option<String>,
    /// The token's name.
    pub token_name: Option<String>,
    /// `auth` for access tokens.
    pub token_kind: Option<String>,
    /// Whose personal token it is.
    pub member_id: Option<String>,
    /// Whether it belongs to nobody.
    pub service_token: bool,
}

/// A token as LaunchDarkly describes it. Source: schema `Token`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenDescription {
    /// Its name.
    pub name: Option<String>,
    /// `reader`, `writer` or `admin`, where it has a built-in role.
    pub role: Option<String>,
    /// The ids of its custom roles.
    pub custom_roles: Vec<String>,
    /// Whether it has a role of its own, written into it.
    pub inline_role: bool,
    /// Whether it belongs to nobody.
    pub service_token: bool,
}

impl TokenDescription {
    /// Its role in words: `writer`, `2 custom roles`.
    pub fn in_words(&self) -> String {
        if self.inline_role {
            return "an inline role".to_owned();
        }
        match (&self.role, self.custom_roles.len()) {
            (_, 1) => format!("custom role {}", self.custom_roles[0]),
            (Some(role), 0) => role.clone(),
            (None, 0) => "no role that it shows".to_owned(),
            (_, count) => format!("{count} custom roles"),
        }
    }
}

/// What came of knocking at LaunchDarkly's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What it said.
    pub answer: Reached,
    /// How far LaunchDarkly's clock is ahead of ours (negative: behind), in milliseconds, where they cannot both be
    /// right. A clock that is far off spoils the order in which people read times, and waits for rate limits.
    pub clock_wrong_by_ms: Option<i64>,
}

/// See [`Reach`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// It answers and accepts the token.
    Answers,
    /// It answers and does not accept the token.
    TokenRefused {
        /// The status, 401 or 403.
        status: u16,
        /// Its words.
        told: String,
    },
    /// It answers, but not as it should.
    Failing {
        /// What it said.
        problem: String,
    },
    /// No answer.
    Unreachable {
        /// Such as `refused the connection`.
        problem: String,
    },
}
