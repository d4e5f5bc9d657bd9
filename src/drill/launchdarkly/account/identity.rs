//! Who calls the simulated API and what he may do: access tokens, their roles, members. Must not know endpoints.
//!
//! Roles follow LaunchDarkly: `reader` sees everything, `writer` and `admin` change everything, a custom role holds
//! policy statements (`effect`, `resources`, `actions`) in which a denial wins and silence denies.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;

use super::identifier::object_of;
use crate::drill::launchdarkly::answer::Problem;
use crate::drill::launchdarkly::answer::link;

/// The API versions that LaunchDarkly has had, newest first. Source: its description's list of versions.
pub const API_VERSIONS: [u32; 5] = [20_240_415, 20_220_603, 20_210_729, 20_191_212, 20_160_426];

/// The current API version, and the default of every token.
pub const API_VERSION: u32 = API_VERSIONS[0];

/// One statement of a custom role, in LaunchDarkly's policy form.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `allow` or `deny`.
    pub effect: Effect,
    /// Resource specifiers such as `proj/shop:env/production:flag/*`; `*` stands for any run of characters.
    pub resources: Vec<String>,
    /// Actions such as `updateOn`; `*` stands for any run of characters.
    pub actions: Vec<String>,
}

/// What a statement does with what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Lets the action through.
    Allow,
    /// Forbids it, whatever other statements allow.
    Deny,
}

/// What a token may do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything, changes nothing.
    Reader,
    /// Sees and changes everything that a rehearsal touches, but does not get past required approvals.
    Writer,
    /// As [`Role::Writer`], and gets past required approvals.
    Admin,
    /// What its statements say.
    Custom(Vec<Statement>),
}

impl Role {
    /// A role that may look at everything and do these actions everywhere.
    pub fn with_actions(actions: &[&str]) -> Self {
        let allow = |resource: &str, actions: Vec<String>| Statement {
            effect: Effect::Allow,
            resources: vec![resource.to_owned()],
            actions,
        };
        Role::Custom(vec![
            allow("proj/*", vec!["viewProject".to_owned()]),
            allow("proj/*:env/*:flag/*", actions.iter().map(|&action| action.to_owned()).collect()),
        ])
    }

    fn name(&self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
            Role::Custom(_) => "",
        }
    }

    fn allows(&self, action: &str, resource: &str) -> bool {
        match self {
            Role::Reader => action.starts_with("view"),
            Role::Writer => action != BYPASS,
            Role::Admin => true,
            Role::Custom(statements) => statements_allow(statements, action, resource),
        }
    }
}

/// Whether the statements allow the action: a denial wins, and silence denies.
pub fn statements_allow(statements: &[Statement], action: &str, resource: &str) -> bool {
    let named = |effect: Effect| {
        statements.iter().any(|statement| {
            statement.effect == effect
                && statement.actions.iter().any(|pattern| glob(pattern, action))
                && statement.resources.iter().any(|pattern| glob(pattern, resource))
        })
    };
    named(Effect::Allow) && !named(Effect::Deny)
}

/// The action that gets past a required approval.
pub const BYPASS: &str = "bypassRequiredApproval";

/// Whether `text` fits the pattern, in which `*` stands for any run of characters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// A person of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub first_name: String,
    pub email: String,
}

impl Member {
    /// The member of this name; his id and address are made from it.
    pub fn named(name: &str) -> Self {
        let address = name.to_lowercase().replace(' ', ".");
        Self { id: object_of(&["member", name]), first_name: name.to_owned(), email: format!("{address}@example.com") }
    }

    fn links(&self) -> Value {
        json!({ "self": link(format!("/api/v2/members/{}", self.id)) })
    }

    /// As it stands in an audit log entry.
    pub fn in_audit(&self) -> Value {
        json!({
            "_links": self.links(), "_id": self.id, "email": self.email, "firstName": self.first_name, "lastName": "",
        })
    }

    fn summary(&self, role: &str) -> Value {
        json!({
            "_links": self.links(), "_id": self.id, "firstName": self.first_name, "lastName": "",
            "role": role, "email": self.email,
        })
    }
}

/// An access token of the account. The secret itself is never shown.
#[derive(Clone)]
pub struct Token {
    pub id: String,
    pub name: String,
    pub ending: String,
    pub service: bool,
    pub role: Role,
    pub member: Member,
    pub created: i64,
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Token").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Token {
    pub fn new(secret: &str, name: &str, role: Role, service: bool, member: Member, created: i64) -> Self {
        let skip = secret.chars().count().saturating_sub(4);
        let ending = secret.chars().skip(skip).collect();
        Self { id: object_of(&["token", secret]), name: name.to_owned(), ending, service, role, member, created }
    }

    /// The answer of `GET /api/v2/tokens/{id}`.
    pub fn representation(&self, account: &str) -> Value {
        let href = format!("/api/v2/tokens/{}", self.id);
        let mut token = json!({
            "_id": self.id, "ownerId": account, "memberId": self.member.id,
            "name": self.name, "creationDate": self.created, "lastModified": self.created,
            "customRoleIds": [], "token": self.ending, "serviceToken": self.service,
            "_links": { "parent": link("/api/v2/tokens"), "self": link(href) },
            "defaultApiVersion": API_VERSION, "lastUsed": 0,
        });
        if let Some(fields) = token.as_object_mut() {
            match &self.role {
                Role::Custom(statements) => fields.insert("inlineRole".to_owned(), json!(statements)),
                plain => fields.insert("role".to_owned(), json!(plain.name())),
            };
            if !self.service {
                fields.insert("_member".to_owned(), self.member.summary(self.role.name()));
            }
        }
        token
    }

    /// The answer of `GET /api/v2/caller-identity`.
    pub fn caller_identity(&self, account: &str) -> Value {
        json!({
            "accountId": account, "authKind": "token", "tokenKind": if self.service { "service" } else { "personal" },
            "tokenName": self.name, "tokenId": self.id, "memberId": self.member.id, "serviceToken": self.service,
        })
    }

    /// As it stands in an audit log entry.
    pub fn in_audit(&self) -> Value {
        json!({
            "_links": { "self": link(format!("/api/v2/tokens/{}", self.id)) }, "_id": self.id,
            "name": self.name, "ending": self.ending, "serviceToken": self.service,
        })
    }
}

/// Who does something: a token, or a member in LaunchDarkly's own user interface.
#[derive(Debug, Clone)]
pub enum Caller {
    Token(Box<Token>),
    Dashboard(Member),
}

impl Caller {
    /// Refuses with 403 where the caller may not do this to the resource.
    pub fn must(&self, action: &str, resource: &str) -> Result<(), Problem> {
        if self.may(action, resource) { Ok(()) } else { Err(Problem::forbidden()) }
    }

    pub fn may(&self, action: &str, resource: &str) -> bool {
        match self {
            Caller::Token(token) => token.role.allows(action, resource),
            Caller::Dashboard(_) => true,
        }
    }

    pub fn member(&self) -> &Member {
        match self {
            Caller::Token(token) => &token.member,
            Caller::Dashboard(member) => member,
        }
    }

    /// The one whose own requests he may not review: a service token is not a person.
    pub fn reviewer_id(&self) -> &str {
        match self {
            Caller::Token(token) if token.service => &token.id,
            _ => &self.member().id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(pattern: &str, text: &str, fits: bool) {
        assert_eq!(glob(pattern, text), fits, "{pattern} on {text}");
    }

    #[test]
    fn patterns() {
        case("proj/*:env/production:flag/*", "proj/shop:env/production:flag/checkout", true);
        case("proj/*:env/production:flag/*", "proj/shop:env/staging:flag/checkout", false);
        case("updateOn", "updateOn", true);
        case("updateOn", "updateOnX", false);
        case("update*", "updateOn", true);
        case("*", "", true);
        case("", "", true);
        case("a*b*b", "ab", false);
    }

    #[test]
    fn a_denial_wins_and_silence_denies() {
        let role: Role = serde_json::from_value(json!({ "custom": [
            { "effect": "allow", "resources": ["proj/*:env/*:flag/*"], "actions": ["update*"] },
            { "effect": "deny", "resources": ["proj/*:env/production:flag/*"], "actions": ["updateOn"] },
        ] }))
        .unwrap();
        assert!(role.allows("updateOn", "proj/shop:env/staging:flag/a"));
        assert!(!role.allows("updateOn", "proj/shop:env/production:flag/a"));
        assert!(!role.allows("viewProject", "proj/shop"));
    }
}
